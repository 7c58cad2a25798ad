//! The kernel's limits, and the messages at the start. The files below /proc/sys are the test's own: bound over the
//! real ones in private mounts.

use crate::common::instance::Instance;
use crate::common::namespace::{Mounted, with_private_mounts};
use crate::common::wait::{DEADLINE, wait_for};
use crate::common::world::{Setup, World};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const NAMES: [&str; 3] = ["max_user_watches", "max_queued_events", "max_user_instances"];

/// Files of the test's own in place of the kernel's three.
struct Limits {
    dir: PathBuf,
    _mounts: Vec<Mounted>,
}

impl Limits {
    fn low(dir: &Path) -> Limits {
        let dir = dir.join("limits");
        fs::create_dir(&dir).unwrap();
        let mounts = NAMES.iter().map(|name| {
            fs::write(dir.join(name), "100\n").unwrap();
            Mounted::bind(&dir.join(name), &Path::new("/proc/sys/fs/inotify").join(name))
        });
        let mounts = mounts.collect();
        Limits { dir, _mounts: mounts }
    }

    fn now(&self) -> [u64; 3] {
        NAMES.map(|name| fs::read_to_string(self.dir.join(name)).unwrap().trim().parse().unwrap())
    }
}

/// A command line of the instance without the `--no-sysctl` that tests have.
fn raising(w: &World, args: &[&str]) -> Command {
    let mut command = Command::new(Instance::program());
    command.arg("--state-dir").arg(w.instance.state_dir());
    command.arg("--run-dir").arg(w.instance.run_dir()).args(args);
    command.arg("-o").arg(w.instance.config());
    command
}

#[test]
fn limits_are_only_raised_at_the_start() {
    with_private_mounts(|| {
        let mut w = Setup::default().build();
        let limits = Limits::low(&w.outside);
        fs::write(limits.dir.join("max_user_watches"), "60000000\n").unwrap();
        let out = raising(&w, &["-d"]).output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(out.status.success(), "{out:?}");
        assert_eq!(limits.now(), [60_000_000, 327_679, 129]);
        let line = "set the system param: fs.inotify.max_queued_events 100 -> 327679, \
                    fs.inotify.max_user_instances 100 -> 129";
        assert!(text.lines().any(|l| l == line), "{text}");
        assert!(w.instance.log_text().contains("use --no-sysctl to prevent this"));
        w.write("file", "x");
        w.wait_identical();
        w.instance.stop();
        // Nothing is too low now, so nothing is said.
        let out = raising(&w, &["-d"]).output().unwrap();
        assert!(!String::from_utf8_lossy(&out.stdout).contains("set the system param"), "{out:?}");
        w.instance.stop();
    });
}

#[test]
fn limits_are_left_alone_on_request() {
    with_private_mounts(|| {
        let mut w = Setup { settings: "sysctl: false\n", ..Setup::default() }.build();
        let limits = Limits::low(&w.outside);
        let before = limits.now();
        for args in [&["-d"][..], &["-d", "--no-sysctl"]] {
            let out = raising(&w, args).output().unwrap();
            assert!(out.status.success(), "{out:?}");
            w.instance.stop();
            // The second time only the option says it.
            let text = fs::read_to_string(w.instance.config()).unwrap();
            fs::write(w.instance.config(), text.replace("sysctl: false", "")).unwrap();
            assert_eq!(limits.now(), before, "{args:?}");
        }
    });
}

/// A user other than root may not, and does not even try.
#[test]
fn a_user_other_than_root_leaves_limits_alone() {
    with_private_mounts(|| {
        use std::os::unix::process::CommandExt;
        let nobody = 65_534;
        let dir = tempfile::TempDir::with_prefix("syncsup-test-").unwrap();
        let limits = Limits::low(dir.path());
        let (master, config) = (dir.path().join("master"), dir.path().join("c.yaml"));
        fs::create_dir(&master).unwrap();
        let text = format!("localpaths: [{{watch: {master:?}, remotes: ['127.0.0.1:1::m']}}]\n");
        fs::write(&config, text).unwrap();
        // It could write them: they are files of its own.
        let limits_files = NAMES.map(|name| limits.dir.join(name));
        for path in [dir.path(), &master, &config]
            .into_iter()
            .chain(limits_files.iter().map(PathBuf::as_path))
        {
            std::os::unix::fs::chown(path, Some(nobody), Some(nobody)).unwrap();
        }
        let run = |args: &[&str]| {
            let mut command = Command::new(Instance::program());
            command.args(["--state-dir"]).arg(dir.path().join("state"));
            command.args(["--run-dir"]).arg(dir.path().join("run"));
            command.args(args).arg("-o").arg(&config);
            command.uid(nobody).gid(nobody).current_dir("/").output().unwrap()
        };
        let started = run(&["-d"]);
        let stopped = run(&["stop"]);
        assert!(started.status.success() && stopped.status.success(), "{started:?} {stopped:?}");
        assert_eq!(limits.now(), [100; 3]);
        assert!(!String::from_utf8_lossy(&started.stdout).contains("set the system param"));
    });
}

/// As in a container.
#[test]
fn a_read_only_proc_sys_is_reported_without_failing() {
    with_private_mounts(|| {
        let mut w = Setup::default().build();
        let limits = Limits::low(&w.outside);
        for name in NAMES {
            let at = Path::new("/proc/sys/fs/inotify").join(name);
            let flags = nix::mount::MsFlags::MS_BIND
                | nix::mount::MsFlags::MS_REMOUNT
                | nix::mount::MsFlags::MS_RDONLY;
            nix::mount::mount(None::<&str>, &at, None::<&str>, flags, None::<&str>).unwrap();
        }
        let out = raising(&w, &["-d"]).output().unwrap();
        assert!(out.status.success(), "{out:?}");
        assert_eq!(limits.now(), [100; 3]);
        let log = w.instance.log_text();
        let said =
            "max_queued_events remains 100 instead of 327679 (Read-only file system (os error 30))";
        assert_eq!(log.matches(said).count(), 1, "{log}");
        w.write("file", "x");
        w.wait_identical();
        w.instance.stop();
    });
}

#[test]
fn the_banner_has_sersyncs_words() {
    let mut w = Setup {
        daemon: crate::common::rsyncd::Options { auth: true, ..Default::default() },
        ..Setup::default()
    }
    .build();
    let out = w.instance.command(&["-d", "-r", "-n", "7"]);
    assert!(out.status.success(), "{out:?}");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let wanted = [
        "option: -r \trsync all the local files to the remote servers before the sersync work"
            .to_owned(),
        format!("option: -o \tconfig xml name：  {}", w.instance.config().display()),
        "daemon thread num: 7".to_owned(),
        format!("user is\t{}", crate::common::rsyncd::USER),
        format!("passwordfile is \t{}", w.remotes[0].password_file().display()),
        "config xml parse success".to_owned(),
        format!("watch path is: {}", w.master.display()),
    ];
    let said: Vec<&str> = text.lines().collect();
    assert_eq!(said[..wanted.len()], wanted, "{text}");
    assert!(said[wanted.len()].starts_with("syncsup runs as a daemon"), "{text}");
    w.instance.stop();
    // In the foreground the same lines come before the first `watching`.
    w.instance.launch(&[]);
    let out = w.instance.config().with_file_name("out.1");
    let last = format!("watching {}", w.master.display());
    wait_for("watching", DEADLINE, || {
        fs::read_to_string(&out).is_ok_and(|t| t.lines().any(|l| l == last))
    });
    let text = fs::read_to_string(&out).unwrap();
    let parsed = text.find("config xml parse success").expect(&text);
    assert!(parsed < text.find(&last).unwrap(), "{text}");
}

/// `debug` shows each event, what it marked, and the rsync that pushed it.
#[test]
fn debug_shows_events_marks_and_command_lines() {
    let w = Setup { settings: "debug: true\n", ..Setup::default() }.start();
    w.write("shown", "x");
    w.wait_identical();
    let has =
        |words: &[&str]| w.instance.log_text().lines().any(|l| words.iter().all(|w| l.contains(w)));
    wait_for("the event, the mark and the command line", DEADLINE, || {
        has(&["event", "shown"])
            && has(&["mark", "shown"])
            && has(&["rsync", "command:", "--files-from"])
    });
}
