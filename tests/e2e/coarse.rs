//! A slave whose file system keeps whole seconds is equal to the master all the same, and misses nothing that was marked.

use crate::common::churn::exchange;
use crate::common::namespace::with_private_mounts;
use crate::common::orders;
use crate::common::procs::Proc;
use crate::common::tree::identical;
use crate::common::wait::{DEADLINE, wait_for};
use crate::common::world::{Setup, World, populate, write};
use nix::sys::signal::Signal;
use std::fs::{self, File, FileTimes};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use syncsup::sys::fault_point::Point;

/// A mount that goes when it is dropped.
struct Ext4<'a>(&'a Path);

impl Drop for Ext4<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

/// ext4 with small inodes; `None` where that cannot be had.
fn mounted<'a>(image: &Path, at: &'a Path) -> Option<Ext4<'a>> {
    File::create(image).ok()?.set_len(32 << 20).ok()?;
    let run = |command: &mut Command| command.output().ok().filter(|o| o.status.success());
    run(Command::new("mkfs.ext4").args(["-q", "-F", "-I", "128"]).arg(image))?;
    run(Command::new("mount").args(["-o", "loop"]).arg(image).arg(at))?;
    let mounted = Ext4(at);
    fs::remove_dir(at.join("lost+found")).ok()?;
    write(&at.join("probe"), "x");
    let coarse = at.join("probe").metadata().ok()?.mtime_nsec() == 0;
    fs::remove_file(at.join("probe")).ok()?;
    coarse.then_some(mounted)
}

fn with_coarse_slave(test: impl FnOnce(World) + Send + 'static) {
    with_private_mounts(|| {
        let w = Setup { log_rsyncs: true, ..Setup::default() }.build();
        let slave = w.remotes[0].path();
        let Some(_mounted) = mounted(&w.outside.join("image"), &slave) else {
            eprintln!("SKIPPED: no file system with whole seconds can be mounted");
            return;
        };
        test(w);
    });
}

#[track_caller]
fn well(w: &World, words: &[&str]) -> String {
    let out = w.instance.command(words);
    let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    assert!(out.status.success(), "{words:?}: {said}\n{}", w.instance.report());
    said
}

/// Bytes sent so far.
fn sent(w: &World) -> u64 {
    let remote = w.wait_remote(0, "it", |_| true);
    remote["pushed_bytes"].as_u64().unwrap_or_else(|| panic!("{remote}"))
}

#[test]
fn times_in_whole_seconds_are_equal_and_nothing_is_sent_again() {
    with_coarse_slave(|mut w| {
        populate(&w.master, 5, 20);
        w.run(&[]);
        well(&w, &["wait"]);
        let before = sent(&w);
        for words in
            [&["sync"][..], &["verify"], &["verify", "--checksum"], &["verify", "--repair"]]
        {
            well(&w, words);
        }
        assert_eq!(sent(&w), before, "something was sent again\n{}", w.instance.report());
        // Also after a restart.
        w.instance.stop();
        w.run(&[]);
        // A scan marks files newer than its checkpoint, and marked files are sent.
        well(&w, &["wait"]);
        let before = sent(&w);
        well(&w, &["sync"]);
        assert_eq!(sent(&w), before, "after a restart\n{}", w.instance.report());
        // What was marked is never missed: the same size, within one second, time and again.
        for n in 0..30 {
            w.write("dir000/file000", format!("{n:04}"));
            let arrives =
                || fs::read_to_string(w.there("dir000/file000")).ok() == Some(format!("{n:04}"));
            wait_for("a change within the second", DEADLINE, arrives);
        }
        well(&w, &["wait"]);
        well(&w, &["verify", "--checksum"]);
        // A difference of seconds is one.
        let file = File::options().write(true).open(w.there("dir001/file001")).unwrap();
        let old = SystemTime::now() - Duration::from_secs(100_000);
        file.set_times(FileTimes::new().set_modified(old)).unwrap();
        assert_eq!(w.instance.command(&["verify"]).status.code(), Some(1));
        well(&w, &["verify", "--repair"]);
        well(&w, &["wait"]);
        well(&w, &["verify"]);
    });
}

#[test]
fn a_slave_that_loses_subsecond_times_is_noticed_by_a_reconcile() {
    with_private_mounts(|| {
        let mut w = Setup::default().build();
        populate(&w.master, 3, 10);
        w.run(&[]);
        well(&w, &["wait"]);
        let slave = w.remotes[0].path();
        let image = w.outside.join("image");
        let Some(_mounted) = mounted(&image, &slave) else {
            eprintln!("SKIPPED: no file system with whole seconds can be mounted");
            return;
        };
        // The new disk has a copy of the old one's files.
        let copied = Command::new("cp").arg("-a").arg(w.at(".")).arg(&slave).status().unwrap();
        assert!(copied.success());
        well(&w, &["sync"]);
        well(&w, &["wait"]);
        well(&w, &["verify"]);
        let before = sent(&w);
        well(&w, &["sync"]);
        assert_eq!(sent(&w), before, "{}", w.instance.report());
    });
}

/// The files that a comparison looks at again are then others than those that were sent.
#[test]
fn directories_swapped_while_they_are_copied_show_no_coarse_times() {
    if !orders::are_possible() {
        return;
    }
    for ended in 1..=3 {
        let mut w = Setup { remotes: 1, ..Setup::default() }.build();
        let at = w.outside.join("orders");
        orders::arm(&mut w.instance, &at);
        let second = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        for (dir, fraction) in [("cur", 1_001), ("new", 2_001)] {
            populate(&w.at(dir), 3, 5);
            let files = (0..15).map(|n| w.at(&format!("{dir}/dir{:03}/file{:03}", n / 5, n % 5)));
            for file in files {
                let time = FileTimes::new().set_modified(second + Duration::from_nanos(fraction));
                File::options().write(true).open(file).unwrap().set_times(time).unwrap();
            }
        }
        let copied = Command::new("cp").arg("-aT").arg(w.at(".")).arg(w.there("")).status();
        assert!(copied.unwrap().success());
        w.run(&[]);
        well(&w, &["wait"]);
        for dir in ["cur", "new"] {
            fs::remove_dir_all(w.there(dir)).unwrap();
        }
        assert!(orders::give(&at, Point::PusherRsyncEnded, &format!("stop {ended}")));
        let pusher = w.instance.pusher(&w.remotes[0].name());
        let _sync = w.instance.begin(&["sync"]);
        let stopped = || Proc::read(pusher.pid).is_some_and(|p| p.state == 'T');
        let done = || identical(&w.master, &w.there(""));
        wait_for("an rsync that has ended", DEADLINE, || stopped() || done());
        exchange(&w.at("cur"), &w.at("new")).unwrap();
        pusher.signal(Signal::SIGCONT);
        w.wait_identical();
        well(&w, &["wait"]);
        assert!(!w.instance.log_text().contains("coarse times"), "{}", w.instance.report());
    }
}
