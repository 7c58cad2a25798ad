//! What is deleted, and nothing else.

use super::forms::{BATCH, hostile};
use super::rig::*;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use syncsup::path::RelPath;
use syncsup::rsync::argv::{Form, Options, list, list_directories};
use syncsup::rsync::exit_status::Verdict;
use syncsup::rsync::itemize::{Change, ChangeKind, Line};

#[test]
fn form_b_deletes_only_what_is_at_risk() {
    for receiver in receivers() {
        for depth in ["", "d/", "d*[\\x/e\\f/"] {
            let rig = Rig::new(&receiver);
            let at = |name: &[u8]| [depth.as_bytes(), name].concat();
            let inside = |name: &[u8]| at(&[b"dir", name, b"/in/", name].concat());
            let absent: Vec<_> = hostile()
                .iter()
                .flat_map(|name| [p(at(name)), p(at(&[b"dir", name.as_slice()].concat()))])
                .collect();
            make(&rig.src(), [at(b"local"), at(b"localdir/x")], "local");
            make(&rig.dst(), hostile().iter().flat_map(|name| [at(name), inside(name)]), "");
            let kept = [
                "keep", "n", "nx", "q1x", "a", "bs", "w", "wx", "nl", "lead", "trail", "xxx",
                "dirn", "dir/f",
            ];
            make(&rig.dst(), kept.iter().map(|name| at(name.as_bytes())), "");
            make(
                &rig.dst(),
                [at(b"local"), at(b"localdir/only"), b"elsewhere/x".to_vec()],
                "remote",
            );
            let before = tree(&rig.dst());
            let parent = absent[0].parent().unwrap();
            let run = rig.delete_b(&[parent], &absent, ON);
            let after = tree(&rig.dst());
            let sent =
                run.ok().said().into_iter().filter(|line| !line.starts_with(['-', '.'])).count();
            assert_eq!(sent, 0);
            for path in &absent {
                assert!(!after.contains_key(path.as_bytes()), "{path} is left");
            }
            let absent: BTreeSet<_> = absent.into_iter().collect();
            for name in before.into_keys().filter(|name| !after.contains_key(name)).map(p) {
                assert!(name.prefixes().any(|above| absent.contains(&above)), "{name} was deleted");
            }
            for name in kept {
                assert!(rig.dst().join(format!("{depth}{name}")).exists(), "{name} was deleted");
            }
            assert_eq!(fs::read(rig.dst().join(format!("{depth}local"))).unwrap(), b"remote");
        }
    }
}

#[test]
fn a_directory_is_emptied_except_for_excluded_paths() {
    for receiver in receivers() {
        let mut rig = Rig::new(&receiver);
        make(&rig.src(), ["x"], "");
        make(
            &rig.dst(),
            [
                "x",
                "d/del",
                "d/keep",
                "d/sub/del",
                "d/sub/keep",
                "d/e/",
                "d/g/f",
                "d/w*\\/a",
                "d/w*\\/b",
            ],
            "",
        );
        let goes = ps(&["d/del", "d/sub/del", "d/e", "d/g", "d/w*\\/a"]);
        let run = rig.delete_b(&[RelPath::root()], &goes, ON);
        let want = ["d", "d/keep", "d/sub", "d/sub/keep", "d/w*\\x5c", "d/w*\\x5c/b", "x"];
        assert_eq!(names(&rig.dst()), want);
        assert!(run.ok().lines().contains(&Line::NotEmpty(p("d/sub"))));
        // The user's own excludes protect, too.
        rig.params(&["-a", "--exclude=*.tmp"]);
        make(&rig.dst(), ["u/a", "u/b.tmp", "c.tmp"], "");
        rig.delete_b(&[RelPath::root()], &ps(&["u", "c.tmp"]), ON).ok();
        assert!(rig.dst().join("u/b.tmp").exists() && rig.dst().join("c.tmp").exists());
        assert!(!rig.dst().join("u/a").exists());
        // What his rules protect is found by a dry run, and the rest named.
        rig.params(&["-a", "--include=*.ok", "--filter=protect keep*"]);
        make(&rig.dst(), ["r/a.ok", "r/keep1", "r/s/keep2", "r/s/b", "near"], "");
        let found: Vec<_> =
            rig.run(&Form::Children, ON, &list_directories(&[RelPath::root()])).ok().changes();
        let at_risk =
            |c: &Change| c.kind == ChangeKind::Deleted && !c.is_dir && c.path.is_within(&p("r"));
        let goes: Vec<_> = found.into_iter().filter(at_risk).map(|c| c.path).collect();
        rig.delete_b(&[RelPath::root()], &goes, ON).ok();
        assert!(rig.dst().join("r/keep1").exists() && rig.dst().join("r/s/keep2").exists());
        assert!(!rig.dst().join("r/a.ok").exists() && !rig.dst().join("r/s/b").exists());
        assert!(rig.dst().join("near").exists());
        // His includes put nothing at risk.
        rig.params(&["-a", "--include=*"]);
        make(&rig.dst(), ["v"], "");
        rig.delete_b(&[RelPath::root()], &ps(&["v"]), ON).ok();
        assert!(rig.dst().join("d/keep").exists() && !rig.dst().join("v").exists());
    }
}

#[test]
fn a_run_without_deletions_deletes_nothing() {
    for receiver in receivers() {
        let rig = Rig::new(&receiver);
        make(&rig.src(), ["d/x", "file"], "");
        make(&rig.dst(), ["d/gone", "file/below"], "");
        let off = Options { delete: false, ..ON };
        let all = ps(&["d/gone", "d/x"]);
        rig.run(&BATCH, off, &list(&all)).ok();
        rig.delete_b(&ps(&["d"]), &ps(&["d/gone"]), off).ok();
        let run = rig.run(&BATCH, off, &list(&ps(&["file"])));
        assert_eq!(run.judged().verdict, Verdict::Partial);
        assert_eq!(names(&rig.dst()), ["d", "d/gone", "d/x", "file", "file/below"]);
        // A missing entry that is ignored does not bring its parents: they must be listed.
        fs::set_permissions(rig.src().join("d"), fs::Permissions::from_mode(0o750)).unwrap();
        let gone = ps(&["d/gone"]);
        assert_eq!(rig.run(&Form::Send, off, &list(&gone)).ok().said().len(), 0);
        assert_eq!(rig.run(&Form::Send, off, &list(&ps(&["d", "d/gone"]))).ok().said(), [".d/"]);
    }
}
