//! Carries out the actions of the state machine.

use super::acknowledged::{owe_recent, sign_in_names};
use super::batch::Aftermath;
use super::doubt::Doubt;
use super::health::path_worth_logging;
use super::jobs::compare::{self, Compare, CompareSubject};
use super::jobs::expire::Expiry;
use super::jobs::push::{Push, PushProgress};
use super::jobs::rsyncing::{Busy, Rsyncing};
use super::jobs::select::{Selection, large_count, select};
use super::lane::Lane;
use super::run::Pusher;
use super::slot::Slot;
use super::state::{
    Action, CompareEnd, CompareSpec, Event, JobSpec, OwedDirs, PushEnd, RecentlySettled,
};
use crate::help_topic::HelpTopic;
use crate::journal::{Events, Instead, JournalError, Owe, Owed, Settlement};
use crate::message::FromPusher;
use crate::path::OsBytes;
use crate::reconcile_reason::ReconcileReason;
use crate::rsync::differ::Touched;
use crate::sys::clock;
use crate::sys::fault_point::{Point, pass};
use slog::warn;
use std::collections::VecDeque;
use std::time::Duration;

/// The number of names that may wait for a remote in trouble. If there are more, a reconcile replaces them.
const BACKLOG_MOST: u32 = 200_000;

/// What remains to be done in a step.
enum Todo {
    Act(Action),
    Step(Event),
}

impl Pusher {
    /// Handles an event and carries out the resulting actions. The answer to an action is handled before the next
    /// action.
    pub(super) fn step(&mut self, event: Event) -> Result<(), JournalError> {
        let mut todo = VecDeque::from([Todo::Step(event)]);
        while let Some(next) = todo.pop_front() {
            let more: Vec<Todo> = match next {
                Todo::Step(event) => {
                    let actions = self.state.step(event, clock::boot());
                    actions.into_iter().map(Todo::Act).collect()
                }
                Todo::Act(action) => self.act(action)?.into_iter().map(Todo::Step).collect(),
            };
            more.into_iter().rev().for_each(|one| todo.push_front(one));
        }
        self.send_slots_back();
        Ok(())
    }

    fn act(&mut self, action: Action) -> Result<Vec<Event>, JournalError> {
        let (journal, name) = (&mut self.context.journal, &self.context.name);
        match action {
            Action::ReadJournal => return Ok(vec![self.read_journal()?]),
            Action::Start(spec, slot) => return self.start(spec, slot, clock::boot()),
            Action::Abandon => {
                self.context.keep_standby(false, clock::boot());
                let abandoned = self.jobs.abandon();
                let given_up = |(lane, push): (Lane, Push)| Event::Pushed {
                    lane,
                    end: Box::new(PushEnd::Abandoned(self.unseen(&push))),
                    loss: None,
                };
                return Ok(abandoned.into_iter().map(given_up).collect());
            }
            Action::Scrub { quiet } => return self.run_scrub(quiet, clock::boot()),
            Action::PutOffScrub => {
                let now = clock::boot();
                self.jobs.scrub.iter_mut().for_each(|scrub| scrub.put_off(Duration::ZERO, now));
            }
            Action::WantSlots(kinds) => {
                let want = |kind| self.context.supervisor.send(&FromPusher::WantSlot(kind));
                kinds.into_iter().for_each(want);
            }
            Action::KeepSettings => journal.set_settings(name, &self.context.start.settings)?,
            Action::Begin => {
                pass(Point::PusherBegins);
                journal.set_clean(name, false)?;
                pass(Point::PusherBegun);
            }
            Action::WantReconcile(why) => journal.want_reconcile(name, Some(&why))?,
            Action::SetHeld(held) => journal.set_held(name, held.as_ref())?,
            Action::Owe(owe) => {
                let end = Settlement { owe, ..Settlement::default() };
                journal.settle(name, &end, clock::wall_ms())?;
            }
            Action::Unseen(settlement) => journal.settle(name, &settlement, clock::wall_ms())?,
            Action::Settle(end, trouble) => self.settle(&end, trouble.as_deref())?,
            Action::RetryNow => journal.retry_now(name, clock::wall_ms())?,
            Action::OweRecent(events) => {
                let more = owe_recent(&mut self.context, events)?;
                let recent = if more { RecentlySettled::More } else { RecentlySettled::All };
                return Ok(vec![Event::RecentOwed(recent)]);
            }
            Action::Reconciled { why, settled, entries } => {
                return Ok(vec![self.reconciled(why, settled, entries)?]);
            }
            Action::BoundBacklog => {
                let instead = journal.compare_instead(name, BACKLOG_MOST)?;
                return Ok(instead.into_iter().map(|instead| self.instead(instead)).collect());
            }
            Action::WriteFailLog(trouble) => {
                // The next push reports a journal that cannot be read.
                let _ = self.context.write_fail_log(trouble.as_deref());
            }
            Action::TryPort => self.jobs.port = self.context.try_port(),
            Action::DropConnection => self.context.master.drop_connection(clock::boot()),
            Action::BatchEnded { settled } => self.waiters.read(settled),
            Action::Then(event) => return Ok(vec![*event]),
            Action::CheckNames(names) => {
                let sign = match self.state.doubt() {
                    Doubt::Names => sign_in_names(&self.context, &self.jobs, names)?,
                    Doubt::No | Doubt::Unreachable => None,
                };
                return Ok(vec![Event::NamesChecked(sign)]);
            }
            Action::Report => self.status.touch(),
            Action::Exit { clean } => self.exit(clean)?,
        }
        Ok(Vec::new())
    }

    /// Returns unused slots to the supervisor.
    pub(super) fn send_slots_back(&mut self) {
        for kind in self.returned.take() {
            self.context.supervisor.send(&FromPusher::SlotDone(kind));
        }
        for _ in 0..self.jobs.scrub.as_ref().map_or(0, |scrub| scrub.take_spares()) {
            self.context.supervisor.send(&FromPusher::SpareDone);
        }
    }

    fn read_journal(&self) -> Result<Event, JournalError> {
        let context = &self.context;
        let cursor = context.remote_state.cursor;
        let work = context.journal.work(&context.name, cursor, clock::wall_ms())?;
        let large = if work.large { large_count(context, &self.jobs)? } else { 0 };
        Ok(Event::JournalRead { work, large })
    }

    fn start(
        &mut self,
        spec: JobSpec,
        slot: Option<Slot>,
        now: Duration,
    ) -> Result<Vec<Event>, JournalError> {
        match spec {
            JobSpec::Push(lane) => self.start_push(lane, slot, now),
            JobSpec::Compare(what) => self.start_compare(what, slot, now),
            JobSpec::Verify => self.start_verify(slot, now),
            JobSpec::Expire => Ok(match Expiry::start(&self.context, now) {
                Ok(work) => {
                    self.jobs.expiry = Some(Busy { work, slot });
                    vec![Event::Started(spec, Vec::new())]
                }
                Err(next) => {
                    vec![Event::Expired(next), Event::NotStarted(spec, Vec::new(), slot)]
                }
            }),
        }
    }

    fn start_push(
        &mut self,
        lane: Lane,
        slot: Option<Slot>,
        now: Duration,
    ) -> Result<Vec<Event>, JournalError> {
        let spec = JobSpec::Push(lane);
        let comparing = self.jobs.comparing() || self.state.reconcile().wanted().is_some();
        let bulk = self.state.pending().work.bulk;
        let Selection { batch, deferred, blocked, read_upto, abandoned } =
            select(&self.context, &self.jobs, lane, bulk, comparing)?;
        let mut events: Vec<Event> =
            abandoned.into_iter().filter_map(|lane| self.abandon_push(lane)).collect();
        if !events.is_empty() {
            // Their ends are recorded first. The next turn selects again.
            events.push(Event::NotStarted(spec, Vec::new(), slot));
            return Ok(events);
        }
        if lane == Lane::Small {
            self.waiters.reads(read_upto);
        }
        let Some(batch) = batch.filter(|batch| !batch.items.is_empty() || batch.cursor.is_some())
        else {
            events.push(Event::NotStarted(spec, blocked, slot));
            return Ok(events);
        };
        pass(Point::PusherSelected);
        self.jobs.touch(&batch);
        self.context.push_begins(now);
        match Push::start(&mut self.context, lane, batch, deferred, self.jobs.along(lane), now) {
            Ok((work, PushProgress::Running)) => {
                *self.jobs.push_mut(lane) = Some(Busy { work, slot });
                self.jobs.note_beside();
                events.push(Event::Started(spec, blocked));
            }
            // It has ended immediately.
            Ok((work, progress)) => {
                let (end, loss) = self.push_end(lane, &work, Ok(progress), now)?;
                events.push(Event::Pushed { lane, end: Box::new(end), loss });
                events.push(Event::NotStarted(spec, blocked, slot));
            }
            Err(error) => {
                let end = PushEnd::LocalError(error.local()?);
                events.push(Event::Pushed { lane, end: Box::new(end), loss: None });
                events.push(Event::NotStarted(spec, blocked, slot));
            }
        }
        Ok(events)
    }

    /// What a push whose end was not seen may have left. An old receiver may still apply its marks, even if that cannot be
    /// recorded.
    fn unseen(&mut self, push: &Push) -> Aftermath {
        push.ends_unsettled(&self.context);
        let aftermath = push.unseen();
        self.context.repush_upto = self.context.repush_upto.max(push.cursor());
        aftermath
    }

    /// Kills the push of a large file whose name is gone.
    fn abandon_push(&mut self, lane: Lane) -> Option<Event> {
        let mut busy = self.jobs.push_mut(lane).take()?;
        busy.work.kill();
        let end = PushEnd::Abandoned(self.unseen(&busy.work));
        Some(Event::Pushed { lane, end: Box::new(end), loss: None })
    }

    fn start_compare(
        &mut self,
        what: CompareSpec,
        slot: Option<Slot>,
        now: Duration,
    ) -> Result<Vec<Event>, JournalError> {
        let subject = match &what {
            CompareSpec::Reconcile(why) => {
                // The remote's directory may have been replaced since the standby entered it.
                self.context.keep_standby(false, now);
                CompareSubject::Reconcile { why: why.clone(), exclude: self.left_out(why) }
            }
            CompareSpec::Names => CompareSubject::Names(Touched::default()),
            CompareSpec::Owed(dirs) => {
                CompareSubject::Dirs(of_one_kind(self.context.journal.due_dirs(
                    &self.context.name,
                    *dirs == OwedDirs::Live,
                    clock::wall_ms(),
                    compare::DIRS_AT_ONCE,
                )?))
            }
        };
        let spec = JobSpec::Compare(what);
        Ok(match Compare::start(&mut self.context, subject, now) {
            Ok(Some(work)) => {
                self.jobs.begin_compare(work, slot);
                vec![Event::Started(spec, Vec::new())]
            }
            Ok(None) => vec![Event::NotStarted(spec, Vec::new(), slot)],
            Err(error) => {
                let end = CompareEnd::LocalError(error.local()?);
                vec![Event::Compared(end), Event::NotStarted(spec, Vec::new(), slot)]
            }
        })
    }

    /// What sersync's `crontabfilter` excludes. It applies only to scheduled reconciles.
    fn left_out(&self, why: &ReconcileReason) -> Vec<OsBytes> {
        let crontab = self.context.start.localpath.crontab.as_ref();
        crontab
            .filter(|_| *why == ReconcileReason::Schedule)
            .map(|crontab| crontab.exclude.clone())
            .unwrap_or_default()
    }

    fn start_verify(
        &mut self,
        slot: Option<Slot>,
        now: Duration,
    ) -> Result<Vec<Event>, JournalError> {
        let spec = JobSpec::Verify;
        if let Some(mut busy) = self.jobs.verify.take() {
            self.jobs.pushes().for_each(|push| busy.work.touch(push.paths()));
            if self.jobs.pushes_everything() {
                busy.work.touch_everything();
            }
            if busy.work.start(&self.context, now)? {
                self.jobs.verify = Some(Busy { slot, ..busy });
                return Ok(vec![Event::Started(spec, Vec::new())]);
            }
        }
        Ok(vec![Event::VerifyEnded, Event::NotStarted(spec, Vec::new(), slot)])
    }

    fn run_scrub(&mut self, quiet: bool, now: Duration) -> Result<Vec<Event>, JournalError> {
        let Some(mut scrub) = self.jobs.scrub.take() else { return Ok(Vec::new()) };
        let in_flight = self.jobs.pushes().flat_map(Push::paths);
        let allowed = self.state.may_scrub();
        let mut news = Vec::new();
        let begun = scrub.begin(&mut self.context, allowed, quiet, in_flight, now, &mut news);
        self.jobs.scrub = Some(scrub);
        // Events before an error still count.
        news.into_iter().try_for_each(|news| self.step(Event::from(news)))?;
        begun.map(|()| Vec::new())
    }

    fn settle(&mut self, end: &Settlement, trouble: Option<&str>) -> Result<(), JournalError> {
        let now_ms = clock::wall_ms();
        let context = &mut self.context;
        pass(Point::PusherSettles);
        context.journal.settle(&context.name, end, now_ms)?;
        pass(Point::PusherSettled);
        context.remote_state.settled(end, now_ms);
        if end.success {
            self.status.pushed();
        }
        let failed: Vec<&Owe> = end.owe.iter().filter(|owe| owe.error.is_some()).collect();
        if let Some(first) = failed.iter().min_by_key(|owe| owe.attempts)
            && path_worth_logging(first.attempts)
        {
            warn!(context.log, "paths failed"; "count" => failed.len(), "first" => first.path.to_string(),
                "why" => first.error.clone(), "help" => HelpTopic::FailingPaths.command());
        }
        // Paths that are settled by the cursor alone were not in the fail log.
        let rows = !(end.done.is_empty() && end.owe.is_empty());
        if !failed.is_empty() || (context.fail_log_shows() && rows) {
            context.write_fail_log(trouble)?;
        }
        Ok(())
    }

    fn reconciled(
        &mut self,
        why: ReconcileReason,
        settled: bool,
        entries: u64,
    ) -> Result<Event, JournalError> {
        let context = &mut self.context;
        let at_ms = clock::wall_ms();
        let settled = settled.then_some(&why);
        // Counted before the first row was pushed, and updated since.
        let entries = context.remote_state.entries.unwrap_or(entries as i64);
        let left = context.journal.reconciled(&context.name, at_ms, entries, settled)?;
        if left.is_none() {
            context.remote_state.behind_since_ms = None;
        }
        context.remote_state.entries = Some(entries);
        context.remote_state.created_files = None;
        Ok(Event::Reconciled { why, left, at_ms })
    }

    /// Exits: kills all jobs that are still in flight.
    fn exit(&mut self, clean: bool) -> Result<(), JournalError> {
        self.jobs.kill();
        self.context.keep_standby(false, clock::boot());
        self.context.master.close();
        self.exit = Some(0);
        if clean {
            pass(Point::PusherEnds);
            // If this cannot be recorded, the next start looks for unfinished pushes.
            self.context.journal.set_clean(&self.context.name, true)?;
        }
        Ok(())
    }

    fn instead(&mut self, instead: Instead) -> Event {
        self.context.remote_state.cursor = instead.cursor;
        self.context.remote_state.behind_since_ms = instead.behind_since_ms;
        Event::ComparedInstead(instead.why)
    }
}

/// The rows of the same kind as the first row, which has waited longest. A comparison covers rows of one kind. The
/// oldest kind goes first, so that no kind starves. The delete guard applies to what a scan found, and must not hold
/// live events.
fn of_one_kind(mut rows: Vec<Owed>) -> Vec<Owed> {
    let kind = |row: &Owed| {
        (
            row.scope,
            row.events.contains(Events::MOVE | Events::DELETE),
            row.events.contains(Events::SCAN),
        )
    };
    if let Some(first) = rows.first().map(kind) {
        rows.retain(|row| kind(row) == first);
    }
    rows
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Events, Scope};
    use crate::path::RelPath;

    #[test]
    fn the_kind_that_has_waited_longest_is_compared_first() {
        let row = |text: &str, scope, events| Owed {
            path: RelPath::new(text).unwrap(),
            scope,
            events,
            error: None,
            attempts: 0,
            since_ms: 1,
            generation: 1,
        };
        let moved = Events::MOVE | Events::DELETE;
        let rows = vec![
            row("a", Scope::Children, Events::CREATE),
            row("b", Scope::Tree, moved),
            row("c", Scope::Children, Events::SCAN),
            row("d", Scope::Tree, Events::MOVE),
            row("e", Scope::Children, Events::DIR),
        ];
        let names = |rows: Vec<Owed>| {
            of_one_kind(rows).iter().map(|row| row.path.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names(rows.clone()), ["a", "e"]);
        assert_eq!(names(rows[1..].to_vec()), ["b"]);
        assert!(of_one_kind(Vec::new()).is_empty());
    }
}
