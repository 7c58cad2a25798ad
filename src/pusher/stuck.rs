//! Local errors that stop a job.

use crate::journal::JournalError;

/// An error that stops a job, and that is not the remote's.
#[derive(Debug)]
pub enum Stuck {
    /// The journal failed.
    Journal(JournalError),
    /// The root of the localpath is gone, or is another directory.
    Root(String),
    /// A system call failed, for example a fork.
    System(String),
}

/// The same without errors of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The root of the localpath is gone, or is another directory.
    Root(String),
    /// A system call failed, for example a fork.
    System(String),
}

impl From<JournalError> for Stuck {
    fn from(error: JournalError) -> Self {
        Stuck::Journal(error)
    }
}

impl Stuck {
    /// The local error; an error of the journal is returned as `Err`.
    pub fn obstacle(self) -> Result<Obstacle, JournalError> {
        match self {
            Stuck::Journal(error) => Err(error),
            Stuck::Root(why) => Ok(Obstacle::Root(why)),
            Stuck::System(why) => Ok(Obstacle::System(why)),
        }
    }
}

impl Obstacle {
    /// The message for the operator.
    pub fn message(self) -> String {
        match self {
            Obstacle::Root(message) | Obstacle::System(message) => message,
        }
    }
}
