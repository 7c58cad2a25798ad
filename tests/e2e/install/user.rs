//! A user without root, with nothing but a home: start, status, stop, and everything between.

use crate::common::instance::Instance;
use crate::common::procs::{self, Proc};
use crate::common::rsyncd::{Options, Rsyncd};
use crate::common::tree;
use crate::common::wait::{DEADLINE, poll, wait_for};
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, chown};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// The user `nobody`: it owns nothing.
const NOBODY: u32 = 65_534;

/// A home and its user.
struct User {
    home: TempDir,
    program: PathBuf,
    mark: String,
}

impl User {
    fn new() -> User {
        let home = TempDir::with_prefix("syncsup-home-").unwrap();
        chown(home.path(), Some(Uid::from_raw(NOBODY)), Some(Gid::from_raw(NOBODY))).unwrap();
        // Where the program was built need not be readable for others.
        let program = home.path().join("syncsup");
        fs::copy(Instance::program(), &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        User { home, program, mark: format!("SYNCSUP_TEST_ID=user-{:016x}", fastrand::u64(..)) }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.home.path().join(path)
    }

    /// A program of this user's, in its home, with an environment of its own.
    fn runs(&self, program: &Path, args: &[&str]) -> Output {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs", "--"]);
        command.arg(program).args(args);
        let (name, value) = self.mark.split_once('=').unwrap();
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.home.path()).env(name, value).current_dir(self.home.path());
        command.stdin(Stdio::null()).output().unwrap()
    }

    /// syncsup with the words of a user, and nothing about directories.
    fn syncsup(&self, words: &str) -> Output {
        let words: Vec<&str> = words.split(' ').collect();
        self.runs(&self.program, &words)
    }

    #[track_caller]
    fn succeeds(&self, words: &str) -> String {
        let out = self.syncsup(words);
        assert!(out.status.success(), "{words}: {out:?}");
        String::from_utf8_lossy(&out.stdout).into_owned()
    }
}

impl Drop for User {
    fn drop(&mut self) {
        procs::marked(&self.mark).iter().for_each(|p: &Proc| p.signal(Signal::SIGKILL));
    }
}

#[test]
fn a_user_can_run_it_below_their_home() {
    if !Uid::effective().is_root() {
        eprintln!("SKIPPED: only root can become another user");
        return;
    }
    let user = User::new();
    let slave = Rsyncd::start_with(
        &["www"],
        Options { module_lines: "read only = no\n".into(), ..Options::default() },
    );
    let script = format!(
        "set -e; umask 022; mkdir data; echo one >data/one; \
         printf 'localpaths:\\n  - {{watch: %s/data, remotes: [%s]}}\\n' \"$PWD\" '{}' >syncsup.yaml",
        slave.yaml("")
    );
    let made = user.runs(Path::new("sh"), &["-c", &script]);
    assert!(made.status.success(), "{made:?}");

    user.succeeds("check -o syncsup.yaml");
    user.succeeds("-d -o syncsup.yaml");
    let identical = || tree::identical(&user.at("data"), &slave.path());
    wait_for("the first copy", DEADLINE, identical);
    user.runs(Path::new("sh"), &["-c", "mkdir data/d && echo two >data/d/two && rm data/one"]);
    wait_for("a change", DEADLINE, identical);
    let in_sync = poll(DEADLINE, || user.syncsup("status").status.success().then_some(()));
    assert!(in_sync.is_some(), "{:?}", user.syncsup("status"));
    user.succeeds("wait data");
    user.succeeds("sync");
    user.succeeds("verify --checksum");
    user.succeeds("journal");
    user.succeeds("reload -o syncsup.yaml");

    // Everything is where the manual says, this user's, and closed to others.
    let run = PathBuf::from(format!("/tmp/syncsup-{NOBODY}"));
    for dir in [user.at(".local/state/syncsup"), run.clone()] {
        let seen = fs::metadata(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
        assert_eq!((seen.uid(), seen.mode() & 0o777), (NOBODY, 0o700), "{}", dir.display());
    }
    let all = procs::marked(&user.mark);
    assert!(all.len() >= 3, "{all:?}");
    for process in &all {
        let status =
            fs::read_to_string(format!("/proc/{}/status", process.pid)).unwrap_or_default();
        let uids = status.lines().find_map(|l| l.strip_prefix("Uid:")).unwrap_or_default();
        assert!(uids.split_whitespace().all(|uid| uid == "65534"), "{process:?}: {uids}");
    }

    user.succeeds("stop");
    assert_eq!(user.syncsup("status").status.code(), Some(3));
    wait_for("the end of all", DEADLINE, || procs::marked(&user.mark).is_empty());
    // The lock, which stays.
    let _ = fs::remove_dir_all(run);
}
