use super::*;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;

const S: fn(u64) -> Duration = Duration::from_secs;

fn turn(control: &mut ControlSocket, now: Duration) -> Vec<(ClientId, Request)> {
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
    assert!(matches!(requests[..], [(_, Request::Status)]), "{requests:?}");
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
fn excess_clients_do_not_keep_the_loop_awake() {
    let (_dir, path, mut control) = listen();
    let mut clients: Vec<_> = (0..=CLIENTS_MAX).map(|_| connect(&path)).collect();
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
