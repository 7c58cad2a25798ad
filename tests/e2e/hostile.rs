//! A slave that means no good fills neither memory nor disk, keeps no slot from others, and is called what it is.

use crate::common::hostile::{Hostile, Malice, Stream};
use crate::common::wait::{DEADLINE, poll};
use crate::common::world::{Setup, World};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

/// More than what an rsync and its output may take for the moment that a look at it needs.
const MUCH: u64 = 1 << 30;

/// Two slaves in sync, one slot; then a hostile server replaces the first.
fn taken(malice: Malice) -> (World, Hostile) {
    let mut w = Setup { remotes: 2, rsync: ", timeout: 3s", ..Setup::default() }.build();
    w.run(&["-n", "1"]);
    w.write("first", "x");
    w.wait_identical();
    w.wait_in_sync();
    w.remotes[0].stop();
    let hostile = Hostile::start(w.remotes[0].port, malice);
    w.write("second", "x");
    (w, hostile)
}

/// Memory and unnamed files of the instance's processes, in bytes.
fn held(w: &World) -> u64 {
    let of = |pid: i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let rss = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kb: u64 = rss.and_then(|r| r.split_whitespace().next()?.parse().ok()).unwrap_or(0);
        let fds = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let unnamed = fds.filter_map(|fd| fs::metadata(fd.path()).ok()).filter(|m| m.nlink() == 0);
        kb * 1_024 + unnamed.map(|m| m.blocks() * 512).max().unwrap_or(0)
    };
    w.instance.family().iter().map(|p| of(p.pid)).sum()
}

/// The other slave goes on, and the hostile one is in trouble in these words.
#[track_caller]
fn comes_to(malice: Malice, words: &str) {
    let (w, hostile) = taken(malice);
    let (mut most, name) = (0, w.remotes[0].name());
    let reason = poll(DEADLINE, || {
        most = most.max(held(&w));
        let status = w.instance.status();
        let remotes = status["instances"][0]["localpaths"][0]["remotes"].as_array()?;
        let remote = remotes.iter().find(|r| r["name"] == name.as_str())?;
        let trouble = remote["state"] == "backoff";
        trouble.then(|| remote["reason"].as_str().unwrap_or_default().to_owned())
    });
    let reason =
        reason.unwrap_or_else(|| panic!("{malice:?}: never in trouble\n{}", w.instance.report()));
    assert!(reason.contains(words), "{malice:?}: {reason}");
    assert!(reason.len() < 10_000, "{malice:?}: {} bytes of reason", reason.len());
    assert!(most < MUCH, "{malice:?}: {most} bytes");
    assert!(hostile.connections() > 0);
    // Its slot, the only one, is not its own.
    w.probe(1);
}

#[test]
fn a_trickle_of_messages_is_no_progress() {
    comes_to(Malice::Drips(Duration::from_millis(700)), "without progress");
    comes_to(Malice::DripsBefore(Duration::from_millis(700)), "no answer");
}

#[test]
fn a_flood_of_messages_is_cut_off() {
    comes_to(Malice::Floods(Stream::Output), "without end");
    comes_to(Malice::Floods(Stream::Complaints), "without end");
}

#[test]
fn an_endless_line_is_cut_off() {
    comes_to(Malice::OneLine(Stream::Output), "without end");
    comes_to(Malice::OneLine(Stream::Complaints), "without end");
}

#[test]
fn a_flood_before_the_greeting_is_a_failed_connection() {
    comes_to(Malice::FloodsBefore, "no answer");
}

#[test]
fn a_trickling_slave_returns_the_only_slot() {
    let mut w = Setup { remotes: 2, rsync: ", timeout: 60s", ..Setup::default() }.build();
    w.run(&["-n", "1"]);
    w.write("first", "x");
    w.wait_identical();
    w.wait_in_sync();
    w.remotes[0].stop();
    let hostile = Hostile::start(w.remotes[0].port, Malice::Drips(Duration::from_secs(2)));
    w.write("second", "x");
    let connected = poll(DEADLINE, || (hostile.connections() > 0).then_some(()));
    assert!(connected.is_some(), "{}", w.instance.report());
    w.probe(1);
}
