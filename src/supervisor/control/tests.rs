use super::*;
use crate::language::Language;
use crate::message::Request;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;

const S: fn(u64) -> Duration = Duration::from_secs;

fn turn(control: &mut ControlSocket, now: Duration) -> Vec<(ClientId, Asked)> {
    let ready = {
        let fds = control.interests();
        crate::sys::poll::wait(&fds, Some(Duration::from_millis(50))).unwrap()
    };
    control.turn(&ready, now)
}

fn listen() -> (tempfile::TempDir, PathBuf, ControlSocket) {
    let dir = tempfile::tempdir().unwrap();
    let long = dir.path().join("d".repeat(120));
    std::fs::create_dir(&long).unwrap();
    let path = long.join("a.sock");
    let control = ControlSocket::listen(&path).unwrap();
    (dir, path, control)
}

fn connect(path: &Path) -> UnixStream {
    with_short_path(path, |p| UnixStream::connect(p)).unwrap()
}

#[test]
fn a_request_gets_its_answer() {
    let (_dir, path, mut control) = listen();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let mut client = connect(&path);
    client.write_all(b"\"sta").unwrap();
    assert!(turn(&mut control, S(0)).is_empty());
    assert!(turn(&mut control, S(0)).is_empty());
    client.write_all(b"tus\"\n").unwrap();
    let requests = turn(&mut control, S(0));
    assert!(
        matches!(
            requests[..],
            [(_, Asked { request: Request::Status, language: Language::English })]
        ),
        "{requests:?}"
    );
    control.answer(requests[0].0, &Answer::Done(vec!["well".into()]), S(0));
    let mut line = String::new();
    BufReader::new(client).read_line(&mut line).unwrap();
    assert_eq!(line, "{\"done\":[\"well\"]}\n");
    turn(&mut control, S(0));
    assert!(control.clients.is_empty());
}

#[test]
fn invalid_requests_are_refused() {
    let (_dir, path, mut control) = listen();
    let mut client = connect(&path);
    client.write_all(b"GET / HTTP/1.0\n").unwrap();
    turn(&mut control, S(0));
    turn(&mut control, S(0));
    let mut line = String::new();
    BufReader::new(client).read_line(&mut line).unwrap();
    assert!(line.contains("refused"), "{line}");
}

#[test]
fn silent_slow_and_endless_clients_are_dropped() {
    let (_dir, path, mut control) = listen();
    let _silent = connect(&path);
    let mut endless = connect(&path);
    let mut slow = connect(&path);
    endless.set_nonblocking(true).unwrap();
    slow.write_all(b"\"status\"\n").unwrap();
    turn(&mut control, S(0));
    let mut requests = Vec::new();
    for _ in 0..100 {
        let _ = endless.write(&[b'x'; 4096]);
        requests.extend(turn(&mut control, S(1)));
    }
    assert_eq!(requests.len(), 1);
    let big = Answer::Done(vec!["x".repeat(4 << 20)]);
    control.answer(requests[0].0, &big, S(1));
    assert_eq!(control.clients.len(), 2, "the endless one is gone");
    assert_eq!(control.next_at(), Some(S(5)));
    turn(&mut control, S(5));
    assert_eq!(control.clients.len(), 1, "the silent one is gone");
    turn(&mut control, S(6));
    assert!(control.clients.is_empty(), "the slow one is gone");
}

#[test]
fn last_answers_are_delivered_and_the_socket_is_removed() {
    let (_dir, path, mut control) = listen();
    let mut client = connect(&path);
    client.write_all(b"\"stop\"\n").unwrap();
    turn(&mut control, S(0));
    let requests = turn(&mut control, S(0));
    control.answer(requests[0].0, &Answer::Done(vec![]), S(900));
    control.finish(S(1));
    assert!(!path.exists());
    let mut line = String::new();
    BufReader::new(client).read_line(&mut line).unwrap();
    assert_eq!(line, "{\"done\":[]}\n");
}

#[test]
fn a_stale_socket_is_replaced() {
    let (_dir, path, control) = listen();
    std::mem::forget(control);
    assert!(ControlSocket::listen(&path).is_ok());
}

#[test]
fn only_root_and_the_own_user_may_command() {
    for (peer, own, may) in [
        (0, 0, true),
        (0, 1000, true),
        (1000, 1000, true),
        (1000, 0, false),
        (1001, 1000, false),
        (65_534, 0, false),
        (u32::MAX, 1000, false),
    ] {
        assert_eq!(may_command(peer, own), may, "{peer} {own}");
    }
}

#[test]
fn strangers_are_told_why_and_logged_seldom() {
    let said = serde_json::to_string(&forbidden(Some(5), 7)).unwrap();
    assert!(said.contains("user 5 may not") && said.contains("as user 7"), "{said}");
    let mut strangers = Strangers::default();
    assert_eq!(strangers.line(7, S(0)), None);
    (0..1000).for_each(|n| strangers.came(Some(n)));
    let line = strangers.line(7, S(0)).unwrap();
    assert!(line.contains("1000, the last of user 999; only root and user 7"), "{line}");
    strangers.came(None);
    assert_eq!(strangers.line(7, S(59)), None);
    strangers.came(None);
    let line = strangers.line(7, S(60)).unwrap();
    assert!(line.contains("2, the last of an unknown user"), "{line}");
}

#[test]
fn a_new_client_gets_the_place_of_one_that_is_silent() {
    let (_dir, path, mut control) = listen();
    let mut silent: Vec<_> = (0..CLIENTS_MAX).map(|_| connect(&path)).collect();
    turn(&mut control, S(0));
    assert_eq!(control.clients.len(), CLIENTS_MAX);
    let mut operator = connect(&path);
    operator.write_all(b"\"status\"\n").unwrap();
    turn(&mut control, S(0));
    let rest = control.next_at().expect("the listener rests");
    assert_eq!(rest, ASKING_GRACE);
    let ready = crate::sys::poll::wait(&control.interests(), Some(S(0))).unwrap();
    assert!(!ready.contains(&true), "something is ready for ever");
    turn(&mut control, rest);
    turn(&mut control, rest);
    let requests = turn(&mut control, rest);
    assert!(
        matches!(
            requests[..],
            [(_, Asked { request: Request::Status, language: Language::English })]
        ),
        "{requests:?}"
    );
    assert_eq!(control.clients.len(), CLIENTS_MAX);
    let mut line = String::new();
    BufReader::new(silent.remove(0)).read_line(&mut line).unwrap();
    assert_eq!(line, "\"busy\"\n", "the oldest is told to come again");
}

#[test]
fn requests_take_a_share_of_the_time_and_are_served_in_turn() {
    let (_dir, path, mut control) = listen();
    let mut clients: Vec<_> = (0..REQUESTS_MAX + 3).map(|_| connect(&path)).collect();
    clients.iter_mut().for_each(|c| c.write_all(b"\"status\"\n").unwrap());
    turn(&mut control, S(1));
    let first = turn(&mut control, S(1));
    assert_eq!(first.len(), REQUESTS_MAX);
    assert_eq!(control.next_at(), Some(Duration::ZERO), "the others are due");
    control.took(Duration::from_millis(10), S(1));
    let due = S(1) + Duration::from_millis(30);
    assert_eq!(control.next_at(), Some(due));
    assert!(turn(&mut control, S(1)).is_empty());
    // One that is not wanted any more is no reason to wake before.
    drop(clients.pop());
    let ready = crate::sys::poll::wait(&control.interests(), Some(S(0))).unwrap();
    assert!(!ready.contains(&true));
    let second = turn(&mut control, due);
    assert_eq!(second.len(), 3);
    assert!(first.last().unwrap().0 < second[0].0);
    control.took(S(60), due);
    assert_eq!(control.pause_until, due + PAUSE_MAX);
}

#[test]
fn answers_that_are_not_read_take_bounded_memory() {
    let (_dir, path, mut control) = listen();
    let mut clients: Vec<_> = (0..6).map(|_| connect(&path)).collect();
    clients.iter_mut().for_each(|c| c.write_all(b"\"status\"\n").unwrap());
    turn(&mut control, S(0));
    let big = Answer::Done(vec!["x".repeat(OUTPUT_MAX / 3)]);
    for (id, _) in turn(&mut control, S(0)) {
        control.answer(id, &big, S(0));
        let kept: usize = control.clients.iter().map(|c| c.output.len()).sum();
        assert!(kept <= OUTPUT_MAX, "{kept}");
    }
    turn(&mut control, S(0));
    assert!(control.clients.len() < 6);
    assert!(matches!(control.clients.last().unwrap().stage, ConnectionStage::Taking(_)));
}

#[test]
fn excess_clients_do_not_keep_the_loop_awake() {
    let (_dir, path, mut control) = listen();
    let mut clients: Vec<_> = (0..=CLIENTS_MAX).map(|_| connect(&path)).collect();
    turn(&mut control, S(0));
    turn(&mut control, S(0));
    assert_eq!(control.clients.len(), CLIENTS_MAX);
    let ready = crate::sys::poll::wait(&control.interests(), Some(S(0))).unwrap();
    assert!(!ready.contains(&true), "something is ready for ever");
    // A free place is used.
    drop(clients.remove(0));
    turn(&mut control, S(1));
    turn(&mut control, S(1));
    clients.last_mut().unwrap().write_all(b"\"status\"\n").unwrap();
    assert_eq!(turn(&mut control, S(1)).len(), 1);
    // A paused listener is used again in time.
    control.rest_until = Some(S(2));
    assert_eq!(control.interests().len(), CLIENTS_MAX);
    assert_eq!(control.next_at(), Some(S(2)));
    turn(&mut control, S(2));
    assert!(control.rest_until.is_none());
}
