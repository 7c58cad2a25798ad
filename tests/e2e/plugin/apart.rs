//! Calls that do not come in each other's way: those of other paths, other events, other plugins.

use super::servers::{Server, read_request};
use super::trouble::assert_once;
use super::{at, recorded, recorder, wait_idle, world, world_with};
use crate::common::wait::{DEADLINE, wait_for};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;

#[test]
fn an_unwanted_event_cancels_no_waiting_call() {
    let mut server = Server::lines();
    let plugin = format!(
        "socket: {{host: 127.0.0.1, port: {}, retry: 100ms, events: [change, delete]}}",
        server.port
    );
    let mut w = world_with(1, &[plugin], "inotify: {attrib: true}\n");
    server.stop();
    w.run(&[]);
    w.write("kept", "x");
    w.write("changed", "x");
    w.wait_identical();
    w.wait_local("two calls", |l| l["plugins"][0]["waiting"] == 2);
    let rows = |of: &str| -> i64 {
        let journal = rusqlite::Connection::open(w.journal()).unwrap();
        journal.query_row(&format!("SELECT count(*) FROM {of}"), [], |row| row.get(0)).unwrap_or(-1)
    };
    // Else the marks themselves would come together.
    wait_for("an empty journal", DEADLINE, || rows("change") == 0);
    fs::set_permissions(w.at("changed"), fs::Permissions::from_mode(0o600)).unwrap();
    w.wait_identical();
    wait_for("the new mark", DEADLINE, || rows("call WHERE event & 2") == 1);
    server.start_again();
    server.wait(2, || w.instance.report());
    wait_idle(&w);
    assert_once(&w, &server, &["kept".into(), "changed".into()]);
}

#[test]
fn one_bad_path_does_not_stop_the_others() {
    use std::io::Write;
    let server = Server::start(|mut stream, _| {
        let Some(request) = read_request(&mut stream) else { return vec![] };
        let bad = request.windows(6).any(|w| w == b"poison");
        let status = if bad { "500 no" } else { "204 ok" };
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let _ = stream.write_all(head.as_bytes());
        vec![request]
    });
    // One of them alone would be the only probe for minutes.
    let plugin = format!("http: {{host: 127.0.0.1, port: {}, parallel: 1}}", server.port);
    let mut w = world(1, &[plugin]);
    w.run(&[]);
    for n in 1..=3 {
        w.write(&format!("poison{n}"), "x");
        w.wait_identical();
    }
    wait_for("a failure", DEADLINE, || !server.heard().is_empty());
    (1..=5).for_each(|n| w.write(&format!("good{n}"), "x"));
    wait_for("the good ones", DEADLINE, || {
        let heard = server.heard();
        let good = |n: usize| format!("good{n}").into_bytes();
        (1..=5).all(|n| heard.iter().any(|r| r.windows(5).any(|w| w == good(n))))
    });
    w.wait_local("the bad ones wait", |l| {
        l["plugins"][0]["waiting"] == 3 && l["plugins"][0]["failing"] == 3
    });
}

#[test]
fn a_reload_moves_no_calls_between_plugins() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    fs::create_dir(&one).unwrap();
    fs::create_dir(&two).unwrap();
    let (fails, _) = recorder(&one, "exit 1");
    let (works, record) = recorder(&two, "");
    let command = |script: &std::path::Path| format!("command: {{prefix: {script:?}, retry: 1h}}");
    let mut w = world(1, &[command(&fails), command(&works)]);
    w.run(&[]);
    w.write("x", "x");
    let local = w.wait_local("a call that waits", |l| {
        let plugins = &l["plugins"];
        plugins[0]["failing"] == 1 && plugins[1]["calls"] == 1 && plugins[1]["state"] == "idle"
    });
    let names = [&local["plugins"][0]["name"], &local["plugins"][1]["name"]];
    assert_eq!(names, ["command", "command-2"]);
    let config = w.instance.config().to_owned();
    let text = fs::read_to_string(&config).unwrap();
    let gone = text.replace(&format!("  - {}\n", command(&fails)), "");
    assert_ne!(gone, text);
    fs::write(&config, gone).unwrap();
    let out = w.instance.command(&["reload"]);
    assert!(out.status.success(), "{out:?}");
    let local = w.wait_local("one plugin", |l| {
        l["plugins"].as_array().is_some_and(|all| all.len() == 1 && all[0]["state"] == "idle")
    });
    // It is the one it was, and has no calls but its own.
    let plugin = &local["plugins"][0];
    let numbers = [&plugin["calls"], &plugin["failing"], &plugin["waiting"]];
    assert_eq!(numbers, [1, 0, 0], "{plugin}");
    w.write("y", "x");
    wait_for("its next call", DEADLINE, || recorded(&record).len() >= 2);
    wait_idle(&w);
    let called: Vec<_> = recorded(&record).into_iter().map(|mut c| c.remove(0)).collect();
    assert_eq!(called, [b"x", b"y"].map(|n| at(&w, n).as_os_str().as_bytes().to_vec()));
}
