//! From the trash to the master: fetched into a directory that is not replicated, then moved to its place, name by
//! name, through opened directories, so that no symbolic link on the way leads anywhere else.

use super::{Ended, finish};
use crate::commands::print;
use crate::config::model::{LocalPath, Remote};
use crate::error::{Error, Exit, Result};
use crate::filter::TRASH;
use crate::path::RelPath;
use crate::pusher::trash;
use crate::seen::Kind;
use crate::sys::files::{self, Root};
use crate::sys::lock;
use crate::sys::output::complain;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

/// What is fetched lies in a directory whose name begins so, beside [`LOCK`].
const STAGE: &str = "undelete-";
/// Held while it is fetched, also by rsync.
const LOCK: &str = "lock";
const ENOENT: i32 = 2;
const EXDEV: i32 = 18;

/// Exit status 1 when something of what was chosen is not restored.
pub(super) fn run(
    localpath: &LocalPath,
    remote: &Remote,
    chosen: &BTreeMap<String, Vec<RelPath>>,
    force: bool,
    scratch: &Path,
) -> Result<Exit> {
    let watch = &localpath.watch;
    let system = |e| Error::system(watch, e);
    let root = Root::open(watch.as_path()).map_err(system)?;
    let aside = aside(&root).map_err(|e| Error::system(format!("{watch}/{TRASH}"), e))?;
    clear_leftovers(&aside);
    let stage =
        tempfile::Builder::new().prefix(STAGE).tempdir_in(aside.proc_path()).map_err(system)?;
    let _lock = lock::take(&stage.path().join(LOCK), true).map_err(system)?;
    let mut done = 0u64;
    let mut left = Vec::new();
    for (stamp, paths) in chosen {
        let here = stage.path().join(stamp);
        fs::create_dir(&here).map_err(system)?;
        for some in paths.chunks(trash::FETCHED_AT_ONCE) {
            let rules = scratch.join("only");
            fs::write(&rules, trash::only(some)).map_err(system)?;
            match finish(&trash::fetch(remote, stamp, &rules), &here, scratch)? {
                Ended::Well(_) => {}
                // What came is restored all the same; what did not shows as missing.
                Ended::Badly { words, .. } => {
                    complain(&format!("syncsup: {}: {words}", remote.name()))
                }
            }
        }
        let fetched = Root::open(&here).map_err(system)?;
        for path in paths {
            match put(&fetched, &root, path, force) {
                Ok(()) => done += 1,
                Err(why) => left.push(format!("{path}: {why}")),
            }
        }
    }
    drop(stage);
    // Somebody else's work in it keeps it.
    let _ = fs::remove_dir(root.proc_path().join(TRASH));
    let s = if done == 1 { "" } else { "s" };
    print(&format!("{watch}: {done} file{s} restored from {}\n", remote.name()));
    for line in &left {
        complain(&format!("syncsup: not restored: {line}"));
    }
    Ok(if left.is_empty() { Exit::Ok } else { Exit::No })
}

/// The directory of the localpath that is not replicated.
fn aside(root: &Root) -> io::Result<Root> {
    let name = RelPath::root().join(OsStr::new(TRASH));
    match DirBuilder::new().mode(0o700).create(root.proc_path().join(TRASH)) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    root.subdir(&name)
}

/// Removes what others that were killed have left behind.
fn clear_leftovers(aside: &Root) {
    let Ok(names) = aside.names() else { return };
    for name in names.iter().filter(|n| n.name.as_encoded_bytes().starts_with(STAGE.as_bytes())) {
        let stage = aside.proc_path().join(&name.name);
        if let Ok(Some(_lock)) = lock::take(&stage.join(LOCK), false)
            && let Err(error) = fs::remove_dir_all(&stage)
        {
            complain(&format!("syncsup: cannot remove {}: {error}", name.name.display()));
        }
    }
}

/// Moves one fetched name to its place.
fn put(
    fetched: &Root,
    root: &Root,
    path: &RelPath,
    force: bool,
) -> std::result::Result<(), String> {
    let words = |e: io::Error| match e.raw_os_error() {
        Some(EXDEV) => "its directory is on another file system than the localpath".to_owned(),
        _ => e.to_string(),
    };
    let parent = path.parent().unwrap_or_else(RelPath::root);
    let from = opened(fetched, &parent).map_err(|_| "it did not come from the remote")?;
    let name = RelPath::root().join(path.name());
    from.lstat(&name).map_err(|_| "it did not come from the remote")?;
    let to = made(fetched, root, &parent).map_err(words)?;
    match to.lstat(&name) {
        Ok(seen) if seen.kind == Kind::Dir => return Err("a directory is there now".into()),
        Ok(_) if !force => return Err("it is there already; --force overwrites it".into()),
        Ok(_) => {}
        Err(e) if e.raw_os_error() == Some(ENOENT) => {}
        Err(e) => return Err(words(e)),
    }
    files::rename_between(&from, &to, path.name(), force).map_err(words)
}

/// A directory below an opened one, one component after another, through no symbolic link.
fn opened(root: &Root, path: &RelPath) -> io::Result<Root> {
    let mut at = root.subdir(&RelPath::root())?;
    for part in path.as_bytes().split(|&b| b == b'/').filter(|part| !part.is_empty()) {
        at = at.subdir(&one(part))?;
    }
    Ok(at)
}

/// The same in the localpath; what is missing is made, with mode and owner of what was fetched.
fn made(fetched: &Root, root: &Root, path: &RelPath) -> io::Result<Root> {
    let mut at = root.subdir(&RelPath::root())?;
    let mut like = fetched.subdir(&RelPath::root())?;
    for part in path.as_bytes().split(|&b| b == b'/').filter(|part| !part.is_empty()) {
        let name = one(part);
        like = like.subdir(&name)?;
        match at.subdir(&name) {
            Ok(next) => at = next,
            Err(e) if e.raw_os_error() == Some(ENOENT) => {
                let new = at.proc_path().join(name.as_path());
                DirBuilder::new().mode(0o700).create(&new)?;
                at = at.subdir(&name)?;
                let meta = fs::metadata(like.proc_path())?;
                // Only root can give it to its owner.
                let _ =
                    std::os::unix::fs::chown(at.proc_path(), Some(meta.uid()), Some(meta.gid()));
                fs::set_permissions(at.proc_path(), meta.permissions())?;
            }
            Err(e) => return Err(e),
        }
    }
    Ok(at)
}

fn one(part: &[u8]) -> RelPath {
    use std::os::unix::ffi::OsStrExt;
    RelPath::root().join(OsStr::from_bytes(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_one_left_goes_and_what_is_at_work_stays() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["undelete-dead/2026", "undelete-alive/2026", "other/2026"] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        let _alive = lock::take(&dir.path().join("undelete-alive/lock"), true).unwrap().unwrap();
        lock::take(&dir.path().join("undelete-dead/lock"), true).unwrap().unwrap();
        clear_leftovers(&Root::open(dir.path()).unwrap());
        let there = |name: &str| dir.path().join(name).join("2026").exists();
        assert!(!there("undelete-dead") && there("undelete-alive") && there("other"));
    }
}
