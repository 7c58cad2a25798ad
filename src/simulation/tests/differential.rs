//! The modelled rsync against real ones: the same random trees and the same command line must leave the same slave, the
//! same exit status and the same itemized lines.

use super::number;
use super::rsync::Transfer;
use super::world::{NAMES, tree};
use crate::path::{OsBytes, RelPath};
use crate::rsync::argv::{self, Check, Form, Options};
use crate::rsync::itemize::{ChangeKind, Line, parse};
use crate::rsync::peer::{Peer, Target};
use crate::stat::Exited;
use crate::sys::rsync::simulated::Process;
use std::collections::BTreeSet;
use std::fs::{self, File, FileTimes};
use std::io::{Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

/// What a run has done.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    exit: i32,
    lines: BTreeSet<String>,
    slave: std::collections::BTreeMap<PathBuf, String>,
}

/// Fills a directory with a few names, at most three levels deep.
fn fill(random: &mut fastrand::Rng, root: &Path) {
    for _ in 0..random.usize(..14) {
        let depth = random.usize(1..4);
        let name: PathBuf = (0..depth).map(|_| NAMES[random.usize(..NAMES.len())]).collect();
        let path = root.join(&name);
        if fs::symlink_metadata(&path).is_ok() {
            continue;
        }
        let time = UNIX_EPOCH + Duration::from_secs(1_700_000_000 + random.u64(..2));
        let times = FileTimes::new().set_modified(time);
        match random.u8(..8) {
            0..2 => drop(fs::create_dir_all(&path)),
            2 => drop(std::os::unix::fs::symlink(["one", "two"][random.usize(..2)], &path)),
            _ => {
                let _ = path.parent().map(fs::create_dir_all);
                if fs::write(&path, ["x", "y", "zz"][random.usize(..3)]).is_ok() {
                    File::options().append(true).open(&path).unwrap().set_times(times).unwrap();
                }
            }
        }
    }
}

fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(done.unwrap().success());
}

/// The names that a push may list: what exists, and what is missing in a directory that exists.
fn names(random: &mut fastrand::Rng, master: &Path) -> Vec<RelPath> {
    let mut some = BTreeSet::new();
    for _ in 0..random.usize(1..8) {
        let depth = random.usize(1..4);
        let mut name = PathBuf::new();
        for _ in 0..depth {
            name.push(NAMES[random.usize(..NAMES.len())]);
            if !fs::symlink_metadata(master.join(&name)).is_ok_and(|stat| stat.is_dir()) {
                break;
            }
        }
        some.insert(RelPath::new(name.as_os_str().as_bytes()).unwrap());
    }
    some.into_iter().collect()
}

/// The itemized lines that report a change. A line that names no change of a file's data or existence is left out:
/// the model does not keep every attribute.
fn lines(stdout: &str) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    for line in stdout.lines() {
        let Line::Change(change) = parse(line.as_bytes()) else { continue };
        if change.kind != ChangeKind::Attributes {
            out.insert(format!("{:?} {} {}", change.kind, change.path, change.is_dir));
        }
    }
    out
}

fn with_content(content: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    file.rewind().unwrap();
    file
}

fn modelled(words: &[std::ffi::OsString], list: &[u8], master: &Path, slave: &Path) -> Outcome {
    let (mut out, err) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    let process = Arc::new(Mutex::new(Process {
        argv: words.to_vec(),
        directory: master.to_owned(),
        input: with_content(list),
        stdout: out.try_clone().unwrap(),
        stderr: err,
        exited: None,
    }));
    let mut transfer = Transfer::new(process.clone(), slave, Rc::default(), 0);
    while !transfer.is_over() {
        transfer.step(&|_| None);
    }
    let Some(Exited::Code(exit)) = process.lock().unwrap().exited else { panic!() };
    let mut text = String::new();
    out.rewind().unwrap();
    out.read_to_string(&mut text).unwrap();
    Outcome { exit, lines: lines(&text), slave: tree(slave) }
}

fn real(
    program: &Path,
    words: &[std::ffi::OsString],
    list: &[u8],
    master: &Path,
    slave: &Path,
) -> Outcome {
    let of_daemons = |word: &&std::ffi::OsString| {
        let word = word.to_string_lossy();
        !["--contimeout", "--sockopts", "--no-motd"].iter().any(|start| word.starts_with(start))
    };
    let words: Vec<_> = words[1..words.len() - 1].iter().filter(of_daemons).collect();
    let mut slave_dir = slave.as_os_str().to_owned();
    slave_dir.push("/");
    let run = || {
        Command::new(program)
            .args(&words)
            .arg(&slave_dir)
            .current_dir(master)
            .env("LC_ALL", "C")
            .stdin(Stdio::from(with_content(list)))
            .output()
            .unwrap()
    };
    // A test beside this one may kill what holds its lock. A process that is being started holds it for a moment.
    let (exit, done) =
        std::iter::repeat_with(run).find_map(|done| Some((done.status.code()?, done))).unwrap();
    let text = String::from_utf8_lossy(&done.stdout);
    Outcome { exit, lines: lines(&text), slave: tree(slave) }
}

fn round(program: &Path, deletes: bool, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("master")).unwrap();
    fill(&mut random, &at("master"));
    match random.bool() {
        true => copy(&at("master"), &at("model")),
        false => fs::create_dir(at("model")).unwrap(),
    }
    fill(&mut random, &at("model"));
    fill(&mut random, &at("master"));
    copy(&at("model"), &at("real"));
    let some = names(&mut random, &at("master"));
    let is_dir = |path: &&RelPath| path.below(&at("master")).is_dir();
    let directories: Vec<RelPath> = some.iter().filter(is_dir).cloned().collect();
    let whole: BTreeSet<RelPath> = directories.iter().cloned().collect();
    // In half of the rounds a filter leaves out some names, and the receiver keeps them.
    let filtered = random.bool();
    let names = [b"c".to_vec(), b"/a/d".to_vec()];
    let filters: Vec<OsBytes> = match filtered {
        true => ["--filter=- c", "--filter=- /a/d", "--include=*/", "--exclude=b"]
            .map(Into::into)
            .into(),
        false => vec![],
    };
    let rules = at("rules");
    let gone: Vec<RelPath> =
        some.iter().filter(|path| !path.below(&at("master")).exists()).cloned().collect();
    fs::write(
        &rules,
        match filtered {
            true => argv::risk_rules_except(&gone, &names, &["b"]),
            false => argv::risk_rules(&gone, &[]),
        },
    )
    .unwrap();
    let parents: BTreeSet<RelPath> = gone.iter().filter_map(RelPath::parent).collect();
    let (form, list) = match random.u8(..10) {
        0 => (Form::Send, argv::list(&some)),
        1 => (Form::Batch { delete: false }, argv::list(&some)),
        2 => (Form::SendWhole { options: filters }, argv::list_whole(&some, &whole)),
        3 => (Form::SendTrees { options: filters }, argv::list(&directories)),
        4 => (Form::SendEverything { options: filters }, Vec::new()),
        9 => (Form::DeleteB { rules }, argv::list_directories(&parents)),
        5 => (Form::Children, argv::list_directories(&directories)),
        6 => (Form::Tree, argv::list_directories(&directories)),
        7 => (Form::Everything { exclude: vec![] }, Vec::new()),
        _ => (Form::Batch { delete: deletes }, argv::list(&some)),
    };
    let options = Options {
        check: [Check::Quick, Check::Content, Check::Nothing][random.usize(..3)],
        dry: random.u8(..4) == 0,
        delete: true,
        force: random.u8(..4) > 0,
        stats: true,
        unchanged: false,
    };
    let target = Target::Daemon { port: 1, module: "m".into() };
    let mut words = argv::argv(&Peer::new("127.0.0.1", target), &form, options);
    if filtered && matches!(form, Form::Children | Form::Tree | Form::Everything { .. }) {
        let rules = at("leave out");
        fs::write(&rules, b"- c\0- /a/d\0").unwrap();
        argv::leave_out(&mut words, &rules);
    }
    let before = tree(&at("real"));
    let expected = real(program, &words, &list, &at("master"), &at("real"));
    let got = modelled(&words, &list, &at("master"), &at("model"));
    assert_eq!(
        got,
        expected,
        "the model (left) and {} differ: SYNCSUP_SEED={seed}\n{words:?}\n{}\nmaster {:#?}\nbefore {before:#?}",
        program.display(),
        String::from_utf8_lossy(&list).replace('\0', " "),
        tree(&at("master")),
    );
}

#[test]
fn the_modelled_rsync_does_what_real_ones_do() {
    let old = std::env::var_os("SYNCSUP_TEST_OLD_RSYNC").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/old-rsync/usr/bin/rsync"),
        PathBuf::from,
    );
    let seeds = match number("SYNCSUP_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SYNCSUP_ROUNDS").unwrap_or(100),
    };
    // Before 3.4, some receivers fail where a missing name is deleted; the pusher then uses other forms.
    for (program, deletes) in [("rsync".into(), true), (old, false)] {
        if program.is_absolute() && !program.exists() {
            eprintln!("SKIPPED: no old rsync (SYNCSUP_TEST_OLD_RSYNC)");
            continue;
        }
        let differs =
            |seed: &u64| std::panic::catch_unwind(|| round(&program, deletes, *seed)).is_err();
        let differ: Vec<u64> = seeds.clone().filter(differs).collect();
        assert!(differ.is_empty(), "{}: {differ:?}", program.display());
    }
}
