//! The user's own parameters of rsync: some are refused with their line, the others work.

use crate::common::instance::Instance;
use crate::common::wait::{DEADLINE, wait_for};
use crate::common::world::{Setup, World};
use std::fs;
use std::process::Output;

/// Parameters, and what `check` says of them.
const REFUSED: &[(&str, &str)] = &[
    ("-a --exclude", "`--exclude` lacks its value"),
    ("-a -e", "`-e` lacks its value"),
    ("-a --bwlimit=", "`--bwlimit` has an empty value"),
    ("-a --exclude --delete", "would use `--delete` as the value"),
    ("-a --compres", "did you mean `--compress`?"),
    ("-aQ", "`-Q`, which is not an rsync option"),
    ("-a -delete", "did you mean `--delete`?"),
    ("-a --times=yes", "takes no value"),
    ("-a --ignore-existing", "is not allowed"),
    ("-aL", "is not allowed"),
    ("-a --max-delete=9", "is not allowed"),
    ("-a --log-file=push.log", "write an absolute path"),
    ("-a -b --backup-dir=.old", "lies in the replicated directory"),
    ("-a --exclude-from=-", "is the standard input"),
    ("-a --iconv=UTF-8,GBK --exclude=目录", "not filter rules"),
    ("-a --iconv=. --exclude-from=/etc/rules", "not filter rules"),
];

fn check(w: &World, name: &str, text: &str) -> Output {
    let file = w.outside.join(name);
    fs::write(&file, text).unwrap();
    w.instance.prepare(&Instance::program(), &["check", "-o"]).arg(&file).output().unwrap()
}

#[test]
fn check_refuses_unknown_and_harmful_parameters_with_their_line() {
    let w = Setup::default().build();
    let watch = w.master.display();
    for (params, expected) in REFUSED {
        let xml = format!(
            "<head><sersync><localpath watch=\"{watch}\">\n<remote ip=\"127.0.0.1\" name=\"www\"/></localpath>\n<rsync>\n\
             <commonParams params=\"{params}\"/></rsync></sersync></head>"
        );
        let yaml = format!(
            "# {params}\n\nrsync:\n  params: {params:?}\nlocalpaths:\n  - watch: {watch}\n    remotes: ['127.0.0.1::www']\n"
        );
        for (name, text) in [("c.xml", xml), ("c.yaml", yaml)] {
            let out = check(&w, name, &text);
            let said = String::from_utf8_lossy(&out.stderr).into_owned();
            assert_eq!(out.status.code(), Some(2), "{params}: {said}");
            let line = said.lines().find(|line| line.contains(expected)).unwrap_or_default();
            let at = if line.contains("lies in the replicated") {
                format!("{name}:")
            } else {
                format!("{name}:4")
            };
            assert!(line.contains(&at), "{params}: {said}");
        }
    }
}

#[test]
fn modify_window_and_ignore_times_hide_no_change_and_reconciles_end() {
    for params in ["-a --modify-window=3600", "-aI", "-a --size-only", "-a --append", "-aum"] {
        let w = Setup { params, ..Setup::default() }.start();
        w.write("d/file", "one");
        fs::create_dir(w.at("empty")).unwrap();
        w.wait_identical();
        w.write("d/file", "two");
        w.wait_identical();
        w.wait_in_sync();
        let out = w.instance.command(&["verify"]);
        assert_eq!(out.status.code(), Some(0), "{params}: {out:?}");
        wait_for(params, DEADLINE, || w.there("empty").is_dir());
    }
}

/// Options of ours that a daemon may refuse, and that something else stands for.
const REFUSABLE: &[&str] = &[
    "checksum",
    "modify-window",
    "stats",
    "force",
    "timeout",
    "checksum modify-window stats force timeout compress",
];

#[test]
fn a_refused_option_is_replaced_and_check_reports_it() {
    for refused in REFUSABLE {
        let mut setup = Setup { params: "-az", ..Setup::default() };
        setup.daemon.module_lines = format!("refuse options = {refused}\n");
        let w = setup.start();
        // Without --modify-window times are right to the second only.
        let arrives = |path: &str, content: Option<&str>| {
            let there = w.there(path);
            let what = format!("{refused}: {path} is {content:?}");
            wait_for(&what, DEADLINE, || fs::read_to_string(&there).ok().as_deref() == content);
        };
        // The first reconcile is over, and would be held if it deleted most files there.
        (0..10).for_each(|n| w.write(&format!("stays {n}"), "x"));
        w.wait_in_sync();
        w.write("d/e/file", "one");
        arrives("d/e/file", Some("one"));
        // Same size and time, other content: only a comparison by content, or none at all, sends it.
        let time = fs::metadata(w.at("d/e/file")).unwrap().modified().unwrap();
        let old = time - std::time::Duration::from_secs(3_600);
        for content in ["two", "six"] {
            w.write("d/e/file", content);
            fs::File::options()
                .write(true)
                .open(w.at("d/e/file"))
                .unwrap()
                .set_modified(old)
                .unwrap();
            arrives("d/e/file", Some(content));
        }
        fs::remove_dir_all(w.at("d")).unwrap();
        w.write("other", "x");
        arrives("other", Some("x"));
        wait_for("the deletion", DEADLINE, || !w.there("d").exists());
        w.wait_in_sync();
        let sync = w.instance.command(&["sync"]);
        assert!(sync.status.success(), "{refused}: {sync:?}");
        let verify = w.instance.command(&["verify"]);
        assert!(verify.status.success(), "{refused}: {verify:?}");
        let out = w.instance.command(&["check", "--connect"]);
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(out.status.success(), "{refused}: {out:?}");
        for option in refused.split(' ') {
            assert!(said.contains(&format!("refuses --{option} (")), "{refused}: {said}");
        }
    }
}

#[test]
fn a_refused_option_without_a_replacement_is_reported() {
    for (refused, expected) in
        [("log-format", "--log-format"), ("perms", "--perms"), ("delete", "--delete")]
    {
        let mut setup = Setup::default();
        setup.daemon.module_lines = format!("refuse options = {refused}\n");
        let w = setup.start();
        w.write("file", "one");
        w.write("gone", "one");
        fs::remove_file(w.at("gone")).unwrap();
        let out = w.instance.command(&["check", "--connect"]);
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(!out.status.success() && said.contains(expected), "{refused}: {out:?}");
        w.wait_remote(0, expected, |r| r.to_string().contains(&format!("refuse {expected}")));
    }
}
