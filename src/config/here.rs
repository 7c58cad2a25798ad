//! Detects a remote on this machine that lies in, at or above the localpath that is sent to it. Each copy would be a
//! change, and would be copied again. Pure.

use super::destination::components;
use super::model::{LocalPath, Remote, Target};
use crate::filter::Filter;
use crate::language::say;
use crate::path::{RelPath, as_written};

/// A module of this machine's own rsync daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Its name.
    pub name: Vec<u8>,
    /// Its directory.
    pub path: Vec<u8>,
}

/// The contents of an `rsyncd.conf`: the modules that have a path, and the port if one is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Daemon {
    /// `port`.
    pub port: Option<u16>,
    /// In the order of the file.
    pub modules: Vec<Module>,
}

/// Reads an `rsyncd.conf`. Unknown lines are ignored: rsync itself reports them.
pub fn daemon(text: &[u8]) -> Daemon {
    let mut found = Daemon::default();
    let mut module: Option<&[u8]> = None;
    let mut default_path: Option<Vec<u8>> = None;
    for line in text.split(|&b| b == b'\n').map(<[u8]>::trim_ascii) {
        if let Some(name) = line.strip_prefix(b"[") {
            let end = name.iter().position(|&b| b == b']').unwrap_or(name.len());
            let name = name[..end].trim_ascii();
            module = (name != b"global").then_some(name);
            if let (Some(name), Some(path)) = (module, &default_path) {
                found.modules.push(Module { name: name.to_vec(), path: path.clone() });
            }
            continue;
        }
        let Some(equals) = line.iter().position(|&b| b == b'=') else { continue };
        let (key, value) = (line[..equals].trim_ascii(), line[equals + 1..].trim_ascii());
        match (key.to_ascii_lowercase().as_slice(), module) {
            (b"port", None) => {
                found.port = std::str::from_utf8(value).ok().and_then(|v| v.parse().ok());
            }
            (b"path", None) => default_path = Some(value.to_vec()),
            (b"path", Some(name)) => {
                found.modules.retain(|m| m.name != name);
                found.modules.push(Module { name: name.to_vec(), path: value.to_vec() });
            }
            _ => {}
        }
    }
    found
}

/// The directory that pushes to `remote` write to, if the remote is on this machine; `None` if it is not known.
pub(super) fn directory(remote: &Remote, daemon: &Daemon) -> Option<Vec<u8>> {
    match &remote.peer.target {
        Target::Ssh { path, .. } => Some(path.as_bytes().to_vec()),
        // Another port means another daemon with its own file.
        Target::Daemon { port, .. } if *port != daemon.port.unwrap_or(super::model::RSYNC_PORT) => {
            None
        }
        Target::Daemon { module, .. } => {
            let (name, below) = match module.as_bytes().iter().position(|&b| b == b'/') {
                Some(slash) => module.as_bytes().split_at(slash),
                None => (module.as_bytes(), &b""[..]),
            };
            let path = &daemon.modules.iter().find(|m| m.name == name)?.path;
            // rsync replaces environment variables in it: not known.
            (path.starts_with(b"/") && !path.contains(&b'%')).then(|| [path, below].concat())
        }
    }
}

/// What is wrong with a remote that writes to `there` on this machine. Both are resolved paths.
pub(super) fn warning(
    localpath: &LocalPath,
    remote: &Remote,
    watch: &[u8],
    there: &[u8],
) -> Option<String> {
    let (inner, outer) = (components(there), components(watch));
    let why = if inner == outer {
        say!("is the localpath itself")
    } else if inner.starts_with(&outer) {
        let below = RelPath::new(inner[outer.len()..].join(&b'/'))?;
        if Filter::new(&localpath.filter).is_ok_and(|filter| filter.excludes(&below, true)) {
            return None;
        }
        say!(
            "lies in the localpath: each push would be a change that is pushed again, copy within copy"
        )
    } else if outer.starts_with(&inner) {
        say!(
            "contains the localpath: everything there that is not in the copy would be deleted, and the localpath with it"
        )
    } else {
        return None;
    };
    Some(say!(
        "remote {} of {} is this machine, and its directory {} {}; choose another directory, or exclude it",
        remote.name(),
        localpath.watch,
        as_written(there),
        why
    ))
}

#[cfg(test)]
mod tests {
    use super::super::model::Peer;
    use super::*;

    const CONF: &[u8] = b"# a comment\nport = 874\nuid = www\n[ www ]\n path = /data/www\n\
        [global]\nmotd file = /x\n[img]\nPATH=/data/./img/\nread only = no\n[none]\ncomment = x\n";

    #[test]
    fn modules_of_an_rsyncd_conf_are_read() {
        let found = daemon(CONF);
        assert_eq!(found.port, Some(874));
        let shown: Vec<_> = found
            .modules
            .iter()
            .map(|m| format!("{} {}", as_written(&m.name), as_written(&m.path)))
            .collect();
        assert_eq!(shown, ["www /data/www", "img /data/./img/"]);
        assert_eq!(daemon(b"\xff\x00[["), Daemon::default());
    }

    #[test]
    fn the_directory_of_a_local_remote_is_found() {
        let found = daemon(CONF);
        let of = |port, module: &str| {
            let remote =
                Remote::new(Peer::new("h", Target::Daemon { port, module: module.into() }));
            directory(&remote, &found).map(|path| as_written(&path))
        };
        assert_eq!(of(874, "www/sub"), Some("/data/www/sub".into()));
        assert_eq!(of(873, "www"), None, "another daemon");
        assert_eq!(of(874, "none"), None);
    }

    #[test]
    fn directories_of_remotes_inside_their_localpath_are_reported() {
        let config = |exclude: &str| {
            let text = format!(
                "filter: {{exclude_glob: [{exclude}]}}\nlocalpaths: [{{watch: /data, remotes: ['h::m']}}]\n"
            );
            crate::config::parse(text.as_bytes(), "a.yaml".as_ref()).config.localpaths.remove(0)
        };
        let told = |exclude: &str, there: &str| {
            let localpath = config(exclude);
            warning(&localpath, &localpath.remotes[0], b"/data", there.as_bytes())
                .unwrap_or_default()
        };
        assert!(told("", "/data/backup").contains("lies in the localpath"));
        assert!(told("", "/data").contains("itself") && told("", "/").contains("contains"));
        assert_eq!(told("", "/database"), "");
        assert_eq!(told("backup", "/data/backup/www"), "", "what is excluded is not entered");
    }
}
