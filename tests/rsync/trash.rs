//! The trash of a remote against real rsync daemons: versions expire, and are kept whole or not at all.

use super::rig::*;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use syncsup::rsync::argv::TRASH;
use syncsup::rsync::argv::{self, Form, list};
use syncsup::rsync::exit_status::{Trouble, Verdict};
use syncsup::rsync::trash;

fn run(words: &[OsString], directory: &Path, stdin: &[u8]) -> Output {
    use std::io::{Seek, Write};
    let mut input = tempfile::tempfile().unwrap();
    input.write_all(stdin).unwrap();
    input.rewind().unwrap();
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).current_dir(directory).stdin(input);
    command.envs(trash::ENV.iter().copied()).output().unwrap()
}

/// A push that keeps what it takes away in the directory `stamp`.
fn push(rig: &Rig, form: &Form, stamp: &str, names: &[u8]) -> Output {
    let mut words = argv::argv(&rig.remote.peer, form, ON);
    trash::keep(&mut words, stamp);
    run(&words, &rig.src(), names)
}

#[test]
fn exactly_the_versions_older_than_the_limit_expire() {
    for receiver in receivers() {
        let rig = Rig::new(&receiver);
        let limit = "2026-11-10T09:15:00.123456Z";
        let mut stamps = BTreeSet::new();
        for (at, digit) in limit.bytes().enumerate().filter(|(_, b)| b.is_ascii_digit()) {
            for other in
                [b'0', digit.saturating_sub(1).max(b'0'), digit, (digit + 1).min(b'9'), b'9']
            {
                let mut stamp = limit.as_bytes().to_vec();
                stamp[at] = other;
                stamps.insert(String::from_utf8(stamp.clone()).unwrap());
                // And what comes after the digit does not matter.
                for later in stamp[at + 1..].iter_mut().filter(|b| b.is_ascii_digit()) {
                    *later = b'9' - (*later - b'0');
                }
                stamps.insert(String::from_utf8(stamp).unwrap());
            }
        }
        let below = rig.dst().join(TRASH);
        let odd = [
            "mine",
            "2020-01-01",
            "2020-01-01T00:00:00.000000Z.old",
            "a/2020-01-01T00:00:00.000000Z",
        ];
        for name in stamps.iter().map(String::as_str).chain(odd) {
            make(&below, [format!("{name}/d/x\ny"), format!("{name}/{name}/z")], "x");
        }
        // A file of that name is not ours, nor is anything outside.
        make(&below, ["2019-01-01T00:00:00.000000Z"], "x");
        make(&rig.dst(), ["2020-01-01T00:00:00.000000Z/x"], "x");
        let (empty, rules) = (rig.base().join("empty"), rig.base().join("rules"));
        fs::create_dir(&empty).unwrap();
        fs::write(&rules, trash::older_than(limit)).unwrap();
        let out = run(&trash::expire(&rig.remote.peer, &rules), &empty, b"");
        assert!(out.status.success() && out.stderr.is_empty(), "{out:?}");
        for stamp in &stamps {
            assert_eq!(below.join(stamp).exists(), stamp.as_str() >= limit, "{stamp}");
        }
        for name in odd {
            assert!(below.join(name).join("d/x\ny").exists(), "{name}");
        }
        assert!(below.join("2019-01-01T00:00:00.000000Z").exists());
        assert!(rig.dst().join("2020-01-01T00:00:00.000000Z/x").exists());
    }
}

#[test]
fn nothing_is_deleted_where_the_trash_cannot_be_written() {
    for receiver in receivers() {
        let rig = Rig::new(&receiver);
        make(&rig.src(), ["a"], "newer");
        make(&rig.dst(), ["a", "b"], "old");
        // A file stands at its name.
        make(&rig.dst(), [TRASH], "x");
        let rules = rig.base().join("rules");
        fs::write(&rules, argv::risk_rules(&ps(&["b"]), &[])).unwrap();
        let root = argv::list_directories([&p("")]);
        for (form, stdin) in
            [(Form::Send, &list(&ps(&["a"]))), (Form::DeleteB { rules: rules.clone() }, &root)]
        {
            let out = push(&rig, &form, "T", stdin);
            let exit = syncsup::stat::Exited::Code(out.status.code().unwrap());
            let judged = syncsup::rsync::exit_status::verdict(exit, &out.stderr);
            assert_eq!(judged.verdict, Verdict::Remote(Trouble::Storage), "{out:?}");
        }
        for name in ["a", "b"] {
            assert_eq!(fs::read_to_string(rig.dst().join(name)).unwrap(), "old");
        }
    }
}

#[test]
fn every_kind_of_deletion_keeps_a_version() {
    for receiver in receivers() {
        for params in
            [&["-a"][..], &["-aH", "--inplace"], &["-a", "--partial", "--suffix=~"], &["-a", "-c"]]
        {
            let mut rig = Rig::new(&receiver);
            rig.params(params);
            make(&rig.src(), ["a", "way", "dir/x"], "newer");
            make(&rig.dst(), ["a", "way/in/it", "dir", "gone/e/f", "gone/empty/"], "old");
            // Its two processes may meet in the trash, and the same goes well once more, with a directory of its own.
            let mut tries = 0;
            loop {
                let sent = list(&ps(&["a", "way", "dir", "dir/x"]));
                let out = push(&rig, &Form::Send, &format!("T{tries}"), &sent);
                if out.status.success() {
                    break;
                }
                tries += 1;
                assert!(tries < 4 && trash::raced(&out.stderr), "{params:?} {out:?}");
            }
            let rules = rig.base().join("rules");
            fs::write(&rules, argv::risk_rules(&ps(&["gone"]), &[])).unwrap();
            let root = argv::list_directories([&p("")]);
            push(&rig, &Form::DeleteB { rules }, "U", &root);
            let kept = rig.dst().join(TRASH);
            for name in ["a", "dir", "way/in/it", "gone/e/f"] {
                let mut all =
                    ["T0", "T1", "T2", "T3", "U"].iter().map(|at| kept.join(at).join(name));
                let first = all.find(|path| path.exists()).expect(name);
                assert_eq!(fs::read_to_string(first).unwrap(), "old", "{name} {params:?}");
            }
            assert_eq!(names(&rig.dst().join("dir")), ["x"]);
            assert!(!rig.dst().join("gone").exists() && rig.dst().join("way").is_file());
            // Nothing is taken away: nothing is made.
            push(&rig, &Form::Send, "V", &list(&ps(&["a", "way", "dir", "dir/x"])));
            assert!(!kept.join("V").exists());
        }
    }
}

#[test]
fn reconciles_and_directory_pushes_leave_the_trash_alone() {
    for receiver in receivers() {
        let rig = Rig::new(&receiver);
        let stamp = "2026-11-10T09:15:00.123456Z";
        make(&rig.dst(), [format!("{TRASH}/{stamp}/a"), "gone".into()], "old");
        make(&rig.src(), ["d/"], "");
        rig.run(&Form::Send, ON, &list(&ps(&["d"]))).ok();
        let root = argv::list_directories([&p("")]);
        for (form, stdin) in [
            (Form::Everything { exclude: vec![] }, &b""[..]),
            (Form::Tree, &root),
            (Form::Children, &root),
        ] {
            let said = rig.run(&form, ON, stdin).ok().said();
            let deleted: Vec<_> = said.iter().filter(|line| line.starts_with('-')).collect();
            assert_eq!(deleted, ["-gone"], "{form:?}");
        }
        // As the fail log has it: no dry run.
        for form in [Form::Tree, Form::Children] {
            make(&rig.dst(), ["gone"], "old");
            let mut words = argv::argv(&rig.remote.peer, &form, ON);
            words.retain(|word| word != "-n");
            trash::keep(&mut words, "T");
            let out = run(&words, &rig.src(), &root);
            assert!(out.status.success(), "{out:?}");
            assert!(!rig.dst().join("gone").exists());
            assert!(rig.dst().join(TRASH).join(stamp).join("a").exists(), "{form:?}");
            assert!(rig.dst().join(TRASH).join("T/gone").exists(), "{form:?}");
        }
    }
}

#[test]
fn versions_are_listed_and_fetched_by_full_name() {
    for receiver in receivers() {
        let mut rig = Rig::new(&receiver);
        rig.module(b"m/sub");
        let stamp = "2026-11-10T09:15:00.123456Z";
        let all = ["d/a*", "d/ab", "d/[x]/y", "d/\\", "d/n\nl", "dx"];
        make(&rig.dst().join("sub").join(TRASH).join(stamp), all, "old");
        make(&rig.dst().join("sub").join(TRASH).join("mine"), ["d/ab"], "old");
        let (empty, rules) = (rig.base().join("empty"), rig.base().join("rules"));
        fs::create_dir(&empty).unwrap();
        let found = |name: &str| {
            fs::write(&rules, trash::below(&p(name)).unwrap()).unwrap();
            let out = run(&trash::versions(&rig.remote.peer, &rules), &empty, b"");
            assert!(out.status.success(), "{out:?}");
            let lines = out.stdout.split(|&b| b == b'\n').filter_map(trash::version);
            let mut names: Vec<_> = lines.map(|v| (v.path, v.size, v.stamp)).collect();
            names.sort();
            names.iter().for_each(|(_, size, at)| assert_eq!((*size, at.as_str()), (3, stamp)));
            names.into_iter().map(|(path, ..)| path).collect::<Vec<_>>()
        };
        for name in all {
            assert_eq!(found(name), [p(name)]);
        }
        assert_eq!(found("d").len(), 5);
        assert_eq!(found("").len(), 6);
        assert_eq!(found("d/[x]"), [p("d/[x]/y")]);
        assert_eq!(found("d/a?"), []);
        let stage = rig.base().join("stage");
        fs::create_dir(&stage).unwrap();
        fs::write(&rules, trash::only(&ps(&all[..4]))).unwrap();
        let out = run(&trash::fetch(&rig.remote.peer, stamp, &rules), &stage, b"");
        assert!(out.status.success(), "{out:?}");
        assert_eq!(names(&stage).len(), 6, "{:?}", names(&stage));
        fs::remove_dir_all(rig.dst().join("sub").join(TRASH)).unwrap();
        let out = run(&trash::versions(&rig.remote.peer, &rules), &empty, b"");
        assert!(!out.status.success() && trash::is_missing(&out.stderr), "{out:?}");
    }
}
