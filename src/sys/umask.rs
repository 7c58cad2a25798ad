//! The umask: files that this program creates are private; programs that it starts get the original umask.

use rustix::fs::Mode;
use rustix::process::umask;
use std::sync::OnceLock;

const PRIVATE: u32 = 0o077;

/// The umask that this process was started with, once it has changed.
static GIVEN: OnceLock<Mode> = OnceLock::new();

/// Sets the umask so that other users cannot read or write the files that this process creates.
pub fn make_private() {
    GIVEN.get_or_init(|| umask(Mode::from_raw_mode(PRIVATE)));
}

/// Runs `what` (which starts a program) with the original umask. Other threads of this process must create no files
/// meanwhile.
pub fn as_given<T>(what: impl FnOnce() -> T) -> T {
    let Some(given) = GIVEN.get() else { return what() };
    umask(*given);
    let done = what();
    umask(Mode::from_raw_mode(PRIVATE));
    done
}
