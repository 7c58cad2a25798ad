//! The lanes of a pusher, and the slots they hold.

use super::compare::Compare;
use super::expiry::Expiry;
use super::push::Push;
use super::rolling::Rolling;
use super::verify::Looking;
use crate::path::RelPath;
use crate::rsync_run::run::LOOK_EVERY;
use std::collections::BTreeSet;
use std::time::Duration;

/// An rsync that has not moved for this long gives its slot back: a hung remote must not starve healthy ones.
pub(super) const STALLED: Duration = Duration::from_secs(5);

/// A lane at work.
pub struct Busy<T> {
    /// What it does.
    pub work: T,
    /// It holds a slot.
    pub slot: bool,
}

/// Which paths a push takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// What is marked, and single names that are owed.
    Small,
    /// One large file: that which has waited longest.
    Large,
    /// Another one: the smallest of those that wait, so that the largest hold up no other.
    Large2,
    /// A portion of what a comparison of everything found. There are two such lanes: one portion is prepared, and its rsync started,
    /// while the other goes.
    Bulk,
    /// The other one.
    Bulk2,
}

impl Lane {
    /// In the order in which they start.
    pub const ALL: [Lane; 5] = [Lane::Small, Lane::Large, Lane::Large2, Lane::Bulk, Lane::Bulk2];
    /// Those of large files.
    pub const LARGE: [Lane; 2] = [Lane::Large, Lane::Large2];
    /// Those of portions.
    pub const BULK: [Lane; 2] = [Lane::Bulk, Lane::Bulk2];
}

/// At most one rsync in each.
#[derive(Default)]
pub struct Lanes {
    pub(super) pushes: [Option<Busy<Push>>; Lane::ALL.len()],
    /// A comparison.
    pub compare: Option<Busy<Compare>>,
    /// What was pushed since a comparison of the names in the root began.
    pub names_touched: BTreeSet<RelPath>,
    /// A comparison of everything whose rsync has ended, and whose rows are written as they are pushed: that may take
    /// hours, and other comparisons go on beside it.
    pub spool: Option<Compare>,
    /// A comparison that somebody reads.
    pub(super) verify: Option<Looking>,
    /// The comparison that goes on all the time, where there is one. It may be ended at any time.
    pub(super) rolling: Option<Rolling>,
    /// What the trash has kept for long enough is being deleted. Nothing waits for it, and it may be ended at any time.
    pub expiry: Option<Busy<Expiry>>,
}

/// What needs a slot to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiter {
    /// A push.
    Push(Lane),
    /// A comparison.
    Compare,
    /// A comparison that somebody reads.
    Verify,
}

/// The slots of this pusher. Its lanes take them in the order in which they began to wait: where there are fewer slots
/// than lanes, marks that never end must not keep all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slots {
    /// Granted and not in a lane's hands.
    pub free: u32,
    /// Asked for and not yet granted.
    pub asked: u32,
    /// Who waits, the longest first.
    queue: Vec<Waiter>,
    /// Who was there in this turn of the loop.
    here: Vec<Waiter>,
}

impl Slots {
    /// Takes a free slot.
    pub fn take(&mut self) -> bool {
        let had = self.free > 0;
        self.free -= u32::from(had);
        had
    }

    /// `waiter` cannot start in this turn, but keeps its place.
    pub fn wait(&mut self, waiter: Waiter) {
        if !self.queue.contains(&waiter) {
            self.queue.push(waiter);
        }
        self.here.push(waiter);
    }

    /// True when `waiter` may start now, of which there may be `most`; else it waits.
    pub fn is_turn(&mut self, waiter: Waiter, most: u32) -> bool {
        self.wait(waiter);
        let before = self.queue.iter().take_while(|other| **other != waiter).count();
        let turn = before < self.free.min(most) as usize;
        if turn {
            self.queue.retain(|other| *other != waiter);
        }
        turn
    }

    /// The end of a turn of the loop: who was not there waits no longer. True when a slot is left that somebody let
    /// another have who did not take it.
    pub fn turn_ends(&mut self) -> bool {
        let here = std::mem::take(&mut self.here);
        self.queue.retain(|waiter| here.contains(waiter));
        self.free > 0 && !self.queue.is_empty()
    }
}

impl Lanes {
    /// True when no lane has work that is to be finished.
    pub fn idle(&self) -> bool {
        !self.pushing() && self.compare.is_none() && self.spool.is_none()
    }

    /// True while an rsync pushes.
    pub fn pushing(&self) -> bool {
        self.pushes.iter().any(Option::is_some)
    }

    /// True while an rsync pushes or compares.
    pub fn is_running(&self) -> bool {
        self.pushing() || self.compare.as_ref().is_some_and(|busy| busy.work.is_running())
    }

    /// True while `lane` pushes.
    pub fn busy(&self, lane: Lane) -> bool {
        self.push(lane).is_some()
    }

    /// The push of `lane`.
    pub fn push(&self, lane: Lane) -> Option<&Push> {
        self.pushes[lane as usize].as_ref().map(|busy| &busy.work)
    }

    /// The place of the push of `lane`.
    pub fn place(&mut self, lane: Lane) -> &mut Option<Busy<Push>> {
        &mut self.pushes[lane as usize]
    }

    /// The pushes in flight.
    pub fn pushes(&self) -> impl Iterator<Item = &Push> {
        self.pushes.iter().flatten().map(|busy| &busy.work)
    }

    /// The same, to be changed.
    pub fn pushes_mut(&mut self) -> impl Iterator<Item = &mut Busy<Push>> {
        self.pushes.iter_mut().flatten()
    }

    /// When the first push that waits for room on the remote goes on.
    pub fn goes_on_at(&self) -> Option<Duration> {
        self.pushes().filter_map(Push::goes_on_at).min()
    }

    /// How long to wait before the next look at an rsync in flight.
    pub fn look_after(&self) -> Duration {
        let pushes = self.pushes().filter_map(Push::look_after);
        let compare = self.compare.iter().filter_map(|busy| busy.work.look_after());
        let verify = self.verify.iter().filter_map(Looking::look_after);
        pushes.chain(compare).chain(verify).min().unwrap_or(LOOK_EVERY)
    }

    /// Takes every push out of its lane.
    pub fn take_pushes(&mut self) -> Vec<Busy<Push>> {
        std::mem::take(&mut self.pushes).into_iter().flatten().collect()
    }

    /// The large files in flight.
    pub fn large(&self) -> impl Iterator<Item = &Push> {
        Lane::LARGE.into_iter().filter_map(|lane| self.push(lane))
    }

    /// The portions in flight of what a comparison found.
    pub fn bulk(&self) -> impl Iterator<Item = &Push> {
        Lane::BULK.into_iter().filter_map(|lane| self.push(lane))
    }

    /// The comparison of everything under way, if one is.
    pub fn everything(&self) -> Option<&Compare> {
        let compare = self.compare.as_ref().map(|busy| &busy.work);
        self.spool.as_ref().or(compare.filter(|work| work.why().is_some()))
    }

    /// True while any comparison is under way.
    pub fn comparing(&self) -> bool {
        self.compare.is_some() || self.spool.is_some()
    }

    /// True for a name that a push has in hand.
    pub fn in_hand(&self, path: &RelPath) -> bool {
        self.pushes().any(|push| push.has(path))
    }

    /// Takes the slots of lanes whose rsync does not move; returns how many.
    pub fn slots_of_stalled(&mut self, now: Duration) -> u32 {
        let mut freed = 0;
        for push in self.pushes_mut() {
            if push.slot && push.work.stalled(now) > STALLED {
                push.slot = false;
                freed += 1;
            }
        }
        if let Some(compare) = &mut self.compare
            && compare.slot
            && (compare.work.stalled(now) > STALLED || !compare.work.is_running())
        {
            compare.slot = false;
            freed += 1;
        }
        if let Some(expiry) = &mut self.expiry
            && expiry.slot
            && expiry.work.stalled(now) > STALLED
        {
            expiry.slot = false;
            freed += 1;
        }
        freed
    }

    /// Ends every rsync.
    pub fn kill(&mut self) {
        self.pushes_mut().for_each(|busy| busy.work.kill());
        self.compare.iter_mut().for_each(|busy| busy.work.kill());
        self.verify.iter_mut().for_each(Looking::kill);
        self.rolling.iter_mut().for_each(Rolling::kill);
        self.expiry.iter_mut().for_each(|busy| busy.work.kill());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Waiter = Waiter::Push(Lane::Small);
    const BULK: Waiter = Waiter::Push(Lane::Bulk);

    #[test]
    fn who_has_waited_longer_goes_first() {
        let mut slots = Slots { free: 1, ..Slots::default() };
        assert!(slots.is_turn(SMALL, 9) && slots.take());
        assert!(!slots.is_turn(BULK, 9) && !slots.is_turn(Waiter::Compare, 9));
        assert!(!slots.turn_ends());
        slots.free = 1;
        assert!(!slots.is_turn(SMALL, 9), "it was served before");
        assert!(slots.is_turn(BULK, 9) && slots.take());
        assert!(!slots.is_turn(Waiter::Compare, 9) && !slots.turn_ends());
        slots.free = 2;
        assert!(!slots.is_turn(SMALL, 1), "there is room for one");
        assert!(slots.is_turn(Waiter::Compare, 1) && slots.take());
        assert!(slots.turn_ends(), "to be looked at again");
        assert!(slots.is_turn(SMALL, 1) && slots.take() && !slots.turn_ends());
    }

    #[test]
    fn who_wants_nothing_any_more_is_not_waited_for() {
        let mut slots = Slots::default();
        assert!(!slots.is_turn(BULK, 9) && !slots.turn_ends());
        slots.free = 1;
        assert!(!slots.is_turn(SMALL, 9));
        assert!(slots.turn_ends());
        assert!(slots.is_turn(SMALL, 9));
    }
}
