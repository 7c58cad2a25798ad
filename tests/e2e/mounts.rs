//! Mount points inside a localpath, and file systems that are full: the slave's, and the one of the state.

use crate::common::namespace::{Mounted, with_private_mounts};
use crate::common::tree::Tree;
use crate::common::wait::{DEADLINE, holds_for, wait_for};
use crate::common::world::{Setup, World, populate, write};
use nix::sys::signal::Signal;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// How long a slave is watched for deletions that must not come.
const QUIET: Duration = Duration::from_secs(2);

/// Fills a file system to its last byte.
pub fn fill(dir: &Path) {
    let mut file = File::create(dir.join("ballast")).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
}

pub fn empty_again(dir: &Path) {
    fs::remove_file(dir.join("ballast")).unwrap();
}

/// True when the slave has everything below `m` that it had.
fn keeps(w: &World, before: &Tree) -> bool {
    let now = Tree::read(&w.there("m"));
    before.names().iter().all(|name| now.names().contains(name))
}

#[test]
fn a_mount_point_inside_that_is_gone_deletes_nothing() {
    with_private_mounts(|| {
        let mut w = Setup { remote: ", max_delete: unlimited", ..Setup::default() }.build();
        let store = w.outside.join("store");
        fs::create_dir(&store).unwrap();
        fs::create_dir(w.at("m")).unwrap();
        let _store = Mounted::tmpfs(&store);
        let mounted = Mounted::bind(&store, &w.at("m"));
        populate(&w.at("m"), 4, 5);
        populate(&w.at("d"), 2, 2);
        w.run(&[]);
        w.wait_identical();
        w.wait_in_sync();
        let before = Tree::read(&w.there("m"));

        // Marks below it wait for the slave when it is unmounted.
        w.remotes[0].stop();
        w.write("m/dir000/file000", "changed before");
        fs::remove_file(w.at("m/dir000/file001")).unwrap();
        w.wait_remote(0, "marks", |r| r["waiting"].as_u64() > Some(1) || r["owed"] != 0);
        drop(mounted);
        w.remotes[0].start_again();
        w.write("d/dir000/beside it", "x");
        wait_for("a change beside it", DEADLINE, || w.there("d/dir000/beside it").exists());
        holds_for("the slave's files", QUIET, || keeps(&w, &before));

        // A full comparison and a start change nothing about that.
        let sync = w.instance.command(&["sync"]);
        println!("sync: {sync:?}");
        assert!(keeps(&w, &before));
        w.instance.kill9();
        w.run(&["-r"]);
        w.write("d/dir000/after the start", "x");
        wait_for("a change beside it", DEADLINE, || w.there("d/dir000/after the start").exists());
        holds_for("the slave's files", QUIET, || keeps(&w, &before));

        // Back again, changed meanwhile.
        write(&store.join("dir001/while away"), "x");
        fs::remove_dir_all(store.join("dir002")).unwrap();
        let _mounted = Mounted::bind(&store, &w.at("m"));
        w.wait_identical();
        w.write("m/dir003/file000", "watched again");
        w.wait_identical();
        w.instance.stop();
    });
}

#[test]
fn a_directory_that_is_mounted_a_second_time_inside_is_scanned_there() {
    with_private_mounts(|| {
        let mut w = Setup { remote: ", max_delete: unlimited", ..Setup::default() }.build();
        w.write("common/d/f", "x");
        w.write("site/common/below", "x");
        let _mounted = Mounted::bind(&w.at("common"), &w.at("site/common"));
        w.run(&[]);
        w.wait_identical();
        let degraded = w.wait_local("what is scanned", |l| l["state"] == "degraded");
        let why = degraded["reason"].as_str().unwrap_or_default();
        assert!(why.contains("common: stands at another name, too: "), "{degraded}");
        // The walk has an end, and marks nothing anew.
        w.wait_in_sync();
        let pushes = || w.wait_remote(0, "its pushes", |_| true)["pushes"].clone();
        let before = pushes();
        holds_for("nothing to push", QUIET, || pushes() == before);
        w.write("common/d/g", "x");
        w.write("site/beside", "x");
        wait_for("events go on", DEADLINE, || {
            w.there("site/beside").exists()
                && (w.there("common/d/g").exists() || w.there("site/common/d/g").exists())
        });
        // The other name comes within a minute.
        w.wait_identical_within(DEADLINE * 3);
        w.instance.stop();
    });
}

#[test]
fn a_full_disk_under_the_journal_loses_nothing() {
    with_private_mounts(|| {
        let mut w = Setup { remotes: 2, ..Setup::default() }.build();
        let state = w.instance.state_dir();
        fs::create_dir_all(&state).unwrap();
        let _mounted = Mounted::tmpfs_with(&state, "size=12m");
        populate(&w.master, 3, 3);
        // One slot: a pusher that could not use it must give it back.
        w.run(&["-n", "1"]);
        w.wait_identical();
        w.wait_in_sync();
        fill(&state);
        for n in 0..3_000 {
            w.write(&format!("many/{n:0100}"), "x");
        }
        fs::remove_dir_all(w.at("dir001")).unwrap();
        fs::rename(w.at("dir002"), w.at("renamed")).unwrap();
        wait_for("the journal to refuse", DEADLINE, || {
            let log = w.instance.log_text();
            log.contains("refuses marks") || log.contains("cannot be used now")
        });
        // A pusher that starts in the middle of it waits, too.
        let killed = w.instance.pusher(&w.remotes[0].name());
        killed.signal(Signal::SIGKILL);
        wait_for("another pusher", DEADLINE, || !killed.runs() && w.instance.pushers().len() == 2);
        holds_for("nothing is set aside", Duration::from_secs(1), || {
            !w.instance.log_text().contains("set aside")
        });
        w.write("last", "x");
        empty_again(&state);
        w.wait_identical_within(DEADLINE * 2);
        w.wait_in_sync();
        w.probe(0);
        w.probe(1);
        assert!(!w.instance.log_text().contains("set aside"), "{}", w.instance.report());
        w.instance.stop();
    });
}

#[test]
fn a_full_disk_under_a_slave_is_said_and_caught_up_with() {
    with_private_mounts(|| {
        let mut w = Setup { remotes: 2, ..Setup::default() }.build();
        let disk = w.remotes[0].path();
        let _mounted = Mounted::tmpfs_with(&disk, "size=1m");
        w.run(&[]);
        populate(&w.master, 2, 2);
        w.wait_identical();
        w.wait_in_sync();
        // What a receiver may leave that fails by itself; nothing else tells of it.
        let left = disk.join("dir000/.gone.AbCdEf");
        fs::write(&left, "").unwrap();
        fill(&disk);
        w.write("dir000/too much", vec![7; 200_000]);
        w.write("small", "x");
        let remote = w.wait_remote(0, "a full disk", |r| {
            r["reason"].as_str().is_some_and(|why| why.contains("No space left"))
        });
        assert_eq!(remote["state"], "backoff", "{remote}");
        assert!(remote["lag_ms"].as_u64() > Some(0), "{remote}");
        assert_eq!(w.instance.command(&["status"]).status.code(), Some(1));
        assert!(w.probe(1) < Duration::from_secs(5), "the other remote is held up");
        fs::write(w.at("dir000/file000"), "changed meanwhile").unwrap();
        fs::remove_file(w.at("dir000/file001")).unwrap();
        w.probe(1);
        empty_again(&disk);
        wait_for("its removal", DEADLINE * 2, || !left.exists());
        w.wait_identical_within(DEADLINE * 2);
        w.wait_in_sync();
        w.instance.stop();
    });
}
