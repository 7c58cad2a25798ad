//! What a remote lacks as a whole is pushed whole, by rsync's own recursion: directories, or everything. Changes are pushed
//! beside it, and excluded names and deletions are what they are in any other push.

use crate::common::churn::old_time;
use crate::common::namespace::{Mounted, with_private_mounts};
use crate::common::rsyncd::{Options, old_rsync};
use crate::common::script::slow_to_tell;
use crate::common::tree::Tree;
use crate::common::wait::{DEADLINE, wait_for};
use crate::common::world::{Setup, World, populate, write};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

/// From this number of names on, everything is pushed at once.
const EVERYTHING: usize = 20_000;

/// The rsyncs that pushed by recursion: those of everything, and those of listed directories.
fn recursive(w: &World) -> (usize, usize) {
    // The trash is emptied by recursion, too.
    let push = |line: &&String| {
        line.contains("--recursive") && !line.contains(" -n ") && !line.contains("--delete")
    };
    let all = w.rsyncs();
    let (listed, whole): (Vec<_>, Vec<_>) =
        all.iter().filter(push).partition(|line| line.contains("--files-from"));
    (whole.len(), listed.len())
}

/// The regular pushes by name that sent content.
fn pushed(w: &World) -> u64 {
    w.wait_remote(0, "in sync", |r| r["state"] == "in_sync")["pushed_files"].as_u64().unwrap()
}

/// Waits until the scan of a start marks nothing of the tree: it would push a part of it by name.
fn grow_old(w: &World) {
    let last = w.at("last");
    fs::write(&last, "x").unwrap();
    let age = || fs::metadata(&last).unwrap().modified().unwrap().elapsed();
    wait_for("an old tree", DEADLINE, || age().is_ok_and(|age| age > Duration::from_secs(3)));
}

fn logged(settings: &'static str) -> Setup {
    Setup { log_rsyncs: true, settings, ..Setup::default() }
}

#[test]
fn missing_directories_are_pushed_whole() {
    let mut w = logged("").build();
    populate(&w.master, 40, 50);
    write(&w.at("dir000/deep/er/file"), "x");
    fs::create_dir(w.at("empty")).unwrap();
    write(&w.there("dir001/file001"), "other");
    write(&w.there("old/file"), "gone");
    grow_old(&w);
    w.run(&["-r"]);
    w.wait_identical();
    w.wait_in_sync();
    let (everything, listed) = recursive(&w);
    assert!(everything == 0 && listed >= 1, "{:?}", w.rsyncs());
    assert!(pushed(&w) >= 40 * 50);
}

#[test]
fn a_first_copy_of_many_names_is_one_rsync_and_changes_are_pushed_beside_it() {
    let proxied = Options { proxied: true, ..Options::default() };
    let mut w = Setup { daemon: proxied, ..logged("") }.build();
    populate(&w.master, 300, EVERYTHING / 250);
    grow_old(&w);
    w.remotes[0].proxy().rate(400_000);
    w.run(&[]);
    wait_for("the copy", DEADLINE, || {
        recursive(&w).0 == 1 && !Tree::read(&w.there("")).names().is_empty()
    });
    // Old and new names, and some that it may send at this moment.
    for n in (0..300).step_by(30) {
        w.write(&format!("dir{n:03}/file001"), format!("changed {n}"));
        w.write(&format!("new/file{n}"), "new");
        fs::remove_file(w.at(&format!("dir{n:03}/file002"))).unwrap();
        fs::rename(w.at(&format!("dir{:03}", n + 1)), w.at(&format!("moved{n}"))).unwrap();
        // Same size and time, other content.
        let file = w.at(&format!("dir{:03}/file003", n + 2));
        let (len, was) = (fs::metadata(&file).unwrap().len(), fs::metadata(&file).unwrap());
        fs::write(&file, "z".repeat(len as usize)).unwrap();
        let same = fs::FileTimes::new().set_modified(was.modified().unwrap());
        File::options().write(true).open(&file).unwrap().set_times(same).unwrap();
    }
    wait_for("the changes beside it", DEADLINE, || {
        w.there("new/file270").exists()
            && fs::read(w.there("dir270/file001")).is_ok_and(|c| c == b"changed 270")
    });
    assert_eq!(recursive(&w).0, 1);
    assert_ne!(w.wait_remote(0, "any", |_| true)["state"], "in_sync", "the copy is under way");
    w.remotes[0].proxy().rate(1 << 30);
    w.wait_identical_within(DEADLINE * 2);
    w.wait_in_sync();
    w.wait_identical();
}

#[test]
fn a_killed_first_copy_goes_on_where_it_was() {
    let proxied = Options { proxied: true, ..Options::default() };
    let mut w = Setup { daemon: proxied, rsync: ", timeout: 5s", ..logged("") }.build();
    populate(&w.master, 300, EVERYTHING / 300 + 1);
    w.remotes[0].proxy().rate(400_000);
    w.run(&[]);
    let there = |w: &World| Tree::read(&w.there("")).files();
    let mut least = 0;
    for round in 0..4 {
        wait_for("some more", DEADLINE, || there(&w) > least + 200);
        least = there(&w);
        match round {
            0 => w.instance.pushers().iter().for_each(|p| p.signal(Signal::SIGKILL)),
            1 => w.instance.rsyncs().iter().for_each(|p| p.signal(Signal::SIGKILL)),
            2 => w.remotes[0].transfers().iter().for_each(|p| p.signal(Signal::SIGKILL)),
            _ => {
                w.instance.kill9();
                w.run(&[]);
            }
        }
        w.write(&format!("dir{round:03}/file000"), "changed in between");
    }
    w.remotes[0].proxy().rate(1 << 30);
    w.wait_identical_within(DEADLINE * 2);
    w.wait_in_sync();
}

/// The slave has what fitted, says why the rest did not, and gets it when there is room.
#[test]
fn a_push_of_everything_survives_a_full_disk() {
    with_private_mounts(|| {
        let mut w = logged("filter: {exclude_glob: [ballast]}").build();
        let disk = w.there("");
        let _mounted = Mounted::tmpfs_with(&disk, "size=150m");
        fs::write(disk.join("ballast"), vec![1; 100 << 20]).unwrap();
        populate(&w.master, 300, EVERYTHING / 250);
        grow_old(&w);
        w.run(&["-r"]);
        let full =
            |r: &Value| r["reason"].as_str().is_some_and(|why| why.contains("No space left"));
        let remote = w.wait_remote(0, "a full disk", full);
        assert_eq!(remote["state"], "backoff", "{remote}");
        assert!(recursive(&w).0 >= 1, "{:?}", w.rsyncs());
        fs::write(w.at("dir001/file001"), "changed meanwhile").unwrap();
        fs::remove_file(w.at("dir002/file002")).unwrap();
        fs::remove_file(disk.join("ballast")).unwrap();
        w.wait_identical_within(DEADLINE * 2);
        w.wait_in_sync();
        w.instance.stop();
    });
}

/// A slave that refuses a third of all names: each fails by name, and the rest arrives.
#[test]
fn a_push_of_everything_with_many_refused_names_sends_the_rest() {
    let lines = "exclude = file0[0-2]?\n".to_owned();
    let daemon = Options { module_lines: lines, ..Options::default() };
    let mut w = Setup { daemon, ..logged("") }.build();
    populate(&w.master, 300, EVERYTHING / 250);
    grow_old(&w);
    w.run(&["-r"]);
    let failing = 300 * 30;
    // Each of them is pushed by itself.
    wait_for("the refused names", DEADLINE * 4, || {
        w.instance.status()["instances"][0]["localpaths"][0]["remotes"][0]["failing"] == failing
    });
    // A comparison prints no line for them.
    let said = w.instance.command(&["verify"]);
    assert_eq!(said.status.code(), Some(1), "{said:?}");
    assert!(w.instance.command(&["sync"]).status.code() != Some(0));
    w.wait_remote(0, "the refused names", |r| r["failing"] == failing && r["reconcile"].is_null());
    for n in 0..300 {
        let there = fs::read_dir(w.there(&format!("dir{n:03}"))).unwrap().count();
        assert_eq!(there, EVERYTHING / 250 - 30, "dir{n:03}");
    }
    assert!(recursive(&w).0 >= 1, "{:?}", w.rsyncs());
    w.instance.stop();
}

#[test]
fn a_remote_that_lags_far_behind_gets_everything_at_once_and_its_deletions() {
    let mut w = logged("").start();
    populate(&w.master, 300, EVERYTHING / 300 + 1);
    w.wait_identical_within(DEADLINE * 2);
    w.wait_in_sync();
    w.instance.stop();
    let before = recursive(&w).0;
    for dir in 0..300 {
        for file in 0..EVERYTHING / 300 + 1 {
            w.write(&format!("dir{dir:03}/file{file:03}"), "all is new");
        }
    }
    for dir in 0..20 {
        fs::remove_dir_all(w.at(&format!("dir{dir:03}"))).unwrap();
    }
    populate(&w.master.join("more"), 20, 70);
    w.run(&["-r"]);
    w.wait_identical_within(DEADLINE * 2);
    w.wait_in_sync();
    assert_eq!(recursive(&w).0, before + 1, "{:?}", w.rsyncs());
}

const RULES: &str = "filter: {exclude_glob: ['*.tmp', 'cache/'], exclude: ['/?dir007/(.*)']}";
const SIMPLE_RULES: &str = "filter: {exclude_glob: ['*.tmp', 'cache/']}";

/// Excluded names are sent by no push, and stay on the slave.
#[test]
fn excluded_names_are_left_out_of_what_is_pushed_whole() {
    for (settings, simple) in [(RULES, false), (SIMPLE_RULES, true)] {
        for files in [3, EVERYTHING / 100 + 1] {
            let mut w = logged(settings).build();
            populate(&w.master, 100, files);
            for at in [w.master.clone(), w.there("")] {
                for name in
                    ["dir001/a.tmp", "dir002/cache/x", "cache/deep/x", "b.tmp", "dir003/.x.swp"]
                {
                    write(&at.join(name), at.as_os_str().as_encoded_bytes());
                }
            }
            grow_old(&w);
            w.run(&["-r"]);
            w.wait_in_sync();
            let expected = |path: &str| simple || !path.starts_with("dir007/");
            for n in 0..100 {
                let path = format!("dir{n:03}/file002");
                assert_eq!(w.there(&path).exists(), expected(&path), "{path}");
            }
            for name in ["dir001/a.tmp", "dir002/cache/x", "cache/deep/x", "b.tmp", "dir003/.x.swp"]
            {
                let kept = fs::read(w.there(name)).unwrap();
                assert_eq!(kept, w.there("").as_os_str().as_encoded_bytes(), "{name}");
            }
            let (everything, listed) = recursive(&w);
            assert_eq!(everything + listed > 0, simple, "{:?}", w.rsyncs());
        }
    }
}

/// A directory that could be pushed only in part is compared: what failed is known by name, and the rest is settled.
#[test]
fn a_name_that_a_slave_refuses_fails_alone() {
    for files in [20, EVERYTHING / 40 + 1] {
        let lines = "exclude = *.refused\n".to_owned();
        let daemon = Options { module_lines: lines, ..Options::default() };
        let mut w = Setup { daemon, ..logged("") }.build();
        populate(&w.master, 40, files);
        w.write("dir003/x.refused", "x");
        w.run(&["-r", "-v"]);
        let failing = w.wait_remote(0, "one failure", |r| r["failing"] == 1);
        assert!(failing["first_failure"].as_str().unwrap().contains("dir003/x.refused"));
        fs::remove_file(w.at("dir003/x.refused")).unwrap();
        // The daemon refuses the deletion, too, and with it the times of the directory.
        w.write("dir003/another", "x");
        w.wait_in_sync();
        w.wait_identical();
    }
}

/// rsync reads a directory itself that is being filled. A name in it that the slave refuses fails alone, and none is
/// pushed that is excluded, large or in a directory below.
#[test]
fn a_directory_that_is_being_filled_is_read_by_rsync() {
    let lines = "exclude = *.refused\n".to_owned();
    let daemon = Options { module_lines: lines, ..Options::default() };
    let settings = "delay: 2s\nlarge_file: 30KiB\nfilter: {exclude_glob: ['*.no']}\n";
    let mut w = Setup { daemon, ..logged(settings) }.build();
    let fill = |w: &World, dir: &str, from: usize| {
        (from..from + 40).for_each(|n| w.write(&format!("{dir}/f{n}"), "x"));
    };
    fill(&w, "d", 0);
    w.run(&["-v"]);
    wait_for("the start", DEADLINE, || w.there("d/f39").exists());
    w.wait_in_sync();
    let read = |w: &World| {
        let all = w.rsyncs();
        all.iter().filter(|l| l.contains("--filter=- *.no") && l.contains("--files-from")).count()
    };
    let before = read(&w);
    fill(&w, "d", 40);
    w.wait_identical();
    assert!(read(&w) > before, "{:?}", w.rsyncs());

    w.write("d/x.refused", "x");
    w.write("d/x.no", "x");
    w.wait_remote(0, "one failure", |r| r["failing"] == 1);
    let before = read(&w);
    fill(&w, "d", 80);
    fill(&w, "d", 120);
    for n in 0..160 {
        wait_for("each file", DEADLINE, || w.there(&format!("d/f{n}")).exists());
    }
    assert!(read(&w) > before, "{:?}", w.rsyncs());
    let failing = w.wait_remote(0, "one failure", |r| r["failing"] == 1 && r["owed"] == 1);
    assert!(failing["first_failure"].as_str().unwrap().contains("d/x.refused"), "{failing}");
    assert!(!w.there("d/x.no").exists());
    let log = w.instance.log_text();
    let mut failed = log.lines().filter(|line| line.contains("paths failed"));
    assert!(failed.all(|line| line.contains("count: 1, first: d/x.refused")), "{log}");
    fs::remove_file(w.at("d/x.refused")).unwrap();
    fs::remove_file(w.at("d/x.no")).unwrap();
    w.wait_in_sync();
    w.wait_identical();
}

/// An rsync that reads a directory itself may send a name that is not in its batch. Its old content must not replace what
/// is pushed meanwhile.
#[test]
fn a_change_waits_for_the_rsync_that_reads_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    let rsync = Box::leak(slow_to_tell(dir.path()).into_boxed_str());
    let (params, settings) = ("-a --bwlimit=10", "delay: 2s");
    let w = Setup { params, rsync, settings, ..Setup::default() }.start();
    (0..20).for_each(|n| w.write(&format!("d/f{n}"), "x"));
    w.wait_identical();
    w.wait_in_sync();
    (0..20).for_each(|n| write(&w.there(&format!("d/f{n}")), "other"));
    fs::write(dir.path().join("wait"), "").unwrap();
    let _sync = w.instance.begin(&["sync"]);
    let told = |name: &str| dir.path().join(name).exists();
    wait_for("the comparison", DEADLINE, || told("listed"));
    // The comparison did not see it, and its mark waits.
    w.write("d/new", vec![b'a'; 60_000]);
    w.write("next", "b");
    fs::write(dir.path().join("go"), "").unwrap();
    let arrives = |name: &OsStr| name.as_bytes().starts_with(b".new.");
    let names = |dir: PathBuf| fs::read_dir(dir).unwrap().flatten().map(|e| e.file_name());
    wait_for("its transfer", DEADLINE, || names(w.there("d")).any(|name| arrives(&name)));
    fs::rename(w.at("next"), w.at("d/new")).unwrap();
    w.wait_identical();
    w.wait_in_sync();
    w.wait_identical();
}

#[test]
fn a_receiver_of_another_release_takes_whole_trees() {
    let Some(program) = old_rsync() else {
        eprintln!("SKIPPED: no old rsync (SYNCSUP_TEST_OLD_RSYNC)");
        return;
    };
    for files in [20, EVERYTHING / 40 + 1] {
        let daemon = Options { program: program.clone(), ..Options::default() };
        let mut w = Setup { daemon, ..logged("") }.build();
        populate(&w.master, 40, files);
        grow_old(&w);
        w.run(&["-r"]);
        w.wait_identical();
        w.wait_in_sync();
        assert_ne!(recursive(&w), (0, 0));
    }
}

/// With these, single names matter: hard links, filters of rsync's own, the trash.
#[test]
fn parameters_for_single_names_push_by_name() {
    let trash = ", trash: {keep: 24h}";
    for (params, remote) in [("-aH", ""), ("-a --exclude=*.no", ""), ("-a", trash)] {
        let mut w = Setup { params, remote, ..logged("") }.build();
        populate(&w.master, 5, 20);
        w.write("dir000/x.no", "x");
        fs::hard_link(w.at("dir001/file001"), w.at("dir002/linked")).unwrap();
        w.run(&["-r"]);
        w.wait_in_sync();
        wait_for("the last file", DEADLINE, || w.there("dir004/file019").exists());
        assert_eq!(recursive(&w), (0, 0), "{params}");
        assert_eq!(w.there("dir000/x.no").exists(), !params.contains("exclude"), "{params}");
    }
}

/// Large and sparse files are sent as they always are.
#[test]
fn large_and_sparse_files_are_no_part_of_a_whole_directory() {
    let mut w = logged("large_file: 1MiB").build();
    populate(&w.master, 5, 20);
    w.write("dir001/large", vec![7; 2 << 20]);
    let sparse = File::create(w.at("dir002/sparse")).unwrap();
    sparse.set_len(900 << 10).unwrap();
    sparse.set_times(old_time(3)).unwrap();
    w.run(&["-r"]);
    w.wait_identical();
    w.wait_in_sync();
    use std::os::unix::fs::MetadataExt;
    assert!(fs::metadata(w.there("dir002/sparse")).unwrap().blocks() < 100);
}
