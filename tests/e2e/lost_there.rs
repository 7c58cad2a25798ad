//! A slave loses what it has acknowledged: its disk is replaced, its power fails, its module is not mounted for a while.

use crate::common::wait::{DEADLINE, wait_for};
use crate::common::world::{Setup, World, populate};
use nix::sys::signal::Signal;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

fn filled() -> World {
    let mut w = Setup { log_rsyncs: true, ..Setup::default() }.build();
    populate(&w.master, 5, 4);
    w.write("top", "x");
    w.write("deep/a/b/c/file", "x");
    w.run(&[]);
    w.wait_identical();
    w.wait_in_sync();
    w
}

/// Empties the slave, without a word to anybody.
fn empty(there: &Path) {
    for entry in fs::read_dir(there).unwrap().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => fs::remove_dir_all(entry.path()).unwrap(),
            false => fs::remove_file(entry.path()).unwrap(),
        }
    }
}

/// The slave is down, and a push has noticed it.
fn down(w: &mut World) {
    w.remotes[0].stop();
    w.write("while it is down", format!("{:?}", SystemTime::now()));
    w.wait_remote(0, "trouble", |r| r["state"] == "backoff");
}

/// `wait` is the first that says it is in sync: by then it is.
#[track_caller]
fn in_sync_is_true(w: &World) {
    let waited = w.instance.command(&["wait", "--timeout", "60s"]);
    assert!(waited.status.success(), "{waited:?}\n{}", w.instance.report());
    let report = crate::common::tree::report(&w.master, &[&w.there("")]);
    assert!(
        crate::common::tree::identical(&w.master, &w.there("")),
        "{report}\n{}",
        w.instance.report()
    );
}

#[test]
fn a_slave_that_returns_empty_is_filled_before_it_is_in_sync() {
    let mut w = filled();
    for round in 0..2 {
        down(&mut w);
        empty(&w.there(""));
        w.remotes[0].start_again();
        in_sync_is_true(&w);
        w.wait_in_sync();
        assert!(w.full_comparisons().len() > round + 1, "not compared");
    }
    w.instance.stop();
}

#[test]
fn a_slave_that_returns_without_one_top_level_name_is_reconciled() {
    let mut w = filled();
    down(&mut w);
    fs::remove_dir_all(w.there("dir003")).unwrap();
    w.remotes[0].start_again();
    in_sync_is_true(&w);
    down(&mut w);
    fs::create_dir(w.there("of an older time")).unwrap();
    w.remotes[0].start_again();
    in_sync_is_true(&w);
    w.instance.stop();
}

#[test]
fn the_last_settled_paths_are_checked_when_a_slave_returns() {
    let mut w = filled();
    let compared = w.full_comparisons().len();
    let same = "content that will be zeroes";
    w.write("dir001/new", "new");
    w.write("dir002/file001", "changed");
    w.write("dir004/zeroed", same);
    fs::remove_file(w.at("dir003/file002")).unwrap();
    w.wait_identical();
    w.wait_in_sync();
    down(&mut w);
    // As after a power cut: what was new is gone or empty, what was deleted is back, and one has its size and time only.
    let there = w.there("dir004/zeroed");
    let time = there.metadata().unwrap().modified().unwrap();
    fs::remove_file(w.there("dir001/new")).unwrap();
    fs::write(w.there("dir002/file001"), "").unwrap();
    fs::write(&there, vec![0; same.len()]).unwrap();
    fs::File::options().write(true).open(&there).unwrap().set_modified(time).unwrap();
    fs::write(w.there("dir003/file002"), "back").unwrap();
    w.remotes[0].start_again();
    in_sync_is_true(&w);
    assert_eq!(w.full_comparisons().len(), compared, "the last minute is enough");
    w.instance.stop();
}

#[test]
fn a_directory_that_a_push_must_create_unexpectedly_reveals_a_loss() {
    let mut w = filled();
    // Replaced so quickly that no process noticed. A new directory and its content are no sign of a loss.
    w.write("new/dir/file", "x");
    fs::create_dir_all(w.at("another/one")).unwrap();
    fs::rename(w.at("dir000"), w.at("moved")).unwrap();
    w.write("moved/file000", "changed after it was moved");
    w.wait_identical();
    w.wait_in_sync();
    let compared = w.full_comparisons().len();
    w.probe(0);
    w.wait_in_sync();
    assert_eq!(w.full_comparisons().len(), compared, "{}", w.instance.report());
    for file in ["dir002/file000", "deep/a/b/c/file", "moved/another", "dir004"] {
        empty(&w.there(""));
        match w.at(file).is_dir() {
            true => fs::set_permissions(w.at(file), fs::Permissions::from_mode(0o700)).unwrap(),
            false => w.write(file, format!("{file} changed")),
        }
        wait_for("the file", DEADLINE, || w.there(file).exists());
        in_sync_is_true(&w);
        let log = w.instance.log_text();
        assert!(
            log.contains("missing on the remote, but was not marked"),
            "{}",
            w.instance.report()
        );
    }
    w.instance.stop();
}

#[test]
fn a_slave_replaced_while_stopped_is_reconciled_at_the_start() {
    let mut w = filled();
    // Nothing is lost: an ordinary start compares nothing but names.
    w.instance.stop();
    let compared = w.full_comparisons().len();
    w.write("made meanwhile/f", "x");
    fs::rename(w.at("dir000"), w.at("renamed")).unwrap();
    w.run(&[]);
    in_sync_is_true(&w);
    w.wait_in_sync();
    assert_eq!(w.full_comparisons().len(), compared, "{}", w.instance.report());
    w.instance.stop();
    empty(&w.there(""));
    w.run(&[]);
    in_sync_is_true(&w);
    w.wait_in_sync();
    w.instance.kill9();
    empty(&w.there(""));
    w.run(&[]);
    in_sync_is_true(&w);
    w.instance.stop();
}

#[test]
fn a_restarted_pusher_checks_the_last_settled_paths() {
    let w = filled();
    w.write("dir001/settled", "x");
    w.wait_identical();
    w.wait_in_sync();
    let old = w.instance.pushers();
    fs::remove_file(w.there("dir001/settled")).unwrap();
    old.iter().for_each(|pusher| pusher.signal(Signal::SIGKILL));
    wait_for("a successor's look", Duration::from_secs(60), || w.there("dir001/settled").exists());
}
