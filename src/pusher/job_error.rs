//! Local errors that stop a job.

use crate::help_topic::Reason;
use crate::journal::JournalError;

/// An error that stops a job, and that is not the remote's.
#[derive(Debug)]
pub enum JobError {
    /// The journal failed.
    Journal(JournalError),
    /// The root of the localpath is gone, or is another directory.
    Root(Reason),
    /// A system call failed, for example a fork.
    System(String),
}

/// The same without errors of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalError {
    /// The root of the localpath is gone, or is another directory.
    Root(Reason),
    /// A system call failed, for example a fork.
    System(String),
}

impl From<JournalError> for JobError {
    fn from(error: JournalError) -> Self {
        JobError::Journal(error)
    }
}

impl JobError {
    /// The local error. An error of the journal is returned as `Err`.
    pub fn local(self) -> Result<LocalError, JournalError> {
        match self {
            JobError::Journal(error) => Err(error),
            JobError::Root(why) => Ok(LocalError::Root(why)),
            JobError::System(why) => Ok(LocalError::System(why)),
        }
    }
}

impl LocalError {
    /// The message for the operator.
    pub fn message(self) -> String {
        match self {
            LocalError::Root(reason) => reason.why,
            LocalError::System(message) => message,
        }
    }
}
