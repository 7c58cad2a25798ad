//! The refreshCDN plugin: ChinaCache's refresh request, as sersync sends it.
//!
//! `HEAD /index.jsp?user=U&pswd=P&ok=ok&urls=URL`, or `&dirs=URL/` for a directory. Without a regular expression, the
//! URL is the base and the path below the localpath. With a regular expression, the plugin searches the absolute path
//! for it. The URL is then the base, the match of the first group, and what follows the whole match. If the expression
//! does not match, nothing is refreshed.

use crate::filter::search_regex;
use crate::path::printable;
use crate::plugin::http::{encoded, judged};
use crate::plugin::queue::{Fault, Outcome};
use crate::plugin::socket::{broken, connect, unreached};
use crate::plugin::subject::Subject;
use regex::bytes::Regex;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

/// The maximum size of an answer's head.
const HEAD_MOST: usize = 64 << 10;

/// Sends refresh requests.
pub struct Client {
    /// The service's host.
    pub host: String,
    /// Its port.
    pub port: u16,
    user: String,
    password: String,
    base: String,
    pattern: Option<Regex>,
    timeout: Duration,
}

impl Client {
    /// A client for this service. The configuration has already checked the pattern, so an error is a bug in that
    /// check.
    pub fn new(
        (host, port): (&str, u16),
        (user, password): (&str, &str),
        base: &str,
        pattern: Option<&str>,
        timeout: Duration,
    ) -> Result<Self, String> {
        let compiled = |p: &str| {
            search_regex(p.as_bytes()).and_then(|p| Regex::new(&p).map_err(|e| e.to_string()))
        };
        Ok(Self {
            host: host.to_owned(),
            port,
            user: user.to_owned(),
            password: password.to_owned(),
            base: base.to_owned(),
            pattern: pattern.map(compiled).transpose()?,
            timeout,
        })
    }

    /// What the request names: `urls=…` or `dirs=…/`. `None` if the path is not in the CDN.
    pub fn wish(&self, subject: &Subject) -> Option<String> {
        let tail = match &self.pattern {
            None => subject.below.clone(),
            Some(pattern) => {
                let found = pattern.captures(&subject.path)?;
                let whole = found.get(0)?;
                let group = found.get(1).map_or(&b""[..], |g| g.as_bytes());
                [group, &subject.path[whole.end()..]].concat()
            }
        };
        let url = format!("{}{}", self.base, encoded(&tail));
        Some(if subject.dir { format!("dirs={url}/") } else { format!("urls={url}") })
    }

    fn request(&self, wish: &str) -> String {
        format!(
            "HEAD /index.jsp?user={}&pswd={}&ok=ok&{wish} HTTP/1.0\r\nHost: {}\r\n\r\n",
            encoded(self.user.as_bytes()),
            encoded(self.password.as_bytes()),
            self.host
        )
    }

    /// One call.
    pub fn ask(&self, subject: &Subject) -> Outcome {
        let Some(wish) = self.wish(subject) else { return Outcome::Done };
        let mut stream = match connect(&self.host, self.port, self.timeout) {
            Ok(stream) => stream,
            Err(e) => return unreached(&self.host, self.port, &e),
        };
        let sent = stream.write_all(self.request(&wish).as_bytes());
        let head = sent.and_then(|()| head(&mut stream, Instant::now() + self.timeout));
        match head {
            Ok(head) => self.without_password(answer(&head)),
            Err(e) => broken(&self.host, self.port, &e),
        }
    }

    /// A server may repeat the request in its answer.
    fn without_password(&self, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Failed { error, fault } => {
                let mut error = error;
                for secret in [self.password.clone(), encoded(self.password.as_bytes())] {
                    if !secret.is_empty() {
                        error = error.replace(&secret, "...");
                    }
                }
                Outcome::Failed { error, fault }
            }
            done => done,
        }
    }
}

/// The head of an answer, up to its empty line or its end.
fn head(stream: &mut std::net::TcpStream, end: Instant) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    while !head.windows(4).any(|w| w == b"\r\n\r\n") && head.len() < HEAD_MOST {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => head.extend_from_slice(&buffer[..n]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(head)
}

/// What an answer means: its status, and ChinaCache's own result in the header `whatsup`, `content="succeed"`. A head
/// without an end is no answer: the server died while it sent the head, and the result is unknown.
pub fn answer(head: &[u8]) -> Outcome {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let status = first.split(' ').nth(1).and_then(|s| s.parse::<u16>().ok());
    let Some(status) = status.filter(|_| first.starts_with("HTTP/")) else {
        let error = match head.is_empty() {
            true => "it closed the connection without an answer".into(),
            false => "its answer is not HTTP".into(),
        };
        return Outcome::Failed { error, fault: Fault::Either };
    };
    if !["\r\n\r\n", "\n\n"].iter().any(|end| text.contains(end)) {
        let error = "its answer ends within the header".into();
        return Outcome::Failed { error, fault: Fault::Either };
    }
    let outcome = judged(status);
    let whatsup = lines.take_while(|l| !l.is_empty()).find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("whatsup").then(|| value.trim().to_owned())
    });
    match (outcome, whatsup) {
        (Outcome::Done, Some(said)) if !said.to_lowercase().contains("succeed") => {
            let said = printable(&said.as_bytes()[..said.len().min(300)]);
            Outcome::Failed { error: format!("it answers {said}"), fault: Fault::Path }
        }
        (outcome, _) => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::RelPath;
    use std::path::Path;

    fn client(pattern: Option<&str>) -> Client {
        let base = "http://pic.xoyo.com/cms";
        Client::new(("h", 80), ("u&x", "p w"), base, pattern, Duration::from_secs(1)).unwrap()
    }

    fn subject(below: &[u8], dir: bool) -> Subject {
        let watch = Path::new("/data0/htdocs/cms.xoyo.com/site");
        let path = RelPath::new(below).unwrap().below(watch);
        Subject {
            path: path.into_os_string().into_encoded_bytes(),
            below: [b"/", below].concat(),
            dir,
            present: true,
            mask: 8,
        }
    }

    #[test]
    fn the_request_matches_the_tutorials() {
        let pattern = "cms.xoyo.com/site([/a-zA-Z0-9]*).xoyo.com/images";
        let file = subject(b"jx3.xoyo.com/images/a/123.txt", false);
        let with = client(Some(pattern)).wish(&file);
        assert_eq!(with.as_deref(), Some("urls=http://pic.xoyo.com/cms/jx3/a/123.txt"));
        let without = client(None).wish(&file);
        let plain = "urls=http://pic.xoyo.com/cms/jx3.xoyo.com/images/a/123.txt";
        assert_eq!(without.as_deref(), Some(plain));
        let dir = client(Some(pattern)).wish(&subject(b"jx3.xoyo.com/images/a", true));
        assert_eq!(dir.as_deref(), Some("dirs=http://pic.xoyo.com/cms/jx3/a/"));
        assert_eq!(client(Some(pattern)).wish(&subject(b"other/a", false)), None);
        assert!(Client::new(("h", 1), ("", ""), "", Some("("), Duration::ZERO).is_err());
    }

    #[test]
    fn a_name_cannot_change_the_request() {
        let c = client(None);
        let wish = c.wish(&subject(b"a&ok=no HTTP/1.0\r\nX: y#?\xff", false)).unwrap();
        assert_eq!(
            c.request(&wish),
            "HEAD /index.jsp?user=u%26x&pswd=p%20w&ok=ok&urls=http://pic.xoyo.com/cms/\
             a%26ok%3Dno%20HTTP/1.0%0D%0AX%3A%20y%23%3F%FF HTTP/1.0\r\nHost: h\r\n\r\n"
        );
    }

    #[test]
    fn answers_are_classified() {
        let failed = |head: &[u8]| match answer(head) {
            Outcome::Failed { error, fault } => (error, fault),
            Outcome::Done => panic!("taken for success"),
        };
        assert_eq!(answer(b"HTTP/1.1 200 OK\r\n\r\n"), Outcome::Done);
        let good = b"HTTP/1.1 200 OK\r\nwhatsup: content=\"succeed\"\r\n\r\n";
        assert_eq!(answer(good), Outcome::Done);
        let quota = b"HTTP/1.1 200 OK\r\nWhatsup: content=\"over quota\"\r\n\r\n";
        assert_eq!(failed(quota), ("it answers content=\"over quota\"".into(), Fault::Path));
        assert_eq!(failed(b"HTTP/1.1 503 no\r\n\r\n").1, Fault::Either);
        assert_eq!(failed(b"").1, Fault::Either);
        for end in 1..good.len() {
            assert_eq!(failed(&good[..end]).1, Fault::Either, "{}", printable(&good[..end]));
        }
        assert!(failed(b"SSH-2.0").0.contains("not HTTP"));
        let echoed = Outcome::Failed { error: "p w, p%20w".into(), fault: Fault::Path };
        let Outcome::Failed { error, .. } = client(None).without_password(echoed) else { panic!() };
        assert_eq!(error, "..., ...");
    }
}
