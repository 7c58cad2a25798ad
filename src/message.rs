//! The messages between the supervisor and its children: one enum for each direction of each control channel.
//!
//! The data path is separate: marks travel through the journal, and a wake is a byte in a pipe.

mod control;
mod plugin;
mod pulse;
mod pusher;
mod reporter;
mod status;
mod tally;
mod verify;
mod watcher;

pub use control::*;
pub use plugin::*;
pub use pulse::*;
pub use pusher::*;
pub use reporter::*;
pub use status::*;
pub use tally::*;
pub use verify::*;
pub use watcher::*;

use serde::{Deserialize, Serialize};

/// The role of a re-executed child. It is the first packet of its channel. It is not an argument, so no user can set
/// it.
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
    /// Writes the file system of its working directory to disk, and receives no messages.
    Sync,
    /// Examines the path in its argument, which may block, and receives no messages.
    Look,
    /// Reads the token file in its argument, which may block, and sends one message.
    Token,
    /// Becomes the command in its arguments, as another user.
    Command,
}

impl Role {
    /// The word for the role, sent to the new process.
    pub fn word(self) -> &'static str {
        match self {
            Role::Supervisor => "supervisor",
            Role::Watcher => "watcher",
            Role::Pusher => "pusher",
            Role::Plugin => "plugin",
            Role::Reporter => "reporter",
            Role::Sync => "sync",
            Role::Look => "look",
            Role::Token => "token",
            Role::Command => "command",
        }
    }

    /// The role for that word.
    pub fn from_word(word: &[u8]) -> Option<Role> {
        [
            Role::Supervisor,
            Role::Watcher,
            Role::Pusher,
            Role::Plugin,
            Role::Reporter,
            Role::Sync,
            Role::Look,
            Role::Token,
            Role::Command,
        ]
        .into_iter()
        .find(|r| r.word().as_bytes() == word)
    }
}

/// A message that a child sends.
pub trait FromChild {
    /// True if the child rests from now on: it sleeps until it is woken, and sends no heartbeats meanwhile.
    fn rests(&self) -> bool {
        false
    }
}

/// A message that the supervisor sends to a child.
pub trait ToChild: Sized {
    /// The message that makes a resting child send one. `None` if the child never rests.
    fn ping() -> Option<Self> {
        None
    }
}

/// A child that does not rest sends a message at least this often.
pub const ALIVE_EVERY_MS: u64 = 2_000;
/// A child that is silent for this long is killed and restarted (rule 12: a stopped writer would block every mark).
pub const SILENT_MS: u64 = 10_000;
