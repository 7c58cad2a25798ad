//! The jobs of a pusher: at most one rsync in each.

use super::compare::Compare;
use super::expiry::Expiry;
use super::lane::Lane;
use super::push::Push;
use super::scrub::Scrub;
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

/// At most one rsync in each.
#[derive(Default)]
pub struct Jobs {
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
    pub(super) scrub: Option<Scrub>,
    /// What the trash has kept for long enough is being deleted. Nothing waits for it, and it may be ended at any time.
    pub expiry: Option<Busy<Expiry>>,
}

impl Jobs {
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
        self.scrub.iter_mut().for_each(Scrub::kill);
        self.expiry.iter_mut().for_each(|busy| busy.work.kill());
    }
}
