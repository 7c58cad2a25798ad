//! An instance on disk, as the supervisor and the commands find it: where its directories are, what they are called,
//! what is in them, and what is done with a journal while no supervisor runs.
//!
//! [`names`] and [`localpaths`] are pure.

pub mod directories;
pub mod failures;
pub mod localpaths;
pub mod lock;
pub mod names;
pub mod note;
pub mod owe;
pub mod quarantine;
pub mod state_dirs;
