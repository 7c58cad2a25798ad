//! Wake pipes: a byte says 'look in the journal'. A full pipe or a lost byte loses nothing.

use rustix::pipe::{PipeFlags, pipe_with};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// A pipe: reading end, writing end; neither ever blocks.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?)
}

/// Wakes the process that reads `writer`'s pipe.
pub fn wake(writer: impl AsFd) {
    // Full: it is awake already. Closed: it looks when it starts again.
    let _ = rustix::io::write(writer, b"w");
}

/// Empties the pipe.
pub fn drain(reader: impl AsFd) {
    let mut bytes = [0; 512];
    while matches!(rustix::io::read(&reader, &mut bytes), Ok(n) if n > 0) {}
}
