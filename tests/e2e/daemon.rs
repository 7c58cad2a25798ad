//! The daemon: start, pid file, double start, status, reload, stop.

use crate::common::instance::Instance;
use crate::common::namespace::{Mounted, with_private_mounts};
use crate::common::procs::Proc;
use crate::common::rsyncd::Rsyncd;
use crate::common::wait::{DEADLINE, wait_for};
use crate::common::world::{Setup, World, populate, wait_identical, write};
use nix::sys::signal::Signal;
use regex::Regex;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

fn text(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

#[test]
fn d_returns_once_every_localpath_is_watched() {
    let mut w = Setup { remotes: 2, ..Setup::default() }.build();
    populate(&w.master, 3, 3);
    let out = w.instance.command(&["-d"]);
    assert!(out.status.success(), "{out:?}");
    // Watched now: the very next change is seen.
    w.write("at once", "x");
    assert_eq!(w.state(), "watching");
    w.wait_identical();
    let supervisor = w.instance.supervisor();
    assert_eq!(w.instance.pid_file(), Some(supervisor.pid));
    assert!(
        supervisor.runs() && w.instance.watchers().len() == 1 && w.instance.pushers().len() == 2
    );
    w.wait_in_sync();
    wait_for("nothing to do", DEADLINE, || w.instance.command(&["status"]).status.success());

    let stop = w.instance.command(&["stop"]);
    assert!(stop.status.success(), "{stop:?}");
    wait_for("the daemon's end", DEADLINE, || !supervisor.runs());
    assert_eq!(w.instance.command(&["status"]).status.code(), Some(3));
    assert_eq!(w.instance.command(&["stop"]).status.code(), Some(3));
    assert_eq!(w.instance.pid_file(), None, "the pid file stays");

    w.write("while stopped", "x");
    assert!(w.instance.command(&["-d"]).status.success());
    w.wait_identical();
    w.instance.stop();
}

/// So that `killall` and `pkill` in tutorials find it.
#[test]
fn a_daemon_keeps_the_name_it_was_called_by() {
    let w = Setup::default().build();
    let links = tempfile::tempdir().unwrap();
    for called in ["sersync", "sersync2", "a name with \u{76ee}\u{5f55} and more"] {
        let program = links.path().join(called);
        std::os::unix::fs::symlink(Instance::program(), &program).unwrap();
        let mut command = w.instance.prepare(&program, &["-d"]);
        let out = command.arg("-o").arg(w.instance.config()).output().unwrap();
        assert!(out.status.success(), "{out:?}");
        let supervisor = w.instance.supervisor();
        let comm = fs::read(format!("/proc/{}/comm", supervisor.pid)).unwrap();
        // The kernel keeps 15 bytes.
        let short = &called.as_bytes()[..called.len().min(15)];
        assert_eq!(comm.strip_suffix(b"\n"), Some(short), "{}", String::from_utf8_lossy(&comm));
        let words = std::iter::once(program.as_os_str()).chain(command.get_args());
        let words: Vec<_> = words.map(|w| w.to_string_lossy()).collect();
        assert_eq!(supervisor.command, words.join(" "));
        w.instance.pusher(&w.remotes[0].name());
        let family = w.instance.family();
        assert!(family.iter().all(|p| !p.command.contains("role:")), "{family:?}");
        // As `killall` does it.
        supervisor.signal(Signal::SIGTERM);
        wait_for("the daemon's end", DEADLINE, || !family.iter().any(Proc::runs));
    }
}

/// In a separate PID namespace, where they find nothing else.
#[test]
fn killall_and_pkill_stop_it_by_the_name_it_was_started_by() {
    let space = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let have = ["sh", "-c", "command -v killall && command -v pkill && command -v ps"];
    let tried = std::process::Command::new(space[0]).args(&space[1..]).args(have).output();
    if !tried.is_ok_and(|out| out.status.success()) {
        eprintln!("SKIPPED: no process name space, killall or pkill");
        return;
    }
    let w = Setup::default().build();
    let links = tempfile::tempdir().unwrap();
    // It is started as $1, in the foreground or not; $2 stops it, and no process is left.
    let script = r#"
        if [ "$MODE" = -d ]; then "$@" >/dev/null || exit 2; else "$@" >/dev/null & fi
        n=0
        until ps -eo args | grep -q '^syncsup: pusher'; do n=$((n+1)); [ $n -lt 600 ] || exit 3; sleep 0.1; done
        ps -eo args | grep '[r]ole:' && exit 4
        $END || exit 5
        while ps -eo args | grep -q '^syncsup: ' || pgrep -x "$NAME" >/dev/null; do
            n=$((n+1)); [ $n -lt 1200 ] || { ps -ef; exit 6; }; sleep 0.1
        done"#;
    for called in ["sersync", "syncsup"] {
        let program = links.path().join(called);
        std::os::unix::fs::symlink(Instance::program(), &program).unwrap();
        for (end, daemon) in
            [("killall", true), ("pkill", true), ("killall", false), ("pkill", false)]
        {
            let mode: &[&str] = if daemon { &["-d"] } else { &["-r"] };
            let started = w.instance.prepare(&program, mode);
            let mut command = std::process::Command::new(space[0]);
            command.args(&space[1..]).args(["sh", "-c", script, "sh"]).arg(&program);
            command.args(started.get_args()).arg("-o").arg(w.instance.config());
            command.envs(started.get_envs().filter_map(|(name, value)| Some((name, value?))));
            command.env("END", format!("{end} {called}")).env("NAME", called).env("MODE", mode[0]);
            let out = command.output().unwrap();
            assert!(
                out.status.success(),
                "{end} {called} {mode:?}: {out:?}\n{}",
                w.instance.report()
            );
        }
    }
}

/// In a container.
#[test]
fn as_process_1_it_reaps_orphans() {
    let launcher = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let tried = std::process::Command::new(launcher[0]).args(&launcher[1..]).arg("true").status();
    if !tried.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: no process name space");
        return;
    }
    let mut w = Setup::default().build();
    let script = w.outside.join("leaves");
    let orphan = w.outside.join("orphan");
    let text = format!(
        "#!/bin/sh\n(setsid sh -c 'until read -r x x x parent x < /proc/$$/stat && [ $parent = 1 ]; do :; done; echo $parent > {}' &) &\n",
        orphan.display()
    );
    std::fs::write(&script, text).unwrap();
    let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    fs::set_permissions(&script, mode).unwrap();
    let config = fs::read_to_string(w.instance.config()).unwrap();
    let plugin = format!("plugins: [{{command: {{prefix: {script:?}}}}}]\n{config}");
    fs::write(w.instance.config(), plugin).unwrap();
    w.instance.launcher = launcher.map(Into::into).into();
    w.run(&[]);
    w.write("file", "x");
    wait_for("an orphan that was adopted", DEADLINE, || {
        fs::read_to_string(&orphan).is_ok_and(|parent| parent == "1\n")
    });
    let zombies = || w.instance.family().iter().filter(|p| p.state == 'Z').count();
    wait_for("every orphan to be reaped", DEADLINE, || zombies() == 0);
    assert!(w.instance.watchers().len() == 1 && w.instance.pushers().len() == 1);
    w.write("file", "y");
    w.wait_identical();
}

#[test]
fn a_role_cannot_be_requested_on_the_command_line() {
    let w = Setup::default().build();
    for word in ["role:watcher", "role:supervisor", "role:sync"] {
        let out = w.instance.prepare(&Instance::program(), &[word]).output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(2), "{said}");
        assert!(said.contains(&format!("unknown command `{word}`")), "{said}");
        let alone = std::process::Command::new(Instance::program()).arg(word).output().unwrap();
        assert_eq!(alone.status.code(), Some(2), "{alone:?}");
    }
}

#[test]
fn d_returns_startup_errors() {
    let w = Setup::default().build();
    fs::remove_dir(&w.master).unwrap();
    let out = w.instance.command(&["-d"]);
    assert!(!out.status.success(), "{out:?}");
    assert!(
        text(&out).contains(w.master.to_str().unwrap()),
        "does not name the path: {}",
        text(&out)
    );
    assert!(w.instance.family().is_empty());

    fs::write(w.instance.config(), "localpath: []\n").unwrap();
    let out = w.instance.command(&["-d"]);
    assert_eq!(out.status.code(), Some(2), "{out:?}");
    assert!(text(&out).contains("syncsup.yaml:1"), "does not name file and line: {}", text(&out));
}

/// Fills the file system of `dir`; `again` and again, whatever is given back, until it is dropped.
struct Ballast {
    ends: Arc<AtomicBool>,
    filler: JoinHandle<()>,
    file: PathBuf,
}

impl Ballast {
    fn new(dir: &Path, again: bool) -> Ballast {
        let (file, ends) = (dir.join("ballast"), Arc::new(AtomicBool::new(!again)));
        let mut ballast = fs::File::create(&file).unwrap();
        let mut fill = move || while ballast.write_all(&[0; 4096]).is_ok() {};
        fill();
        let until = ends.clone();
        let filler = std::thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                fill();
                std::thread::yield_now();
            }
        });
        Ballast { ends, filler, file }
    }

    fn away(self) {
        self.ends.store(true, Ordering::Relaxed);
        self.filler.join().unwrap();
        fs::remove_file(&self.file).unwrap();
    }
}

/// `-d` with a full state directory, then with room: whether it ran on when it said that there is none.
fn start_when_full(w: &mut World, again: bool) -> Option<bool> {
    let ballast = Ballast::new(&w.instance.state_dir(), again);
    let out = w.instance.command(&["-d"]);
    let runs = w.instance.pid_file().is_some();
    if !out.status.success() {
        let said = text(&out);
        assert!(said.contains("is full") || said.contains("No space"), "{said}");
        if runs {
            let local = w.wait_local("the reason", |l| l["reason"].is_string());
            let reason = local["reason"].as_str().unwrap();
            assert!(reason.contains("is full") && local["state"] == "degraded", "{local}");
        }
    }
    ballast.away();
    if !runs {
        w.run(&[]);
    }
    w.wait_identical_within(DEADLINE * 2);
    w.wait_local("watching", |l| l["state"] == "watching");
    w.instance.stop();
    (!out.status.success()).then_some(runs)
}

#[test]
fn d_reports_a_full_state_directory() {
    with_private_mounts(|| {
        let world = || {
            let w = Setup::default().build();
            populate(&w.master, 3, 3);
            fs::create_dir_all(w.instance.state_dir()).unwrap();
            let state = Mounted::tmpfs_with(&w.instance.state_dir(), "size=8m,mode=700");
            (w, state)
        };
        for again in [false, true] {
            let (mut w, _state) = world();
            assert_eq!(start_when_full(&mut w, again), Some(false), "started without a journal");

            let (mut w, _state) = world();
            w.run(&[]);
            w.wait_identical();
            w.wait_in_sync();
            // Not in order: nothing need be written before the first mark, and the marks need more than what the files
            // of the journal have left.
            w.instance.kill9();
            for i in 0..3_000 {
                w.write(&format!("dir000/a longer name so that its mark needs some room {i}"), "x");
            }
            assert!(start_when_full(&mut w, again).is_some(), "started without room for marks");
        }
    });
}

#[test]
fn a_second_start_on_the_same_localpath_is_refused() {
    let mut w = World::start(1);
    let out = w.instance.command(&["-d"]);
    assert_eq!(out.status.code(), Some(4), "{out:?}");
    // By another file and in the foreground too.
    let other = w.instance.config().with_file_name("other.yaml");
    fs::copy(w.instance.config(), &other).unwrap();
    let out = w
        .instance
        .prepare(&Instance::program(), &["-o", other.to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(4), "{out:?}");
    w.probe(0);
    // After a kill the locks are free.
    w.instance.kill9();
    w.run(&[]);
    w.probe(0);
}

#[test]
fn status_shows_the_state_and_exits_accordingly() {
    let mut w = Setup { remotes: 2, rsync: ", timeout: 5s", ..Setup::default() }.build();
    assert_eq!(w.instance.command(&["status"]).status.code(), Some(3));
    w.run(&[]);
    populate(&w.master, 3, 3);
    w.wait_identical();
    w.wait_in_sync();
    for n in 0..2 {
        w.wait_remote(n, "what was pushed", |r| {
            r["state"] == "in_sync" && r["pushed_files"].as_u64() >= Some(9)
        });
    }
    w.wait_local("3 directories and the root", |l| l["watches"] == 4);
    let out = w.instance.command(&["status"]);
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    assert!(
        text(&out).contains(&w.remotes[0].name())
            && text(&out).contains(w.master.to_str().unwrap())
    );
    let status = w.instance.status();
    let instance = &status["instances"][0];
    assert_eq!(instance["pid"], w.instance.supervisor().pid);
    let local = &instance["localpaths"][0];
    assert_eq!(local["watch"], w.master.to_str().unwrap());
    assert_eq!(local["watcher"]["pid"], w.instance.watcher().pid);
    let remote = &local["remotes"][0];
    assert_eq!(remote["pusher"]["pid"], w.instance.pusher(&w.remotes[0].name()).pid);
    assert_eq!(
        (&remote["waiting"], &remote["owed"], &remote["failing"]),
        (&0.into(), &0.into(), &0.into())
    );

    w.remotes[1].stop();
    w.write("behind", "x");
    let behind = w.wait_remote(1, "marks waiting", |r| {
        r["state"] != "in_sync" && r["lag_ms"].as_u64() > Some(0)
    });
    assert!(behind["waiting"].as_u64().unwrap() + behind["owed"].as_u64().unwrap() > 0, "{behind}");
    assert_eq!(w.instance.command(&["status"]).status.code(), Some(1));
}

#[test]
fn sigterm_leaves_no_process_and_keeps_the_backlog() {
    let mut w = Setup { remotes: 2, params: "-a --bwlimit=1000", ..Setup::default() }.start();
    let mut content = vec![0; 3 << 20];
    fastrand::fill(&mut content);
    for i in 0..10 {
        w.write(&format!("large{i}"), &content);
    }
    wait_for("a running push", DEADLINE, || !w.instance.rsyncs().is_empty());
    let status = w.instance.stop();
    assert!(status.success(), "{status:?}");
    w.run(&[]);
    w.wait_identical_within(DEADLINE * 4);
}

/// Two localpaths, each to a slave of its own, the second one only on demand.
struct Two {
    instance: Instance,
    slaves: [Rsyncd; 2],
    dir: tempfile::TempDir,
}

impl Two {
    fn start() -> Two {
        let dir = tempfile::TempDir::with_prefix("syncsup-test-").unwrap();
        for name in ["one", "two"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let slaves = [Rsyncd::start(), Rsyncd::start()];
        let instance = Instance::new(&dir.path().join("instance"), "syncsup.yaml", "");
        let mut two = Two { instance, slaves, dir };
        two.configure(&[0], "");
        two.instance.start(&[], &[&two.dir.path().join("one")]);
        two
    }

    fn local(&self, index: usize) -> std::path::PathBuf {
        self.dir.path().join(["one", "two"][index])
    }

    /// Writes the configuration with these localpaths.
    fn configure(&self, locals: &[usize], more: &str) {
        let mut text = format!("{more}\nlocalpaths:\n");
        for &i in locals {
            let remote = self.slaves[i].yaml("");
            text += &format!("  - {{watch: {:?}, remotes: [{remote}]}}\n", self.local(i));
        }
        fs::write(self.instance.config(), text).unwrap();
    }

    fn children(&self) -> Vec<Proc> {
        self.instance.watchers().into_iter().chain(self.instance.pushers()).collect()
    }

    fn check(&self, index: usize) {
        write(&self.local(index).join("d/f"), format!("{}", fastrand::u64(..)));
        wait_identical(&self.instance, &self.local(index), &[&self.slaves[index].path()], DEADLINE);
    }
}

#[test]
fn reload_touches_only_what_changed() {
    let two = Two::start();
    two.check(0);
    let first = two.children();
    assert_eq!(first.len(), 2);

    two.configure(&[0, 1], "");
    let out = two.instance.command(&["reload"]);
    assert!(out.status.success(), "{out:?}");
    wait_for("the second localpath's children", DEADLINE, || two.children().len() == 4);
    two.check(1);
    two.check(0);
    assert!(first.iter().all(Proc::runs), "a child that did not change was restarted");

    // By the signal; the second one goes again.
    two.configure(&[0], "");
    two.instance.supervisor().signal(Signal::SIGHUP);
    wait_for("the second localpath's children to go", DEADLINE, || two.children().len() == 2);
    two.check(0);
    assert!(first.iter().all(Proc::runs), "a child that did not change was restarted");

    // A broken file changes nothing, and says so.
    fs::write(two.instance.config(), "localpaths: [{watch: relative, remotes: []}]\n").unwrap();
    let out = two.instance.command(&["reload"]);
    assert!(!out.status.success(), "{out:?}");
    two.check(0);
    assert!(first.iter().all(Proc::runs), "a broken file stopped a child");
}

#[test]
fn a_missing_localpath_is_held_while_the_others_continue() {
    let two = Two::start();
    two.configure(&[0, 1], "");
    assert!(two.instance.command(&["reload"]).status.success());
    wait_for("the second localpath's children", DEADLINE, || two.children().len() == 4);
    two.check(1);
    fs::rename(two.local(1), two.dir.path().join("away")).unwrap();
    two.instance.wait_status("one held, one watching", |s| {
        let state = |i: usize| s["instances"][0]["localpaths"][i]["state"].clone();
        state(0) == "watching" && state(1) == "held"
    });
    two.check(0);
    fs::rename(two.dir.path().join("away"), two.local(1)).unwrap();
    two.check(1);
}

#[test]
fn several_files_and_a_directory_are_accepted_as_configuration() {
    let two = Two::start();
    two.check(0);
    drop(two);

    let mut two = Two::start();
    two.instance.stop();
    let conf = two.dir.path().join("conf.d");
    fs::create_dir(&conf).unwrap();
    for i in 0..2 {
        two.configure(&[i], "");
        fs::copy(two.instance.config(), conf.join(format!("{i}.yaml"))).unwrap();
    }
    let mut daemon = two.instance.prepare(&Instance::program(), &["-d", "-o"]);
    let out = daemon.arg(&conf).output().unwrap();
    assert!(out.status.success(), "{out:?}");
    // Both are watched when -d returns.
    let mut status = two.instance.prepare(&Instance::program(), &["status", "--json", "-o"]);
    let status = status.arg(&conf).output().unwrap();
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    let locals = status["instances"][0]["localpaths"].as_array().unwrap();
    let states: Vec<_> = locals.iter().map(|l| &l["state"]).collect();
    assert_eq!(states, ["watching", "watching"], "{status}");
    assert_eq!(two.children().len(), 4);
    two.check(0);
    two.check(1);
    two.instance.stop();
}

#[test]
fn check_prints_the_configuration_or_all_errors() {
    let two = Two::start();
    let out = two.instance.command(&["check", "--connect"]);
    assert!(out.status.success(), "{out:?}");
    assert!(
        text(&out).contains("ok") && text(&out).contains(two.local(0).to_str().unwrap()),
        "{}",
        text(&out)
    );
    fs::write(
        two.instance.config(),
        "localpaths:\n  - watch: relative\n    remotes: []\n    wach: /x\n",
    )
    .unwrap();
    let out = two.instance.command(&["check"]);
    assert_eq!(out.status.code(), Some(2), "{out:?}");
    for line in ["syncsup.yaml:2", "syncsup.yaml:3", "syncsup.yaml:4"] {
        assert!(text(&out).contains(line), "no error at {line}: {}", text(&out));
    }
}

#[test]
fn sync_reconciles_immediately() {
    let mut w = World::start(2);
    populate(&w.master, 3, 3);
    w.wait_identical();
    w.wait_in_sync();
    // Drift on the slaves, which no event tells of.
    for slave in w.slaves() {
        fs::write(slave.join("dir000/file000"), "drifted").unwrap();
        fs::remove_file(slave.join("dir001/file001")).unwrap();
        fs::write(slave.join("dir002/extra"), "x").unwrap();
    }
    let out = w.instance.command(&["sync", &w.remotes[0].name()]);
    assert!(out.status.success(), "{out:?}");
    wait_identical(&w.instance, &w.master, &[&w.remotes[0].path()], DEADLINE);
    assert!(w.remotes[1].path().join("dir002/extra").exists(), "another remote was compared too");
    assert!(w.instance.command(&["sync"]).status.success());
    w.wait_identical();
    w.instance.stop();
    assert_eq!(w.instance.command(&["sync"]).status.code(), Some(3));
}

/// Also the lines of failed starts: one beside a running instance, one with two errors in its configuration.
#[test]
fn every_log_line_of_a_daemon_has_a_local_time_with_its_offset() {
    let time =
        Regex::new(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}([+-]\d\d:\d\d) [A-Z]{4} ").unwrap();
    for (zone, offset) in [("XXX-05:45", "+05:45"), ("XXX3", "-03:00"), ("UTC0", "+00:00")] {
        let mut w = Setup::default().build();
        w.instance.launcher = ["env".into(), format!("TZ={zone}").into()].to_vec();
        assert!(w.instance.command(&["-d"]).status.success());
        assert_eq!(w.instance.command(&["-d"]).status.code(), Some(4));
        let config = fs::read_to_string(w.instance.config()).unwrap();
        w.instance.stop();
        fs::write(w.instance.config(), format!("{config}odd: 1\nodder: 2\n")).unwrap();
        assert_eq!(w.instance.command(&["-d"]).status.code(), Some(2));
        let log = w.instance.log_text();
        assert!(log.contains("already runs") && log.contains("odder"), "{log}");
        for line in log.lines() {
            let found = time.captures(line).map(|c| c[1].to_owned());
            assert_eq!(found.as_deref(), Some(offset), "TZ={zone}: {line}");
        }
    }
}

/// The arguments that distinguish them are shown, not the names of their sockets.
#[test]
fn an_ambiguous_command_lists_the_arguments_that_select_each_instance() {
    let w = Setup::default().build();
    assert!(w.instance.command(&["-d"]).status.success());
    let (other, data) = (w.outside.join("o'ther.yaml"), w.outside.join("data"));
    fs::create_dir(&data).unwrap();
    let plugin = "plugins: [{command: {prefix: /bin/true}}]";
    let remotes = format!("remotes: [{}]", w.remotes[0].yaml(""));
    fs::write(&other, format!("localpaths: [{{watch: {data:?}, {remotes}, {plugin}}}]\n")).unwrap();
    let run = |args: &[&str]| w.instance.prepare(&Instance::program(), args).output().unwrap();
    let out = run(&["-d", "-m", "command", "-o", other.to_str().unwrap()]);
    assert!(out.status.success(), "{out:?}");
    let quoted = other.display().to_string().replace('\'', r"'\''");
    let words =
        [format!("-o {}", w.instance.config().display()), format!("-o '{quoted}' -m command")];
    for command in ["stop", "reload"] {
        let out = run(&[command]);
        let said = text(&out);
        assert!(out.status.code() == Some(2) && said.lines().count() == 1, "{said}");
        assert!(words.iter().all(|w| said.contains(w)), "{words:?}: {said}");
        assert!(!said.contains(w.instance.run_dir().to_str().unwrap()), "{said}");
    }
    // And each of them is understood.
    for words in words {
        let line = format!("\"$0\" \"$@\" stop {words}");
        let program = Instance::program();
        let dirs = [w.instance.state_dir(), w.instance.run_dir()];
        let out = std::process::Command::new("/bin/sh")
            .args(["-c", &line])
            .arg(program)
            .arg("--state-dir")
            .arg(&dirs[0])
            .arg("--run-dir")
            .arg(&dirs[1])
            .output()
            .unwrap();
        assert!(out.status.success(), "{line}: {out:?}");
    }
}
