//! Signals as a descriptor to poll: each signal sets its flag and writes a byte into one pipe.

use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGPIPE, SIGTERM};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The signals that a process waits for.
pub struct Signals {
    pipe: UnixStream,
    stop: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
    child: Arc<AtomicBool>,
}

/// The signals received since the last call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrived {
    /// SIGTERM or SIGINT.
    pub stop: bool,
    /// SIGHUP.
    pub reload: bool,
    /// SIGCHLD.
    pub child: bool,
}

impl Signals {
    /// Catches SIGTERM, SIGINT, SIGHUP and SIGCHLD; SIGPIPE is ignored, and a write to a closed pipe is an error.
    pub fn catch() -> io::Result<Self> {
        let (reader, writer) = UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        let flag = || Arc::new(AtomicBool::new(false));
        let (stop, reload, child) = (flag(), flag(), flag());
        let of = [(SIGTERM, &stop), (SIGINT, &stop), (SIGHUP, &reload), (SIGCHLD, &child)];
        for (signal, flag) in of {
            // The flag comes first: the byte means 'read the flags'.
            signal_hook::flag::register(signal, Arc::clone(flag))?;
            signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
        }
        signal_hook::flag::register(SIGPIPE, flag())?;
        Ok(Self { pipe: reader, stop, reload, child })
    }

    /// The signals received since the last call.
    pub fn take(&mut self) -> Arrived {
        let mut bytes = [0; 64];
        while matches!(self.pipe.read(&mut bytes), Ok(n) if n > 0) {}
        let take = |flag: &AtomicBool| flag.swap(false, Ordering::SeqCst);
        Arrived { stop: take(&self.stop), reload: take(&self.reload), child: take(&self.child) }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}
