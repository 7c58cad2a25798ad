//! Whole trees at once.

use super::files::{count, fill, filled, make};
use super::measured::Measured;
use super::scene::{Scene, copy};
use crate::process::{signal, watches};
use crate::rig::{Rig, Sockets, wait};
use crate::system::System;
use std::fs;
use std::time::Instant;

/// Files of 4 KiB appear.
pub fn burst(system: System, files: usize, remotes: usize) -> Result<Measured, String> {
    let scene = Scene::over(system, Rig::new(remotes, Sockets::AsTheyAre)?)?;
    fill(scene.rig.source(), 100, files, 4 << 10)?;
    let slaves = scene.rig.slaves();
    let last = format!("d{}", (files - 1) % 100);
    scene.finish(Measured::default(), || {
        slaves.iter().all(|slave| slave.join(&last).exists() && count(slave) == files + 101)
    })
}

/// They are removed.
pub fn remove(system: System, files: usize) -> Result<Measured, String> {
    let scene = Scene::over(system, filled(files, 1_000)?)?;
    for n in 0..100 {
        let path = scene.rig.source().join(format!("d{n}"));
        fs::remove_dir_all(path).map_err(|e| e.to_string())?;
    }
    let slave = scene.slave()?;
    scene.finish(Measured::default(), || count(&slave) <= 1)
}

/// The slave is empty at the start.
pub fn first_copy(system: System, files: usize) -> Result<Measured, String> {
    let scene = Scene::starting(system, filled(files, 1_000)?)?;
    let slave = scene.slave()?;
    scene.finish(Measured::default(), || count(&slave) >= files + 100)
}

/// The slave has everything at the start. The lag is that from the start to a watch on every directory, as the kernel counts
/// them: it is the same for every system, while lsyncd reports no such moment, and it reads nothing before its first copy is
/// done. Then a file is written in the last directory, and the work is complete when the slave has it.
pub fn start(system: System, files: usize, directories: usize) -> Result<Measured, String> {
    let rig = Rig::new(1, Sockets::AsTheyAre)?;
    fill(rig.source(), directories, files, 1_000)?;
    copy(&rig)?;
    let scene = Scene::starting(system, rig)?;
    let began = Instant::now();
    let pid = scene.running.pid().ok_or("nothing runs")?;
    // The root is a directory, too.
    wait("the watches", || watches(pid) > directories)?;
    let watching_s = began.elapsed().as_secs_f64();
    let probe = format!("d{}/probe", directories - 1);
    fs::write(scene.rig.source().join(&probe), "x").map_err(|e| e.to_string())?;
    let arrived = scene.slave()?.join(probe);
    let measured = Measured { p50_s: Some(watching_s), ..Measured::default() };
    scene.finish(measured, || arrived.exists())
}

/// A directory gets another name, and a file of as many bytes.
pub fn rename(system: System, files: usize) -> Result<Measured, String> {
    let rig = Rig::new(1, Sockets::AsTheyAre)?;
    let mut content = vec![0; 1 << 20];
    fastrand::Rng::with_seed(9).fill(&mut content);
    make(rig.source(), 1)?;
    let write = |n: usize| fs::write(rig.source().join(format!("d0/f{n}")), &content);
    (0..files).try_for_each(write).map_err(|e| e.to_string())?;
    fs::write(rig.source().join("large"), content.repeat(files)).map_err(|e| e.to_string())?;
    let scene = Scene::over(system, rig)?;
    let (source, slave) = (scene.rig.source().to_owned(), scene.slave()?);
    let mv = |from: &str, to: &str| fs::rename(source.join(from), source.join(to));
    mv("d0", "d1").and_then(|()| mv("large", "d1/large 2")).map_err(|e| e.to_string())?;
    scene.finish(Measured::default(), || {
        let gone = !slave.join("d0").exists() && !slave.join("large").exists();
        gone && slave.join("d1/large 2").exists() && count(&slave) == files + 3
    })
}

/// Every file changes while the system stands still, as it does on a machine that is too busy, and the kernel's queue of
/// events overflows.
pub fn overflow(system: System, files: usize) -> Result<Measured, String> {
    let scene = Scene::over(system, filled(files, 900)?)?;
    let (source, slave) = (scene.rig.source().to_owned(), scene.slave()?);
    let pid = scene.running.pid();
    pid.inspect(|pid| signal(*pid, "-STOP"));
    let (name, content) = (|n: usize| format!("d{}/f{n}", n % 100), [b'y'; 1_000]);
    let change = |n| fs::write(source.join(name(n)), content);
    let changed = (0..files).try_for_each(change);
    pid.inspect(|pid| signal(*pid, "-CONT"));
    changed.map_err(|e| e.to_string())?;
    let mut next = 0;
    scene.finish(Measured::default(), || {
        let there = |n: usize| fs::metadata(slave.join(name(n))).is_ok_and(|m| m.len() == 1_000);
        while next < files && there(next) {
            next += 1;
        }
        next == files
    })
}

/// New files in one directory.
pub fn flat(system: System, files: usize) -> Result<Measured, String> {
    let scene = Scene::over(system, Rig::new(1, Sockets::AsTheyAre)?)?;
    let source = scene.rig.source();
    make(source, 1)?;
    let write = |n: usize| fs::write(source.join(format!("d0/f{n}")), [b'x'; 500]);
    (0..files).try_for_each(write).map_err(|e| e.to_string())?;
    let slave = scene.slave()?;
    scene.finish(Measured::default(), || count(&slave) == files + 2)
}
