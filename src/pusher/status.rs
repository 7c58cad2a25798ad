//! What a pusher tells the supervisor of itself, and when.

use super::context::Context;
use super::jobs::Jobs;
use super::jobs::push::Push;
use super::jobs::scrub::Scrub;
use super::reconcile::Left;
use super::report::{self, StatusView};
use super::state::State;
use crate::journal::{JournalError, Owed};
use crate::message::{FromPusher, PusherStatus, ReconcileProgress};
use crate::sys::clock;
use std::time::Duration;

/// Status is sent at most this often while things change.
const STATUS_EVERY: Duration = Duration::from_millis(250);

/// Rows that are counted for a status at once; with twice as many, the status comes half as often.
const COUNTED_AT_ONCE: u64 = 10_000;
/// How many times rarer at most.
const STATUS_RAREST: u64 = 20;

/// What was last told to the supervisor.
#[derive(Default)]
pub struct Status {
    said: Option<PusherStatus>,
    said_at: Duration,
    freshness: Freshness,
    /// The time of the next try of a remote in trouble, and the same on the wall clock.
    retry: Option<(Duration, i64)>,
    /// Batches that went through.
    pushes: u64,
}

/// Whether what was told may be another now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Freshness {
    /// It may.
    #[default]
    Stale,
    /// It is not.
    Fresh,
}

impl Status {
    /// Something has changed.
    pub fn touch(&mut self) {
        self.freshness = Freshness::Stale;
    }

    /// A batch went through.
    pub fn pushed(&mut self) {
        self.pushes += 1;
    }

    /// When there is something to tell.
    pub fn next_at(&self, now: Duration) -> Option<Duration> {
        (self.freshness == Freshness::Stale).then(|| now + self.every())
    }

    /// Says what is new, and that this process lives.
    pub fn tell(
        &mut self,
        context: &Context,
        state: &mut State,
        jobs: &Jobs,
        now: Duration,
    ) -> Result<(), JournalError> {
        // A progress bar moves.
        if state.reconcile().is_under_way() && state.in_flight().pushing() {
            self.touch();
        }
        let wait = if state.is_idle() { Duration::ZERO } else { self.every() };
        if self.freshness == Freshness::Stale && now.saturating_sub(self.said_at) >= wait {
            let status = self.status(context, state, jobs)?;
            self.freshness = Freshness::Fresh;
            self.said_at = now;
            if self.said.as_ref() != Some(&status) {
                context.supervisor.tell(&FromPusher::Status(Box::new(status.clone())), now);
                self.said = Some(status);
            }
        }
        context.supervisor.beat_at(now);
        Ok(())
    }

    /// Counting takes its time: the more there is to count, the rarer it is done.
    fn every(&self) -> Duration {
        let counted = self.said.as_ref().map_or(0, |said| said.waiting + said.owed);
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
        let comparing = state.in_flight().everything().is_some();
        let written = jobs.spool.as_ref().map_or(0, |work| work.found.written);
        let unwritten = comparing.then(|| found.saturating_sub(written));
        // What is being sent counts, too.
        let in_flight: u64 = jobs.pushes().map(Push::bytes_read).sum();
        let pushed_bytes = context.standing.totals.bytes + in_flight;
        state.reconcile_mut().note_left(Left { owed, unwritten, pushed_bytes });
        let reconcile = state.reconcile();
        let waiting = reconcile
            .wanted()
            .filter(|_| reconcile.held().is_none())
            .map(|why| ReconcileProgress { why: why.clone(), ..ReconcileProgress::default() });
        // Until it is compared again, and what was found is pushed.
        let incomplete = reconcile.incomplete().filter(|_| !comparing);
        Ok(report::status(StatusView {
            phase: state.phase(),
            health: state.health(),
            retry_ms: self.retry.map(|(_, ms)| ms),
            standing: &context.standing,
            wanted: reconcile.wanted(),
            held: reconcile.held(),
            backlog,
            first_failure: first
                .map(|row| format!("{}: {}", row.path, row.error.unwrap_or_default())),
            pushing: state.in_flight().pushing(),
            reconcile: reconcile.progress().cloned().or(waiting),
            incomplete,
            doubt: state.doubt().words(),
            reconciles_done: reconcile.finished(),
            pushes: self.pushes,
            verify: jobs.scrub.as_ref().map(Scrub::progress),
        }))
    }

    /// The wall clock's time of the next try: found once for each, so that a status does not change by itself.
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
