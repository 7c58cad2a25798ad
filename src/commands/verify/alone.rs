//! `syncsup verify -o FILE` while nothing runs: the same dry run, started from here. It needs no journal, and so nothing
//! is called pending: what was changed since the instance ended is simply different.

use super::Failing;
use super::busy::Busy;
use super::show::Show;
use super::{PAUSE, Pair, choose};
use crate::commands::invocation::{Invocation, Verify};
use crate::config;
use crate::config::model::{LocalPath, Remote};
use crate::error::{Error, Exit, Result};
use crate::filter::{Filter, own_files};
use crate::message::{Difference, VerifyAt, VerifyEnd};
use crate::pusher::differ::{Differ, directory_of};
use crate::pusher::itemize::{ChangeKind, Line, Lines, Totals};
use crate::pusher::outcome::{self, Judgement, Verdict};
use crate::pusher::rsync::{self, Form, Options};
use crate::seen::Kind;
use crate::sys::files::Root;
use crate::sys::process::Rsync;
use std::io::{BufReader, Read, Seek};

/// Exit status 0 when everything is identical.
pub fn run(invocation: &Invocation, verify: &Verify) -> Result<Exit> {
    let loaded = config::read(&invocation.files_or_default()?);
    if loaded.has_errors() {
        let lines: Vec<String> = loaded.diagnostics.iter().map(ToString::to_string).collect();
        return Err(Error::usage(lines.join("\n")));
    }
    let mut known = Vec::new();
    for mut localpath in loaded.config.localpaths {
        let names = localpath.remotes.iter().map(Remote::name).collect();
        let own = [&invocation.directories.state, &invocation.directories.run];
        let own = own.into_iter().map(|dir| dir.as_path());
        let fail_log = localpath.fail_log.clone();
        let own = own.chain(fail_log.iter().map(|f| f.path.as_path()));
        localpath.filter.inside = own_files(localpath.watch.as_path(), own);
        known.push((localpath.watch.clone(), names, localpath));
    }
    let mut show = Show::new(verify.format);
    let mut fine = true;
    for (pair, localpath) in choose(verify, known)? {
        let remote = localpath.remotes.iter().find(|r| r.name() == pair.remote);
        let Some(remote) = remote else { continue };
        show.begin(&pair.watch, &pair.remote);
        let end = compare(&pair, &localpath, remote, verify.checksum, |d| show.difference(&d))?;
        let found = show.end(&end, &Failing::default(), false);
        fine &= found.whole && found.differ == 0;
    }
    Ok(if fine { Exit::Ok } else { Exit::No })
}

fn compare(
    pair: &Pair,
    localpath: &LocalPath,
    remote: &Remote,
    checksum: bool,
    mut each: impl FnMut(Difference),
) -> Result<VerifyEnd> {
    let filter = Filter::new(&localpath.filter)
        .map_err(|e| Error::usage(e.first().map(|e| e.text.clone()).unwrap_or_default()))?;
    let broken = |e: std::io::Error| Error::system(&remote.rsync_program, e);
    let (mut rsync, _root) = start(pair, localpath, remote, checksum)?;
    let busy = Busy::new(pair, checksum);
    busy.show();
    let (mut entries, mut printed) = (0, 0);
    let exited = loop {
        if let Some(exited) = rsync.ended().map_err(broken)? {
            break exited;
        }
        if Busy::shows() {
            let (lines, at) = rsync.lines_after(printed);
            (entries, printed) = (entries + lines, at);
            busy.at(VerifyAt { entries, bytes: rsync.bytes_read().unwrap_or(0) });
        }
        std::thread::sleep(PAUSE);
    };
    drop(busy);
    let mut stderr = Vec::new();
    rsync
        .stderr
        .rewind()
        .and_then(|()| (&rsync.stderr).take(1 << 20).read_to_end(&mut stderr))
        .map_err(broken)?;
    rsync.stdout.rewind().map_err(broken)?;
    let judgement = outcome::verdict(exited, &stderr);
    let Some(mut complete) = completeness(&judgement, &stderr) else {
        return Ok(VerifyEnd::Failed(judgement.words));
    };
    let (mut differ, mut totals) = (Differ::default(), Totals::default());
    for line in Lines::new(BufReader::new(&rsync.stdout)) {
        match line.map_err(broken)? {
            Line::Change(change) => {
                let why = differ.why(&change);
                let deleted = change.kind == ChangeKind::Deleted;
                let counts = change.path.is_within(&pair.below)
                    && (!deleted || localpath.inotify.delete)
                    && !filter.excludes(&change.path, change.is_dir);
                if counts && !why.is_empty() {
                    each(Difference { path: change.path, dir: change.is_dir, why, pending: false });
                }
            }
            Line::DeletionsSkipped => complete = false,
            Line::Text(text) => totals.read(&text),
            Line::NotEmpty(_) | Line::NonRegular(_) => {}
        }
    }
    Ok(match complete {
        true => VerifyEnd::Done { entries: totals.files },
        false => VerifyEnd::Incomplete(judgement.words),
    })
}

/// Whether everything could be compared; `None` when nothing could.
fn completeness(judgement: &Judgement, stderr: &[u8]) -> Option<bool> {
    match judgement.verdict {
        Verdict::Settled | Verdict::Gone => Some(true),
        Verdict::Partial => Some(outcome::only_in_the_way(stderr)),
        _ => None,
    }
}

fn start(
    pair: &Pair,
    localpath: &LocalPath,
    remote: &Remote,
    checksum: bool,
) -> Result<(Rsync, Root)> {
    let root = Root::open(localpath.watch.as_path())
        .map_err(|e| Error::new(Exit::No, format!("{}: {e}", localpath.watch)))?;
    let delete = localpath.inotify.delete;
    let options =
        Options { checksum, dry: true, delete, force: true, stats: true, unchanged: Busy::shows() };
    let top =
        directory_of(&pair.below, |path| root.lstat(path).is_ok_and(|seen| seen.kind == Kind::Dir));
    let (form, list) = match top.is_root() {
        true => (Form::Everything { exclude: Vec::new() }, Vec::new()),
        false => (Form::Tree, rsync::list_directories([&top])),
    };
    let argv = rsync::argv(remote, &form, options);
    let scratch = std::env::temp_dir();
    let rsync =
        Rsync::start(&argv, rsync::ENV, rsync::ENV_REMOVE, &root.proc_path(), &list, &scratch)
            .map_err(|e| Error::system(&remote.rsync_program, e))?;
    Ok((rsync, root))
}
