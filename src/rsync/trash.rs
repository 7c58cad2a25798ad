//! The trash of a remote, pure: rsync keeps in it what a push deletes or overwrites. Each rsync that deleted or
//! overwrote something has its own directory, named after the time.
//!
//! Found by trial (senders and receivers 3.5.0 and 3.2.7). The directory is created when the first file is moved into
//! it, and not otherwise. Deleted directories are moved into it without their empty subdirectories. This holds for
//! `--force` and `--delete-missing-args` alike. If the directory cannot be created, nothing is deleted or overwritten,
//! and the exit status is 11. rsync itself does not protect the trash: [`crate::filter`] excludes it, and every form
//! that deletes what is not listed names it.

use super::argv::{self, Form, Options, TRASH, escaped};
use super::itemize::unescaped;
use super::peer::Peer;

use super::params;
use crate::path::{OsBytes, RelPath};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// The pattern of a directory's name; `0` represents a digit. In UTC, so that names sort in the order of their times.
const SHAPE: &[u8] = b"0000-00-00T00:00:00.000000Z";

/// Additional environment of an rsync whose times are parsed.
pub const ENV: &[(&str, &str)] = &[("LC_ALL", "C"), ("TZ", "UTC0"), ("RSYNC_PASSWORD", "")];

/// The name for a time: `timestamp` as in the log, to the millisecond, followed by `micros` (0 to 999).
pub fn stamp(timestamp: &str, micros: i64) -> String {
    format!("{}{:03}Z", timestamp.trim_end_matches('Z'), micros.rem_euclid(1_000))
}

/// True for a name that [`stamp`] makes. A user put everything else into the trash.
pub fn is_stamp(name: &[u8]) -> bool {
    name.len() == SHAPE.len()
        && name.iter().zip(SHAPE).all(|(is, shape)| match shape {
            b'0' => is.is_ascii_digit(),
            other => is == other,
        })
}

/// The longest path that the trash can keep: a receiver with a longer one exits in the middle of a push, with status
/// 13.
const LONGEST: usize = 4095 - TRASH.len() - 1 - SHAPE.len() - 1;

/// True for a path that the trash can keep.
pub fn can_keep(path: &RelPath) -> bool {
    path.as_bytes().len() <= LONGEST
}

/// True when this rsync may delete or overwrite something on the remote.
pub fn is_needed(form: &Form, options: Options) -> bool {
    let acts = matches!(
        form,
        Form::Batch { .. }
            | Form::DeleteNamed
            | Form::Send
            | Form::SendWhole { .. }
            | Form::SendTrees { .. }
            | Form::SendEverything { .. }
            | Form::DeleteB { .. }
    );
    acts && !options.dry
}

/// Makes the rsync with this command line keep what it deletes or overwrites. Added after the user's own arguments, so
/// that the user's `--backup-dir` or `--suffix` has no effect.
pub fn keep(argv: &mut Vec<OsString>, stamp: &str) {
    let end = argv.iter().rposition(|word| word == "--").unwrap_or(argv.len());
    let words =
        ["--backup".to_owned(), format!("--backup-dir={TRASH}/{stamp}"), "--suffix=".to_owned()];
    argv.splice(end..end, words.map(OsString::from));
}

/// Deletes all directories in the trash that are older than `limit`, a [`stamp`]. It runs in an empty directory. It
/// needs no list of the directories, so it also works with a module that cannot be read. The trash itself is the
/// destination: no rule, however wrong, can reach anything outside. Creates a missing trash, accessible to its owner
/// only.
pub fn expire(peer: &Peer, rules: &std::path::Path) -> Vec<OsString> {
    let mut words = start(peer);
    words.extend(
        ["--recursive", "--perms", "--delete", "--out-format=%i %n", "--stats"].map(OsString::from),
    );
    words.push(OsString::from_vec(
        [b"--include-from=", rules.as_os_str().as_encoded_bytes()].concat(),
    ));
    words.extend(["--", "./"].map(OsString::from));
    words.push(OsString::from_vec(place(peer, "")));
    words
}

/// The rules of [`expire`], NUL-separated: whole names with the pattern of a stamp that sort before `limit`, and
/// nothing else.
pub fn older_than(limit: &str) -> Vec<u8> {
    let mut out = Vec::new();
    if !is_stamp(limit.as_bytes()) {
        return b"- *\0".to_vec();
    }
    for (at, digit) in limit.bytes().enumerate().filter(|(_, b)| b.is_ascii_digit() && *b > b'0') {
        let mut pattern = limit[..at].to_owned();
        pattern += &format!("[0-{}]", char::from(digit - 1));
        for shape in &SHAPE[at + 1..] {
            match shape {
                b'0' => pattern += "[0-9]",
                other => pattern.push(char::from(*other)),
            }
        }
        out.extend(format!("+ /{pattern}/***\0").bytes());
    }
    out.extend(b"- *\0");
    out
}

/// Lists what the trash holds for a path. It runs in an empty directory, with [`below`] in the file `rules`.
pub fn versions(peer: &Peer, rules: &std::path::Path) -> Vec<OsString> {
    let mut words = start(peer);
    words.extend(
        ["-n", "--recursive", "--links", "--devices", "--specials", "--out-format=%l %M %n"]
            .map(OsString::from),
    );
    words.push(OsString::from_vec(
        [b"--include-from=", rules.as_os_str().as_encoded_bytes()].concat(),
    ));
    words.push("--".into());
    words.push(OsString::from_vec(place(peer, "")));
    words.push("./".into());
    words
}

/// The rules of [`versions`]: this path and everything below it. `None` when no rule can name it.
pub fn below(path: &RelPath) -> Option<Vec<u8>> {
    if argv::too_long_for_a_rule(path) {
        return None;
    }
    let mut out = b"+ /*/\0".to_vec();
    let mut rule = |name: &RelPath, tail: &[u8]| {
        // Every pattern begins with a wildcard, so that a backslash always escapes.
        out.extend([b"+ /*/", escaped(name.as_bytes(), true).as_slice(), tail, b"\0"].concat());
    };
    match path.is_root() {
        true => out.extend(b"+ /*/**\0"),
        false => {
            path.prefixes().filter(|above| above != path).for_each(|above| rule(&above, b"/"));
            rule(path, b"");
            rule(path, b"/***");
        }
    }
    out.extend(b"- *\0");
    Some(out)
}

/// The most names in one [`fetch`]: rsync compares each name with each rule.
pub const FETCHED_AT_ONCE: usize = 1_000;

/// Fetches names from one directory of the trash into the working directory; [`only`] is in the file `rules`. It uses
/// no list: a daemon without chroot that gets a list for a directory below its module reports all files as vanished.
pub fn fetch(peer: &Peer, stamp: &str, rules: &std::path::Path) -> Vec<OsString> {
    let mut words = start(peer);
    words.push("--archive".into());
    words.push(OsString::from_vec(
        [b"--include-from=", rules.as_os_str().as_encoded_bytes()].concat(),
    ));
    words.push("--".into());
    words.push(OsString::from_vec(place(peer, stamp)));
    words.push("./".into());
    words
}

/// The rules of [`fetch`]: these names and the directories above them.
pub fn only(names: &[RelPath]) -> Vec<u8> {
    argv::risk_rules(&[], names)
}

/// The program and how the remote is reached. Of the user's parameters it contains only those that are needed for this,
/// and those that keep further attributes of a file.
fn start(peer: &Peer) -> Vec<OsString> {
    let mut words = vec![peer.rsync_program.as_os_str().to_owned()];
    let bare = |word: OsBytes| word.as_os_str().to_owned();
    words.extend(params::of_transport(&peer.params).into_iter().map(bare));
    words.push("--from0".into());
    words.push(format!("--timeout={}", peer.timeout_s).into());
    words.extend(argv::connection(peer));
    words
}

fn place(peer: &Peer, stamp: &str) -> Vec<u8> {
    let mut place = argv::destination(peer);
    place.extend(format!("{TRASH}/").bytes());
    if !stamp.is_empty() {
        place.extend(format!("{stamp}/").bytes());
    }
    place
}

/// A version of one path in the trash, from one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The directory's name.
    pub stamp: String,
    /// The path, from the root of the localpath.
    pub path: RelPath,
    /// Its size, in bytes.
    pub size: u64,
    /// Its modification time: `2026/11/22-10:15:00` in UTC, in rsync's format.
    pub modified: String,
}

/// Parses one line of [`versions`]; `None` for directories and for lines that are no version.
pub fn version(line: &[u8]) -> Option<Version> {
    let (size, rest) = split(line)?;
    let (modified, name) = split(rest)?;
    let size = std::str::from_utf8(size).ok()?.parse().ok()?;
    if modified.len() != 19 || name.ends_with(b"/") {
        return None;
    }
    let name = unescaped(name);
    let slash = name.iter().position(|&b| b == b'/')?;
    let (stamp, path) = (&name[..slash], RelPath::new(&name[slash + 1..])?);
    if !is_stamp(stamp) || path.is_root() {
        return None;
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some(Version { stamp: text(stamp), path, size, modified: text(modified) })
}

/// True when the two processes of a receiver collided while they created directories in the trash. Nothing is lost, and
/// a retry succeeds. A receiver of 3.2.7 then exits with status 11 and gives no other sign.
pub fn raced(stderr: &[u8]) -> bool {
    let says = |line: &str| {
        (line.contains("make_backup(") || line.contains(TRASH))
            && line.ends_with("File exists (17)")
            || line.starts_with("rsync error: ")
                && line.contains("(code 11) at rsync.c(")
                && line.contains("[receiver=")
    };
    stderr.split(|&b| b == b'\n').any(|line| says(&String::from_utf8_lossy(line)))
}

/// True for the complaint of an rsync that finds no trash.
pub fn is_missing(stderr: &[u8]) -> bool {
    let mut lines = stderr.split(|&b| b == b'\n');
    lines.any(|line| {
        let line = String::from_utf8_lossy(line);
        line.contains("change_dir")
            && line.contains(TRASH)
            && line.contains("No such file or directory (2)")
    })
}

fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = line.iter().position(|&b| b == b' ')?;
    Some((&line[..at], &line[at + 1..]))
}

/// The latest version of each path, grouped by time.
pub fn last(versions: &[Version]) -> BTreeMap<String, Vec<RelPath>> {
    let mut newest: BTreeMap<&RelPath, &str> = BTreeMap::new();
    for version in versions {
        let stamp = newest.entry(&version.path).or_insert(&version.stamp);
        *stamp = (*stamp).max(&version.stamp);
    }
    let mut out: BTreeMap<String, Vec<RelPath>> = BTreeMap::new();
    for (path, stamp) in newest {
        out.entry(stamp.to_owned()).or_default().push(path.clone());
    }
    out
}

#[cfg(test)]
#[path = "trash_tests.rs"]
mod tests;
