//! The program, and the rsync at either end, are replaced while they work; while they are, the file may be missing.

use super::scene::{PLAIN, PROXIED, Scene};
use super::signals::{Role, pick};
use super::{Fault, Faults};
use crate::common::instance::Instance;
use crate::common::rsyncd::old_rsync;
use fastrand::Rng;
use nix::sys::signal::Signal;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Makes `path` an rsync: the ordinary one, or another release.
pub fn put_rsync(path: &Path, other: Option<&Path>) {
    let path_of = std::env::var_os("PATH").unwrap_or_default();
    let ordinary =
        std::env::split_paths(&path_of).map(|dir| dir.join("rsync")).find(|f| f.exists());
    let target = other.map(Path::to_owned).or(ordinary).expect("rsync is installed");
    let new = path.with_extension("new");
    let _ = fs::remove_file(&new);
    symlink(target, &new).and_then(|()| fs::rename(&new, path)).expect("a link to rsync");
}

/// By another process: a file that this one has written may still be open in a process that another test is starting, and
/// then it cannot be run.
pub fn copy_program(to: &Path) {
    let done = Command::new("cp").arg(Instance::program()).arg(to).status();
    assert!(done.is_ok_and(|status| status.success()), "a copy of the program");
}

/// A package manager's way: another file under the same name, then an orderly restart or none.
struct Program {
    missing: bool,
}

impl Fault for Program {
    fn name(&self) -> String {
        format!("upgrade of the program{}", if self.missing { ", missing for a while" } else { "" })
    }

    fn begin(&mut self, scene: &mut Scene, rng: &mut Rng) -> Option<String> {
        let restarted = rng.bool();
        // What is impossible now must not be half done: its end would never come.
        let supervisor = if restarted { Some(pick(scene, Role::Supervisor, rng)?) } else { None };
        if self.missing {
            let _ = fs::remove_file(&scene.program);
        } else {
            replace(&scene.program);
        }
        supervisor.iter().for_each(|supervisor| supervisor.signal(Signal::SIGTERM));
        Some(format!("restarted: {restarted}"))
    }

    fn end(&mut self, scene: &mut Scene) {
        replace(&scene.program);
    }
}

fn replace(program: &Path) {
    let new = program.with_extension("new");
    copy_program(&new);
    fs::rename(&new, program).expect("the new program");
}

/// The master's rsync is another release for a while, or missing.
struct Sender(Option<PathBuf>);

impl Fault for Sender {
    fn name(&self) -> String {
        match &self.0 {
            Some(other) => format!("the master's rsync is {}", other.display()),
            None => "the master's rsync is missing".to_owned(),
        }
    }

    fn begin(&mut self, scene: &mut Scene, _: &mut Rng) -> Option<String> {
        match &self.0 {
            Some(other) => put_rsync(&scene.rsync, Some(other)),
            None => fs::remove_file(&scene.rsync).ok()?,
        }
        Some("begun".to_owned())
    }

    fn end(&mut self, scene: &mut Scene) {
        put_rsync(&scene.rsync, None);
    }
}

/// A slave's daemon is another release for a while.
struct Receiver {
    slave: usize,
    other: PathBuf,
}

impl Receiver {
    fn change(&self, scene: &mut Scene, program: &Path) -> Option<()> {
        let daemon = &mut scene.world.remotes[self.slave];
        daemon.set_program(program);
        // One that is down takes it when it comes back.
        if daemon.is_up() {
            daemon.stop();
            daemon.start_again();
        }
        Some(())
    }
}

impl Fault for Receiver {
    fn name(&self) -> String {
        format!("the rsync of slave {} is {}", self.slave, self.other.display())
    }

    fn begin(&mut self, scene: &mut Scene, _: &mut Rng) -> Option<String> {
        let other = self.other.clone();
        self.change(scene, &other).map(|()| "begun".to_owned())
    }

    fn end(&mut self, scene: &mut Scene) {
        self.change(scene, "rsync".as_ref());
    }
}

/// All that are possible here.
pub fn faults(_: &Scene) -> Faults {
    let mut all: Faults = vec![
        Box::new(Program { missing: false }),
        Box::new(Program { missing: true }),
        Box::new(Sender(None)),
    ];
    match old_rsync() {
        Some(old) => {
            all.push(Box::new(Sender(Some(old.clone()))));
            for slave in [PROXIED, PLAIN] {
                all.push(Box::new(Receiver { slave, other: old.clone() }));
            }
        }
        None => println!("SKIPPED: another release of rsync: there is none in target/old-rsync"),
    }
    all
}
