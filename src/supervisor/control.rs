//! The control socket: one JSON line in, one JSON line out. No client can block the supervisor: every client is limited
//! in bytes and in time, all together in number, memory and CPU time. Only root and the user of the instance are clients.

use crate::message::{Answer, Asked, REQUEST_MAX};
use crate::sys::log::Seldom;
use crate::sys::poll::Interest;
use crate::sys::session::{self, with_short_path};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The most clients at a time. For a further one, a client that is silent or slow is closed.
const CLIENTS_MAX: usize = 64;
/// The time for a client to send its request, and again to read its answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same while others wait for its place. A command sends its request as soon as it is connected.
const ASKING_GRACE: Duration = Duration::from_millis(100);
const TAKING_GRACE: Duration = Duration::from_secs(1);
/// The most connections that are accepted in one turn, and the most requests that it returns.
const ACCEPTED_MAX: usize = 64;
const REQUESTS_MAX: usize = 8;
/// The most bytes of answers that wait to be read, beside the newest answer.
const OUTPUT_MAX: usize = 16 << 20;

/// The pause of the listener after a connection could not be accepted (for example because of too many open files). The
/// listener stays ready, so the loop would spin.
const REST: Duration = Duration::from_secs(1);
/// After requests that took a time, the next ones wait for this many times as long, so that clients get at most a quarter
/// of the supervisor's time.
const PAUSE_FACTOR: u32 = 3;
/// The longest such pause.
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// A client while it is connected.
pub type ClientId = u64;

/// The listening socket and its clients. Dropping it removes the socket's file.
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    /// The user of this process.
    own_uid: u32,
    /// The oldest first.
    clients: Vec<Connection>,
    next_id: ClientId,
    /// The listener is paused until this time.
    rest_until: Option<Duration>,
    /// No request is returned before this time.
    pause_until: Duration,
    strangers: Strangers,
}

/// Connections of users that may not send requests.
#[derive(Default)]
struct Strangers {
    seldom: Seldom,
    unsaid: u64,
    last: Option<u32>,
}

impl Strangers {
    fn came(&mut self, peer: Option<u32>) {
        self.unsaid += 1;
        self.last = peer;
    }

    fn line(&mut self, own_uid: u32, now: Duration) -> Option<String> {
        if self.unsaid == 0 || !self.seldom.worth_logging(now) {
            return None;
        }
        let count = std::mem::take(&mut self.unsaid);
        Some(format!(
            "refused connections to the control socket: {count}, the last of {}; only root and user {own_uid} may send \
             commands, so restrict the run directory to them",
            named(self.last)
        ))
    }
}

fn named(peer: Option<u32>) -> String {
    peer.map_or("an unknown user".into(), |uid| format!("user {uid}"))
}

struct Connection {
    id: ClientId,
    stream: UnixStream,
    input: Vec<u8>,
    output: Vec<u8>,
    stage: ConnectionStage,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum ConnectionStage {
    /// Since this time.
    Asking(Duration),
    /// Its request is complete, and not yet returned.
    Asked,
    /// The supervisor has its request.
    Waiting,
    /// Since this time.
    Taking(Duration),
    Done,
}

/// True if a process of this user may send requests to an instance that runs as `own_uid`. Every request may stop the
/// instance, change what is deleted, or show names of files.
pub fn may_command(peer_uid: u32, own_uid: u32) -> bool {
    peer_uid == 0 || peer_uid == own_uid
}

impl ConnectionStage {
    /// When the client is given up.
    fn ends_at(self) -> Option<Duration> {
        match self {
            ConnectionStage::Asking(since) | ConnectionStage::Taking(since) => {
                Some(since + PATIENCE)
            }
            ConnectionStage::Asked | ConnectionStage::Waiting | ConnectionStage::Done => None,
        }
    }

    /// When the client may be closed for another one.
    fn yields_at(self) -> Option<Duration> {
        match self {
            ConnectionStage::Asking(since) => Some(since + ASKING_GRACE),
            ConnectionStage::Taking(since) => Some(since + TAKING_GRACE),
            ConnectionStage::Asked | ConnectionStage::Waiting | ConnectionStage::Done => None,
        }
    }

    /// The event to wait for. A client whose request waits has nothing to say.
    fn interest(self) -> Option<Interest> {
        match self {
            ConnectionStage::Asked => None,
            ConnectionStage::Taking(_) => Some(Interest::ReadWrite),
            ConnectionStage::Asking(_) | ConnectionStage::Waiting | ConnectionStage::Done => {
                Some(Interest::Read)
            }
        }
    }
}

impl ControlSocket {
    /// Listens at `path`, mode 0600. An existing file is replaced: the caller holds the instance's lock, so no other
    /// process listens on it.
    pub fn listen(path: &Path) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let listener = with_short_path(path, session::listen_private)?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            own_uid: session::user(),
            clients: Vec::new(),
            next_id: 1,
            rest_until: None,
            pause_until: Duration::ZERO,
            strangers: Strangers::default(),
        })
    }

    /// The descriptors to poll: the listener, unless it is paused, then each client that has something to say, in order.
    pub fn interests(&self) -> Vec<(BorrowedFd<'_>, Interest)> {
        let listener = self.rest_until.is_none().then(|| (self.listener.as_fd(), Interest::Read));
        let mut fds: Vec<_> = listener.into_iter().collect();
        fds.extend(
            self.clients.iter().filter_map(|c| Some((c.stream.as_fd(), c.stage.interest()?))),
        );
        fds
    }

    /// Handles the descriptors in `ready` (in the order of [`ControlSocket::interests`]). Returns complete requests, the
    /// oldest client's first.
    pub fn turn(&mut self, ready: &[bool], now: Duration) -> Vec<(ClientId, Asked)> {
        let listened = usize::from(self.rest_until.is_none());
        let polled = self.clients.iter_mut().filter(|c| c.stage.interest().is_some());
        for (client, _) in polled.zip(&ready[listened..]).filter(|(_, ready)| **ready) {
            client.turn();
        }
        for client in &mut self.clients {
            if client.stage.ends_at().is_some_and(|at| now >= at) {
                client.stage = ConnectionStage::Done;
            }
        }
        let requests = self.take_requests(now);
        self.clients.retain(|c| c.stage != ConnectionStage::Done);
        if self.rest_until.is_some_and(|until| now >= until) {
            self.rest_until = None;
        }
        if listened == 1 && ready[0] {
            self.accept(now);
        }
        requests
    }

    fn take_requests(&mut self, now: Duration) -> Vec<(ClientId, Asked)> {
        let mut requests = Vec::new();
        if now < self.pause_until {
            return requests;
        }
        let asked = self.clients.iter_mut().filter(|c| c.stage == ConnectionStage::Asked);
        for client in asked.take(REQUESTS_MAX) {
            requests.extend(client.take_request(now).map(|r| (client.id, r)));
        }
        requests
    }

    /// Records that the last requests took this time, and ended now.
    pub fn took(&mut self, spent: Duration, now: Duration) {
        self.pause_until = now + (spent * PAUSE_FACTOR).min(PAUSE_MAX);
    }

    /// The next time at which [`ControlSocket::turn`] has an effect without a ready descriptor.
    pub fn next_at(&self) -> Option<Duration> {
        let asked = self.clients.iter().any(|c| c.stage == ConnectionStage::Asked);
        let ends = self.clients.iter().filter_map(|c| c.stage.ends_at());
        ends.chain(self.rest_until).chain(asked.then_some(self.pause_until)).min()
    }

    /// Answers a request, unless the client has disconnected.
    pub fn answer(&mut self, id: ClientId, answer: &Answer, now: Duration) {
        if let Some(client) = self.clients.iter_mut().find(|c| c.id == id) {
            client.say(answer, now);
        }
        // Slow readers of long answers: the oldest are given up.
        let mut kept: usize = self.clients.iter().map(|c| c.output.len()).sum();
        for client in &mut self.clients {
            if kept > OUTPUT_MAX && client.id != id && !client.output.is_empty() {
                kept -= client.output.len();
                client.output = Vec::new();
                client.stage = ConnectionStage::Done;
            }
        }
    }

    /// What to log of users that were refused since the last call: seldom, and one line for all of them.
    pub fn refused(&mut self, now: Duration) -> Option<String> {
        self.strangers.line(self.own_uid, now)
    }

    /// Gives clients up to `patience` to read their last answers, before the supervisor exits.
    pub fn finish(mut self, patience: Duration) {
        self.clients.retain(|c| matches!(c.stage, ConnectionStage::Taking(_)));
        for client in &mut self.clients {
            let blocking = client.stream.set_nonblocking(false).is_ok()
                && client.stream.set_write_timeout(Some(patience)).is_ok();
            if blocking {
                let _ = client.stream.write_all(&client.output);
            }
        }
    }

    fn accept(&mut self, now: Duration) {
        for _ in 0..ACCEPTED_MAX {
            let full = self.clients.len() >= CLIENTS_MAX;
            let place_at = if full { self.place_at(now) } else { now };
            if now < place_at {
                self.rest_until = Some(place_at);
                return;
            }
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.rest_until = Some(now + REST);
                    return;
                }
            };
            if stream.set_nonblocking(true).is_err() {
                continue;
            }
            let stage = ConnectionStage::Asking(now);
            let mut client =
                Connection { id: self.next_id, stream, input: vec![], output: vec![], stage };
            let peer = session::peer_user(&client.stream).ok();
            if !peer.is_some_and(|uid| may_command(uid, self.own_uid)) {
                self.strangers.came(peer);
                // It gets this at once, and never a place.
                client.say(&forbidden(peer, self.own_uid), now);
                continue;
            }
            if full {
                self.make_room(now);
            }
            self.clients.push(client);
            self.next_id += 1;
        }
    }

    /// The client that is closed first for another one, and when it may be.
    fn first_to_yield(&self) -> Option<(Duration, usize)> {
        let yields = |(n, c): (usize, &Connection)| Some((c.stage.yields_at()?, n));
        self.clients.iter().enumerate().filter_map(yields).min()
    }

    /// When a place can be had although there is none. If every place is one of a request that waits, some of them are free
    /// after the next requests.
    fn place_at(&self, now: Duration) -> Duration {
        self.first_to_yield().map_or(now + PAUSE_MAX, |(at, _)| at)
    }

    fn make_room(&mut self, now: Duration) {
        if let Some((_, n)) = self.first_to_yield() {
            let mut client = self.clients.remove(n);
            if client.output.is_empty() {
                client.say(&Answer::Busy, now);
            }
        }
    }
}

fn forbidden(peer: Option<u32>, own_uid: u32) -> Answer {
    Answer::Forbidden(format!(
        "{} may not send commands to this instance; run this command as root or as user {own_uid}",
        named(peer)
    ))
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Connection {
    /// Reads and writes what can be read and written now.
    fn turn(&mut self) {
        let open = self.read();
        match self.stage {
            ConnectionStage::Asking(_) if self.input.contains(&b'\n') => {
                self.stage = ConnectionStage::Asked;
            }
            ConnectionStage::Asking(_) => {
                if self.input.len() > REQUEST_MAX || !open {
                    self.stage = ConnectionStage::Done;
                }
            }
            ConnectionStage::Taking(_) => {
                self.write();
                if !open {
                    self.stage = ConnectionStage::Done;
                }
            }
            ConnectionStage::Waiting if !open => self.stage = ConnectionStage::Done,
            ConnectionStage::Asked | ConnectionStage::Waiting | ConnectionStage::Done => {}
        }
    }

    /// Its request, which is complete. What is no request is answered here.
    fn take_request(&mut self, now: Duration) -> Option<Asked> {
        let input = std::mem::take(&mut self.input);
        let line = input.split(|b| *b == b'\n').next().unwrap_or_default();
        match Asked::read(line) {
            Ok(asked) => {
                self.stage = ConnectionStage::Waiting;
                Some(asked)
            }
            Err(e) => {
                self.say(&Answer::Refused(format!("invalid request: {e}")), now);
                None
            }
        }
    }

    /// False if the peer has closed the connection. Data after the request is discarded.
    fn read(&mut self) -> bool {
        let mut buffer = [0; 4096];
        for _ in 0..=REQUEST_MAX / buffer.len() {
            match self.stream.read(&mut buffer) {
                Ok(0) => return false,
                Ok(n) if matches!(self.stage, ConnectionStage::Asking(_)) => {
                    self.input.extend_from_slice(&buffer[..n]);
                }
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return e.kind() == ErrorKind::WouldBlock,
            }
        }
        true
    }

    fn say(&mut self, answer: &Answer, now: Duration) {
        self.output = serde_json::to_vec(answer).unwrap_or_default();
        self.output.push(b'\n');
        self.stage = ConnectionStage::Taking(now);
        self.write();
    }

    fn write(&mut self) {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(n) => drop(self.output.drain(..n)),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(_) => break,
            }
        }
        self.stage = ConnectionStage::Done;
    }
}

#[cfg(test)]
mod tests;
