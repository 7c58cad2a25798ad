//! `verify_schedule`: manual changes on a slave are found and repaired without an event and without a full
//! reconcile, one part of the tree after another.

use crate::common::rsyncd::Options;
use crate::common::wait::{DEADLINE, holds_for, wait_for};
use crate::common::world::{Setup, World, populate, write};
use nix::sys::signal::Signal;
use rusqlite::Connection;
use serde_json::Value;
use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

/// Other content with the same size and time.
fn rewrite(path: &Path, content: &[u8]) {
    let file = File::options().write(true).open(path).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    fs::write(path, content).unwrap();
    file.set_times(FileTimes::new().set_modified(modified)).unwrap();
}

fn verify(w: &World) -> Value {
    let status = w.instance.status();
    status["instances"][0]["localpaths"][0]["remotes"][0]["verify"].clone()
}

#[track_caller]
fn wait_repaired(w: &World) {
    w.wait_identical_within(DEADLINE * 2);
}

#[test]
fn a_scrub_repairs_manual_changes_without_an_event() {
    let settings =
        "verify_schedule: {every: 3s, rate: 1MiB/s}\nfilter: {exclude_glob: ['*.log']}\n";
    let mut w = Setup { settings, log_rsyncs: true, ..Setup::default() }.build();
    populate(&w.at("tree"), 4, 4);
    for name in ["same", "gone", "deep/er/same", "deep/mode", "deep/gone/in/it", "-x", "#y"] {
        w.write(name, "content");
    }
    w.write("big/1", vec![b'x'; 3 << 20]);
    w.write("big/sub/2", vec![b'x'; 3 << 20]);
    w.run(&[]);
    w.wait_identical();
    w.wait_in_sync();
    let before = w.full_comparisons().len();
    rewrite(&w.there("same"), b"CONTENT");
    rewrite(&w.there("deep/er/same"), b"CONTENT");
    rewrite(&w.there("big/sub/2"), &vec![b'y'; 3 << 20]);
    fs::remove_file(w.there("gone")).unwrap();
    fs::remove_dir_all(w.there("deep/gone")).unwrap();
    fs::set_permissions(w.there("deep/mode"), Permissions::from_mode(0o751)).unwrap();
    fs::set_permissions(w.there("tree"), Permissions::from_mode(0o751)).unwrap();
    write(&w.there("extra"), "x");
    write(&w.there("extra dir/with/content"), "x");
    write(&w.there("deep/er/extra/x"), "x");
    write(&w.there("tree/dir000").join(std::ffi::OsStr::from_bytes(b"bad\xff\n\x1b[1m")), "x");
    write(&w.there("deep/kept.log"), "excluded");
    let left_alone = || w.there("deep/kept.log").exists();
    wait_for("the repair", DEADLINE * 2, || {
        assert!(left_alone());
        let there = |p: &str| fs::read(w.there(p)).ok();
        let at = |p: &str| fs::read(w.at(p)).ok();
        ["same", "gone", "deep/er/same", "deep/gone/in/it", "big/sub/2"]
            .iter()
            .all(|p| there(p) == at(p))
            && !w.there("extra").exists()
            && !w.there("extra dir").exists()
            && !w.there("deep/er/extra").exists()
    });
    fs::remove_file(w.there("deep/kept.log")).unwrap();
    wait_repaired(&w);
    assert_eq!(w.full_comparisons().len(), before, "no full comparison: {:#?}", w.rsyncs());
    // More than one part; and a run comes to its end, with its account.
    w.wait_remote(0, "an end", |r| !r["verify"]["last"].is_null());
    let log = w.instance.log_text();
    assert!(log.contains("verify_schedule: pushing differences"), "{log}");
    assert!(log.contains("verify_schedule: run finished"), "{log}");
    let last = verify(&w)["last"].clone();
    assert!(last["parts"].as_u64() >= Some(4) && last["incomplete"] == 0, "{last}");
    // And then there is nothing left to be found.
    w.wait_remote(0, "a run that finds nothing", |r| r["verify"]["last"]["repaired"] == 0);
    let out = w.instance.command(&["status"]);
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(text.contains("scrub"), "{text}");
}

/// Parts that take six seconds each.
const SLOW: &str = "verify_schedule: {every: 2s, rate: 100KiB/s}\n";

fn slow_parts(w: &World) {
    for dir in ["a", "b", "c", "d"] {
        w.write(&format!("{dir}/file"), vec![b'x'; 450_000]);
    }
}

#[test]
fn a_scrub_resumes_after_a_restart() {
    let mut w = Setup { settings: SLOW, log_rsyncs: true, ..Setup::default() }.build();
    slow_parts(&w);
    w.run(&[]);
    w.wait_identical();
    w.wait_in_sync();
    w.wait_remote(0, "two directories", |r| {
        r["verify"]["run"]["at"].as_str().is_some_and(|at| at.starts_with('b'))
    });
    // The checkpoint moves, and the scan of the next start finds none of the directories new.
    w.probe(0);
    let run = verify(&w)["run"].clone();
    w.instance.kill9();
    // While nothing runs: behind and before the place where it stood.
    write(&w.there("a/extra"), "x");
    fs::remove_dir_all(w.at("c")).unwrap();
    rewrite(&w.there("d/file"), &vec![b'y'; 450_000]);
    let rsyncs = w.rsyncs().len();
    w.run(&[]);
    w.wait_remote(0, "the same run", |r| {
        r["verify"]["run"]["began_ms"] == run["began_ms"]
            && r["verify"]["run"]["parts"].as_u64() > run["parts"].as_u64()
    });
    wait_for("the repair behind", DEADLINE, || {
        fs::read(w.there("d/file")).unwrap() == fs::read(w.at("d/file")).unwrap()
    });
    wait_for("the deletion, by the scan", DEADLINE, || !w.there("c").exists());
    // The next run finds it, if what is compared after a kill has not: names near recent pushes.
    wait_repaired(&w);
    let after = w.rsyncs().split_off(rsyncs);
    let full = after.iter().filter(|l| l.contains(" -n ") && !l.contains("--files-from")).count();
    assert_eq!(full, 0, "{after:#?}");
}

#[test]
fn a_killed_pusher_compares_the_current_part_again() {
    let w = Setup { settings: SLOW, ..Setup::default() }.start();
    slow_parts(&w);
    w.wait_identical();
    w.wait_remote(0, "a part", |r| r["verify"]["run"]["parts"].as_u64() >= Some(1));
    let began = verify(&w)["run"]["began_ms"].clone();
    w.instance.pusher(&w.remotes[0].name()).signal(Signal::SIGKILL);
    let remote = w.wait_remote(0, "its end", |r| !r["verify"]["last"].is_null());
    assert_eq!(remote["verify"]["last"]["began_ms"], began, "{remote}");
}

#[test]
fn the_guard_holds_a_mass_deletion_until_it_is_released() {
    let settings = "verify_schedule: {every: 2s, rate: 1MiB/s}\n";
    let mut w = Setup { settings, remote: ", max_delete: 5", ..Setup::default() }.build();
    populate(&w.at("tree"), 3, 4);
    // Parts of their own.
    for dir in ["u", "v"] {
        w.write(&format!("{dir}/big"), vec![b'x'; 4 << 20]);
    }
    w.run(&[]);
    w.wait_identical();
    w.wait_in_sync();
    // Neither of the two is too much.
    for n in 0..4 {
        write(&w.there(&format!("u/stray{n}")), "x");
        write(&w.there(&format!("v/stray{n}")), "x");
    }
    let remote = w.wait_remote(0, "held", |r| r["state"] == "held");
    assert!(remote["reason"].as_str().unwrap().contains("would delete 8 of "), "{remote}");
    assert!(w.there("v/stray0").exists());
    // What changes here goes on.
    w.probe(0);
    holds_for("held", Duration::from_secs(3), || w.there("v/stray0").exists());
    let out = w.instance.command(&["release", &w.remotes[0].name()]);
    assert!(out.status.success(), "{out:?}");
    wait_repaired(&w);
    w.wait_in_sync();
}

#[test]
fn a_scrub_yields_its_slot_to_pushes() {
    let daemon = Options { proxied: true, ..Options::default() };
    let settings = "verify_schedule: {every: 1s, rate: unlimited}\n";
    let mut w = Setup { remotes: 2, daemon, settings, ..Setup::default() }.build();
    populate(&w.at("tree"), 40, 50);
    w.run(&["-n", "1"]);
    w.wait_identical();
    w.wait_in_sync();
    // A comparison of the first that takes for ever holds the only slot.
    w.remotes[0].proxy().rate(1_000);
    wait_for("a part in the only slot", DEADLINE, || {
        w.instance.rsyncs().iter().any(|p| {
            p.command.contains(" -n ")
                && p.command.contains(&w.remotes[0].name().replace("::", "/"))
        })
    });
    for _ in 0..3 {
        let took = w.probe(1);
        assert!(took < Duration::from_secs(15), "{took:?}");
    }
    w.remotes[0].proxy().rate(crate::common::proxy::FAST);
    w.wait_identical();
}

#[test]
fn a_journal_of_an_older_version_is_upgraded() {
    let mut w = Setup::default().build();
    populate(&w.at("tree"), 2, 2);
    w.run(&[]);
    w.wait_identical();
    w.instance.stop();
    Connection::open(w.journal()).unwrap().execute_batch("DROP TABLE verify").unwrap();
    let config = fs::read_to_string(w.instance.config()).unwrap();
    fs::write(w.instance.config(), format!("verify_schedule: {{every: 2s}}\n{config}")).unwrap();
    w.run(&[]);
    fs::remove_file(w.there("tree/dir000/file000")).unwrap();
    wait_repaired(&w);
}
