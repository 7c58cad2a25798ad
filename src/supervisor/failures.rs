//! The failure journal for `syncsup journal`: through a running supervisor, or under the lock of the localpath while
//! nothing runs (rule 14).

use super::run::Supervisor;
use super::site::taken;
use super::topology::Wanted;
use crate::error::{Error, Result};
use crate::journal::{FILE_NAME, FailedRow, Journal, JournalError};
use crate::message::{Answer, Failure, ToPusher};
use crate::path::{OsBytes, RelPath};
use crate::sys::{clock, lock};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Rows of one answer.
const AT_ONCE: u32 = 200;

type Refused<T> = std::result::Result<T, JournalError>;

fn some(dir: &Path, remote: &str, after: Option<&RelPath>) -> Refused<Vec<Failure>> {
    let rows = Journal::open_read_only(dir)?.failures(remote, after, AT_ONCE)?;
    let failure = |row: FailedRow| Failure {
        path: row.path,
        error: row.error,
        attempts: row.attempts,
        since_ms: row.since_ms,
        next_try_ms: row.next_try_ms,
    };
    Ok(rows.into_iter().map(failure).collect())
}

fn change(dir: &Path, remote: &str, below: &[RelPath], forget: bool) -> Refused<u64> {
    let mut journal = Journal::open(dir)?;
    match forget {
        true => journal.forget_failures(remote, below),
        false => journal.retry_failures(remote, below, clock::wall_ms()),
    }
}

/// The journal of a localpath that no supervisor keeps, as long as this lives.
pub struct Alone {
    dir: PathBuf,
    watch: OsBytes,
    /// `None` where there is no journal yet.
    lock: Option<lock::Lock>,
}

impl Alone {
    /// Takes it. Exit status 4 when a supervisor keeps it.
    pub fn take(wanted: &Wanted, state: &Path) -> Result<Self> {
        let (dir, watch) = (state.join(&wanted.id), wanted.localpath.watch.clone());
        if !dir.join(FILE_NAME).exists() {
            return Ok(Self { dir, watch, lock: None });
        }
        let path = dir.join("lock");
        let lock = lock::take(&path, false)
            .map_err(|e| Error::system(format!("cannot lock {}", path.display()), e))?
            .ok_or_else(|| taken(&watch.to_string(), &path))?;
        Ok(Self { dir, watch, lock: Some(lock) })
    }

    /// Some of what could not be pushed.
    pub fn some(&self, remote: &str, after: Option<&RelPath>) -> Result<Vec<Failure>> {
        match &self.lock {
            Some(_) => some(&self.dir, remote, after).map_err(|e| self.refused(e)),
            None => Ok(Vec::new()),
        }
    }

    /// Has it tried at the next start, or forgets it; how many.
    pub fn change(&self, remote: &str, below: &[RelPath], forget: bool) -> Result<u64> {
        match &self.lock {
            Some(_) => change(&self.dir, remote, below, forget).map_err(|e| self.refused(e)),
            None => Ok(0),
        }
    }

    fn refused(&self, error: JournalError) -> Error {
        Error::system(format!("the journal of {}", self.watch), error)
    }
}

impl Supervisor {
    /// The state directory of a localpath with this remote, unless its journal is to be set aside.
    fn journal_of(&self, watch: &OsBytes, remote: &str) -> std::result::Result<PathBuf, Answer> {
        let site = self.sites.iter().filter(|s| !s.retiring).find(|s| {
            s.wanted.localpath.watch == *watch
                && s.pushers.iter().any(|p| p.name == remote && !p.removed)
        });
        match site {
            None => Err(Answer::Refused(format!("{remote} is no remote of {watch}"))),
            Some(site) if site.damaged() => Err(Answer::Refused(format!(
                "the journal of {watch} is damaged and is being set aside"
            ))),
            Some(site) => Ok(site.dir().to_owned()),
        }
    }

    pub(super) fn failing(&self, watch: &OsBytes, remote: &str, after: Option<&RelPath>) -> Answer {
        match self.journal_of(watch, remote) {
            Err(refused) => refused,
            Ok(dir) => some(&dir, remote, after).map_or_else(
                |e| Answer::Refused(format!("the journal of {watch}: {e}")),
                Answer::Failing,
            ),
        }
    }

    pub(super) fn change_failures(
        &mut self,
        watch: &OsBytes,
        remote: &str,
        below: &[RelPath],
        forget: bool,
        now: Duration,
    ) -> Answer {
        let dir = match self.journal_of(watch, remote) {
            Ok(dir) => dir,
            Err(refused) => return refused,
        };
        let changed = change(&dir, remote, below, forget);
        let sites = self.sites.iter_mut().filter(|s| s.wanted.localpath.watch == *watch);
        for pusher in sites.flat_map(|s| &mut s.pushers).filter(|p| p.name == remote) {
            // A push in hand may owe it once more: its pusher forgets it, too.
            let message = match forget {
                true => ToPusher::FailuresForgotten(below.to_vec()),
                false => ToPusher::FailuresDue,
            };
            pusher.process.send(&message, vec![], now);
        }
        match changed {
            Ok(count) => Answer::Count(count),
            Err(e) => Answer::Refused(format!("the journal of {watch}: {e}; try again")),
        }
    }
}
