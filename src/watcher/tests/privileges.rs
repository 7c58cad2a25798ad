//! What a watcher can still do after it has given up what it does not need.

use super::*;
use crate::sys::clock;
use crate::sys::confine::tests::{attributes_are_refused, in_a_process};
use crate::sys::confine::{self, Also, Does};
use crate::sys::domain;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, symlink};
use std::process::{Command, Stdio};

/// Tries everything that a watcher must not, and what it must.
#[test]
#[ignore = "run in a process of its own by the next test"]
fn limited() {
    if !domain::is_supported() {
        eprintln!("SKIPPED: no Landlock");
        return;
    }
    let world = World::new();
    let (root, state, out) = (world.path("root"), world.path("state"), world.path("out"));
    let sibling = world.path("state2");
    fs::create_dir(&sibling).unwrap();
    for dir in [&root, &state, &sibling, &out] {
        fs::write(dir.join("file"), "content").unwrap();
    }
    symlink(out.join("file"), root.join("link")).unwrap();
    let written = root.join("written");
    let mut other = Command::new("sh")
        .args(["-c", "exec 3>\"$0\"; echo; read -r line"])
        .arg(&written)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    other.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let pid = Pid::from_raw(other.id() as i32);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let log = Logger::root(Discard, o!());
    let start = world.start_message();
    let of_other = format!("/proc/{pid}/fd/3");
    assert!(fs::read_link(&of_other).is_ok(), "it may before");

    confine::give_up(Does::Works, Also::default(), &log).unwrap();
    let privileges = Privileges::limit(&start, &log).unwrap();

    // Its work.
    assert_eq!(fs::read(root.join("file")).unwrap(), b"content");
    assert_eq!(fs::read_dir(&root).unwrap().count(), 3);
    let stat = fs::metadata(&written).unwrap();
    let open = [(stat.dev(), stat.ino())].into();
    assert_eq!(privileges.writers.written(open).len(), 1, "the other process writes it");
    let mut journal = Journal::open(&state).unwrap();
    journal.want_reconcile("r", None).unwrap();
    drop(journal);
    fs::write(state.join("new"), "x").unwrap();
    fs::rename(state.join("new"), state.join("newer")).unwrap();
    fs::remove_file(state.join("newer")).unwrap();
    assert!(clock::wall_ms() > 0 && fs::read("/proc/self/mountinfo").is_ok());

    // All else.
    let refused = |what: &str, tried: std::io::Result<()>| {
        let error = tried.expect_err(what);
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{what}: {error}");
    };
    for path in [out.join("file"), sibling.join("file"), root.join("link"), "/etc/passwd".into()] {
        refused(&path.display().to_string(), File::open(&path).map(drop));
    }
    refused("another localpath", fs::read_dir(&out).map(drop));
    for dir in [&root, &out, &sibling, &PathBuf::from("/tmp")] {
        let at = |name: &str| dir.join(name);
        refused("a new file", File::create(at("new")).map(drop));
        refused("a new directory", fs::create_dir(at("new")));
        refused("a new link", symlink("x", at("new")));
    }
    for dir in [&root, &out, &sibling] {
        let file = dir.join("file");
        refused("writing", File::options().append(true).open(&file).map(drop));
        attributes_are_refused(&file);
        refused("removing", fs::remove_file(&file));
        refused("renaming", fs::rename(&file, dir.join("other")));
        refused("renaming into the state", fs::rename(&file, state.join("other")));
    }
    refused("a program", Command::new("/bin/sh").spawn().map(drop));
    refused("the files of a process", fs::read_link(&of_other).map(drop));
    refused("tracing", nix::sys::ptrace::attach(pid).map_err(Into::into));
    // Newer kernels only.
    let connected = TcpStream::connect(address).map(drop);
    let signalled = kill(pid, None).map_err(std::io::Error::from);
    println!("connecting {connected:?}, signalling {signalled:?}");
    if domain::refuses_ports() {
        refused("a connection", connected);
        refused("a listener", TcpListener::bind("127.0.0.1:0").map(drop));
    }
    if domain::refuses_signals() {
        refused("a signal", signalled);
    }
    drop(other.stdin.take());
    other.wait().unwrap();
}

#[test]
fn a_watcher_can_do_nothing_but_its_work() {
    in_a_process("watcher::tests::privileges::limited", &[]);
}
