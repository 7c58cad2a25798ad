//! The processes below this one: adopts orphans, kills groups, reaps. For commands that start other processes for a
//! while and must leave none behind.

use nix::errno::Errno;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::io;

/// Makes this process the new parent of every descendant whose parent dies, at any depth, so that none is lost.
pub fn adopt_orphans() -> io::Result<()> {
    Ok(set_child_subreaper(true)?)
}

/// Kills a process group immediately. `leader` must be a child that was started in a group of its own and has not been
/// reaped yet, so that its number cannot have been reused.
pub fn kill_group(leader: u32) {
    // No process is left.
    let _ = killpg(Pid::from_raw(leader as i32), Signal::SIGKILL);
}

/// Reaps every child that has exited. Returns false when no child is left. Only for the end of a program, because it
/// takes the exit status of every child away from the code that waits for it.
pub fn reap_ended() -> bool {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return true,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return false,
        }
    }
}
