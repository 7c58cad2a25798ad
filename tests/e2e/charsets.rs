//! A slave that keeps its names in another charset (`--iconv`): rsync converts names, and no rule.

use crate::common::rsyncd::{Options, old_rsync};
use crate::common::tree::Tree;
use crate::common::wait::{DEADLINE, wait_for};
use crate::common::world::{Setup, World, write};
use encoding_rs::GBK;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What is excluded lies on the slaves alone.
const RULES: &str =
    "filter: {exclude: ['(.*)/秘\\d+'], exclude_glob: ['留下', '*~', 'lost+found']}";

fn gbk(text: &str) -> Vec<u8> {
    let (bytes, _, lost) = GBK.encode(text);
    assert!(!lost, "{text}");
    bytes.into_owned()
}

/// The names below a slave's directory, sorted, with the content of files, as the master's are.
fn names(root: &Path, converted: bool) -> Vec<(String, String)> {
    let (mut out, mut left) = (Vec::new(), vec![(root.to_owned(), String::new())]);
    while let Some((dir, above)) = left.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let raw = entry.file_name();
            let name = match converted {
                true => GBK.decode(raw.as_bytes()).0.into_owned(),
                false => raw.to_string_lossy().into_owned(),
            };
            let name = format!("{above}{name}");
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => {
                    out.push((format!("{name}/"), String::new()));
                    left.push((entry.path(), format!("{name}/")));
                }
                _ => out.push((name, fs::read_to_string(entry.path()).unwrap_or_default())),
            }
        }
    }
    out.sort();
    out
}

fn there(w: &World, path: &str) -> PathBuf {
    w.remotes[0].path().join(OsStr::from_bytes(&gbk(path)))
}

fn world(params: &'static str, program: PathBuf) -> World {
    let daemon = Options { module_lines: "charset = GBK\n".into(), program, ..Options::default() };
    Setup { params, settings: RULES, daemon, remote: ", max_delete: 1000", ..Setup::default() }
        .build()
}

/// The slave equals the master, except for the names in `kept`, and the commands agree.
#[track_caller]
fn same(w: &World, what: &str, kept: &[&str]) {
    let out = w.instance.command(&["wait", "--timeout", "60s"]);
    let (mut here, mut there) = (names(&w.master, false), names(&w.remotes[0].path(), true));
    here.retain(|(name, _)| !kept.contains(&name.as_str()));
    there.retain(|(name, _)| !kept.contains(&name.as_str()));
    let said = [out.stdout, out.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert_eq!(there, here, "{what}: {said}\n{}", w.instance.report());
    assert_eq!(out.status.code(), Some(0), "{what}: {said}\n{}", w.instance.report());
    verified(w, what, 0);
}

#[track_caller]
fn verified(w: &World, what: &str, code: i32) {
    let out = w.instance.command(&["verify"]);
    let said = [out.stdout, out.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert_eq!(out.status.code(), Some(code), "{what}: {said}\n{}", w.instance.report());
}

fn replicated(params: &'static str, program: PathBuf) {
    let mut w = world(params, program);
    w.write("目录/子/文.txt", "1");
    w.write("图.png", "1");
    write(&there(&w, "图.png"), "old");
    write(&there(&w, "有/图.png"), "old");
    w.write("有/图.png", "new one");
    write(&there(&w, "旧的/下/多.txt"), "stray");
    write(&there(&w, "旧.txt"), "stray");
    write(&there(&w, "旧二/秘7/里"), "kept");
    write(&there(&w, "旧二/别的"), "stray");
    write(&there(&w, "目录/留下"), "kept");
    // 儈 ends with the byte of a `~`, 乕 with that of a `[`, 乗 with that of a backslash.
    write(&there(&w, "儈"), "stray");
    write(&there(&w, "乕乗/乗"), "stray");
    let kept = ["旧二/", "旧二/秘7/", "旧二/秘7/里", "目录/留下"];
    w.run(&[]);
    same(&w, "first copy", &kept);
    for (file, dir) in [("图.png", "目录"), ("乕", "乗/儈"), ("plain", "p/目")] {
        for name in [file.to_owned(), format!("{dir}/新/{file}"), format!("{dir}/二/{file}")] {
            w.write(&name, "1");
        }
    }
    same(&w, "create", &kept);
    w.write("图.png", "another");
    w.write("目录/新/图.png", "another");
    same(&w, "change", &kept);
    fs::rename(w.at("图.png"), w.at("目录/画.png")).unwrap();
    fs::rename(w.at("目录/新"), w.at("老")).unwrap();
    fs::rename(w.at("乗"), w.at("儈")).unwrap();
    same(&w, "rename", &kept);
    fs::remove_file(w.at("目录/画.png")).unwrap();
    fs::remove_file(w.at("乕")).unwrap();
    fs::remove_file(w.at("plain")).unwrap();
    fs::remove_dir_all(w.at("老")).unwrap();
    same(&w, "delete", &kept);
    // What is excluded on the slave stays, and what holds it.
    write(&there(&w, "目录/子/秘1/里"), "kept");
    fs::remove_dir_all(w.at("目录")).unwrap();
    fs::remove_dir_all(w.at("儈")).unwrap();
    let kept = [&kept[..], &["目录/", "目录/子/", "目录/子/秘1/", "目录/子/秘1/里"]].concat();
    same(&w, "delete what holds something excluded", &kept);
    let mut held = names(&w.remotes[0].path(), true);
    held.retain(|(name, _)| kept.contains(&name.as_str()));
    assert_eq!(held.len(), kept.len(), "{held:?}");
    // A directory becomes a file, and a file a directory.
    w.write("变/里/深", "1");
    w.write("化", "1");
    same(&w, "create again", &kept);
    fs::remove_dir_all(w.at("变")).unwrap();
    w.write("变", "file");
    fs::remove_file(w.at("化")).unwrap();
    w.write("化/里", "1");
    same(&w, "swap", &kept);
    w.instance.stop();
    fs::remove_dir_all(w.at("化")).unwrap();
    w.write("停/时", "1");
    w.run(&[]);
    same(&w, "changed while it was stopped", &kept);
    w.instance.stop();
    verified(&w, "alone", 0);
}

#[test]
fn a_gbk_slave_matches_the_master() {
    replicated("-a --iconv=UTF-8,GBK", "rsync".into());
}

#[test]
fn a_dot_means_utf_8_and_the_slaves_charset_may_be_unknown() {
    replicated("-a --iconv=.", "rsync".into());
}

#[test]
fn an_older_receiver_matches_the_master() {
    let Some(old) = old_rsync() else { return };
    replicated("-a --iconv=.,GBK", old);
}

/// Names that GBK lacks, in both kinds of place, and one that is not UTF-8.
fn refused(params: &'static str, program: PathBuf) {
    let mut w = world(params, program);
    w.write("目录/文.txt", "1");
    w.write("先😀", "1");
    w.run(&[]);
    let arrives = |path: &str, content: &str| {
        wait_for(path, DEADLINE, || {
            fs::read_to_string(there(&w, path)).is_ok_and(|text| text == content)
        });
    };
    arrives("目录/文.txt", "1");
    w.write("目录/😀.txt", "1");
    w.write("夹😀/里", "1");
    fs::write(w.master.join(OsStr::from_bytes(b"bad\xff")), "1").unwrap();
    w.write("目录/文.txt", "two");
    w.write("plain", "1");
    arrives("目录/文.txt", "two");
    arrives("plain", "1");
    let bad = ["先😀", "目录/😀.txt", "夹😀"];
    let failing = || {
        let out = w.instance.command(&["journal", "list"]);
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    wait_for("the failures", DEADLINE, || {
        let text = failing();
        text.contains("cannot convert filename") && bad.iter().all(|name| text.contains(name))
    });
    let out = w.instance.command(&["wait", "--timeout", "1s"]);
    assert_ne!(out.status.code(), Some(0), "{}", failing());
    verified(&w, "names are missing", 1);
    // A directory in the way, and names that never were there.
    fs::remove_file(w.at("目录/文.txt")).unwrap();
    for name in ["先😀", "目录/😀.txt"] {
        fs::remove_file(w.at(name)).unwrap();
    }
    fs::remove_dir_all(w.at("夹😀")).unwrap();
    fs::remove_file(w.master.join(OsStr::from_bytes(b"bad\xff"))).unwrap();
    same(&w, "without them", &[]);
    assert!(w.there("plain").exists());
    w.instance.stop();
    assert_ne!(Tree::read(&w.master), Tree::default());
}

#[test]
fn a_name_outside_the_slaves_charset_fails_and_the_rest_goes_on() {
    refused("-a --iconv=UTF-8,GBK", "rsync".into());
}

#[test]
fn a_name_outside_an_unknown_charset_fails_and_the_rest_goes_on() {
    refused("-a --iconv=.", "rsync".into());
}

#[test]
fn an_older_receiver_loses_nothing_to_a_name_outside_its_charset() {
    let Some(old) = old_rsync() else { return };
    refused("-a --iconv=UTF-8,GBK", old);
}
