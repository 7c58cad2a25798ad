//! What the supervisor and the reporter say to each other, and what is shown of it.

use super::{ChildStatus, InstanceStatus};
use crate::config::model::HttpServer;
use serde::{Deserialize, Serialize};

/// Supervisor to reporter.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToReporter {
    /// The first message.
    Start(Box<ReporterStart>),
    /// How things are: once a second. None is sent while one before it is not taken.
    Snapshot(Box<InstanceStatus>),
    /// End at once, with 0.
    Stop,
}

/// A reporter's part of the configuration.
#[derive(Debug, Serialize, Deserialize)]
pub struct ReporterStart {
    /// Where it listens, and what it asks for.
    pub http: HttpServer,
    /// Log each request.
    pub debug: bool,
}

/// Reporter to supervisor. Any message shows that it lives; one comes at least every [`ALIVE_EVERY_MS`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum FromReporter {
    /// It lives.
    Alive,
    /// It listens, or why it does not; then it tries again.
    Listens(Option<String>),
}

/// The reporter, as `status --json` shows it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ReporterStatus {
    /// Address and port.
    pub listen: String,
    /// `starting`, `listening`, `refused` (the port is taken, say; tried again every second) or `down`.
    pub state: String,
    /// Why it does not listen.
    pub reason: Option<String>,
    /// Its process.
    pub process: ChildStatus,
}

/// What `status --json` prints, and the reporter's `/status.json`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct AllStatus {
    /// Every instance.
    pub instances: Vec<InstanceStatus>,
}
