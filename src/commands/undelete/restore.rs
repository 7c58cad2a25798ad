//! Restores from the trash to the master. The files are fetched into a directory that is not replicated. Then they are
//! moved to their places one by one, through open directories, so that no symbolic link in a path leads elsewhere.

use super::{FetchEnd, finish};
use crate::commands::print;
use crate::config::model::{LocalPath, Remote};
use crate::error::{Error, Exit, Result};
use crate::language::{counted, say, words};
use crate::path::{RelPath, printable};
use crate::rsync::argv::TRASH;
use crate::rsync::trash;
use crate::stat::Kind;
use crate::sys::files::{self, Root};
use crate::sys::lock::{self, Lock};
use crate::sys::output::complain;
use crate::sys::own;
use crate::trust::User;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

/// The name prefix of the directory of fetched files, beside [`LOCK`].
const STAGE: &str = "undelete-";
/// This lock is held during a fetch, by rsync too.
const LOCK: &str = "lock";
const ENOENT: i32 = 2;
const EXDEV: i32 = 18;

/// Exit status 1 if some of the chosen files are not restored.
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
    let stage = StagingDirectory::new(&aside).map_err(system)?;
    let mut done = 0u64;
    let mut left = Vec::new();
    for (stamp, paths) in chosen {
        let fetched = stage.make(stamp).map_err(system)?;
        let here = fetched.proc_path();
        for some in paths.chunks(trash::FETCHED_AT_ONCE) {
            let rules = scratch.join("only");
            fs::write(&rules, trash::only(some)).map_err(system)?;
            match finish(&trash::fetch(&remote.peer, stamp, &rules), &here, scratch)? {
                FetchEnd::Done(_) => {}
                // What was fetched is still restored. The rest is reported as missing.
                FetchEnd::Failed { message, .. } => {
                    complain(&format!("syncsup: {}: {message}", remote.name()))
                }
            }
        }
        for path in paths {
            match put(&fetched, &root, path, force) {
                Ok(()) => done += 1,
                Err(why) => left.push(format!("{path}: {why}")),
            }
        }
    }
    drop(stage);
    // This fails if the directory still contains the work of another process.
    let _ = fs::remove_dir(root.proc_path().join(TRASH));
    print(&say!("{}: {} restored from {}\n", watch, counted(done, words::FILES), remote.name()));
    for line in &left {
        complain(&say!("syncsup: not restored: {}", line));
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

/// The directory for fetched files. It belongs to this process, and is used through its open descriptor, even if it is
/// renamed.
struct StagingDirectory<'a> {
    aside: &'a Root,
    name: OsString,
    root: Root,
    _lock: Option<Lock>,
}

impl<'a> StagingDirectory<'a> {
    fn new(aside: &'a Root) -> io::Result<Self> {
        // The library creates an unused name, and tries another if one is taken.
        let made = own::directory_in(&aside.proc_path(), STAGE)?.keep();
        let name = made.file_name().unwrap_or_default().to_owned();
        let root = aside.subdir(&RelPath::root().join(&name))?;
        if !is_own(&root) {
            let why = say!("{} was replaced meanwhile; try again", name.display());
            return Err(io::Error::other(why));
        }
        let lock = lock::take(&root.proc_path().join(LOCK), true)?;
        Ok(Self { aside, name, root, _lock: lock })
    }

    fn make(&self, name: &str) -> io::Result<Root> {
        DirBuilder::new().mode(0o700).create(self.root.proc_path().join(name))?;
        self.root.subdir(&RelPath::root().join(OsStr::new(name)))
    }
}

impl Drop for StagingDirectory<'_> {
    fn drop(&mut self) {
        remove(self.aside, &self.name);
    }
}

fn remove(aside: &Root, name: &OsStr) {
    if let Err(error) = fs::remove_dir_all(aside.proc_path().join(name)) {
        complain(&say!("syncsup: cannot remove {}: {}", printable(name.as_bytes()), error));
    }
}

/// True if no other user can write to the directory. A user who can write to the localpath could create one of that
/// name.
fn is_own(directory: &Root) -> bool {
    let user = User::current();
    let stat = fs::metadata(directory.proc_path());
    stat.is_ok_and(|stat| stat.uid() == user.uid && stat.mode() & 0o022 == 0)
}

/// Removes what killed processes have left behind.
fn clear_leftovers(aside: &Root) {
    let Ok(names) = aside.names() else { return };
    for name in names.iter().filter(|n| n.name.as_encoded_bytes().starts_with(STAGE.as_bytes())) {
        let Ok(stage) = aside.subdir(&RelPath::root().join(&name.name)) else { continue };
        if is_own(&stage)
            && let Ok(Some(_lock)) = lock::take(&stage.proc_path().join(LOCK), false)
        {
            remove(aside, &name.name);
        }
    }
}

/// Moves one fetched file to its place.
fn put(
    fetched: &Root,
    root: &Root,
    path: &RelPath,
    force: bool,
) -> std::result::Result<(), String> {
    let words = |e: io::Error| match e.raw_os_error() {
        Some(EXDEV) => say!("its directory is on a different file system than the localpath"),
        _ => e.to_string(),
    };
    let parent = path.parent().unwrap_or_else(RelPath::root);
    let from = opened(fetched, &parent).map_err(|_| say!("the remote did not send it"))?;
    let name = RelPath::root().join(path.name());
    from.lstat(&name).map_err(|_| say!("the remote did not send it"))?;
    let to = made(fetched, root, &parent).map_err(words)?;
    match to.lstat(&name) {
        Ok(stat) if stat.kind == Kind::Dir => return Err(say!("it is a directory now")),
        Ok(_) if !force => return Err(say!("it exists already; --force overwrites it")),
        Ok(_) => {}
        Err(e) if e.raw_os_error() == Some(ENOENT) => {}
        Err(e) => return Err(words(e)),
    }
    files::rename_between(&from, &to, path.name(), force).map_err(words)
}

/// Opens a directory below an open one, one component at a time, without following symbolic links.
fn opened(root: &Root, path: &RelPath) -> io::Result<Root> {
    let mut at = root.subdir(&RelPath::root())?;
    for part in path.as_bytes().split(|&b| b == b'/').filter(|part| !part.is_empty()) {
        at = at.subdir(&one(part))?;
    }
    Ok(at)
}

/// The same in the localpath. Missing directories are created with the mode and owner of the fetched ones.
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
                // Only root can change the owner.
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
    RelPath::root().join(OsStr::from_bytes(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_of_a_killed_restore_go_and_running_ones_stay() {
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

    #[test]
    fn planted_files_create_and_remove_nothing_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("elsewhere/kept")).unwrap();
        fs::create_dir_all(at("aside/undelete-lock")).unwrap();
        fs::create_dir_all(at("aside/undelete-fifo")).unwrap();
        let link = std::os::unix::fs::symlink::<std::path::PathBuf, std::path::PathBuf>;
        link(at("elsewhere"), at("aside/undelete-link")).unwrap();
        link(at("elsewhere/made"), at("aside/undelete-lock/lock")).unwrap();
        let mode = nix::sys::stat::Mode::S_IRWXU;
        nix::unistd::mkfifo(&at("aside/undelete-fifo/lock"), mode).unwrap();
        clear_leftovers(&Root::open(&at("aside")).unwrap());
        let names = fs::read_dir(at("elsewhere")).unwrap().flatten().map(|e| e.file_name());
        assert_eq!(names.collect::<Vec<_>>(), ["kept"]);
        if User::current().uid == 0 {
            let theirs = at("aside/undelete-theirs");
            fs::create_dir(&theirs).unwrap();
            std::os::unix::fs::chown(&theirs, Some(1234), None).unwrap();
            clear_leftovers(&Root::open(&at("aside")).unwrap());
            assert!(theirs.exists() && !theirs.join(LOCK).exists());
        }
    }

    #[test]
    fn a_staging_directory_is_private_and_ignores_a_replaced_name() {
        let dir = tempfile::tempdir().unwrap();
        let aside = Root::open(dir.path()).unwrap();
        let stage = StagingDirectory::new(&aside).unwrap();
        let name = dir.path().join(&stage.name);
        assert_eq!(fs::metadata(&name).unwrap().mode() & 0o777, 0o700);
        fs::rename(&name, dir.path().join("moved")).unwrap();
        fs::create_dir(dir.path().join("other")).unwrap();
        std::os::unix::fs::symlink("other", &name).unwrap();
        stage.make("2026").unwrap();
        drop(stage);
        assert!(dir.path().join("moved/2026").exists());
        assert_eq!(fs::read_dir(dir.path().join("other")).unwrap().count(), 0);
    }
}
