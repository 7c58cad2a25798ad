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
use crate::path::RelPath;
use crate::rsync::argv::{self, Form, Options};
use crate::rsync::charset::Charsets;
use crate::rsync::complaint;
use crate::rsync::differ::{Differ, directory_of};
use crate::rsync::excluded::{Holders, topmost};
use crate::rsync::exit_status::{self, Judgement, Verdict};
use crate::rsync::itemize::{self, ChangeKind, Line, Lines, Totals};
use crate::rsync::params;
use crate::rsync::refused;
use crate::seen::Kind;
use crate::sys::files::Root;
use crate::sys::process::Rsync;
use std::collections::BTreeSet;
use std::io::{self, BufReader, Seek, Write};
use std::time::Duration;
use tempfile::NamedTempFile;

/// What rsync has beyond its timeout.
const GRACE: Duration = Duration::from_secs(30);
/// The same when it compares by content: a file of 1 TiB at 20 MiB/s.
const BY_CONTENT: Duration = Duration::from_secs(52_429);

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
    let broken = |e: std::io::Error| Error::system(&remote.peer.rsync_program, e);
    let limit = limit(remote, checksum);
    let busy = Busy::new(pair, checksum);
    busy.show();
    // What is excluded, and an rsync stumbled over there.
    let mut left_out = BTreeSet::new();
    // What it could not convert.
    let mut unconverted = BTreeSet::new();
    let mut refused: Vec<&'static str> = Vec::new();
    let (rsync, stderr, judgement, unkept) = loop {
        let (mut rsync, _root, unkept) =
            start(pair, localpath, remote, checksum, &filter, (&left_out, &unconverted), &refused)?;
        let (stderr, judgement) = match ended(&mut rsync, limit, &busy) {
            Err(e) if e.kind() == io::ErrorKind::TimedOut => {
                return Ok(VerifyEnd::Failed(e.to_string()));
            }
            ended => ended.map_err(broken)?,
        };
        // Without a comparison by content that is asked for, nothing would be known.
        if let Verdict::Refused(option) = judgement.verdict
            && option != refused::CHECKSUM
            && refused::instead(option).is_some()
            && !refused.contains(&option)
        {
            refused.push(option);
            continue;
        }
        let before = left_out.len();
        if judgement.verdict == Verdict::Partial {
            left_out.extend(excluded_of(&stderr, localpath, remote, &filter));
        }
        if left_out.len() == before {
            let before = unconverted.len();
            if params::charsets(&remote.peer.params).is_some()
                && judgement.verdict != Verdict::Settled
            {
                let watch = localpath.watch.as_path();
                let real = watch.canonicalize().unwrap_or_else(|_| watch.to_owned());
                unconverted.extend(complaint::unconverted(&stderr, &real));
            }
            if unconverted.len() == before {
                break (rsync, stderr, judgement, argv::unkept_words(&unkept));
            }
        }
    };
    drop(busy);
    (&rsync.stdout).rewind().map_err(broken)?;
    let Some(mut complete) = completeness(&judgement, &stderr) else {
        return Ok(VerifyEnd::Failed(judgement.words));
    };
    let (mut differ, mut totals) = (Differ::default(), Totals::default());
    let mut holders = Holders::default();
    for line in Lines::new(BufReader::new(&rsync.stdout)) {
        match line.map_err(broken)? {
            Line::Change(change) => {
                let why = differ.why(&change);
                let deleted = change.kind == ChangeKind::Deleted;
                let excluded = filter.excludes(&change.path, change.is_dir);
                let counts = change.path.is_within(&pair.below)
                    && !(deleted && holders.stays(&change.path, excluded))
                    && (!deleted || localpath.inotify.delete)
                    && !excluded;
                if counts && !why.is_empty() {
                    each(Difference { path: change.path, dir: change.is_dir, why, pending: false });
                }
            }
            Line::DeletionsSkipped => complete = false,
            Line::Text(text) => totals.read(&text),
            Line::NotEmpty(_) | Line::NonRegular(_) => {}
        }
    }
    Ok(match (complete, unkept) {
        (true, None) => VerifyEnd::Done { entries: totals.files },
        (true, Some(words)) => VerifyEnd::Incomplete(words),
        (false, _) => VerifyEnd::Incomplete(judgement.words),
    })
}

/// How long nothing may move, beside rsync's own timeout: a remote that compares content may read for long before it says
/// anything.
fn limit(remote: &Remote, checksum: bool) -> Duration {
    let reads = if checksum { BY_CONTENT } else { GRACE };
    Duration::from_secs(u64::from(remote.peer.timeout_s)) + reads
}

/// Waits for its end; its complaints and what they mean.
fn ended(rsync: &mut Rsync, limit: Duration, busy: &Busy) -> io::Result<(Vec<u8>, Judgement)> {
    let (mut entries, mut printed) = (0, 0);
    let exited = rsync.finish(limit, PAUSE, |rsync| {
        if Busy::shows() {
            let (lines, at) = rsync.lines_after(printed);
            (entries, printed) = (entries + lines, at);
            busy.at(VerifyAt { entries, bytes: rsync.bytes_read().unwrap_or(0) });
        }
    })?;
    let stderr = rsync.complaints()?;
    let judgement = exit_status::verdict(exited, &stderr);
    let last = rsync.printed_last(itemize::CLOSING_BYTES)?;
    Ok(match judgement.verdict.is_an_end() && !itemize::is_closed(&last) {
        true => (stderr, judgement.without_statistics(exited)),
        false => (stderr, judgement),
    })
}

/// The excluded paths that rsync complained of.
fn excluded_of(
    stderr: &[u8],
    localpath: &LocalPath,
    remote: &Remote,
    filter: &Filter,
) -> Vec<RelPath> {
    let watch = localpath.watch.as_path();
    let real = watch.canonicalize().unwrap_or_else(|_| watch.to_owned());
    let all = complaint::complaints(stderr, &real, argv::place_there(&remote.peer));
    let paths = all.into_iter().filter_map(|complaint| complaint.paths.into_iter().next());
    paths.filter_map(|path| topmost(&path, true, |p, dir| filter.excludes(p, dir))).collect()
}

/// Whether everything could be compared; `None` when nothing could.
fn completeness(judgement: &Judgement, stderr: &[u8]) -> Option<bool> {
    match judgement.verdict {
        Verdict::Settled | Verdict::Gone => Some(true),
        Verdict::Partial => Some(exit_status::only_in_the_way(stderr)),
        _ => None,
    }
}

fn start(
    pair: &Pair,
    localpath: &LocalPath,
    remote: &Remote,
    checksum: bool,
    filter: &Filter,
    (left_out, unconverted): (&BTreeSet<RelPath>, &BTreeSet<RelPath>),
    refused: &[&str],
) -> Result<(Rsync, Root, Vec<RelPath>)> {
    let root = Root::open(localpath.watch.as_path())
        .map_err(|e| Error::new(Exit::No, format!("{}: {e}", localpath.watch)))?;
    let delete = localpath.inotify.delete;
    let options =
        Options { checksum, dry: true, delete, force: true, stats: true, unchanged: Busy::shows() };
    let top =
        directory_of(&pair.below, |path| root.lstat(path).is_ok_and(|seen| seen.kind == Kind::Dir));
    let (form, list) = match top.is_root() {
        true => (Form::Everything { exclude: Vec::new() }, Vec::new()),
        false => (Form::Tree, argv::list_directories([&top])),
    };
    let mut argv = argv::argv(&remote.peer, &form, options);
    refused::leave_out(&mut argv, refused);
    let patterns = filter.patterns();
    let charsets = params::charsets(&remote.peer.params);
    let tops = vec![top];
    let patterns = patterns.with(charsets.is_some());
    let here = match patterns.others {
        true => {
            let excludes = |p: &RelPath| filter.excludes(p, true);
            root.excluded_below(tops.clone(), true, usize::MAX, excludes, || {})
        }
        false => Vec::new(),
    };
    let keeps = |c: Charsets, path: &RelPath| c.keeps(path) && !unconverted.contains(path);
    let unkept = match charsets {
        Some(charsets) => root.names_below(
            tops,
            true,
            |path| !keeps(charsets, path) && !filter.excludes(path, true),
            |path| !filter.excludes(path, true),
            || {},
        ),
        None => Vec::new(),
    };
    let left_out = left_out.iter().chain(&unkept);
    let rules = argv::leave_out_rules(&patterns.exact, &here, left_out, charsets);
    let broken = |e: io::Error| Error::system(&remote.peer.rsync_program, e);
    let rules = match rules.as_slice() {
        [] => None,
        rules => {
            let mut file = NamedTempFile::new().map_err(broken)?;
            file.write_all(rules).map_err(broken)?;
            argv::leave_out(&mut argv, file.path());
            Some(file)
        }
    };
    let scratch = std::env::temp_dir();
    let rsync =
        Rsync::start(&argv, argv::ENV, argv::ENV_REMOVE, &root.proc_path(), &list, &scratch)
            .map_err(broken)?;
    Ok((rsync.reading(rules), root, unkept))
}
