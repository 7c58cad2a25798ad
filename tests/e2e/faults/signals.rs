//! SIGKILL, and SIGSTOP for a while, to every process of the instance and of the slaves.

use super::scene::{PLAIN, PROXIED, Scene};
use super::{Fault, Faults};
use crate::common::procs::Proc;
use fastrand::Rng;
use nix::sys::signal::Signal;

/// Who is hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Supervisor,
    Watcher,
    Pusher,
    /// The rsync of a push or a comparison.
    Rsync,
    Standby,
    Reporter,
    PluginRunner,
    /// A process of a slave's rsync daemon.
    Receiver,
}

pub const ROLES: [Role; 8] = [
    Role::Supervisor,
    Role::Watcher,
    Role::Pusher,
    Role::Rsync,
    Role::Standby,
    Role::Reporter,
    Role::PluginRunner,
    Role::Receiver,
];

/// One process of this role, where there is one.
pub fn pick(scene: &Scene, role: Role, rng: &mut Rng) -> Option<Proc> {
    let instance = &scene.world.instance;
    let named = |argv0: &str| {
        let mut found = instance.family();
        found.retain(|p| p.state != 'Z' && p.command.starts_with(argv0));
        found
    };
    let mut found = match role {
        Role::Supervisor => instance.family().into_iter().take(1).collect(),
        Role::Watcher => instance.watchers(),
        Role::Pusher => instance.pushers(),
        Role::Rsync => instance.rsyncs(),
        Role::Standby => instance.standbys(),
        Role::Reporter => named("syncsup: reporter "),
        Role::PluginRunner => named("syncsup: plugin runner "),
        Role::Receiver => {
            let up = scene.world.remotes.iter().filter(|r| r.is_up());
            up.flat_map(|r| r.transfers()).collect()
        }
    };
    found.retain(Proc::runs);
    (!found.is_empty()).then(|| found.swap_remove(rng.usize(..found.len())))
}

/// SIGKILL to a process.
pub struct Kill(pub Role);

impl Fault for Kill {
    fn name(&self) -> String {
        format!("kill {:?}", self.0)
    }

    fn begin(&mut self, scene: &mut Scene, rng: &mut Rng) -> Option<String> {
        let victim = pick(scene, self.0, rng)?;
        victim.signal(Signal::SIGKILL);
        Some(format!("pid {}", victim.pid))
    }

    fn end(&mut self, _: &mut Scene) {}
}

struct Stop {
    role: Role,
    held: Option<Proc>,
}

impl Fault for Stop {
    fn name(&self) -> String {
        format!("stop {:?}", self.role)
    }

    fn begin(&mut self, scene: &mut Scene, rng: &mut Rng) -> Option<String> {
        let victim = pick(scene, self.role, rng)?;
        victim.signal(Signal::SIGSTOP);
        let what = format!("pid {}", victim.pid);
        self.held = Some(victim);
        Some(what)
    }

    fn end(&mut self, _: &mut Scene) {
        if let Some(held) = self.held.take() {
            held.signal(Signal::SIGCONT);
        }
    }
}

/// The whole instance at once, by SIGKILL or by SIGTERM.
struct Whole(Signal);

impl Fault for Whole {
    fn name(&self) -> String {
        format!("{:?} to the instance", self.0)
    }

    fn begin(&mut self, scene: &mut Scene, rng: &mut Rng) -> Option<String> {
        match self.0 {
            Signal::SIGKILL => scene.kill9(),
            signal => pick(scene, Role::Supervisor, rng)?.signal(signal),
        }
        Some("sent".to_owned())
    }

    fn end(&mut self, _: &mut Scene) {}
}

/// A slave's daemon and its transfers, killed or stopped; back at the end.
struct Daemon {
    slave: usize,
    killed: bool,
    begun: bool,
}

impl Fault for Daemon {
    fn name(&self) -> String {
        format!("{} the daemon of slave {}", if self.killed { "kill" } else { "stop" }, self.slave)
    }

    fn begin(&mut self, scene: &mut Scene, _: &mut Rng) -> Option<String> {
        let daemon = &mut scene.world.remotes[self.slave];
        if !daemon.is_up() {
            return None;
        }
        if self.killed {
            daemon.stop()
        } else {
            daemon.hang()
        }
        self.begun = true;
        Some("begun".to_owned())
    }

    fn end(&mut self, scene: &mut Scene) {
        let daemon = &mut scene.world.remotes[self.slave];
        // Another fault may have ended it meanwhile.
        if std::mem::take(&mut self.begun) && daemon.is_up() != self.killed {
            if self.killed { daemon.start_again() } else { daemon.resume() }
        }
    }
}

/// Every role, each signal.
pub fn faults() -> Faults {
    let mut all: Faults = Vec::new();
    for role in ROLES {
        all.push(Box::new(Kill(role)));
        all.push(Box::new(Stop { role, held: None }));
    }
    all.push(Box::new(Whole(Signal::SIGKILL)));
    all.push(Box::new(Whole(Signal::SIGTERM)));
    for slave in [PROXIED, PLAIN] {
        for killed in [true, false] {
            all.push(Box::new(Daemon { slave, killed, begun: false }));
        }
    }
    all
}
