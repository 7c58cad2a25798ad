//! What each process has given up, as the kernel shows it, and that what needs more still has it.

use crate::common::procs::Proc;
use crate::common::wait::{DEADLINE, poll, wait_for};
use crate::common::world::{Setup, World, write};
use nix::unistd::geteuid;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE.
const OF_ROLES: u64 = 1 << 1 | 1 << 2 | 1 << 19;

/// A value of /proc/PID/status.
fn status(pid: i32, key: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{key}:")));
    line.unwrap_or_default().trim().to_owned()
}

fn capabilities(pid: i32, key: &str) -> u64 {
    u64::from_str_radix(&status(pid, key), 16).unwrap_or(u64::MAX)
}

/// True when it gains no privileges, and calls are refused to it.
fn is_limited(process: &Proc) -> bool {
    (status(process.pid, "NoNewPrivs"), status(process.pid, "Seccomp")) == ("1".into(), "2".into())
}

fn writes_no_core(process: &Proc) -> bool {
    let limits = fs::read_to_string(format!("/proc/{}/limits", process.pid)).unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max core file size"));
    line.is_some_and(|line| line.split_whitespace().rev().take(3).skip(1).all(|word| word == "0"))
}

/// The only process of the instance whose command begins with this.
#[track_caller]
fn role(w: &World, argv0: &str) -> Proc {
    let find = || w.instance.family().into_iter().find(|p| p.command.starts_with(argv0));
    poll(DEADLINE, find).unwrap_or_else(|| panic!("no {argv0}: {:?}", w.instance.family()))
}

#[test]
fn every_process_has_given_up_what_it_does_not_need() {
    let mut w = Setup { settings: "standby: always\n", ..Setup::default() }.start();
    w.write("file", "x");
    w.wait_identical();
    let standby = poll(DEADLINE, || w.instance.standbys().pop()).expect("a standby");
    let family = w.instance.family();
    let limited = [role(&w, "syncsup: watcher "), role(&w, "syncsup: pusher "), standby.clone()];
    // A process that is about to become another one is still as it was.
    for process in family.iter().filter(|p| p.runs()) {
        assert!(writes_no_core(process), "{process:?}");
    }
    for process in &limited {
        assert!(is_limited(process), "{process:?}");
        if geteuid().is_root() {
            for set in ["CapEff", "CapPrm", "CapBnd"] {
                let has = capabilities(process.pid, set);
                assert_eq!(has & !OF_ROLES, 0, "{set} {has:x}: {process:?}");
            }
        }
    }
    // A tracer can still attach to each of them.
    for process in &limited {
        let pid = process.pid.to_string();
        let strace = Command::new("strace").args(["-o", "/dev/null", "-p", &pid]).spawn();
        let Ok(mut strace) = strace else { return eprintln!("SKIPPED: no strace") };
        wait_for("a tracer", DEADLINE, || {
            status(process.pid, "TracerPid") == strace.id().to_string()
        });
        strace.kill().unwrap();
        strace.wait().unwrap();
    }
    w.instance.stop();
}

#[test]
fn a_program_of_the_users_own_keeps_its_privileges() {
    let w = Setup { log_rsyncs: true, settings: "standby: always\n", ..Setup::default() }.start();
    w.write("file", "x");
    w.wait_identical();
    let standby = poll(DEADLINE, || w.instance.standbys().pop()).expect("a standby");
    for process in [role(&w, "syncsup: pusher "), standby] {
        assert_eq!(status(process.pid, "NoNewPrivs"), "0", "{process:?}");
        assert!(writes_no_core(&process), "{process:?}");
    }
    assert!(is_limited(&role(&w, "syncsup: watcher ")));
}

#[test]
fn a_command_of_a_plugin_may_gain_privileges_and_a_call_of_a_server_may_not() {
    let dir = tempfile::tempdir().unwrap();
    let (script, seen) = (dir.path().join("script"), dir.path().join("seen"));
    let text = format!("#!/bin/sh\ngrep NoNewPrivs /proc/self/status >> '{}'\n", seen.display());
    write(&script, text);
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let command = format!("plugins:\n  - command: {{prefix: {script:?}}}\n");
    let w = Setup { settings: command.leak(), ..Setup::default() }.start();
    w.write("file", "x");
    wait_for("the call", DEADLINE, || {
        fs::read_to_string(&seen).is_ok_and(|seen| seen.contains("NoNewPrivs:\t0"))
    });
    let calls = "plugins:\n  - socket: {host: 127.0.0.1, port: 9}\n";
    let w = Setup { settings: calls, ..Setup::default() }.start();
    let runner = role(&w, "syncsup: plugin runner");
    wait_for("a limited runner", DEADLINE, || is_limited(&runner));
}
