//! Mount points inside a localpath, and file systems that are full: the slave's, and the one of the state.

use crate::common::fuse::Fuse;
use crate::common::namespace::{Mounted, with_private_mounts};
use crate::common::tree::Tree;
use crate::common::wait::{DEADLINE, holds_for, wait_for};
use crate::common::world::{Setup, World, populate, write};
use nix::sys::signal::Signal;
use rusqlite::Connection;
use serde_json::Value;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

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

/// True when the slave has everything below `dir` that it had.
fn keeps(w: &World, dir: &str, before: &Tree) -> bool {
    let now = Tree::read(&w.there(dir));
    before.names().iter().all(|name| now.names().contains(name))
}

#[test]
fn an_unresponsive_file_system_inside_is_held_and_the_rest_goes_on() {
    with_private_mounts(|| {
        let mut w = Setup::default().build();
        fs::create_dir(w.at("m")).unwrap();
        let Some(fuse) = Fuse::mount(&w.at("m")) else {
            eprintln!("SKIPPED: no FUSE here");
            return;
        };
        // The slave has what only a look into it could miss.
        write(&w.there("m/kept"), "kept");
        w.write("beside", "before");
        fuse.hang(true);
        w.instance.launch(&[]);
        let silent = |l: &Value| l["state"] == "degraded" && says(l, "m does not answer");
        w.wait_local("the mount point", silent);
        w.write("beside", "changed");
        w.write("d/new", "new");
        let came =
            |path: &str, text: &str| fs::read_to_string(w.there(path)).is_ok_and(|t| t == text);
        wait_for("the other files", DEADLINE, || came("beside", "changed") && came("d/new", "new"));
        let status = w.wait_local("the same", silent);
        assert_eq!(status["watcher"]["restarts"], 0, "{status}");
        let remote = &status["remotes"][0];
        assert!(remote["state"] != "backoff" && remote["pusher"]["restarts"] == 0, "{remote}");
        assert!(came("m/kept", "kept"));
        // It answers, and it is empty.
        fuse.hang(false);
        w.wait_local("everything", |l| l["state"] == "watching");
        wait_for("its content", DEADLINE, || !w.there("m/kept").exists());
        // While it runs.
        fuse.hang(true);
        w.wait_local("the mount point", silent);
        w.write("beside", "again");
        wait_for("the other files", DEADLINE, || came("beside", "again"));
        fuse.hang(false);
        w.wait_local("everything", |l| l["state"] == "watching");
    });
}

fn says(localpath: &Value, words: &str) -> bool {
    localpath["reason"].as_str().is_some_and(|reason| reason.contains(words))
}

#[test]
fn a_missing_mount_inside_deletes_nothing() {
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
        wait_for("a change in another directory", DEADLINE, || {
            w.there("d/dir000/beside it").exists()
        });
        holds_for("the slave's files", QUIET, || keeps(&w, "m", &before));

        // A full comparison and a start change nothing about that.
        let sync = w.instance.command(&["sync"]);
        println!("sync: {sync:?}");
        assert!(keeps(&w, "m", &before));
        w.instance.kill9();
        w.run(&["-r"]);
        w.write("d/dir000/after the start", "x");
        wait_for("a change in another directory", DEADLINE, || {
            w.there("d/dir000/after the start").exists()
        });
        holds_for("the slave's files", QUIET, || keeps(&w, "m", &before));

        // Nor does a journal that is lost.
        w.instance.kill9();
        let journal = w.journal();
        fs::remove_file(&journal).unwrap();
        for end in ["db-wal", "db-shm"] {
            let _ = fs::remove_file(journal.with_extension(end));
        }
        w.run(&["-r"]);
        w.write("d/dir000/after the loss", "x");
        wait_for("a change in another directory", DEADLINE, || {
            w.there("d/dir000/after the loss").exists()
        });
        holds_for("the slave's files", QUIET, || keeps(&w, "m", &before));

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

/// Takes the mount points as they are now.
fn release(w: &mut World) {
    let master = w.master.to_str().unwrap();
    assert!(w.instance.command(&["release", master]).status.success());
    w.wait_identical();
    w.wait_local("every directory to be watched", |l| l["state"] == "watching");
}

/// A directory of the master's own file system, and one of another, each mounted below the localpath at `m m`.
fn while_it_runs(own_file_system: bool) {
    let mut w = Setup { remote: ", max_delete: unlimited", ..Setup::default() }.build();
    let store = w.outside.join("store");
    fs::create_dir(&store).unwrap();
    let _store = (!own_file_system).then(|| Mounted::tmpfs(&store));
    populate(&store, 4, 5);
    populate(&w.at("m m"), 2, 2);
    populate(&w.at("d"), 2, 2);
    w.run(&[]);
    w.wait_identical();
    w.wait_in_sync();

    // No event reports the mount or the unmount: the file system stays mounted elsewhere.
    let mounted = Mounted::bind(&store, &w.at("m m"));
    let wait = w.instance.command(&["wait", "--timeout", "30s"]);
    assert!(wait.status.success() && w.there("m m/dir003/file000").exists(), "{wait:?}");
    w.wait_identical();
    w.write("m m/dir003/file000", "watched");
    w.wait_identical();
    w.wait_in_sync();
    let before = Tree::read(&w.there("m m"));
    drop(mounted);
    // The kernel reuses the number immediately.
    let elsewhere = w.outside.join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let _elsewhere = Mounted::bind(&store, &elsewhere);
    w.wait_local("the unmounted part", |l| {
        l["state"] == "degraded" && l["reason"].as_str().unwrap_or_default().contains("m m")
    });
    w.instance.command(&["sync"]);
    w.write("m m/dir000/file000", "not ours");
    w.write("d/dir000/beside it", "x");
    wait_for("a change in another directory", DEADLINE, || w.there("d/dir000/beside it").exists());
    holds_for("the slave's files", QUIET, || keeps(&w, "m m", &before));
    write(&store.join("dir001/while away"), "x");
    let mounted = Mounted::bind(&store, &w.at("m m"));
    w.wait_identical();
    w.wait_local("every directory to be watched", |l| l["state"] == "watching");

    // Another one over it, for a while.
    let over = Mounted::tmpfs(&w.at("m m"));
    w.write("m m/over", "it");
    w.wait_identical();
    drop(over);
    w.wait_identical();
    w.write("m m/dir003/file000", "watched again");
    w.wait_identical();

    // To another place, and back: the emptied directory is held.
    fs::create_dir(w.at("n")).unwrap();
    let mounted = mounted.moved_to(&w.at("n"));
    w.write("n/dir003/file001", "watched there");
    wait_for("the other place", DEADLINE, || {
        Tree::read(&w.there("n")).names() == Tree::read(&w.at("n")).names()
    });
    holds_for("the slave's files", QUIET, || keeps(&w, "m m", &before));
    let mounted = mounted.moved_to(&w.at("m m"));
    w.write("m m/dir003/file001", "watched here");
    w.wait_local("the other place", |l| l["reason"].as_str().is_some_and(|r| r.contains(": n;")));
    release(&mut w);

    // With the directory above it to another name: the old one is no mount point any more.
    fs::create_dir(w.at("up")).unwrap();
    drop(mounted);
    fs::rename(w.at("m m"), w.at("up/m m")).unwrap();
    let _mounted = Mounted::bind(&store, &w.at("up/m m"));
    release(&mut w);
    fs::rename(w.at("up"), w.at("renamed")).unwrap();
    w.write("up/m m/dir000", "a file now");
    w.wait_identical();
    w.write("renamed/m m/dir003/file000", "watched still");
    w.wait_identical();
    w.wait_in_sync();

    // And out of the localpath, for good.
    fs::rename(w.at("renamed"), w.outside.join("away")).unwrap();
    w.wait_identical();
    fs::create_dir_all(w.at("renamed/m m")).unwrap();
    w.write("renamed/m m/new", "x");
    w.wait_identical();
    w.wait_local("every directory to be watched", |l| l["state"] == "watching");
    w.instance.stop();
}

#[test]
fn a_mount_made_while_running_is_replicated_and_not_deleted() {
    with_private_mounts(|| while_it_runs(false));
}

#[test]
fn a_bind_mount_of_the_same_file_system_is_a_mount_point() {
    with_private_mounts(|| while_it_runs(true));
}

#[test]
fn a_mount_made_while_stopped_is_replicated_without_a_reconcile() {
    with_private_mounts(|| {
        let mut w = Setup { remote: ", max_delete: unlimited", ..Setup::default() }.build();
        let stores = ["one", "two"].map(|name| w.outside.join(name));
        let _stores = stores.each_ref().map(|store| {
            fs::create_dir(store).unwrap();
            let mounted = Mounted::tmpfs(store);
            populate(store, 2, 3);
            mounted
        });
        write(&stores[1].join("dir000/file000"), "of the other");
        fs::remove_file(stores[1].join("dir001/file001")).unwrap();
        fs::create_dir(w.at("m")).unwrap();
        // A scan looks back two seconds further than the checkpoint.
        let made = Instant::now();
        wait_for("files that are older", DEADLINE, || made.elapsed() > Duration::from_secs(3));
        w.run(&[]);
        w.wait_in_sync();
        w.instance.stop();
        for store in &stores {
            let mounted = Mounted::bind(store, &w.at("m"));
            w.run(&[]);
            w.wait_identical();
            assert!(!w.instance.log_text().contains("mounted"), "{}", w.instance.report());
            w.instance.stop();
            drop(mounted);
        }

        // Unmounted and changed meanwhile without an event: it is new again.
        w.run(&[]);
        w.wait_local("the unmounted part", |l| l["state"] == "degraded");
        write(&stores[1].join("dir000/file000"), "changed while away");
        let made = Instant::now();
        wait_for("files that are older", DEADLINE, || made.elapsed() > Duration::from_secs(3));
        w.write("beside it", "x");
        wait_for("a change in another directory", DEADLINE, || w.there("beside it").exists());
        w.instance.stop();
        let mounted = Mounted::bind(&stores[1], &w.at("m"));
        w.run(&[]);
        w.wait_identical();
        w.instance.stop();
        drop(mounted);

        // Mounted at another place: it is held where it was, which is gone.
        fs::create_dir(w.at("up")).unwrap();
        fs::rename(w.at("m"), w.at("up/m")).unwrap();
        let _mounted = Mounted::bind(&stores[1], &w.at("up/m"));
        let before = Tree::read(&w.there("m"));
        w.run(&["-r"]);
        w.wait_local("its old position", |l| {
            l["reason"].as_str().is_some_and(|r| r.contains(": m;"))
        });
        wait_for("the other place", DEADLINE, || w.there("up/m/dir000/file000").exists());
        holds_for("the slave's files", QUIET, || keeps(&w, "m", &before));
        release(&mut w);
        w.instance.stop();
    });
}

/// Between the last look at the tree and rsync's own. (Rule 6.)
#[test]
fn an_unmount_just_before_a_push_deletes_nothing() {
    with_private_mounts(|| {
        let mut w = Setup {
            remote: ", max_delete: unlimited",
            settings: "standby: off\n",
            ..Setup::default()
        }
        .build();
        let (store, armed, rsync) =
            (w.outside.join("store"), w.outside.join("armed"), w.outside.join("rsync"));
        populate(&store, 2, 3);
        fs::create_dir(w.at("m")).unwrap();
        let mounted = Mounted::bind(&store, &w.at("m"));
        let text = format!(
            "#!/bin/sh\ncase \"$*\" in *--delete-missing-args*) if [ -e '{0}' ]; then umount -l '{1}' && rm '{0}'; fi;; esac\nexec rsync \"$@\"\n",
            armed.display(),
            w.at("m").display()
        );
        fs::write(&rsync, text).unwrap();
        fs::set_permissions(&rsync, fs::Permissions::from_mode(0o755)).unwrap();
        let config = fs::read_to_string(w.instance.config()).unwrap();
        let config = config.replacen("params:", &format!("program: {rsync:?}, params:"), 1);
        fs::write(w.instance.config(), config).unwrap();
        w.write("gone", "x");
        w.run(&[]);
        w.wait_identical();
        w.wait_in_sync();
        let before = Tree::read(&w.there("m"));
        // A deletion, and changes at and below the mount point, in one batch.
        let pusher = w.instance.pusher(&w.remotes[0].name());
        pusher.signal(Signal::SIGSTOP);
        w.write("m/dir000/new", "x");
        w.write("m/dir001/file000", "changed");
        w.write("m/top", "x");
        fs::remove_file(w.at("gone")).unwrap();
        let journal = Connection::open(w.journal()).unwrap();
        let marked = "SELECT count(*) FROM change WHERE CAST(path AS TEXT) IN ('gone', 'm/top')";
        wait_for("marks", DEADLINE, || {
            journal.query_row(marked, [], |row| row.get(0)).is_ok_and(|n: u32| n == 2)
        });
        fs::write(&armed, "").unwrap();
        pusher.signal(Signal::SIGCONT);
        wait_for("the unmount", DEADLINE, || !armed.exists());
        wait_for("the deletion", DEADLINE, || !w.there("gone").exists());
        holds_for("the slave's files", QUIET, || keeps(&w, "m", &before));
        std::mem::forget(mounted);
        let _mounted = Mounted::bind(&store, &w.at("m"));
        w.wait_identical();
        w.instance.stop();
    });
}

/// Between the look at what is mounted and the look at the paths.
#[cfg(debug_assertions)]
#[test]
fn an_unmount_while_a_push_is_planned_deletes_nothing() {
    use crate::common::orders;
    use crate::common::procs::Proc;
    use syncsup::sys::fault_point::Point;
    if !orders::are_possible() {
        return;
    }
    with_private_mounts(|| {
        let mut w = Setup { remote: ", max_delete: unlimited", ..Setup::default() }.build();
        let (store, at) = (w.outside.join("store"), w.outside.join("orders"));
        orders::arm(&mut w.instance, &at);
        populate(&store, 2, 3);
        fs::create_dir(w.at("m")).unwrap();
        let mounted = Mounted::bind(&store, &w.at("m"));
        w.run(&[]);
        w.wait_identical();
        w.wait_in_sync();
        let before = Tree::read(&w.there("m"));
        let pusher = w.instance.pusher(&w.remotes[0].name());
        assert!(orders::give(&at, Point::PusherLooks, "stop 1"));
        // Only what is marked as deleted is deleted. The rest of the directory looks gone, too.
        fs::remove_file(w.at("m/dir001/file000")).unwrap();
        let state = || Proc::read(pusher.pid).map(|p| p.state);
        wait_for("the pusher to stop", DEADLINE, || {
            orders::taken(&at, Point::PusherLooks).is_some() && state() == Some('T')
        });
        drop(mounted);
        pusher.signal(Signal::SIGCONT);
        w.probe(0);
        assert!(keeps(&w, "m", &before), "deleted\n{}", w.instance.report());
        let _mounted = Mounted::bind(&store, &w.at("m"));
        w.wait_identical();
        w.instance.stop();
    });
}

#[test]
fn the_parents_of_a_missing_mount_point_stay() {
    with_private_mounts(|| {
        let mut w = Setup { remote: ", max_delete: unlimited", ..Setup::default() }.build();
        let store = w.outside.join("store");
        fs::create_dir(&store).unwrap();
        let _store = Mounted::tmpfs(&store);
        populate(&store, 2, 2);
        fs::create_dir_all(w.at("a/up/m")).unwrap();
        let mounted = Mounted::bind(&store, &w.at("a/up/m"));
        w.run(&[]);
        w.wait_identical();
        w.wait_in_sync();
        let before = Tree::read(&w.there("a/up/m"));
        drop(mounted);
        w.wait_local("the unmounted part", |l| l["state"] == "degraded");
        let stays = |w: &World, what: &str| {
            w.write(&format!("beside {what}"), "x");
            let there = w.there(&format!("beside {what}"));
            wait_for("a change in another directory", DEADLINE, || there.exists());
            holds_for(what, QUIET, || keeps(w, "a/up/m", &before));
        };
        fs::rename(w.at("a/up"), w.at("moved")).unwrap();
        stays(&w, "a directory that was moved");
        w.write("a/up", "a file");
        stays(&w, "a file");
        fs::remove_dir_all(w.at("a")).unwrap();
        w.instance.command(&["sync"]);
        stays(&w, "a directory that was removed");
        fs::create_dir_all(w.at("a/up/m")).unwrap();
        write(&store.join("dir000/file000"), "changed while away");
        let _mounted = Mounted::bind(&store, &w.at("a/up/m"));
        w.wait_identical();
        w.wait_local("every directory to be watched", |l| l["state"] == "watching");
        w.instance.stop();
    });
}

#[test]
fn a_directory_mounted_a_second_time_inside_is_scanned_there() {
    with_private_mounts(|| {
        let mut w = Setup { remote: ", max_delete: unlimited", ..Setup::default() }.build();
        w.write("common/d/f", "x");
        w.write("site/common/below", "x");
        let _mounted = Mounted::bind(&w.at("common"), &w.at("site/common"));
        w.run(&[]);
        w.wait_identical();
        let degraded = w.wait_local("the scanned directory", |l| l["state"] == "degraded");
        let why = degraded["reason"].as_str().unwrap_or_default();
        assert!(why.contains("common: also has another name: "), "{degraded}");
        // The walk ends, and marks nothing again.
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
        let _mounted = Mounted::tmpfs_with(&state, "size=12m,mode=700");
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
            log.contains("refuses marks") || log.contains("cannot use the journal")
        });
        // A pusher that starts meanwhile loses nothing either. It may exit until there is room again.
        let killed = w.instance.pusher(&w.remotes[0].name());
        killed.signal(Signal::SIGKILL);
        w.wait_remote(0, "another pusher", |r| r["pusher"]["restarts"].as_u64() > Some(0));
        holds_for("nothing is quarantined", Duration::from_secs(1), || {
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
fn a_full_disk_on_a_slave_is_reported_and_the_slave_catches_up() {
    with_private_mounts(|| {
        let mut w = Setup { remotes: 2, ..Setup::default() }.build();
        let disk = w.remotes[0].path();
        let _mounted = Mounted::tmpfs_with(&disk, "size=1m");
        w.run(&[]);
        populate(&w.master, 2, 2);
        w.wait_identical();
        w.wait_in_sync();
        // A leftover of a receiver that fails; no event reports it.
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

#[test]
fn with_one_file_system_the_slaves_files_below_a_mount_point_stay() {
    with_private_mounts(|| {
        let remote = ", max_delete: unlimited";
        let mut w = Setup { remote, params: "-ax", ..Setup::default() }.build();
        for dir in ["d/m", "late", "same"] {
            fs::create_dir_all(w.at(dir)).unwrap();
        }
        let here = Mounted::tmpfs(&w.at("d/m"));
        write(&w.at("d/m/sub/file"), "not replicated");
        // What the slave has there, under a name of here and under one of its own.
        write(&w.there("d/m/kept/file"), "kept");
        write(&w.there("d/m/sub/own"), "kept");
        let store = w.outside.join("store");
        populate(&store, 2, 2);
        let same = Mounted::bind(&store, &w.at("same"));
        w.run(&[]);
        // To rsync a directory of the same device is no other file system.
        wait_for("a bind mount", DEADLINE, || w.there("same/dir001/file001").exists());
        let stays = |w: &World, what: &str, dir: &str, before: &Tree| {
            w.write(&format!("beside {what}"), "x");
            let there = w.there(&format!("beside {what}"));
            wait_for(what, DEADLINE, || there.exists());
            w.wait_in_sync();
            assert_eq!(Tree::read(&w.there(dir)).names(), before.names(), "{what}");
        };
        let before = Tree::read(&w.there("d/m"));
        stays(&w, "a first copy", "d/m", &before);
        // Live events: a new name, a change, removed names, a directory moved in, a file moved out.
        write(&w.at("d/m/new"), "not replicated");
        write(&w.at("d/m/sub/file"), "changed");
        write(&w.at("d/m/sub/own"), "x");
        write(&w.at("d/m/kept/file"), "x");
        fs::create_dir(w.at("d/m/a")).unwrap();
        fs::rename(w.at("d/m/a"), w.at("d/m/b")).unwrap();
        stays(&w, "changes", "d/m", &before);
        fs::remove_file(w.at("d/m/sub/own")).unwrap();
        fs::remove_dir_all(w.at("d/m/kept")).unwrap();
        stays(&w, "deletions", "d/m", &before);
        // The entry of the mount point itself.
        fs::set_permissions(w.at("d/m"), fs::Permissions::from_mode(0o700)).unwrap();
        let mode = |path: &Path| fs::metadata(path).map(|m| m.permissions().mode() & 0o777).ok();
        wait_for("its mode", DEADLINE, || mode(&w.there("d/m")) == Some(0o700));
        // Comparisons of all, of a part above it, and of a part in it.
        for below in ["", "d", "d/m", "d/m/sub"] {
            let verify = w.instance.command(&["verify", "--repair", w.at(below).to_str().unwrap()]);
            assert!(verify.status.success(), "{below}: {verify:?}");
        }
        let sync = w.instance.command(&["sync"]);
        assert!(sync.status.success(), "{sync:?}");
        stays(&w, "comparisons", "d/m", &before);
        // While it runs: what the slave has there already stays.
        w.write("late/file", "replicated");
        wait_for("a file", DEADLINE, || w.there("late/file").exists());
        let late = Tree::read(&w.there("late"));
        let mounted = Mounted::tmpfs(&w.at("late"));
        write(&w.at("late/new"), "not replicated");
        w.write("wake", "x");
        stays(&w, "a mount while it runs", "late", &late);
        let sync = w.instance.command(&["sync"]);
        assert!(sync.status.success(), "{sync:?}");
        stays(&w, "a comparison after it", "late", &late);
        // The scrub, with separate parts for large directories.
        write(&w.at("d/m/sub/large"), vec![b'x'; 3 << 20]);
        w.instance.stop();
        let config = fs::read_to_string(w.instance.config()).unwrap();
        let rolling = "verify_schedule: {every: 1s, rate: 1MiB/s}\n";
        fs::write(w.instance.config(), format!("{rolling}{config}")).unwrap();
        w.run(&[]);
        let ended = |r: &Value| !r["verify"]["last"].is_null();
        let ended = w.wait_remote(0, "a scrub", ended);
        assert_eq!(ended["verify"]["last"]["repaired"], 0, "{ended}");
        stays(&w, "a rolling comparison", "d/m", &before);
        stays(&w, "the same", "late", &late);
        drop((mounted, same, here));
        w.instance.stop();
    });
}
