//! A slave that means no good, or whose disk is another one for a while.

use super::scene::{PLAIN, Scene};
use super::{Fault, Faults};
use crate::common::hostile::{Hostile, Malice, Stream};
use crate::common::namespace::Mounted;
use fastrand::Rng;
use std::time::Duration;

/// What listens in place of the daemon.
struct Malicious {
    malice: Malice,
    there: Option<Hostile>,
}

impl Fault for Malicious {
    fn name(&self) -> String {
        format!("a slave that {:?}", self.malice)
    }

    fn begin(&mut self, scene: &mut Scene, _: &mut Rng) -> Option<String> {
        let daemon = &mut scene.world.remotes[PLAIN];
        if !daemon.is_up() {
            return None;
        }
        daemon.stop();
        self.there = Some(Hostile::start(daemon.port, self.malice));
        Some("begun".to_owned())
    }

    fn end(&mut self, scene: &mut Scene) {
        if self.there.take().is_some() {
            scene.world.remotes[PLAIN].start_again();
        }
    }
}

/// An empty disk in place of the slave's own; the slave is down while they change places.
struct OtherDisk(Option<Mounted>);

impl Fault for OtherDisk {
    fn name(&self) -> String {
        "another, empty disk at the slave".to_owned()
    }

    fn begin(&mut self, scene: &mut Scene, _: &mut Rng) -> Option<String> {
        let daemon = &mut scene.world.remotes[PLAIN];
        if !daemon.is_up() {
            return None;
        }
        daemon.stop();
        self.0 = Some(Mounted::tmpfs(&daemon.path()));
        daemon.start_again();
        Some("begun".to_owned())
    }

    fn end(&mut self, scene: &mut Scene) {
        let Some(disk) = self.0.take() else { return };
        let daemon = &mut scene.world.remotes[PLAIN];
        let was_up = daemon.is_up();
        daemon.stop();
        drop(disk);
        if was_up {
            daemon.start_again();
        }
    }
}

/// All of them.
pub fn faults() -> Faults {
    use Malice::*;
    let malices = [
        DripsBefore(Duration::from_millis(100)),
        FloodsBefore,
        Drips(Duration::from_millis(100)),
        Floods(Stream::Output),
        Floods(Stream::Complaints),
        OneLine(Stream::Output),
        OneLine(Stream::Complaints),
    ];
    let mut all: Faults = Vec::new();
    malices.into_iter().for_each(|malice| all.push(Box::new(Malicious { malice, there: None })));
    all.push(Box::new(OtherDisk(None)));
    all
}
