//! Reads file metadata: an open root, lstat below it, directory listings, file systems.

use crate::path::RelPath;
use crate::root_id::{DEVICE_ID, RootId};
use crate::stat::{Kind, Stat};
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, StatFs, StatxAttributes, StatxFlags,
    fstat, fstatfs, openat, renameat_with, statat, statfs, statx,
};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// A file whose blocks fall short of its size by this many bytes is sparse.
const SPARSE_LEAST: u64 = 64 << 10;

/// An open root directory. It keeps its file system busy, so hold it only while it is needed.
pub struct Root {
    fd: OwnedFd,
    /// Identity of the root.
    pub stat: Stat,
}

/// A name in a directory, and its kind when the file system reports it without a stat.
pub struct Name {
    /// The name.
    pub name: OsString,
    /// Its kind, if known.
    pub kind: Option<Kind>,
}

/// True when an error means that a path is not a directory: nothing exists at it, or a component above it is missing or
/// not a directory.
pub fn is_no_directory(error: &io::Error) -> bool {
    let looped = Errno::from_io_error(error) == Some(Errno::LOOP);
    looped || matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Properties of the file system under a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSystem {
    /// Changes may come from other machines, so inotify and ctime are not reliable.
    pub network: bool,
    /// Its identity while it is mounted. It begins with [`DEVICE_ID`] where the kernel derives it from the device
    /// number (XFS and others): it is then only comparable within one boot.
    pub id: String,
}

impl Root {
    /// Opens the directory at `path` and follows a symbolic link at its end.
    pub fn open(path: &Path) -> io::Result<Self> {
        let fd =
            openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let stat = stat_of(&fstat(&fd)?);
        Ok(Self { fd, stat })
    }

    /// Opens the same directory from a descriptor that was opened with O_PATH.
    pub(super) fn at(directory: &OwnedFd) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = openat(directory, ".", flags, Mode::empty())?;
        let stat = stat_of(&fstat(&fd)?);
        Ok(Self { fd, stat })
    }

    /// lstat of a path below the root.
    pub fn lstat(&self, path: &RelPath) -> io::Result<Stat> {
        lstat_at(self.fd.as_fd(), path.as_path())
    }

    /// True when this path below the root is a mount point now. Where the kernel does not report it (before 5.8), true
    /// for a directory on another device than its parent. That includes a subvolume of btrfs.
    pub fn is_mounted(&self, path: &RelPath) -> bool {
        let Some(parent) = path.parent() else { return false };
        is_mount_root(self.fd.as_fd(), path.as_path()).unwrap_or_else(|| {
            let above = if parent.is_root() { Ok(self.stat) } else { self.lstat(&parent) };
            matches!((self.lstat(path), above), (Ok(here), Ok(above)) if here.dev != above.dev)
        })
    }

    /// A number for what is mounted at this path below the root; `None` if nothing is. Something else that is mounted there
    /// later has another number, where the kernel reports one (from 5.8 on), unless it is mounted very soon (before 6.8).
    pub fn mount_number(&self, path: &RelPath) -> Option<u64> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        let stat = statx(&self.fd, path.as_path(), flags, StatxFlags::MNT_ID);
        self.is_mounted(path).then(|| stat.map_or(0, |stat| stat.stx_mnt_id))
    }

    /// True when this directory itself is the root of a mount; `None` where the kernel does not report it.
    pub fn is_mount_root(&self) -> Option<bool> {
        is_mount_root(self.fd.as_fd(), Path::new(""))
    }

    /// A name for what is mounted at this directory: the file system, and which directory of the file system. The boot
    /// is included where the file system has no lasting name.
    pub fn identity(&self) -> io::Result<String> {
        let id = self.file_system()?.id;
        let boot = if id.starts_with(DEVICE_ID) { boot_id()? } else { String::new() };
        Ok(format!("{id}:{}:{boot}", self.stat.ino))
    }

    /// Opens a directory below the root without following a symbolic link in the last component.
    pub fn subdir(&self, path: &RelPath) -> io::Result<Root> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(&self.fd, path.as_path(), flags, Mode::empty())?;
        let stat = stat_of(&fstat(&fd)?);
        Ok(Self { fd, stat })
    }

    /// The names in this directory, without `.` and `..`.
    pub fn names(&self) -> io::Result<Vec<Name>> {
        self.some_names(usize::MAX)
    }

    /// Names in this directory, without `.` and `..`, up to a limit.
    pub fn some_names(&self, most: usize) -> io::Result<Vec<Name>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.fd)? {
            if names.len() == most {
                break;
            }
            let entry = entry?;
            let bytes = entry.file_name().to_bytes();
            if bytes != b"." && bytes != b".." {
                names.push(Name {
                    name: OsString::from_vec(bytes.to_vec()),
                    kind: kind(entry.file_type()),
                });
            }
        }
        Ok(names)
    }

    /// The topmost excluded directories at or below `tops`, at most `most`. Only their direct entries are read when not
    /// `deep`. Excluded directories are not entered. `beat` is called for every directory that is read.
    pub fn excluded_below(
        &self,
        tops: Vec<RelPath>,
        deep: bool,
        most: usize,
        excludes: impl Fn(&RelPath) -> bool,
        beat: impl Fn(),
    ) -> Vec<RelPath> {
        let (mut found, mut left) = (Vec::new(), std::collections::VecDeque::from(tops));
        while let Some(directory) = left.pop_front() {
            beat();
            for name in self.names_in(&directory) {
                let path = directory.join(&name.name);
                let kind = name.kind.or_else(|| self.lstat(&path).ok().map(|stat| stat.kind));
                // A name that cannot be examined may be a directory.
                if !matches!(kind, Some(Kind::Dir) | None) {
                    continue;
                }
                if excludes(&path) {
                    found.push(path);
                    if found.len() == most {
                        return found;
                    }
                } else if deep && kind.is_some() {
                    left.push_back(path);
                }
            }
        }
        found
    }

    /// The names in a directory. Empty where the directory is missing or unreadable: rsync reports that.
    fn names_in(&self, directory: &RelPath) -> Vec<Name> {
        let names = match directory.is_root() {
            true => self.names(),
            false => self.subdir(directory).and_then(|open| open.names()),
        };
        names.unwrap_or_default()
    }

    /// The names in directories, and below them when `deep`, for which `stands_out` is true. Does not descend into such
    /// a name.
    pub fn names_below(
        &self,
        tops: Vec<RelPath>,
        deep: bool,
        stands_out: impl Fn(&RelPath) -> bool,
        enters: impl Fn(&RelPath) -> bool,
        beat: impl Fn(),
    ) -> Vec<RelPath> {
        let (mut found, mut left) = (Vec::new(), std::collections::VecDeque::from(tops));
        while let Some(directory) = left.pop_front() {
            beat();
            for name in self.names_in(&directory) {
                let path = directory.join(&name.name);
                if stands_out(&path) {
                    found.push(path);
                } else if deep {
                    let kind = name.kind.or_else(|| self.lstat(&path).ok().map(|stat| stat.kind));
                    if kind == Some(Kind::Dir) && enters(&path) {
                        left.push_back(path);
                    }
                }
            }
        }
        found
    }

    /// A path to this directory itself, whatever its name refers to now. Valid in this process and, as a working
    /// directory, in a process that it starts.
    pub fn proc_path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.fd.as_raw_fd()))
    }

    /// Identity of the directory.
    pub fn id(&self) -> io::Result<RootId> {
        Ok(root_id(&self.stat, self.file_system()?))
    }

    /// The file system under it.
    pub fn file_system(&self) -> io::Result<FileSystem> {
        Ok(described(&fstatfs(&self.fd)?))
    }
}

/// Moves `name` from one open directory to another. Replaces an existing target only when `replace`.
pub fn rename_between(from: &Root, to: &Root, name: &OsStr, replace: bool) -> io::Result<()> {
    let flags = if replace { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
    Ok(renameat_with(&from.fd, name, &to.fd, name, flags)?)
}

/// Exchanges two names.
#[cfg(test)]
pub fn exchange(a: &Path, b: &Path) -> io::Result<()> {
    Ok(renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE)?)
}

/// Identity of the directory at a path, without opening it: an open directory keeps its file system busy.
pub fn root_id_at(path: &Path) -> io::Result<RootId> {
    Ok(root_id(&stat(path)?, described(&statfs(path)?)))
}

fn root_id(stat: &Stat, fs: FileSystem) -> RootId {
    RootId { dev: stat.dev, ino: stat.ino, fs_id: fs.id }
}

fn described(fs: &StatFs) -> FileSystem {
    let magic = fs.f_type as u64 & 0xffff_ffff;
    // NFS, SMB, CIFS, SMB2, FUSE, 9P, Ceph, AFS, OCFS2, GFS2, Lustre
    let network = [
        0x6969,
        0x517b,
        0xff53_4d42,
        0xfe53_4d42,
        0x6573_5546,
        0x0102_1997,
        0x00c3_6400,
        0x5346_414f,
        0x7461_636f,
        0x0116_1970,
        0x0bd0_0bd0,
    ]
    .contains(&magic);
    let words: Vec<String> = format!("{:?}", fs.f_fsid)
        .split(|c: char| !c.is_ascii_digit() && c != '-')
        .filter(|w| !w.is_empty())
        .map(str::to_owned)
        .collect();
    // ext2 to ext4, btrfs, ZFS and bcachefs derive theirs from a UUID.
    let lasting = [0xef53, 0x9123_683e, 0x2fc1_2fc1, 0xca45_1a4e].contains(&magic);
    let prefix = if lasting { "" } else { DEVICE_ID };
    FileSystem { network, id: format!("{prefix}{magic:x}:{}", words.join(",")) }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn is_mount_root(directory: BorrowedFd<'_>, path: &Path) -> Option<bool> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::EMPTY_PATH;
    let stat = statx(directory, path, flags, StatxFlags::empty()).ok()?;
    let told = stat.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT);
    told.then(|| stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// True if the kernel reports what is a mount point (from 5.8 on).
pub fn reports_mounts() -> bool {
    is_mount_root(CWD, Path::new("/")).is_some()
}

/// lstat of a name in an open directory (or of a longer relative path).
pub fn lstat_at(directory: BorrowedFd<'_>, path: &Path) -> io::Result<Stat> {
    Ok(stat_of(&statat(directory, path, AtFlags::SYMLINK_NOFOLLOW)?))
}

/// lstat of an absolute path.
pub fn lstat(path: &Path) -> io::Result<Stat> {
    Ok(stat_of(&statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)?))
}

/// stat of an absolute path, following symbolic links.
pub fn stat(path: &Path) -> io::Result<Stat> {
    Ok(stat_of(&statat(CWD, path, AtFlags::empty())?))
}

/// The identity of this boot.
pub fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

fn kind(file_type: FileType) -> Option<Kind> {
    match file_type {
        FileType::Directory => Some(Kind::Dir),
        FileType::RegularFile => Some(Kind::File),
        FileType::Symlink => Some(Kind::Symlink),
        FileType::Unknown => None,
        _ => Some(Kind::Other),
    }
}

#[allow(
    clippy::unnecessary_cast,
    clippy::useless_conversion,
    reason = "the types differ between architectures"
)]
fn stat_of(raw: &rustix::fs::Stat) -> Stat {
    Stat {
        kind: kind(FileType::from_raw_mode(raw.st_mode)).unwrap_or(Kind::Other),
        size: raw.st_size as u64,
        mtime_ns: (raw.st_mtime as i64)
            .saturating_mul(1_000_000_000)
            .saturating_add(raw.st_mtime_nsec as i64),
        ctime_ns: (raw.st_ctime as i64)
            .saturating_mul(1_000_000_000)
            .saturating_add(raw.st_ctime_nsec as i64),
        sparse: (raw.st_size as u64).saturating_sub(raw.st_blocks as u64 * 512) >= SPARSE_LEAST,
        nlink: raw.st_nlink as u64,
        dev: raw.st_dev as u64,
        ino: raw.st_ino as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_point_is_the_root_of_a_mount() {
        let path = |text: &str| RelPath::new(text).unwrap();
        let root = Root::open(Path::new("/")).unwrap();
        assert!(root.is_mounted(&path("proc")) && !root.is_mounted(&path("proc/self")));
        assert!(!root.is_mounted(&path("no/such")) && !root.is_mounted(&RelPath::root()));
        let [proc, sys] = ["proc", "sys"].map(|name| root.subdir(&path(name)).unwrap());
        assert!(
            proc.is_mount_root() != Some(false)
                && proc.identity().unwrap() != sys.identity().unwrap()
        );
        assert_ne!(proc.subdir(&path("self/fd")).unwrap().is_mount_root(), Some(true));
    }
}
