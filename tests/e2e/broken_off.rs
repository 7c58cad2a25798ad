//! An rsync that broke off, and the temporary files that its receiver left.

use crate::common::churn::{Churn, Plan, Work};
use crate::common::wait::{DEADLINE, wait_for};
use crate::common::world::{Setup, World, write};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use rusqlite::Connection;
use std::fs;
use std::path::{Path, PathBuf};

/// Slow enough to be met in the middle of a push.
fn slow() -> Setup {
    Setup { params: "-a --bwlimit=300", ..Setup::default() }
}

/// Has the marks of `changes`, as many as `count` with names like `like`, in one batch of the only pusher.
fn in_one_batch(w: &World, (like, count): (&str, i64), changes: impl FnOnce()) {
    // The pusher may not be silent for longer than its supervisor bears.
    let (supervisor, pusher) = (w.instance.supervisor(), w.instance.pusher(&w.remotes[0].name()));
    supervisor.signal(Signal::SIGSTOP);
    pusher.signal(Signal::SIGSTOP);
    changes();
    let journal = Connection::open(w.journal()).unwrap();
    wait_for("all marks", DEADLINE, || {
        // Settled marks are removed later.
        let sql = "SELECT count(*) FROM change WHERE CAST(path AS TEXT) LIKE ?1 AND seq > (SELECT cursor FROM remote)";
        journal.query_row(sql, [like], |row| row.get(0)).is_ok_and(|found: i64| found == count)
    });
    pusher.signal(Signal::SIGCONT);
    supervisor.signal(Signal::SIGCONT);
}

/// The leftover of the file `name` when rsync's receiver dies between creating it and recording it.
fn left_of(w: &World, dir: &str, name: &str) -> PathBuf {
    let left = w.there(dir).join(format!(".{name}.AbCdEf"));
    write(&left, "");
    left
}

/// Waits until the slave writes this file.
#[track_caller]
fn wait_written(there: &Path, name: &str) {
    let begins = format!(".{name}.");
    wait_for("a file being written", DEADLINE, || {
        let names = fs::read_dir(there).unwrap().flatten();
        let mut names = names.map(|entry| entry.file_name().into_string().unwrap());
        names.any(|name| name.starts_with(&begins) && !name.ends_with(".AbCdEf"))
    });
}

#[test]
fn a_file_that_turned_into_a_fifo_delays_no_other() {
    let mut w = slow().build();
    w.run(&["-v"]);
    w.write("a", "x");
    w.write("z", "x");
    w.wait_identical();
    w.wait_in_sync();
    in_one_batch(&w, ("_", 2), || {
        w.write("a", vec![b'a'; 3_000_000]);
        w.write("z", "changed");
    });
    wait_written(&w.there(""), "a");
    let fifo = w.outside.join("fifo");
    mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    fs::rename(&fifo, w.at("z")).unwrap();
    wait_for("an rsync that waits for the fifo", DEADLINE, || {
        let place = |pid| fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
        let waits = |pid| place(pid).starts_with("wait_for_partner");
        // It is killed after a second or two.
        w.instance.rsyncs().iter().any(|p| waits(p.pid))
            || w.instance.log_text().contains("became a fifo")
    });
    // Nobody can open it any more.
    fs::remove_file(w.at("z")).unwrap();
    w.write("z", "a file again");
    // The timeout of a silent rsync is 100 s.
    w.wait_identical();
    w.wait_in_sync();
}

#[test]
fn leftovers_of_a_broken_receiver_are_removed() {
    let mut w = Setup {
        remote: ", max_delete: unlimited",
        settings: "filter: {names: none}\n",
        ..Setup::default()
    }
    .build();
    w.write("a/f", "x");
    let plan = Plan {
        root: w.at("churn"),
        outside: w.outside.clone(),
        dirs: 200,
        rate: 2_000,
        sets_times: true,
    };
    Work::new(plan.clone(), 1).fill();
    w.run(&["-v"]);
    w.wait_identical();
    w.wait_in_sync();
    let left = left_of(&w, "a", "gone");
    // The receiver gives up when a directory is absent in the list and something in it is there.
    let churn = Churn::start(plan);
    let mut round = 0;
    wait_for("rsyncs that break off", DEADLINE * 3, || {
        round += 1;
        w.write("a/f", format!("{round}"));
        w.instance.log_text().matches("how: exit 2,").count() >= 10
    });
    churn.stop();
    wait_for("its removal", DEADLINE, || !left.exists());
    w.wait_identical();
}

#[test]
fn a_large_backlog_of_directories_is_compared_completely() {
    let w = Setup { params: "-a --bwlimit=100", ..slow() }.start();
    w.probe(0);
    w.wait_in_sync();
    in_one_batch(&w, ("d%/f", 1_100), || {
        (0..1_100).for_each(|n| w.write(&format!("d{n:04}/f"), [b'x'; 1_000]));
    });
    wait_for("a push under way", DEADLINE, || w.there("d0500/f").exists());
    let left = left_of(&w, "d0400", "gone");
    let rsyncs = w.instance.rsyncs();
    rsyncs.iter().for_each(|p| p.signal(Signal::SIGKILL));
    assert!(!w.there("d1099/f").exists(), "it had ended already: nothing is shown here");
    wait_for("its removal", DEADLINE, || !left.exists());
    w.wait_identical();
    wait_for("its reason in the log", DEADLINE, || {
        w.instance.log_text().contains("a receiver was killed during a large push")
    });
}

#[test]
fn a_possible_temporary_of_a_running_push_is_checked_again() {
    // Large files go beside what a comparison finds.
    let w = Setup { settings: "large_file: 500KiB\n", ..slow() }.start();
    w.write("d/big", "x");
    w.wait_identical();
    w.wait_in_sync();
    let left = left_of(&w, "d", "big");
    w.write("d/big", vec![b'b'; 4_000_000]);
    wait_written(&w.there("d"), "big");
    let compared = |w: &World| w.wait_remote(0, "its status", |_| true)["reconciles_done"].as_u64();
    let before = compared(&w);
    let _sync = w.instance.begin(&["sync"]);
    wait_for("a comparison", DEADLINE, || compared(&w) > before);
    assert!(left.exists(), "it was taken for what the push in flight writes");
    wait_for("its removal", DEADLINE, || !left.exists());
    w.wait_identical();
    let log = w.instance.log_text();
    assert!(!log.contains("paths failed"), "what a push in flight wrote was removed: {log}");
}
