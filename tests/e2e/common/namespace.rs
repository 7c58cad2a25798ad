//! Mount points of a test's own.

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// Runs a test in a thread with private mounts; whatever it starts sees them too. Where that is not allowed (not
/// root), says so and passes.
pub fn with_private_mounts(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(move || {
        if let Err(why) = unshare(CloneFlags::CLONE_NEWNS) {
            eprintln!("SKIPPED: no private mount namespace: {why}");
            return;
        }
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).expect("private mounts");
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}
