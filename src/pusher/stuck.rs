//! Why a job cannot go on here.

use crate::journal::JournalError;

/// Why a job cannot go on.
#[derive(Debug)]
pub enum Stuck {
    /// The journal.
    Journal(JournalError),
    /// The root of the localpath is gone or another.
    Root(String),
    /// The system refused: a fork, a file.
    System(String),
}

/// What stands in the way of a job, but for the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The root of the localpath is gone or another.
    Root(String),
    /// The system refused: a fork, a file.
    System(String),
}

impl From<JournalError> for Stuck {
    fn from(error: JournalError) -> Self {
        Stuck::Journal(error)
    }
}

impl Stuck {
    /// What stands in the way; an error is the journal's.
    pub fn obstacle(self) -> Result<Obstacle, JournalError> {
        match self {
            Stuck::Journal(error) => Err(error),
            Stuck::Root(why) => Ok(Obstacle::Root(why)),
            Stuck::System(why) => Ok(Obstacle::System(why)),
        }
    }
}

impl Obstacle {
    /// For a person.
    pub fn message(self) -> String {
        match self {
            Obstacle::Root(message) | Obstacle::System(message) => message,
        }
    }
}
