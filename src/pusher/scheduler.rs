//! Which job starts next. Pure: the time is given.
//!
//! In each turn of the loop every kind of job is considered once, in a fixed order. A job that may start takes a slot.
//! If no slot is free, it joins a queue, and the job that has waited longest takes the next slot. So an endless stream
//! of marks cannot keep all slots. A remote in trouble is probed by one job at a time, which needs no slot, so that
//! hung remotes cannot starve healthy ones.

use super::in_flight::{InFlight, Job, Verification};
use super::lane::Lane;
use super::slot::{Returned, Slot};
use crate::journal::Work;
use crate::message::SlotKind;
use std::collections::BTreeSet;
use std::time::Duration;

/// How long a remote that ran out of connections gets only one at a time.
const CONNECTION_LIMITED: Duration = Duration::from_secs(600);
/// How long an expiry that is due waits at most for a moment without a push.
const EXPIRY_PATIENCE: Duration = Duration::from_secs(10);

/// The order in which jobs are considered.
const ORDER: [Job; 8] = [
    Job::Push(Lane::Small),
    Job::Push(Lane::Large),
    Job::Push(Lane::Large2),
    Job::Push(Lane::Bulk),
    Job::Push(Lane::Bulk2),
    Job::Compare,
    Job::Verify,
    Job::Expire,
];

/// Why work waits although it is due: two pushes must not touch the same path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blocked {
    /// All owed names touch a portion in flight. They wait until a portion ends.
    NamesBehindPortion,
    /// An owed name touches a portion in flight. No other portion starts before the name has been pushed.
    PortionBehindNames,
    /// All rows for a portion touch a portion or a large file in flight. They wait until such a push ends.
    PortionBehindPortion,
    /// Some rows for a portion touch marks in flight. They wait until that push or a portion ends.
    PortionBehindMarks,
}

/// The expiry of the trash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expiry {
    /// It is due when it is first considered.
    AtFirst,
    /// It is due at this time.
    Due(Duration),
    /// It runs.
    Running,
}

/// What the decisions of a turn depend on.
#[derive(Clone, Copy, Debug)]
pub struct TurnView<'a> {
    /// What waits in the journal.
    pub work: Work,
    /// Large files that wait and that no push in flight touches.
    pub large: usize,
    /// Marks have gathered for long enough.
    pub gathered: bool,
    /// The remote is in trouble.
    pub probing: bool,
    /// A comparison is due and may start.
    pub compare: bool,
    /// The trash expires.
    pub expires: bool,
    /// The running jobs.
    pub in_flight: &'a InFlight,
}

impl TurnView<'_> {
    /// True if marks or owed names wait for the lane of small pushes.
    fn small_waits(&self, blocked: &BTreeSet<Blocked>) -> bool {
        let due = self.work.due && !blocked.contains(&Blocked::NamesBehindPortion);
        !self.in_flight.busy(Lane::Small) && (self.work.marks.any() || due)
    }
}

/// The result of a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnEnd {
    /// The slots to request.
    pub ask: Vec<SlotKind>,
    /// A slot is left over that one job left to another, which did not take it.
    pub read_again: bool,
    /// Nothing is being pushed or waits to be pushed.
    pub quiet: bool,
}

/// Jobs considered in this turn.
#[derive(Debug, Default)]
struct Turn {
    /// The number of jobs of [`ORDER`] considered so far.
    considered: usize,
    /// Jobs that keep their place in the queue.
    waiting: BTreeSet<Job>,
    /// Jobs that lack only a slot.
    without_slot: BTreeSet<Job>,
}

/// The slots of one pusher, and the jobs that wait for them.
#[derive(Debug)]
pub struct Scheduler {
    /// Granted, and not used by a job.
    free: Vec<Slot>,
    /// Requested, and not yet granted.
    asked: Vec<SlotKind>,
    returned: Returned,
    /// The jobs that wait for a slot, the longest wait first.
    queue: Vec<Job>,
    blocked: BTreeSet<Blocked>,
    /// Until this time the remote gets one connection at a time.
    connection_limited: Option<Duration>,
    expiry: Expiry,
    turn: Turn,
}

impl Scheduler {
    /// A scheduler without a slot. `returned` counts dropped slots.
    pub fn new(returned: Returned) -> Self {
        Self {
            free: Vec::new(),
            asked: Vec::new(),
            returned,
            queue: Vec::new(),
            blocked: BTreeSet::new(),
            connection_limited: None,
            expiry: Expiry::AtFirst,
            turn: Turn::default(),
        }
    }

    /// The supervisor grants a slot.
    pub fn granted(&mut self, kind: SlotKind) {
        if let Some(asked) = self.asked.iter().position(|asked| *asked == kind) {
            self.asked.remove(asked);
        }
        self.free.push(self.returned.slot(kind));
    }

    /// True if a job waits for a slot.
    pub fn waits_for_slot(&self) -> bool {
        !self.asked.is_empty()
    }

    /// Returns slots that cannot be used now, because other pushers wait for them.
    pub fn give_back(&mut self) {
        self.free.clear();
    }

    /// A turn begins.
    pub fn begin_turn(&mut self) {
        self.turn = Turn::default();
    }

    /// The next job that starts in this turn, with its slot. A probe has none.
    pub fn next(&mut self, view: &TurnView, now: Duration) -> Option<(Job, Option<Slot>)> {
        if self.expiry == Expiry::AtFirst && view.expires && !view.probing {
            self.expiry = Expiry::Due(now);
        }
        while let Some(job) = ORDER.get(self.turn.considered).copied() {
            self.turn.considered += 1;
            if self.wants(job, view, now)
                && let Some(slot) = self.admit(job, view, now)
            {
                return Some((job, slot));
            }
        }
        None
    }

    /// Ends the turn. A job that had nothing to do leaves the queue.
    pub fn end_turn(&mut self, view: &TurnView) -> TurnEnd {
        let turn = std::mem::take(&mut self.turn);
        self.queue.retain(|job| turn.waiting.contains(job));
        let read_again = self
            .free
            .iter()
            .any(|slot| self.queue.iter().any(|job| job.slot_kind() == slot.kind()));
        let mut ask = Vec::new();
        for kind in SlotKind::ALL {
            let missing = turn.without_slot.iter().filter(|job| job.slot_kind() == kind).count();
            let asked = self.asked.iter().filter(|asked| **asked == kind).count();
            let had = asked + self.free.iter().filter(|slot| slot.kind() == kind).count();
            ask.extend(std::iter::repeat_n(kind, missing.saturating_sub(had)));
            if missing == 0 {
                self.free.retain(|slot| slot.kind() != kind);
            }
        }
        self.asked.extend(&ask);
        let waits = view.work.marks.any() || view.work.due;
        let quiet =
            turn.without_slot.is_empty() && !view.in_flight.pushing() && !waits && !view.probing;
        TurnEnd { ask, read_again, quiet }
    }

    /// A job has started, or has not. `blocked` says what blocked it. A slot that it did not need stays with the
    /// scheduler.
    pub fn answered(&mut self, job: Job, unused: Option<Slot>, blocked: &[Blocked]) {
        match job {
            Job::Push(Lane::Small) => {
                self.blocked.remove(&Blocked::PortionBehindNames);
            }
            Job::Push(Lane::Bulk | Lane::Bulk2) => self.portions_again(),
            Job::Push(Lane::Large | Lane::Large2) | Job::Compare | Job::Verify => {}
            Job::Expire => self.expiry = Expiry::Running,
        }
        self.blocked.extend(blocked);
        self.free.extend(unused);
    }

    /// A push has ended.
    pub fn ended(&mut self, lane: Lane) {
        match lane {
            Lane::Small => {
                self.blocked.remove(&Blocked::PortionBehindMarks);
            }
            Lane::Bulk | Lane::Bulk2 => {
                self.portions_again();
                self.blocked.remove(&Blocked::NamesBehindPortion);
            }
            // A portion does not delete what is above a large file in flight.
            Lane::Large | Lane::Large2 => self.portions_again(),
        }
    }

    /// A portion may find rows again, because rows were written or a portion has ended.
    pub fn portions_again(&mut self) {
        self.blocked.remove(&Blocked::PortionBehindPortion);
        self.blocked.remove(&Blocked::PortionBehindMarks);
    }

    /// All jobs in flight were killed, so nothing is blocked any more.
    pub fn abandoned(&mut self, now: Duration) {
        self.blocked.clear();
        if self.expiry == Expiry::Running {
            self.expiry = Expiry::Due(now);
        }
    }

    /// The expiry has ended. The next one is due at `next`.
    pub fn expired(&mut self, next: Duration) {
        self.expiry = Expiry::Due(next);
    }

    /// The remote refuses another connection. Returns true if that is news.
    pub fn limit_connections(&mut self, now: Duration) -> bool {
        let news = !self.is_connection_limited(now);
        self.connection_limited = Some(now + CONNECTION_LIMITED);
        news
    }

    /// True while the remote takes one connection at a time.
    pub fn is_connection_limited(&self, now: Duration) -> bool {
        self.connection_limited.is_some_and(|until| now < until)
    }

    /// True if `job` has something to do, and nothing in flight prevents it.
    fn wants(&self, job: Job, view: &TurnView, now: Duration) -> bool {
        let small = view.small_waits(&self.blocked);
        let pushing = view.in_flight.pushing();
        let first_waits = |lane| self.turn.without_slot.contains(&Job::Push(lane));
        match job {
            Job::Push(Lane::Small) => small && view.gathered,
            // The second lane starts only if the first one does not wait for a slot.
            Job::Push(lane @ (Lane::Large | Lane::Large2)) => {
                let alone = view.probing && (small || pushing);
                let free = !view.in_flight.busy(lane) && !first_waits(Lane::Large);
                !alone && free && view.large > 0
            }
            Job::Push(lane @ (Lane::Bulk | Lane::Bulk2)) => {
                let alone = view.probing && (small || view.large > 0 || pushing);
                let free = !view.in_flight.busy(lane) && !first_waits(Lane::Bulk);
                !alone && free && view.work.bulk && !self.portion_is_blocked(view)
            }
            // A comparison probes a remote in trouble only if there is nothing to push.
            Job::Compare => {
                let push = small || view.work.large || view.work.bulk || pushing;
                let alone = view.probing && push;
                !alone && view.in_flight.compare.is_none() && view.compare
            }
            Job::Verify => {
                let wanted = view.in_flight.verify == Some(Verification::Wanted);
                wanted && view.in_flight.compare.is_none()
            }
            Job::Expire => {
                let busy = pushing || view.in_flight.compare.is_some();
                let due = match self.expiry {
                    Expiry::Due(at) => now >= if busy { at + EXPIRY_PATIENCE } else { at },
                    Expiry::AtFirst => !busy,
                    Expiry::Running => false,
                };
                view.expires && due && !view.probing && self.turn.without_slot.is_empty()
            }
        }
    }

    fn portion_is_blocked(&self, view: &TurnView) -> bool {
        let names = view.work.marks.any() || view.work.due || view.in_flight.busy(Lane::Small);
        let behind_push = self.blocked.contains(&Blocked::PortionBehindPortion)
            || self.blocked.contains(&Blocked::PortionBehindMarks);
        (self.blocked.contains(&Blocked::PortionBehindNames) && names)
            || (behind_push && view.in_flight.pushing())
    }

    /// `Some` if `job` may start now, with its slot. A probe needs none. Otherwise the job waits.
    fn admit(&mut self, job: Job, view: &TurnView, now: Duration) -> Option<Option<Slot>> {
        if job == Job::Expire {
            let slot = self.take_slot(job, 0);
            if slot.is_none() {
                self.turn.without_slot.insert(job);
            }
            return slot.map(Some);
        }
        let limited = job != Job::Verify && self.is_connection_limited(now);
        if limited && view.in_flight.is_running() {
            // It keeps its place in the queue, and requests no slot that it could not use.
            self.wait(job);
            return None;
        }
        if view.probing && job != Job::Verify {
            return Some(None);
        }
        self.wait(job);
        let before = self.queue.iter().take_while(|other| **other != job);
        let of_kind = before.clone().filter(|other| other.slot_kind() == job.slot_kind()).count();
        let room = if limited { 1 } else { usize::MAX };
        let slot = if before.count() < room { self.take_slot(job, of_kind) } else { None };
        match slot {
            Some(slot) => {
                self.queue.retain(|other| *other != job);
                Some(Some(slot))
            }
            None => {
                self.turn.without_slot.insert(job);
                None
            }
        }
    }

    /// A free slot, if one is left for this job after the jobs of its kind that have waited longer.
    fn take_slot(&mut self, job: Job, before: usize) -> Option<Slot> {
        let of_kind = |slot: &Slot| slot.kind() == job.slot_kind();
        let free = self.free.iter().filter(|slot| of_kind(slot)).count();
        let place = self.free.iter().rposition(of_kind).filter(|_| before < free)?;
        Some(self.free.remove(place))
    }

    fn wait(&mut self, job: Job) {
        if !self.queue.contains(&job) {
            self.queue.push(job);
        }
        self.turn.waiting.insert(job);
    }
}

#[cfg(test)]
#[path = "scheduler_tests.rs"]
mod tests;
