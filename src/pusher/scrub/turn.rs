//! The scrub's share of the pusher's loop.

use super::super::context::Stuck;
use super::super::health::Health;
use super::super::jobs::STALLED;
use super::super::push::Push;
use super::super::run::Pusher;
use super::part::{Comparing, Outcome, Read};
use super::plan::{self, Bound, Part, Planner, Step};
use super::{Here, Scrub, Stage};
use crate::journal::{JournalError, VerifyRun};
use crate::message::FromPusher;
use crate::sys::clock;
use chrono::Local;
use slog::{info, warn};
use std::time::Duration;

/// So long at a time it looks what the next part is.
const PLAN_FOR: Duration = Duration::from_millis(5);
/// Pushes are let by for so long.
const PATIENCE: Duration = Duration::from_secs(60);
/// A slot that was not free is asked for again after this, and a part that made way begins again.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// A part that fails so often is passed over, unless the remote is the reason.
const TRIES_MOST: u32 = 4;

impl Pusher {
    /// Lets the scrub begin its next part when nothing stands against it. `quiet`: nobody pushes, and
    /// nothing is to be pushed.
    pub(in crate::pusher) fn start_scrub(
        &mut self,
        quiet: bool,
        now: Duration,
    ) -> Result<(), JournalError> {
        let Some(mut scrub) = self.jobs.scrub.take() else { return Ok(()) };
        let went = match scrub.stage {
            Stage::Comparing(_) => Ok(()),
            Stage::Idle | Stage::Ready(_) => self.begin_part(&mut scrub, quiet, now),
        };
        self.jobs.scrub = Some(scrub);
        match went {
            Ok(()) => Ok(()),
            Err(Stuck::Journal(error)) => Err(error),
            Err(Stuck::Root(_) | Stuck::System(_)) => {
                self.put_off_scrub(plan::retry(1), now);
                Ok(())
            }
        }
    }

    /// What must not go on beside it: then the remote, or the root, or everything is in question.
    fn may_roll(&self) -> bool {
        self.health == Health::Good
            && self.phase.held().is_none()
            && self.stop.is_none()
            && self.jobs.verify.is_none()
            && self.jobs.everything().is_none()
            && self.context.row.reconcile.is_none()
            && self.context.row.held.is_none()
    }

    fn begin_part(&mut self, r: &mut Scrub, quiet: bool, now: Duration) -> Result<(), Stuck> {
        if !self.may_roll() {
            self.give_spare_back(r);
            return Ok(());
        }
        if r.state.run.is_none() && !self.begin_run(r, now)? {
            return Ok(());
        }
        let least = r.not_before + if quiet { Duration::ZERO } else { PATIENCE };
        if now < least {
            r.wake = Some(least);
            return Ok(());
        }
        if matches!(r.stage, Stage::Idle) {
            self.plan(r, now)?;
        }
        let Stage::Ready(part) = &r.stage else { return Ok(()) };
        if !r.spare {
            if now >= r.ask_again {
                r.ask_again = now + ASK_AGAIN;
                self.supervisor.send(&FromPusher::WantSpare);
            }
            r.wake = Some(r.ask_again);
            return Ok(());
        }
        let in_flight = self.jobs.pushes().flat_map(Push::paths);
        match Comparing::start(&self.context, part, r.schedule.checksum, in_flight, now) {
            Ok(Some(work)) => r.stage = Stage::Comparing(Box::new(work)),
            // Nothing of it is there any more.
            Ok(None) => {
                let read = Read { part: part.clone(), ..Read::default() };
                self.give_spare_back(r);
                self.part_done(r, read, now)?;
            }
            Err(stuck) => {
                self.give_spare_back(r);
                return Err(stuck);
            }
        }
        Ok(())
    }

    /// True when a run begins now.
    fn begin_run(&mut self, r: &mut Scrub, now: Duration) -> Result<bool, JournalError> {
        let now_ms = clock::wall_ms();
        let Some(due_ms) = r.due_ms else { return Ok(false) };
        if now_ms < due_ms {
            r.wake = Some(now + Duration::from_millis((due_ms - now_ms).unsigned_abs()));
            return Ok(false);
        }
        r.state.run = Some(VerifyRun { began_ms: now_ms, ..VerifyRun::default() });
        (r.planner, r.not_before, self.said.dirty) = (None, now, true);
        self.context.journal.set_verify_state(&self.context.name, Some(&r.state))?;
        info!(self.context.log, "verify_schedule: a run begins");
        Ok(true)
    }

    /// Looks for the next part, for a moment.
    fn plan(&mut self, r: &mut Scrub, now: Duration) -> Result<(), Stuck> {
        let root = self.context.open_root()?;
        let here = Here { root: &root, context: &self.context };
        let after = r.state.run.as_ref().and_then(|run| run.after.as_ref());
        let bound = Bound::new(&r.schedule, r.yields);
        if r.planner.is_none() {
            r.began = now;
        }
        let planner = r.planner.get_or_insert_with(|| Planner::new(after, bound));
        let until = clock::boot() + PLAN_FOR;
        loop {
            match planner.step(&here) {
                Step::Part(part) => {
                    r.stage = Stage::Ready(part);
                    return Ok(());
                }
                Step::End => return Ok(self.end_run(r)?),
                Step::More if clock::boot() >= until => {
                    r.wake = Some(now);
                    return Ok(());
                }
                Step::More => {}
            }
        }
    }

    fn end_run(&mut self, r: &mut Scrub) -> Result<(), JournalError> {
        let (log, name) = (&self.context.log, &self.context.name);
        let late = plan::ended(&r.schedule, &mut r.state, name, clock::wall_ms(), &Local);
        self.context.journal.set_verify_state(name, Some(&r.state))?;
        r.due_ms = plan::due(&r.schedule, &r.state, name, &Local);
        r.planner = None;
        let run = r.state.last.clone().unwrap_or_default();
        info!(log, "verify_schedule: everything was compared"; "parts" => run.parts, "entries" => run.entries,
            "bytes" => run.bytes, "repaired" => run.repaired, "incomplete" => run.incomplete);
        if late {
            warn!(log, "verify_schedule: the run took longer than the time between two; raise its rate or its time";
                "hours" => (run.ended_ms.unwrap_or(run.began_ms) - run.began_ms) / 3_600_000);
        }
        self.pending.touch();
        self.said.dirty = true;
        Ok(())
    }

    /// A part was compared, and what differs is owed.
    fn part_done(&mut self, r: &mut Scrub, read: Read, now: Duration) -> Result<(), JournalError> {
        let log = &self.context.log;
        if read.repaired > 0 {
            info!(log, "verify_schedule: what differs is pushed again"; "count" => read.repaired,
                "to_delete" => read.deletions, "first" => read.first.as_ref().map(ToString::to_string));
        }
        if let Some(words) = &read.incomplete {
            warn!(log, "verify_schedule: a part is incomplete";
                "in" => read.part.directories().first().map(ToString::to_string), "why" => words);
        }
        if let Some(run) = &mut r.state.run {
            run.after = Some(read.part.end());
            run.parts += 1;
            run.entries += read.cost.names;
            run.bytes += read.cost.bytes;
            run.repaired += read.repaired;
            run.there += read.there;
            run.incomplete += u64::from(read.incomplete.is_some());
            // What the operator has approved is not counted again.
            run.deletions = if read.approved { 0 } else { run.deletions + read.deletions };
        }
        if read.approved {
            self.reconcile.forget_approval();
        }
        self.context.journal.set_verify_state(&self.context.name, Some(&r.state))?;
        r.not_before = plan::next_part(&r.schedule, read.cost, r.began, now);
        (r.stage, r.tries, r.began) = (Stage::Idle, 0, r.not_before);
        if r.yields > 0 {
            (r.yields, r.planner) = (r.yields - 1, None);
        }
        self.pending.touch();
        self.said.dirty = true;
        Ok(())
    }

    /// Looks at the rsync of the part in hand, and writes what it found.
    pub(in crate::pusher) fn advance_scrub(&mut self, now: Duration) -> Result<(), JournalError> {
        let Some(mut r) = self.jobs.scrub.take() else { return Ok(()) };
        r.wake = None;
        let went = self.advance_part(&mut r, now);
        self.jobs.scrub = Some(r);
        went
    }

    fn advance_part(&mut self, r: &mut Scrub, now: Duration) -> Result<(), JournalError> {
        let mut work = match std::mem::replace(&mut r.stage, Stage::Idle) {
            Stage::Comparing(work) => work,
            other => {
                r.stage = other;
                return Ok(());
            }
        };
        if work.is_running() && !self.may_roll() {
            work.kill();
            r.again(Duration::ZERO, now);
            self.give_spare_back(r);
            return Ok(());
        }
        let run = r.state.run.clone().unwrap_or_default();
        let went = work.advance(&mut self.context, &run, self.reconcile.approved(), now);
        // A hung remote must not hold a slot, nor what only reads.
        if !work.is_running() || work.stalled(now) > STALLED {
            self.give_spare_back(r);
        }
        let part = work.part().clone();
        match went {
            Ok(Outcome::Running) => r.stage = Stage::Comparing(work),
            Ok(Outcome::Rows { more_in }) => {
                r.stage = Stage::Comparing(work);
                r.wake = Some(now + more_in);
                self.pending.touch();
                self.said.dirty = true;
            }
            Ok(Outcome::Done(read)) => self.part_done(r, read, now)?,
            Ok(Outcome::Failed { words, remote }) => {
                self.part_failed(r, part, words, remote, now)?
            }
            Ok(Outcome::Guarded(held)) => {
                self.guarded(held)?;
                r.again(Duration::ZERO, now);
            }
            Err(Stuck::Journal(error)) => {
                r.again(plan::retry(1), now);
                return Err(error);
            }
            Err(Stuck::Root(why) | Stuck::System(why)) => {
                self.part_failed(r, part, why, true, now)?;
            }
        }
        Ok(())
    }

    fn part_failed(
        &mut self,
        r: &mut Scrub,
        part: Part,
        words: String,
        remote: bool,
        now: Duration,
    ) -> Result<(), JournalError> {
        r.tries += 1;
        if !remote && r.tries >= TRIES_MOST {
            let read = Read { part, incomplete: Some(words), ..Read::default() };
            return self.part_done(r, read, now);
        }
        let wait = plan::retry(r.tries);
        if r.tries.is_power_of_two() {
            warn!(self.context.log, "verify_schedule: a part could not be compared"; "why" => words,
                "in" => part.directories().first().map(ToString::to_string), "again_in_s" => wait.as_secs());
        }
        r.again(wait, now);
        Ok(())
    }

    /// The part in hand makes way, and is compared again no sooner than after `wait`.
    pub(in crate::pusher) fn put_off_scrub(&mut self, wait: Duration, now: Duration) {
        if let Some(mut r) = self.jobs.scrub.take() {
            r.again(wait, now);
            self.give_spare_back(&mut r);
            self.jobs.scrub = Some(r);
        }
    }

    /// The spare slot that was asked for has come.
    pub(in crate::pusher) fn spare_granted(&mut self) {
        match &mut self.jobs.scrub {
            // It was asked for twice, and is one.
            Some(r) if r.spare => {}
            Some(r) if matches!(r.stage, Stage::Ready(_)) => r.spare = true,
            _ => self.supervisor.send(&FromPusher::SpareDone),
        }
    }

    /// A push wants the spare slot.
    pub(in crate::pusher) fn yield_spare(&mut self, now: Duration) {
        if let Some(r) = self.jobs.scrub.as_mut().filter(|r| r.spare) {
            r.yields += u32::from(r.is_running());
            self.put_off_scrub(ASK_AGAIN, now);
        }
    }

    fn give_spare_back(&self, r: &mut Scrub) {
        if std::mem::take(&mut r.spare) {
            self.supervisor.send(&FromPusher::SpareDone);
        }
    }
}
