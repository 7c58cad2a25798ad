//! A damaged or lost journal: every process that uses it is killed, then it is quarantined and a new one is created.
//! The files of the state directory are checked by device and inode; the database itself is never opened for that (rule
//! 14).

use super::integrity::{Integrity, is_locked_by};
use super::{Damage, SupervisedLocalPath};
use crate::config::model::plugin_names;
use crate::error::{Error, Result};
use crate::help_topic::HelpTopic;
use crate::instance::directories::make_private;
use crate::instance::lock::{LOCK_NAME, taken};
use crate::instance::quarantine::{begin_new, quarantine, stamp};
use crate::reconcile_reason::ReconcileReason;
use crate::supervisor::child::ChildEvent;
use crate::supervisor::waiters::LocalPathWait;
use crate::sys::lock;
use slog::{crit, error};
use std::time::Duration;

/// The delay after a journal could not be quarantined.
const RETRY_AFTER: Duration = Duration::from_secs(5);

impl SupervisedLocalPath {
    /// Its journal must be quarantined.
    pub(in crate::supervisor) fn damaged(&self) -> bool {
        self.damaged.is_some()
    }

    /// Quarantines a damaged journal when no process uses it any more.
    pub(super) fn recover(&mut self, now: Duration) {
        let Some(damage) = self.damaged.take_if(|d| now >= d.at) else { return };
        if self.any_runs() {
            self.damaged = Some(damage);
            return;
        }
        match self.make_room(&damage) {
            Ok(done) => {
                crit!(self.log, "{done}; reconciling every remote";
                    "help" => HelpTopic::JournalDamaged.command());
                let names: Vec<String> =
                    self.pushers.iter().filter(|p| !p.removed).map(|p| p.name.clone()).collect();
                let plugins = plugin_names(&self.configured.localpath.plugins);
                if let Err(e) = begin_new(&self.dir, &names, &plugins) {
                    // The marker remains, so the next start completes it. Pushers and the plugin runner add themselves.
                    error!(self.log, "cannot create a new journal: {e}");
                }
                self.note_files(now);
                self.request_reconcile(&ReconcileReason::JournalSetAside, |_| true, now);
            }
            Err(e) => {
                crit!(self.log, "{}; trying again", e.text;
                    "help" => HelpTopic::JournalDamaged.command());
                let again = now + RETRY_AFTER;
                self.damaged = Some(Damage { why: e.text, at: again, journal: damage.journal });
            }
        }
    }

    /// Makes room for a new journal. Returns what was done.
    fn make_room(&mut self, damage: &Damage) -> Result<String> {
        self.relock()?;
        let why = &damage.why;
        if !damage.journal {
            return Ok(format!("{why}; it is locked again"));
        }
        let to = quarantine(&self.dir, &stamp()).map_err(|e| {
            let dir = self.dir.display();
            Error::system(format!("the journal in {dir} ({why}) cannot be set aside"), e)
        })?;
        Ok(match to.exists() {
            true => {
                format!("the journal was damaged ({why}) and was set aside as {}", to.display())
            }
            false => format!("the journal was lost ({why}); a new one was created"),
        })
    }

    pub(super) fn damage(&mut self, why: String, now: Duration) {
        error!(self.log, "the journal is damaged: {why}; killing every process of this localpath");
        self.end_all(why, true, now);
    }

    /// Files of this supervisor were removed or replaced; `journal`: the database too.
    pub(super) fn lost(&mut self, why: String, journal: bool, now: Duration) {
        crit!(self.log, "{why} while it was in use; killing every process of this localpath");
        self.end_all(why, journal, now);
    }

    fn end_all(&mut self, why: String, journal: bool, now: Duration) {
        self.damaged.get_or_insert(Damage { why, at: now, journal: false }).journal |= journal;
        // The new journal counts from 0.
        self.waits.iter_mut().for_each(LocalPathWait::reset);
        self.watcher.step(ChildEvent::KillWanted, now);
        for pusher in &mut self.pushers {
            pusher.process.step(ChildEvent::KillWanted, now);
        }
        if let Some(runner) = &mut self.runner {
            runner.process.step(ChildEvent::KillWanted, now);
        }
    }
}

impl SupervisedLocalPath {
    /// Stores the identity of its files.
    pub(super) fn note_files(&mut self, now: Duration) {
        self.integrity = Integrity::new(&self.lock, &self.dir, now);
    }

    /// Checks whether its files still exist. While a child is down, that happens in every turn: the next child would
    /// create a new journal, which might get the inode number of the old one.
    pub(super) fn check_files(&mut self, now: Duration) {
        if self.damaged.is_some() || (!self.integrity.is_due(now) && self.all_run()) {
            return;
        }
        self.integrity.checked(now);
        if !self.integrity.knows_journal() {
            self.note_files(now);
        }
        if let Some((why, journal)) = self.integrity.wrong(&self.dir) {
            self.lost(why, journal, now);
        }
    }

    fn all_run(&self) -> bool {
        self.watcher.runs()
            && self.pushers.iter().all(|p| p.process.runs())
            && self.runner.as_ref().is_none_or(|r| r.process.runs())
    }

    /// Creates the directory and takes the lock again, if another file or no file is in its place.
    pub(super) fn relock(&mut self) -> Result<()> {
        make_private(&self.dir)?;
        let path = self.dir.join(LOCK_NAME);
        let refused = |e| Error::system(format!("cannot lock {}", path.display()), e);
        if is_locked_by(&self.lock, &path).map_err(refused)? {
            return Ok(());
        }
        let watch = self.watch().to_string();
        let lock = lock::take(&path, false).map_err(refused)?;
        self.lock = lock.ok_or_else(|| taken(&watch, &path))?;
        let _ = self.lock.sign();
        Ok(())
    }
}
