//! The messages between supervisor and reporter, and the data that they show.

use super::{ChildStatus, FromChild, InstanceStatus, ToChild};
use crate::config::model::HttpServer;
use crate::help_topic::HelpTopic;
use crate::language::{Text, words};
use serde::{Deserialize, Serialize};

/// Supervisor to reporter.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToReporter {
    /// The first message.
    Start(Box<ReporterStart>),
    /// The token of the token file, or why the file cannot be used. Sent after the first message, and when it changes:
    /// the reporter itself cannot read the file.
    Token(Result<Vec<u8>, String>),
    /// The state of the instance, once a second. No snapshot is sent while an earlier one has not been read.
    Snapshot(Box<InstanceStatus>),
    /// Exit immediately, with 0.
    Stop,
}

/// A reporter's part of the configuration.
#[derive(Debug, Serialize, Deserialize)]
pub struct ReporterStart {
    /// Its address, and its requirements for requests.
    pub http: HttpServer,
    /// Log each request.
    pub debug: bool,
}

/// Reporter to supervisor. Any message shows that the process is alive; it sends one at least every [`ALIVE_EVERY_MS`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum FromReporter {
    /// The process is alive.
    Alive,
    /// `None`: it listens. Otherwise the reason why it does not; it will try again.
    Listens(Option<String>),
}

/// The reporter, as `status --json` shows it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ReporterStatus {
    /// Address and port.
    pub listen: String,
    /// Whether it answers.
    pub state: ReporterState,
    /// Why it does not listen.
    pub reason: Option<String>,
    /// The section of docs/troubleshooting.md for it.
    #[serde(default)]
    pub help: Option<HelpTopic>,
    /// Its process.
    pub process: ChildStatus,
}

/// A reporter's state in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReporterState {
    /// It has not said anything yet.
    #[default]
    Starting,
    /// It answers.
    Listening,
    /// It cannot listen, for example because the port is in use; retried every second.
    Refused,
    /// It does not run.
    Down,
}

impl ReporterState {
    /// The word for users, in the terminal and on the page.
    pub fn word(self) -> &'static str {
        self.text().0
    }

    /// The word in both languages.
    pub fn text(self) -> Text<'static> {
        match self {
            ReporterState::Starting => words::STARTING,
            ReporterState::Listening => words::LISTENING,
            ReporterState::Refused => words::REFUSED,
            ReporterState::Down => words::DOWN,
        }
    }
}

/// The output of `status --json`, and of the reporter's `/status.json`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct AllStatus {
    /// Every instance.
    pub instances: Vec<InstanceStatus>,
}

impl FromChild for FromReporter {}

impl ToChild for ToReporter {}
