//! The user's own rsync parameters (`commonParams`), made fit for a push.
//!
//! They stand in the place of `-a`, before ours, so ours win where both say something. Left out is what would change
//! the meaning of a push or the output that is read back:
//!
//! - `-u`, `--update`: a file restored from a backup is older than the remote's and would never be replicated;
//! - `-r`, `-R`, `-d`, `--implied-dirs`: every form says itself how deep it goes;
//! - `--delete…`, `--ignore-missing-args`, `--force`: only a form deletes;
//! - `-v`, `-q`, `-i`, `-h`, `-8`, `--progress`, `--stats`, `--info`, `--debug`, `--out-format`, `--outbuf`,
//!   `--stderr`: the output is read by [`super::itemize`] and [`super::outcome`]; of `-P` only `--partial` stays;
//! - `-0`, `--files-from`, `--timeout`, `--contimeout`: ours;
//! - `--remove-source-files`: nothing here ever deletes a local file.

use crate::config::params::{LONG_WITH_VALUE, SHORT_WITH_VALUE};
use crate::path::OsBytes;

/// Short options that are left out.
const SHORT_DROPPED: &[u8] = b"urRdvqih80";
/// Short options that are filter rules; `-f` has a value.
const SHORT_FILTER: &[u8] = b"fFC";
/// Long options that are filter rules, with a value.
const LONG_FILTER: &[&str] = &["filter", "exclude", "exclude-from", "include", "include-from"];
/// Long options that are filter rules, without one.
const LONG_FILTER_ALONE: &[&str] = &["cvs-exclude"];

/// Long options that are left out; a leading `no-` is left out with them.
const LONG_DROPPED: &[&str] = &[
    "update",
    "u",
    "recursive",
    "r",
    "relative",
    "R",
    "dirs",
    "d",
    "old-dirs",
    "old-d",
    "implied-dirs",
    "i-d",
    "del",
    "delete",
    "delete-before",
    "delete-during",
    "delete-delay",
    "delete-after",
    "delete-excluded",
    "delete-missing-args",
    "ignore-missing-args",
    "force",
    "ignore-errors",
    "remove-source-files",
    "remove-sent-files",
    "verbose",
    "v",
    "quiet",
    "q",
    "progress",
    "stats",
    "itemize-changes",
    "i",
    "human-readable",
    "h",
    "info",
    "debug",
    "stderr",
    "msgs2stderr",
    "out-format",
    "log-format",
    "outbuf",
    "8-bit-output",
    "8",
    "from0",
    "files-from",
    "timeout",
    "contimeout",
    "motd",
];

/// One option of the user's, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Item {
    name: Name,
    value: Option<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    Short(u8),
    Long(String),
    /// Not an option at all; passed as it is.
    Word(Vec<u8>),
}

/// What filter rules the user's parameters hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnFilters {
    /// None.
    None,
    /// Plain `--exclude=PATTERN` only: they go before our rules and protect what they name.
    Excludes,
    /// Includes, rule files or merge rules: nothing short of a run of rsync knows what they say.
    Rules,
}

/// The user's parameters as options.
fn parse(params: &[OsBytes]) -> Vec<Item> {
    let mut items = Vec::new();
    let mut words = params.iter().map(OsBytes::as_bytes).peekable();
    while let Some(word) = words.next() {
        if let Some(long) = word.strip_prefix(b"--") {
            let at = long.iter().position(|&b| b == b'=');
            let (name, mut value) = match at {
                Some(at) => (&long[..at], Some(long[at + 1..].to_vec())),
                None => (long, None),
            };
            let name = String::from_utf8_lossy(name).into_owned();
            if value.is_none() && LONG_WITH_VALUE.contains(&&*name) {
                value = words.next().map(<[u8]>::to_vec);
            }
            if !name.is_empty() {
                items.push(Item { name: Name::Long(name), value });
            }
        } else if word.len() > 1 && word[0] == b'-' {
            let mut rest = &word[1..];
            while let Some((&letter, tail)) = rest.split_first() {
                rest = tail;
                let mut value = None;
                if SHORT_WITH_VALUE.contains(&letter) {
                    value = if tail.is_empty() {
                        words.next().map(<[u8]>::to_vec)
                    } else {
                        Some(tail.to_vec())
                    };
                    // rsync's option parser takes both `-fRULE` and `-f=RULE`.
                    value = value.map(|v| v.strip_prefix(b"=").map(<[u8]>::to_vec).unwrap_or(v));
                    rest = &[];
                }
                items.push(Item { name: Name::Short(letter), value });
            }
        } else {
            items.push(Item { name: Name::Word(word.to_vec()), value: None });
        }
    }
    items
}

fn is_filter(item: &Item) -> bool {
    match &item.name {
        Name::Short(letter) => SHORT_FILTER.contains(letter),
        Name::Long(name) => LONG_FILTER.contains(&&**name) || LONG_FILTER_ALONE.contains(&&**name),
        Name::Word(_) => false,
    }
}

fn is_dropped(item: &Item) -> bool {
    match &item.name {
        Name::Short(letter) => SHORT_DROPPED.contains(letter),
        Name::Long(name) => LONG_DROPPED.contains(&name.strip_prefix("no-").unwrap_or(name)),
        Name::Word(_) => false,
    }
}

/// The user's parameters without what a push cannot have (see the module), letters one by one. With `filters` off
/// his filter rules go too.
pub fn clean(params: &[OsBytes], filters: bool) -> Vec<OsBytes> {
    let mut out = Vec::new();
    for item in parse(params) {
        if is_dropped(&item) || (!filters && is_filter(&item)) {
            continue;
        }
        match item.name {
            Name::Short(b'P') => out.push(OsBytes::from("--partial")),
            Name::Short(letter) => {
                out.push(OsBytes::from(vec![b'-', letter]));
                out.extend(item.value.map(OsBytes::from));
            }
            Name::Long(name) => {
                let mut word = format!("--{name}").into_bytes();
                if let Some(value) = item.value {
                    word.push(b'=');
                    word.extend(value);
                }
                out.push(OsBytes::from(word));
            }
            Name::Word(word) => out.push(OsBytes::from(word)),
        }
    }
    out
}

/// Short options that say how the other end is reached, or what more of a file is kept.
const SHORT_TRANSPORT: &[u8] = b"zeMAXHS46s";
/// Long ones.
const LONG_TRANSPORT: &[&str] = &[
    "compress",
    "compress-choice",
    "zc",
    "compress-level",
    "zl",
    "rsh",
    "remote-option",
    "rsync-path",
    "numeric-ids",
    "acls",
    "xattrs",
    "hard-links",
    "sparse",
    "bwlimit",
    "sockopts",
    "ipv4",
    "ipv6",
    "address",
    "protocol",
    "blocking-io",
    "secluded-args",
    "protect-args",
];

/// Of the user's parameters those that a transfer of another kind needs as well, or the other way round: how the other
/// end is reached, and what more of a file is kept.
pub(super) fn of_transport(params: &[OsBytes]) -> Vec<OsBytes> {
    let mut out = Vec::new();
    for item in parse(params) {
        match item.name {
            Name::Short(letter) if SHORT_TRANSPORT.contains(&letter) => {
                out.push(OsBytes::from(vec![b'-', letter]));
                out.extend(item.value.map(OsBytes::from));
            }
            Name::Long(name) if LONG_TRANSPORT.contains(&&*name) => {
                let value = item.value.map(|value| [b"=", value.as_slice()].concat());
                let word = [b"--", name.as_bytes(), &value.unwrap_or_default()].concat();
                out.push(OsBytes::from(word));
            }
            Name::Short(_) | Name::Long(_) | Name::Word(_) => {}
        }
    }
    out
}

/// What filter rules the parameters hold: a form B must be used with any, because `--delete-missing-args` deletes
/// what they exclude; see [`super::rsync::Form::DeleteB`] for the difference between the two kinds.
pub fn own_filters(params: &[OsBytes]) -> OwnFilters {
    let mut found = OwnFilters::None;
    for item in parse(params).iter().filter(|item| is_filter(item)) {
        let plain = match (&item.name, &item.value) {
            // A pattern may itself begin with a rule's prefix, and `!` clears the list.
            (Name::Long(name), Some(value)) => {
                name == "exclude" && !value.starts_with(b"+ ") && value.as_slice() != b"!"
            }
            _ => false,
        };
        if !plain {
            return OwnFilters::Rules;
        }
        found = OwnFilters::Excludes;
    }
    found
}

/// The remote shell the parameters ask for (`-e`, `--rsh`), the last one.
pub fn remote_shell(params: &[OsBytes]) -> Option<Vec<u8>> {
    let is_rsh = |item: &Item| {
        matches!(&item.name, Name::Short(b'e')) || item.name == Name::Long("rsh".into())
    };
    parse(params).into_iter().rfind(is_rsh).and_then(|item| item.value)
}

/// True when names of one file are to be names of one file there, too: `-H`.
pub fn hard_links(params: &[OsBytes]) -> bool {
    let links = |item: &Item| {
        matches!(&item.name, Name::Short(b'H')) || item.name == Name::Long("hard-links".into())
    };
    parse(params).iter().any(links)
}

/// True when the parameters give the long option `name` (without dashes).
pub fn has(params: &[OsBytes], name: &str) -> bool {
    parse(params).iter().any(|item| matches!(&item.name, Name::Long(n) if n == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsBytes> {
        text.split('|').filter(|w| !w.is_empty()).map(OsBytes::from).collect()
    }
    fn cleaned(text: &str) -> String {
        let out = clean(&words(text), true);
        out.iter().map(|w| w.to_string()).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn names_of_one_file() {
        for (text, links) in
            [("-aH", true), ("-a|--hard-links", true), ("-az|--HH", false), ("", false)]
        {
            assert_eq!(hard_links(&words(text)), links, "{text}");
        }
    }

    #[test]
    fn clusters_are_taken_apart() {
        assert_eq!(cleaned("-artuz"), "-a|-t|-z");
        assert_eq!(cleaned("-avz"), "-a|-z");
        assert_eq!(cleaned("-aHAXP"), "-a|-H|-A|-X|--partial");
        assert_eq!(cleaned("-avzRu|--delete|--progress"), "-a|-z");
    }

    #[test]
    fn values_are_not_options() {
        assert_eq!(cleaned("-ae|ssh -v"), "-a|-e|ssh -v");
        assert_eq!(cleaned("-aessh|-f|- *.u"), "-a|-e|ssh|-f|- *.u");
        assert_eq!(cleaned("-B1024|-T|/tmp/u"), "-B|1024|-T|/tmp/u");
        assert_eq!(cleaned("-M--fake-super"), "-M|--fake-super");
        assert_eq!(cleaned("--exclude|-r|--bwlimit|100"), "--exclude=-r|--bwlimit=100");
        assert_eq!(cleaned("--info|progress2|--out-format=%n|--files-from|x|-a"), "-a");
    }

    #[test]
    fn what_a_push_cannot_have_goes() {
        for dropped in [
            "-u",
            "--update",
            "-r",
            "-R",
            "--recursive",
            "--relative",
            "--no-relative",
            "--no-R",
            "--del",
            "--delete-after",
            "--delete-excluded",
            "--delete-missing-args",
            "--force",
            "-v",
            "-vvv",
            "--verbose",
            "--progress",
            "--stats",
            "-i",
            "-q",
            "-h",
            "--no-implied-dirs",
            "--remove-source-files",
            "-0",
            "--timeout=3",
            "--contimeout|5",
            "--info=progress2",
            "-8",
            "--no-motd",
        ] {
            assert_eq!(cleaned(dropped), "", "{dropped}");
        }
        for kept in [
            "-c",
            "-z",
            "-I",
            "--numeric-ids",
            "--max-delete=5",
            "--partial-dir=.p",
            "--no-owner",
            "-n",
        ] {
            assert_eq!(cleaned(kept), kept);
        }
    }

    #[test]
    fn filters_are_told_apart() {
        let of = |text: &str| own_filters(&words(text));
        assert_eq!(of("-avz|--max-size=3"), OwnFilters::None);
        assert_eq!(of("-a|--exclude=*.tmp|--exclude|- x"), OwnFilters::Excludes);
        for rules in [
            "-aC",
            "-F",
            "-f|- x",
            "--include=x",
            "--exclude-from=x",
            "--exclude=+ x",
            "--exclude|!",
        ] {
            assert_eq!(of(rules), OwnFilters::Rules, "{rules}");
        }
        assert_eq!(clean(&words("-aFC|--exclude|x|--filter=- y|-f- z|-z"), false), words("-a|-z"));
        assert_eq!(remote_shell(&words("-aze|ssh -p 3")), Some(b"ssh -p 3".to_vec()));
    }
}
