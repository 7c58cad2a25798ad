//! What is excluded, and what the delete guard holds.

use super::bench::{Bench, DEADLINE, WRITTEN, localpath, synced};
use crate::rsync::rig::{Rig, make, receivers};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use syncsup::journal::{Events, Scope};
use syncsup::message::{PusherState, ToPusher};

#[test]
fn excluded_paths_are_neither_sent_nor_deleted() {
    for program in receivers() {
        let rig = Rig::new(&program);
        make(&rig.src(), ["d/a", "d/b.tmp", "e/x"], "one");
        make(&rig.dst(), ["d/keep.tmp", "e/sub/keep.tmp", "e/sub/gone", "cache/x"], "theirs");
        let mut path = localpath(&rig);
        path.filter.exclude_glob = vec!["*.tmp".into(), "/cache/".into()];
        let mut bench = Bench::start(&rig, path, None);
        let there = |name: &str| rig.dst().join(name).exists();
        bench.until("the first copy", |s| {
            there("d/a") && there("e/x") && !there("e/sub/gone") && s.state == PusherState::InSync
        });
        fs::remove_dir_all(rig.src().join("e")).unwrap();
        bench.mark(&[
            ("e/x", Scope::Entry, Events::DELETE),
            ("e", Scope::Entry, Events::DELETE | Events::DIR),
        ]);
        bench.until("e is emptied", |s| !there("e/x") && s.state == PusherState::InSync);
        for kept in ["d/keep.tmp", "e/sub/keep.tmp", "cache/x"] {
            assert!(there(kept), "{kept} is excluded");
        }
        assert!(!there("d/b.tmp"));
        bench.stop();
    }
}

#[test]
fn nothing_is_deleted_when_delete_is_off() {
    let rig = Rig::new(Path::new("rsync"));
    make(&rig.src(), ["a", "d/b"], "one");
    make(&rig.dst(), ["stale"], "old");
    let mut path = localpath(&rig);
    path.inotify.delete = false;
    let mut bench = Bench::start(&rig, path, None);
    bench.until("the first copy", |s| {
        rig.dst().join("d/b").exists() && s.state == PusherState::InSync
    });
    fs::remove_dir_all(rig.src().join("d")).unwrap();
    make(&rig.src(), ["z"], "one");
    bench.mark(&[("d", Scope::Tree, Events::MOVE | Events::DIR), ("z", Scope::Entry, WRITTEN)]);
    bench.until("z", |s| rig.dst().join("z").exists() && s.state == PusherState::InSync);
    assert!(rig.dst().join("stale").exists() && rig.dst().join("d/b").exists());
    bench.stop();
}

#[test]
fn a_reconcile_that_would_delete_most_is_held_until_it_is_released() {
    let rig = Rig::new(Path::new("rsync"));
    make(&rig.src(), ["a"], "one");
    let names: Vec<String> = (0..150).map(|n| format!("d/{n}")).collect();
    make(&rig.dst(), &names, "old");
    let mut bench = Bench::start(&rig, localpath(&rig), None);
    bench.until("held", |s| s.state == PusherState::Held);
    assert!(
        bench.status.reason.as_ref().unwrap().contains("would delete 151"),
        "{:?}",
        bench.status
    );
    assert!(rig.dst().join("d/149").exists());
    bench.control.send(&ToPusher::Release, vec![]).unwrap();
    bench.identical(&rig);
    bench.stop();
}

#[test]
fn a_release_before_the_hold_approves_nothing() {
    let (rig, mut bench) = synced(["a"]);
    bench.control.send(&ToPusher::Release, vec![]).unwrap();
    let names: Vec<String> = (0..150).map(|n| format!("stray/{n}")).collect();
    make(&rig.dst(), &names, "old");
    bench.request_reconcile("asked");
    bench.until("held", |s| s.state == PusherState::Held);
    assert!(rig.dst().join("stray/149").exists());
    bench.control.send(&ToPusher::Release, vec![]).unwrap();
    bench.identical(&rig);
    // Only once.
    make(&rig.dst(), &names, "old");
    bench.request_reconcile("asked");
    bench.until("held again", |s| s.state == PusherState::Held);
    bench.stop();
}

#[test]
fn directories_with_new_marks_are_compared_while_the_guard_holds() {
    let (rig, mut bench) = synced(["a", "c/d/x"]);
    let names: Vec<String> = (0..150).map(|n| format!("stray/{n}")).collect();
    make(&rig.dst(), &names, "old");
    bench.request_reconcile("asked");
    bench.until("held", |s| s.state == PusherState::Held);
    // A directory moved in, and one swapped at its name; what a scan finds waits.
    make(&rig.src(), ["moved/in/y", "new/z", "scanned/s"], "two");
    fs::rename(rig.src().join("c"), rig.src().join("old")).unwrap();
    fs::rename(rig.src().join("new"), rig.src().join("c")).unwrap();
    let moved = Events::MOVE | Events::DIR;
    bench.mark(&[
        ("moved", Scope::Tree, moved),
        ("old", Scope::Tree, moved),
        ("c", Scope::Tree, moved | Events::DELETE),
        ("scanned", Scope::Tree, Events::SCAN | Events::DIR),
    ]);
    let there = |name: &str| rig.dst().join(name).exists();
    bench.until("the marked directories", |s| {
        there("moved/in/y") && there("old/d/x") && there("c/z") && !there("c/d") && s.waiting == 0
    });
    assert!(there("stray/149") && !there("scanned/s"));
    assert_eq!(bench.status.state, PusherState::Held);
    bench.control.send(&ToPusher::Release, vec![]).unwrap();
    bench.identical(&rig);
    bench.stop();
}

#[test]
fn the_guard_counts_files_created_by_pushes() {
    let names = |from: usize, to: usize| (from..to).map(|n| format!("d/{n}")).collect::<Vec<_>>();
    let (rig, mut bench) = synced(names(0, 200));
    make(&rig.src(), names(200, 300), "two");
    let marks = names(200, 300);
    let marks: Vec<_> = marks.iter().map(|name| (name.as_str(), Scope::Entry, WRITTEN)).collect();
    bench.mark(&marks);
    bench.identical(&rig);
    // Less than half of the files now, more than all files at first.
    for name in names(0, 140) {
        fs::remove_file(rig.src().join(name)).unwrap();
    }
    bench.mark(&[("d", Scope::Tree, Events::SCAN | Events::DIR)]);
    bench.identical(&rig);
    let entries = |bench: &mut Bench, rig: &Rig| {
        bench.journal.remote(&rig.remote.name(), None).unwrap().entries.unwrap()
    };
    // The push is settled a moment after its files are there.
    let end = Instant::now() + DEADLINE;
    while entries(&mut bench, &rig) != 162 && Instant::now() < end {
        let until = Instant::now() + Duration::from_millis(20);
        bench.until("a moment", |_| Instant::now() > until);
    }
    assert_eq!(entries(&mut bench, &rig), 162, "160 files, d and the root");
    for name in names(140, 260) {
        fs::remove_file(rig.src().join(name)).unwrap();
    }
    bench.mark(&[("d", Scope::Tree, Events::SCAN | Events::DIR)]);
    bench.until("held", |s| s.state == PusherState::Held);
    assert!(bench.status.reason.as_ref().unwrap().contains("120 of 162"), "{:?}", bench.status);
    bench.control.send(&ToPusher::Release, vec![]).unwrap();
    bench.identical(&rig);
    bench.stop();
}
