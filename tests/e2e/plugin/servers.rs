//! Real servers for plugins, on loopback: they write down what they were told.

use crate::common::rsyncd::free_port;
use crate::common::wait::{DEADLINE, poll};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What a server does with a connection; gives what it was told.
type Talk = dyn Fn(TcpStream, &Shared) -> Vec<Vec<u8>> + Send + Sync;

/// What a server and its test share.
#[derive(Default)]
pub struct Shared {
    heard: Mutex<Vec<Vec<u8>>>,
    /// Takes a connection and says nothing, until it is false again.
    pub hangs: AtomicBool,
    /// The status it answers with; 0 is 200.
    pub status: AtomicU16,
    /// Connections so far.
    pub connections: AtomicUsize,
    stop: AtomicBool,
}

/// A server on a loopback port.
pub struct Server {
    pub port: u16,
    pub shared: Arc<Shared>,
    talk: Arc<Talk>,
    _reserved: UnixListener,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(
        talk: impl Fn(TcpStream, &Shared) -> Vec<Vec<u8>> + Send + Sync + 'static,
    ) -> Server {
        let (port, _reserved) = free_port();
        let (shared, talk) = (Arc::default(), Arc::new(talk));
        let mut server = Server { port, shared, talk, _reserved, thread: None };
        server.listen();
        server
    }

    /// Each connection is one message, to its end: what sersync's socket plugin sends. A caller that is killed before it
    /// says anything has made no call.
    pub fn lines() -> Server {
        Server::start(|mut stream, shared| {
            wait_while_hung(shared);
            let mut got = Vec::new();
            stream.read_to_end(&mut got).expect("a path");
            if got.is_empty() { Vec::new() } else { vec![got] }
        })
    }

    /// Answers every request with the status, and writes its head and body down.
    pub fn http() -> Server {
        Server::start(answer_http)
    }

    fn listen(&mut self) {
        // A process that another test starts at this moment may still hold the socket that found the port free.
        let bind = || TcpListener::bind(("127.0.0.1", self.port)).ok();
        let listener = poll(DEADLINE, bind).expect("a loopback port");
        listener.set_nonblocking(true).expect("a listener that can be stopped");
        let (shared, talk) = (self.shared.clone(), self.talk.clone());
        shared.stop.store(false, Ordering::SeqCst);
        self.thread = Some(std::thread::spawn(move || {
            let mut talks = Vec::new();
            while !shared.stop.load(Ordering::SeqCst) {
                let stream = match listener.accept() {
                    Ok((stream, _)) => stream,
                    Err(e) if e.kind() == ErrorKind::WouldBlock => {
                        std::thread::sleep(Duration::from_millis(2));
                        continue;
                    }
                    Err(e) => panic!("accept: {e}"),
                };
                shared.connections.fetch_add(1, Ordering::SeqCst);
                stream.set_nonblocking(false).expect("a blocking stream");
                stream.set_read_timeout(Some(DEADLINE * 2)).expect("a timeout");
                let (shared, talk) = (shared.clone(), talk.clone());
                talks.push(std::thread::spawn(move || {
                    let heard = talk(stream, &shared);
                    shared.heard.lock().unwrap().extend(heard);
                }));
            }
            drop(listener);
            talks.into_iter().for_each(|t| t.join().expect("a talk"));
        }));
    }

    /// Refuses connections from now on.
    pub fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the server");
        }
    }

    /// Listens again on the same port.
    pub fn start_again(&mut self) {
        let end = Instant::now() + DEADLINE;
        while TcpListener::bind(("127.0.0.1", self.port)).is_err() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.listen();
    }

    pub fn hang(&self, hangs: bool) {
        self.shared.hangs.store(hangs, Ordering::SeqCst);
    }

    /// Everything that was heard so far.
    pub fn heard(&self) -> Vec<Vec<u8>> {
        self.shared.heard.lock().unwrap().clone()
    }

    /// How often each message was heard.
    pub fn counts(&self) -> BTreeMap<Vec<u8>, usize> {
        count(self.heard())
    }

    /// Waits for `count` messages.
    #[track_caller]
    pub fn wait(&self, count: usize, report: impl Fn() -> String) -> Vec<Vec<u8>> {
        let met = poll(DEADLINE, || Some(self.heard()).filter(|h| h.len() >= count));
        met.unwrap_or_else(|| {
            let heard: Vec<String> =
                self.heard().iter().map(|h| String::from_utf8_lossy(h).into_owned()).collect();
            panic!("heard {} of {count}: {heard:?}\n{}", heard.len(), report())
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.hang(false);
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub fn count(all: impl IntoIterator<Item = Vec<u8>>) -> BTreeMap<Vec<u8>, usize> {
    let mut counts = BTreeMap::new();
    all.into_iter().for_each(|one| *counts.entry(one).or_insert(0) += 1);
    counts
}

pub fn wait_while_hung(shared: &Shared) {
    while shared.hangs.load(Ordering::SeqCst) && !shared.stop.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// One request of HTTP/1.x: head, empty line, and as much body as its length says. A request that no client waits for
/// any more when it is answered does not count as heard.
fn answer_http(mut stream: TcpStream, shared: &Shared) -> Vec<Vec<u8>> {
    let Some(request) = read_request(&mut stream) else { return vec![] };
    let hung = shared.hangs.load(Ordering::SeqCst);
    wait_while_hung(shared);
    let status = match shared.status.load(Ordering::SeqCst) {
        0 => 200,
        other => other,
    };
    let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let answered = stream.write_all(answer.as_bytes()).is_ok();
    if status == 200 && answered && !hung { vec![request] } else { vec![] }
}

/// Head and body.
pub fn read_request(stream: &mut impl Read) -> Option<Vec<u8>> {
    let mut got = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some(at) = got.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&got[..at]).to_lowercase();
            let length = head.lines().find_map(|l| l.strip_prefix("content-length:"));
            let length: usize = length.map_or(0, |n| n.trim().parse().expect("a length"));
            if got.len() >= at + 4 + length {
                return Some(got);
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(n) => got.extend_from_slice(&buffer[..n]),
        }
    }
}

/// Decodes `%XX`.
pub fn decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        if bytes[at] == b'%' {
            let hex = std::str::from_utf8(&bytes[at + 1..at + 3]).expect("two digits");
            out.push(u8::from_str_radix(hex, 16).expect("hexadecimal digits"));
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    out
}

/// The fields of a form or a query.
pub fn fields(form: &str) -> BTreeMap<String, Vec<u8>> {
    let pairs = form.split('&').map(|p| p.split_once('=').expect("name=value"));
    pairs.map(|(name, value)| (name.to_owned(), decoded(value))).collect()
}
