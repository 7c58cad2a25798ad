//! One part of the scrub: a dry run, and the rows of what it finds.

use super::super::rows::repair;
use super::super::verify::counts;
use super::plan::{Cost, Part};
use crate::journal::{Held, JournalError, Settlement, VerifyRun};
use crate::path::RelPath;
use crate::pusher::context::{Context, broken};
use crate::pusher::guard::{self, Contents, Extent, Losses};
use crate::pusher::job_error::JobError;
use crate::pusher::walk;
use crate::rsync::argv::{self, Check, Form, Options};
use crate::rsync::differ::{Differ, Touched, may_come_from_below};
use crate::rsync::exit_status::{Judgement, Verdict};
use crate::rsync::itemize::{Change, ChangeKind, Line, Lines};
use crate::rsync_run::dry_run::{Compared, Counts, DryRun};
use crate::rsync_run::run::Finished;
use crate::sys::clock;
use std::fs::File;
use std::io::BufReader;
use std::time::Duration;

/// Rows written at a time.
const PORTION: usize = 500;
/// The largest number of rows of comparisons that wait to be pushed while more are written.
const OWED_MOST: u64 = 10_000;
/// The interval between checks while more wait.
const CHECK_AGAIN: Duration = Duration::from_millis(200);

/// A part that is being compared.
pub struct Comparing {
    stage: PartStage,
    touched: Touched,
    differ: Differ,
    read: Read,
}

enum PartStage {
    Running(DryRun),
    Reading {
        lines: Lines<BufReader<File>>,
        deletions: bool,
    },
    /// There is no output to read.
    Ended,
}

/// The result of a part.
#[derive(Clone, Debug)]
pub struct Read {
    /// The part.
    pub part: Part,
    /// Its cost.
    pub cost: Cost,
    /// Paths that have become owed.
    pub repaired: u64,
    /// Those of them to delete.
    pub deletions: u64,
    /// The number of entries that the remote has in it.
    pub there: u64,
    /// The first path that has become owed.
    pub first: Option<RelPath>,
    /// rsync's message about what could not be compared.
    pub incomplete: Option<String>,
    /// It needed the operator's approval.
    pub approved: bool,
}

impl Default for Read {
    fn default() -> Self {
        Read {
            part: Part::Whole(Vec::new()),
            cost: Cost::default(),
            repaired: 0,
            deletions: 0,
            there: 0,
            first: None,
            incomplete: None,
            approved: false,
        }
    }
}

/// The progress of a part.
pub enum Outcome {
    /// Its rsync runs.
    Running,
    /// There are more rows to write.
    Rows {
        /// The delay before they are written.
        more_in: Duration,
    },
    /// Every difference is owed.
    Done(Read),
    /// It must be compared again.
    Failed {
        /// rsync's message.
        message: String,
        /// The remote or a concurrent change was the cause, not the part.
        remote: bool,
    },
    /// It would delete too much. The operator must release it first.
    Guarded(Held),
}

impl Comparing {
    /// Starts the dry run, while `in_flight` paths are being pushed. `None` if none of its directories exists any more.
    pub fn start<'a>(
        context: &Context,
        part: &Part,
        checksum: bool,
        in_flight: impl IntoIterator<Item = &'a RelPath>,
        now: Duration,
    ) -> Result<Option<Self>, JobError> {
        let root = context.open_root()?;
        let there = |dir: &&RelPath| {
            dir.is_root() || root.lstat(dir).is_ok_and(|stat| context.enters(&root, &stat))
        };
        let directories: Vec<&RelPath> = part.directories().iter().filter(there).collect();
        if directories.is_empty() {
            return Ok(None);
        }
        let form = match part {
            Part::Names(_) => Form::Children,
            Part::Whole(_) => Form::Tree,
        };
        let options = Options {
            check: Check::by_content(checksum),
            dry: true,
            delete: context.delete(),
            force: true,
            stats: true,
            unchanged: false,
        };
        // Names that cannot be converted fail when they are pushed, not here.
        let list = argv::list_directories(directories);
        let (rsync, _) = context.compare(&root, &form, options, &list)?;
        let run = context.dry_run(rsync, root, now);
        let run = if checksum { run.by_content() } else { run };
        let mut touched = Touched::default();
        touched.add(in_flight);
        let read = Read { part: part.clone(), ..Read::default() };
        let stage = PartStage::Running(run);
        Ok(Some(Self { stage, touched, differ: Differ::default(), read }))
    }

    /// The part that is compared.
    pub fn part(&self) -> &Part {
        &self.read.part
    }

    /// True while its rsync runs.
    pub fn is_running(&self) -> bool {
        matches!(self.stage, PartStage::Running(_))
    }

    /// True if its rsync needs no slot, because it only waits.
    pub fn idles(&self, now: Duration) -> bool {
        match &self.stage {
            PartStage::Running(run) => run.idles(now),
            PartStage::Reading { .. } | PartStage::Ended => false,
        }
    }

    /// Kills its rsync.
    pub fn kill(&mut self) {
        if let PartStage::Running(run) = &mut self.stage {
            run.kill();
        }
    }

    /// These paths are being pushed while it compares.
    pub fn touch<'a>(&mut self, paths: impl IntoIterator<Item = &'a RelPath>) {
        self.touched.add(paths);
    }

    /// Advances the part, which belongs to `run`. The operator has `approved` this number of deletions.
    pub fn advance(
        &mut self,
        context: &mut Context,
        run: &VerifyRun,
        approved: Option<u64>,
        now: Duration,
    ) -> Result<Outcome, JobError> {
        let PartStage::Running(dry_run) = &mut self.stage else {
            return self.write_rows(context);
        };
        let Some(exited) = dry_run.poll(now).map_err(broken)? else {
            return Ok(Outcome::Running);
        };
        let PartStage::Running(dry_run) = std::mem::replace(&mut self.stage, PartStage::Ended)
        else {
            return Ok(Outcome::Running);
        };
        let finished = context.finish(dry_run.into_run(), exited)?;
        self.finished(context, finished, run, approved)
    }

    /// Reads the whole output once, to count the differences and apply the delete guard.
    fn finished(
        &mut self,
        context: &Context,
        finished: Finished,
        run: &VerifyRun,
        approved: Option<u64>,
    ) -> Result<Outcome, JobError> {
        if context.learn_from(&finished) {
            return Ok(Outcome::Failed { message: finished.judgement.message, remote: true });
        }
        let counts = |change: &Change| self.counts(context, change, true);
        let compared =
            Compared::read(finished, || context.supervisor.beat(), counts).map_err(broken)?;
        let mut compared = match compared {
            Ok(compared) => compared,
            Err(Judgement { verdict, message, .. }) => {
                let remote =
                    matches!(verdict, Verdict::Remote(_) | Verdict::Source | Verdict::Upset);
                return Ok(Outcome::Failed { message, remote });
            }
        };
        let totals = compared.totals;
        self.read.cost = Cost { names: totals.files, bytes: totals.total_bytes };
        let deletions = compared.counts.deletions;
        self.read.there = guard::remote_entries(totals.files, totals.created, deletions);
        if compared.complete
            && let Some(held) = self.guarded(context, &mut compared, run, approved)?
        {
            return Ok(held);
        }
        self.read.incomplete = context.incomplete(&compared)?;
        let deletions = compared.complete;
        let lines = compared.into_lines().map_err(broken)?;
        self.stage = PartStage::Reading { lines, deletions };
        Ok(Outcome::Rows { more_in: Duration::ZERO })
    }

    /// Applies the delete guard. It counts the deletions of a whole run, because many parts may delete a little each.
    fn guarded(
        &mut self,
        context: &Context,
        compared: &mut Compared,
        run: &VerifyRun,
        approved: Option<u64>,
    ) -> Result<Option<Outcome>, JobError> {
        let Counts { deletions, created, .. } = compared.counts;
        // If no reconcile has counted the entries, use what this run has counted.
        let entries = context.entries().or(Some(run.there + self.read.there));
        let contents = if deletions > 0 { walk::contents(context)? } else { Contents::Something };
        let totals = compared.totals;
        let all = Losses { deletions: run.deletions + deletions, created, entries, staying: None };
        let Losses { entries, .. } = walk::fewer_entries(context, all)?;
        let holds = |n: u64| {
            let counts = Counts { deletions: run.deletions + n, created, ..Counts::default() };
            let losses = guard::losses(Extent::Part(context.entries()), contents, counts, &totals);
            n > 0 && guard::holds(context.start.remote.max_delete, Losses { entries, ..losses })
        };
        if !holds(deletions) {
            return Ok(None);
        }
        // Names that are being deleted locally are no accident.
        let (mut deletions, mut result) = (0, Ok(()));
        compared
            .again(
                || context.supervisor.beat(),
                |change| {
                    if result.is_ok() && self.deletes(context, &change) {
                        match self.is_pending(context, &change.path, true) {
                            Ok(pending) => deletions += u64::from(!pending),
                            Err(error) => result = Err(error),
                        }
                    }
                },
            )
            .map_err(broken)?;
        result?;
        if !holds(deletions) {
            return Ok(None);
        }
        let all = run.deletions + deletions;
        if guard::is_approved(approved, all) {
            self.read.approved = true;
            return Ok(None);
        }
        let why = guard::message(all, entries, &context.name);
        Ok(Some(Outcome::Guarded(Held { why, deletions: all })))
    }

    fn counts(&self, context: &Context, change: &Change, deletions: bool) -> bool {
        self.read.part.holds(&change.path) && counts(context, &self.touched, change, deletions)
    }

    fn deletes(&self, context: &Context, change: &Change) -> bool {
        change.kind == ChangeKind::Deleted && self.counts(context, change, true)
    }

    fn is_pending(
        &self,
        context: &Context,
        path: &RelPath,
        below: bool,
    ) -> Result<bool, JournalError> {
        Ok(self.touched.holds(path, below)
            || context.journal.is_pending(&context.name, path, below)?)
    }

    /// Writes the next rows. A part with many rows waits until they are pushed.
    fn write_rows(&mut self, context: &mut Context) -> Result<Outcome, JobError> {
        if self.read.repaired >= OWED_MOST
            && context.journal.owed_in_bulk(&context.name, false)? > OWED_MOST
        {
            return Ok(Outcome::Rows { more_in: CHECK_AGAIN });
        }
        let (mut end, mut last) = (Settlement::default(), false);
        let now_ms = clock::wall_ms();
        while end.owe.len() < PORTION {
            let PartStage::Reading { lines, deletions } = &mut self.stage else { break };
            let deletions = *deletions;
            let Some(line) = lines.next() else {
                last = true;
                break;
            };
            context.supervisor.beat();
            let Line::Change(change) = line.map_err(broken)? else { continue };
            let why = self.differ.why(&change);
            if why.is_empty() || !self.counts(context, &change, deletions) {
                continue;
            }
            if self.is_pending(context, &change.path, may_come_from_below(&why))? {
                continue;
            }
            self.read.first.get_or_insert_with(|| change.path.clone());
            self.read.repaired += 1;
            self.read.deletions += u64::from(change.kind == ChangeKind::Deleted);
            end.owe.push(repair(change, &why, now_ms));
        }
        if !end.owe.is_empty() {
            context.journal.settle(&context.name, &end, now_ms)?;
        }
        match last {
            true => Ok(Outcome::Done(self.read.clone())),
            false => Ok(Outcome::Rows { more_in: Duration::ZERO }),
        }
    }
}
