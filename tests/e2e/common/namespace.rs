//! Mount points of a test's own.

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use std::path::{Path, PathBuf};

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

/// A mount point; lazily unmounted when dropped.
pub struct Mounted(PathBuf);

impl Mounted {
    /// A new tmpfs.
    pub fn tmpfs(at: &Path) -> Mounted {
        Mounted::tmpfs_with(at, "mode=755")
    }

    /// A new tmpfs with options, such as `size=1m`.
    pub fn tmpfs_with(at: &Path, options: &str) -> Mounted {
        mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), Some(options)).expect("tmpfs");
        Mounted(at.to_owned())
    }

    /// What is mounted there already.
    pub fn taken(at: &Path) -> Mounted {
        Mounted(at.to_owned())
    }

    /// The directory `from` under another name.
    pub fn bind(from: &Path, at: &Path) -> Mounted {
        mount(Some(from), at, None::<&str>, MsFlags::MS_BIND, None::<&str>).expect("bind mount");
        Mounted(at.to_owned())
    }

    /// Moves it with its mount.
    pub fn moved_to(mut self, at: &Path) -> Mounted {
        let none = None::<&str>;
        mount(Some(&self.0), at, none, MsFlags::MS_MOVE, none).expect("a moved mount");
        self.0 = at.to_owned();
        self
    }

    /// Changes options, such as `size=1m`, or makes it read-only.
    pub fn remount(&self, flags: MsFlags, options: &str) -> nix::Result<()> {
        let flags = MsFlags::MS_REMOUNT | flags;
        mount(None::<&str>, &self.0, None::<&str>, flags, Some(options))
    }

    /// Fails while anything keeps it busy.
    pub fn unmount_unless_busy(&self) -> nix::Result<()> {
        umount2(&self.0, MntFlags::empty())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}
