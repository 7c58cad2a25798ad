//! What is excluded is never sent and never deleted, by nothing; with `delete` off nothing is ever deleted.

use crate::common::tree::Tree;
use crate::common::wait::{DEADLINE, holds_for, wait_for};
use crate::common::world::{Setup, World, populate, write};
use std::fs;
use std::time::Duration;

const RULES: &str =
    "filter: {exclude: ['(.*)\\.svn', 'logs/.*'], exclude_glob: ['*.tmp', 'cache/**']}";

/// Names that the rules exclude, each beside something that they do not.
const EXCLUDED: &[&str] = &["a/entry.svn", "logs/today", "a/b/scratch.tmp", "cache/x/y"];

fn excluding() -> Setup {
    Setup { remotes: 2, settings: RULES, ..Setup::default() }
}

/// Puts what only a slave has under excluded names.
fn remote_only(w: &World) {
    for slave in w.slaves() {
        for path in
            ["a/only there.svn", "a/b/only there.tmp", "cache/only there", "logs/only there"]
        {
            write(&slave.join(path), "only there");
        }
    }
}

#[track_caller]
fn remote_only_stays(w: &World) {
    for slave in w.slaves() {
        for path in
            ["a/only there.svn", "a/b/only there.tmp", "cache/only there", "logs/only there"]
        {
            assert!(
                slave.join(path).exists(),
                "{path} was deleted on a slave\n{}",
                w.instance.report()
            );
        }
    }
}

#[track_caller]
fn nothing_excluded_came(w: &World) {
    for slave in w.slaves() {
        for path in EXCLUDED {
            assert!(!slave.join(path).exists(), "{path} was sent\n{}", w.instance.report());
        }
    }
}

#[track_caller]
fn everything_else_came(w: &World, path: &str) {
    for slave in w.slaves() {
        let equal = || fs::read(slave.join(path)).ok() == fs::read(w.at(path)).ok();
        wait_for(&format!("{path} on every slave"), DEADLINE, equal);
    }
}

fn write_excluded(w: &World, content: &str) {
    for path in EXCLUDED {
        w.write(path, content);
    }
}

#[test]
fn events_of_excluded_names_mark_nothing() {
    let w = excluding().start();
    remote_only(&w);
    write_excluded(&w, "one");
    w.write("a/kept", "x");
    w.write("a/b/kept", "x");
    everything_else_came(&w, "a/b/kept");
    fs::rename(w.at("a/kept"), w.at("a/moved.tmp")).unwrap();
    fs::rename(w.at("a/b/scratch.tmp"), w.at("a/b/now kept")).unwrap();
    everything_else_came(&w, "a/b/now kept");
    write_excluded(&w, "two");
    w.write("mark", "x");
    everything_else_came(&w, "mark");
    nothing_excluded_came(&w);
    remote_only_stays(&w);
    assert!(!w.there("a/moved.tmp").exists());
    for path in EXCLUDED {
        fs::remove_file(w.at(path)).unwrap();
    }
    w.write("mark", "again");
    everything_else_came(&w, "mark");
    remote_only_stays(&w);
}

#[test]
fn a_deleted_directory_keeps_only_its_excluded_paths() {
    let w = excluding().start();
    write_excluded(&w, "x");
    w.write("a/kept", "x");
    w.write("a/b/kept", "x");
    w.write("a/other/kept", "x");
    everything_else_came(&w, "a/other/kept");
    remote_only(&w);
    fs::remove_dir_all(w.at("a")).unwrap();
    for slave in w.slaves() {
        wait_for("the rest to go", DEADLINE, || {
            !slave.join("a/b/kept").exists() && !slave.join("a/other").exists()
        });
    }
    wait_for("a/kept to go", DEADLINE, || !w.there("a/kept").exists());
    w.write("mark", "x");
    everything_else_came(&w, "mark");
    remote_only_stays(&w);
    // The same for a directory that is replaced by a file: excluded paths never give way.
    w.write("a", "a file now");
    w.write("mark", "again");
    everything_else_came(&w, "mark");
    remote_only_stays(&w);
}

/// A slave has a directory where a file is gone here: what is excluded in it stays, and the rest goes.
#[test]
fn a_directory_in_the_place_of_a_deleted_file_keeps_its_excluded_paths() {
    for params in ["-a", "-a --exclude=zzz"] {
        let mut w = Setup { params, settings: RULES, ..Setup::default() }.build();
        let names = ["f", "d/f"];
        names.iter().for_each(|name| w.write(name, "x"));
        w.run(&[]);
        w.wait_identical();
        w.wait_in_sync();
        for name in names {
            fs::remove_file(w.there(name)).unwrap();
            write(&w.there(name).join("sub/only there.tmp"), "x");
            write(&w.there(name).join("sub/rest"), "x");
        }
        names.iter().for_each(|name| fs::remove_file(w.at(name)).unwrap());
        for name in names {
            let rest = w.there(name).join("sub/rest");
            wait_for("the rest to go", DEADLINE, || !rest.exists());
        }
        w.wait_in_sync();
        for name in names {
            assert!(w.there(name).join("sub/only there.tmp").exists(), "{params}: {name}");
        }
    }
}

#[test]
fn a_directory_moved_away_or_swapped_keeps_excluded_paths() {
    let w = excluding().start();
    w.write("a/kept", "x");
    w.write("a/b/kept", "x");
    everything_else_came(&w, "a/b/kept");
    remote_only(&w);
    w.write("new/fresh", "x");
    fs::rename(w.at("a"), w.at("old")).unwrap();
    fs::rename(w.at("new"), w.at("a")).unwrap();
    everything_else_came(&w, "a/fresh");
    everything_else_came(&w, "old/b/kept");
    wait_for("the old slots to be returned", DEADLINE, || {
        w.slaves().iter().all(|s| !s.join("a/kept").exists())
    });
    remote_only_stays(&w);
}

#[test]
fn scans_and_reconciles_skip_excluded_names() {
    let mut w = excluding().build();
    write_excluded(&w, "one");
    w.write("a/kept", "x");
    w.write("a/b/kept", "x");
    remote_only(&w);
    // The first copy is a reconcile.
    w.run(&[]);
    everything_else_came(&w, "a/b/kept");
    w.wait_in_sync();
    nothing_excluded_came(&w);
    remote_only_stays(&w);

    // A scan.
    w.instance.stop();
    write_excluded(&w, "two");
    w.write("a/kept", "two");
    fs::remove_dir_all(w.at("a/b")).unwrap();
    w.run(&[]);
    everything_else_came(&w, "a/kept");
    wait_for("a/b/kept to go", DEADLINE, || {
        w.slaves().iter().all(|s| !s.join("a/b/kept").exists())
    });
    w.wait_in_sync();
    nothing_excluded_came(&w);
    remote_only_stays(&w);

    // A reconcile on demand, and one at the start.
    let extra = |w: &World| {
        w.slaves().iter().for_each(|slave| write(&slave.join("not on the master"), "x"));
    };
    let extra_goes = |w: &World| {
        wait_for("the extra file to go", DEADLINE, || {
            w.slaves().iter().all(|s| !s.join("not on the master").exists())
        });
    };
    extra(&w);
    let sync = w.instance.command(&["sync"]);
    assert!(sync.status.success(), "{sync:?}");
    extra_goes(&w);
    remote_only_stays(&w);
    w.instance.stop();
    extra(&w);
    w.run(&["-r"]);
    extra_goes(&w);
    w.wait_in_sync();
    w.write("mark", "x");
    everything_else_came(&w, "mark");
    nothing_excluded_came(&w);
    remote_only_stays(&w);
}

#[test]
fn a_filter_changed_by_reload_applies_to_waiting_paths() {
    let mut w = excluding().start();
    w.remotes[0].stop();
    w.write("secret/file", "x");
    w.write("mark", "x");
    wait_for("the other slave", DEADLINE, || w.remotes[1].path().join("mark").exists());
    let text = fs::read_to_string(w.instance.config()).unwrap();
    fs::write(w.instance.config(), text.replace("'*.tmp'", "'*.tmp', 'secret'")).unwrap();
    let reload = w.instance.command(&["reload"]);
    assert!(reload.status.success(), "{reload:?}");
    w.remotes[0].start_again();
    wait_for("the mark", DEADLINE * 3, || w.there("mark").exists());
    w.wait_in_sync();
    assert!(!w.there("secret").exists(), "sent though excluded now");
    assert!(w.remotes[1].path().join("secret/file").exists(), "deleted though excluded now");
}

#[test]
fn filters_in_common_params_protect_too() {
    let w = Setup { params: "-a --exclude=*.keep", ..Setup::default() }.start();
    w.write("d/file", "x");
    w.write("d/other", "x");
    everything_else_came(&w, "d/other");
    write(&w.there("d/only there.keep"), "x");
    w.write("d/mine.keep", "x");
    fs::remove_file(w.at("d/file")).unwrap();
    wait_for("the deletion", DEADLINE, || !w.there("d/file").exists());
    w.write("mark", "x");
    everything_else_came(&w, "mark");
    assert!(!w.there("d/mine.keep").exists(), "sent though excluded");
    assert!(w.there("d/only there.keep").exists(), "deleted though excluded");
}

#[test]
fn own_files_inside_a_localpath_are_not_sent() {
    use crate::common::instance::Instance;
    use crate::common::rsyncd::Rsyncd;
    let dir = tempfile::TempDir::with_prefix("syncsup-test-").unwrap();
    let slave = Rsyncd::start();
    let master = dir.path().join("master");
    let text = format!("localpaths:\n  - watch: {master:?}\n    remotes: [{}]\n", slave.yaml(""));
    // State, run directory and log are below the master.
    let mut instance = Instance::new(&master.join("own"), "syncsup.yaml", &text);
    instance.start(&[], &[&master]);
    write(&master.join("data"), "x");
    wait_for("data", DEADLINE, || slave.path().join("data").exists());
    holds_for("no state on the slave", Duration::from_secs(2), || {
        !slave.path().join("own/state").exists() && !slave.path().join("own/run").exists()
    });
}

#[test]
fn nothing_is_deleted_with_delete_off() {
    let mut w = Setup {
        remotes: 2,
        settings: "inotify: {delete: false, attrib: true}",
        ..Setup::default()
    }
    .build();
    populate(&w.master, 4, 5);
    for slave in w.slaves() {
        write(&slave.join("only there/x"), "x");
    }
    w.run(&[]);
    wait_for("the first copy", DEADLINE, || {
        w.slaves().iter().all(|s| s.join("dir003/file004").exists())
    });
    w.wait_in_sync();
    let before: Vec<Vec<String>> = w.slaves().iter().map(|s| Tree::read(s).names()).collect();
    let nothing_went = |w: &World| {
        for (slave, before) in w.slaves().iter().zip(&before) {
            let now = Tree::read(slave).names();
            let gone: Vec<_> = before.iter().filter(|n| !now.contains(n)).collect();
            assert!(gone.is_empty(), "deleted with delete off: {gone:?}\n{}", w.instance.report());
        }
    };
    let mark = |w: &World, name: &str| {
        w.write(name, "x");
        wait_for(name, DEADLINE, || w.slaves().iter().all(|s| s.join(name).exists()));
    };
    fs::remove_file(w.at("dir000/file000")).unwrap();
    fs::remove_dir_all(w.at("dir001")).unwrap();
    fs::rename(w.at("dir002"), w.at("renamed")).unwrap();
    fs::rename(w.at("dir003"), w.outside.join("away")).unwrap();
    fs::create_dir(w.at("dir003")).unwrap();
    // A full directory there, a file here: it must not give way.
    w.write("dir001", "a file now");
    mark(&w, "mark 1");
    // A comparison of the directory follows the move.
    wait_for("renamed/file000", DEADLINE, || w.there("renamed/file000").exists());
    nothing_went(&w);

    w.instance.stop();
    fs::remove_file(w.at("dir000/file001")).unwrap();
    fs::remove_dir_all(w.at("renamed")).unwrap();
    w.run(&["-r"]);
    mark(&w, "mark 2");
    nothing_went(&w);
    let _ = w.instance.command(&["sync"]);
    mark(&w, "mark 3");
    nothing_went(&w);
    assert!(w.slaves().iter().all(|s| s.join("only there/x").exists()));
}
