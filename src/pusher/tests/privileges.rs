//! What a pusher can still do after it has given up what it does not need.

use super::*;
use crate::sys::confine::tests::{attributes_are_refused, in_a_process};
use nix::sys::signal::kill;
use nix::unistd::getppid;
use slog::{Discard, o};
use std::fs::File;
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

/// Tries everything that a pusher must not, and what it must.
#[test]
#[ignore = "run in a process of its own by the next test"]
fn limited() {
    if !domain::links_between_directories() {
        eprintln!("SKIPPED: no Landlock of Linux 5.19");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let [root, state, sibling] = ["root", "state", "state2"].map(|name| dir.path().join(name));
    for dir in [&root, &state, &sibling] {
        fs::create_dir(dir).unwrap();
        fs::write(dir.join("file"), "content").unwrap();
    }
    let [remote, other] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [remote, other] = [&remote, &other].map(|listener| listener.local_addr().unwrap());
    let reach = Reach {
        writes: vec!["/dev/null".into()],
        ports: Some(vec![remote.port()]),
        ..Reach::default()
    };
    let confined = Confined { reach, also: Also::default() };
    let (log, parent) = (Logger::root(Discard, o!()), getppid());
    confine::give_up(Does::Pushes, Also::default(), &log).unwrap();
    let of_parent = format!("/proc/{parent}/fd/0");
    assert!(fs::read_link(&of_parent).is_ok(), "it may before");
    write_state_only(&state, &confined, &log).unwrap();

    // Its work.
    assert_eq!(fs::read(root.join("file")).unwrap(), b"content");
    for dir in ["a", "b"] {
        fs::create_dir(state.join(dir)).unwrap();
    }
    fs::write(state.join("a/placeholder"), "").unwrap();
    fs::hard_link(state.join("a/placeholder"), state.join("b/placeholder")).unwrap();
    fs::remove_dir_all(state.join("a")).unwrap();
    TcpStream::connect(remote).unwrap();
    let mut ran = Command::new("sleep");
    let mut ran = ran.arg("100").stdout(Stdio::null()).spawn().unwrap();
    let io = format!("/proc/{}/io", ran.id());
    assert!(fs::read_to_string(io).is_ok_and(|io| io.contains("rchar")), "what its rsync has read");
    ran.kill().unwrap();
    ran.wait().unwrap();

    // All else.
    let refused = |what: &str, tried: io::Result<()>| {
        let error = tried.expect_err(what);
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{what}: {error}");
    };
    for dir in [&root, &sibling, &PathBuf::from("/tmp")] {
        let at = |name: &str| dir.join(name);
        refused("a new file", File::create(at("new")).map(drop));
        refused("a new directory", fs::create_dir(at("new")));
        refused("a new link", symlink("x", at("new")));
    }
    for dir in [&root, &sibling] {
        let file = dir.join("file");
        refused("writing", File::options().append(true).open(&file).map(drop));
        attributes_are_refused(&file);
        refused("removing", fs::remove_file(&file));
        refused("renaming", fs::rename(&file, dir.join("other")));
        let by_program = Command::new("rm").arg(&file).output().unwrap();
        assert!(!by_program.status.success() && file.exists());
    }
    refused("the files of a process", fs::read_link(&of_parent).map(drop));
    refused("tracing", nix::sys::ptrace::attach(parent).map_err(Into::into));
    // Newer kernels only.
    if domain::refuses_ports() {
        refused("another port", TcpStream::connect(other).map(drop));
    }
    if domain::refuses_signals() {
        refused("a signal", kill(parent, None).map_err(Into::into));
    }
}

#[test]
fn a_pusher_writes_its_state_and_reaches_its_remote_only() {
    in_a_process("pusher::privileges::tests::limited", &[]);
}
