//! A slot: the right to run one rsync, granted by the supervisor. It returns itself when it is dropped. Pure.

use std::cell::Cell;
use std::rc::Rc;

/// The right to run one rsync. Dropping it returns it, whatever else fails.
#[derive(Debug)]
pub struct Slot(Rc<Cell<u32>>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

/// Counts the returned slots of one kind that the supervisor has not been told of.
#[derive(Clone, Debug, Default)]
pub struct Returned(Rc<Cell<u32>>);

impl Returned {
    /// A granted slot that this counter counts when it is returned.
    pub fn slot(&self) -> Slot {
        Slot(self.0.clone())
    }

    /// How many were returned since the last call.
    pub fn take(&self) -> u32 {
        self.0.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_slot_is_returned_once() {
        let returned = Returned::default();
        let (one, other) = (returned.slot(), Some(returned.slot()));
        assert_eq!(returned.take(), 0);
        drop(one);
        assert_eq!((returned.take(), returned.take()), (1, 0));
        drop(other);
        assert_eq!(returned.clone().take(), 1);
    }
}
