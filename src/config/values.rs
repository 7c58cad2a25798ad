//! Single values that both formats share: directories, hosts, modules, booleans, ports. Errors say what to write
//! instead.

use super::diagnostic::nearest;
use crate::language::say;
use crate::path::{OsBytes, as_written};
use std::str::FromStr;

/// `true` or `false`, and nothing similar.
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        other => {
            let near = nearest(other, &["true", "false"]).map(|n| say!("; did you mean `{}`?", n));
            Err(say!("`{}` is neither `true` nor `false`{}", other, near.unwrap_or_default()))
        }
    }
}

/// A TCP port.
pub(crate) fn port(text: &str) -> Result<u16, String> {
    match u16::from_str(text) {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(say!("`{}` is not a port; write a number from 1 to 65535", text)),
    }
}

/// A whole number of at least 1; `unit` is for the message.
pub(crate) fn positive(text: &str, unit: &str) -> Result<u32, String> {
    match u32::from_str(text) {
        Ok(n) if n > 0 => Ok(n),
        _ => Err(say!("`{}` is not a number of {}; write a whole number, at least 1", text, unit)),
    }
}

/// An absolute local path. Repeated and trailing slashes are removed.
pub(crate) fn absolute(bytes: &[u8]) -> Result<OsBytes, String> {
    let shown = as_written(bytes);
    if bytes.is_empty() {
        return Err(say!("is empty; write an absolute path"));
    }
    if shown.starts_with(['\u{201c}', '\u{201d}', '\u{2018}', '\u{2019}', '\u{ff02}']) {
        return Err(say!("{} is in curly quotes; write straight ones (\") or none", shown));
    }
    if bytes.contains(&0) {
        return Err(say!(
            "`{}` contains a NUL character, which a path cannot contain; remove it",
            shown
        ));
    }
    if bytes[0] != b'/' {
        return Err(not_absolute(&shown));
    }
    let parts: Vec<&[u8]> =
        bytes.split(|&b| b == b'/').filter(|c| !c.is_empty() && *c != b".").collect();
    if parts.contains(&&b".."[..]) {
        return Err(say!("`{}` contains `..`; write the path without it", shown));
    }
    let mut clean = vec![b'/'];
    clean.extend(parts.join(&b'/'));
    Ok(clean.into())
}

/// What is wrong with a path that does not begin with a slash.
fn not_absolute(shown: &str) -> String {
    if shown.starts_with('~') {
        return say!(
            "`{}`: no shell expands `~` here; write the home directory itself, as /home/USER/DIRECTORY",
            shown
        );
    }
    if shown.contains('$') {
        return say!("`{}`: no shell expands variables here; write the absolute path", shown);
    }
    say!("`{}` is relative, and syncsup has no current directory; write the absolute path", shown)
}

/// The name of a user of an rsync daemon or of a login.
pub(crate) fn user(text: &str) -> Result<String, String> {
    if let Some((name, _)) = text.split_once(':') {
        // The rest may be a password, which no message shows.
        return Err(say!(
            "`{}:...` is a user with a password; write only the user here, and the password into a password_file",
            name
        ));
    }
    match text.is_empty() || text.contains(['@', '/', ' ', ',', '\0']) || text.starts_with('-') {
        true => Err(say!("`{}` is not a user name; write one name", as_written(text.as_bytes()))),
        false => Ok(text.to_owned()),
    }
}

/// A host name or address. An IPv6 address gets brackets.
pub(crate) fn host(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err(say!("is empty; write a host name or an address"));
    }
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    let (address, zone) = bare.split_once('%').unwrap_or((bare, "x"));
    let v6 = address.parse::<std::net::Ipv6Addr>().is_ok()
        && zone.chars().all(|c| c.is_ascii_alphanumeric());
    let name = bare == text
        && !text.starts_with(['-', '.'])
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
    if !v6 && !name {
        return Err(say!("`{}` is not a host name or an address", text));
    }
    Ok(if v6 { format!("[{bare}]") } else { bare.to_owned() })
}

/// A daemon's module and a path in it. Repeated and trailing slashes are removed.
pub(crate) fn module(bytes: &[u8]) -> Result<OsBytes, String> {
    let shown = as_written(bytes);
    if bytes.is_empty() {
        return Err(say!(
            "is empty; write the name of a module, a [section] of the slave's rsyncd.conf"
        ));
    }
    if bytes[0] == b'/' {
        return Err(say!(
            "`{}` is a path, but an rsync daemon needs the name of a module, a [section] of the slave's rsyncd.conf; only ssh takes a path",
            shown
        ));
    }
    if let Some(at) = bytes.windows(3).position(|w| w[0].is_ascii_whitespace() && &w[1..] == b"--")
    {
        let module = as_written(bytes[..at].trim_ascii_end());
        return Err(say!(
            "`{}` contains rsync options after the module `{}`; write them in the parameters",
            shown,
            module
        ));
    }
    let parts: Vec<&[u8]> = bytes.split(|&b| b == b'/').filter(|c| !c.is_empty()).collect();
    if bytes.contains(&0) {
        return Err(say!(
            "`{}` contains a NUL character, which a name cannot contain; remove it",
            shown
        ));
    }
    if parts.iter().any(|c| *c == b"." || *c == b"..") {
        return Err(say!("`{}` contains `.` or `..`; write the plain path in the module", shown));
    }
    if parts.len() > 1 && bytes.iter().any(|b| b"*?[\\".contains(b)) {
        return Err(say!(
            "`{}`: a daemon expands `*`, `?`, `[` and `\\` in a path; choose another directory",
            shown
        ));
    }
    Ok(parts.join(&b'/').into())
}

/// Bytes that must be text: hosts, users, arguments for other programs.
pub(crate) fn text(bytes: &[u8]) -> Result<String, String> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(say!("`{}` is not UTF-8; save the file as UTF-8", as_written(bytes))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned() {
        assert_eq!(absolute(b"/data//www/").unwrap().to_string(), "/data/www");
        assert_eq!(absolute(b"/").unwrap().to_string(), "/");
        assert!(absolute(b"/a/../b").is_err());
        for (path, word) in [
            (&b"~/data"[..], "home directory"),
            (b"~www/data", "home directory"),
            (b"$HOME/data", "variable"),
            (b"${HOME}/data", "variable"),
            (b"data", "relative"),
            (b"./data", "relative"),
            (b"../data", "relative"),
            (b".", "relative"),
            (b"/da\0ta", "NUL"),
            (b"da\0ta", "NUL"),
        ] {
            let error = absolute(path).unwrap_err();
            assert!(error.contains(word), "{path:?}: {error}");
        }
        assert!(module(b"w\0w").unwrap_err().contains("NUL"));
        assert!(absolute("“/data”".as_bytes()).unwrap_err().contains("curly quotes"));
        assert_eq!(module(b"www/site/").unwrap().to_string(), "www/site");
        assert!(module(b"/data").unwrap_err().contains("[section]"));
        assert!(module(b"www --port=874").unwrap_err().contains("module `www`"));
        assert!(module(b"www/a*").is_err());
    }

    #[test]
    fn users_are_plain_names_and_passwords_are_hidden() {
        assert_eq!(user("rsync_backup").unwrap(), "rsync_backup");
        let error = user("backup:geheim").unwrap_err();
        assert!(error.contains("`backup:...`") && !error.contains("geheim"), "{error}");
        for bad in ["", "a b", "a@h", "a,b", "-l"] {
            assert!(user(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn hosts_are_checked() {
        for good in ["10.0.0.2", "web-1.example.org", "[::1]", "localhost"] {
            assert_eq!(host(good).unwrap(), good);
        }
        assert_eq!(host("fe80::1%eth0").unwrap(), "[fe80::1%eth0]");
        for bad in ["", "-x", ".x", "a b", "a/b", "10.0.0.2:873", "a;b", "h::m", "[h]", "１0.0.0.2"]
        {
            assert!(host(bad).is_err(), "{bad}");
        }
    }
}
