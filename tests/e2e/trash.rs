//! What is deleted or overwritten on a remote with a trash is kept there, comes back ([`undelete`]), and goes when its time is over.

mod undelete;

use crate::common::rsyncd::{Options, old_rsync};
use crate::common::wait::{DEADLINE, holds_for, poll, wait_for};
use crate::common::world::{Setup, World, populate, write};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const TRASH: &str = ".syncsup-trash";

fn setup() -> Setup {
    Setup { settings: "trash: {keep: 7d}\nfilter: {names: none}\n", ..Setup::default() }
}

/// With every receiver there is: one cannot delete by `--delete-missing-args`.
fn receivers() -> Vec<Options> {
    let old = old_rsync();
    if old.is_none() {
        eprintln!("SKIPPED: no old rsync (SYNCSUP_TEST_OLD_RSYNC)");
    }
    let of = |program: PathBuf| Options { program, ..Options::default() };
    [Options::default()].into_iter().chain(old.map(of)).collect()
}

#[track_caller]
fn fine(out: &Output) -> String {
    assert!(out.status.success(), "{out:?}");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// Everything in the first slave's trash, with the content of files.
fn kept(w: &World) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut todo = vec![w.there(TRASH)];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            match entry.file_type().unwrap().is_dir() {
                true => todo.push(entry.path()),
                false => found.push((entry.path(), fs::read(entry.path()).unwrap_or_default())),
            }
        }
    }
    found.sort();
    found
}

#[test]
fn reconciles_and_deletions_leave_the_trash_alone() {
    let careful = "trash: {keep: 7d}\nfilter: {exclude_glob: ['*.keep'], names: none}\n";
    let rules = ", params: [-a, '--exclude=*.rule']";
    let includes = ", params: [-a, '--include=*/', '--exclude=*.rule']";
    let setups = [
        setup(),
        Setup { settings: careful, ..setup() },
        Setup { remote: rules, ..setup() },
        Setup { remote: includes, ..setup() },
    ];
    for setup in setups {
        let mut w = setup.start();
        populate(&w.master, 3, 20);
        w.write("a", "one");
        w.wait_identical();
        w.write("a", "another");
        fs::remove_dir_all(w.at("dir001")).unwrap();
        w.wait_identical();
        // A directory becomes a file, a file a directory.
        fs::remove_dir_all(w.at("dir000")).unwrap();
        w.write("dir000", "a file");
        fs::remove_file(w.at("a")).unwrap();
        w.write("a/b", "a directory");
        w.wait_identical();
        w.wait_in_sync();
        let before = kept(&w);
        assert!(before.len() >= 42, "{before:?}");
        // Of what others have put there: neither.
        write(&w.there(TRASH).join("mine"), "mine");
        // The same name here is not replicated.
        w.write(&format!("{TRASH}/local"), "local");
        write(&w.there("only there"), "goes");
        fine(&w.instance.command(&["sync"]));
        w.wait_in_sync();
        assert!(!w.there("only there").exists());
        w.instance.stop();
        write(&w.there("only there"), "goes");
        fs::remove_dir_all(w.at(TRASH)).unwrap();
        w.run(&["-r"]);
        w.wait_in_sync();
        wait_for("the reconcile", DEADLINE, || !w.there("only there").exists());
        w.wait_identical();
        let after = kept(&w);
        for one in &before {
            assert!(after.contains(one), "{} is gone", one.0.display());
        }
        assert!(w.there(TRASH).join("mine").exists() && !w.there(TRASH).join("local").exists());
        let gone = after.iter().filter(|(path, _)| path.ends_with("only there")).count();
        assert_eq!(gone, 2, "what a comparison deletes is kept too");
    }
}

#[test]
fn only_old_trash_directories_expire() {
    for daemon in receivers() {
        let mut w = Setup { daemon, ..setup() }.build();
        let old = "2020-02-29T23:59:59.999999Z";
        let stays = [
            format!("{TRASH}/2999-01-01T00:00:00.000000Z/a"),
            format!("{TRASH}/mine/a"),
            format!("{TRASH}/2020-02-29/a"),
            format!("{TRASH}/{old}.mine/a"),
            format!("{TRASH}/mine/{old}/a"),
            format!("{TRASH}/2020-02-28T00:00:00.000000Z"),
        ];
        for path in &stays {
            write(&w.there(path), path);
        }
        write(&w.there(&format!("{TRASH}/{old}/d/a")), "old");
        write(&w.there(&format!("{TRASH}/{old}/ *[x]\n")), "old");
        // Outside of the trash the same name is a name like others.
        w.write(&format!("{old}/a"), "a");
        w.run(&[]);
        wait_for("the expiry", DEADLINE, || !w.there(&format!("{TRASH}/{old}")).exists());
        w.wait_identical();
        holds_for("nothing else goes", Duration::from_millis(300), || {
            stays.iter().all(|path| w.there(path).exists()) && w.there(old).exists()
        });
        wait_for("its line", DEADLINE, || w.instance.log_text().contains("old trash deleted"));
        let mode = || fs::metadata(w.there(TRASH)).unwrap().permissions().mode() & 0o777;
        wait_for("a private trash", DEADLINE, || mode() == 0o700);
    }
}

#[test]
fn turning_the_trash_on_and_off_causes_no_reconcile() {
    let mut w = Setup { log_rsyncs: true, ..setup() }.build();
    let with = fs::read_to_string(w.instance.config()).unwrap();
    let without = with.replace("trash: {keep: 7d}", "");
    assert_ne!(with, without);
    fs::write(w.instance.config(), &without).unwrap();
    populate(&w.master, 2, 2);
    w.run(&[]);
    w.wait_identical();
    w.wait_in_sync();
    let before = w.full_comparisons().len();
    w.write("a", "one");
    w.wait_identical();
    fs::write(w.instance.config(), &with).unwrap();
    fine(&w.instance.command(&["reload"]));
    w.write("a", "two");
    w.wait_identical();
    w.wait_in_sync();
    wait_for("the trash", DEADLINE, || kept(&w).iter().any(|(_, content)| content == b"one"));
    fs::write(w.instance.config(), &without).unwrap();
    fine(&w.instance.command(&["reload"]));
    w.write("a", "three");
    w.wait_identical();
    w.wait_in_sync();
    assert_eq!(w.full_comparisons().len(), before);
    // Without a trash what it holds is left alone.
    fine(&w.instance.command(&["sync"]));
    w.wait_in_sync();
    assert_eq!(kept(&w).len(), 1);
}

/// Every content of a file in the first slave, outside of the trash.
fn there(w: &World) -> BTreeSet<(PathBuf, Vec<u8>)> {
    let mut found = BTreeSet::new();
    let mut todo = vec![w.remotes[0].path()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).unwrap().flatten() {
            if entry.file_name() == TRASH {
                continue;
            }
            match entry.file_type().unwrap().is_dir() {
                true => todo.push(entry.path()),
                false => {
                    let name = entry.path().strip_prefix(w.remotes[0].path()).unwrap().to_owned();
                    found.insert((name, fs::read(entry.path()).unwrap()));
                }
            }
        }
    }
    found
}

#[test]
fn every_version_is_on_the_slave_or_in_its_trash() {
    for daemon in receivers() {
        let w = Setup { daemon, ..setup() }.start();
        let mut random = fastrand::Rng::with_seed(11);
        let mut once = BTreeSet::new();
        for round in 0..40 {
            for n in 0..random.usize(1..8) {
                let (dir, file) = (random.usize(..3), random.usize(..3));
                let (dir, path) = (w.at(&format!("d{dir}")), w.at(&format!("d{dir}/f{file}")));
                let content = format!("{round}.{n}");
                match random.usize(..8) {
                    // A file where there was a directory, and the other way round.
                    0 if dir.is_dir() => {
                        fs::remove_dir_all(&dir).unwrap();
                        fs::write(&dir, &content).unwrap();
                    }
                    1 if path.is_file() => {
                        fs::remove_file(&path).unwrap();
                        write(&path.join("x"), &content);
                    }
                    2 if path.is_file() => fs::remove_file(&path).unwrap(),
                    3 if dir.is_dir() => fs::remove_dir_all(&dir).unwrap(),
                    _ => {
                        if dir.is_file() {
                            fs::remove_file(&dir).unwrap();
                        }
                        if path.is_dir() {
                            fs::remove_dir_all(&path).unwrap();
                        }
                        write(&path, &content);
                    }
                }
            }
            w.wait_identical();
            // What was taken away is in place before a push ends, and this is where the slave stands now.
            once.extend(there(&w));
        }
        w.wait_in_sync();
        let mut all: BTreeSet<_> = kept(&w)
            .into_iter()
            .map(|(path, content)| {
                let name = path.strip_prefix(w.there(TRASH)).unwrap();
                (name.components().skip(1).collect(), content)
            })
            .collect();
        all.extend(there(&w));
        let lost: Vec<_> = once.difference(&all).collect();
        assert!(lost.is_empty() && once.len() > 60, "{} of {}: {lost:?}", lost.len(), once.len());
        let log = w.instance.log_text();
        assert!(
            !log.contains("cannot push to the remote") && !log.contains("make_backup"),
            "{log}"
        );
    }
}

#[test]
fn the_trash_expires_during_endless_pushes() {
    let settings = "trash: {keep: 1m}\nfilter: {names: none}\n";
    let mut w = Setup { settings, ..Setup::default() }.build();
    let old = w.there(&format!("{TRASH}/2020-02-29T23:59:59.999999Z"));
    write(&old.join("a"), "old");
    let stop = AtomicBool::new(false);
    let w = &mut w;
    let (master, slave) = (w.master.clone(), w.remotes[0].path());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut n = 0u64;
            while !stop.load(Ordering::Relaxed) {
                fs::write(master.join(format!("f{}", n % 5)), n.to_string()).unwrap();
                n += 1;
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        w.run(&[]);
        let gone = poll(DEADLINE, || (!old.exists()).then_some(()));
        stop.store(true, Ordering::Relaxed);
        assert!(gone.is_some(), "never looked after\n{}", w.instance.report());
    });
    assert!(slave.join("f0").exists());
    w.wait_identical();
}
