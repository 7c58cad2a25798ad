//! The supervisor's control socket: what a command asks, and what it is answered.

use super::{InstanceStatus, LocalPathStatus, VerifyJob, VerifyPart};
use crate::path::{OsBytes, RelPath};
use serde::{Deserialize, Serialize};

/// A request may be this long, in bytes.
pub const REQUEST_MAX: usize = 64 << 10;

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
        watch: OsBytes,
        /// The remote's name.
        remote: String,
        /// The paths.
        paths: Vec<RelPath>,
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
    /// Some of what could not be pushed to a remote, or called for.
    Failing {
        /// The localpath.
        watch: OsBytes,
        /// What fails.
        whose: Whose,
        /// What comes after this path, from the first on when `None`.
        after: Option<RelPath>,
    },
    /// Have what could not be pushed, or called for, tried again now, or forgotten.
    Failures {
        /// The localpath.
        watch: OsBytes,
        /// What fails.
        whose: Whose,
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

/// Whose failures are meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whose {
    /// Of the remote of this name.
    Remote(String),
    /// Of the plugin of this name: its kind, with a number when there are several of that kind.
    Plugin(String),
}

/// A path that could not be pushed, or that a plugin could not be called for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The path.
    pub path: RelPath,
    /// rsync's words, the plugin's, or the system's.
    pub error: String,
    /// Failed pushes or calls.
    pub attempts: u32,
    /// Since when it waits, in milliseconds since 1970.
    pub since_ms: i64,
    /// When it is tried again, in milliseconds since 1970; `None` for a call that was given up.
    pub next_try_ms: Option<i64>,
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
    /// To `waited`; `None` when the ticket is not known (any more): ask again.
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
