//! The watched root: whether it exists and is still the same directory (rules 6, 18, 21).

use crate::help_topic::{HelpTopic, Reason};
use crate::journal::Checkpoint;
use crate::root_id::RootId;
use crate::sys::clock;
use crate::sys::files::{self, Root};
use crate::watcher::checkpoint_validity::Circumstances;
use crate::watcher::root_record::RootRecord;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;

/// The watched root.
#[derive(Clone, Debug)]
pub struct WatchedRoot {
    /// The identity of the directory.
    pub id: RootId,
    boot_id: String,
    /// Other machines may change the files, so there is no checkpoint.
    pub network: bool,
}

impl WatchedRoot {
    /// Reads the identity of an open root.
    pub fn of(root: &Root) -> io::Result<Self> {
        Ok(Self {
            id: root.id()?,
            boot_id: files::boot_id()?,
            network: root.file_system()?.network,
        })
    }

    /// True if `found`, in this boot, is the same directory.
    pub fn is(&self, found: &RootId) -> bool {
        self.id.same_as(found, true)
    }

    /// The values to compare with a checkpoint. `put_back` names what is older than the checkpoint.
    pub fn circumstances(&self, put_back: Option<String>) -> Circumstances {
        Circumstances {
            boot_id: self.boot_id.clone(),
            clock_offset_ns: clock_offset_ns(),
            boot_stamp_ns: boot_stamp_ns(),
            wall_ns: clock::wall_ns(),
            root: self.id.clone(),
            network: self.network,
            put_back,
        }
    }

    /// The record of this root for the state directory, without mount points.
    pub fn record(&self, not_before_ns: Option<i64>) -> RootRecord {
        RootRecord {
            boot_id: self.boot_id.clone(),
            root: self.id.clone(),
            network: self.network,
            not_before_ns,
            mounts: BTreeSet::new(),
            run: None,
            next_run: None,
        }
    }

    /// A checkpoint of this root, without a run and without canaries.
    pub fn checkpoint(&self, at_ns: i64, clean: bool) -> Checkpoint {
        Checkpoint {
            at_ns,
            boot_id: self.boot_id.clone(),
            clock_offset_ns: clock_offset_ns(),
            root: self.id.clone(),
            clean,
            run: None,
            canaries: Vec::new(),
        }
    }
}

/// The time of this boot. /proc and /sys are created when a machine starts, and their roots keep that time.
fn boot_stamp_ns() -> Option<i64> {
    let made = ["/proc", "/sys"].map(|dir| files::lstat(Path::new(dir)).ok());
    made.into_iter().flatten().map(|stat| stat.mtime_ns).filter(|at| *at > 0).min()
}

/// Checks whether the directory at `watch` is the watched one. The error says why it is not.
pub fn check(watch: &Path, root: Option<&WatchedRoot>) -> Result<(), Reason> {
    match (files::root_id_at(watch), root) {
        (Ok(found), Some(root)) if !root.is(&found) => {
            let why = format!(
                "another directory is in its place; if that is the right one, run syncsup release {}",
                watch.display()
            );
            Err(Reason::new(HelpTopic::RootReplaced, why))
        }
        (Ok(_), _) => Ok(()),
        (Err(error), _) if error.kind() == io::ErrorKind::NotFound => {
            let why = "the directory is gone; mount it or restore it to continue";
            Err(Reason::new(HelpTopic::RootGone, why))
        }
        (Err(error), _) => {
            let why = format!("the directory cannot be read: {error}");
            Err(Reason::new(HelpTopic::RootUnreadable, why))
        }
    }
}

/// Wall clock minus time since boot. It changes only when the clock is set.
pub fn clock_offset_ns() -> i64 {
    // The nanoseconds since boot fit into an `i64` for 292 years.
    clock::wall_ns() - clock::boot().as_nanos() as i64
}
