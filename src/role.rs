//! What a re-executed child does: one function for each role.

use crate::message::Role;
use crate::supervisor::daemon;
use crate::sys::session;
use std::io::Write;
use std::process::ExitCode;

/// Runs a role to its end and returns its exit status.
pub fn run(role: Role) -> ExitCode {
    let name = match role {
        Role::Supervisor => "syncsup",
        Role::Watcher => "syncsup-watch",
        Role::Pusher => "syncsup-push",
        Role::Plugin => "syncsup-plugin",
        Role::Reporter => "syncsup-report",
    };
    session::close_inherited();
    let channel = match daemon::take_channel(name) {
        Ok(channel) => channel,
        Err(error) => {
            // A log that cannot be written must not end this in a panic.
            let _ = writeln!(std::io::stderr(), "syncsup: {error}");
            return error.exit.into();
        }
    };
    let status = match role {
        Role::Supervisor => daemon::supervise(channel),
        Role::Watcher => crate::watcher::run(channel),
        Role::Pusher => crate::pusher::run(channel),
        Role::Plugin => crate::plugin::run(channel),
        Role::Reporter => crate::reporter::run(channel),
    };
    ExitCode::from(u8::try_from(status).unwrap_or(u8::MAX))
}
