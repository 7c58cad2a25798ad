use super::*;
use crate::journal::MarksWaiting;
use crate::path::RelPath;
use crate::rsync::exit_status::verdict;
use crate::stat::Exited;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

const S: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

/// A state machine and its time. Steps return their actions in short.
struct Machine {
    state: State,
    returned: Returned,
    /// The slots that were requested and not granted yet.
    asked: VecDeque<SlotKind>,
    now: Duration,
}

fn log() -> Logger {
    Logger::root(slog::Discard, slog::o!())
}

fn settings() -> PusherSettings {
    PusherSettings { delay: 3 * MS, pace_percent: 25, ..PusherSettings::default() }
}

impl Machine {
    /// A machine whose root is not checked yet, with this reconcile.
    fn begun(settings: PusherSettings, reconcile: Reconcile) -> Machine {
        let (returned, now) = (Returned::default(), 100 * S);
        let state = State::new(settings, reconcile, returned.clone(), log());
        Machine { state, returned, asked: VecDeque::new(), now }
    }

    /// A running machine that is in sync.
    fn running() -> Machine {
        let mut machine = Machine::begun(settings(), Reconcile::new(None, None, Some(1)));
        machine.step(Event::Hold(None));
        machine.state.doubt = Doubt::No;
        machine.finds(Work::default());
        machine
    }

    fn step(&mut self, event: Event) -> Vec<String> {
        let mut actions = Vec::new();
        for action in self.state.step(event, self.now) {
            match action {
                // Everything before it is recorded.
                Action::Then(event) => actions.extend(self.step(*event)),
                Action::WantSlots(kinds) => {
                    actions.push(format!("ask for {}", kinds.len()));
                    self.asked.extend(kinds);
                }
                other => actions.extend(short(&other)),
            }
        }
        actions
    }

    /// Grants the slot that was requested first, or one of each kind.
    fn slot(&mut self) {
        let kinds = self.asked.pop_front().map_or(SlotKind::ALL.to_vec(), |kind| vec![kind]);
        for kind in kinds {
            assert!(self.step(Event::Slot(kind, 1)).is_empty());
        }
    }

    fn tick(&mut self) -> Vec<String> {
        self.step(Event::Tick(Connection::Ready))
    }

    /// A turn that finds this work in the journal.
    fn finds(&mut self, work: Work) -> Vec<String> {
        self.step(Event::Woken);
        assert_eq!(self.tick(), ["read the journal"]);
        let large = if work.large { 1 } else { 0 };
        self.step(Event::JournalRead { work, large })
    }

    /// Starts a push of this lane.
    fn pushes(&mut self, lane: Lane) {
        self.step(Event::Started(JobSpec::Push(lane), Vec::new()));
        assert!(self.state.in_flight().busy(lane));
    }

    fn push_ends(&mut self, lane: Lane, end: PushEnd) -> Vec<String> {
        self.step(Event::Pushed { lane, end: Box::new(end), loss: None })
    }

    /// A push whose rsync exits like this.
    fn push_fails(&mut self, exit: i32, stderr: &str) -> Vec<String> {
        self.pushes(Lane::Small);
        let end = PushEnd::Trouble {
            judgement: judgement(exit, stderr),
            lingering: false,
            aftermath: Aftermath::default(),
        };
        self.push_ends(Lane::Small, end)
    }

    fn compares(&mut self, what: CompareSpec) {
        self.step(Event::Started(JobSpec::Compare(what), Vec::new()));
    }

    fn reconcile_compared(&mut self, why: &ReconcileReason) -> Vec<String> {
        self.step(Event::SpoolEnded(CompareEnd::Done {
            why: Some(why.clone()),
            guarded: true,
            incomplete: None,
            entries: 7,
        }))
    }
}

/// An action in short. Reports are left out.
fn short(action: &Action) -> Option<String> {
    Some(match action {
        Action::Report => return None,
        Action::ReadJournal => "read the journal".into(),
        Action::Start(spec, slot) => {
            let with = if slot.is_some() { "" } else { " without a slot" };
            match spec {
                JobSpec::Push(lane) => format!("push {lane:?}{with}"),
                JobSpec::Compare(CompareSpec::Reconcile(why)) => {
                    format!("compare for: {why}{with}")
                }
                JobSpec::Compare(what) => format!("compare {what:?}{with}"),
                other => format!("{other:?}{with}"),
            }
        }
        Action::Scrub { quiet } => if *quiet { "scrub" } else { "scrub if it must" }.into(),
        Action::WantSlots(kinds) => format!("ask for {}", kinds.len()),
        Action::WantReconcile(why) => format!("want: {why}"),
        Action::SetHeld(held) => match held {
            Some(held) => format!("guard holds {}", held.deletions),
            None => "guard lets go".into(),
        },
        Action::Owe(rows) => format!("owe {}", rows.len()),
        Action::Unseen(_) => "unseen".into(),
        Action::Then(event) => format!("then {event:?}"),
        Action::CheckNames(_) => "check the names".into(),
        Action::Settle(..) => "settle".into(),
        Action::RetryNow => "retry now".into(),
        Action::OweRecent(_) => "owe what is recent".into(),
        Action::Reconciled { settled, .. } => format!("reconciled, settled: {settled}"),
        Action::WriteFailLog(Some(why)) => format!("fail log: {why}"),
        Action::WriteFailLog(None) => "fail log".into(),
        Action::BatchEnded { settled } => format!("batch, settled: {settled}"),
        Action::Exit { clean } => format!("exit, clean: {clean}"),
        Action::Abandon => "abandon".into(),
        Action::PutOffScrub => "put the scrub off".into(),
        Action::KeepSettings => "keep the settings".into(),
        Action::Begin => "begin".into(),
        Action::BoundBacklog => "bound the backlog".into(),
        Action::DropConnection => "drop the connection".into(),
        Action::TryPort => "try the port".into(),
    })
}

fn judgement(exit: i32, stderr: &str) -> Judgement {
    verdict(Exited::Code(exit), stderr.as_bytes())
}

fn settled() -> PushEnd {
    PushEnd::Settled(Settlement { success: true, ..Settlement::default() })
}

fn marks() -> Work {
    Work { marks: MarksWaiting::Names, ..Work::default() }
}

fn sync() -> ReconcileReason {
    ReconcileReason::Sync
}

fn requested(why: ReconcileReason) -> Event {
    Event::Reconcile(ReconcileRequest { why, number: 1 })
}

const REFUSED: &str =
    "rsync: [sender] failed to connect to 127.0.0.1 (127.0.0.1): Connection refused (111)\n";
const UNREACHABLE: i32 = 10;

#[test]
fn nothing_starts_and_slots_are_returned_before_the_root_is_checked() {
    let mut machine = Machine::begun(settings(), Reconcile::default());
    machine.step(Event::Slot(SlotKind::Small, 1));
    assert_eq!(machine.finds(marks()), [""; 0]);
    assert_eq!(machine.returned.take().len(), 1, "a slot that cannot be used is returned");
    machine.step(Event::Hold(Some(Reason::new(HelpTopic::RootGone, "no such directory"))));
    assert_eq!(machine.finds(marks()), [""; 0]);
    machine.step(Event::Hold(None));
    machine.finds(marks());
    machine.now += 3 * MS;
    assert_eq!(machine.tick(), ["ask for 1", "scrub if it must"]);
}

#[test]
fn with_a_standby_a_lone_change_is_pushed_at_once_and_a_stream_is_paced() {
    let mut machine = Machine::running();
    machine.step(Event::Tick(Connection::Standby));
    machine.step(Event::Woken);
    machine.step(Event::Tick(Connection::Standby));
    let asks = machine.step(Event::JournalRead { work: marks(), large: 0 });
    assert_eq!(asks, ["ask for 1", "scrub if it must"]);
    let mut pushes = 0;
    for _ in 0..20 {
        machine.slot();
        if machine.step(Event::Tick(Connection::Standby)).contains(&"push Small".to_owned()) {
            pushes += 1;
            machine.pushes(Lane::Small);
            machine.push_ends(Lane::Small, settled());
        }
        machine.finds(marks());
    }
    assert_eq!(pushes, 6, "those that were saved up");
    let next = machine.state.next_deadline(machine.now);
    assert!(next > machine.now && next <= machine.now + 68 * MS);
    machine.now = next;
    machine.slot();
    assert_eq!(machine.step(Event::Tick(Connection::Standby)), ["push Small"]);
}

#[test]
fn a_burst_gathers_before_it_is_pushed() {
    let mut machine = Machine::running();
    assert_eq!(machine.finds(marks()), ["scrub if it must"]);
    assert_eq!(machine.state.next_deadline(machine.now), machine.now + 3 * MS);
    machine.now += 3 * MS;
    assert_eq!(machine.tick(), ["ask for 1", "scrub if it must"]);
    machine.slot();
    assert_eq!(machine.tick(), ["push Small"]);
    let next = machine.step(Event::Started(JobSpec::Push(Lane::Small), Vec::new()));
    assert_eq!(next, ["scrub if it must"]);
    assert_eq!(machine.push_ends(Lane::Small, settled()), ["settle", "batch, settled: true"]);
    assert_eq!(machine.finds(marks()).len(), 2, "marks that waited for a push do not gather");
    machine.pushes(Lane::Small);
    machine.push_ends(Lane::Small, settled());
    machine.finds(Work::default());
    assert_eq!(machine.finds(marks()), ["scrub if it must"], "the next burst gathers, too");
}

#[test]
fn the_first_push_waits_for_a_connection_that_is_being_opened() {
    let mut machine = Machine::running();
    machine.finds(marks());
    machine.now += 3 * MS;
    assert_eq!(machine.step(Event::Tick(Connection::Opening)), [""; 0]);
    assert_eq!(machine.tick(), ["ask for 1", "scrub if it must"]);
}

#[test]
fn a_hold_abandons_pushes_and_settles_nothing() {
    let mut machine = Machine::running();
    machine.pushes(Lane::Small);
    machine.pushes(Lane::Bulk);
    assert_eq!(
        machine.step(Event::Hold(Some(Reason::new(HelpTopic::RootGone, "unmounted")))),
        ["abandon"]
    );
    let aftermath = Aftermath { leftovers: vec![owe("d")], unseen: Some(Settlement::default()) };
    let end = machine.push_ends(Lane::Small, PushEnd::Abandoned(aftermath));
    assert_eq!(end, ["batch, settled: false", "owe 1", "unseen"]);
    assert!(machine.state.in_flight().idle());
    assert_eq!(machine.finds(marks()), [""; 0]);
    machine.step(Event::Hold(None));
    machine.finds(marks());
    machine.step(Event::Stop(S, StopCause::Requested));
    assert_eq!(machine.tick(), ["exit, clean: false"], "pushes were killed");
}

#[test]
fn names_behind_a_portion_are_pushed_after_a_hold() {
    let mut machine = Machine::running();
    machine.pushes(Lane::Bulk);
    let blocked = vec![Blocked::PortionBehindNames, Blocked::NamesBehindPortion];
    machine.step(Event::NotStarted(JobSpec::Push(Lane::Small), blocked, None));
    let due = Work { due: true, bulk: true, ..Work::default() };
    assert_eq!(machine.finds(due).len(), 1, "the portion blocks it");
    machine.step(Event::Hold(Some(Reason::new(HelpTopic::RootGone, "unmounted"))));
    machine.step(Event::Hold(None));
    assert_eq!(machine.finds(due), ["ask for 2", "scrub if it must"]);
}

#[test]
fn a_stop_waits_for_the_push_in_flight_or_the_deadline() {
    let mut machine = Machine::running();
    machine.pushes(Lane::Small);
    machine.step(Event::Stop(5 * S, StopCause::Requested));
    assert_eq!(machine.tick(), [""; 0]);
    assert_eq!(machine.state.next_deadline(machine.now), machine.now + 5 * S);
    machine.push_ends(Lane::Small, settled());
    assert_eq!(machine.tick(), ["exit, clean: true"]);
    let mut machine = Machine::running();
    machine.pushes(Lane::Large);
    machine.step(Event::Stop(5 * S, StopCause::Requested));
    machine.step(Event::Stop(S, StopCause::Orphaned));
    machine.now += S;
    assert_eq!(machine.tick(), ["exit, clean: false"]);
}

#[test]
fn a_refused_journal_is_retried_after_a_second() {
    let mut machine = Machine::running();
    machine.step(Event::Woken);
    machine.step(Event::JournalRefused);
    assert_eq!(machine.tick(), [""; 0]);
    assert_eq!(machine.state.next_deadline(machine.now), machine.now + S);
    machine.now += S;
    assert_eq!(machine.tick(), ["read the journal"]);
}

#[test]
fn a_remote_that_is_down_is_probed_without_a_slot_and_with_growing_delays() {
    let mut machine = Machine::running();
    let message = "fail log: rsync: [sender] failed to connect to 127.0.0.1 (127.0.0.1): Connection refused (111)";
    let end = machine.push_fails(UNREACHABLE, REFUSED);
    assert_eq!(end, ["batch, settled: false", "drop the connection", message]);
    assert_eq!(machine.finds(marks()), [""; 0]);
    let until = machine.state.health().until().unwrap();
    assert!(until >= machine.now + S);
    machine.now = until;
    assert_eq!(machine.tick(), ["push Small without a slot"]);
    machine.push_fails(UNREACHABLE, REFUSED);
    machine.now += 3 * S;
    let end = machine.push_fails(UNREACHABLE, REFUSED);
    assert_eq!(end.last().map(String::as_str), Some("bound the backlog"), "after three failures");
    assert_eq!(machine.state.health().failures(), 3);
    machine.step(Event::FailuresDue);
    assert!(machine.state.health().may_try(machine.now), "at the operator's request");
}

#[test]
fn after_an_outage_recent_paths_are_owed_before_anything_is_settled() {
    let mut machine = Machine::running();
    machine.push_fails(UNREACHABLE, REFUSED);
    assert_eq!(machine.state.doubt(), Doubt::Unreachable);
    machine.pushes(Lane::Small);
    let end = machine.push_ends(Lane::Small, settled());
    let back = ["owe what is recent", "settle", "retry now", "fail log", "batch, settled: true"];
    assert_eq!(end, back);
    let more = machine.step(Event::RecentOwed(RecentlySettled::More));
    assert!(more.len() == 1 && more[0].starts_with("want: it was unreachable"), "{more:?}");
    assert_eq!((machine.state.health(), machine.state.doubt()), (&Health::Good, Doubt::Names));
}

#[test]
fn a_successful_comparison_does_not_end_trouble_that_a_push_met() {
    let mut machine = Machine::running();
    machine.push_fails(11, "rsync: write failed on \"f\" (in m): No space left on device (28)\n");
    machine.finds(marks());
    let done = || CompareEnd::Done { why: None, guarded: true, incomplete: None, entries: 0 };
    machine.compares(CompareSpec::Owed(OwedDirs::Any));
    assert_eq!(machine.step(Event::Compared(done())), [""; 0]);
    assert_eq!(machine.state.health().failures(), 1);
    machine.finds(Work::default());
    machine.compares(CompareSpec::Owed(OwedDirs::Any));
    let end = machine.step(Event::Compared(done()));
    assert_eq!(end, ["retry now", "fail log"], "nothing is to be pushed, so it may be over");
}

#[test]
fn a_connection_limit_is_no_trouble() {
    let full = "@ERROR: max connections (1) reached -- try again later\n";
    let mut machine = Machine::running();
    machine.pushes(Lane::Bulk);
    assert_eq!(machine.push_fails(5, full), ["batch, settled: false"]);
    assert_eq!(machine.state.health(), &Health::Good);
    machine.push_ends(Lane::Bulk, settled());
    assert_ne!(
        machine.push_fails(5, full),
        ["batch, settled: false"],
        "other clients use all connections"
    );
    assert_eq!(machine.state.health().failures(), 1);
}

#[test]
fn too_many_leftovers_cause_a_reconcile_when_the_remote_is_back() {
    let many: Vec<Owe> = (0..=PARENTS_MOST).map(|n| owe(&format!("d{n}"))).collect();
    let aftermath = |leftovers| Aftermath { leftovers, unseen: None };
    let mut machine = Machine::running();
    machine.pushes(Lane::Bulk);
    let end = machine.push_ends(Lane::Bulk, PushEnd::Abandoned(aftermath(many.clone())));
    assert_eq!(
        end,
        [format!("want: {}", ReconcileReason::Leftovers)],
        "immediately if the remote is well"
    );
    let mut machine = Machine::running();
    machine.push_fails(UNREACHABLE, REFUSED);
    machine.pushes(Lane::Bulk);
    assert_eq!(machine.push_ends(Lane::Bulk, PushEnd::Abandoned(aftermath(many))), [""; 0]);
    machine.pushes(Lane::Small);
    let end = machine.push_ends(Lane::Small, settled());
    assert!(end.contains(&format!("want: {}", ReconcileReason::Leftovers)), "{end:?}");
}

#[test]
fn a_sign_of_loss_is_recorded_before_the_push_is_settled() {
    let mut machine = Machine::running();
    machine.pushes(Lane::Small);
    assert!(machine.state.detects_losses());
    let loss = Some("d was missing".to_owned());
    let end = machine.step(Event::Pushed { lane: Lane::Small, end: Box::new(settled()), loss });
    assert_eq!(end, ["want: d was missing", "settle", "batch, settled: true"]);
    assert!(!machine.state.detects_losses(), "a reconcile is requested");
}

#[test]
fn a_reconcile_is_compared_counted_and_settled() {
    let mut machine = Machine::running();
    assert_eq!(machine.step(requested(sync())), ["retry now", &format!("want: {}", sync())]);
    assert_eq!(machine.state.reconcile().requests_done(), (1, 0));
    machine.finds(Work::default());
    machine.slot();
    assert_eq!(machine.tick(), [format!("compare for: {}", sync())]);
    machine.compares(CompareSpec::Reconcile(sync()));
    let counted = Counted { paths: 5, deletions: 1, bytes: 10 };
    machine.step(Event::Spooled(sync(), counted, 0));
    assert!(machine.state.in_flight().compare.is_none(), "other comparisons may run");
    assert_eq!(machine.reconcile_compared(&sync()), ["reconciled, settled: true"]);
    machine.step(Event::Reconciled { why: sync(), left: None, at_ms: 9 });
    assert_eq!(machine.state.reconcile().wanted(), None);
    assert_eq!(machine.state.reconcile().finished(), 1);
    assert_eq!(machine.state.reconcile().requests_done(), (1, 1));
    assert!(machine.state.in_flight().idle());
}

#[test]
fn a_reconcile_that_is_requested_while_it_compares_runs_again() {
    let mut machine = Machine::running();
    machine.step(requested(sync()));
    machine.compares(CompareSpec::Reconcile(sync()));
    machine.step(requested(sync()));
    machine.step(Event::Spooled(sync(), Counted::default(), 0));
    assert_eq!(machine.reconcile_compared(&sync()), ["reconciled, settled: false"]);
    machine.step(Event::Reconciled { why: sync(), left: Some(sync()), at_ms: 9 });
    assert_eq!(machine.state.reconcile().wanted(), Some(&sync()));
}

#[test]
fn a_scheduled_reconcile_replaces_no_other_request() {
    let mut machine = Machine::running();
    machine.step(requested(sync()));
    assert_eq!(machine.step(requested(ReconcileReason::Schedule)), [""; 0]);
    assert_eq!(machine.state.reconcile().wanted(), Some(&sync()));
    assert_eq!(machine.step(requested(ReconcileReason::Leftovers)).len(), 2);
}

#[test]
fn an_incomplete_reconcile_stays_requested_and_is_retried_later() {
    let mut machine = Machine::running();
    machine.step(requested(sync()));
    machine.compares(CompareSpec::Reconcile(sync()));
    machine.step(Event::Spooled(sync(), Counted::default(), 0));
    machine.step(Event::SpoolEnded(CompareEnd::Done {
        why: Some(sync()),
        guarded: true,
        incomplete: Some("opendir failed".into()),
        entries: 0,
    }));
    machine.slot();
    assert_eq!(machine.finds(Work::default()), ["scrub"]);
    machine.now += 60 * S;
    machine.slot();
    let work = Work::default();
    machine.tick();
    assert_eq!(
        machine.step(Event::JournalRead { work, large: 0 }),
        [format!("compare for: {}", sync())]
    );
}

#[test]
fn the_guard_holds_a_reconcile_until_a_release_approves_its_number() {
    let mut machine = Machine::running();
    machine.step(Event::Release);
    assert_eq!(machine.state.reconcile().approved(), None, "nothing is approved in advance");
    machine.step(requested(sync()));
    machine.compares(CompareSpec::Reconcile(sync()));
    let held = Held { why: "it would delete 50 of 60".into(), deletions: 50 };
    assert_eq!(machine.step(Event::Compared(CompareEnd::Guarded(held))), ["guard holds 50"]);
    // Directories that live events marked are still compared. Those that a scan found are not.
    let scanned = Work { dirs: true, ..Work::default() };
    assert_eq!(machine.finds(scanned), ["scrub"]);
    let live = Work { dirs: true, live_dirs: true, ..Work::default() };
    assert_eq!(machine.finds(live), ["ask for 1", "scrub if it must"]);
    machine.slot();
    assert_eq!(machine.tick(), ["compare Owed(Live)"]);
    machine.compares(CompareSpec::Owed(OwedDirs::Live));
    let done = CompareEnd::Done { why: None, guarded: false, incomplete: None, entries: 0 };
    machine.step(Event::Compared(done));
    assert_eq!(machine.step(Event::Release), ["guard lets go"]);
    assert_eq!(machine.state.reconcile().approved(), Some(50));
    machine.finds(Work::default());
    machine.slot();
    assert_eq!(machine.tick(), [format!("compare for: {}", sync())]);
}

#[test]
fn directories_wait_for_names_that_are_owed_but_not_for_a_first_copy() {
    let mut machine = Machine::running();
    let live = Work { dirs: true, live_dirs: true, due: true, ..Work::default() };
    machine.pushes(Lane::Small);
    assert_eq!(machine.finds(live), ["scrub if it must"], "owed names may be in these directories");
    let copy = Work { bulk: true, ..live };
    machine.pushes(Lane::Bulk);
    machine.pushes(Lane::Bulk2);
    assert_eq!(machine.finds(copy), ["ask for 1", "scrub if it must"]);
    machine.slot();
    assert_eq!(machine.tick(), ["compare Owed(Live)"]);
}

#[test]
fn marks_are_pushed_during_a_first_copy() {
    let mut machine = Machine::running();
    machine.pushes(Lane::Bulk);
    let work = Work { marks: MarksWaiting::Names, bulk: true, ..Work::default() };
    machine.finds(work);
    machine.now += 3 * MS;
    machine.slot();
    machine.slot();
    assert_eq!(machine.tick(), ["push Small"]);
    let next = machine.step(Event::Started(JobSpec::Push(Lane::Small), Vec::new()));
    assert_eq!(next, ["push Bulk2"], "two portions run at a time");
}

#[test]
fn the_names_in_the_root_are_compared_after_a_start_and_after_an_outage() {
    let mut machine = Machine::begun(settings(), Reconcile::new(None, None, Some(1)));
    let begun = machine.step(Event::Begun {
        clean: true,
        reconcile: None,
        requests: 0,
        leftovers: Vec::new(),
        new_settings: false,
    });
    assert_eq!(begun, ["begin"]);
    machine.step(Event::Hold(None));
    machine.slot();
    assert_eq!(machine.finds(Work::default()), ["compare Names"]);
    machine.compares(CompareSpec::Names);
    let end = machine.step(Event::Compared(CompareEnd::Names(Names::default())));
    assert_eq!(end, ["check the names"]);
    let end = machine.step(Event::NamesChecked(Some("d is missing".to_owned())));
    assert_eq!(end, ["want: d is missing"]);
    assert_eq!(machine.state.doubt(), Doubt::No);
}

#[test]
fn names_that_a_probe_compared_are_a_sign_once_what_is_recent_is_owed() {
    let mut machine = Machine::running();
    machine.push_fails(UNREACHABLE, REFUSED);
    machine.finds(Work::default());
    machine.compares(CompareSpec::Names);
    let end = machine.step(Event::Compared(CompareEnd::Names(Names::default())));
    assert_eq!(end, ["owe what is recent", "retry now", "fail log", "check the names"]);
    machine.step(Event::RecentOwed(RecentlySettled::All));
    let end = machine.step(Event::NamesChecked(Some("d is missing".to_owned())));
    assert_eq!(end, ["want: d is missing"], "not compared twice");
}

/// A decision takes effect only after the journal has recorded what comes before it.
#[test]
fn a_journal_that_refuses_leaves_the_trouble_as_it_was() {
    let mut machine = Machine::running();
    machine.push_fails(UNREACHABLE, REFUSED);
    machine.pushes(Lane::Small);
    let end = Event::Pushed { lane: Lane::Small, end: Box::new(settled()), loss: None };
    // The actions are not carried out.
    machine.state.step(end, machine.now);
    assert_eq!(machine.state.health().failures(), 1);
    let held = Held { why: "50".into(), deletions: 50 };
    machine.step(Event::ScrubGuarded(held));
    machine.state.step(Event::Release, machine.now);
    assert_eq!(machine.state.reconcile().approved(), None);
    assert!(machine.state.reconcile().held().is_some());
}

#[test]
fn names_are_no_sign_if_the_remote_was_never_reconciled() {
    for (settings, reconciled) in
        [(settings(), None), (PusherSettings { partial_schedule: true, ..settings() }, Some(1))]
    {
        let reconcile = Reconcile::new(None, None, reconciled);
        let mut machine = Machine::begun(settings, reconcile);
        machine.step(Event::Begun {
            clean: true,
            reconcile: None,
            requests: 0,
            leftovers: Vec::new(),
            new_settings: false,
        });
        assert_eq!(machine.state.doubt(), Doubt::No);
        assert!(!machine.state.detects_losses());
    }
}

#[test]
fn after_an_unclean_exit_recent_paths_are_owed_before_pushes_begin() {
    let mut machine = Machine::begun(settings(), Reconcile::default());
    let begun = machine.step(Event::Begun {
        clean: false,
        reconcile: Some(ReconcileReason::SettingsChanged),
        requests: 1,
        leftovers: vec![owe("d")],
        new_settings: true,
    });
    let want = format!("want: {}", ReconcileReason::SettingsChanged);
    let expected = [&want, "keep the settings", "owe 1", "owe what is recent", "begin"];
    assert_eq!(begun, expected);
}

#[test]
fn a_comparison_that_changes_broke_is_retried_soon() {
    let mut machine = Machine::running();
    let dirs = Work { dirs: true, ..Work::default() };
    machine.finds(dirs);
    machine.compares(CompareSpec::Owed(OwedDirs::Any));
    machine.step(Event::Compared(CompareEnd::Upset));
    machine.slot();
    assert_eq!(machine.finds(dirs), ["scrub"]);
    assert_eq!(machine.state.next_deadline(machine.now), machine.now + UPSET_WAIT);
    machine.now += UPSET_WAIT;
    machine.slot();
    assert_eq!(machine.tick(), ["compare Owed(Any)"]);
}

/// Keeps the level of each record.
#[derive(Clone, Default)]
struct Levels(Arc<Mutex<Vec<slog::Level>>>);

impl slog::Drain for Levels {
    type Ok = ();
    type Err = slog::Never;

    fn log(&self, record: &slog::Record<'_>, _: &slog::OwnedKVList) -> Result<(), slog::Never> {
        self.0.lock().unwrap().push(record.level());
        Ok(())
    }
}

#[test]
fn what_waits_for_an_operator_is_an_error_in_the_log() {
    use slog::Level::{Error, Warning};
    let levels = |act: &dyn Fn(&mut Machine)| {
        let (kept, mut machine) = (Levels::default(), Machine::running());
        machine.state.log = Logger::root(kept.clone(), slog::o!());
        act(&mut machine);
        kept.0.lock().unwrap().clone()
    };
    let fails = |exit, stderr| levels(&|machine| drop(machine.push_fails(exit, stderr)));
    assert_eq!(fails(UNREACHABLE, REFUSED), [Warning]);
    assert_eq!(fails(5, "@ERROR: Unknown module 'www'\n"), [Error]);
    let root = levels(&|machine| {
        machine.pushes(Lane::Small);
        let gone = LocalError::Root(Reason::new(HelpTopic::RootGone, "gone"));
        machine.push_ends(Lane::Small, PushEnd::LocalError(gone));
    });
    assert_eq!(root, [Error]);
    let guard = levels(&|machine| {
        machine.step(requested(sync()));
        machine.compares(CompareSpec::Reconcile(sync()));
        let held = Held { why: "50".into(), deletions: 50 };
        machine.step(Event::Compared(CompareEnd::Guarded(held)));
    });
    assert_eq!(guard, [Error]);
}

#[test]
fn a_missing_root_holds_and_is_looked_for_again() {
    let mut machine = Machine::running();
    machine.pushes(Lane::Small);
    machine.push_ends(
        Lane::Small,
        PushEnd::LocalError(LocalError::Root(Reason::new(HelpTopic::RootGone, "gone"))),
    );
    assert_eq!(machine.state.phase().held().map(|held| held.why.as_str()), Some("gone"));
    assert_eq!(machine.state.cannot_verify().as_deref(), Some("gone"));
    assert_eq!(machine.finds(marks()), [""; 0]);
    machine.now += S;
    machine.slot();
    assert_eq!(machine.tick(), ["push Small"]);
}

#[test]
fn a_system_error_is_trouble_that_any_job_ends() {
    let mut machine = Machine::running();
    machine.pushes(Lane::Small);
    machine.push_ends(Lane::Small, PushEnd::LocalError(LocalError::System("fork".into())));
    assert_eq!(machine.state.health().met_by(), Some(MetBy::Any));
    assert_eq!(machine.state.cannot_verify().as_deref(), Some("fork"));
    assert!(!machine.state.may_scrub());
}

#[test]
fn a_verify_puts_the_scrub_off() {
    let mut machine = Machine::running();
    assert!(machine.state.may_scrub());
    machine.step(Event::VerifyWanted);
    assert!(!machine.state.may_scrub());
    machine.finds(Work::default());
    machine.slot();
    assert_eq!(machine.tick(), ["put the scrub off", "Verify"]);
    machine.step(Event::Started(JobSpec::Verify, Vec::new()));
    machine.step(Event::VerifyEnded);
    assert!(machine.state.may_scrub());
}

#[test]
fn dropped_marks_of_a_remote_in_trouble_cause_a_reconcile() {
    let mut machine = Machine::running();
    let why = ReconcileReason::Found("too many".into());
    machine.step(Event::ComparedInstead(why.clone()));
    assert_eq!(machine.state.reconcile().wanted(), Some(&why));
}

#[test]
fn an_approval_that_the_scrub_used_is_gone() {
    let mut machine = Machine::running();
    let held = Held { why: "50".into(), deletions: 50 };
    assert_eq!(machine.step(Event::ScrubGuarded(held)), ["guard holds 50"]);
    assert!(!machine.state.may_scrub());
    machine.step(Event::Release);
    assert!(machine.state.may_scrub() && machine.state.reconcile().approved() == Some(50));
    machine.step(Event::ApprovalUsed);
    assert_eq!(machine.state.reconcile().approved(), None);
}

fn owe(dir: &str) -> Owe {
    Owe {
        path: RelPath::new(dir).unwrap(),
        scope: crate::journal::Scope::Children,
        events: Events::RECONCILE,
        error: None,
        attempts: 0,
        next_try_ms: 0,
        since_ms: 0,
    }
}

#[test]
fn the_first_answer_of_the_port_ends_the_wait_of_a_remote_that_was_down() {
    let mut machine = Machine::running();
    for _ in 0..7 {
        machine.now = machine.state.health().until().unwrap_or(machine.now);
        machine.push_fails(UNREACHABLE, REFUSED);
    }
    let until = machine.state.health().until().unwrap();
    assert!(until > machine.now + 20 * S);
    machine.finds(marks());
    assert_eq!(machine.state.next_deadline(machine.now), machine.now + S);
    machine.now += S;
    assert!(machine.tick().contains(&"try the port".to_owned()));
    assert!(!machine.tick().contains(&"try the port".to_owned()), "one try at a time");
    machine.step(Event::PortTried(false));
    assert!(!machine.state.health().may_try(machine.now));
    machine.now += S;
    assert!(machine.tick().contains(&"try the port".to_owned()));
    machine.step(Event::PortTried(true));
    assert!(machine.state.health().may_try(machine.now));
    assert_eq!(machine.tick(), ["push Small without a slot"]);
    // The port answers, but pushes still fail: the remote is retried at growing intervals as before.
    machine.push_fails(UNREACHABLE, REFUSED);
    machine.finds(marks());
    machine.now += S;
    assert_eq!(machine.tick(), ["try the port"]);
    machine.step(Event::PortTried(true));
    assert!(!machine.state.health().may_try(machine.now));
}

#[test]
fn the_port_is_not_tried_while_the_localpath_is_held() {
    let mut machine = Machine::running();
    machine.push_fails(UNREACHABLE, REFUSED);
    machine.step(Event::Hold(Some(Reason::new(HelpTopic::RootGone, "gone"))));
    machine.finds(Work::default());
    machine.now += S;
    assert!(!machine.tick().contains(&"try the port".to_owned()));
    assert!(machine.state.next_deadline(machine.now) > machine.now);
}
