//! What a re-executed child does: one function for each role.

use crate::message::Role;
use crate::supervisor::daemon;
use crate::sys::{log, process, session, umask};
use slog::crit;
use std::path::Path;
use std::process::ExitCode;

/// Writes the file system of the working directory to disk.
pub fn sync() -> ExitCode {
    session::close_inherited();
    if process::sync_here().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Looks at a path, which may take for ever.
pub fn look(path: &Path) -> ExitCode {
    session::close_inherited();
    process::look_at(path);
    ExitCode::SUCCESS
}

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
    umask::make_private();
    // What is written into a log has a time, whatever wrote it.
    let log = log::logger(false);
    let of_panics = log.clone();
    std::panic::set_hook(Box::new(move |what| {
        what.to_string().lines().for_each(|line| crit!(of_panics, "{name}: {line}"));
    }));
    let channel = match daemon::take_channel(name) {
        Ok(channel) => channel,
        Err(error) => {
            crit!(log, "{error}");
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
