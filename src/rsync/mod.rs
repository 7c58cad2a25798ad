//! What rsync is told: the table of its options, the user's own parameters, and what a daemon refuses of them. Pure.

pub mod charset;
pub mod options;
pub mod params;
pub mod refused;
