//! A slave that means no good: it lets everybody in, takes whatever comes, and sends words without end.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What it does to a client.
#[derive(Clone, Copy, Debug)]
pub enum Malice {
    /// A line before its greeting is done, then another, every so often.
    DripsBefore(Duration),
    /// Lines before its greeting is done, as fast as they are read.
    FloodsBefore,
    /// Lets it in, then sends a message, every so often.
    Drips(Duration),
    /// Lets it in, then sends messages as fast as they are read: for its output, or its complaints.
    Floods(Stream),
    /// Lets it in, then sends one line that has no end.
    OneLine(Stream),
}

/// Where an rsync prints a message.
#[derive(Clone, Copy, Debug)]
pub enum Stream {
    Output,
    Complaints,
}

/// A listening thread; ends when dropped, its connections with it.
pub struct Hostile {
    port: u16,
    end: Arc<AtomicBool>,
    connections: Arc<AtomicU32>,
    thread: Option<JoinHandle<()>>,
}

impl Hostile {
    /// Listens on a port of 127.0.0.1 that is free.
    pub fn start(port: u16, malice: Malice) -> Hostile {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a free port");
        let (end, connections) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let (ends, counts) = (end.clone(), connections.clone());
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                counts.fetch_add(1, Ordering::Relaxed);
                let ends = ends.clone();
                // The other end may go at any time.
                thread::spawn(move || drop(serve(stream, malice, &ends)));
            }
        });
        Hostile { port, end, connections, thread: Some(thread) }
    }

    /// The number of connections.
    pub fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
        self.thread.take().map(JoinHandle::join);
    }
}

fn serve(mut stream: TcpStream, malice: Malice, end: &AtomicBool) -> std::io::Result<()> {
    stream.write_all(b"@RSYNCD: 30.0\n")?;
    let mut taken = stream.try_clone()?;
    thread::spawn(move || {
        let mut buffer = [0; 65_536];
        while taken.read(&mut buffer).is_ok_and(|n| n > 0) {}
    });
    let before = matches!(malice, Malice::DripsBefore(_) | Malice::FloodsBefore);
    if !before {
        // Nothing of a protocol after 29, and a seed.
        stream.write_all(b"@RSYNCD: OK\n\0\x01\0\0\0")?;
    }
    let (pause, text) = match malice {
        Malice::DripsBefore(pause) => (pause, b"welcome\n".to_vec()),
        Malice::FloodsBefore => (Duration::ZERO, b"welcome\n".repeat(8_000)),
        Malice::Drips(pause) => (pause, message(Stream::Output, b"still at work on it\n")),
        Malice::Floods(to) => {
            (Duration::ZERO, message(to, &b"no end of it\n".repeat(50)).repeat(100))
        }
        Malice::OneLine(to) => (Duration::ZERO, message(to, &[b'x'; 1_000]).repeat(60)),
    };
    while !end.load(Ordering::Relaxed) {
        match stream.write_all(&text) {
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            other => other?,
        }
        thread::sleep(pause);
    }
    stream.shutdown(Shutdown::Both)
}

/// In the frame of a multiplexed stream: three bytes of length, one of kind.
fn message(to: Stream, text: &[u8]) -> Vec<u8> {
    const BASE: u32 = 7;
    let kind = match to {
        Stream::Output => 2,
        Stream::Complaints => 1,
    };
    let head = (BASE + kind) << 24 | text.len() as u32;
    [head.to_le_bytes().as_slice(), text].concat()
}
