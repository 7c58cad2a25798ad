//! The one connection that all pushes to a host share: it blocks nothing, and is never orphaned.

use crate::common::instance::Instance;
use crate::common::procs::Proc;
use crate::common::sshd::Sshd;
use crate::common::sshworld::{Setup, World};
use crate::common::wait::{DEADLINE, poll, wait_for};
use crate::common::world::populate;
use nix::sys::signal::Signal;
use std::fs;
use std::path::Path;
use std::time::Duration;

const OFF: &str = ", control_master: false";

fn places(sshd: &Sshd, count: usize) -> Vec<std::path::PathBuf> {
    let places: Vec<_> = (0..count).map(|n| sshd.file(&format!("place{n}"))).collect();
    places.iter().for_each(|place| fs::create_dir(place).unwrap());
    places
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    println!("{times:?}");
    times[times.len() / 2]
}

#[test]
fn a_push_costs_no_login() {
    let w = World::start();
    w.probe();
    w.joined();
    w.wait_quiet();
    let logins = w.sshd.logins();
    let with = median((0..20).map(|_| w.probe()).collect());
    assert_eq!(w.sshd.logins(), logins, "{}", w.sshd.log());
    let sshd = Sshd::start();
    let w = Setup { ssh: OFF.into(), ..Setup::of(&sshd) }.start(sshd);
    w.probe();
    let logins = w.sshd.logins();
    let without = median((0..20).map(|_| w.probe()).collect());
    println!("a push with one connection kept: {with:?}; each with its own: {without:?}");
    assert!(w.sshd.logins() >= logins + 20, "{}", w.sshd.log());
    assert!(w.masters().is_empty());
}

#[test]
fn the_master_keeps_no_files_or_locks_open() {
    let mut w = World::start();
    let master = w.joined();
    // During a push it also has what that push reads and writes.
    w.wait_quiet();
    let at = |name: &str| format!("/proc/{}/{name}", master.pid);
    assert_eq!(fs::read_link(at("cwd")).unwrap(), Path::new("/"));
    for fd in fs::read_dir(at("fd")).unwrap().flatten() {
        let file = fs::read_link(fd.path()).unwrap();
        let file = file.to_string_lossy();
        assert!(file == "/dev/null" || file.starts_with("socket:"), "{file}");
    }
    // It has a process group of its own.
    assert_eq!((master.group, master.group == w.instance.supervisor().group), (master.pid, false));
    w.instance.stop();
    // It was told to; by itself it would end a minute later.
    wait_for("its end", DEADLINE, || w.masters().is_empty());
}

#[test]
fn all_remotes_of_a_host_share_one_master() {
    let sshd = Sshd::start();
    let w = Setup { places: places(&sshd, 4), ..Setup::of(&sshd) }.start(sshd);
    w.joined();
    w.wait_quiet();
    // Not even the first comparisons log in by themselves.
    assert_eq!(w.sshd.logins(), 1, "{}", w.sshd.log());
    for round in 0..5 {
        w.write(&format!("file{round}"), "x");
        w.wait_identical();
    }
    assert_eq!(w.sshd.logins(), 1, "{}", w.sshd.log());
}

#[test]
fn pushes_beyond_the_session_limit_connect_directly() {
    let sshd = Sshd::start_with([127, 0, 0, 1].into(), "MaxSessions 1");
    let w = Setup { places: places(&sshd, 4), ..Setup::of(&sshd) }.start(sshd);
    w.joined();
    for round in 0..5 {
        w.write(&format!("file{round}"), vec![b'x'; 200_000]);
        w.wait_identical();
    }
    assert!(
        !w.instance.log_text().contains("cannot push to the remote"),
        "{}",
        w.instance.report()
    );
}

#[test]
fn a_killed_master_is_replaced() {
    let w = World::start();
    for _ in 0..3 {
        let master = w.joined();
        master.signal(Signal::SIGKILL);
        w.probe();
        wait_for("another master", DEADLINE, || w.joined().pid != master.pid);
        w.probe();
    }
}

#[test]
fn a_push_recovers_from_a_killed_master() {
    let sshd = Sshd::start();
    let w = Setup { params: "-a --bwlimit=2000", ..Setup::of(&sshd) }.start(sshd);
    let master = w.joined();
    w.write("large", vec![b'x'; 16 << 20]);
    wait_for("a running push", DEADLINE, || !w.instance.rsyncs().is_empty());
    master.signal(Signal::SIGKILL);
    w.wait_identical();
    assert_ne!(w.joined().pid, master.pid);
}

#[test]
fn a_stopped_master_is_bypassed() {
    let w = World::start();
    let master = w.joined();
    master.signal(Signal::SIGSTOP);
    // The push that hangs is given up after 20 s, and no later one goes that way.
    w.probe();
    w.probe();
    let other = poll(DEADLINE, || w.masters().into_iter().find(|m| m.pid != master.pid));
    assert!(other.is_some(), "{}", w.instance.report());
    master.signal(Signal::SIGKILL);
    w.probe();
}

#[test]
fn a_silent_connection_is_bypassed() {
    let w = World::start();
    w.probe();
    let master = w.joined();
    let sessions: Vec<Proc> = w.sshd.sessions();
    sessions.iter().for_each(|p| p.signal(Signal::SIGSTOP));
    w.probe();
    // ssh asks every 10 s, and ends when three times nothing came back.
    wait_for("the end of the dead connection's master", DEADLINE * 3, || !master.runs());
    w.probe();
    w.joined();
}

#[test]
fn a_pusher_killed_during_a_push_is_replaced_immediately() {
    let sshd = Sshd::start();
    let w = Setup { params: "-a --bwlimit=2000", ..Setup::of(&sshd) }.start(sshd);
    let master = w.joined();
    w.write("large", vec![b'x'; 4 << 20]);
    wait_for("a running push", DEADLINE, || !w.instance.rsyncs().is_empty());
    let pusher = w.instance.pushers().remove(0);
    let began = std::time::Instant::now();
    pusher.signal(Signal::SIGKILL);
    wait_for("another pusher's rsync", DEADLINE, || {
        let new = w.instance.pushers().iter().any(|p| p.pid != pusher.pid);
        new && !w.instance.rsyncs().is_empty()
    });
    println!("the successor pushes after {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(18), "it waited for something");
    w.wait_identical();
    assert_eq!(w.joined().pid, master.pid, "its successor goes on with the same master");
}

#[test]
fn a_killed_and_restarted_instance_uses_a_master_again() {
    let mut w = World::start();
    let master = w.joined();
    w.instance.kill_supervisor();
    w.write("meanwhile", "x");
    w.run();
    w.wait_identical();
    let now = w.joined();
    println!("before {}, now {}", master.pid, now.pid);
    w.instance.stop();
    w.wait_no_master();
}

#[test]
fn a_reload_keeps_the_master_for_remaining_remotes() {
    let sshd = Sshd::start();
    let setup = Setup { places: places(&sshd, 2), ..Setup::of(&sshd) };
    let master_dir_yaml = |setup: &Setup, w: &World| setup.yaml(&w.sshd, &w.master);
    let mut w = Setup { places: setup.places.clone(), ..Setup::of(&sshd) }.start(sshd);
    let master = w.joined();
    let one = Setup { places: setup.places[..1].to_vec(), ..Setup::of(&w.sshd) };
    fs::write(w.instance.config(), master_dir_yaml(&one, &w)).unwrap();
    assert!(w.instance.command(&["reload"]).status.success());
    wait_for("one pusher's end", DEADLINE, || w.instance.pushers().len() == 1);
    w.probe();
    assert_eq!(w.joined().pid, master.pid);
    let off = Setup { ssh: OFF.into(), ..one };
    fs::write(w.instance.config(), master_dir_yaml(&off, &w)).unwrap();
    assert!(w.instance.command(&["reload"]).status.success());
    w.wait_no_master();
    w.probe();
    w.instance.stop();
}

#[test]
fn a_socket_path_too_long_means_one_login_per_push_and_one_warning() {
    let sshd = Sshd::start();
    let mut w = Setup::of(&sshd).build(sshd);
    let text = Setup::of(&w.sshd).yaml(&w.sshd, &w.master);
    let deep = w.dir.path().join("deep".repeat(12));
    w.instance = Instance::new(&deep, "syncsup.yaml", &text);
    let check = w.instance.command(&["check"]);
    let shown = String::from_utf8(check.stdout).unwrap();
    let said = String::from_utf8(check.stderr).unwrap();
    assert!(!shown.contains("ControlMaster") && said.contains("--run-dir"), "{shown}{said}");
    w.run();
    w.probe();
    w.probe();
    let log = w.instance.log_text();
    assert_eq!(log.matches("--run-dir").count(), 1, "{log}");
    assert!(w.masters().is_empty());
}

#[test]
fn the_users_own_master_is_left_alone() {
    let sshd = Sshd::start();
    let key = sshd.file("user");
    let own = sshd.file("own-%C");
    let options = format!(
        ", options: [-F, none, -oUserKnownHostsFile={:?}, -i, {key:?}, -oControlMaster=no, -S, {own:?}]",
        sshd.file("known")
    );
    let w = Setup { ssh: OFF.into(), ..Setup::of(&sshd) }.build(sshd);
    let text = Setup::of(&w.sshd).yaml(&w.sshd, &w.master);
    let mine = text.replace(&format!(", options: {}", w.sshd.options("user")), &options);
    assert_ne!(mine, text);
    let shown = |text: &str| {
        fs::write(w.instance.config(), text).unwrap();
        let out = w.instance.command(&["check", "--connect"]);
        assert!(out.status.success(), "{out:?}");
        String::from_utf8(out.stdout).unwrap()
    };
    let socket = w.instance.run_dir().join("ssh-").display().to_string();
    let ours = shown(&text);
    assert!(ours.contains(&format!("-oControlMaster=no -S {socket}")), "{ours}");
    let theirs = shown(&mine);
    assert!(!theirs.contains(&socket), "{theirs}");
    let off = shown(&Setup { ssh: OFF.into(), ..Setup::of(&w.sshd) }.yaml(&w.sshd, &w.master));
    assert!(!off.contains("ControlMaster"), "{off}");
}

#[test]
fn many_changes_reach_many_remotes() {
    let sshd = Sshd::start();
    let w = Setup { places: places(&sshd, 3), ..Setup::of(&sshd) }.start(sshd);
    for round in 0..3 {
        populate(&w.at(&format!("round{round}")), 10, 10);
    }
    fs::remove_dir_all(w.at("round1")).unwrap();
    w.wait_identical();
}
