//! Owing a remote what another program has left undone: through a running supervisor, or under the lock of the localpath
//! while nothing runs (rule 14).

use super::state::Supervisor;
use crate::config::model::{Config, Remote};
use crate::error::{Error, Result};
use crate::instance::directories::{Directories, make_private};
use crate::instance::localpaths;
use crate::instance::lock::taken;
use crate::instance::quarantine::{self, clean_journal};
use crate::journal::{Events, Journal, JournalError, Owe, Scope, Settlement};
use crate::message::Answer;
use crate::path::{OsBytes, RelPath};
use crate::sys::{clock, lock, log};
use std::collections::BTreeSet;
use std::time::Duration;

/// The reason of a comparison of everything.
const WHY: &str = "syncsup journal import";

/// Writes that `remote` may lack these paths, with everything below them; the root is everything.
fn owe(
    journal: &mut Journal,
    remote: &str,
    paths: &[RelPath],
) -> std::result::Result<(), JournalError> {
    let now_ms = clock::wall_ms();
    let owed = |path: &RelPath| Owe {
        path: path.clone(),
        scope: Scope::Tree,
        // Nobody here saw what happened: as a scan, so that the delete guard looks at what it finds.
        // sersync saw it change, or go.
        events: Events::SCAN | Events::WRITE | Events::DELETE,
        error: None,
        attempts: 0,
        next_try_ms: now_ms,
        since_ms: now_ms,
    };
    let owe: Vec<Owe> = paths.iter().filter(|path| !path.is_root()).map(owed).collect();
    if owe.len() < paths.len() {
        journal.want_reconcile(remote, Some(WHY))?;
    }
    journal.settle(remote, &Settlement { owe, ..Settlement::default() }, now_ms)
}

/// Owes it while no supervisor keeps the localpath; exit status 4 when one does.
pub fn owe_alone(
    directories: &Directories,
    config: &Config,
    watch: &OsBytes,
    remote: &str,
    paths: &[RelPath],
) -> Result<()> {
    let configured = localpaths::configured(config)
        .into_iter()
        .find(|w| w.localpath.watch == *watch && w.remotes.iter().any(|r| r.name() == remote));
    let configured = configured.ok_or_else(|| {
        Error::usage(format!("localpath {watch} with remote {remote} is not configured"))
    })?;
    directories.prepare()?;
    let dir = directories.state.join(&configured.id);
    make_private(&dir)?;
    let path = dir.join("lock");
    let lock = lock::take(&path, false)
        .map_err(|e| Error::system(format!("cannot lock {}", path.display()), e))?
        .ok_or_else(|| taken(&watch.to_string(), &path))?;
    let _ = lock.sign();
    let names: BTreeSet<String> = configured.remotes.iter().map(Remote::name).collect();
    // As a start does it, so that the next one finds everything in order.
    clean_journal(
        &dir,
        &names,
        quarantine::first_copy(&configured.localpath),
        &log::logger(false),
    )?;
    Journal::open(&dir)
        .and_then(|mut journal| owe(&mut journal, remote, paths))
        .map_err(|e| Error::system(format!("the journal of {watch}"), e))
}

impl Supervisor {
    /// The same for a localpath that this supervisor keeps; its pusher looks at once.
    pub(super) fn owe(
        &mut self,
        watch: &OsBytes,
        remote: &str,
        paths: &[RelPath],
        now: Duration,
    ) -> Answer {
        let localpath = self.localpaths.iter_mut().filter(|l| !l.retiring).find(|l| {
            l.watch() == watch && l.pushers.iter().any(|p| p.name == remote && !p.removed)
        });
        let Some(localpath) = localpath else {
            return Answer::Refused(format!("{watch} with remote {remote} is not kept here"));
        };
        let names: Vec<RelPath> = paths.iter().filter(|p| !p.is_root()).cloned().collect();
        if names.len() < paths.len() {
            localpath.ask_reconcile(WHY, |p| p.name == remote, now);
        }
        match Journal::open(localpath.dir()).and_then(|mut j| owe(&mut j, remote, &names)) {
            Ok(()) => {
                localpath.pushers.iter().filter(|p| p.name == remote).for_each(|p| p.wake());
                Answer::Done(vec![])
            }
            Err(e) => Answer::Refused(format!("the journal of {watch}: {e}; try again")),
        }
    }
}
