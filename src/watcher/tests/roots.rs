//! The root goes, comes back, is replaced.

use super::*;
use crate::help_topic::HelpTopic;
use crate::reconcile_reason::ReconcileReason;
use crate::sys::domain;

#[test]
fn a_root_from_a_network_file_system_is_not_taken_for_a_local_one() {
    let world = World::new();
    let (root, state) = (world.path("root"), world.path("state"));
    world.start().stop();
    Journal::open(&state).unwrap().remote("r", None).unwrap();
    Journal::open(&state).unwrap().forget_checkpoint().unwrap();
    // What a start with the file system mounted leaves: no checkpoint, and this.
    let mut record = root_record::RootRecord::read(&state).unwrap().unwrap();
    record.network = true;
    record.write(&state).unwrap();
    let world = World { queue: inotify::create().unwrap(), ..world };
    let mut run = world.launch();
    run.hears(
        "held",
        |m| matches!(m, FromWatcher::State(WatcherState::Held(w)) if w.why.contains("network") && w.help == HelpTopic::RootReplaced),
    );
    assert_eq!(run.journal().checkpoint().unwrap(), None);
    run.side.send(&ToWatcher::AdoptRoot, vec![]).unwrap();
    run.watching();
    assert!(run.journal().remote_names().unwrap() == ["r"]);
    assert!(!root_record::RootRecord::read(&state).unwrap().unwrap().network);
    assert!(Journal::open(&state).unwrap().remote("r", None).unwrap().reconcile.is_some());
    let seq = run.last();
    fs::write(root.join("x"), "x").unwrap();
    run.marked(seq, "x");
    run.stop();
}

/// A watcher can open only the root that was there when it began. For another one, the supervisor starts another watcher.
#[test]
fn a_root_that_is_out_of_reach_needs_another_watcher() {
    if !domain::is_supported() {
        eprintln!("SKIPPED: no Landlock");
        return;
    }
    let world = World::new();
    let (root, away) = (world.path("root"), world.path("away"));
    fs::write(root.join("f"), "x").unwrap();
    let mut run = world.start();
    fs::rename(&root, &away).unwrap();
    // The same directory needs none.
    run.hears("held", |m| matches!(m, FromWatcher::State(WatcherState::Held(_))));
    fs::rename(&away, &root).unwrap();
    run.watching();
    fs::rename(&root, &away).unwrap();
    fs::create_dir(&root).unwrap();
    run.hears("held", |m| matches!(m, FromWatcher::State(WatcherState::Held(_))));
    run.side.send(&ToWatcher::AdoptRoot, vec![]).unwrap();
    run.hears("reconcile", |m| matches!(m, FromWatcher::NeedReconcile(_)));
    run.hears("the request", |m| matches!(m, FromWatcher::OutOfReach));
    run.stop();
    let run = world.start();
    let seq = run.last();
    fs::write(root.join("g"), "x").unwrap();
    run.marked(seq, "g");
    run.stop();
    // One that was missing.
    fs::rename(&root, away.join("1")).unwrap();
    let mut run = world.launch();
    run.hears("held", |m| matches!(m, FromWatcher::State(WatcherState::Held(_))));
    fs::rename(away.join("1"), &root).unwrap();
    run.hears("the request", |m| matches!(m, FromWatcher::OutOfReach));
    run.stop();
    let run = world.start();
    run.stop();
}

#[test]
fn a_root_released_before_it_exists_is_reconciled() {
    let world = World { limited: false, ..World::new() };
    let root = world.path("root");
    let mut run = world.start();
    Journal::open(&run.state).unwrap().remote("r", None).unwrap();
    fs::remove_dir(&root).unwrap();
    run.hears("held", |m| matches!(m, FromWatcher::State(WatcherState::Held(_))));
    run.side.send(&ToWatcher::AdoptRoot, vec![]).unwrap();
    until("the wish", || Journal::open(&run.state).unwrap().remote("r", None).unwrap().reconcile);
    until("the old root forgotten", || run.journal().checkpoint().unwrap().is_none().then_some(()));
    fs::create_dir(&root).unwrap();
    run.watching();
    run.stop();
}

#[test]
fn a_missing_root_deletes_nothing_and_is_accepted_when_it_returns() {
    let world = World { limited: false, ..World::new() };
    let (root, away) = (world.path("root"), world.path("away"));
    fs::create_dir(root.join("d")).unwrap();
    fs::write(root.join("d/f"), "x").unwrap();
    let mut run = world.start();
    run.settle();
    let seq = run.last();
    fs::rename(&root, &away).unwrap();
    run.hears(
        "held",
        |m| matches!(m, FromWatcher::State(WatcherState::Held(w)) if w.help == HelpTopic::RootGone),
    );
    fs::create_dir(&root).unwrap();
    run.hears(
        "another",
        |m| matches!(m, FromWatcher::State(WatcherState::Held(w)) if w.why.contains("another")),
    );
    let mut marks = run.since(seq);
    // The last write of settle may be marked after it returns.
    marks.retain(|path, _| !path.starts_with("settle-"));
    assert!(marks.is_empty(), "{marks:?}");
    fs::write(away.join("d/g"), "x").unwrap();
    fs::remove_dir(&root).unwrap();
    fs::rename(&away, &root).unwrap();
    run.watching();
    assert!(covered(&run.since(seq), &rel("d/g")));
    // A replaced root is taken only when the operator says so.
    fs::rename(&root, &away).unwrap();
    fs::create_dir(&root).unwrap();
    run.hears(
        "held",
        |m| matches!(m, FromWatcher::State(WatcherState::Held(w)) if w.why.contains("another")),
    );
    run.side.send(&ToWatcher::AdoptRoot, vec![]).unwrap();
    run.hears("reconcile", |m| matches!(m, FromWatcher::NeedReconcile(_)));
    run.watching();
    let seq = run.last();
    fs::write(root.join("x"), "x").unwrap();
    run.marked(seq, "x");
    run.stop();
}

#[test]
fn a_root_lost_while_the_journal_failed_is_watched_again() {
    let world = World::new();
    let (root, away) = (world.path("root"), world.path("away"));
    let mut run = world.start();
    run.settle();
    let db = rusqlite::Connection::open(run.state.join(crate::journal::FILE_NAME)).unwrap();
    let refuse =
        "CREATE TRIGGER full BEFORE UPDATE ON checkpoint BEGIN SELECT RAISE(ABORT, 'full'); END";
    db.execute_batch(refuse).unwrap();
    let seq = run.last();
    fs::write(root.join("x"), "x").unwrap();
    run.hears("refused", |m| matches!(m, FromWatcher::State(WatcherState::Refused(_))));
    fs::rename(&root, &away).unwrap();
    run.hears("held", |m| matches!(m, FromWatcher::State(WatcherState::Held(_))));
    db.execute_batch("DROP TRIGGER full").unwrap();
    fs::rename(&away, &root).unwrap();
    run.watching();
    run.marked(seq, "x");
    run.stop();
}

/// As a clock leaves it that was set back by a minute after the last checkpoint.
fn set_clock_back(state: &Path) {
    let mut journal = Journal::open(state).unwrap();
    let mut last = journal.checkpoint().unwrap().unwrap();
    last.clock_offset_ns += 60_000_000_000;
    let record = crate::journal::Record { checkpoint: Some(last), ..Default::default() };
    journal.record(&record, 1).unwrap();
}

fn wish(run: &Running) -> Option<ReconcileReason> {
    Journal::open(&run.state).unwrap().remote("r", None).unwrap().reconcile
}

#[test]
fn a_clock_set_back_while_the_root_is_missing_causes_a_reconcile() {
    let world = World::new();
    let (root, away) = (world.path("root"), world.path("away"));
    let mut run = world.start();
    run.settle();
    for set_back in [false, true] {
        fs::rename(&root, &away).unwrap();
        run.hears("held", |m| matches!(m, FromWatcher::State(WatcherState::Held(_))));
        Journal::open(&run.state).unwrap().remote("r", None).unwrap();
        if set_back {
            set_clock_back(&run.state);
        }
        fs::rename(&away, &root).unwrap();
        run.watching();
        assert_eq!(wish(&run).is_some(), set_back, "{:?}", wish(&run));
    }
    assert!(wish(&run).unwrap().to_string().contains("clock was set back"));
    run.stop();
}

#[test]
fn a_clock_set_back_before_an_overflow_causes_a_reconcile() {
    let world = World::new();
    let run = world.start();
    Journal::open(&run.state).unwrap().remote("r", None).unwrap();
    run.settle();
    // Every checkpoint from now on looks as if the clock was set back after it.
    let db = rusqlite::Connection::open(run.state.join(crate::journal::FILE_NAME)).unwrap();
    let ahead = "CREATE TRIGGER ahead AFTER UPDATE ON checkpoint BEGIN UPDATE checkpoint SET state =
        json_set(state, '$.clock_offset_ns', json_extract(state, '$.clock_offset_ns') + 60000000000); END";
    db.execute_batch(ahead).unwrap();
    run.settle();
    assert_eq!(wish(&run), None);
    run.behind(|| run.overflow());
    let why = until("the wish", || wish(&run));
    assert!(why.to_string().contains("clock was set back"), "{why}");
    run.settle();
    run.stop();
}
