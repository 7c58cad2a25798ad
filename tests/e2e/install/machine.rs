//! A machine of a test's own: a copy of this one's files that nothing is written back from, with systemd as its
//! process 1, or with nothing. The network is this machine's loopback, where the slaves are.

use crate::common::instance::Instance;
use crate::common::procs::Proc;
use crate::common::wait::{DEADLINE, poll};
use nix::sys::signal::Signal;
use nix::unistd::Uid;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
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

/// A .deb: the one that SYNCSUP_TEST_DEB names, as `make deb` makes it; or one that `dpkg-deb` makes here of the tested
/// program and of what `make install` installs.
pub struct Package {
    path: PathBuf,
    dir: TempDir,
}

impl Package {
    /// Makes it. `None` where there is no dpkg-deb.
    pub fn make() -> Option<Package> {
        let dir = TempDir::with_prefix("syncsup-deb-").unwrap();
        if let Some(given) = std::env::var_os("SYNCSUP_TEST_DEB") {
            let path = dir.path().join("syncsup.deb");
            fs::copy(given, &path).unwrap();
            return Some(Package { path, dir });
        }
        let root = dir.path().join("root");
        staged(&root, &["INIT=sysv", "PREFIX=/usr"], dir.path());
        let meta = root.join("DEBIAN");
        fs::create_dir(&meta).unwrap();
        for script in ["postinst", "prerm", "postrm"] {
            fs::copy(Path::new(REPOSITORY).join("units/package").join(script), meta.join(script))
                .unwrap();
        }
        let control = "Package: syncsup\nVersion: 0.1.0\nArchitecture: all\nMaintainer: a test <test@localhost>\n\
                       Depends: rsync (>= 3.1.0)\nDescription: for a test\n";
        fs::write(meta.join("control"), control).unwrap();
        let conffiles =
            "/etc/init.d/syncsup\n/etc/logrotate.d/syncsup\n/etc/syncsup/conf.d/README\n";
        fs::write(meta.join("conffiles"), conffiles).unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
        let path = dir.path().join("syncsup.deb");
        let made = Command::new("dpkg-deb")
            .args(["--root-owner-group", "-Zgzip", "-z1", "--build"])
            .args([&root, &path])
            .output();
        let Ok(made) = made else {
            eprintln!("SKIPPED: there is no dpkg-deb");
            return None;
        };
        assert!(made.status.success(), "{made:?}");
        Some(Package { path, dir })
    }

    /// Where it lies; a machine must see it.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

/// `make install` of the tested program, stripped, below `root`; `scratch` is for intermediate files.
pub fn staged(root: &Path, words: &[&str], scratch: &Path) {
    let program = scratch.join("syncsup");
    let stripped = Command::new("strip").arg("-o").arg(&program).arg(Instance::program()).status();
    if !stripped.is_ok_and(|s| s.success()) {
        fs::copy(Instance::program(), &program).unwrap();
    }
    make("install", root, words, &program);
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
