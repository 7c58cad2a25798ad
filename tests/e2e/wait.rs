//! `syncsup wait`: 0 is only said when everything changed before is on the remotes.

use crate::common::proxy::FAST;
use crate::common::rsyncd::Options;
use crate::common::tree;
use crate::common::wait::{DEADLINE, holds_for, wait_for};
use crate::common::world::{Setup, World, write};
use nix::sys::signal::Signal;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

fn proxied() -> Setup {
    let daemon = Options { proxied: true, ..Options::default() };
    Setup { daemon, ..Setup::default() }
}

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr)
}

#[track_caller]
fn settled(w: &World, args: &[&str]) {
    let out = w.instance.command(args);
    assert_eq!(out.status.code(), Some(0), "{}\n{}", said(&out), w.instance.report());
}

/// What it says when it was not settled in time.
#[track_caller]
fn missing(w: &World, args: &[&str]) -> String {
    let out = w.instance.command(args);
    assert_eq!(out.status.code(), Some(1), "{}\n{}", said(&out), w.instance.report());
    said(&out).replace(&w.master.display().to_string(), "MASTER")
}

#[track_caller]
fn identical(w: &World) {
    for slave in w.slaves() {
        assert!(tree::identical(&w.master, &slave), "{}", tree::report(&w.master, &[&slave]));
    }
}

#[test]
fn after_wait_every_change_is_on_every_remote() {
    let w = World::start(2);
    for round in 0..25 {
        match round % 5 {
            0 => (0..200).for_each(|n| w.write(&format!("new{round}/sub{}/{n}", n % 7), "x")),
            1 => fs::rename(w.at(&format!("new{}", round - 1)), w.at("moved")).unwrap(),
            2 => fs::remove_dir_all(w.at("moved")).unwrap(),
            3 => w.write("large", vec![round as u8; 9 << 20]),
            _ => {
                fs::remove_file(w.at("large")).unwrap();
                w.write("large/is/a/directory", "x");
                fs::remove_dir_all(w.at("large")).unwrap();
            }
        }
        settled(&w, &["wait", "--all"]);
        identical(&w);
    }
    let out = w.instance.command(&["wait"]);
    let text = said(&out).replace(&w.master.display().to_string(), "MASTER");
    assert_eq!(text, "MASTER: settled on 2 of 2 remotes\n");
    let names = tree::Tree::read(&w.master).names();
    assert!(names.iter().all(|name| !name.contains("syncsup")), "{names:?}");
}

#[test]
fn wait_covers_a_slow_remote() {
    let w = proxied().start();
    w.probe(0);
    w.wait_in_sync();
    w.remotes[0].proxy().rate(0);
    let mut content = vec![0; 900_000];
    fastrand::fill(&mut content);
    w.write("slow", &content);
    let text = missing(&w, &["wait", "--timeout", "500ms"]);
    w.remotes[0].proxy().rate(400_000);
    assert!(text.starts_with("MASTER: not settled: settled on 0 of 1 remote\n"), "{text}");
    assert!(text.contains(&w.remotes[0].name()), "{text}");
    settled(&w, &["wait"]);
    identical(&w);
    w.remotes[0].proxy().rate(FAST);
}

/// A path that is marked repeatedly moves up in the queue: the cursor alone would report it settled too early.
#[test]
fn wait_covers_a_path_that_changes_all_the_time() {
    let w = proxied().start();
    w.probe(0);
    w.remotes[0].proxy().rate(3_000_000);
    let (ends, count) = (AtomicBool::new(false), AtomicU64::new(0));
    // Bound everything else that is pushed, so that batches overlap the rewriting.
    thread::scope(|s| {
        s.spawn(|| {
            while !ends.load(SeqCst) {
                let n = count.load(SeqCst) + 1;
                let new = w.outside.join("new");
                fs::write(&new, format!("{n:020}")).unwrap();
                fs::rename(&new, w.at("busy")).unwrap();
                count.store(n, SeqCst);
                thread::sleep(Duration::from_millis(1));
            }
        });
        s.spawn(|| {
            let mut n = 0;
            while !ends.load(SeqCst) {
                w.write(&format!("other/{}", n % 50), vec![n as u8; 60_000]);
                n += 1;
                thread::sleep(Duration::from_millis(10));
            }
        });
        wait_for("the first", DEADLINE, || count.load(SeqCst) > 5);
        let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..10 {
                let before = count.load(SeqCst);
                settled(&w, &["wait"]);
                let there = fs::read_to_string(w.there("busy")).unwrap();
                assert!(there.parse::<u64>().unwrap() >= before, "{there} is older than {before}");
            }
        }));
        ends.store(true, SeqCst);
        tried.unwrap_or_else(|e| std::panic::resume_unwind(e));
    });
}

#[test]
fn wait_names_a_remote_that_is_down_and_accepts_a_quorum() {
    let mut w = World::start(3);
    settled(&w, &["wait"]);
    w.remotes[2].stop();
    w.write("f", "x");
    settled(&w, &["wait", "--quorum", "2"]);
    w.wait_remote(2, "trouble", |r| r["state"] == "backoff");
    let text = missing(&w, &["wait", "--timeout", "3s"]);
    assert!(text.starts_with("MASTER: not settled: settled on 2 of 3 remotes\n"), "{text}");
    assert!(
        text.contains(&format!("  {}: in trouble, 1 to push: ", w.remotes[2].name())),
        "{text}"
    );
    assert!(!text.contains(&w.remotes[0].name()), "{text}");
    let (good, bad) = (w.remotes[0].name(), w.remotes[2].name());
    settled(&w, &["wait", "--remote", &good]);
    missing(&w, &["wait", "--quorum", "3", "--timeout", "1s"]);
    missing(&w, &["wait", "--remote", &bad, "--remote", &good, "--timeout", "1s"]);
    w.remotes[2].start_again();
    settled(&w, &["wait"]);
    identical(&w);
}

#[test]
fn a_held_localpath_or_remote_is_not_settled() {
    let mut w = Setup { remote: ", max_delete: 5", ..Setup::default() }.start();
    w.write("f", "x");
    settled(&w, &["wait"]);
    let away = w.outside.join("away");
    fs::rename(&w.master, &away).unwrap();
    w.wait_local("held", |l| l["state"] == "held");
    let text = missing(&w, &["wait", "--timeout", "1s"]);
    assert!(text.contains("some changes are not read yet: held: the directory is gone"), "{text}");
    fs::rename(&away, &w.master).unwrap();
    settled(&w, &["wait"]);
    // The guard holds a comparison: what it stands for is not known to be settled.
    (0..20).for_each(|n| write(&w.there(&format!("stray{n}")), "x"));
    assert_eq!(w.instance.command(&["sync"]).status.code(), Some(1));
    let text = missing(&w, &["wait", "--timeout", "1s"]);
    assert!(text.contains("HELD"), "{text}");
    let name = w.remotes[0].name();
    assert!(w.instance.command(&["release", &name]).status.success());
    settled(&w, &["wait"]);
    identical(&w);
    w.instance.stop();
    let out = w.instance.command(&["wait"]);
    assert_eq!(out.status.code(), Some(3), "{}", said(&out));
}

#[test]
fn wait_covers_events_in_the_kernel_queue() {
    let w = World::start(1);
    w.probe(0);
    w.wait_in_sync();
    for round in 0..3 {
        let watcher = w.instance.watcher();
        watcher.signal(Signal::SIGSTOP);
        (0..300).for_each(|n| w.write(&format!("d{round}/{}/{n}", n % 9), "queued"));
        thread::scope(|s| {
            let wait = s.spawn(|| w.instance.command(&["wait"]));
            holds_for("it waits", Duration::from_millis(1_500), || !wait.is_finished());
            watcher.signal(Signal::SIGCONT);
            let out = wait.join().unwrap();
            assert_eq!(out.status.code(), Some(0), "{}", said(&out));
            identical(&w);
        });
    }
}

#[test]
fn wait_survives_process_deaths() {
    let mut w = proxied().start();
    w.probe(0);
    let limit = Instant::now() + DEADLINE * 3;
    for round in 0..4 {
        w.remotes[0].proxy().rate(300_000);
        (0..30).for_each(|n| w.write(&format!("r{round}/{n}"), vec![n as u8; 10_000]));
        let out = thread::scope(|s| {
            let w = &w;
            let wait = s.spawn(move || w.instance.command(&["wait", "--timeout", "60s"]));
            thread::sleep(Duration::from_millis(300));
            match round {
                0 => w.instance.watcher().signal(Signal::SIGKILL),
                1 => w.instance.pusher(&w.remotes[0].name()).signal(Signal::SIGKILL),
                2 => w.instance.family().iter().skip(1).for_each(|p| p.signal(Signal::SIGKILL)),
                _ => assert!(w.instance.command(&["reload"]).status.success()),
            }
            thread::sleep(Duration::from_millis(300));
            w.remotes[0].proxy().rate(FAST);
            wait.join().unwrap()
        });
        assert_eq!(out.status.code(), Some(0), "{round}: {}\n{}", said(&out), w.instance.report());
        for n in 0..30 {
            let there = fs::read(w.there(&format!("r{round}/{n}"))).unwrap_or_default();
            assert!(there == vec![n as u8; 10_000], "r{round}/{n}\n{}", w.instance.report());
        }
        assert!(Instant::now() < limit);
    }
    // A receiver that was left alone may have changed the time of a directory once more; that is pushed again when it
    // has had its timeout (rule 2).
    w.wait_identical_within(DEADLINE * 4);
    // The supervisor too: the next one gets the request again.
    let command = w.instance.prepare(&crate::common::instance::Instance::program(), &["wait"]);
    w.remotes[0].proxy().rate(0);
    w.write("last", vec![7; 300_000]);
    let mut command = command;
    let mut waits = command.arg("-o").arg(w.instance.config()).spawn().unwrap();
    // It has asked, and sleeps before it asks again.
    let place = format!("/proc/{}/wchan", waits.id());
    wait_for("its first request", DEADLINE, || {
        fs::read_to_string(&place).is_ok_and(|at| at.contains("nanosleep"))
    });
    w.instance.kill_supervisor();
    holds_for("it waits while nothing runs", Duration::from_millis(500), || {
        waits.try_wait().unwrap().is_none()
    });
    w.remotes[0].proxy().rate(FAST);
    w.run(&[]);
    assert_eq!(waits.wait().unwrap().code(), Some(0));
    assert_eq!(fs::read(w.there("last")).unwrap(), vec![7; 300_000]);
}

#[test]
fn a_path_argument_limits_the_wait() {
    let mut w = Setup::default().build();
    let words = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"];
    w.instance.launcher = words.iter().map(Into::into).collect();
    w.run(&[]);
    w.write("www/a", "x");
    settled(&w, &["wait"]);
    let secret = w.outside.join("secret");
    write(&secret, "x");
    fs::set_permissions(&secret, Permissions::from_mode(0o000)).unwrap();
    fs::create_dir(w.at("bad")).unwrap();
    fs::rename(&secret, w.at("bad/secret")).unwrap();
    w.write("www/b", "x");
    w.wait_remote(0, "a path that fails", |r| r["failing"] == 1);
    let text = missing(&w, &["wait", "--timeout", "2s"]);
    assert!(text.contains("1 path fails"), "{text}");
    let (www, bad) = (w.at("www/"), w.at("bad"));
    settled(&w, &["wait", www.to_str().unwrap()]);
    assert!(w.there("www/b").exists());
    missing(&w, &["wait", "--timeout", "1s", bad.to_str().unwrap(), www.to_str().unwrap()]);
    let out = w.instance.command(&["wait", "/nowhere/at\nall"]);
    assert_eq!(out.status.code(), Some(2));
    assert_eq!(String::from_utf8_lossy(&out.stderr).lines().count(), 1, "{}", said(&out));
    for args in [
        &["wait", "--quorum", "2"][..],
        &["wait", "--remote", "no"],
        &["wait", "--timeout", "soon"],
        &["wait", "--all", "--quorum", "1"],
        &["wait", ""],
    ] {
        let out = w.instance.command(args);
        assert_eq!(out.status.code(), Some(2), "{}", said(&out));
        assert_eq!(String::from_utf8_lossy(&out.stderr).lines().count(), 1, "{}", said(&out));
    }
}

#[test]
fn wait_sends_an_open_file_as_it_is() {
    let w = World::start(1);
    let mut file = File::create(w.at("log")).unwrap();
    fs::create_dir(w.at("d")).unwrap();
    fs::hard_link(w.at("log"), w.at("d/link")).unwrap();
    for line in ["one\n", "two\n", "three\n"] {
        file.write_all(line.as_bytes()).unwrap();
        let now = fs::read(w.at("log")).unwrap();
        settled(&w, &["wait"]);
        assert_eq!(fs::read(w.there("log")).unwrap(), now);
        assert_eq!(fs::read(w.there("d/link")).unwrap(), now);
    }
}

#[test]
fn wait_scans_unwatched_directories() {
    const FEW: [&str; 6] = [
        "unshare",
        "-Ur",
        "sh",
        "-c",
        "echo 20 >/proc/sys/user/max_inotify_watches && exec \"$@\"",
        "sh",
    ];
    let tried = std::process::Command::new(FEW[0]).args(&FEW[1..]).arg("true").output();
    if !tried.is_ok_and(|out| out.status.success()) {
        eprintln!("SKIPPED: no user namespace with a limit of its own");
        return;
    }
    let mut w = Setup::default().build();
    w.instance.launcher = FEW.iter().map(Into::into).collect();
    (0..40).for_each(|n| w.write(&format!("d{n}/sub/f"), "first"));
    w.run(&[]);
    w.wait_local("degraded", |l| l["state"] == "degraded");
    for round in 0..3 {
        (0..40).for_each(|n| w.write(&format!("d{n}/sub/f"), format!("round {round}")));
        let began = Instant::now();
        // In the namespace of the instance the command is root too.
        settled(&w, &["wait"]);
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "it waited for the scan of every minute"
        );
        identical(&w);
    }
}

#[test]
fn wait_finds_lost_events_first() {
    let w = World::start(1);
    (0..2).for_each(|n| w.write(&format!("f{n}"), "x"));
    settled(&w, &["wait"]);
    let watcher = w.instance.watcher();
    watcher.signal(Signal::SIGSTOP);
    w.overflow(["f0", "f1"]);
    (0..50).for_each(|n| w.write(&format!("lost/{}/{n}", n % 3), "x"));
    thread::scope(|s| {
        let wait = s.spawn(|| w.instance.command(&["wait"]));
        holds_for("it waits", Duration::from_millis(500), || !wait.is_finished());
        watcher.signal(Signal::SIGCONT);
        let out = wait.join().unwrap();
        assert_eq!(out.status.code(), Some(0), "{}", said(&out));
        identical(&w);
    });
}

#[test]
fn wait_never_settles_a_replaced_root() {
    let w = World::start(1);
    w.write("f", "x");
    settled(&w, &["wait"]);
    let away = w.outside.join("away");
    fs::rename(&w.master, &away).unwrap();
    w.write("other", "x");
    missing(&w, &["wait", "--timeout", "500ms"]);
    w.wait_local("held", |l| l["state"] == "held");
    let text = missing(&w, &["wait", "--timeout", "500ms"]);
    assert!(text.contains("some changes are not read yet: held: "), "{text}");
}

#[test]
fn wait_settles_nothing_while_the_journal_takes_no_marks() {
    use crate::common::namespace::{Mounted, with_private_mounts};
    with_private_mounts(|| {
        let mut w = Setup::default().build();
        let state = w.instance.state_dir();
        fs::create_dir_all(&state).unwrap();
        let _mounted = Mounted::tmpfs_with(&state, "size=12m,mode=700");
        w.run(&[]);
        w.write("f", "x");
        settled(&w, &["wait"]);
        let ballast = state.join("ballast");
        let mut file = File::create(&ballast).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        drop(file);
        (0..3_000).for_each(|n| w.write(&format!("many/{n:0100}"), "x"));
        let text = missing(&w, &["wait", "--timeout", "3s"]);
        assert!(text.starts_with("MASTER: not settled: settled on 0 of 1 remote\n"), "{text}");
        fs::remove_file(&ballast).unwrap();
        settled(&w, &["wait"]);
        identical(&w);
        w.instance.stop();
    });
}
