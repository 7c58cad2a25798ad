//! Rules that close known holes.

use crate::common::churn::exchange;
use crate::common::orders;
use crate::common::procs::Proc;
use crate::common::wait::{DEADLINE, holds_for, poll, wait_for};
use crate::common::world::{Setup, World, populate, write};
use nix::sys::signal::Signal;
use rusqlite::Connection;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::time::Duration;
use syncsup::sys::fault_point::Point;

/// `cur` becomes `old`, `new` becomes `cur`: what only the old one had must go.
fn swap(w: &World) {
    fs::rename(w.at("cur"), w.at("old")).unwrap();
    fs::rename(w.at("new"), w.at("cur")).unwrap();
}

fn releases(w: &World) {
    populate(&w.at("cur"), 4, 5);
    populate(&w.at("new"), 2, 3);
    w.write("new/only in the new one", "x");
}

#[test]
fn directories_swapped_at_a_name_are_replicated() {
    let w = World::start(2);
    releases(&w);
    w.wait_identical();
    swap(&w);
    w.wait_identical();
    // The new one is moved in from outside, the old one out.
    write(&w.outside.join("next/dir000/file000"), "next");
    fs::rename(w.at("cur"), w.outside.join("old")).unwrap();
    fs::rename(w.outside.join("next"), w.at("cur")).unwrap();
    w.wait_identical();
    w.write("cur/dir000/file001", "the new one is watched");
    write(&w.outside.join("old/dir000/file000"), "the old one is not");
    w.wait_identical();
}

/// Reproducible builds give every release the same times.
#[test]
fn directories_swapped_at_a_name_with_equal_times_are_replicated() {
    let w = World::start(2);
    let time = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    for (top, content) in [("cur", "1"), ("new", "2"), ("third", "3")] {
        for file in ["a", "sub/b", "sub/deep/c"] {
            w.write(&format!("{top}/{file}"), content);
            File::options()
                .write(true)
                .open(w.at(&format!("{top}/{file}")))
                .unwrap()
                .set_modified(time)
                .unwrap();
        }
        for dir in ["sub/deep", "sub", ""] {
            File::open(w.at(top).join(dir)).unwrap().set_modified(time).unwrap();
        }
    }
    w.wait_identical();
    w.wait_in_sync();
    swap(&w);
    w.wait_identical();
    w.wait_in_sync();
    exchange(&w.at("cur"), &w.at("third")).unwrap();
    w.wait_identical();
}

/// The kernel reports the arrival before the departure of an exchange; with a directory outside it reports only one half.
#[test]
fn exchanged_directories_are_replicated() {
    let w = World::start(2);
    releases(&w);
    write(&w.outside.join("next/file"), "next");
    w.wait_identical();
    exchange(&w.at("cur"), &w.at("new")).unwrap();
    w.wait_identical();
    w.write("cur/still watched", "x");
    w.write("new/dir000/still watched", "x");
    w.wait_identical();
    exchange(&w.outside.join("next"), &w.at("cur")).unwrap();
    w.wait_identical();
    w.write("cur/still watched", "x");
    w.wait_identical();
}

#[test]
fn directories_swapped_while_stopped_are_replicated() {
    let mut w = World::start(2);
    releases(&w);
    w.wait_identical();
    w.wait_in_sync();
    w.instance.stop();
    swap(&w);
    w.run(&[]);
    w.wait_identical();
    // And from outside, its content and times older than everything.
    populate(&w.outside.join("next"), 1, 2);
    w.instance.kill9();
    fs::rename(w.at("cur"), w.outside.join("old")).unwrap();
    fs::rename(w.outside.join("next"), w.at("cur")).unwrap();
    w.run(&[]);
    w.wait_identical();
}

#[test]
fn a_file_written_stopped_closed_and_started_is_pushed() {
    for killed in [false, true] {
        let mut w = World::start(2);
        let mut file = File::create(w.at("log")).unwrap();
        file.write_all(b"first\n").unwrap();
        w.probe(0);
        file.write_all(b"second\n").unwrap();
        w.probe(0);
        // The next scan looks 2 s further back than the checkpoint: only the table of open files knows this one.
        std::thread::sleep(Duration::from_millis(3_500));
        w.probe(0);
        w.probe(1);
        if killed {
            w.instance.kill9()
        } else {
            w.instance.stop();
        }
        drop(file);
        w.run(&[]);
        w.wait_identical();
    }
}

#[test]
fn a_name_made_moved_and_made_again_is_replicated() {
    let w = World::start(2);
    for round in 0..50 {
        let (d, e) = (w.at(&format!("{round}/d")), w.at(&format!("{round}/e")));
        fs::create_dir_all(&d).unwrap();
        fs::write(d.join("first"), "1").unwrap();
        fs::rename(&d, &e).unwrap();
        fs::create_dir(&d).unwrap();
        fs::write(d.join("second"), "2").unwrap();
    }
    w.wait_identical();
    // Both places are watched under their right names.
    for round in 0..50 {
        w.write(&format!("{round}/d/later"), "d");
        w.write(&format!("{round}/e/later"), "e");
        fs::remove_file(w.at(&format!("{round}/e/first"))).unwrap();
    }
    w.wait_identical();
}

#[test]
fn paths_that_cannot_be_read_are_not_deleted() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: not root");
        return;
    }
    let mut w = Setup { remotes: 2, ..Setup::default() }.build();
    // Root, but bound by the permission bits.
    let words = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"];
    w.instance.launcher = words.iter().map(Into::into).collect();
    populate(&w.at("locked"), 2, 3);
    populate(&w.at("free"), 2, 3);
    w.run(&[]);
    w.wait_identical();
    w.wait_in_sync();
    fs::set_permissions(w.at("locked/dir000"), Permissions::from_mode(0o000)).unwrap();
    w.write("locked/dir000/file000", "changed behind the lock");
    w.write("locked/dir000/new", "made behind the lock");
    w.write("free/dir000/file000", "changed");
    w.wait_remote(0, "a path that fails", |r| r["failing"].as_u64().is_some_and(|n| n > 0));
    for slave in w.slaves() {
        wait_for("the other change", DEADLINE, || {
            fs::read(slave.join("free/dir000/file000")).is_ok_and(|c| c == b"changed")
        });
        assert!(
            slave.join("locked/dir000/file000").exists(),
            "deleted a file that could not be looked at"
        );
    }
    // The same at a start, when a scan meets it.
    w.instance.kill9();
    w.run(&[]);
    w.probe(0);
    w.probe(1);
    assert!(w.slaves().iter().all(|s| s.join("locked/dir000/file002").exists()));
    fs::set_permissions(w.at("locked/dir000"), Permissions::from_mode(0o755)).unwrap();
    w.wait_identical_within(DEADLINE * 3);
}

/// Unreadable files here may be those on the remote: no reconcile deletes anything then. (Rule 5.)
#[test]
fn an_incomplete_reconcile_deletes_nothing() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: not root");
        return;
    }
    let mut w = Setup::default().build();
    let words = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"];
    w.instance.launcher = words.iter().map(Into::into).collect();
    populate(&w.at("locked"), 2, 3);
    populate(&w.at("free"), 2, 3);
    w.run(&[]);
    w.wait_identical();
    w.wait_in_sync();
    fs::set_permissions(w.at("locked"), Permissions::from_mode(0o000)).unwrap();
    for stray in ["locked/stray", "free/stray", "stray"] {
        write(&w.there(stray), "x");
    }
    write(&w.there("free/dir000/file000"), "by hand");
    // It goes on until everything could be compared.
    let _sync = w.instance.begin(&["sync"]);
    wait_for("the readable part", DEADLINE, || {
        fs::read(w.there("free/dir000/file000")).is_ok_and(|c| c != b"by hand")
    });
    holds_for("every stray file", Duration::from_secs(1), || {
        ["locked/stray", "free/stray", "stray"].iter().all(|p| w.there(p).exists())
    });
    fs::set_permissions(w.at("locked"), Permissions::from_mode(0o755)).unwrap();
    assert!(w.instance.command(&["sync"]).status.success());
    w.wait_identical();
}

#[test]
fn a_path_marked_again_during_its_push_is_pushed_again() {
    // Slow enough for a push to last some seconds.
    let w = Setup { remotes: 2, params: "-a --bwlimit=2000", ..Setup::default() }.start();
    let mut content = vec![0; 4 << 20];
    fastrand::fill(&mut content);
    w.write("large", &content);
    wait_for("a running push", DEADLINE, || !w.instance.rsyncs().is_empty());
    for round in 0..8 {
        let mut file = OpenOptions::new().write(true).open(w.at("large")).unwrap();
        file.write_all(&[round; 100]).unwrap();
        drop(file);
        w.write(&format!("small{round}"), "x");
        std::thread::sleep(Duration::from_millis(250));
    }
    fs::rename(w.at("large"), w.at("renamed")).unwrap();
    w.wait_identical_within(DEADLINE * 3);
}

#[test]
fn an_emptied_journal_table_is_filled_again() {
    let mut w = World::start(2);
    for round in 0..4 {
        w.write("f", format!("{round} first"));
        w.wait_identical();
        w.wait_in_sync();
        if round % 2 == 0 {
            w.instance.stop();
        } else {
            w.instance.kill9()
        }
        w.run(&[]);
        w.wait_in_sync();
        w.write("f", format!("{round} second"));
        fs::create_dir(w.at(&format!("d{round}"))).unwrap();
        w.wait_identical();
    }
}

/// A child that is stopped: the supervisor ends it after 10 s and starts it again; nothing is lost.
fn stopped_child(pick: impl Fn(&World) -> crate::common::procs::Proc) {
    let w = World::start(2);
    populate(&w.master, 3, 3);
    w.wait_identical();
    let victim = pick(&w);
    victim.signal(Signal::SIGSTOP);
    w.write("dir000/file000", "while it was stopped");
    fs::remove_dir_all(w.at("dir001")).unwrap();
    wait_for("the exit of the stopped child", DEADLINE, || !victim.runs());
    w.wait_identical();
    let now = pick(&w);
    assert_ne!(now.pid, victim.pid);
}

#[test]
fn a_stopped_watcher_is_killed_and_restarted() {
    stopped_child(|w| w.instance.watcher());
}

#[test]
fn a_stopped_pusher_is_killed_and_restarted() {
    stopped_child(|w| w.instance.pusher(&w.remotes[0].name()));
}

/// How often a process has gone to sleep.
fn sleeps(process: &Proc) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid)).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.unwrap().trim().parse().unwrap()
}

/// Waits until watcher and pusher sleep, and have stopped sending heartbeats.
fn at_rest(w: &World) -> [Proc; 2] {
    let children = [w.instance.watcher(), w.instance.pusher(&w.remotes[0].name())];
    wait_for("processes at rest", DEADLINE, || {
        let before: Vec<u64> = children.iter().map(sleeps).collect();
        std::thread::sleep(Duration::from_millis(4_500));
        children.iter().map(sleeps).eq(before)
    });
    children
}

#[test]
fn idle_processes_rest_and_wake_for_a_change() {
    let w = World::start(1);
    w.probe(0);
    w.wait_in_sync();
    let children = at_rest(&w);
    // Silence is no reason to kill a child that rests.
    holds_for("the children as they are", Duration::from_secs(12), || {
        children.iter().all(Proc::runs)
    });
    w.probe(0);
    w.wait_in_sync();
    assert!(children.iter().all(Proc::runs), "{}", w.instance.report());
}

#[test]
fn a_child_that_is_stopped_at_rest_is_killed_unless_it_continues() {
    let w = World::start(1);
    w.probe(0);
    w.wait_in_sync();
    for child in at_rest(&w) {
        child.signal(Signal::SIGSTOP);
        std::thread::sleep(Duration::from_secs(1));
        child.signal(Signal::SIGCONT);
        holds_for("the child that continued", Duration::from_secs(12), || child.runs());
    }
    for child in at_rest(&w) {
        child.signal(Signal::SIGSTOP);
        wait_for("its end", DEADLINE, || !child.runs());
        w.probe(0);
    }
}

#[test]
fn a_silent_child_that_computes_is_not_killed() {
    if !orders::are_possible() {
        return;
    }
    let mut w = Setup::default().build();
    let at = w.outside.join("orders");
    orders::arm(&mut w.instance, &at);
    w.run(&[]);
    w.probe(0);
    // A reconcile would push the file whatever the watcher does.
    w.wait_in_sync();
    let watcher = w.instance.watcher();
    assert!(orders::give(&at, Point::WatcherRead, "spin 1"));
    w.write("f", "x");
    w.wait_identical();
    assert!(orders::taken(&at, Point::WatcherRead).is_some_and(|(_, pid)| pid == watcher.pid));
    assert!(watcher.runs(), "{}", w.instance.report());
}

#[test]
fn a_killed_child_is_restarted_and_no_other_notices() {
    let w = World::start(2);
    w.probe(0);
    let first = w.instance.pusher(&w.remotes[0].name());
    let second = w.instance.pusher(&w.remotes[1].name());
    let watcher = w.instance.watcher();
    assert!(
        [&first, &second, &watcher].iter().all(|p| p.group == p.pid),
        "not in groups of their own"
    );
    first.signal(Signal::SIGKILL);
    w.write("f", "x");
    w.wait_identical();
    watcher.signal(Signal::SIGKILL);
    w.write("g", "x");
    w.wait_identical();
    assert!(second.runs(), "the other pusher was restarted too");
    let local = w.wait_local("the restarts", |l| l["watcher"]["restarts"] == 1);
    let restarts: Vec<_> = local["remotes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["pusher"]["restarts"].clone())
        .collect();
    assert_eq!(restarts, [1, 0]);
}

#[test]
fn an_orphaned_rsync_is_killed_before_the_next_one() {
    let w = Setup { params: "-a --bwlimit=500", ..Setup::default() }.start();
    w.wait_in_sync();
    // By itself it would end in half a minute.
    let mut content = vec![0; 16 << 20];
    fastrand::fill(&mut content);
    w.write("large", &content);
    let in_flight = || Some(w.instance.rsyncs()).filter(|found| !found.is_empty());
    let orphans = poll(DEADLINE, in_flight).expect("a push in flight");
    w.instance.pusher(&w.remotes[0].name()).signal(Signal::SIGKILL);
    wait_for("the exit of the orphaned rsync", Duration::from_secs(15), || {
        !orphans.iter().any(|p| p.runs())
    });
    fs::remove_file(w.at("large")).unwrap();
    w.wait_identical_within(DEADLINE * 2);
}

#[test]
fn a_damaged_journal_is_quarantined_and_everything_reconciled() {
    let mut w = World::start(2);
    populate(&w.master, 5, 5);
    w.wait_identical();
    w.wait_in_sync();
    w.instance.kill9();
    let journal = fs::read_dir(w.instance.state_dir())
        .unwrap()
        .flatten()
        .map(|d| d.path().join("journal.db"));
    let journal = journal.into_iter().find(|j| j.exists()).expect("a journal");
    fs::write(&journal, "not a database, but long enough to be looked at\n".repeat(500)).unwrap();
    // What the lost journal knew of, and what a scan from a lost checkpoint could not find.
    fs::remove_file(w.at("dir000/file000")).unwrap();
    w.write("dir001/file001", "changed");
    w.run(&[]);
    w.wait_identical_within(DEADLINE * 2);
    let names: Vec<_> =
        fs::read_dir(journal.parent().unwrap()).unwrap().flatten().map(|e| e.file_name()).collect();
    let aside =
        |name: &std::ffi::OsString| name.as_encoded_bytes().starts_with(b"journal.db.damaged-");
    assert!(names.iter().any(aside), "not set aside: {names:?}");
    assert!(w.instance.log_text().contains("was set aside as"), "{}", w.instance.report());
}

/// Whichever page is damaged, and whichever process reads it first.
#[test]
fn damage_of_any_table_of_the_journal_is_survived() {
    let mut w = World::start(1);
    populate(&w.master, 3, 3);
    w.wait_identical();
    w.wait_in_sync();
    w.instance.kill9();
    let states = fs::read_dir(w.instance.state_dir()).unwrap().flatten();
    let journal = states.map(|d| d.path().join("journal.db")).find(|j| j.exists()).unwrap();
    let roots = || {
        let db = Connection::open(&journal).unwrap();
        db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        let size: u32 = db.query_row("PRAGMA page_size", [], |row| row.get(0)).unwrap();
        let sql = "SELECT name, rootpage FROM sqlite_master WHERE rootpage > 0 ORDER BY name";
        let mut query = db.prepare(sql).unwrap();
        let rows = query.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, u32>(1)?)));
        let at = |(name, page): (String, u32)| (name, u64::from((page - 1) * size));
        rows.unwrap().map(|row| at(row.unwrap())).collect::<Vec<_>>()
    };
    let names: Vec<String> = roots().into_iter().map(|(name, _)| name).collect();
    assert!(names.len() > 10, "{names:?}");
    for (n, name) in names.iter().enumerate() {
        let at = roots().into_iter().find(|(other, _)| other == name).unwrap().1;
        let file = OpenOptions::new().write(true).open(&journal).unwrap();
        file.write_all_at(&[0xa5; 200], at).unwrap();
        fs::remove_file(w.at(&format!("dir{:03}/file{:03}", n / 3 % 3, n % 3))).unwrap();
        w.write("changed", name);
        w.run(&[]);
        println!("{name}");
        w.wait_identical_within(DEADLINE);
        w.wait_in_sync();
        populate(&w.master, 3, 3);
        w.wait_identical_within(DEADLINE);
        w.wait_in_sync();
        w.instance.kill9();
    }
}

#[test]
fn an_idle_instance_starts_no_rsync() {
    let w = Setup { remotes: 2, log_rsyncs: true, ..Setup::default() }.start();
    populate(&w.master, 3, 3);
    w.wait_identical();
    w.wait_in_sync();
    let started = w.rsyncs().len();
    holds_for("no rsync started while nothing happens", Duration::from_secs(5), || {
        w.rsyncs().len() <= started + 1
    });
}

/// Confined processes reach only the directory that was there when they began.
#[test]
fn a_state_directory_that_is_replaced_with_its_files_is_used_again() {
    let mut w = Setup::default().start();
    w.wait_in_sync();
    let journal = w.journal();
    let (dir, new) = (journal.parent().unwrap(), w.outside.join("state"));
    fs::create_dir(&new).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        fs::rename(entry.path(), new.join(entry.file_name())).unwrap();
    }
    fs::rename(&new, dir).unwrap();
    w.write("after", "x");
    w.wait_identical();
    w.wait_in_sync();
    w.instance.stop();
}
