//! Each kind of change, end to end, to two remotes.

use crate::common::churn::old_time;
use crate::common::wait::{DEADLINE, wait_for};
use crate::common::world::{Setup, World, populate, write};
use nix::sys::stat::Mode;
use rustix::fs::{AtFlags, CWD, OFlags, XattrFlags, linkat};
use std::fs::{self, File, FileTimes, OpenOptions, Permissions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// One change, and both slaves equal to the master after it.
#[track_caller]
fn step(world: &World, what: &str, change: impl FnOnce()) {
    println!("step: {what}");
    change();
    world.wait_identical();
}

#[test]
fn changed_file_content_is_pushed() {
    let w = World::start(2);
    let append = |text: &str| {
        OpenOptions::new().append(true).open(w.at("f")).unwrap().write_all(text.as_bytes())
    };
    step(&w, "create empty", || drop(File::create(w.at("f")).unwrap()));
    step(&w, "write", || fs::write(w.at("f"), "one\n").unwrap());
    step(&w, "append", || append("two\n").unwrap());
    step(&w, "truncate", || {
        File::options().write(true).open(w.at("f")).unwrap().set_len(3).unwrap()
    });
    step(&w, "truncate to nothing", || drop(File::create(w.at("f")).unwrap()));
    step(&w, "write again", || fs::write(w.at("f"), vec![7; 300_000]).unwrap());
    step(&w, "save as editors do", || {
        fs::write(w.at("f.new"), "saved\n").unwrap();
        fs::rename(w.at("f.new"), w.at("f")).unwrap();
    });
    step(&w, "delete", || fs::remove_file(w.at("f")).unwrap());
    step(&w, "create again", || w.write("f", "again"));
    step(&w, "many at once", || drop(populate(&w.master, 10, 20)));
}

#[test]
fn a_file_held_open_is_pushed_when_it_is_closed() {
    let w = World::start(2);
    let mut file = File::create(w.at("log")).unwrap();
    for line in 0..10 {
        writeln!(file, "line {line}").unwrap();
        w.probe(0);
    }
    step(&w, "close", || drop(file));
}

#[test]
fn a_file_kept_open_is_reported_and_sent_where_open_after_says_so() {
    let mut w = Setup { settings: "open_after: {'*.log': 1s}", ..Setup::default() }.start();
    // The first copy takes what it finds.
    w.wait_in_sync();
    let open = |name: &str| OpenOptions::new().append(true).create(true).open(w.at(name)).unwrap();
    let mut files = ["a.log", "upload"].map(open);
    let mut say = |line: &str| files.iter_mut().for_each(|file| writeln!(file, "{line}").unwrap());
    let there = w.there("a.log");
    let came = |lines: &str| fs::read_to_string(&there).is_ok_and(|text| text == lines);
    say("one");
    wait_for("the first line", DEADLINE, || came("one\n"));
    say("two");
    wait_for("the second line", DEADLINE, || came("one\ntwo\n"));
    assert!(!w.there("upload").exists(), "it may be incomplete");
    let two = |l: &serde_json::Value| l["open_files"] == 2 && l["open_path"].is_string();
    let since = w.wait_local("two open files", two)["open_since_ms"].clone();
    let text = w.instance.command(&["status"]).stdout;
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(text.contains("in sync, 2 files open since "), "{text}");
    // Another watcher knows them, too, though no process writes to them now.
    w.instance.stop();
    w.run(&[]);
    let again = w.wait_local("two open files", two)["open_since_ms"].clone();
    let ms = |value: &serde_json::Value| value.as_i64().unwrap();
    assert!((ms(&again) - ms(&since)).abs() < 5_000, "{since} {again}");
    drop(files);
    w.wait_identical();
    w.wait_local("no open file", |l| l["open_files"] == 0 && l["open_since_ms"].is_null());
}

/// Within one tick of the clock that stamps files, or because a program sets the time.
#[test]
fn a_file_written_again_with_the_same_size_and_time_is_pushed() {
    let w = World::start(1);
    for n in 0..5 {
        let (name, there) = (format!("d/f{n}"), w.there(&format!("d/f{n}")));
        let has = |text: &str| fs::read_to_string(&there).is_ok_and(|found| found == text);
        w.write(&name, "one");
        wait_for("the first content", DEADLINE, || has("one"));
        let written = fs::metadata(w.at(&name)).unwrap().modified().unwrap();
        let mut file = OpenOptions::new().write(true).open(w.at(&name)).unwrap();
        file.write_all(b"two").unwrap();
        file.set_times(FileTimes::new().set_modified(written)).unwrap();
        drop(file);
        wait_for("the second content", DEADLINE, || has("two"));
    }
    w.wait_identical();
}

#[test]
fn files_written_after_their_name_is_gone_are_pushed() {
    let w = World::start(1);
    for name in ["removed", "replaced", "moved"] {
        w.write(name, "old");
        fs::hard_link(w.at(name), w.at(&format!("{name}+"))).unwrap();
    }
    w.write("new", "new");
    // Every name of every file is known, and marked.
    w.wait_in_sync();
    let open = |name: &str| OpenOptions::new().append(true).open(w.at(name)).unwrap();
    let mut files = Vec::from(["removed", "replaced", "moved"].map(open));
    fs::remove_file(w.at("removed")).unwrap();
    fs::rename(w.at("new"), w.at("replaced")).unwrap();
    fs::rename(w.at("moved"), w.outside.join("moved")).unwrap();
    let unnamed =
        OpenOptions::new().write(true).custom_flags(OFlags::TMPFILE.bits() as i32).open(&w.master);
    if let Ok(mut file) = unnamed {
        file.write_all(b"a beginning").unwrap();
        let from = format!("/proc/self/fd/{}", file.as_raw_fd());
        linkat(CWD, from, CWD, w.at("nameless"), AtFlags::SYMLINK_FOLLOW).unwrap();
        files.push(file);
    } else {
        eprintln!("SKIPPED: no files without a name here");
    }
    w.wait_in_sync();
    for (n, file) in files.iter_mut().enumerate() {
        writeln!(file, "a line for {n}").unwrap();
    }
    step(&w, "closed", || drop(files));
}

#[test]
fn changed_attributes_are_pushed() {
    let w = World::start(2);
    populate(&w.master, 1, 2);
    w.wait_identical();
    let (file, dir) = (w.at("dir000/file000"), w.at("dir000"));
    step(&w, "chmod of a file", || {
        fs::set_permissions(&file, Permissions::from_mode(0o751)).unwrap()
    });
    step(&w, "setgid", || fs::set_permissions(&file, Permissions::from_mode(0o2750)).unwrap());
    step(&w, "chmod of a directory", || {
        fs::set_permissions(&dir, Permissions::from_mode(0o700)).unwrap()
    });
    step(&w, "times of a file", || File::open(&file).unwrap().set_times(old_time(0)).unwrap());
    step(&w, "times of a directory", || File::open(&dir).unwrap().set_times(old_time(1)).unwrap());
    if nix::unistd::geteuid().is_root() {
        step(&w, "chown of a file", || chown(&file, Some(12_345), Some(54_321)).unwrap());
        step(&w, "chown of a directory", || chown(&dir, Some(1), Some(2)).unwrap());
    } else {
        eprintln!("SKIPPED: chown: not root");
    }
}

#[test]
fn changed_attributes_of_the_localpath_itself_are_pushed() {
    let mut w = Setup { params: "-aX", ..Setup::default() }.build();
    // Watched by another name.
    let link = w.outside.join("link");
    symlink(&w.master, &link).unwrap();
    let text = fs::read_to_string(w.instance.config()).unwrap();
    let watch = |path: &Path| format!("watch: {path:?}");
    fs::write(w.instance.config(), text.replace(&watch(&w.master), &watch(&link))).unwrap();
    w.instance.start(&[], &[&link]);
    let (master, slave) = (w.master.clone(), w.remotes[0].path());
    let xattr = |path: &Path| {
        let mut value = vec![0; 9];
        let size = rustix::fs::getxattr(path, "user.syncsup", &mut value).unwrap_or(0);
        value.truncate(size);
        value
    };
    let seen = |path: &Path| {
        let meta = fs::metadata(path).unwrap();
        (meta.mode(), meta.uid(), meta.gid(), meta.mtime(), meta.mtime_nsec(), xattr(path))
    };
    let same = |what: &str| {
        wait_for(what, DEADLINE, || seen(&master) == seen(&slave));
    };
    let mode = |mode| fs::set_permissions(&master, Permissions::from_mode(mode)).unwrap();
    mode(0o751);
    same("mode");
    File::open(&master).unwrap().set_times(old_time(0)).unwrap();
    same("times");
    // Asked for by itself and with all.
    for below in [&[][..], &[link.to_str().unwrap()]] {
        mode(0o700 + below.len() as u32);
        let waited = w.instance.command(&[&["wait"][..], below].concat());
        assert!(waited.status.success(), "{waited:?}");
        assert_eq!(seen(&master), seen(&slave));
    }
    if rustix::fs::setxattr(&master, "user.syncsup", b"x", XattrFlags::empty()).is_ok() {
        same("extended attribute");
    }
    if nix::unistd::geteuid().is_root() {
        chown(&master, Some(12_345), Some(54_321)).unwrap();
        same("owner");
    }
    w.instance.stop();
    mode(0o755);
    w.instance.start(&[], &[&link]);
    same("mode, changed while it was stopped");
}

#[test]
fn renames_are_replicated() {
    let w = World::start(2);
    populate(&w.master, 3, 4);
    write(&w.outside.join("in/deep/file"), "from outside");
    write(&w.outside.join("single"), "from outside");
    w.wait_identical();
    let mv = |from: &str, to: &str| fs::rename(w.at(from), w.at(to)).unwrap();
    step(&w, "file in its directory", || mv("dir000/file000", "dir000/renamed"));
    step(&w, "file to another directory", || mv("dir000/renamed", "dir001/renamed"));
    step(&w, "file over an existing one", || mv("dir001/renamed", "dir001/file001"));
    step(&w, "directory in its parent", || mv("dir000", "moved"));
    step(&w, "directory into another", || mv("moved", "dir001/moved"));
    step(&w, "directory with a directory", || mv("dir001", "dir002/dir001"));
    step(&w, "change after the moves", || w.write("dir002/dir001/moved/file001", "changed"));
    step(&w, "directory over an empty one", || {
        fs::create_dir(w.at("empty")).unwrap();
        mv("dir002/dir001/moved", "empty");
    });
    step(&w, "file from outside", || fs::rename(w.outside.join("single"), w.at("single")).unwrap());
    step(&w, "directory from outside", || fs::rename(w.outside.join("in"), w.at("in")).unwrap());
    step(&w, "change in what came", || w.write("in/deep/other", "new"));
    step(&w, "file to outside", || fs::rename(w.at("single"), w.outside.join("single")).unwrap());
    step(&w, "directory to outside", || {
        fs::rename(w.at("dir002"), w.outside.join("gone")).unwrap()
    });
    step(&w, "change in what went", || {
        write(&w.outside.join("gone/new"), "not to be seen");
        w.write("mark", "x");
    });
    step(&w, "away and back again", || {
        fs::rename(w.at("in"), w.outside.join("in")).unwrap();
        write(&w.outside.join("in/deep/file"), "changed while outside");
        fs::rename(w.outside.join("in"), w.at("in")).unwrap();
    });
    step(&w, "chain", || {
        mv("in", "a");
        mv("a", "b");
        mv("b", "c");
        w.write("c/deep/file", "after the chain");
    });
}

#[test]
fn links_and_special_files_are_replicated() {
    let w = World::start(2);
    populate(&w.master, 2, 2);
    w.wait_identical();
    step(&w, "symlink", || symlink("dir000/file000", w.at("link")).unwrap());
    step(&w, "symlink to a directory", || symlink("dir000", w.at("dirlink")).unwrap());
    step(&w, "dangling symlink", || symlink("../no/such", w.at("dir000/dangling")).unwrap());
    step(&w, "absolute symlink", || symlink("/etc/hostname", w.at("absolute")).unwrap());
    step(&w, "symlink retargeted", || {
        symlink("dir001", w.at("new")).unwrap();
        fs::rename(w.at("new"), w.at("dirlink")).unwrap();
    });
    step(&w, "write below what the symlink names", || {
        fs::write(w.at("dirlink/through"), "x").unwrap()
    });
    step(&w, "symlink removed", || fs::remove_file(w.at("link")).unwrap());
    step(&w, "hard link", || fs::hard_link(w.at("dir000/file000"), w.at("dir001/hard")).unwrap());
    step(&w, "write through one name", || {
        OpenOptions::new()
            .append(true)
            .open(w.at("dir001/hard"))
            .unwrap()
            .write_all(b"both")
            .unwrap();
    });
    step(&w, "the time set under one name", || {
        File::open(w.at("dir001/hard")).unwrap().set_times(old_time(2)).unwrap();
    });
    step(&w, "one name removed", || fs::remove_file(w.at("dir000/file000")).unwrap());
    step(&w, "fifo", || {
        nix::unistd::mkfifo(&w.at("fifo"), Mode::from_bits_truncate(0o640)).unwrap()
    });
    step(&w, "fifo removed", || fs::remove_file(w.at("fifo")).unwrap());
}

/// True when the two names are names of one file on every slave.
fn together(w: &World, a: &str, b: &str) -> bool {
    let inode = |path: PathBuf| path.metadata().map(|m| m.ino()).ok();
    w.slaves().iter().all(|s| inode(s.join(a)).is_some_and(|a| inode(s.join(b)) == Some(a)))
}

/// With `-H` hard links are hard links on the slaves too.
#[test]
fn hard_links_stay_linked() {
    let w = Setup { remotes: 2, params: "-aH", ..Setup::default() }.start();
    write(&w.outside.join("in/one"), "content");
    fs::create_dir(w.outside.join("in/d")).unwrap();
    for name in ["two", "d/three"] {
        fs::hard_link(w.outside.join("in/one"), w.outside.join("in").join(name)).unwrap();
    }
    step(&w, "a directory with several names of a file", || {
        fs::rename(w.outside.join("in"), w.at("in")).unwrap();
    });
    wait_for("one file", DEADLINE, || together(&w, "in/one", "in/d/three"));
    step(&w, "written through one name", || {
        let mut file = OpenOptions::new().append(true).open(w.at("in/two")).unwrap();
        file.write_all(b" and more").unwrap();
    });
    assert!(together(&w, "in/one", "in/two") && together(&w, "in/d/three", "in/two"));
    step(&w, "one name replaced", || {
        w.write("new", "another file");
        fs::rename(w.at("new"), w.at("in/two")).unwrap();
    });
    assert!(together(&w, "in/one", "in/d/three") && !together(&w, "in/one", "in/two"));
}

#[test]
fn a_hard_link_made_later_is_linked() {
    let w = Setup { params: "-aH", ..Setup::default() }.start();
    step(&w, "a file", || w.write("d/one", "content"));
    step(&w, "another name", || fs::hard_link(w.at("d/one"), w.at("two")).unwrap());
    wait_for("one file", DEADLINE, || together(&w, "d/one", "two"));
}

#[test]
fn directories_are_replicated() {
    let w = World::start(2);
    step(&w, "empty directory", || fs::create_dir(w.at("empty")).unwrap());
    step(&w, "deep empty directories", || fs::create_dir_all(w.at("a/b/c/d/e/f/g/h")).unwrap());
    step(&w, "file at the bottom", || w.write("a/b/c/d/e/f/g/h/leaf", "x"));
    step(&w, "directory and file at once", || w.write("p/q/r/s/t", "x"));
    step(&w, "rmdir", || fs::remove_dir(w.at("empty")).unwrap());
    step(&w, "rm -rf", || fs::remove_dir_all(w.at("a")).unwrap());
    step(&w, "made and removed at once", || {
        for round in 0..30 {
            populate(&w.at(&format!("brief{round}")), 3, 3);
            fs::remove_dir_all(w.at(&format!("brief{round}"))).unwrap();
        }
    });
    step(&w, "removed and made at once", || {
        populate(&w.at("p"), 3, 3);
        fs::remove_dir_all(w.at("p")).unwrap();
        w.write("p/other", "x");
    });
    step(&w, "raced by mkdir -p", || {
        for i in 0..200 {
            w.write(&format!("race/{}/{}/{}", i % 7, i % 11, i), "x");
        }
    });
    step(&w, "everything gone", || {
        fs::remove_dir_all(w.at("race")).unwrap();
        fs::remove_dir_all(w.at("p")).unwrap();
    });
}

#[test]
fn a_file_replaced_by_a_directory_and_back_is_replicated() {
    let w = World::start(2);
    step(&w, "file", || w.write("x", "file"));
    step(&w, "directory in its place", || {
        fs::remove_file(w.at("x")).unwrap();
        w.write("x/inside/deep", "x");
    });
    step(&w, "file in its place", || {
        fs::remove_dir_all(w.at("x")).unwrap();
        w.write("x", "file again");
    });
    step(&w, "symlink in its place", || {
        fs::remove_file(w.at("x")).unwrap();
        symlink("nowhere", w.at("x")).unwrap();
    });
    step(&w, "directory in its place", || {
        fs::remove_file(w.at("x")).unwrap();
        populate(&w.at("x"), 2, 2);
    });
    step(&w, "fifo in its place", || {
        fs::remove_dir_all(w.at("x")).unwrap();
        nix::unistd::mkfifo(&w.at("x"), Mode::from_bits_truncate(0o600)).unwrap();
    });
    step(&w, "to and fro", || {
        for round in 0..20 {
            fs::remove_file(w.at("x")).unwrap();
            w.write(&format!("x/{round}"), "x");
            fs::remove_dir_all(w.at("x")).unwrap();
            w.write("x", format!("{round}"));
        }
    });
}

#[test]
fn an_unpacked_archive_and_a_clone_are_replicated() {
    let w = World::start(2);
    populate(&w.outside.join("pack"), 40, 25);
    let tar = w.outside.join("pack.tar");
    let run = |program: &str, args: &[&str]| {
        let out = Command::new(program).args(args).output().unwrap();
        assert!(out.status.success(), "{out:?}");
    };
    run("tar", &["cf", tar.to_str().unwrap(), "-C", w.outside.to_str().unwrap(), "pack"]);
    step(&w, "untar", || {
        run("tar", &["xf", tar.to_str().unwrap(), "-C", w.master.to_str().unwrap()])
    });
    step(&w, "untar over it", || {
        run("tar", &["xf", tar.to_str().unwrap(), "-C", w.master.to_str().unwrap()])
    });
    step(&w, "objects written aside, renamed, made read-only", || {
        for i in 0..500 {
            let (temporary, name) =
                (format!("git/tmp_{i}"), format!("git/objects/{:02x}/{i:038x}", i % 97));
            w.write(&temporary, format!("object {i}"));
            fs::create_dir_all(w.at(&name).parent().unwrap()).unwrap();
            fs::rename(w.at(&temporary), w.at(&name)).unwrap();
            fs::set_permissions(w.at(&name), Permissions::from_mode(0o444)).unwrap();
        }
        fs::write(w.at("git/lock"), "ref").unwrap();
        fs::rename(w.at("git/lock"), w.at("git/HEAD")).unwrap();
    });
    step(&w, "rm -rf of all", || {
        fs::remove_dir_all(w.at("pack")).unwrap();
        fs::remove_dir_all(w.at("git")).unwrap();
    });
}

#[test]
fn files_from_before_the_start_and_changes_while_stopped_are_copied() {
    let mut w = crate::common::world::Setup { remotes: 2, ..Default::default() }.build();
    populate(&w.master, 10, 10);
    w.run(&[]);
    w.wait_identical();
    w.wait_in_sync();
    w.instance.stop();
    w.write("dir001/file001", "changed while stopped");
    w.write("new/while/stopped", "x");
    fs::remove_file(w.at("dir002/file002")).unwrap();
    fs::remove_dir_all(w.at("dir003")).unwrap();
    fs::rename(w.at("dir004"), w.at("renamed")).unwrap();
    fs::set_permissions(w.at("dir005/file001"), Permissions::from_mode(0o600)).unwrap();
    w.run(&[]);
    w.wait_identical();
}
