//! The http plugin: a form sent by POST with sersync's fields. They are in sersync's source, but its release had the
//! plugin disabled.

use crate::plugin::queue::{Fault, Outcome};
use crate::plugin::subject::Subject;
use std::sync::Arc;
use std::time::Duration;
use ureq::Agent;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

/// Encodes bytes as in a URL: letters, digits and `-._~/` are unchanged, every other byte becomes `%XX`.
pub fn encoded(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for &b in bytes {
        if b.is_ascii_alphanumeric() || b"-._~/".contains(&b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}

/// The form.
pub fn form(watch: &[u8], subject: &Subject) -> String {
    format!(
        "watchroot={}&isdir={}&inotifyPath={}&mask={}",
        encoded(watch),
        u8::from(subject.dir),
        encoded(&subject.path),
        subject.mask
    )
}

/// Sends forms by POST.
pub struct Client {
    agent: Agent,
    url: String,
}

impl Client {
    /// A client for `url`. `ca` is the content of a file of certificates to trust instead of the public ones.
    pub fn new(url: &str, ca: Option<&[u8]>, timeout: Duration) -> Result<Self, String> {
        let mut tls = TlsConfig::builder();
        if let Some(pem) = ca {
            let mut trusted = Vec::new();
            for item in parse_pem(pem) {
                if let PemItem::Certificate(one) = item.map_err(|e| e.to_string())? {
                    trusted.push(one);
                }
            }
            if trusted.is_empty() {
                return Err("it holds no certificate (PEM)".into());
            }
            tls = tls.root_certs(RootCerts::Specific(Arc::new(trusted)));
        }
        let config = Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections(0)
            .proxy(None)
            .user_agent(concat!("syncsup/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls.build())
            .build();
        Ok(Self { agent: config.into(), url: url.to_owned() })
    }

    /// One call. A 2xx status is success.
    pub fn post(&self, form: &str) -> Outcome {
        let request = self
            .agent
            .post(&self.url)
            .header("Content-Type", "application/x-www-form-urlencoded")
            .send(form.as_bytes());
        match request {
            Ok(answer) => judged(answer.status().as_u16()),
            Err(e) => Outcome::Failed { fault: fault(&e), error: e.to_string() },
        }
    }
}

fn fault(error: &ureq::Error) -> Fault {
    use ureq::{Error, Timeout};
    match error {
        Error::Io(io) if is_refusal(io) || is_lookup(io) => Fault::Plugin,
        Error::HostNotFound | Error::ConnectionFailed => Fault::Plugin,
        Error::Timeout(Timeout::Connect | Timeout::Resolve) => Fault::Plugin,
        _ => Fault::Either,
    }
}

/// True if the host name could not be resolved. The standard library has no error kind for that, only this text (in its
/// `cvt_gai`).
fn is_lookup(error: &std::io::Error) -> bool {
    error.raw_os_error().is_none() && error.to_string().contains("failed to lookup address")
}

/// True if nothing was sent to the server.
pub fn is_refusal(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::*;
    matches!(
        error.kind(),
        ConnectionRefused | HostUnreachable | NetworkUnreachable | NetworkDown | AddrNotAvailable
    )
}

/// What a status means.
pub fn judged(status: u16) -> Outcome {
    let fault = match status {
        200..300 => return Outcome::Done,
        408 | 429 | 500.. => Fault::Either,
        _ => Fault::Path,
    };
    Outcome::Failed { error: format!("status {status}"), fault }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_byte_for_byte() {
        assert_eq!(encoded(b"/a-b_c.~d"), "/a-b_c.~d");
        assert_eq!(encoded(b"a b&c=d+%\n\xff#?"), "a%20b%26c%3Dd%2B%25%0A%FF%23%3F");
        let subject = Subject {
            path: b"/d/x&mask=1".to_vec(),
            below: b"/x&mask=1".to_vec(),
            dir: true,
            present: false,
            mask: 512,
        };
        let form = form(b"/d", &subject);
        assert_eq!(form, "watchroot=/d&isdir=1&inotifyPath=/d/x%26mask%3D1&mask=512");
    }

    #[test]
    fn an_unknown_host_does_not_count_against_the_path() {
        // This name never exists (RFC 6761). The resolver answers that, or times out.
        let client = Client::new("http://nosuch.invalid/", None, Duration::from_secs(5)).unwrap();
        let outcome = client.post("a=b");
        assert!(matches!(outcome, Outcome::Failed { fault: Fault::Plugin, .. }), "{outcome:?}");
    }

    #[test]
    fn only_2xx_is_success() {
        for status in [200, 204, 299] {
            assert_eq!(judged(status), Outcome::Done);
        }
        for (status, fault) in [(302, Fault::Path), (404, Fault::Path), (503, Fault::Either)] {
            let error = format!("status {status}");
            assert_eq!(judged(status), Outcome::Failed { error, fault });
        }
    }
}
