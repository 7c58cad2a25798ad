//! The probable meaning of YAML that cannot be parsed: a missing blank after a colon, an IPv6 address or a `*` without
//! quotes, or a tab. Also decides whether a file is a configuration at all, before its content is shown. Pure.

use super::diagnostic::nearest;
use crate::language::say;
use regex::Regex;
use std::sync::LazyLock;

/// Keys that identify a configuration: they occur in hardly any other file.
const OWN: [&str; 16] = [
    "localpaths",
    "watch",
    "remotes",
    "inotify",
    "rsync",
    "filter",
    "fail_log",
    "crontab",
    "verify_schedule",
    "large_file",
    "max_delete",
    "trash",
    "first_copy",
    "on_failure",
    "on_recovery",
    "sysctl",
];

/// Keys that users often write without a blank after the colon.
const KEYS: [&str; 14] = [
    "localpaths",
    "watch",
    "remotes",
    "rsync",
    "filter",
    "fail_log",
    "delay",
    "params",
    "password_file",
    "module",
    "exclude",
    "exclude_glob",
    "timeout",
    "trash",
];

static KEY: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"(?m)["']?([A-Za-z_][A-Za-z_-]*)["']?[ \t]*:(?:\s|$|[\[{])"#).ok()
});
static BRACKETS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"\[([0-9A-Fa-f.]*:[0-9A-Fa-f:.]*(?:%[0-9A-Za-z]+)?)\](:[^\s,\]]*)").ok()
});

/// True if the text contains a key of syncsup, or a similar word. For other files, errors show nothing of the content.
pub(super) fn is_configuration(text: &str) -> bool {
    let Some(key) = KEY.as_ref() else { return true };
    key.captures_iter(text).any(|found| nearest(&found[1], &OWN).is_some())
}

/// The error for a word that should have been a key and its value: `watch:/x`.
pub(super) fn no_blank(word: &str) -> Option<String> {
    let (key, rest) = word.split_once(':')?;
    let missing = KEYS.contains(&key) && rest.starts_with(|c: char| !c.is_whitespace() && c != ':');
    missing.then(|| {
        say!("`{}:` has no blank after the colon, so it is not a key; write `{}: VALUE`", key, key)
    })
}

/// The line at or above `line` with such a mistake, and its error; `info` is what the parser says.
pub(super) fn mistake(text: &str, line: usize, info: &str) -> Option<(usize, String)> {
    if info.contains("unknown anchor") {
        return Some((line, say!("`*` begins an alias in YAML; put the word in quotes")));
    }
    if !is_configuration(text) {
        return None;
    }
    if info.contains("tab")
        && let Some(line) = tab(text, line)
    {
        return Some((line, say!("a tab; indent with spaces")));
    }
    let lines: Vec<&str> = text.lines().take(line.max(1)).collect();
    let on = |(at, line): (usize, &&str)| {
        let plain = line.trim_start_matches([' ', '\t', '-', '{', '[']);
        no_blank(plain).or_else(|| brackets(line)).map(|text| (at + 1, text))
    };
    // The parser reports it some lines later.
    lines.iter().enumerate().rev().find_map(on)
}

/// The line that is indented with a tab: the first one from `line` on, else the last one before it. The parser reports
/// the beginning of a word that continues on the line with the tab.
fn tab(text: &str, line: usize) -> Option<usize> {
    let indented = |line: &str| line.chars().take_while(|c| c.is_whitespace()).any(|c| c == '\t');
    let all: Vec<usize> =
        text.lines().enumerate().filter(|(_, l)| indented(l)).map(|(at, _)| at + 1).collect();
    all.iter().find(|&&at| at >= line).or(all.last()).copied()
}

/// The error for a word that became a key only because of its last colon: `[web3::]`.
pub(super) fn word_with_colon(key: &str) -> Option<String> {
    let word = key.ends_with(':');
    word.then(|| say!("`{}:` ends with a colon, which makes it a key; put the word in quotes", key))
}

fn brackets(line: &str) -> Option<String> {
    let found = BRACKETS.as_ref()?.captures(line)?;
    let start = found.get(0)?.start();
    if line[..start].ends_with(['"', '\'', '@', '/']) {
        return None;
    }
    let whole = &found[0];
    Some(say!(
        "brackets are a list in YAML: quote an address that begins with them, as '{}'",
        whole
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_reported_with_their_line() {
        for (text, line, wanted) in [
            ("localpaths:\n- watch:/x\n  remotes: [h::m]\n", 3, Some(2)),
            ("delay:3ms\nlocalpaths:\n", 2, Some(1)),
            ("delay:3ms\npassword: x\n", 2, None),
            ("localpaths:\n- watch: /x\n  remotes: [[::1]::www]\n", 3, Some(3)),
            ("remotes:\n  - [fe80::1%eth0]:874::www\n", 2, Some(2)),
            ("remotes: ['[::1]::www', \"u@[::1]::www\"]\n", 1, None),
            ("exclude: ['[a-z]:x']\n", 1, None),
            ("remotes: [h::m]\nwatch: /x:y\n", 2, None),
            ("", 1, None),
        ] {
            assert_eq!(mistake(text, line, "").map(|m| m.0), wanted, "{text}");
        }
        let (found, other) = ("found a tab", "another mistake");
        for (text, line, info, wanted) in [
            ("localpaths:\n\t- watch: /x\n", 3, found, Some(2)),
            ("localpaths:\n- watch: /x\n\tremotes: [h::m]\n", 2, found, Some(3)),
            ("localpaths:\n\t- watch: /x\n", 3, other, None),
        ] {
            assert_eq!(mistake(text, line, info).map(|m| m.0), wanted, "{text}");
        }
        assert!(mistake("remotes: [*.example.com::m]", 1, "found unknown anchor").is_some());
        assert!(word_with_colon("web3:").is_some() && word_with_colon("web3").is_none());
        assert!(mistake("remotes:\n- [::1]::www", 2, "").unwrap().1.contains("'[::1]::www'"));
        assert!(no_blank("watch:/x").unwrap().contains("`watch: VALUE`"));
        assert_eq!(no_blank("module::x"), None);
    }

    #[test]
    fn configurations_are_distinguished_from_other_files() {
        for text in [
            "localpaths: []",
            "localpath:\n- watch: /x",
            "{\"localpaths\": [{\"watch\": \"/x\"}]}",
            "rsync: {port: 1}",
            "- watch: /x",
        ] {
            assert!(is_configuration(text), "{text}");
        }
        for text in [
            "root:$y$j9T$geheim:19000:0:99999:7:::\nsync:*:1:0:99999:7:::\n",
            "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk=\n",
            "user:geheim\n",
            "password: geheim\nhost: db\n",
            "geheim",
        ] {
            assert!(!is_configuration(text), "{text}");
        }
    }
}
