//! The root: whether it is there and still the same directory, and what is known of it (rules 6, 18, 21).

use crate::journal::{Canary, Checkpoint};
use crate::path::RelPath;
use crate::root_id::RootId;
use crate::seen::Seen;
use crate::sys::clock;
use crate::sys::files::{self, Root};
use crate::watcher::known::Known;
use crate::watcher::trust::{Circumstances, Sight, older};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;

/// The root that is watched.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Which directory it is.
    pub root: RootId,
    boot_id: String,
    /// Other machines may change the files: there is no checkpoint.
    pub network: bool,
}

impl Identity {
    /// Looks at an open root.
    pub fn of(root: &Root) -> io::Result<Self> {
        Ok(Self {
            root: root.id()?,
            boot_id: files::boot_id()?,
            network: root.file_system()?.network,
        })
    }

    /// True when `found`, in this boot, is the same directory.
    pub fn is(&self, found: &RootId) -> bool {
        self.root.same_as(found, true)
    }

    /// What a checkpoint is compared with; `put_back` is what is older than it.
    pub fn circumstances(&self, put_back: Option<String>) -> Circumstances {
        Circumstances {
            boot_id: self.boot_id.clone(),
            clock_offset_ns: clock_offset_ns(),
            boot_stamp_ns: boot_stamp_ns(),
            wall_ns: clock::wall_ns(),
            root: self.root.clone(),
            network: self.network,
            put_back,
        }
    }

    /// What the state directory keeps of this root, but for its mount points.
    pub fn known(&self, not_before_ns: Option<i64>) -> Known {
        Known {
            boot_id: self.boot_id.clone(),
            root: self.root.clone(),
            network: self.network,
            not_before_ns,
            mounts: BTreeSet::new(),
            run: None,
            next_run: None,
        }
    }

    /// A checkpoint of this root, without a run and canaries.
    pub fn checkpoint(&self, at_ns: i64, clean: bool) -> Checkpoint {
        Checkpoint {
            at_ns,
            boot_id: self.boot_id.clone(),
            clock_offset_ns: clock_offset_ns(),
            root: self.root.clone(),
            clean,
            run: None,
            canaries: Vec::new(),
        }
    }
}

/// The checkpoint keeps so many canaries.
const CANARIES: usize = 4;

/// Takes the youngest entry that was marked, and its directory, among the canaries, and looks at all of them again.
/// What is gone is none, nor is what lies in a file system that must not be touched.
pub fn look_at_canaries(
    canaries: &mut Vec<Canary>,
    youngest: Option<&RelPath>,
    watch: &Path,
    avoids: impl Fn(&RelPath) -> bool,
) {
    let newest =
        youngest.into_iter().flat_map(|path| [Some(path.clone()), path.parent()]).flatten();
    let mut paths: Vec<RelPath> = newest.collect();
    for canary in canaries.drain(..) {
        if !paths.contains(&canary.path) {
            paths.push(canary.path);
        }
    }
    let look = |path: RelPath| {
        if avoids(&path) {
            return None;
        }
        let ctime_ns = lstat(watch, &path).ok()?.ctime_ns;
        Some(Canary { path, ctime_ns })
    };
    canaries.extend(paths.into_iter().filter_map(look).take(CANARIES));
}

/// Why the file system below `watch` is one that was put back since this checkpoint, if it is. What lies below a mount
/// point of `mounts` that is not mounted, or must not be touched, says nothing.
pub fn put_back(
    last: &Checkpoint,
    root: &Root,
    watch: &Path,
    mounts: &[RelPath],
    avoids: impl Fn(&RelPath) -> bool,
) -> Option<String> {
    let unmounted: Vec<&RelPath> =
        mounts.iter().filter(|mount| avoids(mount) || !root.is_mounted(mount)).collect();
    let look = |path: &RelPath| {
        if unmounted.iter().any(|mount| path.is_within(mount)) {
            return Sight::Unknown;
        }
        match lstat(watch, path) {
            Ok(seen) => Sight::There(seen.ctime_ns),
            Err(error) if files::is_no_directory(&error) => Sight::Gone,
            Err(_) => Sight::Unknown,
        }
    };
    let canary = older(&last.canaries, last.at_ns, look)?;
    let path = if canary.path.is_root() { ".".into() } else { canary.path.to_string() };
    Some(format!("the file system was put back to an older state: {path} is older than it was"))
}

fn lstat(watch: &Path, path: &RelPath) -> io::Result<Seen> {
    // The localpath itself may be reached by a symbolic link.
    if path.is_root() { files::stat(watch) } else { files::lstat(&path.below(watch)) }
}

/// These file systems are made when a machine starts, and their roots keep the time of that.
fn boot_stamp_ns() -> Option<i64> {
    let made = ["/proc", "/sys"].map(|dir| files::lstat(Path::new(dir)).ok());
    made.into_iter().flatten().map(|seen| seen.mtime_ns).filter(|at| *at > 0).min()
}

/// Looks whether the directory at `watch` is the one that is watched; says why not.
pub fn check(watch: &Path, identity: Option<&Identity>) -> Result<(), String> {
    match (files::root_id_at(watch), identity) {
        (Ok(found), Some(identity)) if !identity.is(&found) => Err(format!(
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
