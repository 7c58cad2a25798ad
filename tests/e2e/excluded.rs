//! No rsync enters an excluded directory, here or on a slave: an unreadable one does no harm there.

use crate::common::rsyncd::Options;
use crate::common::wait::{DEADLINE, wait_for};
use crate::common::world::{Setup, World, write};
use nix::unistd::{Uid, chown, geteuid};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A rule of each kind: rsync has words for some of them.
const RULES: &str = "filter: {exclude: ['(.*)/priv\\d+', 'mnt', '(.*)\\.gvfs'], \
    exclude_glob: ['lost+found', 'ca[c]he/']}";

/// What they exclude, anywhere in the tree.
const SECRET: &[&str] = &["lost+found", "a/lost+found", "a/b/priv7", "mnt", "a/.gvfs", "a/b/cache"];

const NOBODY: u32 = 61_234;

/// Somebody else's, with something in it, and closed.
fn close(root: &Path) {
    for dir in SECRET {
        let dir = root.join(dir);
        write(&dir.join("in/it"), "x");
        chown(&dir, Some(Uid::from_raw(4_711)), None).unwrap();
        fs::set_permissions(&dir, Permissions::from_mode(0o000)).unwrap();
    }
}

/// Everything that an operator may ask ends well.
#[track_caller]
fn all_is_well(w: &World, commands: &[&[&str]]) {
    for words in commands {
        let out = w.instance.command(words);
        let said = [out.stdout, out.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert_eq!(out.status.code(), Some(0), "{words:?}\n{said}\n{}", w.instance.report());
    }
}

const ASKED: &[&[&str]] = &[
    &["wait", "--timeout", "20s"],
    &["verify"],
    &["verify", "--checksum"],
    &["sync"],
    &["verify", "--repair"],
];

#[test]
fn unreadable_excluded_paths_here_do_no_harm() {
    if !geteuid().is_root() {
        eprintln!("SKIPPED: only root can make a directory of another user");
        return;
    }
    let mut w = Setup { settings: RULES, ..Setup::default() }.build();
    let words = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"];
    w.instance.launcher = words.iter().map(Into::into).collect();
    w.write("a/b/file", "x");
    close(&w.master);
    w.run(&[]);
    all_is_well(&w, ASKED);
    // A directory that is moved is compared as a tree, one that is made again by its names.
    fs::rename(w.at("a"), w.at("moved")).unwrap();
    w.write("moved/b/file", "another");
    all_is_well(&w, ASKED);
    assert_eq!(fs::read_to_string(w.there("moved/b/file")).unwrap(), "another");
    assert!(!w.there("a").exists() && !w.there("mnt").exists() && !w.there("moved/.gvfs").exists());
    w.instance.stop();
    all_is_well(&w, &[&["verify"], &["verify", "--checksum"]]);
}

fn closed_there(params: &'static str) {
    if !geteuid().is_root() {
        eprintln!("SKIPPED: only root can make a directory of another user");
        return;
    }
    let lines = format!("uid = {NOBODY}\ngid = {NOBODY}\n");
    let daemon = Options { module_lines: lines, ..Options::default() };
    let mut w = Setup { settings: RULES, params, daemon, ..Setup::default() }.build();
    let slave = w.slaves().remove(0);
    write(&slave.join("stray/file"), "x");
    for dir in ["", "a", "a/b", "stray", "stray/file"] {
        fs::create_dir_all(w.at("a/b")).unwrap();
        fs::create_dir_all(slave.join("a/b")).unwrap();
        chown(&slave.join(dir), Some(Uid::from_raw(NOBODY)), None).unwrap();
    }
    w.write("a/b/file", "x");
    w.write("c", "x");
    close(&slave);
    w.run(&[]);
    all_is_well(&w, ASKED);
    assert!(!slave.join("stray").exists(), "other extra files are deleted");
    fs::remove_dir_all(w.at("a")).unwrap();
    all_is_well(&w, &[&["wait", "--timeout", "20s"], &["sync"]]);
    assert!(!slave.join("a/b/file").exists());
    SECRET.iter().for_each(|dir| assert!(slave.join(dir).exists(), "{dir} is protected"));
    w.instance.stop();
}

#[test]
fn unreadable_excluded_paths_on_the_remote_do_no_harm() {
    closed_there("-rlt");
}

#[test]
fn unreadable_excluded_paths_do_no_harm_in_form_b() {
    closed_there("-rlt --exclude=*.keep");
}

#[test]
fn unreadable_excluded_paths_do_no_harm_with_rules_in_common_params() {
    closed_there("-rlt --include=*.keep --exclude=*.keep");
}

/// A directory that is there when a push is planned, and gone when rsync reads its list.
fn a_directory_vanishes_under_a_push(params: &'static str) {
    let scripts = tempfile::tempdir().unwrap();
    let (script, go) = (scripts.path().join("rsync"), scripts.path().join("go"));
    let remote: &'static str = Box::leak(format!(", program: {script:?}").into_boxed_str());
    let settings = "filter: {exclude: ['d/keep']}\ndelay: 300ms\n";
    let mut w = Setup { params, remote, settings, ..Setup::default() }.build();
    let dir = w.at("d");
    let text = format!(
        "#!/bin/sh\ncase \" $* \" in *' -n '*) ;; *) ! rm '{}' 2>/dev/null || rm -rf '{}' ;; esac\nexec rsync \"$@\"\n",
        go.display(),
        dir.display()
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    w.write("d/gone", "x");
    w.write("d/stays", "x");
    w.run(&[]);
    w.wait_in_sync();
    write(&w.there("d/keep"), "kept");
    fs::write(&go, "").unwrap();
    fs::set_permissions(&dir, Permissions::from_mode(0o711)).unwrap();
    fs::remove_file(w.at("d/gone")).unwrap();
    wait_for("the directory to vanish", DEADLINE, || !go.exists() && !dir.exists());
    wait_for("the rest to be deleted", DEADLINE, || !w.there("d/stays").exists());
    w.wait_in_sync();
    assert_eq!(fs::read_to_string(w.there("d/keep")).ok().as_deref(), Some("kept"));
}

#[test]
fn excluded_names_stay_when_their_directory_vanishes_under_a_push() {
    a_directory_vanishes_under_a_push("-a");
}
