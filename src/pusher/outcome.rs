//! What an rsync's end means: one table from exit status and stderr to a verdict.

use super::itemize::{says_deletions_skipped, unescaped};
use crate::path::{RelPath, printable};
use crate::seen::Exited;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// What is wrong with a remote for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// No connection, or none free: it is down, or restarting.
    Unreachable,
    /// The connection broke or fell silent.
    Broken,
    /// The rsync here was ended by a signal, which says nothing of the remote: tried again soon.
    Killed,
    /// Its disk (or quota) is full.
    Full,
    /// Its storage fails in another way: read-only, missing directories, I/O errors.
    Storage,
}

/// What follows from an rsync's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Done; stderr may still hold words on single paths ([`complaints`]).
    Settled,
    /// Some paths failed: the same with `-n` shows which.
    Partial,
    /// Something vanished under rsync's eyes, the rest is done: normalize and push again.
    Gone,
    /// A directory went or became something else under rsync's eyes, and the receiver gave up: nothing is known of
    /// the rest. Normalize and push again.
    Upset,
    /// Nothing is settled; the remote backs off.
    Remote(Trouble),
    /// A parameter, password, module or key is wrong: hold the remote, try it slowly.
    Configuration,
    /// The root of the localpath is missing: hold the localpath.
    Source,
    /// The receiver cannot do `--delete-missing-args`: remember it and use form B.
    FormB,
    /// The remote's `refuse options` forbids every form of deletion: a configuration error of its own kind, since
    /// everything else could still be pushed.
    NoDelete,
}

/// A verdict with what else is to be known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// What follows.
    pub verdict: Verdict,
    /// rsync's own most telling words, one printable line; never empty unless settled.
    pub words: String,
    /// The receiver may still be at work (design rule 2): its paths are to be pushed again.
    pub end_unseen: bool,
    /// No deletion of this run is settled. rsync says so on stdout, see [`super::itemize::Line::DeletionsSkipped`];
    /// here is only what stderr holds of it.
    pub deletions_skipped: bool,
}

impl Judgement {
    /// True when the receiver gave up by itself: what it was writing may be left under its temporary name.
    pub fn receiver_failed(&self) -> bool {
        let Verdict::Remote(trouble) = self.verdict else { return false };
        !self.end_unseen && matches!(trouble, Trouble::Full | Trouble::Storage | Trouble::Broken)
    }

    /// True when the daemon serves as many as it may: others may be ours.
    pub fn crowded(&self) -> bool {
        matches!(self.verdict, Verdict::Remote(_)) && self.words.contains(CROWDED)
    }
}

/// A daemon's words when its `max connections` are in use.
const CROWDED: &str = "max connections";

/// Judges an rsync by its exit status and stderr (run with LC_ALL=C).
pub fn verdict(exit: Exited, stderr: &[u8]) -> Judgement {
    let says = |text: &str| contains(stderr, text);
    Judgement {
        verdict: table(exit, &says, lines(stderr).any(refused_by_ssh)),
        words: words(exit, stderr),
        end_unseen: matches!(exit, Exited::Signal(_) | Exited::Code(10 | 12 | 20 | 30 | 35 | 255)),
        deletions_skipped: lines(stderr).any(says_deletions_skipped) || exit == Exited::Code(25),
    }
}

/// The table of exit statuses (rsync(1), EXIT VALUES; what each was seen for is in the words beside it).
fn table(exit: Exited, says: &dyn Fn(&str) -> bool, of_ssh: bool) -> Verdict {
    let Exited::Code(code) = exit else { return Verdict::Remote(Trouble::Killed) };
    let refused = says("unknown option") || says("configured to refuse");
    if code != 0 && says("--delete-missing-args") && refused {
        return Verdict::FormB;
    }
    if code != 0 && says("configured to refuse --del") {
        return Verdict::NoDelete;
    }
    // 1 in 3.5.0, 10 in 3.1.3.
    if code != 0 && says("module is read only") {
        return Verdict::Configuration;
    }
    // A directory went, or became something else, between our look and rsync's: its child is no valid name then.
    if code != 0 && says("invalid path from sender") {
        return Verdict::Upset;
    }
    match code {
        0 => Verdict::Settled,
        // rsync ends with 12 as well when it is faster than its ssh.
        12 | 255 if of_ssh => Verdict::Configuration,
        2 | 4 if says("file has vanished") => Verdict::Upset,
        2 if says("invalid file mode 00") => Verdict::FormB,
        // Of this side, unless the words are of a destination. rsync says `[Receiver]` of itself, too, until it
        // knows its part: 'rsync: [Receiver] getcwd(): No such file or directory'.
        3 if says("\" (in ") || says("destination") || says("change_dir#") => {
            Verdict::Configuration
        }
        3 => Verdict::Source,
        5 if says(CROWDED) => Verdict::Remote(Trouble::Unreachable),
        // What forwards to the slave (a TLS or TCP proxy, a container's port) is up, and the slave is not.
        5 if says("did not see server greeting") => Verdict::Remote(Trouble::Unreachable),
        // Usage, protocol, refused options; auth failed, unknown module, access denied, chdir failed; no rsync there.
        1 | 2 | 4 | 5 | 6 | 126 | 127 => Verdict::Configuration,
        10 | 35 => Verdict::Remote(Trouble::Unreachable),
        11 if says("No space left on device") || says("Disk quota exceeded") => {
            Verdict::Remote(Trouble::Full)
        }
        11 => Verdict::Remote(Trouble::Storage),
        // 25: --max-delete stopped it, over ssh.
        23 | 25 => Verdict::Partial,
        24 => Verdict::Gone,
        255 => Verdict::Remote(Trouble::Unreachable),
        // 12 stream, 13 and 14 processes, 19 and 20 signals, 21 waitpid, 22 memory, 30 timeout.
        _ => Verdict::Remote(Trouble::Broken),
    }
}

/// What ssh says of a master that is gone or refuses a session; it connects by itself then.
const MASTER_WORDS: &[&str] =
    &["Control socket connect(", "mux_client_", "Shared connection to ", "disabling multiplexing"];

/// Shells, as they begin what they complain of.
const SHELLS: &[&str] = &["bash:", "sh:", "dash:", "ash:", "zsh:", "ksh:", "fish:", "csh:"];

/// True when a line says that somebody must mend something about the login, or that there is no rsync there.
fn refused_by_ssh(line: &[u8]) -> bool {
    let shell = || SHELLS.iter().any(|shell| line.starts_with(shell.as_bytes()));
    contains(line, "Permission denied (") && !line.starts_with(b"rsync: ") && line.ends_with(b").")
        || line == b"Host key verification failed."
        || line.to_ascii_lowercase().ends_with(b"command not found")
        // csh's.
        || line.ends_with(b": Command not found.")
        || shell() && (contains(line, "not found") || contains(line, "No such file"))
}

/// The line that says most: an `@ERROR` of the daemon, else the first that is neither a summary nor an echo of a
/// broken connection, else the summary.
fn words(exit: Exited, stderr: &[u8]) -> String {
    let summary =
        |line: &[u8]| line.starts_with(b"rsync error: ") || line.starts_with(b"rsync warning: ");
    let echo = |line: &[u8]| {
        contains(line, "connection unexpectedly closed")
            || contains(line, "read error: Connection reset by peer")
            || MASTER_WORDS.iter().any(|words| contains(line, words))
    };
    let find = |test: &dyn Fn(&[u8]) -> bool| lines(stderr).find(|line| test(line));
    let telling = |line: &&[u8]| !summary(line) && !echo(line);
    // Of ssh the last: a banner and warnings may stand before it.
    let ssh_failed = matches!(exit, Exited::Code(127 | 255));
    let line = find(&|line| line.starts_with(b"@ERROR"))
        .or_else(|| if exit == Exited::Code(0) { None } else { find(&refused_by_ssh) })
        .or_else(|| if ssh_failed { lines(stderr).rfind(telling) } else { None })
        .or_else(|| find(&|line| telling(&line)))
        .or_else(|| find(&summary))
        .or_else(|| find(&echo));
    match (line, exit) {
        (Some(line), _) => shown(line),
        (None, Exited::Code(0)) => String::new(),
        (None, Exited::Code(code)) => {
            format!("rsync ended with exit status {code} and said nothing")
        }
        (None, signal) => format!("rsync was ended by {signal}"),
    }
}

/// A line for people. What rsync escaped in it is what its names are: shown as every other name is.
fn shown(line: &[u8]) -> String {
    printable(&unescaped(line))
}

/// How long a remote is left alone after so many failures in a row: 1 s doubled to 60 s, of which `jitter` (0 to 1)
/// picks a moment in the later half, so that many pushers do not come back together.
pub fn backoff(failures: u32, jitter: f64) -> Duration {
    let ceiling = 2_u32.saturating_pow(failures.saturating_sub(1)).min(60);
    Duration::from_secs_f64((f64::from(ceiling) * (0.5 + 0.5 * jitter.clamp(0.0, 1.0))).max(1.0))
}

/// What rsync said of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// The path, when the name could be matched to one.
    pub path: Option<RelPath>,
    /// The name as rsync gave it, unescaped.
    pub name: Vec<u8>,
    /// The line, printable.
    pub words: String,
}

/// rsync's words on single paths. `root` is the localpath as rsync's getcwd gives it (no symlinks in it), `sub` the
/// path inside the module, if any: the receiver's names begin with it.
pub fn complaints(stderr: &[u8], root: &Path, sub: &[u8]) -> Vec<Complaint> {
    let relevant =
        |line: &&[u8]| !line.starts_with(b"rsync error: ") && !line.starts_with(b"rsync warning: ");
    lines(stderr)
        .filter(relevant)
        .filter_map(|line| {
            let name = named(line)?;
            let path = relative(line, &name, root, sub);
            Some(Complaint { path, name, words: shown(line) })
        })
        .collect()
}

/// The words of a daemon whose module has filter rules of its own.
const REFUSED: &[u8] = b"ERROR: daemon refused to receive ";

/// True when a dry run complains of nothing but directories in the way of files, where nothing may be deleted, and of
/// names that the slave's own `exclude` refuses: those are differences it saw, not ones that it could not see.
pub fn only_in_the_way(stderr: &[u8]) -> bool {
    let mut complaints =
        lines(stderr).filter(|line| !line.starts_with(b"rsync error: ")).peekable();
    complaints.peek().is_some()
        && complaints
            .all(|line| contains(line, "could not make way for new ") || line.starts_with(REFUSED))
}

/// The name in a line: in quotes (up to the last quote, as names may hold some), after `delete_file: rmdir(`, or
/// between `ERROR: ` and ` failed verification`.
fn named(line: &[u8]) -> Option<Vec<u8>> {
    if let Some(start) = find(line, b"delete_file: ") {
        let rest = &line[start..];
        let open = rest.iter().position(|&b| b == b'(')?;
        let close = find(rest, b") failed")?;
        return Some(unescaped(rest.get(open + 1..close)?));
    }
    if let Some(rest) = line.strip_prefix(b"ERROR: ")
        && let Some(end) = find(rest, b" failed verification")
    {
        return Some(unescaped(&rest[..end]));
    }
    let open = line.iter().position(|&b| b == b'"')?;
    let rest = &line[open + 1..];
    // 'rename "/d/.f.XXXXXX" (in m) -> "f"', 'symlink "/l" (in m) -> "target" failed': the first name is meant.
    let close = match find(rest, b" -> \"") {
        Some(arrow) => rest[..arrow].iter().rposition(|&b| b == b'"')?,
        None => rest.iter().rposition(|&b| b == b'"')?,
    };
    Some(unescaped(&rest[..close]))
}

fn relative(line: &[u8], name: &[u8], root: &Path, sub: &[u8]) -> Option<RelPath> {
    let below = |base: &[u8]| {
        let base = base.strip_suffix(b"/").unwrap_or(base);
        let rest = name.strip_prefix(base)?;
        if rest.is_empty() { Some(RelPath::root()) } else { RelPath::new(rest.strip_prefix(b"/")?) }
    };
    let there =
        contains(line, "[receiver]") || contains(line, "[generator]") || contains(line, "\" (in ");
    if !there && let Some(path) = below(root.as_os_str().as_bytes()) {
        return Some(path);
    }
    let sub = [b"/", sub.strip_prefix(b"/").unwrap_or(sub)].concat();
    let path = match name.starts_with(b"/") {
        true if there => below(&sub)?,
        true => return None,
        false => RelPath::new(name)?,
    };
    // mkstemp, write and rename complain of the temporary.
    let temporary = find(line, b"mkstemp").or(find(line, b"rename \"")).is_some();
    Some(temporary.then(|| temporary_of(&path)).flatten().unwrap_or(path))
}

/// The name that rsync will give to a temporary of its: it writes into `.NAME.XXXXXX` beside NAME.
pub fn temporary_of(path: &RelPath) -> Option<RelPath> {
    let name = path.name().as_bytes().strip_prefix(b".")?;
    let (name, tail) = name.split_at(name.len().checked_sub(7)?);
    let random = tail.strip_prefix(b".")?.iter().all(u8::is_ascii_alphanumeric);
    let named = random && !name.is_empty();
    named.then(|| path.parent().map(|dir| dir.join(OsStr::from_bytes(name)))).flatten()
}

fn lines(text: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    text.split(|&b| b == b'\n' || b == b'\r')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty())
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

fn contains(text: &[u8], what: &str) -> bool {
    find(text, what.as_bytes()).is_some()
}

#[cfg(test)]
#[path = "outcome_tests.rs"]
mod tests;
