//! Standard output and standard error: only this module writes to them. No failure ends the process: not a reader that
//! has closed the pipe, a full disk or a closed descriptor.

use crate::path::lines_as_written;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::stdio::{stderr, stdout};
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, PoisonError};

/// The error that stopped standard output.
static LOST: Mutex<Option<Errno>> = Mutex::new(None);

/// Prints text for people to standard output. No text of a remote, a name or a configuration can move a cursor or
/// change the direction of writing. A failed write is remembered for [`lost`]; after that nothing more is printed.
pub fn print(text: &str) {
    // A caller that needs to know calls `lost`.
    let _ = write(lines_as_written(text).as_bytes());
}

/// The same for a program or a file, such as JSON: the text is printed unchanged.
pub fn print_exactly(text: &str) {
    let _ = write(text.as_bytes());
}

/// The same for raw bytes. Returns the error, for a caller that prints without end.
pub fn write(bytes: &[u8]) -> io::Result<()> {
    let mut lost = LOST.lock().unwrap_or_else(PoisonError::into_inner);
    if lost.is_none() {
        *lost = write_all(stdout(), bytes).err();
    }
    lost.map_or(Ok(()), |errno| Err(errno.into()))
}

/// The error of standard output, if a write failed. A reader that has closed the pipe (`syncsup status | head`) does
/// not count.
pub fn lost() -> Option<io::Error> {
    let lost = LOST.lock().unwrap_or_else(PoisonError::into_inner);
    lost.filter(|errno| *errno != Errno::PIPE).map(Into::into)
}

/// Writes a line to standard error. A failure is ignored, because no other place is left to report it.
pub fn complain(text: &str) {
    draw(&format!("{}\n", lines_as_written(text)));
}

/// Writes text to standard error unchanged, such as a moving progress bar.
pub fn draw(text: &str) {
    let _ = write_all(stderr(), text.as_bytes());
}

fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            // No writable file returns 0.
            Ok(0) => return Err(Errno::IO),
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::INTR) => {}
            // Another process that shares the terminal or the pipe made it non-blocking.
            Err(Errno::AGAIN) => match poll(&mut [PollFd::new(&fd, PollFlags::OUT)], None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            },
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pipe::{PipeFlags, pipe_with};
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::AsFd;

    #[test]
    fn writing_waits_for_a_full_pipe() {
        let (reads, writes) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        rustix::fs::fcntl_setfl(&writes, rustix::fs::OFlags::NONBLOCK).unwrap();
        let much = vec![b'x'; 1 << 20];
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            File::from(reads).read_to_end(&mut all).map(|_| all.len())
        });
        assert_eq!(write_all(writes.as_fd(), &much), Ok(()));
        drop(writes);
        assert_eq!(reader.join().unwrap().unwrap(), much.len());
    }

    #[test]
    fn output_that_accepts_nothing_is_an_error() {
        let (reads, writes) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        drop(reads);
        assert_eq!(write_all(writes.as_fd(), b"x"), Err(Errno::PIPE));
        let full = File::options().write(true).open("/dev/full").unwrap();
        assert_eq!(write_all(full.as_fd(), b"x"), Err(Errno::NOSPC));
        let read_only = File::open("/dev/null").unwrap();
        assert_eq!(write_all(read_only.as_fd(), b"x"), Err(Errno::BADF));
        assert_eq!(write_all(full.as_fd(), b""), Ok(()));
    }
}
