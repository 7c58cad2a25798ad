//! This pusher's share of the ssh master connection to its host (see [`crate::rsync::ssh`]). It starts the master if
//! none runs, holds it while this process lives, drops it after a failure, and stops it if this pusher is the last
//! user.

use super::health::backoff;
use crate::message::PusherStart;
use crate::rsync::exit_status::verdict;
use crate::rsync::peer::Peer;
use crate::rsync::ssh;
use crate::stat::Exited;
use crate::sys::lock::{self, Lock};
use crate::sys::ssh::{Link, Sign, Starter, run_within};
use slog::{Logger, debug, info, warn};
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the start of a master may take.
const START_WITHIN: Duration = Duration::from_secs(60);
/// A running master answers immediately. One that does not answer within this time hangs.
const GREETS_WITHIN: Duration = Duration::from_secs(2);
/// A master that worked for this long before it was lost resets the count of failures.
const LASTING: Duration = Duration::from_secs(60);
/// Failures in a row before one is logged.
const LOG_AFTER: u32 = 3;
/// How long the first push waits for the master. Otherwise pushers that start together would all log in at the same
/// time, which sshd refuses beyond its `MaxStartups`.
const FIRST_WITHIN: Duration = Duration::from_secs(5);
/// The interval between checks while another process starts the master.
const CHECK_AGAIN: Duration = Duration::from_millis(100);
/// How long a clean exit waits for the master's exit.
const END_WITHIN: Duration = Duration::from_secs(1);

/// The master as this pusher sees it.
pub struct Master {
    parts: Option<Parts>,
    state: State,
    failures: u32,
    /// The first push waits for the first attempt until this time.
    first_until: Option<Duration>,
    /// The last logged reason of a failure.
    logged: Option<String>,
    log: Logger,
}

/// The constant parts.
struct Parts {
    peer: Peer,
    through: Peer,
    socket: PathBuf,
    role: &'static Lock,
}

enum State {
    /// There is none. The next attempt is at this time.
    Absent(Duration),
    /// This pusher is starting it, since this time.
    Starting(Starter, Lock, Duration),
    /// Connected to it, since this time. It has not answered yet.
    Joining(Hold, Duration),
    /// Pushes use it, since this time.
    Joined(Hold, Duration),
}

/// While it exists, the master does not exit as unused.
struct Hold {
    link: Link,
    users: Lock,
}

impl Master {
    /// The master for this pusher. `role` is the lock that its rsync inherits.
    pub fn new(start: &PusherStart, role: &'static Lock, log: Logger) -> Self {
        let remote = &start.remote;
        let parts = match ssh::socket(&remote.peer, &start.run_dir, &start.instance) {
            Ok(socket) => socket.map(|socket| Parts {
                peer: remote.peer.clone(),
                through: ssh::through(&remote.peer, &socket),
                socket,
                role,
            }),
            Err(why) => {
                warn!(log, "each push opens a connection of its own"; "why" => why);
                None
            }
        };
        Self {
            parts,
            state: State::Absent(Duration::ZERO),
            failures: 0,
            first_until: None,
            logged: None,
            log,
        }
    }

    /// The remote as it is reached through the master, if the master is usable.
    pub fn peer(&self) -> Option<&Peer> {
        match &self.state {
            State::Joined(hold, _) if hold.link.is_at_its_name() => {
                self.parts.as_ref().map(|parts| &parts.through)
            }
            _ => None,
        }
    }

    /// The file descriptor to poll.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.state {
            State::Joining(hold, _) | State::Joined(hold, _) => Some(hold.link.as_fd()),
            State::Absent(_) | State::Starting(..) => None,
        }
    }

    /// True while the first push should wait for the master.
    pub fn is_opening(&self, now: Duration) -> bool {
        let first = self.failures == 0 && !matches!(self.state, State::Joined(..));
        self.parts.is_some() && first && self.first_until.is_none_or(|until| now < until)
    }

    /// When [`Master::step`] has something to do, if a master is `wanted`.
    pub fn next_at(&self, wanted: bool, now: Duration) -> Option<Duration> {
        self.parts.as_ref()?;
        let state = match &self.state {
            State::Absent(at) => Some(*at).filter(|_| wanted),
            State::Starting(_, _, since) => Some(*since + START_WITHIN),
            State::Joining(_, since) => Some(*since + GREETS_WITHIN),
            State::Joined(..) => None,
        };
        let first = self.first_until.filter(|_| wanted && self.is_opening(now));
        state.into_iter().chain(first).min()
    }

    /// One step, which never blocks. Without `wanted` it starts no master, but keeps a running one.
    pub fn step(&mut self, wanted: bool, now: Duration) {
        let Some(parts) = &self.parts else { return };
        if wanted && self.first_until.is_none() {
            self.first_until = Some(now + FIRST_WITHIN);
        }
        match std::mem::replace(&mut self.state, State::Absent(now)) {
            State::Absent(at) if !wanted || now < at => self.state = State::Absent(at),
            State::Absent(_) => match hold(&parts.socket) {
                Ok(Some(hold)) => self.state = State::Joining(hold, now),
                Ok(None) => self.start(now),
                Err(why) => self.failed(why, now),
            },
            State::Starting(mut starter, lock, since) => match starter.ended() {
                Ok(None) if now >= since + START_WITHIN => {
                    starter.kill();
                    self.failed("no answer".into(), now);
                }
                Ok(None) => self.state = State::Starting(starter, lock, since),
                // Joined in the next turn.
                Ok(Some((Exited::Code(0), _))) => debug!(self.log, "the master connection is open"),
                Ok(Some((how, stderr))) => self.failed(verdict(how, &stderr).message, now),
                Err(e) => self.failed(e.to_string(), now),
            },
            State::Joining(mut hold, since) => match hold.link.look() {
                Sign::Alive => {
                    if self.logged.take().is_some() {
                        info!(self.log, "pushes share one connection again");
                    }
                    self.state = State::Joined(hold, now);
                }
                Sign::Silent if now >= since + GREETS_WITHIN => self.replace(now),
                Sign::Silent => self.state = State::Joining(hold, since),
                Sign::Gone => self.state = State::Absent(now + CHECK_AGAIN),
            },
            State::Joined(mut hold, since) => {
                if hold.link.look() == Sign::Alive && hold.link.is_at_its_name() {
                    self.state = State::Joined(hold, since);
                } else {
                    if now >= since + LASTING {
                        self.failures = 0;
                    }
                    self.failed("the master connection was lost".into(), now);
                }
            }
        }
    }

    /// A push through the master has failed. The next pushes open their own connections until one succeeds.
    pub fn drop_connection(&mut self, now: Duration) {
        if let State::Joined(..) = self.state {
            self.state = State::Absent(now);
        }
        self.first_until = Some(now);
    }

    /// Called when this pusher exits. The last user stops the master, and everything that still runs through it.
    pub fn close(&mut self) {
        let Some(parts) = &self.parts else { return };
        let mut hold = match std::mem::replace(&mut self.state, State::Absent(Duration::ZERO)) {
            State::Starting(mut starter, lock, _) => {
                starter.kill();
                drop(lock);
                hold(&parts.socket).ok().flatten()
            }
            State::Joining(hold, _) | State::Joined(hold, _) => Some(hold),
            // A master that was dropped because a push had failed.
            State::Absent(_) => hold(&parts.socket).ok().flatten(),
        };
        if let Some(hold) = &mut hold
            && hold.users.is_last()
        {
            if let Err(e) = run_within(&ssh::exit_argv(&parts.socket), END_WITHIN) {
                // It exits by itself a minute later.
                debug!(self.log, "ssh -O exit"; "why" => e.to_string());
            }
            hold.link.wait_for_end(END_WITHIN);
        }
    }

    fn start(&mut self, now: Duration) {
        let Some(parts) = &self.parts else { return };
        let lock = match lock::take(&sibling(&parts.socket, ".lock"), false) {
            Ok(Some(lock)) => lock,
            Ok(None) => return self.state = State::Absent(now + CHECK_AGAIN),
            Err(e) => return self.failed(e.to_string(), now),
        };
        // Another process may have started it meanwhile.
        match Link::open(&parts.socket) {
            Ok(_) => return self.state = State::Absent(now + CHECK_AGAIN),
            // A master that was killed.
            Err(e) if e.kind() == ErrorKind::ConnectionRefused => {
                let _ = std::fs::remove_file(&parts.socket);
            }
            Err(_) => {}
        }
        let argv = ssh::start_argv(&parts.peer, &parts.socket);
        debug!(self.log, "ssh"; "command" => format!("{argv:?}"));
        match Starter::start(&argv, &lock, parts.role) {
            Ok(starter) => self.state = State::Starting(starter, lock, now),
            Err(e) => self.failed(format!("ssh: {e}"), now),
        }
    }

    /// Removes the socket of a master that hangs, so that another one is started.
    fn replace(&mut self, now: Duration) {
        if let Some(parts) = &self.parts
            && let Ok(Some(_lock)) = lock::take(&sibling(&parts.socket, ".lock"), false)
        {
            let _ = std::fs::remove_file(&parts.socket);
        }
        self.failed("the master connection does not answer".into(), now);
    }

    fn failed(&mut self, why: String, now: Duration) {
        self.failures = self.failures.saturating_add(1);
        self.state = State::Absent(now + backoff(self.failures, 1.0));
        // If pushes fail, too, no master is wanted, and the pushes log the reason.
        if self.failures >= LOG_AFTER && self.logged.as_ref() != Some(&why) {
            info!(self.log, "each push opens a connection of its own for now"; "why" => &why);
            self.logged = Some(why);
        }
    }
}

/// Holds the master at `socket`. Returns `None` if there is none.
fn hold(socket: &Path) -> Result<Option<Hold>, String> {
    // This comes first, so that the last user that exits sees this one.
    let users = sibling(socket, ".users");
    let Some(users) = lock::join(&users).map_err(|e| format!("{}: {e}", users.display()))? else {
        return Ok(None);
    };
    match Link::open(socket) {
        Ok(link) => Ok(Some(Hold { link, users })),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            Ok(None)
        }
        Err(e) => Err(format!("{}: {e}", socket.display())),
    }
}

fn sibling(socket: &Path, suffix: &str) -> PathBuf {
    let mut name = socket.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
