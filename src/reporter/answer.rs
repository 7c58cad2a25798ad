//! The answer to a request. Pure.

use super::access::Refusal;
use super::{View, metrics, page};
use crate::message::{AllStatus, InstanceStatus, LocalPathState, PusherState};
use std::time::Duration;

/// The parts of a request that matter.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// For example `GET`.
    pub method: &'a str,
    /// Without the query.
    pub path: &'a str,
    /// The Host header.
    pub host: Option<&'a [u8]>,
    /// The Authorization header.
    pub authorization: Option<&'a [u8]>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// All headers except the length.
    pub headers: Vec<(&'static str, String)>,
    /// The text. A HEAD request gets only its length.
    pub body: String,
}

const PLAIN: &str = "text/plain; charset=utf-8";

/// Checks and answers a request. `nonce` is new for each request.
pub fn answer(view: &View, asked: Asked<'_>, nonce: &str, now: Duration) -> Answer {
    if let Err(refusal) = view.access.check(asked.host, asked.authorization) {
        return refused(refusal);
    }
    if !matches!(asked.method, "GET" | "HEAD") {
        return with(plain(405, "only GET and HEAD are supported\n"), "allow", "GET, HEAD");
    }
    match asked.path {
        "/" | "/processes" => {
            let part = if asked.path == "/" { page::Part::Remotes } else { page::Part::Processes };
            let policy = format!(
                "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
            );
            typed(200, "text/html; charset=utf-8", &policy, page::page(part, view, nonce, now))
        }
        "/metrics" => {
            let kind = "text/plain; version=0.0.4; charset=utf-8";
            typed(200, kind, NOTHING, metrics::text(view, now))
        }
        "/status.json" => match &view.status {
            Some((status, _)) => {
                let all = AllStatus { instances: vec![InstanceStatus::clone(status)] };
                // No map in the model has keys that are not text.
                let text = serde_json::to_string(&all).unwrap_or_default() + "\n";
                typed(200, "application/json", NOTHING, text)
            }
            None => plain(503, "the supervisor has sent no status yet\n"),
        },
        "/healthz" => match troubles(view, now) {
            none if none.is_empty() => plain(200, "ok\n"),
            some => plain(503, some.join("\n") + "\n"),
        },
        _ => plain(
            404,
            "no such page; the pages are /, /processes, /metrics, /status.json and /healthz\n",
        ),
    }
}

const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'";

/// The reasons why the instance is not healthy, one per line.
fn troubles(view: &View, now: Duration) -> Vec<String> {
    let Some(status) = view.fresh(now) else {
        return vec!["the supervisor sends no status".into()];
    };
    let mut found = Vec::new();
    for l in &status.localpaths {
        if matches!(l.state, LocalPathState::Held | LocalPathState::Down) {
            found.push(format!("{}: {}", l.watch, l.state.word()));
        }
        for r in &l.remotes {
            let place = format!("{} -> {}", l.watch, r.name);
            match r.status.state {
                PusherState::Held => found.push(format!("{place}: held")),
                PusherState::Down => found.push(format!("{place}: down")),
                _ if r.lag_ms > view.max_lag_ms => {
                    found.push(format!("{place}: {} s behind", r.lag_ms / 1000));
                }
                // Its lag may be zero, but what the remote has is unknown.
                PusherState::Backoff => {
                    let since_ms = r.trouble_since_ms.unwrap_or(status.now_ms);
                    let trouble_ms = status.now_ms.saturating_sub(since_ms);
                    if u64::try_from(trouble_ms).is_ok_and(|ms| ms > view.max_lag_ms) {
                        found.push(format!("{place}: in trouble for {} s", trouble_ms / 1000));
                    }
                }
                PusherState::InSync
                | PusherState::Behind
                | PusherState::Pushing
                | PusherState::Reconciling => {}
            }
        }
    }
    found
}

fn refused(refusal: Refusal) -> Answer {
    match refusal {
        Refusal::Token => {
            let answer = plain(
                401,
                "a token is required: send Authorization: Bearer TOKEN, or the token as the password\n",
            );
            with(answer, "www-authenticate", "Basic realm=\"syncsup\", charset=\"UTF-8\"")
        }
        Refusal::Host => {
            plain(403, "use localhost or 127.0.0.1; other names require a token_file\n")
        }
        // The log says why. A stranger need not know.
        Refusal::Broken(_) => plain(503, "cannot use the token file; see the log\n"),
    }
}

fn plain(status: u16, text: impl Into<String>) -> Answer {
    typed(status, PLAIN, NOTHING, text.into())
}

fn typed(status: u16, kind: &str, policy: &str, body: String) -> Answer {
    let headers = [
        ("content-type", kind),
        ("content-security-policy", policy),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cache-control", "no-store"),
    ];
    Answer { status, headers: headers.map(|(n, v)| (n, v.to_owned())).to_vec(), body }
}

fn with(mut answer: Answer, name: &'static str, value: &str) -> Answer {
    answer.headers.push((name, value.to_owned()));
    answer
}

#[cfg(test)]
mod tests {
    use super::super::access::Access;
    use super::super::page::tests::{status, view};
    use super::*;
    use std::sync::Arc;

    fn ask(view: &View, method: &str, path: &str) -> Answer {
        let asked = Asked { method, path, host: Some(b"localhost"), authorization: None };
        answer(view, asked, "n0nce", Duration::from_secs(101))
    }

    #[test]
    fn five_paths_and_two_methods_are_served() {
        for (path, kind) in [
            ("/", "text/html; charset=utf-8"),
            ("/processes", "text/html; charset=utf-8"),
            ("/metrics", "text/plain; version=0.0.4; charset=utf-8"),
            ("/status.json", "application/json"),
            ("/healthz", PLAIN),
        ] {
            let got = ask(&view(), "GET", path);
            assert_eq!((got.status, &got.headers[0].1[..]), (200, kind), "{path}");
            assert_eq!(ask(&view(), "HEAD", path), got);
            for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "get", "X"] {
                assert_eq!(ask(&view(), method, path).status, 405);
            }
        }
        for path in ["", "/x", "//", "/processes/", "/metrics/", "/../etc/passwd", "*"] {
            assert_eq!(ask(&view(), "GET", path).status, 404, "{path}");
        }
    }

    /// The page may run its own script and ask this server, and nothing else.
    #[test]
    fn the_policy_allows_the_own_script_only() {
        let got = ask(&view(), "GET", "/");
        assert_eq!(ask(&view(), "GET", "/processes").headers, got.headers);
        let policy = got.headers.iter().find(|(name, _)| *name == "content-security-policy");
        let wanted = [
            "default-src 'none'",
            "style-src 'nonce-n0nce'",
            "script-src 'nonce-n0nce'",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ];
        assert_eq!(policy.unwrap().1, wanted.join("; "));
        for tag in ["<script", "<style"] {
            let all = got.body.matches(tag).count();
            assert_eq!(all, got.body.matches(&format!("{tag} nonce=\"n0nce\">")).count());
        }
    }

    #[test]
    fn health_depends_on_the_lag() {
        let at = |change: &dyn Fn(&mut InstanceStatus)| {
            let (mut view, mut status) = (view(), status());
            change(&mut status);
            view.status = Some((Arc::new(status), Duration::from_secs(100)));
            let got = ask(&view, "GET", "/healthz");
            (got.status, got.body)
        };
        assert_eq!(at(&|_| {}).0, 200);
        assert_eq!(at(&|s| s.localpaths[0].remotes[0].lag_ms = 60_000).0, 200);
        let (code, text) = at(&|s| s.localpaths[0].remotes[0].lag_ms = 61_000);
        assert!(code == 503 && text.contains("10.0.0.2::www: 61 s behind"), "{text}");
        // In trouble since that time, with nothing to push.
        let since = |ms: i64| {
            at(&|s| {
                s.now_ms = 1_000_000;
                let remote = &mut s.localpaths[0].remotes[0];
                (remote.lag_ms, remote.status.waiting) = (0, 0);
                remote.trouble_since_ms = Some(ms);
            })
        };
        assert_eq!(since(940_000).0, 200);
        let (code, text) = since(939_000);
        assert!(code == 503 && text.contains("10.0.0.2::www: in trouble for 61 s"), "{text}");
        assert_eq!(at(&|s| s.localpaths[0].remotes[0].status.state = PusherState::Held).0, 503);
        assert_eq!(at(&|s| s.localpaths[0].remotes[0].status.state = PusherState::Down).0, 503);
        assert_eq!(at(&|s| s.localpaths[0].state = LocalPathState::Held).0, 503);
        let silent = View { status: None, ..view() };
        assert_eq!(ask(&silent, "GET", "/healthz").status, 503);
        assert_eq!(ask(&silent, "GET", "/status.json").status, 503);
    }

    #[test]
    fn an_unauthorized_request_learns_nothing() {
        let closed = View { access: Access::of(b"0123456789abcdef"), ..view() };
        for path in ["/", "/processes", "/metrics", "/status.json", "/healthz", "/x"] {
            let got = ask(&closed, "GET", path);
            assert!(got.status == 401 && !got.body.contains("/data"));
        }
        let broken = View { access: Access::Broken("secret".into()), ..view() };
        let got = ask(&broken, "GET", "/");
        assert!(got.status == 503 && !got.body.contains("secret"));
    }
}
