//! Random operations; whatever dies meanwhile, the trees are identical in the end.

use crate::common::churn::{Churn, Plan, Work};
use crate::common::procs::Proc;
use crate::common::wait::DEADLINE;
use crate::common::world::{Setup, World};
use nix::sys::signal::Signal;
use std::time::{Duration, Instant};

const DIRS: usize = 200;

/// How long each churn lasts.
fn length() -> Duration {
    let seconds = std::env::var("SYNCSUP_CHURN_S")
        .ok()
        .map(|s| s.parse().expect("SYNCSUP_CHURN_S is a number"));
    Duration::from_secs(seconds.unwrap_or(20))
}

fn plan(world: &World) -> Plan {
    Plan {
        root: world.master.clone(),
        outside: world.outside.clone(),
        dirs: DIRS,
        rate: 200,
        sets_times: true,
    }
}

/// A world with two slaves and a tree to churn, all in sync. `max_delete` is off: a churn may well delete most files
/// while an instance is down. The names of editors' temporaries, which are left out by default, are in the churn.
fn start() -> World {
    let setup = Setup {
        remotes: 2,
        remote: ", max_delete: unlimited",
        settings: "filter: {names: none}\n",
        ..Setup::default()
    };
    let mut w = setup.build();
    Work::new(plan(&w), 1).fill();
    w.run(&[]);
    w.wait_identical();
    w
}

/// A world in the middle of a slow first copy of 1 MB a second: `files` more files of `bytes` in each of 200 directories.
fn first_copy(files: usize, bytes: usize) -> World {
    let setup = Setup {
        params: "-a --bwlimit=1000",
        remote: ", max_delete: unlimited",
        settings: "filter: {names: none}\n",
        ..Setup::default()
    };
    let mut w = setup.build();
    let mut work = Work::new(plan(&w), 1);
    work.fill();
    work.fill_more(files, bytes);
    w.run(&[]);
    w.wait_remote(0, "a first copy under way", |r| {
        r["pushed_files"].as_u64() > Some(0) || r["state"] == "reconciling"
    });
    w
}

/// Churns, calls `disturb` every `pause` meanwhile, and compares.
fn churn_and_compare(
    mut w: World,
    pause: Duration,
    deadline: Duration,
    mut disturb: impl FnMut(&mut World),
) {
    let churn = Churn::start(plan(&w));
    let end = Instant::now() + length();
    while Instant::now() < end {
        std::thread::sleep(pause.min(end.saturating_duration_since(Instant::now())));
        disturb(&mut w);
    }
    println!("churn: {} operations", churn.stop());
    let ended = Instant::now();
    w.wait_identical_within(deadline);
    println!("identical after {} ms", ended.elapsed().as_millis());
}

/// The same, one of the processes that `victims` finds killed every 300 ms.
fn churn_and_kill(victims: impl Fn(&World) -> Vec<Proc>) {
    let mut killed = 0;
    // A child that is killed over and over is started with growing pauses, up to 30 s.
    churn_and_compare(start(), Duration::from_millis(300), DEADLINE * 3, |w| {
        let found = victims(w);
        if !found.is_empty() {
            found[fastrand::usize(..found.len())].signal(Signal::SIGKILL);
            killed += 1;
        }
    });
    println!("killed: {killed}");
    assert!(killed > 3, "only {killed} processes could be killed");
}

#[test]
fn slaves_match_after_a_churn() {
    let w = start();
    let children = [w.instance.watchers(), w.instance.pushers()].concat();
    let before: Vec<i32> = children.iter().map(|p| p.pid).collect();
    assert_eq!(before.len(), 3);
    churn_and_compare(w, length(), DEADLINE, |w| {
        let now = w.instance.family();
        assert!(
            before.iter().all(|pid| now.iter().any(|p| p.pid == *pid)),
            "a child was replaced: {now:?}"
        );
    });
}

#[test]
fn slaves_match_while_the_watcher_is_killed() {
    churn_and_kill(|w| w.instance.watchers());
}

#[test]
fn slaves_match_while_pushers_are_killed() {
    churn_and_kill(|w| w.instance.pushers());
}

#[test]
fn slaves_match_while_processes_are_stopped() {
    // What is decided between two looks at the tree is wrong more often when they lie far apart.
    churn_and_compare(start(), Duration::from_millis(60), DEADLINE, |w| {
        let watcher = fastrand::bool();
        let found = if watcher { w.instance.watchers() } else { w.instance.family().split_off(1) };
        if found.is_empty() {
            return;
        }
        let held = &found[fastrand::usize(..found.len())];
        held.signal(Signal::SIGSTOP);
        std::thread::sleep(Duration::from_millis(fastrand::u64(20..300)));
        held.signal(Signal::SIGCONT);
    });
}

#[test]
fn slaves_match_while_rsyncs_are_killed() {
    churn_and_kill(|w| w.instance.rsyncs());
}

#[test]
fn slaves_match_while_all_but_the_supervisor_is_killed() {
    churn_and_kill(|w| w.instance.family().split_off(1));
}

#[test]
fn slaves_match_while_the_instance_is_killed_and_started() {
    let mut round = 0;
    churn_and_compare(start(), Duration::from_secs(5), DEADLINE * 2, |w| {
        round += 1;
        match round % 2 {
            0 => w.instance.kill9(),
            // Alone, it leaves its children to end by themselves, and the next instance to wait for them.
            _ => w.instance.kill_supervisor(),
        }
        w.run(&[]);
    });
}

#[test]
fn slaves_match_after_a_first_copy_with_killed_pushers_and_rsyncs() {
    // More than one portion, 24 MB.
    churn_a_first_copy(60, 2_000);
}

#[test]
fn slaves_match_after_everything_was_pushed_at_once_with_killed_pushers_and_rsyncs() {
    churn_a_first_copy(150, 500);
}

fn churn_a_first_copy(files: usize, bytes: usize) {
    let (mut round, mut killed) = (0, 0);
    churn_and_compare(first_copy(files, bytes), Duration::from_millis(1_500), DEADLINE * 4, |w| {
        round += 1;
        let found = match round % 3 {
            0 => w.instance.pushers(),
            1 => w.instance.rsyncs(),
            // A while without, for portions to come to their ends.
            _ => return,
        };
        if !found.is_empty() {
            found[fastrand::usize(..found.len())].signal(Signal::SIGKILL);
            killed += 1;
        }
    });
    assert!(killed > 3, "only {killed} processes could be killed");
}
