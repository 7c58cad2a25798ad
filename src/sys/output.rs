//! Standard output and standard error: the one place that writes to them. Nothing here ends the process, whether the
//! reader has gone away, the disk is full or the descriptor is closed.

use crate::path::lines_as_written;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::stdio::{stderr, stdout};
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, PoisonError};

/// Why standard output takes nothing more.
static LOST: Mutex<Option<Errno>> = Mutex::new(None);

/// Prints text for people to standard output: whatever a remote, a name or a configuration brought into it, nothing in it
/// moves a cursor or turns the direction of writing around. What is refused is remembered for [`lost`]; after that nothing more is printed.
pub fn print(text: &str) {
    // A caller that wants to know asks.
    let _ = write(lines_as_written(text).as_bytes());
}

/// The same for a program or a file that reads it, such as JSON: as it is.
pub fn print_exactly(text: &str) {
    let _ = write(text.as_bytes());
}

/// The same with bytes as they are; an error for a caller that prints without end.
pub fn write(bytes: &[u8]) -> io::Result<()> {
    let mut lost = LOST.lock().unwrap_or_else(PoisonError::into_inner);
    if lost.is_none() {
        *lost = write_all(stdout(), bytes).err();
    }
    lost.map_or(Ok(()), |errno| Err(errno.into()))
}

/// What standard output refused to take; a reader that has gone away (`syncsup status | head`) does not count.
pub fn lost() -> Option<io::Error> {
    let lost = LOST.lock().unwrap_or_else(PoisonError::into_inner);
    lost.filter(|errno| *errno != Errno::PIPE).map(Into::into)
}

/// Writes a line to standard error. A failure is ignored: there is no other place to report it.
pub fn complain(text: &str) {
    draw(&format!("{}\n", lines_as_written(text)));
}

/// Writes to standard error as it is, such as what moves on a terminal.
pub fn draw(text: &str) {
    let _ = write_all(stderr(), text.as_bytes());
}

fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            // Of no file that can be written to.
            Ok(0) => return Err(Errno::IO),
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::INTR) => {}
            // Somebody else who has the terminal or the pipe wants it so.
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
