//! `syncsup journal` for calls: what a plugin could not be called for is listed, called for again, forgotten.

use super::servers::Server;
use super::{HOSTILE, at, recorded, recorder, world_with};
use crate::common::instance::Instance;
use crate::common::wait::{DEADLINE, wait_for};
use crate::common::world::World;
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;

#[track_caller]
fn journal(w: &World, args: &[&OsStr], code: i32) -> String {
    let mut command = w.instance.prepare(&Instance::program(), &["journal"]);
    let out = command.args(args).arg("-o").arg(w.instance.config()).output().unwrap();
    let said =
        String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(code), "{said}");
    let said = said.replace(&w.master.display().to_string(), "MASTER");
    said.replace(&w.remotes[0].name(), "REMOTE")
}

fn words<'a>(args: &'a [&'a str]) -> Vec<&'a OsStr> {
    args.iter().map(OsStr::new).collect()
}

/// Two commands that fail until a file is there, with a fail log.
fn failing(dir: &Path) -> (World, std::path::PathBuf, std::path::PathBuf) {
    let gate = dir.join("open");
    let (script, record) =
        recorder(dir, &format!("[ -e '{}' ] || {{ echo no way >&2; exit 7; }}", gate.display()));
    let plugin = |suffix: &str| {
        format!("command: {{prefix: {script:?}, suffix: {suffix}, retry: 20ms, attempts: 2}}")
    };
    let mut w = world_with(1, &[plugin("one"), plugin("two")], "fail_log: {path: /FAIL}\n");
    let config = w.instance.config().to_owned();
    let text = fs::read_to_string(&config).unwrap();
    let log = w.outside.join("fail.sh");
    fs::write(&config, text.replace("/FAIL", log.to_str().unwrap())).unwrap();
    w.run(&[]);
    // What the first reconcile finds is owed for a moment.
    w.wait_in_sync();
    (w, gate, record)
}

/// Waits until `counts` calls of the plugins were given up and none is waiting: the journal knows first.
#[track_caller]
fn wait_given_up(w: &World, counts: [usize; 2]) {
    wait_for("calls that were given up", DEADLINE, || {
        let json = journal(w, &words(&["list", "--json"]), 0);
        let rows: Vec<Value> = json.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let of = |name: &str| {
            let rows = rows.iter().filter(|r| r["plugin"] == name);
            rows.filter(|r| r["next_try_ms"].is_null() && r["attempts"] == 2).count()
        };
        let status = w.instance.status();
        let plugins = &status["instances"][0]["localpaths"][0]["plugins"];
        [of("command"), of("command-2")] == counts
            && rows.len() == counts[0] + counts[1]
            && (0..2).all(|n| plugins[n]["given_up"] == counts[n] && plugins[n]["waiting"] == 0)
    });
}

#[test]
fn abandoned_calls_are_listed_retried_and_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let (mut w, gate, record) = failing(dir.path());
    // Calls of the start may still be waiting.
    wait_given_up(&w, [0, 0]);
    assert_eq!(journal(&w, &words(&["list"]), 0), "nothing fails\n");
    fs::create_dir(at(&w, b"d")).unwrap();
    wait_given_up(&w, [1, 1]);
    for name in HOSTILE {
        fs::write(at(&w, b"d").join(OsStr::from_bytes(name)), "x").unwrap();
    }
    let all = HOSTILE.len() + 1;
    wait_given_up(&w, [all, all]);
    let said = journal(&w, &words(&["list"]), 0);
    assert_eq!(said.lines().count(), 2 * (all + 2) + 1, "{said}");
    assert!(said.ends_with("\nhelp: syncsup help plugin-failing\n"), "{said}");
    assert!(said.starts_with("MASTER plugin command\n"), "{said}");
    assert!(said.contains("\nMASTER plugin command-2\n") && !said.contains("REMOTE"), "{said}");
    assert!(
        said.contains("  d/new\\x0aline") && said.contains("given up  exit 7: no way"),
        "{said}"
    );
    let json = journal(&w, &words(&["list", "--json", "--plugin", "command-2"]), 0);
    let rows: Vec<Value> = json.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(rows.len(), all);
    let first = &rows[0];
    assert_eq!((&first["plugin"], &first["path"]), (&"command-2".into(), &"d".into()), "{first}");
    assert!(first["next_try_ms"].is_null() && first["attempts"] == 2, "{first}");

    // One of them alone, whose name no shell and no terminal would like; while it fails it gets all its tries again.
    let hostile = at(&w, b"d").join(OsStr::from_bytes(HOSTILE[4]));
    let said = journal(&w, &[OsStr::new("retry"), hostile.as_os_str()], 0);
    assert_eq!(
        said,
        "MASTER plugin command: 1 path retried now\nMASTER plugin command-2: 1 path retried now\n"
    );
    wait_given_up(&w, [all, all]);
    assert!(recorded(&record).is_empty());
    fs::write(&gate, "").unwrap();
    journal(
        &w,
        &[OsStr::new("retry"), OsStr::new("--plugin"), OsStr::new("command"), hostile.as_os_str()],
        0,
    );
    wait_given_up(&w, [all - 1, all]);
    let calls = recorded(&record);
    assert_eq!(calls, [[hostile.as_os_str().as_bytes().to_vec(), b"one".to_vec()]]);

    // Without the names of plugins nothing of a remote's is meant, and the other way round.
    assert_eq!(
        journal(&w, &words(&["retry", "--remote", &w.remotes[0].name()]), 0),
        "nothing fails there\n"
    );
    let forgotten = "paths dropped; their next change causes a call";
    let said = journal(&w, &words(&["drop", "--plugin", "command-2"]), 0);
    assert_eq!(said, format!("MASTER plugin command-2: {all} {forgotten}\n"));
    wait_given_up(&w, [all - 1, 0]);

    // Without a supervisor, at the next start.
    w.instance.stop();
    let said = journal(&w, &words(&["list"]), 0);
    assert!(said.starts_with("MASTER plugin command\n") && !said.contains("command-2"), "{said}");
    let said = journal(&w, &words(&["retry"]), 0);
    assert_eq!(
        said,
        format!("MASTER plugin command: {} paths retried when an instance starts\n", all - 1)
    );
    w.run(&[]);
    wait_given_up(&w, [0, 0]);
    // What was forgotten of the other may be called for, too: the scan of the start finds what changed just now.
    let calls = recorded(&record).into_iter().filter(|call| call[1] == b"one");
    let calls: Vec<String> = calls.map(|c| String::from_utf8_lossy(&c[0]).into_owned()).collect();
    assert_eq!(calls.len(), all, "{calls:#?}");
    let said = journal(&w, &words(&["list", "--plugin", "http"]), 2);
    assert!(
        said.contains("--plugin http: not configured; there are: command, command-2"),
        "{said}"
    );
}

/// The names, and such as end where `$()` would drop it.
fn names() -> impl Iterator<Item = &'static [u8]> {
    HOSTILE.into_iter().chain([&b"end\n"[..], b"\n"])
}

#[test]
fn each_line_of_the_fail_log_repeats_a_call() {
    for shell in ["dash", "bash"] {
        if Command::new(shell).args(["-c", ":"]).stdout(Stdio::null()).status().is_err() {
            eprintln!("SKIPPED: no {shell}");
            continue;
        }
        let dir = tempfile::tempdir().unwrap();
        let (w, gate, record) = failing(dir.path());
        for name in names() {
            fs::write(at(&w, name), "x").unwrap();
        }
        let all = HOSTILE.len() + 2;
        wait_given_up(&w, [all, all]);
        let log = w.outside.join("fail.sh");
        wait_for("all lines", DEADLINE, || {
            fs::read_to_string(&log)
                .is_ok_and(|t| t.lines().filter(|l| !l.starts_with('#')).count() == 2 * all)
        });
        fs::write(&gate, "").unwrap();
        let status = Command::new(shell).arg(&log).current_dir(dir.path()).status().unwrap();
        assert!(status.success(), "{shell}\n{}", fs::read_to_string(&log).unwrap());
        let mut got: Vec<Vec<u8>> = recorded(&record).into_iter().map(|c| c[0].clone()).collect();
        let names = names();
        let mut wanted: Vec<Vec<u8>> =
            names.map(|n| at(&w, n).as_os_str().as_bytes().to_vec()).collect();
        wanted.extend(wanted.clone());
        got.sort();
        wanted.sort();
        assert_eq!(got, wanted, "{shell}");
        assert!(!dir.path().join("pwned").exists());
    }
}

#[test]
fn plugins_without_a_program_are_retried_through_the_journal() {
    let server = Server::http();
    server.shared.status.store(404, Ordering::SeqCst);
    let url = format!("http://127.0.0.1:{}/", server.port);
    let plugin = format!("http: {{url: '{url}', retry: 20ms, attempts: 1}}");
    let mut w = world_with(1, &[plugin], "fail_log: {path: /FAIL}\n");
    let config = w.instance.config().to_owned();
    let text = fs::read_to_string(&config).unwrap();
    let log = w.outside.join("fail.sh");
    fs::write(&config, text.replace("/FAIL", log.to_str().unwrap())).unwrap();
    w.run(&[]);
    for name in names() {
        fs::write(at(&w, name), "x").unwrap();
    }
    let all = names().count();
    wait_for("all lines", DEADLINE, || {
        fs::read_to_string(&log).is_ok_and(|t| {
            t.lines().filter(|l| l.starts_with("syncsup ") || l.starts_with('w')).count() == all
        })
    });
    server.shared.status.store(0, Ordering::SeqCst);
    let bin = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(Instance::program(), bin.path().join("syncsup")).unwrap();
    let path = format!("{}:{}", bin.path().display(), std::env::var("PATH").unwrap());
    let out = Command::new("sh").arg(&log).env("PATH", path).output().unwrap();
    assert!(out.status.success(), "{out:?}");
    assert_eq!(String::from_utf8_lossy(&out.stdout).matches("1 path retried now").count(), all);
    server.wait(all, || w.instance.report());
    w.wait_local("nothing given up", |l| l["plugins"][0]["given_up"] == 0);
    wait_for("an empty fail log", DEADLINE, || fs::read(&log).is_ok_and(|t| t.is_empty()));
}
