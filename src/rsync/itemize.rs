//! Parses rsync's stdout: `%i %n` lines, remarks, totals. A line means 'sent', not 'done'.

use crate::path::RelPath;
use std::io::{self, BufRead, Read};

/// What happened to a path on the remote, or would happen in a dry run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It existed on the remote, and its content (or a link's target) changed.
    Sent,
    /// Created on the remote.
    Created,
    /// Deleted on the remote.
    Deleted,
    /// Only mode, owner, times or the like changed.
    Attributes,
}

/// One itemized line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The path; the root for `./`.
    pub path: RelPath,
    /// What happened.
    pub kind: ChangeKind,
    /// It is a directory, or was one if it is deleted.
    pub is_dir: bool,
    /// The differences, in rsync's letters.
    pub differs: Differs,
}

/// rsync's letters for one path (rsync(1), --itemize-changes): its type (`f d L D S`) and nine attributes. All are
/// blank for a deleted path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Differs {
    /// The type.
    pub kind: u8,
    /// Checksum, size, time, permissions, owner, group, use, ACL, extended attributes.
    pub attributes: [u8; 9],
}

impl Differs {
    /// True if the contents were compared and differ.
    pub fn in_content(&self) -> bool {
        self.attributes[0] == b'c'
    }
}

/// One line of stdout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// An itemized change.
    Change(Change),
    /// 'skipping file deletion' (rsync prints it on stdout, not on stderr): no deletion of this run may be settled.
    DeletionsSkipped,
    /// 'cannot delete non-empty directory': it stays, because its content is excluded or not at risk. A dry run may
    /// nevertheless print it as deleted.
    NotEmpty(RelPath),
    /// 'skipping non-regular file'. For a name that was listed as absent, it means that the remote's `refuse options`
    /// forbids `--delete-missing-args`: the name was not deleted, and the exit status is 0.
    NonRegular(RelPath),
    /// Any other line that is not empty, without its newline.
    Text(Vec<u8>),
}

/// The most bytes of a line. It has room for a name of 4,096 bytes, each of which is escaped.
const LINE_MOST: u64 = 32 << 10;

/// An iterator over the lines of rsync's stdout, which reads on demand. Keeps only the start of a line that is too
/// long.
pub struct Lines<R> {
    reader: R,
    buffer: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    /// Reads the lines of a reader.
    pub fn new(reader: R) -> Self {
        Self { reader, buffer: Vec::new() }
    }
}

impl<R: BufRead> Lines<R> {
    /// Skips the rest of a line that is too long. False when the line was too long.
    fn skip_rest(&mut self) -> io::Result<bool> {
        if self.buffer.ends_with(b"\n") || (self.buffer.len() as u64) < LINE_MOST {
            return Ok(true);
        }
        loop {
            let rest = self.reader.fill_buf()?;
            let end = rest.iter().position(|&b| b == b'\n');
            let read = end.map_or(rest.len(), |end| end + 1);
            self.reader.consume(read);
            if end.is_some() || read == 0 {
                return Ok(false);
            }
        }
    }
}

/// Counts the bytes of lines that are not changes: rsync prints them for messages of the other end.
#[derive(Clone, Debug, Default)]
pub struct Messages {
    /// The number of bytes so far.
    pub bytes: u64,
    /// The start of the current line.
    start: Vec<u8>,
}

impl Messages {
    /// Takes in the next bytes of the output.
    pub fn read(&mut self, mut chunk: &[u8]) {
        while !chunk.is_empty() {
            let end = chunk.iter().position(|&b| b == b'\n').map_or(chunk.len(), |end| end + 1);
            let (line, rest) = chunk.split_at(end);
            let known = self.start.len();
            let more = line.len().min(CHANGE_LEAST - known);
            self.start.extend_from_slice(&line[..more]);
            if self.start.len() == CHANGE_LEAST && !begins_change(&self.start) {
                self.bytes += (line.len() + if known < CHANGE_LEAST { known } else { 0 }) as u64;
            }
            if line.ends_with(b"\n") {
                if self.start.len() < CHANGE_LEAST {
                    self.bytes += self.start.len() as u64;
                }
                self.start.clear();
            }
            chunk = rest;
        }
    }
}

/// Letters and a space.
const CHANGE_LEAST: usize = 12;

/// True for the first bytes of a line that reports a change.
fn begins_change(start: &[u8]) -> bool {
    start.starts_with(b"*deleting   ")
        || (b"<>ch.".contains(&start[0]) && b"fdLDS".contains(&start[1]) && start[11] == b' ')
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = io::Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.buffer.clear();
            let read = (&mut self.reader).take(LINE_MOST).read_until(b'\n', &mut self.buffer);
            match read.and_then(|read| Ok((read, self.skip_rest()?))) {
                Ok((0, _)) => return None,
                Ok((_, whole)) => {
                    if !whole {
                        return Some(Ok(Line::Text(std::mem::take(&mut self.buffer))));
                    }
                }
                Err(error) => return Some(Err(error)),
            }
            let line = self.buffer.strip_suffix(b"\n").unwrap_or(&self.buffer);
            if !line.is_empty() {
                return Some(Ok(parse(line)));
            }
        }
    }
}

/// One line, without its newline.
pub fn parse(line: &[u8]) -> Line {
    if let Some(change) = change(line) {
        return Line::Change(change);
    }
    // 'IO error encountered -- skipping file deletion'
    if says_deletions_skipped(line) {
        return Line::DeletionsSkipped;
    }
    let named = |name: &[u8]| path(name).map(|(path, _)| path);
    if let Some(path) = line.strip_prefix(b"cannot delete non-empty directory: ").and_then(named) {
        return Line::NotEmpty(path);
    }
    let quoted = line
        .strip_prefix(b"skipping non-regular file \"")
        .and_then(|rest| rest.strip_suffix(b"\""));
    if let Some(path) = quoted.and_then(named) {
        return Line::NonRegular(path);
    }
    Line::Text(line.to_vec())
}

/// True for a line (of either stream) in which rsync reports that it gives up deleting.
pub(super) fn says_deletions_skipped(line: &[u8]) -> bool {
    // The match is exact, because the text may be the end of a name.
    (line.starts_with(b"IO error encountered ") && line.ends_with(b" skipping file deletion"))
        || line.starts_with(b"Deletions stopped due to --max-delete limit")
}

/// `YXcstpoguax name`: eleven characters for the change, a space, the name (rsync(1), --itemize-changes).
fn change(line: &[u8]) -> Option<Change> {
    let (what, name) = line.split_at_checked(11)?;
    let (path, slash) = path(name.strip_prefix(b" ")?)?;
    if what == b"*deleting  " {
        let differs = Differs::default();
        return Some(Change { path, kind: ChangeKind::Deleted, is_dir: slash, differs });
    }
    let attributes = &what[2..];
    let known = |b: &u8| b.is_ascii_alphabetic() || b"+.? ".contains(b);
    if !b"fdLDS".contains(&what[1]) || !attributes.iter().all(known) {
        return None;
    }
    let kind = match what[0] {
        b'<' | b'>' | b'c' | b'h' if attributes[0] == b'+' => ChangeKind::Created,
        b'<' | b'>' | b'c' | b'h' => ChangeKind::Sent,
        // Printed only on request: nothing changed.
        b'.' if attributes.iter().all(|b| b". ".contains(b)) => return None,
        b'.' => ChangeKind::Attributes,
        _ => return None,
    };
    let differs = Differs { kind: what[1], attributes: attributes.try_into().ok()? };
    Some(Change { path, kind, is_dir: what[1] == b'd', differs })
}

/// A printed name, and whether it ended with a slash.
fn path(name: &[u8]) -> Option<(RelPath, bool)> {
    let name = unescaped(name);
    let (name, slash) = match name.strip_suffix(b"/") {
        Some(name) => (name, true),
        None => (name.as_slice(), false),
    };
    let name = if name == b"." { b"" } else { name };
    Some((RelPath::new(name)?, slash))
}

/// rsync prints an unprintable byte as `\#ooo`. It also escapes the backslash of such a sequence in a name.
pub(super) fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        if let [b'\\', b'#', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..] = rest {
            out.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
            rest = tail;
        } else {
            out.push(byte);
            rest = tail;
        }
    }
    out
}

/// The start of the last statistics of `--stats`, in every release.
const CLOSING: &[u8] = b"total size is ";

/// The number of bytes at the end of rsync's output that are enough to hold its last lines.
pub const CLOSING_BYTES: u64 = 4_096;

/// True when rsync's output ends with its closing statistics; `tail` is the end of the output, or all of it. An rsync
/// without them has not finished its work, whatever its exit status is. No name begins a line.
pub fn is_closed(tail: &[u8]) -> bool {
    tail.split(|&b| b == b'\n').skip(1).any(|line| line.starts_with(CLOSING))
}

/// The values of `--stats`, rsync 3.0.9 to 3.5.0; 0 where a version does not print a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// All entries in the list that was sent, directories included.
    pub files: u64,
    /// The directories among the entries (not before 3.1).
    pub directories: Option<u64>,
    /// Created on the remote (not before 3.1).
    pub created: u64,
    /// The directories among the created (not before 3.1).
    pub created_directories: Option<u64>,
    /// Deleted on the remote. Receivers 3.2.7 report 0 for any number of deletions: count the lines instead.
    pub deleted: u64,
    /// Regular files whose content was sent.
    pub transferred: u64,
    /// The size of those files, in bytes.
    pub transferred_bytes: u64,
    /// The size of all files in the list, in bytes.
    pub total_bytes: u64,
}

impl Totals {
    /// Parses one line of text. Lines other than totals change nothing.
    pub fn read(&mut self, line: &[u8]) {
        let Some((label, value)) =
            std::str::from_utf8(line).ok().and_then(|line| line.split_once(": "))
        else {
            return;
        };
        let text = value;
        let Some(value) = number(text) else { return };
        match label {
            "Number of files" => (self.files, self.directories) = (value, directories(text, value)),
            "Number of created files" => {
                (self.created, self.created_directories) = (value, directories(text, value));
            }
            "Number of deleted files" => self.deleted = value,
            "Number of regular files transferred" | "Number of files transferred" => {
                self.transferred = value
            }
            "Total transferred file size" => self.transferred_bytes = value,
            "Total file size" => self.total_bytes = value,
            _ => {}
        }
    }
}

/// The directories in `6,001 (reg: 5,998, dir: 3)`, which leaves out a kind with no entries; `None` where it names no
/// kind at all.
fn directories(text: &str, all: u64) -> Option<u64> {
    let (_, kinds) = match text.split_once('(') {
        Some(kinds) => kinds,
        None => return (all == 0).then_some(0),
    };
    match kinds.split_once("dir: ") {
        Some((_, rest)) => number(rest.trim_end_matches(')').split(", ").next()?),
        None => Some(0),
    }
}

/// `1,234,567 bytes`, `1.234.567 (reg: 3)`, `1234`; no abbreviated numbers such as `1.2K`.
fn number(text: &str) -> Option<u64> {
    let end =
        text.find(|c: char| !c.is_ascii_digit() && c != ',' && c != '.').unwrap_or(text.len());
    if text[end..].starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    text[..end].replace([',', '.'], "").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(line: &str) -> Option<(String, ChangeKind, bool)> {
        match parse(line.as_bytes()) {
            Line::Change(Change { path, kind, is_dir, .. }) => {
                Some((path.to_string(), kind, is_dir))
            }
            _ => None,
        }
    }

    #[test]
    fn every_kind_of_line_is_parsed() {
        use ChangeKind::*;
        for (line, path, kind, is_dir) in [
            ("<f+++++++++ a/b", "a/b", Created, false),
            ("<f.st...... a b ", "a b ", Sent, false),
            (">f..t...... x", "x", Sent, false),
            ("<fc........ x", "x", Sent, false),
            ("cd+++++++++ d/", "d", Created, true),
            (".d..t...... d/e/", "d/e", Attributes, true),
            (".d..t...... ./", ".", Attributes, true),
            ("cL+++++++++ l", "l", Created, false),
            ("cLc.t...... l", "l", Sent, false),
            (".L...po.... l", "l", Attributes, false),
            ("hf+++++++++ h", "h", Created, false),
            ("cS+++++++++ fifo", "fifo", Created, false),
            ("*deleting   gone", "gone", Deleted, false),
            ("*deleting   gone/", "gone", Deleted, true),
            (".f...p..... *deleting   x", "*deleting   x", Attributes, false),
        ] {
            assert_eq!(one(line), Some((path.to_owned(), kind, is_dir)), "{line}");
        }
        for other in [
            "sending incremental file list",
            "sent 178 bytes  received 81 bytes  518.00 bytes/sec",
            ".f          same",
            ".f          ",
            "<f+++++++++",
            "<f+++++++++ /abs",
            "<f+++++++++ a/../b",
            "building file list ... done",
        ] {
            assert_eq!(one(other), None, "{other}");
        }
    }

    #[test]
    fn names_are_unescaped() {
        assert_eq!(
            unescaped(b"a\\#012b\\#377\\#134#012 \\n \\#9 \\"),
            b"a\nb\xff\\#012 \\n \\#9 \\"
        );
    }

    #[test]
    fn remarks_are_parsed() {
        let text = b"IO error encountered -- skipping file deletion\n\ncannot delete non-empty directory: d/sub\n\
            skipping non-regular file \"d/x\"\n<f+++++++++ f\nmotd\n";
        let lines: Vec<_> = Lines::new(&text[..]).map(Result::unwrap).collect();
        let path = |text: &str| RelPath::new(text).unwrap();
        let differs = Differs { kind: b'f', attributes: *b"+++++++++" };
        let file = Change { path: path("f"), kind: ChangeKind::Created, is_dir: false, differs };
        let want = [
            Line::DeletionsSkipped,
            Line::NotEmpty(path("d/sub")),
            Line::NonRegular(path("d/x")),
            Line::Change(file),
            Line::Text(b"motd".to_vec()),
        ];
        assert_eq!(lines, want);
    }

    #[test]
    fn an_end_without_statistics_is_incomplete() {
        let end = b"<f+++++++++ f\n\nNumber of files: 1\n\nsent 9 bytes  received 9 bytes  36.00 bytes/sec\ntotal size is 3  speedup is 0.17\n";
        assert!(is_closed(end) && is_closed(&end[20..]));
        for other in [
            &b""[..],
            b"\n",
            b"<f+++++++++ f\n",
            b"<f+++++++++ total size is 3  speedup is 0.17\n",
            b"cannot delete non-empty directory: total size is 3\n",
            // The tail of the output may begin in the middle of a name.
            b"total size is 3\n<f+++++++++ f\n",
        ] {
            assert!(!is_closed(other), "{}", String::from_utf8_lossy(other));
        }
    }

    fn totals(text: &[u8]) -> Totals {
        let mut totals = Totals::default();
        text.split(|&b| b == b'\n').for_each(|line| totals.read(line));
        totals
    }

    #[test]
    fn totals_of_every_version_are_parsed() {
        let new = "Number of files: 6,001 (reg: 5,998, dir: 3)\nNumber of created files: 3 (reg: 3)\n\
            Number of deleted files: 2 (reg: 2)\nNumber of regular files transferred: 4\n\
            Total file size: 1,234,567,890 bytes\nTotal transferred file size: 11 bytes\nLiteral data: 0 bytes\n";
        let want = Totals {
            files: 6001,
            directories: Some(3),
            created: 3,
            created_directories: Some(0),
            deleted: 2,
            transferred: 4,
            transferred_bytes: 11,
            total_bytes: 1234567890,
        };
        assert_eq!(totals(new.as_bytes()), want);
        assert_eq!(totals(new.replace(',', ".").as_bytes()).total_bytes, want.total_bytes);
        assert_eq!(totals(new.replace(",5", "5").replace(',', "").as_bytes()), want);
        let old = "Number of files: 6\nNumber of files transferred: 4\nTotal file size: 1234 bytes\n\
            Total transferred file size: 11 bytes\n";
        let want = Totals {
            files: 6,
            transferred: 4,
            transferred_bytes: 11,
            total_bytes: 1234,
            ..Totals::default()
        };
        assert_eq!(totals(old.as_bytes()), want);
        assert_eq!(totals(b"Total file size: 1.23G bytes\n").total_bytes, 0);
        let of = |text: &str| totals(format!("Number of files: {text}\n").as_bytes()).directories;
        assert_eq!(of("1 (dir: 1)"), Some(1));
        assert_eq!(of("5,003 (reg: 2,000, dir: 3,003, link: 1)"), Some(3_003));
        assert_eq!((of("7 (reg: 7)"), of("0"), of("7")), (Some(0), Some(0), None));
    }

    #[test]
    fn an_endless_line_takes_little_memory() {
        let mut text = vec![b'x'; 10 << 20];
        text.extend(b"\n<f+++++++++ f\n");
        let lines: Vec<_> = Lines::new(&text[..]).map(Result::unwrap).collect();
        let [Line::Text(text), Line::Change(change)] = lines.as_slice() else {
            panic!("{lines:?}")
        };
        assert_eq!((text.len() as u64, change.path.to_string().as_str()), (LINE_MOST, "f"));
        // The longest possible name, with each byte escaped, is kept whole.
        let long = format!("<f+++++++++ {}\n", "a/".repeat(2_047) + "b");
        let escaped = long.replace('a', "\\#141");
        assert!(matches!(Lines::new(escaped.as_bytes()).next(), Some(Ok(Line::Change(_)))));
    }

    #[test]
    fn messages_of_the_remote_are_counted_and_changes_are_not() {
        let changes =
            "<f+++++++++ a\n*deleting   b/\n.d..t...... ./\ncd+++++++++ d/\n.f          s\n";
        let words = "a message\nshort\n\nlonger than twelve bytes\n<fish and chips\n";
        for size in [1, 2, 5, 11, 12, 13, 1_000] {
            let count = |text: &str| {
                let mut words = Messages::default();
                text.as_bytes().chunks(size).for_each(|chunk| words.read(chunk));
                words.bytes
            };
            assert_eq!(count(changes), 0, "{size}");
            assert_eq!(count(words), words.len() as u64, "{size}");
            assert_eq!(count(&[changes, words, changes].concat()), words.len() as u64, "{size}");
            assert_eq!(count(&"x".repeat(1_000)), 1_000, "without an end");
        }
    }
}
