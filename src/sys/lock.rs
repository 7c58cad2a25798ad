//! Locks that a process holds for life, and its rsync with it.

use nix::fcntl::{FcntlArg, FdFlag, Flock, FlockArg, fcntl};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// A held lock; free when the last descriptor of it is closed.
pub struct Lock(#[allow(dead_code, reason = "held, never looked at")] Flock<File>);

/// Takes the lock at `path` (made when missing, 0600), or `None` when another process has it. With `inherit` the
/// children of this process hold it too: a successor starts only when an orphaned rsync is gone as well (rule 2).
pub fn take(path: &Path, inherit: bool) -> io::Result<Option<Lock>> {
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => {
            if inherit {
                fcntl(&*lock, FcntlArg::F_SETFD(FdFlag::empty()))?;
            }
            Ok(Some(Lock(lock)))
        }
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(errno.into()),
    }
}
