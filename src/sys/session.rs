//! The supervisor's own place in the system: its session, its user, what others may read.

use rustix::fs::{Mode, fchmod};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
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

/// Starts this program again as the supervisor of a daemon, with the command line `words` that it was called by, the
/// `channel` of [`super::channel::pair_for`] as its standard input and `log` for all its output. It leaves the session by
/// itself with [`new_session`].
pub fn start_supervisor(words: &[OsString], channel: OwnedFd, log: File) -> io::Result<u32> {
    // Not in a group of its own: the leader of one cannot begin a session.
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

/// In a role just started, before it has opened anything: closes what the caller of the command had open (a lock of a
/// shell script, say), which would stay open as long as this process, its children and rsyncs live.
pub fn close_inherited() {
    let Ok(listed) = std::fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<i32> =
        listed.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| *fd > 2) {
        // The one of the listing is closed already.
        let _ = nix::unistd::close(fd);
    }
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

/// Connects to, or binds at, a path however long: through the open directory, since a socket's name is limited to
/// 107 bytes.
pub fn with_short_path<T>(path: &Path, act: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::other("not a path of a socket"));
    };
    let dir = std::fs::File::open(dir)?;
    act(&Path::new(&format!("/proc/self/fd/{}", dir.as_raw_fd())).join(name))
}

/// Connects to a listening socket; gives up (`WouldBlock`) when no process accepts within `patience`.
pub fn connect_within(path: &Path, patience: Duration) -> io::Result<UnixStream> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // The time limit for sending is also the one for connecting to a full queue.
    set_socket_timeout(&socket, Timeout::Send, Some(patience))?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(UnixStream::from(socket))
}

/// True while `pid` is a process that has not ended; one that only waits to be reaped has.
pub fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name before it may hold anything, parentheses too.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// CLOCK_MONOTONIC: it stops while the machine sleeps, so that no process seems silent afterwards.
pub fn monotonic() -> Duration {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
}

/// Lets this process and its children have as many open files as they may: a supervisor needs five for each remote.
pub fn raise_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // As it was is enough for most.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// For a process that strangers may talk to: this many open files, the processor after everybody else, and no way to
/// privileges that it does not have.
pub fn be_modest(files: u64) -> io::Result<()> {
    use nix::sys::resource::{Resource, setrlimit};
    setrlimit(Resource::RLIMIT_NOFILE, files, files)?;
    nix::sys::prctl::set_no_new_privs()?;
    rustix::process::nice(10)?;
    Ok(())
}

/// Columns and rows of the terminal on standard error; `None` when there is none, or it does not say.
pub fn terminal_size() -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(io::stderr()).ok()?;
    let (width, height) = (usize::from(size.ws_col), usize::from(size.ws_row));
    (width > 0 && height > 0).then_some((width, height))
}
