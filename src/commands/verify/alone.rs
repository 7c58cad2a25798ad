//! `syncsup verify -o FILE` while no instance is running: does the same dry run from this process. It needs no journal,
//! so no path is reported as pending: a change after the instance ended is a difference.

use super::busy::BusyLine;
use super::pair::{Failing, Pair};
use super::show::VerifyOutput;
use super::{PAUSE, choose};
use crate::commands::invocation::{Invocation, Verify};
use crate::config::model::{LocalPath, Remote};
use crate::config::{self, credentials};
use crate::error::{Error, Exit, Result};
use crate::filter::{Filter, own_files};
use crate::instance::{directories, run_as};
use crate::message::{Difference, VerifyEnd};
use crate::path::RelPath;
use crate::rsync::argv::{self, Check, Form, Options};
use crate::rsync::charset::Charsets;
use crate::rsync::complaint;
use crate::rsync::differ::{Differ, directory_of};
use crate::rsync::excluded::{Holders, topmost};
use crate::rsync::exit_status::{self, Verdict};
use crate::rsync::itemize::{Change, ChangeKind, Line};
use crate::rsync::params;
use crate::rsync::refused;
use crate::rsync_run::dry_run::{Compared, DryRun};
use crate::rsync_run::patience::Patience;
use crate::rsync_run::run::Finished;
use crate::stat::Kind;
use crate::sys::files::Root;
use crate::sys::rsync::Launch;
use crate::sys::{clock, log};
use std::collections::BTreeSet;
use std::io::{self, Write};
use tempfile::NamedTempFile;

/// Exit status 0 if everything is identical.
pub fn run(invocation: &Invocation, verify: &Verify) -> Result<Exit> {
    run_as::assume_owner(&invocation.directories, &log::logger(false))?;
    let mut loaded = config::read(&invocation.files_or_default()?);
    let directory = directories::credentials();
    loaded.diagnostics.extend(credentials::resolve(&mut loaded.config, directory.as_deref()));
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
    let mut show = VerifyOutput::new(verify.format);
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
    let busy = BusyLine::new(pair, checksum);
    busy.show();
    // Excluded paths that rsync complained about.
    let mut left_out = BTreeSet::new();
    // Names that rsync could not convert.
    let mut unconverted = BTreeSet::new();
    let mut refused: Vec<&'static str> = Vec::new();
    let (finished, unconvertible) = loop {
        let (run, unconvertible) =
            start(pair, localpath, remote, checksum, &filter, (&left_out, &unconverted), &refused)?;
        let finished = ended(run, &busy).map_err(broken)?;
        let (judgement, stderr) = (&finished.judgement, &finished.stderr);
        // Without the requested comparison by content, the result would mean nothing. That option is not left out.
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
            left_out.extend(excluded_of(stderr, localpath, remote, &filter));
        }
        if left_out.len() == before {
            let before = unconverted.len();
            if params::charsets(&remote.peer.params).is_some()
                && judgement.verdict != Verdict::Settled
            {
                let watch = localpath.watch.as_path();
                let real = watch.canonicalize().unwrap_or_else(|_| watch.to_owned());
                unconverted.extend(complaint::unconverted(stderr, &real));
            }
            if unconverted.len() == before {
                break (finished, argv::unconvertible_message(&unconvertible));
            }
        }
    };
    drop(busy);
    let mut holders = Holders::default();
    let mut counts = |change: &Change| {
        let deleted = change.kind == ChangeKind::Deleted;
        let excluded = filter.excludes(&change.path, change.is_dir);
        change.path.is_within(&pair.below)
            && !(deleted && holders.stays(&change.path, excluded))
            && (!deleted || localpath.inotify.delete)
            && !excluded
    };
    let compared = match Compared::read(finished, || {}, |_| true).map_err(broken)? {
        Ok(compared) => compared,
        Err(judgement) => return Ok(VerifyEnd::Failed(judgement.message)),
    };
    let refused = exit_status::refuses_names(compared.stderr());
    let refused = refused.then_some(compared.judgement().message.as_str());
    let incomplete = compared.incomplete().or(refused).map(str::to_owned).or(unconvertible);
    let entries = compared.totals.files;
    let mut differ = Differ::default();
    for line in compared.into_lines().map_err(broken)? {
        let Line::Change(change) = line.map_err(broken)? else { continue };
        let why = differ.why(&change);
        if counts(&change) && !why.is_empty() {
            each(Difference { path: change.path, dir: change.is_dir, why, pending: false });
        }
    }
    Ok(match incomplete {
        None => VerifyEnd::Done { entries },
        Some(words) => VerifyEnd::Incomplete(words),
    })
}

/// Waits for the dry run to end, and shows its progress.
fn ended(mut run: DryRun, busy: &BusyLine) -> io::Result<Finished> {
    loop {
        if let Some(exited) = run.poll(clock::boot())? {
            return run.into_run().finish(exited);
        }
        if BusyLine::shows() {
            busy.at(run.compared());
        }
        std::thread::sleep(PAUSE);
    }
}

/// The excluded paths in rsync's error messages.
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

fn start(
    pair: &Pair,
    localpath: &LocalPath,
    remote: &Remote,
    checksum: bool,
    filter: &Filter,
    (left_out, unconverted): (&BTreeSet<RelPath>, &BTreeSet<RelPath>),
    refused: &[&str],
) -> Result<(DryRun, Vec<RelPath>)> {
    let root = Root::open(localpath.watch.as_path())
        .map_err(|e| Error::new(Exit::No, format!("{}: {e}", localpath.watch)))?;
    let delete = localpath.inotify.delete;
    let options = Options {
        check: Check::by_content(checksum),
        dry: true,
        delete,
        force: true,
        stats: true,
        unchanged: BusyLine::shows(),
    };
    let top =
        directory_of(&pair.below, |path| root.lstat(path).is_ok_and(|stat| stat.kind == Kind::Dir));
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
    let can_convert =
        |c: Charsets, path: &RelPath| c.can_convert(path) && !unconverted.contains(path);
    let unconvertible = match charsets {
        Some(charsets) => root.names_below(
            tops,
            true,
            |path| !can_convert(charsets, path) && !filter.excludes(path, true),
            |path| !filter.excludes(path, true),
            || {},
        ),
        None => Vec::new(),
    };
    let left_out = left_out.iter().chain(&unconvertible);
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
    let launch = Launch {
        argv: &argv,
        envs: argv::ENV,
        unset: argv::ENV_REMOVE,
        directory: &root.proc_path(),
        scratch: &std::env::temp_dir(),
        confined: None,
    };
    let rsync = launch.start(&list).map_err(broken)?;
    let (rsync, timeout_s) = (rsync.reading(rules), remote.peer.timeout_s);
    let run = DryRun::new(rsync, root, timeout_s, Patience::FOR_THE_TIMEOUT, clock::boot());
    Ok((if checksum { run.by_content() } else { run }, unconvertible))
}
