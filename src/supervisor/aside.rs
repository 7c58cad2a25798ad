//! What the supervisor does to a journal: setting a damaged one aside, forgetting remotes. Only when no child of its localpath lives (rule 13).

use crate::config::model::LocalPath;
use crate::error::{Error, Result};
use crate::journal::{FILE_NAME, Journal, JournalError};
use crate::sys::{clock, log};
use slog::{Logger, crit, info};
use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// The reason of a reconcile after the journal was set aside.
pub const ASIDE: &str = "the journal was set aside";

/// Renames the database, its write-ahead log and its shared memory together; `time` becomes part of the name.
/// Returns the database's new name.
pub fn set_aside(dir: &Path, time: &str) -> io::Result<PathBuf> {
    let aside = dir.join(format!("{FILE_NAME}.damaged-{time}"));
    // The log first: a log that is left beside a new database would be replayed into it.
    for suffix in ["-wal", "-shm", ""] {
        let from = dir.join(format!("{FILE_NAME}{suffix}"));
        let mut to = aside.clone().into_os_string();
        to.push(suffix);
        match std::fs::rename(from, to) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    Ok(aside)
}

/// Makes the rows of new remotes, before anything can be marked: a mark that is older than its row would never reach
/// it. `first` is the reason for a comparison of those.
pub fn register<'a>(
    dir: &Path,
    names: impl IntoIterator<Item = &'a String>,
    first: Option<&str>,
) -> std::result::Result<(), JournalError> {
    let mut journal = Journal::open(dir)?;
    names.into_iter().try_for_each(|name| journal.remote(name, first).map(drop))
}

/// The reason for the first comparison of a new remote, when there is to be one.
pub fn first_copy(localpath: &LocalPath) -> Option<&'static str> {
    localpath.first_copy.then_some("a new remote")
}

/// Forgets remotes that are no longer configured, and makes rows for new ones; `first` is the reason for a comparison
/// of those. True when the journal was unreadable and is set aside.
pub fn clean_journal(
    dir: &Path,
    names: &BTreeSet<String>,
    first: Option<&str>,
    log: &Logger,
) -> Result<bool> {
    let clean = || {
        let mut journal = Journal::open(dir)?;
        for name in journal.remote_names()?.iter().filter(|n| !names.contains(*n)) {
            journal.forget_remote(name)?;
            info!(log, "forgot remote {name}: it is no longer configured");
        }
        register(dir, names, first)
    };
    let refused = |e: &dyn std::fmt::Display| {
        Error::system(format!("cannot open the journal in {}", dir.display()), e)
    };
    match clean() {
        Ok(()) => Ok(false),
        Err(JournalError::Refused(why)) => Err(refused(&why)),
        Err(JournalError::Damaged(why)) => {
            let aside = set_aside(dir, &stamp()).map_err(|e| refused(&e))?;
            register(dir, names, Some(ASIDE)).map_err(|e| refused(&e))?;
            crit!(
                log,
                "the journal was damaged ({why}) and is set aside as {}; every remote is compared",
                aside.display()
            );
            Ok(true)
        }
    }
}

/// Now, as a part of a file name.
pub fn stamp() -> String {
    let text = log::timestamp(clock::wall_ms());
    text.chars().filter(char::is_ascii_alphanumeric).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_files_move_together() {
        let dir = tempfile::tempdir().unwrap();
        for suffix in ["", "-wal"] {
            std::fs::write(dir.path().join(format!("journal.db{suffix}")), suffix).unwrap();
        }
        let aside = set_aside(dir.path(), "20260102T030405").unwrap();
        assert_eq!(aside.file_name().unwrap(), "journal.db.damaged-20260102T030405");
        let mut names: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(
            names,
            ["journal.db.damaged-20260102T030405", "journal.db.damaged-20260102T030405-wal"]
        );
        set_aside(dir.path(), "again").unwrap();
    }
}
