//! sersync's `rsync_fail_log.sh`: what a remote is owed with an error, as a script that any POSIX shell runs. Pure.
//!
//! sersync's was executed and then truncated whatever came of it, with mode 777. This one shows what is owed now: for
//! each path a comment and one line that repairs it by hand.

use super::rsync::{self, Form, Options};
use crate::config::model::{LocalPath, Remote};
use crate::journal::Owed;
use crate::path::{RelPath, printable};
use std::os::unix::ffi::OsStrExt;

/// Paths shown for one remote; the journal has them all.
pub const MOST: u32 = 1_000;

/// The part of one remote: empty when nothing is owed.
pub fn part(
    localpath: &LocalPath,
    remote: &Remote,
    form_b: bool,
    owed: &[Owed],
    time: impl Fn(i64) -> String,
) -> Vec<u8> {
    let mut out = Vec::new();
    let delete = localpath.inotify.delete;
    let form = if form_b { Form::Send } else { Form::Batch { delete } };
    let options = Options { checksum: true, dry: false, delete, force: delete, stats: false };
    let words: Vec<Vec<u8>> =
        rsync::argv(remote, &form, options).iter().map(|w| quoted(w.as_bytes())).collect();
    let command = words.join(&b' ');
    for row in owed {
        let error = printable(row.error.as_deref().unwrap_or_default().as_bytes());
        let head = format!(
            "# {} {}: {}: {error} (since {}, {} tries)\n",
            localpath.watch,
            remote.name(),
            row.path,
            time(row.since_ms),
            row.attempts
        );
        out.extend(head.bytes());
        out.extend(
            [b"cd ", quoted(localpath.watch.as_bytes()).as_slice(), b" && printf '"].concat(),
        );
        out.extend(octal(&row.path));
        out.extend([b"\\000' | ", command.as_slice(), b"\n"].concat());
    }
    out
}

/// A path as a format of printf: one line whatever its bytes.
fn octal(path: &RelPath) -> Vec<u8> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+,=@:".contains(&b);
    let mut out = b"/".to_vec();
    for &b in path.as_bytes() {
        if plain(b) { out.push(b) } else { out.extend(format!("\\{b:03o}").bytes()) }
    }
    out
}

/// A word as the shell takes it back, on one line unless it holds a newline.
fn quoted(word: &[u8]) -> Vec<u8> {
    // Only a NUL cannot be quoted, and no argument holds one.
    shlex::bytes::try_quote(word).map(|w| w.into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_one_line_of_plain_characters() {
        let path = RelPath::new(b"a b/$(x)\n'%\xff".to_vec()).unwrap();
        assert_eq!(octal(&path), b"/a\\040b/\\044\\050x\\051\\012\\047\\045\\377");
        assert_eq!(quoted(b"it's"), b"\"it's\"");
    }
}
