//! The options that a daemon's `refuse options` forbids, and their substitutes. Pure.
//!
//! A daemon names one option and exits (status 4): `rsync: The server is configured to refuse --checksum (-c)`. Our
//! options that have a substitute are left out from then on. Any other option is a configuration error, reported with
//! the daemon's own message.

use super::options;
use crate::language::phrase;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// The daemon's text before the option, at the start of its line.
const REFUSES: &[u8] = b"The server is configured to refuse --";

/// Options that a push and a comparison can do without (the manual's names), and what is done instead.
const DISPENSABLE: &[(&str, &str)] = &[
    (CHECKSUM, phrase!("files whose size and time are not conclusive are sent whole (-I)")),
    (
        "modify-window",
        phrase!("marked files are sent whole (-I), and times are compared to the second"),
    ),
    ("stats", phrase!("its totals are requested in another way")),
    (
        "force",
        phrase!(
            "a directory that is not empty is deleted only when its content is known and deleted, too"
        ),
    ),
    ("timeout", phrase!("only the watchdog here stops a comparison that hangs")),
    ("compress", phrase!("what is sent is not compressed")),
];

/// A comparison by content is useless without it.
pub const CHECKSUM: &str = "checksum";

/// The option (the manual's name, without dashes) that the daemon refuses, according to rsync's messages.
pub fn option(stderr: &[u8]) -> Option<&'static str> {
    stderr.split(|&b| b == b'\n').find_map(|line| {
        let line = line.strip_prefix(b"rsync: ").unwrap_or(line);
        let name = line.strip_prefix(REFUSES)?;
        let end = name.iter().position(|&b| b == b' ').unwrap_or(name.len());
        let (option, _) = options::long(&name[..end])?;
        option.long.first().copied()
    })
}

/// What is done without this option; `None` when it has no substitute.
pub fn instead(option: &str) -> Option<&'static str> {
    DISPENSABLE.iter().find(|(name, _)| *name == option).map(|(_, instead)| *instead)
}

/// Removes the refused options from a command line. Every argument in it, up to `--`, is an option with its value.
pub fn leave_out(argv: &mut Vec<OsString>, refused: &[&str]) {
    let end = argv.iter().position(|word| word == "--").unwrap_or(argv.len());
    let mut tail = argv.split_off(end);
    let dry = argv.iter().any(|word| word == "-n");
    let mut whole = false;
    for name in refused {
        let before = argv.len();
        argv.retain(|word| option_of(word.as_bytes()) != Some(*name));
        let gone = argv.len() < before;
        match *name {
            "stats" if gone => argv.push("--info=stats2".into()),
            CHECKSUM | "modify-window" if gone => whole = true,
            _ => {}
        }
    }
    if whole && !dry {
        argv.push("--ignore-times".into());
    }
    argv.append(&mut tail);
}

/// The option that an argument is a form of. The options that choose a compression belong to it.
fn option_of(word: &[u8]) -> Option<&'static str> {
    let option = match word.strip_prefix(b"--") {
        Some(long) => options::long(long.split(|&b| b == b'=').next()?)?.0,
        None => options::short(*word.strip_prefix(b"-")?.first()?)?,
    };
    let name = option.long.first().copied()?;
    Some(if name.starts_with("compress") || name == "skip-compress" { "compress" } else { name })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without(line: &str, refused: &[&str]) -> String {
        let mut argv: Vec<OsString> = line.split('|').map(OsString::from).collect();
        leave_out(&mut argv, refused);
        let words: Vec<_> = argv.iter().map(|w| w.to_string_lossy()).collect();
        words.join("|")
    }

    #[test]
    fn the_refused_option_is_read_from_the_daemons_line() {
        for (stderr, expected) in [
            (
                "rsync: The server is configured to refuse --checksum (-c)\nrsync error: x (code 4)\n",
                Some("checksum"),
            ),
            ("The server is configured to refuse --zl\n", Some("compress-level")),
            ("rsync: The server is configured to refuse --log-format\n", Some("out-format")),
            ("rsync: The server is configured to refuse --nonsense\n", None),
            (
                "rsync: open \"/x/The server is configured to refuse --checksum (-c)\" failed\n",
                None,
            ),
            ("@ERROR: The server is configured to refuse --checksum\n", None),
            ("", None),
        ] {
            assert_eq!(option(stderr.as_bytes()), expected, "{stderr}");
        }
    }

    #[test]
    fn a_refused_option_has_its_replacement() {
        let push =
            "rsync|-a|-z|--zc=lz4|--modify-window=-1|--checksum|--force|--stats|--|./|rsync://h/m/";
        for (refused, expected) in [
            (
                &["checksum"][..],
                "rsync|-a|-z|--zc=lz4|--modify-window=-1|--force|--stats|--ignore-times|--|./|rsync://h/m/",
            ),
            (
                &["compress", "force"],
                "rsync|-a|--modify-window=-1|--checksum|--stats|--|./|rsync://h/m/",
            ),
            (
                &["stats", "modify-window"],
                "rsync|-a|-z|--zc=lz4|--checksum|--force|--info=stats2|--ignore-times|--|./|rsync://h/m/",
            ),
            (&[], push),
        ] {
            assert_eq!(without(push, refused), expected, "{refused:?}");
        }
        // A comparison would list everything.
        assert_eq!(without("rsync|-n|--checksum|--|./", &["checksum"]), "rsync|-n|--|./");
        assert_eq!(
            without("rsync|--timeout=3|--|--timeout=3", &["timeout"]),
            "rsync|--|--timeout=3"
        );
        assert_eq!(without("rsync|-a|--|./", &["checksum", "stats"]), "rsync|-a|--|./");
    }

    #[test]
    fn only_options_with_a_replacement_are_dispensable() {
        for name in ["checksum", "stats", "force", "compress", "timeout", "modify-window"] {
            assert!(instead(name).is_some(), "{name}");
        }
        for name in
            ["delete", "out-format", "perms", "ignore-times", "backup", "dry-run", "recursive"]
        {
            assert!(instead(name).is_none(), "{name}");
        }
    }
}
