//! Quarantine of a damaged or lost journal: it is renamed, and a new one is created. That happens only while no process
//! of its localpath runs (rule 13). This file also does what every start does to an intact journal: it creates the rows
//! of the configured remotes.

use crate::config::model::LocalPath;
use crate::error::{Error, Result};
use crate::figures;
use crate::journal::{FILE_NAME, Journal, JournalError};
use crate::language::say;
use crate::path::{PUSHER_LOCK, ROOT_FILE};
use crate::reconcile_reason::ReconcileReason;
use crate::sys::clock;
use crate::sys::fault_point::{Point, pass};
use slog::{Logger, crit, info, warn};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// This file exists from before a journal is renamed until the new one requests a reconcile of every remote. It
/// contains the time in the name of the damaged journal.
const MARKER: &str = "journal.aside";

/// True if the journal is missing but once existed: files that only children write beside it still exist.
fn is_lost(dir: &Path) -> io::Result<bool> {
    if dir.join(FILE_NAME).try_exists()? {
        return Ok(false);
    }
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        let name = name.as_encoded_bytes();
        if name == ROOT_FILE.as_bytes()
            || (name.starts_with(PUSHER_LOCK.as_bytes()) && name.ends_with(b".lock"))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Renames the journal, or what is left of it. If the supervisor dies in between, its successor continues:
/// [`begin_new`] is the next step. Returns the database's new name.
pub fn quarantine(dir: &Path, time: &str) -> io::Result<PathBuf> {
    let mut marker = File::create(dir.join(MARKER))?;
    marker.write_all(time.as_bytes())?;
    marker.sync_all()?;
    pass(Point::QuarantineBegun);
    rename(dir, time)
}

/// Creates the new journal, in which every remote of `names` is due for a reconcile, and which has these plugins.
pub fn begin_new<'a>(
    dir: &Path,
    names: impl IntoIterator<Item = &'a String>,
    plugins: &[String],
) -> std::result::Result<(), JournalError> {
    pass(Point::QuarantineRenamed);
    let mut journal = Journal::open(dir)?;
    for name in names {
        // The row may exist already, without the request.
        journal.remote(name, Some((&ReconcileReason::JournalSetAside, clock::wall_ms())))?;
        journal.want_reconcile(name, Some(&ReconcileReason::JournalSetAside))?;
    }
    journal.set_plugins(plugins)?;
    pass(Point::QuarantineEnds);
    match std::fs::remove_file(dir.join(MARKER)) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(JournalError::Refused(e.to_string())),
        _ => Ok(()),
    }
}

/// Continues where a supervisor died while it quarantined a journal. True if a quarantine was unfinished.
fn resume(dir: &Path) -> io::Result<bool> {
    match std::fs::read_to_string(dir.join(MARKER)) {
        Ok(time) => {
            // The database is renamed last. Until then the file in its place is the damaged one.
            if !time.is_empty() && !quarantined_name(dir, &time).exists() {
                rename(dir, &time)?;
            }
            Ok(true)
        }
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

fn quarantined_name(dir: &Path, time: &str) -> PathBuf {
    dir.join(format!("{FILE_NAME}.damaged-{time}"))
}

/// Renames the database, its write-ahead log and its shared memory together; `time` becomes part of the names. Returns
/// the database's new name.
fn rename(dir: &Path, time: &str) -> io::Result<PathBuf> {
    let quarantined = quarantined_name(dir, time);
    // The log is renamed first: SQLite would replay a leftover log into a new database.
    for suffix in ["-wal", "-shm", ""] {
        let from = dir.join(format!("{FILE_NAME}{suffix}"));
        let mut to = quarantined.clone().into_os_string();
        to.push(suffix);
        match std::fs::rename(from, to) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        pass(Point::QuarantineRenames);
    }
    Ok(quarantined)
}

/// Creates the rows of new remotes before anything can be marked: a mark that is older than its row would never reach
/// the remote. `first` is the reason for the first comparison of new remotes.
pub fn register<'a>(
    dir: &Path,
    names: impl IntoIterator<Item = &'a String>,
    first: Option<&ReconcileReason>,
) -> std::result::Result<(), JournalError> {
    let mut journal = Journal::open(dir)?;
    let first = first.map(|why| (why, clock::wall_ms()));
    names.into_iter().try_for_each(|name| journal.remote(name, first).map(drop))
}

/// The reason for the first comparison of a new remote, if one is configured.
pub fn first_copy(localpath: &LocalPath) -> Option<ReconcileReason> {
    localpath.first_copy.then_some(ReconcileReason::NewRemote)
}

/// Forgets remotes and plugins that are no longer configured, and creates rows for new ones, before anything is marked:
/// earlier marks would never reach them. `first` is the reason for the first comparison of new remotes. True if every
/// remote is reconciled: the journal was lost, or it was unreadable and has been quarantined, now or by a supervisor
/// that died during that.
pub fn clean_journal(
    dir: &Path,
    names: &BTreeSet<String>,
    plugins: &[String],
    first: Option<&ReconcileReason>,
    log: &Logger,
) -> Result<bool> {
    let clean = || {
        let mut journal = Journal::open(dir)?;
        for name in journal.remote_names()?.iter().filter(|n| !names.contains(*n)) {
            journal.forget_remote(name)?;
            info!(log, "forgot remote {name}: it is no longer configured");
        }
        register(dir, names, first)?;
        journal.set_plugins(plugins)
    };
    let begin = || begin_new(dir, names, plugins);
    let refused = |e: &dyn std::fmt::Display| {
        Error::system(say!("cannot open the journal in {}", dir.display()), e)
    };
    let resumed = resume(dir).map_err(|e| refused(&e))?;
    if !resumed && is_lost(dir).map_err(|e| refused(&e))? {
        // SQLite would replay the leftovers of a lost database into a new one.
        quarantine(dir, &stamp()).map_err(|e| refused(&e))?;
        begin().map_err(|e| refused(&e))?;
        crit!(log, "the journal in {} was lost; reconciling every remote", dir.display());
        return Ok(true);
    }
    match clean() {
        Ok(()) if resumed => {
            begin().map_err(|e| refused(&e))?;
            warn!(log, "the journal was set aside earlier; reconciling every remote");
            Ok(true)
        }
        Ok(()) => Ok(false),
        Err(JournalError::Refused(why)) => Err(refused(&why)),
        Err(JournalError::Damaged(why)) => {
            let quarantined = quarantine(dir, &stamp()).map_err(|e| refused(&e))?;
            begin().map_err(|e| refused(&e))?;
            crit!(
                log,
                "the journal was damaged ({why}) and was set aside as {}; reconciling every remote",
                quarantined.display()
            );
            Ok(true)
        }
    }
}

/// The current time, as a part of a file name.
pub fn stamp() -> String {
    let text = figures::utc(clock::wall_ms());
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
        let quarantined = rename(dir.path(), "20260102T030405").unwrap();
        assert_eq!(quarantined.file_name().unwrap(), "journal.db.damaged-20260102T030405");
        let mut names: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(
            names,
            ["journal.db.damaged-20260102T030405", "journal.db.damaged-20260102T030405-wal"]
        );
        rename(dir.path(), "again").unwrap();
    }

    #[test]
    fn a_lost_journal_is_not_a_first_start() {
        let log = Logger::root(slog::Discard, slog::o!());
        let names = BTreeSet::from(["r".to_owned()]);
        for (trace, lost) in [("root.json", true), ("pusher-r.lock", true), ("lock", false)] {
            let dir = tempfile::tempdir().unwrap();
            let dir = dir.path();
            std::fs::write(dir.join(trace), "").unwrap();
            std::fs::write(dir.join("journal.db-wal"), "of another").unwrap();
            assert_eq!(clean_journal(dir, &names, &[], None, &log).unwrap(), lost, "{trace}");
            let mut journal = Journal::open(dir).unwrap();
            let row = journal.remote("r", None).unwrap();
            assert_eq!(row.reconcile.is_some(), lost, "{trace}");
            drop(journal);
            assert!(!clean_journal(dir, &names, &[], None, &log).unwrap(), "{trace}: once");
        }
    }

    /// Every point between the damage and the request at which a supervisor may die.
    #[test]
    fn a_successor_continues_the_quarantine() {
        let log = Logger::root(slog::Discard, slog::o!());
        let names = BTreeSet::from(["r".to_owned()]);
        for died in 0..4 {
            let dir = tempfile::tempdir().unwrap();
            let dir = dir.path();
            // The database is readable: only the marker shows that it is the damaged one.
            drop(Journal::open(dir).unwrap().remote("old", None).unwrap());
            match died {
                0 => std::fs::write(dir.join(MARKER), "1").unwrap(),
                1 => drop(quarantine(dir, "1").unwrap()),
                2 => {
                    quarantine(dir, "1").unwrap();
                    register(dir, &names, None).unwrap();
                }
                _ => {
                    quarantine(dir, "1").unwrap();
                    begin_new(dir, &names, &[]).unwrap();
                }
            }
            assert_eq!(clean_journal(dir, &names, &[], None, &log).unwrap(), died < 3, "{died}");
            let mut journal = Journal::open(dir).unwrap();
            assert_eq!(journal.remote_names().unwrap(), ["r"], "{died}");
            let row = journal.remote("r", None).unwrap();
            assert_eq!(row.reconcile, Some(ReconcileReason::JournalSetAside), "{died}");
            assert!(quarantined_name(dir, "1").exists() && !dir.join(MARKER).exists(), "{died}");
        }
    }
}
