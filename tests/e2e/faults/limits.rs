//! Processes of the instance that may open nothing more, or have no more memory.

use super::scene::Scene;
use super::signals::{ROLES, Role, pick};
use super::{Fault, Faults};
use fastrand::Rng;
use std::fs;
use std::process::Command;

#[derive(Clone, Copy, Debug)]
enum Limit {
    Descriptors,
    Memory,
}

struct LimitFault {
    role: Role,
    limit: Limit,
}

/// Sets the soft limit of a process, which may have ended.
fn prlimit(pid: i32, limit: Limit, value: &str) -> bool {
    let name = match limit {
        Limit::Descriptors => "--nofile",
        Limit::Memory => "--as",
    };
    let mut command = Command::new("prlimit");
    command.arg("--pid").arg(pid.to_string()).arg(format!("{name}={value}:"));
    command.output().is_ok_and(|out| out.status.success())
}

/// What a process that starts has here.
fn ordinary(limit: Limit) -> String {
    match limit {
        Limit::Memory => "unlimited".to_owned(),
        Limit::Descriptors => {
            let (soft, _) =
                nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)
                    .expect("a limit");
            soft.to_string()
        }
    }
}

impl Fault for LimitFault {
    fn name(&self) -> String {
        format!("no more {:?} for the {:?}", self.limit, self.role)
    }

    fn begin(&mut self, scene: &mut Scene, rng: &mut Rng) -> Option<String> {
        let victim = pick(scene, self.role, rng)?;
        let value = match self.limit {
            Limit::Descriptors => {
                let open = fs::read_dir(format!("/proc/{}/fd", victim.pid)).ok()?;
                let numbers = open.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok());
                // The limit is the first number that is not given any more.
                numbers.max().unwrap_or(0u64) + 1 + rng.u64(0..2)
            }
            Limit::Memory => {
                let text = fs::read_to_string(format!("/proc/{}/statm", victim.pid)).ok()?;
                let pages: u64 = text.split(' ').next()?.parse().ok()?;
                pages * 4096 + rng.u64(0..2 << 20)
            }
        };
        prlimit(victim.pid, self.limit, &value.to_string())
            .then(|| format!("pid {}, at most {value}", victim.pid))
    }

    fn end(&mut self, scene: &mut Scene) {
        // What it started has its limits.
        for process in scene.world.instance.family() {
            prlimit(process.pid, self.limit, &ordinary(self.limit));
        }
    }
}

/// Each limit for each role of the instance.
pub fn faults() -> Faults {
    let mut all: Faults = Vec::new();
    for role in ROLES.into_iter().filter(|role| *role != Role::Receiver) {
        for limit in [Limit::Descriptors, Limit::Memory] {
            all.push(Box::new(LimitFault { role, limit }));
        }
    }
    all
}
