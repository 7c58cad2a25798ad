//! The plugin runner's control channel.

use super::{FromChild, PusherState, ToChild};
use crate::config::model::LocalPath;
use crate::help_topic::HelpTopic;
use crate::language::{Text, words};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Supervisor to plugin runner.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToPlugin {
    /// The first message. The reading end of the wake pipe comes with it.
    Start(Box<PluginStart>),
    /// The state of the remotes. Sent when it changes.
    Remotes(Vec<RemoteHealth>),
    /// The watcher holds the localpath, and why; `None` ends the hold.
    Hold(Option<String>),
    /// The supervisor has made failed calls due, or has forgotten them.
    FailuresChanged,
    /// Exit with 0. The running calls may continue for this many milliseconds.
    Stop {
        /// Milliseconds for the running calls.
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
    /// The run directory of the instance, for a plugin that queries the instance.
    pub run_dir: PathBuf,
    /// The names of the plugins in the journal, in the order in which the localpath lists them.
    pub names: Vec<String>,
    /// The state of the remotes.
    pub remotes: Vec<RemoteHealth>,
    /// Log each call.
    pub debug: bool,
}

/// The state of a remote, as far as the supervisor knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteHealth {
    /// Its name.
    pub name: String,
    /// It is in trouble, so that no plugin waits for it: `backoff`, `held` or `down`.
    pub trouble: Option<PusherState>,
    /// rsync's error message, or the action that is required.
    pub reason: Option<String>,
}

/// Plugin runner to supervisor. Any message shows that the process is alive; it sends one at least every
/// [`ALIVE_EVERY_MS`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum FromPlugin {
    /// The process is alive.
    Alive,
    /// The current state. Sent when it changes, at most a few times per second.
    Status(Vec<PluginStatus>),
    /// The journal must be quarantined.
    Damaged(String),
}

/// One plugin, as `status --json` shows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PluginStatus {
    /// Its kind, with a number if several plugins have that kind.
    pub name: String,
    /// The state in one word.
    pub state: PluginState,
    /// The reason, and the error.
    pub reason: Option<String>,
    /// The section of docs/troubleshooting.md for it.
    #[serde(default)]
    pub help: Option<HelpTopic>,
    /// Changes for which it has not been called yet.
    pub waiting: u64,
    /// The changes of these for which a call failed at least once.
    pub failing: u64,
    /// Changes for which it was given up.
    pub given_up: u64,
    /// Successful calls.
    pub calls: u64,
    /// The time of the last successful call, in milliseconds since 1970.
    pub last_success_ms: Option<i64>,
}

/// A plugin's state in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PluginState {
    /// Nothing to do.
    #[default]
    Idle,
    /// It waits for remotes, or for its time.
    Waiting,
    /// A call runs.
    Calling,
    /// The last call failed. It is repeated.
    Failing,
    /// Nothing is called: the localpath is held, or the journal cannot be used.
    Held,
}

impl PluginState {
    /// The word for users, in the terminal and on the page.
    pub fn word(self) -> &'static str {
        self.text().0
    }

    /// The word in both languages.
    pub fn text(self) -> Text<'static> {
        match self {
            PluginState::Idle => words::IDLE,
            PluginState::Waiting => words::WAITING,
            PluginState::Calling => words::CALLING,
            PluginState::Failing => words::FAILS,
            PluginState::Held => words::HELD,
        }
    }
}

impl FromChild for FromPlugin {}

impl ToChild for ToPlugin {}
