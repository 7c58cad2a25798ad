//! The lanes of a pusher, and the slots they hold.

use super::compare::Compare;
use super::expiry::Expiry;
use super::push::Push;
use super::rolling::Rolling;
use super::verify::Looking;
use crate::path::RelPath;
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

/// At most one rsync in each.
#[derive(Default)]
pub struct Lanes {
    /// Everything but large files.
    pub small: Option<Busy<Push>>,
    /// One large file.
    pub large: Option<Busy<Push>>,
    /// A comparison.
    pub compare: Option<Busy<Compare>>,
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

/// The slots of this pusher.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slots {
    /// Granted and not in a lane's hands.
    pub free: u32,
    /// Asked for and not yet granted.
    pub asked: u32,
}

impl Slots {
    /// Takes a free slot.
    pub fn take(&mut self) -> bool {
        let had = self.free > 0;
        self.free -= u32::from(had);
        had
    }
}

impl Lanes {
    /// True when no lane has work that is to be finished.
    pub fn idle(&self) -> bool {
        self.small.is_none()
            && self.large.is_none()
            && self.compare.is_none()
            && self.spool.is_none()
    }

    /// True while an rsync pushes.
    pub fn pushing(&self) -> bool {
        self.small.is_some() || self.large.is_some()
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
        let pushes = [&self.small, &self.large];
        pushes.into_iter().flatten().any(|busy| busy.work.paths().any(|p| p == path))
    }

    /// Takes the slots of lanes whose rsync does not move; returns how many.
    pub fn slots_of_stalled(&mut self, now: Duration) -> u32 {
        let mut freed = 0;
        for push in [&mut self.small, &mut self.large].into_iter().flatten() {
            if push.slot && push.work.stalled(now) > STALLED {
                push.slot = false;
                freed += 1;
            }
        }
        if let Some(compare) = &mut self.compare
            && compare.slot
            && (compare.work.stalled(now) > STALLED || !compare.work.flies())
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
        [&mut self.small, &mut self.large].into_iter().flatten().for_each(|busy| busy.work.kill());
        self.compare.iter_mut().for_each(|busy| busy.work.kill());
        self.verify.iter_mut().for_each(Looking::kill);
        self.rolling.iter_mut().for_each(Rolling::kill);
        self.expiry.iter_mut().for_each(|busy| busy.work.kill());
    }
}
