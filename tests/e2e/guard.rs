//! The delete guard: an accident never empties a remote, and a release approves what was shown.

use super::common::script::slow_to_tell;
use super::common::tree::Tree;
use super::common::wait::{DEADLINE, wait_for};
use super::common::world::{Setup, World};
use rusqlite::Connection;
use serde_json::Value;
use std::fs;
use std::path::Path;

fn held(remote: &Value) -> bool {
    remote["state"] == "held" && remote["reason"].as_str().is_some_and(|r| r.contains("delete"))
}

fn release(w: &World) {
    let release = w.instance.command(&["release", &w.remotes[0].name()]);
    assert!(release.status.success(), "{release:?}");
}

/// Removes everything in a directory, the directory itself not.
fn empty(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        let gone = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        gone.unwrap();
    }
}

/// The files of the slave.
fn files(w: &World) -> usize {
    Tree::read(&w.remotes[0].path()).files()
}

/// An instance with this many files here and there, stopped.
fn stopped(setup: Setup, files: usize) -> World {
    stopped_with(setup, (0..files).map(|n| format!("d{}/f{n}", n % 5)))
}

fn stopped_with(setup: Setup, files: impl Iterator<Item = String>) -> World {
    let mut w = setup.start();
    files.for_each(|file| w.write(&file, "one"));
    w.wait_identical();
    w.wait_in_sync();
    w.instance.stop();
    w
}

#[test]
fn a_localpath_emptied_while_stopped_empties_no_remote_without_a_release() {
    type Emptied = fn(&World);
    let ways: [(&str, usize, Emptied); 5] = [
        ("nothing is left", 60, |w| empty(&w.master)),
        ("one file was there", 1, |w| empty(&w.master)),
        ("a file system was just made", 7, |w| {
            empty(&w.master);
            fs::create_dir(w.at("lost+found")).unwrap();
        }),
        ("only directories are left", 30, |w| {
            fs::read_dir(&w.master).unwrap().flatten().for_each(|dir| empty(&dir.path()));
        }),
        ("only excluded paths are left", 40, |w| {
            empty(&w.master);
            w.write("cache/x", "excluded");
        }),
    ];
    for (what, many, emptied) in ways {
        let settings = "filter: {exclude_glob: [/cache/]}\n";
        let mut w = stopped(Setup { settings, ..Setup::default() }, many);
        let before = files(&w);
        emptied(&w);
        w.run(&[]);
        w.wait_remote(0, what, held);
        assert_eq!(files(&w), before, "{what}");
        // What changes now goes on being pushed.
        w.write("new", "new");
        wait_for("a new file beside the held deletions", DEADLINE, || w.there("new").exists());
        assert_eq!(files(&w), before + 1, "{what}");
        release(&w);
        wait_for("the released localpath", DEADLINE, || !w.there("d0/f0").exists());
    }
}

#[test]
fn an_empty_localpath_empties_no_remote_by_a_first_copy_or_a_sync() {
    for max_delete in ["", ", max_delete: 1000"] {
        let mut w = Setup { remote: max_delete, ..Setup::default() }.build();
        fs::create_dir(w.there("d")).unwrap();
        (0..3).for_each(|n| fs::write(w.there(&format!("d/{n}")), "theirs").unwrap());
        w.run(&[]);
        w.wait_remote(0, "held at the first copy", held);
        assert!(w.there("d/2").exists());
        release(&w);
        w.wait_identical();
        fs::write(w.there("stray"), "theirs").unwrap();
        w.instance.command(&["sync"]);
        w.wait_remote(0, "held by sync", held);
        assert!(w.there("stray").exists());
    }
    // What a slave has of its own makes way for more than that.
    let mut w = Setup::default().build();
    fs::write(w.there("welcome.html"), "theirs").unwrap();
    w.write("index.html", "ours");
    w.write("about.html", "ours");
    w.run(&[]);
    w.wait_identical();
}

/// `sync` compares again, and so ends the hold if the master was repaired, whatever stopped meanwhile.
#[test]
fn a_root_that_was_repaired_elsewhere_and_released_ends_the_hold() {
    let file = |n: usize| format!("d/f{n}");
    let mut w = stopped_with(Setup::default(), (0..300).map(file));
    fs::create_dir(w.outside.join("repaired")).unwrap();
    fs::rename(w.at("d"), w.outside.join("repaired/d")).unwrap();
    w.run(&[]);
    w.wait_remote(0, "held", held);
    fs::rename(&w.master, w.outside.join("old")).unwrap();
    fs::rename(w.outside.join("repaired"), &w.master).unwrap();
    w.wait_local("another directory", |local| local["state"] == "held");
    let said = w.instance.command(&["release", w.master.to_str().unwrap()]);
    assert!(said.status.success(), "{said:?}");
    // The release approves no deletion. It only has everything compared.
    w.wait_in_sync();
    assert_eq!(files(&w), 300);
    w.instance.stop();
}

#[test]
fn a_sync_after_the_master_was_repaired_ends_the_hold() {
    let file = |n: usize| format!("d/f{n}");
    let mut w = stopped_with(Setup::default(), (0..300).map(file));
    fs::rename(w.at("d"), w.outside.join("d")).unwrap();
    w.run(&[]);
    w.wait_remote(0, "held", held);
    // Nothing is repaired yet.
    let said = w.instance.command(&["sync"]);
    assert_eq!(said.status.code(), Some(1), "{said:?}");
    w.wait_remote(0, "held again", held);
    w.instance.kill9();
    w.run(&[]);
    w.wait_remote(0, "held after a restart", held);
    fs::rename(w.outside.join("d"), w.at("d")).unwrap();
    let said = w.instance.command(&["sync"]);
    assert_eq!(said.status.code(), Some(0), "{said:?}");
    w.wait_in_sync();
    assert_eq!(files(&w), 300);
    w.instance.stop();
    w.run(&[]);
    w.wait_in_sync();
    let status = w.wait_remote(0, "no hold in the journal", |r| r["state"] == "in_sync");
    assert_eq!(status["held_deletions"], Value::Null, "{status}");
}

#[test]
fn a_release_after_a_restart_approves_only_what_was_shown() {
    // In one directory: a scan beside other load marks several at different times.
    let file = |n: usize| format!("d/f{n}");
    let mut w = stopped_with(Setup::default(), (0..300).map(file));
    (0..200).for_each(|n| fs::remove_file(w.at(&file(n))).unwrap());
    w.run(&[]);
    let shown = w.wait_remote(0, "held", held);
    assert!(shown["reason"].as_str().unwrap().contains("delete 200 of"), "{shown}");
    w.instance.kill9();
    (200..260).for_each(|n| fs::remove_file(w.at(&file(n))).unwrap());
    w.run(&[]);
    w.wait_remote(0, "still held", held);
    release(&w);
    let more = w.wait_remote(0, "held with the new number", |r| {
        r["reason"].as_str().is_some_and(|r| r.contains("delete 260 of"))
    });
    assert!(held(&more) && w.there("d/f0").exists() && w.there("d/f255").exists(), "{more}");
    release(&w);
    w.wait_identical();
}

/// The known number of entries is too high where two pushes created a name at the same time.
#[test]
fn the_guard_counts_no_more_entries_than_are_here_or_would_be_deleted() {
    let mut w = stopped_with(Setup::default(), (0..300).map(|n| format!("d/f{n}")));
    let journal = Connection::open(w.journal()).unwrap();
    journal.execute("UPDATE remote SET entries = entries + 200", []).unwrap();
    drop(journal);
    (0..200).for_each(|n| fs::remove_file(w.at(&format!("d/f{n}"))).unwrap());
    w.run(&[]);
    let shown = w.wait_remote(0, "held", held);
    assert!(shown["reason"].as_str().unwrap().contains("delete 200 of 302 entries"), "{shown}");
    assert_eq!(files(&w), 300);
}

#[test]
fn paths_that_waited_for_a_remote_and_vanished_while_stopped_are_guarded() {
    let mut w = stopped(Setup::default(), 30);
    w.run(&[]);
    w.remotes[0].stop();
    (0..30).for_each(|n| w.write(&format!("d{}/f{n}", n % 5), "two"));
    w.wait_remote(0, "its trouble", |r| r["state"] == "backoff" && r["waiting"] != 0);
    w.instance.kill9();
    empty(&w.master);
    w.remotes[0].start_again();
    w.run(&[]);
    w.wait_remote(0, "held", held);
    assert_eq!(files(&w), 30);
    release(&w);
    w.wait_identical();
}

#[test]
fn deletions_during_a_reconcile_do_not_trigger_the_guard() {
    let dir = tempfile::tempdir().unwrap();
    let rsync = Box::leak(slow_to_tell(dir.path()).into_boxed_str());
    let w = Setup { rsync, ..Setup::default() }.start();
    w.write("only/file", "x");
    w.wait_identical();
    w.wait_in_sync();
    fs::write(dir.path().join("wait"), "").unwrap();
    let _sync = w.instance.begin(&["sync"]);
    let told = |name: &str| dir.path().join(name).exists();
    wait_for("the comparison", DEADLINE, || told("listed"));
    fs::remove_dir_all(w.at("only")).unwrap();
    w.wait_identical();
    wait_for("nothing waits", DEADLINE, || {
        let local = &w.instance.status()["instances"][0]["localpaths"][0];
        local["remotes"][0]["waiting"] == 0
    });
    fs::write(dir.path().join("go"), "").unwrap();
    w.wait_in_sync();
    let log = w.instance.log_text();
    assert!(!log.contains("would delete"), "{}", w.instance.report());
}

#[test]
fn a_rename_while_stopped_does_not_trigger_the_guard() {
    let mut w = Setup::default().start();
    for round in 0..3 {
        let (old, new) = (w.at(&format!("d{round}")), w.at(&format!("d{}", round + 1)));
        if round == 0 {
            (0..5).for_each(|n| w.write(&format!("d0/deep/f{n}"), "x"));
            w.wait_identical();
        }
        w.wait_in_sync();
        // The last settled paths are checked again immediately, before a scan has found the new names.
        w.instance.kill9();
        fs::rename(old, new).unwrap();
        w.run(&[]);
        w.wait_identical();
    }
    let log = w.instance.log_text();
    assert!(!log.contains("would delete"), "{}", w.instance.report());
}

#[test]
fn directories_that_stay_do_not_make_up_for_lost_files() {
    for new in [&[][..], &["one more"]] {
        let setup = Setup::default();
        let mut w = stopped_with(setup, (0..30).map(|n| format!("d{n}/f")));
        (0..30).for_each(|n| fs::remove_file(w.at(&format!("d{n}/f"))).unwrap());
        new.iter().for_each(|name| w.write(name, "x"));
        w.run(&["-r"]);
        w.wait_remote(0, "held", held);
        assert!(files(&w) >= 30);
    }
}
