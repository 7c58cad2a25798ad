//! The watcher's control channel.

use super::{FromChild, Ticket, ToChild};
use crate::config::model::LocalPath;
use crate::help_topic::Reason;
use crate::path::RelPath;
use crate::reconcile_reason::ReconcileReason;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Supervisor to watcher.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToWatcher {
    /// The first message. Descriptors come with it: the inotify descriptor, then the writing end of a wake pipe for
    /// each of `wakes`.
    Start(Box<WatcherStart>),
    /// Asks whether the watcher is alive. Any message wakes it, and it answers before anything else.
    Ping,
    /// More pushers to wake. The writing ends come with it. An end for a known name replaces the old one.
    AddWakes(Vec<String>),
    /// A pusher that is no longer configured.
    DropWake(String),
    /// `release LOCALPATH`: accept the root and the mount points as they are now.
    AdoptRoot,
    /// `syncsup wait`: report when every change before this message is marked.
    Barrier {
        /// The number of the request. A request with a known number is ignored.
        ticket: Ticket,
        /// Only paths at or below these; all paths if empty.
        below: Vec<RelPath>,
    },
    /// No client waits for this answer any more.
    DropBarrier(Ticket),
    /// Mark the rest of the queue, write the checkpoint, exit with 0. Other processes may continue.
    Stop,
    /// As `Stop`, and no push follows. If everything is on the local disk, this is an orderly stop.
    Last,
}

/// A watcher's part of the configuration.
#[derive(Debug, Serialize, Deserialize)]
pub struct WatcherStart {
    /// The localpath without its remotes, which the watcher does not need.
    pub localpath: LocalPath,
    /// Its state directory: journal and locks.
    pub state_dir: PathBuf,
    /// The names of the remotes, in the order of the wake pipes.
    pub wakes: Vec<String>,
    /// Log each event and mark.
    pub debug: bool,
}

/// Watcher to supervisor. Any message shows that the process is alive; it sends one at least every
/// [`ALIVE_EVERY_MS`], unless it rests.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum FromWatcher {
    /// The process is alive.
    Alive,
    /// It sleeps until it is woken.
    Rests,
    /// The current state.
    State(WatcherState),
    /// The number of watched directories.
    Watches(u64),
    /// Files that are open for writing, and therefore not sent yet.
    Open(OpenFiles),
    /// A scan cannot determine what changed (rule 18): every remote of this localpath needs a reconcile.
    NeedReconcile(ReconcileReason),
    /// The root is out of reach of this process, which confined itself when the root was another one or missing: a
    /// process must be started for it.
    OutOfReach,
    /// The journal must be quarantined.
    Damaged(String),
    /// Every change before this barrier is in the journal, up to the mark `seq`.
    Reached {
        /// The barrier.
        ticket: Ticket,
        /// The number of the last mark.
        seq: i64,
    },
}

/// Files that were written and not yet closed. They are sent after they are closed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenFiles {
    /// Their number.
    pub files: u64,
    /// The file that has been open longest, and the time since when, in milliseconds since 1970.
    pub oldest: Option<(RelPath, i64)>,
}

/// The state of a watcher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WatcherState {
    /// It adds watches; some directories are not watched yet.
    Starting,
    /// Every directory is watched, and a scan marks earlier changes.
    Scanning,
    /// Every directory is watched, and every earlier change is marked.
    Watching,
    /// Some directories could not be watched and are scanned every minute: the reason, and the remedy.
    Degraded(Reason),
    /// The journal accepts no marks (for example because the disk is full), so no new change is pushed: the reason.
    /// Changes made during that time are found when it accepts marks again.
    Refused(String),
    /// The root is missing or was replaced. Nothing is pushed until it is back.
    Held(Reason),
}

impl FromChild for FromWatcher {
    fn rests(&self) -> bool {
        matches!(self, FromWatcher::Rests)
    }
}

impl ToChild for ToWatcher {
    fn ping() -> Option<Self> {
        Some(ToWatcher::Ping)
    }
}
