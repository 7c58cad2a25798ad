//! How real rsyncs end, and what is made of it.

#[path = "rsync_forms/rig.rs"]
mod rig;

use rig::*;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use syncsup::config::model::Target;
use syncsup::pusher::itemize::Line;
use syncsup::pusher::outcome::{Exited, Trouble, Verdict, complaints};
use syncsup::pusher::rsync::{Form, list};

const BATCH: Form = Form::Batch { delete: true };

#[test]
fn the_broken_receiver_is_told_by_its_words() {
    let receivers = receivers();
    let Some(old) = receivers.get(1) else { return };
    let rig = Rig::new(old);
    make(&rig.src(), ["d/x"], "");
    let run = rig.run(&BATCH, ON, &list(&ps(&["d/gone"])));
    let judged = run.judged();
    assert_eq!((judged.verdict, judged.end_unseen), (Verdict::FormB, false));
    assert!(judged.words.contains("invalid file mode 00"), "{}", judged.words);
}

#[test]
fn ends_are_judged() {
    for receiver in receivers() {
        let mut rig = Rig::new(&receiver);
        make(&rig.src(), ["f"], "");
        let entries = list(&ps(&["f"]));
        let verdict = |rig: &Rig, form: &Form| rig.run(form, ON, &entries).judged();
        rig.module(b"nosuch");
        let judged = verdict(&rig, &BATCH);
        assert_eq!(judged.verdict, Verdict::Configuration, "{judged:?}");
        assert!(judged.words.contains("nosuch"), "{judged:?}");
        rig.module(b"m/no/such/place");
        assert_eq!(verdict(&rig, &BATCH).verdict, Verdict::Remote(Trouble::Storage));
        rig.module(b"m");
        let password = rig.base().join("etc/password");
        fs::write(&password, "wrong\n").unwrap();
        let judged = verdict(&rig, &BATCH);
        assert_eq!(judged.verdict, Verdict::Configuration);
        assert_eq!(judged.words, "@ERROR: auth failed on module m");
        fs::write(&password, "secret\n").unwrap();
        rig.params(&["-a", "--no-such-option"]);
        assert_eq!(verdict(&rig, &BATCH).verdict, Verdict::Configuration);
        rig.params(&["-a"]);
        assert_eq!(verdict(&rig, &BATCH).verdict, Verdict::Settled);
        rig.remote.target = Target::Daemon { port: free_port(), module: "m".into() };
        let judged = verdict(&rig, &BATCH);
        assert_eq!(
            (judged.verdict, judged.end_unseen),
            (Verdict::Remote(Trouble::Unreachable), true)
        );
    }
}

#[test]
fn refusals_are_judged() {
    for receiver in receivers() {
        let rig = Rig::with(&receiver, "refuse options = delete");
        make(&rig.src(), ["f"], "");
        let run = rig.run(&BATCH, ON, &list(&ps(&["gone"])));
        assert_eq!(run.judged().verdict, Verdict::NoDelete);
        assert_eq!(
            rig.delete_b(&ps(&[""]), &ps(&["gone"]), &[], ON).judged().verdict,
            Verdict::NoDelete
        );
        // This one is not refused but ignored: exit 0, nothing deleted, and only a remark says so.
        let rig = Rig::with(&receiver, "refuse options = delete-missing-args");
        make(&rig.dst(), ["gone"], "");
        let run = rig.run(&BATCH, ON, &list(&ps(&["gone"])));
        assert_eq!(run.exit, Exited::Code(0));
        assert_eq!(run.lines(), [Line::NonRegular(p("gone"))]);
        assert!(rig.dst().join("gone").exists());
        let rig = Rig::with(&receiver, "max connections = -1");
        let judged = rig.run(&BATCH, ON, &list(&ps(&["f"]))).judged();
        assert!(
            matches!(judged.verdict, Verdict::Configuration | Verdict::Remote(_)),
            "{judged:?}"
        );
    }
}

#[test]
fn paths_that_fail_are_named() {
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
        let named: Vec<_> =
            complaints(&run.stderr, &rig.src(), b"s").into_iter().filter_map(|c| c.path).collect();
        for path in ps(&["shut/f", "shut/nl\nx", "shut/new"]) {
            assert!(named.contains(&path), "{path}: {}", String::from_utf8_lossy(&run.stderr));
        }
        assert!(rig.dst().join("s/open").exists());
        let run = rig.delete_b(&ps(&["shut"]), &ps(&["shut/gone"]), &[], ON);
        let named: Vec<_> =
            complaints(&run.stderr, &rig.src(), b"s").into_iter().filter_map(|c| c.path).collect();
        assert!(named.contains(&p("shut/gone")), "{}", String::from_utf8_lossy(&run.stderr));
        fs::set_permissions(rig.dst().join("s/shut"), fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn a_path_below_no_directory_is_a_failure_of_that_path() {
    let rig = Rig::new("rsync".as_ref());
    make(&rig.src(), ["file", "ok"], "");
    let run = rig.run(&BATCH, ON, &list(&ps(&["file/x", "ok"])));
    assert_eq!(run.judged().verdict, Verdict::Partial);
    let found = complaints(&run.stderr, &rig.src(), b"");
    assert_eq!(found[0].path, Some(p("file/x")));
    assert_eq!(found[0].name, rig.src().join("file/x").as_os_str().as_bytes());
}
