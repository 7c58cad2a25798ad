//! One part of the rolling comparison: a dry run, and the rows of what it finds.

use super::super::compare::COMPARE_GRACE_S;
use super::super::desk::{Desk, Stuck, broken};
use super::super::flight::{Flight, Landed};
use super::super::guard::{self, Contents, Losses};
use super::super::roll::{Cost, Part};
use super::super::rows::repair;
use super::super::verify::{BY_CONTENT, counts};
use crate::journal::{Held, JournalError, Settlement, VerifyRun};
use crate::path::RelPath;
use crate::rsync::argv::{self, Form, Options};
use crate::rsync::differ::{Differ, Touched, may_come_from_below};
use crate::rsync::exit_status::{self, Verdict};
use crate::rsync::itemize::{Change, ChangeKind, Line, Lines, Totals};
use crate::sys::clock;
use crate::sys::files::Root;
use std::fs::File;
use std::io::{BufReader, Seek};
use std::time::Duration;

/// Rows written at a time.
const PORTION: usize = 500;
/// Rows of comparisons that may wait to be pushed before more are written.
const OWED_MOST: u64 = 10_000;
/// While they do.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// A part that is being compared.
pub(in crate::pusher) struct Comparing {
    stage: Stage,
    touched: Touched,
    differ: Differ,
    read: Read,
}

enum Stage {
    Flying {
        flight: Flight,
        _root: Root,
    },
    Reading {
        lines: Lines<BufReader<File>>,
        deletions: bool,
    },
    /// There is nothing to read.
    Ended,
}

/// What came of a part.
#[derive(Clone, Debug)]
pub(in crate::pusher) struct Read {
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
pub(in crate::pusher) enum Outcome {
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
    pub(in crate::pusher) fn start<'a>(
        desk: &Desk,
        part: &Part,
        checksum: bool,
        in_flight: impl IntoIterator<Item = &'a RelPath>,
        now: Duration,
    ) -> Result<Option<Self>, Stuck> {
        let root = desk.open_root()?;
        let there = |dir: &&RelPath| {
            dir.is_root() || root.lstat(dir).is_ok_and(|seen| desk.enters(&root, &seen))
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
            delete: desk.delete(),
            force: true,
            stats: true,
            unchanged: false,
        };
        // What a push cannot send fails there.
        let list = argv::list_directories(directories);
        let (rsync, _) = desk.compare(&root, &form, options, &list)?;
        let timeout_s = desk.start.remote.peer.timeout_s + COMPARE_GRACE_S;
        let mut flight = Flight::new(rsync, timeout_s, desk.patience, now);
        if checksum {
            flight = flight.reading(BY_CONTENT);
        }
        let mut touched = Touched::default();
        touched.add(in_flight);
        let read = Read { part: part.clone(), ..Read::default() };
        let stage = Stage::Flying { flight, _root: root };
        Ok(Some(Self { stage, touched, differ: Differ::default(), read }))
    }

    /// What is compared.
    pub(in crate::pusher) fn part(&self) -> &Part {
        &self.read.part
    }

    /// True while its rsync runs.
    pub(in crate::pusher) fn flies(&self) -> bool {
        matches!(self.stage, Stage::Flying { .. })
    }

    /// How long its rsync has not moved.
    pub(in crate::pusher) fn stalled(&self, now: Duration) -> Duration {
        match &self.stage {
            Stage::Flying { flight, .. } => flight.stalled(now),
            Stage::Reading { .. } | Stage::Ended => Duration::ZERO,
        }
    }

    /// Ends its rsync.
    pub(in crate::pusher) fn kill(&mut self) {
        if let Stage::Flying { flight, .. } = &mut self.stage {
            // Gone already: as wished.
            let _ = flight.kill();
        }
    }

    /// These paths are being pushed while it compares.
    pub(in crate::pusher) fn touch<'a>(&mut self, paths: impl IntoIterator<Item = &'a RelPath>) {
        self.touched.add(paths);
    }

    /// Goes on, as a part of `run`. The operator has `approved` so many deletions.
    pub(in crate::pusher) fn advance(
        &mut self,
        desk: &mut Desk,
        run: &VerifyRun,
        approved: Option<u64>,
        now: Duration,
    ) -> Result<Outcome, Stuck> {
        let Stage::Flying { flight, .. } = &mut self.stage else {
            return self.write_rows(desk);
        };
        let Some(exited) = flight.ended(now).map_err(broken)? else {
            return Ok(Outcome::Running);
        };
        let Stage::Flying { flight, .. } = std::mem::replace(&mut self.stage, Stage::Ended) else {
            return Ok(Outcome::Running);
        };
        let landed = desk.land(flight, exited)?;
        self.landed(desk, landed, run, approved)
    }

    /// Looks at the whole of the output once: counts and guard.
    fn landed(
        &mut self,
        desk: &Desk,
        mut landed: Landed,
        run: &VerifyRun,
        approved: Option<u64>,
    ) -> Result<Outcome, Stuck> {
        if desk.stumbled(&landed) {
            return Ok(Outcome::Failed { words: landed.judgement.words, remote: true });
        }
        let mut complete = match landed.judgement.verdict {
            Verdict::Settled | Verdict::Gone => true,
            Verdict::Partial => exit_status::only_in_the_way(&landed.stderr),
            verdict => {
                let remote =
                    matches!(verdict, Verdict::Remote(_) | Verdict::Source | Verdict::Upset);
                return Ok(Outcome::Failed { words: landed.judgement.words, remote });
            }
        };
        let (mut deletions, mut made) = (0, 0);
        let report = landed
            .read(&desk.voice, |change| {
                deletions += u64::from(self.deletes(desk, &change));
                let new = change.kind == ChangeKind::Created && self.counts(desk, &change, false);
                made += u64::from(new);
            })
            .map_err(broken)?;
        complete &= !report.deletions_skipped;
        let totals = report.totals;
        self.read.cost = Cost { names: totals.files, bytes: totals.total_bytes };
        self.read.there = guard::remote_entries(totals.files, totals.created, deletions);
        if complete {
            let counted = (deletions, made);
            let held = self.guarded(desk, &mut landed, counted, &totals, run, approved)?;
            if let Some(held) = held {
                return Ok(held);
            }
        }
        landed.stdout.rewind().map_err(broken)?;
        let lines = Lines::new(BufReader::new(landed.stdout));
        self.stage = Stage::Reading { lines, deletions: complete };
        self.read.incomplete = (!complete).then_some(landed.judgement.words);
        Ok(Outcome::Rows { more_in: Duration::ZERO })
    }

    /// The guard counts over a whole run: what is deleted in a hundred parts is deleted.
    fn guarded(
        &mut self,
        desk: &Desk,
        landed: &mut Landed,
        (found, made): (u64, u64),
        totals: &Totals,
        run: &VerifyRun,
        approved: Option<u64>,
    ) -> Result<Option<Outcome>, Stuck> {
        let known = desk.row.entries.and_then(|n| u64::try_from(n).ok());
        // Where nobody has counted: what this run has seen.
        let entries = known.or(Some(run.there + self.read.there));
        let contents = if found > 0 { desk.contents()? } else { Contents::Something };
        let holds = |n: u64, made: u64| {
            let deletions = run.deletions + n;
            let staying = guard::staying_of_part(contents, totals, known, deletions);
            let losses = Losses { deletions, made, entries, staying };
            n > 0 && guard::holds(desk.start.remote.max_delete, losses)
        };
        if !holds(found, made) {
            return Ok(None);
        }
        // What somebody deletes here just now is no accident there.
        let (mut deletions, mut went) = (0, Ok(()));
        landed
            .read(&desk.voice, |change| {
                if went.is_ok() && self.deletes(desk, &change) {
                    match self.on_its_way(desk, &change.path, true) {
                        Ok(pending) => deletions += u64::from(!pending),
                        Err(error) => went = Err(error),
                    }
                }
            })
            .map_err(broken)?;
        went?;
        if !holds(deletions, made) {
            return Ok(None);
        }
        let all = run.deletions + deletions;
        if guard::is_approved(approved, all) {
            self.read.approved = true;
            return Ok(None);
        }
        let why = guard::words(all, entries, &desk.name);
        Ok(Some(Outcome::Guarded(Held { why, deletions: all })))
    }

    fn counts(&self, desk: &Desk, change: &Change, deletions: bool) -> bool {
        self.read.part.holds(&change.path) && counts(desk, &self.touched, change, deletions)
    }

    fn deletes(&self, desk: &Desk, change: &Change) -> bool {
        change.kind == ChangeKind::Deleted && self.counts(desk, change, true)
    }

    fn on_its_way(&self, desk: &Desk, path: &RelPath, below: bool) -> Result<bool, JournalError> {
        Ok(self.touched.holds(path, below) || desk.journal.on_its_way(&desk.name, path, below)?)
    }

    /// Writes the next rows; a part with very many of them waits until they are pushed.
    fn write_rows(&mut self, desk: &mut Desk) -> Result<Outcome, Stuck> {
        if self.read.repaired >= OWED_MOST
            && desk.journal.owed_in_bulk(&desk.name, false)? > OWED_MOST
        {
            return Ok(Outcome::Rows { more_in: LOOK_AGAIN });
        }
        let (mut end, mut last) = (Settlement::default(), false);
        let now_ms = clock::wall_ms();
        while end.owe.len() < PORTION {
            let Stage::Reading { lines, deletions } = &mut self.stage else { break };
            let deletions = *deletions;
            let Some(line) = lines.next() else {
                last = true;
                break;
            };
            desk.voice.beat();
            let Line::Change(change) = line.map_err(broken)? else { continue };
            let why = self.differ.why(&change);
            if why.is_empty() || !self.counts(desk, &change, deletions) {
                continue;
            }
            if self.on_its_way(desk, &change.path, may_come_from_below(&why))? {
                continue;
            }
            self.read.first.get_or_insert_with(|| change.path.clone());
            self.read.repaired += 1;
            self.read.deletions += u64::from(change.kind == ChangeKind::Deleted);
            end.owe.push(repair(change, &why, now_ms));
        }
        if !end.owe.is_empty() {
            desk.journal.settle(&desk.name, &end, now_ms)?;
        }
        match last {
            true => Ok(Outcome::Done(self.read.clone())),
            false => Ok(Outcome::Rows { more_in: Duration::ZERO }),
        }
    }
}
