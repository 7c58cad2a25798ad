//! Private files of this program in directories where other users can write. Each is checked before it is opened. No
//! open blocks, no link of another user is followed, and reads are bounded.

use super::files::Root;
use crate::language::say;
use crate::path::names_from_last;
use crate::trust::User;
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, fstat, openat, readlinkat, renameat,
    renameat_with, statat, unlinkat,
};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

/// The most links that are followed on one path, as in the kernel.
const LINKS_MOST: usize = 40;

/// A directory that was opened component by component, so that no other process can change the meaning of the path
/// while it is used.
pub struct Place {
    fd: OwnedFd,
}

/// A file that is refused: what it is, and what to do.
fn refused(what: impl std::fmt::Display) -> io::Error {
    io::Error::other(say!("{}; examine it, and move it away", what))
}

/// The directory and the name of a path.
pub fn split(path: &Path) -> io::Result<(Place, &OsStr)> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    // The parent of a bare name is empty, which means the working directory.
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => Path::new("/"),
    };
    Ok((Place::open(parent)?, name))
}

/// The content of a private file, see [`Place::read`].
pub fn read(path: &Path, most_bytes: u64) -> io::Result<Vec<u8>> {
    let (place, name) = split(path)?;
    place.read(name, most_bytes)
}

/// The content of a regular file of any owner, unless it is larger than `most_bytes`. Its content is not trusted.
pub fn glance(path: &Path, most_bytes: u64) -> io::Result<Vec<u8>> {
    let (place, name) = split(path)?;
    all_of(place.open_file(name, Whose::Anybodys)?, most_bytes)
}

fn all_of(file: File, most_bytes: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(most_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > most_bytes {
        true => Err(refused(say!("it is larger than {} bytes", most_bytes))),
        false => Ok(bytes),
    }
}

/// A new directory in `dir`, mode 0700 whatever the umask is. It is removed when it is dropped.
pub fn directory_in(dir: &Path, prefix: &str) -> io::Result<tempfile::TempDir> {
    use std::os::unix::fs::PermissionsExt;
    let private = std::fs::Permissions::from_mode(0o700);
    tempfile::Builder::new().prefix(prefix).permissions(private).tempdir_in(dir)
}

/// The same in the directory for temporary files.
pub fn directory() -> io::Result<tempfile::TempDir> {
    directory_in(&std::env::temp_dir(), "syncsup-")
}

impl Place {
    /// Opens a directory. Links on the path are followed when root or this user owns them.
    pub fn open(path: &Path) -> io::Result<Self> {
        let user = User::current();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = |at: &OwnedFd, name: &OsStr| openat(at, name, flags, Mode::empty());
        let root = || openat(CWD, "/", flags, Mode::empty());
        let mut left = names_from_last(&std::path::absolute(path)?);
        let (mut fd, mut links) = (root()?, 0);
        while let Some(name) = left.pop() {
            match open(&fd, &name) {
                Ok(next) => fd = next,
                Err(error @ (Errno::NOTDIR | Errno::LOOP)) => {
                    let stat = statat(&fd, &name, AtFlags::SYMLINK_NOFOLLOW)?;
                    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
                        return Err(error.into());
                    }
                    links += 1;
                    if !user.trusts(stat.st_uid) || links > LINKS_MOST {
                        return Err(refused(say!(
                            "{} in its path is a symbolic link of user {}",
                            Path::new(&name).display(),
                            stat.st_uid
                        )));
                    }
                    let target = readlinkat(&fd, &name, Vec::new())?.into_bytes();
                    if target.starts_with(b"/") {
                        fd = root()?;
                    }
                    left.extend(names_from_last(Path::new(&OsString::from_vec(target))));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Self { fd })
    }

    /// The directory as one that can be listed.
    pub fn root(&self) -> io::Result<Root> {
        Root::at(&self.fd)
    }

    /// The file at a name. `None` when nothing exists at it; an error when it is not a regular file, belongs to another
    /// user, or has more than one hard link.
    fn look(&self, name: &OsStr) -> io::Result<Option<()>> {
        match statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => judge(&stat, Whose::Own).map(Some),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens a regular file of root or this user for reading.
    pub fn file(&self, name: &OsStr) -> io::Result<File> {
        self.open_file(name, Whose::Own)
    }

    fn open_file(&self, name: &OsStr, whose: Whose) -> io::Result<File> {
        // Check first: merely opening a device may have an effect.
        judge(&statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)?, whose)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = openat(&self.fd, name, flags | OFlags::NOCTTY, Mode::empty())?;
        judge(&fstat(&fd)?, whose)?;
        Ok(fd.into())
    }

    /// The content of such a file, unless it is larger than `most_bytes`.
    pub fn read(&self, name: &OsStr, most_bytes: u64) -> io::Result<Vec<u8>> {
        all_of(self.file(name)?, most_bytes)
    }

    /// Writes a file of these bytes, mode 0600, at a name. The file is never half written, and it replaces only a
    /// regular private file.
    pub fn write(&self, name: &OsStr, bytes: &[u8]) -> io::Result<()> {
        self.look(name)?;
        let new = OsString::from(format!(".syncsup-{:08x}{:08x}", std::process::id(), unlikely()?));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let fd = openat(&self.fd, &new, flags | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)?;
        let mut file = File::from(fd);
        let done = file.write_all(bytes);
        let done = done.and_then(|()| Ok(renameat(&self.fd, &new, &self.fd, name)?));
        if done.is_err() {
            let _ = unlinkat(&self.fd, &new, AtFlags::empty());
        }
        done
    }

    /// Renames a file within the directory; `AlreadyExists` when the new name is taken.
    pub fn rename(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        match renameat_with(&self.fd, from, &self.fd, to, RenameFlags::NOREPLACE) {
            // A file system, or a kernel (before 3.15), without RENAME_NOREPLACE: check again, then use a plain rename.
            Err(Errno::INVAL | Errno::NOSYS) if self.look(to)?.is_none() => {
                Ok(renameat(&self.fd, from, &self.fd, to)?)
            }
            done => Ok(done?),
        }
    }
}

impl AsFd for Place {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The owner that a file must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// Root or this user, and no other hard link.
    Own,
    /// Any owner.
    Anybodys,
}

/// Refuses a file that is not regular, and a file of another user.
pub(super) fn judge(stat: &rustix::fs::Stat, whose: Whose) -> io::Result<()> {
    let what = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile if whose == Whose::Anybodys => return Ok(()),
        FileType::RegularFile => {
            if !User::current().trusts(stat.st_uid) {
                return Err(refused(say!("it belongs to user {}", stat.st_uid)));
            }
            // In a directory that all users can write to, it may be a hard link to any file of root.
            if stat.st_nlink > 1 {
                return Err(refused(say!("it has more than one hard link")));
            }
            return Ok(());
        }
        FileType::Symlink => say!("a symbolic link"),
        FileType::Fifo => say!("a named pipe"),
        FileType::Directory => say!("a directory"),
        FileType::Socket => say!("a socket"),
        FileType::CharacterDevice | FileType::BlockDevice => say!("a device"),
        FileType::Unknown => say!("a file of unknown type"),
    };
    Err(refused(say!("it is {}, not a regular file", what)))
}

fn unlikely() -> io::Result<u32> {
    let mut bytes = [0; 4];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u32::from_ne_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
    use std::os::unix::net::UnixListener;

    fn said(result: io::Result<Vec<u8>>) -> String {
        result.map_or_else(|e| e.to_string(), |bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn only_regular_files_are_read_and_replaced_without_blocking() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let place = Place::open(dir.path()).unwrap();
        nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        fs::create_dir(at("dir")).unwrap();
        fs::write(at("other"), "secret").unwrap();
        symlink("other", at("link")).unwrap();
        symlink("none", at("dangling")).unwrap();
        symlink("/dev/zero", at("endless")).unwrap();
        fs::write(at("two"), "x").unwrap();
        fs::hard_link(at("two"), at("names")).unwrap();
        for (name, why) in [
            ("fifo", "a named pipe"),
            ("socket", "a socket"),
            ("dir", "a directory"),
            ("link", "a symbolic link"),
            ("dangling", "a symbolic link"),
            ("endless", "a symbolic link"),
            ("names", "more than one hard link"),
        ] {
            assert!(said(read(&at(name), 100)).contains(why), "{name}");
            let refused = place.write(OsStr::new(name), b"mine").unwrap_err().to_string();
            assert!(refused.contains(why), "{name}: {refused}");
        }
        assert_eq!(fs::read(at("other")).unwrap(), b"secret");
        assert!(!at("none").exists());
        assert!(said(read(Path::new("/dev/zero"), 100)).contains("a device"));
        assert_eq!(read(&at("gone"), 100).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(said(read(&at("other"), 6)), "secret");
        assert!(said(read(&at("other"), 5)).contains("larger than 5 bytes"));
        fs::set_permissions(at("other"), fs::Permissions::from_mode(0o777)).unwrap();
        place.write(OsStr::new("other"), b"mine").unwrap();
        assert_eq!(said(read(&at("other"), 6)), "mine");
        assert_eq!(fs::metadata(at("other")).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 9, "no temporary is left");
        let taken = place.rename(OsStr::new("other"), OsStr::new("two")).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
        place.rename(OsStr::new("other"), OsStr::new("new")).unwrap();
        assert_eq!(said(read(&at("new"), 6)), "mine");
    }

    #[test]
    fn foreign_files_and_parent_directories_are_refused() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("SKIPPED: not root");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("a/b")).unwrap();
        fs::write(at("a/b/f"), "x").unwrap();
        symlink("a", at("ours")).unwrap();
        symlink(at("a/b"), at("a/theirs")).unwrap();
        lchown(at("a/theirs"), Some(1234), None).unwrap();
        assert_eq!(said(read(&at("ours/b/../b/f"), 9)), "x");
        assert!(said(read(&at("a/theirs/f"), 9)).contains("symbolic link of user 1234"));
        chown(at("a/b/f"), Some(1234), None).unwrap();
        assert!(said(read(&at("a/b/f"), 9)).contains("belongs to user 1234"));
        let (place, name) = (Place::open(&at("a/b")).unwrap(), OsStr::new("f"));
        assert!(place.write(name, b"y").is_err());
        // A directory that is replaced by a link afterwards is still the one that was opened.
        fs::remove_file(at("a/b/f")).unwrap();
        fs::rename(at("a/b"), at("a/moved")).unwrap();
        symlink(at("a"), at("a/b")).unwrap();
        place.write(name, b"y").unwrap();
        assert!(at("a/moved/f").exists() && !at("a/f").exists());
    }
}
