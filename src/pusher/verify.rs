//! `syncsup verify`: a dry run whose output goes to who asked, in parts, as fast as they are read. It marks nothing
//! unless it is asked to repair: then each part is owed before it is told.

use super::desk::{Desk, Stuck, broken};
use super::guard::{self, Extent};
use super::health::Health;
use super::lanes::{STALLED, Waiter};
use super::rows::repair;
use super::run::Pusher;
use crate::journal::{JournalError, Settlement};
use crate::message::{Difference, FromPusher, Ticket, VerifyEnd, VerifyJob, VerifyPart};
use crate::path::RelPath;
use crate::rsync::argv::{self, Form, Options};
use crate::rsync::differ::{Differ, Touched, directory_of, may_come_from_below};
use crate::rsync::excluded::Holders;
use crate::rsync::itemize::{Change, ChangeKind, Line, Lines};
use crate::rsync_run::dry_run::{Compared, DryRun};
use crate::rsync_run::run::Finished;
use crate::sys::clock;
use std::fs::File;
use std::io::BufReader;
use std::time::Duration;

/// Differences of one part.
const PART: usize = 200;
/// How often it says how far it is, to who wants to know.
const SHOW_EVERY: Duration = Duration::from_millis(200);

/// A comparison that somebody reads.
pub(super) struct Looking {
    ticket: Ticket,
    job: VerifyJob,
    stage: Stage,
    /// It holds a slot.
    slot: bool,
    /// Pushed since it began.
    touched: Touched,
    differ: Differ,
    /// The next part is asked for.
    asked: bool,
    /// When it last said how far it is.
    shown: Duration,
    /// What stays there for what it holds.
    holders: Holders,
    /// What it left out because the remote cannot have it.
    unkept: Option<String>,
}

/// How it ended.
enum Ended {
    /// Who asked knows.
    Told,
    /// Who asked must be told.
    With(VerifyEnd),
}

enum Stage {
    Wanted,
    Running(DryRun),
    Reading {
        lines: Lines<BufReader<File>>,
        entries: u64,
        incomplete: Option<String>,
        deletions: bool,
    },
}

impl Looking {
    /// True while its rsync runs.
    pub(super) fn is_running(&self) -> bool {
        matches!(self.stage, Stage::Running(_))
    }

    /// How long to wait before the next look at it.
    pub(super) fn look_after(&self) -> Option<Duration> {
        match &self.stage {
            Stage::Running(run) => Some(run.look_after()),
            Stage::Wanted | Stage::Reading { .. } => None,
        }
    }

    /// Ends its rsync.
    pub(super) fn kill(&mut self) {
        if let Stage::Running(run) = &mut self.stage {
            run.kill();
        }
    }

    /// These paths are being pushed while it compares.
    pub(super) fn touch<'a>(&mut self, paths: impl IntoIterator<Item = &'a RelPath>) {
        self.touched.add(paths);
    }

    fn start_step(&mut self, desk: &Desk, now: Duration) -> Result<(), Stuck> {
        let root = desk.open_root()?;
        let options = Options {
            checksum: self.job.checksum,
            dry: true,
            delete: desk.delete(),
            force: true,
            stats: true,
            unchanged: self.job.progress,
        };
        let top = directory_of(&self.job.below, |path| {
            root.lstat(path).is_ok_and(|seen| desk.enters(&root, &seen))
        });
        let (form, list) = match top.is_root() {
            true => (Form::Everything { exclude: Vec::new() }, Vec::new()),
            false => (Form::Tree, argv::list_directories([&top])),
        };
        let (rsync, unkept) = desk.compare(&root, &form, options, &list)?;
        self.unkept = argv::unkept_words(&unkept);
        let run = desk.dry_run(rsync, root, now);
        self.stage = Stage::Running(if self.job.checksum { run.by_content() } else { run });
        Ok(())
    }

    /// The dry run has ended: looks at the whole of it once. `Some` is the end already.
    fn finished(&mut self, desk: &Desk, finished: Finished) -> Result<Option<VerifyEnd>, Stuck> {
        if desk.stumbled(&finished) {
            self.stage = Stage::Wanted;
            return Ok(None);
        }
        self.holders = desk.holders();
        let mut holders = desk.holders();
        let counts =
            |change: &Change| !stays(desk, &mut holders, change) && self.counts(desk, change, true);
        let compared = Compared::read(finished, || desk.voice.beat(), counts).map_err(broken)?;
        let compared = match compared {
            Ok(compared) => compared,
            Err(judgement) => return Ok(Some(VerifyEnd::Failed(judgement.words))),
        };
        let extent = match self.job.below.is_root() {
            true => Extent::Everything,
            false => Extent::Part(desk.entries()),
        };
        let losses = guard::losses(extent, desk.contents()?, compared.counts, &compared.totals);
        if self.job.repair && guard::holds(desk.start.remote.max_delete, losses) {
            let words = guard::words(losses.deletions, losses.entries, &desk.name);
            let words = words.split(';').next().unwrap_or_default();
            return Ok(Some(VerifyEnd::Failed(format!(
                "nothing is repaired: it {words}; look with `syncsup release --show {0}`, then `syncsup sync {0}` and `syncsup release {0}`",
                desk.name
            ))));
        }
        self.stage = Stage::Reading {
            entries: compared.totals.files,
            incomplete: compared.incomplete().map(str::to_owned).or(self.unkept.take()),
            deletions: compared.complete,
            lines: compared.into_lines().map_err(broken)?,
        };
        // The first part comes unasked.
        self.asked = true;
        Ok(None)
    }

    fn counts(&self, desk: &Desk, change: &Change, deletions: bool) -> bool {
        change.path.is_within(&self.job.below) && counts(desk, &self.touched, change, deletions)
    }

    /// The next part; what differs in it and is not on its way is owed first, when that is wanted.
    fn part(&mut self, desk: &mut Desk) -> Result<VerifyPart, Stuck> {
        let mut part = VerifyPart::default();
        let mut end = Settlement::default();
        let now_ms = clock::wall_ms();
        while part.differences.len() < PART {
            let Stage::Reading { lines, entries, incomplete, deletions } = &mut self.stage else {
                break;
            };
            let Some(line) = lines.next() else {
                part.end = Some(match incomplete.take() {
                    Some(words) => VerifyEnd::Incomplete(words),
                    None => VerifyEnd::Done { entries: *entries },
                });
                break;
            };
            let deletions = *deletions;
            desk.voice.beat();
            let Line::Change(change) = line.map_err(broken)? else { continue };
            let why = self.differ.why(&change);
            if stays(desk, &mut self.holders, &change)
                || why.is_empty()
                || !self.counts(desk, &change, deletions)
            {
                continue;
            }
            let below = may_come_from_below(&why);
            let pending = self.touched.holds(&change.path, below)
                || desk.journal.on_its_way(&desk.name, &change.path, below)?;
            let (path, dir) = (change.path.clone(), change.is_dir);
            if self.job.repair && !pending {
                end.owe.push(repair(change, &why, now_ms));
            }
            part.differences.push(Difference { path, dir, why, pending });
        }
        if !end.owe.is_empty() {
            desk.journal.settle(&desk.name, &end, now_ms)?;
        }
        Ok(part)
    }
}

/// True for a deletion that will be none: it, or something in it, is excluded.
pub(super) fn stays(desk: &Desk, holders: &mut Holders, change: &Change) -> bool {
    change.kind == ChangeKind::Deleted
        && holders.stays(&change.path, desk.filter.excludes(&change.path, change.is_dir))
}

/// True when this difference is one of what is replicated, and, without `deletions`, none.
pub(super) fn counts(desk: &Desk, touched: &Touched, change: &Change, deletions: bool) -> bool {
    let deleted = change.kind == ChangeKind::Deleted;
    let possible = deletions && desk.delete() && !touched.has_temporary(&change.path);
    (!deleted || possible) && !desk.filter.excludes(&change.path, change.is_dir)
}

impl Pusher {
    /// Somebody wants to know. One at a time: a new question takes the place of one that nobody may read any more.
    pub(super) fn verify(&mut self, ticket: Ticket, job: VerifyJob) {
        if let Some(old) = self.end_verify() {
            self.tell_end(old, VerifyEnd::Failed("another comparison was asked for".into()));
        }
        let touched = Touched::default();
        let (stage, differ) = (Stage::Wanted, Differ::default());
        self.lanes.verify = Some(Looking {
            ticket,
            job,
            stage,
            slot: false,
            touched,
            differ,
            asked: false,
            shown: Duration::ZERO,
            holders: Holders::default(),
            unkept: None,
        });
    }

    /// Ends it, unread; gives its ticket.
    pub(super) fn end_verify(&mut self) -> Option<Ticket> {
        let mut looking = self.lanes.verify.take()?;
        looking.kill();
        self.return_slot(looking.slot);
        self.look = true;
        Some(looking.ticket)
    }

    fn tell_end(&self, ticket: Ticket, end: VerifyEnd) {
        let part = VerifyPart { end: Some(end), ..VerifyPart::default() };
        self.voice.send(&FromPusher::Verified(ticket, part));
    }

    /// The next part is asked for, or nobody reads any more.
    pub(super) fn verify_more(&mut self, ticket: Ticket, more: bool) {
        match self.lanes.verify.as_mut().filter(|l| l.ticket == ticket) {
            Some(looking) if more => looking.asked = true,
            Some(_) => drop(self.end_verify()),
            None => {}
        }
    }

    /// What keeps it from being compared at all now.
    fn cannot_verify(&self) -> Option<String> {
        if let Some(why) = &self.hold {
            return Some(format!("held: {why}"));
        }
        match &self.health {
            Health::Good => None,
            Health::Backoff { words, .. } | Health::Misconfigured { words, .. } => {
                Some(format!("in trouble: {words}"))
            }
        }
    }

    /// True when it waits for a slot.
    pub(super) fn start_verify(&mut self, now: Duration) -> Result<bool, JournalError> {
        let wanted = self.lanes.verify.as_ref().is_some_and(|l| matches!(l.stage, Stage::Wanted));
        if !wanted || self.lanes.compare.is_some() || !self.judged {
            return Ok(false);
        }
        if !self.slots.is_turn(Waiter::Verify, u32::MAX) {
            return Ok(true);
        }
        let Some(mut looking) = self.lanes.verify.take() else { return Ok(false) };
        looking.slot = self.slots.take();
        // One at a time.
        self.put_off_rolling(Duration::ZERO, now);
        self.lanes.pushes().for_each(|push| looking.touch(push.paths()));
        let is_running = looking.start_step(&self.desk, now);
        self.went_on(looking, is_running.map(|()| None))?;
        Ok(false)
    }

    /// Looks at the dry run, and tells the next part when it is asked for.
    pub(super) fn advance_verify(&mut self, now: Duration) -> Result<(), JournalError> {
        if self.lanes.verify.as_ref().is_some_and(|l| !matches!(l.stage, Stage::Reading { .. }))
            && let Some(why) = self.cannot_verify()
        {
            let ticket = self.end_verify();
            ticket.into_iter().for_each(|t| self.tell_end(t, VerifyEnd::Failed(why.clone())));
        }
        let Some(mut looking) = self.lanes.verify.take() else { return Ok(()) };
        let went = match std::mem::replace(&mut looking.stage, Stage::Wanted) {
            Stage::Running(mut run) => match run.poll(now) {
                Ok(None) => {
                    // A hung remote must not starve healthy ones.
                    if run.stalled(now) > STALLED {
                        self.return_slot(std::mem::take(&mut looking.slot));
                    }
                    if looking.job.progress && now >= looking.shown + SHOW_EVERY {
                        looking.shown = now;
                        let progress = Some(run.compared());
                        let part = VerifyPart { progress, ..VerifyPart::default() };
                        self.voice.send(&FromPusher::Verified(looking.ticket, part));
                    }
                    looking.stage = Stage::Running(run);
                    Ok(None)
                }
                Ok(Some(exited)) => {
                    self.return_slot(std::mem::take(&mut looking.slot));
                    self.look = true;
                    let finished = self.desk.finish(run.into_run(), exited);
                    let end = finished.and_then(|finished| looking.finished(&self.desk, finished));
                    end.map(|end| end.map(Ended::With))
                }
                Err(error) => Err(broken(error)),
            },
            stage => {
                looking.stage = stage;
                match looking.asked && matches!(looking.stage, Stage::Reading { .. }) {
                    true => self.next_part(&mut looking),
                    false => Ok(None),
                }
            }
        };
        match went {
            Ok(Some(Ended::Told)) => Ok(()),
            Ok(Some(Ended::With(end))) => self.went_on(looking, Ok(Some(end))),
            Ok(None) => self.went_on(looking, Ok(None)),
            Err(stuck) => self.went_on(looking, Err(stuck)),
        }
    }

    /// Tells the next part; true when it was the last.
    fn next_part(&mut self, looking: &mut Looking) -> Result<Option<Ended>, Stuck> {
        let part = looking.part(&mut self.desk)?;
        looking.asked = false;
        let ended = part.end.is_some();
        if looking.job.repair && !part.differences.is_empty() {
            (self.look, self.said.dirty) = (true, true);
        }
        self.voice.send(&FromPusher::Verified(looking.ticket, part));
        Ok(ended.then_some(Ended::Told))
    }

    fn went_on(
        &mut self,
        looking: Looking,
        went: Result<Option<VerifyEnd>, Stuck>,
    ) -> Result<(), JournalError> {
        let end = match went {
            Ok(None) => {
                self.lanes.verify = Some(looking);
                return Ok(());
            }
            Ok(Some(end)) => end,
            Err(Stuck::Journal(error)) => {
                self.return_slot(looking.slot);
                return Err(error);
            }
            Err(Stuck::Root(why) | Stuck::System(why)) => VerifyEnd::Failed(why),
        };
        self.return_slot(looking.slot);
        self.tell_end(looking.ticket, end);
        Ok(())
    }
}
