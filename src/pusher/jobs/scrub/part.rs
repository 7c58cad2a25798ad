//! One part of the scrub: a dry run, and the rows of what it finds.

use super::super::rows::repair;
use super::super::verify::counts;
use super::plan::{Cost, Part};
use crate::journal::{Held, JournalError, Settlement, VerifyRun};
use crate::path::RelPath;
use crate::pusher::context::{Context, broken};
use crate::pusher::guard::{self, Contents, Extent, Losses};
use crate::pusher::stuck::Stuck;
use crate::pusher::walk;
use crate::rsync::argv::{self, Form, Options};
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
/// Rows of comparisons that may wait to be pushed before more are written.
const OWED_MOST: u64 = 10_000;
/// While they do.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

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
    /// There is nothing to read.
    Ended,
}

/// What came of a part.
#[derive(Clone, Debug)]
pub struct Read {
    /// The part.
    pub part: Part,
    /// What it took.
    pub cost: Cost,
    /// Paths that are owed now.
    pub repaired: u64,
    /// Those of them to be deleted.
    pub deletions: u64,
    /// Entries the remote has in it.
    pub there: u64,
    /// The first path that is owed.
    pub first: Option<RelPath>,
    /// rsync's words on what could not be compared.
    pub incomplete: Option<String>,
    /// The operator's approval was needed for it.
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

/// How it goes on.
pub enum Outcome {
    /// Its rsync runs.
    Running,
    /// There are more rows to write, after this time.
    Rows {
        /// How long to wait.
        more_in: Duration,
    },
    /// Everything that differs is owed.
    Done(Read),
    /// It must be compared again.
    Failed {
        /// rsync's words.
        words: String,
        /// The remote, or the moment, is the reason, and not the part.
        remote: bool,
    },
    /// It would delete too much: the operator must look first.
    Guarded(Held),
}

impl Comparing {
    /// Starts the dry run, beside the pushes of `in_flight`. `None` when none of its directories is there any more.
    pub fn start<'a>(
        context: &Context,
        part: &Part,
        checksum: bool,
        in_flight: impl IntoIterator<Item = &'a RelPath>,
        now: Duration,
    ) -> Result<Option<Self>, Stuck> {
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
            checksum,
            dry: true,
            delete: context.delete(),
            force: true,
            stats: true,
            unchanged: false,
        };
        // What a push cannot send fails there.
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

    /// What is compared.
    pub fn part(&self) -> &Part {
        &self.read.part
    }

    /// True while its rsync runs.
    pub fn is_running(&self) -> bool {
        matches!(self.stage, PartStage::Running(_))
    }

    /// How long its rsync has not moved.
    pub fn stalled(&self, now: Duration) -> Duration {
        match &self.stage {
            PartStage::Running(run) => run.stalled(now),
            PartStage::Reading { .. } | PartStage::Ended => Duration::ZERO,
        }
    }

    /// Ends its rsync.
    pub fn kill(&mut self) {
        if let PartStage::Running(run) = &mut self.stage {
            run.kill();
        }
    }

    /// These paths are being pushed while it compares.
    pub fn touch<'a>(&mut self, paths: impl IntoIterator<Item = &'a RelPath>) {
        self.touched.add(paths);
    }

    /// Goes on, as a part of `run`. The operator has `approved` this number of deletions.
    pub fn advance(
        &mut self,
        context: &mut Context,
        run: &VerifyRun,
        approved: Option<u64>,
        now: Duration,
    ) -> Result<Outcome, Stuck> {
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

    /// Looks at the whole of the output once: counts and guard.
    fn finished(
        &mut self,
        context: &Context,
        finished: Finished,
        run: &VerifyRun,
        approved: Option<u64>,
    ) -> Result<Outcome, Stuck> {
        if context.stumbled(&finished) {
            return Ok(Outcome::Failed { words: finished.judgement.words, remote: true });
        }
        let counts = |change: &Change| self.counts(context, change, true);
        let compared =
            Compared::read(finished, || context.supervisor.beat(), counts).map_err(broken)?;
        let mut compared = match compared {
            Ok(compared) => compared,
            Err(Judgement { verdict, words, .. }) => {
                let remote =
                    matches!(verdict, Verdict::Remote(_) | Verdict::Source | Verdict::Upset);
                return Ok(Outcome::Failed { words, remote });
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
        self.read.incomplete = compared.incomplete().map(str::to_owned);
        let deletions = compared.complete;
        let lines = compared.into_lines().map_err(broken)?;
        self.stage = PartStage::Reading { lines, deletions };
        Ok(Outcome::Rows { more_in: Duration::ZERO })
    }

    /// The guard counts over a whole run: what is deleted in a hundred parts is deleted.
    fn guarded(
        &mut self,
        context: &Context,
        compared: &mut Compared,
        run: &VerifyRun,
        approved: Option<u64>,
    ) -> Result<Option<Outcome>, Stuck> {
        let Counts { deletions, made, .. } = compared.counts;
        // Where nobody has counted: what this run has seen.
        let entries = context.entries().or(Some(run.there + self.read.there));
        let contents = if deletions > 0 { walk::contents(context)? } else { Contents::Something };
        let totals = compared.totals;
        let holds = |n: u64| {
            let counts = Counts { deletions: run.deletions + n, made, ..Counts::default() };
            let losses = guard::losses(Extent::Part(context.entries()), contents, counts, &totals);
            n > 0 && guard::holds(context.start.remote.max_delete, Losses { entries, ..losses })
        };
        if !holds(deletions) {
            return Ok(None);
        }
        // What somebody deletes here just now is no accident there.
        let (mut deletions, mut went) = (0, Ok(()));
        compared
            .again(
                || context.supervisor.beat(),
                |change| {
                    if went.is_ok() && self.deletes(context, &change) {
                        match self.on_its_way(context, &change.path, true) {
                            Ok(pending) => deletions += u64::from(!pending),
                            Err(error) => went = Err(error),
                        }
                    }
                },
            )
            .map_err(broken)?;
        went?;
        if !holds(deletions) {
            return Ok(None);
        }
        let all = run.deletions + deletions;
        if guard::is_approved(approved, all) {
            self.read.approved = true;
            return Ok(None);
        }
        let why = guard::words(all, entries, &context.name);
        Ok(Some(Outcome::Guarded(Held { why, deletions: all })))
    }

    fn counts(&self, context: &Context, change: &Change, deletions: bool) -> bool {
        self.read.part.holds(&change.path) && counts(context, &self.touched, change, deletions)
    }

    fn deletes(&self, context: &Context, change: &Change) -> bool {
        change.kind == ChangeKind::Deleted && self.counts(context, change, true)
    }

    fn on_its_way(
        &self,
        context: &Context,
        path: &RelPath,
        below: bool,
    ) -> Result<bool, JournalError> {
        Ok(self.touched.holds(path, below)
            || context.journal.on_its_way(&context.name, path, below)?)
    }

    /// Writes the next rows; a part with very many of them waits until they are pushed.
    fn write_rows(&mut self, context: &mut Context) -> Result<Outcome, Stuck> {
        if self.read.repaired >= OWED_MOST
            && context.journal.owed_in_bulk(&context.name, false)? > OWED_MOST
        {
            return Ok(Outcome::Rows { more_in: LOOK_AGAIN });
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
            if self.on_its_way(context, &change.path, may_come_from_below(&why))? {
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
