//! Names and content that rsync trips over.

use crate::common::churn::old_time;
use crate::common::rsyncd::{Options, old_rsync};
use crate::common::wait::{DEADLINE, wait_for};
use crate::common::world::{Setup, World, populate};
use std::fs::{self, File};
use std::os::unix::fs::symlink;

#[test]
fn a_rewrite_of_the_same_size_within_one_second_is_pushed() {
    let w = World::start(2);
    for round in 0..30 {
        w.write("f", format!("{round:04}"));
        w.wait_identical();
    }
}

#[test]
fn a_replacement_with_the_same_size_and_time_is_pushed() {
    let w = World::start(2);
    let put = |path: &std::path::Path, content: &str| {
        fs::write(path, content).unwrap();
        File::open(path).unwrap().set_times(old_time(0)).unwrap();
    };
    put(&w.at("f"), "1234");
    put(&w.at("g"), "abcd");
    w.wait_identical();
    // In place, as `cp -p` does.
    put(&w.at("f"), "5678");
    w.wait_identical();
    // Under another inode, as tar and editors do; from outside and from inside.
    let other = w.outside.join("other");
    put(&other, "9012");
    fs::rename(&other, w.at("f")).unwrap();
    w.wait_identical();
    fs::rename(w.at("g"), w.at("f")).unwrap();
    w.wait_identical();
    put(&other, "zzzz");
    fs::create_dir(w.outside.join("dir")).unwrap();
    fs::rename(&other, w.outside.join("dir/f")).unwrap();
    w.write("dir/f", "old!");
    File::open(w.at("dir/f")).unwrap().set_times(old_time(0)).unwrap();
    w.wait_identical();
    fs::rename(w.at("dir"), w.outside.join("was")).unwrap();
    fs::rename(w.outside.join("dir"), w.at("dir")).unwrap();
    w.wait_identical();
}

#[test]
fn a_replacement_while_stopped_with_the_same_size_and_time_is_pushed() {
    let mut w = World::start(2);
    let put = |content: &str| {
        fs::write(w.at("f"), content).unwrap();
        File::open(w.at("f")).unwrap().set_times(old_time(0)).unwrap();
    };
    put("1234");
    w.wait_identical();
    w.wait_in_sync();
    w.instance.stop();
    fs::write(w.at("f"), "5678").unwrap();
    File::open(w.at("f")).unwrap().set_times(old_time(0)).unwrap();
    w.run(&[]);
    w.wait_identical();
}

#[test]
fn names_that_look_like_comments_or_options_are_pushed() {
    let w = World::start(2);
    for name in [
        "#hash", ";semi", "-dash", "--delete", "#", ";", "-", "+ x", "- *", ". x", "!", "[x]",
        ":x", "::x",
    ] {
        w.write(name, "top");
        w.write(&format!("{name}d/{name}"), "below");
    }
    w.wait_identical();
    for name in [
        "#hash", ";semi", "-dash", "--delete", "#", ";", "-", "+ x", "- *", ". x", "!", "[x]",
        ":x", "::x",
    ] {
        fs::remove_file(w.at(name)).unwrap();
        fs::remove_dir_all(w.at(&format!("{name}d"))).unwrap();
    }
    w.wait_identical();
}

#[test]
fn names_with_wildcards_do_not_touch_their_matches() {
    let w = World::start(2);
    for name in ["g1x/f", "g[1]x/f", "g*/f", "g?x/f", "g\\x/f", "gx/f"] {
        w.write(name, name);
    }
    w.wait_identical();
    for name in ["g*", "g[1]x"] {
        w.write(&format!("{name}/f"), "changed");
        w.wait_identical();
        fs::rename(w.at(name), w.at(&format!("{name}moved"))).unwrap();
        w.wait_identical();
        fs::remove_dir_all(w.at(&format!("{name}moved"))).unwrap();
        w.wait_identical();
    }
}

#[test]
fn a_path_below_a_new_file_or_symlink_is_deleted() {
    let mut w = World::start(2);
    populate(&w.at("p"), 3, 3);
    populate(&w.at("q"), 3, 3);
    populate(&w.at("target"), 3, 3);
    w.wait_identical();
    // Marks below a name wait for a slave that is down, and then the name is something else.
    w.remotes[0].stop();
    w.write("p/dir000/file000", "changed");
    w.write("q/dir000/file000", "changed");
    fs::remove_file(w.at("q/dir001/file001")).unwrap();
    w.probe(1);
    fs::remove_dir_all(w.at("p")).unwrap();
    fs::remove_dir_all(w.at("q")).unwrap();
    w.write("p", "a file");
    symlink("target", w.at("q")).unwrap();
    w.probe(1);
    w.remotes[0].start_again();
    w.wait_identical_within(DEADLINE * 3);
    // And below a directory that is gone, its parents too.
    w.remotes[0].stop();
    w.write("target/dir000/deep/er/file", "x");
    w.probe(1);
    fs::remove_dir_all(w.at("target/dir000")).unwrap();
    w.probe(1);
    w.remotes[0].start_again();
    w.wait_identical_within(DEADLINE * 3);
}

#[test]
fn a_receiver_that_cannot_delete_missing_args_is_handled() {
    let Some(program) = old_rsync() else {
        eprintln!("SKIPPED: no old rsync (SYNCSUP_TEST_OLD_RSYNC)");
        return;
    };
    let w =
        Setup { remotes: 2, daemon: Options { program, ..Options::default() }, ..Setup::default() }
            .start();
    populate(&w.master, 5, 5);
    w.wait_identical();
    fs::remove_file(w.at("dir000/file000")).unwrap();
    w.write("dir000/in the same batch", "x");
    w.wait_identical();
    fs::remove_dir_all(w.at("dir001")).unwrap();
    fs::rename(w.at("dir002"), w.at("dir003/moved")).unwrap();
    w.wait_identical();
    for i in 0..50 {
        w.write(&format!("brief{i}/x/y"), "x");
        fs::remove_dir_all(w.at(&format!("brief{i}"))).unwrap();
    }
    fs::remove_file(w.at("dir004/file001")).unwrap();
    symlink("nowhere", w.at("dir004/file001")).unwrap();
    w.wait_identical();
    fs::remove_dir_all(w.at("dir003")).unwrap();
    w.write("dir003", "a file now");
    w.wait_identical();
    w.wait_in_sync();
}

#[test]
fn an_old_receiver_works_with_a_filter() {
    let Some(program) = old_rsync() else {
        eprintln!("SKIPPED: no old rsync (SYNCSUP_TEST_OLD_RSYNC)");
        return;
    };
    let daemon = Options { program, ..Options::default() };
    let w = Setup { daemon, settings: "filter: {exclude_glob: ['*.keep']}", ..Setup::default() }
        .start();
    populate(&w.master, 3, 3);
    w.wait_identical();
    crate::common::world::write(&w.there("dir000/only there.keep"), "x");
    crate::common::world::write(&w.there("dir001/only there.keep"), "x");
    fs::remove_file(w.at("dir000/file000")).unwrap();
    fs::remove_dir_all(w.at("dir001")).unwrap();
    wait_for("the deletions", DEADLINE, || {
        !w.there("dir000/file000").exists() && !w.there("dir001/file000").exists()
    });
    w.write("mark", "x");
    wait_for("the mark", DEADLINE, || w.there("mark").exists());
    assert!(
        w.there("dir000/only there.keep").exists() && w.there("dir001/only there.keep").exists()
    );
}

#[test]
fn a_path_too_long_for_rsync_delays_no_other() {
    use nix::fcntl::{OFlag, open, openat};
    use nix::sys::stat::{Mode, mkdirat};
    let w = World::start(2);
    let mode = Mode::from_bits_truncate(0o755);
    let name = "d".repeat(250);
    let mut dir = open(&w.master, OFlag::O_DIRECTORY, Mode::empty()).unwrap();
    for _ in 0..20 {
        mkdirat(&dir, name.as_str(), mode).unwrap();
        dir = openat(&dir, name.as_str(), OFlag::O_DIRECTORY, Mode::empty()).unwrap();
    }
    drop(openat(&dir, "leaf", OFlag::O_CREAT | OFlag::O_WRONLY, mode).unwrap());
    w.write("short", "x");
    for slave in w.slaves() {
        wait_for("the short name", DEADLINE, || slave.join("short").exists());
    }
    w.probe(0);
    w.probe(1);
    // Its removal makes all well again.
    fs::remove_dir_all(w.at(&name)).unwrap();
    w.wait_identical();
}
