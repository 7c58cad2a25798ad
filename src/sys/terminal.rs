//! The terminal of `status --watch`.

use rustix::stdio::{stdin, stdout};
use rustix::termios::{
    LocalModes, OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr,
};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// The size of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Lines.
    pub rows: usize,
}

/// The size of the terminal that is standard output, if it is one.
pub fn size() -> Option<Size> {
    let size = isatty(stdout()).then(|| tcgetwinsize(stdout()).ok())??;
    // Some terminals do not report it.
    let rows = if size.ws_row == 0 { 24 } else { size.ws_row };
    Some(Size { rows: usize::from(rows) })
}

/// Reads keys as they are pressed, from the terminal on standard input. Dropping it restores the terminal.
pub struct Keys {
    before: Termios,
}

impl Keys {
    /// `None` when standard input is not a terminal.
    pub fn take() -> Option<Keys> {
        let before = isatty(stdin()).then(|| tcgetattr(stdin()).ok())??;
        let mut now = before.clone();
        // Keys that send a signal still do.
        now.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        tcsetattr(stdin(), OptionalActions::Now, &now).ok()?;
        Some(Keys { before })
    }

    /// Waits for pressed keys and returns them. Empty at end of file.
    pub fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut keys = vec![0; 64];
        let count = rustix::io::read(stdin(), &mut keys)?;
        keys.truncate(count);
        Ok(keys)
    }
}

impl AsFd for Keys {
    fn as_fd(&self) -> BorrowedFd<'_> {
        stdin()
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        // A terminal that no longer exists needs nothing.
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.before);
    }
}
