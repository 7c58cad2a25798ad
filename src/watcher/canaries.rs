//! Canaries: the entries that were marked last. They show whether a file system was restored to an older state
//! (rule 27).

use crate::journal::{Canary, Checkpoint};
use crate::path::RelPath;
use crate::stat::Stat;
use crate::sys::files::{self, Root};
use crate::watcher::checkpoint_validity::{Sight, older};
use std::io;
use std::path::Path;

/// The number of canaries in a checkpoint.
const CANARIES: usize = 4;

/// Adds the entry that was marked last, and its directory, to the canaries, and examines all canaries again. An entry
/// that is gone is dropped, and so is one in a file system that must not be touched.
pub fn refresh(
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

/// If the file system below `watch` was restored to an older state since this checkpoint, returns the reason. An entry
/// below a mount point in `mounts` that is not mounted, or must not be touched, proves nothing.
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
            Ok(stat) => Sight::There(stat.ctime_ns),
            Err(error) if files::is_no_directory(&error) => Sight::Gone,
            Err(_) => Sight::Unknown,
        }
    };
    let canary = older(&last.canaries, last.at_ns, look)?;
    let path = if canary.path.is_root() { ".".into() } else { canary.path.to_string() };
    Some(format!("the file system was restored to an older state: {path} is older than before"))
}

fn lstat(watch: &Path, path: &RelPath) -> io::Result<Stat> {
    // The localpath itself may be a symbolic link.
    if path.is_root() { files::stat(watch) } else { files::lstat(&path.below(watch)) }
}
