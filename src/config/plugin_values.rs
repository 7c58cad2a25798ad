//! Single values of plugins that both formats share: command lines, URLs. Errors say what to write instead.

use crate::language::say;
use crate::path::as_written;

/// A command line as words, split as a shell splits them, with a minimum number. No shell is used.
pub(crate) fn words(text: &str, least: usize) -> Result<Vec<String>, String> {
    no_nul(text)?;
    match shlex::split(text) {
        Some(words) if words.len() >= least => Ok(words),
        Some(_) => Err(say!("is empty; write the program to run")),
        None => Err(say!("`{}` has a quote that is not closed, or ends with a backslash", text)),
    }
}

/// Refuses a NUL, which no argument of a program can contain.
pub(crate) fn no_nul(text: &str) -> Result<(), String> {
    match text.contains('\0') {
        false => Ok(()),
        true => Err(say!(
            "`{}` contains a NUL character, which a command line cannot contain; remove it",
            as_written(text.as_bytes())
        )),
    }
}

/// What a shell would have done with this line. syncsup does not use a shell.
pub(crate) fn shell_only(text: &str) -> Option<String> {
    const ALONE: [&str; 10] = ["&&", "||", "|", ";", "&", ">", ">>", "<", "2>&1", "2>"];
    let words = shlex::split(text)?;
    let starts = |w: &str| [">", "2>", "|", "&&", "$(", "`"].iter().any(|s| w.starts_with(s));
    let word =
        words.iter().find(|w| ALONE.contains(&w.as_str()) || starts(w) || w.ends_with(';'))?;
    // Quoted words are intended.
    text.split_whitespace().any(|w| w == word).then(|| {
        say!("`{}` is passed to the command unchanged, since no shell runs it; write a script, and name it in prefix", word)
    })
}

/// An http or https URL.
pub(crate) fn url(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let host = rest.map(|r| r.split(['/', '?']).next().unwrap_or_default());
    let plain = text.bytes().all(|b| (0x21..0x7f).contains(&b)) && !text.contains('#');
    match host {
        Some(host) if !host.is_empty() && plain => Ok(text.to_owned()),
        Some(_) => Err(say!("`{}` is not a URL; write http://HOST:PORT/PATH", text)),
        None => Err(say!("`{}` is not a URL; it begins with http:// or https://", text)),
    }
}

/// The beginning of the URLs of a CDN.
pub(crate) fn base_url(text: &str) -> Result<String, String> {
    match text.bytes().all(|b| (0x21..0x7f).contains(&b)) && !text.contains(['&', '#']) {
        true if !text.is_empty() => Ok(text.to_owned()),
        _ => Err(say!(
            "`{}` is not the beginning of a URL; write http://HOST/PATH, without & and #",
            text
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_are_split_into_words() {
        assert_eq!(words("/bin/sh 'a b' c\\ d", 1).unwrap(), ["/bin/sh", "a b", "c d"]);
        assert!(words("", 0).unwrap().is_empty());
        assert!(words(" ", 1).unwrap_err().contains("is empty"));
        assert!(words("a 'b", 1).unwrap_err().contains("not closed"));
        for nul in ["/bin/sh\0", "\0", "a 'b\0c'"] {
            assert!(words(nul, 0).unwrap_err().contains("NUL"), "{nul:?}");
        }
    }

    #[test]
    fn shell_syntax_is_reported() {
        for line in ["a && b", "a >> /tmp/log", "a 2>&1", ">/dev/null", "cd /x; a"] {
            assert!(shell_only(line).is_some(), "{line}");
        }
        for line in ["/bin/sh", "/bin/sh -c 'a && b'", "a --x=1 'a;'", ""] {
            assert_eq!(shell_only(line), None, "{line}");
        }
    }

    #[test]
    fn urls_are_checked() {
        assert!(url("https://h:8443/a?b=c").is_ok());
        for bad in ["h:80", "http://", "http:///x", "http://h/a b", "ftp://h/", "http://h/#x"] {
            assert!(url(bad).is_err(), "{bad}");
        }
        assert!(base_url("http://pic.xoyo.com/cms").is_ok());
        assert!(base_url("http://h/?a=b&c").is_err());
    }
}
