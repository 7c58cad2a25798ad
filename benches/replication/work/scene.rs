//! What a work needs while it runs.

use super::measured::Measured;
use crate::rig::{LocalPath, Rig, wait};
use crate::system::{Running, System, settle};
use crate::tree::Tree;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A running system over a rig.
pub struct Scene {
    // Systems are dropped before their directories.
    pub running: Running,
    /// The systems over slaves of the rig.
    below: Vec<(Running, Rig)>,
    pub rig: Rig,
    cpu_before_s: f64,
    sent_before_mb: f64,
    /// When the work began, if it is the start itself.
    began: Option<Instant>,
}

impl Scene {
    /// The slaves have everything already.
    pub fn over(system: System, rig: Rig) -> Result<Scene, String> {
        copy(&rig)?;
        let running = system.start(&rig)?;
        Ok(Scene::now(rig, running, Vec::new()))
    }

    /// The same above others that run already.
    pub fn above(system: System, rig: Rig, below: Vec<(Running, Rig)>) -> Result<Scene, String> {
        let running = system.launch(&rig)?;
        let mut scene = Scene::now(rig, running, below);
        settle(&scene.rig, &scene.leaves())?;
        scene.begin();
        Ok(scene)
    }

    fn now(rig: Rig, running: Running, below: Vec<(Running, Rig)>) -> Scene {
        let (cpu_before_s, sent_before_mb) = (0.0, 0.0);
        let mut scene = Scene { running, below, rig, cpu_before_s, sent_before_mb, began: None };
        scene.begin();
        scene
    }

    /// The work begins now: what was before does not count.
    pub fn begin(&mut self) {
        (self.cpu_before_s, self.sent_before_mb) = (self.cpu_s(), sent_mb());
    }

    /// The CPU time of the systems and of the receivers so far, in seconds.
    fn cpu_s(&self) -> f64 {
        let of = |rig: &Rig, running: &Running| running.cpu_s() + rig.daemon_cpu_s();
        let below = self.below.iter().map(|(running, rig)| of(rig, running));
        of(&self.rig, &self.running) + below.sum::<f64>()
    }

    /// The slaves that have no slaves.
    pub fn leaves(&self) -> Vec<PathBuf> {
        match self.below.is_empty() {
            true => self.rig.slaves(),
            false => self.below.iter().flat_map(|(_, rig)| rig.slaves()).collect(),
        }
    }

    /// The work begins with the start.
    pub fn starting(system: System, rig: Rig) -> Result<Scene, String> {
        // Its files are older than the start, as those of trees are.
        std::thread::sleep(Duration::from_secs(3));
        let (cpu_before_s, sent_before_mb) = (rig.daemon_cpu_s(), sent_mb());
        let began = Some(Instant::now());
        let running = system.launch(&rig)?;
        Ok(Scene { rig, running, below: Vec::new(), cpu_before_s, sent_before_mb, began })
    }

    /// Kills the rsync daemon and its transfers.
    pub fn stop_daemon(&mut self) {
        // Its CPU time is that of the next one from now on.
        self.cpu_before_s -= self.rig.daemon_cpu_s();
        self.rig.stop_daemon();
    }

    /// The first slave of the first localpath.
    pub fn slave(&self) -> Result<PathBuf, String> {
        self.rig.slaves().into_iter().next().ok_or_else(|| "no slave".to_owned())
    }

    /// Waits until the slaves equal the master. `done` is cheap and says when to compare.
    pub fn finish(
        mut self,
        mut measured: Measured,
        mut done: impl FnMut() -> bool,
    ) -> Result<Measured, String> {
        let ended = self.began.unwrap_or_else(Instant::now);
        self.running.finish(&self.rig)?;
        let seen = if self.running.is_live() { wait("arrivals", &mut done) } else { Ok(()) };
        measured.complete_s = match measured.p95_s {
            // It is over when the last change has arrived.
            Some(_) if self.running.is_live() => None,
            Some(_) | None => Some(ended.elapsed().as_secs_f64()),
        };
        std::thread::sleep(Duration::from_millis(500));
        measured.sent_mb = sent_mb() - self.sent_before_mb;
        measured.cpu_s = self.cpu_s() - self.cpu_before_s;
        let lost = |localpath: &LocalPath| lost(&localpath.source, &localpath.slaves());
        measured.lost = self.rig.localpaths.iter().map(lost).sum();
        let lost = |(_, rig): &(Running, Rig)| self::lost(self.rig.source(), &rig.slaves());
        measured.lost += self.below.iter().map(lost).sum::<usize>();
        if measured.lost == 0 { Ok(measured) } else { seen.map(|()| measured) }
    }
}

/// Gives the slaves what the master has.
pub fn copy(rig: &Rig) -> Result<(), String> {
    System::Bulk.start(rig)?.finish(rig)
}

/// How many names of slaves differ from the master.
fn lost(source: &Path, slaves: &[PathBuf]) -> usize {
    let master = Tree::read(source);
    // A bare rsync treats times within a second as equal, which shows only at directories.
    let counts = |line: &String| !line.contains("  master dir ");
    let differ =
        |slave: &Path| master.diff(&Tree::read(slave)).iter().filter(|l| counts(l)).count();
    slaves.iter().map(|slave| differ(slave)).sum()
}

/// The bytes that loopback has carried so far, in MB.
fn sent_mb() -> f64 {
    let table = fs::read_to_string("/proc/net/dev").unwrap_or_default();
    let line = table.lines().find_map(|line| line.trim().strip_prefix("lo:"));
    let bytes = line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<f64>().ok());
    bytes.unwrap_or_default() / 1e6
}
