//! Hands the files of an instance that ran as root over to the user that it runs as from now on. No link is followed,
//! and nothing that root did not write there is touched.

use super::own::Place;
use crate::language::say;
use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Uid, chownat, fchown, fstat, openat,
};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Why a directory is not handed over.
#[derive(Debug)]
pub enum NotHandedOver {
    /// A process holds this lock in it.
    InUse(PathBuf),
    /// This file in it is not what an instance of root has written, and why.
    Foreign(PathBuf, String),
    /// The system's error for this file.
    Refused(PathBuf, io::Error),
}

/// The new owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its number.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// Whether a name directly in the directory, which may be one of a directory, is that of something an instance creates.
pub type IsOurs<'a> = dyn Fn(&OsStr, bool) -> bool + 'a;

/// One file of a directory.
struct Entry {
    name: OsString,
    path: PathBuf,
    stat: Stat,
    fd: OwnedFd,
}

/// A held lock of an instance: it stays free of others until this is dropped.
type Held = nix::fcntl::Flock<File>;

/// Makes `owner` the owner of `dir` and of what root owns in it: first of everything in a directory, then of the
/// directory. What already belongs to `owner` is not entered, so that nothing is handed over where `owner` can write.
/// `is_ours` says whether a name directly in `dir` is an instance's; the others are refused.
pub fn hand_over(dir: &Path, owner: Owner, is_ours: &IsOurs<'_>) -> Result<(), NotHandedOver> {
    let refused = |error: io::Error| NotHandedOver::Refused(dir.to_owned(), error);
    let place = Place::open(dir).map_err(refused)?;
    let fd = listable(place.as_fd(), OsStr::new(".")).map_err(|e| refused(e.into()))?;
    let stat = fstat(&fd).map_err(|e| refused(e.into()))?;
    if stat.st_uid == owner.uid {
        return Ok(());
    }
    // Everything is examined before anything is changed.
    let mut locks = Vec::new();
    examine(&fd, dir, owner, Some(is_ours), &mut locks)?;
    give(&fd, dir, owner)?;
    fchown(&fd, Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)))
        .map_err(|e| refused(e.into()))
}

fn listable(at: impl AsFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(at, name, flags, Mode::empty())
}

/// What root owns in a directory, opened without an effect.
fn of_root(fd: &OwnedFd, dir: &Path, owner: Owner) -> Result<Vec<Entry>, NotHandedOver> {
    let refused = |error: Errno| NotHandedOver::Refused(dir.to_owned(), error.into());
    let mut found = Vec::new();
    for entry in Dir::read_from(fd).map_err(refused)? {
        let entry = entry.map_err(refused)?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes()).to_owned();
        if name == "." || name == ".." {
            continue;
        }
        let path = dir.join(&name);
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = openat(fd, &name, flags, Mode::empty())
            .and_then(|opened| fstat(&opened).map(|stat| (opened, stat)));
        match opened {
            Ok((_, stat)) if stat.st_uid == owner.uid => {}
            Ok((fd, stat)) if stat.st_uid == 0 => found.push(Entry { name, path, stat, fd }),
            Ok((_, stat)) => {
                let why = say!("it belongs to user {}", stat.st_uid);
                return Err(NotHandedOver::Foreign(path, why));
            }
            Err(Errno::NOENT) => {}
            Err(error) => return Err(NotHandedOver::Refused(path, error.into())),
        }
    }
    Ok(found)
}

/// Finds what cannot be handed over, and takes the locks.
fn examine(
    fd: &OwnedFd,
    dir: &Path,
    owner: Owner,
    is_ours: Option<&IsOurs<'_>>,
    locks: &mut Vec<Held>,
) -> Result<(), NotHandedOver> {
    for entry in of_root(fd, dir, owner)? {
        let Entry { name, path, stat, .. } = entry;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let directory = kind == FileType::Directory;
        let foreign = |why: String| Err(NotHandedOver::Foreign(path.clone(), why));
        if is_ours.is_some_and(|is_ours| !is_ours(&name, directory)) {
            return foreign(say!("syncsup did not create it"));
        }
        match kind {
            FileType::Directory if stat.st_mode & 0o022 != 0 => {
                return foreign(say!("others can write it"));
            }
            FileType::Directory => {
                let inner = listable(fd, &name);
                let inner = inner.map_err(|e| NotHandedOver::Refused(path.clone(), e.into()))?;
                examine(&inner, &path, owner, None, locks)?;
            }
            // Root did not create it here, or its content is elsewhere, too.
            FileType::RegularFile if stat.st_nlink > 1 => {
                return foreign(say!("it has more than one hard link"));
            }
            FileType::RegularFile if is_lock(&name) => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = openat(fd, &name, flags, Mode::empty())
                    .map_err(|e| NotHandedOver::Refused(path.clone(), e.into()))?;
                let how = nix::fcntl::FlockArg::LockExclusiveNonblock;
                match nix::fcntl::Flock::lock(file.into(), how) {
                    Ok(lock) => locks.push(lock),
                    Err((_, nix::errno::Errno::EWOULDBLOCK)) => {
                        return Err(NotHandedOver::InUse(path));
                    }
                    Err((_, error)) => return Err(NotHandedOver::Refused(path, error.into())),
                }
            }
            FileType::RegularFile | FileType::Socket => {}
            _ => return foreign(say!("it is neither a file nor a directory nor a socket")),
        }
    }
    Ok(())
}

fn is_lock(name: &OsStr) -> bool {
    name == "lock" || name.as_bytes().ends_with(b".lock")
}

fn give(fd: &OwnedFd, dir: &Path, owner: Owner) -> Result<(), NotHandedOver> {
    for Entry { name, path, stat, fd: entry } in of_root(fd, dir, owner)? {
        let refused = |error: Errno| NotHandedOver::Refused(path.clone(), error.into());
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            give(&listable(fd, &name).map_err(refused)?, &path, owner)?;
        }
        // The file that was looked at, whatever has its name by now.
        let (uid, gid) = (Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)));
        chownat(&entry, "", uid, gid, AtFlags::EMPTY_PATH).map_err(refused)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

    const OWNER: Owner = Owner { uid: 1234, gid: 1234 };

    fn all_ours(_: &OsStr, _: bool) -> bool {
        true
    }

    #[test]
    fn what_root_wrote_is_handed_over_and_what_the_user_can_write_is_not_entered() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("SKIPPED: not root");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let owner = |name: &str| fs::symlink_metadata(at(name)).unwrap().uid();
        for name in ["a", "theirs"] {
            fs::create_dir(at(name)).unwrap();
        }
        for name in ["a/lock", "a/journal.db", "theirs/of-root", "log"] {
            fs::write(at(name), "").unwrap();
        }
        chown(at("theirs"), Some(OWNER.uid), None).unwrap();
        let held = super::super::lock::take(&at("a/lock"), false).unwrap();
        let said = hand_over(dir.path(), OWNER, &all_ours);
        assert!(matches!(said, Err(NotHandedOver::InUse(lock)) if lock == at("a/lock")));
        assert_eq!((owner(""), owner("a"), owner("log")), (0, 0, 0), "nothing has changed");
        drop(held);
        hand_over(dir.path(), OWNER, &all_ours).unwrap();
        for name in ["", "a", "a/lock", "a/journal.db", "theirs", "log"] {
            assert_eq!(owner(name), OWNER.uid, "{name}");
        }
        assert_eq!(owner("theirs/of-root"), 0);
        // It may be root's file from anywhere, moved there by the user.
        fs::write(at("later"), "").unwrap();
        hand_over(dir.path(), OWNER, &all_ours).unwrap();
        assert_eq!(owner("later"), 0);
    }

    #[test]
    fn links_and_directories_of_others_are_not_handed_over() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("SKIPPED: not root");
            return;
        }
        type Plant = fn(&Path);
        let plants: [(Plant, &str); 5] = [
            (|at| symlink("/etc", at.join("x")).unwrap(), "neither a file"),
            (
                |at| nix::unistd::mkfifo(&at.join("x"), nix::sys::stat::Mode::S_IRWXU).unwrap(),
                "neither",
            ),
            (
                |at| fs::hard_link(at.join("d/file"), at.join("x")).unwrap(),
                "more than one hard link",
            ),
            (|at| chown(at.join("d/file"), Some(7), None).unwrap(), "belongs to user 7"),
            (
                |at| fs::set_permissions(at.join("d"), fs::Permissions::from_mode(0o777)).unwrap(),
                "others can write it",
            ),
        ];
        for (plant, why) in plants {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir(dir.path().join("d")).unwrap();
            fs::write(dir.path().join("d/file"), "").unwrap();
            plant(dir.path());
            let said = hand_over(dir.path(), OWNER, &all_ours);
            assert!(
                matches!(&said, Err(NotHandedOver::Foreign(_, said)) if said.contains(why)),
                "{why}: {said:?}"
            );
            assert_eq!(fs::metadata(dir.path().join("d")).unwrap().uid(), 0, "{why}");
        }
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("x"), "").unwrap();
        let said = hand_over(dir.path(), OWNER, &|_, _| false);
        assert!(matches!(said, Err(NotHandedOver::Foreign(..))), "{said:?}");
    }
}
