//! Remotes in rsync's own notation, and quantities with units. Pure functions of text.

use super::values;
use crate::language::say;
use crate::path::OsBytes;

/// A remote as written in one word.
#[derive(Debug, PartialEq)]
pub(crate) struct Notation {
    pub(crate) user: Option<String>,
    pub(crate) host: String,
    pub(crate) place: PlaceThere,
}

/// The place on the host.
#[derive(Debug, PartialEq)]
pub(crate) enum PlaceThere {
    Daemon { port: Option<u16>, module: OsBytes },
    Ssh { path: OsBytes },
}

/// The forms of a remote, for messages.
fn forms() -> String {
    say!("write HOST::MODULE, rsync://USER@HOST:PORT/MODULE, or USER@HOST:/PATH for ssh")
}

/// `10.0.0.2::www/sub`, `user@host:874::mod`, `rsync://user@host:874/www`, `user@host:/path`, `[::1]::www`.
pub(crate) fn remote(text: &str) -> Result<Notation, String> {
    if text.starts_with('/') || text.starts_with('.') {
        return Err(say!("`{}` is a directory here, not a remote; {}", text, forms()));
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        if scheme != "rsync" {
            return Err(say!("`{}://` is not supported; {}", scheme, forms()));
        }
        let (authority, path) =
            rest.split_once('/').ok_or_else(|| say!("`{}` has no module; {}", text, forms()))?;
        let (user, host, rest) = authority_of(authority)?;
        let port = match rest.strip_prefix(':') {
            Some(port) => Some(values::port(port)?),
            None if rest.is_empty() => None,
            None => return Err(say!("`{}` is not a remote; {}", text, forms())),
        };
        let module = values::module(path.as_bytes()).map_err(|e| say!("module {}", e))?;
        return Ok(Notation { user, host, place: PlaceThere::Daemon { port, module } });
    }
    let (user, host, rest) = authority_of(text)?;
    let module = |m: &str| values::module(m.as_bytes()).map_err(|e| say!("module {}", e));
    let place = if let Some(name) = rest.strip_prefix("::") {
        if let Some((module, port)) = name.rsplit_once(':')
            && values::port(port).is_ok()
        {
            let host = &text[..text.len() - rest.len()];
            return Err(say!(
                "`{}` has the port behind the module; write `{}:{}::{}`",
                text,
                host,
                port,
                module
            ));
        }
        PlaceThere::Daemon { port: None, module: module(name)? }
    } else if let Some((port, name)) = rest.strip_prefix(':').and_then(|r| r.split_once("::")) {
        PlaceThere::Daemon { port: Some(values::port(port)?), module: module(name)? }
    } else if let Some(path) = rest.strip_prefix(':') {
        if path.starts_with(|c: char| c.is_alphanumeric() || c == '_') && !path.contains(':') {
            let host = &text[..text.len() - rest.len()];
            return Err(say!(
                "`{}` has one colon, which means ssh; for a module of an rsync daemon write `{}::{}`, for a directory over ssh `{}:/DIR`",
                text,
                host,
                path,
                host
            ));
        }
        if let Some((port, dir)) = path.split_once(':')
            && values::port(port).is_ok()
            && dir.starts_with('/')
        {
            let host = &text[..text.len() - rest.len()];
            return Err(say!(
                "`{}` has a port where ssh has a directory; write `{}:{}` and the port as `ssh: {port: {}}`",
                text,
                host,
                dir,
                port
            ));
        }
        let path = values::absolute(path.as_bytes()).map_err(|e| say!("ssh path {}", e))?;
        PlaceThere::Ssh { path }
    } else {
        return Err(say!("`{}` names no directory on the host; {}", text, forms()));
    };
    Ok(Notation { user, host, place })
}

/// User, host and the rest.
fn authority_of(text: &str) -> Result<(Option<String>, String, &str), String> {
    // A module may contain an `@`.
    let ends = [text.find(['[', '/']), text.find("::")];
    let end_of_user = ends.into_iter().flatten().min().unwrap_or(text.len());
    let (user, rest) = match text[..end_of_user].find('@') {
        Some(at) => (Some(&text[..at]), &text[at + 1..]),
        None => (None, text),
    };
    let user = user.map(values::user).transpose()?;
    let end = match rest.strip_prefix('[') {
        Some(inside) => inside
            .find(']')
            .map(|i| i + 2)
            .ok_or_else(|| say!("`[` of an IPv6 address is not closed"))?,
        None => rest.find(':').unwrap_or(rest.len()),
    };
    let host = values::host(&rest[..end]).map_err(|e| say!("host {}", e))?;
    Ok((user, host, &rest[end..]))
}

/// Milliseconds of `3ms`, `100s`, `2m`, `1h`, `1d`. A bare number has units of `bare` milliseconds, if that is given.
pub(crate) fn duration_ms(text: &str, bare: Option<u64>) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match (&text[digits.len()..], bare) {
        ("ms", _) => 1,
        ("s", _) => 1000,
        ("m" | "min", _) => 60_000,
        ("h", _) => 3_600_000,
        ("d", _) => 86_400_000,
        ("", Some(bare)) => bare,
        ("", None) if digits == "0" => 1,
        _ => {
            return Err(say!(
                "`{}` is not a duration; write a number with its unit, such as 100s, 60m, 3ms",
                text
            ));
        }
    };
    let number = digits.trim().parse::<u64>().ok().and_then(|n| n.checked_mul(unit));
    number.ok_or_else(|| {
        say!("`{}` is not a duration; write a number with its unit, such as 100s, 60m, 3ms", text)
    })
}

/// Bytes of `32MiB`, `10MB`, `4096`.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match &text[digits.len()..] {
        "" | "B" => 1,
        "K" | "KiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        "KB" | "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => 0,
    };
    let number =
        digits.trim().parse::<u64>().ok().filter(|_| unit > 0).and_then(|n| n.checked_mul(unit));
    number.ok_or_else(|| {
        say!("`{}` is not a size; write bytes or a unit, such as 4096, 512KiB, 32MiB", text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn daemon(user: Option<&str>, host: &str, port: Option<u16>, module: &str) -> Notation {
        let place = PlaceThere::Daemon { port, module: module.into() };
        Notation { user: user.map(str::to_owned), host: host.into(), place }
    }

    #[test]
    fn rsyncs_notation_is_parsed() {
        let ok = |text: &str| remote(text).unwrap();
        assert_eq!(ok("10.0.0.2::www"), daemon(None, "10.0.0.2", None, "www"));
        assert_eq!(ok("10.0.0.2::www/sub/"), daemon(None, "10.0.0.2", None, "www/sub"));
        assert_eq!(ok("user@host::mod"), daemon(Some("user"), "host", None, "mod"));
        assert_eq!(ok("host:874::mod"), daemon(None, "host", Some(874), "mod"));
        assert_eq!(ok("host::a@b"), daemon(None, "host", None, "a@b"));
        assert_eq!(ok("u@host:874::a@b"), daemon(Some("u"), "host", Some(874), "a@b"));
        assert_eq!(ok("rsync://user@host:874/www"), daemon(Some("user"), "host", Some(874), "www"));
        assert_eq!(ok("rsync://host/a/b@c"), daemon(None, "host", None, "a/b@c"));
        assert_eq!(ok("[::1]::www"), daemon(None, "[::1]", None, "www"));
        assert_eq!(ok("u@[fe80::1]:874::www"), daemon(Some("u"), "[fe80::1]", Some(874), "www"));
        assert_eq!(ok("rsync://[::1]:874/www"), daemon(None, "[::1]", Some(874), "www"));
        let ssh = |user: Option<&str>, host: &str, path: &str| Notation {
            user: user.map(str::to_owned),
            host: host.into(),
            place: PlaceThere::Ssh { path: path.into() },
        };
        assert_eq!(ok("user@host:/path/"), ssh(Some("user"), "host", "/path"));
        assert_eq!(ok("host:/p@q"), ssh(None, "host", "/p@q"));
        assert_eq!(ok("[::1]:/srv"), ssh(None, "[::1]", "/srv"));
    }

    #[test]
    fn invalid_notation_is_refused() {
        assert_eq!(
            remote("u@h:2222:/srv").unwrap_err(),
            "`u@h:2222:/srv` has a port where ssh has a directory; write `u@h:/srv` and the port as `ssh: {port: 2222}`"
        );
        for (bad, word) in [
            ("10.0.0.2", "names no directory"),
            ("/backup", "directory here"),
            ("h::www:874", "write `h:874::www`"),
            ("u@[::1]::a:874", "write `u@[::1]:874::a`"),
            ("host:www", "daemon write `host::www`, for a directory over ssh `host:/DIR`"),
            ("u@[::1]:www/a", "daemon write `u@[::1]::www/a`, for a directory over ssh `u@[::1]:"),
            ("host:874:www", "is relative"),
            ("host:~/www", "home directory"),
            ("host::", "is empty"),
            ("::www", "is empty"),
            ("host:0::m", "not a port"),
            ("http://h/m", "`http://` is not supported"),
            ("rsync://h", "has no module"),
            ("rsync://u:pw@h/m", "password_file"),
            ("[::1::www", "not closed"),
            ("host::/data", "[section]"),
        ] {
            let error = remote(bad).unwrap_err();
            assert!(error.contains(word), "{bad}: {error}");
        }
    }

    #[test]
    fn quantities_are_parsed() {
        assert_eq!(duration_ms("100s", None), Ok(100_000));
        assert_eq!(duration_ms("2m", None), Ok(120_000));
        assert_eq!(duration_ms("100", Some(1000)), Ok(100_000));
        assert_eq!(duration_ms("0", None), Ok(0));
        assert!(
            duration_ms("100", None).is_err()
                && duration_ms("1 w", None).is_err()
                && duration_ms("s", None).is_err()
        );
        assert_eq!(size("32MiB"), Ok(32 << 20));
        assert_eq!(size("10MB"), Ok(10_000_000));
        assert_eq!(size("7"), Ok(7));
        assert!(size("7x").is_err() && size("").is_err() && size("99999999999G").is_err());
    }
}
