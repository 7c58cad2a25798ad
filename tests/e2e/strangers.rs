//! What others own or can write is not obeyed: configurations, and the programs and password files that they name.

use crate::common::instance::Instance;
use nix::unistd::geteuid;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
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
fn what_others_own_or_can_write_is_refused_and_nothing_of_it_runs() {
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
fn what_is_ours_is_used_in_a_directory_with_a_sticky_bit_too() {
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
fn a_confxml_of_somebody_else_where_root_stands_is_passed_over() {
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
