//! Restarts after which the wall clock and the time since boot fit together in another way, as if somebody had set the
//! clock meanwhile: in a time namespace with another time since boot. The clock of the machine is never set.

use super::scene::Scene;
use super::signals::{Kill, Role};
use super::{Fault, Faults};
use fastrand::Rng;
use nix::sys::signal::Signal;
use std::fs;
use std::process::Command;

/// A program that starts another one whose time since boot differs by this number of seconds.
fn launcher(seconds: i64) -> [String; 3] {
    ["unshare".to_owned(), "--time".to_owned(), format!("--boottime={seconds}")]
}

struct SetClock {
    /// The next end of the instance is an orderly one.
    orderly: bool,
}

impl Fault for SetClock {
    fn name(&self) -> String {
        "another clock".to_owned()
    }

    fn begin(&mut self, scene: &mut Scene, rng: &mut Rng) -> Option<String> {
        let uptime = fs::read_to_string("/proc/uptime").expect("the time since boot");
        let uptime: f64 = uptime.split(' ').next()?.parse().ok()?;
        // More of it: the clock was set back.
        let least = -(uptime as i64 - 60).clamp(0, 100_000);
        let most = if rng.bool() { 100_000 } else { 60 };
        let seconds = rng.i64(least.max(-most)..most);
        restart(scene, &launcher(seconds), rng.bool());
        self.orderly = rng.bool();
        Some(format!("set back by {seconds} s"))
    }

    fn end(&mut self, scene: &mut Scene) {
        restart(scene, &[], self.orderly);
    }
}

/// An orderly end, or none; the scene starts the instance again.
fn restart(scene: &mut Scene, launcher: &[String], orderly: bool) {
    scene.world.instance.launcher = launcher.iter().map(Into::into).collect();
    if orderly && !scene.world.instance.has_ended() {
        scene.world.instance.supervisor().signal(Signal::SIGTERM);
    } else {
        scene.kill9();
    }
}

/// Clocks that are set, and deaths between.
pub fn faults() -> Faults {
    let words = launcher(60);
    let tried = Command::new(&words[0]).args(&words[1..]).arg("true").output();
    match tried {
        Ok(out) if out.status.success() => {}
        other => {
            println!("SKIPPED: a clock of its own: {other:?}");
            return Vec::new();
        }
    }
    let kill = |role| Box::new(Kill(role)) as Box<dyn Fault>;
    let mut all: Faults = vec![Box::new(SetClock { orderly: false })];
    all.extend([Role::Watcher, Role::Supervisor].map(kill));
    all
}
