//! Interprets the end of one step of a push: the next step, a second run, or trouble.

use super::push::{Aim, Push, PushProgress};
use super::select::BATCH;
use super::step::{self, Step};
use crate::journal::{Scope, Totals};
use crate::path::RelPath;
use crate::pusher::batch::Disposition;
use crate::pusher::blame::Blame;
use crate::pusher::coarse_times::{self, TimesCheck};
use crate::pusher::context::{Context, broken};
use crate::pusher::job_error::JobError;
use crate::pusher::lane::Lane;
use crate::pusher::partial_stats::{PartialStats, created};
use crate::rsync::argv::{self, Check};
use crate::rsync::excluded;
use crate::rsync::exit_status::Verdict;
use crate::rsync::itemize::{Change, ChangeKind};
use crate::rsync::trash;
use crate::rsync_run::run::Finished;
use crate::stat::{Kind, Stat};
use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

/// The most names below directories that were pushed whole that are kept: a remote that has settled more paths at once is
/// compared after an outage in any case.
const BELOW_MOST: usize = BATCH as usize + 1;

impl Push {
    /// Interprets the end of a step.
    pub(super) fn judge(
        &mut self,
        context: &mut Context,
        mut step: Step,
        mut finished: Finished,
        now: Duration,
    ) -> Result<PushProgress, JobError> {
        if matches!(step, Step::Rename(_)) {
            return self.renamed(context, finished, now);
        }
        if finished.judgement.verdict != Verdict::Settled
            && context.start.remote.trash_keep_ms.is_some()
            && !step.is_dry_run()
            && self.may_plan_again()
            && trash::raced(&finished.stderr)
        {
            self.broke_off(context, &mut finished)?;
            return self.unsteady(context, &step, now);
        }
        if context.learn_unconvertible(&finished) {
            // The rest is pushed without those names. What this run did will not be repeated.
            self.broke_off(context, &mut finished)?;
            self.plan(context)?;
            return self.next(context, now);
        }
        if context.refused_sparse(&finished) {
            return self.start_step(context, step, Aim::Do, now);
        }
        if let Step::Times { files, window } = &step {
            self.check_times(context, files, *window, &mut finished)?;
            return self.next(context, now);
        }
        if matches!(finished.judgement.verdict, Verdict::Partial | Verdict::Gone)
            && let Some(step) = step.by_name()
        {
            let done = self.partial_stats(context, &mut finished)?.totals();
            self.pushed += done;
            return self.start_step(context, step, Aim::Do, now);
        }
        match finished.judgement.verdict {
            Verdict::Settled => self.stepped(context, step, finished, now),
            Verdict::Partial if step.is_dry_run() && context.learn_from(&finished) => {
                self.start_step(context, step, Aim::Do, now)
            }
            Verdict::Partial if step.is_dry_run() => {
                self.fail(step.names(), &finished);
                self.next(context, now)
            }
            // What it could not delete is looked at name by name.
            Verdict::Partial if matches!(step, Step::DeleteExcept { .. }) => {
                let done = self.partial_stats(context, &mut finished)?.totals();
                self.pushed += done;
                self.steps.extend(step::look_below(context, step.names())?);
                self.next(context, now)
            }
            // A comparison finds what is missing.
            Verdict::Partial | Verdict::Gone if matches!(step, Step::Trees { .. }) => {
                self.answered = true;
                let done = self.partial_stats(context, &mut finished)?.totals();
                self.pushed += done;
                let compare = |path| (path, Disposition::Compare(Scope::Tree));
                self.findings.note_all(step.names().into_iter().map(compare));
                self.next(context, now)
            }
            Verdict::Partial => self.start_step(context, step, Aim::Verify(finished), now),
            // The directories above are missing, as expected.
            Verdict::Gone if matches!(step, Step::DeleteNamed { .. }) => {
                self.start_step(context, step, Aim::Verify(finished), now)
            }
            Verdict::Gone | Verdict::Upset if step.is_dry_run() => {
                self.unsteady(context, &step, now)
            }
            Verdict::Gone => {
                // What it did will not be repeated.
                let done = self.partial_stats(context, &mut finished)?.totals();
                self.pushed += done;
                self.unsteady(context, &step, now)
            }
            Verdict::Upset => {
                self.broke_off(context, &mut finished)?;
                self.unsteady(context, &step, now)
            }
            Verdict::FormB if !context.remote_state.form_b => {
                context.remember_form_b()?;
                self.plan(context)?;
                self.next(context, now)
            }
            Verdict::Refused(option) if context.learn_refused(option) && self.may_plan_again() => {
                self.replans += 1;
                self.plan(context)?;
                self.next(context, now)
            }
            Verdict::Source => Err(JobError::Root(finished.judgement.reason())),
            Verdict::FormB
            | Verdict::NoDelete
            | Verdict::Refused(_)
            | Verdict::Configuration
            | Verdict::Remote(_) => Ok(PushProgress::Remote(finished.judgement)),
        }
    }

    /// The remote has new names for what was moved, or for a part of it.
    fn renamed(
        &mut self,
        context: &mut Context,
        mut finished: Finished,
        now: Duration,
    ) -> Result<PushProgress, JobError> {
        let mut counted = (0, 0);
        let add = |change: Change| {
            let (created, file) = created(&change);
            counted = (counted.0 + created, counted.1 + file);
        };
        finished.read(|| context.supervisor.beat(), add).map_err(broken)?;
        if finished.judgement.end_unseen {
            self.batch.repush();
        }
        (self.pushed.created, self.pushed.created_files) =
            (self.pushed.created + counted.0, self.pushed.created_files + counted.1);
        match finished.judgement.verdict {
            Verdict::Settled | Verdict::Partial | Verdict::Gone => {}
            // The next step meets the same trouble, unless this rsync lacked a privilege.
            Verdict::Remote(_) => {}
            _ => context.cannot_rename(&finished.judgement.message),
        }
        self.next(context, now)
    }

    /// A step succeeded.
    fn stepped(
        &mut self,
        context: &mut Context,
        step: Step,
        mut finished: Finished,
        now: Duration,
    ) -> Result<PushProgress, JobError> {
        self.answered = true;
        let names: HashSet<RelPath> = step.names().into_iter().collect();
        let (mut deleted, mut gone, mut counted) = (Vec::new(), 0, (0, 0));
        let (mut parted, replaces) = (Vec::new(), step.replaces());
        // Locally converted rules may differ from the remote's conversion of the names.
        let by_rules = matches!(step, Step::Delete { .. }) && context.converts();
        let mut stayed = if by_rules { names.clone() } else { HashSet::new() };
        let (mut pushed, copies) =
            (BTreeSet::new(), Lane::BULK.contains(&self.lane) && !context.knows_times());
        let toggles = context.start.localpath.inotify;
        let trees = matches!(step, Step::Trees { .. });
        let read = trees || step.read().next().is_some();
        let report = finished
            .read(
                || context.supervisor.beat(),
                |change| {
                    if !step.is_dry_run() {
                        Push::note_created(&mut self.findings, &self.batch, toggles, &change);
                    }
                    let (created, file) = created(&change);
                    counted = (counted.0 + created, counted.1 + file);
                    let parts = match change.kind {
                        ChangeKind::Deleted => !step.is_dry_run(),
                        ChangeKind::Sent | ChangeKind::Created => replaces,
                        ChangeKind::Attributes => false,
                    };
                    if parts && context.linked.contains(&change.path) {
                        parted.push(change.path.clone());
                    }
                    if read && change.differs.kind == b'f' {
                        self.remember_sent(context, &change.path);
                    }
                    let first = copies && change.kind == ChangeKind::Created;
                    let shows = (first || coarse_times::only_in_time(&change))
                        && pushed.len() < coarse_times::FILES_MOST;
                    if shows && self.shows_times(&change.path) {
                        pushed.insert(change.path.clone());
                    }
                    if trees && self.below_whole.len() < BELOW_MOST {
                        self.below_whole.push(change.path.clone());
                    }
                    if change.kind == ChangeKind::Deleted {
                        gone += 1;
                        stayed.remove(&change.path);
                        // For other deletions only the number is kept.
                        if step.is_dry_run()
                            && change.path.prefixes().any(|prefix| names.contains(&prefix))
                        {
                            deleted.push((change.path, change.is_dir));
                        }
                    }
                },
            )
            .map_err(broken)?;
        parted.iter().for_each(|name| context.linked.part(name));
        let why = "cannot convert filename: the converted rule does not match on the remote";
        self.findings.fail(stayed, why);
        if step.is_dry_run() {
            deleted.extend(context.not_entered(&names));
            if let Step::Way { names } = step {
                self.make_way(context, names, &deleted);
                return self.next(context, now);
            }
            let goes = step::deletable(&deleted, |path, is_dir| {
                context.supervisor.beat();
                context.filter.excludes(path, is_dir)
            });
            self.delete(context, goes, step::parents(&names))?;
            return self.next(context, now);
        }
        let ignored = report.not_regular.iter().filter(|path| names.contains(*path));
        if !context.form_b() && ignored.clone().any(|path| self.root.lstat(path).is_err()) {
            // The slave's `refuse options` made rsync ignore an absent name, with exit 0.
            context.remember_form_b()?;
            self.plan(context)?;
            return self.next(context, now);
        }
        self.findings.blame(Blame::of(context.complaints(&finished.stderr), &names));
        let stays = |name: &RelPath| report.deletions_skipped || report.not_empty.contains(name);
        let stay: Vec<RelPath> = names.iter().filter(|name| stays(name)).cloned().collect();
        if matches!(step, Step::DeleteExcept { .. })
            || (step.keeps_directories() && !report.deletions_skipped)
        {
            self.steps.extend(step::look_below(context, stay)?);
        } else if report.deletions_skipped || !stay.is_empty() {
            // A second run checks this: names that the remote still has have failed.
            return self.start_step(context, step, Aim::Verify(finished), now);
        }
        if let Some(window) = context.check_window().filter(|_| !pushed.is_empty()) {
            self.steps.push_back(Step::Times { files: pushed, window });
        }
        self.pushed += Totals {
            files: report.totals.transferred,
            bytes: report.totals.transferred_bytes,
            deleted: gone,
            created: counted.0,
            created_files: counted.1,
        };
        self.next(context, now)
    }

    /// True for an unchanged file that a comparison found, and whose time no coarse file system can store.
    fn shows_times(&self, path: &RelPath) -> bool {
        const FINE_NS: i64 = 1_000_000_000;
        let found = self.batch.found(path) || self.batch.is_in_whole(path);
        found && self.unchanged(path).is_some_and(|stat| stat.mtime_ns % FINE_NS != 0)
    }

    /// The regular file at this path, if it has been the same one with the same attributes since this push began. Whatever
    /// replaces it or a directory above it, in place or by a move, has a later ctime.
    fn unchanged(&self, path: &RelPath) -> Option<Stat> {
        let mut found = None;
        for prefix in path.prefixes() {
            let stat = self.root.lstat(&prefix).ok()?;
            found = (stat.ctime_ns < self.begun_ns).then_some(stat);
            found.as_ref()?;
        }
        found.filter(|stat| stat.kind == Kind::File)
    }

    /// A file was sent with a directory. If it is not as it was sent, it has another time or is marked.
    fn remember_sent(&self, context: &Context, path: &RelPath) {
        if !self.regular.contains_key(path)
            && let Ok(stat) = self.root.lstat(path)
        {
            context.sent_times.borrow_mut().sent(path, stat.mtime_ns, self.begun_ns);
        }
    }

    /// Learns from files that were just pushed whether the remote's times are coarse.
    fn check_times(
        &mut self,
        context: &mut Context,
        files: &BTreeSet<RelPath>,
        window: i32,
        finished: &mut Finished,
    ) -> Result<(), JobError> {
        // It is responsible for no path, so a failure is ignored.
        if finished.judgement.verdict != Verdict::Settled {
            return Ok(());
        }
        let mut differ = BTreeSet::new();
        let mut otherwise = BTreeSet::new();
        finished
            .read(
                || context.supervisor.beat(),
                |change| {
                    let some = if coarse_times::only_in_time(&change) {
                        &mut differ
                    } else {
                        &mut otherwise
                    };
                    some.insert(change.path);
                },
            )
            .map_err(broken)?;
        let same = |path: &&RelPath| !otherwise.contains(*path) && self.unchanged(path).is_some();
        let files: BTreeSet<RelPath> = files.iter().filter(same).cloned().collect();
        differ.retain(|path| files.contains(path));
        let known = context.window().unwrap_or(coarse_times::EXACT);
        match coarse_times::evaluate(&files, &differ, window, known) {
            TimesCheck::Differ(window) => self.steps.push_front(Step::Times { files, window }),
            TimesCheck::Within(window) => context.remember_window(window)?,
            TimesCheck::Exact => context.confirm_times(),
            TimesCheck::Unknown => {}
        }
        Ok(())
    }

    /// A run was aborted, and the batch continues. What the run did will not be repeated. If one of the receiver's two
    /// processes gives up, it kills the other one. A temporary file stays if the other one has created it, but not
    /// recorded it yet.
    fn broke_off(&mut self, context: &Context, finished: &mut Finished) -> Result<(), JobError> {
        let leftovers = &mut self.findings.leftovers;
        let begun = |change: Change| {
            let file = change.differs.kind == b'f' && change.kind != ChangeKind::Attributes;
            leftovers
                .extend(change.path.parent().filter(|dir| file && leftovers.last() != Some(dir)));
        };
        finished.read(|| context.supervisor.beat(), begun).map_err(broken)?;
        let done = self.partial_stats(context, finished)?.totals();
        self.pushed += done;
        if finished.judgement.end_unseen {
            self.batch.repush();
        }
        Ok(())
    }

    /// What a run has done, by its output.
    fn partial_stats(
        &mut self,
        context: &Context,
        finished: &mut Finished,
    ) -> Result<PartialStats, JobError> {
        let mut partial_stats = PartialStats::default();
        let toggles = context.start.localpath.inotify;
        let add = |change: Change| {
            Push::note_created(&mut self.findings, &self.batch, toggles, &change);
            partial_stats.add(change);
        };
        let report = finished.read(|| context.supervisor.beat(), add).map_err(broken)?;
        partial_stats.set_totals(report.totals);
        Ok(partial_stats)
    }

    /// Evaluates the dry run after a partial failure: what it still prints has failed, with rsync's message. The rest
    /// is settled.
    pub(super) fn verified(
        &mut self,
        context: &mut Context,
        step: &Step,
        mut first: Finished,
        mut again: Finished,
        now: Duration,
    ) -> Result<PushProgress, JobError> {
        match again.judgement.verdict {
            Verdict::Remote(_) | Verdict::Configuration | Verdict::Refused(_) => {
                return Ok(PushProgress::Remote(again.judgement));
            }
            Verdict::Source => return Err(JobError::Root(again.judgement.reason())),
            Verdict::Upset | Verdict::FormB | Verdict::NoDelete => {
                // It exited before it had compared everything.
                let names = step.names().into_iter();
                self.findings.note_all(names.map(|name| (name, Disposition::Unsteady)));
                return self.next(context, now);
            }
            Verdict::Settled | Verdict::Partial | Verdict::Gone => {}
        }
        self.answered = true;
        let mut partial_stats = self.partial_stats(context, &mut first)?;
        let size = |path: &RelPath| {
            self.root.lstat(path).ok().filter(|stat| stat.kind == Kind::File).map(|stat| stat.size)
        };
        let names: HashSet<RelPath> = step.names().into_iter().collect();
        let complaints = [&first.stderr, &again.stderr].map(|stderr| context.complaints(stderr));
        let mut complaints = complaints.concat();
        // Complaints about excluded names are ignored.
        let excluded = |path: &RelPath| {
            excluded::topmost(path, true, |p, dir| context.filter.excludes(p, dir)).is_some()
        };
        let all = complaints.len();
        complaints.retain(|c| c.paths.is_empty() || !c.paths.iter().all(excluded));
        if matches!(step, Step::DeleteNamed { .. }) {
            complaints.retain(|c| {
                let known = ["file has vanished: ", "WARNING: parent dir is absent "];
                !known.iter().any(|start| c.message.starts_with(start))
            });
        }
        let explained = complaints.len() < all || first.judgement.deletions_skipped;
        let blame = Blame::of(complaints, &names);
        let message = match &first.judgement.message {
            message if message.is_empty() => "not done".to_owned(),
            message => message.clone(),
        };
        let mut differs = HashSet::new();
        let report = again
            .read(
                || context.supervisor.beat(),
                |change| {
                    partial_stats.take_back(&change, size);
                    // A deletion below a name that was to be deleted: the name has failed.
                    let above = change.path.prefixes().chain([RelPath::root()]);
                    if let Some(name) = above.into_iter().find(|prefix| names.contains(prefix))
                        && (change.kind == ChangeKind::Deleted || name == change.path)
                    {
                        differs.insert(name);
                    }
                },
            )
            .map_err(broken)?;
        let unproved = match (&blame.unassigned, first.judgement.verdict) {
            (Some(message), _) => Some(message.clone()),
            // It failed, and the path is not known.
            (None, Verdict::Partial) if blame.is_empty() && !explained => Some(message.clone()),
            (None, _) => None,
        };
        if let Some(message) = unproved {
            self.findings.fail(names.iter().cloned(), &message);
        } else {
            let gone = |name: &&RelPath| report.deletions_skipped && self.root.lstat(name).is_err();
            let skipped = names.iter().filter(gone).cloned();
            self.findings.fail(differs.into_iter().chain(skipped), &message);
        }
        self.findings.blame(blame);
        self.pushed += partial_stats.totals();
        if step.keeps_directories() {
            let stay = names.iter().filter(|name| report.not_empty.contains(*name)).cloned();
            self.steps.extend(step::look_below(context, stay.collect())?);
        }
        self.next(context, now)
    }

    /// Sends names that replace directories, unless that would delete excluded names.
    fn make_way(&mut self, context: &Context, names: Vec<RelPath>, deleted: &[(RelPath, bool)]) {
        let kept = deleted.iter().filter(|(path, is_dir)| context.filter.excludes(path, *is_dir));
        let kept: HashSet<RelPath> = kept.flat_map(|(path, _)| path.prefixes()).collect();
        let (blocked, free): (Vec<_>, Vec<_>) =
            names.into_iter().partition(|name| kept.contains(name));
        let why = "the remote has a directory here that contains excluded names";
        self.findings.fail(blocked, why);
        let (linked, free) = free.into_iter().partition(|name| context.linked.contains(name));
        for (names, check) in [(linked, Check::Nothing), (free, Check::Content)] {
            if let Some(step) = step::send(names, check, true) {
                self.steps.push_front(step);
            }
        }
    }

    /// Deletes listed names in the next step. A name that no rule can express fails, because rsync would silently keep
    /// it.
    fn delete(
        &mut self,
        context: &Context,
        names: Vec<RelPath>,
        from: Vec<RelPath>,
    ) -> Result<(), JobError> {
        let (long, names): (Vec<_>, Vec<_>) =
            names.into_iter().partition(argv::too_long_for_a_rule);
        self.findings.fail(long, "the path is too long for a filter rule of rsync");
        let ruled = |name: &RelPath| {
            !context.converts()
                || !context.remote_state.form_b
                || context.risk_rules(std::slice::from_ref(name)).is_some()
        };
        let (names, blocked): (Vec<_>, Vec<_>) = names.into_iter().partition(ruled);
        let why = "cannot convert filename: the remote's rsync deletes only by rules, and their charset is not known; name it in --iconv";
        self.findings.fail(blocked, why);
        if !names.is_empty() {
            let delete = step::delete(context, names, from)?;
            if matches!(&delete, Step::DeleteNamed { from, .. } if from.iter().any(RelPath::is_root))
            {
                self.steps.push_front(Step::Root);
            }
            if let Some(times) = delete.times_above() {
                self.steps.push_front(times);
            }
            self.steps.push_front(delete);
        }
        Ok(())
    }

    fn fail(&mut self, names: Vec<RelPath>, finished: &Finished) {
        self.findings.fail(names, &finished.judgement.message);
    }
}
