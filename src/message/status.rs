//! The contents of `status --json`. Its keys are documented in syncsup(8). They stay stable; new ones may be added.

use super::{PluginStatus, PusherState, PusherStatus, ReporterStatus};
use crate::help_topic::HelpTopic;
use crate::language::{Language, Text, words};
use crate::path::{OsBytes, RelPath};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// One instance.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// The supervisor's version.
    #[serde(default)]
    pub version: String,
    /// The supervisor's process.
    pub pid: u32,
    /// When it was started, in milliseconds since 1970.
    #[serde(default)]
    pub since_ms: Option<i64>,
    /// The time of this state, in milliseconds since 1970.
    #[serde(default)]
    pub now_ms: i64,
    /// The configuration files.
    pub files: Vec<PathBuf>,
    /// Every localpath.
    pub localpaths: Vec<LocalPathStatus>,
    /// The process that shows this state over HTTP; none without `http`.
    #[serde(default)]
    pub reporter: Option<ReporterStatus>,
}

/// One localpath.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LocalPathStatus {
    /// The directory.
    pub watch: OsBytes,
    /// The state in one word.
    pub state: LocalPathState,
    /// The reason, if the state is not `watching`.
    pub reason: Option<String>,
    /// The section of docs/troubleshooting.md for it.
    #[serde(default)]
    pub help: Option<HelpTopic>,
    /// Directories watched.
    pub watches: u64,
    /// Files that are written and not yet closed, so that the remotes lack their current content.
    #[serde(default)]
    pub open_files: u64,
    /// The time since which the oldest of them is open, in milliseconds since 1970.
    #[serde(default)]
    pub open_since_ms: Option<i64>,
    /// The oldest of them.
    #[serde(default)]
    pub open_path: Option<RelPath>,
    /// Its watcher.
    pub watcher: ChildStatus,
    /// Every remote.
    pub remotes: Vec<RemoteStatus>,
    /// Every plugin.
    pub plugins: Vec<PluginStatus>,
    /// The process that runs the plugins and the commands of `on_failure` and `on_recovery`; none without any.
    pub plugin_runner: Option<ChildStatus>,
}

/// A localpath's state in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LocalPathState {
    /// Its watcher has not said anything yet.
    #[default]
    Starting,
    /// Everything is watched; earlier changes are being searched for.
    Scanning,
    /// The normal state.
    Watching,
    /// Something cannot be watched or written.
    Degraded,
    /// The directory is not the one to replicate: nothing is pushed.
    Held,
    /// No watcher runs.
    Down,
}

impl LocalPathState {
    /// The word for users, in the terminal and on the page.
    pub fn word(self) -> &'static str {
        self.text().0
    }

    /// The word in both languages.
    pub fn text(self) -> Text<'static> {
        match self {
            LocalPathState::Starting => words::STARTING,
            LocalPathState::Scanning => words::SCANNING,
            LocalPathState::Watching => words::WATCHING,
            LocalPathState::Degraded => words::DEGRADED,
            LocalPathState::Held => words::HELD,
            LocalPathState::Down => words::DOWN,
        }
    }

    /// True if every change is noticed.
    pub fn notices(self) -> bool {
        matches!(self, LocalPathState::Scanning | LocalPathState::Watching)
    }
}

/// One remote of a localpath.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RemoteStatus {
    /// In rsync's notation.
    pub name: String,
    /// The state that its pusher reported.
    #[serde(flatten)]
    pub status: PusherStatus,
    /// Age of the oldest mark that is not settled, in milliseconds.
    pub lag_ms: u64,
    /// The time since which it is in trouble, held or down, as far as this supervisor knows, in milliseconds since
    /// 1970.
    #[serde(default)]
    pub trouble_since_ms: Option<i64>,
    /// The time of the next scheduled full comparison, in milliseconds since 1970, to the second.
    #[serde(default)]
    pub next_reconcile_ms: Option<i64>,
    /// The number of requests for a reconcile so far. 0 if the supervisor is of a version that does not count them.
    #[serde(default)]
    pub requests: u64,
    /// Its pusher.
    pub pusher: ChildStatus,
}

impl LocalPathStatus {
    /// `1 file open since 40 s`, if files are open.
    pub fn open_words(&self, now_ms: i64, language: Language) -> Option<String> {
        let since = now_ms.saturating_sub(self.open_since_ms?).max(0) as u64;
        let since = match since {
            // Whole seconds.
            0..60_000 => language.seconds(since / 1000 * 1000).replace(".0 ", " "),
            _ => language.span(since),
        };
        let files = language.count(self.open_files, words::FILES);
        Some(language.say(words::OPEN, &[&files, &since])).filter(|_| self.open_files > 0)
    }
}

impl RemoteStatus {
    /// True if it was compared since its pusher started, and every difference is pushed.
    pub fn is_compared(&self) -> bool {
        let s = &self.status;
        s.reconciles_done > 0 && s.reconcile.is_none() && s.state == PusherState::InSync
    }
}

/// One child.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ChildStatus {
    /// Its process, if it runs.
    pub pid: Option<u32>,
    /// The time since which it runs, or does not run, in milliseconds since 1970.
    #[serde(default)]
    pub since_ms: Option<i64>,
    /// The number of restarts.
    pub restarts: u64,
    /// How it last ended.
    pub last_exit: Option<String>,
}
