//! Too few inotify watches: unwatched directories are scanned every minute, and watched when there is room again.

use crate::common::wait::wait_for;
use crate::common::world::{Setup, write};
use std::fs;
use std::process::Command;
use std::time::Duration;

/// A user namespace with a limit of its own, in which what follows runs.
const FEW: [&str; 6] = [
    "unshare",
    "-Ur",
    "sh",
    "-c",
    "echo 30 >/proc/sys/user/max_inotify_watches && exec \"$@\"",
    "sh",
];
/// More than a minute, and then some.
const NEXT_SCAN: Duration = Duration::from_secs(100);
const DIRS: usize = 40;

#[test]
fn unwatchable_directories_are_scanned() {
    let tried = Command::new(FEW[0]).args(&FEW[1..]).arg("true").output();
    if !tried.is_ok_and(|out| out.status.success()) {
        eprintln!("SKIPPED: no user namespace with a limit of its own");
        return;
    }
    let mut w = Setup::default().build();
    w.instance.launcher = FEW.iter().map(Into::into).collect();
    let file = |n: usize| format!("d{n:02}/sub/file");
    for n in 0..DIRS {
        w.write(&file(n), "first");
        w.write(&format!("d{n:02}/sub/gone"), "x");
    }
    w.run(&[]);
    let local = w.wait_local("degraded", |l| l["state"] == "degraded");
    let reason = local["reason"].as_str().unwrap();
    assert!(reason.contains("81 watches are needed"), "{reason}");
    assert!(reason.contains("sysctl -w user.max_inotify_watches="), "{reason}");
    assert!(local["watches"].as_u64().is_some_and(|n| (2..=30).contains(&n)), "{local}");
    // Changes in watched directories are pushed immediately.
    w.write("at once", "x");
    w.wait_identical();
    // The marks of the start are settled: from here on only a scan finds changes in unwatched directories.
    w.wait_in_sync();

    for n in 0..DIRS {
        w.write(&file(n), "second");
        w.write(&format!("d{n:02}/sub/new/deep/file"), "new");
        fs::remove_file(w.at(&format!("d{n:02}/sub/gone"))).unwrap();
    }
    let moved = w.outside.join("moved");
    write(&moved.join("below/file"), "moved in");
    fs::rename(&moved, w.at("d39/sub/moved")).unwrap();
    fs::rename(w.at("d38/sub/file"), w.at("d38/sub/renamed")).unwrap();
    w.wait_identical_within(NEXT_SCAN);
    assert_eq!(w.state(), "degraded");

    // There is room again.
    for n in 2..DIRS {
        fs::remove_dir_all(w.at(&format!("d{n:02}"))).unwrap();
    }
    wait_for("watching", NEXT_SCAN, || w.state() == "watching");
    w.write("d01/sub/new/deep/file", "at once");
    w.wait_identical();
    w.instance.stop();
}
