//! Many slaves.

use super::files::{make, names};
use super::measured::{Idle, Measured};
use super::scene::{Scene, copy};
use super::stream::one_by_one;
use crate::arrivals::Arrivals;
use crate::process::{family, fine_cpu_s, private_mb, runs};
use crate::rig::{Rig, Sockets, wait};
use crate::system::System;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The directories of a tree that regions pass on.
const DIRECTORIES: usize = 20;

/// One master, regions below it, and leaves below each region. A region runs the same system. One change at a time.
pub fn tiers(
    system: System,
    regions: usize,
    leaves: usize,
    changes: usize,
) -> Result<Measured, String> {
    let master = Rig::new(regions, Sockets::AsTheyAre)?;
    make(master.source(), DIRECTORIES)?;
    copy(&master)?;
    let below = |slave: &PathBuf| {
        let region = Rig::below(slave, leaves)?;
        copy(&region)?;
        let running = system.launch(&region)?;
        Ok((running, region))
    };
    let below: Result<Vec<_>, String> = master.slaves().iter().map(below).collect();
    let scene = Scene::above(system, master, below?)?;
    let mut arrivals = Arrivals::watch(&scene.leaves(), &names(DIRECTORIES))?;
    let mut measured = Measured::default();
    measured.lags(one_by_one(&scene.rig, &mut arrivals, changes)?);
    scene.finish(measured, || true)
}

/// Nothing changes. It begins when no rsync runs any more: those that wait for a next change end after a minute.
pub fn idle(
    system: System,
    localpaths: usize,
    remotes: usize,
    seconds: u64,
) -> Result<Measured, String> {
    let mut scene =
        Scene::over(system, Rig::wide(&vec![remotes; localpaths], Sockets::AsTheyAre)?)?;
    let pid = scene.running.pid().ok_or("nothing runs")?;
    wait("the end of the rsyncs", || !runs(pid, "rsync"))?;
    scene.begin();
    let (began, before_s) = (Instant::now(), fine_cpu_s(pid));
    std::thread::sleep(Duration::from_secs(seconds));
    let idle = Idle {
        processes: family(pid).len(),
        cpu_share: (fine_cpu_s(pid) - before_s) / began.elapsed().as_secs_f64(),
        private_mb: private_mb(pid),
    };
    let measured = scene.finish(Measured::default(), || true)?;
    Ok(Measured { idle: Some(idle), complete_s: None, ..measured })
}
