//! The calls in the failure journal, as a part of the fail log. Each has a comment, and a line that makes the call by
//! hand or has the plugin runner make it. Pure.

use crate::config::model::{Call, Framing};
use crate::figures::count;
use crate::path::{RelPath, as_written, printable};
use crate::plugin::command::Line;
use crate::shell;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The maximum number of calls shown per plugin. The journal has all of them.
pub const MOST: u32 = 1_000;

/// A call that fails or was given up: path, error, since when (milliseconds since 1970), attempts.
pub type Failed = (RelPath, String, i64, u32);

/// The plugin that a part of the fail log is about.
#[derive(Clone, Copy)]
pub struct Of<'a> {
    /// The localpath.
    pub watch: &'a Path,
    /// The run directory of the instance.
    pub run_dir: &'a Path,
    /// The plugin's name for people.
    pub name: &'a str,
    /// What it calls.
    pub call: &'a Call,
}

/// The part of one plugin. Empty if nothing fails.
pub fn part(of: Of<'_>, failed: &[Failed], time: impl Fn(i64) -> String) -> Vec<u8> {
    let mut out = Vec::new();
    for (path, error, since, attempts) in failed {
        let head = format!(
            "# {} plugin {}: {path}: {} (since {}, {})\n",
            printable(of.watch.as_os_str().as_bytes()),
            of.name,
            as_written(error.as_bytes()),
            time(*since),
            count(u64::from(*attempts), "try", "tries")
        );
        out.extend(head.bytes());
        let path = path.below(of.watch).into_os_string().into_encoded_bytes();
        out.extend(by_hand(of.call, &path).unwrap_or_else(|| again(of, &path)));
        out.push(b'\n');
    }
    out
}

/// A line that makes the call. `None` if the line would show a password, or if no common program can make the call.
fn by_hand(call: &Call, path: &[u8]) -> Option<Vec<u8>> {
    match call {
        Call::Command { prefix, suffix, .. } => {
            let line = Line::new(prefix, suffix, &[], false).ok()?;
            let words = line.argv(path);
            Some(shell::command(&words.iter().map(|w| w.as_bytes()).collect::<Vec<_>>()))
        }
        Call::Socket { host, port, framing: Framing::Connection } => {
            let to = format!("' | nc {host} {port}");
            Some([b"printf '", shell::octal(path).as_slice(), to.as_bytes()].concat())
        }
        Call::Socket { .. } | Call::Http { .. } | Call::RefreshCdn { .. } => None,
    }
}

/// A line that makes the plugin runner repeat the call.
fn again(of: Of<'_>, path: &[u8]) -> Vec<u8> {
    let run_dir = of.run_dir.as_os_str().as_bytes();
    let name = of.name.as_bytes();
    shell::command(&[
        b"syncsup",
        b"--run-dir",
        run_dir,
        b"journal",
        b"retry",
        b"--plugin",
        name,
        path,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::Secret;

    fn text(call: Call, path: &[u8]) -> String {
        let failed = [(RelPath::new(path).unwrap(), "exit 1\n$(x)".to_owned(), 5, 2)];
        let (watch, run_dir) = (Path::new("/d"), Path::new("/run/s"));
        let of = Of { watch, run_dir, name: "p", call: &call };
        let part = part(of, &failed, |ms| format!("t{ms}"));
        String::from_utf8(part).unwrap()
    }

    #[test]
    fn each_call_is_one_line_that_repeats_it() {
        let command = Call::Command {
            prefix: "/bin/sh 'a b'".into(),
            suffix: "-x".into(),
            ignore_error: false,
            include: vec![],
            user: None,
        };
        let head =
            |path: &str| format!("# /d plugin p: {path}: exit 1\\x0a$(x) (since t5, 2 tries)\n");
        let line = "/bin/sh 'a b' '/d/$(y)' -x\n";
        assert_eq!(text(command.clone(), b"$(y)"), head("$(y)") + line);
        let line = "/bin/sh 'a b' \"$(printf '/d/a\\012b')\" -x\n";
        assert_eq!(text(command, b"a\nb"), head("a\\x0ab") + line);
        let socket = Call::Socket { host: "h".into(), port: 1, framing: Framing::Connection };
        assert_eq!(text(socket, b"a\nb"), head("a\\x0ab") + "printf '/d/a\\012b' | nc h 1\n");
        let cdn = Call::RefreshCdn {
            host: "h".into(),
            port: 1,
            user: "u".into(),
            password: Secret("geheim".into()),
            base_url: "http://x".into(),
            url_match: None,
        };
        let line = "syncsup --run-dir /run/s journal retry --plugin p '/d/a b'\n";
        assert_eq!(text(cdn, b"a b"), head("a b") + line);
    }
}
