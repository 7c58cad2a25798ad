//! Over ssh, with a real server: the same promises as towards a daemon.

use crate::common::churn::{HOSTILE, LONG};
use crate::common::instance::Instance;
use crate::common::namespace::{Mounted, with_private_mounts};
use crate::common::sshd::{Sshd, own};
use crate::common::sshworld::{Setup, World};
use crate::common::tree::Tree;
use crate::common::wait::{DEADLINE, wait_for};
use crate::common::world::{populate, write};
use crate::sersync::CONFXML;
use nix::unistd::{setfsgid, setfsuid};
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::net::Ipv6Addr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// A directory on the slave whose name is not for a shell or a matcher.
const PLACE: &str = "w $(touch PWNED) [1]*'\"`x`\\ ü";

fn names() -> impl Iterator<Item = &'static OsStr> {
    HOSTILE.iter().copied().chain([LONG]).map(OsStr::from_bytes)
}

/// One change for every name together.
#[track_caller]
fn each(world: &World, what: &str, change: impl Fn(&OsStr)) {
    println!("step: {what}");
    names().for_each(change);
    world.wait_identical();
}

fn all_changes(w: &World) {
    let at = |name: &OsStr| w.master.join(name);
    each(w, "create", |n| fs::write(at(n), "one").unwrap());
    each(w, "rewrite", |n| fs::write(at(n), "another").unwrap());
    each(w, "rename away", |n| {
        fs::create_dir_all(w.at("sub")).unwrap();
        fs::rename(at(n), w.at("sub").join(n)).unwrap();
    });
    each(w, "rename back", |n| fs::rename(w.at("sub").join(n), at(n)).unwrap());
    each(w, "symlink of that name to that name", |n| symlink(n, w.at("sub").join(n)).unwrap());
    each(w, "delete", |n| fs::remove_file(at(n)).unwrap());
    each(w, "directories", |n| write(&at(n).join("deep").join(n).join("leaf"), "x"));
    each(w, "delete directories", |n| fs::remove_dir_all(at(n)).unwrap());
}

#[test]
fn hostile_names_reach_a_hostile_directory() {
    let sshd = Sshd::start();
    let place = sshd.file(PLACE);
    fs::create_dir(&place).unwrap();
    // What a matcher would take it for.
    let other = sshd.file("w $(touch PWNED) 1x'\"`x`\\ ü");
    fs::create_dir(&other).unwrap();
    let w = Setup { places: vec![place], ..Setup::of(&sshd) }.start(sshd);
    all_changes(&w);
    assert_eq!(fs::read_dir(other).unwrap().count(), 0);
    w.instance.pushers().iter().for_each(|p| println!("{}", p.command));
}

#[test]
fn excludes_in_common_params_work_over_ssh() {
    let sshd = Sshd::start();
    let w = Setup { params: "-a --exclude=*.keep", ..Setup::of(&sshd) }.start(sshd);
    populate(&w.master, 3, 3);
    w.wait_identical();
    fs::write(w.places[0].join("dir000/theirs.keep"), "x").unwrap();
    fs::remove_file(w.at("dir000/file000")).unwrap();
    fs::remove_dir_all(w.at("dir001")).unwrap();
    let gone = |path: &str| !w.places[0].join(path).exists();
    wait_for("the deletions", DEADLINE, || gone("dir000/file000") && gone("dir001"));
    assert!(!gone("dir000/theirs.keep"));
}

#[test]
fn ipv6_and_a_remote_command_with_an_argument_work() {
    let sshd = Sshd::start_with(Ipv6Addr::LOCALHOST.into(), "");
    let params = "-a --rsync-path='nice rsync'";
    let w = Setup { params, ..Setup::of(&sshd) }.start(sshd);
    populate(&w.master, 2, 2);
    w.wait_identical();
    w.joined();
    fs::remove_dir_all(w.at("dir000")).unwrap();
    w.wait_identical();
}

#[test]
fn changes_while_stopped_are_pushed_over_ssh() {
    let mut w = World::start();
    populate(&w.master, 5, 5);
    w.wait_identical();
    w.instance.stop();
    fs::remove_dir_all(w.at("dir001")).unwrap();
    w.write("dir002/file000", "changed");
    w.run();
    w.wait_identical();
    assert!(w.instance.command(&["sync"]).status.success());
    w.instance.stop();
}

#[test]
fn ssh_works_without_root_on_either_side() {
    const USER: u32 = 61_234;
    with_private_mounts(|| {
        // A user with a shell, as far as this thread and what it starts can see.
        let dir = tempfile::tempdir().unwrap();
        for (name, line) in [
            ("passwd", format!("tester:x:{USER}:{USER}::/nonexistent:/bin/sh\n")),
            ("group", format!("tester:x:{USER}:\n")),
        ] {
            let (at, file) = (Path::new("/etc").join(name), dir.path().join(name));
            fs::write(&file, fs::read_to_string(&at).unwrap() + &line).unwrap();
            fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
            std::mem::forget(Mounted::bind(&file, &at));
        }
        let user = USER.to_string();
        let launcher = ["setpriv", "--reuid", &user, "--regid", &user, "--clear-groups", "--"];
        let launcher = launcher.map(str::to_owned);
        let sshd = Sshd::start_as(USER, &launcher);
        let mut w = Setup::of(&sshd).build(sshd);
        w.instance.launcher = launcher.iter().map(Into::into).collect();
        own(w.dir.path(), USER);
        // From here on this thread creates files of that user: no other user could replicate them.
        setfsuid(USER.into());
        setfsgid(USER.into());
        w.run();
        all_changes(&w);
        w.joined();
        w.instance.kill9();
        w.write("while it was dead", "x");
        w.run();
        w.wait_identical();
        assert!(w.instance.command(&["check", "--connect"]).status.success());
        // A process that has exited meanwhile has no owner.
        let users: Vec<u32> = w.instance.family().iter().filter_map(|p| uid_of(p.pid)).collect();
        assert!(users.len() > 2 && users.iter().all(|user| *user == USER), "{users:?}");
        w.instance.stop();
    });
}

fn uid_of(pid: i32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|l| l.strip_prefix("Uid:"))?.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn a_wrong_key_holds_the_remote_with_sshs_message_logged_once() {
    let sshd = Sshd::start_with([127, 0, 0, 1].into(), "Banner /etc/passwd");
    let w = Setup { key: "stranger", ..Setup::of(&sshd) }.start(sshd);
    w.write("file", "x");
    let held = w.wait_remote(0, "the refused key", |r| r["state"] == "held");
    let reason = held["reason"].as_str().unwrap();
    assert!(reason.contains("Permission denied (publickey)"), "not in ssh's words: {held}");
    let key = fs::read(w.sshd.file("stranger.pub")).unwrap();
    let before = w.instance.log_text();
    // A push and a comparison may both have been under way.
    assert!(before.matches("Permission denied").count() <= 2, "{before}");
    fs::write(w.sshd.file("authorized"), key).unwrap();
    // Tried again every minute.
    w.wait_identical();
}

#[test]
fn a_killed_ssh_server_catches_up() {
    let mut w = World::start();
    populate(&w.master, 3, 3);
    w.wait_identical();
    w.joined();
    w.sshd.stop();
    w.write("dir000/file000", "changed");
    fs::remove_dir_all(w.at("dir001")).unwrap();
    let down = w.wait_remote(0, "trouble", |r| r["state"] == "backoff");
    println!("{}", down["reason"]);
    wait_for("more failures", DEADLINE, || {
        w.instance.status()["instances"][0]["localpaths"][0]["remotes"][0]["reason"]
            .as_str()
            .is_some_and(|r| r.contains("Connection refused"))
    });
    w.sshd.start_again();
    w.wait_identical();
    w.joined();
    w.probe();
}

#[test]
fn a_server_without_rsync_is_reported() {
    let sshd = Sshd::start();
    let params = "-a --rsync-path=/nowhere/rsync";
    let w = Setup { params, ..Setup::of(&sshd) }.start(sshd);
    w.write("file", "x");
    let held = w.wait_remote(0, "the missing program", |r| r["state"] == "held");
    assert!(held["reason"].as_str().unwrap().contains("/nowhere/rsync"), "{held}");
}

#[test]
fn the_trash_works_over_ssh() {
    let sshd = Sshd::start();
    let place = sshd.path().join(PLACE);
    fs::create_dir_all(&place).unwrap();
    let old = place.join(".syncsup-trash/2020-01-01T00:00:00.000000Z/a");
    write(&old, "old");
    let setup = Setup { settings: "trash: {}\n", places: vec![place.clone()], ..Setup::of(&sshd) };
    let w = setup.start(sshd);
    wait_for("the expiry", DEADLINE, || !old.parent().unwrap().exists());
    w.write("d/a*", "one");
    w.wait_identical();
    w.write("d/a*", "another");
    w.wait_identical();
    fs::remove_dir_all(w.at("d")).unwrap();
    w.wait_identical();
    let out = w.instance.command(&["undelete", "d", "--last"]);
    assert!(out.status.success(), "{out:?}");
    assert_eq!(fs::read_to_string(w.at("d/a*")).unwrap(), "another");
    w.wait_identical();
}

/// sersync's file with `<ssh start="true"/>`, and ssh's port where its users had to put it.
#[test]
fn sersyncs_own_file_works_with_ssh() {
    let sshd = Sshd::start();
    let dir = tempfile::tempdir().unwrap();
    let master = dir.path().join("master");
    fs::create_dir(&master).unwrap();
    let options = sshd.options("user").replace(['[', ']', ',', '"'], "");
    let shell = format!("-artuz -e 'ssh -p {} {options}'", sshd.port);
    let remote = format!("name=\"{}\"", sshd.path().display());
    let fail_log = dir.path().join("rsync_fail_log.sh").display().to_string();
    let mut text = CONFXML.to_owned();
    for (was, is) in [
        ("@MASTER@", master.to_str().unwrap()),
        ("@HOST_PORT@", "8008"),
        ("@FAIL_LOG@", &fail_log),
        ("name=\"tongbu1\"", &remote),
        ("-artuz", &shell),
        ("<ssh start=\"false\"/>", "<ssh start=\"true\"/>"),
        ("auth start=\"true\"", "auth start=\"false\""),
        (
            "userDefinedPort start=\"true\" port=\"@PORT@\"",
            "userDefinedPort start=\"false\" port=\"22\"",
        ),
    ] {
        assert!(text.contains(was), "{was}");
        text = text.replace(was, is);
    }
    write(&master.join("before/file"), "x");
    let mut instance = Instance::new(&dir.path().join("i"), "confxml.xml", &text);
    instance.start(&["-r"], &[&master]);
    let wait_same = |what: &str| {
        let names = |path: &Path| Tree::read(path).names();
        wait_for(what, DEADLINE, || names(&master) == names(&sshd.path()));
    };
    wait_same("the first copy");
    for name in names() {
        write(&master.join("d").join(name), "x");
    }
    wait_same("hostile names");
    write(&master.join("before/file"), "changed");
    wait_for("a change", DEADLINE, || {
        fs::read(sshd.path().join("before/file")).is_ok_and(|t| t == b"changed")
    });
    fs::remove_dir_all(master.join("d")).unwrap();
    fs::rename(master.join("before"), master.join("after")).unwrap();
    wait_same("deletions and renames");
    assert!(sshd.logins() > 0, "{}", sshd.log());
    assert!(!dir.path().join("PWNED").exists());
    assert!(instance.stop().success());
}
