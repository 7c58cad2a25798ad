//! sersync's `failLog`: the script lists owed paths, and each line repairs one by hand.

use crate::common::namespace::{Mounted, with_private_mounts};
use crate::common::rsyncd::Options;
use crate::common::wait::{DEADLINE, poll, wait_for};
use crate::common::world::{Setup, World, write};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};

const HOSTILE: &[&[u8]] = &[
    b"refused it's $(touch PWNED) `touch PWNED`",
    b"refused\nin two lines",
    b"refused\n",
    b"refused \"; touch PWNED; \"",
    b"refused\xff\xfe",
    b"-refused",
    b"--refused --delete",
    b"#refused",
    b"refused%d%s%%\\n\\",
    b" refused  blanks ",
    b"refused*?[x]",
    b"refused!bang!",
    b"refused\t\x01\x7f",
    b"sub/refused 1",
];

fn name(bytes: &[u8]) -> PathBuf {
    OsString::from_vec(bytes.to_vec()).into()
}

fn script(w: &World) -> PathBuf {
    w.outside.join("rsync_fail_log.sh")
}

fn read(w: &World) -> String {
    fs::read_to_string(script(w)).unwrap_or_default()
}

fn lines(text: &str) -> Vec<String> {
    text.lines().filter(|l| !l.starts_with('#')).map(str::to_owned).collect()
}

/// A world whose script lies in `outside`.
fn build(setup: Setup) -> World {
    let w = setup.build();
    let text = fs::read_to_string(w.instance.config()).unwrap();
    let fail_log = format!("fail_log: {{path: {:?}, retry: 1m}}\n", script(&w));
    fs::write(w.instance.config(), fail_log + &text).unwrap();
    w
}

fn run(w: &World, shell: &str, args: &[&str]) -> Output {
    let out = Command::new(shell).args(args).current_dir(&w.outside).output().unwrap();
    assert!(!w.outside.join("PWNED").exists() && !w.at("PWNED").exists(), "a name ran: {args:?}");
    out
}

/// Runs the whole script.
fn run_script(w: &World, shell: &str) {
    let out = run(w, shell, &[script(w).to_str().unwrap()]);
    assert!(out.status.success(), "{shell}: {out:?}\n{}", read(w));
    assert!(out.stderr.is_empty(), "{shell}: {out:?}\n{}", read(w));
}

#[test]
fn the_fail_log_repairs_hostile_names_in_dash_and_bash() {
    let refused = Options { module_lines: "exclude = *refused*\n".into(), ..Options::default() };
    let mut w = build(Setup { daemon: refused, ..Setup::default() });
    w.run(&[]);
    w.wait_identical();
    // A reader sees the whole script even while it is replaced, and other users may not read it.
    let (path, over) = (script(&w), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut inodes = std::collections::BTreeSet::new();
            let began = std::time::Instant::now();
            // Each attempt of a refused path rewrites it.
            let enough = |seen: usize| seen > 1 || began.elapsed() > DEADLINE * 2;
            while !(over.load(Ordering::Relaxed) && enough(inodes.len())) {
                if let Ok(meta) = fs::metadata(&path) {
                    assert_eq!(meta.permissions().mode() & 0o777, 0o600);
                    inodes.insert(meta.ino());
                    let text = fs::read_to_string(&path).unwrap();
                    let whole = text.starts_with("#!/bin/sh\n") && text.ends_with('\n');
                    assert!(text.is_empty() || whole, "half a script: {text}");
                }
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            inodes.len()
        });
        for bytes in HOSTILE {
            write(&w.master.join(name(bytes)), bytes);
        }
        let all = poll(DEADLINE, || {
            let text = read(&w);
            (lines(&text).len() == HOSTILE.len() && !text.contains(", 1 try)")).then_some(text)
        });
        over.store(true, Ordering::Relaxed);
        assert!(watch.join().unwrap() > 1, "replaced, not written over");
        let text = all.unwrap_or_else(|| panic!("{}\n{}", read(&w), w.instance.report()));
        // Remote, rsync's words and the time stand above each line.
        let comments: Vec<&str> = text.lines().filter(|l| l.starts_with("# /")).collect();
        assert_eq!(comments.len(), HOSTILE.len());
        for comment in comments {
            assert!(comment.contains(&w.remotes[0].name()), "{comment}");
            assert!(
                comment.contains("refused to receive") && comment.contains("(since 20"),
                "{comment}"
            );
        }
    });
    w.instance.stop();
    w.remotes[0].set_module_lines("");
    // Each line alone, as by hand.
    for line in lines(&read(&w)) {
        let out = run(&w, "dash", &["-c", &line]);
        assert!(out.status.success(), "{out:?}\n{line}");
    }
    for bytes in HOSTILE {
        let there = w.remotes[0].path().join(name(bytes));
        assert_eq!(fs::read(&there).unwrap(), *bytes, "{}", there.display());
    }
    assert_eq!(fs::read_dir(w.remotes[0].path()).unwrap().count(), HOSTILE.len());
    for shell in ["dash", "bash", "sh"] {
        HOSTILE.iter().for_each(|b| fs::remove_file(w.remotes[0].path().join(name(b))).unwrap());
        run_script(&w, shell);
        HOSTILE.iter().for_each(|b| assert!(w.remotes[0].path().join(name(b)).exists()));
    }
    // The next start finds nothing owed, and empties it.
    assert!(!read(&w).is_empty());
    w.run(&[]);
    wait_for("an empty script", DEADLINE, || fs::read(script(&w)).is_ok_and(|t| t.is_empty()));
    w.wait_identical();
}

/// Deletions that the slave refuses; with and without `--delete-missing-args`.
fn deletions(params: &'static str, settings: &'static str) {
    let mut w = build(Setup { params, settings, ..Setup::default() });
    let gone = "d/it's $(touch PWNED)\n";
    let (tree, moved) = ("tree 1/a", "moved 1/sub/a");
    for path in [gone, tree, "tree 1/b", moved, "moved 1/b", "d/stays"] {
        w.write(path, "x");
    }
    w.run(&[]);
    w.wait_identical();
    // Only events from here on: a reconcile would find and delete extra files of the slave.
    w.wait_in_sync();
    write(&w.there("d/only there"), "x");
    let held = [gone, tree, moved].map(|path| w.there(path));
    // Nobody can remove a mount point.
    let mounts = held.each_ref().map(|file| Mounted::bind(file, file));
    fs::remove_file(w.at(gone)).unwrap();
    fs::remove_dir_all(w.at("tree 1")).unwrap();
    // Only the directory is marked.
    fs::rename(w.at("moved 1"), w.outside.join("moved")).unwrap();
    let shown = poll(DEADLINE, || {
        let found = lines(&read(&w));
        let has = |word: &str| found.iter().any(|l| l.contains(word));
        (has("PWNED") && has("tree\\0401") && has("moved\\0401")).then_some(found)
    });
    w.instance.stop();
    drop(mounts);
    assert!(shown.is_some(), "{}\n{}", read(&w), w.instance.report());
    // In another directory, such as an empty mount point, nothing is deleted.
    let aside = w.outside.join("aside");
    fs::rename(&w.master, &aside).unwrap();
    fs::create_dir(&w.master).unwrap();
    for line in lines(&read(&w)) {
        assert!(!run(&w, "dash", &["-c", &line]).status.success(), "{line}");
    }
    assert!(held.iter().all(|path| path.exists()));
    fs::remove_dir(&w.master).unwrap();
    fs::rename(&aside, &w.master).unwrap();
    for line in lines(&read(&w)) {
        let out = run(&w, "dash", &["-c", &line]);
        assert!(out.status.success(), "{out:?}\n{line}");
    }
    for path in [gone, "tree 1", "moved 1"] {
        assert!(!w.there(path).exists(), "{path}: {}", read(&w));
    }
    assert!(w.there("d/only there").exists() && w.there("d/stays").exists());
    run_script(&w, "bash");
    assert!(w.there("d/only there").exists() && w.there("d/stays").exists());
}

#[test]
fn the_fail_log_repairs_deletions() {
    with_private_mounts(|| deletions("-a", "filter: {names: none}\n"));
}

#[test]
fn the_fail_log_repairs_deletions_without_delete_missing_args() {
    with_private_mounts(|| deletions("-a --exclude=zzz", "filter: {names: none}\n"));
}

#[test]
fn the_fail_log_repairs_deletions_beside_what_the_filter_excludes() {
    for params in ["-a", "-a --exclude=zzz"] {
        with_private_mounts(|| deletions(params, "filter: {exclude_glob: ['*.keep']}\n"));
    }
}

/// A directory that is gone here and holds something excluded there: its line deletes the rest, and so does the pusher.
#[test]
fn the_fail_log_keeps_what_is_excluded() {
    with_private_mounts(|| {
        let settings = "filter: {exclude_glob: ['*.keep']}\n";
        let mut w = build(Setup { params: "-a --exclude=zzz", settings, ..Setup::default() });
        let excluded = ["moved 1/zzz", "moved 1/sub/x.keep", "moved 1/.a.swp"];
        w.write("moved 1/sub/a", "x");
        w.write("moved 1/b", "x");
        w.run(&[]);
        w.wait_identical();
        w.wait_in_sync();
        excluded.iter().for_each(|path| write(&w.there(path), "x"));
        let held = w.there("moved 1/sub/a");
        let mount = Mounted::bind(&held, &held);
        fs::rename(w.at("moved 1"), w.outside.join("moved")).unwrap();
        wait_for("a line", DEADLINE, || lines(&read(&w)).len() == 1);
        w.instance.stop();
        drop(mount);
        write(&w.there("moved 1/b"), "x");
        run_script(&w, "dash");
        assert!(!held.exists() && !w.there("moved 1/b").exists(), "{}", read(&w));
        excluded.iter().for_each(|path| assert!(w.there(path).exists(), "{path}"));
    });
}

#[test]
fn failing_paths_are_retried_immediately_and_sersyncs_script_is_kept() {
    let refused = Options { module_lines: "exclude = *refused*\n".into(), ..Options::default() };
    let mut w = build(Setup { daemon: refused, ..Setup::default() });
    let left =
        "#errno 2560\ncd /data && rsync -artuz -R \"./x\" 10.0.0.2::www >/dev/null 2>&1 \n\n";
    fs::write(script(&w), left).unwrap();
    w.run(&[]);
    w.wait_identical();
    w.write("refused", "x");
    let again = poll(DEADLINE, || {
        let text = read(&w);
        (text.contains(" tries)") && !text.contains(", 1 try)")).then_some(())
    });
    assert!(again.is_some(), "{}\n{}", read(&w), w.instance.report());
    let aside = w.outside.join("rsync_fail_log.sh.sersync");
    assert_eq!(fs::read_to_string(&aside).unwrap(), left);
    assert!(w.instance.log_text().contains("syncsup journal import"));
    // The path goes; so does its line.
    fs::remove_file(w.at("refused")).unwrap();
    wait_for("an empty script", DEADLINE, || read(&w).is_empty());
}

/// A slave that is down is owed every waiting path.
#[test]
fn the_fail_log_shows_what_waits_for_a_slave_that_is_down() {
    let mut w = build(Setup { remotes: 2, ..Setup::default() });
    w.write("gone", "x");
    w.run(&[]);
    w.wait_identical();
    w.wait_in_sync();
    w.remotes[0].stop();
    for bytes in HOSTILE {
        write(&w.master.join(name(bytes)), bytes);
    }
    fs::remove_file(w.at("gone")).unwrap();
    // Shown with the next try at the latest.
    let text = poll(DEADLINE, || {
        let text = read(&w);
        let all = lines(&text).len() > HOSTILE.len() && text.contains("printf '/gone\\000'");
        (all || text.contains("+ /gone") || text.contains("+\\040/gone")).then_some(text)
    });
    let text = text.unwrap_or_else(|| panic!("{}\n{}", read(&w), w.instance.report()));
    assert!(text.contains(&w.remotes[0].name()) && !text.contains(&w.remotes[1].name()), "{text}");
    wait_for("everything", DEADLINE, || lines(&read(&w)).len() > HOSTILE.len());
    w.instance.stop();
    w.remotes[0].start_again();
    for line in lines(&read(&w)) {
        let out = run(&w, "dash", &["-c", &line]);
        assert!(out.status.success(), "{out:?}\n{line}");
    }
    for bytes in HOSTILE {
        assert_eq!(fs::read(w.remotes[0].path().join(name(bytes))).unwrap(), *bytes);
    }
    assert!(!w.there("gone").exists());
    w.run(&[]);
    w.wait_identical();
    wait_for("an empty script", DEADLINE, || read(&w).is_empty());
}

#[test]
fn a_pipe_in_place_of_the_fail_log_is_reported_and_blocks_nothing() {
    let refused = Options { module_lines: "exclude = *refused*\n".into(), ..Options::default() };
    let mut w = build(Setup { daemon: refused, ..Setup::default() });
    nix::unistd::mkfifo(&script(&w), nix::sys::stat::Mode::S_IRWXU).unwrap();
    w.write("refused", "x");
    w.run(&[]);
    wait_for("the refusal", DEADLINE, || {
        let text = w.instance.log_text();
        text.contains("it is a named pipe, not a regular file")
            && text.contains("rsync_fail_log.sh")
    });
    // The supervisor answers, and what can be pushed is.
    w.write("fine", "y");
    wait_for("the other file", DEADLINE, || w.there("fine").exists());
    w.wait_remote(0, "failing", |r| r["failing"].as_u64() == Some(1));
    let import = w.instance.command(&["journal", "import", script(&w).to_str().unwrap()]);
    assert!(!import.status.success());
    assert!(String::from_utf8_lossy(&import.stderr).contains("named pipe"), "{import:?}");
}
