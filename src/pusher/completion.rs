//! What comes of each lane: settled, in trouble, held, compared.

use super::compare::{self, Compare, Found};
use super::context::Stuck;
use super::doubt::Doubt;
use super::health::{Health, path_worth_saying};
use super::jobs::Busy;
use super::lane::Lane;
use super::push::{self, Push};
use super::reconcile::Counted;
use super::run::Pusher;
use crate::journal::{Events, Held, JournalError, Owe, Party, Scope, Settlement};
use crate::message::FromPusher;
use crate::path::RelPath;
use crate::reconcile_reason::ReconcileReason;
use crate::rsync::exit_status::{self, Judgement, Trouble, Verdict};
use crate::sys::clock;
use slog::{info, warn};
use std::time::Duration;

/// A comparison that was upset by changes is tried again after this.
const UPSET_WAIT: Duration = Duration::from_millis(100);

/// The names in the root are compared no sooner after they were.
const NAMES_WAIT: Duration = Duration::from_secs(1);

/// Which comparison came to its end.
struct What {
    /// Why, when it was one of everything.
    why: Option<ReconcileReason>,
    /// The delete guard has no say in it.
    live: bool,
}

impl Pusher {
    pub(super) fn advance(&mut self, now: Duration) -> Result<(), JournalError> {
        for lane in Lane::ALL {
            if let Some(mut busy) = self.jobs.place(lane).take() {
                let beside = self.jobs.is_running();
                let progress = busy.work.advance(&mut self.context, beside, now);
                self.pushed(lane, busy, progress, now)?;
            }
        }
        if let Some(busy) = self.jobs.compare.take() {
            self.advance_compare(busy, now)?;
        }
        self.advance_verify(now)?;
        self.advance_scrub(now)?;
        self.advance_expiry(now);
        // Rows are wanted when a push has begun or ended, and then there is a look to be had.
        match self.jobs.spool.take_if(|_| self.pending.is_stale()) {
            Some(work) => self.advance_compare(Busy { work, slot: false }, now),
            None => Ok(()),
        }
    }

    fn advance_compare(&mut self, busy: Busy<Compare>, now: Duration) -> Result<(), JournalError> {
        let what = What { why: busy.work.why().cloned(), live: busy.work.live() };
        let pushing = self.jobs.pushing();
        let progress =
            busy.work.advance(&mut self.context, pushing, self.reconcile.approved(), now);
        self.compared(what, busy.slot, progress, now)
    }

    /// What a push came to.
    pub(super) fn pushed(
        &mut self,
        lane: Lane,
        busy: Busy<Push>,
        progress: Result<push::Progress, Stuck>,
        now: Duration,
    ) -> Result<(), JournalError> {
        if matches!(progress, Ok(push::Progress::Running)) {
            *self.jobs.place(lane) = Some(busy);
            return Ok(());
        }
        // Before anything that may fail: a slot that is not given back is lost to everybody.
        self.return_slot(busy.slot);
        self.pending.touch();
        self.said.dirty = true;
        if Lane::BULK.contains(&lane) {
            self.yielding.portions = false;
            self.yielding.small = false;
        } else if lane == Lane::Small && self.yielding.to_marks {
            self.yielding.portions = false;
        }
        if lane == Lane::Small && !matches!(progress, Ok(push::Progress::Done(_))) {
            self.waiters.read(false);
        }
        match progress {
            Ok(push::Progress::Running) => {}
            Ok(push::Progress::Done(mut end)) => {
                if Lane::LARGE.contains(&lane) {
                    end.owe.extend(parent_of(&busy.work));
                }
                // Before it is settled: a death between the two must not forget it.
                self.look_at_made(&busy.work)?;
                self.note_beside(&end.settled);
                self.settled(&end)?;
                if lane == Lane::Small {
                    self.waiters.read(true);
                }
            }
            Ok(push::Progress::Remote(judgement)) if self.limits_connections(&judgement, now) => {}
            Ok(push::Progress::Remote(judgement)) => {
                self.push_failed = true;
                self.in_trouble(&judgement, now);
                self.look_at_made(&busy.work)?;
                if judgement.receiver_failed() {
                    self.leftovers(busy.work.parents())?;
                } else if judgement.end_unseen {
                    self.unseen(&busy.work)?;
                } else {
                    // An rsync of this push may have broken off before.
                    self.leftovers(busy.work.findings.leftovers(clock::wall_ms()))?;
                }
                self.bound_backlog()?;
            }
            Err(stuck) => self.stuck(stuck, now)?,
        }
        Ok(())
    }

    fn settled(&mut self, end: &Settlement) -> Result<(), JournalError> {
        if end.success {
            self.doubt_when_back()?;
        }
        let now_ms = clock::wall_ms();
        let context = &mut self.context;
        context.journal.settle(&context.name, end, now_ms)?;
        context.row.cursor = context.row.cursor.max(end.cursor.unwrap_or(0));
        context.row.totals += end.pushed;
        let grown = end.pushed.created as i64 - end.pushed.deleted as i64;
        context.row.entries = context.row.entries.map(|entries| (entries + grown).max(0));
        if end.success {
            context.row.last_success_ms = Some(now_ms);
            self.pushes += 1;
        }
        let failed = end.owe.iter().filter(|owe| owe.error.is_some());
        if let Some(first) = failed.clone().min_by_key(|owe| owe.attempts)
            && path_worth_saying(first.attempts)
        {
            warn!(context.log, "paths failed"; "count" => failed.count(), "first" => first.path.to_string(),
                "why" => first.error.clone());
        }
        let failing = end.owe.iter().any(|owe| owe.error.is_some());
        // What is settled by its cursor alone was not in it.
        let touched =
            failing || (self.fail_log_shows && !(end.done.is_empty() && end.owe.is_empty()));
        if touched && context.start.localpath.fail_log.is_some() {
            let trouble = self.health.words().filter(|_| !end.success);
            self.fail_log_shows = self.context.write_fail_log(trouble)?;
        }
        if end.success {
            self.push_failed = false;
            self.answered()?;
        }
        Ok(())
    }

    /// An operator does not want to hear of these failures any more, nor of those of the pushes in hand.
    pub(super) fn forget_failures(&mut self, below: &[RelPath]) -> Result<(), JournalError> {
        let context = &mut self.context;
        context.journal.forget_failures(Party::Remote(&context.name), below)?;
        for busy in self.jobs.pushes_mut() {
            busy.work.forget_failures(below);
        }
        self.show_owed();
        Ok(())
    }

    /// A comparison went well. Where the disk is full or the directory's parent is missing it does, and no push will.
    fn compared_well(&mut self) -> Result<(), JournalError> {
        let work = self.pending.work;
        if self.push_failed && (work.marks || work.due || work.large || work.bulk) {
            return Ok(());
        }
        self.answered()
    }

    /// The remote answered.
    fn answered(&mut self) -> Result<(), JournalError> {
        self.doubt_when_back()?;
        if self.health != Health::Good {
            info!(self.context.log, "the remote is back"; "failures" => self.health.failures());
            self.health = Health::Good;
            self.context.journal.retry_now(&self.context.name, clock::wall_ms())?;
            if std::mem::take(&mut self.leftovers_everywhere) {
                self.want_reconcile(&ReconcileReason::Leftovers)?;
            }
            self.show_owed();
        }
        Ok(())
    }

    fn in_trouble(&mut self, judgement: &Judgement, now: Duration) {
        self.doubt_after(judgement);
        let words = judgement.words.clone();
        let next = match judgement.verdict {
            Verdict::Remote(trouble) => {
                if matches!(
                    trouble,
                    Trouble::Unreachable | Trouble::ConnectionLimited | Trouble::Broken
                ) {
                    self.context.master.distrust(now);
                }
                let failures = match trouble {
                    Trouble::Killed => 1,
                    _ => self.health.failures() + 1,
                };
                let wait = exit_status::backoff(failures, jitter());
                self.health.after_trouble(now, wait, words)
            }
            _ => self.health.after_refusal(now, words),
        };
        if next.worth_saying(&self.health) {
            let again_in = next.until().unwrap_or(now).saturating_sub(now);
            warn!(self.context.log, "the remote cannot be pushed to"; "why" => &judgement.words,
                "failures" => next.failures(), "again_in_s" => again_in.as_secs());
        }
        self.health = next;
        self.show_owed();
    }

    /// Keeps the fail log right when the remote comes into trouble or out of it.
    fn show_owed(&mut self) {
        if self.context.start.localpath.fail_log.is_some() {
            // A journal that cannot be read now is met again by the next push.
            if let Ok(shows) = self.context.write_fail_log(self.health.words()) {
                self.fail_log_shows = shows;
            }
        }
    }

    pub(super) fn stuck(&mut self, stuck: Stuck, now: Duration) -> Result<(), JournalError> {
        match stuck {
            Stuck::Journal(error) => return Err(error),
            Stuck::Root(why) => {
                if self.phase.root_gone(why.clone(), now) {
                    warn!(self.context.log, "held"; "why" => why);
                }
            }
            Stuck::System(why) => {
                let wait = exit_status::backoff(self.health.failures() + 1, jitter());
                let next = self.health.after_trouble(now, wait, why.clone());
                if next.worth_saying(&self.health) {
                    warn!(self.context.log, "cannot push"; "why" => why);
                }
                self.health = next;
            }
        }
        Ok(())
    }

    /// What a comparison came to.
    fn compared(
        &mut self,
        what: What,
        slot: bool,
        progress: Result<(Option<Compare>, compare::Progress), Stuck>,
        now: Duration,
    ) -> Result<(), JournalError> {
        // Before anything that may fail: a slot that is not given back is lost to everybody.
        if !matches!(progress, Ok((Some(_), _))) {
            self.return_slot(slot);
        }
        let (lane, progress) = match progress {
            Ok(answer) => answer,
            Err(stuck) => return self.stuck(stuck, now),
        };
        if let Some(work) = lane {
            let rows = matches!(progress, compare::Progress::Rows);
            return self.still_comparing(Busy { work, slot }, rows);
        }
        self.pending.touch();
        self.said.dirty = true;
        match progress {
            compare::Progress::Running | compare::Progress::Rows => {}
            compare::Progress::Upset => self.reconcile.put_off(Some(now + UPSET_WAIT)),
            compare::Progress::Done { incomplete, entries } => {
                // What the operator approved was this comparison, unless the guard has no say in it.
                if !what.live {
                    self.reconcile.forget_approval();
                }
                self.comparison_done(what.why, incomplete, entries, now)?;
            }
            compare::Progress::Guarded(held) => {
                self.guarded(held)?;
                self.compared_well()?;
            }
            compare::Progress::Names(names) => {
                self.compared_well()?;
                self.names_compared(names)?;
                // A push may have to answer first.
                let later = self.wants_names().then_some(now + NAMES_WAIT);
                self.reconcile.put_off(later);
            }
            compare::Progress::Remote(judgement) if self.limits_connections(&judgement, now) => {
                self.reconcile.put_off(Some(now + UPSET_WAIT));
            }
            compare::Progress::Remote(judgement) => {
                self.in_trouble(&judgement, now);
                self.bound_backlog()?;
            }
        }
        Ok(())
    }

    /// The delete guard holds what a comparison found.
    pub(super) fn guarded(&mut self, held: Held) -> Result<(), JournalError> {
        warn!(self.context.log, "held"; "why" => &held.why);
        // What was approved was less.
        self.reconcile.forget_approval();
        self.context.journal.set_held(&self.context.name, Some(&held))?;
        self.context.row.held = Some(held);
        self.said.dirty = true;
        Ok(())
    }

    /// A comparison goes on; with `rows` there are some to be written, or some were.
    fn still_comparing(&mut self, busy: Busy<Compare>, rows: bool) -> Result<(), JournalError> {
        let compare = &busy.work;
        let found = compare.found;
        // Here at least once after its dry run, before its last row is written.
        if rows {
            self.pending.touch();
            self.yielding.portions = false;
            if found.paths > 0 {
                self.compared_ms = clock::wall_ms();
            }
        }
        if let Some(why) = compare.why() {
            let Found { paths, deletions, bytes, .. } = found;
            self.reconcile.compares(why, Counted { paths, deletions, bytes });
        }
        if compare.is_running() || compare.why().is_none() {
            self.jobs.compare = Some(busy);
            return Ok(());
        }
        self.return_slot(busy.slot);
        if found.written == 0 {
            // Counted just now; what it found is not pushed yet.
            let entries = found.entries as i64;
            self.context.journal.set_entries(&self.context.name, entries)?;
            self.context.row.entries = Some(entries);
            self.reconcile.counted(self.context.row.totals.bytes);
        }
        self.jobs.spool = Some(busy.work);
        Ok(())
    }

    fn comparison_done(
        &mut self,
        why: Option<ReconcileReason>,
        incomplete: Option<String>,
        entries: u64,
        now: Duration,
    ) -> Result<(), JournalError> {
        self.compared_well()?;
        let Some(why) = why else { return Ok(()) };
        if let Some(words) = incomplete {
            if let Some(incomplete) = self.reconcile.was_incomplete(words, now) {
                warn!(self.context.log, "reconcile incomplete"; "why" => &incomplete.words,
                    "times" => incomplete.times, "again_in_s" => incomplete.wait().as_secs());
            }
            return Ok(());
        }
        let found = self.reconcile.found();
        let now_ms = clock::wall_ms();
        // A request that came meanwhile stays: for another reason, or for the same once more.
        let settled = self.reconcile.settles().then_some(&why);
        // Counted before its first row was pushed, and kept since.
        let entries = self.context.row.entries.unwrap_or(entries as i64);
        let left = self.context.journal.reconciled(&self.context.name, now_ms, entries, settled)?;
        if left.is_none() {
            self.context.row.behind_since_ms = None;
        }
        self.context.row.reconcile = left;
        self.context.row.entries = Some(entries);
        self.context.row.reconciled_at_ms = Some(now_ms);
        self.reconcile.finish();
        if self.doubt == Doubt::Names {
            self.doubt = Doubt::No;
        }
        info!(self.context.log, "compared everything"; "why" => %why, "different" => found.paths,
            "to_delete" => found.deletions);
        Ok(())
    }

    pub(super) fn return_slot(&mut self, held: bool) {
        if held {
            self.give_slot_back();
        }
    }

    pub(super) fn give_slot_back(&mut self) {
        self.supervisor.send(&FromPusher::SlotDone);
    }
}

/// A large file landing changes the times of the directory that holds it: the directory is pushed after it.
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

/// A number between 0 and 1, so that many pushers do not come back together.
fn jitter() -> f64 {
    (clock::wall_ns() % 1_000_003) as f64 / 1_000_003.0
}
