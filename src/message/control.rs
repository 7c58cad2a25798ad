//! The supervisor's control socket: the requests of commands, and the answers.

use super::{InstanceStatus, LocalPathStatus, VerifyJob, VerifyPart};
use crate::language::Language;
use crate::path::{OsBytes, RelPath};
use serde::{Deserialize, Serialize};

/// The longest request, in bytes.
pub const REQUEST_MAX: usize = 64 << 10;

/// What a command sends: one JSON line. The answer is one, too. A request alone asks for an English answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Asked {
    /// The language of the answer, as far as people read it.
    pub language: Language,
    /// The request.
    pub request: Request,
}

impl Asked {
    /// Reads a line.
    pub fn read(line: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(line).or_else(|_| {
            let request = serde_json::from_slice(line)?;
            Ok(Self { language: Language::English, request })
        })
    }
}

/// A command to the supervisor over its control socket.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// The state of the instance.
    Status,
    /// Stop the instance. Answered when every process has stopped.
    Stop,
    /// Read the configuration again.
    Reload,
    /// Compare now. The names are localpaths or remotes; an empty list means all. Answered with the remotes that will
    /// compare.
    Sync(Vec<String>),
    /// End the hold of a remote or a localpath.
    Release(String),
    /// A remote may lack these paths, with everything below them; the root means everything.
    Owe {
        /// The localpath.
        watch: OsBytes,
        /// The remote's name.
        remote: String,
        /// The paths.
        paths: Vec<RelPath>,
    },
    /// Wait until everything that has changed by now is settled. Answered with a ticket.
    Wait(Vec<WaitFor>),
    /// The state of this ticket. A ticket that is not queried for a while is forgotten.
    Waited(Ticket),
    /// Compare one remote. Answered with a ticket.
    Verify {
        /// The localpath.
        watch: OsBytes,
        /// The remote.
        remote: String,
        /// The job.
        job: VerifyJob,
    },
    /// The next part of a comparison; empty while none is available.
    Verified(Ticket),
    /// A part of the paths that could not be pushed to a remote, or that a plugin could not be called for.
    Failing {
        /// The localpath.
        watch: OsBytes,
        /// The remote or plugin.
        whose: Whose,
        /// Only failures after this path; from the first one if `None`.
        after: Option<RelPath>,
    },
    /// Retry failed pushes or calls now, or forget them.
    Failures {
        /// The localpath.
        watch: OsBytes,
        /// The remote or plugin.
        whose: Whose,
        /// Only paths at or below these; all paths if empty.
        below: Vec<RelPath>,
        /// Forget them.
        forget: bool,
    },
}

/// The number of a `syncsup wait`. It is never reused, not even by the next supervisor.
pub type Ticket = u64;

/// The subject of a `syncsup wait` in one localpath.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitFor {
    /// The localpath.
    pub watch: OsBytes,
    /// Only paths at or below these; all paths if empty.
    pub below: Vec<RelPath>,
}

/// The progress of a `syncsup wait` in one localpath.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Waited {
    /// The watcher has marked every earlier change.
    pub reached: bool,
    /// The names of the remotes that have settled these marks.
    pub settled: Vec<String>,
    /// The state of the localpath with all its remotes.
    pub status: LocalPathStatus,
}

/// The remote or plugin whose failures are meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whose {
    /// The remote of this name.
    Remote(String),
    /// The plugin of this name: its kind, with a number if several plugins have that kind.
    Plugin(String),
}

/// A path that could not be pushed, or that a plugin could not be called for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The path.
    pub path: RelPath,
    /// The error message of rsync, the plugin or the system.
    pub error: String,
    /// Failed pushes or calls.
    pub attempts: u32,
    /// The start of the wait, in milliseconds since 1970.
    pub since_ms: i64,
    /// The time of the next try, in milliseconds since 1970; `None` for a call that was given up.
    pub next_try_ms: Option<i64>,
}

/// The supervisor's answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To `status`.
    Status(Box<InstanceStatus>),
    /// Done. Each line is for the user.
    Done(Vec<String>),
    /// To `wait`.
    Ticket(Ticket),
    /// To `waited`; `None` if the ticket is unknown or forgotten. The client then sends the request again.
    Waited(Option<Vec<Waited>>),
    /// To `failing`, in the order of the paths; empty if no failure follows.
    Failing(Vec<Failure>),
    /// To `failures`: the number of changed failures.
    Count(u64),
    /// To `verified`; `None` if the ticket is unknown or forgotten.
    Verified(Option<VerifyPart>),
    /// The request was refused, and why.
    Refused(String),
    /// This user may not send requests, and who may.
    Forbidden(String),
    /// The request was not read: others wait, too. The client sends it again.
    Busy,
}
