//! Over ssh, under churn: the connection is cut, the server is killed, the key is refused for a while, the master that
//! all pushes share is killed and frozen. Two remotes are on one server.

use super::network;
use super::scene::{Identity, RECOVERY, holds, kept, lost};
use super::schedule::{self, Stage};
use super::{Fault, Faults, span_and_seed};
use crate::common::churn::{Churn, Plan, Work};
use crate::common::namespace::with_private_mounts;
use crate::common::procs::Proc;
use crate::common::sshd::Sshd;
use crate::common::sshworld::{Setup, World};
use crate::common::wait::poll;
use crate::common::world::populate;
use fastrand::Rng;
use nix::sys::signal::Signal;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The world, its instance started again as by an init system, and the churn.
struct Place {
    world: World,
    churn: Option<Churn>,
    kept: Vec<(PathBuf, Identity)>,
    /// Its loopback is its own, and can be down.
    own_network: bool,
    notes: Vec<String>,
    began: Instant,
    started: Instant,
}

impl Stage for Place {
    fn note(&mut self, text: &str) {
        self.notes.push(format!("{:8.2} s  {text}", self.began.elapsed().as_secs_f64()));
    }

    fn tend(&mut self) {
        if self.world.instance.has_ended() && self.started.elapsed() > Duration::from_millis(100) {
            self.world.instance.launch(&[]);
            self.started = Instant::now();
            self.note("the instance was started again");
        }
    }
}

impl Place {
    fn start(seed: u64) -> Place {
        let own_network = network::leave();
        if let Err(why) = &own_network {
            println!("SKIPPED: network namespaces: {why}; the network is not down");
        }
        let sshd = Sshd::start();
        let places: Vec<PathBuf> = ["one", "two"].iter().map(|name| sshd.file(name)).collect();
        places.iter().for_each(|place| fs::create_dir(place).expect("a slave's directory"));
        let remote = ", max_delete: unlimited";
        let setup = Setup { places, timeout: "5s", remote, ..Setup::of(&sshd) };
        let mut world = setup.build(sshd);
        populate(&world.at("kept"), 4, 10);
        let outside = world.dir.path().join("outside");
        fs::create_dir(&outside).expect("a directory");
        let root = world.master.clone();
        let plan = Plan { root, outside, dirs: 40, rate: 100, sets_times: true };
        Work::new(plan.clone(), 1).fill();
        world.run();
        world.wait_identical();
        let kept = kept(&world.master, &world.places, &["kept"]);
        let (churn, now) = (Some(Churn::of(plan, seed)), Instant::now());
        let own_network = own_network.is_ok();
        Place { world, churn, kept, own_network, notes: Vec::new(), began: now, started: now }
    }

    fn report(&self) -> String {
        format!("--- faults\n{}\n{}", self.notes.join("\n"), self.world.instance.report())
    }

    /// Ends the churn, and holds that everything becomes right by itself.
    fn settle(&mut self) {
        let changes = self.churn.take().map_or(0, Churn::stop);
        let ended = Instant::now();
        let told = poll(RECOVERY, || {
            self.tend();
            let out = self.world.instance.command(&["wait", "--timeout", "5s"]);
            out.status.success().then_some(())
        });
        let held = holds(&self.world.master, &self.world.places, told.is_some());
        held.unwrap_or_else(|wrong| panic!("{wrong}{}", self.report()));
        println!("identical after {} ms, {changes} changes", ended.elapsed().as_millis());
        let lost = lost(&self.kept);
        assert!(lost.is_empty(), "deleted or replaced without cause:\n{lost}{}", self.report());
        self.world.probe();
        self.world.wait_identical();
        self.world.wait_quiet();
    }
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ssh {
    /// The server's processes of one connection, or of all, are killed.
    Cut,
    /// They do not go on.
    Frozen,
    /// The server is down.
    ServerKilled,
    /// No login is possible, and the connections are cut.
    KeyRefused,
    /// The loopback is down: nothing arrives, connections stay.
    NetworkDown,
    MasterKilled,
    MasterFrozen,
    /// An rsync of the instance.
    RsyncKilled,
    PusherKilled,
    SupervisorKilled,
    InstanceKilled,
}

const EVERY: [Ssh; 11] = [
    Ssh::Cut,
    Ssh::Frozen,
    Ssh::ServerKilled,
    Ssh::KeyRefused,
    Ssh::NetworkDown,
    Ssh::MasterKilled,
    Ssh::MasterFrozen,
    Ssh::RsyncKilled,
    Ssh::PusherKilled,
    Ssh::SupervisorKilled,
    Ssh::InstanceKilled,
];

struct SshFault {
    what: Ssh,
    /// What it has stopped.
    held: Vec<Proc>,
    begun: bool,
}

/// One of them, where there is one.
fn one(mut found: Vec<Proc>, rng: &mut Rng) -> Option<Proc> {
    found.retain(Proc::runs);
    (!found.is_empty()).then(|| found.swap_remove(rng.usize(..found.len())))
}

impl SshFault {
    fn kill(&self, victim: Option<Proc>) -> Option<String> {
        victim.map(|victim| {
            victim.signal(Signal::SIGKILL);
            format!("pid {}", victim.pid)
        })
    }

    fn hold(&mut self, held: Vec<Proc>) -> Option<String> {
        held.iter().for_each(|p| p.signal(Signal::SIGSTOP));
        let count = held.len();
        self.held = held;
        (count > 0).then(|| format!("{count} processes"))
    }
}

impl Fault<Place> for SshFault {
    fn name(&self) -> String {
        format!("ssh {:?}", self.what)
    }

    fn begin(&mut self, place: &mut Place, rng: &mut Rng) -> Option<String> {
        let world = &mut place.world;
        let sessions = if world.sshd.is_up() { world.sshd.sessions() } else { Vec::new() };
        let begun = match self.what {
            Ssh::Cut if rng.bool() => self.kill(one(sessions, rng)),
            Ssh::Cut => {
                sessions.iter().for_each(|p| p.signal(Signal::SIGKILL));
                Some(format!("{} processes", sessions.len()))
            }
            Ssh::Frozen => self.hold(sessions),
            Ssh::ServerKilled if world.sshd.is_up() => {
                world.sshd.stop();
                Some("begun".to_owned())
            }
            Ssh::ServerKilled => None,
            Ssh::KeyRefused => {
                let stranger = world.sshd.file("stranger.pub");
                fs::copy(stranger, world.sshd.file("authorized")).expect("another key");
                sessions.iter().for_each(|p| p.signal(Signal::SIGKILL));
                Some("begun".to_owned())
            }
            Ssh::NetworkDown if place.own_network => {
                network::run("ip", &["link", "set", "lo", "down"]).expect("no loopback");
                Some("begun".to_owned())
            }
            Ssh::NetworkDown => None,
            Ssh::MasterKilled => self.kill(one(world.masters(), rng)),
            Ssh::MasterFrozen => {
                let masters = world.masters();
                self.hold(masters)
            }
            Ssh::RsyncKilled => self.kill(one(world.instance.rsyncs(), rng)),
            Ssh::PusherKilled => self.kill(one(world.instance.pushers(), rng)),
            Ssh::SupervisorKilled if world.instance.has_ended() => None,
            Ssh::SupervisorKilled => self.kill(Some(world.instance.supervisor())),
            Ssh::InstanceKilled => {
                world.instance.kill9();
                place.started = Instant::now();
                Some("sent".to_owned())
            }
        };
        self.begun = begun.is_some();
        begun
    }

    fn end(&mut self, place: &mut Place) {
        self.held.drain(..).for_each(|p| p.signal(Signal::SIGCONT));
        let sshd = &mut place.world.sshd;
        match self.what {
            _ if !std::mem::take(&mut self.begun) => {}
            Ssh::ServerKilled => {
                // It is waited for until it answers.
                if place.own_network {
                    network::run("ip", &["link", "set", "lo", "up"]).expect("a loopback");
                }
                sshd.start_again();
            }
            Ssh::KeyRefused => {
                fs::copy(sshd.file("user.pub"), sshd.file("authorized")).expect("the key again");
            }
            Ssh::NetworkDown => {
                network::run("ip", &["link", "set", "lo", "up"]).expect("a loopback");
            }
            Ssh::Cut | Ssh::Frozen | Ssh::MasterKilled | Ssh::MasterFrozen => {}
            Ssh::RsyncKilled | Ssh::PusherKilled => {}
            Ssh::SupervisorKilled | Ssh::InstanceKilled => {}
        }
    }
}

#[test]
fn slaves_match_after_ssh_was_cut_refused_and_frozen() {
    with_private_mounts(|| {
        let (span, seed) = span_and_seed();
        println!("ssh: SYNCSUP_FAULT_SEED={seed}, {} s", span.as_secs());
        let mut place = Place::start(seed);
        let fault = |what| SshFault { what, held: Vec::new(), begun: false };
        let mut faults: Faults<Place> =
            EVERY.map(|what| Box::new(fault(what)) as Box<dyn Fault<Place>>).into();
        schedule::run(&mut place, &mut faults, seed, span, &mut |_| {});
        place.settle();
        place.world.instance.stop();
    });
}
