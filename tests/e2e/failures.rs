//! `syncsup journal`: what could not be pushed is listed, tried again, forgotten.

use crate::common::wait::{DEADLINE, wait_for};
use crate::common::world::{Setup, World};
use serde_json::Value;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

/// An instance that may not read everything, although root started it.
fn world() -> World {
    let mut w = Setup { remotes: 2, ..Setup::default() }.build();
    let words = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"];
    w.instance.launcher = words.iter().map(Into::into).collect();
    w.run(&[]);
    w
}

#[track_caller]
fn journal(w: &World, args: &[&str], code: i32) -> String {
    let mut words = vec!["journal"];
    words.extend(args);
    let out = w.instance.command(&words);
    let said =
        String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(code), "{said}");
    let mut said = said.replace(&w.master.display().to_string(), "MASTER");
    for (n, remote) in w.remotes.iter().enumerate() {
        said = said.replace(&remote.name(), &format!("REMOTE{n}"));
    }
    said
}

fn lock(w: &World, paths: &[&str], mode: u32) {
    for path in paths {
        fs::set_permissions(w.at(path), Permissions::from_mode(mode)).unwrap();
    }
}

#[test]
fn failing_paths_are_listed_retried_and_forgotten() {
    let mut w = world();
    w.wait_in_sync();
    assert_eq!(journal(&w, &["list"], 0), "nothing fails\n");
    let all = ["a/one", "a/two\n\u{1b}[1m", "b"];
    fs::create_dir(w.at("a")).unwrap();
    assert!(w.instance.command(&["wait"]).status.success());
    // Never readable here, so that no push is quicker.
    for path in all {
        let new = w.outside.join("new");
        fs::write(&new, "secret").unwrap();
        fs::set_permissions(&new, Permissions::from_mode(0o000)).unwrap();
        fs::rename(&new, w.at(path)).unwrap();
    }
    // Tried often enough for the next try to be some time off.
    wait_for("paths that fail again and again", DEADLINE, || {
        let json = journal(&w, &["list", "--json"], 0);
        let rows = json.lines().map(|l| serde_json::from_str::<Value>(l).unwrap());
        rows.filter(|row| row["attempts"].as_u64() >= Some(3)).count() == 6
    });
    let said = journal(&w, &["list"], 0);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 11, "{said}");
    assert_eq!(lines[10], "help: syncsup help failing-paths", "{said}");
    assert_eq!(lines[0], "MASTER REMOTE0", "{said}");
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(lines[1])[..4], ["PATH", "TRIES", "SINCE", "NEXT"], "{said}");
    assert_eq!(words(lines[2])[0], "a/one", "{said}");
    assert_eq!(words(lines[3])[0], "a/two\\x0a\\x1b[1m", "{said}");
    assert!(lines[4].contains("Permission denied"), "{said}");
    let (name, a) = (w.remotes[1].name(), w.at("a"));
    let json = journal(&w, &["list", "--json", "--remote", &name, a.to_str().unwrap()], 0);
    let rows: Vec<Value> = json.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(
        (rows.len(), &rows[0]["path"], &rows[0]["remote"]),
        (2, &"a/one".into(), &"REMOTE1".into())
    );
    assert!(rows[0]["attempts"].as_u64().unwrap() > 0 && rows[0]["next_try_ms"].is_i64(), "{json}");

    let said = journal(&w, &["drop", "--remote", &name, a.to_str().unwrap()], 0);
    let forgotten = "dropped; the next reconcile finds them if they still differ";
    assert_eq!(said, format!("MASTER REMOTE1: 2 paths {forgotten}\n"));
    assert_eq!(
        journal(&w, &["drop", "--remote", &name, a.to_str().unwrap()], 0),
        "nothing fails there\n"
    );
    w.wait_remote(1, "one path that fails", |r| r["failing"] == 1);
    w.wait_remote(0, "three paths that fail", |r| r["failing"] == 3);

    // The next try is far off when a path has failed often: a retry does not wait for it.
    lock(&w, &["b"], 0o644);
    let said = journal(&w, &["retry", w.at("b").to_str().unwrap()], 0);
    assert!(
        said.lines().all(|l| l.ends_with("1 path retried now") || l == "nothing fails there"),
        "{said}"
    );
    wait_for("the retried paths", DEADLINE, || {
        w.slaves().iter().all(|slave| slave.join("b").exists())
    });

    w.instance.stop();
    let said = journal(&w, &["list"], 0);
    assert!(said.starts_with("MASTER REMOTE0\n") && !said.contains("REMOTE1"), "{said}");
    let said = journal(&w, &["retry"], 0);
    assert_eq!(said, "MASTER REMOTE0: 2 paths retried when an instance starts\n");
    lock(&w, &all[..2], 0o644);
    w.run(&[]);
    wait_for("the retried paths", DEADLINE, || all.iter().all(|path| w.there(path).exists()));
    for args in [
        &["lsit"][..],
        &["list", "--remote", "no"],
        &["drop", "/nowhere"],
        &["retry", "--json"],
        &["list", ""],
    ] {
        let said = journal(&w, args, 2);
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn a_failing_name_is_printed_and_escaped_at_most_once() {
    let mut w = Setup::default().build();
    let words = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"];
    w.instance.launcher = words.iter().map(Into::into).collect();
    let script = w.outside.join("fail.sh");
    let text = fs::read_to_string(w.instance.config()).unwrap();
    let fail_log = format!("fail_log: {{path: {script:?}, retry: 1m}}\n");
    fs::write(w.instance.config(), fail_log + &text).unwrap();
    let names = [
        ("目录/图 片.png", "目录/图 片.png"),
        ("naïve 🎉", "naïve 🎉"),
        ("back\\slash", "back\\x5cslash"),
        ("\\#012", "\\x5c#012"),
        ("exe\u{202e}gpj.", "exe\\xe2\\x80\\xaegpj."),
        ("zero\u{200b}width", "zero\\xe2\\x80\\x8bwidth"),
    ];
    fs::create_dir(w.at("目录")).unwrap();
    for (name, _) in names {
        fs::write(w.at(name), "secret").unwrap();
        lock(&w, &[name], 0o000);
    }
    w.run(&["-r"]);
    w.wait_remote(0, "paths that fail", |r| r["failing"] == names.len());
    let log = w.instance.log_text();
    let status = w.instance.command(&["status"]).stdout;
    // The script is put together a moment later.
    wait_for("a fail log with all of them", DEADLINE, || {
        let text = fs::read_to_string(&script).unwrap_or_default();
        text.matches(" (since ").count() == names.len()
    });
    let script = fs::read_to_string(&script).unwrap();
    let list = journal(&w, &["list"], 0);
    for (name, shown) in names {
        // Once as the path, once in the message.
        let all = [shown.to_owned(), format!("{}/{shown}\"", w.master.display())];
        for text in &all {
            assert!(script.contains(text.as_str()), "{name}: {text} in {script}");
        }
        for text in [shown.to_owned(), format!("MASTER/{shown}\"")] {
            assert!(list.contains(&text), "{name}: {text} in {list}");
        }
    }
    let status = String::from_utf8(status).unwrap();
    let comments: String = script.lines().filter(|l| l.starts_with('#')).collect();
    for text in [&log, &status, &comments, &list] {
        // Of these bytes none is in a name.
        let twice = ["x5cx5c", "#347", "#360", "#342", "#134", "\\x5cxe2"];
        assert!(!twice.iter().any(|twice| text.contains(twice)), "{text}");
        let raw = |c: char| matches!(c, '\u{202e}' | '\u{200b}');
        assert!(!text.contains(raw), "{text}");
    }
    let first = names.iter().filter(|(_, shown)| status.contains(shown)).count();
    assert!(first >= 1, "{status}");
    assert!(names.iter().any(|(_, shown)| log.contains(&format!("{shown}\""))), "{log}");
}

/// On a slave that refuses everything no single path is failing.
#[test]
fn paths_owed_to_a_failing_remote_are_counted_with_the_reason() {
    let mut w = World::start(2);
    w.wait_in_sync();
    w.remotes[1].stop();
    (0..30).for_each(|n| w.write(&format!("d/{n}"), "x"));
    w.wait_remote(1, "trouble", |r| r["state"] == "backoff" && r["waiting"].as_u64() > Some(29));
    // Every mark is in the journal by now.
    w.wait_remote(0, "the other remote in sync", |r| r["state"] == "in_sync");
    // An event may still follow, such as that of the directory's time.
    let mut said = String::new();
    wait_for("nothing that waits for the other remote", DEADLINE, || {
        said = journal(&w, &[], 0);
        said.lines().count() == 2
    });
    assert!(said.ends_with("\nhelp: syncsup help unreachable\n"), "{said}");
    let line = said.strip_prefix("MASTER REMOTE1: ").unwrap_or_else(|| panic!("{said}"));
    let count: u64 = line.split(' ').next().unwrap().parse().unwrap();
    assert!(count >= 30 && line.contains(" paths are owed: in trouble, since "), "{said}");
    assert!(line.contains("Connection refused"), "{said}");
    assert_eq!(journal(&w, &["--remote", &w.remotes[0].name()], 0), "nothing fails there\n");
    assert_eq!(journal(&w, &["--json"], 0), "", "for programs only what fails");

    w.instance.stop();
    let said = journal(&w, &[], 0);
    assert!(
        said.starts_with("MASTER REMOTE1: ")
            && said.ends_with(" paths are owed: no supervisor runs\n"),
        "{said}"
    );
}

fn prune(w: &World, args: &[&str]) -> (Option<i32>, String) {
    let out = w.instance.command(&[&["journal", "prune"], args].concat());
    let said =
        String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    (out.status.code(), said)
}

#[test]
fn journals_of_removed_localpaths_are_listed_and_removed_on_request() {
    let mut w = Setup::default().build();
    let old = w.outside.join("o ld");
    fs::create_dir(&old).unwrap();
    let config = fs::read_to_string(w.instance.config()).unwrap();
    let master = w.master.display().to_string();
    let of_old = config.replace(&format!("{:?}", w.master), &format!("{old:?}"));
    let nothing =
        (Some(0), "every journal belongs to a localpath that is configured or in use\n".into());

    fs::write(w.instance.config(), &of_old).unwrap();
    w.instance.start(&[], &[&old]);
    assert_eq!(prune(&w, &[]), nothing, "in use");
    // In use whatever the configuration says.
    fs::write(w.instance.config(), &config).unwrap();
    assert_eq!(prune(&w, &["--yes"]), nothing);
    let (code, said) = prune(&w, &[old.to_str().unwrap()]);
    assert!(code == Some(4) && said.contains("in use by an instance"), "{said}");
    w.instance.stop();
    fs::write(w.instance.config(), &of_old).unwrap();
    let (code, said) = prune(&w, &[old.to_str().unwrap()]);
    assert!(code == Some(1) && said.contains("configures its localpath"), "{said}");
    assert_eq!(prune(&w, &["--yes"]), nothing, "configured");

    // Beside an instance that runs, and without any.
    fs::write(w.instance.config(), &config).unwrap();
    for running in [true, false] {
        if running {
            w.run(&[]);
        } else {
            w.instance.stop();
        }
        let (code, said) = prune(&w, &[]);
        let line = said.lines().nth(1).unwrap_or_else(|| panic!("{said}"));
        assert!(code == Some(0) && line.starts_with("old-"), "{said}");
        assert!(line.ends_with(&format!("{} to {}", old.display(), w.remotes[0].name())), "{said}");
        assert!(said.contains("`syncsup journal prune --yes` removes 1 journal"), "{said}");
        assert!(!said.contains(&master), "{said}");
    }
    let (code, said) = prune(&w, &["nonsense"]);
    assert!(code == Some(2) && said.contains("no such journal"), "{said}");
    let (code, said) = prune(&w, &["--yes"]);
    assert!(code == Some(0) && said.starts_with("removed old-"), "{said}");
    assert_eq!(prune(&w, &[]), nothing);
    // The one that is configured is as it was.
    w.write("after", "x");
    w.run(&[]);
    w.wait_identical();
}
