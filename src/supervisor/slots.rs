//! At most so many rsyncs push at a time (sersync's `-n`): slots are granted in the order they were asked for. Pure.

use std::collections::{BTreeMap, VecDeque};

/// Who may hold a slot: a pusher of this supervisor, dead or alive.
pub type Holder = u64;

/// Slots held, and who waits for one. A pusher may hold several: one for each rsync it has in flight.
#[derive(Debug)]
pub struct Slots {
    limit: usize,
    held: BTreeMap<Holder, usize>,
    waiting: VecDeque<Holder>,
}

/// The number of slots when none is given: cores x 2 + 2, at least 10, as sersync counts its threads.
pub fn default_limit(cores: usize) -> usize {
    (cores * 2 + 2).max(10)
}

impl Slots {
    /// How many there are.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// `limit` slots, at least one.
    pub fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), held: BTreeMap::new(), waiting: VecDeque::new() }
    }

    /// `holder` wants one more slot. Returns who is granted one now.
    pub fn want(&mut self, holder: Holder) -> Vec<Holder> {
        self.waiting.push_back(holder);
        self.grant()
    }

    /// `holder` gives one slot back, or no longer waits for one. Returns who is granted one now.
    pub fn done(&mut self, holder: Holder) -> Vec<Holder> {
        match self.held.get_mut(&holder) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) => drop(self.held.remove(&holder)),
            None => {
                let place = self.waiting.iter().position(|h| *h == holder);
                place.map(|n| self.waiting.remove(n));
            }
        }
        self.grant()
    }

    /// `holder` is dead: what it held and waited for is free. Returns who is granted one now.
    pub fn gone(&mut self, holder: Holder) -> Vec<Holder> {
        self.held.remove(&holder);
        self.waiting.retain(|h| *h != holder);
        self.grant()
    }

    fn grant(&mut self) -> Vec<Holder> {
        let held: usize = self.held.values().sum();
        let free = self.limit.saturating_sub(held).min(self.waiting.len());
        let granted: Vec<Holder> = self.waiting.drain(..free).collect();
        granted.iter().for_each(|h| *self.held.entry(*h).or_default() += 1);
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_turn_and_never_more_than_the_limit() {
        let mut slots = Slots::new(2);
        assert_eq!(slots.want(1), [1]);
        assert_eq!(slots.want(2), [2]);
        assert!(slots.want(3).is_empty());
        assert!(slots.want(4).is_empty());
        assert_eq!(slots.done(1), [3]);
        assert!(slots.want(1).is_empty(), "back to the end of the queue");
        assert_eq!(slots.done(2), [4]);
        assert_eq!(slots.done(3), [1]);
    }

    #[test]
    fn a_pusher_may_hold_one_for_each_rsync() {
        let mut slots = Slots::new(3);
        assert_eq!(slots.want(1), [1]);
        assert_eq!(slots.want(1), [1]);
        assert_eq!(slots.want(2), [2]);
        assert!(slots.want(3).is_empty());
        assert!(slots.want(3).is_empty());
        assert_eq!(slots.done(1), [3]);
        assert_eq!(slots.done(1), [3]);
    }

    #[test]
    fn the_dead_return_what_they_held_and_waited_for() {
        let mut slots = Slots::new(2);
        slots.want(1);
        slots.want(1);
        slots.want(2);
        slots.want(3);
        assert!(slots.gone(2).is_empty());
        assert_eq!(slots.gone(1), [3]);
        assert_eq!(slots.want(9), [9]);
    }

    #[test]
    fn defaults() {
        assert_eq!(default_limit(1), 10);
        assert_eq!(default_limit(4), 10);
        assert_eq!(default_limit(16), 34);
    }
}
