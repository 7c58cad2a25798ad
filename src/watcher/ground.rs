//! The root: whether it is there and still the same directory, and what is known of it (rules 6, 18, 21).

use crate::journal::Checkpoint;
use crate::seen::Seen;
use crate::sys::clock;
use crate::sys::files::{self, Root};
use crate::watcher::known::Known;
use crate::watcher::trust::Circumstances;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;

/// The root that is watched.
#[derive(Clone, Debug)]
pub struct Identity {
    dev: u64,
    ino: u64,
    fs_id: String,
    boot_id: String,
    /// Other machines may change the files: there is no checkpoint.
    pub network: bool,
}

impl Identity {
    /// Looks at an open root.
    pub fn of(root: &Root) -> io::Result<Self> {
        let fs = root.file_system()?;
        Ok(Self {
            dev: root.seen.dev,
            ino: root.seen.ino,
            fs_id: fs.id,
            boot_id: files::boot_id()?,
            network: fs.network,
        })
    }

    /// True when this is the same directory. A file system that is made anew, or another tmpfs, may well have the
    /// same device and inode numbers.
    pub fn is(&self, seen: &Seen, fs_id: &str) -> bool {
        (self.dev, self.ino) == (seen.dev, seen.ino) && self.fs_id == fs_id
    }

    /// What a checkpoint is compared with.
    pub fn circumstances(&self) -> Circumstances {
        Circumstances {
            boot_id: self.boot_id.clone(),
            clock_offset_ns: clock_offset_ns(),
            wall_ns: clock::wall_ns(),
            root_dev: self.dev,
            root_ino: self.ino,
            fs_id: self.fs_id.clone(),
            network: self.network,
        }
    }

    /// What the state directory keeps of this root, but for its mount points.
    pub fn known(&self, not_before_ns: Option<i64>) -> Known {
        Known {
            boot_id: self.boot_id.clone(),
            dev: self.dev,
            ino: self.ino,
            fs_id: self.fs_id.clone(),
            network: self.network,
            not_before_ns,
            mounts: BTreeSet::new(),
        }
    }

    /// A checkpoint of this root.
    pub fn checkpoint(&self, at_ns: i64, clean: bool) -> Checkpoint {
        Checkpoint {
            at_ns,
            boot_id: self.boot_id.clone(),
            clock_offset_ns: clock_offset_ns(),
            root_dev: self.dev,
            root_ino: self.ino,
            fs_id: self.fs_id.clone(),
            clean,
        }
    }
}

/// Looks whether the directory at `watch` is the one that is watched; says why not.
pub fn check(watch: &Path, identity: Option<&Identity>) -> Result<(), String> {
    let found = files::stat(watch).and_then(|seen| Ok((seen, files::file_system(watch)?)));
    match (found, identity) {
        (Ok((seen, fs)), Some(identity)) if !identity.is(&seen, &fs.id) => Err(format!(
            "another directory stands there; if it is the right one: syncsup release {}",
            watch.display()
        )),
        (Ok(_), _) => Ok(()),
        (Err(error), _) if error.kind() == io::ErrorKind::NotFound => {
            Err("the directory is gone; it goes on when it is mounted or put back".into())
        }
        (Err(error), _) => Err(format!("the directory cannot be read: {error}")),
    }
}

/// Wall clock minus time since boot: it only changes when the clock is set.
pub fn clock_offset_ns() -> i64 {
    // Nanoseconds since boot fit for 292 years.
    clock::wall_ns() - clock::boot().as_nanos() as i64
}
