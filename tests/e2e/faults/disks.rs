//! File systems without space, without inodes, and read-only: a slave's, the state's, the run directory's.

use super::scene::{PLAIN, Scene};
use super::{Fault, Faults};
use crate::common::namespace::Mounted;
use fastrand::Rng;
use nix::mount::MsFlags;
use nix::sys::signal::Signal;
use nix::sys::statvfs::statvfs;
use std::path::PathBuf;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Slave,
    State,
    Run,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lack {
    Space,
    Inodes,
    Writing,
}

struct DiskFault {
    place: Place,
    lack: Lack,
}

impl DiskFault {
    fn of<'s>(&self, scene: &'s Scene) -> (&'s Mounted, PathBuf) {
        let (disks, world) = (&scene.disks, &scene.world);
        match self.place {
            Place::Slave => (&disks.slave, world.remotes[PLAIN].path()),
            Place::State => (&disks.state, world.instance.state_dir()),
            Place::Run => (&disks.run, world.instance.run_dir()),
        }
    }
}

impl Fault for DiskFault {
    fn name(&self) -> String {
        format!("no {:?} for the {:?}", self.lack, self.place)
    }

    fn begin(&mut self, scene: &mut Scene, rng: &mut Rng) -> Option<String> {
        // Nothing is written to the run directory but at a start, and what is open for writing cannot become read-only.
        let restart = match (self.place, self.lack) {
            (Place::Slave, _) => false,
            (Place::Run, _) | (_, Lack::Writing) => true,
            (Place::State, _) => rng.bool(),
        };
        if restart {
            scene.kill9();
        }
        let (mounted, at) = self.of(scene);
        let used = statvfs(&at).expect("a mount point");
        let few = rng.u64(0..20);
        let (flags, options) = match self.lack {
            Lack::Space => {
                let blocks = used.blocks() - used.blocks_free() + few;
                (MsFlags::empty(), format!("size={}", blocks * used.fragment_size()))
            }
            Lack::Inodes => {
                let inodes = used.files() - used.files_free() + few;
                (MsFlags::empty(), format!("nr_inodes={inodes}"))
            }
            Lack::Writing => (MsFlags::MS_RDONLY, String::new()),
        };
        // More may be used by now, or be open for writing.
        for _ in 0..50 {
            if mounted.remount(flags, &options).is_ok() {
                return Some(format!("{options} restarted: {restart}"));
            }
            if self.lack == Lack::Writing && self.place == Place::Slave {
                let receivers = scene.world.remotes[PLAIN].is_up();
                let receivers = receivers.then(|| scene.world.remotes[PLAIN].transfers());
                receivers.iter().flatten().for_each(|p| p.signal(Signal::SIGKILL));
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        None
    }

    fn end(&mut self, scene: &mut Scene) {
        let (mounted, _) = self.of(scene);
        let size = match self.place {
            Place::Slave => "512m",
            Place::State => "128m",
            Place::Run => "1m",
        };
        let options = format!("size={size},nr_inodes=100000");
        mounted.remount(MsFlags::empty(), &options).expect("a larger file system");
    }
}

/// Each lack at each place.
pub fn faults() -> Faults {
    let places = [Place::Slave, Place::State, Place::Run];
    let lacks = [Lack::Space, Lack::Inodes, Lack::Writing];
    let each = |place| lacks.map(|lack| Box::new(DiskFault { place, lack }) as Box<dyn Fault>);
    places.into_iter().flat_map(each).collect()
}
