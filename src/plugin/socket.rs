//! The socket plugin: sends the changed path to a TCP address. Each call uses its own connection, as in sersync, or all
//! calls share one, with a NUL or a newline after each path.
//!
//! TCP only confirms that the remote machine has received the bytes. If the server dies before it reads them, they are
//! lost.

use crate::config::model::Framing;
use crate::plugin::http::is_refusal;
use crate::plugin::queue::{Fault, Outcome};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// Connects to the first address of `host` that answers. All attempts together take at most `timeout`. The name is
/// resolved first, within the resolver's own time limits (resolv.conf(5)). Only this plugin's calls wait for that.
pub fn connect(host: &str, port: u16, timeout: Duration) -> io::Result<TcpStream> {
    let end = Instant::now() + timeout;
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let mut last = io::Error::new(ErrorKind::HostUnreachable, "no such host");
    for address in (bare, port).to_socket_addrs()? {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => {
                stream.set_read_timeout(Some(timeout))?;
                stream.set_write_timeout(Some(timeout))?;
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(e) => last = e,
        }
    }
    Err(last)
}

/// The outcome of a failed connection: nothing was sent.
pub fn unreached(host: &str, port: u16, error: &io::Error) -> Outcome {
    Outcome::Failed { error: format!("{host}:{port}: {error}"), fault: Fault::Plugin }
}

/// The outcome of a call that failed after it had reached the plugin.
pub fn broken(host: &str, port: u16, error: &io::Error) -> Outcome {
    let fault = if is_refusal(error) { Fault::Plugin } else { Fault::Either };
    Outcome::Failed { error: format!("{host}:{port}: {error}"), fault }
}

/// Sends paths.
pub struct Client {
    host: String,
    port: u16,
    framing: Framing,
    timeout: Duration,
    kept: Option<TcpStream>,
}

impl Client {
    /// A client for this address.
    pub fn new(host: &str, port: u16, framing: Framing, timeout: Duration) -> Self {
        Self { host: host.to_owned(), port, framing, timeout, kept: None }
    }

    /// One call.
    pub fn send(&mut self, path: &[u8]) -> Outcome {
        let sent = match self.framing {
            Framing::Connection => return self.send_alone(path),
            Framing::Newline if path.contains(&b'\n') => {
                let error = "the name contains a newline; use `separator: nul`".into();
                return Outcome::Failed { error, fault: Fault::Never };
            }
            Framing::Newline => [path, b"\n"].concat(),
            Framing::Nul => [path, b"\0"].concat(),
        };
        // A connection that the server has closed is detected before the next path is sent over it.
        let mut stream = match self.kept.take().filter(is_open) {
            Some(stream) => stream,
            None => match connect(&self.host, self.port, self.timeout) {
                Ok(stream) => stream,
                Err(e) => return unreached(&self.host, self.port, &e),
            },
        };
        match stream.write_all(&sent) {
            Ok(()) => {
                self.kept = Some(stream);
                Outcome::Done
            }
            Err(e) => broken(&self.host, self.port, &e),
        }
    }

    fn send_alone(&self, path: &[u8]) -> Outcome {
        let mut stream = match connect(&self.host, self.port, self.timeout) {
            Ok(stream) => stream,
            Err(e) => return unreached(&self.host, self.port, &e),
        };
        let sent = stream.write_all(path).and_then(|()| stream.shutdown(Shutdown::Write));
        // What the server may already have sent is read: closing a connection with unread data would discard the path.
        match sent.map(|()| is_open(&stream)) {
            Ok(_) => Outcome::Done,
            Err(e) => broken(&self.host, self.port, &e),
        }
    }
}

/// The maximum number of buffers of server output that are discarded at a time.
const ROUNDS_MOST: u32 = 64;

/// Reads and discards the input. Returns false if the remote end is closed.
fn is_open(stream: &TcpStream) -> bool {
    let mut buffer = [0; 4096];
    let mut reader = stream;
    if stream.set_nonblocking(true).is_err() {
        return false;
    }
    let mut rounds = 0;
    let open = loop {
        match reader.read(&mut buffer) {
            Ok(0) => break false,
            // A server that keeps sending is still connected.
            Ok(_) if rounds == ROUNDS_MOST => break true,
            Ok(_) => rounds += 1,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => break e.kind() == ErrorKind::WouldBlock,
        }
    };
    open && stream.set_nonblocking(false).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    const SECONDS: Duration = Duration::from_secs(10);

    #[test]
    fn each_path_gets_its_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut client = Client::new("127.0.0.1", port, Framing::Connection, SECONDS);
        let paths = [&b"/a"[..], b"/b\n\xff$(x)"];
        for path in paths {
            assert_eq!(client.send(path), Outcome::Done);
        }
        for path in paths {
            let mut got = Vec::new();
            listener.accept().unwrap().0.read_to_end(&mut got).unwrap();
            assert_eq!(got, path);
        }
        drop(listener);
        let refused = client.send(b"/c");
        assert!(matches!(refused, Outcome::Failed { fault: Fault::Plugin, .. }), "{refused:?}");
    }

    #[test]
    fn all_paths_can_share_one_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut client = Client::new("127.0.0.1", port, Framing::Nul, SECONDS);
        assert_eq!(client.send(b"/a\n"), Outcome::Done);
        assert_eq!(client.send(b"/b"), Outcome::Done);
        let mut first = listener.accept().unwrap().0;
        let mut got = [0; 7];
        first.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"/a\n\0/b\0");
        drop(first);
        // The closed connection is detected before the next path is lost in it.
        while is_open(client.kept.as_ref().unwrap()) {}
        assert_eq!(client.send(b"/c"), Outcome::Done);
        drop(client);
        let mut got = Vec::new();
        listener.accept().unwrap().0.read_to_end(&mut got).unwrap();
        assert_eq!(got, b"/c\0");
        let mut lines = Client::new("127.0.0.1", port, Framing::Newline, SECONDS);
        assert!(matches!(lines.send(b"/a\nb"), Outcome::Failed { fault: Fault::Never, .. }));
    }
}
