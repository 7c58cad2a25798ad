//! The pusher's process: reads, calls, acts. What is decided is decided in the pure parts.

use super::compare::{self, Compare, Job};
use super::desk::{Desk, Stuck};
use super::health::Health;
use super::lanes::{Busy, Lanes, Slots};
use super::ledger::Ledger;
use super::outcome::{self, Judgement, Trouble, Verdict};
use super::push::{self, Lane, Push};
use super::report::{self, View};
use crate::filter::Filter;
use crate::journal::{Events, Journal, JournalError, Owe, Owed, Scope, Settlement, Work};
use crate::message::{ALIVE_EVERY_MS, FromPusher, PusherStart, PusherStatus, ReconcileProgress, ToPusher};
use crate::path::{OsBytes, RelPath};
use crate::sys::channel::{Channel, Received};
use crate::sys::signals::Signals;
use crate::sys::{clock, lock, log, poll, process, wake};
use slog::{Logger, info, o, warn};
use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// Names in one batch.
const BATCH: u32 = 10_000;
/// The journal is looked at at least this often, wake or not.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// A root that is gone is looked for this often.
const ROOT_RETRY: Duration = Duration::from_secs(1);
/// A comparison that could not see everything, and a journal that refuses, are tried again after this.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// Status is sent at most this often while things change.
const STATUS_EVERY: Duration = Duration::from_millis(250);
/// The push in hand may go on for so long when the supervisor is gone.
const ORPHAN_GRACE: Duration = Duration::from_secs(2);
/// So long after a comparison found something, a new directory is compared too: what was pushed under it before it
/// was watched may be gone again.
const COMPARED_LATELY_MS: i64 = 60_000;

type Control = Channel<FromPusher, ToPusher>;

/// Runs a pusher whose control channel is `channel`; returns its exit status.
pub fn run(channel: OwnedFd) -> i32 {
    let mut control: Control = Channel::new(channel);
    let prepared = Signals::catch().map_err(|e| e.to_string()).and_then(|signals| {
        let (start, wake) = first_message(&mut control)?;
        Ok((signals, start, wake))
    });
    let (signals, start, wake) = match prepared {
        Ok(prepared) => prepared,
        Err(why) => {
            slog::error!(log::logger(false), "cannot start"; "role" => "pusher", "why" => why);
            return 1;
        }
    };
    let name = start.remote.name();
    let logger = log::logger(start.debug)
        .new(o!("role" => "pusher", "path" => start.localpath.watch.to_string(), "remote" => name.clone()));
    match Pusher::prepare(control, signals, start, wake, logger.clone()) {
        Ok(mut pusher) => pusher.work(),
        Err(why) => {
            slog::error!(logger, "cannot go on"; "why" => why);
            1
        }
    }
}

fn first_message(control: &mut Control) -> Result<(PusherStart, OwnedFd), String> {
    loop {
        match control.receive().map_err(|e| e.to_string())? {
            Received::Message(ToPusher::Start(start), mut fds) => {
                return Ok((*start, fds.pop().ok_or("no wake pipe came with the start")?));
            }
            Received::Message(..) => return Err("the first message was not the start".into()),
            Received::Closed => return Err("the supervisor is gone".into()),
            Received::Nothing => {
                poll::wait(&[(control.as_fd(), poll::Interest::Read)], None).map_err(|e| e.to_string())?;
            }
        }
    }
}

struct Pusher {
    control: Control,
    signals: Signals,
    wake: OwnedFd,
    desk: Desk,
    lanes: Lanes,
    slots: Slots,
    health: Health,
    hold: Option<String>,
    root_retry: Option<Duration>,
    compare_retry: Option<Duration>,
    journal_retry: Option<Duration>,
    work: Work,
    look: bool,
    looked: Duration,
    gather_until: Option<Duration>,
    released: bool,
    compared_ms: i64,
    found: Option<ReconcileProgress>,
    reconciles_done: u64,
    stop: Option<Duration>,
    killed: bool,
    said: Said,
}

/// What was last told to the supervisor.
#[derive(Default)]
struct Said {
    status: Option<PusherStatus>,
    status_at: Duration,
    alive_at: Duration,
    dirty: bool,
}

impl Pusher {
    /// Takes the lock, opens the journal, makes the remote's row.
    fn prepare(
        mut control: Control,
        signals: Signals,
        start: PusherStart,
        wake: OwnedFd,
        logger: Logger,
    ) -> Result<Pusher, String> {
        take_lock(&start, &mut control)?;
        let mut journal = open_journal(&start, &mut control, &logger)?;
        let name = start.remote.name();
        let first = start.localpath.first_copy.then_some("a new remote");
        let row = journal.remote(&name, first).map_err(|e| e.to_string())?;
        let filter = Filter::new(&start.localpath.filter)
            .map_err(|errors| format!("the filter: {}", errors.first().map(ToString::to_string).unwrap_or_default()))?;
        let desk = Desk::new(start, journal, row, filter, logger);
        let mut pusher = Pusher {
            control,
            signals,
            wake,
            desk,
            lanes: Lanes::default(),
            slots: Slots::default(),
            health: Health::Good,
            hold: None,
            root_retry: None,
            compare_retry: None,
            journal_retry: None,
            work: Work::default(),
            look: true,
            looked: Duration::ZERO,
            gather_until: None,
            released: false,
            compared_ms: 0,
            found: None,
            reconciles_done: 0,
            stop: None,
            killed: false,
            said: Said { dirty: true, ..Said::default() },
        };
        pusher.first_wishes().map_err(|e| e.to_string())?;
        Ok(pusher)
    }

    /// What the start, a change of settings or an unclean end ask for.
    fn first_wishes(&mut self) -> Result<(), JournalError> {
        let desk = &mut self.desk;
        let settings = desk.start.settings.clone();
        let changed = desk.row.settings.as_ref().is_some_and(|old| *old != settings);
        let why = desk.start.reconcile.take().or(changed.then(|| "filter or parameters changed".to_owned()));
        if desk.row.settings.as_ref() != Some(&settings) {
            desk.journal.set_settings(&desk.name, &settings)?;
        }
        if let Some(why) = why {
            self.want_reconcile(&why)?;
        }
        let desk = &mut self.desk;
        if !desk.row.clean {
            // Its pushes may still be in the hands of a receiver (rule 2).
            desk.again_upto = desk.journal.last_seq()?;
            desk.journal.push_again_later(&desk.name, clock::wall_ms())?;
        }
        desk.journal.set_clean(&desk.name, false)
    }

    fn want_reconcile(&mut self, why: &str) -> Result<(), JournalError> {
        self.desk.journal.want_reconcile(&self.desk.name, Some(why))?;
        self.desk.row.reconcile = Some(why.to_owned());
        self.compare_retry = None;
        self.said.dirty = true;
        Ok(())
    }

    fn work(&mut self) -> i32 {
        loop {
            match self.turn() {
                Ok(None) => {}
                Ok(Some(exit)) => return exit,
                Err(JournalError::Damaged(why)) => {
                    slog::error!(self.desk.log, "the journal is damaged"; "why" => &why);
                    self.lanes.kill();
                    // The supervisor sets it aside when this process has ended.
                    let _ = self.control.send(&FromPusher::Damaged(why), vec![]);
                    return 1;
                }
                Err(JournalError::Refused(why)) => {
                    warn!(self.desk.log, "the journal cannot be used now"; "why" => why);
                    self.journal_retry = Some(clock::boot() + ROOT_RETRY);
                }
            }
        }
    }

    /// One turn of the loop. `Some` ends the process.
    fn turn(&mut self) -> Result<Option<i32>, JournalError> {
        if let Some(exit) = self.listen()? {
            return Ok(Some(exit));
        }
        let now = clock::boot();
        self.advance(now)?;
        if let Some(until) = self.stop {
            if self.lanes.idle() || now >= until {
                return self.end().map(Some);
            }
        } else if self.journal_retry.is_none_or(|at| now >= at) {
            self.journal_retry = None;
            if self.look || now.saturating_sub(self.looked) >= LOOK_EVERY {
                self.look_at_journal(now)?;
            }
            self.start_lanes(now)?;
        }
        for _ in 0..self.lanes.slots_of_stalled(now) {
            self.give_slot_back();
        }
        self.tell(now)?;
        if let Err(e) = self.sleep(now) {
            warn!(self.desk.log, "poll"; "why" => e.to_string());
        }
        Ok(None)
    }

    /// Stops in order: whatever is still in flight is ended.
    fn end(&mut self) -> Result<i32, JournalError> {
        let killed = !self.lanes.idle() || self.killed;
        self.lanes.kill();
        if !killed {
            self.desk.journal.set_clean(&self.desk.name, true)?;
        }
        Ok(0)
    }

    /// Reads signals, wakes and messages.
    fn listen(&mut self) -> Result<Option<i32>, JournalError> {
        let arrived = self.signals.take();
        if arrived.stop {
            self.stop_within(ORPHAN_GRACE);
        }
        loop {
            match self.control.receive() {
                Ok(Received::Message(message, _)) => self.obey(message)?,
                Ok(Received::Nothing) => return Ok(None),
                Ok(Received::Closed) | Err(_) => {
                    // The supervisor is gone: finish or abandon the push in hand.
                    if self.stop.is_none() {
                        info!(self.desk.log, "the supervisor is gone");
                    }
                    self.stop_within(ORPHAN_GRACE);
                    return Ok(self.lanes.idle().then_some(()).map(|()| self.end()).transpose()?);
                }
            }
        }
    }

    fn stop_within(&mut self, grace: Duration) {
        let until = clock::boot() + grace;
        self.stop = Some(self.stop.map_or(until, |earlier| earlier.min(until)));
    }

    fn obey(&mut self, message: ToPusher) -> Result<(), JournalError> {
        self.said.dirty = true;
        match message {
            ToPusher::Start(_) => {}
            ToPusher::Slot => {
                self.slots.asked = self.slots.asked.saturating_sub(1);
                self.slots.free += 1;
            }
            ToPusher::Reconcile(why) => self.want_reconcile(&why)?,
            ToPusher::Release => {
                info!(self.desk.log, "released by the operator");
                self.desk.journal.set_held(&self.desk.name, None)?;
                self.desk.row.held = None;
                self.released = true;
                self.compare_retry = None;
                self.health = Health::Good;
            }
            ToPusher::Retry => {
                self.desk.journal.retry_now(&self.desk.name, clock::wall_ms())?;
                self.health = Health::Good;
            }
            ToPusher::Hold(why) => {
                if why.is_some() {
                    // A running rsync would keep the file system busy, and push from a root that is not there.
                    self.abandon()?;
                }
                self.hold = why;
                self.root_retry = None;
            }
            ToPusher::Stop { grace_ms } => self.stop_within(Duration::from_millis(grace_ms)),
        }
        self.look = true;
        Ok(())
    }

    /// Ends everything in flight; nothing of it is settled.
    fn abandon(&mut self) -> Result<(), JournalError> {
        self.killed |= !self.lanes.idle();
        self.lanes.kill();
        for busy in [self.lanes.small.take(), self.lanes.large.take()].into_iter().flatten() {
            self.unseen(&busy.work)?;
            self.return_slot(busy.slot);
        }
        if let Some(busy) = self.lanes.compare.take() {
            self.return_slot(busy.slot);
        }
        Ok(())
    }

    /// The end of this push was not seen: an old receiver may still be at work on its names (rule 2).
    fn unseen(&mut self, push: &Push) -> Result<(), JournalError> {
        self.desk.again_upto = self.desk.again_upto.max(push.cursor().unwrap_or(0));
        self.desk.journal.settle(&self.desk.name, &push.unseen(), clock::wall_ms())
    }

    // --- lanes ---

    fn advance(&mut self, now: Duration) -> Result<(), JournalError> {
        for lane in [Lane::Small, Lane::Large] {
            let place = self.place(lane);
            if let Some(mut busy) = place.take() {
                let progress = busy.work.advance(&mut self.desk, now);
                self.pushed(lane, busy, progress, now)?;
            }
        }
        if let Some(busy) = self.lanes.compare.take() {
            let in_flight = self.lanes.in_flight();
            let guarded = !self.released;
            let why = busy.work.why().map(str::to_owned);
            let progress = busy.work.advance(&mut self.desk, &in_flight, guarded, now);
            self.compared(why, busy.slot, progress, now)?;
        }
        Ok(())
    }

    fn place(&mut self, lane: Lane) -> &mut Option<Busy<Push>> {
        match lane {
            Lane::Small => &mut self.lanes.small,
            Lane::Large => &mut self.lanes.large,
        }
    }

    /// What a push came to.
    fn pushed(
        &mut self,
        lane: Lane,
        busy: Busy<Push>,
        progress: Result<push::Progress, Stuck>,
        now: Duration,
    ) -> Result<(), JournalError> {
        match progress {
            Ok(push::Progress::Running) => {
                *self.place(lane) = Some(busy);
                return Ok(());
            }
            Ok(push::Progress::Done(mut end)) => {
                if lane == Lane::Large {
                    end.owe.extend(parents_of(&busy.work));
                }
                self.settled(&end, now)?;
            }
            Ok(push::Progress::Remote(judgement)) => {
                if judgement.end_unseen && judgement.verdict != Verdict::Remote(Trouble::Unreachable) {
                    self.unseen(&busy.work)?;
                }
                self.in_trouble(&judgement, now);
            }
            Err(stuck) => self.stuck(stuck, now)?,
        }
        self.return_slot(busy.slot);
        self.look = true;
        self.said.dirty = true;
        Ok(())
    }

    fn settled(&mut self, end: &Settlement, now: Duration) -> Result<(), JournalError> {
        let now_ms = clock::wall_ms();
        let desk = &mut self.desk;
        desk.journal.settle(&desk.name, end, now_ms)?;
        desk.row.cursor = desk.row.cursor.max(end.cursor.unwrap_or(0));
        desk.row.totals.files += end.pushed.files;
        desk.row.totals.bytes += end.pushed.bytes;
        desk.row.totals.deleted += end.pushed.deleted;
        desk.row.last_success_ms = Some(now_ms);
        let failed = end.owe.iter().filter(|owe| owe.error.is_some());
        if let Some(first) = failed.clone().min_by_key(|owe| owe.attempts)
            && first.attempts.is_power_of_two()
        {
            warn!(desk.log, "paths failed"; "count" => failed.count(), "first" => first.path.to_string(),
                "why" => first.error.clone());
        }
        self.answered(now)
    }

    /// The remote answered.
    fn answered(&mut self, _now: Duration) -> Result<(), JournalError> {
        if self.health != Health::Good {
            info!(self.desk.log, "the remote is back"; "failures" => self.health.failures());
            self.health = Health::Good;
            self.desk.journal.retry_now(&self.desk.name, clock::wall_ms())?;
        }
        Ok(())
    }

    fn in_trouble(&mut self, judgement: &Judgement, now: Duration) {
        let words = judgement.words.clone();
        let next = match judgement.verdict {
            Verdict::Remote(_) => {
                let wait = outcome::backoff(self.health.failures() + 1, jitter());
                self.health.after_trouble(now, wait, words)
            }
            _ => self.health.after_refusal(now, words),
        };
        if next.worth_saying(&self.health) {
            let again_in = next.until().unwrap_or(now).saturating_sub(now);
            warn!(self.desk.log, "the remote cannot be pushed to"; "why" => &judgement.words,
                "failures" => next.failures(), "again_in_s" => again_in.as_secs());
        }
        self.health = next;
    }

    fn stuck(&mut self, stuck: Stuck, now: Duration) -> Result<(), JournalError> {
        match stuck {
            Stuck::Journal(error) => return Err(error),
            Stuck::Root(why) => {
                if self.hold.as_deref() != Some(&why) {
                    warn!(self.desk.log, "held"; "why" => &why);
                }
                self.hold = Some(why);
                self.root_retry = Some(now + ROOT_RETRY);
            }
            Stuck::System(why) => {
                let wait = outcome::backoff(self.health.failures() + 1, jitter());
                let next = self.health.after_trouble(now, wait, why.clone());
                if next.worth_saying(&self.health) {
                    warn!(self.desk.log, "cannot push"; "why" => why);
                }
                self.health = next;
            }
        }
        Ok(())
    }

    /// What a comparison came to. `why` is the reason of a reconcile of everything.
    fn compared(
        &mut self,
        why: Option<String>,
        slot: bool,
        progress: Result<(Option<Compare>, compare::Progress), Stuck>,
        now: Duration,
    ) -> Result<(), JournalError> {
        let (lane, progress) = match progress {
            Ok(answer) => answer,
            Err(stuck) => {
                self.return_slot(slot);
                return self.stuck(stuck, now);
            }
        };
        if let Some(compare) = &lane
            && compare.why().is_some()
        {
            let (found, why) = (compare.found, why.clone().unwrap_or_default());
            self.found = Some(ReconcileProgress { why, found: found.paths, done: 0, deletions: found.deletions });
        }
        if let Some(work) = lane {
            if work.found.written > 0 {
                self.compared_ms = clock::wall_ms();
                self.look = true;
            }
            self.lanes.compare = Some(Busy { work, slot });
            return Ok(());
        }
        self.look = true;
        self.said.dirty = true;
        match progress {
            compare::Progress::Running => {}
            compare::Progress::Done(complete) => self.comparison_done(why, complete, now)?,
            compare::Progress::Guarded(words) => {
                warn!(self.desk.log, "held"; "why" => &words);
                self.desk.journal.set_held(&self.desk.name, Some(&words))?;
                self.desk.row.held = Some(words);
                self.answered(now)?;
            }
            compare::Progress::Remote(judgement) => self.in_trouble(&judgement, now),
        }
        self.return_slot(slot);
        Ok(())
    }

    fn comparison_done(&mut self, why: Option<String>, complete: bool, now: Duration) -> Result<(), JournalError> {
        self.answered(now)?;
        let Some(why) = why else { return Ok(()) };
        if !complete {
            warn!(self.desk.log, "a part could not be compared; once more later"; "why" => why);
            self.compare_retry = Some(now + AGAIN_AFTER);
            return Ok(());
        }
        let found = self.found.clone().unwrap_or_default();
        let now_ms = clock::wall_ms();
        // A wish that came meanwhile, for another reason, stays.
        if self.desk.row.reconcile.as_ref() == Some(&why) {
            self.desk.journal.reconciled(&self.desk.name, now_ms, found.found as i64)?;
            self.desk.row.reconcile = None;
        }
        self.desk.row.reconciled_at_ms = Some(now_ms);
        self.released = false;
        self.reconciles_done += 1;
        info!(self.desk.log, "compared everything"; "why" => why, "different" => found.found,
            "to_delete" => found.deletions);
        Ok(())
    }

    fn return_slot(&mut self, held: bool) {
        if held {
            self.give_slot_back();
        }
    }

    fn give_slot_back(&mut self) {
        // A channel that cannot be written to is closed: `listen` sees that.
        let _ = self.control.send(&FromPusher::SlotDone, vec![]);
    }

    // --- starting ---

    fn look_at_journal(&mut self, now: Duration) -> Result<(), JournalError> {
        let before = self.work;
        self.work = self.desk.journal.work(&self.desk.name, self.desk.row.cursor, clock::wall_ms())?;
        self.look = false;
        self.looked = now;
        let idle = !before.marks && !before.due && self.lanes.small.is_none();
        if self.work.marks && idle && self.gather_until.is_none() {
            self.gather_until = Some(now + Duration::from_millis(self.desk.start.localpath.delay_ms));
        }
        if self.work != before {
            self.said.dirty = true;
        }
        Ok(())
    }

    fn start_lanes(&mut self, now: Duration) -> Result<(), JournalError> {
        if let Some(at) = self.root_retry {
            if now < at {
                return Ok(());
            }
            self.root_retry = None;
            self.hold = None;
            self.said.dirty = true;
        }
        if self.hold.is_some() || !self.health.may_try(now) {
            return Ok(());
        }
        let mut wanted = 0;
        let probe = self.health != Health::Good;
        let small = self.lanes.small.is_none() && (self.work.marks || self.work.due);
        if small && self.gather_until.is_none_or(|at| now >= at) {
            wanted += self.start_push(Lane::Small, probe, now)?;
        }
        let others = !probe || !small;
        if others && self.lanes.large.is_none() && self.work.large {
            wanted += self.start_push(Lane::Large, probe, now)?;
        }
        if others && self.lanes.compare.is_none() && self.wants_compare(now) {
            wanted += self.start_compare(probe, now)?;
        }
        while self.slots.asked + self.slots.free < wanted {
            self.slots.asked += 1;
            let _ = self.control.send(&FromPusher::WantSlot, vec![]);
        }
        if wanted == 0 {
            for _ in 0..std::mem::take(&mut self.slots.free) {
                self.give_slot_back();
            }
        }
        Ok(())
    }

    fn wants_compare(&self, now: Duration) -> bool {
        self.desk.row.held.is_none()
            && self.compare_retry.is_none_or(|at| now >= at)
            && (self.work.wide || self.desk.row.reconcile.is_some())
    }

    /// Starts a push in `lane`; returns 1 when a slot is missing for it.
    fn start_push(&mut self, lane: Lane, probe: bool, now: Duration) -> Result<u32, JournalError> {
        let slot = !probe && self.slots.take();
        if !slot && !probe {
            return Ok(1);
        }
        let (name, now_ms) = (self.desk.name.clone(), clock::wall_ms());
        let (marks, owed) = match lane {
            Lane::Small => {
                let marks = self.desk.journal.marks_after(self.desk.row.cursor, BATCH)?;
                (marks, self.desk.journal.due(&name, now_ms, BATCH)?)
            }
            Lane::Large => (Vec::new(), self.desk.journal.due_large(&name, now_ms, 1)?),
        };
        let mut ledger = Ledger::new(marks, owed, self.desk.again_upto);
        self.narrow(&mut ledger);
        if lane == Lane::Small {
            self.gather_until = None;
        }
        self.look = true;
        if ledger.items.is_empty() && ledger.cursor.is_none() {
            self.return_slot(slot);
            return Ok(0);
        }
        let deferred = self.deferred(lane, &ledger)?;
        match Push::start(&mut self.desk, lane, ledger, deferred, now) {
            Ok((work, progress)) => self.pushed(lane, Busy { work, slot }, Ok(progress), now)?,
            Err(stuck) => {
                self.return_slot(slot);
                self.stuck(stuck, now)?;
            }
        }
        Ok(0)
    }

    /// A directory made while nothing was being compared has no more in it than its own events say: no comparison is
    /// needed for it.
    fn narrow(&self, ledger: &mut Ledger) {
        let busy = self.lanes.compare.is_some() || self.desk.row.reconcile.is_some();
        let made = Events::CREATE | Events::DIR | Events::ATTRIB | Events::AGAIN;
        for item in &mut ledger.items {
            let only_made = item.scope == Scope::Children && !item.events.without(made).any(Events(!0));
            if only_made && !busy && item.since_ms - self.compared_ms > COMPARED_LATELY_MS {
                item.scope = Scope::Entry;
            }
        }
    }

    /// What this batch must leave alone because the large file in flight is it. A large file in flight whose name has
    /// gone is given up instead.
    fn deferred(&mut self, lane: Lane, ledger: &Ledger) -> Result<HashSet<RelPath>, JournalError> {
        let mut deferred = HashSet::new();
        if lane == Lane::Large {
            return Ok(deferred);
        }
        let Some(large) = self.lanes.large.as_ref().and_then(|busy| busy.work.paths().next().cloned()) else {
            return Ok(deferred);
        };
        let touched = ledger.items.iter().any(|i| large.is_within(&i.path) || i.path.is_within(&large));
        if !touched {
            return Ok(deferred);
        }
        let there = crate::sys::files::lstat(&large.below(self.desk.start.localpath.watch.as_path()));
        if there.is_ok_and(|seen| seen.kind == crate::seen::Kind::File) {
            deferred.insert(large);
        } else if let Some(mut busy) = self.lanes.large.take() {
            busy.work.kill();
            self.unseen(&busy.work)?;
            self.return_slot(busy.slot);
        }
        Ok(deferred)
    }

    fn start_compare(&mut self, probe: bool, now: Duration) -> Result<u32, JournalError> {
        let slot = !probe && self.slots.take();
        if !slot && !probe {
            return Ok(1);
        }
        let job = match &self.desk.row.reconcile {
            Some(why) => Job::Everything { why: why.clone(), exclude: self.left_out(why) },
            None => {
                let rows = self.desk.journal.due_wide(&self.desk.name, clock::wall_ms(), compare::WIDE_AT_ONCE)?;
                Job::Wide(rows)
            }
        };
        self.look = true;
        self.said.dirty = true;
        match Compare::start(&mut self.desk, job, now) {
            Ok(Some(work)) => self.lanes.compare = Some(Busy { work, slot }),
            Ok(None) => self.return_slot(slot),
            Err(stuck) => {
                self.return_slot(slot);
                self.stuck(stuck, now)?;
            }
        }
        Ok(0)
    }

    /// sersync's `crontabfilter`: only for scheduled reconciles.
    fn left_out(&self, why: &str) -> Vec<OsBytes> {
        let crontab = self.desk.start.localpath.crontab.as_ref();
        crontab.filter(|_| why == crate::message::SCHEDULE).map(|c| c.exclude.clone()).unwrap_or_default()
    }

    // --- telling ---

    fn tell(&mut self, now: Duration) -> Result<(), JournalError> {
        let idle = self.lanes.idle() && !self.work.marks && !self.work.due && !self.work.wide;
        let wait = if idle { Duration::ZERO } else { STATUS_EVERY };
        if self.said.dirty && now.saturating_sub(self.said.status_at) >= wait {
            let status = self.status()?;
            self.said.dirty = false;
            self.said.status_at = now;
            if self.said.status.as_ref() != Some(&status) {
                let _ = self.control.send(&FromPusher::Status(Box::new(status.clone())), vec![]);
                self.said.status = Some(status);
                self.said.alive_at = now;
            }
        }
        if now.saturating_sub(self.said.alive_at) >= Duration::from_millis(ALIVE_EVERY_MS)
            && !self.control.wants_write()
        {
            self.said.alive_at = now;
            let _ = self.control.send(&FromPusher::Alive, vec![]);
        }
        Ok(())
    }

    fn status(&mut self) -> Result<PusherStatus, JournalError> {
        let backlog = self.desk.journal.backlog(&self.desk.name)?;
        let first: Option<Owed> = match backlog.failing {
            0 => None,
            _ => self.desk.journal.failing(&self.desk.name, 1)?.into_iter().next(),
        };
        let outstanding = match &self.found {
            Some(_) => self.desk.journal.owed_by_reconcile(&self.desk.name)?,
            None => 0,
        };
        let comparing = self.lanes.compare.as_ref().filter(|busy| busy.work.why().is_some());
        if let Some(found) = &mut self.found {
            let unwritten = comparing.map_or(0, |busy| found.found.saturating_sub(busy.work.found.written));
            found.done = found.found.saturating_sub(outstanding + unwritten);
        }
        if outstanding == 0 && comparing.is_none() {
            self.found = None;
        }
        let wanted = self.desk.row.reconcile.as_ref().filter(|_| self.desk.row.held.is_none());
        let waiting = wanted.map(|why| ReconcileProgress { why: why.clone(), ..ReconcileProgress::default() });
        Ok(report::status(View {
            hold: self.hold.as_deref(),
            health: &self.health,
            row: &self.desk.row,
            backlog,
            first_failure: first.map(|row| format!("{}: {}", row.path, row.error.unwrap_or_default())),
            pushing: self.lanes.pushing(),
            reconcile: self.found.clone().or(waiting),
            reconciles_done: self.reconciles_done,
        }))
    }

    /// Waits for whatever comes next.
    fn sleep(&mut self, now: Duration) -> io::Result<()> {
        let busy = !self.lanes.idle();
        let due = self.work.next_ms.map(|ms| now + Duration::from_millis((ms - clock::wall_ms()).max(0) as u64));
        let gather = self.gather_until.filter(|_| self.lanes.small.is_none());
        let soon = |yes: bool, wait: Duration| yes.then_some(now + wait);
        let times = [
            Some(self.said.alive_at + Duration::from_millis(ALIVE_EVERY_MS)),
            Some(self.looked + LOOK_EVERY),
            soon(busy, Duration::from_secs(1)),
            soon(self.lanes.compare.as_ref().is_some_and(|c| !c.work.flies()), Duration::from_millis(50)),
            soon(self.said.dirty, STATUS_EVERY),
            // Something is to be done at once.
            soon(self.look && self.stop.is_none() && self.journal_retry.is_none(), Duration::ZERO),
            due,
            gather,
            self.root_retry,
            self.compare_retry.filter(|at| *at > now),
            self.journal_retry,
            self.health.until().filter(|at| *at > now),
            self.stop,
        ];
        if due.is_some_and(|at| at <= now) {
            self.look = true;
        }
        let next = times.into_iter().flatten().min().unwrap_or(now);
        let interest = if self.control.wants_write() { poll::Interest::ReadWrite } else { poll::Interest::Read };
        let fds = [
            (self.control.as_fd(), interest),
            (self.wake.as_fd(), poll::Interest::Read),
            (self.signals.as_fd(), poll::Interest::Read),
        ];
        let ready = poll::wait(&fds, Some(next.saturating_sub(now)))?;
        if ready[1] {
            wake::drain(&self.wake);
            self.look = true;
        }
        if due.is_some_and(|at| clock::boot() >= at) {
            self.look = true;
        }
        // A closed channel shows when it is read.
        let _ = self.control.flush();
        Ok(())
    }
}

/// A large file landing changes the times of the directory that holds it: the directory is pushed after it.
fn parents_of(push: &Push) -> Vec<Owe> {
    let now_ms = clock::wall_ms();
    let parents = push.paths().filter_map(RelPath::parent).filter(|parent| !parent.is_root());
    parents
        .map(|path| Owe {
            path,
            scope: Scope::Entry,
            events: Events::ATTRIB | Events::DIR,
            error: None,
            attempts: 0,
            next_try_ms: now_ms,
            since_ms: now_ms,
        })
        .collect()
}

/// Takes this pusher's lock. An orphaned rsync of a dead predecessor holds it: it is ended (rule 2).
fn take_lock(start: &PusherStart, control: &mut Control) -> Result<(), String> {
    let file = start.state_dir.join(format!("pusher-{}.lock", file_name(&start.remote.name())));
    let mut tries = 0u32;
    loop {
        match lock::take(&file, true) {
            Ok(Some(lock)) => {
                // Held for life.
                std::mem::forget(lock);
                return Ok(());
            }
            Ok(None) => {}
            Err(e) => return Err(format!("{}: {e}", file.display())),
        }
        tries += 1;
        if tries % 10 == 0 {
            let real = file.canonicalize().unwrap_or_else(|_| file.clone());
            process::holders(&real).into_iter().for_each(process::kill_pid);
            control.send(&FromPusher::Alive, vec![]).map_err(|e| e.to_string())?;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A remote's name as a file name: letters, digits, `.` and `-` as they are, other bytes as `%XX`.
fn file_name(name: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'-';
    let one = |b: u8| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") };
    let mut text: String = name.bytes().map(one).collect();
    text.truncate(200);
    text
}

fn open_journal(start: &PusherStart, control: &mut Control, logger: &Logger) -> Result<Journal, String> {
    let mut said = false;
    loop {
        match Journal::open(&start.state_dir) {
            Ok(journal) => return Ok(journal),
            Err(JournalError::Damaged(why)) => {
                let _ = control.send(&FromPusher::Damaged(why.clone()), vec![]);
                return Err(format!("the journal is damaged: {why}"));
            }
            Err(JournalError::Refused(why)) => {
                if !said {
                    warn!(logger, "the journal cannot be opened"; "why" => why);
                    said = true;
                }
                control.send(&FromPusher::Alive, vec![]).map_err(|e| e.to_string())?;
                std::thread::sleep(ROOT_RETRY);
            }
        }
    }
}

/// A number between 0 and 1, so that many pushers do not come back together.
fn jitter() -> f64 {
    (clock::wall_ns() % 1_000_003) as f64 / 1_000_003.0
}
