//! A machine of a test's own: a copy of this one's files that nothing is written back from, with systemd as its
//! process 1, or with nothing. The network is this machine's loopback, where the slaves are.

use crate::common::instance::Instance;
use crate::common::procs::Proc;
use crate::common::wait::{DEADLINE, poll};
use nix::sys::signal::Signal;
use nix::unistd::Uid;
use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, Weak};
use tempfile::TempDir;

const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");

/// A running machine. Everything in it ends with it.
pub struct Machine {
    unshare: Child,
    init: Proc,
    _scratch: TempDir,
}

impl Machine {
    /// Starts one that sees the directories `binds` of this machine as they are; `None`, said loudly, where that cannot
    /// be.
    pub fn boot(init: &str, binds: &[&Path]) -> Option<Machine> {
        let skipped = |why: &str| {
            eprintln!("SKIPPED: no machine of the test's own: {why}");
            None
        };
        if !Uid::effective().is_root() {
            return skipped("not root");
        }
        if init == "systemd" && !Path::new("/lib/systemd/systemd").exists() {
            return skipped("there is no systemd");
        }
        if !Path::new("/usr/bin/dpkg").exists() {
            return skipped("there is no dpkg");
        }
        let scratch = TempDir::with_prefix("syncsup-machine-").unwrap();
        let log = fs::File::create(scratch.path().with_extension("log")).unwrap();
        let mut command = Command::new("unshare");
        command.args(["-m", "-p", "-i", "-u", "-C", "--fork", "--kill-child", "--"]);
        command.arg(Path::new(REPOSITORY).join("tests/e2e/install/boot.sh"));
        command.arg(scratch.path()).arg(init).args(binds).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut unshare = command.spawn().unwrap();
        let children = format!("/proc/{0}/task/{0}/children", unshare.id());
        let up = poll(DEADLINE, || {
            if unshare.try_wait().unwrap().is_some() {
                return Some(None);
            }
            let child = fs::read_to_string(&children).ok()?.trim().parse().ok()?;
            let out =
                enter(child, &["sh", "-c", "test -e /run/booted || systemctl is-system-running"]);
            let up = out.status.success()
                || String::from_utf8_lossy(&out.stdout).starts_with("degraded");
            up.then(|| Proc::read(child))
        });
        let said = fs::read_to_string(scratch.path().with_extension("log")).unwrap_or_default();
        let _ = fs::remove_file(scratch.path().with_extension("log"));
        match up.flatten() {
            Some(init) => Some(Machine { unshare, init, _scratch: scratch }),
            None => {
                let _ = unshare.kill();
                let _ = unshare.wait();
                skipped(&said)
            }
        }
    }

    /// Runs a command in it to its end.
    pub fn runs(&self, line: &str) -> Output {
        enter(self.init.pid, &["sh", "-c", line])
    }

    /// Runs a command that must succeed; gives what it printed.
    #[track_caller]
    pub fn does(&self, line: &str) -> String {
        let out = self.runs(line);
        assert!(out.status.success(), "{line}: {out:?}");
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    }

    /// Writes a file in it.
    pub fn writes(&self, path: &str, text: &str) {
        let mut child = command(self.init.pid, &["tee", path])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "cannot write {path}");
    }

    /// How many processes run in it.
    pub fn processes(&self) -> usize {
        let all = crate::common::procs::descendants(self.unshare.id() as i32);
        all.iter().filter(|p| p.state != 'Z').count()
    }

    /// Installs the package.
    pub fn installs(&self, package: &Package) {
        // What it depends on is there, if not as a package.
        self.does(&format!("dpkg --no-triggers --force-depends -i {}", package.path.display()));
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The end of process 1 is the end of all.
        self.init.signal(Signal::SIGKILL);
        let _ = self.unshare.wait();
        // A systemd of this machine's own takes away what that one has left in the control groups.
        if !Path::new("/run/systemd/system").exists() {
            let hierarchies = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
            let roots = hierarchies.map(|e| e.path()).chain(["/sys/fs/cgroup".into()]);
            for root in roots {
                ["init.scope", "system.slice"]
                    .iter()
                    .for_each(|name| forget_groups(&root.join(name)));
            }
        }
    }
}

/// Removes control groups without processes.
fn forget_groups(group: &Path) {
    for below in fs::read_dir(group).into_iter().flatten().flatten() {
        if below.file_type().is_ok_and(|t| t.is_dir()) {
            forget_groups(&below.path());
        }
    }
    // One that another test's machine uses stays.
    let _ = fs::remove_dir(group);
}

fn command(pid: i32, words: &[&str]) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["-t", &pid.to_string(), "-m", "-p", "-i", "-u", "-C", "--"]).args(words);
    command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command.env("HOME", "/root").env("LC_ALL", "C.UTF-8");
    command
}

fn enter(pid: i32, words: &[&str]) -> Output {
    command(pid, words).stdin(Stdio::null()).output().unwrap()
}

/// A .deb: the one that SYNCSUP_TEST_DEB names, as `make deb` makes it; or one that `debian/rules` makes here of the
/// tested program.
pub struct Package {
    path: PathBuf,
    dir: TempDir,
}

impl Package {
    /// The one that another test uses now, or a new one. `None`, said loudly, where there is no debhelper.
    pub fn make() -> Option<Arc<Package>> {
        static IN_USE: Mutex<Weak<Package>> = Mutex::new(Weak::new());
        let mut in_use = IN_USE.lock().unwrap();
        let package = in_use.upgrade().or_else(|| Package::made().map(Arc::new))?;
        *in_use = Arc::downgrade(&package);
        Some(package)
    }

    fn made() -> Option<Package> {
        let dir = TempDir::with_prefix("syncsup-deb-").unwrap();
        let path = dir.path().join("syncsup.deb");
        if let Some(given) = std::env::var_os("SYNCSUP_TEST_DEB") {
            fs::copy(given, &path).unwrap();
            return Some(Package { path, dir });
        }
        // A copy of the sources, since debhelper works in them.
        let sources = dir.path().join("sources");
        fs::create_dir(&sources).unwrap();
        let all = fs::read_dir(REPOSITORY).unwrap().map(|e| e.unwrap().path());
        let wanted = all.filter(|p| !p.ends_with("target") && !p.ends_with(".git"));
        let copied = Command::new("cp").arg("-a").args(wanted).arg(&sources).output().unwrap();
        assert!(copied.status.success(), "{copied:?}");
        let debhelper = |program: &Path, words: &[&str]| {
            let mut command = Command::new(program);
            command.args(words).current_dir(&sources).env("DEB_RULES_REQUIRES_ROOT", "no");
            // Of the make that runs the tests.
            command.env_remove("MAKEFLAGS").env_remove("MAKELEVEL");
            command.output()
        };
        // What an earlier build has left.
        let Ok(cleaned) = debhelper(Path::new("dh_clean"), &[]) else {
            eprintln!("SKIPPED: there is no debhelper");
            return None;
        };
        assert!(cleaned.status.success(), "{cleaned:?}");
        let program = format!("BINARY={}", stripped(dir.path()).display());
        let debs = format!("DEBS={}", dir.path().display());
        let words = ["binary", &program, &debs, "COMPRESSION=gzip"];
        let made = debhelper(&sources.join("debian/rules"), &words).unwrap();
        assert!(made.status.success(), "{made:?}");
        let found = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path());
        let made = found.into_iter().find(|p| p.extension() == Some("deb".as_ref())).unwrap();
        fs::rename(made, &path).unwrap();
        fs::remove_dir_all(sources).unwrap();
        Some(Package { path, dir })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where it lies; a machine must see it.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

/// A copy of the tested program without its symbols, in `scratch`.
fn stripped(scratch: &Path) -> PathBuf {
    let program = scratch.join("syncsup");
    let done = Command::new("strip").arg("-o").arg(&program).arg(Instance::program()).status();
    if !done.is_ok_and(|s| s.success()) {
        fs::copy(Instance::program(), &program).unwrap();
    }
    program
}

/// `make install` of the tested program below `root`; `scratch` is for intermediate files.
pub fn staged(root: &Path, words: &[&str], scratch: &Path) {
    make("install", root, words, &stripped(scratch));
}

/// `make TARGET` with this program.
pub fn make(target: &str, root: &Path, words: &[&str], program: &Path) {
    let mut make = Command::new("make");
    make.args(["-s", "-C", REPOSITORY, target]).args(words);
    make.arg(format!("DESTDIR={}", root.display())).arg(format!("BINARY={}", program.display()));
    // Of the make that runs the tests.
    make.env_remove("MAKEFLAGS").env_remove("MAKELEVEL");
    let out = make.output().unwrap();
    assert!(out.status.success(), "{out:?}");
}
