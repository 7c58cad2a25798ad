//! Checks whether a remote has lost data that it has acknowledged (rule 26). [`super::state`] decides what follows.

use super::batch::Beside;
use super::context::Context;
use super::doubt::{self, Names};
use super::jobs::Jobs;
use super::jobs::push::Push;
use crate::journal::{Events, JournalError, Owe, Scope, Settlement};
use crate::path::RelPath;
use crate::stat::{Kind, Stat};
use crate::sys::{clock, files};
use slog::info;
use std::collections::BTreeMap;
use std::io;

/// Owes again what the remote settled recently. Returns true if it settled more than the journal remembers.
pub fn owe_recent(context: &mut Context, events: Events) -> Result<bool, JournalError> {
    let recent = context.journal.recent(&context.name)?;
    let now_ms = clock::wall_ms();
    let watch = context.start.localpath.watch.as_path();
    let found = |path: &RelPath| files::lstat(&path.below(watch));
    let gone = |path: &RelPath| found(path).is_err_and(|e| files::is_no_directory(&e));
    let mut rows: BTreeMap<RelPath, (Scope, Events)> = BTreeMap::new();
    for path in &recent.paths {
        let above = || std::iter::successors(path.parent(), RelPath::parent);
        let (path, row) = match gone(path) {
            // It may have disappeared while no watcher ran. So its directory is compared, under the delete guard.
            true => {
                let there = above().find(|dir| !gone(dir)).unwrap_or_default();
                (there, (Scope::Children, Events::SCAN | Events::DIR))
            }
            false => {
                let dir = found(path).is_ok_and(|stat| stat.kind == Kind::Dir);
                let dir = if dir { Events::DIR } else { Events::default() };
                (path.clone(), (Scope::Entry, events | dir))
            }
        };
        let known = rows.entry(path).or_insert(row);
        *known = (known.0.max(row.0), known.1 | row.1);
    }
    let owe = |(path, (scope, events))| Owe {
        path,
        scope,
        events,
        error: None,
        attempts: 0,
        next_try_ms: now_ms,
        since_ms: now_ms,
    };
    if !recent.paths.is_empty() {
        info!(context.log, "pushing recent paths again"; "paths" => recent.paths.len());
    }
    let end = Settlement { owe: rows.into_iter().map(owe).collect(), ..Settlement::default() };
    context.journal.settle(&context.name, &end, now_ms)?;
    // After it is owed: a crash between the two must not lose it.
    context.journal.forget_recent(&context.name)?;
    Ok(recent.more)
}

/// A difference between the names in the root that is a sign of a loss. Names that are in flight, or newer than the
/// checkpoint, are no sign.
pub fn sign_in_names(
    context: &Context,
    jobs: &Jobs,
    names: Names,
) -> Result<Option<String>, JournalError> {
    let seen_ns = context.journal.checkpoint()?.map_or(i64::MAX, |last| last.at_ns);
    let watch = context.start.localpath.watch.as_path();
    let old = |found: io::Result<Stat>| found.is_ok_and(|stat| stat.ctime_ns <= seen_ns);
    let missing = names.missing.iter();
    let missing = missing.filter(|path| old(files::lstat(&path.below(watch))));
    let surplus = names.surplus.iter().filter(|_| old(files::stat(watch)));
    let missing = missing.map(|path| (path, "missing"));
    for (path, how) in missing.chain(surplus.map(|path| (path, "surplus"))) {
        let pending =
            jobs.in_flight(path) || context.journal.is_pending(&context.name, path, false)?;
        if !pending {
            let why = format!("the names in its root have changed: {path} is {how}");
            return Ok(Some(why));
        }
    }
    Ok(None)
}

/// A sign of a loss: a push had to create directories that the remote had before, so their contents are lost, too.
pub fn sign_in_created(
    context: &Context,
    jobs: &Jobs,
    push: &Push,
) -> Result<Option<String>, JournalError> {
    let findings = &push.findings;
    // Beside a push of everything, directories are missing that it has not reached yet.
    let none = findings.created.is_empty() && findings.lacked.is_empty();
    if none || findings.beside != Beside::Nothing {
        return Ok(None);
    }
    let seen_ns = context.journal.checkpoint()?.map_or(i64::MAX, |last| last.at_ns);
    let watch = context.start.localpath.watch.as_path();
    // A directory that was moved in after the checkpoint will be marked soon, and so may one above it.
    let old = |path: &RelPath| {
        path.prefixes().all(|part| {
            files::lstat(&part.below(watch))
                .is_ok_and(|stat| !doubt::may_have_moved_in(&stat, seen_ns))
        })
    };
    let created = findings.created.iter().map(|path| (path, true));
    // This batch contains the second ones, so they need no check.
    for (path, check) in created.chain(findings.lacked.iter().map(|path| (path, false))) {
        let known =
            push.settled_meanwhile.iter().any(|settled| settled.binary_search(path).is_ok());
        if known || jobs.in_flight(path) || (check && !old(path)) {
            continue;
        }
        if !check || !context.journal.is_pending(&context.name, path, false)? {
            return Ok(Some(format!("{path} was missing on the remote, but was not marked")));
        }
    }
    Ok(None)
}
