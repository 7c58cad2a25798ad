//! An instance on disk, as the supervisor and the commands see it: its directories, their names, their contents, and
//! the operations on a journal while no supervisor runs.
//!
//! [`names`] and [`localpaths`] are pure.

pub(crate) mod directories;
pub(crate) mod failures;
pub(crate) mod localpaths;
pub(crate) mod lock;
pub(crate) mod names;
pub(crate) mod note;
pub(crate) mod owe;
pub(crate) mod quarantine;
pub(crate) mod run_as;
pub(crate) mod state_dirs;
