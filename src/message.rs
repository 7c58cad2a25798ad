//! What the supervisor and its children say to each other: one enum for each direction of each control channel.
//!
//! The data path is not here: marks travel through the journal, and a wake is a byte in a pipe.

mod control;
mod plugin;
mod pusher;
mod reporter;
mod status;
mod verify;
mod watcher;

pub use control::*;
pub use plugin::*;
pub use pusher::*;
pub use reporter::*;
pub use status::*;
pub use verify::*;
pub use watcher::*;

use serde::{Deserialize, Serialize};

/// What a re-executed child is. No argument says it, and so no user can: it is the first packet of its channel.
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
    /// Writes the file system of its working directory to disk, and hears nothing.
    Sync,
    /// Looks at the path that is its argument, which may hang, and hears nothing.
    Look,
}

impl Role {
    /// The word that says it to the new process.
    pub fn word(self) -> &'static str {
        match self {
            Role::Supervisor => "supervisor",
            Role::Watcher => "watcher",
            Role::Pusher => "pusher",
            Role::Plugin => "plugin",
            Role::Reporter => "reporter",
            Role::Sync => "sync",
            Role::Look => "look",
        }
    }

    /// The role of that word.
    pub fn from_word(word: &[u8]) -> Option<Role> {
        [
            Role::Supervisor,
            Role::Watcher,
            Role::Pusher,
            Role::Plugin,
            Role::Reporter,
            Role::Sync,
            Role::Look,
        ]
        .into_iter()
        .find(|r| r.word().as_bytes() == word)
    }
}

/// A child sends something at least this often.
pub const ALIVE_EVERY_MS: u64 = 2_000;
/// A child silent for this long is ended and started again (rule 12: a stopped writer would block every mark).
pub const SILENT_MS: u64 = 10_000;
