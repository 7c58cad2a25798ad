//! The HTTP reporter: what it shows and to whom, and that nothing done to it is felt by the replication.

mod access;
mod large;
mod picture;

use crate::common::instance::Instance;
use crate::common::procs::Proc;
use crate::common::rsyncd::free_port;
use crate::common::wait::{DEADLINE, poll, wait_for};
use crate::common::world::{Setup, World};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

/// What a server has answered.
#[derive(Debug)]
struct Got {
    status: u16,
    head: String,
    body: String,
}

impl Got {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|l| l.split_once(": "));
        lines.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v).next()
    }
}

/// Sends bytes and reads the answer to its end. `None` if nothing listens, or the connection breaks.
fn exchange(port: u16, bytes: &[u8]) -> Option<Got> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.set_read_timeout(Some(DEADLINE)).ok()?;
    // What is too long is answered before it is read.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let ended = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).ok()?;
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        assert!(answer.is_empty() || ended.is_err(), "{answer}");
        return None;
    };
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Got { status, head: head.to_owned(), body: body.to_owned() })
}

/// One request with more header lines; waits until the reporter listens.
#[track_caller]
fn ask(port: u16, method: &str, path: &str, more: &str) -> Got {
    let text = format!("{method} {path} HTTP/1.1\r\nHost: localhost:{port}\r\n{more}\r\n");
    poll(DEADLINE, || exchange(port, text.as_bytes())).expect("an answer")
}

fn get(port: u16, path: &str) -> Got {
    ask(port, "GET", path, "")
}

/// A world that serves at a port of its own.
fn world(more: &str) -> (World, u16, UnixListener) {
    let (port, reserved) = free_port();
    let w = Setup::default().build();
    set_http(&w, &format!("{{listen: '127.0.0.1:{port}'{more}}}"));
    (w, port, reserved)
}

/// Replaces the `http:` line of the configuration; an empty value removes it.
fn set_http(w: &World, value: &str) {
    let text = fs::read_to_string(w.instance.config()).unwrap();
    let mut lines: Vec<&str> = text.lines().filter(|l| !l.starts_with("http:")).collect();
    let line = format!("http: {value}");
    if !value.is_empty() {
        lines.insert(0, &line);
    }
    fs::write(w.instance.config(), lines.join("\n") + "\n").unwrap();
}

fn reporters(instance: &Instance) -> Vec<Proc> {
    let family = instance.family().into_iter();
    family.filter(|p| p.state != 'Z' && p.command.starts_with("syncsup: reporter ")).collect()
}

fn reporter_state(status: &Value) -> &str {
    status["instances"][0]["reporter"]["state"].as_str().unwrap_or_default()
}

#[track_caller]
fn wait_reporter(w: &World, state: &str) -> Value {
    wait_reporter_of(&w.instance, state)
}

#[track_caller]
fn wait_reporter_of(instance: &Instance, state: &str) -> Value {
    instance.wait_status(state, |s| reporter_state(s) == state)
}

#[test]
fn every_page_is_served_and_only_for_reading() {
    let (mut w, port, _reserved) = world("");
    w.write("a<b>&'\"", "x");
    w.run(&[]);
    w.wait_identical();
    w.wait_in_sync();
    wait_reporter(&w, "listening");
    let [reporter] = &reporters(&w.instance)[..] else { panic!("{:?}", w.instance.family()) };
    assert!(reporter.command.starts_with(&format!("syncsup: reporter 127.0.0.1:{port}")));

    let calm = "everything is in sync";
    wait_for("a page that shows the remote", DEADLINE, || get(port, "/").body.contains(calm));
    let page = get(port, "/");
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'nonce-"), "{policy}");
    let nonce = policy.split("'nonce-").nth(1).unwrap().split('\'').next().unwrap();
    assert!(policy.contains(&format!("; script-src 'nonce-{nonce}'; connect-src 'self'; ")));
    assert!(nonce.len() == 32 && page.body.matches(&format!("nonce=\"{nonce}\"")).count() == 2);
    assert_ne!(get(port, "/").header("content-security-policy"), Some(policy));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert!(page.body.contains("127.0.0.1") && page.body.contains("<svg"), "{}", page.body);

    let processes = get(port, "/processes").body;
    for process in ["supervisor", "reporter", "watcher", "pusher"] {
        assert!(processes.contains(&format!("<th scope=\"row\">{process} ")), "{processes}");
    }

    // The push is counted a moment before it is told.
    let labels =
        format!("{{localpath=\"{}\",remote=\"{}\"}}", w.master.display(), w.remotes[0].name());
    wait_for("the statistics of the push", DEADLINE, || {
        let text = get(port, "/metrics").body;
        let is = |line: &str| text.lines().any(|l| l == line);
        is(&format!("syncsup_pushed_files_total{labels} 1"))
            && is(&format!("syncsup_lag_seconds{labels} 0"))
            && is(&format!("syncsup_remote_up{labels} 1"))
            && is("syncsup_up 1")
            && text.contains("syncsup_watches_allowed ")
            && !text.contains(&format!("syncsup_pushes_total{labels} 0"))
    });

    // It is told once a second.
    wait_for("the status of the command", DEADLINE, || {
        let told: Value = serde_json::from_str(&get(port, "/status.json").body).unwrap();
        let wanted = w.instance.status();
        ["/instances/0/pid", "/instances/0/localpaths/0/watch", "/instances/0/reporter"]
            .iter()
            .all(|at| told.pointer(at).is_some() && told.pointer(at) == wanted.pointer(at))
    });
    let health = get(port, "/healthz?x=1");
    assert_eq!((health.status, &health.body[..]), (200, "ok\n"));

    let head = ask(port, "HEAD", "/healthz", "");
    assert_eq!((head.status, head.header("content-length"), &head.body[..]), (200, Some("3"), ""));
    assert_eq!(get(port, "/nothing").status, 404);
    assert_eq!(get(port, "/../../etc/passwd").status, 404);
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"] {
        let got = ask(port, method, "/", "Content-Length: 0\r\n");
        assert_eq!((got.status, got.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
    // A foreign page whose name resolves to this address.
    let bytes = b"GET /status.json HTTP/1.1\r\nHost: evil.example:8008\r\n\r\n";
    assert_eq!(exchange(port, bytes).unwrap().status, 403);
}

#[test]
fn health_fails_for_a_remote_too_far_behind() {
    let (mut w, port, _reserved) = world(", max_lag: 1s");
    w.run(&[]);
    w.wait_in_sync();
    wait_for("health", DEADLINE, || get(port, "/healthz").status == 200);
    w.remotes[0].stop();
    w.write("late", "x");
    wait_for("the error", DEADLINE, || get(port, "/healthz").status == 503);
    let said = get(port, "/healthz").body;
    assert!(said.contains(&w.remotes[0].name()) && said.contains("behind"), "{said}");
    wait_for("the page", DEADLINE, || get(port, "/").body.contains("syncsup: 1 in trouble"));
    let name = w.remotes[0].name();
    let happened = |words: &str| {
        let page = get(port, "/").body;
        page.lines()
            .flat_map(|l| l.split("<li class=\"event "))
            .any(|event| event.contains(&format!("<b>{name}</b>")) && event.contains(words))
    };
    assert!(happened("is in trouble") && !happened("is back after"));
    w.remotes[0].start_again();
    w.wait_identical();
    wait_for("health again", DEADLINE, || get(port, "/healthz").status == 200);
    wait_for("the event", DEADLINE, || happened("is back after"));
}

#[test]
fn the_lag_of_a_dead_remote_never_falls_while_its_paths_are_rewritten() {
    let (mut w, port, _reserved) = world(", max_lag: 3s");
    w.run(&[]);
    w.wait_in_sync();
    w.remotes[0].stop();
    let (mut last_ms, mut round) = (0, 0);
    wait_for("a lag of 4 s", DEADLINE, || {
        round += 1;
        (0..10).for_each(|n| w.write(&format!("hot{n}"), round.to_string()));
        let remote = &w.instance.status()["instances"][0]["localpaths"][0]["remotes"][0];
        let lag_ms = remote["lag_ms"].as_u64().unwrap();
        assert!(lag_ms >= last_ms, "{last_ms} ms, then {lag_ms} ms\n{}", w.instance.report());
        last_ms = lag_ms;
        lag_ms > 4_000
    });
    assert_eq!(get(port, "/healthz").status, 503);
    w.remotes[0].start_again();
    w.wait_identical();
    wait_for("health again", DEADLINE, || get(port, "/healthz").status == 200);
}

#[test]
fn a_port_in_use_is_reported_and_retried() {
    let (mut w, port, _reserved) = world("");
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    set_http(&w, "");
    w.run(&["--http", &format!("127.0.0.1:{port}"), "--max-lag", "5m"]);
    let status = wait_reporter(&w, "refused");
    let reason = status["instances"][0]["reporter"]["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains(&format!("cannot listen on 127.0.0.1:{port}")), "{reason}");
    wait_for("the log", DEADLINE, || w.instance.log_text().contains(&reason));
    let shown = w.instance.command(&["status"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains(&format!("http://127.0.0.1:{port}/ REFUSED: cannot listen")), "{shown}");
    w.write("a", "x");
    w.wait_identical();
    drop(taken);
    wait_reporter(&w, "listening");
    assert_eq!(get(port, "/metrics").status, 200);
    assert_eq!(w.instance.log_text().matches(&reason).count(), 1, "it is said once");
}

#[test]
fn slow_connections_do_not_slow_replication() {
    let (mut w, port, _reserved) = world("");
    w.run(&[]);
    wait_reporter(&w, "listening");
    let usual = (0..10).map(|_| w.probe(0)).max().unwrap();
    // Some send nothing, some send a request byte by byte.
    let mut slow: Vec<TcpStream> = Vec::new();
    let mut lags = Vec::new();
    for n in 0..500 {
        let Ok(mut stream) = TcpStream::connect_timeout(
            &(Ipv4Addr::LOCALHOST, port).into(),
            Duration::from_millis(500),
        ) else {
            // The kernel's queue is full: as it should be.
            continue;
        };
        if n % 2 == 0 {
            let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: loc");
        }
        slow.push(stream);
        if n % 50 == 0 {
            lags.push(w.probe(0));
        }
    }
    assert!(slow.len() > 100, "only {} connections came about", slow.len());
    let reporter = reporters(&w.instance).remove(0);
    let files = fs::read_dir(format!("/proc/{}/fd", reporter.pid)).unwrap().count();
    assert!(files < 256, "{files} open files");
    for stream in slow.iter_mut() {
        let _ = stream.write_all(b"x");
    }
    lags.extend((0..10).map(|_| w.probe(0)));
    // The machine of a test may be busy by itself, and stand still once.
    lags.sort();
    let allowed = usual.max(Duration::from_millis(200)) * 5;
    assert!(lags[lags.len() - 2] < allowed, "{lags:?} instead of {usual:?}");
    // They are dropped, and the same process answers again, though no client has closed a connection.
    assert_eq!(get(port, "/metrics").status, 200);
    assert!(
        reporter.runs()
            && w.instance.status()["instances"][0]["reporter"]["process"]["restarts"] == 0
    );
    drop(slow);
}

#[test]
fn overlong_requests_are_refused() {
    let (mut w, port, _reserved) = world("");
    w.run(&[]);
    wait_reporter(&w, "listening");
    let long = "x".repeat(1 << 20);
    let many = (0..10_000).fold(String::new(), |all, n| all + &format!("H{n}: x\r\n"));
    for (what, text) in [
        ("one header", format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {long}\r\n\r\n")),
        ("many headers", format!("GET / HTTP/1.1\r\nHost: localhost\r\n{many}\r\n")),
        ("a long path", format!("GET /{long} HTTP/1.1\r\nHost: localhost\r\n\r\n")),
        ("no HTTP", long.clone()),
        (
            "a body",
            format!(
                "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{long}",
                long.len()
            ),
        ),
    ] {
        // The answer may be lost, since unread data resets the connection.
        if let Some(got) = exchange(port, text.as_bytes()) {
            assert!(matches!(got.status, 400 | 405 | 414 | 431), "{what}: {}", got.head);
        }
    }
    let small = "GET / HTTP/1.1\r\nHost: localhost\r\n".to_owned() + &"H: x\r\n".repeat(100);
    let got = exchange(port, (small + "\r\n").as_bytes()).unwrap();
    assert_eq!(got.status, 431, "{}", got.head);
    assert_eq!(get(port, "/metrics").status, 200);
    let restarts = &w.instance.status()["instances"][0]["reporter"]["process"]["restarts"];
    assert_eq!(restarts, 0);
}

#[test]
fn a_killed_reporter_is_restarted_and_no_other_process_notices() {
    let (mut w, port, _reserved) = world("");
    w.run(&[]);
    wait_reporter(&w, "listening");
    let others: Vec<Proc> = w.instance.watchers().into_iter().chain(w.instance.pushers()).collect();
    reporters(&w.instance).remove(0).signal(Signal::SIGKILL);
    w.instance.wait_status("started again", |s| {
        reporter_state(s) == "listening"
            && s["instances"][0]["reporter"]["process"]["restarts"] == 1
    });
    wait_for("an answer", DEADLINE, || get(port, "/healthz").status == 200);
    // One that hangs is noticed by its silence.
    let hung = reporters(&w.instance).remove(0);
    hung.signal(Signal::SIGSTOP);
    let began = Instant::now();
    w.write("meanwhile", "x");
    w.wait_identical();
    assert!(began.elapsed() < Duration::from_secs(5));
    wait_for("its end", DEADLINE, || !hung.runs());
    wait_for("an answer again", DEADLINE, || get(port, "/healthz").status == 200);
    assert!(others.iter().all(Proc::runs));
    w.instance.stop();
}

#[test]
fn a_reload_turns_the_reporter_on_and_off() {
    let (mut w, port, _reserved) = world("");
    set_http(&w, "");
    w.run(&[]);
    assert!(w.instance.status()["instances"][0]["reporter"].is_null());
    assert!(reporters(&w.instance).is_empty());
    let others: Vec<Proc> = w.instance.watchers().into_iter().chain(w.instance.pushers()).collect();
    let reload = |w: &World| {
        let out = w.instance.command(&["reload"]);
        assert!(out.status.success(), "{out:?}");
    };
    set_http(&w, &format!("'127.0.0.1:{port}'"));
    reload(&w);
    wait_reporter(&w, "listening");
    assert_eq!(get(port, "/metrics").status, 200);
    let first = reporters(&w.instance).remove(0);

    // Unchanged settings: it is left alone. Another port: it moves.
    reload(&w);
    let (second_port, _reserved) = free_port();
    assert!(first.runs());
    set_http(&w, &format!("'127.0.0.1:{second_port}'"));
    reload(&w);
    wait_for("the first to end", DEADLINE, || !first.runs());
    assert_eq!(get(second_port, "/metrics").status, 200);
    // A configuration that is refused changes nothing.
    set_http(&w, "'0.0.0.0:1'");
    assert_eq!(w.instance.command(&["reload"]).status.code(), Some(2));
    assert_eq!(get(second_port, "/metrics").status, 200);

    set_http(&w, "");
    reload(&w);
    wait_for("its end", DEADLINE, || reporters(&w.instance).is_empty());
    w.instance.wait_status("no reporter", |s| s["instances"][0]["reporter"].is_null());
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, second_port)).is_err());
    assert!(others.iter().all(Proc::runs));
}
