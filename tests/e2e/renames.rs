//! What was moved is not sent again, and the result is right whatever the slave has under the old and the new name.

use crate::common::orders;
use crate::common::procs::Proc;
use crate::common::rsyncd::{Options, old_rsync};
use crate::common::sshd::Sshd;
use crate::common::sshworld;
use crate::common::wait::{DEADLINE, wait_for};
use crate::common::world::{self, Setup, World};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::ffi::OsStr;
use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};
use syncsup::sys::fault_point::Point;

/// From this size on a moved file is not sent again.
const MOVED_LEAST: usize = 64 << 10;

/// Moves that follow each other closely are in one push.
const GATHER: &str = "delay: 200ms";

/// Content that no compression and no delta shortens, different for each seed.
fn content(seed: u64, size: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..size).map(|_| random.u8(..)).collect()
}

/// The bytes of files that were sent to the first remote since the start.
fn sent(w: &World) -> u64 {
    let status = w.wait_remote(0, "in sync", |r| r["state"] == "in_sync");
    status["pushed_bytes"].as_u64().expect("bytes")
}

fn filled(setup: Setup) -> World {
    let w = setup.build();
    for n in 0..20 {
        w.write(&format!("dir/sub{}/f{n}", n % 3), content(n, 10_000 + n as usize));
    }
    w.write("dir/big", content(100, 2 * MOVED_LEAST));
    w.write("big", content(101, 5 * MOVED_LEAST));
    fs::create_dir(w.at("other")).unwrap();
    w
}

fn start(setup: Setup) -> World {
    let mut w = filled(setup);
    w.run(&["-r", "-v"]);
    w.wait_identical();
    w.wait_in_sync();
    w
}

/// Makes the change, waits, and returns the bytes that it sent.
#[track_caller]
fn moving(w: &World, change: impl FnOnce()) -> u64 {
    let before = sent(w);
    change();
    w.wait_identical();
    w.wait_in_sync();
    w.wait_identical();
    sent(w) - before
}

fn mv(w: &World, from: &str, to: &str) {
    fs::rename(w.at(from), w.at(to)).unwrap();
}

/// The names of one file there.
fn links(w: &World, path: &str) -> u64 {
    fs::symlink_metadata(w.there(path)).unwrap().nlink()
}

/// Makes the change, which sends nothing.
#[track_caller]
fn sends_nothing(w: &World, what: &str, change: impl FnOnce()) {
    let sent = moving(w, change);
    assert_eq!(sent, 0, "{what}\n{}", w.instance.report());
}

fn moves_are_not_sent(w: &World) {
    sends_nothing(w, "a directory to another one", || mv(w, "dir", "other/name"));
    sends_nothing(w, "a directory in place", || mv(w, "other/name", "other/new name"));
    sends_nothing(w, "a file in place", || mv(w, "big", "bigger"));
    sends_nothing(w, "a file to another directory", || mv(w, "bigger", "other/a"));
    let watches = |l: &Value| l["watches"].as_u64().unwrap_or(0);
    let before = watches(&w.wait_local("watches", |l| watches(l) > 0));
    let parents = || {
        fs::create_dir_all(w.at("p/q")).unwrap();
        w.wait_local("two more", |l| watches(l) == before + 2);
        mv(w, "other/new name", "p/q/dir");
        mv(w, "other/a", "p/q/big");
    };
    sends_nothing(w, "to a directory that was just made", parents);
    let both = || {
        mv(w, "p/q/dir", "other/dir");
        mv(w, "p/q/big", "other/dir/big too");
    };
    sends_nothing(w, "into a directory that was moved", both);
    let back = || {
        mv(w, "other/dir/big too", "p/q/big");
        mv(w, "other/dir", "p/q/dir");
    };
    sends_nothing(w, "out of one that is moved", back);
    let strange = OsStr::from_bytes(b"#*[a]? \\ \n\xff => '$(x)'");
    let strange = || {
        fs::create_dir(w.master.join(strange)).unwrap();
        w.wait_local("one more", |l| watches(l) == before + 3);
        fs::rename(w.at("p/q/dir"), w.master.join(strange).join(strange)).unwrap();
        fs::rename(w.at("p/q/big"), w.master.join(strange).join("-big")).unwrap();
        fs::remove_dir_all(w.at("p")).unwrap();
    };
    sends_nothing(w, "strange names, and the old parents go, too", strange);
}

#[test]
fn what_is_moved_is_not_sent_again() {
    moves_are_not_sent(&start(Setup { settings: GATHER, ..Setup::default() }));
}

#[test]
fn an_old_receiver_is_not_sent_it_again_either() {
    let Some(program) = old_rsync() else {
        eprintln!("SKIPPED: no old rsync (SYNCSUP_TEST_OLD_RSYNC)");
        return;
    };
    moves_are_not_sent(&start(Setup {
        daemon: Options { program, ..Options::default() },
        settings: GATHER,
        ..Setup::default()
    }));
}

#[test]
fn filters_and_attributes_stand_against_no_move() {
    let settings = "delay: 200ms\nfilter: {exclude_glob: ['*.keep'], exclude: ['(.*)/no[0-9]+']}";
    moves_are_not_sent(&start(Setup { settings, params: "-aAX", ..Setup::default() }));
}

#[test]
fn over_ssh_it_is_not_sent_again() {
    let sshd = Sshd::start();
    let setup = sshworld::Setup::of(&sshd);
    let mut w = setup.build(sshd);
    w.write("big", content(1, 4 * MOVED_LEAST));
    w.run();
    w.wait_identical();
    let state = |r: &Value| r["state"] == "in_sync";
    let before = w.wait_remote(0, "in sync", state)["pushed_bytes"].clone();
    fs::rename(w.at("big"), w.at("moved")).unwrap();
    w.wait_identical();
    assert_eq!(w.wait_remote(0, "in sync", state)["pushed_bytes"], before);
}

#[test]
fn a_chain_of_moves_is_not_sent() {
    // A push between two of them would send what the next one moves.
    let w = start(Setup { settings: "delay: 2s", ..Setup::default() });
    let chain = || {
        for (from, to) in [("big", "b"), ("b", "other/c"), ("other/c", "d"), ("dir", "e")] {
            mv(&w, from, to);
        }
        mv(&w, "e", "other/f");
    };
    assert_eq!(moving(&w, chain), 0);
}

#[test]
fn what_was_saved_under_a_temporary_name_is_sent_once() {
    let w = start(Setup::default());
    let size = 3 * MOVED_LEAST as u64;
    let save = || {
        w.write("big.tmp", content(7, size as usize));
        mv(&w, "big.tmp", "big");
    };
    assert!(moving(&w, save) <= 2 * size);
}

/// Exchanges, a new thing under the old name, and one name moved onto another.
#[test]
fn names_that_change_hands_end_up_right() {
    let w = start(Setup::default());
    for round in 0..10 {
        w.write("other/big", content(200 + round, 5 * MOVED_LEAST));
        w.write("taken/x", content(300 + round, MOVED_LEAST));
        w.wait_identical();
        // A swap.
        mv(&w, "big", "t");
        mv(&w, "other/big", "big");
        mv(&w, "t", "other/big");
        mv(&w, "dir", "t");
        mv(&w, "taken", "dir");
        mv(&w, "t", "taken");
        w.wait_identical();
        // Onto an existing name, and back under the old name.
        mv(&w, "other/big", "big");
        w.write("other/big", content(400 + round, 5 * MOVED_LEAST));
        mv(&w, "dir", "new");
        fs::create_dir(w.at("dir")).unwrap();
        w.write("dir/x", "another x");
        w.wait_identical();
        mv(&w, "taken", "t");
        fs::remove_dir_all(w.at("new")).unwrap();
        mv(&w, "dir", "new");
        mv(&w, "t", "dir");
        fs::remove_dir_all(w.at("new")).unwrap();
        w.wait_identical();
    }
    w.wait_in_sync();
}

/// Changes the content of a file, but neither its size nor its times.
fn forge(path: &Path, seed: u64) {
    let was = fs::metadata(path).unwrap();
    fs::write(path, content(seed, was.len() as usize)).unwrap();
    let times = FileTimes::new().set_modified(was.modified().unwrap());
    File::options().write(true).open(path).unwrap().set_times(times).unwrap();
}

#[test]
fn a_slave_with_other_content_under_the_old_or_the_new_name_gets_the_right_one() {
    let w = start(Setup::default());
    forge(&w.there("big"), 1_000);
    forge(&w.there("dir/big"), 1_001);
    forge(&w.there("dir/sub0/f0"), 1_002);
    fs::remove_file(w.there("dir/sub1/f1")).unwrap();
    fs::write(w.there("dir/sub2/f2"), "other").unwrap();
    // In the way: a file, and a directory with content.
    world::write(&w.there("moved"), "in the way");
    world::write(&w.there("other/moved/x/y"), "in the way");
    mv(&w, "dir", "moved");
    mv(&w, "big", "other/moved");
    w.wait_identical();
    w.wait_in_sync();
    // Nothing of the old names.
    mv(&w, "moved", "again");
    mv(&w, "other/moved", "big");
    w.wait_identical();
    fs::remove_dir_all(w.there("again")).unwrap();
    fs::remove_file(w.there("big")).unwrap();
    mv(&w, "again", "back");
    mv(&w, "big", "back/big of old");
    w.wait_identical();
}

#[test]
fn excluded_names_stay_where_they_are_on_the_slave() {
    let settings = "delay: 200ms\nfilter: {exclude_glob: ['*.keep']}";
    let w = start(Setup { settings, ..Setup::default() });
    world::write(&w.there("dir/sub1/there.keep"), content(5, MOVED_LEAST));
    world::write(&w.at("dir/sub1/here.keep"), content(6, MOVED_LEAST));
    mv(&w, "dir", "moved");
    wait_for("the move", DEADLINE, || {
        w.there("moved/sub1/f1").exists() && !w.there("dir/sub1/f1").exists()
    });
    w.wait_in_sync();
    assert!(w.there("dir/sub1/there.keep").exists());
    assert!(!w.there("moved/sub1/here.keep").exists() && w.at("moved/sub1/here.keep").exists());
    let (here, there) = (fs::read(w.at("moved/big")), fs::read(w.there("moved/big")));
    assert_eq!(here.unwrap(), there.unwrap());
}

/// With these, the new name must not share a file with the old one even for a moment: the file is sent.
#[test]
fn parameters_that_write_into_files_and_a_trash_get_the_right_result() {
    let trash = ", trash: {keep: 24h}";
    for (params, remote) in
        [("-a --inplace", ""), ("-aH", ""), ("-a --checksum", ""), ("-a", trash)]
    {
        let w = start(Setup { params, remote, ..Setup::default() });
        fs::hard_link(w.at("big"), w.at("linked")).unwrap();
        mv(&w, "dir", "moved");
        mv(&w, "big", "other/big");
        w.wait_in_sync();
        let same = |a: &str| fs::read(w.at(a)).ok() == fs::read(w.there(a)).ok();
        wait_for("the same content", DEADLINE, || {
            same("moved/big") && same("other/big") && same("linked") && same("moved/sub0/f0")
        });
        assert!(!w.there("dir").exists() || remote == trash, "{params}");
    }
}

#[test]
fn nothing_shares_a_file_afterwards() {
    let w = start(Setup::default());
    moving(&w, || {
        mv(&w, "dir", "moved");
        mv(&w, "big", "dir");
    });
    for path in ["moved/big", "moved/sub0/f0", "dir"] {
        assert_eq!(links(&w, path), 1, "{path}");
    }
    let left = fs::read_dir(w.journal().parent().unwrap()).unwrap().flatten();
    let placeholders = left.filter(|e| e.file_name().as_bytes().starts_with(b"placeholders"));
    assert_eq!(placeholders.count(), 0);
}

/// Another directory takes the old name between the rsync that gives the new names and the one that deletes the old ones.
/// Its files have the same content and other attributes: what is set on one name must not change another one.
#[cfg(debug_assertions)]
#[test]
fn an_old_name_in_use_again_shares_no_file_with_the_new_one() {
    if !orders::are_possible() {
        return;
    }
    let fill = |w: &World, dir: &str, mode: u32, time: u64| {
        for n in 0..5 {
            let path = format!("{dir}/sub{n}/f{n}");
            // Every second file is so large that it gets a new name even if it is moved alone.
            w.write(&path, content(n, (n % 2) as usize * 2 * MOVED_LEAST + 10));
            fs::set_permissions(w.at(&path), Permissions::from_mode(mode)).unwrap();
            let time = UNIX_EPOCH + Duration::from_secs(1_700_000_000) + Duration::from_nanos(time);
            let times = FileTimes::new().set_modified(time);
            File::options().write(true).open(w.at(&path)).unwrap().set_times(times).unwrap();
        }
    };
    for (signal, single) in [
        (Signal::SIGCONT, false),
        (Signal::SIGKILL, false),
        (Signal::SIGCONT, true),
        (Signal::SIGKILL, true),
    ] {
        let mut w = Setup { remotes: 1, ..Setup::default() }.build();
        let at = w.outside.join("orders");
        orders::arm(&mut w.instance, &at);
        fill(&w, "cur", 0o644, 100);
        fill(&w, "new", 0o600, 900);
        if single {
            fs::create_dir_all(w.at("old/sub1")).unwrap();
        }
        w.run(&[]);
        w.wait_identical();
        w.wait_in_sync();
        let pusher = w.instance.pusher(&w.remotes[0].name());
        assert!(orders::give(&at, Point::PusherRenames, "stop 1"));
        let [cur, new, old] =
            ["cur", "new", "old"].map(|d| if single { format!("{d}/sub1/f1") } else { d.into() });
        mv(&w, &cur, &old);
        let stopped = || Proc::read(pusher.pid).is_none_or(|p| p.state == 'T');
        wait_for("two names", DEADLINE, || {
            stopped() && fs::symlink_metadata(w.there("old/sub1/f1")).is_ok_and(|m| m.nlink() == 2)
        });
        mv(&w, &new, &cur);
        pusher.signal(signal);
        w.wait_identical();
        w.wait_in_sync();
        let names = (0..5).flat_map(|n| ["cur", "old"].map(|d| format!("{d}/sub{n}/f{n}")));
        for name in names.filter(|name| w.at(name).exists()) {
            assert_eq!(links(&w, &name), 1, "{name} after {signal}\n{}", w.instance.report());
        }
        fs::set_permissions(w.at("old/sub1/f1"), Permissions::from_mode(0o640)).unwrap();
        w.wait_identical();
        w.wait_in_sync();
        w.wait_identical();
        assert!(fs::read_dir(&at).unwrap().count() > 0, "the order was carried out");
    }
}

/// A slave that never has the old name is not asked for what root could read of the placeholders.
#[test]
fn a_placeholder_is_never_sent() {
    let w = start(Setup::default());
    for round in 0..20 {
        let (from, to) = if round % 2 == 0 { ("big", "other/a") } else { ("other/a", "big") };
        let there = w.there(from);
        fs::remove_file(&there).unwrap();
        mv(&w, from, to);
        let (good, seen) = (fs::read(w.at(to)).unwrap(), w.there(to));
        wait_for("the file", DEADLINE, || match fs::read(&seen) {
            Ok(now) => {
                assert_eq!(now, good, "a part of it, or zeros");
                true
            }
            Err(_) => false,
        });
        w.wait_identical();
    }
}

/// Root may start this program, and what gave up root's privileges may not.
#[test]
fn without_a_rsync_that_can_be_started_so_it_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("rsync");
    fs::write(&program, "#!/bin/sh\nexec rsync \"$@\"\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o010)).unwrap();
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: not root");
        return;
    }
    let rsync: &str = Box::leak(format!(", program: {program:?}").into_boxed_str());
    let w = start(Setup { rsync, ..Setup::default() });
    assert!(moving(&w, || mv(&w, "big", "moved")) > 0);
    assert!(moving(&w, || mv(&w, "dir", "other/dir")) > 0);
}
