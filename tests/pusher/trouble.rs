//! Remotes, paths and roots in trouble.

use super::bench::{Bench, DEADLINE, WRITTEN, below, localpath, synced};
use crate::rsync::rig::{Rig, is_root, make, p, set_mtime};
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::time::{Duration, Instant};
use syncsup::config::model::StandbyMode;
use syncsup::journal::{Events, Journal, Mark, Record, Scope};
use syncsup::message::{FromPusher, PusherState, PusherStatus};
use syncsup::sys::channel::Received;
use syncsup::sys::{clock, poll, wake};

#[test]
fn a_remote_that_was_down_catches_up_and_nothing_is_lost() {
    let mut rig = Rig::new(Path::new("rsync"));
    make(&rig.src(), ["a"], "one");
    rig.daemon.stop();
    let mut bench = Bench::start(&rig, localpath(&rig), None);
    bench.mark(&[("a", Scope::Entry, WRITTEN)]);
    bench.until("trouble", |s| s.state == PusherState::Backoff);
    assert!(bench.status.reason.is_some());
    let etc = rig.base().join("etc");
    rig.daemon.start_again(Path::new("rsync"), &etc);
    bench.identical(&rig);
    bench.stop();
}

#[test]
fn a_remote_that_is_down_beyond_the_backlog_limit_is_reconciled() {
    let (mut rig, mut bench) = synced(["stays", "goes"]);
    rig.daemon.stop();
    fs::remove_file(rig.src().join("goes")).unwrap();
    make(&rig.src(), ["comes"], "two");
    bench.mark(&[("goes", Scope::Entry, Events::DELETE), ("comes", Scope::Entry, WRITTEN)]);
    // Names of temporary files that are gone again.
    let marks = (0..200_001).map(|n| Mark::entry(p(format!("tmp{n}")), Events::DELETE)).collect();
    bench.journal.record(&Record { marks, ..Record::default() }, clock::wall_ms()).unwrap();
    wake::wake(&bench.wake);
    let name = rig.remote.name();
    let counter = bench.journal.last_seq().unwrap();
    let journal = Journal::open_read_only(&bench.state).unwrap();
    bench.until("fewer names", |s| s.waiting == 0 && s.state == PusherState::Backoff);
    assert_eq!(journal.backlog(&name).unwrap().waiting, 0);
    assert!(journal.marks_after(counter, 1).unwrap().is_empty());
    let row = bench.journal.remote(&name, None).unwrap();
    assert_eq!(row.cursor, counter);
    assert!(row.reconcile.unwrap().to_string().contains("more than 200000 names"));
    let etc = rig.base().join("etc");
    rig.daemon.start_again(Path::new("rsync"), &etc);
    bench.identical(&rig);
    assert_eq!(bench.journal.remote(&name, None).unwrap().reconcile, None);
    bench.stop();
}

#[test]
fn a_replaced_root_deletes_nothing() {
    let (rig, mut bench) = synced(["a", "d/b"]);
    let aside = rig.base().join("aside");
    fs::rename(rig.src(), &aside).unwrap();
    fs::create_dir(rig.src()).unwrap();
    bench.mark(&[
        ("a", Scope::Entry, Events::DELETE),
        ("d", Scope::Tree, Events::DELETE | Events::DIR),
    ]);
    bench.until("held", |s| s.state == PusherState::Held);
    assert!(rig.dst().join("d/b").exists());
    fs::remove_dir(rig.src()).unwrap();
    fs::rename(&aside, rig.src()).unwrap();
    bench.identical(&rig);
    bench.stop();
}

#[test]
fn a_failing_path_is_owed_with_its_error_and_the_others_are_pushed() {
    let (rig, mut bench) = synced(["a"]);
    // A name too long for the receiver's temporary: 255 bytes.
    let long = "n".repeat(255);
    make(&rig.src(), [long.as_str(), "b"], "two");
    bench.mark(&[(&*long, Scope::Entry, WRITTEN), ("b", Scope::Entry, WRITTEN)]);
    bench.identical(&rig);
    // lstat fails with something else than ENOENT: never a deletion, and the others of its batch pass.
    let deep = "n".repeat(300);
    make(&rig.src(), ["c"], "three");
    bench.mark(&[(&*deep, Scope::Entry, WRITTEN), ("c", Scope::Entry, WRITTEN)]);
    bench.until("one path fails", |s| s.failing == 1 && s.waiting == 0);
    assert!(bench.status.reason.as_ref().unwrap().contains("too long"), "{:?}", bench.status);
    assert!(rig.dst().join("c").exists());
    bench.stop();
}

#[test]
fn an_emptied_journal_continues_with_new_marks() {
    let (rig, mut bench) = synced(["a"]);
    for round in 0..3 {
        make(&rig.src(), ["a"], &format!("round {round}"));
        bench.mark(&[("a", Scope::Entry, WRITTEN)]);
        let mut journal = Journal::open(&bench.state).unwrap();
        bench.until("every mark to go", |_| {
            journal.clean(1000).unwrap();
            journal.marks_after(0, 10).unwrap().is_empty()
        });
        bench.identical(&rig);
    }
    let state = bench.state.clone();
    bench.stop();
    let name = rig.remote.name();
    assert!(Journal::open(&state).unwrap().remote(&name, None).unwrap().clean);
}

#[test]
fn an_error_that_only_pushes_meet_is_cleared_by_a_successful_push() {
    let mut rig = Rig::new(Path::new("rsync"));
    make(&rig.src(), ["a", "d/b"], "one");
    rig.module(b"m/no/such");
    let mut bench = Bench::start(&rig, localpath(&rig), None);
    bench.until("trouble", |s| s.state == PusherState::Backoff);
    // A dry run passes where no push does.
    bench.request_reconcile("asked");
    let log = rig.base().join("etc/log");
    let failures = || fs::read_to_string(&log).unwrap().matches("mkdir").count();
    let first = Instant::now();
    bench.until("four pushes that failed", |s| {
        assert_eq!(s.state, PusherState::Backoff, "it is not back before a push goes well");
        assert_eq!(s.reconciles_done, 1, "a comparison tells nothing while a push fails");
        failures() >= 4
    });
    assert!(
        first.elapsed() > Duration::from_secs(2),
        "immediately, as requested, then 1 to 2 s, 2 to 4 s"
    );
    fs::create_dir(rig.dst().join("no")).unwrap();
    let (src, dst) = (rig.src(), rig.dst().join("no/such"));
    bench.until("identical", |s| s.state == PusherState::InSync && below(&src) == below(&dst));
    bench.stop();
}

#[test]
fn a_slave_that_accepts_and_stays_silent_is_noticed_early() {
    let mut rig = Rig::new(Path::new("rsync"));
    make(&rig.src(), ["a"], "one");
    rig.remote.peer.timeout_s = 100;
    // Its connection would outlive the daemon.
    rig.remote.standby = StandbyMode::Off;
    let mut bench = Bench::start(&rig, localpath(&rig), None);
    bench.identical(&rig);
    rig.daemon.stop();
    let silent = std::net::TcpListener::bind(("127.0.0.1", rig.daemon.port)).unwrap();
    make(&rig.src(), ["a"], "two");
    bench.mark(&[("a", Scope::Entry, WRITTEN)]);
    bench.until("trouble", |s| s.state == PusherState::Backoff);
    assert!(
        bench.status.reason.as_ref().unwrap().contains("nothing came from the other end"),
        "{:?}",
        bench.status
    );
    drop(silent);
    let etc = rig.base().join("etc");
    rig.daemon.start_again(Path::new("rsync"), &etc);
    bench.identical(&rig);
    bench.stop();
}

const NOBODY: Option<u32> = Some(65_534);

/// A slave whose daemon runs as `nobody`. `None` without root: only root can make a directory that it may not read or write.
fn of_nobody() -> Option<Rig> {
    if !is_root() {
        eprintln!("left out: only root can make a directory that the daemon may not read or write");
        return None;
    }
    let mut rig = Rig::with(Path::new("rsync"), "uid = 65534\ngid = 65534\n");
    rig.params(&["-rlt"]);
    chown(rig.dst(), NOBODY, NOBODY).unwrap();
    Some(rig)
}

#[test]
fn an_unreadable_directory_is_reported_and_the_rest_is_compared() {
    let Some(rig) = of_nobody() else { return };
    make(&rig.src(), ["a", "d/b"], "one");
    let hidden = rig.dst().join("hidden");
    for dir in [rig.src().join("hidden"), hidden.clone()] {
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o000)).unwrap();
        set_mtime(&dir, 1_000_000);
    }
    let mut bench = Bench::start(&rig, localpath(&rig), None);
    bench.until("the readable part", |s| rig.dst().join("d/b").exists() && s.incomplete);
    bench.until("it waits", |s| s.state == PusherState::Behind);
    let reason = bench.status.reason.clone().unwrap();
    assert!(reason.contains("hidden") && reason.contains("Permission denied"), "{reason}");
    chown(&hidden, NOBODY, NOBODY).unwrap();
    fs::set_permissions(&hidden, fs::Permissions::from_mode(0o700)).unwrap();
    bench.request_reconcile("asked");
    bench.until("in sync", |s| s.state == PusherState::InSync && !s.incomplete);
    bench.stop();
}

#[test]
fn the_work_of_a_partly_failed_push_is_counted() {
    let Some(rig) = of_nobody() else { return };
    make(&rig.src(), ["gone", "f"], "one");
    for dir in [rig.src().join("locked"), rig.dst().join("locked")] {
        fs::create_dir(&dir).unwrap();
        set_mtime(&dir, 1_000_000);
    }
    let mut bench = Bench::start(&rig, localpath(&rig), None);
    bench.identical(&rig);
    let before = bench.status.clone();
    fs::remove_file(rig.src().join("gone")).unwrap();
    make(&rig.src(), ["f"], "three");
    make(&rig.src(), ["locked/x"], "not to be had");
    set_mtime(&rig.src().join("locked"), 1_000_000);
    bench.mark(&[
        ("gone", Scope::Entry, Events::DELETE),
        ("f", Scope::Entry, WRITTEN),
        ("locked/x", Scope::Entry, WRITTEN),
    ]);
    let counted = |s: &PusherStatus| {
        (
            s.pushed_files - before.pushed_files,
            s.pushed_bytes - before.pushed_bytes,
            s.deleted - before.deleted,
        )
    };
    let mut journal = Journal::open(&bench.state).unwrap();
    let remote = rig.remote.name();
    bench.until("three attempts", |s| {
        journal.clean(1_000).unwrap();
        s.failing == 1 && journal.failing(&remote, 1).unwrap().iter().any(|row| row.attempts >= 3)
    });
    bench.until("the count", |s| counted(s) == (1, 5, 1));
    bench.stop();
}

/// A predecessor, or its rsync, that has not exited yet holds the lock. (Rule 2.)
#[test]
fn nothing_is_pushed_before_the_predecessor_has_exited() {
    let rig = Rig::new(Path::new("rsync"));
    make(&rig.src(), ["a"], "one");
    let state = rig.base().join("state");
    fs::create_dir_all(&state).unwrap();
    let name = rig.remote.name().replace(':', "%3A");
    let lock = state.join(format!("pusher-{name}.lock"));
    // Not inherited: a process that has it is killed, and the daemons of other tests are children of this process, too.
    let held = syncsup::sys::lock::take(&lock, false).unwrap().expect("a free lock");
    let mut bench = Bench::start(&rig, localpath(&rig), None);
    bench.mark(&[("a", Scope::Entry, WRITTEN)]);
    let end = Instant::now() + Duration::from_secs(1);
    let mut alive = false;
    let last = end + DEADLINE;
    while Instant::now() < if alive { end } else { last } {
        match bench.control.receive().unwrap() {
            Received::Message(FromPusher::Alive, _) => alive = true,
            Received::Message(message, _) => panic!("at work beside its predecessor: {message:?}"),
            Received::Closed => panic!("it gave up"),
            Received::Nothing => {
                let fds = [(bench.control.as_fd(), poll::Interest::Read)];
                poll::wait(&fds, Some(Duration::from_millis(100))).unwrap();
            }
        }
    }
    assert!(alive, "it would be taken for dead");
    assert!(!rig.dst().join("a").exists());
    drop(held);
    bench.identical(&rig);
    bench.stop();
}
