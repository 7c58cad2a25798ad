//! `syncsup undelete`: lists the versions of a path in the trash of a remote, and restores them to the master. From the
//! master they are replicated like any other change.

mod restore;
mod times;

use super::invocation::{At, Invocation, Wish};
use super::journal::import::configuration;
use super::status::one_line;
use super::{client, print, table};
use crate::config::model::{Config, LocalPath, Remote};
use crate::error::{Error, Exit, Result};
use crate::language::{Language, listed, say, words};
use crate::message::LocalPathState;
use crate::path::{OsBytes, RelPath};
use crate::rsync::argv;
use crate::rsync::exit_status::{self, Verdict};
use crate::rsync::trash::{self, Version};
use crate::sys::own;
use crate::sys::rsync::Launch;
use chrono::Local;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// Exit status 1 if there is nothing to list, or if something could not be restored.
pub fn run(invocation: &Invocation, wish: &Wish) -> Result<Exit> {
    let (config, _) = configuration(invocation)?;
    let (localpath, remote, path) = place(&config, wish)?;
    let scratch =
        own::directory().map_err(|e| Error::system(say!("cannot make a directory"), e))?;
    let versions = versions(remote, &path, scratch.path())?;
    if versions.is_empty() {
        let plain = path.is_root() || wish.path.as_bytes().starts_with(b"/");
        let hint = if plain {
            String::new()
        } else {
            say!("; PATH is absolute, or from the root of the localpath")
        };
        print(&say!("{}: the trash holds nothing of {}{}\n", remote.name(), path, hint));
        return Ok(Exit::No);
    }
    let at = match &wish.at {
        None => {
            print(&shown(&versions, &path));
            return Ok(Exit::Ok);
        }
        Some(At::Time(time)) => time.as_str(),
        Some(At::Last) => "",
    };
    let of_then: Vec<Version> =
        versions.iter().filter(|v| times::is_at(&v.stamp, at, &Local)).cloned().collect();
    let chosen = trash::last(&of_then);
    if chosen.is_empty() {
        print(&shown(&versions, &path));
        let text = say!(
            "no version of {} is from {}; write a time as in the first column above, or its beginning",
            path,
            at
        );
        return Err(Error::new(Exit::No, text));
    }
    refuse_held(invocation, localpath)?;
    restore::run(localpath, remote, &chosen, wish.force, scratch.path())
}

/// Refuses a localpath that is held, because its content is not what is replicated. It may be an empty mount point.
fn refuse_held(invocation: &Invocation, localpath: &LocalPath) -> Result<()> {
    // Only a running instance knows whether it is held. No instance needs to run.
    let running = client::running(invocation).unwrap_or_default();
    let known = running.iter().filter_map(|instance| instance.status().ok());
    let mut all = known.flat_map(|status| status.localpaths);
    match all.find(|l| l.watch == localpath.watch && l.state == LocalPathState::Held) {
        None => Ok(()),
        Some(held) => {
            let why = held.reason.map(|why| format!(": {}", one_line(&why)));
            let text =
                say!("{} is held{}; nothing was restored", held.watch, why.unwrap_or_default());
            Err(Error::new(Exit::No, text))
        }
    }
}

/// The localpath, the remote and the path that are meant.
fn place<'c>(config: &'c Config, wish: &Wish) -> Result<(&'c LocalPath, &'c Remote, RelPath)> {
    let shown = crate::path::printable(wish.path.as_bytes());
    let mut found = Vec::new();
    for localpath in &config.localpaths {
        let Some(path) = below(&localpath.watch, &wish.path) else { continue };
        for remote in &localpath.remotes {
            let asked = wish
                .remote
                .as_ref()
                .map_or(remote.trash_keep_ms.is_some(), |name| remote.name() == *name);
            if asked {
                found.push((localpath, remote, path.clone()));
            }
        }
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(Error::usage(match &wish.remote {
            None => say!(
                "{}: no remote with a trash is configured for this path; set `trash` in the YAML; PATH is absolute, or from the root of the localpath",
                shown
            ),
            Some(remote) => say!(
                "{}: no remote `{}` is configured for this path; PATH is absolute, or from the root of the localpath",
                shown,
                remote
            ),
        })),
        _ => {
            let names: Vec<String> =
                found.iter().map(|(l, r, _)| format!("{} {}", l.watch, r.name())).collect();
            let how = match wish.remote {
                Some(_) => say!("write PATH as an absolute path"),
                None => say!("choose one with --remote NAME"),
            };
            let colon = Language::current().pick(words::COLON);
            Err(Error::usage(format!("{shown}: {how}{colon}{}", listed(&names))))
        }
    }
}

fn below(watch: &OsBytes, path: &OsStr) -> Option<RelPath> {
    let trimmed = |bytes: &[u8]| {
        let end = bytes.iter().rposition(|&b| b != b'/').map_or(0, |i| i + 1);
        bytes[..end].to_vec()
    };
    if path.as_bytes().starts_with(b"/") {
        let path = OsString::from(OsStr::from_bytes(&trimmed(path.as_bytes())));
        return RelPath::strip(Path::new(&path), watch.as_path());
    }
    let bytes = trimmed(path.as_bytes());
    let bytes = bytes.strip_prefix(b"./").unwrap_or(&bytes);
    if bytes == b"." { Some(RelPath::root()) } else { RelPath::new(bytes) }
}

/// The versions of a path in the trash, the oldest first.
fn versions(remote: &Remote, path: &RelPath, scratch: &Path) -> Result<Vec<Version>> {
    let system = |e| Error::system("rsync", e);
    let Some(text) = trash::below(path) else {
        return Err(Error::usage(say!("{}: too long for an rsync filter rule", path)));
    };
    let mut rules = tempfile::NamedTempFile::new_in(scratch).map_err(system)?;
    rules.write_all(&text).map_err(system)?;
    let empty = scratch.join("empty");
    std::fs::create_dir(&empty).map_err(system)?;
    let run = match finish(&trash::versions(&remote.peer, rules.path()), &empty, scratch)? {
        FetchEnd::Done(run) => run,
        // The trash does not exist yet.
        FetchEnd::Failed { stderr, .. } if trash::is_missing(&stderr) => return Ok(Vec::new()),
        FetchEnd::Failed { message, .. } => {
            return Err(Error::new(Exit::No, format!("{}: {message}", remote.name())));
        }
    };
    let mut found = Vec::new();
    for line in BufReader::new(run).split(b'\n') {
        found.extend(trash::version(&line.map_err(system)?));
    }
    found.retain(|version| version.path.is_within(path));
    found.sort_by(|a, b| (&a.stamp, &a.path).cmp(&(&b.stamp, &b.path)));
    Ok(found)
}

/// The longest time without progress. rsync's own timeout is shorter, unless a longer one is configured.
const MOVES_WITHIN: Duration = Duration::from_secs(900);

/// How an rsync ended.
enum FetchEnd {
    /// It succeeded, with this output.
    Done(std::fs::File),
    /// It failed.
    Failed {
        /// The most useful message.
        message: String,
        /// Everything on standard error.
        stderr: Vec<u8>,
    },
}

/// Runs rsync until it exits. Its own timeout ends an rsync that hangs. If that fails, the watchdog kills it.
fn finish(argv: &[OsString], directory: &Path, scratch: &Path) -> Result<FetchEnd> {
    let system = |e| Error::system("rsync", e);
    let launch = Launch {
        argv,
        envs: trash::ENV,
        unset: argv::ENV_REMOVE,
        directory,
        scratch,
        confined: None,
    };
    let mut run = launch.start(b"").map_err(system)?;
    let exited = run.finish(MOVES_WITHIN, Duration::from_millis(5), |_| {}).map_err(system)?;
    let stderr = run.complaints().map_err(system)?;
    let judgement = exit_status::verdict(exited, &stderr);
    if judgement.verdict != Verdict::Settled {
        return Ok(FetchEnd::Failed { message: judgement.message, stderr });
    }
    run.stdout.rewind().map_err(system)?;
    Ok(FetchEnd::Done(run.stdout))
}

/// Lists the versions of a file. For a directory, lists how much was removed each time.
fn shown(versions: &[Version], path: &RelPath) -> String {
    if versions.iter().all(|version| version.path == *path) {
        let mut rows = vec![vec![say!("TIME"), say!("BYTES"), say!("WRITTEN")]];
        for version in versions {
            let written = times::written(&version.modified, &Local);
            let time = times::shown(&version.stamp, &Local);
            rows.push(vec![time, version.size.to_string(), written]);
        }
        return table::columns(&rows);
    }
    let mut rows = vec![vec![say!("TIME"), say!("FILES"), say!("BYTES")]];
    for some in versions.chunk_by(|a, b| a.stamp == b.stamp) {
        let bytes: u64 = some.iter().map(|version| version.size).sum();
        let time = times::shown(&some[0].stamp, &Local);
        rows.push(vec![time, some.len().to_string(), bytes.to_string()]);
    }
    table::columns(&rows)
}
