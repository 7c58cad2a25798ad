//! What others own or can write is not obeyed: configurations, and the programs and password files that they name.

use crate::common::instance::Instance;
use crate::common::wait::{DEADLINE, wait_for};
use crate::common::world::{Setup, World};
use nix::unistd::geteuid;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

const NOBODY: u32 = 65_534;

/// A configuration whose rsync is a script that leaves a trace, in `/tmp`.
struct Trap {
    dir: TempDir,
}

impl Trap {
    fn new() -> Trap {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let trap = Trap { dir };
        for name in ["conf", "bin", "tree", "run"] {
            fs::create_dir(trap.at(name)).unwrap();
        }
        let script = format!("#!/bin/sh\n: >{}\n", trap.at("RAN").display());
        fs::write(trap.at("bin/rsync"), script).unwrap();
        trap.set("bin/rsync", 0o755);
        fs::write(trap.at("pw"), "secret\n").unwrap();
        trap.set("pw", 0o600);
        let text = format!(
            "rsync: {{program: {0:?}, auth: {{user: u, password_file: {1:?}}}}}\n\
             localpaths:\n  - {{watch: {2:?}, remotes: [\"127.0.0.1::m\"]}}\n",
            trap.at("bin/rsync"),
            trap.at("pw"),
            trap.at("tree")
        );
        fs::write(trap.at("conf/a.yaml"), text).unwrap();
        symlink("conf/a.yaml", trap.at("link.yaml")).unwrap();
        trap
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn set(&self, name: &str, mode: u32) {
        fs::set_permissions(self.at(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn give(&self, name: &str) {
        chown(self.at(name), Some(NOBODY), Some(NOBODY)).unwrap();
    }

    fn run(&self, args: &[&str], cwd: &Path) -> Output {
        let mut command = Command::new(Instance::program());
        command.arg("--state-dir").arg(self.at("state")).arg("--run-dir").arg(self.at("run"));
        command.args(args).current_dir(cwd).stdin(Stdio::null()).output().unwrap()
    }

    fn ran(&self) -> bool {
        self.at("RAN").exists()
    }
}

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

#[test]
fn files_that_others_can_write_are_refused_and_never_run() {
    if !geteuid().is_root() {
        eprintln!("SKIPPED: not root");
        return;
    }
    type Spoil = fn(&Trap);
    let cases: [(&str, &str, Spoil); 12] = [
        ("conf/a.yaml", "conf/a.yaml", |t| t.give("conf/a.yaml")),
        ("conf/a.yaml", "conf/a.yaml", |t| t.set("conf/a.yaml", 0o666)),
        ("conf/a.yaml", "conf", |t| t.give("conf")),
        ("conf/a.yaml", "conf", |t| t.set("conf", 0o777)),
        ("conf", "conf/a.yaml", |t| t.give("conf/a.yaml")),
        ("conf", "conf", |t| t.set("conf", 0o777)),
        ("link.yaml", "conf/a.yaml", |t| t.give("conf/a.yaml")),
        ("link.yaml", "link.yaml", |t| lchown(t.at("link.yaml"), Some(NOBODY), None).unwrap()),
        ("conf/a.yaml", "bin/rsync", |t| t.give("bin/rsync")),
        ("conf/a.yaml", "bin/rsync", |t| t.set("bin/rsync", 0o777)),
        ("conf/a.yaml", "bin", |t| t.set("bin", 0o777)),
        ("conf/a.yaml", "pw", |t| t.give("pw")),
    ];
    for (file, doubted, spoil) in cases {
        let trap = Trap::new();
        spoil(&trap);
        let (file, doubted) = (trap.at(file), trap.at(doubted));
        let how =
            [format!("chown 0 {}", doubted.display()), format!("chmod go-w {}", doubted.display())];
        for command in [&["check"][..], &["check", "--connect"], &["-r"], &["verify"]] {
            let out =
                trap.run(&[command, &["-o", file.to_str().unwrap()]].concat(), trap.dir.path());
            let text = said(&out);
            assert_eq!(out.status.code(), Some(2), "{command:?} {}: {text}", doubted.display());
            assert!(
                how.iter().any(|how| text.contains(how)),
                "{command:?} {}: {text}",
                doubted.display()
            );
            assert!(!trap.ran(), "{command:?} ran the program of {}", doubted.display());
        }
    }
}

#[test]
fn own_files_in_a_sticky_directory_are_used() {
    if !geteuid().is_root() {
        eprintln!("SKIPPED: not root");
        return;
    }
    let trap = Trap::new();
    trap.set("conf", 0o1777);
    // Only root's group can write it.
    trap.set("conf/a.yaml", 0o660);
    let out = trap.run(&["check", "-o", trap.at("link.yaml").to_str().unwrap()], trap.dir.path());
    assert!(trap.ran(), "{}", said(&out));
}

#[test]
fn a_confxml_of_another_user_in_roots_directory_is_ignored() {
    if !geteuid().is_root() {
        eprintln!("SKIPPED: not root");
        return;
    }
    let trap = Trap::new();
    let text = fs::read(trap.at("conf/a.yaml")).unwrap();
    // YAML is told from XML by what it says.
    fs::write(trap.at("conf/confxml.xml"), text).unwrap();
    trap.give("conf/confxml.xml");
    trap.give("conf");
    let out = trap.run(&["check"], &trap.at("conf"));
    assert_ne!(out.status.code(), Some(0));
    assert!(!trap.ran(), "{}", said(&out));
    assert!(said(&out).contains("belongs to user 65534"), "{}", said(&out));
    for name in ["conf", "conf/confxml.xml"] {
        chown(trap.at(name), Some(0), Some(0)).unwrap();
    }
    let out = trap.run(&["check"], &trap.at("conf"));
    assert!(trap.ran(), "{}", said(&out));
}

/// Every file and directory below, with its permission bits.
fn modes(dir: &Path) -> Vec<(PathBuf, bool, u32)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        // One that has gone meanwhile has no mode.
        let Ok(seen) = entry.metadata() else { continue };
        found.push((entry.path(), seen.is_dir(), seen.mode() & 0o777));
        if seen.is_dir() {
            found.extend(modes(&entry.path()));
        }
    }
    found
}

#[test]
fn state_is_private_and_plugin_commands_have_the_given_umask() {
    let mut w = Setup { log_rsyncs: true, ..Setup::default() }.build();
    let made = w.outside.join("made");
    let script = w.outside.join("plugin");
    fs::write(&script, format!("#!/bin/sh\n: >{}\n", made.display())).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let text = fs::read_to_string(w.instance.config()).unwrap();
    let plugins = format!("plugins: [{{command: {{prefix: {script:?}}}}}]\n");
    fs::write(w.instance.config(), plugins + &text).unwrap();
    w.instance.launcher = ["sh", "-c", "umask 027; exec \"$@\"", "sh"].map(Into::into).to_vec();
    w.run(&[]);
    w.write("a", "x");
    w.wait_identical();
    wait_for("the plugin", DEADLINE, || made.exists());
    assert_eq!(fs::metadata(&made).unwrap().mode() & 0o777, 0o640);
    let state = modes(&w.instance.state_dir());
    assert!(state.iter().any(|(path, ..)| path.ends_with("journal.db")));
    for (path, dir, mode) in state.into_iter().chain(modes(&w.instance.run_dir())) {
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}, directory: {dir}", path.display());
    }
}

#[test]
fn a_world_writable_state_directory_is_refused() {
    let trap = Trap::new();
    fs::write(trap.at("bin/rsync"), "#!/bin/sh\nexit 1\n").unwrap();
    for (option, name) in [("--state-dir", "state"), ("--run-dir", "shared")] {
        fs::create_dir_all(trap.at(name)).unwrap();
        trap.set(name, 0o1777);
        let config = trap.at("conf/a.yaml");
        let mut command = Command::new(Instance::program());
        command.arg("--no-sysctl");
        command.arg("--no-sysctl");
        let both = [("--state-dir", trap.at("own")), ("--run-dir", trap.at("run"))];
        for (known, dir) in both {
            command.arg(known).arg(if known == option { trap.at(name) } else { dir });
        }
        let out = command.args(["-d", "-o"]).arg(config).stdin(Stdio::null()).output().unwrap();
        assert_eq!(out.status.code(), Some(5), "{out:?}");
        let text = said(&out);
        assert!(
            text.contains("everybody can create files in it") && text.contains(option),
            "{text}"
        );
        assert_eq!(fs::metadata(trap.at(name)).unwrap().mode() & 0o7777, 0o1777);
    }
}

fn pusher_lock(w: &World) -> PathBuf {
    let found = modes(&w.instance.state_dir()).into_iter().map(|(path, ..)| path);
    let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    found.filter(|p| name(p).starts_with("pusher-")).find(|p| name(p).ends_with(".lock")).unwrap()
}

#[test]
fn a_backup_that_reads_or_locks_the_state_is_named_and_not_killed() {
    let mut w = World::start(1);
    w.write("a", "x");
    w.wait_identical();
    w.instance.stop();
    let lock = pusher_lock(&w);
    let run = |program: &str, words: &[&str]| {
        let mut command = Command::new(program);
        command.args(words).arg(&lock).args(["sleep", "1000"]).spawn().unwrap()
    };
    let mut reader = run("sh", &["-c", "exec 7<\"$0\"; exec \"$@\""]);
    let mut locks = run("flock", &["-F"]);
    wait_for("the lock", DEADLINE, || {
        fs::read_to_string(format!("/proc/{}/comm", locks.id())).is_ok_and(|name| name == "sleep\n")
    });
    w.write("b", "x");
    w.instance.launch(&[]);
    let said = format!("held by pid {}", locks.id());
    wait_for("its name in the log", DEADLINE, || w.instance.log_text().contains(&said));
    assert!(reader.try_wait().unwrap().is_none() && locks.try_wait().unwrap().is_none());
    locks.kill().unwrap();
    locks.wait().unwrap();
    w.wait_identical();
    assert!(reader.try_wait().unwrap().is_none());
    reader.kill().unwrap();
    reader.wait().unwrap();
}
