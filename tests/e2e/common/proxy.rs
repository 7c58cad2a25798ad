//! A network between the master and a slave: slow, broken off, or with much on its way.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

/// No limit.
pub const FAST: u64 = u64::MAX;
/// The size of one forwarded block.
const CHUNK: usize = 8 << 10;
/// Chunks that a network holds on their way when it holds much.
const MUCH: usize = 10_000;

/// Forwards connections to a port of this machine; what goes to the slave at a given rate.
pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    target: u16,
    /// Bytes a second of connections to come; 0: nothing gets through.
    rate: AtomicU64,
    /// The same of each connection there is.
    rates: Mutex<Vec<Arc<AtomicU64>>>,
    /// Takes everything from the sender immediately and delivers it later.
    holds_much: AtomicBool,
    /// Takes connections from now on and never answers.
    silent: AtomicBool,
    /// Every connection there was since the last `break_off`, both ends.
    streams: Mutex<Vec<TcpStream>>,
    taken: AtomicU64,
    given: AtomicU64,
    closed: AtomicBool,
}

impl Proxy {
    /// A fast one.
    pub fn start(target: u16) -> Proxy {
        use nix::sys::socket::{setsockopt, sockopt};
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        // Inherited by its connections: the sender must feel the rate, not fill megabytes of buffers.
        setsockopt(&listener, sockopt::RcvBuf, &CHUNK).expect("SO_RCVBUF");
        setsockopt(&listener, sockopt::TcpMaxSeg, &1400).expect("TCP_MAXSEG");
        let shared = Arc::new(Shared {
            target,
            rate: AtomicU64::new(FAST),
            rates: Mutex::default(),
            holds_much: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            streams: Mutex::default(),
            taken: AtomicU64::new(0),
            given: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        });
        let served = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if served.closed.load(Relaxed) {
                    return;
                }
                served.connect(client);
            }
        });
        Proxy { port, shared }
    }

    /// Bytes a second from now on; 0 stops everything, connections open.
    pub fn rate(&self, rate: u64) {
        self.rate_of_new(rate);
        self.shared.rates.lock().unwrap().iter().for_each(|r| r.store(rate, Relaxed));
    }

    /// The same for connections to come.
    pub fn rate_of_new(&self, rate: u64) {
        self.shared.rate.store(rate, Relaxed);
    }

    /// New connections take everything immediately, and deliver it at their rate even when the sender is dead.
    pub fn hold_much(&self) {
        self.shared.holds_much.store(true, Relaxed);
    }

    /// New connections are accepted and never answered, or answered again.
    pub fn silent(&self, silent: bool) {
        self.shared.silent.store(silent, Relaxed);
    }

    /// Ends every connection there is.
    pub fn break_off(&self) {
        for stream in self.shared.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.shared.rates.lock().unwrap().clear();
    }

    /// Bytes taken from senders.
    pub fn taken(&self) -> u64 {
        self.shared.taken.load(Relaxed)
    }

    /// Bytes on their way.
    pub fn on_the_way(&self) -> u64 {
        self.taken() - self.shared.given.load(Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.closed.store(true, Relaxed);
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

impl Shared {
    fn connect(self: &Arc<Self>, client: TcpStream) {
        if self.silent.load(Relaxed) {
            // Kept open.
            self.streams.lock().unwrap().push(client);
            return;
        }
        // Where no slave listens, the connection just ends.
        let Ok(slave) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.target)) else { return };
        let _ = (client.set_nodelay(true), slave.set_nodelay(true));
        let (Ok(from), Ok(to)) = (client.try_clone(), slave.try_clone()) else { return };
        let rate = Arc::new(AtomicU64::new(self.rate.load(Relaxed)));
        self.rates.lock().unwrap().push(rate.clone());
        self.keep([&client, &slave]);
        let depth = if self.holds_much.load(Relaxed) { MUCH } else { 1 };
        let (queue, waiting) = mpsc::sync_channel(depth);
        let shared = self.clone();
        thread::spawn(move || shared.take(from, queue));
        let shared = self.clone();
        thread::spawn(move || shared.give(to, &rate, waiting));
        thread::spawn(move || answer(slave, client));
    }

    /// Remembers the ends of connections; those that are over are forgotten.
    fn keep(&self, ends: [&TcpStream; 2]) {
        let mut streams = self.streams.lock().unwrap();
        streams.retain(|stream| stream.peer_addr().is_ok());
        streams.extend(ends.into_iter().flat_map(TcpStream::try_clone));
    }

    fn take(&self, mut from: TcpStream, queue: mpsc::SyncSender<Vec<u8>>) {
        let mut chunk = vec![0; CHUNK];
        while let Ok(n @ 1..) = from.read(&mut chunk) {
            self.taken.fetch_add(n as u64, Relaxed);
            if queue.send(chunk[..n].to_vec()).is_err() {
                return;
            }
        }
    }

    fn give(&self, mut to: TcpStream, rate: &AtomicU64, waiting: mpsc::Receiver<Vec<u8>>) {
        for chunk in waiting {
            self.wait_for_turn(chunk.len(), rate);
            if to.write_all(&chunk).is_err() {
                return;
            }
            self.given.fetch_add(chunk.len() as u64, Relaxed);
        }
        let _ = to.shutdown(Shutdown::Write);
    }

    fn wait_for_turn(&self, bytes: usize, rate: &AtomicU64) {
        while !self.closed.load(Relaxed) {
            match rate.load(Relaxed) {
                0 => thread::sleep(Duration::from_millis(10)),
                FAST => return,
                rate => return thread::sleep(Duration::from_secs_f64(bytes as f64 / rate as f64)),
            }
        }
    }
}

/// From the slave to the sender; when there is none any more, into the void, so that the slave goes on.
fn answer(mut from: TcpStream, mut to: TcpStream) {
    let mut chunk = vec![0; CHUNK];
    while let Ok(n @ 1..) = from.read(&mut chunk) {
        let _ = to.write_all(&chunk[..n]);
    }
    let _ = to.shutdown(Shutdown::Both);
}
