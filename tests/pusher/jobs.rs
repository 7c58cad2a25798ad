//! The lanes of what a comparison of everything found, in each other's way and in that of marks.

use super::bench::{Bench, DEADLINE, WRITTEN, localpath};
use super::marks::{copied, first_copy_at, slow_first_copy};
use crate::rsync::rig::{Rig, make};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use syncsup::journal::{Events, Journal, Scope};
use syncsup::message::ToPusher;
use syncsup::supervisor::slots::SlotPool;

/// A mark that waits for a portion stops waiting when the portion is given up.
#[test]
fn a_hold_during_a_portion_frees_the_marks_that_wait_for_it() {
    let rig = Rig::new(Path::new("rsync"));
    let mut bench = slow_first_copy(&rig, &"one".repeat(500));
    make(&rig.src(), ["z0/new"], "new");
    bench.mark(&[("z0/new", Scope::Entry, WRITTEN)]);
    let name = rig.remote.name();
    let journal = Journal::open_read_only(&bench.state).unwrap();
    let put_off = || journal.due(&name, i64::MAX / 2, 10).unwrap().len() == 1;
    bench.until("put off", |_| put_off());
    bench.control.send(&ToPusher::Hold(Some("unmounted".into())), vec![]).unwrap();
    bench.until("held", |s| s.reason.as_deref() == Some("unmounted"));
    bench.control.send(&ToPusher::Hold(None), vec![]).unwrap();
    let new = rig.dst().join("z0/new");
    bench.until("progress", |_| new.exists());
}

/// The first portion of a first copy holds the root itself: no mark waits for it.
#[test]
fn marks_are_pushed_beside_the_first_portion() {
    let rig = Rig::new(Path::new("rsync"));
    let mut bench = slow_first_copy(&rig, &"one".repeat(500));
    make(&rig.src(), ["new/a"], "new");
    bench.mark(&[
        ("new", Scope::Entry, Events::CREATE | Events::DIR),
        ("new/a", Scope::Entry, WRITTEN),
    ]);
    let new = rig.dst().join("new/a");
    bench.until("the new one", |_| new.exists());
    let journal = Journal::open_read_only(&bench.state).unwrap();
    let left = journal.owed_in_bulk(&rig.remote.name(), true).unwrap();
    assert!(left > 25_000, "only after the first portion: {left}");
}

/// What is changed again and again while a portion has it in hand is put off each time; the other lane does not look
/// each time for a portion that it could push.
#[test]
fn marks_under_a_running_portion_do_not_wake_the_other_lane() {
    let rig = Rig::new(Path::new("rsync"));
    let many: Vec<String> = (0..2_000).map(|n| format!("d/f{n}")).collect();
    make(&rig.src(), &many, &"one".repeat(1_000));
    let mut remote = rig.remote.clone();
    remote.peer.params = vec!["-a".into(), "--bwlimit=200".into()];
    let mut bench = Bench::with(&rig, localpath(&rig), remote, None);
    let journal = Journal::open_read_only(&bench.state).unwrap();
    let name = rig.remote.name();
    bench.until("a copy under way", |_| rig.dst().join("d/f0").exists());
    let before = bench.wants;
    for _ in 0..40 {
        bench.mark(&[("d/f1", Scope::Entry, WRITTEN)]);
        bench.until("put off", |_| journal.backlog(&name).unwrap().waiting == 0);
    }
    let wants = bench.wants - before;
    assert!((40..50).contains(&wants), "{wants} slots for 40 marks");
}

/// A large directory that appears meanwhile needs more than one portion.
#[test]
fn a_large_directory_added_during_a_first_copy_is_copied_beside_it() {
    let rig = Rig::new(Path::new("rsync"));
    // So slow that a busy machine copies the directory in time, too.
    let mut bench = first_copy_at(&rig, &"one".repeat(500), 150);
    let many: Vec<String> = (0..12_000).map(|n| format!("new/f{n}")).collect();
    make(&rig.src(), &many, "one");
    bench.mark(&[("new", Scope::Tree, Events::MOVE | Events::DIR)]);
    let new = rig.dst().join("new");
    let count = || fs::read_dir(&new).map_or(0, Iterator::count);
    bench.until("everything", |_| count() == 12_000);
    let left = bench.journal.owed_in_bulk(&rig.remote.name(), true).unwrap();
    assert!(left > 20_000, "only after the first copy: {left}");
}

/// With one slot and endless marks, both the marks and the first copy continue.
#[test]
fn a_first_copy_and_endless_marks_share_one_slot() {
    let rig = Rig::new(Path::new("rsync"));
    let mut bench = Bench::start(&rig, localpath(&rig), None);
    bench.identical(&rig);
    bench.slots = SlotPool::new(1);
    let many: Vec<String> = (0..25_000).map(|n| format!("z{}/f{n}", n / 1_000)).collect();
    make(&rig.src(), &many, "one");
    bench.control.send(&ToPusher::Reconcile("asked for".to_owned().into()), vec![]).unwrap();
    // Marks without end: what takes every slot from the copy never lets it end, however long that is waited for.
    let (end, mut n) = (Instant::now() + DEADLINE, 0);
    while Instant::now() < end && copied(&rig) < 25 {
        n += 1;
        let name = format!("m{}", n % 10);
        make(&rig.src(), [&name], "one");
        bench.mark(&[(&name, Scope::Entry, WRITTEN)]);
        let until = Instant::now() + Duration::from_millis(5);
        bench.until("a moment", |_| Instant::now() > until);
    }
    assert_eq!(copied(&rig), 25, "while {n} marks came");
    bench.identical(&rig);
}
