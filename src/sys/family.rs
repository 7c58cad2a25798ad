//! The processes below this one: adopting orphans, ending groups, reaping. For commands that start others for a while
//! and must leave none behind.

use nix::errno::Errno;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::io;

/// From now on a process whose parent dies becomes a child of this one, however deep below it was: none gets lost.
pub fn adopt_orphans() -> io::Result<()> {
    Ok(set_child_subreaper(true)?)
}

/// Kills a process group immediately. `leader` must be a child that was started in a group of its own and is not reaped
/// yet, so that the number is surely still its own.
pub fn kill_group(leader: u32) {
    // No process is left.
    let _ = killpg(Pid::from_raw(leader as i32), Signal::SIGKILL);
}

/// Reaps every child that has ended; false when there is no child at all any more. Only for the end of a program:
/// it takes the status of every child away from the code that waits for it.
pub fn reap_ended() -> bool {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return true,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return false,
        }
    }
}
