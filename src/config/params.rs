//! The user's own rsync parameters (`commonParams`, `params`): split as a shell would, without a shell, and checked.

use super::diagnostic::Notes;
use crate::path::{OsBytes, as_written};

/// sersync's shipped parameters, which it also had when none were given.
pub(crate) const SERSYNC_PARAMS: &str = "-artuz";
/// The parameters of a YAML configuration that gives none.
pub(crate) const YAML_PARAMS: &str = "-a";

/// rsync's long options whose value may be the next word (rsync 3.0.9 to 3.5.0).
pub(crate) const LONG_WITH_VALUE: &[&str] = &[
    "address",
    "backup-dir",
    "block-size",
    "bwlimit",
    "cc",
    "checksum-choice",
    "checksum-seed",
    "chmod",
    "chown",
    "compare-dest",
    "compress-choice",
    "compress-level",
    "compress-threads",
    "confine-root",
    "contimeout",
    "copy-as",
    "copy-dest",
    "debug",
    "early-input",
    "exclude",
    "exclude-from",
    "files-from",
    "filter",
    "groupmap",
    "iconv",
    "include",
    "include-from",
    "info",
    "link-dest",
    "log-file",
    "log-file-format",
    "log-format",
    "max-alloc",
    "max-delete",
    "max-size",
    "min-size",
    "modify-window",
    "only-write-batch",
    "out-format",
    "outbuf",
    "partial-dir",
    "password-file",
    "port",
    "protocol",
    "read-batch",
    "remote-option",
    "rsh",
    "rsync-path",
    "skip-compress",
    "sockopts",
    "stderr",
    "stop-after",
    "stop-at",
    "suffix",
    "temp-dir",
    "time-limit",
    "timeout",
    "usermap",
    "write-batch",
    "zc",
    "zl",
    "zt",
];

/// Short options that take a value, in the rest of their word or in the next one.
pub(crate) const SHORT_WITH_VALUE: &[u8] = b"efBTM@";

/// Long options that would break replication, and why.
const REFUSED: &[(&str, &str)] = &[
    ("dry-run", "it would replicate nothing"),
    ("list-only", "it would replicate nothing"),
    ("daemon", "it starts a server instead of a transfer"),
    ("server", "it is rsync's own"),
    ("sender", "it is rsync's own"),
    ("files-from", "the list of files is syncsup's"),
    ("remove-source-files", "it deletes files on the master"),
    ("remove-sent-files", "it deletes files on the master"),
    ("read-batch", "it ignores the master"),
    ("only-write-batch", "it would replicate nothing"),
    ("help", "it would replicate nothing"),
    ("version", "it would replicate nothing"),
];

/// Splits the words of one string.
pub(crate) fn split(bytes: &[u8]) -> Result<Vec<OsBytes>, String> {
    match shlex::bytes::split(bytes) {
        Some(words) => Ok(words.into_iter().map(OsBytes::from).collect()),
        None => Err(format!("`{}` has a quote that is not closed; close it", as_written(bytes))),
    }
}

/// Says what is wrong with the words, or different from what they look like. Words that are the pusher's business
/// (`-r`, `-R`, `-u`, `-v`, `--delete`) stay; it drops them.
pub(crate) fn check(words: &[OsBytes], line: usize, notes: &mut Notes) {
    let mut seen = Seen::default();
    let mut value_next = false;
    for word in words {
        let text = as_written(word.as_bytes());
        if std::mem::take(&mut value_next) {
            continue;
        }
        if let Some(long) = text.strip_prefix("--") {
            let (name, value) = long.split_once('=').map_or((long, false), |(n, _)| (n, true));
            value_next = !value && LONG_WITH_VALUE.contains(&name);
            seen.long(name, &text, line, notes);
        } else if text.len() > 1 && text.starts_with('-') {
            value_next = seen.bundle(&text, line, notes);
        } else {
            notes.error(
                line,
                format!("rsync parameter `{text}` is not an option; options begin with `-`"),
            );
        }
    }
    seen.conclude(line, notes);
}

/// The words without what [`check`] says is dropped.
pub(crate) fn without_dropped(words: &[OsBytes]) -> Vec<OsBytes> {
    let mut kept = Vec::new();
    let mut value_next = false;
    for word in words {
        let bytes = word.as_bytes();
        if std::mem::take(&mut value_next) || !bytes.starts_with(b"-") {
            kept.push(word.clone());
        } else if let Some(long) = bytes.strip_prefix(b"--") {
            let name = long.split(|&b| b == b'=').next().unwrap_or_default();
            value_next = name == long && LONG_WITH_VALUE.iter().any(|l| l.as_bytes() == name);
            if name != b"update" && name != b"del" && !name.starts_with(b"delete") {
                kept.push(word.clone());
            }
        } else {
            let value = bytes.iter().position(|b| SHORT_WITH_VALUE.contains(b));
            value_next = value.is_some_and(|at| at + 1 == bytes.len());
            let (letters, value) = bytes.split_at(value.unwrap_or(bytes.len()));
            let mut letters: Vec<u8> = letters.iter().copied().filter(|b| *b != b'u').collect();
            letters.extend_from_slice(value);
            // `-u` alone leaves nothing.
            if letters.len() > 1 || bytes.len() == 1 {
                kept.push(letters.into());
            }
        }
    }
    // None at all would mean `-a`.
    if kept.is_empty() { words.to_vec() } else { kept }
}

#[derive(Default)]
struct Seen {
    update: bool,
    delete: bool,
    times: bool,
    torn: Option<String>,
}

impl Seen {
    fn long(&mut self, name: &str, word: &str, line: usize, notes: &mut Notes) {
        if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
            notes.error(line, format!("rsync parameter `{word}` is not allowed: {why}; remove it"));
        }
        match name {
            "" => notes.error(line, "rsync parameter `--` ends the options; remove it"),
            "update" => self.update = true,
            "del" => self.delete = true,
            "archive" | "times" | "checksum" | "size-only" => self.times = true,
            "inplace" | "partial" | "append" => self.torn = Some(word.to_owned()),
            name if name.starts_with("delete") => self.delete = true,
            _ => {}
        }
    }

    /// `-artuz`; true when its last letter takes the next word.
    fn bundle(&mut self, word: &str, line: usize, notes: &mut Notes) -> bool {
        let letters = &word[1..];
        for (at, letter) in letters.char_indices() {
            match letter {
                c if SHORT_WITH_VALUE.iter().any(|&short| char::from(short) == c) => {
                    return at + c.len_utf8() == letters.len();
                }
                'n' => {
                    notes.error(line, format!("rsync parameter `{word}` holds `-n`: it would replicate nothing; remove it"));
                }
                'a' | 't' | 'c' => self.times = true,
                'u' => self.update = true,
                'P' => self.torn = Some("-P".into()),
                c if !c.is_ascii() => {
                    notes.error(
                        line,
                        format!(
                            "rsync parameter `{word}` holds `{c}` (U+{:04X}), no rsync option",
                            c as u32
                        ),
                    );
                }
                _ => {}
            }
        }
        false
    }

    fn conclude(self, line: usize, notes: &mut Notes) {
        if self.update {
            notes.warn(
                line,
                "rsync parameter -u (--update) is dropped: a file restored from a backup is older and would never be \
                 replicated",
            );
        }
        if self.delete {
            notes.warn(
                line,
                "rsync parameter --delete is dropped: whether anything is deleted on a remote follows `delete` of the \
                 inotify section",
            );
        }
        if let Some(word) = self.torn {
            notes.warn(
                line,
                format!("rsync parameter `{word}`: a transfer that is cut off leaves a torn file under its real name"),
            );
        }
        if !self.times {
            notes.warn(
                line,
                "rsync parameters without -a or -t do not keep modification times: every comparison sends every file \
                 again",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn findings(params: &str) -> Vec<String> {
        let mut notes = Notes::new(Path::new("f"));
        check(&split(params.as_bytes()).unwrap(), 3, &mut notes);
        notes.list.iter().map(|d| d.to_string()).collect()
    }

    #[test]
    fn what_is_dropped_with_a_warning_can_be_left_out() {
        let kept = |words: &str| {
            let kept = without_dropped(&split(words.as_bytes()).unwrap());
            kept.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(kept("-artuz -u --update --delete --delete-after"), "-artz");
        assert_eq!(
            kept("-au -e 'ssh -u' --exclude -u -M--update"),
            "-a -e ssh -u --exclude -u -M--update"
        );
        assert_eq!(kept("-a --bwlimit=1"), "-a --bwlimit=1");
    }

    #[test]
    fn harmless_parameters_pass() {
        for good in [
            "-az",
            "-rltDvR --progress --stats",
            "-az --bwlimit 200 -e 'ssh -p 22' --exclude=x",
            "-aM -n",
        ] {
            assert_eq!(findings(good), Vec::<String>::new(), "{good}");
        }
    }

    #[test]
    fn dangerous_ones_do_not() {
        for bad in [
            "-azn",
            "-a --dry-run",
            "-a --daemon",
            "-a --files-from=x",
            "-a --server",
            "-a --remove-source-files",
        ] {
            let found = findings(bad);
            assert!(
                found.len() == 1 && found[0].starts_with("f:3: rsync parameter"),
                "{bad}: {found:?}"
            );
        }
        assert!(findings("-a x")[0].contains("not an option"));
        assert!(findings("–az")[0].contains("not an option"));
        assert!(findings("-artuz")[0].contains("warning: rsync parameter -u"));
        assert!(findings("-a --delete-after")[0].contains("follows `delete`"));
        assert!(findings("-rl")[0].contains("modification times"));
        assert!(split(b"-a --rsh='ssh").unwrap_err().contains("not closed"));
    }
}
