//! The turns of the scrub.

use super::super::rsyncing::{Rsyncing, STALLED};
use super::part::{Comparing, Outcome, Read};
use super::plan::{self, Bound, Part, Planner, Step};
use super::{Here, Scrub, ScrubStage};
use crate::journal::{Held, JournalError, VerifyRun};
use crate::message::FromPusher;
use crate::path::RelPath;
use crate::pusher::context::Context;
use crate::pusher::stuck::Stuck;
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

/// What the rest of the pusher must know of a turn of the scrub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// It owes something now, or shows something new.
    Owed,
    /// It has used what the operator approved.
    ApprovalUsed,
    /// The delete guard holds what it has found.
    Guarded(Held),
}

impl Scrub {
    /// Begins the next part when nothing stands against it. `quiet`: nothing is pushed, and nothing waits to be;
    /// `allowed`: neither the remote, nor the root, nor everything is in question; `in_flight`: what pushes have in hand.
    pub fn begin<'a>(
        &mut self,
        context: &mut Context,
        allowed: bool,
        quiet: bool,
        in_flight: impl Iterator<Item = &'a RelPath>,
        now: Duration,
    ) -> Result<Vec<News>, JournalError> {
        let mut news = Vec::new();
        if matches!(self.stage, ScrubStage::Comparing(_)) {
            return Ok(news);
        }
        match self.begin_part(context, allowed, quiet, in_flight, now, &mut news) {
            Ok(()) => {}
            Err(Stuck::Journal(error)) => return Err(error),
            Err(Stuck::Root(_) | Stuck::System(_)) => self.put_off(plan::retry(1), now),
        }
        Ok(news)
    }

    fn begin_part<'a>(
        &mut self,
        context: &mut Context,
        allowed: bool,
        quiet: bool,
        in_flight: impl Iterator<Item = &'a RelPath>,
        now: Duration,
        news: &mut Vec<News>,
    ) -> Result<(), Stuck> {
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
            // Nothing of it is there any more.
            Ok(None) => {
                let read = Read { part: part.clone(), ..Read::default() };
                self.spare = None;
                self.part_done(context, read, now, news)?;
            }
            Err(stuck) => {
                self.spare = None;
                return Err(stuck);
            }
        }
        Ok(())
    }

    /// True when a run begins now.
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
        info!(context.log, "verify_schedule: a run begins");
        Ok(true)
    }

    /// Looks for the next part, for a moment.
    fn plan(
        &mut self,
        context: &mut Context,
        now: Duration,
        news: &mut Vec<News>,
    ) -> Result<(), Stuck> {
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
        info!(log, "verify_schedule: everything was compared"; "parts" => run.parts, "entries" => run.entries,
            "bytes" => run.bytes, "repaired" => run.repaired, "incomplete" => run.incomplete);
        if late {
            warn!(log, "verify_schedule: the run took longer than the time between two; raise its rate or its time";
                "hours" => (run.ended_ms.unwrap_or(run.began_ms) - run.began_ms) / 3_600_000);
        }
        news.push(News::Owed);
        Ok(())
    }

    /// A part was compared, and what differs is owed.
    fn part_done(
        &mut self,
        context: &mut Context,
        read: Read,
        now: Duration,
        news: &mut Vec<News>,
    ) -> Result<(), JournalError> {
        let log = &context.log;
        if read.repaired > 0 {
            info!(log, "verify_schedule: what differs is pushed again"; "count" => read.repaired,
                "to_delete" => read.deletions, "first" => read.first.as_ref().map(ToString::to_string));
        }
        if let Some(words) = &read.incomplete {
            warn!(log, "verify_schedule: a part is incomplete";
                "in" => read.part.directories().first().map(ToString::to_string), "why" => words);
        }
        if let Some(run) = &mut self.state.run {
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

    /// Looks at the rsync of the part in hand, and writes what it found. The operator has `approved` this number of
    /// deletions.
    pub fn advance(
        &mut self,
        context: &mut Context,
        allowed: bool,
        approved: Option<u64>,
        now: Duration,
    ) -> Result<Vec<News>, JournalError> {
        self.wake = None;
        let mut news = Vec::new();
        let mut work = match std::mem::replace(&mut self.stage, ScrubStage::Idle) {
            ScrubStage::Comparing(work) => work,
            other => {
                self.stage = other;
                return Ok(news);
            }
        };
        if work.is_running() && !allowed {
            work.kill();
            self.again(Duration::ZERO, now);
            self.spare = None;
            return Ok(news);
        }
        let run = self.state.run.clone().unwrap_or_default();
        let went = work.advance(context, &run, approved, now);
        // A hung remote must not hold a slot, nor what only reads.
        if !work.is_running() || work.stalled(now) > STALLED {
            self.spare = None;
        }
        let part = work.part().clone();
        match went {
            Ok(Outcome::Running) => self.stage = ScrubStage::Comparing(work),
            Ok(Outcome::Rows { more_in }) => {
                self.stage = ScrubStage::Comparing(work);
                self.wake = Some(now + more_in);
                news.push(News::Owed);
            }
            Ok(Outcome::Done(read)) => self.part_done(context, read, now, &mut news)?,
            Ok(Outcome::Failed { words, remote }) => {
                self.part_failed(context, (part, words), remote, now, &mut news)?;
            }
            Ok(Outcome::Guarded(held)) => {
                news.push(News::Guarded(held));
                self.again(Duration::ZERO, now);
            }
            Err(Stuck::Journal(error)) => {
                self.again(plan::retry(1), now);
                return Err(error);
            }
            Err(Stuck::Root(why) | Stuck::System(why)) => {
                self.part_failed(context, (part, why), true, now, &mut news)?;
            }
        }
        Ok(news)
    }

    fn part_failed(
        &mut self,
        context: &mut Context,
        (part, words): (Part, String),
        remote: bool,
        now: Duration,
        news: &mut Vec<News>,
    ) -> Result<(), JournalError> {
        self.tries += 1;
        if !remote && self.tries >= TRIES_MOST {
            let read = Read { part, incomplete: Some(words), ..Read::default() };
            return self.part_done(context, read, now, news);
        }
        let wait = plan::retry(self.tries);
        if self.tries.is_power_of_two() {
            warn!(context.log, "verify_schedule: a part could not be compared"; "why" => words,
                "in" => part.directories().first().map(ToString::to_string), "again_in_s" => wait.as_secs());
        }
        self.again(wait, now);
        Ok(())
    }

    /// The part in hand makes way, and is compared again no sooner than after `wait`.
    pub fn put_off(&mut self, wait: Duration, now: Duration) {
        self.again(wait, now);
        self.spare = None;
    }

    /// The spare slot that was asked for has come.
    pub fn spare_granted(&mut self) {
        // It was asked for twice, and is one.
        if self.spare.is_some() {
            return;
        }
        let slot = self.spares.slot();
        if matches!(self.stage, ScrubStage::Ready(_)) {
            self.spare = Some(slot);
        }
    }

    /// A push wants the spare slot.
    pub fn make_way(&mut self, now: Duration) {
        if self.spare.is_some() {
            self.yields += u32::from(self.is_running());
            self.put_off(ASK_AGAIN, now);
        }
    }
}
