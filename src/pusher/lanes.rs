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

/// Which paths a push takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// What is marked, and single names that are owed.
    Small,
    /// One large file.
    Large,
    /// A portion of what a comparison of everything found. There are two such lanes: one portion is prepared, and its rsync started,
    /// while the other goes.
    Bulk,
    /// The other one.
    Bulk2,
}

impl Lane {
    /// In the order in which they start.
    pub const ALL: [Lane; 4] = [Lane::Small, Lane::Large, Lane::Bulk, Lane::Bulk2];
    /// Those of portions.
    pub const BULK: [Lane; 2] = [Lane::Bulk, Lane::Bulk2];
}

/// At most one rsync in each.
#[derive(Default)]
pub struct Lanes {
    pub(super) pushes: [Option<Busy<Push>>; Lane::ALL.len()],
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
        !self.pushing() && self.compare.is_none() && self.spool.is_none()
    }

    /// True while an rsync pushes.
    pub fn pushing(&self) -> bool {
        self.pushes.iter().any(Option::is_some)
    }

    /// True while an rsync pushes or compares.
    pub fn flying(&self) -> bool {
        self.pushing() || self.compare.as_ref().is_some_and(|busy| busy.work.flies())
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

    /// Takes every push out of its lane.
    pub fn take_pushes(&mut self) -> Vec<Busy<Push>> {
        std::mem::take(&mut self.pushes).into_iter().flatten().collect()
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
        self.pushes_mut().for_each(|busy| busy.work.kill());
        self.compare.iter_mut().for_each(|busy| busy.work.kill());
        self.verify.iter_mut().for_each(Looking::kill);
        self.rolling.iter_mut().for_each(Rolling::kill);
        self.expiry.iter_mut().for_each(|busy| busy.work.kill());
    }
}
