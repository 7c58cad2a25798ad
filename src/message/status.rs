//! An instance, as `status --json` shows it.

use super::{PluginStatus, PusherStatus, ReporterStatus};
use crate::path::OsBytes;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// One instance, as `status --json` shows it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// The supervisor's process.
    pub pid: u32,
    /// The configuration files.
    pub files: Vec<PathBuf>,
    /// Every localpath.
    pub localpaths: Vec<LocalPathStatus>,
    /// What shows all this over HTTP; none without `http`.
    #[serde(default)]
    pub reporter: Option<ReporterStatus>,
}

/// One localpath, as `status --json` shows it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LocalPathStatus {
    /// The directory.
    pub watch: OsBytes,
    /// `starting`, `scanning`, `watching`, `degraded`, `held` or `down`.
    pub state: String,
    /// Why, when it is not `watching`.
    pub reason: Option<String>,
    /// Directories watched.
    pub watches: u64,
    /// Its watcher.
    pub watcher: ChildStatus,
    /// Every remote.
    pub remotes: Vec<RemoteStatus>,
    /// Every plugin.
    pub plugins: Vec<PluginStatus>,
    /// What calls them, and the commands of `on_failure` and `on_recovery`; none when there are none.
    pub plugin_runner: Option<ChildStatus>,
}

/// One remote of a localpath, as `status --json` shows it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RemoteStatus {
    /// In rsync's notation.
    pub name: String,
    /// What its pusher says.
    #[serde(flatten)]
    pub status: PusherStatus,
    /// Age of the oldest mark that is not settled, in milliseconds.
    pub lag_ms: u64,
    /// Its pusher.
    pub pusher: ChildStatus,
}

/// One child, as `status --json` shows it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ChildStatus {
    /// Its process, when it runs.
    pub pid: Option<u32>,
    /// How often it was started again.
    pub restarts: u64,
    /// How it last ended.
    pub last_exit: Option<String>,
}
