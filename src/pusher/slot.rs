//! A slot: the right to run one rsync, granted by the supervisor. It returns itself when it is dropped. Pure.

use crate::message::SlotKind;
use std::cell::RefCell;
use std::rc::Rc;

/// The right to run one rsync. Dropping it returns it, whatever else fails.
#[derive(Debug)]
pub struct Slot {
    kind: SlotKind,
    returned: Returned,
}

impl Slot {
    /// What it is for.
    pub fn kind(&self) -> SlotKind {
        self.kind
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.returned.0.borrow_mut().push(self.kind);
    }
}

/// The returned slots that the supervisor has not been told of.
#[derive(Clone, Debug, Default)]
pub struct Returned(Rc<RefCell<Vec<SlotKind>>>);

impl Returned {
    /// A granted slot, which comes back here when it is returned.
    pub fn slot(&self, kind: SlotKind) -> Slot {
        Slot { kind, returned: self.clone() }
    }

    /// Those that were returned since the last call.
    pub fn take(&self) -> Vec<SlotKind> {
        self.0.take()
    }
}

#[cfg(test)]
mod tests {
    use super::SlotKind::{Large, Small};
    use super::*;

    #[test]
    fn a_dropped_slot_is_returned_once() {
        let returned = Returned::default();
        let (one, other) = (returned.slot(Small), Some(returned.slot(Large)));
        assert!(returned.take().is_empty());
        drop(one);
        assert_eq!((returned.take(), returned.take()), (vec![Small], vec![]));
        drop(other);
        assert_eq!(returned.clone().take(), [Large]);
    }
}
