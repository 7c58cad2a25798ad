use super::*;
use crate::journal::MarksWaiting;
use crate::pusher::in_flight::Comparison;
use SlotKind::{Large, Small};
use std::collections::VecDeque;

const S: Duration = Duration::from_secs(1);

/// A scheduler, and the view of its turns.
struct Turns {
    scheduler: Scheduler,
    returned: Returned,
    work: Work,
    large: usize,
    probing: bool,
    compare: bool,
    expires: bool,
    in_flight: InFlight,
    /// What blocks each push of marks.
    blocked: Vec<Blocked>,
    /// The slots that were requested and not granted yet.
    asked: VecDeque<SlotKind>,
    now: Duration,
}

impl Turns {
    fn new() -> Self {
        let returned = Returned::default();
        Self {
            scheduler: Scheduler::new(returned.clone()),
            returned,
            work: Work::default(),
            large: 0,
            probing: false,
            compare: false,
            expires: false,
            in_flight: InFlight::default(),
            blocked: Vec::new(),
            asked: VecDeque::new(),
            now: S,
        }
    }

    /// One turn in which every job starts that may. Returns the jobs, each with whether it holds a slot.
    fn turn(&mut self) -> (Vec<(Job, bool)>, TurnEnd) {
        self.scheduler.begin_turn();
        let mut started = Vec::new();
        loop {
            let in_flight = self.in_flight.clone();
            let view = TurnView {
                work: self.work,
                large: self.large,
                gathered: true,
                probing: self.probing,
                compare: self.compare,
                expires: self.expires,
                in_flight: &in_flight,
            };
            let Some((job, slot)) = self.scheduler.next(&view, self.now) else {
                let end = self.scheduler.end_turn(&view);
                self.asked.extend(&end.ask);
                return (started, end);
            };
            started.push((job, slot.is_some()));
            // The job keeps its slot.
            std::mem::forget(slot);
            match job {
                Job::Push(lane) => {
                    self.in_flight.pushes.insert(lane);
                    if Lane::LARGE.contains(&lane) {
                        self.large -= 1;
                    }
                }
                Job::Compare => self.in_flight.compare = Some(Comparison::Running(None)),
                Job::Verify => self.in_flight.verify = Some(Verification::UnderWay),
                Job::Expire => {}
            }
            let blocked = if job == SMALL { &self.blocked[..] } else { &[] };
            self.scheduler.answered(job, None, blocked);
        }
    }

    /// Grants slots in the order of their requests. If none is requested, one of each kind.
    fn grant(&mut self, slots: usize) {
        for _ in 0..slots {
            match self.asked.pop_front() {
                Some(kind) => self.scheduler.granted(kind),
                None => SlotKind::ALL.into_iter().for_each(|kind| self.scheduler.granted(kind)),
            }
        }
    }

    fn ended(&mut self, lane: Lane) {
        self.in_flight.pushes.remove(&lane);
        self.scheduler.ended(lane);
    }

    fn jobs(&mut self) -> Vec<Job> {
        self.turn().0.into_iter().map(|(job, _)| job).collect()
    }
}

const SMALL: Job = Job::Push(Lane::Small);
const LARGE: Job = Job::Push(Lane::Large);
const BULK: Job = Job::Push(Lane::Bulk);

#[test]
fn waiting_jobs_request_slots_and_unused_slots_are_returned() {
    let mut turns = Turns::new();
    turns.work.marks = MarksWaiting::Names;
    turns.work.bulk = true;
    let (started, end) = turns.turn();
    assert!(started.is_empty());
    assert_eq!(end.ask, [Small, Large], "one for the marks, one for the first portion");
    assert!(!end.quiet && turns.turn().1.ask.is_empty(), "both are requested");
    turns.grant(2);
    assert_eq!(turns.turn().0, [(SMALL, true), (BULK, true)]);
    turns.work = Work::default();
    turns.scheduler.granted(Small);
    assert!(turns.turn().1.ask.is_empty());
    assert_eq!(turns.returned.take(), [Small], "no job waits for it");
}

#[test]
fn the_job_that_has_waited_longest_takes_the_next_slot_of_its_kind() {
    let mut turns = Turns::new();
    (turns.work.bulk, turns.compare) = (true, true);
    turns.turn();
    turns.grant(1);
    assert_eq!(turns.jobs(), [BULK]);
    // The comparison gets its turn despite endless portions.
    turns.ended(Lane::Bulk);
    turns.grant(1);
    assert_eq!(turns.jobs(), [Job::Compare], "the portions were served before");
    turns.grant(1);
    assert_eq!(turns.jobs(), [BULK]);
    // Marks wait for neither.
    turns.work.marks = MarksWaiting::Names;
    turns.turn();
    turns.scheduler.granted(Small);
    assert_eq!(turns.jobs(), [SMALL]);
}

#[test]
fn with_one_slot_endless_marks_and_a_first_copy_alternate() {
    let mut turns = Turns::new();
    (turns.work.marks, turns.work.bulk) = (MarksWaiting::Names, true);
    turns.turn();
    let mut order = Vec::new();
    for _ in 0..6 {
        turns.grant(1);
        let jobs = turns.jobs();
        assert_eq!(jobs.len(), 1);
        for job in jobs {
            let Job::Push(lane) = job else { panic!("{job:?}") };
            turns.ended(lane);
            order.push(lane);
        }
    }
    let bulk = order.iter().filter(|lane| Lane::BULK.contains(lane)).count();
    assert!((2..=4).contains(&bulk), "{order:?}");
}

#[test]
fn a_job_with_nothing_to_do_leaves_the_queue() {
    let mut turns = Turns::new();
    turns.work.bulk = true;
    turns.turn();
    (turns.work.bulk, turns.work.marks) = (false, MarksWaiting::Names);
    turns.turn();
    turns.scheduler.granted(Small);
    assert_eq!(turns.jobs(), [SMALL]);
}

#[test]
fn a_slot_that_the_first_in_the_queue_does_not_take_goes_to_the_next() {
    let mut turns = Turns::new();
    turns.compare = true;
    turns.turn();
    turns.work.bulk = true;
    turns.turn();
    // The comparison has waited longer, but is considered after the portion.
    turns.grant(1);
    turns.in_flight.compare = Some(Comparison::Writing);
    let (started, end) = turns.turn();
    assert!(started.is_empty() && end.read_again);
    assert_eq!(turns.jobs(), [BULK]);
}

#[test]
fn a_remote_in_trouble_is_probed_by_one_push_without_a_slot() {
    let mut turns = Turns::new();
    turns.probing = true;
    (turns.work.marks, turns.work.bulk, turns.work.large) = (MarksWaiting::Names, true, true);
    (turns.large, turns.compare) = (2, true);
    assert_eq!(turns.turn().0, [(SMALL, false)]);
    let (started, end) = turns.turn();
    assert!(started.is_empty() && end.ask.is_empty() && !end.quiet);
    turns.ended(Lane::Small);
    turns.work.marks = MarksWaiting::None;
    assert_eq!(turns.turn().0, [(LARGE, false)]);
    turns.ended(Lane::Large);
    (turns.large, turns.work.large) = (0, false);
    assert_eq!(turns.turn().0, [(BULK, false)]);
    turns.ended(Lane::Bulk);
    turns.work.bulk = false;
    assert_eq!(turns.turn().0, [(Job::Compare, false)], "if there is nothing to push");
}

#[test]
fn a_remote_that_limits_connections_gets_one_at_a_time() {
    let mut turns = Turns::new();
    assert!(turns.scheduler.limit_connections(S) && !turns.scheduler.limit_connections(2 * S));
    (turns.work.marks, turns.work.bulk) = (MarksWaiting::Names, true);
    assert_eq!(turns.turn().1.ask, [Small, Large]);
    turns.grant(2);
    assert_eq!(turns.jobs(), [SMALL]);
    let (started, end) = turns.turn();
    assert!(started.is_empty() && end.ask.is_empty(), "no slot that it could not use");
    turns.ended(Lane::Small);
    turns.work.marks = MarksWaiting::None;
    turns.turn();
    turns.grant(1);
    assert_eq!(turns.jobs(), [BULK]);
    turns.now = 603 * S;
    turns.work.marks = MarksWaiting::Names;
    turns.turn();
    turns.grant(2);
    assert_eq!(turns.jobs(), [SMALL, Job::Push(Lane::Bulk2)], "the limit has expired");
}

#[test]
fn a_second_large_file_starts_after_the_first_has_its_slot() {
    let mut turns = Turns::new();
    (turns.work.large, turns.large) = (true, 2);
    assert_eq!(turns.turn().1.ask, [Large]);
    turns.grant(1);
    let (started, end) = turns.turn();
    assert_eq!((started, end.ask), (vec![(LARGE, true)], vec![Large]));
    turns.grant(1);
    assert_eq!(turns.jobs(), [Job::Push(Lane::Large2)]);
    turns.ended(Lane::Large);
    turns.grant(1);
    assert!(turns.jobs().is_empty(), "there is no third lane");
}

#[test]
fn names_that_touch_a_portion_are_pushed_before_the_next_portion() {
    let mut turns = Turns::new();
    turns.work.bulk = true;
    turns.grant(9);
    assert_eq!(turns.jobs(), [BULK, Job::Push(Lane::Bulk2)]);
    turns.ended(Lane::Bulk2);
    turns.work.due = true;
    turns.blocked = vec![Blocked::PortionBehindNames, Blocked::NamesBehindPortion];
    turns.scheduler.answered(SMALL, None, &turns.blocked);
    turns.grant(9);
    assert!(turns.jobs().is_empty());
    // A mark does not wait.
    turns.work.marks = MarksWaiting::Names;
    turns.grant(9);
    assert_eq!(turns.jobs(), [SMALL]);
    turns.ended(Lane::Small);
    turns.work.marks = MarksWaiting::None;
    turns.ended(Lane::Bulk);
    turns.blocked.clear();
    turns.grant(9);
    assert_eq!(turns.jobs(), [SMALL, BULK, Job::Push(Lane::Bulk2)], "together with the names");
}

#[test]
fn a_portion_whose_rows_are_in_flight_waits_for_that_push() {
    let mut turns = Turns::new();
    turns.work.bulk = true;
    turns.in_flight.pushes.extend([Lane::Bulk, Lane::Small]);
    turns.scheduler.answered(Job::Push(Lane::Bulk2), None, &[Blocked::PortionBehindPortion]);
    turns.grant(9);
    assert!(turns.jobs().is_empty());
    // Reading thousands of rows after each push of marks would keep a core busy.
    turns.ended(Lane::Small);
    turns.grant(9);
    assert!(turns.jobs().is_empty());
    turns.scheduler.portions_again();
    turns.grant(9);
    assert_eq!(turns.jobs(), [Job::Push(Lane::Bulk2)], "rows were written");
    turns.ended(Lane::Bulk2);
    turns.in_flight.pushes.insert(Lane::Small);
    turns.scheduler.answered(Job::Push(Lane::Bulk2), None, &[Blocked::PortionBehindMarks]);
    turns.grant(9);
    assert!(turns.jobs().is_empty());
    turns.ended(Lane::Small);
    turns.grant(9);
    assert_eq!(turns.jobs(), [Job::Push(Lane::Bulk2)]);
    turns.ended(Lane::Bulk2);
    turns.in_flight.pushes.insert(Lane::Large);
    turns.scheduler.answered(Job::Push(Lane::Bulk2), None, &[Blocked::PortionBehindPortion]);
    turns.grant(9);
    assert!(turns.jobs().is_empty());
    turns.ended(Lane::Large);
    turns.grant(9);
    assert_eq!(turns.jobs(), [Job::Push(Lane::Bulk2)], "a name above the large file is gone");
}

#[test]
fn a_blocked_portion_starts_if_no_push_is_in_flight() {
    let mut turns = Turns::new();
    turns.work.bulk = true;
    turns.scheduler.answered(BULK, None, &[Blocked::PortionBehindPortion]);
    turns.grant(9);
    assert_eq!(turns.jobs().first(), Some(&BULK));
    turns.scheduler.abandoned(S);
    turns.in_flight = InFlight::default();
    turns.work.due = true;
    turns.grant(9);
    assert_eq!(turns.jobs(), [SMALL, BULK, Job::Push(Lane::Bulk2)]);
}

#[test]
fn an_unneeded_slot_goes_to_the_next_job_of_the_turn() {
    let mut turns = Turns::new();
    (turns.work.large, turns.large, turns.work.bulk) = (true, 1, true);
    turns.turn();
    turns.grant(1);
    turns.scheduler.begin_turn();
    let in_flight = InFlight::default();
    let view = TurnView {
        work: turns.work,
        large: 1,
        gathered: true,
        probing: false,
        compare: false,
        expires: false,
        in_flight: &in_flight,
    };
    let Some((LARGE, slot)) = turns.scheduler.next(&view, S) else { panic!() };
    turns.scheduler.answered(LARGE, slot, &[]);
    let next = turns.scheduler.next(&view, S);
    assert!(matches!(next, Some((BULK, Some(_)))));
    drop(next);
    assert_eq!(turns.returned.take(), [Large]);
}

#[test]
fn the_trash_expires_without_pushes_or_after_a_wait() {
    let mut turns = Turns::new();
    turns.expires = true;
    turns.in_flight.pushes.insert(Lane::Small);
    assert!(turns.turn().1.ask.is_empty());
    turns.now = 12 * S;
    assert_eq!(turns.turn().1.ask, [Large], "it has waited for long enough");
    turns.grant(1);
    assert_eq!(turns.turn().0, [(Job::Expire, true)]);
    turns.ended(Lane::Small);
    assert!(turns.jobs().is_empty(), "only one at a time");
    turns.scheduler.expired(100 * S);
    turns.grant(1);
    assert!(turns.jobs().is_empty());
    turns.now = 100 * S;
    turns.grant(1);
    assert_eq!(turns.jobs(), [Job::Expire]);
    turns.scheduler.abandoned(turns.now);
    turns.probing = true;
    turns.grant(1);
    assert!(turns.jobs().is_empty(), "not while the remote is in trouble");
    turns.probing = false;
    turns.grant(1);
    assert_eq!(turns.jobs(), [Job::Expire], "it was killed, and starts again");
}

#[test]
fn verify_waits_for_a_running_comparison() {
    let mut turns = Turns::new();
    turns.in_flight.verify = Some(Verification::Wanted);
    turns.in_flight.compare = Some(Comparison::Running(None));
    assert!(turns.turn().1.ask.is_empty());
    turns.in_flight.compare = None;
    assert_eq!(turns.turn().1.ask, [Large]);
    turns.grant(1);
    assert_eq!(turns.turn().0, [(Job::Verify, true)]);
    assert!(turns.jobs().is_empty());
}

#[test]
fn a_turn_is_quiet_if_nothing_is_pushed_or_waits() {
    let mut turns = Turns::new();
    assert!(turns.turn().1.quiet);
    turns.work.marks = MarksWaiting::Names;
    assert!(!turns.turn().1.quiet);
    turns.work = Work::default();
    turns.in_flight.pushes.insert(Lane::Bulk);
    assert!(!turns.turn().1.quiet);
    turns.in_flight = InFlight::default();
    turns.probing = true;
    assert!(!turns.turn().1.quiet);
}
