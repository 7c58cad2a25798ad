//! Starts that cannot trust the earlier state: after a reboot, beside exiting processes, with unsafe state.

use crate::common::fuse::Fuse;
use crate::common::namespace::with_private_mounts;
use crate::common::wait::{DEADLINE, holds_for, wait_for};
use crate::common::world::{Setup, World, populate};
use rusqlite::Connection;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::{Duration, SystemTime};

/// Makes what a stopped instance knows come from another boot.
fn pretend_reboot(w: &World) {
    let here = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let other = "00000000-1111-2222-3333-444444444444";
    let db = Connection::open(w.journal()).unwrap();
    let changed = db
        .execute("UPDATE checkpoint SET state = replace(state, ?1, ?2)", [here.trim(), other])
        .unwrap();
    let state: String = db.query_row("SELECT state FROM checkpoint", [], |r| r.get(0)).unwrap();
    assert!(changed == 1 && state.contains(other), "{state}");
    let root = w.journal().with_file_name("root.json");
    let text = fs::read_to_string(&root).unwrap();
    fs::write(root, text.replace(here.trim(), other)).unwrap();
}

/// What a scan finds, and what only a comparison does.
fn change_both_sides(w: &World, round: &str) {
    w.write(&format!("dir000/{round}"), "on the master");
    fs::remove_file(w.at(&format!("dir001/file00{}", round.len() % 3))).unwrap();
    fs::write(w.there("dir002/file002"), format!("by hand: {round}")).unwrap();
}

#[test]
fn a_reboot_causes_a_scan_and_after_an_unclean_stop_a_reconcile() {
    let mut w = Setup { log_rsyncs: true, ..Setup::default() }.build();
    populate(&w.master, 3, 4);
    w.run(&[]);
    w.wait_identical();
    w.wait_in_sync();
    w.instance.kill9();
    pretend_reboot(&w);
    change_both_sides(&w, "cut");
    let before = w.full_comparisons().len();
    w.run(&[]);
    w.wait_identical();
    w.wait_in_sync();
    assert!(w.full_comparisons().len() > before, "not compared");
    assert!(w.instance.log_text().contains("without an orderly stop"), "{}", w.instance.report());

    // Killed again in the same boot: a scan is enough.
    w.instance.kill9();
    let before = w.full_comparisons();
    w.run(&[]);
    w.probe(0);
    w.wait_in_sync();
    assert_eq!(w.full_comparisons(), before, "compared though a scan finds everything");

    // A scan looks 2 s further back than the checkpoint: this file must be older.
    let changed = w.at("dir002/file002").metadata().unwrap().ctime();
    wait_for("time", DEADLINE, || {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        now.as_secs() as i64 > changed + 3
    });
    w.probe(0);
    w.wait_in_sync();
    w.instance.stop();
    pretend_reboot(&w);
    change_both_sides(&w, "clean");
    w.run(&[]);
    let come = || w.there("dir000/clean").exists() && !w.there("dir001/file002").exists();
    wait_for("the changes that a scan finds", DEADLINE, come);
    w.probe(0);
    w.wait_in_sync();
    assert_eq!(w.full_comparisons(), before, "compared after a clean stop");
    let by_hand = || fs::read_to_string(w.there("dir002/file002")).unwrap() == "by hand: clean";
    assert!(by_hand(), "a reconcile ran");

    // A clean stop counts once: a reboot in the middle of the next run is unclean.
    w.instance.kill9();
    pretend_reboot(&w);
    w.run(&[]);
    w.wait_identical();
    w.instance.stop();
}

/// A power cut may leave a file's size and times, which are written first, without its content.
#[test]
fn after_an_unclean_reboot_recent_files_are_compared_by_content() {
    // A standby that compares by content, or a comparison of a few files together, would find it by chance.
    let mut w = Setup { settings: "standby: off\n", ..Setup::default() }.build();
    populate(&w.master, 1, 150);
    w.run(&[]);
    w.wait_identical();
    w.wait_in_sync();
    // One on its own, and one in a directory that seems to be new.
    let files = ["dir000/file000", "new/file"];
    files.iter().for_each(|name| w.write(name, "the new content"));
    w.wait_identical();
    w.wait_in_sync();
    w.instance.kill9();
    // The journal forgets, too, what it knew last.
    let db = Connection::open(w.journal()).unwrap();
    db.execute_batch("DELETE FROM recent; DELETE FROM owed;").unwrap();
    drop(db);
    for name in files {
        let (here, there) = (w.at(name), w.there(name));
        let open = |path| fs::File::options().write(true).open(path).unwrap();
        open(&here).write_all_at(b"the old content", 0).unwrap();
        let time = here.metadata().unwrap().modified().unwrap();
        open(&there).set_times(fs::FileTimes::new().set_modified(time)).unwrap();
    }
    pretend_reboot(&w);
    w.run(&[]);
    w.wait_identical();
    w.wait_in_sync();
}

#[test]
fn one_of_two_concurrent_starts_wins_beside_exiting_children() {
    let setup = Setup { remotes: 2, params: "-a --bwlimit=1000", ..Setup::default() };
    let mut w = setup.build();
    assert!(w.instance.command(&["-d"]).status.success());
    w.probe(0);
    for round in 0..2 {
        w.write("large", vec![round; 3 << 20]);
        w.write(&format!("d{round}/f"), "x");
        wait_for("a running push", DEADLINE, || !w.instance.rsyncs().is_empty());
        let old = w.instance.family();
        w.instance.kill_supervisor();
        // A daemon is not a child of the test: it keeps its locks until the kernel has removed it.
        let codes = std::thread::scope(|scope| {
            let start = || scope.spawn(|| w.instance.command(&["-d"]).status.code());
            [start(), start()].map(|starter| starter.join().unwrap())
        });
        let mut sorted = codes;
        sorted.sort();
        assert_eq!(sorted, [Some(0), Some(4)], "{}", w.instance.report());
        w.write(&format!("d{round}/g"), "x");
        w.wait_identical();
        wait_for("the exit of the old children", DEADLINE, || !old.iter().any(|p| p.runs()));
        assert_eq!((w.instance.watchers().len(), w.instance.pushers().len()), (1, 2));
    }
    w.instance.stop();
}

#[test]
fn state_on_a_network_file_system_is_refused() {
    with_private_mounts(|| {
        let w = Setup::default().build();
        let state = w.instance.state_dir();
        fs::create_dir_all(&state).unwrap();
        let Some(_mounted) = Fuse::mount(&state) else {
            eprintln!("SKIPPED: no FUSE");
            return;
        };
        for args in [&[][..], &["-d"]] {
            let out = w.instance.command(args);
            let words = String::from_utf8_lossy(&out.stderr).into_owned();
            assert_eq!(out.status.code(), Some(2), "{words}");
            assert!(words.contains("network file system"), "{words}");
            assert!(words.contains("--state-dir") && words.contains(state.to_str().unwrap()));
        }
    });
}

/// Without a journal, a start without a scan would report everything in sync.
#[test]
fn a_removed_journal_loses_nothing() {
    let settings = "first_copy: false\n";
    let mut w = Setup { remotes: 2, settings, ..Setup::default() }.build();
    populate(&w.master, 3, 4);
    w.run(&["-r"]);
    w.wait_in_sync();
    let dir = w.journal().parent().unwrap().to_owned();
    let remove = || {
        for suffix in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(dir.join(format!("journal.db{suffix}")));
        }
    };
    for round in ["running", "stopping", "directory"] {
        match round {
            "running" => {
                remove();
                w.instance.stop();
            }
            "stopping" => {
                w.instance.stop();
                remove();
            }
            _ => {
                fs::remove_dir_all(&dir).unwrap();
                w.instance.stop();
            }
        }
        change_both_sides(&w, round);
        w.run(&[]);
        w.wait_identical();
        w.wait_in_sync();
    }
    assert!(w.instance.log_text().contains("was lost"), "{}", w.instance.report());
}

/// An operator reads the journal for minutes: its log grows, marking continues, and afterwards it is short again.
#[test]
fn a_long_read_of_the_journal_blocks_nothing() {
    let w = World::start(1);
    w.probe(0);
    let journal = w.journal();
    let log = journal.with_extension("db-wal");
    let size = || fs::metadata(&log).map_or(0, |m| m.len());
    let operator = Connection::open(&journal).unwrap();
    operator.execute_batch("BEGIN").unwrap();
    let _: i64 = operator.query_row("SELECT count(*) FROM change", [], |r| r.get(0)).unwrap();
    let long = "n".repeat(200);
    let mut round = 0;
    wait_for("a log that is too long", DEADLINE * 3, || {
        round += 1;
        (0..2_000).for_each(|n| w.write(&format!("many/{long}{n}"), format!("{round}")));
        size() > 20 << 20
    });
    // The burst itself may take its time.
    w.wait_identical_within(DEADLINE * 3);
    let quickest = (0..3).map(|_| w.probe(0)).min().unwrap();
    assert!(quickest < Duration::from_secs(6), "a change takes {quickest:?} beside a reader");
    operator.execute_batch("ROLLBACK").unwrap();
    // As much as one transaction may leave on top.
    wait_for("the log to be shortened", DEADLINE, || {
        w.probe(0);
        size() <= 18 << 20
    });
    w.wait_identical();
    holds_for("a short log", Duration::from_secs(1), || size() <= 18 << 20);
    let local = w.wait_local("no restarts", |l| l["state"] == "watching");
    assert_eq!(local["watcher"]["restarts"], 0);
}
