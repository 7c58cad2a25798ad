//! Comparisons: a reconcile, or a comparison of owed directories.
//!
//! A dry run of rsync prints the differences. Each line that passes the filter becomes an owed row. The dry run changes
//! nothing, so it may run during pushes without a race: each path is checked again when it is pushed. The rows are
//! written in portions, so that a first copy of millions of files never needs millions of rows.

use super::rows::{Unseen, directories, not_compared, owe, swapped, unconvertible};
use super::rsyncing::Rsyncing;
use crate::journal::{Events, Held, Owed, Scope, Settlement};
use crate::path::{OsBytes, RelPath};
use crate::pusher::context::{Context, broken};
use crate::pusher::doubt::Names;
use crate::pusher::guard::{self, Extent, Losses};
use crate::pusher::health::retry_most_ms;
use crate::pusher::job_error::JobError;
use crate::pusher::walk;
use crate::reconcile_reason::ReconcileReason;
use crate::rsync::argv::{self, Form, Options};
use crate::rsync::complaint;
use crate::rsync::differ::Touched;
use crate::rsync::exit_status::{Judgement, Verdict};
use crate::rsync::itemize::{Change, ChangeKind, Line, Lines};
use crate::rsync_run::dry_run::{Compared, Counts, DryRun};
use crate::rsync_run::run::Finished;
use crate::sys::clock;
use std::collections::HashMap;
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
    /// The names in the root, which show whether a remote has lost everything. No rows become owed.
    Names,
}

/// A running comparison.
pub struct Compare {
    subject: CompareSubject,
    stage: CompareStage,
    /// What it found.
    pub found: Found,
    /// Names that it left out because they cannot be converted. A push of them fails and reports that.
    unconvertible: Vec<RelPath>,
    /// Names that pushes delete meanwhile. The comparison may have seen them on the remote just before.
    deleting: Touched,
}

enum CompareStage {
    Running(DryRun),
    /// It cannot run now, for this reason.
    Refused(String),
    Spooling {
        lines: Lines<BufReader<File>>,
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
    /// Rows written so far.
    pub written: u64,
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
        matches!(self.stage, CompareStage::Running(_))
    }

    fn idles(&self, now: Duration) -> bool {
        match &self.stage {
            CompareStage::Running(run) => run.idles(now),
            CompareStage::Spooling { .. } | CompareStage::Refused(_) => false,
        }
    }

    fn poll_after(&self) -> Option<Duration> {
        match &self.stage {
            CompareStage::Running(run) => Some(run.poll_after()),
            CompareStage::Spooling { .. } | CompareStage::Refused(_) => None,
        }
    }

    fn kill(&mut self) {
        if let CompareStage::Running(run) = &mut self.stage {
            run.kill();
        }
    }
}

impl Compare {
    /// Starts the dry run, while pushes delete the names in `deleting`. `None` if there is nothing to compare.
    pub fn start(
        context: &mut Context,
        subject: CompareSubject,
        deleting: Touched,
        now: Duration,
    ) -> Result<Option<Compare>, JobError> {
        let root = context.open_root()?;
        let mut options = Options {
            checksum: false,
            dry: true,
            delete: context.delete(),
            force: true,
            stats: true,
            unchanged: false,
        };
        let (subject, (rsync, unconvertible)) = match subject {
            CompareSubject::Reconcile { why, exclude } => {
                if let Some(message) = context.cannot_compare(&[RelPath::root()])? {
                    let subject = CompareSubject::Reconcile { why, exclude };
                    let stage = CompareStage::Refused(message);
                    let (found, unconvertible) = (Found::default(), Vec::new());
                    return Ok(Some(Compare { subject, stage, found, unconvertible, deleting }));
                }
                let form = Form::Everything { exclude: exclude.clone() };
                let compared = context.compare(&root, &form, options, b"")?;
                (CompareSubject::Reconcile { why, exclude }, compared)
            }
            CompareSubject::Dirs(rows) => {
                let Some(rows) = directories(context, &root, rows)? else { return Ok(None) };
                let tree = rows.iter().any(|row| row.scope == Scope::Tree);
                options.checksum = rows.iter().any(swapped);
                let form = if tree { Form::Tree } else { Form::Children };
                let list = argv::list_directories(rows.iter().map(|row| &row.path));
                (CompareSubject::Dirs(rows), context.compare(&root, &form, options, &list)?)
            }
            CompareSubject::Names => {
                let list = argv::list_directories([&RelPath::root()]);
                (CompareSubject::Names, context.compare(&root, &Form::Children, options, &list)?)
            }
        };
        let stage = CompareStage::Running(context.dry_run(rsync, root, now));
        Ok(Some(Compare { subject, stage, found: Found::default(), unconvertible, deleting }))
    }

    /// Why it runs, if it is a reconcile.
    pub fn why(&self) -> Option<&ReconcileReason> {
        match &self.subject {
            CompareSubject::Reconcile { why, .. } => Some(why),
            CompareSubject::Dirs(_) | CompareSubject::Names => None,
        }
    }

    /// True if the delete guard applies to it.
    pub fn guarded(&self) -> bool {
        !live(&self.subject)
    }

    /// A push starts that deletes these names.
    pub fn touch<'a>(&mut self, deleting: impl IntoIterator<Item = &'a RelPath>) {
        self.deleting.add(deleting);
    }

    /// Advances the comparison. `pushing` says whether a push is in flight. The operator has `approved` this number of
    /// deletions.
    pub fn advance(
        mut self,
        context: &mut Context,
        pushing: bool,
        approved: Option<u64>,
        now: Duration,
    ) -> Result<(Option<Compare>, CompareProgress), JobError> {
        match self.stage {
            CompareStage::Running(mut run) => {
                let Some(exited) = run.poll(now).map_err(broken)? else {
                    self.stage = CompareStage::Running(run);
                    return Ok((Some(self), CompareProgress::Running));
                };
                let finished = context.finish(run.into_run(), exited)?;
                spool(self.subject, self.unconvertible, self.deleting, context, finished, approved)
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
        pushing: bool,
    ) -> Result<CompareProgress, JobError> {
        let bulk = self.is_bulk(context);
        let CompareStage::Spooling { lines, deletions, incomplete } = &mut self.stage else {
            return Ok(CompareProgress::Running);
        };
        if self.found.written > 0 {
            let left = context.journal.owed_in_bulk(&context.name, bulk)?;
            let ahead = match &self.subject {
                CompareSubject::Dirs(_) | CompareSubject::Names => PORTION as u64,
                CompareSubject::Reconcile { .. } => AHEAD,
            };
            if left > if pushing { ahead } else { 0 } {
                return Ok(CompareProgress::Running);
            }
        }
        let now_ms = clock::wall_ms();
        let mut end = Settlement::default();
        let also = match &self.subject {
            // Size and time may be equal although the content differs.
            CompareSubject::Dirs(rows) if rows.iter().any(swapped) => Events::MOVE,
            CompareSubject::Reconcile { .. } if bulk => Events::BULK,
            _ => Events::default(),
        };
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
            CompareSubject::Names => now_ms,
        };
        let failed: HashMap<RelPath, u32> = match &self.subject {
            CompareSubject::Dirs(rows) => {
                rows.iter().map(|row| (row.path.clone(), row.attempts)).collect()
            }
            CompareSubject::Reconcile { .. } | CompareSubject::Names => HashMap::new(),
        };
        let portion = self.unconvertible.len().min(PORTION);
        end.owe.extend(
            self.unconvertible.drain(..portion).map(|path| unconvertible(path, since_ms, now_ms)),
        );
        while end.owe.len() < PORTION {
            let Some(line) = lines.next() else { break };
            context.supervisor.beat();
            let Line::Change(change) = line.map_err(broken)? else { continue };
            if wanted(context, &change, *deletions) {
                let also = if apart(&change) { Events::default() } else { also };
                let below = unseen_below && change.kind == ChangeKind::Created && change.is_dir;
                let mut owe = owe(change, since_ms, now_ms);
                owe.events |= also;
                // It is the same directory, so its failures count.
                owe.attempts = failed.get(&owe.path).copied().unwrap_or(0);
                if below {
                    (owe.scope, owe.events) = (Scope::Tree, owe.events | Events::SCAN);
                }
                end.owe.push(owe);
            }
        }
        self.found.written += end.owe.len() as u64;
        let last = end.owe.len() < PORTION;
        if let (true, CompareSubject::Dirs(rows)) = (last, &self.subject) {
            end.done = rows.iter().map(|row| (row.path.clone(), row.generation)).collect();
            if let Some(incomplete) = incomplete {
                let most_ms = retry_most_ms(context.start.localpath.fail_log.as_ref());
                end.owe.extend(not_compared(rows, incomplete, now_ms, most_ms));
            }
        }
        let incomplete = incomplete.as_ref().map(|incomplete| incomplete.message.clone());
        context.journal.settle(&context.name, &end, now_ms)?;
        let entries = self.found.entries;
        Ok(if last { CompareProgress::Done { incomplete, entries } } else { CompareProgress::Rows })
    }
}

/// Handles the end of a dry run: counts the differences, applies the delete guard, and makes a spool from the output,
/// from which rows are read.
fn spool(
    subject: CompareSubject,
    unconvertible: Vec<RelPath>,
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
            Verdict::Source => return Err(JobError::Root(judgement.message)),
            _ => return Ok((None, CompareProgress::Remote(judgement))),
        },
    };
    if matches!(subject, CompareSubject::Names) {
        let mut names = Names::default();
        let (toggles, complete) = (context.start.localpath.inotify, compared.complete);
        let add = |change: Change| {
            if wanted(context, &change, complete) && complaint::temporary_of(&change.path).is_none()
            {
                let skipped = context.filter.skips_event(&change.path, change.is_dir);
                names.add(&change, toggles, skipped);
            }
        };
        compared.again(|| context.supervisor.beat(), add).map_err(broken)?;
        return Ok((None, CompareProgress::Names(names)));
    }
    let Counts { paths, deletions, .. } = compared.counts;
    let found = Found {
        paths: paths + unconvertible.len() as u64,
        deletions,
        bytes: compared.totals.transferred_bytes,
        written: 0,
        entries: guard::remote_entries(compared.totals.files, compared.totals.created, deletions),
    };
    if deletions > 0 && !live(&subject) && !guard::is_approved(approved, deletions) {
        let extent = match &subject {
            CompareSubject::Reconcile { .. } => Extent::Whole,
            CompareSubject::Dirs(_) | CompareSubject::Names => Extent::Part(context.entries()),
        };
        let contents = walk::contents(context)?;
        let losses = guard::losses(extent, contents, compared.counts, &compared.totals);
        let losses = match extent {
            Extent::Whole => {
                losses.without_created(context.remote_state.created_files.unwrap_or(0))
            }
            Extent::Part(_) => losses,
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
    let lines = compared.into_lines().map_err(broken)?;
    let stage = CompareStage::Spooling { lines, deletions, incomplete };
    Ok((Some(Compare { subject, stage, found, unconvertible, deleting }), CompareProgress::Rows))
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
    matches!(subject, CompareSubject::Dirs(rows) if !rows.iter().any(|row| row.events.contains(Events::SCAN)))
}

/// True if this difference must become owed.
fn wanted(context: &Context, change: &Change, deletions: bool) -> bool {
    let deleted = change.kind == ChangeKind::Deleted;
    if deleted && (!deletions || !context.delete()) {
        return false;
    }
    !context.filter.excludes(&change.path, change.is_dir)
}
