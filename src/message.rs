//! What the supervisor and its children say to each other: one enum for each direction of each control channel.
//!
//! The data path is not here: marks travel through the journal, and a wake is a byte in a pipe.

use crate::config::model::{LocalPath, Remote};
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
}

impl Role {
    /// The argument that starts it.
    pub fn argument(self) -> &'static str {
        match self {
            Role::Supervisor => "role:supervisor",
            Role::Watcher => "role:watcher",
            Role::Pusher => "role:pusher",
            Role::Plugin => "role:plugin",
        }
    }

    /// The role that `argument` starts.
    pub fn from_argument(argument: &str) -> Option<Role> {
        [Role::Supervisor, Role::Watcher, Role::Pusher, Role::Plugin]
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
    /// Compare everything, for this reason.
    Reconcile(String),
    /// Let a held reconcile go on.
    Release,
    /// The watcher holds the localpath (why), or lets go of it.
    Hold(Option<String>),
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
    /// What it does now; sent when it changes, at most a few times a second.
    Status(Box<PusherStatus>),
    /// Its part of the fail log is another now, or, said at its start, in order.
    FailLog,
    /// The journal must be set aside.
    Damaged(String),
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
    /// The last comparison could not see everything; it is done again later, and `reason` says what was in the way.
    #[serde(default)]
    pub incomplete: bool,
    /// A reconcile under way.
    pub reconcile: Option<ReconcileProgress>,
    /// Reconciles that went through since the pusher started.
    pub reconciles_done: u64,
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
}

/// The supervisor's answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To `status`.
    Status(Box<InstanceStatus>),
    /// Done; each line is for the user.
    Done(Vec<String>),
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
