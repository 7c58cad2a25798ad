//! The umask: what this program makes is private; what it starts has the umask that it was given.

use rustix::fs::Mode;
use rustix::process::umask;
use std::sync::OnceLock;

const PRIVATE: u32 = 0o077;

/// What this process was started with, once it has another.
static GIVEN: OnceLock<Mode> = OnceLock::new();

/// From now on other users cannot read or write the files that this process creates.
pub fn make_private() {
    GIVEN.get_or_init(|| umask(Mode::from_raw_mode(PRIVATE)));
}

/// Does `what` (start a program) with the umask that this process was given. Whatever else runs in this process meanwhile
/// makes no files.
pub fn as_given<T>(what: impl FnOnce() -> T) -> T {
    let Some(given) = GIVEN.get() else { return what() };
    umask(*given);
    let done = what();
    umask(Mode::from_raw_mode(PRIVATE));
    done
}
