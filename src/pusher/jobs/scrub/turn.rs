//! The turns of the scrub.

use super::super::rsyncing::Rsyncing;
use super::part::{Comparing, Outcome, Read};
use super::plan::{self, Bound, Part, Planner, Step};
use super::{Here, Scrub, ScrubStage};
use crate::help_topic::Reason;
use crate::journal::{Held, JournalError, VerifyRun};
use crate::message::{FromPusher, SlotKind};
use crate::path::RelPath;
use crate::pusher::context::Context;
use crate::pusher::job_error::JobError;
use crate::sys::clock;
use chrono::Local;
use slog::{info, warn};
use std::time::Duration;

/// How long it searches for the next part in one turn.
const PLAN_FOR: Duration = Duration::from_millis(5);
/// How long it gives way to pushes.
const PATIENCE: Duration = Duration::from_secs(60);
/// The delay before it requests a slot again, and before a part that gave way is restarted.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// A part that fails this number of times is skipped, unless the remote is the cause.
const TRIES_MOST: u32 = 4;

/// What the rest of the pusher must know about a turn of the scrub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// It has written owed rows, or has a new status.
    Owed,
    /// It has used the operator's approval.
    ApprovalUsed,
    /// The delete guard holds what it found.
    Guarded(Held),
}

impl Scrub {
    /// Begins the next part if it may. `quiet` says whether nothing is being pushed or waits to be pushed, and
    /// `allowed` whether the scrub may run. `in_flight` are the paths of pushes in flight.
    pub fn begin<'a>(
        &mut self,
        context: &mut Context,
        allowed: bool,
        quiet: bool,
        in_flight: impl Iterator<Item = &'a RelPath>,
        now: Duration,
        news: &mut Vec<News>,
    ) -> Result<(), JournalError> {
        if matches!(self.stage, ScrubStage::Comparing(_)) {
            return Ok(());
        }
        match self.begin_part(context, allowed, quiet, in_flight, now, news) {
            Ok(()) => {}
            Err(JobError::Journal(error)) => return Err(error),
            Err(JobError::Root(_) | JobError::System(_)) => self.put_off(plan::retry(1), now),
        }
        Ok(())
    }

    fn begin_part<'a>(
        &mut self,
        context: &mut Context,
        allowed: bool,
        quiet: bool,
        in_flight: impl Iterator<Item = &'a RelPath>,
        now: Duration,
        news: &mut Vec<News>,
    ) -> Result<(), JobError> {
        if !allowed {
            self.spare = None;
            return Ok(());
        }
        if self.state.run.is_none() && !self.begin_run(context, now, news)? {
            return Ok(());
        }
        let least = self.not_before + if quiet { Duration::ZERO } else { PATIENCE };
        if now < least {
            self.wake = Some(least);
            return Ok(());
        }
        if matches!(self.stage, ScrubStage::Idle) {
            self.plan(context, now, news)?;
        }
        let ScrubStage::Ready(part) = &self.stage else { return Ok(()) };
        if self.spare.is_none() {
            if now >= self.ask_again {
                self.ask_again = now + ASK_AGAIN;
                context.supervisor.send(&FromPusher::WantSpare);
            }
            self.wake = Some(self.ask_again);
            return Ok(());
        }
        match Comparing::start(context, part, self.schedule.checksum, in_flight, now) {
            Ok(Some(work)) => self.stage = ScrubStage::Comparing(Box::new(work)),
            // None of its directories exists any more.
            Ok(None) => {
                let read = Read { part: part.clone(), ..Read::default() };
                self.spare = None;
                self.part_done(context, read, now, news)?;
            }
            Err(error) => {
                self.spare = None;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Begins a run if it is due. Returns true if it did.
    fn begin_run(
        &mut self,
        context: &mut Context,
        now: Duration,
        news: &mut Vec<News>,
    ) -> Result<bool, JournalError> {
        let now_ms = clock::wall_ms();
        let Some(due_ms) = self.due_ms else { return Ok(false) };
        if now_ms < due_ms {
            self.wake = Some(now + Duration::from_millis((due_ms - now_ms).unsigned_abs()));
            return Ok(false);
        }
        self.state.run = Some(VerifyRun { began_ms: now_ms, ..VerifyRun::default() });
        (self.planner, self.not_before) = (None, now);
        news.push(News::Owed);
        context.journal.set_verify_state(&context.name, Some(&self.state))?;
        info!(context.log, "verify_schedule: run started");
        Ok(true)
    }

    /// Searches for the next part, for a short time.
    fn plan(
        &mut self,
        context: &mut Context,
        now: Duration,
        news: &mut Vec<News>,
    ) -> Result<(), JobError> {
        let root = context.open_root()?;
        let here = Here { root: &root, context };
        let after = self.state.run.as_ref().and_then(|run| run.after.as_ref());
        let bound = Bound::new(&self.schedule, self.yields);
        if self.planner.is_none() {
            self.began = now;
        }
        let planner = self.planner.get_or_insert_with(|| Planner::new(after, bound));
        let until = clock::boot() + PLAN_FOR;
        loop {
            match planner.step(&here) {
                Step::Part(part) => {
                    self.stage = ScrubStage::Ready(part);
                    return Ok(());
                }
                Step::End => return Ok(self.end_run(context, news)?),
                Step::More if clock::boot() >= until => {
                    self.wake = Some(now);
                    return Ok(());
                }
                Step::More => {}
            }
        }
    }

    fn end_run(&mut self, context: &mut Context, news: &mut Vec<News>) -> Result<(), JournalError> {
        let (log, name) = (&context.log, &context.name);
        let late = plan::ended(&self.schedule, &mut self.state, name, clock::wall_ms(), &Local);
        context.journal.set_verify_state(name, Some(&self.state))?;
        self.due_ms = plan::due(&self.schedule, &self.state, name, &Local);
        self.planner = None;
        let run = self.state.last.clone().unwrap_or_default();
        info!(log, "verify_schedule: run finished"; "parts" => run.parts, "entries" => run.entries,
            "bytes" => run.bytes, "repaired" => run.repaired, "incomplete" => run.incomplete);
        if late {
            warn!(log, "verify_schedule: the run took longer than its period; raise the rate or the period";
                "hours" => (run.ended_ms.unwrap_or(run.began_ms) - run.began_ms) / 3_600_000);
        }
        news.push(News::Owed);
        Ok(())
    }

    /// A part was compared, and its differences are owed.
    fn part_done(
        &mut self,
        context: &mut Context,
        read: Read,
        now: Duration,
        news: &mut Vec<News>,
    ) -> Result<(), JournalError> {
        let log = &context.log;
        if read.repaired > 0 {
            info!(log, "verify_schedule: pushing differences"; "count" => read.repaired,
                "to_delete" => read.deletions, "first" => read.first.as_ref().map(ToString::to_string));
        }
        if let Some(message) = &read.incomplete {
            warn!(log, "verify_schedule: a part is incomplete";
                "in" => read.part.directories().first().map(ToString::to_string), "why" => message);
        }
        if let Some(run) = &mut self.state.run {
            run.after = Some(read.part.end());
            run.parts += 1;
            run.entries += read.cost.names;
            run.bytes += read.cost.bytes;
            run.repaired += read.repaired;
            run.there += read.there;
            run.incomplete += u64::from(read.incomplete.is_some());
            // Deletions that the operator has approved are not counted again.
            run.deletions = if read.approved { 0 } else { run.deletions + read.deletions };
        }
        if read.approved {
            news.push(News::ApprovalUsed);
        }
        context.journal.set_verify_state(&context.name, Some(&self.state))?;
        self.not_before = plan::next_part(&self.schedule, read.cost, self.began, now);
        (self.stage, self.tries, self.began) = (ScrubStage::Idle, 0, self.not_before);
        if self.yields > 0 {
            (self.yields, self.planner) = (self.yields - 1, None);
        }
        news.push(News::Owed);
        Ok(())
    }

    /// Polls the rsync of the current part, and writes what it found. The operator has `approved` this number of
    /// deletions.
    pub fn advance(
        &mut self,
        context: &mut Context,
        allowed: bool,
        approved: Option<u64>,
        now: Duration,
        news: &mut Vec<News>,
    ) -> Result<(), JournalError> {
        self.wake = None;
        let mut work = match std::mem::replace(&mut self.stage, ScrubStage::Idle) {
            ScrubStage::Comparing(work) => work,
            other => {
                self.stage = other;
                return Ok(());
            }
        };
        if work.is_running() && !allowed {
            work.kill();
            self.again(Duration::ZERO, now);
            self.spare = None;
            return Ok(());
        }
        let run = self.state.run.clone().unwrap_or_default();
        let result = work.advance(context, &run, approved, now);
        // Neither a hung remote nor a part that only reads output may hold a slot.
        if !work.is_running() || work.idles(now) {
            self.spare = None;
        }
        let part = work.part().clone();
        match result {
            Ok(Outcome::Running) => self.stage = ScrubStage::Comparing(work),
            Ok(Outcome::Rows { more_in }) => {
                self.stage = ScrubStage::Comparing(work);
                self.wake = Some(now + more_in);
                news.push(News::Owed);
            }
            Ok(Outcome::Done(read)) => self.part_done(context, read, now, news)?,
            Ok(Outcome::Failed { message, remote }) => {
                self.part_failed(context, (part, message), remote, now, news)?;
            }
            Ok(Outcome::Guarded(held)) => {
                news.push(News::Guarded(held));
                self.again(Duration::ZERO, now);
            }
            Err(JobError::Journal(error)) => {
                self.again(plan::retry(1), now);
                return Err(error);
            }
            Err(JobError::Root(Reason { why, .. }) | JobError::System(why)) => {
                self.part_failed(context, (part, why), true, now, news)?;
            }
        }
        Ok(())
    }

    fn part_failed(
        &mut self,
        context: &mut Context,
        (part, message): (Part, String),
        remote: bool,
        now: Duration,
        news: &mut Vec<News>,
    ) -> Result<(), JournalError> {
        self.tries += 1;
        if !remote && self.tries >= TRIES_MOST {
            let read = Read { part, incomplete: Some(message), ..Read::default() };
            return self.part_done(context, read, now, news);
        }
        let wait = plan::retry(self.tries);
        if self.tries.is_power_of_two() {
            warn!(context.log, "verify_schedule: a part could not be compared"; "why" => message,
                "in" => part.directories().first().map(ToString::to_string), "again_in_s" => wait.as_secs());
        }
        self.again(wait, now);
        Ok(())
    }

    /// The current part gives way, and is compared again after `wait` at the earliest.
    pub fn put_off(&mut self, wait: Duration, now: Duration) {
        self.again(wait, now);
        self.spare = None;
    }

    /// The supervisor grants the spare slot.
    pub fn spare_granted(&mut self) {
        // It was requested twice, but only one is needed.
        if self.spare.is_some() {
            return;
        }
        let slot = self.spares.slot(SlotKind::Large);
        if matches!(self.stage, ScrubStage::Ready(_)) {
            self.spare = Some(slot);
        }
    }

    /// A push needs the spare slot.
    pub fn give_way(&mut self, now: Duration) {
        if self.spare.is_some() {
            self.yields += u32::from(self.is_running());
            self.put_off(ASK_AGAIN, now);
        }
    }
}
