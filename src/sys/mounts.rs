//! The mount table (proc(5), `mountinfo`), and its changes below one directory.

use crate::path::RelPath;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The table, and its mounts below the directory at the last read.
pub struct Mounts {
    table: File,
    known: BTreeSet<(RelPath, Mount)>,
    /// The table has changed since then.
    changed: bool,
}

/// One mount: its number, its device, and its root directory on that device. The kernel reuses numbers immediately, so
/// the same number elsewhere may be another mount.
type Mount = [Vec<u8>; 3];

impl Mounts {
    /// Opens the table of this process. Nothing has been read yet.
    pub fn open() -> io::Result<Self> {
        let table = File::open("/proc/self/mountinfo")?;
        Ok(Self { table, known: BTreeSet::new(), changed: true })
    }

    /// A wait for a change of the table has ended. The kernel reports each change once.
    pub fn note_change(&mut self) {
        self.changed = true;
    }

    /// The paths below `directory` where something was mounted or unmounted since the last call that succeeded. `None`
    /// when the table did not change at all, unless `again`. A directory that moves together with a mount in it is no
    /// change.
    pub fn look(&mut self, directory: &Path, again: bool) -> io::Result<Option<BTreeSet<RelPath>>> {
        self.changed |= again || has_changed(&self.table)?;
        if !self.changed {
            return Ok(None);
        }
        let mut text = Vec::new();
        self.table.rewind()?;
        self.table.read_to_end(&mut text)?;
        let now = below(&text, directory.canonicalize()?.as_os_str().as_bytes());
        let changes = self.known.symmetric_difference(&now).map(|(path, _)| path.clone()).collect();
        (self.known, self.changed) = (now, false);
        Ok(Some(changes))
    }
}

impl AsFd for Mounts {
    /// To wait for a change ([`super::poll::Interest::Change`]).
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.table.as_fd()
    }
}

/// True if something was mounted or unmounted since the table was opened or this was called.
fn has_changed(table: &File) -> io::Result<bool> {
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    Ok(poll(&mut [PollFd::new(table, PollFlags::PRI)], Some(&at_once))? > 0)
}

/// The mount points below a directory where a lookup may never return, because a server or a process must answer.
pub struct MayHang {
    table: File,
    /// The directory, without symbolic links, and what was found below it.
    known: Option<(PathBuf, BTreeSet<RelPath>)>,
}

impl MayHang {
    /// Opens the table of this process. Nothing has been read yet.
    pub fn open() -> io::Result<Self> {
        Ok(Self { table: File::open("/proc/self/mountinfo")?, known: None })
    }

    /// Those below `directory`. Reads the table only if it has changed.
    pub fn below(&mut self, directory: &Path) -> io::Result<BTreeSet<RelPath>> {
        let directory = directory.canonicalize()?;
        let changed = has_changed(&self.table)?;
        if let Some((of, known)) = &self.known
            && !changed
            && *of == directory
        {
            return Ok(known.clone());
        }
        self.known = None;
        let mut text = Vec::new();
        self.table.rewind()?;
        self.table.read_to_end(&mut text)?;
        let found = hanging(&text, directory.as_os_str().as_bytes());
        self.known = Some((directory, found.clone()));
        Ok(found)
    }
}

/// Types of file systems that answer, or fail, by themselves: they depend on no server and no process.
const LOCAL: [&str; 41] = [
    "aufs",
    "bcachefs",
    "binfmt_misc",
    "bpf",
    "btrfs",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "ecryptfs",
    "efivarfs",
    "erofs",
    "exfat",
    "ext2",
    "ext3",
    "ext4",
    "f2fs",
    "hfsplus",
    "hugetlbfs",
    "iso9660",
    "jfs",
    "mqueue",
    "msdos",
    "nsfs",
    "ntfs3",
    "overlay",
    "proc",
    "pstore",
    "ramfs",
    "reiserfs",
    "rootfs",
    "securityfs",
    "squashfs",
    "sysfs",
    "tmpfs",
    "tracefs",
    "vfat",
    "xfs",
    "zfs",
];

fn hanging(table: &[u8], directory: &[u8]) -> BTreeSet<RelPath> {
    let mut found = BTreeSet::new();
    for line in table.split(|&b| b == b'\n') {
        let mut fields = line.split(|&b| b == b' ').skip_while(|field| *field != b"-").skip(1);
        let Some(kind) = fields.next() else { continue };
        let local = LOCAL.iter().any(|local| local.as_bytes() == kind);
        for (path, _) in below(line, directory) {
            // A later mount over it hides it.
            match local {
                true => found.remove(&path),
                false => found.insert(path),
            };
        }
    }
    found
}

/// The mounts below `directory`, an absolute path without symbolic links.
fn below(table: &[u8], directory: &[u8]) -> BTreeSet<(RelPath, Mount)> {
    let mount = |line: &[u8]| {
        let fields: Vec<&[u8]> = line.split(|&b| b == b' ').collect();
        let [number, _, device, root, point, ..] = fields[..] else { return None };
        let point = unescaped(point);
        let rest = point.strip_prefix(directory)?;
        // `/` already includes the slash.
        let rest = if directory == b"/" { rest } else { rest.strip_prefix(b"/")? };
        let path = RelPath::new(rest).filter(|path| !path.is_root())?;
        Some((path, [number, device, root].map(<[u8]>::to_vec)))
    };
    table.split(|&b| b == b'\n').filter_map(mount).collect()
}

/// The kernel writes white space and backslashes as `\ooo`.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| first == b'\\');
        let code = digits.and_then(|d| std::str::from_utf8(d).ok());
        match code.and_then(|code| u8::from_str_radix(code, 8).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = &after[3..];
            }
            None => {
                out.push(first);
                rest = after;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::poll::{Interest, wait};
    use super::*;
    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};
    use std::time::Duration;

    fn path(text: &str) -> RelPath {
        RelPath::new(text).unwrap()
    }

    #[test]
    fn mounts_below_a_directory_are_found() {
        let table = b"22 1 0:20 / / rw - ext4 /dev/vda rw\n\
            36 22 0:31 / /data rw,noatime shared:1 - xfs /dev/sdb rw\n\
            37 36 0:32 / /data/a\\040b\\134c rw - tmpfs tmpfs rw\n\
            38 36 0:33 /sub /data/m/n rw master:1 - nfs4 h:/x rw\n\
            39 22 0:34 / /database rw - tmpfs tmpfs rw\n\
            nonsense\n";
        let paths = |directory: &[u8]| -> Vec<RelPath> {
            below(table, directory).into_iter().map(|(path, _)| path).collect()
        };
        assert_eq!(paths(b"/data"), [path("a b\\c"), path("m/n")]);
        assert_eq!(paths(b"/").len(), 4);
        assert_eq!(unescaped(b"\\04x\\"), b"\\04x\\");
    }

    #[test]
    fn network_and_fuse_mounts_may_hang() {
        let table = b"36 22 0:31 / /data rw - xfs /dev/sdb rw\n\
            37 36 0:32 / /data/a rw - tmpfs tmpfs rw\n\
            38 36 0:33 /sub /data/m\\040n rw master:1 shared:2 - nfs4 h:/x rw\n\
            39 36 0:34 / /data/f rw - fuse.sshfs u@h: rw\n\
            40 36 0:35 / /data/over rw - cifs //h/s rw\n\
            41 40 0:36 / /data/over rw - tmpfs tmpfs rw\n\
            42 22 0:37 / /other rw - nfs h:/y rw\n\
            nonsense\n";
        assert_eq!(hanging(table, b"/data"), [path("f"), path("m n")].into());
    }

    #[test]
    fn a_wait_ends_when_something_is_mounted() {
        let there = tempfile::tempdir().unwrap();
        let root = there.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("a")).unwrap();
        // With mounts of its own.
        let thread = std::thread::spawn(move || {
            if let Err(why) = unshare(CloneFlags::CLONE_NEWNS) {
                return eprintln!("SKIPPED: no private mount namespace: {why}");
            }
            let set = |what: Option<&str>, at: &Path, flags| {
                mount(what, at, what, flags, None::<&str>).unwrap();
            };
            set(None, Path::new("/"), MsFlags::MS_REC | MsFlags::MS_PRIVATE);
            let table = File::open("/proc/thread-self/mountinfo").unwrap();
            let mut mounts = Mounts { table, known: BTreeSet::new(), changed: true };
            assert_eq!(mounts.look(&root, false).unwrap(), Some([].into()));
            let ends = |mounts: &Mounts, within| {
                wait(&[(mounts.as_fd(), Interest::Change)], Some(within)).unwrap() == [true]
            };
            assert!(!ends(&mounts, Duration::ZERO), "nothing has changed");
            set(Some("tmpfs"), &root.join("a"), MsFlags::empty());
            assert!(ends(&mounts, Duration::from_secs(60)));
            assert!(!ends(&mounts, Duration::ZERO), "each change once");
            mounts.note_change();
            assert_eq!(mounts.look(&root, false).unwrap(), Some([path("a")].into()));
        });
        thread.join().unwrap();
    }

    #[test]
    fn changed_mounts_are_found() {
        let root = Path::new("/");
        let mut mounts = Mounts::open().unwrap();
        assert!(mounts.look(root, false).unwrap().unwrap().contains(&path("proc")));
        assert_eq!(mounts.look(root, false).unwrap(), None);
        // Pretend that the table contained this before.
        mounts.known.insert((path("gone"), [vec![], vec![], vec![]]));
        assert!(mounts.look(Path::new("/no/such"), true).is_err());
        assert_eq!(mounts.look(root, false).unwrap(), Some([path("gone")].into()));
        assert_eq!(mounts.look(root, true).unwrap(), Some([].into()));
    }
}
