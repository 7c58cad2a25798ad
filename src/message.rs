//! What the supervisor and its children say to each other: one enum for each direction of each control channel.
//!
//! The data path is not here: marks travel through the journal, and a wake is a byte in a pipe.

mod reporter;

pub use reporter::*;

use crate::config::model::{LocalPath, Remote};
use crate::path::{OsBytes, RelPath};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The hidden first argument of a re-executed child: its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Role {
    /// The supervisor of an instance that was started with `-d`.
    Supervisor,
    /// Watches one localpath.
    Watcher,
    /// Pushes one localpath to one remote.
    Pusher,
    /// Calls the plugins of one localpath.
    Plugin,
    /// Shows status and metrics over HTTP.
    Reporter,
}

impl Role {
    /// The argument that starts it.
    pub fn argument(self) -> &'static str {
        match self {
            Role::Supervisor => "role:supervisor",
            Role::Watcher => "role:watcher",
            Role::Pusher => "role:pusher",
            Role::Plugin => "role:plugin",
            Role::Reporter => "role:reporter",
        }
    }

    /// The role that `argument` starts.
    pub fn from_argument(argument: &str) -> Option<Role> {
        [Role::Supervisor, Role::Watcher, Role::Pusher, Role::Plugin, Role::Reporter]
            .into_iter()
            .find(|r| r.argument() == argument)
    }
}

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
    /// Mark what the queue still holds, write the checkpoint, exit with 0.
    Stop,
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
    /// No scan can tell what changed (rule 18): every remote of this localpath needs a reconcile.
    NeedReconcile(String),
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

/// Supervisor to pusher.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToPusher {
    /// The first message. With it comes the reading end of its wake pipe.
    Start(Box<PusherStart>),
    /// One rsync may push now. Given back by `SlotDone`.
    Slot,
    /// What it asked for as `WantSpare`. Given back by `SpareDone`.
    Spare,
    /// A push wants the spare slot: give it back now.
    Yield,
    /// Compare everything, for this reason.
    Reconcile(String),
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
    /// End: the push in hand may go on for so many milliseconds. Exit with 0.
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
    pub reconcile: Option<String>,
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

/// A comparison for `syncsup verify`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyJob {
    /// Only what is at or below it.
    pub below: RelPath,
    /// Compare content.
    pub checksum: bool,
    /// Owe what differs.
    pub repair: bool,
    /// Say how far it is while it compares.
    #[serde(default)]
    pub progress: bool,
}

/// Some of what differs, and at the end how it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyPart {
    /// In the order in which rsync found them.
    pub differences: Vec<Difference>,
    /// Nothing comes after it.
    pub end: Option<VerifyEnd>,
    /// How far the comparison is; such a part holds nothing else.
    #[serde(default)]
    pub progress: Option<VerifyAt>,
}

/// How far a comparison is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyAt {
    /// Entries compared.
    pub entries: u64,
    /// Bytes read here.
    pub bytes: u64,
}

/// One path that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The path.
    pub path: RelPath,
    /// It is a directory: here, or, where it is extra, there.
    pub dir: bool,
    /// In what; never empty.
    pub why: Vec<Why>,
    /// It is on its way: marked, owed, or pushed while it was compared.
    pub pending: bool,
}

/// In what a path differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Not there, or something of another type stands in its place.
    Missing,
    /// There and not here.
    Extra,
    /// A directory stands in its place.
    Type,
    /// Its content, compared by checksum; or a device's number.
    Content,
    /// Its size.
    Size,
    /// Where a symbolic link leads.
    Target,
    /// Its modification time.
    Time,
    /// Its permissions.
    Mode,
    /// Its owner.
    Owner,
    /// Its group.
    Group,
    /// Its access control list.
    Acl,
    /// Its extended attributes.
    Xattr,
}

/// How a comparison ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerifyEnd {
    /// Everything was compared.
    Done {
        /// How many entries there are here.
        entries: u64,
    },
    /// Not everything could be compared: why.
    Incomplete(String),
    /// Nothing could be compared: why.
    Failed(String),
}

/// Supervisor to plugin runner.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToPlugin {
    /// The first message. With it comes the reading end of its wake pipe.
    Start(Box<PluginStart>),
    /// How the remotes are now: sent when it changes.
    Remotes(Vec<RemoteHealth>),
    /// The watcher holds the localpath (why), or lets go of it.
    Hold(Option<String>),
    /// End: the calls in hand may go on for so many milliseconds. Exit with 0.
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

/// How far the rolling comparison is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VerifyProgress {
    /// When the next run begins, in milliseconds since 1970; none while one is under way.
    pub next_ms: Option<i64>,
    /// The run under way.
    pub run: Option<VerifyRun>,
    /// The last one that came to its end.
    pub last: Option<VerifyRun>,
}

/// One run of the rolling comparison through the tree.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VerifyRun {
    /// When it began, in milliseconds since 1970.
    pub began_ms: i64,
    /// When it ended, in milliseconds since 1970; none while it is under way.
    pub ended_ms: Option<i64>,
    /// The path that was compared last; none at the beginning and at the end.
    pub at: Option<RelPath>,
    /// Parts compared.
    pub parts: u64,
    /// Entries here that were compared.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Paths that differed and were not on their way: pushed again.
    pub repaired: u64,
    /// Parts that could not be compared, or not all of them.
    pub incomplete: u64,
}

/// How far a reconcile is, for the progress bar.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReconcileProgress {
    /// Why it runs.
    pub why: String,
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
    #[default]
    InSync,
    /// Something waits for a slot or for its time.
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

/// A child sends something at least this often.
pub const ALIVE_EVERY_MS: u64 = 2_000;
/// A child silent for this long is ended and started again (rule 12: a stopped writer would block every mark).
pub const SILENT_MS: u64 = 10_000;

/// A command to the supervisor over its control socket: one JSON line each way.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// How are things?
    Status,
    /// Stop the instance; answered when everything has stopped.
    Stop,
    /// Read the configuration again.
    Reload,
    /// Compare now; names are localpaths or remotes, all when empty. Answered with the remotes that will.
    Sync(Vec<String>),
    /// Let a held remote or localpath go on.
    Release(String),
    /// A remote may lack these paths, with everything below them; the root is everything.
    Owe {
        /// The localpath.
        watch: crate::path::OsBytes,
        /// The remote's name.
        remote: String,
        /// The paths.
        paths: Vec<crate::path::RelPath>,
    },
    /// What is changed by now: is it settled? Answered with a ticket.
    Wait(Vec<WaitFor>),
    /// How is it with this ticket? One that is not asked about for a while is forgotten.
    Waited(Ticket),
    /// Compare one remote. Answered with a ticket.
    Verify {
        /// The localpath.
        watch: OsBytes,
        /// The remote.
        remote: String,
        /// What to do.
        job: VerifyJob,
    },
    /// The next part of a comparison, empty while there is none.
    Verified(Ticket),
    /// Some of what could not be pushed to a remote.
    Failing {
        /// The localpath.
        watch: OsBytes,
        /// The remote.
        remote: String,
        /// What comes after this path, from the first on when `None`.
        after: Option<RelPath>,
    },
    /// Have what could not be pushed tried again now, or forgotten.
    Failures {
        /// The localpath.
        watch: OsBytes,
        /// The remote.
        remote: String,
        /// Only what is at or below these; everything when empty.
        below: Vec<RelPath>,
        /// Forget it.
        forget: bool,
    },
}

/// The number of a `syncsup wait`; never used twice, not even by the next supervisor.
pub type Ticket = u64;

/// What `syncsup wait` waits for in one localpath.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitFor {
    /// The localpath.
    pub watch: OsBytes,
    /// Only what is at or below these; everything when empty.
    pub below: Vec<RelPath>,
}

/// How far a `syncsup wait` is in one localpath.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Waited {
    /// The watcher has marked everything that was changed before.
    pub reached: bool,
    /// The names of the remotes on which it is settled.
    pub settled: Vec<String>,
    /// How the localpath is, with all its remotes.
    pub status: LocalPathStatus,
}

/// A path that could not be pushed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The path.
    pub path: RelPath,
    /// rsync's words, or the system's.
    pub error: String,
    /// Failed pushes.
    pub attempts: u32,
    /// Since when it waits, in milliseconds since 1970.
    pub since_ms: i64,
    /// When it is tried again, in milliseconds since 1970.
    pub next_try_ms: i64,
}

/// The supervisor's answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To `status`.
    Status(Box<InstanceStatus>),
    /// Done; each line is for the user.
    Done(Vec<String>),
    /// To `wait`.
    Ticket(Ticket),
    /// To `waited`; `None` when the ticket is not known (any more): ask anew.
    Waited(Option<Vec<Waited>>),
    /// To `failing`, in the order of their paths; none when nothing comes after.
    Failing(Vec<Failure>),
    /// To `failures`: how many.
    Count(u64),
    /// To `verified`; `None` when the ticket is not known (any more).
    Verified(Option<VerifyPart>),
    /// Refused, and why.
    Refused(String),
}

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
    pub watch: crate::path::OsBytes,
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

impl RemoteStatus {
    /// True when it was compared since its pusher started, and everything found is pushed.
    pub fn is_compared(&self) -> bool {
        let s = &self.status;
        s.reconciles_done > 0 && s.reconcile.is_none() && s.state == PusherState::InSync
    }
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

/// The reason of scheduled reconciles: `crontabfilter` applies to them.
pub const SCHEDULE: &str = "schedule";
