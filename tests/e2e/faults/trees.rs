//! Directories of the localpath that become symlinks and back, and file systems that come over it and go.

use super::scene::Scene;
use super::{Fault, Faults};
use crate::common::namespace::Mounted;
use crate::common::world::write;
use fastrand::Rng;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// `swapped` is a directory, then a symlink to another one with the same names, over and over; files below it go
/// meanwhile. What is pushed through such a symlink hits the wrong directory.
#[derive(Default)]
struct SymlinkSwaps {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Fault for SymlinkSwaps {
    fn name(&self) -> String {
        "a directory and a symlink take turns".to_owned()
    }

    fn begin(&mut self, scene: &mut Scene, rng: &mut Rng) -> Option<String> {
        // The localpath may be covered meanwhile: what is below is swapped.
        let root = File::open(&scene.world.master).ok()?;
        let at = PathBuf::from(format!("/proc/self/fd/{}/swapped", root.as_raw_fd()));
        let away = scene.world.outside.join("swapped");
        if !at.join("dir000").is_dir() {
            return None;
        }
        self.end.store(false, Ordering::Relaxed);
        let (end, seed) = (self.end.clone(), rng.u64(..));
        self.thread = Some(std::thread::spawn(move || {
            let (mut rng, _root) = (Rng::with_seed(seed), root);
            let pause = |rng: &mut Rng| std::thread::sleep(Duration::from_millis(rng.u64(0..60)));
            while !end.load(Ordering::Relaxed) {
                let file = format!("dir00{}/file00{}", rng.u32(0..4), rng.u32(0..10));
                match rng.bool() {
                    true => drop(fs::remove_file(at.join(&file))),
                    false if at.join("dir000").is_dir() && !at.is_symlink() => {
                        let _ = fs::write(at.join(&file), &file);
                    }
                    false => {}
                }
                pause(&mut rng);
                if fs::rename(&at, &away).is_ok() {
                    // To where the slave has the same names, and to where this machine has them.
                    let target = match rng.bool() {
                        true => PathBuf::from("kept"),
                        false => away.clone(),
                    };
                    let _ = symlink(target, &at);
                }
                pause(&mut rng);
                if at.is_symlink() {
                    let _ = fs::remove_file(&at);
                }
                if !at.exists() {
                    let _ = fs::rename(&away, &at);
                }
                pause(&mut rng);
            }
        }));
        Some("begun".to_owned())
    }

    fn end(&mut self, _: &mut Scene) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the swaps ended well");
        }
    }
}

impl Drop for SymlinkSwaps {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
    }
}

/// What is mounted inside is unmounted for a while, and changed meanwhile.
struct Unmounted;

impl Fault for Unmounted {
    fn name(&self) -> String {
        "a mount point inside is empty".to_owned()
    }

    fn begin(&mut self, scene: &mut Scene, rng: &mut Rng) -> Option<String> {
        if scene.covered {
            return None;
        }
        scene.inside.take()?;
        let what = format!("changed{}", rng.u32(0..3));
        write(&scene.store().join(&what), format!("{}", rng.u32(..)));
        Some(format!("{what} in it is changed"))
    }

    fn end(&mut self, scene: &mut Scene) {
        if scene.inside.is_none() {
            scene.inside = Some(Mounted::bind(&scene.store(), &scene.world.at("mnt")));
        }
    }
}

/// An empty file system covers the localpath.
struct Covered(Option<Mounted>);

impl Fault for Covered {
    fn name(&self) -> String {
        "an empty file system over the localpath".to_owned()
    }

    fn begin(&mut self, scene: &mut Scene, _: &mut Rng) -> Option<String> {
        // That would be mounted in the wrong place at its end.
        scene.inside.as_ref()?;
        self.0 = Some(Mounted::tmpfs(&scene.world.master));
        scene.covered = true;
        Some("mounted".to_owned())
    }

    fn end(&mut self, scene: &mut Scene) {
        if self.0.take().is_some() {
            scene.covered = false;
        }
    }
}

/// All of them.
pub fn faults() -> Faults {
    vec![Box::new(SymlinkSwaps::default()), Box::new(Unmounted), Box::new(Covered(None))]
}
