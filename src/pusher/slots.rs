//! The slots of a pusher, and which of its jobs takes the next one. Pure.

use super::lane::Lane;

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
