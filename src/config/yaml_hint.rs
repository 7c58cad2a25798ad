//! The probable meaning of YAML that cannot be parsed: a missing blank after a colon, or an IPv6 address without
//! quotes. Also decides whether a file is a configuration at all, before its content is shown. Pure.

use super::diagnostic::nearest;
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
        format!("`{key}:` has no blank after the colon, so it is not a key; write `{key}: VALUE`")
    })
}

/// The line at or above `line` with such a mistake, and its error.
pub(super) fn mistake(text: &str, line: usize) -> Option<(usize, String)> {
    if !is_configuration(text) {
        return None;
    }
    let lines: Vec<&str> = text.lines().take(line.max(1)).collect();
    let on = |(at, line): (usize, &&str)| {
        let plain = line.trim_start_matches([' ', '\t', '-', '{', '[']);
        no_blank(plain).or_else(|| brackets(line)).map(|text| (at + 1, text))
    };
    // The parser reports it some lines later.
    lines.iter().enumerate().rev().find_map(on)
}

fn brackets(line: &str) -> Option<String> {
    let found = BRACKETS.as_ref()?.captures(line)?;
    let start = found.get(0)?.start();
    if line[..start].ends_with(['"', '\'', '@', '/']) {
        return None;
    }
    let whole = &found[0];
    Some(format!(
        "brackets are a list in YAML: quote an address that begins with them, as '{whole}'"
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
            assert_eq!(mistake(text, line).map(|m| m.0), wanted, "{text}");
        }
        assert!(mistake("remotes:\n- [::1]::www", 2).unwrap().1.contains("'[::1]::www'"));
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
