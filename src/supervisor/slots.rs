//! At most so many rsyncs push at a time (sersync's `-n`): slots are granted in the order they were asked for. Pure.

use std::collections::{BTreeSet, VecDeque};

/// Who may hold a slot: a pusher of this supervisor, dead or alive.
pub type Holder = u64;

/// Slots held, and who waits for one.
#[derive(Debug)]
pub struct Slots {
    limit: usize,
    held: BTreeSet<Holder>,
    waiting: VecDeque<Holder>,
}

/// The number of slots when none is given: cores x 2 + 2, at least 10, as sersync counts its threads.
pub fn default_limit(cores: usize) -> usize {
    (cores * 2 + 2).max(10)
}

impl Slots {
    /// `limit` slots, at least one.
    pub fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), held: BTreeSet::new(), waiting: VecDeque::new() }
    }

    /// `holder` wants a slot. Returns who is granted one now. Who has one already is told so again; who waits already
    /// keeps its place.
    pub fn want(&mut self, holder: Holder) -> Vec<Holder> {
        if self.held.contains(&holder) {
            return vec![holder];
        }
        if !self.waiting.contains(&holder) {
            self.waiting.push_back(holder);
        }
        self.grant()
    }

    /// `holder` gives its slot back, no longer waits for one, or is dead. Returns who is granted one now.
    pub fn done(&mut self, holder: Holder) -> Vec<Holder> {
        self.held.remove(&holder);
        self.waiting.retain(|h| *h != holder);
        self.grant()
    }

    fn grant(&mut self) -> Vec<Holder> {
        let free = self.limit.saturating_sub(self.held.len()).min(self.waiting.len());
        let granted: Vec<Holder> = self.waiting.drain(..free).collect();
        self.held.extend(&granted);
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
        assert!(slots.want(3).is_empty(), "asking twice changes nothing");
        assert_eq!(slots.done(1), [3]);
        assert!(slots.want(1).is_empty(), "back to the end of the queue");
        assert_eq!(slots.done(2), [4]);
        assert_eq!(slots.done(3), [1]);
    }

    #[test]
    fn the_dead_return_what_they_held_and_waited_for() {
        let mut slots = Slots::new(1);
        slots.want(1);
        slots.want(2);
        slots.want(3);
        assert!(slots.done(2).is_empty());
        assert_eq!(slots.done(1), [3]);
        assert_eq!(slots.want(3), [3], "told again");
        assert!(slots.done(3).is_empty());
        assert_eq!(slots.want(9), [9]);
    }

    #[test]
    fn defaults() {
        assert_eq!(default_limit(1), 10);
        assert_eq!(default_limit(4), 10);
        assert_eq!(default_limit(16), 34);
    }
}
