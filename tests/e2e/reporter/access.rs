//! Access: with a token every client that has it, without one only this machine.

use super::{ask, get, set_http, wait_reporter, world};
use crate::common::fuse::Fuse;
use crate::common::namespace::with_private_mounts;
use crate::common::wait::{DEADLINE, wait_for};
use crate::common::world::World;
use std::fs;
use std::os::unix::fs::PermissionsExt;

const TOKEN: &str = "a-token-of-these-tests";

#[test]
fn requests_need_the_token() {
    let (mut w, port, _reserved) = world("");
    let file = w.outside.join("token");
    fs::write(&file, format!("{TOKEN}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    set_http(&w, &format!("{{listen: '127.0.0.1:{port}', token_file: {file:?}}}"));
    w.run(&[]);
    wait_reporter(&w, "listening");
    let with = |token: &str| {
        ask(port, "GET", "/metrics", &format!("Authorization: Bearer {token}\r\n")).status
    };
    let refused = get(port, "/status.json");
    assert_eq!(refused.status, 401);
    assert!(refused.header("www-authenticate").is_some_and(|h| h.starts_with("Basic ")));
    assert!(!refused.body.contains("instances"));
    assert_eq!(with("a-token-of-these-testz"), 401);
    assert_eq!(with(&format!("{TOKEN}{TOKEN}")), 401);
    assert_eq!(with(TOKEN), 200);
    // me:a-token-of-these-tests
    let basic = "Authorization: Basic bWU6YS10b2tlbi1vZi10aGVzZS10ZXN0cw==\r\n";
    assert_eq!(ask(port, "GET", "/", basic).status, 200);

    // Another token applies immediately; one that others can read admits no client.
    fs::write(&file, "another-token-of-these").unwrap();
    wait_for("the new token", DEADLINE, || with("another-token-of-these") == 200);
    assert_eq!(with(TOKEN), 401);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    wait_for("every client is refused", DEADLINE, || with("another-token-of-these") == 503);
    assert!(w.instance.log_text().contains("chmod 600"));
}

#[test]
fn a_token_file_that_cannot_be_read_hangs_nothing() {
    with_private_mounts(|| {
        let (mut w, port, _reserved) = world("");
        let dir = w.outside.join("m");
        let file = dir.join("token");
        fs::create_dir(&dir).unwrap();
        fs::write(&file, TOKEN).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        set_http(&w, &format!("{{listen: '127.0.0.1:{port}', token_file: {file:?}}}"));
        w.run(&[]);
        wait_reporter(&w, "listening");
        let asked = || ask(port, "GET", "/", &format!("Authorization: Bearer {TOKEN}\r\n")).status;
        assert_eq!(asked(), 200);
        let Some(fuse) = Fuse::mount(&dir) else { return eprintln!("SKIPPED: no FUSE here") };
        fuse.hang(true);
        let says = |words: &str| w.instance.log_text().matches(words).count();
        let words = "no answer; the last token stays in force";
        wait_for("a read that hangs", DEADLINE, || says(words) == 1);
        assert_eq!(asked(), 200);
        w.write("file", "x");
        w.wait_identical();
        let status = w.instance.status();
        let reporter = &status["instances"][0]["reporter"];
        assert!(reporter["state"] == "listening" && reporter["process"]["restarts"] == 0);
        let readers =
            || w.instance.family().iter().filter(|p| p.command == "syncsup: token").count();
        assert!(readers() <= 1);
        // It answers, and the file is gone; then it is back.
        fuse.hang(false);
        wait_for("every client is refused", DEADLINE, || asked() == 503);
        drop(fuse);
        wait_for("the token", DEADLINE, || asked() == 200);
        assert_eq!(says(words), 1);
        w.instance.stop();
    });
}

#[test]
fn other_machines_need_a_token() {
    let (w, port, _reserved) = world("");
    let refused = |w: &World, args: &[&str], word: &str| {
        let out = w.instance.command(args);
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.code() == Some(2) && said.contains(word), "{out:?}");
        // A daemon's log may be there, with the same words.
        let state = fs::read_dir(w.instance.state_dir()).into_iter().flatten().flatten();
        let more: Vec<_> = state.filter(|f| f.file_name() != "syncsup.log").collect();
        assert!(more.is_empty(), "something was started: {more:?}");
    };
    set_http(&w, &format!("'0.0.0.0:{port}'"));
    refused(&w, &["check"], "token_file");
    refused(&w, &[], "syncsup.yaml:1: http listen=0.0.0.0:");
    refused(&w, &["-d"], "token_file");
    let file = w.outside.join("token");
    set_http(&w, &format!("{{listen: '[::]:{port}', token_file: {file:?}}}"));
    refused(&w, &[], "no such file");
    fs::write(&file, TOKEN).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    refused(&w, &[], "chmod 600");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let out = w.instance.command(&["check"]);
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success() && said.contains(&format!("http://[::]:{port}/ (token in")));
    set_http(&w, "");
    refused(&w, &["--http", &format!("0.0.0.0:{port}")], "token_file");
    refused(&w, &["--http", "somewhere"], "is not an address");
    refused(&w, &["--max-lag", "5s"], "--http");
}
