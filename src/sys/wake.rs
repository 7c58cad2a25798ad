//! Wake pipes: a byte means 'read the journal'. A full pipe or a lost byte loses no mark.

use rustix::pipe::{PipeFlags, pipe_with};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// A pipe: reading end, writing end; neither ever blocks.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?)
}

/// Wakes the process that reads `writer`'s pipe.
pub fn wake(writer: impl AsFd) {
    // Full: the process is already awake. Closed: it reads the journal when it restarts.
    let _ = rustix::io::write(writer, b"w");
}

/// Empties the pipe.
pub fn drain(reader: impl AsFd) {
    let mut bytes = [0; 512];
    while matches!(rustix::io::read(&reader, &mut bytes), Ok(n) if n > 0) {}
}
