//! The HTTP thread. The time and size of every connection are limited, and so is their number.

use super::View;
use super::answer::{Answer, Asked, answer};
use super::crowd::Crowd;
use crate::sys::session::monotonic;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use slog::{Logger, debug};
use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The maximum number of connections. For one more, an old one is closed, see [`super::crowd`].
const CONNECTIONS: usize = 192;
/// The time limits of a connection.
#[derive(Clone, Copy)]
pub struct Limits {
    /// The head of a request must have arrived by then.
    head: Duration,
    /// A connection carries one request and must be closed by then.
    all: Duration,
}

/// The limits for strangers.
pub const LIMITS: Limits = Limits { head: Duration::from_secs(3), all: Duration::from_secs(10) };
/// The maximum size of a request's head.
const HEAD_MOST: usize = 16 << 10;
/// The maximum number of its headers.
const HEADERS_MOST: usize = 64;
/// The pause after a connection that could not be accepted.
const REST: Duration = Duration::from_millis(200);

/// What the main thread writes and the HTTP thread reads.
pub type Shown = Arc<Mutex<View>>;

/// A copy of the view. Its large parts are shared.
pub fn look(shown: &Shown) -> View {
    shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Serves for ever. An error comes from the start only.
pub fn serve(listener: TcpListener, shown: Shown, limits: Limits, log: Logger) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(accept(listener, shown, limits, log))
}

async fn accept(
    listener: TcpListener,
    shown: Shown,
    limits: Limits,
    log: Logger,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let crowd = Arc::new(Mutex::new(Crowd::new(CONNECTIONS)));
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(_) => {
                tokio::time::sleep(REST).await;
                continue;
            }
        };
        let (shown, log) = (shown.clone(), log.clone());
        let mut here = crowd.lock().unwrap_or_else(PoisonError::into_inner);
        let (number, place) = (here.next(), crowd.clone());
        let served = tokio::spawn(async move {
            let service = service_fn(move |request| {
                let answered = respond(&shown, &request);
                debug!(log, "{} {}", request.method(), request.uri().path();
                    "from" => peer.to_string(), "status" => answered.status().as_u16());
                async move { Ok::<_, Infallible>(answered) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(limits.head)
                .max_buf_size(HEAD_MOST)
                .max_headers(HEADERS_MOST)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            // A client that breaks off, is too slow, or sends nonsense does not matter.
            let _ = tokio::time::timeout(limits.all, connection).await;
            place.lock().unwrap_or_else(PoisonError::into_inner).leave(number);
        });
        if let Some(late) = here.enter(peer.ip(), served.abort_handle()) {
            late.abort();
        }
    }
}

fn respond(shown: &Shown, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let header = |name| request.headers().get(name).map(HeaderValue::as_bytes);
    let asked = Asked {
        method: request.method().as_str(),
        path: request.uri().path(),
        host: header(HOST),
        authorization: header(AUTHORIZATION),
    };
    // Without a nonce the page has no style, but it is still safe.
    let nonce = nonce().unwrap_or_default();
    response(answer(&look(shown), asked, &nonce, monotonic()))
}

fn response(answer: Answer) -> Response<Full<Bytes>> {
    let length = answer.body.len();
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    *response.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in answer.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
    // A HEAD request gets it, too.
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}

/// A random string that cannot be guessed.
fn nonce() -> io::Result<String> {
    use std::io::Read;
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    /// These limits let a connection last: a new one gets in only because room is made for it.
    const PATIENT: Limits =
        Limits { head: Duration::from_secs(36_000), all: Duration::from_secs(36_000) };

    #[test]
    fn five_hundred_slow_connections_do_not_keep_a_probe_out() {
        crate::sys::session::raise_file_limit();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shown: Shown = Arc::default();
        let log = Logger::root(slog::Discard, slog::o!());
        std::thread::spawn(move || serve(listener, shown, PATIENT, log));
        let mut slow = Vec::new();
        for n in 0..500 {
            let mut stream = TcpStream::connect(address).unwrap();
            if n % 2 == 0 {
                stream.write_all(b"GET / HTTP/1.1\r\nHost: loc").unwrap();
            }
            slow.push(stream);
            if n % 100 == 99 {
                for path in ["/healthz", "/metrics"] {
                    let mut probe = TcpStream::connect(address).unwrap();
                    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
                    probe.write_all(request.as_bytes()).unwrap();
                    let mut answer = String::new();
                    probe.read_to_string(&mut answer).unwrap();
                    assert!(answer.starts_with("HTTP/1.1 "), "{path}: {answer}");
                }
            }
        }
        // The newest connections are still open.
        let last = slow.last_mut().unwrap();
        last.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        last.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
    }
}
