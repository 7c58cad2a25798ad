//! Locks that a process and its rsync hold until they exit.

use super::own::{self, Whose, judge};
use nix::fcntl::{FcntlArg, FdFlag, Flock, FlockArg, fcntl};
use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Device and inode of a file.
pub type FileId = (u64, u64);

/// A held lock. It is released when its last descriptor is closed.
pub struct Lock(Flock<File>);

impl Lock {
    /// Another descriptor of the lock, for a child. The lock stays taken while either is open and this one is not
    /// dropped.
    pub fn share(&self) -> io::Result<OwnedFd> {
        Ok(self.0.try_clone()?.into())
    }

    /// Device and inode of the locked file. Its path may refer to another file by now.
    pub fn id(&self) -> io::Result<FileId> {
        let stat = rustix::fs::fstat(self.0.as_fd())?;
        #[allow(clippy::unnecessary_cast, reason = "the types differ between architectures")]
        Ok((stat.st_dev as u64, stat.st_ino as u64))
    }

    /// Writes the pid of this process into the file, for [`holder`].
    pub fn sign(&self) -> io::Result<()> {
        let mut file: &File = &self.0;
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(format!("{}\n", std::process::id()).as_bytes())
    }

    /// Runs `what` (which starts a process) while no child inherits this lock. By default every child inherits it.
    pub fn hidden<T>(&self, what: impl FnOnce() -> T) -> io::Result<T> {
        fcntl(&*self.0, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        let done = what();
        fcntl(&*self.0, FcntlArg::F_SETFD(FdFlag::empty()))?;
        Ok(done)
    }

    /// True when this was the last process that shared the lock: it now holds the lock exclusively. If false, the lock
    /// may be lost.
    pub fn is_last(&self) -> bool {
        let fd = self.0.as_fd();
        rustix::fs::flock(fd, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_ok()
    }
}

/// The process that last signed the lock at `path`.
pub fn holder(path: &Path) -> Option<u32> {
    // The pid of a process; any other content is ignored.
    std::str::from_utf8(&own::read(path, 32).ok()?).ok()?.trim().parse().ok()
}

/// Takes a shared lock at `path`, or `None` when a process holds it exclusively.
pub fn join(path: &Path) -> io::Result<Option<Lock>> {
    lock(path, FlockArg::LockSharedNonblock)
}

/// Takes the lock at `path` (created if missing, 0600), or `None` when another process holds it. With `inherit`, the
/// children of this process hold it too: a successor starts only when an orphaned rsync has exited as well (rule 2).
pub fn take(path: &Path, inherit: bool) -> io::Result<Option<Lock>> {
    let lock = lock(path, FlockArg::LockExclusiveNonblock)?;
    if inherit && let Some(lock) = &lock {
        fcntl(&*lock.0, FcntlArg::F_SETFD(FdFlag::empty()))?;
    }
    Ok(lock)
}

/// Takes the lock at `path` exclusively. A process that has just been killed may still hold it for some milliseconds.
pub fn take_over(path: &Path) -> io::Result<Option<Lock>> {
    for _ in 0..50 {
        if let Some(lock) = take(path, false)? {
            return Ok(Some(lock));
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    Ok(None)
}

fn lock(path: &Path, how: FlockArg) -> io::Result<Option<Lock>> {
    // Where other users can write, a link or a pipe in its place is not opened.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(0o600).custom_flags(flags);
    let file = options.open(path)?;
    judge(&rustix::fs::fstat(&file)?, Whose::Own)?;
    match Flock::lock(file, how) {
        Ok(lock) => Ok(Some(Lock(lock))),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_names_its_holder() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        std::fs::write(&path, "12345678901\n").unwrap();
        assert_eq!(holder(&path), None);
        let lock = take(&path, false).unwrap().unwrap();
        lock.sign().unwrap();
        lock.sign().unwrap();
        assert_eq!(holder(&path), Some(std::process::id()));
    }

    #[test]
    fn a_link_or_pipe_in_place_of_a_lock_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::os::unix::fs::symlink(at("made"), at("link")).unwrap();
        nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::fs::write(at("file"), "").unwrap();
        std::fs::hard_link(at("file"), at("second")).unwrap();
        for name in ["link", "fifo", "second"] {
            assert!(take(&at(name), false).is_err(), "{name}");
            assert!(join(&at(name)).is_err(), "{name}");
        }
        assert!(!at("made").exists());
    }

    #[test]
    fn the_last_holder_of_a_shared_lock_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let (a, b) = (join(&path).unwrap().unwrap(), join(&path).unwrap().unwrap());
        assert!(take(&path, false).unwrap().is_none());
        assert!(!a.is_last());
        drop(a);
        assert!(b.is_last());
        assert!(join(&path).unwrap().is_none(), "held alone");
        drop(b);
        assert!(take(&path, false).unwrap().is_some());
    }
}
