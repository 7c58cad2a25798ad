//! A pusher's control channel.

use super::{FromChild, Ticket, ToChild, VerifyJob, VerifyPart, VerifyProgress};
use crate::config::model::{LocalPath, Remote};
use crate::help_topic::{HelpTopic, Reason};
use crate::language::{Text, words};
use crate::path::RelPath;
use crate::reconcile_reason::ReconcileReason;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Supervisor to pusher.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToPusher {
    /// The first message. The reading end of the wake pipe comes with it.
    Start(Box<PusherStart>),
    /// Permission for one more rsync of a kind. Returned with `SlotDone`.
    Slot {
        /// What it is for.
        kind: SlotKind,
        /// The number of remotes of this instance that were pushed to recently, including this one.
        active: u32,
    },
    /// Asks whether the pusher is alive. Any message wakes it, and it answers before anything else.
    Ping,
    /// The remote's host is short of connections: standbys must not use one.
    DropStandby,
    /// The slot requested with `WantSpare`. Returned with `SpareDone`.
    Spare,
    /// A push needs the spare slot: return it now.
    Yield,
    /// Compare everything.
    Reconcile(ReconcileRequest),
    /// End the hold of a reconcile.
    Release,
    /// The watcher holds the localpath, and why; `None` ends the hold.
    Hold(Option<Reason>),
    /// `syncsup wait`: report when everything marked up to `seq` is settled.
    Await {
        /// The number of the request.
        ticket: Ticket,
        /// The number of a mark.
        seq: i64,
        /// Only paths at or below these; all paths if empty.
        below: Vec<RelPath>,
    },
    /// No client waits for this answer any more.
    DropAwait(Ticket),
    /// `syncsup verify`: compare, and answer in parts.
    Verify(Ticket, VerifyJob),
    /// Send the next part.
    VerifyMore(Ticket),
    /// No client reads the answer any more.
    DropVerify(Ticket),
    /// The supervisor has made failed paths due.
    FailuresDue,
    /// The supervisor has forgotten the failures at or below these paths; all failures if the list is empty.
    FailuresForgotten(Vec<RelPath>),
    /// Exit with 0. The push in flight may continue for this many milliseconds.
    Stop {
        /// Milliseconds for the push in flight.
        grace_ms: u64,
    },
}

/// A request for a reconcile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReconcileRequest {
    /// The reason.
    pub why: ReconcileReason,
    /// The supervisor's number for it: its requests to one remote are counted from 1.
    pub number: u64,
}

/// A pusher's part of the configuration.
#[derive(Debug, Serialize, Deserialize)]
pub struct PusherStart {
    /// The localpath without its remotes.
    pub localpath: LocalPath,
    /// Its remote.
    pub remote: Remote,
    /// The state directory of the localpath: journal and locks.
    pub state_dir: PathBuf,
    /// The run directory: sockets.
    pub run_dir: PathBuf,
    /// The name of the instance. It is part of the names of the instance's files in the run directory.
    pub instance: String,
    /// A hash of the filter, the toggles and the parameters. If it has changed, a reconcile is due.
    pub settings: String,
    /// A reconcile is requested regardless of the journal (`-r`, or the journal was quarantined).
    pub reconcile: Option<ReconcileReason>,
    /// The number of the supervisor's last request for a reconcile.
    pub requests: u64,
    /// Log each path.
    pub debug: bool,
}

/// Pusher to supervisor. Any message shows that the process is alive; it sends one at least every
/// [`ALIVE_EVERY_MS`], unless it rests.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum FromPusher {
    /// The process is alive.
    Alive,
    /// It sleeps until it is woken.
    Rests,
    /// It requests a slot of this kind.
    WantSlot(SlotKind),
    /// It no longer needs a slot of this kind that it holds, or one that it requested.
    SlotDone(SlotKind),
    /// The remote's host is short of connections: standbys must close theirs.
    ShortOfConnections,
    /// It requests a slot to compare a part, if no push waits for a slot. Granted immediately or not at all.
    WantSpare,
    /// It no longer needs the spare slot.
    SpareDone,
    /// The current state. Sent when it changes, at most a few times per second.
    Status(Box<PusherStatus>),
    /// Its part of the fail log has changed. At its start: its part is in order.
    FailLog,
    /// The journal must be quarantined.
    Damaged(String),
    /// The awaited marks are settled.
    Settled(Ticket),
    /// A part of a comparison. The next one is sent on request.
    Verified(Ticket, VerifyPart),
}

/// What a slot is for. Long work must not keep changes waiting, so it gets at most half of all slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotKind {
    /// A push of marks.
    Small,
    /// A large file, a portion of what a reconcile found, or a comparison.
    Large,
}

impl SlotKind {
    /// Both kinds.
    pub const ALL: [SlotKind; 2] = [SlotKind::Small, SlotKind::Large];
}

/// The state of a pusher, for `status`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PusherStatus {
    /// The state in one word.
    pub state: PusherState,
    /// rsync's error message, or the action that is required.
    pub reason: Option<String>,
    /// The section of docs/troubleshooting.md for what keeps it from being in sync.
    #[serde(default)]
    pub help: Option<HelpTopic>,
    /// Marks after the cursor.
    pub waiting: u64,
    /// Rows in `owed`.
    pub owed: u64,
    /// The rows of these with an error.
    pub failing: u64,
    /// The first path of these, and its error.
    #[serde(default)]
    pub first_failure: Option<String>,
    /// The time of the next try of a remote in trouble, in milliseconds since 1970; in the past while a try runs.
    #[serde(default)]
    pub retry_ms: Option<i64>,
    /// The time of the oldest mark that is not settled, in milliseconds since 1970.
    pub oldest_ms: Option<i64>,
    /// The time of the last successful push, in milliseconds since 1970.
    pub last_success_ms: Option<i64>,
    /// Files sent in total.
    pub pushed_files: u64,
    /// Their bytes.
    pub pushed_bytes: u64,
    /// Names deleted in total.
    pub deleted: u64,
    /// Completed batches since the pusher started.
    #[serde(default)]
    pub pushes: u64,
    /// The deletions that the delete guard holds until `syncsup release`.
    #[serde(default)]
    pub held_deletions: Option<u64>,
    /// The last comparison was incomplete. It is repeated later, and `reason` contains the obstacle.
    #[serde(default)]
    pub incomplete: bool,
    /// The current reconcile.
    pub reconcile: Option<ReconcileProgress>,
    /// Completed reconciles since the pusher started.
    pub reconciles_done: u64,
    /// The number of the supervisor's last request for a reconcile that is in the journal.
    #[serde(default)]
    pub requests_recorded: u64,
    /// The number of the last one that a reconcile has completed.
    #[serde(default)]
    pub requests_completed: u64,
    /// The rolling comparison, if a `verify_schedule` is configured.
    #[serde(default)]
    pub verify: Option<VerifyProgress>,
    /// The rsync that waits for the next push.
    #[serde(default)]
    pub standby: StandbyStatus,
}

/// The rsync that waits for the next push.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StandbyStatus {
    /// None waits: nothing was pushed lately, or none may be kept.
    #[default]
    None,
    /// One is connected and waits.
    Ready,
    /// None waits, because the remote refuses more connections.
    ShortOfConnections,
}

/// The progress of a reconcile, for the progress bar.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReconcileProgress {
    /// The reason for the reconcile.
    pub why: ReconcileReason,
    /// Differing paths; 0 during the comparison.
    pub found: u64,
    /// The settled paths of these.
    pub done: u64,
    /// The paths of these to be deleted.
    pub deletions: u64,
    /// The size of the differing files that must be sent.
    #[serde(default)]
    pub bytes: u64,
    /// Bytes of these files sent so far.
    #[serde(default)]
    pub bytes_done: u64,
    /// How fast that goes, once it is known.
    #[serde(default)]
    pub rate: Option<ReconcileRate>,
}

impl ReconcileProgress {
    /// The share that is done, from 0 to 1. Bytes count as much as paths, because files differ in size.
    pub fn share(&self) -> f64 {
        let of = |done: u64, all: u64| (done.min(all) as f64) / (all.max(1) as f64);
        let paths = of(self.done, self.found);
        match self.bytes {
            0 => paths,
            bytes => (paths + of(self.bytes_done, bytes)) / 2.0,
        }
    }
}

/// How fast the result of a reconcile is pushed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReconcileRate {
    /// Bytes of files in a second.
    pub bytes_per_s: u64,
    /// Seconds until everything is pushed, if it goes on like that. `None` at a standstill.
    pub left_s: Option<u64>,
}

/// A remote's state in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PusherState {
    /// Nothing to do.
    InSync,
    /// Work waits for a slot or for its time; or the pusher has just started and has not sent its state yet.
    #[default]
    Behind,
    /// An rsync runs.
    Pushing,
    /// It compares everything, or pushes the result.
    Reconciling,
    /// The remote is in trouble and will be retried.
    Backoff,
    /// The operator must look first.
    Held,
    /// No pusher runs.
    Down,
}

impl PusherState {
    /// The word for users, in the terminal and on the page.
    pub fn word(self) -> &'static str {
        self.text().0
    }

    /// The word in both languages.
    pub fn text(self) -> Text<'static> {
        match self {
            PusherState::InSync => words::IN_SYNC,
            PusherState::Behind => words::BEHIND,
            PusherState::Pushing => words::PUSHING,
            PusherState::Reconciling => words::RECONCILING,
            PusherState::Backoff => words::IN_TROUBLE,
            PusherState::Held => words::HELD,
            PusherState::Down => words::DOWN,
        }
    }
}

impl FromChild for FromPusher {
    fn rests(&self) -> bool {
        matches!(self, FromPusher::Rests)
    }
}

impl ToChild for ToPusher {
    fn ping() -> Option<Self> {
        Some(ToPusher::Ping)
    }
}
