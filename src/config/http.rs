//! `http:` and `--http`: the address of the reporter, its access control, and the lag that counts as unhealthy. Pure:
//! the machine's answers are passed as values.

use super::credentials;
use super::diagnostic::{Diagnostic, Notes};
use super::model::{HttpServer, MAX_LAG_MS, Place};
use super::node::{Fields, Node, Value};
use super::notation::duration_ms;
use super::probe::{PasswordFile, Probe};
use super::values;
use crate::language::say;
use std::net::{Ipv4Addr, SocketAddr};

/// The port that sersync reserved for its `<host>`.
const PORT: u16 = 8008;

/// The options of the command line, which override the files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Given {
    /// `--http`
    pub listen: Option<SocketAddr>,
    /// `--max-lag`, in milliseconds.
    pub max_lag_ms: Option<u64>,
}

/// An address and a port, `localhost:PORT`, or a port of 127.0.0.1 alone. Errors say what to write instead.
pub fn listen(text: &str) -> Result<SocketAddr, String> {
    let port = text.strip_prefix("localhost:").unwrap_or(text);
    if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) {
        return Ok((Ipv4Addr::LOCALHOST, values::port(port)?).into());
    }
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() > 0 => Ok(address),
        _ => Err(say!(
            "`{}` is not an address and a port; write 127.0.0.1:{}, [::1]:{}, or with a token_file \
             0.0.0.0:{}",
            text,
            PORT,
            PORT,
            PORT
        )),
    }
}

/// A duration of at least a millisecond; a bare number is seconds.
pub fn max_lag_ms(text: &str) -> Result<u64, String> {
    match duration_ms(text, Some(1000))? {
        0 => Err(say!("`{}` is too short; write at least 1s", text)),
        ms => Ok(ms),
    }
}

/// Reads the value of `http`.
pub(super) fn read(node: &Node, notes: &mut Notes) -> Option<HttpServer> {
    let mut server = HttpServer {
        place: notes.place(node.line),
        listen: (Ipv4Addr::LOCALHOST, PORT).into(),
        token_file: None,
        max_lag_ms: MAX_LAG_MS,
    };
    if node.is_null() {
        return None;
    }
    let (mut at, mut tokens, mut lag) = (None, None, None);
    if matches!(node.value, Value::Scalar { .. }) {
        at = Some(node);
    } else {
        let fields = Fields::of(node, "http", &["listen", "token_file", "max_lag"], notes)?;
        at = fields.get("listen").or(at);
        (tokens, lag) = (fields.get("token_file"), fields.get("max_lag"));
    }
    if let Some(node) = at {
        server.listen = notes.take(node.line, "http listen", node.text().and_then(listen))?;
    }
    if let Some(node) = tokens {
        let path = node.text().and_then(credentials::path);
        server.token_file = Some(notes.take(node.line, "http token_file", path)?);
    }
    if let Some(node) = lag {
        server.max_lag_ms =
            notes.take(node.line, "http max_lag", node.text().and_then(max_lag_ms))?;
    }
    Some(server)
}

/// The command line overrides the files.
pub fn overlay(http: &mut Option<HttpServer>, given: Given) -> Option<Diagnostic> {
    if let Some(listen) = given.listen {
        let (token_file, max_lag_ms) = match http.take() {
            Some(server) => (server.token_file, server.max_lag_ms),
            None => (None, MAX_LAG_MS),
        };
        *http = Some(HttpServer { place: Place::default(), listen, token_file, max_lag_ms });
    }
    match (http, given.max_lag_ms) {
        (Some(server), Some(ms)) => server.max_lag_ms = ms,
        (None, Some(_)) => {
            let text = say!("--max-lag needs the HTTP reporter: add --http, or `http` in the YAML");
            return Some(Diagnostic::error(&Place::default(), text));
        }
        (_, None) => {}
    }
    None
}

/// What is wrong with it: it is open to other hosts without a token, or other users can read the token.
pub fn check(server: &HttpServer, probe: &dyn Probe) -> Option<Diagnostic> {
    let why = match &server.token_file {
        None if server.listen.ip().is_loopback() => return None,
        None => {
            let at = server.listen;
            say!(
                "http listen={}: other machines could read file names and addresses there; add \
                 `http: {listen: '{}', token_file: /etc/syncsup/token}`, or listen on 127.0.0.1:{}",
                at,
                at,
                at.port()
            )
        }
        // Only the service has it.
        Some(file) if credentials::name(file).is_some() => return None,
        Some(file) => {
            let state = probe.password_file(file.as_path());
            format!("http token_file {}: {}", file, token_error(&file.to_string(), &state)?)
        }
    };
    Some(Diagnostic::error(&server.place, why))
}

/// Why a token file cannot be used.
pub fn token_error(file: &str, state: &PasswordFile) -> Option<String> {
    match state {
        PasswordFile::Missing => Some(say!(
            "no such file; create one: (umask 077; head -c 24 /dev/urandom | base64 > {})",
            file
        )),
        PasswordFile::Refused(why) => Some(why.clone()),
        PasswordFile::Found { mode, .. } if mode & 0o177 != 0 => Some(say!(
            "its mode is {}, so others can read it; run chmod 600 {}",
            format!("{:04o}", mode & 0o7777),
            file
        )),
        PasswordFile::Found { size: ..16, .. } => {
            Some(say!("it is too short to be safe; write a token of at least 16 characters"))
        }
        PasswordFile::Found { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_parsed() {
        for (text, wanted) in [
            ("127.0.0.1:8008", "127.0.0.1:8008"),
            ("localhost:81", "127.0.0.1:81"),
            ("8008", "127.0.0.1:8008"),
            ("[::1]:8008", "[::1]:8008"),
            ("0.0.0.0:80", "0.0.0.0:80"),
        ] {
            assert_eq!(listen(text).unwrap().to_string(), wanted);
        }
        for bad in ["", "127.0.0.1", "127.0.0.1:0", "0", "host:80", "70000", "::1:80x", "http://h"]
        {
            assert!(listen(bad).is_err(), "{bad}");
        }
        assert_eq!(max_lag_ms("90").unwrap(), 90_000);
        assert!(max_lag_ms("0s").is_err());
    }

    #[test]
    fn the_command_line_overrides_the_file() {
        let mut http = None;
        assert!(overlay(&mut http, Given::default()).is_none() && http.is_none());
        let lag = Given { max_lag_ms: Some(5), ..Given::default() };
        assert!(overlay(&mut http, lag).unwrap().to_string().contains("--http"));
        let at = Given { listen: Some(listen("81").unwrap()), ..Given::default() };
        assert!(overlay(&mut http, at).is_none());
        if let Some(server) = &mut http {
            server.token_file = Some("/t".into());
        }
        let both = Given { listen: Some(listen("82").unwrap()), max_lag_ms: Some(5) };
        assert!(overlay(&mut http, both).is_none());
        let server = http.unwrap();
        assert_eq!((server.listen.port(), server.max_lag_ms), (82, 5));
        assert_eq!(server.token_file, Some("/t".into()));
    }

    #[test]
    fn tokens_are_long_and_private() {
        let found = |mode, size| PasswordFile::Found { mode, owner: 0, size, start: Vec::new() };
        assert!(token_error("/t", &found(0o600, 33)).is_none());
        assert!(token_error("/t", &found(0o640, 33)).unwrap().contains("chmod 600 /t"));
        assert!(token_error("/t", &found(0o600, 3)).is_some());
        assert!(token_error("/t", &PasswordFile::Missing).is_some());
    }
}
