//! The user that an instance runs as: what it is given at the start, and what it cannot do.

use super::directories::Directories;
use crate::config::diagnostic::{Diagnostic, Severity};
use crate::config::model::{Config, Place};
use crate::config::run_as::of_commands;
use crate::error::{Error, Result};
use crate::language::say;
use crate::rsync::params;
use crate::sys::account::{Account, Purpose, can_create_in};
use crate::sys::{session, sysctl};
use crate::trust::{Facts, User, facts};
use slog::{Logger, warn};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Ports below this one are root's where the kernel does not say it.
const ROOTS_PORTS: u64 = 1024;
const STICKY: u32 = 0o1000;

/// The numbers of a user; `None` if no user has this name.
pub fn find(name: &str) -> Option<User> {
    let account = Account::named(name).ok().flatten()?;
    Some(User { uid: account.uid, gid: account.gid })
}

/// The user that this process has to become; `None` if it has the right one already.
pub fn to_become(config: &Config) -> Option<Account> {
    let run_as = config.user.as_ref().filter(|_| session::user() == 0)?;
    Account::named(&run_as.name).ok().flatten().filter(|account| account.uid != 0)
}

/// Becomes this user, for ever.
pub fn assume(account: &Account, purpose: Purpose, log: &Logger) -> Result<()> {
    let name = &account.name;
    let missing = account.assume(purpose, log).map_err(|e| {
        let why = say!("{}; where a sandbox or a container refuses this to root, start syncsup as {}: by User={} in a systemd unit, or the user of the container", e, name, name);
        Error::system(say!("cannot become user {}", name), why)
    })?;
    for capability in missing {
        warn!(log, "root has no CAP_{capability} here, so user {name} does without it");
    }
    Ok(())
}

/// A command that uses the files of a stopped instance is run by root as their owner, so that it neither obeys what
/// another user wrote nor leaves files that the instance cannot use.
pub fn assume_owner(directories: &Directories, log: &Logger) -> Result<()> {
    let Ok(state) = std::fs::metadata(&directories.state) else { return Ok(()) };
    if session::user() != 0 || state.uid() == 0 {
        return Ok(());
    }
    match Account::numbered(state.uid()) {
        Ok(Some(account)) => assume(&account, Purpose::Command, log),
        // The directory is refused where it is used.
        Ok(None) | Err(_) => Ok(()),
    }
}

/// What the user of this process cannot do of a configuration: become the users of its commands; and, unless it is root,
/// more, which is an error if the configuration names that user.
pub fn beyond(config: &Config) -> Vec<Diagnostic> {
    let user = User::current();
    let mut found = of_commands(config, &find, user);
    if user.uid == 0 {
        return found;
    }
    let name = config.user.as_ref().map(|run_as| run_as.name.clone());
    let shown = name.clone().unwrap_or_else(|| user.uid.to_string());
    let severity = if name.is_some() { Severity::Error } else { Severity::Warning };
    let mut seen = BTreeSet::new();
    for localpath in &config.localpaths {
        if let Some(log) = &localpath.fail_log
            && seen.insert(&log.path)
            && let Some(why) = unwritable(log.path.as_path(), &shown, user)
        {
            let text = say!("fail log {} cannot be written: {}", log.path, why);
            found.push(Diagnostic { severity, ..Diagnostic::error(&localpath.place, text) });
        }
    }
    found.extend(name.into_iter().flat_map(|name| beyond_named(config, &name)));
    found
}

/// What an instance of root could do.
fn beyond_named(config: &Config, name: &str) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for remote in config.localpaths.iter().flat_map(|localpath| &localpath.remotes) {
        if params::has(&remote.peer.params, "open-noatime") {
            let text = say!(
                "remote {}: with --open-noatime, rsync as user {} can open only files of that user; remove it",
                remote.name(),
                name
            );
            found.push(warning(&remote.place, text));
        }
    }
    let least = sysctl::read("net.ipv4.ip_unprivileged_port_start").unwrap_or(ROOTS_PORTS);
    if let Some(http) = config.http.as_ref().filter(|http| u64::from(http.listen.port()) < least) {
        let text = say!(
            "http listen={}: user {} can listen on port {} and above only; choose such a port",
            http.listen,
            name,
            least
        );
        found.push(Diagnostic::error(&http.place, text));
    }
    found
}

fn warning(place: &Place, text: String) -> Diagnostic {
    Diagnostic { severity: Severity::Warning, ..Diagnostic::error(place, text) }
}

/// Why the user of this process cannot replace a file.
fn unwritable(file: &Path, name: &str, user: User) -> Option<String> {
    let dir = file.parent()?;
    match can_create_in(dir) {
        Ok(()) => {}
        // Reported with what to do, for every user.
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return None;
        }
        Err(e) => {
            return Some(say!(
                "user {} may not create files in {} ({}); choose a directory that belongs to {}, such as one made with install -d -o {} -m 700 /var/log/syncsup",
                name,
                dir.display(),
                e,
                name,
                name
            ));
        }
    }
    let (file_facts, dir_facts) = (facts(file).ok()?, facts(dir).ok()?);
    let owner = protected_from(file_facts, dir_facts, user)?;
    Some(say!(
        "it belongs to user {}, and {} lets only its owner replace it; run chown {} {}",
        owner,
        dir.display(),
        name,
        file.display()
    ))
}

/// The owner of a file that `user` cannot replace, although it can create files in the directory.
fn protected_from(file: Facts, dir: Facts, user: User) -> Option<u32> {
    let own = file.uid == user.uid || dir.uid == user.uid;
    (dir.mode & STICKY != 0 && !own).then_some(file.uid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::Kind;

    #[test]
    fn a_sticky_directory_protects_files_of_others() {
        let of = |uid, mode, kind| Facts { uid, gid: 0, mode, kind };
        let user = User { uid: 33, gid: 33 };
        let file = |uid| of(uid, 0o600, Kind::File);
        let dir = |uid, mode| of(uid, mode, Kind::Directory);
        for (file, dir, expected) in [
            (file(0), dir(0, 0o1777), Some(0)),
            (file(7), dir(0, 0o1777), Some(7)),
            (file(33), dir(0, 0o1777), None),
            (file(0), dir(33, 0o1777), None),
            (file(0), dir(0, 0o777), None),
        ] {
            assert_eq!(protected_from(file, dir, user), expected, "{file:?} {dir:?}");
        }
    }
}
