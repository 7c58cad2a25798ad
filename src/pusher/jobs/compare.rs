//! Comparisons: a reconcile, or a comparison of owed directories.
//!
//! A dry run of rsync prints the differences. Each line that passes the filter becomes an owed row. The dry run changes
//! nothing, so it may run during pushes without a race: each path is checked again when it is pushed. The rows are
//! written in portions, so that a first copy of millions of files never needs millions of rows.

use super::rows::{
    Unseen, compared_after, compared_again, directories, not_compared, owe, swapped, unshown, whole,
};
use super::rsyncing::Rsyncing;
use crate::journal::{Events, Held, NOT_LIVE, Owed, Scope, Settlement};
use crate::path::{OsBytes, RelPath};
use crate::pusher::batch::{Batch, Beside};
use crate::pusher::context::{Context, broken};
use crate::pusher::doubt::Names;
use crate::pusher::guard::{self, Extent, Losses};
use crate::pusher::health::retry_most_ms;
use crate::pusher::job_error::JobError;
use crate::pusher::trees::{self, Files};
use crate::pusher::walk;
use crate::reconcile_reason::ReconcileReason;
use crate::rsync::argv::{self, Check, Form, Options};
use crate::rsync::complaint;
use crate::rsync::differ::Touched;
use crate::rsync::exit_status::{Judgement, Verdict};
use crate::rsync::itemize::{Change, ChangeKind, Line, Lines};
use crate::rsync_run::dry_run::{Compared, Counts, DryRun};
use crate::rsync_run::run::Finished;
use crate::stat::Kind;
use crate::sys::clock;
use crate::sys::fault_point::{Point, pass};
use crate::sys::files::Root;
use crate::sys::rsync::Rsync;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::BufReader;
use std::time::Duration;

/// Rows written at a time.
const PORTION: usize = 10_000;
/// While more rows than this wait or are being pushed, no more are written. Each of the two lanes has one portion, and
/// the third is for the lane that ends first.
const AHEAD: u64 = 2 * PORTION as u64;
/// Directories compared in one dry run.
pub const DIRS_AT_ONCE: u32 = 1_000;

/// The fewest differences for which everything is pushed at once.
const EVERYTHING_LEAST: u64 = 20_000;
/// At least one of this number of names must differ for that: rsync compares the others once more.
const EVERYTHING_SHARE: u64 = 5;

/// What a comparison covers.
#[derive(Debug)]
pub enum CompareSubject {
    /// A reconcile. A scheduled one excludes what `crontabfilter` names.
    Reconcile {
        /// Why.
        why: ReconcileReason,
        /// Patterns in rsync's language.
        exclude: Vec<OsBytes>,
    },
    /// The directories of these rows, all of one scope.
    Dirs(Vec<Owed>),
    /// The names in the root, which show whether a remote has lost everything, and those that are pushed meanwhile. No
    /// rows become owed.
    Names(Touched),
}

impl CompareSubject {
    /// True if what the remote lacks may be pushed without a look at single names.
    fn may_push_whole(&self, context: &Context) -> bool {
        match self {
            CompareSubject::Reconcile { exclude, .. } => {
                exclude.is_empty() && trees::can_be_sent(context)
            }
            CompareSubject::Dirs(_) | CompareSubject::Names(_) => false,
        }
    }
}

/// What is being pushed while a comparison advances.
#[derive(Clone, Copy, Debug)]
pub struct Pushing {
    /// A push is in flight.
    pub any: bool,
    /// Everything is being pushed.
    pub everything: bool,
}

/// A running comparison.
pub struct Compare {
    subject: CompareSubject,
    stage: CompareStage,
    /// What it found.
    pub found: Found,
    /// Names that no line shows: they cannot be converted, or the slave refuses them. A push of them fails and reports
    /// that.
    unshown: Vec<RelPath>,
    /// Missing directories that are pushed whole: nothing is written about what is below them.
    whole: HashSet<RelPath>,
    /// Everything was perhaps being pushed meanwhile, and may have changed what was compared.
    beside: Beside,
    /// Names that pushes delete meanwhile. The comparison may have seen them on the remote just before.
    deleting: Touched,
}

enum CompareStage {
    /// The names in the root are compared first: if the remote has none of them, the rest need not be compared.
    Looking(DryRun),
    Running(DryRun),
    /// It cannot run now, for this reason.
    Refused(String),
    Spooling {
        /// What a dry run printed, if there was one.
        lines: Option<Lines<BufReader<File>>>,
        deletions: bool,
        incomplete: Option<Unseen>,
    },
}

/// The counts of the first pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Paths that differ.
    pub paths: u64,
    /// Those of them to delete.
    pub deletions: u64,
    /// The size of those to send.
    pub bytes: u64,
    /// Those for which rows were written so far.
    pub written: u64,
    /// The number of these rows.
    pub rows: u64,
    /// The number of entries that the remote has.
    pub entries: u64,
}

/// The progress of a comparison.
pub enum CompareProgress {
    /// The dry run continues, or no rows are needed yet.
    Running,
    /// There are rows to write, or some were written.
    Rows,
    /// Every difference is owed now.
    Done {
        /// rsync's message about what could not be compared, and must be compared later.
        incomplete: Option<String>,
        /// The number of entries that the remote has, after a reconcile.
        entries: u64,
    },
    /// A file changed its type while rsync read it, and rsync gave up. It must be repeated soon.
    Upset,
    /// It would delete too much. The operator must release it first.
    Guarded(Held),
    /// The differences between the names in the root.
    Names(Names),
    /// It failed because of the remote.
    Remote(Judgement),
}

impl Rsyncing for Compare {
    fn is_running(&self) -> bool {
        matches!(self.stage, CompareStage::Running(_) | CompareStage::Looking(_))
    }

    fn idles(&self, now: Duration) -> bool {
        match &self.stage {
            CompareStage::Running(run) | CompareStage::Looking(run) => run.idles(now),
            CompareStage::Spooling { .. } | CompareStage::Refused(_) => false,
        }
    }

    fn poll_after(&self) -> Option<Duration> {
        match &self.stage {
            CompareStage::Running(run) | CompareStage::Looking(run) => Some(run.poll_after()),
            CompareStage::Spooling { .. } | CompareStage::Refused(_) => None,
        }
    }

    fn kill(&mut self) {
        if let CompareStage::Running(run) | CompareStage::Looking(run) = &mut self.stage {
            run.kill();
        }
    }
}

impl Compare {
    /// Starts the dry run. `None` if there is nothing to compare.
    pub fn start(
        context: &mut Context,
        subject: CompareSubject,
        now: Duration,
    ) -> Result<Option<Compare>, JobError> {
        let root = context.open_root()?;
        let (subject, (rsync, unconvertible)) = match subject {
            CompareSubject::Reconcile { .. } => {
                if let Some(message) = context.cannot_compare(&[RelPath::root()])? {
                    let stage = CompareStage::Refused(message);
                    return Ok(Some(Compare::new(subject, stage, Vec::new())));
                }
                if subject.may_push_whole(context) && is_large(context, &root) {
                    let (rsync, _) = compare_names(context, &root)?;
                    let stage = CompareStage::Looking(context.dry_run(rsync, root, now));
                    return Ok(Some(Compare::new(subject, stage, Vec::new())));
                }
                return Compare::everything(context, root, subject, now).map(Some);
            }
            CompareSubject::Dirs(rows) => {
                let Some(rows) = directories(context, &root, rows)? else { return Ok(None) };
                let tree = rows.iter().any(|row| row.scope == Scope::Tree);
                let check = Check::by_content(rows.iter().any(swapped));
                let options = Options { check, ..options(context) };
                let form = if tree { Form::Tree } else { Form::Children };
                let list = argv::list_directories(rows.iter().map(|row| &row.path));
                (CompareSubject::Dirs(rows), context.compare(&root, &form, options, &list)?)
            }
            CompareSubject::Names(_) => (subject, compare_names(context, &root)?),
        };
        let stage = CompareStage::Running(context.dry_run(rsync, root, now));
        Ok(Some(Compare::new(subject, stage, unconvertible)))
    }

    /// Starts the dry run of a reconcile.
    fn everything(
        context: &Context,
        root: Root,
        subject: CompareSubject,
        now: Duration,
    ) -> Result<Compare, JobError> {
        let exclude = match &subject {
            CompareSubject::Reconcile { exclude, .. } => exclude.clone(),
            CompareSubject::Dirs(_) | CompareSubject::Names(_) => Vec::new(),
        };
        let form = Form::Everything { exclude };
        let (rsync, unconvertible) = context.compare(&root, &form, options(context), b"")?;
        let stage = CompareStage::Running(context.dry_run(rsync, root, now));
        Ok(Compare::new(subject, stage, unconvertible))
    }

    fn new(subject: CompareSubject, stage: CompareStage, unshown: Vec<RelPath>) -> Self {
        Self {
            subject,
            stage,
            found: Found::default(),
            unshown,
            whole: HashSet::new(),
            beside: Beside::Nothing,
            deleting: Touched::default(),
        }
    }

    /// Why it runs, if it is a reconcile.
    pub fn why(&self) -> Option<&ReconcileReason> {
        match &self.subject {
            CompareSubject::Reconcile { why, .. } => Some(why),
            CompareSubject::Dirs(_) | CompareSubject::Names(_) => None,
        }
    }

    /// True if the delete guard applies to it.
    pub fn guarded(&self) -> bool {
        !live(&self.subject)
    }

    /// This push is in flight meanwhile.
    pub fn touch(&mut self, push: &Batch) {
        self.deleting.add(push.deleted());
        if let CompareSubject::Names(pushed) = &mut self.subject {
            let paths = push.items.iter().map(|item| &item.path);
            pushed.add(paths.filter(|path| path.parent().is_some_and(|dir| dir.is_root())));
            if push.is_everything() {
                pushed.add_everything();
            }
        }
    }

    /// Advances the comparison. The operator has `approved` this number of deletions.
    pub fn advance(
        mut self,
        context: &mut Context,
        pushing: Pushing,
        approved: Option<u64>,
        now: Duration,
    ) -> Result<(Option<Compare>, CompareProgress), JobError> {
        self.beside = self.beside.later(pushing.everything);
        match self.stage {
            CompareStage::Running(mut run) => {
                let Some(exited) = run.poll(now).map_err(broken)? else {
                    self.stage = CompareStage::Running(run);
                    return Ok((Some(self), CompareProgress::Running));
                };
                let finished = context.finish(run.into_run(), exited)?;
                let beside = self.beside;
                let (next, progress) =
                    spool(self.subject, self.unshown, self.deleting, context, finished, approved)?;
                Ok((next.map(|next| Compare { beside, ..next }), progress))
            }
            CompareStage::Looking(mut run) => {
                let Some(exited) = run.poll(now).map_err(broken)? else {
                    self.stage = CompareStage::Looking(run);
                    return Ok((Some(self), CompareProgress::Running));
                };
                let finished = context.finish(run.into_run(), exited)?;
                let root = context.open_root()?;
                if !lacks_everything(context, &root, finished)? {
                    let compare = Compare::everything(context, root, self.subject, now)?;
                    let compare = Compare { deleting: self.deleting, ..compare };
                    return Ok((Some(compare), CompareProgress::Running));
                }
                let (paths, bytes) = walk::extent(context, &root, u64::MAX, true);
                self.found = Found { paths, bytes, ..Found::default() };
                self.whole.insert(RelPath::root());
                self.stage =
                    CompareStage::Spooling { lines: None, deletions: false, incomplete: None };
                Ok((Some(self), CompareProgress::Rows))
            }
            CompareStage::Refused(message) => {
                let entries = context.remote_state.entries.unwrap_or(0) as u64;
                Ok((None, CompareProgress::Done { incomplete: Some(message), entries }))
            }
            CompareStage::Spooling { .. } => {
                let progress = self.write_rows(context, pushing)?;
                match progress {
                    more @ (CompareProgress::Running | CompareProgress::Rows) => {
                        Ok((Some(self), more))
                    }
                    end => Ok((None, end)),
                }
            }
        }
    }

    /// True if its rows go into the lanes of portions.
    fn is_bulk(&self, context: &Context) -> bool {
        matches!(self.subject, CompareSubject::Reconcile { .. }) && !context.hard_links()
    }

    /// Writes the next portion while the last one is being pushed, so that no push waits.
    fn write_rows(
        &mut self,
        context: &mut Context,
        pushing: Pushing,
    ) -> Result<CompareProgress, JobError> {
        let bulk = self.is_bulk(context);
        let CompareStage::Spooling { lines, deletions, incomplete } = &mut self.stage else {
            return Ok(CompareProgress::Running);
        };
        if self.found.written > 0 {
            let left = context.journal.owed_in_bulk(&context.name, bulk)?;
            let ahead = match &self.subject {
                CompareSubject::Dirs(_) | CompareSubject::Names(_) => PORTION as u64,
                CompareSubject::Reconcile { .. } => AHEAD,
            };
            // A row may be that of a directory with many names.
            let left = left * self.found.written / self.found.rows.max(1);
            if left > if pushing.any { ahead } else { 0 } {
                return Ok(CompareProgress::Running);
            }
        }
        let now_ms = clock::wall_ms();
        let mut end = Settlement::default();
        let also = match &self.subject {
            CompareSubject::Reconcile { .. } if bulk => Events::BULK,
            _ => Events::default(),
        };
        let by_content =
            matches!(&self.subject, CompareSubject::Dirs(rows) if rows.iter().any(swapped));
        // A scan found a changed directory. If the remote lacks a directory in it, that one may be old, and the remote
        // may have lost it with everything below.
        let unseen_below = matches!(&self.subject, CompareSubject::Dirs(rows) if rows.iter().all(|row| {
            row.scope == Scope::Children && row.events.contains(Events::SCAN)
        }));
        // Only the lane of marks checks whether the file of a temporary name is in flight.
        let apart = |change: &Change| {
            change.kind == ChangeKind::Deleted && complaint::temporary_of(&change.path).is_some()
        };
        let since_ms = match &self.subject {
            CompareSubject::Dirs(rows) => {
                rows.iter().map(|row| row.since_ms).min().unwrap_or(now_ms)
            }
            // Of the changes that waited for the reconcile only the age is known.
            CompareSubject::Reconcile { .. } => {
                context.remote_state.behind_since_ms.unwrap_or(now_ms)
            }
            CompareSubject::Names(_) => now_ms,
        };
        let failed: HashMap<RelPath, u32> = match &self.subject {
            CompareSubject::Dirs(rows) => {
                rows.iter().map(|row| (row.path.clone(), row.attempts)).collect()
            }
            CompareSubject::Reconcile { .. } | CompareSubject::Names(_) => HashMap::new(),
        };
        let portion = self.unshown.len().min(PORTION);
        end.owe.extend(self.unshown.drain(..portion).map(|path| unshown(path, since_ms, now_ms)));
        let trees = match self.subject.may_push_whole(context) {
            true => Some((context.open_root()?, context.journal.silent_mounts()?)),
            false => None,
        };
        let (mut names, mut last) = (end.owe.len() as u64, false);
        let everything = self.whole.contains(&RelPath::root());
        if everything && self.found.rows == 0 {
            names += self.found.paths - self.found.deletions;
            end.owe.push(whole(RelPath::root(), since_ms, now_ms));
        }
        while names < PORTION as u64 {
            let Some(line) = lines.as_mut().and_then(Iterator::next) else {
                last = true;
                break;
            };
            context.supervisor.beat();
            let Line::Change(change) = line.map_err(broken)? else { continue };
            if wanted(context, &change, *deletions) {
                let gone = change.kind == ChangeKind::Deleted;
                if !gone && (everything || change.path.prefixes().any(|p| self.whole.contains(&p)))
                {
                    continue;
                }
                let missing = change.is_dir && change.kind == ChangeKind::Created;
                let size = trees.as_ref().filter(|_| missing).and_then(|(root, silent)| {
                    trees::size(context, root, &change.path, silent, Files::Counted)
                });
                let also = if apart(&change) { Events::default() } else { also };
                let below = unseen_below && change.kind == ChangeKind::Created && change.is_dir;
                // Size and time may be equal although the content differs.
                let content = by_content && change.differs.in_content();
                let mut owe = owe(change, since_ms, now_ms);
                owe.events |= also;
                owe.events.set(Events::CONTENT, content);
                // It is the same directory, so its failures count.
                owe.attempts = failed.get(&owe.path).copied().unwrap_or(0);
                names += 1;
                if let Some(size) = size.filter(|size| size.names > 0) {
                    names += size.names as u64;
                    (owe.scope, owe.events) = (Scope::Tree, owe.events | Events::WHOLE);
                    self.whole.insert(owe.path.clone());
                }
                if below {
                    (owe.scope, owe.events) = (Scope::Tree, owe.events | Events::SCAN);
                }
                end.owe.push(owe);
            }
        }
        self.found.written += names;
        self.found.rows += end.owe.len() as u64;
        if let (true, CompareSubject::Dirs(rows)) = (last, &self.subject) {
            end.done = rows.iter().map(|row| (row.path.clone(), row.generation)).collect();
            end.owe.extend(rows.iter().filter_map(|row| compared_again(context, row, now_ms)));
            if let Some(waits) = self.beside.waits() {
                end.owe.extend(rows.iter().map(|row| compared_after(row, waits, now_ms)));
            }
            if let Some(incomplete) = incomplete {
                let most_ms = retry_most_ms(context.start.localpath.fail_log.as_ref());
                end.owe.extend(not_compared(rows, incomplete, now_ms, most_ms));
            }
        }
        let incomplete = incomplete.as_ref().map(|incomplete| incomplete.message.clone());
        context.journal.settle(&context.name, &end, now_ms)?;
        pass(Point::PusherOwes);
        let entries = self.found.entries;
        Ok(if last { CompareProgress::Done { incomplete, entries } } else { CompareProgress::Rows })
    }
}

/// The options of a dry run.
fn options(context: &Context) -> Options {
    Options {
        check: Check::Quick,
        dry: true,
        delete: context.delete(),
        force: true,
        stats: true,
        unchanged: false,
    }
}

/// Starts a comparison of the names in the root.
fn compare_names(context: &Context, root: &Root) -> Result<(Rsync, Vec<RelPath>), JobError> {
    let list = argv::list_directories([&RelPath::root()]);
    context.compare(root, &Form::Children, options(context), &list)
}

/// True if the localpath has so many names that it matters how they are compared. Few of them are in the root.
fn is_large(context: &Context, root: &Root) -> bool {
    const IN_ROOT_MOST: usize = 10_000;
    let in_root = walk::names(context, root, &RelPath::root(), IN_ROOT_MOST + 1).len();
    let least = EVERYTHING_LEAST;
    in_root <= IN_ROOT_MOST && walk::extent(context, root, least, false).0 >= least
}

/// True if a comparison of the names in the root shows that the remote has none of them, and no others. If it failed, a
/// comparison of everything fails, too, and says why.
fn lacks_everything(context: &Context, root: &Root, finished: Finished) -> Result<bool, JobError> {
    let counts = |change: &Change| !change.path.is_root() && wanted(context, change, true);
    let beat = || context.supervisor.beat();
    let Ok(compared) = Compared::read(finished, beat, counts).map_err(broken)? else {
        return Ok(false);
    };
    let here = walk::names(context, root, &RelPath::root(), usize::MAX).into_iter();
    let here = here.filter(|(name, kind)| {
        let path = RelPath::root().join(&name.name);
        !context.filter.excludes(&path, *kind == Kind::Dir)
    });
    let Counts { paths, created, .. } = compared.counts;
    Ok(compared.complete && created == paths && created == here.count() as u64)
}

/// Handles the end of a dry run: counts the differences, applies the delete guard, and makes a spool from the output,
/// from which rows are read.
fn spool(
    subject: CompareSubject,
    mut unshown: Vec<RelPath>,
    deleting: Touched,
    context: &Context,
    finished: Finished,
    approved: Option<u64>,
) -> Result<(Option<Compare>, CompareProgress), JobError> {
    if context.learn_from(&finished) {
        return Ok((None, CompareProgress::Upset));
    }
    let counts = |change: &Change| {
        let wanted = wanted(context, change, true);
        if !wanted {
            context.note_excluded(change);
        }
        wanted
    };
    let compared =
        Compared::read(finished, || context.supervisor.beat(), counts).map_err(broken)?;
    let mut compared = match compared {
        Ok(compared) => compared,
        Err(judgement) => match judgement.verdict {
            Verdict::Upset => return Ok((None, CompareProgress::Upset)),
            Verdict::Source => return Err(JobError::Root(judgement.reason())),
            _ => return Ok((None, CompareProgress::Remote(judgement))),
        },
    };
    if let CompareSubject::Names(pushed) = &subject {
        let mut names = Names::default();
        let (toggles, complete) = (context.start.localpath.inotify, compared.complete);
        let add = |change: Change| {
            // Either side may have been read before the push of a name ended.
            let still = !pushed.holds(&change.path, false);
            let temporary = complaint::temporary_of(&change.path).is_some();
            if still && !temporary && wanted(context, &change, complete) {
                let skipped = context.filter.skips_event(&change.path, change.is_dir);
                names.add(&change, toggles, skipped);
            }
        };
        compared.again(|| context.supervisor.beat(), add).map_err(broken)?;
        return Ok((None, CompareProgress::Names(names)));
    }
    unshown.extend(context.refused_names(compared.stderr()));
    let Counts { paths, deletions, .. } = compared.counts;
    let found = Found {
        paths: paths + unshown.len() as u64,
        deletions,
        bytes: compared.totals.transferred_bytes,
        written: 0,
        rows: 0,
        entries: guard::remote_entries(compared.totals.files, compared.totals.created, deletions),
    };
    if deletions > 0 && !live(&subject) && !guard::is_approved(approved, deletions) {
        let extent = match &subject {
            CompareSubject::Reconcile { .. } => Extent::Whole,
            CompareSubject::Dirs(_) | CompareSubject::Names(_) => Extent::Part(context.entries()),
        };
        let contents = walk::contents(context)?;
        let losses = guard::losses(extent, contents, compared.counts, &compared.totals);
        let losses = match extent {
            Extent::Whole => {
                losses.without_created(context.remote_state.created_files.unwrap_or(0))
            }
            Extent::Part(_) => walk::fewer_entries(context, losses)?,
        };
        if guard::holds(context.start.remote.max_delete, losses) {
            // Too many names are in flight to know which were marked as deleted.
            if deleting.is_full() {
                return Ok((None, CompareProgress::Upset));
            }
            let deletions = unmarked_deletions(context, &mut compared, &deleting)?;
            // A push in flight may have created directories, but not yet their files. So compare the numbers of files.
            let created = match losses.staying {
                Some(0) if replaces_files(context, &mut compared)? => losses.created.max(deletions),
                Some(_) | None => losses.created,
            };
            let losses = Losses { deletions, created, ..losses };
            if guard::holds(context.start.remote.max_delete, losses)
                && !guard::is_approved(approved, deletions)
            {
                let why = guard::message(deletions, losses.entries, &context.name);
                return Ok((None, CompareProgress::Guarded(Held { why, deletions })));
            }
        }
    }
    let deletions = compared.complete;
    let incomplete = (!deletions).then(|| {
        Unseen::new(named(context.complaints(compared.stderr())), compared.judgement().clone())
    });
    // Sending everything as rsync does it costs less than many names one by one.
    let (sent, all) = (found.paths - found.deletions, compared.totals.files);
    let everything = subject.may_push_whole(context)
        && incomplete.is_none()
        && unshown.is_empty()
        && sent >= EVERYTHING_LEAST
        && sent >= all / EVERYTHING_SHARE;
    let lines = Some(compared.into_lines().map_err(broken)?);
    let stage = CompareStage::Spooling { lines, deletions, incomplete };
    let mut compare = Compare { found, deleting, ..Compare::new(subject, stage, unshown) };
    if everything {
        compare.whole.insert(RelPath::root());
    }
    pass(Point::PusherCounted);
    Ok((Some(compare), CompareProgress::Rows))
}

/// The number of names that it would delete and that no mark reports as deleted. Names that were deleted locally while
/// the watcher ran are no accident.
fn unmarked_deletions(
    context: &Context,
    compared: &mut Compared,
    deleting: &Touched,
) -> Result<u64, JobError> {
    let mut unmarked_deletions = Ok(0);
    compared
        .again(
            || context.supervisor.beat(),
            |change| {
                let deleted = change.kind == ChangeKind::Deleted && wanted(context, &change, true);
                if let (Ok(count), true) =
                    (&mut unmarked_deletions, deleted && !deleting.holds(&change.path, false))
                {
                    match context.journal.is_marked_deleted(&context.name, &change.path) {
                        Ok(marked) => *count += u64::from(!marked),
                        Err(error) => unmarked_deletions = Err(error),
                    }
                }
            },
        )
        .map_err(broken)?;
    Ok(unmarked_deletions?)
}

/// True if the localpath has at least as many files as it would delete.
fn replaces_files(context: &Context, compared: &mut Compared) -> Result<bool, JobError> {
    let mut lost = 0;
    let add = |change: Change| {
        let deleted = change.kind == ChangeKind::Deleted && wanted(context, &change, true);
        lost += u64::from(deleted && !change.is_dir);
    };
    compared.again(|| context.supervisor.beat(), add).map_err(broken)?;
    Ok(lost > 0 && walk::files(context, lost)? >= lost)
}

/// Complaints about single paths, with their messages.
fn named(complaints: Vec<complaint::Complaint>) -> Vec<(RelPath, String)> {
    let one = |c: complaint::Complaint| Some((c.paths.into_iter().next()?, c.message));
    complaints.into_iter().filter_map(one).collect()
}

/// True if live events marked everything it covers, so that the changes were made locally. What a scan or a reconcile
/// finds may be an accident.
fn live(subject: &CompareSubject) -> bool {
    matches!(subject, CompareSubject::Dirs(rows) if !rows.iter().any(|row| row.events.intersects(NOT_LIVE)))
}

/// True if this difference must become owed.
fn wanted(context: &Context, change: &Change, deletions: bool) -> bool {
    let deleted = change.kind == ChangeKind::Deleted;
    if deleted && (!deletions || !context.delete()) {
        return false;
    }
    !context.filter.excludes(&change.path, change.is_dir)
}
