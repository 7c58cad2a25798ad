//! Becomes another user, and then a command of the user's own: in a process of its own, because only a process with one
//! thread changes its groups as a whole, and only one that ends gives up everything.

use super::account::Account;
use super::channel::Channel;
use super::confine::{self, Also, Does};
use super::process::ITSELF;
use super::script::explained;
use super::umask::as_given;
use slog::Logger;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The exit status of a helper that could not become the command, as a shell gives it.
const NOT_STARTED: i32 = 127;

/// This program, in the role that becomes `program` as this user. The words of the command follow. Its standard input is a
/// channel on which it sends why it could not.
pub(super) fn helper(user: &str, program: &OsStr) -> Command {
    let mut command = Command::new(ITSELF);
    command.arg0("syncsup: command").arg(user).arg(program);
    command
}

/// In that process: becomes the command in these words, whose first one is the user. Returns only if that fails.
pub fn become_command(channel: OwnedFd, words: &[OsString], log: &Logger) -> i32 {
    let why = match words {
        [user, program, rest @ ..] => become_it(user, program, rest, log),
        _ => "no user and no command".into(),
    };
    let mut channel: Channel<String, ()> = Channel::new(channel);
    // If nobody hears it, the exit status still says so.
    let _ = channel.send(&why, vec![]);
    NOT_STARTED
}

fn become_it(user: &OsStr, program: &OsStr, words: &[OsString], log: &Logger) -> String {
    let shown = user.to_string_lossy();
    let account = match Account::named(&shown) {
        Ok(Some(account)) => account,
        Ok(None) => return format!("user {shown}: no such user"),
        Err(why) => return format!("user {shown}: {why}"),
    };
    let also = Also { other_users: true, ..Also::default() };
    if let Err(why) = confine::give_up(Does::Works, also, log) {
        return format!("cannot give up privileges: {why}");
    }
    if let Err(why) = account.assume_alone() {
        return format!(
            "cannot become user {shown}: {why}; run syncsup as root with CAP_SETUID, CAP_SETGID and CAP_KILL \
             (plugins.conf, for a systemd unit)"
        );
    }
    let mut command = Command::new(program);
    command.args(words).envs(account.variables());
    let why = as_given(|| command.exec());
    format!("{}: {}", program.to_string_lossy(), explained(program, why))
}
