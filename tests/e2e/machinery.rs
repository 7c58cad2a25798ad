//! The machinery of these tests, proven without syncsup.

use crate::common::churn::{Churn, HOSTILE, LONG, Plan, Work, old_time};
use crate::common::namespace::{Mounted, with_private_mounts};
use crate::common::procs::{self, Proc};
use crate::common::rsyncd::{Options, Rsyncd, old_rsync};
use crate::common::tree::{Tree, identical};
use crate::common::wait::{DEADLINE, holds_for, wait_for};
use crate::common::world::{populate, write};
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;
use tempfile::TempDir;

fn temp() -> TempDir {
    TempDir::with_prefix("syncsup-test-").unwrap()
}

/// A bare rsync of the whole tree, which makes the slave equal.
fn copy(from: &Path, to: &Rsyncd) -> Output {
    Command::new("rsync")
        .args([
            "-a",
            "--delete",
            "--force",
            "--modify-window=-1",
            "--checksum",
            "--timeout=5",
            "--contimeout=5",
        ])
        .arg("--password-file")
        .arg(to.password_file())
        .arg(format!("{}/", from.display()))
        .arg(format!("rsync://rsync_backup@127.0.0.1:{}/www/", to.port))
        .output()
        .unwrap()
}

#[test]
fn the_test_daemon_accepts_files_stops_hangs_and_asks_for_a_password() {
    let master = temp();
    populate(master.path(), 2, 3);
    let mut slave = Rsyncd::start_with(&["www"], Options { auth: true, ..Options::default() });
    let first = copy(master.path(), &slave);
    assert!(first.status.success(), "{first:?} {}", slave.log());
    assert!(identical(master.path(), &slave.path()));
    assert!(slave.yaml("").contains("password_file"));

    slave.stop();
    assert_eq!(copy(master.path(), &slave).status.code(), Some(10));
    slave.start_again();
    write(&master.path().join("later"), "x");
    assert!(copy(master.path(), &slave).status.success());
    assert!(identical(master.path(), &slave.path()));

    slave.hang();
    let hung = copy(master.path(), &slave);
    assert!(matches!(hung.status.code(), Some(30 | 35)), "{hung:?}");
    slave.resume();
    assert!(copy(master.path(), &slave).status.success());

    fs::write(slave.password_file(), "wrong\n").unwrap();
    assert_eq!(copy(master.path(), &slave).status.code(), Some(5));
}

#[test]
fn the_test_daemon_has_module_options_and_further_modules() {
    let options = Options { module_lines: "read only = yes\n".into(), ..Options::default() };
    let slave = Rsyncd::start_with(&["www", "bbs"], options);
    assert!(slave.module("bbs").is_dir());
    let master = temp();
    write(&master.path().join("f"), "x");
    assert_eq!(copy(master.path(), &slave).status.code(), Some(1));
}

#[test]
fn the_old_receiver_is_broken_as_expected() {
    let Some(program) = old_rsync() else {
        eprintln!("SKIPPED: no old rsync (SYNCSUP_TEST_OLD_RSYNC)");
        return;
    };
    let slave = Rsyncd::start_with(&["www"], Options { program, ..Options::default() });
    let master = temp();
    write(&master.path().join("d/x"), "x");
    assert!(copy(master.path(), &slave).status.success());
    fs::write(master.path().join("list"), "/d/gone\n").unwrap();
    let out = Command::new("rsync")
        .args(["-a", "--delete-missing-args", "--files-from"])
        .arg(master.path().join("list"))
        .arg(master.path())
        .arg(format!("rsync://127.0.0.1:{}/www/", slave.port))
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(2), "{out:?}");
    assert!(String::from_utf8_lossy(&out.stderr).contains("invalid file mode 00"), "{out:?}");
}

/// Two equal trees with one of everything.
fn twins() -> (TempDir, TempDir) {
    let (a, b) = (temp(), temp());
    let at = |name: &str| a.path().join(name);
    write(&at("d/file"), "content");
    write(&at("plain"), "content");
    symlink("target", at("link")).unwrap();
    nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    fs::create_dir(at("empty")).unwrap();
    for name in ["d/file", "plain", "d", "empty"] {
        File::open(at(name)).unwrap().set_times(old_time(0)).unwrap();
    }
    let out = Command::new("cp").arg("-a").arg(a.path().join(".")).arg(b.path()).output().unwrap();
    assert!(out.status.success(), "{out:?}");
    (a, b)
}

#[test]
fn the_tree_comparison_sees_every_kind_of_difference() {
    type Change = fn(&Path);
    let changes: &[(&str, Change)] = &[
        ("content", |d| {
            fs::write(d.join("plain"), "CONTENT").unwrap();
            File::open(d.join("plain")).unwrap().set_times(old_time(0)).unwrap();
        }),
        ("mtime", |d| File::open(d.join("plain")).unwrap().set_times(old_time(1)).unwrap()),
        ("mtime of a directory", |d| {
            File::open(d.join("empty")).unwrap().set_times(old_time(1)).unwrap()
        }),
        ("mode", |d| fs::set_permissions(d.join("plain"), Permissions::from_mode(0o640)).unwrap()),
        ("mode of a directory", |d| {
            fs::set_permissions(d.join("empty"), Permissions::from_mode(0o700)).unwrap()
        }),
        ("missing", |d| fs::remove_file(d.join("plain")).unwrap()),
        ("extra", |d| fs::write(d.join("new\nname"), "").unwrap()),
        ("type", |d| {
            fs::remove_dir(d.join("empty")).unwrap();
            fs::write(d.join("empty"), "").unwrap();
        }),
        ("target", |d| {
            fs::remove_file(d.join("link")).unwrap();
            symlink("elsewhere", d.join("link")).unwrap();
        }),
        ("fifo", |d| fs::remove_file(d.join("fifo")).unwrap()),
    ];
    for (what, change) in changes {
        let (a, b) = twins();
        assert!(
            identical(a.path(), b.path()),
            "{:?}",
            Tree::read(a.path()).diff(&Tree::read(b.path()))
        );
        change(b.path());
        assert!(!identical(a.path(), b.path()), "{what}");
        let lines = Tree::read(a.path()).diff(&Tree::read(b.path()));
        assert!(!lines.is_empty() && lines.iter().all(|l| !l.contains('\n')), "{what}: {lines:?}");
    }
}

#[test]
fn most_churn_operations_succeed_and_rsync_can_copy_the_result() {
    let (dir, slave) = (temp(), Rsyncd::start());
    let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
    fs::create_dir(&root).unwrap();
    fs::create_dir(&outside).unwrap();
    let plan = Plan { root: root.clone(), outside, dirs: 60, rate: 1_000, sets_times: true };
    let mut work = Work::new(plan.clone(), 7);
    work.fill();
    let done = (0..2_000).filter(|_| work.step()).count();
    assert!(done > 600, "only {done} of 2,000 operations were possible");
    assert!(Tree::read(&root).len() > 100);

    let churn = Churn::start(plan);
    wait_for("churn", DEADLINE, || churn.done() > 50);
    assert!(churn.stop() > 50);
    let out = copy(&root, &slave);
    assert!(out.status.success(), "{out:?}");
    assert!(
        identical(&root, &slave.path()),
        "{:?}",
        Tree::read(&root).diff(&Tree::read(&slave.path()))
    );
}

#[test]
fn the_file_system_accepts_hostile_names() {
    let dir = temp();
    for name in HOSTILE.iter().chain([&LONG]) {
        fs::write(dir.path().join(OsStr::from_bytes(name)), "x").unwrap();
    }
    assert_eq!(Tree::read(dir.path()).len(), HOSTILE.len() + 1);
}

#[test]
fn processes_are_found_by_parent_and_by_environment() {
    let mark = format!("{:016x}", fastrand::u64(..));
    let mut shell = Command::new("sh")
        .args(["-c", "sleep 50 & sleep 50 & wait"])
        .env("SYNCSUP_TEST_SELF", &mark)
        .spawn()
        .unwrap();
    let variable = format!("SYNCSUP_TEST_SELF={mark}");
    wait_for("both children", DEADLINE, || {
        procs::descendants(shell.id() as i32).iter().filter(|p| p.command == "sleep 50").count()
            == 2
    });
    let head = Proc::read(shell.id() as i32).unwrap();
    assert!(head.runs() && procs::marked(&variable).len() == 3);
    head.signal(nix::sys::signal::Signal::SIGKILL);
    shell.wait().unwrap();
    let orphans = procs::marked(&variable);
    assert_eq!(orphans.len(), 2, "{orphans:?}");
    orphans.iter().for_each(|p| p.signal(nix::sys::signal::Signal::SIGKILL));
    wait_for("their end", DEADLINE, || procs::marked(&variable).is_empty());
    holds_for("no process is restarted", Duration::from_millis(50), || !head.runs());
}

#[test]
fn private_mounts_are_invisible_to_other_processes() {
    let dir = temp();
    let path = dir.path().to_owned();
    with_private_mounts(move || {
        let _mounted = Mounted::tmpfs(&path);
        fs::write(path.join("inside"), "x").unwrap();
        let seen = Command::new("ls").arg(&path).output().unwrap();
        assert_eq!(seen.stdout, b"inside\n");
    });
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
