//! The output of each command, word for word: `snapshots/*.txt`. Ports, pids, times and
//! directories are replaced by placeholders ([`scene`]). `SYNCSUP_SNAPSHOTS=write` rewrites the files.

mod scene;

use crate::common::instance::Instance;
use crate::common::procs::Proc;
use crate::common::wait::{DEADLINE, poll, wait_for};
use crate::common::world::{Setup, World, write};
use nix::sys::signal::Signal;
use regex::Regex;
use scene::Scene;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

/// Pretty, so that a snapshot has a line for each key.
fn pretty(out: &Output) -> Output {
    let value: Value = serde_json::from_slice(&out.stdout).unwrap();
    let text = serde_json::to_string_pretty(&value).unwrap() + "\n";
    Output { stdout: text.into_bytes(), ..out.clone() }
}

/// Without a terminal a line is printed for each state: only the last of each remote is always the same.
fn last_of_each(w: &World, out: &Output) -> Output {
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let mut last: Vec<(Option<usize>, &str)> = Vec::new();
    for line in text.lines() {
        let of = w.remotes.iter().position(|r| line.contains(&r.name()));
        // Lines of no remote are all kept.
        last.retain(|(n, _)| n.is_none() || *n != of);
        last.push((of, line));
    }
    last.sort();
    let text: String = last.iter().map(|(_, line)| format!("{line}\n")).collect();
    Output { stdout: text.into_bytes(), ..out.clone() }
}

#[test]
fn output_when_all_is_in_sync() {
    let settings = "crontab: {cron: '0 3 * * *'}\ntrash: {keep: 7d}\n";
    let w = Setup { remotes: 2, settings, ..Setup::default() }.build();
    let mut scene = Scene::new("all-is-well", &w);
    let mut w = w;
    w.write("css/site.css", "body {}");
    w.write("index.html", "<p>");
    w.run(&[]);
    w.wait_identical();
    w.wait_in_sync();
    scene.run(&w, &["status"]);
    scene.run(&w, &["status", "--problems"]);
    let second = w.remotes[1].name();
    scene.run(&w, &["status", &second]);
    let out = w.instance.command(&["status", "--json"]);
    scene.note(&["status", "--json"], &pretty(&out));
    scene.run(&w, &["wait"]);
    let css = w.at("css");
    scene.run(&w, &["wait", "--quorum", "2", css.to_str().unwrap()]);
    scene.run(&w, &["verify"]);
    scene.run(&w, &["verify", "--json"]);
    scene.run(&w, &["verify", "-0"]);
    scene.run(&w, &["journal", "list"]);
    scene.run(&w, &["journal", "retry"]);
    scene.run(&w, &["journal", "drop"]);
    let (watch, first) = (w.master.display().to_string(), w.remotes[0].name());
    let out = w.instance.command(&["sync", &first]);
    scene.note(&["sync", &first], &last_of_each(&w, &out));
    let out = w.instance.command(&["sync"]);
    scene.note(&["sync"], &last_of_each(&w, &out));
    scene.run(&w, &["release", &first]);
    scene.run(&w, &["release", "--show", &watch]);
    scene.run(&w, &["undelete", ".", "--remote", &first]);
    scene.run(&w, &["reload"]);
    scene.run(&w, &["check"]);
    scene.run(&w, &["check", "--connect"]);
    scene.run(&w, &["convert"]);
    // Whoever was killed runs again, and that is said.
    w.instance.pusher(&first).signal(Signal::SIGKILL);
    w.wait_remote(0, "restarted", |r| r["pusher"]["restarts"] == 1 && r["state"] == "in_sync");
    scene.run(&w, &["status"]);
    scene.run(&w, &["stop"]);
    scene.done();
}

#[test]
fn output_of_remotes_in_trouble() {
    let mut setup = Setup { remotes: 2, settings: "standby: off\n", ..Setup::default() };
    setup.daemon.module_lines = "exclude = refused\n".into();
    let mut w = setup.start();
    let mut scene = Scene::new("trouble", &w);
    w.write("fine", "x");
    w.wait_identical();
    w.wait_in_sync();
    w.remotes[1].stop();
    w.write("refused", "x");
    w.write("later", "x");
    w.wait_remote(0, "a path that fails", |r| {
        r["failing"] == 1 && r["owed"] == 1 && r["state"] == "behind"
    });
    w.wait_remote(1, "trouble", |r| r["state"] == "backoff" && r["waiting"] == 2);
    let later = w.at("later");
    wait_for("the file", DEADLINE, || w.there("later").exists());
    let told = |out: &Output| {
        // While it is tried, nothing is said of the next time.
        let text = String::from_utf8_lossy(&out.stdout).replace("retrying now", "next try in 1 s");
        Output { stdout: text.into_bytes(), ..out.clone() }
    };
    // What fails is tried again now and then.
    let between = |args: &[&str]| {
        let tried = |out: &Output| String::from_utf8_lossy(&out.stdout).contains("pushing");
        poll(DEADLINE, || Some(w.instance.command(args)).filter(|out| !tried(out)))
            .expect("a moment between two tries")
    };
    scene.note(&["status"], &told(&between(&["status"])));
    let problem = ["status", "--problems", &w.remotes[1].name()];
    scene.note(&problem, &told(&between(&problem)));
    let args = ["wait", "--timeout", "200ms"];
    scene.note(&args, &between(&args));
    scene.run(&w, &["wait", "--quorum", "1", later.to_str().unwrap()]);
    scene.run(&w, &["verify"]);
    scene.run(&w, &["verify", "--json"]);
    // While it is tried, nothing waits for it.
    let owed = |out: &Output| String::from_utf8_lossy(&out.stdout).contains(" paths are owed");
    let list = || Some(w.instance.command(&["journal", "list"])).filter(owed);
    let out = told(&poll(DEADLINE, list).expect("owed paths"));
    let text = Regex::new("  [0-9]+  TIME ago  (in TIME|now)").unwrap();
    let said = text
        .replace(&scene.plain(&String::from_utf8_lossy(&out.stdout)), "  N  TIME ago  in TIME")
        .into_owned();
    scene.note(&["journal", "list"], &Output { stdout: said.into_bytes(), ..out });
    scene.run(&w, &["check", "--connect"]);
    let first = w.remotes[0].name();
    scene.run(&w, &["journal", "retry", "--remote", &first]);
    w.wait_remote(0, "it fails again", |r| r["failing"] == 1 && r["state"] == "behind");
    let out = w.instance.command(&["sync"]);
    scene.note(&["sync"], &last_of_each(&w, &out));
    scene.run(&w, &["journal", "drop", "--remote", &first]);
    w.wait_remote(0, "forgotten", |r| r["failing"] == 0);
    scene.done();
}

#[test]
fn output_of_holds() {
    let settings = "standby: off\n";
    let mut w = Setup { settings, remote: ", max_delete: 5", ..Setup::default() }.build();
    let mut scene = Scene::new("held", &w);
    for n in 0..10 {
        write(&w.there(&format!("old/{n}")), "old");
    }
    w.run(&[]);
    w.wait_remote(0, "held", |r| r["state"] == "held");
    // Only now: a push beside the comparison would be seen by it, or not.
    w.write("new", "new");
    w.wait_remote(0, "the new file", |r| {
        r["state"] == "held" && r["waiting"] == 0 && r["pushed_files"] == 1
    });
    let name = w.remotes[0].name();
    scene.run(&w, &["status"]);
    scene.run(&w, &["release", "--show", &name]);
    let out = w.instance.command(&["sync"]);
    scene.note(&["sync"], &last_of_each(&w, &out));
    scene.run(&w, &["release", &name]);
    w.wait_identical();
    w.wait_in_sync();
    fs::rename(&w.master, w.outside.join("away")).unwrap();
    w.wait_local("held", |l| l["state"] == "held" && l["remotes"][0]["state"] == "held");
    scene.run(&w, &["status"]);
    let watch = w.master.display().to_string();
    scene.run(&w, &["release", &watch]);
    scene.run(&w, &["wait", "--timeout", "200ms"]);
    scene.done();
}

#[test]
fn output_of_undelete() {
    let w = Setup { settings: "trash: {keep: 7d}\n", ..Setup::default() }.start();
    let mut scene = Scene::new("undelete", &w);
    for content in ["one", "two", "three", "four"] {
        w.write("d/a", content);
        w.wait_identical();
    }
    w.write("d/b", "b");
    w.wait_identical();
    fs::remove_file(w.at("d/b")).unwrap();
    w.wait_identical();
    w.wait_in_sync();
    scene.run(&w, &["undelete", "d/a"]);
    scene.run(&w, &["undelete", "d"]);
    scene.run(&w, &["undelete", "d/c"]);
    scene.run(&w, &["undelete", "d/a", "--last"]);
    scene.run(&w, &["undelete", "d/a", "--last", "--force"]);
    scene.run(&w, &["undelete", "d", "--last"]);
    scene.run(&w, &["undelete", "d/a", "--at", "1999"]);
    w.wait_identical();
    scene.done();
}

/// A mistyped or impossible command prints one line on standard error, nothing else, and has the documented exit status.
#[test]
fn usage_errors_are_one_line() {
    let w = World::start(1);
    let mut scene = Scene::new("errors", &w);
    w.write("a", "a");
    w.wait_identical();
    w.wait_in_sync();
    let cases: &[(i32, &[&str])] = &[
        (2, &["stats"]),
        (2, &["status", "x"]),
        (2, &["status", "--jsn"]),
        (2, &["status", ""]),
        (2, &["status", "--json", "--watch"]),
        (2, &["status", "--json", "--problems"]),
        (2, &["status", "--remote", "h::m"]),
        (2, &["wait", "--timeout", "soon"]),
        (2, &["wait", "--timeout"]),
        (2, &["wait", "--quorum", "0"]),
        (2, &["wait", "--quorum", "2"]),
        (2, &["wait", "--quorum", "1", "--all"]),
        (2, &["wait", "--remote", "h::m"]),
        (2, &["wait", "/nowhere"]),
        (2, &["wait", ""]),
        (2, &["verify", "/nowhere"]),
        (2, &["verify", "/a", "/b"]),
        (2, &["verify", "--json", "-0"]),
        (2, &["verify", "--remote", "h::m"]),
        (2, &["journal", "forget"]),
        (2, &["journal", "retry", "--json"]),
        (2, &["journal", "list", "/nowhere"]),
        (2, &["journal", "drop", "--remote", "h::m"]),
        (2, &["journal", "import"]),
        (2, &["journal", "import", "/nowhere"]),
        (2, &["release"]),
        (2, &["release", "h::m"]),
        (2, &["release", "--show", "h::m"]),
        (2, &["release", "a", "b"]),
        (2, &["sync", "h::m"]),
        (2, &["sync", "--json"]),
        (2, &["undelete"]),
        (2, &["undelete", "a"]),
        (2, &["undelete", "a", "--remote", "h::m"]),
        (2, &["undelete", "a", "--force"]),
        (2, &["undelete", "a", "--at", ""]),
        (2, &["undelete", "a", "--at", "x", "--last"]),
        (2, &["stop", "now"]),
        (2, &["reload", "--json"]),
        (2, &["check", "x"]),
        (2, &["convert", "--connect"]),
        (2, &["run", "-n", "0"]),
        (2, &["run", "-m", "socet"]),
        (2, &["--http", "0.0.0.0:1"]),
        (2, &["--max-lag", "1x"]),
        (2, &["demo", "x"]),
    ];
    for (code, args) in cases {
        let out = scene.run(&w, args);
        let error = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(*code), "{args:?}: {out:?}");
        assert!(out.stdout.is_empty() && error.lines().count() == 1, "{args:?}: {out:?}");
    }
    // A file that is not there, in each command that reads one.
    for args in [
        &["check"][..],
        &["convert"],
        &["run"],
        &["run", "-d"],
        &["undelete", "a"],
        &["status"],
        &["wait"],
        &["verify"],
        &["journal", "list"],
        &["sync"],
        &["release", "x"],
        &["reload"],
        &["stop"],
    ] {
        let mut command = w.instance.prepare(&Instance::program(), args);
        let out = command.args(["-o", "/nowhere.yaml"]).output().unwrap();
        let words: Vec<&str> = args.iter().copied().chain(["-o", "/nowhere.yaml"]).collect();
        scene.note(&words, &out);
        assert!(matches!(out.status.code(), Some(2 | 3)), "{args:?}: {out:?}");
        // A line for each error of the configuration, and then how many.
        let lines = String::from_utf8_lossy(&out.stderr).lines().count();
        assert!(lines == 1 || (lines == 2 && args == ["check"]), "{args:?}: {out:?}");
    }
    scene.done();
}

/// Every command that asks an instance.
const ASKING: [&[&str]; 13] = [
    &["status"],
    &["status", "--json"],
    &["status", "--watch"],
    &["wait"],
    &["verify", "--repair"],
    &["journal", "list"],
    &["journal", "retry"],
    &["sync"],
    &["release", "h::m"],
    &["release", "--show", "h::m"],
    &["journal", "import", "syncsup.yaml"],
    &["reload"],
    &["stop"],
];

/// All together, each to its end.
fn all_asking(w: &World, config: bool) -> Vec<(&'static [&'static str], Output)> {
    let run = |args: &'static [&'static str]| {
        let mut command = w.instance.prepare(&Instance::program(), args);
        if config {
            command.arg("-o").arg(w.instance.config());
        }
        move || (args, command.output().unwrap())
    };
    let threads: Vec<_> = ASKING.iter().map(|args| std::thread::spawn(run(args))).collect();
    threads.into_iter().map(|t| t.join().unwrap()).collect()
}

#[test]
fn a_missing_supervisor_is_reported_immediately() {
    let mut w = Setup::default().build();
    let mut scene = Scene::new("nobody", &w);
    // Never, gone in order, and killed: then its socket is still there.
    for (round, how) in ["never", "stopped", "killed"].into_iter().enumerate() {
        if how != "never" {
            w.run(&[]);
            w.wait_in_sync();
        }
        match how {
            "stopped" => drop(w.instance.stop()),
            "killed" => w.instance.kill9(),
            _ => {}
        }
        let began = Instant::now();
        for (args, out) in all_asking(&w, false) {
            // It writes into the journals by itself when no supervisor runs.
            if args.contains(&"import") {
                continue;
            }
            let error = String::from_utf8_lossy(&out.stderr).into_owned();
            assert_eq!(out.status.code(), Some(3), "{how}: {args:?}: {out:?}");
            assert_eq!(error.lines().count(), 1, "{how}: {args:?}: {out:?}");
            if round == 0 {
                scene.note(args, &out);
            }
        }
        // One that waited for an answer would take ten seconds for each command.
        assert!(began.elapsed() < Duration::from_secs(60), "{how}: {:?}", began.elapsed());
    }
    scene.done();
}

#[test]
fn no_command_hangs_on_a_hung_supervisor() {
    let mut w = World::start(1);
    let mut scene = Scene::new("hangs", &w);
    w.wait_in_sync();
    w.instance.supervisor().signal(Signal::SIGSTOP);
    let began = Instant::now();
    let all = all_asking(&w, true);
    let took = began.elapsed();
    w.instance.supervisor().signal(Signal::SIGCONT);
    for (args, out) in &all {
        scene.note(args, out);
    }
    for (args, out) in all {
        let error = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(5), "{args:?}: {out:?}");
        assert_eq!(error.lines().count(), 1, "{args:?}: {out:?}");
        assert!(error.contains("no answer") && error.contains("stopped"), "{args:?}: {error}");
    }
    // Each gives up after ten seconds; one after another would take minutes.
    assert!(took < Duration::from_secs(100), "{took:?}");
    // It did none of this, and continues.
    w.write("after", "x");
    w.wait_identical();
    w.instance.stop();
    scene.done();
}

#[test]
fn status_watch_without_a_terminal_prints_tables_in_turn() {
    let mut w = World::start(1);
    w.wait_in_sync();
    let mut command = w.instance.prepare(&Instance::program(), &["status", "--watch"]);
    // It outlives the instance, and is none of its processes.
    command.env_remove("SYNCSUP_TEST_ID");
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut seen = String::new();
    while seen.matches("PROCESS").count() < 2 {
        seen += &(lines.next().unwrap() + "\n");
    }
    assert!(!seen.contains('\x1b') && seen.contains("in sync"), "{seen}");
    // A supervisor that goes is waited for, and said.
    w.instance.stop();
    assert!(lines.any(|line| line.starts_with("syncsup: no supervisor runs")));
    w.run(&[]);
    assert!(lines.any(|line| line.contains("in sync")));
    Proc::read(child.id() as i32).unwrap().signal(Signal::SIGINT);
    let code = child.wait().unwrap().code();
    assert_eq!(code, Some(0), "that of what was shown last");
}
