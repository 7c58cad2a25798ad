//! A status that is larger than a socket's buffer.

use super::{get, reporters, wait_reporter_of};
use crate::common::instance::Instance;
use crate::common::procs::Proc;
use crate::common::rsyncd::{Rsyncd, free_port};
use crate::common::wait::{DEADLINE, holds_for, poll, wait_for};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

const LOCALPATHS: usize = 24;

/// Directories with paths near the longest there are; JSON says each of their bytes as a number.
fn directories(dir: &TempDir) -> Vec<PathBuf> {
    let name = [0xff; 250];
    let make = |n: usize| {
        let path =
            (0..14).fold(dir.path().join(n.to_string()), |p, _| p.join(OsStr::from_bytes(&name)));
        fs::create_dir_all(&path).unwrap();
        path
    };
    (0..LOCALPATHS).map(make).collect()
}

#[test]
fn a_status_of_any_size_is_served_without_blocking() {
    let dir = TempDir::with_prefix("syncsup-test-").unwrap();
    let slave = Rsyncd::start();
    let watched = directories(&dir);
    let mut xml = b"<head><inotify><createFolder start=\"true\"/></inotify><sersync>".to_vec();
    for (n, path) in watched.iter().enumerate() {
        fs::create_dir(slave.path().join(n.to_string())).unwrap();
        xml.extend_from_slice(b"<localpath watch=\"");
        xml.extend_from_slice(path.as_os_str().as_bytes());
        xml.extend_from_slice(
            format!("\"><remote ip=\"127.0.0.1\" name=\"www/{n}\"/></localpath>").as_bytes(),
        );
    }
    let tail = format!(
        "<rsync><commonParams params=\"-a\"/><userDefinedPort start=\"true\" port=\"{}\"/></rsync></sersync></head>",
        slave.port
    );
    xml.extend_from_slice(tail.as_bytes());
    let mut instance = Instance::new(&dir.path().join("instance"), "confxml.xml", "");
    fs::write(instance.config(), &xml).unwrap();
    let (port, _reserved) = free_port();
    instance.launch(&["--http", &format!("127.0.0.1:{port}")]);
    wait_reporter_of(&instance, "listening");
    let all_told = || {
        let text = get(port, "/status.json").body;
        let told: Value = serde_json::from_str(&text).ok()?;
        let localpaths = told["instances"][0]["localpaths"].as_array()?.len();
        (localpaths == LOCALPATHS).then_some(text.len())
    };
    wait_for("every localpath", DEADLINE, || all_told().is_some());
    let size = all_told().unwrap();
    assert!(size > 256 << 10, "only {size} bytes");
    assert_eq!(get(port, "/metrics").body.matches("\nsyncsup_lag_seconds{").count(), LOCALPATHS);

    // It takes nothing for a while: commands and pushes go on, and then so does it.
    let fresh = |reporter: &Proc| {
        reporter.signal(Signal::SIGCONT);
        let told = || get(port, "/metrics").body.contains("syncsup_up 1\n");
        wait_for("new numbers", DEADLINE, told);
    };
    let reporter = reporters(&instance).remove(0);
    reporter.signal(Signal::SIGSTOP);
    // It is asked of the supervisor, which waits for no reporter: the stopped one is still there.
    let status = instance.status();
    assert!(reporter.runs());
    assert_eq!(status["instances"][0]["localpaths"].as_array().unwrap().len(), LOCALPATHS);
    fresh(&reporter);
    reporter.signal(Signal::SIGSTOP);
    fs::write(watched[3].join("file"), "x").unwrap();
    wait_for("the file", DEADLINE, || slave.path().join("3/file").exists());
    // If that took more than ten seconds, there is another.
    reporter.signal(Signal::SIGCONT);
    let reporter = poll(DEADLINE, || reporters(&instance).pop()).expect("a reporter");
    fresh(&reporter);
    // Ten seconds would be too long.
    reporter.signal(Signal::SIGSTOP);
    holds_for("the wait", Duration::from_secs(4), || reporter.runs());
    fresh(&reporter);
    assert!(reporter.runs());
}
