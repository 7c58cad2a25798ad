//! Masters of ssh: starts one in the background, holds it by its control socket, and asks it to exit.

use super::lock::Lock;
use super::memory;
use super::process::exited;
use super::script::explained;
use super::session::connect_within;
use super::umask::as_given;
use crate::stat::Exited;
use rustix::fs::{AtFlags, CWD, statat};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A listening socket accepts a connection immediately, unless its queue is full.
const CONNECT_WITHIN: Duration = Duration::from_millis(50);
/// The limit on the length of ssh's own messages.
const STDERR_MOST_BYTES: u64 = 64 << 10;

/// An ssh that is becoming a master. Its process exits when the master runs. The master is another process, in a
/// session of its own, with `/` as its working directory and nothing open but its connection and its socket.
pub struct Starter {
    child: Child,
    stderr: File,
}

impl Starter {
    /// Starts `argv`. The ssh holds `starting` until the socket exists (or the ssh has exited), even when this process
    /// dies. It does not get `role`, which the other children of this process inherit.
    pub fn start(argv: &[OsString], starting: &Lock, role: &Lock) -> io::Result<Self> {
        let stderr = memory::bounded_file("ssh", STDERR_MOST_BYTES)?;
        let (program, words) =
            argv.split_first().ok_or_else(|| io::Error::other("an empty command line"))?;
        let mut command = Command::new(program);
        command.args(words).current_dir("/").env("LC_ALL", "C").stdin(Stdio::null());
        // ssh closes all inherited descriptors except these three. Its output goes to /dev/null once it is in the
        // background.
        command.stdout(starting.share()?).stderr(stderr.try_clone()?);
        let child = role.hidden(|| as_given(|| command.spawn()))?;
        let child = child.map_err(|e| explained(program, e))?;
        Ok(Self { child, stderr })
    }

    /// Its exit status and messages, if it has exited.
    pub fn ended(&mut self) -> io::Result<Option<(Exited, Vec<u8>)>> {
        let Some(status) = self.child.try_wait()? else { return Ok(None) };
        let mut words = Vec::new();
        let said = self.stderr.stream_position()?;
        self.stderr.rewind()?;
        (&self.stderr).take(said.min(STDERR_MOST_BYTES)).read_to_end(&mut words)?;
        Ok(Some((exited(status), words)))
    }

    /// Kills the ssh immediately. A master that is already in the background keeps running.
    pub fn kill(&mut self) {
        // It has already exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The state of a master, as its link shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It has not sent anything yet.
    Silent,
    /// It sent its greeting, and its connection is open.
    Alive,
    /// It has exited.
    Gone,
}

/// A connection to the control socket of a master. The master counts it as a client: while the link is open, the master
/// does not exit for lack of clients. The link shows the exit of the master immediately.
pub struct Link {
    stream: UnixStream,
    socket: PathBuf,
    id: (u64, u64),
    greeted: bool,
}

impl Link {
    /// Connects to the master.
    ///
    /// # Errors
    /// `NotFound` without a master, `ConnectionRefused` when a master left its socket behind.
    pub fn open(socket: &Path) -> io::Result<Self> {
        let id = identity(socket)?;
        let stream = connect_within(socket, CONNECT_WITHIN)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, socket: socket.to_owned(), id, greeted: false })
    }

    /// The state now.
    pub fn look(&mut self) -> Sign {
        let mut bytes = [0; 256];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return Sign::Gone,
                Ok(_) => self.greeted = true,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    return if self.greeted { Sign::Alive } else { Sign::Silent };
                }
                Err(_) => return Sign::Gone,
            }
        }
    }

    /// True while the socket still belongs to this master, because ssh finds its master by the name of the socket.
    pub fn is_at_its_name(&self) -> bool {
        identity(&self.socket).is_ok_and(|id| id == self.id)
    }

    /// Waits until the master exits.
    pub fn wait_for_end(&mut self, patience: Duration) {
        let end = Instant::now() + patience;
        while self.look() != Sign::Gone {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            // An error ends the wait. The next call meets it again.
            let _ = super::poll::wait(&[(self.as_fd(), super::poll::Interest::Read)], Some(left));
        }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[allow(clippy::unnecessary_cast, reason = "the types differ between architectures")]
fn identity(socket: &Path) -> io::Result<(u64, u64)> {
    let stat = statat(CWD, socket, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok((stat.st_dev as u64, stat.st_ino as u64))
}

/// Runs a short command silently until it exits; kills it after `patience`.
pub fn run_within(argv: &[OsString], patience: Duration) -> io::Result<()> {
    let (program, words) =
        argv.split_first().ok_or_else(|| io::Error::other("an empty command line"))?;
    let mut command = Command::new(program);
    command.args(words).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = as_given(|| command.spawn())?;
    let end = Instant::now() + patience;
    while child.try_wait()?.is_none() {
        if Instant::now() >= end {
            child.kill()?;
            child.wait()?;
            break;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_connection_shows_the_greeting_and_the_exit_of_its_master() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        assert_eq!(Link::open(&socket).err().unwrap().kind(), io::ErrorKind::NotFound);
        let listener = UnixListener::bind(&socket).unwrap();
        let mut link = Link::open(&socket).unwrap();
        assert_eq!(link.look(), Sign::Silent);
        let (mut master, _) = listener.accept().unwrap();
        master.write_all(b"hello").unwrap();
        assert_eq!((link.look(), link.is_at_its_name()), (Sign::Alive, true));
        // The new socket is created before the old one is removed, so that it cannot get the same inode number.
        let new = dir.path().join("new");
        let _other = UnixListener::bind(&new).unwrap();
        std::fs::rename(&new, &socket).unwrap();
        assert_eq!((link.look(), link.is_at_its_name()), (Sign::Alive, false));
        drop(master);
        link.wait_for_end(Duration::from_secs(10));
        assert_eq!(link.look(), Sign::Gone);
        drop(_other);
        assert_eq!(Link::open(&socket).err().unwrap().kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_starter_holds_only_its_lock_and_reports_output() {
        let dir = tempfile::tempdir().unwrap();
        let lock = |name: &str, inherit| super::super::lock::take(&dir.path().join(name), inherit);
        let role = lock("role", true).unwrap().unwrap();
        let starting = lock("starting", false).unwrap().unwrap();
        let script = "ls -l /proc/$$/fd >&2; pwd >&2; exit 7";
        let argv = ["sh", "-c", script].map(OsString::from);
        let mut starter = Starter::start(&argv, &starting, &role).unwrap();
        let (how, words) = loop {
            if let Some(ended) = starter.ended().unwrap() {
                break ended;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let words = String::from_utf8(words).unwrap();
        assert_eq!(how, Exited::Code(7));
        assert!(words.contains("/starting") && !words.contains("/role"), "{words}");
        assert!(words.ends_with("\n/\n"), "{words}");
        // Afterwards, children inherit the descriptor as before.
        let ls = Command::new("sh").args(["-c", "ls -l /proc/$$/fd"]).output().unwrap();
        assert!(String::from_utf8(ls.stdout).unwrap().contains("/role"));
    }
}
