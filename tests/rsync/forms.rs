//! What each form sends and finds, and where it goes.

use super::rig::*;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::{Duration, UNIX_EPOCH};
use syncsup::config::model::{FilterRules, NameRules, Target};
use syncsup::filter::Filter;
use syncsup::path::RelPath;
use syncsup::rsync::argv::{
    Check, Form, Options, list, list_directories, list_whole, risk_rules_except,
};
use syncsup::rsync::exit_status::Verdict;
use syncsup::rsync::itemize::Totals;

pub const BATCH: Form = Form::Batch { delete: true };
const EVERYTHING: Form = Form::Everything { exclude: vec![] };

/// Names that break careless programs.
pub fn hostile() -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = [
        "n*",
        "q?x",
        "[ab]",
        "[!a]",
        "b\\s",
        "w\\*",
        "nl\nx",
        " lead",
        "trail ",
        "-dash",
        "--delete",
        "#hash",
        ";semi",
        "+ plus",
        "- minus",
        "!",
        "tr\\",
        "**",
        "***",
        "\\",
        ".hid",
        "...",
        "~",
        "$(x)",
        "'\"`",
        "\\#012",
        "a -> b",
        "a\" -> \"b",
        "*deleting",
        "\t",
        "été",
        ":C",
    ]
    .map(|name| name.as_bytes().to_vec())
    .into();
    names.extend((1..=255).filter(|&b| b != b'/' && b != b'.').map(|b| vec![b'x', b]));
    names.push(b"\xff\xfe\n".to_vec());
    names
}

/// A push as the pusher makes it: a batch, and form B where the receiver needs it.
fn push(rig: &Rig, present: &[RelPath], absent: &[RelPath]) {
    let all: Vec<_> = present.iter().chain(absent).cloned().collect();
    let run = rig.run(&BATCH, ON, &list(&all));
    if run.judged().verdict == Verdict::FormB {
        rig.run(&Form::Send, ON, &list(present)).ok();
        let parents: Vec<_> = absent.iter().map(|path| path.parent().unwrap()).collect();
        rig.delete_b(&parents, absent, ON).ok();
    } else {
        run.ok();
    }
}

#[test]
fn a_batch_makes_its_paths_equal() {
    for receiver in receivers() {
        let rig = Rig::new(&receiver);
        let (src, dst) = (rig.src(), rig.dst());
        make(&src, ["a/b/f", "a/b/other", "d/was-dir", "e/"], "new");
        symlink("b", src.join("a/link")).unwrap();
        fs::set_permissions(src.join("a/b"), fs::Permissions::from_mode(0o711)).unwrap();
        make(
            &dst,
            ["a/b/gone", "a/b/keep", "a/goner/x/y", "d/was-dir/x", "top", "a/link/x"],
            "old",
        );
        push(
            &rig,
            &ps(&["a/b/f", "d/was-dir", "e", "a/link"]),
            &ps(&["a/b/gone", "a/goner", "top"]),
        );
        let want = ["a", "a/b", "a/b/f", "a/b/keep", "a/link", "d", "d/was-dir", "e"];
        assert_eq!(names(&dst), want);
        let (from, to) = (tree(&src), tree(&dst));
        // The directories above an entry are brought along, mode and times.
        for name in ["a", "a/b", "a/b/f", "a/link", "d", "d/was-dir", "e"] {
            assert_eq!(from.get(name.as_bytes()), to.get(name.as_bytes()), "{name}");
        }
        // A deletion changes its parent's times, and a push of it brings them.
        fs::remove_file(src.join("a/b/f")).unwrap();
        set_mtime(&src.join("a/b"), 1_000_000_000);
        push(&rig, &[], &ps(&["a/b/f"]));
        let (from, to) = (tree(&src), tree(&dst));
        for name in ["a", "a/b"] {
            assert_eq!(from.get(name.as_bytes()), to.get(name.as_bytes()), "{name}");
        }
        // The same again, dry, says nothing.
        let dry = Options { dry: true, ..ON };
        assert!(rig.run(&BATCH, dry, &list(&ps(&["d/was-dir", "e"]))).ok().said().is_empty());
        let run = rig.run(&BATCH, dry, &list(&ps(&["e", "top"])));
        assert!(run.judged().verdict == Verdict::FormB || run.ok().said().is_empty());
    }
}

/// rsync reads the directories itself: excluded temporaries of editors stay here, and nothing is entered or deleted.
#[test]
fn whole_directories_are_sent_without_excluded_paths() {
    let rules = FilterRules { names: NameRules::Editors, ..FilterRules::default() };
    let options = Filter::new(&rules).unwrap().as_rsync_options().unwrap();
    for receiver in receivers() {
        let rig = Rig::new(&receiver);
        let (src, dst) = (rig.src(), rig.dst());
        make(
            &src,
            ["d/f", "d/#;", "d/dir~/x", "d/4913", "d/.f.swp", "d/f~", "d/.#f", "d/#f#"],
            "new",
        );
        make(&src, ["d/..swp", "d/#", "other/g", "other/not-listed"], "new");
        make(&dst, ["d/stays", "d/f"], "old!");
        let whole = [p("d")].into();
        let entries = ps(&["d", "d/#", "d/#;", "d/..swp", "d/dir~", "d/f", "other/g", "gone"]);
        let list = list_whole(&entries, &whole);
        assert_eq!(list, b"/d/\0/other/g\0/gone\0");
        let form = Form::SendWhole { options: options.clone() };
        rig.run(&form, ON, &list).ok();
        let want = ["d", "d/#", "d/#;", "d/..swp", "d/dir~", "d/f", "d/stays", "other", "other/g"];
        assert_eq!(names(&dst), want);
        let (from, to) = (tree(&src), tree(&dst));
        for name in ["d", "d/dir~", "d/f", "other/g"] {
            assert_eq!(from.get(name.as_bytes()), to.get(name.as_bytes()), "{name}");
        }
        let dry = Options { dry: true, ..ON };
        assert!(rig.run(&form, dry, &list).ok().said().is_empty());
    }
}

#[test]
fn trees_and_everything_are_sent_without_excluded_paths() {
    let rules = FilterRules {
        names: NameRules::Editors,
        exclude_glob: vec!["*.tmp".into(), "cache/".into()],
        ..FilterRules::default()
    };
    let options = Filter::new(&rules).unwrap().as_rsync_options().unwrap();
    let sent = ["d/e/f", "d/e~/g", "d[a]*/x", "d/empty/.keep"];
    let left_out = ["d/e/f~", "d/a.tmp", "d/b.tmp/x", "d/cache/x", ".syncsup-trash/x"];
    for receiver in receivers() {
        for everything in [false, true] {
            let rig = Rig::new(&receiver);
            let (src, dst) = (rig.src(), rig.dst());
            make(&src, sent.iter().chain(&left_out), "new");
            make(&src, ["other/y"], "new");
            make(&dst, ["d/stays", "d/e/f", "stays"], "old!");
            let options = options.clone();
            let (form, list) = match everything {
                true => (Form::SendEverything { options }, Vec::new()),
                false => (Form::SendTrees { options }, list(&ps(&["d", "d[a]*"]))),
            };
            rig.run(&form, ON, &list).ok();
            for name in sent {
                assert!(dst.join(name).exists(), "{name}");
            }
            for name in left_out {
                assert!(!dst.join(name).exists(), "{name}");
            }
            assert!(dst.join("d/stays").exists() && dst.join("stays").exists(), "no deletion");
            assert_eq!(dst.join("other/y").exists(), everything);
            let dry = Options { dry: true, ..ON };
            assert!(rig.run(&form, dry, &list).ok().said().is_empty());
        }
    }
}

#[test]
fn a_file_gets_its_new_name_from_a_placeholder() {
    for receiver in receivers() {
        let rig = Rig::new(&receiver);
        let (src, dst) = (rig.src(), rig.dst());
        make(&dst, ["old/a", "old/same"], "content");
        make(&src, ["old/a", "old/other", "old/same"], "no real");
        fs::create_dir_all(src.join("new/deep")).unwrap();
        for (from, to) in [("old/a", "new/deep/b"), ("old/other", "0"), ("old/same", "new/-x")] {
            fs::hard_link(src.join(from), src.join(to)).unwrap();
        }
        for name in ["old/a", "old/same"] {
            set_mtime(&src.join(name), 1_000_000_000);
            set_mtime(&dst.join(name), 1_000_000_000);
        }
        fs::remove_file(src.join("0")).unwrap();
        fs::remove_file(src.join("old/other")).unwrap();
        let names = ps(&["old/a", "new/deep/b", "old/same", "new/-x"]);
        let run =
            rig.run(&Form::Rename, Options { delete: false, force: false, ..ON }, &list(&names));
        run.ok();
        for (from, to) in [("old/a", "new/deep/b"), ("old/same", "new/-x")] {
            let inode = |name| fs::metadata(dst.join(name)).unwrap().ino();
            assert_eq!(inode(from), inode(to), "{to}");
            assert_eq!(fs::read(dst.join(to)).unwrap(), b"content");
        }
    }
}

/// Rules keep what is excluded, at any depth, and say so. A pattern for files matches no directory.
#[test]
fn names_are_deleted_without_what_is_excluded_below_them() {
    for receiver in receivers() {
        let rig = Rig::new(&receiver);
        let dst = rig.dst();
        let gone = ["a/x", "a/sub/y", "a/b~/z", "p~/q/[1]*/x", "single"];
        let kept = ["k/a.tmp", "k/deep/b.tmp/x", "e/deep/f~", "other/x", "p~/other"];
        make(&dst, gone.iter().chain(&kept).chain(&["k/x", "e/deep/y"]), "x");
        fs::create_dir_all(rig.src().join("p~/q")).unwrap();
        let names = ps(&["a", "k", "e", "p~/q/[1]*", "single"]);
        let rules = risk_rules_except(&names, &[b"*.tmp".to_vec()], &["*~", "#*#"]);
        let file = rig.base().join("rules");
        fs::write(&file, rules).unwrap();
        let from = list_directories(&ps(&["", "p~/q"]));
        let run = rig.run(&Form::DeleteB { rules: file }, ON, &from);
        run.ok();
        for name in gone.iter().chain(&["k/x", "e/deep/y"]) {
            assert!(!dst.join(name).exists(), "{name}");
        }
        assert!(!dst.join("a").exists() && !dst.join("p~/q/[1]*").exists());
        for name in kept {
            assert!(dst.join(name).exists(), "{name}");
        }
    }
}

#[test]
fn an_older_file_and_one_of_the_same_second_are_sent() {
    for receiver in receivers() {
        let rig = Rig::new(&receiver);
        make(&rig.src(), ["old", "same"], "new");
        make(&rig.dst(), ["old", "same"], "xxx");
        set_mtime(&rig.src().join("old"), 1_000_000_000);
        let seconds = fs::metadata(rig.src().join("same")).unwrap().mtime();
        set_mtime(&rig.dst().join("same"), seconds as u64);
        // -u is among the parameters and must not count.
        rig.run(&BATCH, ON, &list(&ps(&["old", "same"]))).ok();
        assert_eq!(tree(&rig.src()), tree(&rig.dst()));
        // Same size, same mtime: only a comparison of content tells.
        make(&rig.src(), ["old"], "NEW");
        set_mtime(&rig.src().join("old"), 1_000_000_000);
        assert_eq!(rig.run(&BATCH, ON, &list(&ps(&["old"]))).ok().said().len(), 0);
        assert_eq!(
            rig.run(&BATCH, Options { check: Check::Content, ..ON }, &list(&ps(&["old"])))
                .ok()
                .said(),
            [">old"]
        );
        assert_eq!(tree(&rig.src()), tree(&rig.dst()));
    }
}

/// Two names of one file on the remote: what is set on one of them must not change the other one.
#[test]
fn a_file_that_is_sent_in_any_case_is_another_one() {
    for receiver in receivers() {
        let rig = Rig::new(&receiver);
        make(&rig.src(), ["a", "b"], "x");
        make(&rig.dst(), ["a"], "x");
        set_mtime(&rig.dst().join("a"), 1_000_000_000);
        fs::hard_link(rig.dst().join("a"), rig.dst().join("b")).unwrap();
        let time = |name| fs::metadata(rig.dst().join(name)).unwrap().mtime();
        let send = |check| rig.run(&BATCH, Options { check, ..ON }, &list(&ps(&["b"])));
        send(Check::Content).ok();
        assert_eq!(time("a"), time("b"), "the reason for it");
        set_mtime(&rig.dst().join("a"), 1_000_000_000);
        send(Check::Nothing).ok();
        assert_eq!(time("a"), 1_000_000_000);
        assert_eq!(time("b"), fs::metadata(rig.src().join("b")).unwrap().mtime());
        fs::hard_link(rig.dst().join("b"), rig.dst().join("c")).unwrap();
        assert_eq!(send(Check::Nothing).ok().said(), [">b"], "also where nothing differs");
        assert_eq!(fs::metadata(rig.dst().join("c")).unwrap().nlink(), 1);
    }
}

#[test]
fn hostile_names_are_sent_itemized_and_deleted() {
    for receiver in receivers() {
        let rig = Rig::new(&receiver);
        let (src, dst) = (rig.src(), rig.dst());
        let entries: Vec<_> =
            hostile().iter().map(|name| p([b"d[*\\/", name.as_slice()].concat())).collect();
        make(&src, entries.iter().map(RelPath::as_bytes), "x");
        let run = rig.run(&BATCH, ON, &list(&entries));
        let mut said: Vec<_> =
            run.ok().changes().into_iter().filter(|c| !c.is_dir).map(|c| c.path).collect();
        let mut want = entries.clone();
        said.sort();
        want.sort();
        assert_eq!(said, want);
        assert_eq!(tree(&src), tree(&dst));
        entries.iter().for_each(|path| fs::remove_file(path.below(&src)).unwrap());
        push(&rig, &[], &entries);
        assert_eq!(names(&dst), names(&src));
    }
}

#[test]
fn dry_runs_find_differences_and_change_nothing() {
    for receiver in receivers() {
        let rig = Rig::new(&receiver);
        make(&rig.src(), ["a", "d/x", "d/sub/y", "skip.me"], "1");
        make(&rig.dst(), ["d/only", "d/sub/only", "gone", "gonedir/x"], "");
        // What is made within one tick of the clock has the same time.
        let old = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        for dir in ["d/sub", "d", ""] {
            File::open(rig.dst().join(dir)).unwrap().set_modified(old).unwrap();
        }
        let before = tree(&rig.dst());
        let said = |form: &Form, directories: &[&str]| {
            rig.run(form, ON, &list_directories(&ps(directories))).ok().said()
        };
        assert_eq!(said(&Form::Children, &["d"]), ["+d/x", "-d/only", ".d/", ".d/sub/"]);
        let both = [
            "+a",
            "+d/x",
            "+skip.me",
            "-d/only",
            "-gone",
            "-gonedir/",
            "-gonedir/x",
            "../",
            ".d/",
            ".d/sub/",
        ];
        assert_eq!(said(&Form::Children, &["d", ""]), both);
        let all = ["+d/sub/y", "+d/x", "-d/only", "-d/sub/only", ".d/", ".d/sub/"];
        assert_eq!(said(&Form::Tree, &["d"]), all);
        let everything = Form::Everything { exclude: vec!["skip.*".into()] };
        let run = rig.run(&everything, Options { stats: true, ..ON }, b"");
        let want = [
            "+a",
            "+d/sub/y",
            "+d/x",
            "-d/only",
            "-d/sub/only",
            "-gone",
            "-gonedir/",
            "-gonedir/x",
            "../",
            ".d/",
            ".d/sub/",
        ];
        assert_eq!(run.ok().said(), want);
        let mut totals = Totals::default();
        run.stdout.split(|&b| b == b'\n').for_each(|line| totals.read(line));
        assert_eq!((totals.files, totals.created, totals.transferred), (6, 3, 3));
        assert_eq!((totals.total_bytes, totals.transferred_bytes), (3, 3));
        let tree_at_root = said(&Form::Tree, &[""]);
        assert!(
            tree_at_root.contains(&"+d/sub/y".to_owned())
                && tree_at_root.contains(&"-gonedir/x".to_owned())
        );
        let off = Options { delete: false, ..ON };
        assert!(
            rig.run(&EVERYTHING, off, b"").ok().said().iter().all(|line| !line.starts_with('-'))
        );
        assert_eq!(tree(&rig.dst()), before);
    }
}

#[test]
fn the_root_alone_can_be_pushed() {
    for receiver in receivers() {
        let mut rig = Rig::new(&receiver);
        make(&rig.src(), ["file", "d/x"], "");
        make(&rig.dst(), ["only"], "");
        rig.params(&["-a", "--include=*"]);
        fs::set_permissions(rig.src(), fs::Permissions::from_mode(0o751)).unwrap();
        set_mtime(&rig.src(), 1_000_000_000);
        assert_eq!(rig.run(&Form::Root, ON, b"").ok().said(), ["../"]);
        assert_eq!(names(&rig.dst()), ["only"]);
        let meta = fs::metadata(rig.dst()).unwrap();
        assert_eq!((meta.mode() & 0o777, meta.mtime()), (0o751, 1_000_000_000));
    }
}

#[test]
fn a_path_in_the_module_is_not_a_pattern() {
    for receiver in receivers() {
        for sub in ["site", "g[1]x", "h*", "b\\s", "q?\\*[a]", "a b", "é"] {
            let mut rig = Rig::new(&receiver);
            make(&rig.src(), ["f"], "");
            make(&rig.dst(), ["g1x/", "hz/", "bs/", "q1/", "qx\\*a/", "a/", "b/"], "");
            fs::create_dir(rig.dst().join(sub)).unwrap();
            rig.module(format!("m/{sub}").as_bytes());
            rig.run(&BATCH, ON, &list(&ps(&["f"]))).ok();
            assert!(rig.dst().join(sub).join("f").exists(), "{sub}: {:?}", names(&rig.dst()));
        }
    }
}

/// Stands for ssh: drops its options and the host, and runs the rest as sshd does, by a shell.
const FAKE_SSH: &str = "#!/bin/sh\necho \"$@\" >> \"$SSH_LOG\"\nwhile :; do case $1 in -p|-i|-l) shift 2;; -*) shift;; *) break;; esac; done\nshift\nexec sh -c \"$*\"\n";

#[test]
fn over_ssh_the_path_is_not_interpreted_by_the_shell() {
    let mut rig = Rig::new("rsync".as_ref());
    let bin = rig.base().join("bin");
    fs::create_dir(&bin).unwrap();
    fs::write(bin.join("ssh"), FAKE_SSH).unwrap();
    fs::set_permissions(bin.join("ssh"), fs::Permissions::from_mode(0o755)).unwrap();
    make(&rig.src(), ["d/f"], "");
    let sub = "w $(touch x) [1]*'";
    make(&rig.dst(), [format!("{sub}/d/gone"), "w $(touch x) 1y'/".into()], "");
    rig.remote.peer.target = Target::Ssh {
        path: rig.dst().join(sub).into(),
        port: Some(2222),
        options: vec!["-i".into(), "/key file".into()],
        control_master: true,
    };
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let log = rig.base().join("ssh.log");
    let env = [("PATH", path.as_ref()), ("SSH_LOG", log.as_os_str())];
    rig.run_with(&BATCH, ON, &list(&ps(&["d/f", "d/gone"])), &env).ok();
    assert_eq!(names(&rig.dst().join(sub)), ["d", "d/f"]);
    let said = fs::read_to_string(log).unwrap();
    assert!(
        said.starts_with(
            "-oBatchMode=yes -p 2222 -i /key file -oConnectTimeout=10 -oServerAliveInterval=10 -l rep 127.0.0.1 rsync"
        ),
        "{said}"
    );
}

/// rsync looks at the first of two names, in its own order, that the remote has. If that is another file, it wants the
/// content; a real placeholder cannot be read.
#[test]
fn a_file_gets_no_name_before_its_own_that_another_file_has() {
    for receiver in receivers() {
        for (old, new, in_use, sent) in [
            ("a", "b", true, false),
            ("a", "b", false, false),
            ("b", "a", true, true),
            ("b", "a", false, false),
            ("a/x", "a/y/x", true, false),
            ("a/y/x", "a/z", true, true),
            ("z/x", "b/y/x", true, true),
            ("x", "a/x", true, false),
            ("d0/x", "d/x", true, true),
            ("d.x/x", "d/x", true, false),
        ] {
            let rig = Rig::new(&receiver);
            let (src, dst) = (rig.src(), rig.dst());
            make(&dst, [old], "content");
            make(&src, [old], "no real");
            fs::create_dir_all(src.join(new).parent().unwrap()).unwrap();
            fs::hard_link(src.join(old), src.join(new)).unwrap();
            for root in [&src, &dst] {
                set_mtime(&root.join(old), 1_000_000_000);
            }
            if in_use {
                make(&dst, [new], "another");
            }
            let options = Options { delete: false, force: false, ..ON };
            rig.run(&Form::Rename, options, &list(&ps(&[old, new]))).ok();
            let want = if sent { "no real" } else { "content" };
            assert_eq!(fs::read_to_string(dst.join(new)).unwrap(), want, "{old} {new} {in_use}");
        }
    }
}
