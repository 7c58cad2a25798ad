//! The failure journal for `syncsup journal`: through a running supervisor, or under the lock of the localpath while
//! nothing runs (rule 14).

use super::state::Supervisor;
use crate::config::model::{Plugin, plugin_names, plugin_titles};
use crate::error::{Error, Result};
use crate::instance::localpaths::ConfiguredLocalPath;
use crate::instance::lock::taken;
use crate::journal::{Backlog, FILE_NAME, FailedRow, Journal, JournalError, Party};
use crate::message::{Answer, Failure, ToPlugin, ToPusher, Whose};
use crate::path::{OsBytes, RelPath};
use crate::sys::{clock, lock};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Rows of one answer.
const AT_ONCE: u32 = 200;

type Refused<T> = std::result::Result<T, JournalError>;

fn some(dir: &Path, of: Party<'_>, after: Option<&RelPath>) -> Refused<Vec<Failure>> {
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

fn change(dir: &Path, of: Party<'_>, below: &[RelPath], forget: bool) -> Refused<u64> {
    let mut journal = Journal::open(dir)?;
    match forget {
        true => journal.forget_failures(of, below),
        false => journal.retry_failures(of, below, clock::wall_ms()),
    }
}

/// A plugin's name in the journal; `None` when there is no such plugin.
fn plugin_key(plugins: &[Plugin], title: &str) -> Option<String> {
    let mut all = plugin_titles(plugins).into_iter().zip(plugin_names(plugins));
    all.find(|(name, _)| name == title).map(|(_, key)| key)
}

/// Whose failures are meant, by its name in the journal; `None` when there is no such plugin.
fn in_journal(whose: &Whose, plugins: &[Plugin]) -> Option<Whose> {
    match whose {
        Whose::Remote(_) => Some(whose.clone()),
        Whose::Plugin(title) => plugin_key(plugins, title).map(Whose::Plugin),
    }
}

fn party(whose: &Whose) -> Party<'_> {
    match whose {
        Whose::Remote(name) => Party::Remote(name),
        Whose::Plugin(key) => Party::Plugin(key),
    }
}

/// The journal of a localpath that no supervisor keeps, as long as this lives.
pub struct Alone {
    dir: PathBuf,
    watch: OsBytes,
    plugins: Vec<Plugin>,
    /// `None` where there is no journal yet.
    lock: Option<lock::Lock>,
}

impl Alone {
    /// Takes it. Exit status 4 when a supervisor keeps it.
    pub fn take(configured: &ConfiguredLocalPath, state: &Path) -> Result<Self> {
        let (dir, watch) = (state.join(&configured.id), configured.localpath.watch.clone());
        let plugins = configured.localpath.plugins.clone();
        if !dir.join(FILE_NAME).exists() {
            return Ok(Self { dir, watch, plugins, lock: None });
        }
        let path = dir.join("lock");
        let lock = lock::take(&path, false)
            .map_err(|e| Error::system(format!("cannot lock {}", path.display()), e))?
            .ok_or_else(|| taken(&watch.to_string(), &path))?;
        Ok(Self { dir, watch, plugins, lock: Some(lock) })
    }

    /// Some of what failed.
    pub fn some(&self, whose: &Whose, after: Option<&RelPath>) -> Result<Vec<Failure>> {
        match (&self.lock, in_journal(whose, &self.plugins)) {
            (Some(_), Some(whose)) => {
                some(&self.dir, party(&whose), after).map_err(|e| self.refused(e))
            }
            _ => Ok(Vec::new()),
        }
    }

    /// What a remote is owed, and why everything is to be compared, if it is; `None` where there is no journal yet.
    pub fn backlog(&self, remote: &str) -> Result<Option<(Backlog, Option<String>)>> {
        if self.lock.is_none() {
            return Ok(None);
        }
        let read = || {
            let journal = Journal::open_read_only(&self.dir)?;
            Ok((journal.backlog(remote)?, journal.wish(remote)?))
        };
        read().map(Some).map_err(|e| self.refused(e))
    }

    /// Has it tried at the next start, or forgets it; how many.
    pub fn change(&self, whose: &Whose, below: &[RelPath], forget: bool) -> Result<u64> {
        match (&self.lock, in_journal(whose, &self.plugins)) {
            (Some(_), Some(whose)) => {
                change(&self.dir, party(&whose), below, forget).map_err(|e| self.refused(e))
            }
            _ => Ok(0),
        }
    }

    fn refused(&self, error: JournalError) -> Error {
        Error::system(format!("the journal of {}", self.watch), error)
    }
}

impl Supervisor {
    /// The state directory of a localpath with this remote or plugin, unless its journal is to be set aside, and its name
    /// there.
    fn journal_of(
        &self,
        watch: &OsBytes,
        whose: &Whose,
    ) -> std::result::Result<(PathBuf, Whose), Answer> {
        let mut localpaths = self.localpaths.iter().filter(|l| !l.retiring && l.watch() == watch);
        let found = localpaths.find_map(|localpath| {
            let known = match whose {
                Whose::Remote(name) => {
                    localpath.pushers.iter().any(|p| p.name == *name && !p.removed)
                }
                Whose::Plugin(_) => true,
            };
            let whose =
                in_journal(whose, &localpath.configured.localpath.plugins).filter(|_| known)?;
            Some((localpath, whose))
        });
        match found {
            None => Err(Answer::Refused(match whose {
                Whose::Remote(name) => format!("{name} is no remote of {watch}"),
                Whose::Plugin(name) => format!("{name} is no plugin of {watch}"),
            })),
            Some((localpath, _)) if localpath.damaged() => Err(Answer::Refused(format!(
                "the journal of {watch} is damaged and is being set aside"
            ))),
            Some((localpath, whose)) => Ok((localpath.dir().to_owned(), whose)),
        }
    }

    pub(super) fn failing(
        &self,
        watch: &OsBytes,
        whose: &Whose,
        after: Option<&RelPath>,
    ) -> Answer {
        match self.journal_of(watch, whose) {
            Err(refused) => refused,
            Ok((dir, whose)) => some(&dir, party(&whose), after).map_or_else(
                |e| Answer::Refused(format!("the journal of {watch}: {e}")),
                Answer::Failing,
            ),
        }
    }

    pub(super) fn change_failures(
        &mut self,
        watch: &OsBytes,
        whose: &Whose,
        below: &[RelPath],
        forget: bool,
        now: Duration,
    ) -> Answer {
        let (dir, of) = match self.journal_of(watch, whose) {
            Ok(found) => found,
            Err(refused) => return refused,
        };
        let changed = change(&dir, party(&of), below, forget);
        for localpath in self.localpaths.iter_mut().filter(|l| l.watch() == watch) {
            match whose {
                Whose::Remote(name) => {
                    for pusher in localpath.pushers.iter_mut().filter(|p| p.name == *name) {
                        // A push in hand may owe it once more: its pusher forgets it, too.
                        let message = match forget {
                            true => ToPusher::FailuresForgotten(below.to_vec()),
                            false => ToPusher::FailuresDue,
                        };
                        pusher.process.send(&message, vec![], now);
                    }
                }
                Whose::Plugin(_) => {
                    if let Some(runner) = &mut localpath.runner {
                        runner.process.send(&ToPlugin::FailuresChanged, vec![], now);
                    }
                }
            }
        }
        match changed {
            Ok(count) => Answer::Count(count),
            Err(e) => Answer::Refused(format!("the journal of {watch}: {e}; try again")),
        }
    }
}
