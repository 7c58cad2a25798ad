//! Scheduled reconciles (sersync's `crontab`), and the limit of parallel pushes (`-n`).

use crate::common::procs::Proc;
use crate::common::rsyncd::Options;
use crate::common::wait::{DEADLINE, TICK, wait_for};
use crate::common::world::{Setup, World, populate};
use nix::sys::signal::Signal;
use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

/// The shortest period is a minute.
#[test]
fn a_slave_changed_by_hand_is_repaired_on_schedule() {
    repaired("crontab: {every: 1m, exclude: ['*.php', '/cache/']}\n");
}

#[test]
fn a_slave_changed_by_hand_is_repaired_by_a_cron_expression() {
    repaired("crontab: {cron: '*/1 * * jan-dec mon-sun', exclude: ['*.php', '/cache/']}\n");
}

fn repaired(settings: &'static str) {
    let daemon = Options { module_lines: "exclude = /refused\n".to_string(), ..Options::default() };
    let mut w = Setup { remotes: 2, daemon, settings, ..Setup::default() }.build();
    populate(&w.master, 2, 2);
    w.write("page.php", "ours");
    w.write("cache/entry", "ours");
    w.run(&[]);
    w.wait_identical();
    w.wait_in_sync();
    // One path keeps failing all the time.
    w.write("refused", "x");
    w.wait_remote(0, "a path that fails", |r| r["failing"] == 1);
    // And another remote is down all the time.
    w.remotes[1].stop();
    w.write("while one is down", "x");
    let down = w.wait_remote(1, "its trouble", |r| r["state"] == "backoff");
    let ours = fs::read(w.at("dir000/file000")).unwrap();
    let by_hand = |path: &str| fs::write(w.there(path), "by hand").unwrap();
    let is_by_hand =
        |path: &str| fs::read_to_string(w.there(path)).is_ok_and(|text| text == "by hand");
    for path in ["dir000/file000", "page.php", "cache/entry", "stray", "stray.php"] {
        by_hand(path);
    }
    fs::remove_file(w.there("dir001/file001")).unwrap();
    let repaired = || {
        fs::read(w.there("dir000/file000")).unwrap() == ours
            && w.there("dir001/file001").exists()
            && !w.there("stray").exists()
    };
    // A cron expression may strike at any moment.
    assert!(settings.contains("cron:") || !repaired(), "repaired before its time");
    wait_for("the scheduled comparison", DEADLINE * 3, repaired);
    for path in ["page.php", "cache/entry", "stray.php"] {
        assert!(is_by_hand(path), "{path} is left out of scheduled comparisons");
    }
    // Nothing flows back.
    assert_eq!(fs::read(w.at("dir000/file000")).unwrap(), ours);
    assert!(w.at("dir001/file001").exists() && !w.at("stray").exists());
    let remote = w.wait_remote(0, "its end", |r| r["reconcile"].is_null());
    assert_eq!(remote["failing"], 1, "{remote}");
    let still = w.wait_remote(1, "its trouble", |r| r["state"] == "backoff");
    assert_eq!(still["reconciles_done"], down["reconciles_done"], "{still}");
    w.remotes[1].start_again();
    // Any other comparison leaves out nothing.
    let sync = w.instance.command(&["sync"]);
    println!("sync: {sync:?}");
    fs::remove_file(w.at("refused")).unwrap();
    w.wait_identical_within(DEADLINE * 2);
}

/// The rsyncs that push now.
fn pushing(w: &World) -> Vec<Proc> {
    let mut rsyncs = w.instance.rsyncs();
    rsyncs.retain(|p| p.state != 'Z' && p.command.contains(" ./ rsync://"));
    rsyncs
}

#[test]
fn at_most_n_pushes_run_at_once_and_dead_pushers_return_their_slots() {
    // Each push lasts about half a second.
    let setup = Setup { remotes: 6, params: "-a --bwlimit=500", ..Setup::default() };
    let mut w = setup.build();
    w.run(&["-n", "2"]);
    w.wait_identical();
    w.wait_in_sync();
    let (mut most, mut remotes, mut killed) = (0, BTreeSet::new(), 0);
    let mut content = vec![0; 300_000];
    for round in 0..2 {
        fastrand::fill(&mut content);
        w.write("f", &content);
        let began = Instant::now();
        let arrived =
            |slave: &std::path::PathBuf| fs::read(slave.join("f")).is_ok_and(|c| c == content);
        while !w.slaves().iter().all(arrived) {
            assert!(began.elapsed() < DEADLINE, "{}", w.instance.report());
            let mut now = pushing(&w);
            // One that ended while the others were looked for did not run beside them.
            now.retain(Proc::runs);
            most = most.max(now.len());
            assert!(now.len() <= 2, "{now:#?}");
            remotes.extend(now.iter().map(|p| p.group));
            let due = began.elapsed() > Duration::from_millis(300) * (killed + 1);
            if round == 1 && killed < 3 && due && !now.is_empty() {
                // It has a slot.
                let pusher = Proc::read(now[0].group).expect("the leader of its group");
                assert!(pusher.command.starts_with("syncsup: pusher "), "{pusher:?}");
                pusher.signal(Signal::SIGKILL);
                killed += 1;
            }
            std::thread::sleep(TICK);
        }
    }
    assert_eq!((most, killed), (2, 3));
    assert!(remotes.len() >= 6, "not all of them pushed: {remotes:?}");
    w.wait_identical();
    (0..6).for_each(|n| assert!(w.probe(n) < Duration::from_secs(10)));
}
