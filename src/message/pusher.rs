//! A pusher's control channel.

use super::{Ticket, VerifyJob, VerifyPart, VerifyProgress};
use crate::config::model::{LocalPath, Remote};
use crate::path::RelPath;
use crate::reconcile_reason::ReconcileReason;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Supervisor to pusher.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToPusher {
    /// The first message. With it comes the reading end of its wake pipe.
    Start(Box<PusherStart>),
    /// One rsync may push now. Given back by `SlotDone`.
    Slot {
        /// Remotes of this instance that were pushed to lately, this one counted.
        active: u32,
    },
    /// The remote's host is short of connections: no standby takes one.
    DropStandby,
    /// What it asked for as `WantSpare`. Given back by `SpareDone`.
    Spare,
    /// A push wants the spare slot: give it back now.
    Yield,
    /// Compare everything, for this reason.
    Reconcile(ReconcileReason),
    /// Let a held reconcile go on.
    Release,
    /// The watcher holds the localpath (why), or lets go of it.
    Hold(Option<String>),
    /// `syncsup wait`: say when everything marked up to `seq` is settled.
    Await {
        /// The number of the question.
        ticket: Ticket,
        /// The number of a mark.
        seq: i64,
        /// Only what is at or below these; everything when empty.
        below: Vec<RelPath>,
    },
    /// Nobody waits for this answer any more.
    DropAwait(Ticket),
    /// `syncsup verify`: compare, and answer in parts.
    Verify(Ticket, VerifyJob),
    /// The next part.
    VerifyMore(Ticket),
    /// Nobody reads the answer any more.
    DropVerify(Ticket),
    /// The supervisor has made what failed due.
    FailuresDue,
    /// The supervisor has forgotten what failed at or below these paths, everything when there are none.
    FailuresForgotten(Vec<RelPath>),
    /// End: the push in hand may go on for this many milliseconds. Exit with 0.
    Stop {
        /// Milliseconds for the push in hand.
        grace_ms: u64,
    },
}

/// A pusher's part of the configuration.
#[derive(Debug, Serialize, Deserialize)]
pub struct PusherStart {
    /// The localpath, with all its remotes left out.
    pub localpath: LocalPath,
    /// Its remote.
    pub remote: Remote,
    /// The state directory of the localpath: journal and locks.
    pub state_dir: PathBuf,
    /// The run directory: sockets.
    pub run_dir: PathBuf,
    /// The name of the instance: what it keeps in the run directory is its own.
    pub instance: String,
    /// A hash of filter, toggles and parameters: when it changed, a reconcile is due.
    pub settings: String,
    /// A reconcile is wanted whatever the journal says (`-r`, the journal was set aside).
    pub reconcile: Option<ReconcileReason>,
    /// Log each path.
    pub debug: bool,
}

/// Pusher to supervisor. Any message shows that it lives; one comes at least every [`ALIVE_EVERY_MS`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum FromPusher {
    /// It lives.
    Alive,
    /// It has something to push and wants a slot.
    WantSlot,
    /// It no longer needs the slot it has, or the one it asked for.
    SlotDone,
    /// The remote's host is short of connections: standbys must let go of theirs.
    ShortOfConnections,
    /// It would compare a part, if nobody pushes for want of the slot. Granted now or not at all.
    WantSpare,
    /// It no longer needs the spare slot.
    SpareDone,
    /// What it does now; sent when it changes, at most a few times a second.
    Status(Box<PusherStatus>),
    /// Its part of the fail log is another now, or, said at its start, in order.
    FailLog,
    /// The journal must be set aside.
    Damaged(String),
    /// What was awaited is settled.
    Settled(Ticket),
    /// A part of a comparison; the next comes when it is asked for.
    Verified(Ticket, VerifyPart),
}

/// What a pusher does, for `status`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PusherStatus {
    /// In one word.
    pub state: PusherState,
    /// rsync's words, or what is to be done.
    pub reason: Option<String>,
    /// Marks after the cursor.
    pub waiting: u64,
    /// Rows in `owed`.
    pub owed: u64,
    /// Those of them with an error.
    pub failing: u64,
    /// The first of those, and its error.
    #[serde(default)]
    pub first_failure: Option<String>,
    /// When a remote in trouble is tried again, in milliseconds since 1970; in the past while it is tried.
    #[serde(default)]
    pub retry_ms: Option<i64>,
    /// When the oldest mark not yet settled was made, in milliseconds since 1970.
    pub oldest_ms: Option<i64>,
    /// When a push last went well, in milliseconds since 1970.
    pub last_success_ms: Option<i64>,
    /// Files sent so far.
    pub pushed_files: u64,
    /// Their bytes.
    pub pushed_bytes: u64,
    /// Names deleted so far.
    pub deleted: u64,
    /// Batches that went through since the pusher started.
    #[serde(default)]
    pub pushes: u64,
    /// The last comparison could not see everything; it is done again later, and `reason` says what was in the way.
    #[serde(default)]
    pub incomplete: bool,
    /// A reconcile under way.
    pub reconcile: Option<ReconcileProgress>,
    /// Reconciles that went through since the pusher started.
    pub reconciles_done: u64,
    /// The rolling comparison, where there is a `verify_schedule`.
    #[serde(default)]
    pub verify: Option<VerifyProgress>,
}

/// How far a reconcile is, for the progress bar.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReconcileProgress {
    /// Why it runs.
    pub why: ReconcileReason,
    /// Paths found different; 0 while it compares.
    pub found: u64,
    /// Paths settled of them.
    pub done: u64,
    /// Of those found, the ones to be deleted.
    pub deletions: u64,
    /// The size of the files found that are to be sent.
    #[serde(default)]
    pub bytes: u64,
    /// Bytes of files sent since.
    #[serde(default)]
    pub bytes_done: u64,
}

/// A remote's state in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PusherState {
    /// Nothing to do.
    InSync,
    /// Something waits for a slot or for its time; or its pusher has just been started and has not said anything.
    #[default]
    Behind,
    /// An rsync runs.
    Pushing,
    /// It compares everything, or pushes what that found.
    Reconciling,
    /// The remote is in trouble and is tried again later.
    Backoff,
    /// The operator must look first.
    Held,
    /// No pusher runs.
    Down,
}

impl PusherState {
    /// What people read, in the terminal and on the page.
    pub fn word(self) -> &'static str {
        match self {
            PusherState::InSync => "in sync",
            PusherState::Behind => "behind",
            PusherState::Pushing => "pushing",
            PusherState::Reconciling => "reconciling",
            PusherState::Backoff => "in trouble",
            PusherState::Held => "held",
            PusherState::Down => "down",
        }
    }
}
