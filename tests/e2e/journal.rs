//! `syncsup journal import`: what sersync itself still owed is taken over.

use crate::common::instance::Instance;
use crate::common::wait::{DEADLINE, holds_for, wait_for};
use crate::common::world::{Setup, World, write};
use std::fs;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

const HOSTILE: &str = "it's $(touch PWNED) `touch PWNED`";

/// Without reconciles, so that only imported paths are pushed.
fn build() -> World {
    let w = Setup { settings: "first_copy: false\n", ..Setup::default() }.build();
    for path in ["a", "d/b", "d/c", HOSTILE, "late", "not listed"] {
        w.write(path, path);
    }
    for path in ["gone", "old/tree/x", "only there"] {
        write(&w.there(path), "x");
    }
    w
}

/// A line as sersync's `RsyncThread` puts it together; `$` is all that it escapes.
fn line(w: &World, operation: &str) -> String {
    format!(
        "#errno 2560\ncd {} && rsync -artuz -R  --port={}   --timeout=100 {operation} 127.0.0.1::www \
         --password-file=/etc/rsync.pas >/dev/null 2>&1 \n\n",
        w.master.display(),
        w.remotes[0].port
    )
}

fn sent(w: &World, name: &str) -> String {
    line(w, &format!("\"./{}\" ", name.replace('$', "\\$")))
}

fn script(w: &World, lines: &[String]) -> PathBuf {
    let path = w.outside.join("rsync_fail_log.sh");
    fs::write(&path, lines.concat()).unwrap();
    path
}

fn import(w: &World, script: &PathBuf) -> Output {
    let before = fs::read(script).unwrap();
    let out = w.instance.command(&["journal", "import", script.to_str().unwrap()]);
    assert_eq!(fs::read(script).unwrap(), before, "the script was touched");
    for dir in [&w.master, &w.outside] {
        assert!(!dir.join("PWNED").exists(), "something in it was run");
    }
    out
}

fn arrived(w: &World, path: &str) {
    wait_for(path, DEADLINE, || fs::read(w.there(path)).is_ok_and(|c| c == path.as_bytes()));
}

#[test]
fn a_running_instance_imports_what_sersync_owed() {
    let mut w = build();
    w.run(&[]);
    w.wait_in_sync();
    let lines = [
        sent(&w, "a"),
        sent(&w, "d"),
        sent(&w, HOSTILE),
        line(&w, " --delete ./    --include=\"gone\" --exclude=* "),
        line(
            &w,
            " --delete ./    --include=\"old/\" --include=\"old/tree\"  --include=\"old/tree/***\" --exclude=* ",
        ),
        "touch PWNED\n".to_owned(),
        sent(&w, "x").replace("127.0.0.1::www", "10.0.0.9::www"),
    ];
    let script = script(&w, &lines);
    let out = import(&w, &script);
    let (said, complaints) =
        (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    assert!(said.contains("5 paths imported"), "{said}");
    let at = |line: usize| format!("{}:{line}: not imported: ", script.display());
    assert!(complaints.contains(&at(16)) && complaints.contains(&at(18)), "{complaints}");
    assert_eq!(complaints.lines().count(), 2, "{complaints}");
    for path in ["a", "d/b", "d/c", HOSTILE] {
        arrived(&w, path);
    }
    wait_for("the deletions", DEADLINE, || {
        !w.there("gone").exists() && !w.there("old/tree").exists()
    });
    w.wait_in_sync();
    holds_for("only the owed paths", Duration::from_millis(300), || {
        !w.there("not listed").exists() && w.there("only there").exists()
    });
    // What sersync owed as a whole is a comparison.
    let script = self::script(&w, &[line(&w, "--delete ./ ")]);
    let out = import(&w, &script);
    assert!(out.status.success(), "{out:?}");
    w.wait_identical();
}

#[test]
fn without_a_supervisor_the_next_start_pushes_imported_paths() {
    let mut w = build();
    let script = script(&w, &[sent(&w, "a"), sent(&w, HOSTILE)]);
    let out = import(&w, &script);
    assert!(out.status.success(), "{out:?}");
    assert!(!w.there("a").exists());
    w.run(&[]);
    arrived(&w, "a");
    arrived(&w, HOSTILE);
    w.wait_in_sync();
    assert!(!w.there("not listed").exists() && w.there("only there").exists());

    // A supervisor that cannot be asked, since its sockets are elsewhere, keeps its journal to itself.
    let script = self::script(&w, &[sent(&w, "late")]);
    let mut command = std::process::Command::new(Instance::program());
    command
        .arg("--state-dir")
        .arg(w.instance.state_dir())
        .arg("--run-dir")
        .arg(w.outside.join("run"));
    command.args(["journal", "import"]).arg(&script).arg("-o").arg(w.instance.config());
    let out = command.output().unwrap();
    assert_eq!(out.status.code(), Some(4), "{out:?}");
    assert!(String::from_utf8_lossy(&out.stderr).contains("another supervisor"), "{out:?}");
    w.instance.stop();
    let out = import(&w, &script);
    assert!(out.status.success(), "{out:?}");
    w.run(&[]);
    arrived(&w, "late");
}

#[test]
fn a_script_of_syncsup_is_not_imported() {
    let w = build();
    let script = script(&w, &["#!/bin/sh\n# What syncsup owes its remotes. Each path has a comment, and a line that pushes it by hand.\n# syncsup retries these paths by itself, and rewrites this file when anything changes.\n".to_owned()]);
    let out = import(&w, &script);
    assert_eq!(out.status.code(), Some(2), "{out:?}");
    assert_eq!(import(&w, &script).status.code(), Some(2));
}
