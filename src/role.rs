//! What a re-executed child does: one function for each role.

use crate::message::Role;
use crate::supervisor::daemon;

/// Runs a role to its end and returns its exit status.
pub fn run(role: Role) -> i32 {
    let name = match role {
        Role::Supervisor => "syncsup",
        Role::Watcher => "syncsup-watch",
        Role::Pusher => "syncsup-push",
    };
    let channel = match daemon::take_channel(name) {
        Ok(channel) => channel,
        Err(error) => {
            eprintln!("syncsup: {error}");
            return error.exit as i32;
        }
    };
    match role {
        Role::Supervisor => daemon::supervise(channel),
        Role::Watcher => crate::watcher::run(channel),
        Role::Pusher => crate::pusher::run(channel),
    }
}
