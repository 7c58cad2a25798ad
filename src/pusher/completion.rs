//! Turns the results of jobs into events.

use super::acknowledged::sign_in_created;
use super::in_flight::Comparison;
use super::job_error::JobError;
use super::jobs::compare::{Compare, CompareProgress, Found, Pushing};
use super::jobs::push::{Push, PushProgress};
use super::jobs::rsyncing::{Busy, Rsyncing};
use super::jobs::scrub::News;
use super::jobs::verify::VerifyStep;
use super::lane::Lane;
use super::reconcile::Counted;
use super::run::Pusher;
use super::slot::Slot;
use super::state::{CompareEnd, Event, PushEnd};
use crate::journal::{Events, JournalError, Owe, Scope};
use crate::reconcile_reason::ReconcileReason;
use crate::sys::clock;
use crate::sys::port::PortTry;
use std::time::Duration;

impl Pusher {
    /// Advances every job in flight.
    pub(super) fn advance(&mut self, now: Duration) -> Result<(), JournalError> {
        if let Some(answers) = self.jobs.port.as_mut().and_then(PortTry::result) {
            self.jobs.port = None;
            self.step(Event::PortTried(answers))?;
        }
        for lane in Lane::ALL {
            if let Some(mut busy) = self.jobs.push_mut(lane).take() {
                let others_run = self.jobs.is_running();
                let progress = busy.work.advance(&mut self.context, others_run, now);
                self.push_progress(lane, busy, progress, now)?;
            }
        }
        if let Some(Busy { work, slot }) = self.jobs.compare.take() {
            self.advance_compare(work, slot, now)?;
        }
        self.advance_verify(now)?;
        self.advance_scrub(now)?;
        self.advance_expiry(now)?;
        // More rows are needed only after a push has begun or ended, and then the journal is read again.
        match self.jobs.spool.take_if(|_| self.state.pending().is_stale()) {
            Some(work) => self.advance_spool(work, now),
            None => Ok(()),
        }
    }

    /// Handles the progress of a push.
    fn push_progress(
        &mut self,
        lane: Lane,
        busy: Busy<Push>,
        progress: Result<PushProgress, JobError>,
        now: Duration,
    ) -> Result<(), JournalError> {
        if matches!(progress, Ok(PushProgress::Running)) {
            *self.jobs.push_mut(lane) = Some(busy);
            return Ok(());
        }
        let (own, rsyncs) = self.context.take_cost();
        let names = busy.work.names();
        self.step(Event::Cost { names, own, rsyncs })?;
        // The slot is returned before anything that may fail.
        let push = busy.work;
        drop(busy.slot);
        self.jobs.note_beside();
        let (end, loss) = match self.push_end(lane, &push, progress, now) {
            Ok(end) => end,
            Err(error) => {
                self.step(Event::Pushed { lane, end: Box::new(PushEnd::Unknown), loss: None })?;
                return Err(error);
            }
        };
        self.step(Event::Pushed { lane, end: Box::new(end), loss })
    }

    /// How a push ended, and a sign that the remote has lost data.
    pub(super) fn push_end(
        &mut self,
        lane: Lane,
        push: &Push,
        progress: Result<PushProgress, JobError>,
        now: Duration,
    ) -> Result<(PushEnd, Option<String>), JournalError> {
        let loss = match &progress {
            Ok(PushProgress::Done(_) | PushProgress::Remote(_)) if self.state.detects_losses() => {
                sign_in_created(&self.context, &self.jobs, push)?
            }
            Ok(_) | Err(_) => None,
        };
        if !matches!(progress, Ok(PushProgress::Done(_) | PushProgress::Running)) {
            push.ends_unsettled(&self.context);
        }
        let end = match progress {
            Ok(PushProgress::Done(mut end)) => {
                if Lane::LARGE.contains(&lane) {
                    end.owe.extend(parent_of(push));
                }
                self.jobs.note_settled(&end.settled);
                PushEnd::Settled(end)
            }
            Ok(PushProgress::Remote(judgement)) => {
                if judgement.end_unseen {
                    self.context.repush_upto = self.context.repush_upto.max(push.cursor());
                }
                PushEnd::Trouble {
                    lingering: self.context.has_lingering_connection(&judgement, now),
                    aftermath: push.aftermath(&judgement, clock::wall_ms()),
                    judgement,
                }
            }
            Ok(PushProgress::Running) => PushEnd::Unknown,
            Err(error) => PushEnd::LocalError(error.local()?),
        };
        Ok((end, loss))
    }

    fn advance_compare(
        &mut self,
        work: Compare,
        slot: Option<Slot>,
        now: Duration,
    ) -> Result<(), JournalError> {
        let (why, guarded) = (work.why().cloned(), work.guarded());
        let beside =
            Pushing { any: self.jobs.pushing(), everything: self.jobs.pushes_everything() };
        let approved = self.state.reconcile().approved();
        match work.advance(&mut self.context, beside, approved, now) {
            Ok((Some(work), progress)) => {
                let rows = matches!(progress, CompareProgress::Rows);
                self.comparison_continues(Busy { work, slot }, rows)
            }
            Ok((None, progress)) => {
                drop(slot);
                let end = self.compare_end(why, guarded, progress, now);
                self.step(Event::Compared(end))
            }
            Err(error) => {
                drop(slot);
                match error.local() {
                    Ok(error) => self.step(Event::Compared(CompareEnd::LocalError(error))),
                    Err(error) => {
                        self.step(Event::Compared(CompareEnd::Unknown))?;
                        Err(error)
                    }
                }
            }
        }
    }

    fn advance_spool(&mut self, work: Compare, now: Duration) -> Result<(), JournalError> {
        let (why, guarded) = (work.why().cloned(), work.guarded());
        let beside =
            Pushing { any: self.jobs.pushing(), everything: self.jobs.pushes_everything() };
        let approved = self.state.reconcile().approved();
        let end = match work.advance(&mut self.context, beside, approved, now) {
            Ok((Some(work), progress)) => {
                if matches!(progress, CompareProgress::Rows) {
                    self.rows(work.found)?;
                }
                let counted = counted(work.found);
                self.jobs.spool = Some(work);
                return match why {
                    Some(why) => self.step(Event::Spooling(why, counted)),
                    None => Ok(()),
                };
            }
            Ok((None, progress)) => Ok(self.compare_end(why, guarded, progress, now)),
            Err(error) => error.local().map(CompareEnd::LocalError),
        };
        match end {
            Ok(end) => self.step(Event::SpoolEnded(end)),
            Err(error) => {
                self.step(Event::SpoolEnded(CompareEnd::Unknown))?;
                Err(error)
            }
        }
    }

    /// A comparison continues. With `rows`, rows were or will be written.
    fn comparison_continues(
        &mut self,
        busy: Busy<Compare>,
        rows: bool,
    ) -> Result<(), JournalError> {
        let found = busy.work.found;
        let (running, why) = (busy.work.is_running(), busy.work.why().cloned());
        // This runs at least once after the dry run, before the last row is written.
        if rows {
            self.rows(found)?;
        }
        match why {
            Some(why) if !running => {
                // The entries were just counted, and nothing that was found is pushed yet.
                let entries = found.entries as i64;
                self.jobs.spool = Some(busy.work);
                drop(busy.slot);
                let pushed_bytes = self.context.remote_state.totals.bytes;
                self.context.remote_state.entries = Some(entries);
                self.step(Event::Spooled(why, counted(found), pushed_bytes))?;
                self.context.journal.set_entries(&self.context.name, entries)
            }
            why => {
                let how = match running {
                    true => Comparison::Running(why),
                    false => Comparison::Writing,
                };
                self.jobs.compare = Some(busy);
                self.step(Event::Comparing(how, counted(found)))
            }
        }
    }

    fn rows(&mut self, found: Found) -> Result<(), JournalError> {
        if found.paths > 0 {
            self.jobs.compared_ms = clock::wall_ms();
        }
        self.step(Event::Rows)
    }

    fn compare_end(
        &self,
        why: Option<ReconcileReason>,
        guarded: bool,
        progress: CompareProgress,
        now: Duration,
    ) -> CompareEnd {
        match progress {
            CompareProgress::Running | CompareProgress::Rows => CompareEnd::Unknown,
            CompareProgress::Upset => CompareEnd::Upset,
            CompareProgress::Done { incomplete, entries } => {
                CompareEnd::Done { why, guarded, incomplete, entries }
            }
            CompareProgress::Guarded(held) => CompareEnd::Guarded(held),
            CompareProgress::Names(names) => CompareEnd::Names(names),
            CompareProgress::Remote(judgement) => CompareEnd::Trouble {
                lingering: self.context.has_lingering_connection(&judgement, now),
                judgement,
            },
        }
    }

    fn advance_verify(&mut self, now: Duration) -> Result<(), JournalError> {
        let Some(busy) = &mut self.jobs.verify else { return Ok(()) };
        let blocked = match busy.work.is_reading() {
            true => None,
            false => self.state.cannot_verify(),
        };
        if let Some(why) = blocked {
            busy.work.kill();
            busy.work.send_failed(&self.context, why);
            self.jobs.verify = None;
            return self.step(Event::VerifyEnded);
        }
        let step = busy.work.advance(&mut self.context, now);
        if !busy.work.is_running() {
            busy.slot = None;
        }
        match step {
            Ok(VerifyStep::Running) => Ok(()),
            Ok(VerifyStep::Owed) => self.step(Event::Owed),
            Ok(VerifyStep::Restart) => self.step(Event::VerifyWanted),
            Ok(VerifyStep::Ended) => {
                self.jobs.verify = None;
                self.step(Event::VerifyEnded)
            }
            Err(error) => {
                self.jobs.verify = None;
                self.step(Event::VerifyEnded)?;
                Err(error)
            }
        }
    }

    fn advance_scrub(&mut self, now: Duration) -> Result<(), JournalError> {
        let Some(scrub) = &mut self.jobs.scrub else { return Ok(()) };
        let approved = self.state.reconcile().approved();
        let (allowed, mut news) = (self.state.may_scrub(), Vec::new());
        let result = scrub.advance(&mut self.context, allowed, approved, now, &mut news);
        // Events before an error still count.
        news.into_iter().try_for_each(|news| self.step(Event::from(news)))?;
        result
    }

    fn advance_expiry(&mut self, now: Duration) -> Result<(), JournalError> {
        let Some(Busy { work, slot }) = self.jobs.expiry.take() else { return Ok(()) };
        match work.advance(&mut self.context, now) {
            Ok(work) => {
                self.jobs.expiry = Some(Busy { work, slot });
                Ok(())
            }
            Err(next) => self.step(Event::Expired(next)),
        }
    }
}

impl From<News> for Event {
    fn from(news: News) -> Self {
        match news {
            News::Owed => Event::Owed,
            News::ApprovalUsed => Event::ApprovalUsed,
            News::Guarded(held) => Event::ScrubGuarded(held),
        }
    }
}

fn counted(found: Found) -> Counted {
    Counted { paths: found.paths, deletions: found.deletions, bytes: found.bytes }
}

/// The directory of a large file, which is pushed after it: the receiver's rename changes the directory's times.
fn parent_of(push: &Push) -> Option<Owe> {
    let (path, since_ms) = push.first()?;
    Some(Owe {
        path: path.parent().filter(|parent| !parent.is_root())?,
        scope: Scope::Entry,
        events: Events::ATTRIB | Events::DIR,
        error: None,
        attempts: 0,
        next_try_ms: clock::wall_ms(),
        since_ms,
    })
}
