//! The failure journal for `syncsup journal`: what the supervisor does for a command, and what a command does itself
//! under the lock of the localpath while no supervisor runs (rule 14).

use super::localpaths::ConfiguredLocalPath;
use super::lock::{LOCK_NAME, taken};
use crate::config::model::{Plugin, plugin_names, plugin_titles};
use crate::error::{Error, Result};
use crate::journal::{Backlog, FILE_NAME, FailedRow, Journal, JournalError, Party};
use crate::language::say;
use crate::message::{Failure, Whose};
use crate::path::{OsBytes, RelPath};
use crate::reconcile_reason::ReconcileReason;
use crate::sys::{clock, lock};
use std::path::{Path, PathBuf};

/// Rows in one answer.
const AT_ONCE: u32 = 200;

/// The answer of the journal, or its error.
pub type JournalResult<T> = std::result::Result<T, JournalError>;

/// The next failures after a path; from the first one if `None`.
pub fn list(dir: &Path, of: Party<'_>, after: Option<&RelPath>) -> JournalResult<Vec<Failure>> {
    let rows = Journal::open_read_only(dir)?.failures(of, after, AT_ONCE)?;
    let failure = |row: FailedRow| Failure {
        path: row.path,
        error: row.error,
        attempts: row.attempts,
        since_ms: row.since_ms,
        next_try_ms: row.next_try_ms,
    };
    Ok(rows.into_iter().map(failure).collect())
}

/// Makes failures due now, or forgets them. Returns their number.
pub fn change(dir: &Path, of: Party<'_>, below: &[RelPath], forget: bool) -> JournalResult<u64> {
    let mut journal = Journal::open(dir)?;
    match forget {
        true => journal.forget_failures(of, below),
        false => journal.retry_failures(of, below, clock::wall_ms()),
    }
}

/// A plugin's name in the journal; `None` if no such plugin exists.
fn plugin_key(plugins: &[Plugin], title: &str) -> Option<String> {
    let mut all = plugin_titles(plugins).into_iter().zip(plugin_names(plugins));
    all.find(|(name, _)| name == title).map(|(_, key)| key)
}

/// The remote or plugin whose failures are meant, by its name in the journal; `None` if no such plugin exists.
pub fn in_journal(whose: &Whose, plugins: &[Plugin]) -> Option<Whose> {
    match whose {
        Whose::Remote(_) => Some(whose.clone()),
        Whose::Plugin(title) => plugin_key(plugins, title).map(Whose::Plugin),
    }
}

/// The same as a [`Party`] of the journal.
pub fn party(whose: &Whose) -> Party<'_> {
    match whose {
        Whose::Remote(name) => Party::Remote(name),
        Whose::Plugin(key) => Party::Plugin(key),
    }
}

/// The journal of a localpath that no supervisor uses. The value holds the lock.
pub struct OfflineJournal {
    dir: PathBuf,
    watch: OsBytes,
    plugins: Vec<Plugin>,
    /// `None` if no journal exists yet.
    lock: Option<lock::Lock>,
}

impl OfflineJournal {
    /// Takes the lock. Exit status 4 if a supervisor holds it.
    pub fn take(configured: &ConfiguredLocalPath, state: &Path) -> Result<Self> {
        let (dir, watch) = (state.join(&configured.id), configured.localpath.watch.clone());
        let plugins = configured.localpath.plugins.clone();
        if !dir.join(FILE_NAME).exists() {
            return Ok(Self { dir, watch, plugins, lock: None });
        }
        let path = dir.join(LOCK_NAME);
        let lock = lock::take(&path, false)
            .map_err(|e| Error::system(say!("cannot lock {}", path.display()), e))?
            .ok_or_else(|| taken(&watch.to_string(), &path))?;
        Ok(Self { dir, watch, plugins, lock: Some(lock) })
    }

    /// A part of the failures.
    pub fn list(&self, whose: &Whose, after: Option<&RelPath>) -> Result<Vec<Failure>> {
        match (&self.lock, in_journal(whose, &self.plugins)) {
            (Some(_), Some(whose)) => {
                list(&self.dir, party(&whose), after).map_err(|e| self.refused(e))
            }
            _ => Ok(Vec::new()),
        }
    }

    /// What a remote is owed, and why a reconcile is due, if one is due; `None` if no journal exists yet.
    pub fn backlog(&self, remote: &str) -> Result<Option<(Backlog, Option<ReconcileReason>)>> {
        if self.lock.is_none() {
            return Ok(None);
        }
        let read = || {
            let journal = Journal::open_read_only(&self.dir)?;
            Ok((journal.backlog(remote)?, journal.wanted_reconcile(remote)?))
        };
        read().map(Some).map_err(|e| self.refused(e))
    }

    /// Makes failures due at the next start, or forgets them. Returns their number.
    pub fn change(&self, whose: &Whose, below: &[RelPath], forget: bool) -> Result<u64> {
        match (&self.lock, in_journal(whose, &self.plugins)) {
            (Some(_), Some(whose)) => {
                change(&self.dir, party(&whose), below, forget).map_err(|e| self.refused(e))
            }
            _ => Ok(0),
        }
    }

    fn refused(&self, error: JournalError) -> Error {
        Error::system(say!("the journal of {}", self.watch), error)
    }
}
