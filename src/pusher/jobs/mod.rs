//! The jobs of a pusher: at most one rsync in each.

pub mod compare;
pub mod expire;
pub mod push;
pub mod rows;
pub mod rsyncing;
pub mod scrub;
pub mod select;
pub mod step;
pub mod step_end;
pub mod verify;

use crate::path::RelPath;
use crate::pusher::batch::Batch;
use crate::pusher::lane::Lane;
use crate::rsync_run::run::LOOK_EVERY;
use compare::Compare;
use expire::Expiry;
use push::Push;
use rsyncing::{Busy, Rsyncing, STALLED};
use scrub::Scrub;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;
use verify::Verifying;

/// At most one rsync in each.
pub struct Jobs {
    pushes: [Option<Busy<Push>>; Lane::ALL.len()],
    /// A comparison.
    pub compare: Option<Busy<Compare>>,
    /// What was pushed since a comparison of the names in the root began.
    pub names_touched: BTreeSet<RelPath>,
    /// A comparison of everything whose rsync has ended, and whose rows are written as they are pushed: that may take
    /// hours, and other comparisons go on beside it.
    pub spool: Option<Compare>,
    /// A comparison that a person reads.
    pub verify: Option<Busy<Verifying>>,
    /// The comparison that goes on all the time, where there is one. It may be ended at any time.
    pub scrub: Option<Scrub>,
    /// What the trash has kept for long enough is being deleted. Nothing waits for it, and it may be ended at any time.
    pub expiry: Option<Busy<Expiry>>,
    /// When a comparison last found something, in milliseconds since 1970.
    pub compared_ms: i64,
}

impl Jobs {
    /// None at work. A predecessor may have compared until `now_ms`.
    pub fn new(scrub: Option<Scrub>, now_ms: i64) -> Self {
        Self {
            pushes: Default::default(),
            compare: None,
            names_touched: BTreeSet::new(),
            spool: None,
            verify: None,
            scrub,
            expiry: None,
            compared_ms: now_ms,
        }
    }

    /// Those that have an rsync.
    fn all(&self) -> impl Iterator<Item = &dyn Rsyncing> {
        fn one<T: Rsyncing>(busy: &Busy<T>) -> &dyn Rsyncing {
            &busy.work
        }
        let others = [
            self.compare.as_ref().map(one),
            self.verify.as_ref().map(one),
            self.scrub.as_ref().map(|scrub| scrub as &dyn Rsyncing),
            self.expiry.as_ref().map(one),
        ];
        self.pushes.iter().flatten().map(one).chain(others.into_iter().flatten())
    }

    /// True while an rsync of any job is at work.
    pub fn any_running(&self) -> bool {
        self.all().any(Rsyncing::is_running)
    }

    /// True while one pushes, or compares what is owed afterwards.
    pub fn is_running(&self) -> bool {
        self.pushing() || self.compare.as_ref().is_some_and(|busy| busy.work.is_running())
    }

    /// How long to wait before the next look at an rsync in flight.
    pub fn look_after(&self) -> Duration {
        self.all().filter_map(Rsyncing::look_after).min().unwrap_or(LOOK_EVERY)
    }

    /// Ends every rsync.
    pub fn kill(&mut self) {
        self.pushes.iter_mut().flatten().for_each(|busy| busy.work.kill());
        self.compare.iter_mut().for_each(|busy| busy.work.kill());
        self.verify.iter_mut().for_each(|busy| busy.work.kill());
        self.scrub.iter_mut().for_each(Scrub::kill);
        self.expiry.iter_mut().for_each(|busy| busy.work.kill());
    }

    /// Takes the slots of jobs whose rsync does not move, or has ended.
    pub fn free_stalled(&mut self, now: Duration) {
        fn free<T: Rsyncing>(busy: &mut Busy<T>, now: Duration) {
            if busy.work.stalled(now) > STALLED || !busy.work.is_running() {
                busy.slot = None;
            }
        }
        let stalled = |busy: &&mut Busy<Push>| busy.work.stalled(now) > STALLED;
        // One that waits for room on the remote keeps its slot.
        self.pushes.iter_mut().flatten().filter(stalled).for_each(|busy| busy.slot = None);
        self.compare.iter_mut().for_each(|busy| free(busy, now));
        self.verify.iter_mut().for_each(|busy| free(busy, now));
        self.expiry.iter_mut().for_each(|busy| free(busy, now));
    }

    /// True while an rsync pushes.
    pub fn pushing(&self) -> bool {
        self.pushes.iter().any(Option::is_some)
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

    /// The large files in flight.
    pub fn large(&self) -> impl Iterator<Item = &Push> {
        Lane::LARGE.into_iter().filter_map(|lane| self.push(lane))
    }

    /// The portions in flight of what a comparison found.
    pub fn bulk(&self) -> impl Iterator<Item = &Push> {
        Lane::BULK.into_iter().filter_map(|lane| self.push(lane))
    }

    /// When the first push that waits for room on the remote goes on.
    pub fn goes_on_at(&self) -> Option<Duration> {
        self.pushes().filter_map(Push::goes_on_at).min()
    }

    /// True while any comparison is under way.
    pub fn comparing(&self) -> bool {
        self.compare.is_some() || self.spool.is_some()
    }

    /// True for a name that a push has in hand.
    pub fn in_hand(&self, path: &RelPath) -> bool {
        self.pushes().any(|push| push.has(path))
    }

    /// A push of these paths begins, of which it deletes those that are `going`: what compares beside it must know.
    /// `in_root` says whether the names in the root are to be compared.
    pub fn touch(&mut self, push: &Batch, in_root: bool) {
        let paths = || push.items.iter().map(|item| &item.path);
        if let Some(verify) = &mut self.verify {
            verify.work.touch(paths());
        }
        if let Some(compare) = &mut self.compare {
            compare.work.touch(push.going());
        }
        if let Some(scrub) = &mut self.scrub {
            scrub.touch(paths());
        }
        if in_root {
            let names = paths().filter(|path| path.parent().is_some_and(|dir| dir.is_root()));
            self.names_touched.extend(names.cloned());
        }
    }

    /// A push has settled these: those beside it may make the directories among them before it does.
    pub fn note_beside(&mut self, settled: &[RelPath]) {
        let mut shared = None;
        for busy in self.pushes.iter_mut().flatten() {
            let shared = shared.get_or_insert_with(|| Rc::<[RelPath]>::from(settled));
            busy.work.beside.push(shared.clone());
        }
    }

    /// What fails at or below these paths, everything when there are none, is not owed.
    pub fn forget_failures(&mut self, below: &[RelPath]) {
        self.pushes.iter_mut().flatten().for_each(|busy| busy.work.forget_failures(below));
    }

    /// Ends every rsync, and takes pushes and comparisons away. What a person reads and the scrub see themselves that they
    /// were ended.
    pub fn abandon(&mut self) -> Vec<(Lane, Push)> {
        self.kill();
        (self.compare, self.spool, self.expiry) = (None, None, None);
        let taken = Lane::ALL.into_iter().filter_map(|lane| {
            let busy = self.place(lane).take()?;
            Some((lane, busy.work))
        });
        taken.collect()
    }
}
