//! Owes a remote what another program has not pushed: what the supervisor does for a command, and what a command does
//! itself under the lock of the localpath while no supervisor runs (rule 14).

use super::directories::{Directories, make_private};
use super::localpaths;
use super::lock::{LOCK_NAME, taken};
use super::quarantine::{self, clean_journal};
use crate::config::model::{Config, Remote, plugin_names};
use crate::error::{Error, Result};
use crate::journal::{Events, Journal, JournalError, Owe, Scope, Settlement};
use crate::language::say;
use crate::path::{OsBytes, RelPath};
use crate::reconcile_reason::ReconcileReason;
use crate::sys::{clock, lock, log};
use std::collections::BTreeSet;

/// Writes that `remote` may lack these paths, with everything below them; the root means everything.
pub fn owe(
    journal: &mut Journal,
    remote: &str,
    paths: &[RelPath],
) -> std::result::Result<(), JournalError> {
    let now_ms = clock::wall_ms();
    let owed = |path: &RelPath| Owe {
        path: path.clone(),
        scope: Scope::Tree,
        // No watcher saw the change. It counts as found by a scan, so that the delete guard checks the result. sersync
        // saw the path change or disappear.
        events: Events::SCAN | Events::WRITE | Events::DELETE,
        error: None,
        attempts: 0,
        next_try_ms: now_ms,
        since_ms: now_ms,
    };
    let owe: Vec<Owe> = paths.iter().filter(|path| !path.is_root()).map(owed).collect();
    if owe.len() < paths.len() {
        journal.want_reconcile(remote, Some(&ReconcileReason::Import))?;
    }
    journal.settle(remote, &Settlement { owe, ..Settlement::default() }, now_ms)
}

/// Owes the paths while no supervisor uses the localpath. Exit status 4 if one does.
pub fn owe_offline(
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
        Error::usage(say!("localpath {} with remote {} is not configured", watch, remote))
    })?;
    directories.prepare()?;
    let dir = directories.state.join(&configured.id);
    make_private(&dir)?;
    let path = dir.join(LOCK_NAME);
    let lock = lock::take(&path, false)
        .map_err(|e| Error::system(say!("cannot lock {}", path.display()), e))?
        .ok_or_else(|| taken(&watch.to_string(), &path))?;
    let _ = lock.sign();
    let names: BTreeSet<String> = configured.remotes.iter().map(Remote::name).collect();
    // As a start does, so that the next start finds a consistent journal.
    clean_journal(
        &dir,
        &names,
        &plugin_names(&configured.localpath.plugins),
        quarantine::first_copy(&configured.localpath).as_ref(),
        &log::logger(false),
    )?;
    Journal::open(&dir)
        .and_then(|mut journal| owe(&mut journal, remote, paths))
        .map_err(|e| Error::system(say!("the journal of {}", watch), e))
}
