//! The plugin runner's control channel.

use super::PusherState;
use crate::config::model::LocalPath;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Supervisor to plugin runner.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToPlugin {
    /// The first message. With it comes the reading end of its wake pipe.
    Start(Box<PluginStart>),
    /// How the remotes are now: sent when it changes.
    Remotes(Vec<RemoteHealth>),
    /// The watcher holds the localpath (why), or lets go of it.
    Hold(Option<String>),
    /// The supervisor has made failed calls due, or has forgotten them.
    FailuresChanged,
    /// End: the calls in hand may go on for this many milliseconds. Exit with 0.
    Stop {
        /// Milliseconds for the calls in hand.
        grace_ms: u64,
    },
}

/// A plugin runner's part of the configuration.
#[derive(Debug, Serialize, Deserialize)]
pub struct PluginStart {
    /// The localpath with its plugins; its remotes are left out.
    pub localpath: LocalPath,
    /// The state directory of the localpath: journal and locks.
    pub state_dir: PathBuf,
    /// The run directory of the instance, for who asks it.
    pub run_dir: PathBuf,
    /// The names of the plugins in the journal, in the order of the localpath's.
    pub names: Vec<String>,
    /// How the remotes are.
    pub remotes: Vec<RemoteHealth>,
    /// Log each call.
    pub debug: bool,
}

/// How a remote is, as the supervisor knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteHealth {
    /// Its name.
    pub name: String,
    /// It is in trouble, so that nobody waits for it: `backoff`, `held` or `down`.
    pub trouble: Option<PusherState>,
    /// rsync's words, or what is to be done.
    pub reason: Option<String>,
}

/// Plugin runner to supervisor. Any message shows that it lives; one comes at least every [`ALIVE_EVERY_MS`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum FromPlugin {
    /// It lives.
    Alive,
    /// What it does now; sent when it changes, at most a few times a second.
    Status(Vec<PluginStatus>),
    /// The journal must be set aside.
    Damaged(String),
}

/// One plugin, as `status --json` shows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PluginStatus {
    /// Its kind, with a number when there are several of that kind.
    pub name: String,
    /// In one word: `idle`, `waiting` (for remotes, or for its time), `calling`, `failing`, `held`.
    pub state: String,
    /// Why, and what failed.
    pub reason: Option<String>,
    /// Changes that it is still to be called for.
    pub waiting: u64,
    /// Those of them for which it failed at least once.
    pub failing: u64,
    /// Changes for which it was given up.
    pub given_up: u64,
    /// Calls that went well.
    pub calls: u64,
    /// When a call last went well, in milliseconds since 1970.
    pub last_success_ms: Option<i64>,
}
