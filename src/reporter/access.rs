//! Decides which requests are answered. Pure.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use subtle::ConstantTimeEq;

/// What a request must show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Nothing, because only this machine can connect. But a foreign DNS name may resolve to this machine's address and
    /// lead a browser on this machine to the status page. The foreign page must not read it, so the Host header must
    /// name this machine.
    #[default]
    Local,
    /// This token.
    Token(Vec<u8>),
    /// No request is allowed, because the token file cannot be used.
    Broken(String),
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It has no token, or a wrong one.
    Token,
    /// The Host header names another host.
    Host,
    /// The token file cannot be used.
    Broken(String),
}

impl Access {
    /// What a token file's text allows.
    pub fn of(text: &[u8]) -> Self {
        match text.trim_ascii() {
            token if token.len() < 16 => {
                Access::Broken("the token has fewer than 16 characters".into())
            }
            token => Access::Token(token.to_vec()),
        }
    }

    /// Judges the two headers.
    pub fn check(&self, host: Option<&[u8]>, authorization: Option<&[u8]>) -> Result<(), Refusal> {
        match self {
            Access::Local if host.is_none_or(is_local) => Ok(()),
            Access::Local => Err(Refusal::Host),
            Access::Token(token) => {
                let shown = authorization.and_then(shown).ok_or(Refusal::Token)?;
                // The time of the comparison reveals only the length.
                match bool::from(shown.ct_eq(token)) {
                    true => Ok(()),
                    false => Err(Refusal::Token),
                }
            }
            Access::Broken(why) => Err(Refusal::Broken(why.clone())),
        }
    }
}

/// The token of `Bearer TOKEN`, or the password of `Basic base64(USER:PASSWORD)`.
fn shown(authorization: &[u8]) -> Option<Vec<u8>> {
    let at = authorization.iter().position(|b| *b == b' ')?;
    let (scheme, value) = (&authorization[..at], authorization[at..].trim_ascii());
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return Some(value.to_vec());
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    let both = BASE64_STANDARD.decode(value).ok()?;
    let colon = both.iter().position(|b| *b == b':')?;
    Some(both[colon + 1..].to_vec())
}

/// True if only this machine has this Host header: `localhost` or a loopback address, with any port.
fn is_local(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(name);
    bare.eq_ignore_ascii_case("localhost")
        || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    #[test]
    fn tokens_are_checked() {
        let access = Access::of(format!("{TOKEN}\n").as_bytes());
        let ask = |header: &str| access.check(Some(b"any"), Some(header.as_bytes()));
        let basic = |text: &str| format!("Basic {}", BASE64_STANDARD.encode(text));
        for good in [format!("Bearer {TOKEN}"), format!("bearer  {TOKEN}")] {
            assert_eq!(ask(&good), Ok(()), "{good}");
        }
        assert_eq!(ask(&basic(&format!("me:{TOKEN}"))), Ok(()));
        for bad in [
            String::new(),
            TOKEN.into(),
            "Bearer".into(),
            "Bearer ".into(),
            format!("Bearer {TOKEN}x"),
            format!("Bearer {}", &TOKEN[1..]),
            format!("Digest {TOKEN}"),
            "Basic !!".into(),
            basic(TOKEN),
            basic(&format!("me:{TOKEN}x")),
        ] {
            assert_eq!(ask(&bad), Err(Refusal::Token), "{bad}");
        }
        assert_eq!(access.check(None, None), Err(Refusal::Token));
        assert!(matches!(Access::of(b"short"), Access::Broken(_)));
    }

    #[test]
    fn hosts_are_checked() {
        for good in
            ["localhost", "LOCALHOST:8008", "127.0.0.1:8008", "127.1.2.3", "[::1]:80", "[::1]"]
        {
            assert_eq!(Access::Local.check(Some(good.as_bytes()), None), Ok(()), "{good}");
        }
        for bad in ["", "evil.example", "localhost.evil.example:8008", "10.0.0.1:8008", "\u{ff}"] {
            let refused = Access::Local.check(Some(bad.as_bytes()), None);
            assert_eq!(refused, Err(Refusal::Host), "{bad}");
        }
        assert_eq!(Access::Local.check(None, None), Ok(()), "HTTP/1.0");
    }
}
