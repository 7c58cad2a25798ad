//! What a re-executed child does: one function for each role.

use crate::message::Role;
use crate::path::as_written;
use crate::supervisor::{daemon, token};
use crate::sys::confine::{self, Also, Does};
use crate::sys::{channel, log, process, run_as, session, umask};
use slog::{Logger, crit};
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

/// The role in which another process of this program started this one; `None` if a user started it.
pub fn of_this_process() -> Option<Role> {
    channel::role()
}

/// The short name that `ps` and `top` show, and by which `killall` and `pkill` find a process. The supervisor has the
/// name by which the program was called, such as `sersync`.
fn short_name(role: Role) -> OsString {
    let called = std::env::args_os().next().unwrap_or_default();
    match role {
        Role::Supervisor => Path::new(&called).file_name().unwrap_or("syncsup".as_ref()).to_owned(),
        Role::Watcher => "syncsup-watch".into(),
        Role::Pusher => "syncsup-push".into(),
        Role::Plugin => "syncsup-plugin".into(),
        Role::Reporter => "syncsup-report".into(),
        Role::Sync => "syncsup-sync".into(),
        Role::Look => "syncsup-look".into(),
        Role::Token => "syncsup-token".into(),
        Role::Command => "syncsup-command".into(),
    }
}

/// Gives up what the role does not need, as far as this is known before its first message. A supervisor starts plugin
/// runners, whose commands may use sudo, and watchers, which look into other processes.
fn give_up(role: Role, log: &Logger) -> io::Result<()> {
    confine::no_core_files()?;
    match role {
        Role::Watcher => confine::give_up(Does::Works, Also::default(), log),
        Role::Sync | Role::Look | Role::Token => {
            confine::look_into_no_process()?;
            confine::give_up(Does::Works, Also::default(), log)
        }
        Role::Pusher | Role::Plugin | Role::Reporter | Role::Command => {
            confine::look_into_no_process()
        }
        Role::Supervisor => Ok(()),
    }
}

/// Runs a role to its end and returns its exit status.
pub fn run(role: Role) -> ExitCode {
    let name = short_name(role);
    let shown = as_written(name.as_bytes());
    // A command holds its trace open, see `Program`.
    if role != Role::Command {
        session::close_inherited();
    }
    umask::make_private();
    log::inherit();
    // Lines in a log have a time, whatever process writes them.
    let log = log::logger(false);
    let of_panics = log.clone();
    std::panic::set_hook(Box::new(move |what| {
        what.to_string().lines().for_each(|line| crit!(of_panics, "{shown}: {line}"));
    }));
    let channel = match daemon::take_channel(&name) {
        Ok(channel) => channel,
        Err(error) => {
            crit!(log, "{error}");
            return error.exit.into();
        }
    };
    if let Err(error) = give_up(role, &log) {
        crit!(log, "{}: cannot give up privileges: {error}", as_written(name.as_bytes()));
        return ExitCode::FAILURE;
    }
    let status = match role {
        Role::Supervisor => daemon::supervise(channel),
        Role::Watcher => crate::watcher::run(channel),
        Role::Pusher => crate::pusher::run(channel),
        Role::Plugin => crate::plugin::run(channel),
        Role::Reporter => crate::reporter::run(channel),
        // It receives no messages.
        Role::Sync => i32::from(process::sync_here().is_err()),
        Role::Look => {
            std::env::args_os().nth(1).iter().for_each(|path| process::look_at(path.as_ref()));
            0
        }
        Role::Token => {
            let file = std::env::args_os().nth(1).unwrap_or_default();
            token::read_and_tell(channel, file.as_ref())
        }
        Role::Command => {
            let words: Vec<_> = std::env::args_os().skip(1).collect();
            run_as::become_command(channel, &words, &log)
        }
    };
    ExitCode::from(u8::try_from(status).unwrap_or(u8::MAX))
}
