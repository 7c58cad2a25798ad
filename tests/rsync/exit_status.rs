//! How real rsyncs exit, and how that is classified.

use super::rig::*;
use crate::common::rsyncd::free_port;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::{Duration, Instant};
use syncsup::config::model::Target;
use syncsup::rsync::argv::{Form, Options, list, too_long_for_a_rule};
use syncsup::rsync::complaint::complaints;
use syncsup::rsync::exit_status::{Trouble, Verdict, only_in_the_way};
use syncsup::rsync::itemize::{Change, Line};
use syncsup::stat::Exited;

const BATCH: Form = Form::Batch { delete: true };

#[test]
fn a_broken_receiver_is_recognized_by_its_message() {
    let receivers = receivers();
    let Some(old) = receivers.get(1) else { return };
    let rig = Rig::new(old);
    make(&rig.src(), ["d/x"], "");
    let run = rig.run(&BATCH, ON, &list(&ps(&["d/gone"])));
    let judged = run.judged();
    assert_eq!((judged.verdict, judged.end_unseen), (Verdict::FormB, false));
    assert!(judged.message.contains("invalid file mode 00"), "{}", judged.message);
}

#[test]
fn exit_statuses_are_classified() {
    for receiver in receivers() {
        let mut rig = Rig::new(&receiver);
        make(&rig.src(), ["f"], "");
        let entries = list(&ps(&["f"]));
        let verdict = |rig: &Rig, form: &Form| rig.run(form, ON, &entries).judged();
        rig.module(b"nosuch");
        let judged = verdict(&rig, &BATCH);
        assert_eq!(judged.verdict, Verdict::Configuration, "{judged:?}");
        assert!(judged.message.contains("nosuch"), "{judged:?}");
        rig.module(b"m/no/such/place");
        assert_eq!(verdict(&rig, &BATCH).verdict, Verdict::Remote(Trouble::Storage));
        rig.module(b"m");
        let password = rig.base().join("etc/password");
        fs::write(&password, "wrong\n").unwrap();
        let judged = verdict(&rig, &BATCH);
        assert_eq!(judged.verdict, Verdict::Configuration);
        assert_eq!(judged.message, "@ERROR: auth failed on module m");
        fs::write(&password, "secret\n").unwrap();
        rig.params(&["-a", "--compress-choice=nosuch"]);
        assert_eq!(verdict(&rig, &BATCH).verdict, Verdict::Configuration);
        rig.params(&["-a"]);
        assert_eq!(verdict(&rig, &BATCH).verdict, Verdict::Settled);
        let (port, _reservation) = free_port();
        rig.remote.peer.target = Target::Daemon { port, module: "m".into() };
        let judged = verdict(&rig, &BATCH);
        assert_eq!(
            (judged.verdict, judged.end_unseen),
            (Verdict::Remote(Trouble::Unreachable), false)
        );
    }
}

#[test]
fn refusals_are_classified() {
    for receiver in receivers() {
        let rig = Rig::with(&receiver, "refuse options = delete");
        make(&rig.src(), ["f"], "");
        let run = rig.run(&BATCH, ON, &list(&ps(&["gone"])));
        assert_eq!(run.judged().verdict, Verdict::NoDelete);
        assert_eq!(
            rig.delete_b(&ps(&[""]), &ps(&["gone"]), ON).judged().verdict,
            Verdict::NoDelete
        );
        // This one is not refused but ignored: exit 0, nothing deleted, and only a remark says so.
        let rig = Rig::with(&receiver, "refuse options = delete-missing-args");
        make(&rig.dst(), ["gone"], "");
        let run = rig.run(&BATCH, ON, &list(&ps(&["gone"])));
        assert_eq!(run.exit, Exited::Code(0));
        assert_eq!(run.lines(), [Line::NonRegular(p("gone"))]);
        assert!(rig.dst().join("gone").exists());
    }
}

#[test]
fn failing_paths_are_identified() {
    for receiver in receivers() {
        let more = if is_root() { "uid = 65534\ngid = 65534" } else { "" };
        let mut rig = Rig::with(&receiver, more);
        make(&rig.src(), ["shut/f", "shut/nl\nx", "shut/new/", "open"], "1");
        make(&rig.dst(), ["s/shut/gone"], "");
        let modes = [("s/shut", 0o555), ("s", 0o777)];
        modes.iter().for_each(|&(d, mode)| {
            fs::set_permissions(rig.dst().join(d), fs::Permissions::from_mode(mode)).unwrap()
        });
        rig.module(b"m/s");
        rig.params(&["-rlt"]);
        let run =
            rig.run(&Form::Send, ON, &list(&ps(&["shut/f", "shut/nl\nx", "shut/new", "open"])));
        assert_eq!(run.judged().verdict, Verdict::Partial);
        let named: Vec<_> = complaints(&run.stderr, &rig.src(), b"s")
            .into_iter()
            .filter_map(|c| c.paths.into_iter().next())
            .collect();
        for path in ps(&["shut/f", "shut/nl\nx", "shut/new"]) {
            assert!(named.contains(&path), "{path}: {}", String::from_utf8_lossy(&run.stderr));
        }
        assert!(rig.dst().join("s/open").exists());
        let run = rig.delete_b(&ps(&["shut"]), &ps(&["shut/gone"]), ON);
        let named: Vec<_> = complaints(&run.stderr, &rig.src(), b"s")
            .into_iter()
            .filter_map(|c| c.paths.into_iter().next())
            .collect();
        assert!(named.contains(&p("shut/gone")), "{}", String::from_utf8_lossy(&run.stderr));
        fs::set_permissions(rig.dst().join("s/shut"), fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn names_refused_by_the_slave_are_identified() {
    for receiver in receivers() {
        let rig = Rig::with(&receiver, "exclude = /no /d/no");
        make(&rig.src(), ["no", "d/no", "d/yes"], "");
        make(&rig.dst(), ["stray"], "");
        let run = rig.run(&BATCH, ON, &list(&ps(&["no", "d/no", "d/yes"])));
        assert_eq!(run.judged().verdict, Verdict::Partial);
        let named: Vec<_> = complaints(&run.stderr, &rig.src(), b"")
            .into_iter()
            .filter_map(|c| c.paths.into_iter().next())
            .collect();
        assert_eq!(named, ps(&["no", "d/no"]), "{}", String::from_utf8_lossy(&run.stderr));
        assert!(rig.dst().join("d/yes").exists());
        // A comparison sees everything else all the same.
        let everything = Form::Everything { exclude: vec![] };
        let run = rig.run(&everything, Options { dry: true, ..ON }, &[]);
        assert!(only_in_the_way(&run.stderr), "{}", String::from_utf8_lossy(&run.stderr));
        let stray = |change: &Change| change.path == p("stray");
        assert!(run.changes().iter().any(stray), "{:?}", run.lines());
    }
}

#[test]
fn a_missing_parent_directory_fails_only_that_path() {
    let rig = Rig::new("rsync".as_ref());
    make(&rig.src(), ["file", "ok"], "");
    let run = rig.run(&BATCH, ON, &list(&ps(&["file/x", "ok"])));
    assert_eq!(run.judged().verdict, Verdict::Partial);
    let found = complaints(&run.stderr, &rig.src(), b"");
    assert_eq!(found[0].paths, [p("file/x")]);
}

#[test]
fn a_missing_source_or_destination_is_recognized() {
    for receiver in receivers() {
        let mut rig = Rig::new(&receiver);
        make(&rig.dst(), ["file", "keep"], "");
        rig.module(b"m/file");
        let judged = rig.run(&BATCH, ON, &list(&ps(&["keep"]))).judged();
        assert_eq!(judged.verdict, Verdict::Configuration, "{judged:?}");
        rig.module(b"m");
        // The working directory is removed between the pusher's look and rsync's start.
        rig.remote.peer.rsync_program = rig.base().join("late").into();
        let late = "#!/bin/sh\nrmdir \"$PWD\"\nexec rsync \"$@\"\n";
        fs::write(rig.base().join("late"), late).unwrap();
        fs::set_permissions(rig.base().join("late"), fs::Permissions::from_mode(0o755)).unwrap();
        let judged = rig.run(&BATCH, ON, &list(&ps(&["keep"]))).judged();
        assert_eq!(judged.verdict, Verdict::Source, "{judged:?}");
        assert_eq!(names(&rig.dst()), ["file", "keep"]);
    }
}

#[test]
fn reaching_max_connections_is_a_temporary_failure() {
    for receiver in receivers() {
        let rig = Rig::with(&receiver, "max connections = 1");
        make(&rig.src(), ["f"], "");
        // One connection waits for its list and so holds the only place; it is made again where a push came first.
        let wait = || {
            let (reader, writer) = std::io::pipe().unwrap();
            let mut command = rig.command(&BATCH, ON);
            command.stdin(reader).stdout(Stdio::null()).stderr(Stdio::null());
            (command.spawn().unwrap(), writer)
        };
        let deadline = Instant::now() + Duration::from_secs(180);
        let (mut first, mut writer) = wait();
        let judged = loop {
            let judged = rig.run(&BATCH, ON, &list(&ps(&["f"]))).judged();
            if judged.verdict != Verdict::Settled {
                break judged;
            }
            if first.try_wait().unwrap().is_some() {
                (first, writer) = wait();
            }
            assert!(Instant::now() < deadline, "no connection held the only place for 180 s");
        };
        assert_eq!(judged.verdict, Verdict::Remote(Trouble::ConnectionLimited), "{judged:?}");
        assert!(judged.message.contains("max connections"), "{judged:?}");
        drop(writer);
        first.wait().unwrap();
    }
}

#[test]
fn a_path_below_a_vanished_directory_counts_as_gone() {
    let rig = Rig::new("rsync".as_ref());
    make(&rig.src(), ["ok"], "");
    make(&rig.dst(), ["d/x"], "");
    let run = rig.run(&BATCH, ON, &list(&ps(&["d/x", "ok"])));
    assert_eq!(run.judged().verdict, Verdict::Gone, "{:?}", run.judged());
    assert!(rig.dst().join("ok").exists());
    let found = complaints(&run.stderr, &rig.src(), b"");
    assert!(found.iter().any(|c| c.paths == [p("d")]), "{found:?}");
}

#[test]
fn a_rule_that_is_too_long_deletes_nothing() {
    for receiver in receivers() {
        let rig = Rig::new(&receiver);
        make(&rig.src(), ["x"], "");
        let part = "*".repeat(200);
        let deep = |depth: usize| p(vec![part.as_str(); depth].join("/"));
        assert!(!too_long_for_a_rule(&deep(9)) && too_long_for_a_rule(&deep(11)));
        make(&rig.dst(), [deep(9).as_bytes()], "");
        rig.delete_b(&ps(&[""]), &[deep(1), deep(9)], ON).ok();
        assert_eq!(names(&rig.dst()), [""; 0]);
        make(&rig.dst(), [deep(11).as_bytes(), b"keep"], "");
        let run = rig.delete_b(&ps(&[""]), &[deep(11)], ON);
        assert!(String::from_utf8_lossy(&run.stderr).contains("over-long"));
        assert_eq!(names(&rig.dst()).len(), 12);
    }
}
