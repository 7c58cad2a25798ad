//! `syncsup verify`: a dry run whose output is sent to the caller in parts, as fast as the caller reads them. It marks
//! nothing, except with `--repair`: then the differences of a part become owed before the part is sent.

use super::rows::repair;
use super::rsyncing::Rsyncing;
use crate::journal::{JournalError, Settlement};
use crate::message::{Difference, FromPusher, Ticket, VerifyEnd, VerifyJob, VerifyPart};
use crate::path::RelPath;
use crate::pusher::context::{Context, broken};
use crate::pusher::guard::{self, Extent};
use crate::pusher::job_error::JobError;
use crate::pusher::walk;
use crate::rsync::argv::{self, Check, Form, Options};
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
/// The interval between progress messages, if the caller wants them.
const SHOW_EVERY: Duration = Duration::from_millis(200);

/// A running `syncsup verify`.
pub struct Verifying {
    ticket: Ticket,
    job: VerifyJob,
    stage: VerifyStage,
    /// Paths that were pushed since it began.
    touched: Touched,
    differ: Differ,
    /// The caller requests the next part.
    asked: bool,
    /// When it last sent its progress.
    shown: Duration,
    /// Directories that stay on the remote because of excluded names in them.
    holders: Holders,
    /// The message about names that it left out because they cannot be converted.
    unconvertible: Option<String>,
}

/// The progress of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifyStep {
    /// It continues.
    Running,
    /// The differences of a part are owed now.
    Owed,
    /// It must be restarted.
    Restart,
    /// It has ended, and the caller was told.
    Ended,
}

enum VerifyStage {
    Wanted,
    Running(DryRun),
    Reading {
        lines: Lines<BufReader<File>>,
        entries: u64,
        incomplete: Option<String>,
        deletions: bool,
    },
}

impl Rsyncing for Verifying {
    fn is_running(&self) -> bool {
        matches!(self.stage, VerifyStage::Running(_))
    }

    fn idles(&self, now: Duration) -> bool {
        match &self.stage {
            VerifyStage::Running(run) => run.idles(now),
            VerifyStage::Wanted | VerifyStage::Reading { .. } => false,
        }
    }

    fn poll_after(&self) -> Option<Duration> {
        match &self.stage {
            VerifyStage::Running(run) => Some(run.poll_after()),
            VerifyStage::Wanted | VerifyStage::Reading { .. } => None,
        }
    }

    fn kill(&mut self) {
        if let VerifyStage::Running(run) = &mut self.stage {
            run.kill();
        }
    }
}

impl Verifying {
    /// A verify that waits to be started.
    pub fn new(ticket: Ticket, job: VerifyJob) -> Self {
        Self {
            ticket,
            job,
            stage: VerifyStage::Wanted,
            touched: Touched::default(),
            differ: Differ::default(),
            asked: false,
            shown: Duration::ZERO,
            holders: Holders::default(),
            unconvertible: None,
        }
    }

    /// The number of the request that it answers.
    pub fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// True once its dry run has ended, and its output is being read.
    pub fn is_reading(&self) -> bool {
        matches!(self.stage, VerifyStage::Reading { .. })
    }

    /// The caller requests the next part.
    pub fn ask(&mut self) {
        self.asked = true;
    }

    /// Tells the caller that it ends without an answer.
    pub fn send_failed(&self, context: &Context, why: String) {
        self.send_end(context, VerifyEnd::Failed(why));
    }

    /// Tells the caller why it fails. An error of the journal is returned, too.
    fn fails(&self, context: &Context, error: JobError) -> Result<(), JournalError> {
        let error = error.local().inspect_err(|error| {
            self.send_failed(context, error.to_string());
        });
        self.send_failed(context, error?.message());
        Ok(())
    }

    fn send_end(&self, context: &Context, end: VerifyEnd) {
        let part = VerifyPart { end: Some(end), ..VerifyPart::default() };
        context.supervisor.send(&FromPusher::Verified(self.ticket, part));
    }

    /// These paths are being pushed while it compares.
    pub fn touch<'a>(&mut self, paths: impl IntoIterator<Item = &'a RelPath>) {
        self.touched.add(paths);
    }

    /// Everything is being pushed.
    pub fn touch_everything(&mut self) {
        self.touched.add_everything();
    }

    /// Starts the dry run. Returns false if it failed immediately, and the caller was told.
    pub fn start(&mut self, context: &Context, now: Duration) -> Result<bool, JournalError> {
        let Err(error) = self.start_step(context, now) else { return Ok(true) };
        self.fails(context, error)?;
        Ok(false)
    }

    /// Polls the dry run, and sends the next part when the caller requests it.
    pub fn advance(
        &mut self,
        context: &mut Context,
        now: Duration,
    ) -> Result<VerifyStep, JournalError> {
        match self.advance_stage(context, now) {
            Ok(step) => Ok(step),
            Err(error) => {
                self.fails(context, error)?;
                Ok(VerifyStep::Ended)
            }
        }
    }

    fn advance_stage(
        &mut self,
        context: &mut Context,
        now: Duration,
    ) -> Result<VerifyStep, JobError> {
        match std::mem::replace(&mut self.stage, VerifyStage::Wanted) {
            VerifyStage::Running(mut run) => {
                let Some(exited) = run.poll(now).map_err(broken)? else {
                    if self.job.progress && now >= self.shown + SHOW_EVERY {
                        self.shown = now;
                        let progress = Some(run.compared());
                        let part = VerifyPart { progress, ..VerifyPart::default() };
                        context.supervisor.send(&FromPusher::Verified(self.ticket, part));
                    }
                    self.stage = VerifyStage::Running(run);
                    return Ok(VerifyStep::Running);
                };
                let finished = context.finish(run.into_run(), exited)?;
                match self.finished(context, finished)? {
                    // The first part is sent without a request.
                    VerifyStep::Running => self.next_part(context),
                    other => Ok(other),
                }
            }
            VerifyStage::Wanted => Ok(VerifyStep::Running),
            reading @ VerifyStage::Reading { .. } => {
                self.stage = reading;
                if self.asked { self.next_part(context) } else { Ok(VerifyStep::Running) }
            }
        }
    }

    /// Sends the next part.
    fn next_part(&mut self, context: &mut Context) -> Result<VerifyStep, JobError> {
        let part = self.part(context)?;
        self.asked = false;
        let step = match part.end {
            Some(_) => VerifyStep::Ended,
            None if self.job.repair && !part.differences.is_empty() => VerifyStep::Owed,
            None => VerifyStep::Running,
        };
        context.supervisor.send(&FromPusher::Verified(self.ticket, part));
        Ok(step)
    }

    fn start_step(&mut self, context: &Context, now: Duration) -> Result<(), JobError> {
        let root = context.open_root()?;
        let options = Options {
            check: Check::by_content(self.job.checksum),
            dry: true,
            delete: context.delete(),
            force: true,
            stats: true,
            unchanged: self.job.progress,
        };
        let top = directory_of(&self.job.below, |path| {
            root.lstat(path).is_ok_and(|stat| context.enters(&root, &stat))
        });
        let (form, list) = match top.is_root() {
            true => (Form::Everything { exclude: Vec::new() }, Vec::new()),
            false => (Form::Tree, argv::list_directories([&top])),
        };
        let (rsync, unconvertible) = context.compare(&root, &form, options, &list)?;
        self.unconvertible = argv::unconvertible_message(&unconvertible);
        let run = context.dry_run(rsync, root, now);
        self.stage = VerifyStage::Running(if self.job.checksum { run.by_content() } else { run });
        Ok(())
    }

    /// The dry run has ended: reads its whole output once.
    fn finished(&mut self, context: &Context, finished: Finished) -> Result<VerifyStep, JobError> {
        // A standby that was dropped for it may still count there.
        let lingering = context.has_lingering_connection(&finished.judgement, clock::boot());
        if context.learn_from(&finished) || lingering {
            return Ok(VerifyStep::Restart);
        }
        self.holders = context.holders();
        let mut holders = context.holders();
        let counts = |change: &Change| {
            !stays(context, &mut holders, change) && self.counts(context, change, true)
        };
        let compared =
            Compared::read(finished, || context.supervisor.beat(), counts).map_err(broken)?;
        let compared = match compared {
            Ok(compared) => compared,
            Err(judgement) => {
                self.send_failed(context, judgement.message);
                return Ok(VerifyStep::Ended);
            }
        };
        let extent = match self.job.below.is_root() {
            true => Extent::Whole,
            false => Extent::Part(context.entries()),
        };
        let losses =
            guard::losses(extent, walk::contents(context)?, compared.counts, &compared.totals);
        if self.job.repair && guard::holds(context.start.remote.max_delete, losses) {
            let message = guard::message(losses.deletions, losses.entries, &context.name);
            let message = message.split(';').next().unwrap_or_default();
            self.send_failed(context, format!(
                "nothing was repaired: the repair {message}; look with `syncsup release --show {0}`, then `syncsup sync {0}` and `syncsup release {0}`",
                context.name
            ));
            return Ok(VerifyStep::Ended);
        }
        let incomplete = context.incomplete(&compared)?;
        self.stage = VerifyStage::Reading {
            entries: compared.totals.files,
            incomplete: incomplete.or(self.unconvertible.take()),
            deletions: compared.complete,
            lines: compared.into_lines().map_err(broken)?,
        };
        Ok(VerifyStep::Running)
    }

    fn counts(&self, context: &Context, change: &Change, deletions: bool) -> bool {
        change.path.is_within(&self.job.below) && counts(context, &self.touched, change, deletions)
    }

    /// The next part. With `--repair`, its differences that are not in flight become owed first.
    fn part(&mut self, context: &mut Context) -> Result<VerifyPart, JobError> {
        let mut part = VerifyPart::default();
        let mut end = Settlement::default();
        let now_ms = clock::wall_ms();
        while part.differences.len() < PART {
            let VerifyStage::Reading { lines, entries, incomplete, deletions } = &mut self.stage
            else {
                break;
            };
            let Some(line) = lines.next() else {
                part.end = Some(match incomplete.take() {
                    Some(message) => VerifyEnd::Incomplete(message),
                    None => VerifyEnd::Done { entries: *entries },
                });
                break;
            };
            let deletions = *deletions;
            context.supervisor.beat();
            let Line::Change(change) = line.map_err(broken)? else { continue };
            let why = self.differ.why(&change);
            if stays(context, &mut self.holders, &change)
                || why.is_empty()
                || !self.counts(context, &change, deletions)
            {
                continue;
            }
            let below = may_come_from_below(&why);
            let pending = self.touched.holds(&change.path, below)
                || context.journal.is_pending(&context.name, &change.path, below)?;
            let (path, dir) = (change.path.clone(), change.is_dir);
            if self.job.repair && !pending {
                end.owe.push(repair(change, &why, now_ms));
            }
            part.differences.push(Difference { path, dir, why, pending });
        }
        if !end.owe.is_empty() {
            context.journal.settle(&context.name, &end, now_ms)?;
        }
        Ok(part)
    }
}

/// True for a deletion that will not happen, because the name or something below it is excluded.
pub(super) fn stays(context: &Context, holders: &mut Holders, change: &Change) -> bool {
    change.kind == ChangeKind::Deleted
        && holders.stays(&change.path, context.filter.excludes(&change.path, change.is_dir))
}

/// True if this difference counts: the path is replicated, and it is no deletion without `deletions`.
pub(super) fn counts(
    context: &Context,
    touched: &Touched,
    change: &Change,
    deletions: bool,
) -> bool {
    let deleted = change.kind == ChangeKind::Deleted;
    let possible = deletions && context.delete() && !touched.has_temporary(&change.path);
    (!deleted || possible) && !context.filter.excludes(&change.path, change.is_dir)
}
