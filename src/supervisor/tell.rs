//! What whoever started the instance and systemd hear of it, unasked.

use super::run::{Progress, TURN};
use super::state::Supervisor;
use crate::error::{Error, Exit};
use crate::message::PusherState;
use crate::sys::clock;
use std::time::Duration;

/// A daemon whose watcher ends this often before it ever watched reports failure to who started it.
const STARTS_MAX: u64 = 5;

impl Supervisor {
    pub(super) fn tell(&mut self, tell: &mut dyn FnMut(Progress)) {
        for site in &mut self.sites {
            if !site.announced && site.is_watched() {
                site.announced = true;
                let watch = site.wanted.localpath.watch.clone();
                tell(Progress::Watching(watch));
            }
        }
        if !self.started && self.sites.iter().all(|s| s.announced || s.stuck().is_some()) {
            self.started = true;
            self.notify.ready();
            let stuck = self.sites.iter().filter_map(|s| {
                Some(format!("localpath {} {}", s.wanted.localpath.watch, s.stuck()?))
            });
            tell(Progress::Started(stuck.collect()));
        }
    }

    pub(super) fn keep_alive(&mut self, now: Duration) {
        if let (Some(due), Some(every)) = (self.next_alive, self.notify.watchdog())
            && now >= due
        {
            self.notify.alive();
            self.next_alive = Some(now + every);
        }
        if self.notify.listens() && now >= self.next_summary {
            self.next_summary = now + TURN;
            let line = self.summary();
            self.notify.status(line);
        }
    }

    /// One line on everything.
    fn summary(&self) -> String {
        let wall = clock::wall_ms();
        let reports: Vec<_> = self.sites.iter().map(|s| s.report(wall)).collect();
        let remotes = || reports.iter().flat_map(|r| &r.remotes);
        let in_sync = remotes().filter(|r| r.status.state == PusherState::InSync).count();
        let watched = self.sites.iter().filter(|s| s.is_watched()).count();
        format!(
            "{watched} of {} localpaths watched, {in_sync} of {} remotes in sync",
            reports.len(),
            remotes().count()
        )
    }

    /// Why the start has failed, if it has.
    pub(super) fn hopeless(&self) -> Option<Error> {
        let site = self
            .sites
            .iter()
            .find(|s| !s.announced && s.watcher.report().restarts + 1 >= STARTS_MAX)?;
        let last = site.watcher.report().last_exit.unwrap_or_default();
        let text = format!(
            "localpath {}: its watcher ended {STARTS_MAX} times before it watched, at last with {last}; its words are in {}",
            site.wanted.localpath.watch,
            self.options.directories.log_file().display()
        );
        Some(Error::new(Exit::System, text))
    }
}
