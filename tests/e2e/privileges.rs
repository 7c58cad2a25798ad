//! What each process has given up, as the kernel shows it, and that what needs more still has it.

use crate::common::procs::Proc;
use crate::common::rsyncd::{free_port, old_rsync};
use crate::common::wait::{DEADLINE, poll, wait_for};
use crate::common::world::{Setup, World, write};
use nix::sys::signal::Signal;
use nix::unistd::geteuid;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
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

/// True when it has at most the capabilities of a role, as far as it is root.
fn has_few_capabilities(process: &Proc) -> bool {
    let few = |set: &&str| capabilities(process.pid, set) & !OF_ROLES == 0;
    !geteuid().is_root() || ["CapEff", "CapPrm", "CapBnd"].iter().all(few)
}

/// Waits for a standby of which this is true. A single one may end at any time.
#[track_caller]
fn wait_standby(w: &World, is: impl Fn(&Proc) -> bool) {
    wait_for("such a standby", DEADLINE, || w.instance.standbys().iter().any(&is));
}

#[test]
fn every_process_has_given_up_what_it_does_not_need() {
    let mut w = Setup { settings: "standby: always\n", ..Setup::default() }.start();
    w.write("file", "x");
    w.wait_identical();
    wait_standby(&w, |p| is_limited(p) && writes_no_core(p) && has_few_capabilities(p));
    for process in w.instance.family() {
        assert!(writes_no_core(&process) || !process.runs(), "{process:?}");
    }
    let limited = [role(&w, "syncsup: watcher "), role(&w, "syncsup: pusher ")];
    for process in &limited {
        assert!(is_limited(process) && has_few_capabilities(process), "{process:?}");
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
    let is_free = |p: &Proc| status(p.pid, "NoNewPrivs") == "0";
    wait_standby(&w, |p| is_free(p) && writes_no_core(p));
    assert!(is_free(&role(&w, "syncsup: pusher ")));
    assert!(is_limited(&role(&w, "syncsup: watcher ")));
}

#[test]
fn a_binary_that_starts_rsync_keeps_its_privileges_and_files() {
    let dir = tempfile::tempdir().unwrap();
    let (code, program, log) =
        (dir.path().join("rsync.c"), dir.path().join("rsync"), dir.path().join("log"));
    let text = "#include <fcntl.h>\n#include <unistd.h>\nint main(int c, char **v) {\n\
        int log = open(LOG, O_WRONLY | O_APPEND | O_CREAT, 0644);\n\
        if (c < 1 || write(log, \".\", 1) != 1) return 127;\n\
        close(log); v[0] = \"rsync\"; execvp(v[0], v); return 127; }\n";
    write(&code, text);
    let compiler = Command::new("cc")
        .arg(format!("-DLOG={log:?}"))
        .args([&code, Path::new("-o"), &program])
        .status();
    assert!(compiler.unwrap().success());
    let rsync = format!(", program: {program:?}");
    let w =
        Setup { rsync: rsync.leak(), settings: "standby: always\n", ..Setup::default() }.start();
    w.write("file", "x");
    w.wait_identical();
    wait_standby(&w, |p| status(p.pid, "NoNewPrivs") == "0");
    assert!(fs::metadata(&log).is_ok_and(|log| log.len() > 0));
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

/// Pushes `d/file` with an old rsync, while `d` becomes a link to a directory outside that has a `file` too: after the
/// pusher has looked at the name, and before rsync opens it. True if the slave then has the file from outside.
fn swap_sends_from_outside(confined: bool) -> Option<bool> {
    let old = old_rsync()?;
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("rsync");
    write(&script, format!("#!/bin/sh\nexec '{}' \"$@\"\n", old.display()));
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let program = if confined { old } else { script };
    let rsync = format!(", program: {program:?}");
    let mut w =
        Setup { rsync: rsync.leak(), settings: "standby: always\n", ..Setup::default() }.build();
    w.write("d/file", "public");
    write(&w.outside.join("file"), "a secret of another size");
    w.run(&["-v"]);
    w.wait_identical();
    let fed = |w: &World| w.instance.log_text().matches("standby: true").count();
    // The first pushes show which standby suits.
    let standby = (0..20).find_map(|n| {
        w.wait_identical();
        w.wait_in_sync();
        let standby = poll(DEADLINE, || w.instance.standbys().pop()).expect("a standby");
        assert_eq!(status(standby.pid, "NoNewPrivs"), if confined { "1" } else { "0" });
        let before = fed(&w);
        standby.signal(Signal::SIGSTOP);
        w.write("d/file", format!("public {n}"));
        // Then the list is in the pipe, and rsync has not read it; or another rsync has pushed.
        let pushed = || {
            w.there("d/file").exists()
                && fs::read_to_string(w.there("d/file")).unwrap() == format!("public {n}")
        };
        wait_for("a push", DEADLINE, || fed(&w) > before || pushed());
        if fed(&w) > before && standby.runs() {
            return Some(standby);
        }
        standby.signal(Signal::SIGCONT);
        None
    });
    let standby = standby.expect("a standby that is fed");
    // It would mark what happens now, and another push would hide what this one did.
    let watcher = w.instance.watcher();
    watcher.signal(Signal::SIGSTOP);
    fs::rename(w.at("d"), w.outside.join("d")).unwrap();
    symlink(&w.outside, w.at("d")).unwrap();
    standby.signal(Signal::SIGCONT);
    wait_for("the end of that rsync", DEADLINE, || !standby.runs());
    let there = fs::read_to_string(w.there("d/file")).unwrap_or_default();
    watcher.signal(Signal::SIGCONT);
    let refused = || w.instance.log_text().contains("Permission denied (13)");
    if confined {
        wait_for("a refused read", DEADLINE, refused);
    }
    w.wait_identical();
    Some(there.contains("secret"))
}

#[test]
fn a_directory_that_becomes_a_link_leads_no_rsync_out_of_the_tree() {
    let Some(unconfined) = swap_sends_from_outside(false) else {
        return eprintln!("SKIPPED: no old rsync (SYNCSUP_TEST_OLD_RSYNC)");
    };
    assert!(unconfined, "the swap proves nothing");
    assert_eq!(swap_sends_from_outside(true), Some(false));
}

#[test]
fn the_reporter_is_nobody_and_has_only_its_connections() {
    if !geteuid().is_root() {
        return eprintln!("SKIPPED: not root");
    }
    let (port, _reserved) = free_port();
    let settings = format!("http: '127.0.0.1:{port}'\n");
    let mut w = Setup { settings: settings.leak(), ..Setup::default() }.build();
    w.run(&[]);
    let reporter = role(&w, "syncsup: reporter ");
    wait_for("a limited reporter", DEADLINE, || status(reporter.pid, "Seccomp") == "2");
    assert!(is_limited(&reporter) && writes_no_core(&reporter));
    let nobody = ["65534"; 4].join("\t");
    for key in ["Uid", "Gid"] {
        assert_eq!(status(reporter.pid, key), nobody, "{key}");
    }
    assert_eq!(status(reporter.pid, "Groups"), "");
    for set in ["CapEff", "CapPrm", "CapInh"] {
        assert_eq!(capabilities(reporter.pid, set), 0, "{set}");
    }
    wait_for("an answer", DEADLINE, || {
        let Ok(mut peer) = TcpStream::connect(("127.0.0.1", port)) else { return false };
        let mut answer = String::new();
        let asked = peer.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        asked.is_ok() && peer.read_to_string(&mut answer).is_ok() && answer.contains("200 OK")
    });
    assert!(reporter.runs(), "it answers as it is");
}
