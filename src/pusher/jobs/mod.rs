//! The jobs of a pusher. Each has at most one rsync at a time.

pub mod compare;
pub mod expire;
mod new_names;
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
use crate::pusher::slot::Slot;
use crate::pusher::whole::Along;
use crate::rsync_run::run::POLL_EVERY;
use crate::sys::port::PortTry;
use compare::Compare;
use expire::Expiry;
use push::Push;
use rsyncing::{Busy, Rsyncing};
use scrub::Scrub;
use std::rc::Rc;
use std::time::Duration;
use verify::Verifying;

/// The jobs of a pusher.
pub struct Jobs {
    pushes: [Option<Busy<Push>>; Lane::ALL.len()],
    /// A comparison.
    pub compare: Option<Busy<Compare>>,
    /// A reconcile whose rsync has ended, and whose rows are written as they are pushed. That may take hours, and other
    /// comparisons run meanwhile.
    pub spool: Option<Compare>,
    /// `syncsup verify`.
    pub verify: Option<Busy<Verifying>>,
    /// The scrub, if there is a schedule. It may be killed at any time.
    pub scrub: Option<Scrub>,
    /// The expiry of the trash. No job waits for it, and it may be killed at any time.
    pub expiry: Option<Busy<Expiry>>,
    /// A try whether the port of a remote in trouble answers.
    pub port: Option<PortTry>,
    /// When a comparison last found a difference, in milliseconds since 1970.
    pub compared_ms: i64,
}

impl Jobs {
    /// No job runs yet. A predecessor may have compared until `now_ms`.
    pub fn new(scrub: Option<Scrub>, now_ms: i64) -> Self {
        Self {
            pushes: Default::default(),
            compare: None,
            spool: None,
            verify: None,
            scrub,
            expiry: None,
            port: None,
            compared_ms: now_ms,
        }
    }

    /// All jobs that may have an rsync.
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

    /// True while any job runs an rsync.
    pub fn any_running(&self) -> bool {
        self.all().any(Rsyncing::is_running)
    }

    /// True while an rsync pushes, or compares for a reconcile or owed directories.
    pub fn is_running(&self) -> bool {
        self.pushing() || self.compare.as_ref().is_some_and(|busy| busy.work.is_running())
    }

    /// The delay before the running rsyncs are polled again.
    pub fn poll_after(&self) -> Duration {
        self.all().filter_map(Rsyncing::poll_after).min().unwrap_or(POLL_EVERY)
    }

    /// Kills every rsync.
    pub fn kill(&mut self) {
        self.pushes.iter_mut().flatten().for_each(|busy| busy.work.kill());
        self.compare.iter_mut().for_each(|busy| busy.work.kill());
        self.verify.iter_mut().for_each(|busy| busy.work.kill());
        self.scrub.iter_mut().for_each(Scrub::kill);
        self.expiry.iter_mut().for_each(|busy| busy.work.kill());
    }

    /// Frees the slots of jobs whose rsync only waits or has exited.
    pub fn free_idle(&mut self, now: Duration) {
        fn free<T: Rsyncing>(busy: &mut Busy<T>, now: Duration) {
            if busy.work.idles(now) || !busy.work.is_running() {
                busy.slot = None;
            }
        }
        let idles = |busy: &&mut Busy<Push>| busy.work.idles(now);
        // A push that waits for a connection keeps its slot.
        self.pushes.iter_mut().flatten().filter(idles).for_each(|busy| busy.slot = None);
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

    /// The push of `lane`, to change it.
    pub fn push_mut(&mut self, lane: Lane) -> &mut Option<Busy<Push>> {
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

    /// The portions of a reconcile in flight.
    pub fn bulk(&self) -> impl Iterator<Item = &Push> {
        Lane::BULK.into_iter().filter_map(|lane| self.push(lane))
    }

    /// True while everything is being pushed.
    pub fn pushes_everything(&self) -> bool {
        self.bulk().any(Push::is_everything)
    }

    /// A push has started or ended. What is pushed beside everything is pushed once more after that.
    pub fn note_beside(&mut self) {
        let everything = self.pushes_everything();
        let others = self.pushes.iter_mut().flatten().map(|busy| &mut busy.work);
        for push in others.filter(|push| !push.is_everything()) {
            push.findings.beside = push.findings.beside.later(everything);
        }
    }

    /// When the first push that waits for a connection retries.
    pub fn retry_at(&self) -> Option<Duration> {
        self.pushes().filter_map(Push::retry_at).min()
    }

    /// True while any comparison is under way.
    pub fn comparing(&self) -> bool {
        self.compare.is_some() || self.spool.is_some()
    }

    /// True for a name in a push in flight.
    pub fn in_flight(&self, path: &RelPath) -> bool {
        self.pushes().any(|push| push.covers(path))
    }

    /// What a push of `lane` that starts now may send that is not in its batch. What another push reads may be older than
    /// what this one sends.
    pub fn along(&self, lane: Lane) -> Along {
        let others = [Lane::Small].into_iter().chain(Lane::BULK).filter(|other| *other != lane);
        match others.into_iter().any(|other| self.push(other).is_some()) {
            true => Along::Nothing,
            false => Along::SmallFiles,
        }
    }

    /// A comparison has started, perhaps while pushes are in flight.
    pub fn begin_compare(&mut self, mut work: Compare, slot: Option<Slot>) {
        self.pushes().for_each(|push| work.touch(&push.batch));
        self.compare = Some(Busy { work, slot });
    }

    /// Tells the running comparisons that a push starts.
    pub fn touch(&mut self, push: &Batch) {
        let paths = || push.items.iter().map(|item| &item.path);
        if let Some(verify) = &mut self.verify {
            verify.work.touch(paths());
            if push.is_everything() {
                verify.work.touch_everything();
            }
        }
        if let Some(compare) = &mut self.compare {
            compare.work.touch(push);
        }
        if let Some(scrub) = &mut self.scrub {
            scrub.touch(paths());
        }
    }

    /// A push has settled these paths. Other pushes in flight may have created directories among them first.
    pub fn note_settled(&mut self, settled: &[RelPath]) {
        let mut shared = None;
        for busy in self.pushes.iter_mut().flatten() {
            let shared = shared.get_or_insert_with(|| Rc::<[RelPath]>::from(settled));
            busy.work.settled_meanwhile.push(shared.clone());
        }
    }

    /// Failures at or below these paths do not become owed. Without a path, none does.
    pub fn forget_failures(&mut self, below: &[RelPath]) {
        self.pushes.iter_mut().flatten().for_each(|busy| busy.work.forget_failures(below));
    }

    /// Kills every rsync, and removes pushes and comparisons. The verify and the scrub stay, and notice by themselves
    /// that they were killed.
    pub fn abandon(&mut self) -> Vec<(Lane, Push)> {
        self.kill();
        (self.compare, self.spool, self.expiry) = (None, None, None);
        let taken = Lane::ALL.into_iter().filter_map(|lane| {
            let busy = self.push_mut(lane).take()?;
            Some((lane, busy.work))
        });
        taken.collect()
    }
}
