//! The root goes away: nothing is deleted anywhere. A reconcile that would delete most of a remote is held.

use crate::common::namespace::{Mounted, with_private_mounts};
use crate::common::tree::Tree;
use crate::common::wait::{DEADLINE, holds_for};
use crate::common::world::{Setup, World, populate, write};
use std::fs;
use std::time::Duration;

/// How long a slave is watched for deletions that must not come.
const QUIET: Duration = Duration::from_secs(3);

fn filled() -> World {
    let w = World::start(2);
    populate(&w.master, 10, 20);
    w.wait_identical();
    w.wait_in_sync();
    w
}

fn slaves(w: &World) -> Vec<Tree> {
    w.slaves().iter().map(|s| Tree::read(s)).collect()
}

/// Waits until the localpath is held, and sees that the slaves stay as they were.
#[track_caller]
fn held_and_untouched(w: &World, before: &[Tree]) {
    let local = w.wait_local("held", |l| l["state"] == "held");
    assert!(local["reason"].is_string(), "no reason: {local}");
    assert_eq!(w.instance.command(&["status"]).status.code(), Some(1));
    holds_for("the slaves as they were", QUIET, || slaves(w) == before);
}

/// Waits until the localpath is watched again and changes come through.
#[track_caller]
fn back_to_work(w: &World) {
    w.wait_local("watching again", |l| l["state"] == "watching");
    w.write("dir003/after", format!("{:?}", std::time::Instant::now()));
    let mut files = fs::read_dir(w.at("dir004")).unwrap().flatten();
    fs::remove_file(files.next().expect("a file is left").path()).unwrap();
    w.wait_identical_within(DEADLINE * 2);
}

#[test]
fn a_root_moved_away_and_back_loses_nothing() {
    let w = filled();
    let (before, away) = (slaves(&w), w.outside.join("away"));
    fs::rename(&w.master, &away).unwrap();
    // Changes in what was moved are not the localpath's while it is away.
    fs::remove_dir_all(away.join("dir001")).unwrap();
    held_and_untouched(&w, &before);
    fs::rename(&away, &w.master).unwrap();
    back_to_work(&w);
}

#[test]
fn a_root_moved_away_with_waiting_changes_loses_nothing() {
    let w = filled();
    let away = w.outside.join("away");
    for i in 0..200 {
        w.write(&format!("dir000/more{i}"), "x");
    }
    fs::rename(&w.master, &away).unwrap();
    w.wait_local("held", |l| l["state"] == "held");
    let there = slaves(&w);
    assert!(there.iter().all(|t| t.len() >= 210), "something was deleted: {:?}", there[0].names());
    fs::rename(&away, &w.master).unwrap();
    back_to_work(&w);
}

#[test]
fn a_root_replaced_by_an_empty_directory_is_held() {
    let w = filled();
    let (before, away) = (slaves(&w), w.outside.join("away"));
    fs::rename(&w.master, &away).unwrap();
    fs::create_dir(&w.master).unwrap();
    w.write("in the wrong root", "x");
    held_and_untouched(&w, &before);
    fs::remove_dir_all(&w.master).unwrap();
    fs::rename(&away, &w.master).unwrap();
    back_to_work(&w);
}

#[test]
fn a_replaced_root_is_taken_over_after_a_release() {
    let w = filled();
    fs::rename(&w.master, w.outside.join("away")).unwrap();
    // Most of the old tree, under another inode.
    populate(&w.master, 9, 20);
    w.wait_local("held", |l| l["state"] == "held");
    let release = w.instance.command(&["release", w.master.to_str().unwrap()]);
    assert!(release.status.success(), "{release:?}");
    w.wait_identical_within(DEADLINE * 2);
    back_to_work(&w);
    let log = w.instance.log_text();
    let adopted: Vec<&str> = log.lines().filter(|line| line.contains("taken as it is")).collect();
    assert!(adopted.iter().all(|line| line.contains("INFO")), "no trouble: {adopted:?}");
    assert!(!adopted.is_empty());
}

#[test]
fn a_root_replaced_while_stopped_is_held() {
    let mut w = filled();
    let (before, away) = (slaves(&w), w.outside.join("away"));
    w.instance.stop();
    fs::rename(&w.master, &away).unwrap();
    fs::create_dir(&w.master).unwrap();
    w.instance.launch(&[]);
    held_and_untouched(&w, &before);
    fs::remove_dir(&w.master).unwrap();
    fs::rename(&away, &w.master).unwrap();
    back_to_work(&w);
}

#[test]
fn a_deleted_root_is_held() {
    let w = filled();
    // What is deleted before the root itself goes is deleted on the slaves too: rightly. The end is a hold.
    fs::remove_dir_all(&w.master).unwrap();
    let local = w.wait_local("held", |l| l["state"] == "held");
    assert!(local["reason"].is_string());
    assert!(w.slaves().iter().all(|s| s.is_dir()));
}

#[test]
fn an_unmounted_root_is_held() {
    with_private_mounts(|| {
        let mut w = Setup { remotes: 2, ..Setup::default() }.build();
        let store = w.outside.join("store");
        fs::create_dir(&store).unwrap();
        let _store = Mounted::tmpfs(&store);
        // The same file system, root directory included, comes back with every bind mount.
        let mounted = Mounted::bind(&store, &w.master);
        populate(&w.master, 10, 20);
        w.run(&[]);
        w.wait_identical();
        w.wait_in_sync();
        let before = slaves(&w);

        drop(mounted);
        held_and_untouched(&w, &before);
        w.instance.stop();
        w.instance.launch(&[]);
        held_and_untouched(&w, &before);
        // Written to the store meanwhile: a scan finds it.
        write(&store.join("dir005/while away"), "x");
        let mounted = Mounted::bind(&store, &w.master);
        back_to_work(&w);

        // In the middle of changes.
        let before = slaves(&w);
        populate(&w.at("many"), 20, 20);
        drop(mounted);
        w.wait_local("held", |l| l["state"] == "held");
        let stayed =
            |now: &Tree, before: &Tree| before.names().iter().all(|n| now.names().contains(n));
        assert!(slaves(&w).iter().zip(&before).all(|(now, before)| stayed(now, before)));
        let _mounted = Mounted::bind(&store, &w.master);
        back_to_work(&w);
        w.instance.stop();
    });
}

#[test]
fn a_root_whose_file_system_is_gone_is_held() {
    with_private_mounts(|| {
        let mut w = Setup { remotes: 2, ..Setup::default() }.build();
        let mounted = Mounted::tmpfs(&w.master);
        populate(&w.master, 10, 20);
        w.run(&[]);
        w.wait_identical();
        w.wait_in_sync();
        let before = slaves(&w);
        // The kernel drops every watch now, one by one.
        drop(mounted);
        held_and_untouched(&w, &before);
        // An empty file system in its place is another root, though it may well have the same device and inode
        // numbers. Whether the localpath is held or its remotes are, by the guard: nothing is deleted.
        let _mounted = Mounted::tmpfs(&w.master);
        w.wait_local("held", |l| {
            let remotes =
                l["remotes"].as_array().is_some_and(|r| r.iter().all(|r| r["state"] == "held"));
            l["state"] == "held" || remotes
        });
        holds_for("the slaves as they were", QUIET, || slaves(&w) == before);
        w.instance.stop();
    });
}

#[test]
fn a_mount_inside_that_is_gone_for_good_can_be_released() {
    with_private_mounts(|| {
        let mut w = Setup { remotes: 2, ..Setup::default() }.build();
        populate(&w.master, 6, 10);
        fs::create_dir(w.at("disk")).unwrap();
        let mounted = Mounted::tmpfs(&w.at("disk"));
        populate(&w.at("disk"), 2, 10);
        w.run(&[]);
        w.wait_identical();
        w.wait_in_sync();
        let before = slaves(&w);

        drop(mounted);
        let local = w.wait_local("degraded", |l| l["state"] == "degraded");
        let root = w.master.to_str().unwrap().to_owned();
        let what_to_do = format!(
            "disk; mount it again to continue; if it is gone for good, run syncsup release {root}"
        );
        let reason = local["reason"].as_str().unwrap();
        assert!(reason.contains(&what_to_do), "{reason}");
        let log = w.instance.log_text();
        assert!(log.contains(&what_to_do), "{log}");
        holds_for("the slaves as they were", QUIET, || slaves(&w) == before);
        // Not forgotten over a restart.
        w.instance.stop();
        w.run(&[]);
        w.wait_local("degraded", |l| l["state"] == "degraded");

        let release = w.instance.command(&["release", &root]);
        assert!(release.status.success(), "{release:?}");
        w.wait_identical_within(DEADLINE * 2);
        w.wait_local("watching", |l| l["state"] == "watching" && l["reason"].is_null());
        back_to_work(&w);
        w.instance.stop();
    });
}

#[test]
fn a_stopped_instance_keeps_no_file_system_busy() {
    with_private_mounts(|| {
        let mut w = Setup::default().build();
        let mounted = Mounted::tmpfs(&w.master);
        populate(&w.master, 2, 2);
        w.run(&[]);
        w.wait_identical();
        w.wait_in_sync();
        w.instance.stop();
        mounted.unmount_unless_busy().unwrap();
    });
}

#[test]
fn the_guard_holds_a_reconcile_that_would_delete_most_of_a_remote() {
    let mut w = Setup { remotes: 2, ..Setup::default() }.build();
    // The first remote is far ahead, the second nearly equal.
    populate(&w.master, 1, 10);
    populate(&w.remotes[0].path(), 30, 10);
    populate(&w.remotes[1].path(), 1, 12);
    let before = Tree::read(&w.remotes[0].path());
    w.run(&["-r"]);
    let held = w.wait_remote(0, "held by the guard", |r| r["state"] == "held");
    // 29 directories and 290 files; and perhaps the temporary file of a push that ended just then.
    let why = held["reason"].as_str().unwrap_or_default();
    let count = why.split(' ').find_map(|word| word.parse().ok()).unwrap_or(0);
    assert!((319..330).contains(&count), "no count in the reason: {held}");
    holds_for("the remote as it was", QUIET, || {
        let now = Tree::read(&w.remotes[0].path());
        before.names().iter().all(|name| now.names().contains(name))
    });
    // Events go on.
    w.probe(1);
    w.probe(0);
    let other = w.remotes[1].path();
    crate::common::world::wait_identical(&w.instance, &w.master, &[&other], DEADLINE);
    assert_eq!(w.instance.command(&["status"]).status.code(), Some(1));

    let name = w.remotes[0].name();
    let show = w.instance.command(&["release", "--show", &name]);
    let said = String::from_utf8_lossy(&show.stdout);
    assert!(show.status.success(), "{show:?}");
    assert_eq!(said.matches("  would be deleted  ").count(), 319, "{said}");
    assert!(
        said.contains("  would be deleted  dir029/\n") && said.ends_with("  319 deletions\n"),
        "{said}"
    );
    assert!(w.there("dir029").exists(), "only shown");
    assert_eq!(w.instance.command(&["release", "--show", "no::such"]).status.code(), Some(2));

    let release = w.instance.command(&["release", &name]);
    assert!(release.status.success(), "{release:?}");
    let said = String::from_utf8_lossy(&release.stdout).into_owned();
    assert!(said.contains(&format!(": approved: {count} deletions")), "{said}");
    w.wait_identical();
    w.wait_in_sync();
}
