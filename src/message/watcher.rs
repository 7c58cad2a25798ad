//! The watcher's control channel.

use super::Ticket;
use crate::config::model::LocalPath;
use crate::path::RelPath;
use crate::reconcile_reason::ReconcileReason;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Supervisor to watcher.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToWatcher {
    /// The first message. With it come descriptors: the inotify descriptor, then a wake pipe's writing end for each
    /// of `wakes`.
    Start(Box<WatcherStart>),
    /// More pushers to wake; the writing ends come with it. A name it knows already is replaced.
    AddWakes(Vec<String>),
    /// A pusher that is no longer configured.
    DropWake(String),
    /// `release LOCALPATH`: take the root, and the mount points, as they are now.
    AdoptRoot,
    /// `syncsup wait`: say when everything that was changed before this came is marked.
    Barrier {
        /// The number of the question; one that is known already is not asked again.
        ticket: Ticket,
        /// Only what is at or below these; everything when empty.
        below: Vec<RelPath>,
    },
    /// Nobody waits for this answer any more.
    DropBarrier(Ticket),
    /// Mark what the queue still holds, write the checkpoint, exit with 0. Others may go on.
    Stop,
    /// The same, and nothing is pushed any more: when everything here is on disk, that was an orderly stop.
    Last,
}

/// A watcher's part of the configuration.
#[derive(Debug, Serialize, Deserialize)]
pub struct WatcherStart {
    /// The localpath; its remotes are not the watcher's business.
    pub localpath: LocalPath,
    /// Its state directory: journal and locks.
    pub state_dir: PathBuf,
    /// The names of the remotes, in the order of the wake pipes.
    pub wakes: Vec<String>,
    /// Log each event and mark.
    pub debug: bool,
}

/// Watcher to supervisor. Any message shows that it lives; one comes at least every [`ALIVE_EVERY_MS`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum FromWatcher {
    /// It lives.
    Alive,
    /// What it does now.
    State(WatcherState),
    /// How many directories are watched.
    Watches(u64),
    /// Files that are open for writing, and so not sent yet.
    Open(OpenFiles),
    /// No scan can tell what changed (rule 18): every remote of this localpath needs a reconcile.
    NeedReconcile(ReconcileReason),
    /// The journal must be set aside.
    Damaged(String),
    /// Everything that was changed before this barrier came is in the journal, up to the mark `seq`.
    Reached {
        /// The barrier.
        ticket: Ticket,
        /// The number of the last mark.
        seq: i64,
    },
}

/// Files that were written and are not closed: they are sent when they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenFiles {
    /// How many.
    pub files: u64,
    /// The one that is open for longest, and since when, in milliseconds since 1970.
    pub oldest: Option<(RelPath, i64)>,
}

/// What a watcher does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WatcherState {
    /// Adding watches; not yet watching everything.
    Starting,
    /// Every directory is watched, and a scan looks for what changed before.
    Scanning,
    /// Every directory is watched and everything before is marked.
    Watching,
    /// Some directories could not be watched and are scanned every minute: why, and what to do.
    Degraded(String),
    /// The journal takes no marks (a full disk, say), so nothing new is pushed: why. What changes meanwhile is found when
    /// it takes them again.
    Refused(String),
    /// The root is gone or another: nothing is pushed until it is back.
    Held(String),
}

/// Why a root that was released is held for a moment: no trouble.
pub const ADOPTING: &str = "the root is being taken as it is now";
