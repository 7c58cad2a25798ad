//! A damaged journal: everybody who uses it is ended, then it is set aside.

use super::{ASIDE, Site};
use crate::config::model::plugin_names;
use crate::journal::Journal;
use crate::supervisor::aside::{begin_anew, set_aside, stamp};
use crate::supervisor::child::Event;
use crate::supervisor::waits::Waiting;
use slog::{crit, error, warn};
use std::time::Duration;

/// How long to wait after a journal could not be set aside.
const ASIDE_AGAIN: Duration = Duration::from_secs(5);

impl Site {
    /// Its journal is to be set aside.
    pub(in crate::supervisor) fn damaged(&self) -> bool {
        self.damaged.is_some()
    }

    /// Sets a damaged journal aside when nobody uses it any more.
    pub(super) fn mend(&mut self, now: Duration) {
        let Some((why, at)) = &self.damaged else { return };
        if self.any_runs() || now < *at {
            return;
        }
        match set_aside(&self.dir, &stamp()) {
            Ok(to) => {
                crit!(
                    self.log,
                    "the journal was damaged ({why}) and is set aside as {}; every remote is compared",
                    to.display()
                );
                self.damaged = None;
                let names: Vec<String> =
                    self.pushers.iter().filter(|p| !p.removed).map(|p| p.name.clone()).collect();
                if let Err(e) = begin_anew(&self.dir, &names) {
                    // What set_aside left makes the next start wish for it.
                    error!(self.log, "cannot begin a new journal: {e}");
                }
                let plugins = plugin_names(&self.wanted.localpath.plugins);
                if let Err(e) = Journal::open(&self.dir).and_then(|mut j| j.set_plugins(&plugins)) {
                    // The runner does it when it starts.
                    warn!(self.log, "cannot note the plugins now: {e}");
                }
                self.ask_reconcile(ASIDE, |_| true, now);
            }
            Err(e) => {
                crit!(
                    self.log,
                    "the damaged journal in {} cannot be set aside: {e}; tried again",
                    self.dir.display()
                );
                self.damaged = Some((why.clone(), now + ASIDE_AGAIN));
            }
        }
    }

    pub(super) fn damage(&mut self, why: String, now: Duration) {
        error!(self.log, "the journal is damaged: {why}; every process of this localpath is ended");
        self.damaged.get_or_insert((why, now));
        // The next journal counts from 0.
        self.waiting.iter_mut().for_each(Waiting::begin_anew);
        self.watcher.step(Event::KillWanted, now);
        for pusher in &mut self.pushers {
            pusher.process.step(Event::KillWanted, now);
        }
        if let Some(runner) = &mut self.runner {
            runner.process.step(Event::KillWanted, now);
        }
    }
}
