//! What a kill, or a journal that cannot be written, does to calls: those in hand may be made once more, no other.

use super::servers::{Server, read_request, wait_while_hung};
use super::{at, runner, wait_idle, world};
use crate::common::namespace::{Mounted, with_private_mounts};
use crate::common::wait::{DEADLINE, wait_for};
use crate::common::world::World;
use crate::mounts::{empty_again, fill};
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, SFlag, mknod};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// So many changes more than calls, at all times.
const AHEAD: usize = 150;
/// The maximum number of calls between two kills.
const BETWEEN: usize = 40;

/// An HTTP server that writes a request down before it answers, after a moment, so that calls are always in hand.
struct Slow {
    server: Server,
    received: Arc<Mutex<Vec<String>>>,
    answered: Arc<AtomicUsize>,
}

impl Slow {
    fn start() -> Slow {
        let (received, answered) = (Arc::<Mutex<Vec<String>>>::default(), Arc::default());
        let (list, count) = (received.clone(), Arc::<AtomicUsize>::clone(&answered));
        let server = Server::start(move |mut stream, shared| {
            // A runner that is killed in the middle of its request has not called.
            let Some(request) = read_request(&mut stream) else { return vec![] };
            list.lock().unwrap().push(String::from_utf8(request).unwrap());
            wait_while_hung(shared);
            std::thread::sleep(Duration::from_millis(fastrand::u64(1..12)));
            let answer = b"HTTP/1.1 200 x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            if stream.write_all(answer).is_ok() {
                count.fetch_add(1, Ordering::SeqCst);
            }
            vec![]
        });
        Slow { server, received, answered }
    }

    fn plugin(&self, more: &str) -> String {
        format!("http: {{url: 'http://127.0.0.1:{}/', retry: 50ms{more}}}", self.server.port)
    }

    fn received(&self) -> Vec<String> {
        self.received.lock().unwrap().clone()
    }
}

/// A file that comes with one event, whole: it was never open, so that no process that another test forks closes it later.
fn put(w: &World, name: &str) {
    let new = w.outside.join("new");
    mknod(&new, SFlag::S_IFREG, Mode::from_bits_truncate(0o644), 0).unwrap();
    fs::rename(&new, at(w, name.as_bytes())).unwrap();
}

/// Kills the runner again and again while calls are in hand all the time. With `coming`, changes come meanwhile; else all
/// have been pushed before: pushes end in any order, and a call waits for them, so that only these have an order. Returns
/// what the server received, and what was logged.
fn killed_under_load(parallel: usize, kills: usize, coming: bool) -> (Vec<String>, String) {
    let slow = Slow::start();
    let mut w = world(1, &[slow.plugin(&format!(", parallel: {parallel}"))]);
    w.run(&[]);
    slow.server.hang(true);
    put(&w, "f00000");
    wait_for("the first running call", DEADLINE, || slow.received().len() == 1);
    let mut files = if coming { AHEAD } else { kills * BETWEEN + AHEAD };
    (1..files).for_each(|n| put(&w, &format!("f{n:05}")));
    w.wait_identical();
    w.wait_in_sync();
    if !coming {
        let journal = rusqlite::Connection::open(w.journal()).unwrap();
        wait_for("no call to wait behind a later one", DEADLINE, || {
            let waits = "SELECT count(*) FROM call WHERE ready = 0
                           AND seq < (SELECT max(seq) FROM call WHERE ready = 1)";
            journal.query_row(waits, [], |row| row.get::<_, i64>(0)).is_ok_and(|n| n == 0)
        });
    }
    slow.server.hang(false);
    for _ in 0..kills {
        let enough = slow.received().len() + fastrand::usize(5..BETWEEN);
        wait_for("running calls", DEADLINE, || {
            // Always some more than are called.
            while coming && files < slow.received().len() + AHEAD {
                put(&w, &format!("f{files:05}"));
                files += 1;
            }
            slow.received().len() >= enough
        });
        let killed = runner(&w);
        killed.signal(Signal::SIGKILL);
        wait_for("another runner", DEADLINE, || runner(&w).pid != killed.pid);
    }
    wait_idle(&w);
    let received = slow.received();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    received.iter().for_each(|r| *counts.entry(r).or_default() += 1);
    assert_eq!(counts.len(), files, "lost or made up\n{}", w.instance.report());
    let twice = received.len() - files;
    println!("{twice} of {files} calls were made twice in {kills} kills with parallel: {parallel}");
    assert!(twice <= kills * parallel, "{twice} calls were made twice\n{}", w.instance.report());
    (received, w.instance.log_text())
}

#[test]
fn with_one_call_at_a_time_a_kill_repeats_only_the_last_call() {
    let (received, log) = killed_under_load(1, 8, false);
    for (n, call) in received.iter().enumerate() {
        let again = received[n + 1..].iter().position(|other| other == call);
        assert!(
            again.is_none_or(|after| after == 0),
            "answered and written down, and made again: {call}"
        );
    }
    // In the order of the changes, over all kills: one after the other, a repeated one in its own place.
    let paths = received.iter().map(|r| &r[r.rfind("inotifyPath=").unwrap()..]);
    let mut order: Vec<&str> = paths.collect();
    order.dedup();
    // One that failed lets others go first.
    assert!(
        order.is_sorted() || log.contains("a call failed"),
        "not in the order of the changes: {order:#?}\n{log}"
    );
}

#[test]
fn with_parallel_calls_a_kill_repeats_only_running_calls() {
    killed_under_load(4, 8, true);
}

#[test]
fn calls_that_finish_while_the_journal_is_full_are_not_repeated() {
    with_private_mounts(|| {
        let slow = Slow::start();
        let mut w = world(1, &[slow.plugin(", parallel: 4, timeout: 60s")]);
        fs::create_dir_all(w.instance.state_dir()).unwrap();
        let _mounted = Mounted::tmpfs_with(&w.instance.state_dir(), "size=12m,mode=700");
        w.run(&[]);
        slow.server.hang(true);
        (0..20).for_each(|n| put(&w, &format!("f{n}")));
        wait_for("running calls", DEADLINE, || slow.received().len() == 4);
        w.wait_identical();
        w.wait_in_sync();
        fill(&w.instance.state_dir());
        // Not called for. Excluded names need no room, so these have other names.
        (0..3_000).for_each(|n| w.write(&format!("many/{n:0100}"), "x"));
        wait_for("the journal to refuse", DEADLINE, || {
            w.instance.log_text().contains("refuses marks")
        });
        slow.server.hang(false);
        wait_for("answers", DEADLINE, || slow.answered.load(Ordering::SeqCst) == 4);
        wait_for("the runner to be refused", DEADLINE, || {
            let log = w.instance.log_text();
            log.lines().any(|l| l.contains("cannot use the journal") && l.contains("plugin"))
        });
        empty_again(&w.instance.state_dir());
        w.wait_identical_within(DEADLINE * 2);
        w.wait_local("no calls left", |l| {
            l["plugins"][0]["waiting"] == 0 && l["plugins"][0]["state"] == "idle"
        });
        let received = slow.received();
        for n in 0..20 {
            let path = at(&w, format!("f{n}").as_bytes()).display().to_string();
            let calls = received.iter().filter(|r| r.contains(&format!("{path}&")));
            assert_eq!(calls.count(), 1, "{path}\n{}", w.instance.report());
        }
        w.instance.stop();
    });
}
