//! The command plugin: `prefix PATH suffix`, as separate arguments. Pure.
//!
//! sersync passed the three to a shell as one line, so that a name such as `$(reboot).php` was executed as root.

use crate::filter::whole_regex;
use crate::path::{OsBytes, printable};
use crate::plugin::queue::{Fault, Outcome};
use crate::stat::Exited;
use regex::bytes::RegexSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// A command line.
pub struct Line {
    prefix: Vec<String>,
    suffix: Vec<String>,
    include: Option<RegexSet>,
    /// Ignore the output and the exit status.
    pub ignore_error: bool,
}

impl Line {
    /// Splits prefix and suffix as a shell splits words. The configuration has already checked both, so an error is a
    /// bug in that check.
    pub fn new(
        prefix: &str,
        suffix: &str,
        include: &[OsBytes],
        ignore_error: bool,
    ) -> Result<Self, String> {
        let words =
            |text: &str| shlex::split(text).ok_or_else(|| format!("`{text}`: close the quote"));
        let patterns: Result<Vec<String>, String> =
            include.iter().map(|p| whole_regex(p.as_bytes())).collect();
        let include = match patterns? {
            patterns if patterns.is_empty() => None,
            patterns => Some(RegexSet::new(patterns).map_err(|e| e.to_string())?),
        };
        Ok(Self { prefix: words(prefix)?, suffix: words(suffix)?, include, ignore_error })
    }

    /// True if the command is called for this absolute path: a pattern matches the whole path, as in sersync.
    pub fn wants(&self, path: &[u8]) -> bool {
        self.include.as_ref().is_none_or(|set| set.is_match(path))
    }

    /// The arguments. The path is always exactly one of them.
    pub fn argv(&self, path: &[u8]) -> Vec<OsString> {
        let words = |list: &[String]| list.iter().map(OsString::from).collect::<Vec<_>>();
        let mut argv = words(&self.prefix);
        argv.push(OsString::from_vec(path.to_vec()));
        argv.extend(words(&self.suffix));
        argv
    }

    /// What the end of the command means. `late` is true if the command was killed because it took too long.
    pub fn outcome(&self, ended: Exited, output: &[u8], late: bool) -> Outcome {
        if late {
            let error = "took too long and was killed".into();
            return Outcome::Failed { error, fault: Fault::Path };
        }
        if self.ignore_error || ended == Exited::Code(0) {
            return Outcome::Done;
        }
        let last = output.trim_ascii_end().rsplit(|&b| b == b'\n').next().unwrap_or_default();
        let words = printable(&last[..last.len().min(300)]);
        let error = if words.is_empty() { ended.to_string() } else { format!("{ended}: {words}") };
        Outcome::Failed { error, fault: Fault::Path }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_one_argument_whatever_its_bytes() {
        let line = Line::new("/bin/sh '/opt/a b.sh'", "-v \"x y\"", &[], false).unwrap();
        for path in [&b"/d/$(reboot).php"[..], b"/d/a b", b"/d/-rf", b"/d/x;y\n`z`'\"\xff"] {
            let argv = line.argv(path);
            let words: Vec<&[u8]> = argv.iter().map(|w| w.as_encoded_bytes()).collect();
            assert_eq!(words, [&b"/bin/sh"[..], b"/opt/a b.sh", path, b"-v", b"x y"]);
        }
    }

    #[test]
    fn include_matches_whole_paths() {
        let line = Line::new("x", "", &[r"(.*)\.php".into(), "/d/sub/.*".into()], false).unwrap();
        for (path, wanted) in [
            (&b"/d/a.php"[..], true),
            (b"/d/a\nb\xff.php", true),
            (b"/d/a.php5", false),
            (b"/d/sub/x", true),
            (b"/e/d/sub/x", false),
        ] {
            assert_eq!(line.wants(path), wanted, "{}", printable(path));
        }
    }

    #[test]
    fn status_and_stderr_count_unless_ignored() {
        let line = |ignore| Line::new("x", "", &[], ignore).unwrap();
        let failed = |error: &str| Outcome::Failed { error: error.into(), fault: Fault::Path };
        assert_eq!(line(false).outcome(Exited::Code(0), b"x", false), Outcome::Done);
        assert_eq!(
            line(false).outcome(Exited::Code(3), b"one\ntwo\x1b\n", false),
            failed("exit 3: two\\x1b")
        );
        assert_eq!(line(false).outcome(Exited::Signal(9), b"", false), failed("SIGKILL"));
        assert_eq!(line(true).outcome(Exited::Code(3), b"", false), Outcome::Done);
        assert_ne!(line(true).outcome(Exited::Signal(9), b"", true), Outcome::Done);
    }
}
