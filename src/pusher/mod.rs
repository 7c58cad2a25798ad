//! The pusher: makes a remote equal to the local state, one rsync at a time.
//!
//! The pure part: [`batch`] turns marks into what to list, [`rsync`] says it in rsync's words ([`params`] fits the
//! user's own in), [`itemize`] and [`outcome`] read what rsync answered.

pub mod batch;
pub mod itemize;
pub mod outcome;
pub mod params;
pub mod rsync;
