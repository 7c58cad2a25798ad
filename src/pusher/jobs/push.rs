//! A push: one batch of marked paths, made equal on the remote by one rsync after another.
//!
//! This is the only code that changes a remote. The state of a path at the moment of the push decides what is done with
//! it, never the mark.

use super::rsyncing::Rsyncing;
use super::step::{self, Step};
use crate::config::model::Toggles;
use crate::journal::{Events, Scope, Settlement, Totals};
use crate::path::RelPath;
use crate::pusher::batch::{Aftermath, Batch, Disposition, Findings, Times};
use crate::pusher::context::{Context, LINGER_MOST, broken};
use crate::pusher::doubt;
use crate::pusher::health::retry_most_ms;
use crate::pusher::job_error::JobError;
use crate::pusher::lane::Lane;
use crate::pusher::linked;
use crate::pusher::plan::{self, Limits, Plan};
use crate::pusher::sent_times::{Before, may_be_set};
use crate::pusher::trees;
use crate::pusher::whole::Along;
use crate::rsync::exit_status::{Judgement, Trouble, Verdict};
use crate::rsync::itemize::Change;
use crate::rsync_run::run::{Finished, Run};
use crate::stat::{Kind, Stat};
use crate::sys::clock;
use crate::sys::fault_point::{Point, pass};
use crate::sys::files::Root;
use slog::debug;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// How many times vanishing files may cause a new plan of one batch. After that, the rest is pushed later.
const REPLANS: u32 = 3;

/// The error of a name that cannot be converted.
pub(super) const UNCONVERTIBLE: &str =
    "cannot convert filename: the charset of the remote (--iconv) has no such name; rename it";

/// The delay before a step is retried whose connection was refused. It grows with the time since it was first refused.
const REFUSED_WAIT: Duration = Duration::from_millis(50);
/// The bytes of the larger files in one push of marks.
const BATCH_BYTES: u64 = 8 << 20;

/// One directory is enough for a sign. More are kept, because some may be in flight.
const CREATED_MOST: usize = 100;

/// A batch being pushed.
pub struct Push {
    pub(super) lane: Lane,
    pub(super) batch: Batch,
    pub(super) root: Root,
    pub findings: Findings,
    pub(super) steps: VecDeque<Step>,
    run: Option<(Step, Aim, Run)>,
    /// The step that is retried at this time, because the remote refused the connection.
    refused: Option<(Step, Aim, Duration)>,
    /// Since when the remote refuses connections.
    refused_since: Option<Duration>,
    /// What it may send that is not in its batch.
    along: Along,
    /// Directories that its rsyncs read themselves.
    read: BTreeSet<RelPath>,
    /// The mount points at which nothing was mounted when the batch was planned.
    unmounted: Vec<RelPath>,
    pub(super) pushed: Totals,
    pub(super) replans: u32,
    /// Regular files of the plan, with their mtimes.
    pub(super) regular: BTreeMap<RelPath, i64>,
    /// Names that the plan found absent.
    absent: Vec<RelPath>,
    /// Files to which it has given second names.
    linked: Vec<[RelPath; 2]>,
    /// Its first path, and since when that has waited. Kept until the push is dropped.
    first: Option<(RelPath, i64)>,
    /// The number of its paths. Kept until the push is dropped.
    names: usize,
    /// Failures at or below these paths do not become owed.
    forgotten: Vec<RelPath>,
    /// When it began, by the clock of the files, in nanoseconds since 1970.
    pub(super) begun_ns: i64,
    /// What is below the directories that were pushed whole.
    pub(super) below_whole: Vec<RelPath>,
    /// The remote answered: an rsync of this push has succeeded.
    pub(super) answered: bool,
    /// What other pushes have settled since this one started, each list sorted.
    pub settled_meanwhile: Vec<Rc<[RelPath]>>,
}

/// Why a step's rsync runs.
pub(super) enum Aim {
    /// To carry out the step.
    Do,
    /// A second run with `-n`, after a partial failure: what still differs has failed.
    Verify(Finished),
}

/// The progress of a push.
pub enum PushProgress {
    /// An rsync runs.
    Running,
    /// Every path is accounted for. The settlement is to be recorded.
    Done(Settlement),
    /// It failed because of the remote, not because of a path. Nothing is settled.
    Remote(Judgement),
}

/// True if a standby, or its connection, may have ended before it got its list.
fn was_cut_off(finished: &Finished) -> bool {
    let cause = finished.judgement.verdict;
    let ended =
        matches!(cause, Verdict::Remote(Trouble::Unreachable | Trouble::Broken | Trouble::Killed));
    ended && finished.began_nothing()
}

impl Rsyncing for Push {
    fn is_running(&self) -> bool {
        self.run.is_some()
    }

    fn idles(&self, now: Duration) -> bool {
        // A refused step waits, too, for up to ten seconds.
        self.run.as_ref().map_or(self.refused.is_some(), |(_, _, run)| run.idles(now))
    }

    fn poll_after(&self) -> Option<Duration> {
        self.run.as_ref().map(|(_, _, run)| run.poll_after())
    }

    fn kill(&mut self) {
        if let Some((_, _, run)) = &mut self.run {
            // An error means that it has already exited.
            let _ = run.kill();
        }
    }
}

impl Push {
    /// Plans a batch and starts its first rsync. Another push in flight touches the `deferred` paths. They are due
    /// again after this number of milliseconds. The push may send `along` what is not in the batch.
    pub fn start(
        context: &mut Context,
        lane: Lane,
        mut batch: Batch,
        deferred: HashMap<RelPath, i64>,
        along: Along,
        now: Duration,
    ) -> Result<(Push, PushProgress), JobError> {
        let names = batch.items.len();
        let first = batch.items.first().map(|item| (item.path.clone(), item.since_ms));
        batch.sort();
        let mut findings = Findings::default();
        let deferred = deferred.into_iter();
        findings.note_all(deferred.map(|(path, wait_ms)| (path, Disposition::Deferred(wait_ms))));
        let mut push = Push {
            lane,
            first,
            names,
            batch,
            root: context.open_root()?,
            findings,
            steps: VecDeque::new(),
            run: None,
            refused: None,
            refused_since: None,
            along,
            read: BTreeSet::new(),
            unmounted: Vec::new(),
            pushed: Totals::default(),
            replans: 0,
            answered: false,
            settled_meanwhile: Vec::new(),
            forgotten: Vec::new(),
            begun_ns: clock::file_ns(),
            below_whole: Vec::new(),
            regular: BTreeMap::new(),
            absent: Vec::new(),
            linked: Vec::new(),
        };
        push.plan(context)?;
        let progress = push.next(context, now)?;
        Ok((push, progress))
    }

    /// True if it pushes everything. Marks are pushed beside it, and then once more after it.
    pub fn is_everything(&self) -> bool {
        self.batch.is_everything()
    }

    /// The lines that the rsync in flight has printed so far.
    pub fn lines(&self) -> u64 {
        self.run.as_ref().map_or(0, |(_, _, run)| run.lines())
    }

    /// The number of its paths.
    pub fn names(&self) -> usize {
        self.names
    }

    /// The paths of this push.
    pub fn paths(&self) -> impl Iterator<Item = &RelPath> {
        self.batch.items.iter().map(|item| &item.path)
    }

    /// True for a path that it sends or deletes itself, and does not leave to another push.
    pub fn sends(&self, path: &RelPath) -> bool {
        self.batch.has(path) && !self.findings.leaves(path)
    }

    /// True for a path above one of this push.
    pub fn has_below(&self, path: &RelPath) -> bool {
        self.batch.has_below(path)
    }

    /// True for a path of this push, and for one in a directory that it pushes whole.
    pub fn covers(&self, path: &RelPath) -> bool {
        self.batch.has(path) || self.batch.is_in_whole(path)
    }

    /// True for a path of this push, for one above or below it, and for a name in a directory that its rsync reads.
    pub fn touches(&self, path: &RelPath) -> bool {
        self.batch.touches(path) || self.reads(path)
    }

    /// True for a path at, above or below a new name that it gives on the remote.
    pub fn renames(&self, path: &RelPath) -> bool {
        self.findings.renamed.iter().any(|new| path.is_within(new) || new.is_within(path))
    }

    /// True for a name in a directory that its rsync reads. It may send the name although it is not in its batch.
    pub fn reads(&self, path: &RelPath) -> bool {
        !self.read.is_empty() && path.parent().is_some_and(|parent| self.read.contains(&parent))
    }

    /// The first path, and since when it has waited, in milliseconds since 1970. Also known when the push is done.
    pub fn first(&self) -> Option<(&RelPath, i64)> {
        self.first.as_ref().map(|(path, since_ms)| (path, *since_ms))
    }

    /// Failures at or below these paths do not become owed. Without a path, none does.
    pub fn forget_failures(&mut self, below: &[RelPath]) {
        match below {
            [] => self.forgotten.push(RelPath::root()),
            below => self.forgotten.extend(below.iter().cloned()),
        }
    }

    /// What a push may have left on the remote that was killed, or whose end was not seen.
    pub fn unseen(&self) -> Aftermath {
        Aftermath {
            leftovers: self.batch.parents(),
            unseen: Some(self.batch.unseen(&self.findings)),
        }
    }

    /// The last mark of the batch.
    pub fn cursor(&self) -> i64 {
        self.batch.cursor.unwrap_or(0)
    }

    /// The same of a push that has met trouble.
    pub fn aftermath(&self, judgement: &Judgement, now_ms: i64) -> Aftermath {
        if judgement.receiver_failed() {
            let unseen = self.batch.not_whole();
            return Aftermath { leftovers: self.batch.parents(), unseen };
        }
        if judgement.end_unseen {
            let mut aftermath = self.unseen();
            // The next one might break, too, at the same place.
            let broken = judgement.verdict == Verdict::Remote(Trouble::Broken);
            if let (true, Some(end)) = (broken, &mut aftermath.unseen) {
                end.compare = self.batch.not_whole().unwrap_or_default().compare;
            }
            return aftermath;
        }
        // An earlier rsync of this push may have been aborted.
        Aftermath { leftovers: self.findings.leftovers(now_ms), unseen: None }
    }

    /// Bytes that the rsync in flight has read so far.
    pub fn bytes_read(&self) -> u64 {
        self.run.as_ref().map_or(0, |(_, _, run)| run.bytes_read())
    }

    /// When a refused step is retried.
    pub fn retry_at(&self) -> Option<Duration> {
        self.refused.as_ref().map(|(_, _, at)| *at)
    }

    /// Polls the running rsync, and continues when it has exited. `others_run` says whether other rsyncs of this remote
    /// run.
    pub fn advance(
        &mut self,
        context: &mut Context,
        others_run: bool,
        now: Duration,
    ) -> Result<PushProgress, JobError> {
        if let Some((step, aim, _)) = self.refused.take_if(|(_, _, at)| now >= *at) {
            let files = context.lstat_below(&self.root)?;
            if files.unmounted != self.unmounted {
                // The step may list paths that only seem to be gone (rule 6).
                self.plan(context)?;
                return self.next(context, now);
            }
            return self.start_step(context, step, aim, now);
        }
        if self.refused.is_some() {
            return Ok(PushProgress::Running);
        }
        let Some((step, aim, mut run)) = self.run.take() else { return self.next(context, now) };
        let Some(exited) = run.ended(now).map_err(broken)? else {
            self.run = Some((step, aim, run));
            return Ok(PushProgress::Running);
        };
        pass(Point::PusherRsyncEnded);
        let ahead = run.was_ahead();
        let finished = context.finish(run, exited)?;
        debug!(context.log, "rsync ended"; "how" => exited.to_string(), "message" => &finished.judgement.message);
        if ahead && was_cut_off(&finished) {
            // That is no trouble of the remote. The step starts again without a standby.
            if finished.judgement.end_unseen {
                self.batch.repush();
            }
            context.keep_standby(false, now);
            return self.start_step(context, step, aim, now);
        }
        if !others_run && context.has_lingering_connection(&finished.judgement, now) {
            let since = *self.refused_since.get_or_insert(now);
            if now < since + LINGER_MOST {
                let wait = REFUSED_WAIT.max((now - since) / 4);
                self.refused = Some((step, aim, now + wait));
                return Ok(PushProgress::Running);
            }
        } else {
            self.refused_since = None;
        }
        match aim {
            Aim::Do => self.judge(context, step, finished, now),
            Aim::Verify(first) => self.verified(context, &step, first, finished, now),
        }
    }

    /// False if the batch was planned too many times.
    pub(super) fn may_plan_again(&self) -> bool {
        self.replans < REPLANS
    }

    /// Changes broke the step. The batch is planned again or, after several times, the paths of the step are pushed
    /// again soon.
    pub(super) fn unsteady(
        &mut self,
        context: &mut Context,
        step: &Step,
        now: Duration,
    ) -> Result<PushProgress, JobError> {
        if self.may_plan_again() {
            self.replans += 1;
            self.plan(context)?;
        } else {
            let names = step.names().into_iter();
            self.findings.note_all(names.map(|name| (name, Disposition::Unsteady)));
        }
        self.next(context, now)
    }

    pub(super) fn plan(&mut self, context: &Context) -> Result<(), JobError> {
        let files = context.lstat_below(&self.root)?;
        pass(Point::PusherLooks);
        let large = match self.lane {
            Lane::Large | Lane::Large2 => u64::MAX,
            Lane::Small | Lane::Bulk | Lane::Bulk2 => context.start.localpath.large_file_bytes,
        };
        // A change must not wait long for those before it. A portion is bounded by its selection.
        let batch_bytes = if self.lane == Lane::Small { BATCH_BYTES } else { u64::MAX };
        let findings = &self.findings;
        let rows = self.batch.items.iter().filter(|item| !findings.is_deferred(&item.path));
        let rows = rows.map(|item| plan::Marked {
            path: item.path.clone(),
            scope: item.scope,
            // It failed, perhaps because the remote has an unknown directory in its place.
            events: if item.attempts > 0 { item.events | Events::DIR } else { item.events },
            origin: item.origin.clone(),
        });
        let limits = Limits {
            large,
            batch_bytes,
            hard_links: context.hard_links(),
            delete: context.delete(),
            renames: self.lane == Lane::Small && context.may_rename(),
            whole: Lane::BULK.contains(&self.lane)
                && trees::can_be_sent(context)
                && !self.paths().any(|path| context.linked.is_any_within(path)),
            one_device: context.one_device(&self.root),
        };
        let mut plan =
            plan::plan(rows, &files, limits, |path, is_dir| context.filter.excludes(path, is_dir));
        if context.start.remote.trash_keep_ms.is_some() {
            plan.leave_out_long();
        }
        let unconvertible = plan.leave_out(|path| !context.can_convert(path));
        self.compare_what_was_sent(context, &mut plan);
        // What this push has linked itself is parted when it deletes the old names.
        let own: HashSet<&RelPath> = self.linked.iter().flatten().collect();
        // Where a directory may have excluded names, what is in its way is looked at first.
        let careful = context.is_careful();
        plan.replace(|path, in_the_way| {
            context.linked.contains(path)
                && !(careful && in_the_way)
                && (!own.contains(path) || context.linked.is_beyond(path, &own))
        });
        self.unmounted = files.unmounted;
        self.steps = step::steps(context, &self.root, &plan, self.along)?;
        self.read.extend(self.steps.iter().flat_map(Step::read).cloned());
        // When it plans again, other pushes may have begun.
        self.along = Along::Nothing;
        self.find(plan);
        self.findings.fail(unconvertible, UNCONVERTIBLE);
        Ok(())
    }

    /// A file that was pushed with the same time before may have other content now.
    fn compare_what_was_sent(&self, context: &Context, plan: &mut Plan) {
        let mut sent = context.sent_times.borrow_mut();
        let spared = |path: &RelPath| self.batch.events(path).is_some_and(plan::spares_content);
        plan.compare_by_content(|path, mtime_ns| match sent.before(path, mtime_ns) {
            Before::Nothing => false,
            Before::PushedInTick => !spared(path),
            Before::Pushed => {
                let stat = self.root.lstat(path);
                !spared(path) && stat.is_ok_and(|stat| may_be_set(stat.mtime_ns, stat.ctime_ns))
            }
        });
        plan.sent().for_each(|(path, mtime_ns)| sent.sent(path, mtime_ns, self.begun_ns));
    }

    /// Its rsyncs may have read its files at any time until now. Passes each to `each`, with the time that was planned.
    fn look_again(&self, context: &Context, mut each: impl FnMut(&RelPath, i64, &Stat)) {
        let mut sent = context.sent_times.borrow_mut();
        for (path, planned) in &self.regular {
            context.supervisor.beat();
            let Ok(stat) = self.root.lstat(path) else { continue };
            sent.sent(path, stat.mtime_ns, self.begun_ns);
            each(path, *planned, &stat);
        }
    }

    /// It ends without a settlement. What it has sent is not known.
    pub fn ends_unsettled(&self, context: &Context) {
        self.look_again(context, |_, _, _| {});
    }

    /// Records what the plan found about its paths.
    fn find(&mut self, plan: Plan) {
        let children: HashSet<&RelPath> = plan.children.iter().collect();
        let dirs = |path: &RelPath| {
            plan.tree.iter().any(|top| path.is_within(top)) || children.contains(path)
        };
        let message = |errno| format!("lstat failed: {}", io::Error::from_raw_os_error(errno));
        let items = self.batch.items.iter();
        let dirs: Vec<_> = items
            .filter(|item| match item.scope {
                Scope::Entry => children.contains(&item.path),
                Scope::Children | Scope::Tree => dirs(&item.path),
            })
            .map(|item| (item.path.clone(), Disposition::Compare(item.scope.max(Scope::Children))))
            .collect();
        let failed = plan.failed.into_iter();
        let failed = failed.map(|(path, errno)| (path, Disposition::Failed(message(errno))));
        let large = plan.large.into_iter().map(|large| (large.path, Disposition::Large));
        self.findings.plan_again();
        let rest = plan.rest.into_iter().map(|path| (path, Disposition::Portion));
        self.findings.note_all(dirs.into_iter().chain(failed).chain(large).chain(rest));
        self.findings.renamed.extend(plan.renamed.into_iter().map(|renamed| renamed.to));
        self.findings.replaced = plan.replaced;
        self.regular = plan.regular;
        self.absent = plan.absent.into_iter().map(|absent| absent.path).collect();
    }

    /// Starts the next step, or finishes the push.
    pub(super) fn next(
        &mut self,
        context: &mut Context,
        now: Duration,
    ) -> Result<PushProgress, JobError> {
        let Some(step) = self.steps.pop_front() else {
            return Ok(PushProgress::Done(self.settlement(context)));
        };
        self.start_step(context, step, Aim::Do, now)
    }

    pub(super) fn start_step(
        &mut self,
        context: &mut Context,
        step: Step,
        aim: Aim,
        now: Duration,
    ) -> Result<PushProgress, JobError> {
        let dry = matches!(aim, Aim::Verify(_));
        if let Step::Rename(names) = &step {
            context.link(&names.files)?;
            self.linked.extend_from_slice(&names.files);
        }
        let rsync = match step.start(context, &self.root, dry) {
            // A sandbox may not let it give up privileges. What was moved is then sent.
            Err(JobError::System(why)) if matches!(step, Step::Rename(_)) => {
                context.cannot_rename(&why);
                return self.next(context, now);
            }
            started => started?,
        };
        let run = Run::new(rsync, context.start.remote.peer.timeout_s, context.patience, now)
            .reading(step.bytes_by_content(context, &self.root, dry));
        self.run = Some((step, aim, run));
        Ok(PushProgress::Running)
    }

    fn settlement(&mut self, context: &mut Context) -> Settlement {
        let mut unproven = Vec::new();
        self.look_again(context, |path, planned, stat| {
            if plan::set_meanwhile(planned, stat) {
                unproven.push(path.clone());
            }
        });
        self.regular.clear();
        let dir = |path: &RelPath| self.root.lstat(path).is_ok_and(|stat| stat.kind == Kind::Dir);
        let (reborn, gone): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.absent).into_iter().partition(|path| dir(path));
        let still_linked = self.part(context, &gone);
        let noted = unproven.into_iter().map(|path| (path, Disposition::Unproven));
        let noted = noted.chain(reborn.into_iter().map(|path| (path, Disposition::Reborn)));
        self.findings.note_all(noted);
        let now_ms = clock::wall_ms();
        let times = Times {
            now_ms,
            echo_ms: now_ms + i64::from(context.start.remote.peer.timeout_s) * 1_000,
            retry_most_ms: retry_most_ms(context.start.localpath.fail_log.as_ref()),
        };
        let mut end =
            std::mem::take(&mut self.batch).settle(&mut self.findings, self.pushed, times);
        let forgotten = |path: &RelPath| self.forgotten.iter().any(|f| path.is_within(f));
        end.owe.retain(|owe| owe.error.is_none() || !forgotten(&owe.path));
        if !self.below_whole.is_empty() {
            end.settled.append(&mut self.below_whole);
            end.settled.sort_unstable();
        }
        end.owe.extend(still_linked.into_iter().map(|name| linked::part(name, now_ms)));
        end.parted = context.linked.ended();
        end.success = self.answered;
        if !self.answered {
            end.settled.clear();
        }
        end
    }

    /// Notes which names have no file in common with others any longer, after it has deleted those that are `gone`.
    /// Returns the names to which it has itself given a second one and whose deletion it has not seen: they may have
    /// been in use again when rsync looked.
    fn part(&self, context: &mut Context, gone: &[RelPath]) -> Vec<RelPath> {
        let left = |name: &RelPath| self.findings.leaves_at_or_above(name);
        let own: HashSet<&RelPath> = self.linked.iter().flatten().collect();
        let within = gone.iter().flat_map(|top| context.linked.within(top));
        let parted: Vec<_> =
            within.filter(|name| !own.contains(name) && !left(name)).cloned().collect();
        parted.iter().for_each(|name| context.linked.part(name));
        let still = self.linked.iter().flatten();
        still.filter(|name| context.linked.contains(name) && !left(name)).cloned().collect()
    }

    /// Notes a directory that the remote lacked, unless this batch explains that.
    pub(super) fn note_created(
        findings: &mut Findings,
        batch: &Batch,
        toggles: Toggles,
        change: &Change,
    ) {
        if !doubt::is_sign(change, toggles) || batch.is_in_whole(&change.path) {
            return;
        }
        let signs = match batch.events(&change.path) {
            None => &mut findings.created,
            Some(events) if doubt::only_changed(events) => &mut findings.lacked,
            Some(_) => return,
        };
        if signs.len() < CREATED_MOST {
            signs.push(change.path.clone());
        }
    }
}
