//! Slow and broken networks, receivers that outlive their senders, and stops in the middle of a push.

use crate::common::churn::old_time;
use crate::common::procs::Proc;
use crate::common::proxy::FAST;
use crate::common::rsyncd::{Options, Rsyncd};
use crate::common::wait::{DEADLINE, holds_for, poll, wait_for};
use crate::common::world::{Setup, World, write};
use nix::sys::signal::Signal;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
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

/// A receiver's temporary file with this beginning.
fn has_temporary(w: &World, prefix: &str) -> bool {
    let names = fs::read_dir(w.there("d")).unwrap().flatten().map(|e| e.file_name());
    names.into_iter().any(|name| name.as_encoded_bytes().starts_with(prefix.as_bytes()))
}

/// A slow network delivers the data of a killed push after its successor's push is done. (Rule 2.)
#[test]
fn a_file_overwritten_by_an_old_receiver_is_pushed_again() {
    // With deletions the successor would compare the directory, and remove the old receiver's temporary file.
    let setup = behind_a_proxy(", timeout: 10s");
    // The connection of a standby would keep its speed.
    let settings = "standby: off\ninotify: {delete: false}\n";
    let w = Setup { settings, ..setup }.start();
    w.probe(0);
    w.wait_in_sync();
    let (proxy, there) = (w.remotes[0].proxy(), w.there("f"));
    proxy.hold_much();
    proxy.rate_of_new(100_000);
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
}

/// The sender and the receiver die together, and neither cleans up: no leftover of the receiver stays.
fn killed_together(dying: impl Fn(&World) -> Vec<Proc>, kill: impl Fn(&mut World)) {
    let mut w = behind_a_proxy("").start();
    w.write("d/other", "x");
    w.wait_identical();
    w.wait_in_sync();
    w.remotes[0].proxy().rate(300_000);
    let before = w.remotes[0].proxy().taken();
    w.write("d/f", random(900_000));
    wait_under_way(&w, before + 100_000);
    let temporary = || has_temporary(&w, ".f.");
    wait_for("the receiver's temporary file", DEADLINE, temporary);
    // Neither sees the end of the other.
    dying(&w).iter().for_each(|p| p.signal(Signal::SIGSTOP));
    w.remotes[0].stop();
    kill(&mut w);
    assert!(has_temporary(&w, ".f."), "nothing is left to be removed");
    w.remotes[0].proxy().rate(FAST);
    w.remotes[0].start_again();
    w.wait_identical();
}

#[test]
fn files_arrive_after_instance_and_receiver_are_killed() {
    killed_together(
        |w| w.instance.family(),
        |w| {
            w.instance.kill9();
            w.run(&[]);
        },
    );
}

#[test]
fn files_arrive_after_pusher_and_receiver_are_killed() {
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
    wait_for("the exit of the stuck rsync", DEADLINE, || !stuck[0].runs());
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(2), "ended too soon, after {took:?}");
    assert!(took < Duration::from_secs(10), "ended late, after {took:?}");
    let remote = w.wait_remote(0, "trouble", |r| r["state"] == "backoff");
    assert!(remote["reason"].as_str().is_some_and(|r| r.contains("no answer")), "{remote}");
    wait_for("another attempt", DEADLINE, || {
        w.instance.rsyncs().iter().any(|p| p.pid != stuck[0].pid)
    });
    go_on(&w);
    w.wait_identical_within(DEADLINE * 2);
    w.wait_in_sync();
}

#[test]
fn a_file_arrives_after_the_network_breaks_off() {
    stalled_in_the_middle(|w| w.remotes[0].proxy().rate(0), |w| w.remotes[0].proxy().rate(FAST));
}

#[test]
fn a_file_arrives_after_its_receiver_stops() {
    // The daemon goes on answering, so the next try gets through by itself.
    stalled_in_the_middle(
        |w| {
            w.remotes[0].transfers().iter().for_each(|p| p.signal(Signal::SIGSTOP));
            w.remotes[0].proxy().rate(FAST);
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
fn a_slow_push_with_progress_is_not_killed() {
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

/// The temporary file of a running push is not an extra file. (Rule 20.)
#[test]
fn a_reconcile_leaves_the_file_of_a_running_push_alone() {
    let setup = Setup { settings: "large_file: 500KiB\n", ..behind_a_proxy("") };
    let w = setup.start();
    w.write("d/other", "x");
    w.wait_identical();
    w.wait_in_sync();
    let proxy = w.remotes[0].proxy();
    proxy.rate(300_000);
    let before = proxy.taken();
    w.write("d/large", random(2_400_000));
    wait_under_way(&w, before + 100_000);
    proxy.rate_of_new(FAST);
    let push = w.instance.rsyncs();
    let temporary = || has_temporary(&w, ".large.");
    wait_for("the receiver's temporary file", DEADLINE, temporary);
    fs::write(w.there("d/stray"), "x").unwrap();
    let _sync = w.instance.begin(&["sync"]);
    wait_for("the comparison", DEADLINE, || !w.there("d/stray").exists());
    assert!(push[0].runs(), "the comparison came after the push: nothing is shown here");
    assert!(temporary(), "the file in flight was deleted");
    w.wait_identical();
    assert!(!w.instance.log_text().contains("failed"), "{}", w.instance.report());
}

/// A push sends the times of parent directories as they are when it begins, and sets them at its end.
#[test]
fn a_directory_has_its_time_after_parallel_pushes() {
    let setup = Setup { settings: "large_file: 500KiB\n", ..behind_a_proxy("") };
    let w = setup.start();
    w.write("d/other", "x");
    w.wait_identical();
    w.wait_in_sync();
    w.remotes[0].proxy().rate(400_000);
    let before = w.remotes[0].proxy().taken();
    w.write("d/large", random(2_400_000));
    wait_under_way(&w, before + 100_000);
    w.write("d/small", "x");
    wait_for("the small file", DEADLINE, || w.there("d/small").exists());
    assert!(!w.there("d/large").exists(), "nothing is shown here");
    w.wait_identical();
}

/// The largest files delay no other, large or small.
#[test]
fn a_large_file_passes_a_slow_one() {
    let setup = Setup { settings: "large_file: 500KiB\n", ..behind_a_proxy("") };
    let w = setup.start();
    w.probe(0);
    w.wait_in_sync();
    let proxy = w.remotes[0].proxy();
    proxy.rate(300_000);
    let before = proxy.taken();
    w.write("longest", random(30 << 20));
    wait_under_way(&w, before + 100_000);
    for name in ["one", "another"] {
        w.write(name, random(600_000));
        wait_for("a large file in parallel", DEADLINE, || w.there(name).exists());
    }
    w.probe(0);
    assert!(!w.there("longest").exists(), "nothing is shown here");
    wait_for("that one to be sent only once", DEADLINE, || w.instance.rsyncs().len() == 1);
    assert!(!w.there("longest").exists(), "nothing is shown here");
}

/// A first copy completes, however often it is cut short. (Rule 11.)
#[test]
fn a_first_copy_that_is_cut_short_repeatedly_completes() {
    let mut w = behind_a_proxy("").build();
    for n in 0..60 {
        w.write(&format!("d{}/f{n}", n % 7), random(60_000));
    }
    // Only a comparison finds these; a scan looks 2 s back.
    write(&w.there("d0/stray"), "x");
    let made = w.master.metadata().unwrap().modified().unwrap();
    wait_for("time", DEADLINE, || made.elapsed().unwrap() > Duration::from_secs(3));
    w.remotes[0].proxy().rate(400_000);
    for round in 0..4 {
        w.run(&[]);
        let before = w.remotes[0].proxy().taken();
        // First in the comparison, then ever later in the copy.
        wait_under_way(&w, before + 1 + round * 100_000);
        match round % 2 {
            0 => w.instance.kill9(),
            _ => w.instance.pusher(&w.remotes[0].name()).signal(Signal::SIGKILL),
        }
        if round % 2 == 1 {
            w.instance.kill9();
        }
    }
    w.remotes[0].proxy().rate(FAST);
    w.run(&[]);
    w.wait_identical();
    w.wait_in_sync();
}

/// A slave that compares a large file by content reads for a long time and sends nothing.
#[test]
fn a_push_is_not_killed_while_the_slave_reads_a_large_file() {
    let mut w = Setup {
        params: "-aS",
        rsync: ", timeout: 2s",
        settings: "large_file: 1GiB\n",
        ..Setup::default()
    }
    .build();
    let put = |path: &Path, byte: &[u8]| {
        let file = File::options().create(true).truncate(false).write(true).open(path).unwrap();
        file.set_len(200 << 20).unwrap();
        file.write_all_at(byte, 100 << 20).unwrap();
        file.set_times(old_time(0)).unwrap();
    };
    [w.at("big"), w.there("big")].iter().for_each(|path| put(path, b"a"));
    w.run(&[]);
    w.probe(0);
    w.wait_in_sync();
    put(&w.at("big"), b"b");
    let by_content = || w.instance.rsyncs().into_iter().find(|p| p.command.contains("--checksum"));
    let rsync = poll(DEADLINE, || by_content().filter(|_| !w.remotes[0].transfers().is_empty()));
    let rsync = rsync.expect("a comparison by content");
    w.remotes[0].transfers().iter().for_each(|p| p.signal(Signal::SIGSTOP));
    holds_for("the rsync", Duration::from_secs(5), || rsync.runs());
    w.remotes[0].resume();
    wait_for("the change", DEADLINE, || {
        let mut byte = [0];
        let file = File::open(w.there("big")).unwrap();
        file.read_exact_at(&mut byte, 100 << 20).is_ok() && byte == *b"b"
    });
    w.wait_in_sync();
}

#[test]
fn a_stop_lets_the_running_push_finish() {
    let mut w = behind_a_proxy("").start();
    w.probe(0);
    w.wait_in_sync();
    let proxy = w.remotes[0].proxy();
    proxy.rate(300_000);
    let (before, content) = (proxy.taken(), random(1_800_000));
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
fn a_stop_kills_a_push_that_lasts_too_long() {
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

#[test]
fn a_change_does_not_wait_for_all_the_files_before_it() {
    let w = behind_a_proxy("").start();
    w.probe(0);
    w.wait_in_sync();
    w.remotes[0].proxy().rate(2_000_000);
    let content = random(2_000_000);
    // All at once.
    for n in 0..20 {
        write(&w.outside.join(format!("many/f{n:02}")), &content);
    }
    fs::rename(w.outside.join("many"), w.at("many")).unwrap();
    wait_for("a push under way", DEADLINE, || {
        fs::read_dir(w.there("many")).is_ok_and(|names| names.count() > 0)
    });
    w.write("change", "x");
    wait_for("the change", DEADLINE * 2, || holds(&w.there("change"), b"x"));
    let there = (0..20).filter(|n| w.there(&format!("many/f{n:02}")).exists()).count();
    assert!(there < 20, "it came after all of them");
    w.remotes[0].proxy().rate(FAST);
    w.wait_identical();
}

/// With one slot: the network holds a transfer, which gives its slot back.
#[test]
fn a_slow_transfer_holds_up_no_other_localpath() {
    let mut w = behind_a_proxy("").build();
    let (other, slave) = (w.outside.join("other"), Rsyncd::start());
    fs::create_dir(&other).unwrap();
    let mut config = fs::read_to_string(w.instance.config()).unwrap();
    config += &format!("  - {{watch: {other:?}, remotes: [{}]}}\n", slave.yaml(""));
    fs::write(w.instance.config(), config).unwrap();
    w.run(&["-n", "1"]);
    w.wait_identical();
    let proxy = w.remotes[0].proxy();
    proxy.rate(300_000);
    let before = proxy.taken();
    let content = random(30_000_000);
    w.write("large", &content);
    wait_under_way(&w, before + 1_000_000);
    write(&other.join("change"), "x");
    wait_for("the change", DEADLINE, || holds(&slave.path().join("change"), b"x"));
    assert!(!w.there("large").exists(), "it came after the transfer");
    w.remotes[0].proxy().rate(FAST);
    w.wait_identical();
}
