//! Slow and broken networks, receivers that outlive their senders, and stops in the middle of a push.

use crate::common::procs::Proc;
use crate::common::proxy::FAST;
use crate::common::rsyncd::Options;
use crate::common::wait::{DEADLINE, poll, wait_for};
use crate::common::world::{Setup, World};
use nix::sys::signal::Signal;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// Behind a network of the test's own.
fn behind_a_proxy(rsync: &'static str) -> Setup {
    let daemon = Options { proxied: true, ..Options::default() };
    Setup { daemon, rsync, ..Setup::default() }
}

fn random(bytes: usize) -> Vec<u8> {
    let mut content = vec![0; bytes];
    fastrand::fill(&mut content);
    content
}

fn holds(path: &Path, content: &[u8]) -> bool {
    fs::read(path).is_ok_and(|found| found == content)
}

/// Waits until at least so much of a push has left for the slave.
#[track_caller]
fn wait_under_way(w: &World, bytes: u64) {
    let proxy = w.remotes[0].proxy();
    wait_for("a push under way", DEADLINE, || proxy.taken() >= bytes);
}

/// A slow network delivers what a killed push had sent after its successor's push is done. (Rule 2.)
#[test]
fn what_an_old_receiver_writes_over_is_pushed_again() {
    let w = behind_a_proxy(", timeout: 5s").start();
    w.probe(0);
    w.wait_in_sync();
    let (proxy, there) = (w.remotes[0].proxy(), w.there("f"));
    proxy.hold_much();
    proxy.rate_of_new(250_000);
    let old = random(600_000);
    let before = proxy.taken();
    w.write("f", &old);
    wait_under_way(&w, before + old.len() as u64);
    let victim = w.instance.pusher(&w.remotes[0].name());
    let orphans = w.instance.rsyncs();
    victim.signal(Signal::SIGKILL);
    proxy.rate_of_new(FAST);
    w.write("f", "new");
    wait_for("the successor's push", DEADLINE, || holds(&there, b"new"));
    assert!(!orphans.iter().any(|p| p.runs()), "pushed beside the predecessor's rsync");
    assert!(proxy.on_the_way() > 0, "the old receiver had ended already: nothing is shown here");
    let stale = || holds(&there, &old).then_some(());
    assert!(poll(DEADLINE, stale).is_some(), "the old receiver never wrote: nothing is shown here");
    w.wait_identical();
    // Once more, and then no more.
    w.wait_in_sync();
    let after = proxy.taken();
    std::thread::sleep(Duration::from_secs(6));
    let sent = proxy.taken() - after;
    assert!(sent < 20_000, "{sent} bytes were sent while nothing happened");
}

/// The sender and the receiver die at once, and neither cleans up: nothing of the receiver stays.
fn killed_together(dying: impl Fn(&World) -> Vec<Proc>, kill: impl Fn(&mut World)) {
    let mut w = behind_a_proxy("").start();
    w.write("d/other", "x");
    w.wait_identical();
    w.wait_in_sync();
    w.remotes[0].proxy().rate(300_000);
    let before = w.remotes[0].proxy().taken();
    w.write("d/f", random(900_000));
    wait_under_way(&w, before + 100_000);
    let temporary = || fs::read_dir(w.there("d")).unwrap().count() > 1;
    wait_for("the receiver's temporary file", DEADLINE, temporary);
    // Neither sees the end of the other.
    dying(&w).iter().for_each(|p| p.signal(Signal::SIGSTOP));
    w.remotes[0].stop();
    kill(&mut w);
    assert!(fs::read_dir(w.there("d")).unwrap().count() > 1, "nothing is left to be removed");
    w.remotes[0].proxy().rate(FAST);
    w.remotes[0].start_again();
    w.wait_identical();
}

#[test]
fn the_whole_instance_and_the_receiver_killed_together() {
    killed_together(
        |w| w.instance.family(),
        |w| {
            w.instance.kill9();
            w.run(&[]);
        },
    );
}

#[test]
fn a_pusher_and_the_receiver_killed_together() {
    killed_together(
        |w| [w.instance.pushers(), w.instance.rsyncs()].concat(),
        |w| w.instance.pushers().iter().for_each(|p| p.signal(Signal::SIGKILL)),
    );
}

/// What does not move is ended after `timeout` and tried again. (Rule 8.)
fn stalled_in_the_middle(stall: impl Fn(&World), go_on: impl Fn(&World)) {
    let w = behind_a_proxy(", timeout: 3s").start();
    w.probe(0);
    w.wait_in_sync();
    w.remotes[0].proxy().rate(300_000);
    let before = w.remotes[0].proxy().taken();
    w.write("large", random(900_000));
    wait_under_way(&w, before + 100_000);
    let stuck = w.instance.rsyncs();
    assert!(!stuck.is_empty());
    stall(&w);
    let began = Instant::now();
    wait_for("the end of the rsync that does not move", DEADLINE, || !stuck[0].runs());
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(2), "ended too soon, after {took:?}");
    assert!(took < Duration::from_secs(10), "ended late, after {took:?}");
    let remote = w.wait_remote(0, "trouble", |r| r["state"] == "backoff");
    assert!(remote["reason"].as_str().is_some_and(|r| r.contains("no answer")), "{remote}");
    wait_for("another try", DEADLINE, || w.instance.rsyncs().iter().any(|p| p.pid != stuck[0].pid));
    go_on(&w);
    w.wait_identical_within(DEADLINE * 2);
    w.wait_in_sync();
}

#[test]
fn a_network_that_breaks_off_in_the_middle_of_a_file() {
    stalled_in_the_middle(|w| w.remotes[0].proxy().rate(0), |w| w.remotes[0].proxy().rate(FAST));
}

#[test]
fn a_receiver_that_stops_in_the_middle_of_a_file() {
    // The daemon goes on answering, so the next try gets through by itself.
    stalled_in_the_middle(
        |w| {
            w.remotes[0].proxy().rate(FAST);
            w.remotes[0].transfers().iter().for_each(|p| p.signal(Signal::SIGSTOP));
            // What comes next stops, too, until it is let go.
            w.remotes[0].proxy().rate_of_new(0);
        },
        |w| {
            w.remotes[0].proxy().rate(FAST);
            w.remotes[0].resume();
        },
    );
}

#[test]
fn a_slow_push_that_moves_is_not_ended() {
    let w = behind_a_proxy(", timeout: 3s").start();
    w.probe(0);
    w.wait_in_sync();
    w.remotes[0].proxy().rate(200_000);
    w.write("large", random(1_600_000));
    let began = Instant::now();
    let mut seen = BTreeSet::new();
    wait_for("the large file", DEADLINE, || {
        seen.extend(w.instance.rsyncs().iter().map(|p| p.pid));
        w.there("large").exists()
    });
    let took = began.elapsed();
    assert!(took > Duration::from_secs(6), "not slow: {took:?}");
    assert_eq!(seen.len(), 1, "not one rsync from start to end");
    w.wait_identical();
}

#[test]
fn a_stop_lets_the_push_in_hand_finish() {
    let mut w = behind_a_proxy("").start();
    w.probe(0);
    w.wait_in_sync();
    let proxy = w.remotes[0].proxy();
    proxy.rate(300_000);
    let (before, content) = (proxy.taken(), random(900_000));
    w.write("large", &content);
    wait_under_way(&w, before + 50_000);
    let began = Instant::now();
    assert!(w.instance.stop().success());
    let took = began.elapsed();
    assert!(took > Duration::from_secs(1), "did not wait: {took:?}");
    assert!(holds(&w.there("large"), &content), "cut short after {took:?}");
    w.remotes[0].proxy().rate(FAST);
    w.run(&[]);
    w.wait_identical();
}

#[test]
fn a_stop_cuts_a_push_that_lasts_too_long() {
    let mut w = behind_a_proxy("").start();
    w.write("large", "old");
    w.wait_identical();
    w.wait_in_sync();
    let proxy = w.remotes[0].proxy();
    proxy.rate(100_000);
    let (before, content) = (proxy.taken(), random(4_000_000));
    w.write("large", &content);
    wait_under_way(&w, before + 50_000);
    let began = Instant::now();
    assert!(w.instance.stop().success());
    let took = began.elapsed();
    assert!((Duration::from_secs(8)..Duration::from_secs(13)).contains(&took), "took {took:?}");
    assert!(holds(&w.there("large"), b"old"), "a torn file");
    w.remotes[0].proxy().rate(FAST);
    w.run(&[]);
    w.wait_identical();
}
