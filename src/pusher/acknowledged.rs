//! A remote that may have lost what it has acknowledged: what is looked at, and what is done about it (rule 26).

use super::doubt::{self, Doubt, Names};
use super::push::Push;
use super::run::Pusher;
use crate::journal::{Events, JournalError, Owe, Scope, Settlement};
use crate::path::RelPath;
use crate::reconcile_reason::ReconcileReason;
use crate::rsync::exit_status::Judgement;
use crate::sys::{clock, files};
use slog::{info, warn};
use std::collections::BTreeMap;

impl Pusher {
    /// True when the remote was made equal at some time: else what differs there is no sign.
    pub(super) fn was_equal(&self) -> bool {
        let localpath = &self.context.start.localpath;
        // A scheduled comparison may leave names out.
        let in_part = localpath.crontab.as_ref().is_some_and(|crontab| !crontab.exclude.is_empty());
        self.context.row.reconciled_at_ms.is_some() && (localpath.first_copy || !in_part)
    }

    /// Nobody looked while this pusher did not run. After an orderly stop the names in the root are enough.
    pub(super) fn doubt_at_start(&mut self) -> Result<(), JournalError> {
        if !self.context.row.clean {
            self.push_recent_again(Events::ATTRIB)?;
        }
        self.doubt = if self.was_equal() { Doubt::Names } else { Doubt::No };
        Ok(())
    }

    /// The remote is in trouble.
    pub(super) fn doubt_after(&mut self, judgement: &Judgement) {
        if doubt::is_outage(judgement) {
            self.doubt = Doubt::Away;
        }
    }

    /// The remote answers again. Before anything else is settled: what was settled before the outage is known by that.
    pub(super) fn doubt_when_back(&mut self) -> Result<(), JournalError> {
        if self.doubt != Doubt::Away {
            return Ok(());
        }
        // Its disk may have kept names, sizes and times, and not the content.
        let more = self.push_recent_again(Events::CONTENT)?;
        if more && self.was_equal() && self.context.row.reconcile.is_none() {
            let why = "it was out of reach, and had settled very much in the minute before";
            self.want_reconcile(&ReconcileReason::Found(why.to_owned()))?;
        }
        self.doubt = if self.was_equal() { Doubt::Names } else { Doubt::No };
        self.said.dirty = true;
        Ok(())
    }

    /// What the remote settled lately is owed again; true when that was more than is known.
    fn push_recent_again(&mut self, events: Events) -> Result<bool, JournalError> {
        let context = &mut self.context;
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
        self.pending.touch();
        Ok(recent.more)
    }

    /// True when the names in the root are to be compared. A comparison of everything does that, too.
    pub(super) fn wants_names(&self) -> bool {
        self.doubt != Doubt::No
            && self.was_equal()
            && self.context.row.held.is_none()
            && self.context.row.reconcile.is_none()
    }

    /// The names in the root were compared. A name that is on its way, or so young that the watcher may not have seen it,
    /// says nothing.
    pub(super) fn names_compared(&mut self, names: Names) -> Result<(), JournalError> {
        if self.doubt != Doubt::Names {
            return Ok(());
        }
        let seen_ns = self.context.journal.checkpoint()?.map_or(i64::MAX, |last| last.at_ns);
        let watch = self.context.start.localpath.watch.as_path();
        let old = |found: std::io::Result<crate::stat::Stat>| {
            found.is_ok_and(|stat| stat.ctime_ns <= seen_ns)
        };
        let missing = names.missing.iter();
        let missing = missing.filter(|path| old(files::lstat(&path.below(watch))));
        let surplus = names.surplus.iter().filter(|_| old(files::stat(watch)));
        let mut sign = None;
        for (path, how) in
            missing.map(|path| (path, "missing")).chain(surplus.map(|path| (path, "there")))
        {
            if !self.is_on_its_way(path)? {
                sign = Some(format!("the names in its root are not what it had: {path} is {how}"));
                break;
            }
        }
        self.doubt = Doubt::No;
        if let Some(why) = sign {
            warn!(self.context.log, "the remote has lost something"; "why" => &why);
            self.want_reconcile(&ReconcileReason::Found(why))?;
        }
        Ok(())
    }

    fn is_on_its_way(&self, path: &RelPath) -> Result<bool, JournalError> {
        let (journal, name) = (&self.context.journal, &self.context.name);
        Ok(self.jobs.in_hand(path)
            || self.jobs.names_touched.contains(path)
            || journal.on_its_way(name, path, false)?)
    }

    /// A push had to make directories that were there: the remote has lost more than them.
    pub(super) fn look_at_made(&mut self, push: &Push) -> Result<(), JournalError> {
        let comparing = self.jobs.everything().is_some() || self.context.row.reconcile.is_some();
        if comparing || !self.was_equal() {
            return Ok(());
        }
        let findings = &push.findings;
        if findings.made.is_empty() && findings.lacked.is_empty() {
            return Ok(());
        }
        let seen_ns = self.context.journal.checkpoint()?.map_or(i64::MAX, |last| last.at_ns);
        let watch = self.context.start.localpath.watch.as_path();
        // One that was moved here after all that the watcher has seen is about to be marked, and so may be one above it.
        let old = |path: &RelPath| {
            path.prefixes().all(|part| {
                files::lstat(&part.below(watch))
                    .is_ok_and(|stat| !doubt::may_have_come(&stat, seen_ns))
            })
        };
        let made = findings.made.iter().map(|path| (path, true));
        // These are on their way themselves.
        for (path, look) in made.chain(findings.lacked.iter().map(|path| (path, false))) {
            let known = push.beside.iter().any(|settled| settled.binary_search(path).is_ok());
            if known || self.jobs.in_hand(path) || (look && !old(path)) {
                continue;
            }
            if !look || !self.context.journal.on_its_way(&self.context.name, path, false)? {
                let why = format!("{path} was missing there, though nobody had changed it");
                warn!(self.context.log, "the remote has lost something"; "why" => &why);
                return self.want_reconcile(&ReconcileReason::Found(why));
            }
        }
        Ok(())
    }

    /// A push has settled these: those beside it may make the directories among them before it does.
    pub(super) fn note_beside(&mut self, settled: &[RelPath]) {
        let mut shared = None;
        for busy in self.jobs.pushes_mut() {
            let shared = shared.get_or_insert_with(|| std::rc::Rc::<[RelPath]>::from(settled));
            busy.work.beside.push(shared.clone());
        }
    }
}
