//! Which jobs start, and with what.

use super::compare::{self, Compare, Job};
use super::health::Health;
use super::jobs::Busy;
use super::lane::Lane;
use super::phase::Phase;
use super::push::Push;
use super::run::Pusher;
use super::slots::Waiter;
use crate::journal::{Events, JournalError, Owed};
use crate::message::FromPusher;
use crate::path::OsBytes;
use crate::reconcile_reason::ReconcileReason;
use crate::rsync::differ::Touched;
use crate::rsync::exit_status::Judgement;
use crate::sys::clock;
use slog::info;
use std::time::Duration;

/// A remote that was short of connections gets one at a time for so long.
const CONNECTION_LIMITED: Duration = Duration::from_secs(600);

impl Pusher {
    pub(super) fn look_at_journal(&mut self, now: Duration) -> Result<(), JournalError> {
        let context = &mut self.context;
        let work = context.journal.work(&context.name, context.row.cursor, clock::wall_ms())?;
        let delay = Duration::from_millis(context.start.localpath.delay_ms);
        let idle = !self.jobs.busy(Lane::Small);
        self.said.dirty |= self.pending.looked(work, idle, delay, now);
        self.yielding.large = false;
        Ok(())
    }

    pub(super) fn start_lanes(&mut self, now: Duration) -> Result<(), JournalError> {
        self.said.dirty |= self.phase.retry(now);
        if !self.may_start(now) {
            self.give_free_slots_back();
            return Ok(());
        }
        let mut wanted = 0;
        let probe = self.health != Health::Good;
        let due = self.pending.work.due && !self.yielding.small;
        let small = !self.jobs.busy(Lane::Small) && (self.pending.work.marks || due);
        if small && self.pending.has_gathered(now) {
            wanted += self.start_push(Lane::Small, probe, now)?;
        }
        // A remote in trouble is tried by one push, and by a comparison only when there is none.
        let alone = probe && (small || self.jobs.pushing());
        let before = wanted;
        for lane in Lane::LARGE {
            let alone = alone || (probe && self.jobs.pushing());
            // The second waits for nothing that the first has not got.
            let free = !self.jobs.busy(lane) && wanted == before && self.pending.work.large;
            if !alone && free && self.has_another_large(lane)? {
                wanted += self.start_push(lane, probe, now)?;
            }
        }
        let before = wanted;
        for lane in Lane::BULK {
            let alone = probe && (small || self.pending.work.large || self.jobs.pushing());
            // The second waits for nothing that the first has not got.
            if !alone && wanted == before && self.wants_bulk(lane) {
                wanted += self.start_push(lane, probe, now)?;
            }
        }
        let push =
            small || self.pending.work.large || self.pending.work.bulk || self.jobs.pushing();
        if !(probe && push) && self.jobs.compare.is_none() && self.wants_compare(now) {
            wanted += self.start_compare(probe, now)?;
        }
        wanted += u32::from(self.start_verify(now)?);
        if self.slots.turn_ends() {
            self.pending.touch();
        }
        if !probe && wanted == 0 {
            wanted += self.start_expiry(now);
        }
        while self.slots.asked + self.slots.free < wanted {
            self.slots.asked += 1;
            self.supervisor.send(&FromPusher::WantSlot);
        }
        if wanted == 0 {
            self.give_free_slots_back();
        }
        let quiet = wanted == 0
            && !self.jobs.pushing()
            && !self.pending.work.marks
            && !self.pending.work.due
            && !probe;
        self.start_scrub(quiet, now)
    }

    /// True when there is a large file for this lane beside one in flight. Looked for before a slot is asked for.
    fn has_another_large(&mut self, lane: Lane) -> Result<bool, JournalError> {
        if self.jobs.large().next().is_none() {
            return Ok(true);
        }
        if !self.yielding.large {
            self.yielding.large = self.next_large(lane, clock::wall_ms())?.is_none();
        }
        Ok(!self.yielding.large)
    }

    /// True when nothing stands against starting an rsync at `now`.
    pub(super) fn may_start(&self, now: Duration) -> bool {
        self.may_connect(now) && !self.context.master.is_coming(now)
    }

    fn may_connect(&self, now: Duration) -> bool {
        self.stop.is_none()
            && self.pending.is_usable(now)
            && self.phase == Phase::Running
            && self.health.may_try(now)
    }

    /// A shared connection is looked for while pushes go well.
    pub(super) fn wants_master(&self, now: Duration) -> bool {
        self.may_connect(now) && self.health == Health::Good
    }

    /// Slots that cannot be used now: others wait for them.
    pub(super) fn give_free_slots_back(&mut self) {
        for _ in 0..std::mem::take(&mut self.slots.free) {
            self.give_slot_back();
        }
    }

    /// How many slots are missing for `waiter`, when it cannot start now.
    fn waits(&mut self, waiter: Waiter, probe: bool, now: Duration) -> Option<u32> {
        // The remote takes one connection at a time; perhaps somebody has it.
        let connection_limited = self.connection_limited.is_some_and(|until| now < until);
        if connection_limited && self.jobs.is_running() {
            self.slots.wait(waiter);
            return Some(0);
        }
        let most = if connection_limited { 1 } else { u32::MAX };
        (!probe && !self.slots.is_turn(waiter, most)).then_some(1)
    }

    /// True when the remote has no room for another connection beside ours, or one of ours that has just ended, which is
    /// no trouble: for a while they come one after the other.
    pub(super) fn limits_connections(&mut self, judgement: &Judgement, now: Duration) -> bool {
        let limits_connections = judgement.connection_limited()
            && (self.jobs.is_running() || self.context.has_one_leaving(judgement, now));
        if limits_connections {
            if self.connection_limited.is_none_or(|until| now >= until) {
                info!(self.context.log, "one connection at a time"; "why" => &judgement.words);
            }
            self.connection_limited = Some(now + CONNECTION_LIMITED);
        }
        limits_connections
    }

    fn wants_bulk(&self, lane: Lane) -> bool {
        let small = self.pending.work.marks || self.pending.work.due || self.jobs.busy(Lane::Small);
        let waits =
            (self.yielding.bulk && small) || (self.yielding.portions && self.jobs.pushing());
        self.pending.work.bulk && !self.jobs.busy(lane) && !waits
    }

    fn wants_compare(&self, now: Duration) -> bool {
        let wide = match self.only_live() {
            true => {
                self.pending.work.wide_live
                    && (!self.pending.work.due
                        || self.pending.work.bulk
                        || self.reconcile.is_under_way())
            }
            false => self.pending.work.wide,
        };
        self.reconcile.may_compare(now)
            && (wide || self.wants_everything(now) || self.wants_names())
    }

    /// What the guard has a say in waits for the operator while it holds the remote. It also waits for what is owed by
    /// name: a comparison would find that once more, and the guard count it again. For what live events marked only the
    /// work would be double; but what a comparison of everything found may take hours to push.
    fn only_live(&self) -> bool {
        self.held() || self.owed_by_name()
    }

    fn owed_by_name(&self) -> bool {
        self.pending.work.due || self.pending.work.bulk
    }

    fn wants_everything(&self, now: Duration) -> bool {
        !self.held()
            && self.context.row.reconcile.is_some()
            && self.jobs.spool.is_none()
            && self.reconcile.may_compare_everything(now)
    }

    /// The delete guard holds a comparison.
    fn held(&self) -> bool {
        self.context.row.held.is_some()
    }

    /// Starts a push in `lane`; returns 1 when a slot is missing for it.
    fn start_push(&mut self, lane: Lane, probe: bool, now: Duration) -> Result<u32, JournalError> {
        if let Some(missing) = self.waits(Waiter::Push(lane), probe, now) {
            return Ok(missing);
        }
        let Some((mut batch, deferred)) = self.read(lane)? else { return Ok(0) };
        self.narrow(&mut batch);
        if lane == Lane::Small {
            self.pending.pushed();
        }
        self.pending.touch();
        if batch.items.is_empty() && batch.cursor.is_none() {
            return Ok(0);
        }
        if let Some(looking) = &mut self.jobs.verify {
            looking.touch(batch.items.iter().map(|item| &item.path));
        }
        if let Some(compare) = &mut self.jobs.compare {
            compare.work.touch(batch.going());
        }
        if self.wants_names() {
            let names = batch.items.iter().map(|item| &item.path);
            let in_root = names.filter(|path| path.parent().is_some_and(|dir| dir.is_root()));
            self.jobs.names_touched.extend(in_root.cloned());
        }
        if let Some(scrub) = &mut self.jobs.scrub {
            scrub.touch(batch.items.iter().map(|item| &item.path));
        }
        // Nothing from here on fails without giving it back.
        let slot = !probe && self.slots.take();
        match Push::start(&mut self.context, lane, batch, deferred, now) {
            Ok((work, progress)) => self.pushed(lane, Busy { work, slot }, Ok(progress), now)?,
            Err(stuck) => {
                self.return_slot(slot);
                self.stuck(stuck, now)?;
            }
        }
        Ok(0)
    }

    fn start_compare(&mut self, probe: bool, now: Duration) -> Result<u32, JournalError> {
        if let Some(missing) = self.waits(Waiter::Compare, probe, now) {
            return Ok(missing);
        }
        self.reconcile.put_off(None);
        let job = match self.context.row.reconcile.as_ref().filter(|_| self.wants_everything(now)) {
            Some(why) => Job::Everything { why: why.clone(), exclude: self.left_out(why) },
            None if self.wants_names() => {
                self.jobs.names_touched.clear();
                Job::Names
            }
            None => {
                let rows = self.context.journal.due_wide(
                    &self.context.name,
                    self.only_live(),
                    clock::wall_ms(),
                    compare::WIDE_AT_ONCE,
                )?;
                Job::Wide(of_one_kind(rows))
            }
        };
        self.pending.touch();
        self.said.dirty = true;
        let slot = !probe && self.slots.take();
        let mut going = Touched::default();
        self.jobs.pushes().for_each(|push| going.add(push.going()));
        match Compare::start(&mut self.context, job, going, now) {
            Ok(Some(work)) => self.jobs.compare = Some(Busy { work, slot }),
            Ok(None) => self.return_slot(slot),
            Err(stuck) => {
                self.return_slot(slot);
                self.stuck(stuck, now)?;
            }
        }
        Ok(0)
    }

    /// sersync's `crontabfilter`: only for scheduled reconciles.
    fn left_out(&self, why: &ReconcileReason) -> Vec<OsBytes> {
        let crontab = self.context.start.localpath.crontab.as_ref();
        crontab
            .filter(|_| *why == ReconcileReason::Schedule)
            .map(|c| c.exclude.clone())
            .unwrap_or_default()
    }
}

/// Those of the kind of the first, which has waited longest: a comparison is of one kind, and none must wait for as
/// long as others keep coming. What a scan found stands under the delete guard, and must not hold live events.
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
    fn the_kind_that_waits_longest_is_compared_first() {
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
