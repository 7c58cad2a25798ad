//! The `rsync_fail_log.sh` that sersync itself writes: the paths that it still owed to each remote. Pure; the script is
//! never run.
//!
//! sersync (2.5.4, `FileSynchronize::RsyncThread`) writes `#errno N` and the command that failed:
//!
//! ```text
//! cd /data && rsync -artuz -R --timeout=100 "./a/f" web@10.0.0.2::www --password-file=/p >/dev/null 2>&1
//! cd /data && rsync -artuz -R --delete ./   --include="a/" --include="a/f" --exclude=*  10.0.0.2::www >/dev/null 2>&1
//! ```
//!
//! Names are between double quotes, and only `$` is escaped. So a name that contains a quote and a blank may be read in
//! two ways. Such a line is reported as not understood.

use crate::language::phrase;
use crate::path::RelPath;

/// The meaning of one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Its line, from 1.
    pub line: usize,
    /// The localpath, without a trailing slash.
    pub watch: Vec<u8>,
    /// The remote's host.
    pub host: Vec<u8>,
    /// The module, or the directory for ssh.
    pub place: Vec<u8>,
    /// The transport was ssh.
    pub ssh: bool,
    /// rsync's port, if it was given.
    pub port: Option<u16>,
    /// The path that may differ, with everything below it; the root means everything.
    pub path: RelPath,
}

/// A line that could not be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Odd {
    /// Its line, from 1.
    pub line: usize,
    /// The reason: a phrase.
    pub why: &'static str,
}

/// The most lines of one command: names may contain newlines.
const LINES_MOST: usize = 16;

/// Everything that a script of sersync owes, and the lines that could not be understood.
pub fn parse(text: &[u8]) -> (Vec<Lost>, Vec<Odd>) {
    let lines: Vec<&[u8]> = text.split(|&b| b == b'\n').collect();
    let (mut lost, mut odd) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < lines.len() {
        let number = at + 1;
        let line = lines[at].trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            at += 1;
            continue;
        }
        let (used, command) = whole(&lines[at..]);
        match one(&command, number) {
            Ok(found) => lost.push(found),
            Err(why) => odd.push(Odd { line: number, why }),
        }
        at += used;
    }
    (lost, odd)
}

/// A command, with the lines that belong to it because a name contains newlines.
fn whole(lines: &[&[u8]]) -> (usize, Vec<u8>) {
    let mut command = lines[0].to_vec();
    for (used, next) in lines.iter().enumerate().take(LINES_MOST).skip(1) {
        if words(&command).is_some() || next.starts_with(b"cd ") || next.starts_with(b"#errno ") {
            break;
        }
        command.push(b'\n');
        command.extend(*next);
        if words(&command).is_some() {
            return (used + 1, command);
        }
    }
    (1, lines[0].to_vec())
}

/// A word, and whether it, or its part after `=`, was quoted.
struct Word {
    text: Vec<u8>,
    quoted: bool,
}

/// The words of a command; `None` if a quote is not closed.
fn words(command: &[u8]) -> Option<Vec<Word>> {
    let mut words = Vec::new();
    let mut rest = command.trim_ascii();
    while !rest.is_empty() {
        let end = rest.iter().position(|&b| b == b' ').unwrap_or(rest.len());
        let opens = rest[..end].iter().position(|&b| b == b'"');
        // A quote opens a word, or follows `--include=`.
        match opens.filter(|&at| at == 0 || rest[at - 1] == b'=') {
            Some(at) => {
                let inside = &rest[at + 1..];
                // A quote before a blank or at the end closes it.
                let closes = (0..inside.len()).find(|&n| {
                    inside[n] == b'"' && inside.get(n + 1).is_none_or(|b| b" \n".contains(b))
                })?;
                let text = [&rest[..at], &inside[..closes]].concat();
                words.push(Word { text, quoted: true });
                rest = &inside[closes + 1..];
            }
            None => {
                words.push(Word { text: rest[..end].to_vec(), quoted: false });
                rest = &rest[end..];
            }
        }
        rest = rest.strip_prefix(b"\n").unwrap_or(rest).trim_ascii_start();
    }
    Some(words)
}

fn one(command: &[u8], line: usize) -> Result<Lost, &'static str> {
    let rest = command
        .trim_ascii()
        .strip_prefix(b"cd ")
        .ok_or(phrase!("it is not a command of sersync"))?;
    let at = rest
        .windows(10)
        .position(|w| w == b" && rsync ")
        .ok_or(phrase!("there is no `&& rsync`"))?;
    let (watch, rest) = (rest[..at].trim_ascii(), &rest[at + 10..]);
    if !watch.starts_with(b"/") {
        return Err(phrase!("the directory is not absolute"));
    }
    let words = words(rest).ok_or(phrase!("a quote is not closed"))?;
    // The words before it are the user's own parameters.
    let own = words.iter().position(|w| w.text == b"-R" && !w.quoted);
    let words = &words[own.ok_or(phrase!("there is no `-R`, which sersync always gives"))? + 1..];
    let (mut ssh, mut port, mut destination) = (false, None, None);
    let (mut sent, mut whole, mut included) = (None, false, None);
    for word in words {
        let text = word.text.as_slice();
        let value = |name: &[u8]| text.strip_prefix(name);
        if word.quoted && !text.starts_with(b"-") {
            let twice = sent.replace(unescaped(text).ok_or(phrase!("a `$` is not escaped"))?);
            twice.map_or(Ok(()), |_: Vec<u8>| Err(phrase!("there are two names")))?;
        } else if let Some(name) = value(b"--include=").filter(|_| word.quoted) {
            included = Some(unescaped(name).ok_or(phrase!("a `$` is not escaped"))?)
                .filter(|name| !name.ends_with(b"/") && !name.ends_with(b"/***"))
                .or(included);
        } else if let Some(number) = value(b"--port=") {
            port = Some(number_of(number).ok_or(phrase!("the port is not a number"))?);
        } else if text == b"-e" || text == b"ssh" {
            ssh = true;
        } else if text == b"./" {
            whole = true;
        } else if text.starts_with(b"--") || text.starts_with(b">") || text == b"2>&1" {
            // --delete, --exclude, --timeout, --password-file
        } else if destination.replace(text).is_some() {
            return Err(phrase!("there are two destinations, or a name with a quote and a blank"));
        }
    }
    let destination = destination.ok_or(phrase!("there is no destination"))?;
    let (host, place) =
        split(destination, ssh).ok_or(phrase!("the destination is not HOST::MODULE"))?;
    let path = match (sent, whole, included) {
        (Some(name), false, None) if name == b"." => RelPath::root(),
        (Some(name), false, None) => below(&name).ok_or(NAME)?,
        (None, true, Some(name)) => RelPath::new(name).ok_or(NAME)?,
        (None, true, None) => RelPath::root(),
        _ => return Err(phrase!("it neither sends nor deletes anything")),
    };
    let watch = watch.strip_suffix(b"/").unwrap_or(watch).to_vec();
    Ok(Lost { line, watch, host: host.to_vec(), place: place.to_vec(), ssh, port, path })
}

/// `./a/b`; a directory may have a trailing slash.
fn below(name: &[u8]) -> Option<RelPath> {
    let name = name.strip_prefix(b"./")?;
    RelPath::new(name.strip_suffix(b"/").unwrap_or(name))
}

const NAME: &str = phrase!("the name is not below the directory");

/// sersync escapes only `$`. `None` for text that sersync did not write.
fn unescaped(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    for &b in text {
        if b == b'$' && out.pop() != Some(b'\\') {
            return None;
        }
        out.push(b);
    }
    Some(out)
}

fn number_of(text: &[u8]) -> Option<u16> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// `[user@]host::module`, or with ssh `[user@]host:path`.
fn split(destination: &[u8], ssh: bool) -> Option<(&[u8], &[u8])> {
    let marker: &[u8] = if ssh { b":" } else { b"::" };
    let at = destination.windows(marker.len()).position(|w| w == marker)?;
    let (host, place) = (&destination[..at], &destination[at + marker.len()..]);
    let host = host.iter().rposition(|&b| b == b'@').map_or(host, |user| &host[user + 1..]);
    let place = place.strip_suffix(b"/").unwrap_or(place);
    (!host.is_empty() && !place.is_empty()).then_some((host, place))
}

#[cfg(test)]
#[path = "sersync_log_tests.rs"]
mod tests;
