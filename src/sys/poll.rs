//! Waits for descriptors.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// The event to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Data to read, or end of file.
    Read,
    /// The same, and room to write.
    ReadWrite,
    /// A change of the mount table.
    Change,
}

/// Waits until one of `fds` is ready or `timeout` has passed (`None`: forever), and returns which are ready. A signal
/// ends the wait early.
pub fn wait(
    fds: &[(BorrowedFd<'_>, Interest)],
    timeout: Option<Duration>,
) -> io::Result<Vec<bool>> {
    let mut polled: Vec<PollFd<'_>> = fds
        .iter()
        .map(|(fd, interest)| {
            let flags = match interest {
                Interest::Read => PollFlags::IN,
                Interest::ReadWrite => PollFlags::IN | PollFlags::OUT,
                Interest::Change => PollFlags::PRI,
            };
            PollFd::from_borrowed_fd(*fd, flags)
        })
        .collect();
    // Rounded up to a millisecond, so that a timer does not wake too early and spin.
    let timeout = timeout.map(|t| {
        let t = t + Duration::from_micros(100);
        Timespec { tv_sec: t.as_secs().min(1 << 30) as i64, tv_nsec: i64::from(t.subsec_nanos()) }
    });
    match poll(&mut polled, timeout.as_ref()) {
        Ok(_) => Ok(polled.iter().map(|p| !p.revents().is_empty()).collect()),
        Err(Errno::INTR) => Ok(vec![false; fds.len()]),
        Err(e) => Err(e.into()),
    }
}
