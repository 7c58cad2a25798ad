//! Mount points inside, a full state directory, too few watches.

use super::*;
use crate::help_topic::HelpTopic;
use std::os::unix::fs::MetadataExt;

#[test]
fn a_mount_point_inside_is_remembered_and_scanned_when_it_returns() {
    let world = World::new();
    let root = world.path("root");
    fs::create_dir(root.join("m")).unwrap();
    let Some(mounted) = Mounted::on(&root.join("m"), "size=1m") else { return };
    fs::write(root.join("m/f"), "x").unwrap();
    fs::create_dir_all(root.join("m/sub/deep")).unwrap();
    let mut run = world.start();
    until("a mount point", || (run.journal().mounts().unwrap() == [rel("m")]).then_some(()));
    run.settle();
    let seq = run.last();
    fs::write(root.join("m/f"), "y").unwrap();
    run.marked(seq, "m/f");
    run.settle();
    let seq = run.last();
    drop(mounted);
    run.hears(
        "degraded",
        |m| matches!(m, FromWatcher::State(WatcherState::Degraded(w)) if w.why.contains("release")),
    );
    run.settle();
    assert_eq!(run.journal().mounts().unwrap(), [rel("m")], "not what is below it");
    assert!(run.since(seq).keys().all(|p| p.starts_with("settle")), "{:?}", run.since(seq));
    let mounted = Mounted::on(&root.join("m"), "size=2m");
    assert_eq!(run.marked(seq, "m").scope, Scope::Tree);
    run.watching();
    run.settle();
    let seq = run.last();
    fs::write(root.join("m/g"), "y").unwrap();
    run.marked(seq, "m/g");
    drop(mounted);
    run.settle();
    run.stop();
    // Not mounted at the next start: held, not marked.
    let world = World { queue: inotify::create().unwrap(), ..world };
    let seq = Journal::open_read_only(&world.path("state")).unwrap().last_seq().unwrap();
    let mut run = world.launch();
    run.hears("degraded", |m| matches!(m, FromWatcher::State(WatcherState::Degraded(w)) if w.help == HelpTopic::NotMounted));
    run.settle();
    assert!(!run.since(seq).contains_key("m"));
    assert_eq!(run.journal().mounts().unwrap(), [rel("m")]);
    // Gone for good.
    run.side.send(&ToWatcher::AdoptRoot, vec![]).unwrap();
    run.watching();
    assert!(run.journal().mounts().unwrap().is_empty());
    run.stop();
}

#[test]
fn a_mount_after_the_first_scan_is_marked() {
    let world = World::new();
    fs::create_dir(world.path("root/m")).unwrap();
    fs::create_dir(world.path("root/n")).unwrap();
    let Some(_first) = Mounted::on(&world.path("root/n"), "size=1m") else { return };
    // What changed in the tick of a first start is not told from what changes after it, and file systems may be ahead of
    // their clock by one.
    let changed = |name: &str| {
        let meta = fs::metadata(world.path(name)).unwrap();
        meta.ctime() * 1_000_000_000 + meta.ctime_nsec()
    };
    let made = ["root", "root/m", "root/n"].map(changed).into_iter().max().unwrap();
    until("the next tick of file times", || (crate::sys::clock::file_ns() > made).then_some(()));
    let run = world.start();
    let marks = run.since(0);
    assert!(marks.is_empty(), "there is to be no first copy: {marks:?}");
    // Its supervisor is gone.
    let Running { side, mut thread, .. } = run;
    drop(side);
    let thread = thread.take().unwrap();
    until("the end", || thread.is_finished().then_some(()));
    let _mounted = Mounted::on(&world.path("root/m"), "size=1m");
    let world = World { queue: inotify::create().unwrap(), ..world };
    let run = world.start();
    assert_eq!(run.marked(0, "m").scope, Scope::Tree);
    assert!(!run.since(0).contains_key("n"));
    run.stop();
}

#[test]
fn a_full_journal_counts_as_an_overflow() {
    let world = World::new();
    let state = world.path("state");
    let Some(_mounted) = Mounted::on(&state, "size=16m") else { return };
    let run = world.start();
    run.settle();
    let seq = run.last();
    let ballast = vec![0u8; 4096];
    let mut file = fs::File::create(state.join("ballast")).unwrap();
    while std::io::Write::write_all(&mut file, &ballast).is_ok() {}
    let names: Vec<String> = (0..4_000).map(|n| format!("{n:0100}")).collect();
    names.iter().for_each(|n| fs::write(run.root.join(n), "x").unwrap());
    std::thread::sleep(Duration::from_millis(300));
    fs::write(run.root.join("last"), "x").unwrap();
    let before = run.since(seq).len();
    assert!(before < 4_000, "the state directory was not full");
    drop(file);
    fs::remove_file(state.join("ballast")).unwrap();
    run.marked(seq, "last");
    until("every name", || {
        let marks = run.since(seq);
        names.iter().all(|n| marks.contains_key(n)).then_some(())
    });
    run.settle();
    run.stop();
}
