//! The status that a pusher sends to the supervisor.

use super::context::Context;
use super::jobs::Jobs;
use super::jobs::push::Push;
use super::jobs::scrub::Scrub;
use super::meter::Meter;
use super::reconcile::Remaining;
use super::report::{self, StatusView};
use super::state::State;
use crate::journal::{JournalError, Owed};
use crate::message::{FromPusher, PusherStatus, ReconcileProgress};
use crate::sys::clock;
use std::time::Duration;

/// The shortest interval between two status messages while the pusher is not idle.
const STATUS_EVERY: Duration = Duration::from_millis(250);

/// A backlog of up to this number of rows is counted at the full rate. With twice as many, the status is sent half as
/// often.
const COUNTED_AT_ONCE: u64 = 10_000;
/// The largest factor by which the interval grows.
const STATUS_RAREST: u64 = 20;

/// The last status that was sent to the supervisor.
#[derive(Default)]
pub struct Status {
    sent: Option<PusherStatus>,
    sent_at: Duration,
    freshness: Freshness,
    /// The time of the next attempt for a remote in trouble, and the same on the wall clock.
    retry: Option<(Duration, i64)>,
    /// Batches that were pushed successfully.
    pushes: u64,
    meter: Meter,
}

/// Whether the last status may be out of date.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Freshness {
    /// It may be.
    #[default]
    Stale,
    /// It is current.
    Fresh,
}

impl Status {
    /// Something has changed.
    pub fn touch(&mut self) {
        self.freshness = Freshness::Stale;
    }

    /// A batch was pushed successfully.
    pub fn pushed(&mut self) {
        self.pushes += 1;
    }

    /// When the next status is due.
    pub fn next_at(&self, now: Duration) -> Option<Duration> {
        (self.freshness == Freshness::Stale).then(|| now + self.every())
    }

    /// Sends a changed status, and a heartbeat.
    pub fn send(
        &mut self,
        context: &Context,
        state: &mut State,
        jobs: &Jobs,
        now: Duration,
    ) -> Result<(), JournalError> {
        let standby = context.standby_status(now);
        if self.sent.as_ref().is_some_and(|sent| sent.standby != standby) {
            self.touch();
        }
        // The progress of the reconcile changes.
        if state.reconcile().is_under_way() && state.in_flight().pushing() {
            self.touch();
        }
        let wait = if state.is_idle() { Duration::ZERO } else { self.every() };
        if self.freshness == Freshness::Stale && now.saturating_sub(self.sent_at) >= wait {
            let status = self.status(context, state, jobs)?;
            self.freshness = Freshness::Fresh;
            self.sent_at = now;
            if self.sent.as_ref() != Some(&status) {
                context.supervisor.send_at(&FromPusher::Status(Box::new(status.clone())), now);
                self.sent = Some(status);
            }
        }
        context.supervisor.beat_unless_resting(now);
        Ok(())
    }

    /// The interval between status messages. It grows with the backlog, because counting a large one takes long.
    fn every(&self) -> Duration {
        let counted = self.sent.as_ref().map_or(0, |sent| sent.waiting + sent.owed);
        let times = 1 + (counted / COUNTED_AT_ONCE).min(STATUS_RAREST);
        STATUS_EVERY * times as u32
    }

    fn status(
        &mut self,
        context: &Context,
        state: &mut State,
        jobs: &Jobs,
    ) -> Result<PusherStatus, JournalError> {
        self.note_retry(state.health().until());
        let backlog = context.journal.backlog(&context.name)?;
        let first: Option<Owed> = match backlog.failing {
            0 => None,
            _ => context.journal.failing(&context.name, 1)?.into_iter().next(),
        };
        let owed = match state.reconcile().is_under_way() {
            true => context.journal.owed_by_reconcile(&context.name)?,
            false => 0,
        };
        let found = state.reconcile().found().paths;
        let owed = match owed > 0 && context.journal.owes_everything(&context.name)? {
            true => {
                let lines = jobs.bulk().filter(|push| push.is_everything()).map(Push::lines).sum();
                owed.max(found.saturating_sub(lines))
            }
            false => owed,
        };
        let comparing = state.in_flight().reconcile().is_some();
        let written = jobs.spool.as_ref().map_or(0, |work| work.found.written);
        let unwritten = comparing.then(|| found.saturating_sub(written));
        // Bytes in flight count, too.
        let in_flight: u64 = jobs.pushes().map(Push::bytes_read).sum();
        let pushed_bytes = context.remote_state.totals.bytes + in_flight;
        state.reconcile_mut().note_remaining(Remaining { owed, unwritten, pushed_bytes });
        let reconcile = state.reconcile();
        let waiting = reconcile
            .wanted()
            .filter(|_| reconcile.held().is_none())
            .map(|why| ReconcileProgress { why: why.clone(), ..ReconcileProgress::default() });
        let mut progress = reconcile.progress().cloned();
        match &mut progress {
            // Before everything is counted, the end is not known.
            Some(progress) if progress.found > 0 => {
                self.meter.note(progress, clock::boot());
                progress.rate = self.meter.rate();
            }
            Some(_) | None => self.meter.stop(),
        }
        // Not while the reconcile is repeated.
        let incomplete = reconcile.incomplete().filter(|_| !comparing);
        Ok(report::status(StatusView {
            phase: state.phase(),
            health: state.health(),
            retry_ms: self.retry.map(|(_, ms)| ms),
            remote_state: &context.remote_state,
            wanted: reconcile.wanted(),
            held: reconcile.held(),
            backlog,
            first_failure: first
                .map(|row| format!("{}: {}", row.path, row.error.unwrap_or_default())),
            pushing: state.in_flight().pushing(),
            waits_for_slot: state.waits_for_slot(),
            reconcile: progress.or(waiting),
            incomplete,
            doubt: state.doubt().message(),
            reconciles_done: reconcile.finished(),
            requests_done: reconcile.requests_done(),
            pushes: self.pushes,
            verify: jobs.scrub.as_ref().map(Scrub::progress),
            standby: context.standby_status(clock::boot()),
        }))
    }

    /// The time of the next attempt on the wall clock. It is computed only once, so that the status does not change
    /// without a cause.
    fn note_retry(&mut self, until: Option<Duration>) {
        let wall = |until: Duration| {
            let left = until.saturating_sub(clock::boot());
            clock::wall_ms() + i64::try_from(left.as_millis()).unwrap_or(0)
        };
        self.retry = until.map(|until| match self.retry {
            Some((of, ms)) if of == until => (of, ms),
            _ => (until, wall(until)),
        });
    }
}
