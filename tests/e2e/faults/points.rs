//! Every named step of every process: it is killed there, and stopped there for a while. The fault itself leads the
//! processes to a step that the churn does not lead them to.

use super::scene::Scene;
use super::schedule::Stage;
use super::signals::{Role, pick};
use super::{Fault, Faults, is_long, span_and_seed};
use crate::common::instance::Begun;
use crate::common::namespace::with_private_mounts;
use crate::common::orders;
use crate::common::procs::Proc;
use crate::common::wait::{DEADLINE, poll};
use crate::common::world::populate;
use fastrand::Rng;
use nix::sys::signal::Signal;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use syncsup::sys::fault_point::{ALL, Point};

/// How long a step may take to be reached: a child that died often waits for half a minute.
const REACHED: Duration = Duration::from_secs(100);
/// How often the processes are led to it.
const LED: Duration = Duration::from_secs(3);

/// What is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Kill,
    Stop,
}

/// What `make test` does: each role, in a few seconds.
const SHORT: [(Point, What); 8] = [
    (Point::WatcherMarked, What::Kill),
    (Point::PusherFed, What::Stop),
    (Point::PusherSettles, What::Kill),
    (Point::WatcherWatches, What::Stop),
    (Point::PluginCalled, What::Kill),
    (Point::SupervisorReaped, What::Kill),
    (Point::PusherRsyncEnded, What::Kill),
    (Point::WatcherRead, What::Kill),
];

/// An order, and how it is carried out.
struct Step {
    point: Point,
    what: What,
    /// A command that leads there.
    led_by: Option<Begun>,
}

impl Step {
    fn new((point, what): (Point, What)) -> Step {
        Step { point, what, led_by: None }
    }

    /// The note of the process that carries the order out, and its process ID.
    fn taken(&self, scene: &Scene) -> Option<(PathBuf, i32)> {
        orders::taken(&scene.orders, self.point)
    }

    /// What makes a process pass the point, besides the churn.
    fn lead(&mut self, scene: &mut Scene, rng: &mut Rng) {
        use Point::*;
        let mut signal = |scene: &Scene, role, signal| {
            pick(scene, role, rng).iter().for_each(|p| p.signal(signal));
        };
        match self.point {
            SupervisorStarted | SupervisorReaped => {
                let roles = [Role::Watcher, Role::Pusher, Role::PluginRunner, Role::Reporter];
                roles.into_iter().for_each(|role| signal(scene, role, Signal::SIGKILL));
            }
            SupervisorReloads => self.led_by = Some(reload(scene)),
            QuarantineBegun | QuarantineRenames | QuarantineRenamed | QuarantineEnds => {
                damage(scene, rng);
            }
            WatcherScans => signal(scene, Role::Watcher, Signal::SIGKILL),
            PusherBegins | PusherBegun | PusherEnds => signal(scene, Role::Pusher, Signal::SIGTERM),
            PusherRenames => rename(scene),
            ReporterBegins | ReporterListens => signal(scene, Role::Reporter, Signal::SIGKILL),
            WatcherRead | WatcherCheckpoints | WatcherCheckpointed | WatcherMarked
            | WatcherWatches | PusherSelected | PusherLooks | PusherFed | PusherRsyncEnded
            | PusherSettles | PusherSettled | PusherCounted | PusherOwes | PluginCalls
            | PluginCalled | PluginRecorded => {}
        }
    }

    /// Which pass it is: a process passes some of them once.
    fn times(&self, rng: &mut Rng) -> u32 {
        use Point::*;
        match self.point {
            PusherBegins | PusherBegun | PusherEnds | ReporterBegins | ReporterListens => 1,
            QuarantineBegun | QuarantineRenamed | QuarantineEnds => 1,
            SupervisorStarted | SupervisorReaped | SupervisorReloads => rng.u32(1..3),
            QuarantineRenames => rng.u32(1..4),
            PusherCounted | PusherOwes | PusherRenames => rng.u32(1..4),
            WatcherScans => rng.u32(1..60),
            _ if is_long() => rng.u32(1..12),
            _ => rng.u32(1..3),
        }
    }
}

impl Fault for Step {
    fn name(&self) -> String {
        format!("{:?} at {:?}", self.what, self.point)
    }

    fn begin(&mut self, scene: &mut Scene, rng: &mut Rng) -> Option<String> {
        let what = if self.what == What::Kill { "kill" } else { "stop" };
        let order = format!("{what} {}", self.times(rng));
        // Another fault may be at the same step.
        if !orders::give(&scene.orders, self.point, &order) {
            return None;
        }
        self.lead(scene, rng);
        Some(order)
    }

    fn end(&mut self, scene: &mut Scene) {
        self.led_by = None;
        // It is taken back, or was carried out.
        orders::take_back(&scene.orders, self.point);
        let Some((note, pid)) = self.taken(scene) else { return };
        if self.what == What::Stop {
            let stopped = || Proc::read(pid).is_none_or(|p| matches!(p.state, 'T' | 'Z'));
            poll(DEADLINE, || stopped().then_some(()));
            Proc::read(pid).iter().for_each(|p| p.signal(Signal::SIGCONT));
        }
        fs::remove_file(note).expect("a note");
    }
}

/// Another configuration: every pusher has another one than before.
fn reload(scene: &Scene) -> Begun {
    let file = scene.world.instance.config();
    let text = fs::read_to_string(file).expect("the configuration");
    let (from, to) = match text.contains("timeout: 5s") {
        true => ("timeout: 5s", "timeout: 6s"),
        false => ("timeout: 6s", "timeout: 5s"),
    };
    let new = file.with_extension("new");
    fs::write(&new, text.replace(from, to)).expect("the new configuration");
    fs::rename(&new, file).expect("the new configuration in its place");
    scene.world.instance.begin(&["reload"])
}

/// A journal that is gone, or cut off.
fn damage(scene: &Scene, rng: &mut Rng) {
    let dirs = fs::read_dir(scene.world.instance.state_dir()).into_iter().flatten().flatten();
    for file in dirs.map(|dir| dir.path().join("journal.db")) {
        if rng.bool() {
            let _ = fs::remove_file(&file);
        } else if let Ok(file) = fs::File::options().write(true).open(&file) {
            let _ = file.set_len(100);
        }
    }
}

/// A directory that is not sent again.
fn rename(scene: &Scene) {
    let (one, other) = (scene.world.at("moving/one"), scene.world.at("moving/other"));
    match (one.exists(), other.exists()) {
        (true, _) => fs::rename(one, other).expect("a move"),
        (_, true) => fs::rename(other, one).expect("a move"),
        (false, false) => drop(populate(&one, 2, 5)),
    }
}

fn every() -> Vec<(Point, What)> {
    ALL.into_iter().flat_map(|point| [(point, What::Kill), (point, What::Stop)]).collect()
}

/// Each step, killed and stopped.
pub fn faults() -> Faults {
    every().into_iter().map(|step| Box::new(Step::new(step)) as Box<dyn Fault>).collect()
}

/// Waits until a process has carried the order out, and says how long that took.
fn reach(scene: &mut Scene, step: &mut Step, rng: &mut Rng) -> Duration {
    let begun = step.begin(scene, rng).expect("no other fault is there");
    scene.note(&format!("{}: {begun}", step.name()));
    let (began, mut led) = (Instant::now(), Instant::now());
    while step.taken(scene).is_none() {
        let waited = began.elapsed();
        assert!(waited < REACHED, "{}: never reached\n{}", step.name(), scene.report());
        if led.elapsed() > LED {
            led = Instant::now();
            step.lead(scene, rng);
        }
        scene.tend();
        std::thread::sleep(Duration::from_millis(5));
    }
    began.elapsed()
}

/// Every step in turn, in an order from the seed; or the short selection.
pub fn at_every_step() {
    if !orders::are_possible() {
        return;
    }
    with_private_mounts(|| {
        let (_, seed) = span_and_seed();
        println!("steps: SYNCSUP_FAULT_SEED={seed}");
        let mut rng = Rng::with_seed(seed);
        let mut steps = if is_long() { every() } else { SHORT.to_vec() };
        if is_long() {
            rng.shuffle(&mut steps);
        }
        let mut scene = Scene::start(seed, 100);
        let count = steps.len();
        for (n, step) in steps.into_iter().enumerate() {
            if n > 0 && n.is_multiple_of(10) {
                scene.settle();
                scene.churn(seed.wrapping_add(n as u64));
            }
            let mut step = Step::new(step);
            let took = reach(&mut scene, &mut step, &mut rng);
            scene.note(&format!("{}: reached", step.name()));
            println!("{}: after {} ms", step.name(), took.as_millis());
            if step.what == What::Stop {
                // A child that is stopped for longer than 10 s is killed.
                let most = if is_long() && rng.u32(0..8) == 0 { 13_000 } else { 800 };
                let until = Instant::now() + Duration::from_millis(rng.u64(20..most));
                while Instant::now() < until {
                    scene.tend();
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
            step.end(&mut scene);
        }
        scene.settle();
        println!("{count} deaths and stops, each at its step");
    });
}
