//! Tries whether a server's port answers.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// How long a connection, and then the server's greeting, may take.
const WITHIN: Duration = Duration::from_secs(5);
/// The stack of the thread that looks the name up.
const STACK_BYTES: usize = 512 << 10;

/// A running try. It has a thread of its own, because looking a name up may take long. If it hangs, nothing waits for it.
pub struct PortTry(UnixStream);

impl PortTry {
    /// Starts it. A server that works begins with `greeting` by itself.
    pub fn start(host: &str, port: u16, greeting: &'static [u8]) -> io::Result<Self> {
        let (ours, mut theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let work = move || {
            if greets(&host, port, greeting).unwrap_or(false) {
                // The pusher may have lost interest.
                let _ = theirs.write_all(b"1");
            }
        };
        std::thread::Builder::new().name("port".into()).stack_size(STACK_BYTES).spawn(work)?;
        Ok(Self(ours))
    }

    /// Whether the port answers. `None` while that is not known.
    pub fn result(&mut self) -> Option<bool> {
        match self.0.read(&mut [0]) {
            Ok(read) => Some(read > 0),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => None,
            Err(_) => Some(false),
        }
    }
}

impl AsFd for PortTry {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// True if one of the host's addresses greets.
fn greets(host: &str, port: u16, greeting: &[u8]) -> io::Result<bool> {
    for address in (host, port).to_socket_addrs()? {
        let Ok(mut stream) = TcpStream::connect_timeout(&address, WITHIN) else { continue };
        stream.set_read_timeout(Some(WITHIN))?;
        let mut begin = vec![0; greeting.len()];
        if stream.read_exact(&mut begin).is_ok() && begin == greeting {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn result(port: u16) -> bool {
        let mut attempt = PortTry::start("127.0.0.1", port, b"HELLO").unwrap();
        loop {
            if let Some(result) = attempt.result() {
                return result;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn only_the_greeting_is_an_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            for greeting in [&b"HELLO, world\n"[..], b"GOODBYE\n", b""] {
                let (mut client, _) = listener.accept().unwrap();
                client.write_all(greeting).unwrap();
            }
        });
        assert!(result(port) && !result(port) && !result(port));
        server.join().unwrap();
        assert!(!result(port), "nothing listens");
    }
}
