//! What rsync is told: the table of its options, and the user's own parameters. Pure.

pub mod options;
pub mod params;
