//! `syncsup journal list`, `retry`, `drop`: the paths that could not be pushed, or for which plugins could not be
//! called. Also shows how much else waits, and why.

mod left;

use crate::commands::client::{self, RunningInstance};
use crate::commands::invocation::{Invocation, JournalAction, Which};
use crate::commands::{print, print_exactly, resolve, status, table};
use crate::config;
use crate::config::model::{Remote, plugin_titles};
use crate::error::{Error, Exit, Result};
use crate::help_topic::HelpTopic;
use crate::instance::failures::OfflineJournal;
use crate::instance::localpaths::{self, ConfiguredLocalPath};
use crate::instance::run_as;
use crate::language::{Language, counted, listed, say, words};
use crate::message::{Answer, Failure, Request, Whose};
use crate::path::{OsBytes, RelPath, printable};
use crate::sys::{clock, log};
use serde::Serialize;
use std::collections::BTreeSet;

/// The owner of a journal: a running instance, or none.
enum Keeper {
    Instance(RunningInstance),
    Nobody(OfflineJournal),
}

/// One localpath with its remotes and plugins.
struct LocalPathFailures {
    watch: OsBytes,
    parties: Vec<FailureParty>,
    keeper: Keeper,
    /// Only what is at or below these paths. Everything if empty.
    below: Vec<RelPath>,
}

/// A remote or plugin that may have failures.
struct FailureParty {
    whose: Whose,
    /// What waits without a failure, and why.
    left: Option<String>,
    /// What says what to do about that.
    help: Option<HelpTopic>,
}

#[derive(Serialize)]
struct ShownFailure<'a> {
    localpath: &'a OsBytes,
    /// `remote` or `plugin`, and its name.
    #[serde(flatten)]
    whose: &'a Whose,
    #[serde(flatten)]
    failure: &'a Failure,
}

/// Exit status 0 if it was done, or if there was nothing to do.
pub fn run(invocation: &Invocation, action: &JournalAction) -> Result<Exit> {
    match action {
        JournalAction::List { which, json } => list(&places(invocation, which)?, which, *json),
        JournalAction::Retry(which) => change(&places(invocation, which)?, which, false),
        JournalAction::Drop(which) => change(&places(invocation, which)?, which, true),
    }
}

/// The selected localpaths.
fn places(invocation: &Invocation, which: &Which) -> Result<Vec<LocalPathFailures>> {
    let mut all = Vec::new();
    for instance in client::running(invocation)? {
        for localpath in instance.status()?.localpaths {
            let remotes = localpath.remotes.into_iter().map(|r| {
                let left = left::of_remote(&r, status::trouble(&r));
                FailureParty { whose: Whose::Remote(r.name), left, help: r.status.help }
            });
            let plugins = localpath.plugins.into_iter().map(|p| {
                let left = left::of_plugin(&p);
                FailureParty { whose: Whose::Plugin(p.name), left, help: p.help }
            });
            let (parties, keeper) =
                (remotes.chain(plugins).collect(), Keeper::Instance(instance.clone()));
            all.push(LocalPathFailures {
                watch: localpath.watch,
                parties,
                keeper,
                below: Vec::new(),
            });
        }
    }
    if all.is_empty() {
        if invocation.files.is_empty() {
            return Err(client::none(invocation));
        }
        all = kept_by_nobody(invocation)?;
    }
    known(&all, which)?;
    let watches: Vec<OsBytes> = all.iter().map(|p| p.watch.clone()).collect();
    for path in &which.paths {
        for (watch, below) in resolve::within(path, &watches)? {
            all.iter_mut().filter(|p| p.watch == watch).for_each(|p| p.below.push(below.clone()));
        }
    }
    if !which.paths.is_empty() {
        all.retain(|p| !p.below.is_empty());
    }
    for place in &mut all {
        place.parties.retain(|party| meant(which, &party.whose));
        // Keeps each path once, so that no row is counted twice.
        place.below.sort();
        place.below.dedup();
        let above = place.below.clone();
        place.below.retain(|path| !above.iter().any(|a| a != path && path.is_within(a)));
    }
    Ok(all)
}

/// True if the selection includes it. If only remotes are named, it includes no plugins, and the other way round.
fn meant(which: &Which, whose: &Whose) -> bool {
    match whose {
        _ if which.remotes.is_empty() && which.plugins.is_empty() => true,
        Whose::Remote(name) => which.remotes.contains(name),
        Whose::Plugin(name) => which.plugins.contains(name),
    }
}

/// Checks that every given name is known.
fn known(all: &[LocalPathFailures], which: &Which) -> Result<()> {
    let parties = || all.iter().flat_map(|p| &p.parties).map(|p| &p.whose);
    let remotes = parties().filter_map(|w| match w {
        Whose::Remote(name) => Some(name.as_str()),
        Whose::Plugin(_) => None,
    });
    let plugins = parties().filter_map(|w| match w {
        Whose::Plugin(name) => Some(name.as_str()),
        Whose::Remote(_) => None,
    });
    let (remotes, plugins): (Vec<_>, Vec<_>) = (remotes.collect(), plugins.collect());
    for (option, names, there, none) in [
        ("--remote", &which.remotes, remotes, say!("no remote is configured")),
        ("--plugin", &which.plugins, plugins, say!("no plugin is configured")),
    ] {
        if let Some(name) = names.iter().find(|name| !there.contains(&name.as_str())) {
            let name = printable(name.as_bytes());
            return Err(Error::usage(match there[..] {
                [] => format!("{option} {name}: {none}"),
                _ => say!("{} {}: not configured; there are: {}", option, name, listed(&there)),
            }));
        }
    }
    Ok(())
}

fn kept_by_nobody(invocation: &Invocation) -> Result<Vec<LocalPathFailures>> {
    run_as::assume_owner(&invocation.directories, &log::logger(false))?;
    let loaded = config::read(&invocation.files_or_default()?);
    if loaded.has_errors() {
        let lines: Vec<String> = loaded.diagnostics.iter().map(ToString::to_string).collect();
        return Err(Error::usage(lines.join("\n")));
    }
    let place = |wanted: ConfiguredLocalPath| {
        let alone = OfflineJournal::take(&wanted, &invocation.directories.state)?;
        let mut parties = Vec::new();
        for name in wanted.remotes.iter().map(Remote::name) {
            let left = alone.backlog(&name)?.and_then(|(backlog, reconcile)| {
                let left = backlog.waiting + backlog.owed;
                let reconcile = reconcile.map(|why| why.to_string());
                left::of_nobody(left, backlog.failing, reconcile.as_deref())
            });
            parties.push(FailureParty { whose: Whose::Remote(name), left, help: None });
        }
        let plugins = plugin_titles(&wanted.localpath.plugins).into_iter().map(Whose::Plugin);
        parties.extend(plugins.map(|whose| FailureParty { whose, left: None, help: None }));
        let (watch, keeper) = (wanted.localpath.watch, Keeper::Nobody(alone));
        Ok(LocalPathFailures { watch, parties, keeper, below: Vec::new() })
    };
    localpaths::configured(&loaded.config).into_iter().map(place).collect()
}

impl LocalPathFailures {
    fn some(&self, whose: &Whose, after: Option<RelPath>) -> Result<Vec<Failure>> {
        match &self.keeper {
            Keeper::Nobody(alone) => alone.list(whose, after.as_ref()),
            Keeper::Instance(instance) => {
                let (watch, whose) = (self.watch.clone(), whose.clone());
                match instance.ask(&Request::Failing { watch, whose, after }, client::PATIENCE)? {
                    Answer::Failing(rows) => Ok(rows),
                    _ => Err(client::unexpected()),
                }
            }
        }
    }

    /// Reads all selected failures, in portions.
    fn each(&self, whose: &Whose, mut take: impl FnMut(Vec<Failure>)) -> Result<()> {
        let mut after = None;
        loop {
            let mut rows = self.some(whose, after)?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = Some(last.path.clone());
            let meant = |f: &Failure| self.below.iter().any(|b| f.path.is_within(b));
            rows.retain(|f| self.below.is_empty() || meant(f));
            take(rows);
        }
    }

    fn change(&self, whose: &Whose, forget: bool) -> Result<u64> {
        match &self.keeper {
            Keeper::Nobody(alone) => alone.change(whose, &self.below, forget),
            Keeper::Instance(instance) => {
                let (watch, whose) = (self.watch.clone(), whose.clone());
                let request = Request::Failures { watch, whose, below: self.below.clone(), forget };
                match instance.ask(&request, client::PATIENCE)? {
                    Answer::Count(count) => Ok(count),
                    _ => Err(client::unexpected()),
                }
            }
        }
    }
}

fn list(places: &[LocalPathFailures], which: &Which, json: bool) -> Result<Exit> {
    let mut any = false;
    let mut topics = BTreeSet::new();
    for place in places {
        for FailureParty { whose, left, help } in &place.parties {
            let mut all = Vec::new();
            place.each(whose, |rows| match json {
                true => rows.iter().for_each(|failure| {
                    let row = ShownFailure { localpath: &place.watch, whose, failure };
                    print_exactly(&(serde_json::to_string(&row).unwrap_or_default() + "\n"));
                }),
                false => all.extend(rows),
            })?;
            if !all.is_empty() {
                any = true;
                topics.insert(match whose {
                    Whose::Remote(_) => HelpTopic::FailingPaths,
                    Whose::Plugin(_) => HelpTopic::PluginFailing,
                });
                print(&format!(
                    "{} {}\n{}",
                    place.watch,
                    shown(whose),
                    rows(&all, clock::wall_ms())
                ));
            }
            if let Some(left) = left.as_ref().filter(|_| !json) {
                any = true;
                topics.extend(*help);
                print(&format!("{} {}: {left}\n", place.watch, shown(whose)));
            }
        }
    }
    if !any && !json {
        print(&nothing(which));
    }
    topics.into_iter().for_each(|topic| print(&format!("{}\n", status::help(topic))));
    Ok(Exit::Ok)
}

fn nothing(which: &Which) -> String {
    match which.paths.is_empty() && which.remotes.is_empty() && which.plugins.is_empty() {
        true => say!("nothing fails\n"),
        false => say!("nothing fails there\n"),
    }
}

fn shown(whose: &Whose) -> String {
    match whose {
        Whose::Remote(name) => name.clone(),
        Whose::Plugin(name) => say!("plugin {}", name),
    }
}

/// One line per path.
fn rows(failures: &[Failure], now_ms: i64) -> String {
    let head = [say!("  PATH"), say!("TRIES"), say!("SINCE"), say!("NEXT TRY"), say!("WHY")];
    let mut lines = vec![head.to_vec()];
    let language = Language::current();
    lines.extend(failures.iter().map(|f| {
        let since = now_ms.saturating_sub(f.since_ms).max(0) as u64;
        let next = match f.next_try_ms.map(|at| at.saturating_sub(now_ms)) {
            None => say!("given up"),
            Some(ms @ 1..) => language.say(words::IN, &[&language.span(ms as u64)]),
            Some(_) => say!("now"),
        };
        let since = language.say(words::AGO, &[&language.span(since)]);
        vec![
            format!("  {}", f.path),
            f.attempts.to_string(),
            since,
            next,
            status::one_line(&f.error),
        ]
    }));
    table::columns(&lines)
}

fn change(places: &[LocalPathFailures], which: &Which, forget: bool) -> Result<Exit> {
    let mut any = false;
    for place in places {
        for FailureParty { whose, help, .. } in &place.parties {
            let count = place.change(whose, forget)?;
            // A remote in trouble or held may have no path that fails. It is tried, too.
            let tried = !forget && help.is_some() && which.paths.is_empty();
            let remote = matches!(whose, Whose::Remote(_));
            any |= count > 0;
            if count == 0 && tried && remote && matches!(place.keeper, Keeper::Instance(_)) {
                any = true;
                print(&say!("{} {}: retried now\n", place.watch, shown(whose)));
            }
            if count > 0 {
                let paths = counted(count, words::PATHS);
                let done = match (forget, whose, &place.keeper) {
                    (true, Whose::Remote(_), _) => {
                        say!("dropped; the next reconcile finds them if they still differ")
                    }
                    (true, Whose::Plugin(_), _) => say!("dropped; their next change causes a call"),
                    (false, _, Keeper::Instance(_)) => say!("retried now"),
                    (false, _, Keeper::Nobody(_)) => say!("retried when an instance starts"),
                };
                print(&say!("{} {}: {} {}\n", place.watch, shown(whose), paths, done));
            }
        }
    }
    if !any {
        print(&nothing(which));
    }
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failing_paths_are_shown_as_a_table() {
        let failure = |path: &str, next_try_ms| Failure {
            path: RelPath::new(path).unwrap(),
            error: "rsync: Permission denied\n(13)".into(),
            attempts: 3,
            since_ms: 1_000,
            next_try_ms: Some(next_try_ms),
        };
        let given_up = Failure { next_try_ms: None, ..failure("d", 0) };
        let text = rows(&[failure("a\nb", 130_000), failure("c", 5), given_up], 121_000);
        assert_eq!(
            text,
            "  PATH    TRIES  SINCE      NEXT TRY  WHY\n  \
             a\\x0ab  3      2 min ago  in 9.0 s  rsync: Permission denied; (13)\n  \
             c       3      2 min ago  now       rsync: Permission denied; (13)\n  \
             d       3      2 min ago  given up  rsync: Permission denied; (13)\n"
        );
    }
}
