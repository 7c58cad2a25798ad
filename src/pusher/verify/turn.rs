//! The share of `syncsup verify` in the pusher's loop.

use super::{Ended, Looking, SHOW_EVERY, Stage};
use crate::journal::JournalError;
use crate::message::{FromPusher, Ticket, VerifyEnd, VerifyJob, VerifyPart};
use crate::pusher::context::{Stuck, broken};
use crate::pusher::health::Health;
use crate::pusher::jobs::STALLED;
use crate::pusher::phase::Phase;
use crate::pusher::run::Pusher;
use crate::pusher::slots::Waiter;
use crate::rsync::differ::{Differ, Touched};
use crate::rsync::excluded::Holders;
use std::time::Duration;

impl Pusher {
    /// Somebody wants to know. One at a time: a new question takes the place of one that nobody may read any more.
    pub(in crate::pusher) fn verify(&mut self, ticket: Ticket, job: VerifyJob) {
        if let Some(old) = self.end_verify() {
            self.tell_end(old, VerifyEnd::Failed("another comparison was asked for".into()));
        }
        let touched = Touched::default();
        let (stage, differ) = (Stage::Wanted, Differ::default());
        self.jobs.verify = Some(Looking {
            ticket,
            job,
            stage,
            slot: false,
            touched,
            differ,
            asked: false,
            shown: Duration::ZERO,
            holders: Holders::default(),
            unkept: None,
        });
    }

    /// Ends it, unread; gives its ticket.
    pub(in crate::pusher) fn end_verify(&mut self) -> Option<Ticket> {
        let mut looking = self.jobs.verify.take()?;
        looking.kill();
        self.return_slot(looking.slot);
        self.pending.touch();
        Some(looking.ticket)
    }

    fn tell_end(&self, ticket: Ticket, end: VerifyEnd) {
        let part = VerifyPart { end: Some(end), ..VerifyPart::default() };
        self.supervisor.send(&FromPusher::Verified(ticket, part));
    }

    /// The next part is asked for, or nobody reads any more.
    pub(in crate::pusher) fn verify_more(&mut self, ticket: Ticket, more: bool) {
        match self.jobs.verify.as_mut().filter(|l| l.ticket == ticket) {
            Some(looking) if more => looking.asked = true,
            Some(_) => drop(self.end_verify()),
            None => {}
        }
    }

    /// What keeps it from being compared at all now.
    fn cannot_verify(&self) -> Option<String> {
        if let Some(why) = self.phase.held() {
            return Some(format!("held: {why}"));
        }
        match &self.health {
            Health::Good => None,
            Health::Backoff { words, .. } | Health::Misconfigured { words, .. } => {
                Some(format!("in trouble: {words}"))
            }
        }
    }

    /// True when it waits for a slot.
    pub(in crate::pusher) fn start_verify(&mut self, now: Duration) -> Result<bool, JournalError> {
        let wanted = self.jobs.verify.as_ref().is_some_and(|l| matches!(l.stage, Stage::Wanted));
        if !wanted || self.jobs.compare.is_some() || self.phase == Phase::AwaitingRoot {
            return Ok(false);
        }
        if !self.slots.is_turn(Waiter::Verify, u32::MAX) {
            return Ok(true);
        }
        let Some(mut looking) = self.jobs.verify.take() else { return Ok(false) };
        looking.slot = self.slots.take();
        // One at a time.
        self.put_off_scrub(Duration::ZERO, now);
        self.jobs.pushes().for_each(|push| looking.touch(push.paths()));
        let is_running = looking.start_step(&self.context, now);
        self.went_on(looking, is_running.map(|()| None))?;
        Ok(false)
    }

    /// Looks at the dry run, and tells the next part when it is asked for.
    pub(in crate::pusher) fn advance_verify(&mut self, now: Duration) -> Result<(), JournalError> {
        if self.jobs.verify.as_ref().is_some_and(|l| !matches!(l.stage, Stage::Reading { .. }))
            && let Some(why) = self.cannot_verify()
        {
            let ticket = self.end_verify();
            ticket.into_iter().for_each(|t| self.tell_end(t, VerifyEnd::Failed(why.clone())));
        }
        let Some(mut looking) = self.jobs.verify.take() else { return Ok(()) };
        let went = match std::mem::replace(&mut looking.stage, Stage::Wanted) {
            Stage::Running(mut run) => match run.poll(now) {
                Ok(None) => {
                    // A hung remote must not starve healthy ones.
                    if run.stalled(now) > STALLED {
                        self.return_slot(std::mem::take(&mut looking.slot));
                    }
                    if looking.job.progress && now >= looking.shown + SHOW_EVERY {
                        looking.shown = now;
                        let progress = Some(run.compared());
                        let part = VerifyPart { progress, ..VerifyPart::default() };
                        self.supervisor.send(&FromPusher::Verified(looking.ticket, part));
                    }
                    looking.stage = Stage::Running(run);
                    Ok(None)
                }
                Ok(Some(exited)) => {
                    self.return_slot(std::mem::take(&mut looking.slot));
                    self.pending.touch();
                    let finished = self.context.finish(run.into_run(), exited);
                    let end =
                        finished.and_then(|finished| looking.finished(&self.context, finished));
                    end.map(|end| end.map(Ended::With))
                }
                Err(error) => Err(broken(error)),
            },
            stage => {
                looking.stage = stage;
                match looking.asked && matches!(looking.stage, Stage::Reading { .. }) {
                    true => self.next_part(&mut looking),
                    false => Ok(None),
                }
            }
        };
        match went {
            Ok(Some(Ended::Told)) => Ok(()),
            Ok(Some(Ended::With(end))) => self.went_on(looking, Ok(Some(end))),
            Ok(None) => self.went_on(looking, Ok(None)),
            Err(stuck) => self.went_on(looking, Err(stuck)),
        }
    }

    /// Tells the next part; true when it was the last.
    fn next_part(&mut self, looking: &mut Looking) -> Result<Option<Ended>, Stuck> {
        let part = looking.part(&mut self.context)?;
        looking.asked = false;
        let ended = part.end.is_some();
        if looking.job.repair && !part.differences.is_empty() {
            self.pending.touch();
            self.said.dirty = true;
        }
        self.supervisor.send(&FromPusher::Verified(looking.ticket, part));
        Ok(ended.then_some(Ended::Told))
    }

    fn went_on(
        &mut self,
        looking: Looking,
        went: Result<Option<VerifyEnd>, Stuck>,
    ) -> Result<(), JournalError> {
        let end = match went {
            Ok(None) => {
                self.jobs.verify = Some(looking);
                return Ok(());
            }
            Ok(Some(end)) => end,
            Err(Stuck::Journal(error)) => {
                self.return_slot(looking.slot);
                return Err(error);
            }
            Err(Stuck::Root(why) | Stuck::System(why)) => VerifyEnd::Failed(why),
        };
        self.return_slot(looking.slot);
        self.tell_end(looking.ticket, end);
        Ok(())
    }
}
