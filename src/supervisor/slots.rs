//! The limit of rsyncs that push at a time (sersync's `-n`): slots are granted to pushers in the order of their
//! requests, at most half of them for large work. A pusher's own scheduler decides which job takes a slot. Pure.

use crate::message::SlotKind;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A possible holder of a slot: a pusher of this supervisor, dead or alive.
pub type SlotHolder = u64;

/// The slots in use, and the pushers that wait for one. A pusher may hold several: one for each rsync in flight.
#[derive(Debug)]
pub struct SlotPool {
    limit: usize,
    held: BTreeMap<(SlotHolder, SlotKind), usize>,
    waiting: VecDeque<(SlotHolder, SlotKind)>,
    /// Slots lent because no push waited for them: at most one for each holder.
    spare: BTreeMap<SlotHolder, Spare>,
}

/// A slot that was lent because no push waited for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spare {
    /// Its holder may keep it while no push waits for a slot.
    Lent,
    /// A push waits for a slot: its holder was told to return it.
    AskedBack,
}

/// The default number of slots: cores x 2 + 2, at least 10, as sersync counts its threads.
pub fn default_limit(cores: usize) -> usize {
    (cores * 2 + 2).max(10)
}

impl SlotPool {
    /// The number of slots.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// `limit` slots, at least one.
    pub fn new(limit: usize) -> Self {
        let (held, waiting, spare) = Default::default();
        Self { limit: limit.max(1), held, waiting, spare }
    }

    /// `holder` requests one more slot. Returns the pushers that are now granted one.
    pub fn want(&mut self, holder: SlotHolder, kind: SlotKind) -> Vec<(SlotHolder, SlotKind)> {
        self.waiting.push_back((holder, kind));
        self.grant()
    }

    /// `holder` returns one slot, or no longer waits for one. Returns the pushers that are now granted one.
    pub fn done(&mut self, holder: SlotHolder, kind: SlotKind) -> Vec<(SlotHolder, SlotKind)> {
        match self.held.get_mut(&(holder, kind)) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) => drop(self.held.remove(&(holder, kind))),
            None => {
                let place = self.waiting.iter().position(|waits| *waits == (holder, kind));
                place.map(|n| self.waiting.remove(n));
            }
        }
        self.grant()
    }

    /// `holder` has work that can wait. True if it gets a slot for that: no push waits, and a slot is free.
    pub fn spare(&mut self, holder: SlotHolder) -> bool {
        let free = self.waiting.is_empty() && self.taken() < self.limit;
        if free {
            self.spare.insert(holder, Spare::Lent);
        }
        free
    }

    /// `holder` returns its spare slot. Returns the pushers that are now granted one.
    pub fn spare_done(&mut self, holder: SlotHolder) -> Vec<(SlotHolder, SlotKind)> {
        self.spare.remove(&holder);
        self.grant()
    }

    /// The pushers that must return a spare slot now because pushes wait. Each is returned once.
    pub fn yields(&mut self) -> Vec<SlotHolder> {
        let asked = self.spare.values().filter(|s| **s == Spare::AskedBack).count();
        let more = self.waiting.len().saturating_sub(asked);
        let lent = self.spare.iter_mut().filter(|(_, s)| **s == Spare::Lent).take(more);
        lent.map(|(holder, spare)| {
            *spare = Spare::AskedBack;
            *holder
        })
        .collect()
    }

    fn taken(&self) -> usize {
        self.held.values().sum::<usize>() + self.spare.len()
    }

    /// `holder` is dead. The slots that it held and its requests are freed. Returns the pushers that are now granted
    /// one.
    pub fn gone(&mut self, holder: SlotHolder) -> Vec<(SlotHolder, SlotKind)> {
        self.held.retain(|(of, _), _| *of != holder);
        self.spare.remove(&holder);
        self.waiting.retain(|(of, _)| *of != holder);
        self.grant()
    }

    /// The most slots of one pusher: half of them plus one, so that no remote has all of them.
    fn share(&self) -> usize {
        self.limit.min(self.limit / 2 + 1)
    }

    /// The most slots for large work: half of them, so that changes never wait for it.
    fn large_most(&self) -> usize {
        (self.limit / 2).max(1)
    }

    /// The most slots for large work of one pusher: equal for all that have such work, so that remotes that are equally far
    /// take the same files at the same time, and these are read from disk once.
    fn large_share(&self) -> usize {
        let held = self.held.keys().chain(&self.waiting);
        let large = held.filter(|(_, kind)| *kind == SlotKind::Large);
        let pushers: BTreeSet<SlotHolder> = large.map(|(holder, _)| *holder).collect();
        (self.large_most() / pushers.len().max(1)).max(1)
    }

    fn held(&self, of: impl Fn(SlotHolder, SlotKind) -> bool) -> usize {
        let held = self.held.iter().filter(|((holder, kind), _)| of(*holder, *kind));
        held.map(|(_, count)| count).sum()
    }

    fn may_have(&self, holder: SlotHolder, kind: SlotKind, large_share: usize) -> bool {
        let large = |of: Option<SlotHolder>| {
            self.held(|by, kind| kind == SlotKind::Large && of.is_none_or(|of| of == by))
        };
        let fits = match kind {
            SlotKind::Large => large(None) < self.large_most() && large(Some(holder)) < large_share,
            SlotKind::Small => true,
        };
        fits && self.held(|of, _| of == holder) < self.share()
    }

    fn grant(&mut self) -> Vec<(SlotHolder, SlotKind)> {
        let mut granted = Vec::new();
        // A grant changes neither who has large work nor who waits with it.
        let large_share = self.large_share();
        while self.taken() < self.limit {
            let next = |(holder, kind): &(SlotHolder, SlotKind)| {
                self.may_have(*holder, *kind, large_share)
            };
            let Some(place) = self.waiting.iter().position(next) else { break };
            let Some(next) = self.waiting.remove(place) else { break };
            *self.held.entry(next).or_default() += 1;
            granted.push(next);
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::SlotKind::{Large, Small};
    use super::*;

    fn who(granted: Vec<(SlotHolder, SlotKind)>) -> Vec<SlotHolder> {
        granted.into_iter().map(|(holder, _)| holder).collect()
    }

    #[test]
    fn slots_are_granted_in_turn_up_to_the_limit() {
        let mut slots = SlotPool::new(2);
        assert_eq!(who(slots.want(1, Small)), [1]);
        assert_eq!(who(slots.want(2, Small)), [2]);
        assert!(slots.want(3, Small).is_empty());
        assert!(slots.want(4, Small).is_empty());
        assert_eq!(who(slots.done(1, Small)), [3]);
        assert!(slots.want(1, Small).is_empty(), "back to the end of the queue");
        assert_eq!(who(slots.done(2, Small)), [4]);
        assert_eq!(who(slots.done(3, Small)), [1]);
    }

    #[test]
    fn a_pusher_may_hold_one_slot_per_rsync() {
        let mut slots = SlotPool::new(3);
        assert_eq!(who(slots.want(1, Small)), [1]);
        assert_eq!(who(slots.want(1, Small)), [1]);
        assert_eq!(who(slots.want(2, Small)), [2]);
        assert!(slots.want(3, Small).is_empty());
        assert!(slots.want(3, Small).is_empty());
        assert_eq!(who(slots.done(1, Small)), [3]);
        assert_eq!(who(slots.done(1, Small)), [3]);
    }

    #[test]
    fn one_pusher_never_holds_all_slots() {
        for (limit, most) in [(1, 1), (2, 2), (3, 2), (4, 3), (10, 6)] {
            let mut slots = SlotPool::new(limit);
            let granted: usize = (0..20).map(|_| slots.want(1, Small).len()).sum();
            assert_eq!(granted, most, "of {limit}");
            // A later request does not wait for one that is over its share.
            let others: usize = (2..20).map(|holder| slots.want(holder, Small).len()).sum();
            assert_eq!(others, limit - most, "of {limit}");
        }
    }

    #[test]
    fn large_work_gets_at_most_half_and_changes_do_not_wait_for_it() {
        for (limit, most) in [(1, 1), (2, 1), (3, 1), (10, 5)] {
            let mut slots = SlotPool::new(limit);
            let large: usize = (0..20).map(|holder| slots.want(holder, Large).len()).sum();
            assert_eq!(large, most, "of {limit}");
            let small: usize = (20..40).map(|holder| slots.want(holder, Small).len()).sum();
            assert_eq!(small, limit - most, "of {limit}");
            // Each kind goes to those that wait, the longest wait first.
            let next = if limit == 1 { (1, Large) } else { (20 + small as u64, Small) };
            let first = if limit == 1 { (0, Large) } else { (20, Small) };
            assert_eq!(slots.done(first.0, first.1), [next]);
        }
    }

    #[test]
    fn large_work_is_shared_equally() {
        let mut slots = SlotPool::new(10);
        let want = |slots: &mut SlotPool, holder| who(slots.want(holder, Large));
        assert_eq!((want(&mut slots, 1), want(&mut slots, 1)), (vec![1], vec![1]));
        assert_eq!((want(&mut slots, 2), want(&mut slots, 2)), (vec![2], vec![2]));
        assert!(want(&mut slots, 1).is_empty(), "the fifth is left: two for each");
        assert_eq!(want(&mut slots, 3), [3]);
        assert!(want(&mut slots, 3).is_empty());
        // With three, one for each.
        assert!(who(slots.done(1, Large)).is_empty());
        assert_eq!(who(slots.done(1, Large)), [1], "it has none");
        assert_eq!(who(slots.gone(2)), [3], "two again");
    }

    #[test]
    fn dead_pushers_return_their_slots_and_requests() {
        let mut slots = SlotPool::new(2);
        slots.want(1, Small);
        slots.want(1, Small);
        slots.want(2, Small);
        slots.want(3, Small);
        assert!(slots.gone(2).is_empty());
        assert_eq!(who(slots.gone(1)), [3]);
        assert_eq!(who(slots.want(9, Small)), [9]);
    }

    #[test]
    fn spare_slots_yield_immediately() {
        let mut slots = SlotPool::new(2);
        assert!(slots.spare(1) && slots.spare(2) && !slots.spare(3));
        assert!(slots.yields().is_empty());
        assert!(slots.want(4, Small).is_empty());
        assert!(!slots.spare(3), "somebody waits");
        assert_eq!(slots.yields(), [1]);
        assert!(slots.yields().is_empty(), "told once");
        assert!(slots.want(5, Small).is_empty());
        assert_eq!(slots.yields(), [2]);
        assert_eq!(who(slots.spare_done(1)), [4]);
        assert_eq!(who(slots.gone(2)), [5]);
        assert!(slots.done(4, Small).is_empty() && slots.spare(1));
    }

    #[test]
    fn default_limits_follow_the_number_of_processors() {
        assert_eq!(default_limit(1), 10);
        assert_eq!(default_limit(4), 10);
        assert_eq!(default_limit(16), 34);
    }
}
