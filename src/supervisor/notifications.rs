//! Notifications to the process that started the instance, and to systemd.

use super::state::Supervisor;
use crate::error::{Error, Exit};
use crate::message::{LocalPathStatus, PusherState};
use crate::path::OsBytes;
use crate::sys::clock;
use std::time::Duration;

/// If the watcher of a daemon exits this often before it first watched, the daemon reports failure to the process that
/// started it.
const STARTS_MAX: u64 = 5;

/// The interval of notifications to systemd.
const SUMMARY_EVERY: Duration = Duration::from_secs(1);
/// The interval of progress reports of `-r`.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// A notification to the process that started the supervisor.
#[derive(Debug)]
pub enum Notification {
    /// The configuration has a warning, as `check` prints it.
    Warned(String),
    /// The banner, line by line, before any child is started.
    Banner(Vec<String>),
    /// A localpath is watched for the first time.
    Watching(OsBytes),
    /// Every localpath is watched, or is not for the reasons given.
    Started(Vec<String>),
    /// The progress of the comparison of `-r`, in the foreground.
    Comparing(Vec<LocalPathStatus>),
}

impl Supervisor {
    /// Sends the new notifications.
    pub(super) fn notify_starter(&mut self, notify: &mut dyn FnMut(Notification)) {
        for localpath in &mut self.localpaths {
            if !localpath.announced && localpath.is_watched() {
                localpath.announced = true;
                let watch = localpath.watch().clone();
                notify(Notification::Watching(watch));
            }
        }
        if !self.started && self.localpaths.iter().all(|l| l.announced || l.stuck().is_some()) {
            self.started = true;
            self.systemd.ready();
            let stuck = self
                .localpaths
                .iter()
                .filter_map(|l| Some(format!("localpath {} {}", l.watch(), l.stuck()?)));
            notify(Notification::Started(stuck.collect()));
        }
    }

    /// `-r` in the foreground: the progress of the reconcile until its end.
    pub(super) fn notify_progress(&mut self, notify: &mut dyn FnMut(Notification), now: Duration) {
        if self.stopping || self.follow_at.is_none_or(|at| now < at) {
            return;
        }
        let wall_ms = clock::wall_ms();
        let all: Vec<_> =
            self.localpaths.iter().map(|localpath| localpath.report(wall_ms)).collect();
        let over = all.iter().flat_map(|l| &l.remotes).all(|r| r.is_compared());
        self.follow_at = (!over).then_some(now + PROGRESS_EVERY);
        notify(Notification::Comparing(all));
    }

    /// Notifies systemd.
    pub(super) fn keep_alive(&mut self, now: Duration) {
        if let (Some(due), Some(every)) = (self.next_alive, self.systemd.watchdog())
            && now >= due
        {
            self.systemd.alive();
            self.next_alive = Some(now + every);
        }
        if self.systemd.listens() && now >= self.next_summary {
            self.next_summary = now + SUMMARY_EVERY;
            let line = self.summary();
            self.systemd.status(line);
        }
    }

    /// A summary on one line.
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
    pub(super) fn start_failure(&self) -> Option<Error> {
        let localpath = self
            .localpaths
            .iter()
            .find(|l| !l.announced && l.watcher.report().restarts + 1 >= STARTS_MAX)?;
        let last = localpath.watcher.report().last_exit.unwrap_or_default();
        let text = format!(
            "localpath {}: its watcher exited {STARTS_MAX} times before it watched, last with {last}; see its messages in {}",
            localpath.watch(),
            self.options.directories.log_file().display()
        );
        Some(Error::new(Exit::System, text))
    }
}
