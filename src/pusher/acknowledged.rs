//! A remote that may have lost what it has acknowledged: what is looked at (rule 26). What is done about it,
//! [`super::state`] decides.

use super::context::Context;
use super::doubt::{self, Names};
use super::jobs::Jobs;
use super::jobs::push::Push;
use crate::journal::{Events, JournalError, Owe, Scope, Settlement};
use crate::path::RelPath;
use crate::stat::Stat;
use crate::sys::{clock, files};
use slog::info;
use std::collections::BTreeMap;
use std::io;

/// What the remote settled lately is owed again; true when that was more than is known.
pub fn owe_recent(context: &mut Context, events: Events) -> Result<bool, JournalError> {
    let recent = context.journal.recent(&context.name)?;
    let now_ms = clock::wall_ms();
    let watch = context.start.localpath.watch.as_path();
    let gone = |path: &RelPath| {
        files::lstat(&path.below(watch)).is_err_and(|e| files::is_no_directory(&e))
    };
    let mut rows: BTreeMap<RelPath, (Scope, Events)> = BTreeMap::new();
    for path in &recent.paths {
        let above = || std::iter::successors(path.parent(), RelPath::parent);
        let (path, row) = match gone(path) {
            // It may have gone while nobody watched: the directory is compared, under the delete guard.
            true => {
                let there = above().find(|dir| !gone(dir)).unwrap_or_default();
                (there, (Scope::Children, Events::SCAN | Events::DIR))
            }
            false => (path.clone(), (Scope::Entry, events)),
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
        info!(context.log, "what was pushed last is looked at again"; "paths" => recent.paths.len());
    }
    let end = Settlement { owe: rows.into_iter().map(owe).collect(), ..Settlement::default() };
    context.journal.settle(&context.name, &end, now_ms)?;
    // After it is owed: a death between the two must not forget it.
    context.journal.forget_recent(&context.name)?;
    Ok(recent.more)
}

/// What differs among the names in the root and is a sign. A name that is on its way, or so young that the watcher may not
/// have seen it, says nothing.
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
    for (path, how) in missing.chain(surplus.map(|path| (path, "there"))) {
        let on_its_way = jobs.in_hand(path)
            || jobs.names_touched.contains(path)
            || context.journal.on_its_way(&context.name, path, false)?;
        if !on_its_way {
            let why = format!("the names in its root are not what it had: {path} is {how}");
            return Ok(Some(why));
        }
    }
    Ok(None)
}

/// A push had to make directories that were there: the remote has lost more than them.
pub fn sign_in_made(
    context: &Context,
    jobs: &Jobs,
    push: &Push,
) -> Result<Option<String>, JournalError> {
    let findings = &push.findings;
    if findings.made.is_empty() && findings.lacked.is_empty() {
        return Ok(None);
    }
    let seen_ns = context.journal.checkpoint()?.map_or(i64::MAX, |last| last.at_ns);
    let watch = context.start.localpath.watch.as_path();
    // One that was moved here after all that the watcher has seen is about to be marked, and so may be one above it.
    let old = |path: &RelPath| {
        path.prefixes().all(|part| {
            files::lstat(&part.below(watch)).is_ok_and(|stat| !doubt::may_have_come(&stat, seen_ns))
        })
    };
    let made = findings.made.iter().map(|path| (path, true));
    // These are on their way themselves.
    for (path, look) in made.chain(findings.lacked.iter().map(|path| (path, false))) {
        let known = push.beside.iter().any(|settled| settled.binary_search(path).is_ok());
        if known || jobs.in_hand(path) || (look && !old(path)) {
            continue;
        }
        if !look || !context.journal.on_its_way(&context.name, path, false)? {
            return Ok(Some(format!("{path} was missing there, though nobody had changed it")));
        }
    }
    Ok(None)
}
