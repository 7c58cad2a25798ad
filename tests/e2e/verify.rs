//! `syncsup verify`: manual changes on a slave are found, listed and repaired.

use crate::common::rsyncd::Options;
use crate::common::tree;
use crate::common::wait::{DEADLINE, poll, wait_for};
use crate::common::world::{Setup, World, populate, write};
use nix::unistd::{Gid, Uid, chown, geteuid};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes, Permissions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Output;
use std::thread;
use std::time::SystemTime;

fn text(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// Runs it; its output without what differs from run to run.
#[track_caller]
fn verify(w: &World, args: &[&str], code: i32) -> String {
    let mut words = vec!["verify"];
    words.extend(args);
    let out = w.instance.command(&words);
    let said = text(&out) + &String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(code), "{said}\n{}", w.instance.report());
    let mut said = said.replace(&w.master.display().to_string(), "MASTER");
    for (n, remote) in w.remotes.iter().enumerate() {
        said = said.replace(&remote.name(), &format!("REMOTE{n}"));
    }
    said
}

#[track_caller]
fn settle(w: &World) {
    let out = w.instance.command(&["wait"]);
    assert!(out.status.success(), "{}{}", text(&out), w.instance.report());
}

/// What is said of each path.
fn by_path(said: &str) -> BTreeMap<String, String> {
    let rows = said.lines().filter_map(|l| l.strip_prefix("  ")?.split_once(' '));
    rows.map(|(why, path)| (path.trim().to_string(), why.to_string())).collect()
}

fn master(w: &World) {
    populate(&w.at("tree"), 3, 4);
    for name in ["gone", "grown", "same", "mode", "time", "own", "was file", "-x", "#y"] {
        w.write(name, "content");
    }
    w.write("was dir/in/it", "x");
    symlink("there", w.at("link")).unwrap();
}

/// Every kind of manual change.
fn by_hand(w: &World) {
    let at = |path: &str| w.there(path);
    fs::remove_file(at("gone")).unwrap();
    write(&at("grown"), "content and more");
    let same = File::options().write(true).open(at("same")).unwrap();
    let modified = same.metadata().unwrap().modified().unwrap();
    fs::write(at("same"), "CONTENT").unwrap();
    same.set_times(FileTimes::new().set_modified(modified)).unwrap();
    fs::set_permissions(at("mode"), Permissions::from_mode(0o751)).unwrap();
    let time = File::options().write(true).open(at("time")).unwrap();
    time.set_times(FileTimes::new().set_modified(SystemTime::UNIX_EPOCH)).unwrap();
    if geteuid().is_root() {
        chown(&at("own"), Some(Uid::from_raw(4711)), Some(Gid::from_raw(815))).unwrap();
    }
    fs::remove_file(at("link")).unwrap();
    symlink("elsewhere", at("link")).unwrap();
    fs::remove_dir_all(at("was dir")).unwrap();
    write(&at("was dir"), "a file");
    fs::remove_file(at("was file")).unwrap();
    write(&at("was file/in/it"), "x");
    write(&at("extra"), "x");
    write(&at("extra dir/with/content"), "x");
    write(&w.remotes[0].path().join(std::ffi::OsStr::from_bytes(b"bad\xff\n\x1b[1m")), "x");
}

#[test]
fn everything_changed_by_hand_is_found_and_repaired() {
    let w = World::start(2);
    master(&w);
    settle(&w);
    let said = verify(&w, &[], 0);
    let identical = "identical (30 entries here)";
    assert_eq!(said, format!("MASTER REMOTE0\n  {identical}\nMASTER REMOTE1\n  {identical}\n"));
    by_hand(&w);
    let said = verify(&w, &["--remote", &w.remotes[0].name()], 1);
    let found = by_path(&said);
    let mut wanted = vec![
        ("gone", "missing"),
        ("grown", "size,time"),
        ("mode", "mode"),
        ("time", "time"),
        ("was dir/", "missing"),
        ("was dir/in/", "missing"),
        ("was dir/in/it", "missing"),
        ("was file", "type"),
        ("was file/in/", "extra"),
        ("was file/in/it", "extra"),
        ("extra", "extra"),
        ("extra dir/", "extra"),
        ("extra dir/with/", "extra"),
        ("extra dir/with/content", "extra"),
        ("bad\\xff\\x0a\\x1b[1m", "extra"),
    ];
    if geteuid().is_root() {
        wanted.push(("own", "owner,group"));
    }
    for (path, why) in wanted {
        assert_eq!(found.get(path).map(String::as_str), Some(why), "{path}\n{said}");
    }
    assert!(found["link"].contains("target"), "{said}");
    assert!(!found.contains_key("same"), "only its content tells\n{said}");
    // It marks nothing.
    let status = w.instance.status();
    let remote = &status["instances"][0]["localpaths"][0]["remotes"][0];
    assert_eq!((&remote["owed"], &remote["waiting"]), (&Value::from(0), &Value::from(0)));
    let said = verify(&w, &["--checksum"], 1);
    assert_eq!(by_path(&said)["same"], "content", "{said}");
    assert!(said.ends_with(&format!("MASTER REMOTE1\n  {identical}\n")), "{said}");
    // For programs.
    let out = w.instance.command(&["verify", "--json"]);
    let rows: Vec<Value> = text(&out).lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let row = rows.iter().find(|r| r["path"] == "time").unwrap();
    assert_eq!((&row["why"][0], &row["pending"]), (&Value::from("time"), &Value::from(false)));
    assert_eq!(rows.last().unwrap()["differ"], 0);
    let out = w.instance.command(&["verify", "-0"]);
    let gone = w.at("gone");
    assert!(out.stdout.split(|b| *b == 0).any(|name| name == gone.as_os_str().as_bytes()));
    // Only a part.
    let part = w.at("was file");
    let said = verify(&w, &[part.to_str().unwrap()], 1);
    assert!(by_path(&said).contains_key("was file/in/it") && !said.contains("extra dir"), "{said}");
    let said = verify(&w, &[w.at("tree").to_str().unwrap()], 0);
    assert!(said.contains("identical"), "{said}");

    let said = verify(&w, &["--checksum", "--repair"], 0);
    assert!(said.contains("marked to be pushed"), "{said}");
    assert!(said.contains("MASTER: settled on 1 of 1 remote\n"), "{said}");
    for slave in w.slaves() {
        assert!(tree::identical(&w.master, &slave), "{}", tree::report(&w.master, &[&slave]));
    }
    let said = verify(&w, &["--checksum"], 0);
    assert_eq!(said, format!("MASTER REMOTE0\n  {identical}\nMASTER REMOTE1\n  {identical}\n"));
}

/// A dry run prints no line for a name that the slave's own `exclude` refuses. Nothing is called good for that.
#[test]
fn what_a_slave_refuses_is_never_called_identical() {
    let daemon = Options { module_lines: "exclude = *.refused\n".into(), ..Options::default() };
    let mut w = Setup { daemon, ..Setup::default() }.build();
    w.write("d/x.refused", "x");
    w.write("d/y", "x");
    w.run(&["-r"]);
    w.wait_remote(0, "one failure", |r| r["failing"] == 1 && r["reconcile"].is_null());
    let said = verify(&w, &[], 1);
    assert!(said.contains("only failing paths differ"), "{said}");
    assert!(w.instance.command(&["journal", "drop"]).status.success());
    let said = verify(&w, &[], 1);
    assert!(said.contains("INCOMPLETE: ERROR: daemon refused to receive file"), "{said}");
    // The next reconcile finds it again.
    assert_eq!(w.instance.command(&["sync"]).status.code(), Some(1));
    w.wait_remote(0, "one failure", |r| r["failing"] == 1 && r["reconcile"].is_null());
    w.instance.stop();
    let said = verify(&w, &[], 1);
    assert!(said.contains("INCOMPLETE: ERROR: daemon refused to receive file"), "{said}");
}

#[test]
fn verify_compares_without_a_supervisor() {
    let mut w = World::start(1);
    master(&w);
    settle(&w);
    w.instance.stop();
    let said = verify(&w, &[], 0);
    assert_eq!(said, "MASTER REMOTE0\n  identical (30 entries here)\n");
    by_hand(&w);
    let said = verify(&w, &["--checksum"], 1);
    let found = by_path(&said);
    assert_eq!((found["same"].as_str(), found["was file"].as_str()), ("content", "type"), "{said}");
    let said = verify(&w, &["--repair"], 3);
    assert!(said.contains("no supervisor runs"), "{said}");
    w.remotes[0].stop();
    let said = verify(&w, &[], 1);
    assert!(said.starts_with("MASTER REMOTE0\n  NOT VERIFIED: "), "{said}");
    for args in [&["--remote", "no"][..], &["/nowhere"], &["--json", "-0"], &["a", "b"], &[""]] {
        let said = verify(&w, args, 2);
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn verify_shows_marked_paths_as_pending() {
    let w = Setup { daemon: Options { proxied: true, ..Options::default() }, ..Setup::default() }
        .start();
    w.probe(0);
    settle(&w);
    w.write("drift", "x");
    settle(&w);
    write(&w.there("drift"), "by hand");
    w.remotes[0].proxy().rate(200_000);
    let mut content = vec![0; 3 << 20];
    fastrand::fill(&mut content);
    w.write("new", &content);
    w.wait_remote(0, "a push", |r| r["state"] == "pushing");
    let said = verify(&w, &[], 1);
    assert!(said.contains("  pending          new (missing)\n"), "{said}");
    assert!(said.contains("  size,time        drift\n"), "{said}");
    w.remotes[0].proxy().rate(crate::common::proxy::FAST);
    settle(&w);
    let said = verify(&w, &["--repair"], 0);
    assert!(said.contains("1 difference, marked to be pushed"), "{said}");
    verify(&w, &[], 0);
}

#[test]
fn verify_shows_an_open_file_as_pending() {
    let w = World::start(1);
    w.write("d/other", "x");
    settle(&w);
    let mut open = File::create(w.at("d/open")).unwrap();
    let mut grows = File::options().append(true).open(w.at("d/other")).unwrap();
    for file in [&mut open, &mut grows] {
        file.write_all(b"more").unwrap();
    }
    // What is open is known to the journal a moment later.
    let words = ["verify", "--repair"];
    let said = poll(DEADLINE, || {
        let said = text(&w.instance.command(&words));
        said.contains("pending          d/other").then_some(said)
    });
    let said = said.unwrap_or_else(|| panic!("{}", text(&w.instance.command(&["verify"]))));
    assert!(said.contains("  pending          d/open (missing)\n"), "{said}");
    assert!(!said.contains("marked to be pushed"), "{said}");
    assert!(!w.there("d/open").exists());
    drop((open, grows));
    settle(&w);
    verify(&w, &[], 0);
}

#[test]
fn a_repair_over_the_guard_is_refused_and_a_failing_remote_reported() {
    let mut w = Setup { remote: ", max_delete: 5", ..Setup::default() }.start();
    w.write("f", "x");
    settle(&w);
    (0..600).for_each(|n| write(&w.there(&format!("stray{n:03}")), "x"));
    let said = verify(&w, &["--repair"], 1);
    assert!(
        said.contains("nothing was repaired: the repair would delete 600 of 602 entries"),
        "{said}"
    );
    assert!(w.there("stray000").exists());
    // Many parts.
    let said = verify(&w, &[], 1);
    assert_eq!(said.matches("extra ").count(), 600, "{said}");
    w.remotes[0].stop();
    let said = verify(&w, &[], 1);
    assert!(said.contains("NOT VERIFIED: "), "{said}");
    let away = w.outside.join("away");
    fs::rename(&w.master, &away).unwrap();
    w.wait_local("held", |l| l["state"] == "held");
    let said = verify(&w, &[], 1);
    assert!(said.contains("NOT VERIFIED: the directory is gone"), "{said}");
}

#[test]
fn verify_survives_process_deaths() {
    let w = Setup { daemon: Options { proxied: true, ..Options::default() }, ..Setup::default() }
        .start();
    populate(&w.at("tree"), 20, 50);
    settle(&w);
    w.remotes[0].proxy().rate(2_000);
    let before = w.remotes[0].proxy().taken();
    let out = thread::scope(|s| {
        let compares = s.spawn(|| w.instance.command(&["verify"]));
        wait_for("output of a dry run", DEADLINE, || {
            w.instance.rsyncs().iter().any(|p| p.command.contains(" -n "))
                && w.remotes[0].proxy().taken() > before
        });
        w.instance.pusher(&w.remotes[0].name()).signal(nix::sys::signal::Signal::SIGKILL);
        compares.join().unwrap()
    });
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out).contains("its pusher exited meanwhile"), "{}", text(&out));
    w.remotes[0].proxy().rate(crate::common::proxy::FAST);
    settle(&w);
    verify(&w, &[], 0);
}
