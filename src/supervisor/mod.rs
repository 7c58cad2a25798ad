//! The supervisor: starts and restarts the children of one instance, grants slots, answers commands. No threads, and no
//! part of the data path.
//!
//! [`child`], [`slots`], [`schedule`], [`topology`] and [`names`] are pure; the loop in [`run`] reads, calls them, acts.

mod aside;
pub mod child;
mod configuration;
pub mod control;
pub mod daemon;
pub mod directories;
mod fail_log;
pub mod failures;
mod instance;
pub mod names;
pub mod notify;
mod process;
mod pusher;
mod reload;
mod requests;
pub mod run;
pub mod schedule;
mod site;
pub mod slots;
#[cfg(test)]
mod testing;
pub mod topology;
mod verifies;
mod waits;

use directories::Directories;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What an instance is started with. All paths are absolute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// The files and directories given with `-o`.
    pub files: Vec<PathBuf>,
    /// State and run directory.
    pub directories: Directories,
    /// `-n`: how many rsyncs push at a time.
    pub slots: Option<usize>,
    /// `-r`: compare everything at the start.
    pub reconcile: bool,
    /// `-v`: log each path.
    pub debug: bool,
}
