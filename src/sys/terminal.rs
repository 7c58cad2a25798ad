//! The terminal of `status` and of the demo.

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
    /// The width of a line.
    pub columns: usize,
}

/// The size of the terminal that is standard output, if it is one.
pub fn size() -> Option<Size> {
    let size = isatty(stdout()).then(|| tcgetwinsize(stdout()).ok())??;
    // Some terminals do not report it.
    let rows = if size.ws_row == 0 { 24 } else { size.ws_row };
    let columns = match size.ws_col {
        0 => columns_told().unwrap_or(80),
        columns => usize::from(columns),
    };
    Some(Size { rows: usize::from(rows), columns })
}

/// The width of a line: of the terminal that is standard output. Elsewhere what COLUMNS says; `None` means that lines
/// have no limit.
pub fn columns() -> Option<usize> {
    size().map(|size| size.columns).or_else(columns_told)
}

fn columns_told() -> Option<usize> {
    let text = std::env::var("COLUMNS").ok()?;
    text.parse().ok().filter(|columns| *columns > 0)
}

/// True if standard output is a terminal that has colours, and NO_COLOR is not set.
pub fn has_colours() -> bool {
    let env = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
    let plain = env("NO_COLOR").is_some() || env("TERM").is_none_or(|t| t == "dumb");
    isatty(stdout()) && !plain
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
