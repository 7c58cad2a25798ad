//! The supervisor's place in the system: its session, its user, the permissions of its files.

use rustix::fs::{Mode, fchmod};
use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_peercred};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Starts this program again as the supervisor of a daemon. `words` is the command line that this process was called
/// with, `channel` of [`super::channel::pair_for`] is the standard input of the new process, and `log` takes all its
/// output. The new process leaves the session itself with [`new_session`].
pub fn start_supervisor(words: &[OsString], channel: OwnedFd, log: File) -> io::Result<u32> {
    // Without a process group of its own, because a group leader cannot create a session.
    let (name, rest) =
        words.split_first().ok_or_else(|| io::Error::other("an empty command line"))?;
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0(name)
        .args(rest)
        .current_dir("/")
        .stdin(channel)
        .stdout(log.try_clone()?)
        .stderr(log);
    Ok(super::umask::as_given(|| command.spawn())?.id())
}

/// For a role just started, before it has opened anything: closes what the caller of the command had open (such as a
/// lock of a shell script). It would otherwise stay open as long as this process, its children and rsyncs live.
pub fn close_inherited() {
    let Ok(listed) = std::fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<i32> =
        listed.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| *fd > 2) {
        // The descriptor of the directory listing is already closed.
        let _ = nix::unistd::close(fd);
    }
}

/// Leaves the terminal: creates a session and a process group.
pub fn new_session() -> io::Result<()> {
    nix::unistd::setsid()?;
    Ok(())
}

/// The effective user.
pub fn user() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// Listens on a new socket at `path`, mode 0600 from its creation. Never blocks.
pub fn listen_private(path: &Path) -> io::Result<UnixListener> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // Linux gives the file the mode that the socket has when it is bound.
    fchmod(&socket, Mode::from_raw_mode(0o600))?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    listen(&socket, 128)?;
    Ok(UnixListener::from(socket))
}

/// The user of the process that has connected to this socket, as it was at the connect. The kernel says so, not the
/// peer.
pub fn peer_user(socket: &UnixStream) -> io::Result<u32> {
    Ok(socket_peercred(socket)?.uid.as_raw())
}

/// Connects to, or binds at, a path of any length. Uses the open directory, because the name of a socket is limited to
/// 107 bytes.
pub fn with_short_path<T>(path: &Path, act: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::other("not a path of a socket"));
    };
    let dir = std::fs::File::open(dir)?;
    act(&Path::new(&format!("/proc/self/fd/{}", dir.as_raw_fd())).join(name))
}

/// Connects to a listening socket. Gives up (`WouldBlock`) when no process accepts within `patience`.
pub fn connect_within(path: &Path, patience: Duration) -> io::Result<UnixStream> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // The send timeout also limits a connect to a socket whose queue is full.
    set_socket_timeout(&socket, Timeout::Send, Some(patience))?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(UnixStream::from(socket))
}

/// True while `pid` is a process that has not exited. A process that only waits to be reaped has exited.
pub fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name before it may contain any character, including parentheses.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// CLOCK_MONOTONIC: it stops while the machine sleeps, so that no process seems silent afterwards.
pub fn monotonic() -> Duration {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
}

/// Raises the limit of open files of this process and its children to the maximum: a supervisor needs five for each
/// remote.
pub fn raise_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // The old limit is enough in most cases.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// For a process that talks to untrusted clients: limits its open files to this number, lowers its CPU priority below
/// all others, and prevents it from gaining privileges.
pub fn be_modest(files: u64) -> io::Result<()> {
    use nix::sys::resource::{Resource, setrlimit};
    setrlimit(Resource::RLIMIT_NOFILE, files, files)?;
    nix::sys::prctl::set_no_new_privs()?;
    rustix::process::nice(10)?;
    Ok(())
}

/// Columns and rows of the terminal on standard error; `None` without a terminal, or when it does not report its size.
pub fn terminal_size() -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(io::stderr()).ok()?;
    let (width, height) = (usize::from(size.ws_col), usize::from(size.ws_row));
    (width > 0 && height > 0).then_some((width, height))
}
