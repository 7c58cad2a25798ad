//! `syncsup journal list`, `retry`, `drop`: what could not be pushed, path by path.

use super::client::{self, Instance};
use super::invocation::{Invocation, JournalAction, Which};
use super::{place, print, status, table};
use crate::config;
use crate::config::model::Remote;
use crate::error::{Error, Exit, Result};
use crate::message::{Answer, Failure, Request};
use crate::path::{OsBytes, RelPath, printable};
use crate::supervisor::failures::Alone;
use crate::supervisor::topology;
use crate::sys::clock;
use serde::Serialize;

/// Where a journal is: with a running instance, or with nobody.
enum Keeper {
    Instance(Instance),
    Nobody(Alone),
}

/// One localpath with the names of its remotes.
struct Place {
    watch: OsBytes,
    remotes: Vec<String>,
    keeper: Keeper,
    /// Only what is at or below these; everything when empty.
    below: Vec<RelPath>,
}

#[derive(Serialize)]
struct Row<'a> {
    localpath: &'a OsBytes,
    remote: &'a str,
    #[serde(flatten)]
    failure: &'a Failure,
}

/// Exit status 0 when it was done, also when there was nothing to do.
pub fn run(invocation: &Invocation, action: &JournalAction) -> Result<Exit> {
    match action {
        JournalAction::List { which, json } => list(&places(invocation, which)?, which, *json),
        JournalAction::Retry(which) => change(&places(invocation, which)?, which, false),
        JournalAction::Drop(which) => change(&places(invocation, which)?, which, true),
    }
}

/// The localpaths that are meant.
fn places(invocation: &Invocation, which: &Which) -> Result<Vec<Place>> {
    let mut all = Vec::new();
    for instance in client::running(invocation)? {
        for localpath in instance.status()?.localpaths {
            let remotes = localpath.remotes.into_iter().map(|r| r.name).collect();
            let keeper = Keeper::Instance(instance.clone());
            all.push(Place { watch: localpath.watch, remotes, keeper, below: Vec::new() });
        }
    }
    if all.is_empty() {
        if invocation.files.is_empty() {
            return Err(client::none(invocation));
        }
        all = kept_by_nobody(invocation)?;
    }
    let known = || all.iter().flat_map(|p| &p.remotes);
    if let Some(name) = which.remotes.iter().find(|name| !known().any(|k| k == *name)) {
        let known: Vec<&str> = known().map(String::as_str).collect();
        return Err(Error::usage(format!(
            "--remote {}: not known; there are: {}",
            printable(name.as_bytes()),
            known.join(", ")
        )));
    }
    let watches: Vec<OsBytes> = all.iter().map(|p| p.watch.clone()).collect();
    for path in &which.paths {
        for (watch, below) in place::within(path, &watches)? {
            all.iter_mut().filter(|p| p.watch == watch).for_each(|p| p.below.push(below.clone()));
        }
    }
    if !which.paths.is_empty() {
        all.retain(|p| !p.below.is_empty());
    }
    for place in &mut all {
        place.remotes.retain(|name| which.remotes.is_empty() || which.remotes.contains(name));
        // Each path once, so that what is counted is.
        place.below.sort();
        place.below.dedup();
        let above = place.below.clone();
        place.below.retain(|path| !above.iter().any(|a| a != path && path.is_within(a)));
    }
    Ok(all)
}

fn kept_by_nobody(invocation: &Invocation) -> Result<Vec<Place>> {
    let loaded = config::read(&invocation.files_or_default()?);
    if loaded.has_errors() {
        let lines: Vec<String> = loaded.diagnostics.iter().map(ToString::to_string).collect();
        return Err(Error::usage(lines.join("\n")));
    }
    let place = |wanted: topology::Wanted| {
        let alone = Alone::take(&wanted, &invocation.directories.state)?;
        let remotes = wanted.remotes.iter().map(Remote::name).collect();
        let (watch, keeper) = (wanted.localpath.watch, Keeper::Nobody(alone));
        Ok(Place { watch, remotes, keeper, below: Vec::new() })
    };
    topology::wanted(&loaded.config).into_iter().map(place).collect()
}

impl Place {
    fn some(&self, remote: &str, after: Option<RelPath>) -> Result<Vec<Failure>> {
        match &self.keeper {
            Keeper::Nobody(alone) => alone.some(remote, after.as_ref()),
            Keeper::Instance(instance) => {
                let (watch, remote) = (self.watch.clone(), remote.to_owned());
                match instance.ask(&Request::Failing { watch, remote, after }, client::PATIENCE)? {
                    Answer::Failing(rows) => Ok(rows),
                    _ => Err(client::odd()),
                }
            }
        }
    }

    /// Everything that failed on a remote, as far as it is meant, in portions.
    fn each(&self, remote: &str, mut take: impl FnMut(Vec<Failure>)) -> Result<()> {
        let mut after = None;
        loop {
            let mut rows = self.some(remote, after)?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = Some(last.path.clone());
            let meant = |f: &Failure| self.below.iter().any(|b| f.path.is_within(b));
            rows.retain(|f| self.below.is_empty() || meant(f));
            take(rows);
        }
    }

    fn change(&self, remote: &str, forget: bool) -> Result<u64> {
        match &self.keeper {
            Keeper::Nobody(alone) => alone.change(remote, &self.below, forget),
            Keeper::Instance(instance) => {
                let (watch, remote) = (self.watch.clone(), remote.to_owned());
                let request =
                    Request::Failures { watch, remote, below: self.below.clone(), forget };
                match instance.ask(&request, client::PATIENCE)? {
                    Answer::Count(count) => Ok(count),
                    _ => Err(client::odd()),
                }
            }
        }
    }
}

fn list(places: &[Place], which: &Which, json: bool) -> Result<Exit> {
    let mut any = false;
    for place in places {
        for remote in &place.remotes {
            let mut all = Vec::new();
            place.each(remote, |rows| match json {
                true => rows.iter().for_each(|failure| {
                    let row = Row { localpath: &place.watch, remote, failure };
                    print(&(serde_json::to_string(&row).unwrap_or_default() + "\n"));
                }),
                false => all.extend(rows),
            })?;
            if !all.is_empty() {
                any = true;
                print(&format!("{} {remote}\n{}", place.watch, rows(&all, clock::wall_ms())));
            }
        }
    }
    if !any && !json {
        let here = if which.paths.is_empty() && which.remotes.is_empty() { "" } else { " there" };
        print(&format!("nothing fails{here}\n"));
    }
    Ok(Exit::Ok)
}

/// A line for each path.
fn rows(failures: &[Failure], now_ms: i64) -> String {
    let head = ["  PATH", "TRIES", "SINCE", "NEXT TRY", "WHY"];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    lines.extend(failures.iter().map(|f| {
        let since = now_ms.saturating_sub(f.since_ms).max(0) as u64;
        let next = match f.next_try_ms.saturating_sub(now_ms) {
            ms @ 1.. => format!("in {}", table::span(ms as u64)),
            _ => "now".to_owned(),
        };
        let since = format!("{} ago", table::span(since));
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

fn change(places: &[Place], which: &Which, forget: bool) -> Result<Exit> {
    let mut total = 0;
    for place in places {
        for remote in &place.remotes {
            let count = place.change(remote, forget)?;
            total += count;
            if count > 0 {
                let paths = table::count(count, "path", "paths");
                let done = match (forget, &place.keeper) {
                    (true, _) => "forgotten; the next comparison finds them if they still differ",
                    (false, Keeper::Instance(_)) => "tried again now",
                    (false, Keeper::Nobody(_)) => "tried again when an instance starts",
                };
                print(&format!("{} {remote}: {paths} {done}\n", place.watch));
            }
        }
    }
    if total == 0 {
        let here = if which.paths.is_empty() && which.remotes.is_empty() { "" } else { " there" };
        print(&format!("nothing fails{here}\n"));
    }
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_what_fails() {
        let failure = |path: &str, next_try_ms| Failure {
            path: RelPath::new(path).unwrap(),
            error: "rsync: Permission denied\n(13)".into(),
            attempts: 3,
            since_ms: 1_000,
            next_try_ms,
        };
        let text = rows(&[failure("a\nb", 130_000), failure("c", 5)], 121_000);
        assert_eq!(
            text,
            "  PATH    TRIES  SINCE      NEXT TRY  WHY\n  \
             a\\x0ab  3      2 min ago  in 9.0 s  rsync: Permission denied; (13)\n  \
             c       3      2 min ago  now       rsync: Permission denied; (13)\n"
        );
    }
}
