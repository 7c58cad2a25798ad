//! Parses a line in which rsync complains: which part is rsync's text, and which part is a name. Pure.
//!
//! Users choose names, and a name may look like any message of rsync, ssh or a shell. The code therefore matches text
//! only at the start of a line, or in the line after its names are removed. A name never begins a line, because rsync
//! writes a newline in a name as `\#012`. Most names are in quotes, which rsync does not escape inside a name. Some
//! names come at the end, without quotes.

use super::itemize::unescaped;
use crate::path::{RelPath, printable};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The lines of a text that are not empty, trimmed.
pub(super) fn lines(text: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    with_names(text).map(<[u8]>::trim_ascii_end)
}

/// The lines of a text that are not empty, without blanks at the start. A name may end with a blank.
fn with_names(text: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    text.split(|&b| b == b'\n' || b == b'\r')
        .map(<[u8]>::trim_ascii_start)
        .filter(|line| !line.is_empty())
}

/// A line for people. The escapes of rsync are decoded, and the names are shown as all other names are.
pub(super) fn shown(line: &[u8]) -> String {
    printable(&unescaped(line))
}

/// True for rsync's last line, which gives its exit status.
pub(super) fn is_summary(line: &[u8]) -> bool {
    line.starts_with(b"rsync error: ") || line.starts_with(b"rsync warning: ")
}

/// The process that wrote a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Here,
    There,
    /// Before 3.1 no line names the process.
    Unsaid,
}

/// A line without `rsync: ` and `[generator] `, and the process that wrote it.
fn said(line: &[u8]) -> (Side, &[u8]) {
    let line = line.strip_prefix(b"rsync: ").unwrap_or(line);
    for (role, side) in [
        (&b"[sender] "[..], Side::Here),
        (b"[receiver] ", Side::There),
        (b"[generator] ", Side::There),
        (b"[Receiver] ", Side::There),
    ] {
        if let Some(rest) = line.strip_prefix(role) {
            return (side, rest);
        }
    }
    (Side::Unsaid, line)
}

/// The text of a line, without the name of the process.
pub(super) fn message(line: &[u8]) -> &[u8] {
    said(line).1
}

/// Text that comes before a name that is not in quotes, and text that may follow it. These also parse the lines of a
/// release that puts one of these names in quotes.
const BARE: &[(&[u8], &[u8])] = &[
    (b"cannot convert filename: ", b" ("),
    (b"cannot convert symlink data for: ", b" ("),
    (b"could not make way for ", b""),
    (b"cannot delete non-empty directory: ", b""),
    (b"cannot delete mount point: ", b""),
    (b"skipping directory ", b""),
    (b"skipping overly long name: ", b""),
    (b"skipping non-regular file ", b""),
    (b"skipping file with bogus (zero) st_mode: ", b""),
    (b"skipping symlink with 0-length value: ", b""),
    (b"skipping mount-point dir ", b""),
    (b"skipped diminished file: ", b""),
    (b"symlink has no referent: ", b""),
    (b"file has vanished: ", b""),
    (b"directory has vanished: ", b""),
    (b"path too long: ", b""),
    (b"temporary filename too long: ", b""),
    (b"filename overflows max-path len by ", b""),
    (b"recv_files: ", b" is a directory"),
    (b"mount point, ", b", pins parent directory"),
    (b"ERROR: rejecting excluded file-list name: ", b""),
    (b"ERROR: rejecting unrequested file-list name: ", b""),
    (b"ERROR: rejecting non-directory transfer-root entry: ", b""),
    (b"ERROR: rejecting file transfer request for daemon excluded file: ", b""),
    (b"WARNING: parent dir is absent in the file list: ", b""),
    (b"ABORTING due to invalid path from sender: ", b""),
    (b"ABORTING due to unsafe pathname from sender: ", b""),
    (b"invalid file mode ", b" ["),
];

/// The message of a daemon whose module has filter rules of its own.
pub(super) const REFUSED: &[u8] = b"ERROR: daemon refused to receive ";

/// Text that comes before two names.
const OF_TWO: &[&[u8]] = &[
    b"rename ",
    b"rename failed for ",
    b"symlink ",
    b"link ",
    b"hard_link_one: ",
    b"copy_file ",
    b"keep_backup failed: ",
    b"copying unsafe symlink ",
    b"ignoring unsafe symlink ",
    b"not backing up ",
];

/// Where a name in `message` begins and ends. Several ends where the text is ambiguous, the longest first.
fn spans(message: &[u8]) -> Vec<(usize, usize)> {
    if message.starts_with(b"delete_file: ") {
        let open = message.iter().position(|&b| b == b'(');
        let close = rfind(message, b") failed");
        return open.zip(close).map(|(open, close)| (open + 1, close)).into_iter().collect();
    }
    let Some((before, behind)) = BARE.iter().find(|(before, _)| message.starts_with(before)) else {
        if !message.starts_with(REFUSED)
            && let Some(span) = verified(message)
        {
            return vec![span];
        }
        let two = OF_TWO.iter().any(|before| message.starts_with(before));
        return quoted(message, two);
    };
    let kind = match *before {
        // 'new regular file: NAME', '00 for NAME'.
        b"could not make way for " | b"filename overflows max-path len by " => {
            find(&message[before.len()..], b": ").map_or(0, |at| at + 2)
        }
        b"invalid file mode " => find(&message[before.len()..], b" for ").map_or(0, |at| at + 5),
        _ => 0,
    };
    let start = before.len() + kind;
    let end = if behind.is_empty() { None } else { rfind(message, behind) };
    let bare = (start, end.filter(|end| *end >= start).unwrap_or(message.len()));
    // The name is in quotes, or begins with a quote.
    let quoted =
        if message.get(start) == Some(&b'"') { quoted(message, false) } else { Vec::new() };
    quoted.into_iter().chain([bare]).collect()
}

/// The same for messages about wrong content of a name.
fn verified(message: &[u8]) -> Option<(usize, usize)> {
    let before = [&b"ERROR: "[..], b"WARNING: "].into_iter().find(|b| message.starts_with(b))?;
    let end = rfind(message, b" failed verification")?;
    (end >= before.len()).then_some((before.len(), end))
}

/// The same for a name in quotes, the first of `two`.
fn quoted(message: &[u8], two: bool) -> Vec<(usize, usize)> {
    let Some(open) = message.iter().position(|&b| b == b'"') else { return Vec::new() };
    let quotes = (open + 1..message.len()).filter(|&at| message[at] == b'"').rev();
    if !two {
        // A name may contain quotes; the text after it contains none.
        return quotes.take(1).map(|at| (open + 1, at)).collect();
    }
    let ends = |at: &usize| {
        let rest = &message[at + 1..];
        [&b" -> "[..], b" => ", b" (in ", b" (from "].iter().any(|tail| rest.starts_with(tail))
    };
    let all: Vec<(usize, usize)> = quotes.map(|at| (open + 1, at)).collect();
    let some = all.iter().filter(|(_, at)| ends(at)).copied().collect::<Vec<_>>();
    if some.is_empty() { all.into_iter().take(1).collect() } else { some }
}

/// The text of a line without the name of the process and without file names.
pub(super) fn without_names(line: &[u8]) -> Vec<u8> {
    let message = message(line);
    let first = spans(message).first().copied();
    // A second name is also in quotes.
    let last = |end: usize| match message[end..].iter().rposition(|&b| b == b'"') {
        Some(at) => end + at,
        None => end,
    };
    match first {
        Some((start, end)) => [&message[..start], &message[last(end)..]].concat(),
        None => message.to_vec(),
    }
}

/// A message of rsync, perhaps about one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// The paths that may be meant, the most likely first; none when the message names no path.
    pub paths: Vec<RelPath>,
    /// The line, printable.
    pub message: String,
}

impl Complaint {
    /// The path that is meant: the first candidate that is `known`, else the most likely one.
    pub fn of(&self, known: impl Fn(&RelPath) -> bool) -> Option<&RelPath> {
        self.paths.iter().find(|path| known(path)).or(self.paths.first())
    }
}

/// The complaints of rsync. `root` is the localpath as rsync's getcwd returns it (no symlinks in it). `sub` is the path
/// inside the module, if any: the receiver's names begin with it. Lines of other programs (a banner that ssh shows) are
/// left out when they name no path.
pub fn complaints(stderr: &[u8], root: &Path, sub: &[u8]) -> Vec<Complaint> {
    let one = |line| {
        let paths = paths(line, root, sub);
        (!paths.is_empty() || of_rsync(line)).then(|| Complaint { paths, message: shown(line) })
    };
    with_names(stderr).filter(|line| !is_summary(line)).filter_map(one).collect()
}

/// The names that the slave's own `exclude` refuses.
pub fn refused(stderr: &[u8], root: &Path, sub: &[u8]) -> Vec<RelPath> {
    let refused = with_names(stderr).filter(|line| line.starts_with(REFUSED));
    refused.filter_map(|line| paths(line, root, sub).into_iter().next()).collect()
}

/// The names that rsync could not convert.
pub fn unconverted(stderr: &[u8], root: &Path) -> Vec<RelPath> {
    let of_names =
        |line: &&[u8]| message(line).starts_with(b"cannot convert filename: ") && !is_summary(line);
    let named = |line| paths(line, root, b"").into_iter().next();
    with_names(stderr).filter(of_names).filter_map(named).collect()
}

/// True for a line in rsync's own format.
fn of_rsync(line: &[u8]) -> bool {
    let starts: &[&[u8]] =
        &[b"rsync: ", b"ERROR: ", b"WARNING: ", b"@ERROR", b"IO error ", b"Deletions stopped "];
    starts.iter().any(|start| line.starts_with(start))
        || said(line).0 != Side::Unsaid
        || !spans(line).is_empty()
}

fn paths(line: &[u8], root: &Path, sub: &[u8]) -> Vec<RelPath> {
    let (side, message) = said(line);
    // mkstemp, write and rename complain about the temporary file.
    let temporary = message.starts_with(b"mkstemp ") || message.starts_with(b"rename ");
    let meant = |path: RelPath| temporary.then(|| temporary_of(&path)).flatten().unwrap_or(path);
    let mut out: Vec<RelPath> = Vec::new();
    for (start, end) in spans(message) {
        let there = side == Side::There || message[end..].starts_with(b"\" (in ");
        let name = unescaped(&message[start..end]);
        let name = name
            .strip_suffix(b"/.")
            .map_or(name.as_slice(), |dir| if dir.is_empty() { b"/" } else { dir });
        if !name.starts_with(b"/") {
            out.extend(RelPath::new(if name == b"." { b"" } else { name }).map(meant));
            continue;
        }
        if !there {
            out.extend(below(name, root.as_os_str().as_encoded_bytes()).map(meant));
        }
        if side != Side::Here {
            let sub = [b"/", sub.strip_prefix(b"/").unwrap_or(sub)].concat();
            out.extend(below(name, &sub).map(meant));
        }
        if side != Side::Here && out.is_empty() {
            // The other end's directory may be reached through links, or be below a home directory.
            let slashes = name.iter().enumerate().filter(|&(_, &b)| b == b'/');
            let tails = slashes.filter_map(|(at, _)| RelPath::new(&name[at + 1..]));
            out.extend(tails.filter(|path| !path.is_root()).map(meant));
        }
    }
    out
}

fn below(name: &[u8], base: &[u8]) -> Option<RelPath> {
    let base = base.strip_suffix(b"/").unwrap_or(base);
    let rest = name.strip_prefix(base)?;
    if rest.is_empty() || rest == b"/" {
        Some(RelPath::root())
    } else {
        RelPath::new(rest.strip_prefix(b"/")?)
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

fn rfind(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).rposition(|window| window == what)
}

/// The name that rsync gives to a temporary file: it writes into `.NAME.XXXXXX` beside NAME.
pub fn temporary_of(path: &RelPath) -> Option<RelPath> {
    let name = path.name().as_bytes().strip_prefix(b".")?;
    let (name, tail) = name.split_at(name.len().checked_sub(7)?);
    let random = tail.strip_prefix(b".")?.iter().all(u8::is_ascii_alphanumeric);
    let named = random && !name.is_empty();
    named.then(|| path.parent().map(|dir| dir.join(OsStr::from_bytes(name)))).flatten()
}

#[cfg(test)]
#[path = "complaint_tests.rs"]
mod tests;
