//! Standard output and standard error that take nothing: a reader that has gone away, a full disk, a closed descriptor.
//! No command ends in a panic, and a daemon runs on.

use crate::common::instance::Instance;
use crate::common::wait::{DEADLINE, wait_for};
use crate::common::world::{Setup, World};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::process::{Command, Output, Stdio};

/// The status of a Rust program that panics.
const PANIC: i32 = 101;

/// A pipe without a reader.
fn deserted() -> Stdio {
    let (reads, writes) = std::io::pipe().unwrap();
    drop(reads);
    OwnedFd::from(writes).into()
}

fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

fn prepare(w: &World, args: &[&str]) -> Command {
    let mut command = w.instance.prepare(&Instance::program(), args);
    if !matches!(args, ["--help" | "--version"]) {
        command.arg("-o").arg(w.instance.config());
    }
    command
}

fn end(command: &mut Command) -> Output {
    command.spawn().unwrap().wait_with_output().unwrap()
}

/// Commands for a running instance in sync; true where the output is the purpose of the command.
const COMMANDS: [(&[&str], bool); 13] = [
    (&["--help"], true),
    (&["--version"], true),
    (&["status"], true),
    (&["status", "--json"], true),
    (&["status", "--watch"], true),
    (&["check"], true),
    (&["check", "--connect"], true),
    (&["verify"], true),
    (&["verify", "--json"], true),
    (&["journal", "list"], true),
    (&["sync"], false),
    (&["wait"], false),
    (&["reload"], false),
];

#[test]
fn a_command_with_closed_output_reports_it_without_a_panic() {
    let mut w = World::start(1);
    w.write("file", "x");
    w.wait_in_sync();
    for (args, is_result) in COMMANDS {
        let gone = end(prepare(&w, args).stdout(deserted()).stderr(Stdio::piped()));
        let said = String::from_utf8_lossy(&gone.stderr).into_owned();
        assert_eq!(gone.status.code(), Some(0), "{args:?}, no reader: {said}");
        assert!(!said.contains("cannot write"), "{args:?}, no reader: {said}");
        let full = end(prepare(&w, args).stdout(full()).stderr(Stdio::piped()));
        let said = String::from_utf8_lossy(&full.stderr).into_owned();
        let told = said.contains("cannot write to standard output: No space left on device");
        let wanted = if is_result { Some(5) } else { Some(0) };
        assert_eq!((full.status.code(), told), (wanted, is_result), "{args:?}, full: {said}");
    }
    w.instance.stop();
}

#[test]
fn a_closed_standard_error_changes_no_exit_status() {
    let w = Setup::default().build();
    let cases: [(&[&str], i32); 5] = [
        (&["--help", "--no-such-option"], 2),
        (&["status"], 3),
        (&["stop"], 3),
        (&["check"], 0),
        (&["journal", "import", "/no/such"], 5),
    ];
    for (args, status) in cases {
        for stderr in [deserted(), full()] {
            let out = end(prepare(&w, args).stdout(deserted()).stderr(stderr));
            assert_ne!(out.status.code(), Some(PANIC), "{args:?}");
            if args != ["journal", "import", "/no/such"] {
                assert_eq!(out.status.code(), Some(status), "{args:?}");
            }
        }
    }
}

#[test]
fn a_daemon_starts_and_runs_with_a_closed_standard_error() {
    let mut w = Setup::default().build();
    // A warning: a remote that is given twice.
    let text = std::fs::read_to_string(w.instance.config()).unwrap();
    let remote = text.lines().find(|line| line.starts_with("      - ")).unwrap();
    let twice = format!("{text}{remote}\n");
    std::fs::write(w.instance.config(), twice).unwrap();
    let checked = w.instance.command(&["check"]);
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(said.contains("warning: "), "{said}");
    for (stdout, stderr) in [(deserted(), deserted()), (full(), full())] {
        let out = end(prepare(&w, &["-d"]).stdout(stdout).stderr(stderr));
        assert_eq!(out.status.code(), Some(0));
        w.write("file", "x");
        w.wait_identical();
        w.instance.stop();
    }
}

#[test]
fn a_foreground_instance_replicates_with_closed_output() {
    let w = Setup::default().build();
    for (stdout, stderr) in [(deserted(), deserted()), (full(), full())] {
        let mut command = prepare(&w, &["-r", "-v"]);
        let mut child = command.stdout(stdout).stderr(stderr).spawn().unwrap();
        w.write("file", format!("{}", child.id()));
        let same = || {
            let there = std::fs::read(w.there("file")).unwrap_or_default();
            there == std::fs::read(w.at("file")).unwrap()
        };
        wait_for("the file on the slave", DEADLINE, same);
        assert_eq!(child.try_wait().unwrap(), None, "it has ended");
        let stop = w.instance.command(&["stop"]);
        assert!(stop.status.success(), "{stop:?}");
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}
