//! A comparison of two sides: an rsync that changes nothing. Its exit status decides what its lines are worth: an
//! incomplete comparison counts no deletion.

use super::patience::Patience;
use super::run::{Finished, Run};
use crate::message::VerifyAt;
use crate::rsync::exit_status::{self, Judgement, Verdict};
use crate::rsync::itemize::{Change, ChangeKind, Lines, Totals};
use crate::stat::Exited;
use crate::sys::files::Root;
use crate::sys::rsync::Rsync;
use std::fs::File;
use std::io::{self, BufReader, Seek};
use std::time::Duration;

/// A comparison has rsync's own timeout; the watchdog comes this much later, in seconds.
const GRACE_S: u32 = 30;
/// Bytes that a peer may read before it answers, when it compares by content. Nothing is transferred meanwhile.
const BY_CONTENT: u64 = 1 << 40;

/// A running comparison.
pub struct DryRun {
    run: Run,
    /// The root stays open, because the rsync works in it.
    _root: Root,
}

impl DryRun {
    /// Takes over an rsync that was just started in `root` and has a `timeout_s` of its own, in seconds.
    pub fn new(
        rsync: Rsync,
        root: Root,
        timeout_s: u32,
        patience: Patience,
        now: Duration,
    ) -> Self {
        Self { run: Run::new(rsync, timeout_s + GRACE_S, patience, now), _root: root }
    }

    /// Says that the peer compares by content.
    pub fn by_content(mut self) -> Self {
        self.run = self.run.reading(BY_CONTENT);
        self
    }

    /// Checks whether the rsync has exited, and kills it when it makes no progress.
    pub fn poll(&mut self, now: Duration) -> io::Result<Option<Exited>> {
        self.run.ended(now)
    }

    /// The rsync, which has exited.
    pub fn into_run(self) -> Run {
        self.run
    }

    /// True if its rsync needs no slot, because it only waits.
    pub fn idles(&self, now: Duration) -> bool {
        self.run.idles(now)
    }

    /// How long to wait before the next check.
    pub fn poll_after(&self) -> Duration {
        self.run.poll_after()
    }

    /// How far the comparison has come, when it prints a line for every entry.
    pub fn compared(&mut self) -> VerifyAt {
        self.run.compared()
    }

    /// Kills the rsync immediately. An rsync that has already exited is no error.
    pub fn kill(&mut self) {
        let _ = self.run.kill();
    }
}

/// How many paths differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// In all.
    pub paths: u64,
    /// Paths on the remote that are missing locally.
    pub deletions: u64,
    /// Local paths that are missing on the remote.
    pub created: u64,
}

/// A finished comparison whose result can be used.
pub struct Compared {
    finished: Finished,
    /// True if every difference is known, except names that the slave's own `exclude` refuses. If not, the deletions are
    /// unreliable and are not counted.
    pub complete: bool,
    /// What differs.
    pub counts: Counts,
    /// rsync's own totals.
    pub totals: Totals,
}

impl Compared {
    /// Reads the output once, reports that it is alive, and counts the changes for which `counts` is true. `Err`
    /// is the verdict of a comparison that compared nothing.
    pub fn read(
        mut finished: Finished,
        alive: impl FnMut(),
        mut counts: impl FnMut(&Change) -> bool,
    ) -> io::Result<Result<Compared, Judgement>> {
        let Some(complete) = completeness(&finished) else { return Ok(Err(finished.judgement)) };
        let mut found = Counts::default();
        let report = finished.read(alive, |change| {
            if counts(&change) {
                found.paths += 1;
                found.deletions += u64::from(change.kind == ChangeKind::Deleted);
                found.created += u64::from(change.kind == ChangeKind::Created);
            }
        })?;
        let complete = complete && !report.deletions_skipped;
        if !complete {
            found.paths -= found.deletions;
            found.deletions = 0;
        }
        Ok(Ok(Compared { finished, complete, counts: found, totals: report.totals }))
    }

    /// Reads the output again.
    pub fn again(&mut self, alive: impl FnMut(), each: impl FnMut(Change)) -> io::Result<()> {
        self.finished.read(alive, each).map(drop)
    }

    /// rsync's messages on what could not be compared; `None` when everything was compared, except names that the slave's
    /// own `exclude` refuses.
    pub fn incomplete(&self) -> Option<&str> {
        (!self.complete).then_some(self.finished.judgement.message.as_str())
    }

    /// The meaning of its exit.
    pub fn judgement(&self) -> &Judgement {
        &self.finished.judgement
    }

    /// The complaints of the rsync.
    pub fn stderr(&self) -> &[u8] {
        &self.finished.stderr
    }

    /// The output, from its start.
    pub fn into_lines(mut self) -> io::Result<Lines<BufReader<File>>> {
        self.finished.stdout.rewind()?;
        Ok(Lines::new(BufReader::new(self.finished.stdout)))
    }
}

/// Whether everything could be compared; `None` when nothing could.
fn completeness(finished: &Finished) -> Option<bool> {
    match finished.judgement.verdict {
        Verdict::Settled | Verdict::Gone => Some(true),
        // Something could not be read: the differences found count, but they are not all.
        Verdict::Partial => Some(exit_status::only_in_the_way(&finished.stderr)),
        Verdict::Upset
        | Verdict::Source
        | Verdict::Remote(_)
        | Verdict::Configuration
        | Verdict::FormB
        | Verdict::NoDelete
        | Verdict::Refused(_) => None,
    }
}
