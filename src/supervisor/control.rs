//! The control socket: one JSON line in, one JSON line out. No client can block the supervisor: every client is limited
//! in bytes and in time.

use crate::message::{Answer, REQUEST_MAX, Request};
use crate::sys::poll::Interest;
use crate::sys::session::{self, with_short_path};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The most clients at a time. Further ones wait in the kernel's queue.
const CLIENTS_MAX: usize = 32;
/// The time for a client to send its request, and again to read its answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The pause of the listener after a connection could not be accepted (for example because of too many open files). The
/// listener stays ready, so the loop would spin.
const REST: Duration = Duration::from_secs(1);

/// A client while it is connected.
pub type ClientId = u64;

/// The listening socket and its clients. Dropping it removes the socket's file.
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    clients: Vec<Connection>,
    next_id: ClientId,
    /// The listener is paused until this time.
    rest_until: Option<Duration>,
}

struct Connection {
    id: ClientId,
    stream: UnixStream,
    input: Vec<u8>,
    output: Vec<u8>,
    stage: ConnectionStage,
}

#[derive(Clone, Copy, PartialEq)]
enum ConnectionStage {
    /// Until this time.
    Asking(Duration),
    /// The supervisor has its request.
    Waiting,
    /// Until this time.
    Taking(Duration),
    Done,
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
            clients: Vec::new(),
            next_id: 1,
            rest_until: None,
        })
    }

    /// False while a waiting connection must wait longer.
    fn listens(&self) -> bool {
        self.clients.len() < CLIENTS_MAX && self.rest_until.is_none()
    }

    /// The descriptors to poll: the listener, unless it is paused, then each client in order.
    pub fn interests(&self) -> Vec<(BorrowedFd<'_>, Interest)> {
        let listener = self.listens().then(|| (self.listener.as_fd(), Interest::Read));
        let mut fds: Vec<_> = listener.into_iter().collect();
        fds.extend(self.clients.iter().map(|c| {
            let interest = match c.stage {
                ConnectionStage::Taking(_) => Interest::ReadWrite,
                ConnectionStage::Asking(_) | ConnectionStage::Waiting | ConnectionStage::Done => {
                    Interest::Read
                }
            };
            (c.stream.as_fd(), interest)
        }));
        fds
    }

    /// Handles the descriptors in `ready` (in the order of [`ControlSocket::interests`]). Returns the complete
    /// requests.
    pub fn turn(&mut self, ready: &[bool], now: Duration) -> Vec<(ClientId, Request)> {
        let mut requests = Vec::new();
        let listened = usize::from(self.listens());
        for (client, _) in self.clients.iter_mut().zip(&ready[listened..]).filter(|(_, r)| **r) {
            requests.extend(client.turn(now).map(|r| (client.id, r)));
        }
        for client in &mut self.clients {
            if matches!(client.stage, ConnectionStage::Asking(until) | ConnectionStage::Taking(until) if now >= until)
            {
                client.stage = ConnectionStage::Done;
            }
        }
        self.clients.retain(|c| c.stage != ConnectionStage::Done);
        if self.rest_until.is_some_and(|until| now >= until) {
            self.rest_until = None;
        }
        if listened == 1 && ready[0] {
            self.accept(now);
        }
        requests
    }

    /// The time of the next client's timeout.
    pub fn next_at(&self) -> Option<Duration> {
        let until = |c: &Connection| match c.stage {
            ConnectionStage::Asking(until) | ConnectionStage::Taking(until) => Some(until),
            ConnectionStage::Waiting | ConnectionStage::Done => None,
        };
        self.clients.iter().filter_map(until).chain(self.rest_until).min()
    }

    /// Answers a request, unless the client has disconnected.
    pub fn answer(&mut self, id: ClientId, answer: &Answer, now: Duration) {
        if let Some(client) = self.clients.iter_mut().find(|c| c.id == id) {
            client.say(answer, now);
        }
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
        while self.clients.len() < CLIENTS_MAX {
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
            let stage = ConnectionStage::Asking(now + PATIENCE);
            let client =
                Connection { id: self.next_id, stream, input: vec![], output: vec![], stage };
            self.clients.push(client);
            self.next_id += 1;
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Connection {
    fn turn(&mut self, now: Duration) -> Option<Request> {
        let open = self.read();
        match self.stage {
            ConnectionStage::Asking(_) => {
                let Some(end) = self.input.iter().position(|b| *b == b'\n') else {
                    if self.input.len() > REQUEST_MAX || !open {
                        self.stage = ConnectionStage::Done;
                    }
                    return None;
                };
                match serde_json::from_slice(&self.input[..end]) {
                    Ok(request) => {
                        self.stage = ConnectionStage::Waiting;
                        return Some(request);
                    }
                    Err(e) => self.say(&Answer::Refused(format!("invalid request: {e}")), now),
                }
            }
            ConnectionStage::Taking(_) => {
                self.write();
                if !open {
                    self.stage = ConnectionStage::Done;
                }
            }
            ConnectionStage::Waiting if !open => self.stage = ConnectionStage::Done,
            ConnectionStage::Waiting | ConnectionStage::Done => {}
        }
        None
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
        self.stage = ConnectionStage::Taking(now + PATIENCE);
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
