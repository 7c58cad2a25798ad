//! `syncsup undelete`: kept versions are restored.

use super::{TRASH, fine, kept, receivers, setup};
use crate::common::churn::HOSTILE;
use crate::common::instance::Instance;
use crate::common::world::{Setup, World, write};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Output;

fn undelete(w: &World, args: &[&OsStr]) -> Output {
    let mut command = w.instance.prepare(&Instance::program(), &["undelete"]);
    command.args(args).arg("-o").arg(w.instance.config()).output().unwrap()
}

fn words<'a>(args: &[&'a str]) -> Vec<&'a OsStr> {
    args.iter().map(|word| OsStr::new(*word)).collect()
}

/// The times in a list.
fn times(list: &str) -> Vec<String> {
    list.lines().skip(1).map(|l| l.split(' ').next().unwrap().to_owned()).collect()
}

#[test]
fn undelete_finds_every_version_of_a_file() {
    for daemon in receivers() {
        let w = Setup { daemon, ..setup() }.start();
        for content in ["first", "second", "the third"] {
            w.write("d/a", content);
            w.wait_identical();
        }
        fs::remove_file(w.at("d/a")).unwrap();
        w.wait_identical();
        w.wait_in_sync();
        let list = fine(&undelete(&w, &words(&["d/a"])));
        let times = times(&list);
        // Versions are distinguished even within one second. A file that is pushed twice has a version twice.
        let mut found = Vec::new();
        for time in &times {
            fine(&undelete(&w, &words(&["d/a", "--at", time])));
            found.push(fs::read_to_string(w.at("d/a")).unwrap());
            w.wait_identical();
            fs::remove_file(w.at("d/a")).unwrap();
            w.wait_identical();
        }
        found.dedup();
        assert_eq!(found, ["first", "second", "the third"], "{list}");
        // By an absolute path, the remote named, the last of all.
        let path = w.at("d/a");
        let remote = OsString::from(w.remotes[0].name());
        fine(&undelete(&w, &[path.as_os_str(), "--remote".as_ref(), &remote, "--last".as_ref()]));
        assert_eq!(fs::read_to_string(w.at("d/a")).unwrap(), "the third");
        w.wait_identical();
    }
}

#[test]
fn undelete_overwrites_nothing_without_force() {
    let w = setup().start();
    w.write("a", "old");
    w.wait_identical();
    w.write("a", "new one");
    w.wait_identical();
    let out = undelete(&w, &words(&["a", "--last"]));
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    assert!(String::from_utf8_lossy(&out.stderr).contains("--force"), "{out:?}");
    assert_eq!(fs::read_to_string(w.at("a")).unwrap(), "new one");
    fine(&undelete(&w, &words(&["a", "--last", "--force"])));
    assert_eq!(fs::read_to_string(w.at("a")).unwrap(), "old");
    w.wait_identical();
    for (args, code) in [
        (&["no such"][..], 1),
        (&["a", "--at", "1999"], 1),
        (&["a", "--force"], 2),
        (&["../a"], 2),
        (&["/elsewhere/a"], 2),
        (&["a", "--remote", "h::other"], 2),
    ] {
        assert_eq!(undelete(&w, &words(args)).status.code(), Some(code), "{args:?}");
    }
    assert!(!w.at(TRASH).exists(), "nothing stays on the master");
}

#[test]
fn undelete_follows_no_symlink_out_of_the_localpath() {
    let w = setup().start();
    w.write("d/e/a", "kept");
    w.wait_identical();
    fs::remove_dir_all(w.at("d")).unwrap();
    w.wait_identical();
    symlink(&w.outside, w.at("d")).unwrap();
    let out = undelete(&w, &words(&["d/e/a", "--last", "--force"]));
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    assert_eq!(fs::read_dir(&w.outside).unwrap().count(), 0);
    assert!(w.at("d").is_symlink());
    fs::remove_file(w.at("d")).unwrap();
    fine(&undelete(&w, &words(&["d/e/a", "--last"])));
    w.wait_identical();
}

#[test]
fn undelete_restores_a_directory_with_hostile_names() {
    for daemon in receivers() {
        let w = Setup { daemon, ..setup() }.start();
        w.wait_in_sync();
        let names: Vec<&OsStr> = HOSTILE.iter().copied().map(OsStr::from_bytes).collect();
        let dir = w.at("tree *[x]");
        for name in &names {
            write(&dir.join(name).join(name), name.as_bytes());
        }
        fs::create_dir_all(dir.join("private")).unwrap();
        fs::write(dir.join("private/key"), "k").unwrap();
        fs::set_permissions(dir.join("private"), fs::Permissions::from_mode(0o700)).unwrap();
        symlink("nowhere", dir.join("private/link")).unwrap();
        w.wait_identical();
        fs::remove_dir_all(&dir).unwrap();
        w.wait_identical();
        w.wait_in_sync();
        assert_eq!(kept(&w).len(), names.len() + 2);
        fine(&undelete(&w, &words(&["tree *[x]"])));
        fine(&undelete(&w, &words(&["tree *[x]", "--last"])));
        for name in &names {
            assert_eq!(fs::read(dir.join(name).join(name)).unwrap(), name.as_bytes());
        }
        let mode = fs::metadata(dir.join("private")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o700);
        assert_eq!(fs::read_link(dir.join("private/link")).unwrap().to_str(), Some("nowhere"));
        w.wait_identical();
        // One of them alone.
        for name in &names {
            fs::remove_file(dir.join(name).join(name)).unwrap();
        }
        w.wait_identical();
        for name in names.iter().take(8) {
            let path = dir.join(name).join(name);
            fine(&undelete(&w, &[path.as_os_str(), "--last".as_ref()]));
            assert_eq!(fs::read(&path).unwrap(), name.as_bytes());
        }
        w.wait_identical();
    }
}

#[test]
fn undelete_restores_nothing_into_a_held_localpath() {
    let w = setup().start();
    w.write("a", "kept");
    w.wait_identical();
    fs::remove_file(w.at("a")).unwrap();
    w.wait_identical();
    w.wait_in_sync();
    // As when it is unmounted: an empty directory stands there.
    let away = w.outside.join("away");
    fs::rename(&w.master, &away).unwrap();
    fs::create_dir(&w.master).unwrap();
    w.wait_local("held", |l| l["state"] == "held");
    let out = undelete(&w, &words(&["a", "--last"]));
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    assert!(String::from_utf8_lossy(&out.stderr).contains("is held"), "{out:?}");
    assert_eq!(fs::read_dir(&w.master).unwrap().count(), 0);
    fs::remove_dir(&w.master).unwrap();
    fs::rename(&away, &w.master).unwrap();
    w.wait_local("watching", |l| l["state"] == "watching");
    fine(&undelete(&w, &words(&["a", "--last"])));
    w.wait_identical();
}
