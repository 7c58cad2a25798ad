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
    /// Shows status and metrics over HTTP.
    Reporter,
}

impl Role {
    /// The argument that starts it.
    pub fn argument(self) -> &'static str {
        match self {
            Role::Supervisor => "role:supervisor",
            Role::Watcher => "role:watcher",
            Role::Pusher => "role:pusher",
            Role::Plugin => "role:plugin",
            Role::Reporter => "role:reporter",
        }
    }

    /// The role that `argument` starts.
    pub fn from_argument(argument: &str) -> Option<Role> {
        [Role::Supervisor, Role::Watcher, Role::Pusher, Role::Plugin, Role::Reporter]
            .into_iter()
            .find(|r| r.argument() == argument)
    }
}

/// The argument that starts this program to write the file system of its working directory to disk.
pub const SYNC_ARGUMENT: &str = "role:sync";

/// The argument that starts this program to look at a path, which may hang.
pub const LOOK_ARGUMENT: &str = "role:look";

/// A child sends something at least this often.
pub const ALIVE_EVERY_MS: u64 = 2_000;
/// A child silent for this long is ended and started again (rule 12: a stopped writer would block every mark).
pub const SILENT_MS: u64 = 10_000;
