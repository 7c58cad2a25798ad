//! Plugins and remotes that hang, die or refuse; processes that are killed. Pushes go on, no call is lost, and none is
//! made twice but what a kill had in hand.

use super::servers::{Server, count};
use super::{at, recorded, recorder, runner, wait_idle, world, world_with};
use crate::common::procs;
use crate::common::wait::{DEADLINE, holds_for, poll, wait_for};
use crate::common::world::{Setup, World, wait_identical};
use nix::sys::signal::Signal;
use std::collections::HashSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

const LAG: Duration = Duration::from_secs(3);

fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}{n:03}")).collect()
}

/// Each of `names` was heard exactly once.
#[track_caller]
pub fn assert_once(w: &World, server: &Server, names: &[String]) {
    let wanted = names.iter().map(|n| at(w, n.as_bytes()).as_os_str().as_bytes().to_vec());
    assert_eq!(server.counts(), count(wanted));
}

/// Pushes to that remote go on.
#[track_caller]
pub fn assert_lag(w: &World, index: usize) {
    // Other work on this machine passes.
    wait_for("a short lag", DEADLINE * 2, || {
        let mut lags: Vec<Duration> = (0..5).map(|_| w.probe(index)).collect();
        lags.sort();
        lags[2] < LAG
    });
}

#[test]
fn a_call_follows_the_push_of_large_files_too() {
    let dir = tempfile::tempdir().unwrap();
    let (script, record) =
        recorder(dir.path(), "f=\"${2##*/}\"; cmp -s \"$1/$f\" \"$2\" || set -- \"$@\" missing");
    let plugin = format!("command: {{prefix: '{} @SLAVE@'}}", script.display());
    let mut w = world_with(1, &[plugin], "large_file: 1MiB\n");
    let config = w.instance.config().to_owned();
    let text = fs::read_to_string(&config).unwrap();
    let slave = w.remotes[0].path();
    fs::write(&config, text.replace("@SLAVE@", slave.to_str().unwrap())).unwrap();
    w.run(&[]);
    for n in 0..10 {
        w.write(&format!("large{n}"), vec![b'x'; 3 << 20]);
        w.write(&format!("small{n}"), "x");
    }
    wait_for("calls", DEADLINE, || recorded(&record).len() >= 20);
    wait_idle(&w);
    let calls = recorded(&record);
    assert_eq!(calls.len(), 20);
    assert!(calls.iter().all(|c| c.len() == 2), "called before the slave had it: {calls:?}");
}

#[test]
fn a_remote_that_is_down_or_hangs_delays_no_call() {
    let server = Server::lines();
    let plugins = format!("plugins: [{{socket: {{host: 127.0.0.1, port: {}}}}}]\n", server.port);
    let setup = Setup { remotes: 2, rsync: ", timeout: 5s", ..Setup::default() };
    let mut w = Setup { settings: plugins.leak(), ..setup }.build();
    w.remotes[0].stop();
    w.run(&[]);
    w.write("down", "x");
    server.wait(1, || w.instance.report());
    wait_identical(&w.instance, &w.master, &[&w.remotes[1].path()], DEADLINE);
    w.remotes[0].start_again();
    w.wait_identical_within(DEADLINE * 3);
    // Once it hangs, its push is waited for until it is known to be in trouble.
    w.remotes[0].hang();
    w.write("hung", "x");
    w.wait_remote(0, "trouble", |r| r["state"] == "backoff");
    server.wait(2, || w.instance.report());
    w.remotes[0].resume();
    w.wait_identical_within(DEADLINE * 3);
    wait_idle(&w);
    assert_once(&w, &server, &["down".into(), "hung".into()]);
}

#[test]
fn a_server_that_refuses_for_a_while_gets_each_call_once_later() {
    let mut server = Server::lines();
    let plugin = format!("socket: {{host: 127.0.0.1, port: {}, retry: 100ms}}", server.port);
    let mut w = world(1, &[plugin]);
    w.run(&[]);
    w.write("before", "x");
    server.wait(1, || w.instance.report());
    server.stop();
    let names = names("f", 200);
    names.iter().for_each(|n| w.write(n, "x"));
    w.wait_identical();
    // The runner tells its state now and then: what it told first is from amid the writes.
    let shown = w.wait_local("trouble", |l| {
        l["plugins"][0]["state"] == "failing" && l["plugins"][0]["waiting"] == 200
    });
    let why = shown["plugins"][0]["reason"].as_str().unwrap();
    assert!(why.contains("refused"), "{why}");
    holds_for("calls wait", Duration::from_secs(2), || {
        w.instance.status()["instances"][0]["localpaths"][0]["plugins"][0]["waiting"] == 200
    });
    // No push waits for it.
    assert_lag(&w, 0);
    w.wait_identical();
    server.start_again();
    server.wait(206, || w.instance.report());
    wait_idle(&w);
    let probes = fs::read_dir(&w.master).unwrap().map(|e| e.unwrap().file_name());
    let probes = probes.filter_map(|n| n.into_string().ok()).filter(|n| n.starts_with("probe-"));
    assert_once(&w, &server, &[vec!["before".to_owned()], names, probes.collect()].concat());
    // Refusals are said once, not once for each try.
    let said = w.instance.log_text().matches("a call failed; trying again").count();
    assert!(said < 5, "{said} times");
}

#[test]
fn a_server_that_hangs_or_fails_delays_no_push() {
    let server = Server::http();
    let url = format!("http://127.0.0.1:{}/", server.port);
    let other = Server::lines();
    let plugins = [
        format!("http: {{url: '{url}', timeout: 2s, retry: 50ms, attempts: 1000}}"),
        format!("socket: {{host: 127.0.0.1, port: {}}}", other.port),
    ];
    let mut w = world(1, &plugins);
    w.run(&[]);
    server.hang(true);
    let names = names("f", 30);
    names.iter().for_each(|n| w.write(n, "x"));
    other.wait(30, || w.instance.report());
    w.wait_identical();
    w.wait_local("trouble", |l| {
        l["plugins"][0]["state"] == "failing" && l["plugins"][1]["waiting"] == 0
    });
    assert_lag(&w, 0);
    let probes = other.counts().len() - names.len();
    server.shared.status.store(503, std::sync::atomic::Ordering::SeqCst);
    server.hang(false);
    w.wait_local("its errors", |l| {
        l["plugins"][0]["reason"].as_str().is_some_and(|r| r.contains("status 503"))
    });
    assert!(server.heard().is_empty());
    server.shared.status.store(0, std::sync::atomic::Ordering::SeqCst);
    server.wait(30 + probes, || w.instance.report());
    wait_idle(&w);
    assert_eq!(server.counts().len(), server.heard().len(), "a call was made twice");
}

#[test]
fn a_hung_command_is_killed_with_its_children_and_called_again() {
    let dir = tempfile::tempdir().unwrap();
    let gate = dir.path().join("open");
    let body = format!("[ -e '{}' ] || {{ sleep 1234 & wait; }}", gate.display());
    let (script, record) = recorder(dir.path(), &body);
    let plugin =
        format!("command: {{prefix: {script:?}, timeout: 500ms, retry: 100ms, attempts: 1000}}");
    let mut w = world(1, &[plugin]);
    w.run(&[]);
    let names = names("f", 10);
    names.iter().for_each(|n| w.write(n, "x"));
    w.wait_local("a timeout", |l| {
        l["plugins"][0]["reason"].as_str().is_some_and(|r| r.contains("took too long"))
    });
    assert_lag(&w, 0);
    assert!(recorded(&record).is_empty());
    fs::write(&gate, "").unwrap();
    wait_for("all calls", DEADLINE, || recorded(&record).len() >= 15);
    wait_idle(&w);
    assert_eq!(recorded(&record).len(), 15, "ten files and five probes");
    let left = || procs::all().iter().any(|p| p.command.ends_with("sleep 1234") && p.state != 'Z');
    wait_for("the exit of every child", DEADLINE, || !left());
}

#[test]
fn a_path_that_fails_too_often_is_given_up_until_it_changes() {
    let dir = tempfile::tempdir().unwrap();
    let (script, record) =
        recorder(dir.path(), "case \"$1\" in *bad*) echo no way >&2; exit 7;; esac");
    let plugin = format!("command: {{prefix: {script:?}, retry: 20ms, attempts: 3}}");
    let mut w = world_with(1, &[plugin], "fail_log: {path: /FAIL}\n");
    let log = w.outside.join("fail.sh");
    let config = w.instance.config().to_owned();
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("/FAIL", log.to_str().unwrap())).unwrap();
    w.run(&[]);
    w.write("bad $(x)", "x");
    w.write("good", "x");
    let local = w.wait_local("given up", |l| {
        l["plugins"][0]["given_up"] == 1 && l["plugins"][0]["waiting"] == 0
    });
    assert_eq!(local["plugins"][0]["reason"], "bad $(x): exit 7: no way");
    wait_for("the good one", DEADLINE, || recorded(&record).len() == 1);
    let line = format!("{} '{}/bad $(x)'", script.display(), w.master.display());
    wait_for("the failure journal", DEADLINE, || {
        fs::read_to_string(&log).is_ok_and(|t| t.contains(&line) && t.contains("3 tries"))
    });
    // A change starts over, also after a restart.
    w.instance.kill9();
    fs::write(&script, fs::read_to_string(&script).unwrap().replace("*bad*", "*worse*")).unwrap();
    w.run(&[]);
    w.write("bad $(x)", "y");
    wait_for("the bad one", DEADLINE, || recorded(&record).len() == 2);
    w.wait_local("nothing given up", |l| l["plugins"][0]["given_up"] == 0);
    wait_for("an empty failure journal", DEADLINE, || {
        fs::read_to_string(&log).is_ok_and(|t| !t.contains("plugin"))
    });
}

/// Writes unique files while `kill` is done again and again; every file must be heard, and no more often than the
/// kills had calls in hand.
fn churn_and_kill(kills: usize, kill: impl Fn(&mut World)) {
    let server = Server::lines();
    let plugin = format!("socket: {{host: 127.0.0.1, port: {}, parallel: 1}}", server.port);
    let mut w = world(1, &[plugin]);
    w.run(&[]);
    let mut all = Vec::new();
    for round in 0..kills {
        let dir = format!("round{round}");
        fs::create_dir(w.at(&dir)).unwrap();
        all.push(dir.clone());
        // Else a file may be found as the directory is read, and be called for once more when it is closed.
        let path = w.at(&dir).as_os_str().as_bytes().to_vec();
        wait_for("the directory", DEADLINE, || server.counts().contains_key(&path));
        for name in names(&format!("{dir}/"), 120) {
            w.write(&name, "x");
            all.push(name);
            std::thread::sleep(Duration::from_millis(1));
        }
        kill(&mut w);
    }
    server.wait(all.len(), || w.instance.report());
    wait_idle(&w);
    w.wait_identical();
    let counts = server.counts();
    let path = |n: &String| at(&w, n.as_bytes()).as_os_str().as_bytes().to_vec();
    let lost: Vec<_> = all.iter().filter(|n| !counts.contains_key(&path(n))).collect();
    assert!(lost.is_empty(), "lost: {lost:?}\n{}", w.instance.report());
    let known: HashSet<_> = all.iter().map(path).collect();
    let other: Vec<_> = counts
        .keys()
        .filter(|p| !known.contains(*p))
        .map(|p| p.escape_ascii().to_string())
        .collect();
    assert!(other.is_empty(), "also called for: {other:?}\n{}", w.instance.report());
    let more = server.heard().len() - all.len();
    println!("{more} calls were made twice in {kills} kills");
    assert!(more <= kills, "{more} calls were made twice\n{}", w.instance.report());
}

#[test]
fn no_call_is_lost_while_the_runner_is_killed_repeatedly() {
    churn_and_kill(8, |w| {
        let killed = runner(w);
        killed.signal(Signal::SIGKILL);
        wait_for("another runner", DEADLINE, || runner(w).pid != killed.pid);
    });
}

#[test]
fn no_call_is_lost_while_everything_is_killed_repeatedly() {
    churn_and_kill(6, |w| {
        w.instance.kill9();
        w.run(&[]);
    });
}

#[test]
fn no_call_is_lost_while_the_watcher_is_killed_repeatedly() {
    churn_and_kill(6, |w| {
        let killed = w.instance.watcher();
        killed.signal(Signal::SIGKILL);
        wait_for("another watcher", DEADLINE, || w.instance.watcher().pid != killed.pid);
    });
}

#[test]
fn a_killed_runner_leaves_no_command_running() {
    let dir = tempfile::tempdir().unwrap();
    let first = dir.path().join("first");
    // A time that no other test sleeps for, nor another run of this one.
    let sleep = format!("sleep 4321.{}", fastrand::u32(1..));
    let body = format!("[ -e '{0}' ] || {{ touch '{0}'; {sleep}; }}", first.display());
    let (script, record) = recorder(dir.path(), &body);
    let mut w = world(1, &[format!("command: {{prefix: {script:?}}}")]);
    w.run(&[]);
    let before = w.instance.status();
    let before = &before["instances"][0]["localpaths"][0]["plugin_runner"];
    assert_eq!(
        (before["pid"].as_i64(), before["restarts"].as_i64()),
        (Some(runner(&w).pid.into()), Some(0))
    );
    w.write("x", "x");
    wait_for("the first call", DEADLINE, || first.exists());
    let sleeping = || {
        let all = procs::all();
        all.into_iter().filter(|p| p.command.ends_with(&sleep) && p.state != 'Z').count()
    };
    wait_for("its sleep", DEADLINE, || sleeping() == 1);
    runner(&w).signal(Signal::SIGKILL);
    wait_for("the second call", DEADLINE, || recorded(&record).len() == 1);
    wait_for("the end of its orphan", DEADLINE, || sleeping() == 0);
    w.wait_local("a restart", |l| l["plugin_runner"]["restarts"] == 1);
    // An orderly stop ends what hangs, too, and the call is made at the next start.
    fs::remove_file(&first).unwrap();
    w.write("y", "x");
    wait_for("the third call", DEADLINE, || first.exists() && sleeping() == 1);
    assert!(w.instance.stop().success());
    assert_eq!(sleeping(), 0);
    w.run(&[]);
    let called = poll(DEADLINE, || Some(recorded(&record)).filter(|r| r.len() == 2)).unwrap();
    assert_eq!(called[1][0], at(&w, b"y").as_os_str().as_bytes());
}

#[test]
fn plugins_come_and_go_with_a_reload_and_no_other_process_restarts() {
    let (first, second) = (Server::lines(), Server::lines());
    let one = |port: u16| format!("socket: {{host: 127.0.0.1, port: {port}}}");
    let mut w = world(1, &[one(first.port)]);
    w.run(&[]);
    w.write("a", "x");
    first.wait(1, || w.instance.report());
    let pids = |w: &World| [w.instance.watcher().pid, w.instance.pushers()[0].pid];
    let before = pids(&w);
    let config = w.instance.config().to_owned();
    let text = fs::read_to_string(&config).unwrap();
    let reload = |text: String| {
        fs::write(&config, text).unwrap();
        let out = w.instance.command(&["reload"]);
        assert!(out.status.success(), "{out:?}");
    };
    reload(text.replace(&first.port.to_string(), &second.port.to_string()));
    w.write("b", "x");
    second.wait(1, || w.instance.report());
    reload(text.replace("plugins:", "plugins: []\n#").replace("\n  - socket", "\n#  - socket"));
    w.wait_local("no runner", |l| l["plugin_runner"].is_null());
    w.write("c", "x");
    w.wait_identical();
    reload(text);
    w.wait_local("a runner", |l| {
        l["plugin_runner"]["pid"].is_u64() && l["plugins"][0]["state"] == "idle"
    });
    w.write("d", "x");
    first.wait(2, || w.instance.report());
    wait_idle(&w);
    assert_once(&w, &first, &["a".into(), "d".into()]);
    assert_once(&w, &second, &["b".into()]);
    assert_eq!(pids(&w), before, "a reload of plugins restarted others");
}

#[test]
fn a_missing_root_causes_no_calls() {
    let server = Server::lines();
    let mut w = world(1, &[format!("socket: {{host: 127.0.0.1, port: {}}}", server.port)]);
    w.run(&[]);
    let names = names("f", 20);
    names.iter().for_each(|n| w.write(n, "x"));
    server.wait(20, || w.instance.report());
    wait_idle(&w);
    let aside = w.outside.join("aside");
    fs::rename(&w.master, &aside).unwrap();
    w.wait_local("the hold", |l| l["state"] == "held" && l["plugins"][0]["state"] == "held");
    // Another directory in its place, and everything restarted.
    fs::create_dir(&w.master).unwrap();
    w.instance.kill9();
    w.instance.launch(&[]);
    w.wait_local("the hold", |l| l["state"] == "held" && l["plugins"][0]["state"] == "held");
    holds_for("nothing is called", Duration::from_secs(1), || server.heard().len() == 20);
    fs::remove_dir(&w.master).unwrap();
    fs::rename(&aside, &w.master).unwrap();
    w.wait_local("no hold", |l| l["state"] == "watching");
    w.write("later", "x");
    server.wait(21, || w.instance.report());
    wait_idle(&w);
    assert_once(&w, &server, &[names, vec!["later".to_owned()]].concat());
}

#[test]
fn a_file_written_all_the_time_gets_its_call() {
    let server = Server::lines();
    let plugin = format!("socket: {{host: 127.0.0.1, port: {}}}", server.port);
    let mut w = world_with(1, &[plugin], "inotify: {modify: true}\n");
    w.run(&[]);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let log = w.at("log");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                let mut file = fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
                std::io::Write::write_all(&mut file, b"line\n").unwrap();
                std::thread::sleep(Duration::from_millis(3));
            }
        });
        let heard = poll(DEADLINE, || (server.heard().len() >= 3).then_some(()));
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
        assert!(heard.is_some(), "never called\n{}", w.instance.report());
    });
}
