//! The supervisor: starts and restarts the children of one instance, grants slots, answers commands. It has no threads
//! and is no part of the data path.
//!
//! [`child`], [`slots`], [`schedule`], [`topology`], [`kernel`] and `root_state` are pure; the loop in [`run`] reads,
//! calls them, and acts.

mod active;
mod banner;
pub(crate) mod child;
mod configuration;
pub(crate) mod control;
pub(crate) mod daemon;
mod fail_log;
pub mod kernel;
mod localpath;
pub(crate) mod notifications;
mod process;
pub(crate) mod pusher;
mod reload;
mod reporter;
mod requests;
pub(crate) mod root_state;
pub(crate) mod run;
mod run_files;
mod runner;
pub(crate) mod schedule;
pub(crate) mod sd_notify;
pub mod slots;
mod state;
#[cfg(test)]
mod testing;
pub(crate) mod token;
pub(crate) mod topology;
mod waiters;

use crate::instance::directories::Directories;
use crate::log_settings::LogFormat;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The options of an instance. All paths are absolute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceOptions {
    /// The files and directories given with `-o`.
    pub files: Vec<PathBuf>,
    /// State and run directory.
    pub directories: Directories,
    /// `-n`: the most rsyncs that push at a time.
    pub slots: Option<usize>,
    /// `-r`: compare everything at the start.
    pub reconcile: bool,
    /// `-v`: log each path.
    pub debug: bool,
    /// `-m`: only the plugins of this kind, and no remotes.
    pub module: Option<String>,
    /// Raise the kernel's limits for inotify (not `--no-sysctl`).
    pub sysctl: bool,
    /// `--user`.
    pub user: Option<String>,
    /// `--log-format`
    pub log_format: Option<LogFormat>,
    /// `--http`, `--max-lag`.
    pub http: crate::config::http::Given,
}
