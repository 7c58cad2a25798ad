//! The end of each turn: what the supervisor is told, and how long to sleep.

use super::lane::Lane;
use super::push::Push;
use super::reconcile::Left;
use super::report::{self, View};
use super::run::Pusher;
use super::scrub::Scrub;
use crate::journal::{JournalError, Owed};
use crate::message::{FromPusher, PusherStatus, ReconcileProgress};
use crate::sys::{clock, poll, wake};
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

/// Status is sent at most this often while things change.
const STATUS_EVERY: Duration = Duration::from_millis(250);

/// Rows that are counted for a status at once; with twice as many, the status comes half as often.
const COUNTED_AT_ONCE: u64 = 10_000;
/// How many times rarer at most.
const STATUS_RAREST: u64 = 20;

impl Pusher {
    /// Says what is new, and that this process lives.
    pub(super) fn tell(&mut self, now: Duration) -> Result<(), JournalError> {
        // A progress bar moves.
        self.said.dirty |= self.reconcile.is_under_way() && self.jobs.pushing();
        let work = self.pending.work;
        let idle = self.jobs.idle() && !(work.marks || work.due || work.wide || work.bulk);
        let wait = if idle { Duration::ZERO } else { self.status_every() };
        if self.said.dirty && now.saturating_sub(self.said.status_at) >= wait {
            let status = self.status()?;
            self.said.dirty = false;
            self.said.status_at = now;
            if self.said.status.as_ref() != Some(&status) {
                self.supervisor.tell(&FromPusher::Status(Box::new(status.clone())), now);
                self.said.status = Some(status);
            }
        }
        self.supervisor.beat_at(now);
        Ok(())
    }

    /// Counting takes its time: the more there is to count, the rarer it is done.
    fn status_every(&self) -> Duration {
        let counted = self.said.status.as_ref().map_or(0, |said| said.waiting + said.owed);
        let times = 1 + (counted / COUNTED_AT_ONCE).min(STATUS_RAREST);
        STATUS_EVERY * times as u32
    }

    fn status(&mut self) -> Result<PusherStatus, JournalError> {
        self.note_retry();
        let backlog = self.context.journal.backlog(&self.context.name)?;
        let first: Option<Owed> = match backlog.failing {
            0 => None,
            _ => self.context.journal.failing(&self.context.name, 1)?.into_iter().next(),
        };
        let owed = match self.reconcile.is_under_way() {
            true => self.context.journal.owed_by_reconcile(&self.context.name)?,
            false => 0,
        };
        let comparing = self.jobs.everything();
        let found = self.reconcile.found().paths;
        let unwritten = comparing.map(|work| found.saturating_sub(work.found.written));
        // What is being sent counts, too.
        let in_flight: u64 = self.jobs.pushes().map(Push::bytes_read).sum();
        let pushed_bytes = self.context.row.totals.bytes + in_flight;
        self.reconcile.note_left(Left { owed, unwritten, pushed_bytes });
        let wanted =
            self.context.row.reconcile.as_ref().filter(|_| self.context.row.held.is_none());
        let waiting = wanted
            .map(|why| ReconcileProgress { why: why.clone(), ..ReconcileProgress::default() });
        // Until it is compared again, and what was found is pushed.
        let incomplete = self.reconcile.incomplete().filter(|_| comparing.is_none());
        Ok(report::status(View {
            phase: &self.phase,
            health: &self.health,
            retry_ms: self.said.retry.map(|(_, ms)| ms),
            row: &self.context.row,
            backlog,
            first_failure: first
                .map(|row| format!("{}: {}", row.path, row.error.unwrap_or_default())),
            pushing: self.jobs.pushing(),
            reconcile: self.reconcile.progress().cloned().or(waiting),
            incomplete,
            doubt: self.doubt.words(),
            reconciles_done: self.reconcile.finished(),
            pushes: self.pushes,
            verify: self.jobs.scrub.as_ref().map(Scrub::progress),
        }))
    }

    /// The wall clock's time of the next try: found once for each, so that a status does not change by itself.
    fn note_retry(&mut self) {
        let wall = |until: Duration| {
            let left = until.saturating_sub(clock::boot());
            clock::wall_ms() + i64::try_from(left.as_millis()).unwrap_or(0)
        };
        self.said.retry = self.health.until().map(|until| match self.said.retry {
            Some((of, ms)) if of == until => (of, ms),
            _ => (until, wall(until)),
        });
    }

    /// When there is something to be done again, whatever comes; `due` is when something owed is.
    fn next_time(&self, due: Option<Duration>, now: Duration) -> Duration {
        let busy = !self.jobs.idle()
            || self.jobs.expiry.is_some()
            || self.jobs.verify.as_ref().is_some_and(|l| l.is_running())
            || self.jobs.scrub.as_ref().is_some_and(Scrub::is_running);
        let able = self.may_start(now) && !self.jobs.busy(Lane::Small);
        let gather = self.pending.gathers_until().filter(|at| able && *at > now);
        let rows = self.jobs.compare.as_ref().is_some_and(|c| !c.work.is_running());
        let soon = |yes: bool, wait: Duration| yes.then_some(now + wait);
        let times = [
            Some(self.supervisor.next_beat()),
            Some(self.pending.next_look()),
            soon(busy, self.jobs.look_after()),
            soon(rows, Duration::from_millis(50)),
            soon(self.said.dirty, self.status_every()),
            // Something is to be done at once.
            soon(
                self.pending.is_stale() && self.stop.is_none() && self.pending.retry_at().is_none(),
                Duration::ZERO,
            ),
            due,
            gather,
            self.jobs.goes_on_at(),
            self.phase.next_retry(),
            self.reconcile.next_at(now),
            self.pending.retry_at(),
            self.health.until().filter(|at| *at > now),
            self.stop.map(|stop| stop.until),
            self.context.master.next_at(self.wants_master(now), now),
            self.jobs.scrub.as_ref().and_then(Scrub::wake),
        ];
        times.into_iter().flatten().min().unwrap_or(now)
    }

    /// Waits for whatever comes next.
    pub(super) fn sleep(&mut self, now: Duration) -> io::Result<()> {
        let due = self
            .pending
            .work
            .next_ms
            .map(|ms| now + Duration::from_millis((ms - clock::wall_ms()).max(0) as u64))
            .filter(|_| self.stop.is_none() && self.pending.retry_at().is_none());
        let next = self.next_time(due, now);
        if due.is_some_and(|at| at <= now) {
            self.pending.touch();
        }
        let channel = self.supervisor.channel();
        let interest =
            if channel.wants_write() { poll::Interest::ReadWrite } else { poll::Interest::Read };
        let mut fds = vec![
            (self.wake.as_fd(), poll::Interest::Read),
            (self.signals.as_fd(), poll::Interest::Read),
        ];
        fds.extend(self.context.master.fd().map(|fd| (fd, poll::Interest::Read)));
        // A closed channel is always ready.
        if !self.supervisor_is_gone() {
            fds.push((channel.as_fd(), interest));
        }
        let ready = poll::wait(&fds, Some(next.saturating_sub(now)))?;
        drop(fds);
        drop(channel);
        if ready[0] {
            wake::drain(&self.wake);
            self.pending.touch();
        }
        if due.is_some_and(|at| clock::boot() >= at) {
            self.pending.touch();
        }
        // A closed channel shows when it is read.
        self.supervisor.flush();
        Ok(())
    }
}
