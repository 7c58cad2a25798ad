//! The standby: an rsync that is connected ahead of the next push. What it was started for may have changed by then.

use crate::common::procs::Proc;
use crate::common::rsyncd::Options;
use crate::common::tree::Tree;
use crate::common::wait::{DEADLINE, holds_for, wait_for};
use crate::common::world::{Setup, World, write};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File, FileTimes};
use std::process::Command;
use std::time::{Duration, SystemTime};

const QUIET: Duration = Duration::from_secs(2);

/// Waits for the only rsync that waits for its list.
#[track_caller]
fn standby(w: &World) -> Proc {
    let mut found = Vec::new();
    wait_for("a standby", DEADLINE, || {
        found = w.instance.standbys();
        found.len() == 1
    });
    found.remove(0)
}

fn active() -> World {
    let mut w = Setup::default().build();
    w.run(&["-v"]);
    w.write("first", "1");
    w.wait_identical();
    w.wait_in_sync();
    standby(&w);
    w
}

/// Pushes that a standby made.
fn fed(w: &World) -> usize {
    w.instance.log_text().matches("standby: true").count()
}

#[track_caller]
fn no_trouble(w: &World) {
    let log = w.instance.log_text();
    assert!(!log.contains("cannot push to the remote"), "{}", w.instance.report());
}

#[test]
fn a_change_goes_through_the_standby_and_the_next_one_is_ready() {
    let w = active();
    for n in 0..20 {
        standby(&w);
        w.write(&format!("d{n}/f"), "x");
        w.write("first", format!("{n}"));
        w.wait_identical();
        // A file that was written twice within one tick of the clock is compared by content, by an rsync of its own, and
        // the standby stays.
        w.wait_in_sync();
    }
    assert!(fed(&w) >= 10, "{} of 20", fed(&w));
    no_trouble(&w);
}

/// An rsync from above sets the attributes of the directory, writes the file under another name, gives it an old time and
/// its name, and sets the attributes of the directory again.
#[test]
fn what_a_master_above_sends_goes_through_one_kind_of_standby() {
    let w = active();
    let above = w.outside.join("above");
    let settled = || {
        w.wait_identical();
        w.wait_in_sync();
        standby(&w);
    };
    let bring = |name: &str| {
        let path = above.join(name);
        write(&path, "x");
        let old = FileTimes::new().set_modified(SystemTime::now() - Duration::from_secs(60));
        File::options().append(true).open(path).unwrap().set_times(old).unwrap();
        let mut rsync = Command::new("rsync");
        let brought = rsync.args(["-aR", &format!("./{name}")]).arg(&w.master).current_dir(&above);
        assert!(brought.status().unwrap().success());
        settled();
        let directory = File::open(w.at(name).parent().unwrap()).unwrap();
        directory.set_times(FileTimes::new().set_modified(SystemTime::now())).unwrap();
        settled();
    };
    // The first ones show what is needed.
    (0..4).for_each(|n| bring(&format!("d/f{n}")));
    let pushes = |w: &World| w.instance.log_text().matches(" DEBG rsync, ").count();
    let before = (pushes(&w), fed(&w));
    (4..9).for_each(|n| bring(&format!("d/f{n}")));
    let (all, fed) = (pushes(&w) - before.0, fed(&w) - before.1);
    assert!(all >= 10 && 4 * fed >= 3 * all, "{fed} of {all}");
}

#[test]
fn a_standby_in_a_replaced_root_deletes_nothing() {
    let w = active();
    for n in 0..5 {
        w.write(&format!("kept{n}"), "x");
    }
    w.wait_identical();
    standby(&w);
    let before = Tree::read(&w.remotes[0].path());
    let away = w.outside.join("away");
    fs::rename(&w.master, &away).unwrap();
    fs::create_dir(&w.master).unwrap();
    w.write("kept0", "other");
    w.wait_local("held", |l| l["state"] == "held");
    holds_for("the slave as it was", QUIET, || Tree::read(&w.remotes[0].path()) == before);
    assert!(w.instance.standbys().is_empty(), "a hold lets go of it");
    fs::remove_dir_all(&w.master).unwrap();
    fs::rename(&away, &w.master).unwrap();
    w.wait_local("watching again", |l| l["state"] == "watching");
    w.write("after", "x");
    w.wait_identical();
}

#[test]
fn a_killed_standby_is_replaced_without_trouble() {
    let w = active();
    for n in 0..5 {
        // A push that is under way may be broken by the kill.
        w.wait_in_sync();
        let pid = standby(&w).pid;
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        w.write(&format!("f{n}"), "x");
        w.wait_identical();
        w.write("first", format!("again {n}"));
        w.wait_identical();
    }
    no_trouble(&w);
}

#[test]
fn a_standby_killed_while_it_is_fed_is_no_trouble_of_the_remote() {
    let w = active();
    let signal = |pid, signal| kill(Pid::from_raw(pid), signal).unwrap();
    for n in 0..3 {
        w.wait_in_sync();
        let pid = standby(&w).pid;
        let before = fed(&w);
        signal(pid, Signal::SIGSTOP);
        w.write(&format!("f{n}"), "x");
        wait_for("a push through it", DEADLINE, || fed(&w) > before);
        signal(pid, Signal::SIGKILL);
        w.wait_identical();
    }
    no_trouble(&w);
}

/// The connection of a standby ends with the daemon's process for it, and nothing is said until it is fed.
#[test]
fn a_standby_whose_connection_ended_is_no_trouble_of_the_remote() {
    let w = active();
    for n in 0..5 {
        w.wait_in_sync();
        standby(&w);
        for server in w.remotes[0].transfers() {
            // One may have ended just now.
            let _ = kill(Pid::from_raw(server.pid), Signal::SIGKILL);
        }
        w.write(&format!("f{n}"), "x");
        w.wait_identical();
    }
    no_trouble(&w);
}

#[test]
fn a_stop_leaves_no_standby() {
    let mut w = active();
    let pid = standby(&w).pid;
    assert!(w.instance.command(&["stop"]).status.success());
    w.instance.wait_exit();
    wait_for("its end", DEADLINE, || !std::path::Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn a_pusher_that_is_killed_leaves_no_standby_at_work() {
    let w = active();
    let (pid, pusher) = (standby(&w).pid, w.instance.pushers().remove(0).pid);
    kill(Pid::from_raw(pusher), Signal::SIGKILL).unwrap();
    wait_for("its end", DEADLINE, || !std::path::Path::new(&format!("/proc/{pid}")).exists());
    w.write("after", "x");
    w.wait_identical();
}

#[test]
fn deletions_go_through_a_standby_too() {
    let w = active();
    for n in 0..20 {
        w.write(&format!("f{n}"), "x");
    }
    w.wait_identical();
    let before = fed(&w);
    for n in 0..20 {
        standby(&w);
        fs::remove_file(w.at(&format!("f{n}"))).unwrap();
        w.wait_identical();
    }
    // The first one finds a standby that only sends.
    assert!(fed(&w) - before >= 10, "{} of 20\n{}", fed(&w) - before, w.instance.log_text());
    no_trouble(&w);
}

/// The receiver of a standby has entered the remote's directory, and would write into the old one.
#[test]
fn a_reconcile_uses_no_standby_in_a_replaced_directory_of_the_remote() {
    let w = active();
    let there = w.remotes[0].path();
    fs::rename(&there, there.with_extension("old")).unwrap();
    fs::create_dir(&there).unwrap();
    assert!(!w.instance.standbys().is_empty());
    assert!(w.instance.command(&["sync"]).status.success());
    w.wait_identical();
    w.write("after", "x");
    w.wait_identical();
}

#[test]
fn a_slave_with_one_connection_is_in_no_trouble() {
    let daemon = Options { module_lines: "max connections = 1\n".into(), ..Options::default() };
    let mut w = Setup { daemon, ..Setup::default() }.build();
    w.run(&["-v"]);
    for n in 0..20 {
        w.write(&format!("d{n}/f"), "x");
        w.wait_identical();
    }
    assert!(w.instance.command(&["sync"]).status.success());
    w.wait_remote(0, "no standby", |r| r["standby"] == "short_of_connections");
    w.write("last", "x");
    w.wait_identical();
    let verify = w.instance.command(&["verify"]);
    assert!(verify.status.success(), "{verify:?}");
    no_trouble(&w);
}

#[test]
fn none_waits_when_it_is_off() {
    let mut w = Setup { settings: "standby: off\n", ..Setup::default() }.build();
    w.run(&["-v"]);
    w.write("first", "1");
    w.wait_identical();
    w.wait_in_sync();
    w.write("second", "2");
    w.wait_identical();
    holds_for("no rsync", QUIET, || w.instance.standbys().is_empty());
    assert_eq!(fed(&w), 0);
}
