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
        for localpath in &mut self.localpaths {
            if !localpath.announced && localpath.is_watched() {
                localpath.announced = true;
                let watch = localpath.watch().clone();
                tell(Progress::Watching(watch));
            }
        }
        if !self.started && self.localpaths.iter().all(|l| l.announced || l.stuck().is_some()) {
            self.started = true;
            self.notify.ready();
            let stuck = self
                .localpaths
                .iter()
                .filter_map(|l| Some(format!("localpath {} {}", l.watch(), l.stuck()?)));
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
        let reports: Vec<_> = self.localpaths.iter().map(|l| l.report(wall)).collect();
        let remotes = || reports.iter().flat_map(|r| &r.remotes);
        let in_sync = remotes().filter(|r| r.status.state == PusherState::InSync).count();
        let watched = self.localpaths.iter().filter(|l| l.is_watched()).count();
        format!(
            "{watched} of {} localpaths watched, {in_sync} of {} remotes in sync",
            reports.len(),
            remotes().count()
        )
    }

    /// Why the start has failed, if it has.
    pub(super) fn hopeless(&self) -> Option<Error> {
        let localpath = self
            .localpaths
            .iter()
            .find(|l| !l.announced && l.watcher.report().restarts + 1 >= STARTS_MAX)?;
        let last = localpath.watcher.report().last_exit.unwrap_or_default();
        let text = format!(
            "localpath {}: its watcher ended {STARTS_MAX} times before it watched, at last with {last}; its words are in {}",
            localpath.watch(),
            self.options.directories.log_file().display()
        );
        Some(Error::new(Exit::System, text))
    }
}
