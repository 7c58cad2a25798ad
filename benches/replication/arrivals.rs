//! What is seen at the slaves.

use inotify::{Inotify, WatchDescriptor, WatchMask};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Instant;

/// The names that arrive in directories of slaves, with the time of each arrival.
pub struct Arrivals {
    inotify: Inotify,
    buffer: Vec<u8>,
    /// The number of the slave of each watch.
    slaves: HashMap<WatchDescriptor, usize>,
    /// By the number of the slave.
    pub seen: Vec<HashMap<OsString, Instant>>,
    /// All arrivals, also of names that arrived before.
    pub count: usize,
}

impl Arrivals {
    /// In these directories of each of these slaves. They exist.
    pub fn watch(slaves: &[PathBuf], directories: &[String]) -> Result<Arrivals, String> {
        let inotify = Inotify::init().map_err(|e| e.to_string())?;
        let mut of = HashMap::new();
        for (n, slave) in slaves.iter().enumerate() {
            for directory in directories {
                let watch = inotify.watches().add(slave.join(directory), WatchMask::MOVED_TO);
                of.insert(watch.map_err(|e| e.to_string())?, n);
            }
        }
        let seen = vec![HashMap::new(); slaves.len()];
        Ok(Arrivals { inotify, buffer: vec![0; 1 << 16], slaves: of, seen, count: 0 })
    }

    /// Reads what has arrived.
    pub fn read(&mut self) {
        while let Ok(events) = self.inotify.read_events(&mut self.buffer) {
            let now = Instant::now();
            let mut any = false;
            for event in events {
                let (Some(name), Some(&slave)) = (event.name, self.slaves.get(&event.wd)) else {
                    continue;
                };
                self.seen[slave].insert(name.to_owned(), now);
                self.count += 1;
                any = true;
            }
            if !any {
                break;
            }
        }
    }

    /// True if this name has arrived at every slave.
    pub fn everywhere(&self, name: &OsStr) -> bool {
        self.seen.iter().all(|seen| seen.contains_key(name))
    }

    /// True if at least as many names have arrived at every slave.
    pub fn at_least(&self, names: usize) -> bool {
        self.seen.iter().all(|seen| seen.len() >= names)
    }
}
