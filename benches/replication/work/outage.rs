//! A remote that is down for a time.

use super::files::{filled, make, names};
use super::measured::Measured;
use super::scene::Scene;
use crate::arrivals::Arrivals;
use crate::rig::{Rig, Sockets, wait};
use crate::system::System;
use std::fs;
use std::time::{Duration, Instant};

/// Every file of a tree changes.
pub fn all(system: System, files: usize) -> Result<Measured, String> {
    let mut scene = Scene::over(system, filled(files, 900)?)?;
    scene.stop_daemon();
    let content = vec![b'y'; 1_000];
    let change = |n: usize| {
        let path = scene.rig.source().join(format!("d{}/f{n}", n % 100));
        fs::write(path, &content).map_err(|e| e.to_string())
    };
    (0..files).try_for_each(change)?;
    std::thread::sleep(Duration::from_secs(5));
    back(scene, 100, files)
}

/// 1,000 new files.
pub fn some(system: System, seconds: u64) -> Result<Measured, String> {
    let rig = Rig::new(1, Sockets::AsTheyAre)?;
    make(rig.source(), 20)?;
    let mut scene = Scene::over(system, rig)?;
    scene.stop_daemon();
    for n in 0..1_000 {
        let path = scene.rig.source().join(format!("d{}/f{n}", n % 20));
        fs::write(path, [b'x'; 1_000]).map_err(|e| e.to_string())?;
        std::thread::sleep(Duration::from_millis(seconds));
    }
    back(scene, 20, 1_000)
}

/// From the return of the remote to its first file, and until it has all.
fn back(mut scene: Scene, directories: usize, files: usize) -> Result<Measured, String> {
    let mut arrivals = Arrivals::watch(&scene.rig.slaves(), &names(directories))?;
    scene.rig.start_daemon()?;
    let began = Instant::now();
    let mut measured = Measured::default();
    if scene.running.is_live() {
        wait("the first file", || {
            arrivals.read();
            arrivals.count > 0
        })?;
        measured.p50_s = Some(began.elapsed().as_secs_f64());
    }
    scene.finish(measured, || {
        arrivals.read();
        arrivals.at_least(files)
    })
}
