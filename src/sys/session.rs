//! The supervisor's own place in the system: its session, its user, what others may read.

use crate::message::Role;
use rustix::fs::{Mode, fchmod};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with,
};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Starts this program again as the supervisor of a daemon, called `title`, with `channel` as its standard input and
/// `log` for all its output. It leaves the session by itself with [`new_session`].
pub fn start_supervisor(title: &OsStr, channel: OwnedFd, log: File) -> io::Result<u32> {
    // Not in a group of its own: the leader of one cannot begin a session.
    let child = Command::new("/proc/self/exe")
        .arg0(title)
        .arg(Role::Supervisor.argument())
        .current_dir("/")
        .stdin(channel)
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?;
    Ok(child.id())
}

/// Leaves the terminal: a session and a process group of its own.
pub fn new_session() -> io::Result<()> {
    nix::unistd::setsid()?;
    Ok(())
}

/// The effective user.
pub fn user() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// Listens on a new socket at `path`, mode 0600 from its first moment. Never blocks.
pub fn listen_private(path: &Path) -> io::Result<UnixListener> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // Linux gives the file the mode that the socket has when it is bound.
    fchmod(&socket, Mode::from_raw_mode(0o600))?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    listen(&socket, 64)?;
    Ok(UnixListener::from(socket))
}

/// True while `pid` is a process (of anybody).
pub fn runs(pid: u32) -> bool {
    let pid = nix::unistd::Pid::from_raw(pid as i32);
    !matches!(nix::sys::signal::kill(pid, None), Err(nix::errno::Errno::ESRCH))
}

/// CLOCK_MONOTONIC: stands still while the machine sleeps, so nobody seems silent after it.
pub fn monotonic() -> std::time::Duration {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    std::time::Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
}
