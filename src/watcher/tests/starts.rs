//! Starts, stops and overflows: what happened while nobody looked.

use super::*;

#[test]
fn an_overflow_causes_a_scan_from_the_checkpoint() {
    let world = World::new();
    let root = world.path("root");
    fs::create_dir_all(root.join("old/deep")).unwrap();
    let mut run = world.launch();
    run.watching();
    run.settle();
    // The watcher is gone while the queue overflows; the queue lives on here.
    drop(std::mem::replace(&mut run.side, Side::new(channel::pair().unwrap().0)));
    run.end();
    run.overflow();
    for n in 0..100 {
        fs::write(root.join(format!("f{n}")), "").unwrap();
    }
    fs::create_dir_all(root.join("new/deep")).unwrap();
    fs::write(root.join("new/deep/f"), "").unwrap();
    fs::write(root.join("old/deep/f"), "").unwrap();
    let seq = run.last();
    let mut run = world.launch();
    run.hears("a scan", |m| matches!(m, FromWatcher::State(WatcherState::Scanning)));
    run.watching();
    run.settle();
    let marks = run.since(seq);
    for path in ["f0", "f99", "new/deep/f", "old/deep/f"] {
        assert!(covered(&marks, &rel(path)), "{path}");
    }
    let seq = run.last();
    fs::write(root.join("new/deep/g"), "").unwrap();
    run.marked(seq, "new/deep/g");
    run.stop();
}

#[test]
fn changes_while_stopped_are_found_at_the_start() {
    let world = World::new();
    let root = world.path("root");
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::write(root.join("a/b/gone"), "").unwrap();
    let run = world.start();
    run.settle();
    run.stop();
    let world = World { queue: inotify::create().unwrap(), ..world };
    fs::write(root.join("a/b/new"), "x").unwrap();
    fs::remove_file(root.join("a/b/gone")).unwrap();
    let seq = Journal::open_read_only(&world.path("state")).unwrap().last_seq().unwrap();
    assert!(
        Journal::open_read_only(&world.path("state")).unwrap().checkpoint().unwrap().unwrap().clean
    );
    let run = world.start();
    let marks = run.since(seq);
    assert!(covered(&marks, &rel("a/b/new")) && covered(&marks, &rel("a/b/gone")), "{marks:?}");
    run.settle();
    assert!(!run.journal().checkpoint().unwrap().unwrap().clean);
    run.stop();
}

#[test]
fn an_interrupted_first_scan_loses_nothing() {
    let world = World::new();
    let root = world.path("root");
    for dir in 0..16 {
        fs::create_dir(root.join(format!("d{dir}"))).unwrap();
        for file in 0..1000 {
            fs::write(root.join(format!("d{dir}/{file}")), "").unwrap();
        }
    }
    let made = crate::sys::clock::file_ns();
    until("the next tick of file times", || (crate::sys::clock::file_ns() > made).then_some(()));
    let Running { side, mut thread, state, .. } = world.launch();
    until("a journal", || Journal::open_read_only(&state).ok().filter(|j| j.last_seq().is_ok()));
    // Its supervisor is gone: it leaves with its scan unfinished.
    drop(side);
    let thread = thread.take().unwrap();
    until("the end", || thread.is_finished().then_some(()));
    let world = World { queue: inotify::create().unwrap(), ..world };
    fs::write(root.join("d7/7"), "x").unwrap();
    let run = world.start();
    let marks = run.since(0);
    assert!(covered(&marks, &rel("d7/7")), "{:?}", marks.keys());
    // There is to be no first copy: what was there before the first start is nobody's business.
    assert!(marks.len() == 1, "{:?}", marks.keys());
    run.stop();
}

#[test]
fn a_journal_damaged_at_the_start_is_reported() {
    let world = World::new();
    world.start().stop();
    let db = world.path("state").join(crate::journal::FILE_NAME);
    for damage in [
        "UPDATE checkpoint SET state = '{'",
        "DELETE FROM checkpoint; INSERT INTO open VALUES ('no bytes')",
        "DELETE FROM open; INSERT INTO mount VALUES ('no bytes')",
    ] {
        rusqlite::Connection::open(&db).unwrap().execute_batch(damage).unwrap();
        let mut run = world.launch();
        run.hears(damage, |m| matches!(m, FromWatcher::Damaged(_)));
        assert!(!run.end(), "{damage}");
    }
}

#[test]
fn a_file_written_stopped_closed_and_started_is_marked() {
    use std::io::Write;
    let world = World::new();
    let run = world.start();
    let seq = run.last();
    let mut file = fs::File::create(run.root.join("w")).unwrap();
    file.write_all(b"x").unwrap();
    until("open", || run.journal().open_paths().unwrap().contains(&rel("w")).then_some(()));
    assert!(!run.since(seq).contains_key("w"), "not marked before it is closed");
    run.stop();
    drop(file);
    let world = World { queue: inotify::create().unwrap(), ..world };
    let run = world.start();
    run.marked(seq, "w");
    assert!(run.journal().open_paths().unwrap().is_empty());
    run.stop();
}

#[test]
fn a_journal_failing_at_the_start_is_reported_and_retried() {
    let world = World::new();
    let mut run = world.start();
    run.settle();
    drop(std::mem::replace(&mut run.side, Side::new(channel::pair().unwrap().0)));
    run.end();
    let db = rusqlite::Connection::open(run.state.join(crate::journal::FILE_NAME)).unwrap();
    let refuse =
        "CREATE TRIGGER full BEFORE UPDATE ON checkpoint BEGIN SELECT RAISE(ABORT, 'full'); END";
    db.execute_batch(refuse).unwrap();
    let world = World { queue: inotify::create().unwrap(), ..world };
    fs::write(run.root.join("while away"), "x").unwrap();
    let seq = run.last();
    let mut run = world.launch();
    run.hears(
        "refused",
        |m| matches!(m, FromWatcher::State(WatcherState::Refused(w)) if w.contains("full")),
    );
    // It has tried again since.
    std::thread::sleep(Duration::from_millis(1_500));
    run.listen();
    let states = |m: &FromWatcher| matches!(m, FromWatcher::State(_));
    assert!(!run.heard.iter().any(|m| states(m) && !format!("{m:?}").contains("Starting")));
    db.execute_batch("DROP TRIGGER full").unwrap();
    run.watching();
    run.marked(seq, "while away");
    run.stop();
}
