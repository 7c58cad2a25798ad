//! The control socket: who may send commands, and that a flood there is felt neither by pushes nor by the operator.

use crate::common::instance::Instance;
use crate::common::procs::Proc;
use crate::common::wait::{DEADLINE, wait_for};
use crate::common::world::World;
use nix::unistd::geteuid;
use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const NOBODY: u32 = 65_534;

fn socket(w: &World) -> PathBuf {
    let files = fs::read_dir(w.instance.run_dir()).unwrap().flatten().map(|f| f.path());
    files.into_iter().find(|f| f.extension().is_some_and(|e| e == "sock")).expect("a socket")
}

#[test]
fn other_users_are_refused_where_they_can_connect() {
    if !geteuid().is_root() {
        return eprintln!("SKIPPED: not root");
    }
    let w = World::start(1);
    w.write("file", "x");
    w.wait_identical();
    let program = w.outside.join("syncsup");
    fs::copy(Instance::program(), &program).unwrap();
    let socket = socket(&w);
    let all = socket.ancestors().skip(1).take(3).chain([w.outside.as_path(), program.as_path()]);
    all.for_each(|path| fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap());
    fs::set_permissions(&socket, Permissions::from_mode(0o666)).unwrap();
    let nobody = |args: &[&str]| -> Output {
        let mut command = w.instance.prepare(&program, args);
        command.uid(NOBODY).gid(NOBODY).output().unwrap()
    };
    for args in [&["status"][..], &["stop"], &["reload"], &["sync"], &["wait"]] {
        let out = nobody(args);
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(5), "{args:?}: {out:?}");
        assert!(said.contains("user 65534 may not send commands"), "{args:?}: {said}");
        assert!(said.contains("as root or as user 0") && out.stdout.is_empty(), "{args:?}: {said}");
    }
    (0..10).for_each(|_| drop(nobody(&["status"])));
    let lines = w.instance.log_text();
    let lines: Vec<_> = lines.lines().filter(|l| l.contains("refused connections")).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("user 65534"), "{lines:?}");
    // It still runs, and obeys its own user.
    w.write("after", "x");
    w.wait_identical();
    assert_eq!(w.instance.status()["instances"][0]["localpaths"].as_array().unwrap().len(), 1);
}

/// A client of a flood: it connects again whenever its connection ends.
#[derive(Clone, Copy, Debug)]
enum Client {
    Silent,
    /// Sends a byte now and then.
    Slow,
    /// Sends requests and reads the answers.
    Busy,
    /// Sends requests and does not read the answers.
    Deaf,
    /// Waits for many paths, and never asks again.
    Waits,
}

/// The connections of a flood, and how many were made.
struct Flood<'w> {
    dir: File,
    name: String,
    watch: &'w Path,
    over: AtomicBool,
    connections: AtomicU64,
    answers: AtomicU64,
}

impl Flood<'_> {
    fn connect(&self) -> Option<UnixStream> {
        // By the open directory, because the name of a socket is short.
        let path = format!("/proc/self/fd/{}/{}", self.dir.as_raw_fd(), self.name);
        let stream = UnixStream::connect(path).ok()?;
        stream.set_read_timeout(Some(Duration::from_millis(200))).ok()?;
        stream.set_write_timeout(Some(Duration::from_millis(200))).ok()?;
        self.connections.fetch_add(1, Ordering::Relaxed);
        Some(stream)
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn work(&self, client: Client) {
        let waits = {
            let below: Vec<String> = (0..4_000).map(|n| format!("\"dir/{n}\"")).collect();
            let watch = self.watch.display();
            format!("{{\"wait\":[{{\"watch\":\"{watch}\",\"below\":[{}]}}]}}\n", below.join(","))
        };
        while !self.is_over() {
            let Some(mut stream) = self.connect() else {
                std::thread::sleep(Duration::from_millis(5));
                continue;
            };
            let sent = match client {
                Client::Silent | Client::Slow => Ok(()),
                Client::Busy | Client::Deaf => stream.write_all(b"\"status\"\n"),
                Client::Waits => stream.write_all(waits.as_bytes()),
            };
            if sent.is_err() {
                continue;
            }
            // Until it is closed there.
            let mut buffer = [0; 4_096];
            while !self.is_over() {
                if matches!(client, Client::Slow) && stream.write_all(b"x").is_err() {
                    break;
                }
                if matches!(client, Client::Deaf) {
                    std::thread::sleep(Duration::from_millis(200));
                    break;
                }
                match stream.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(_) if buffer.starts_with(b"{\"") => {
                        self.answers.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(_) => {}
                    Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(_) => break,
                }
            }
        }
    }
}

/// The most memory that the process has ever had, in MiB.
fn peak(process: &Proc) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid)).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}

#[test]
fn a_flood_delays_neither_pushes_nor_commands() {
    let w = World::start(1);
    w.write("dir/first", "x");
    w.wait_identical();
    let before: Vec<Proc> = w.instance.watchers().into_iter().chain(w.instance.pushers()).collect();
    let socket = socket(&w);
    let flood = Flood {
        dir: File::open(socket.parent().unwrap()).unwrap(),
        name: socket.file_name().unwrap().to_str().unwrap().to_owned(),
        watch: &w.master,
        over: AtomicBool::new(false),
        connections: AtomicU64::new(0),
        answers: AtomicU64::new(0),
    };
    std::thread::scope(|scope| {
        let kinds = [
            (Client::Silent, 200),
            (Client::Slow, 50),
            (Client::Busy, 100),
            (Client::Deaf, 30),
            (Client::Waits, 20),
        ];
        for (client, count) in kinds {
            let flood = &flood;
            (0..count).for_each(|_| drop(scope.spawn(move || flood.work(client))));
        }
        let seen =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| under_flood(&w, &flood)));
        flood.over.store(true, Ordering::Relaxed);
        if let Err(failed) = seen {
            std::panic::resume_unwind(failed);
        }
    });
    let peak = peak(&w.instance.supervisor());
    assert!(peak < 160, "the supervisor took {peak} MiB");
    w.wait_in_sync();
    assert!(before.iter().all(Proc::runs), "{}", w.instance.report());
    assert!(!w.instance.log_text().contains("restarting"), "{}", w.instance.report());
}

fn under_flood(w: &World, flood: &Flood<'_>) {
    wait_for("the flood", DEADLINE, || flood.connections.load(Ordering::Relaxed) > 400);
    let began = Instant::now();
    for _ in 0..12 {
        w.probe(0);
        // The command gives up after 10 s. Beside other load that may be too early.
        wait_for("a status", DEADLINE, || {
            let out = w.instance.command(&["status", "--json"]);
            matches!(out.status.code(), Some(0 | 1))
        });
    }
    wait_for("the end of a wait", DEADLINE, || {
        w.instance.command(&["wait", "--timeout", "50s"]).status.success()
    });
    let (connections, answers) =
        (flood.connections.load(Ordering::Relaxed), flood.answers.load(Ordering::Relaxed));
    println!("{:?}: {connections} connections, {answers} answers", began.elapsed());
    assert!(answers > 100, "no busy client was served");
}
