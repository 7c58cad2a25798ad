//! One run of an rsync: its watchdog ends it when nothing moves any more, and what its end means is told together with
//! its output.

use super::patience::{Patience, Waited};
use super::watchdog::{Sample, Watchdog};
use crate::message::VerifyAt;
use crate::path::RelPath;
use crate::rsync::exit_status::{self, Judgement, Trouble, Verdict};
use crate::rsync::itemize::{self, Change, Line, Lines, Messages, Totals};
use crate::stat::Exited;
use crate::sys::process::Rsync;
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, Seek};
use std::time::Duration;

/// An rsync that prints more of the other end's words than this is ended: that end means no good.
const MESSAGES_MOST: u64 = 16 << 20;
/// While it prints so much between two looks, it is looked at more often.
const MUCH_PRINTED: u64 = 1 << 20;
/// rsync's words in a status or a journal, in characters.
const SHOWN_MOST: usize = 2_000;

/// A remote that compares content reads at least this many bytes a second.
const SLOWEST_READ: u64 = 20 << 20;

/// An rsync without progress for this time is examined: it may wait for a process to open a fifo.
const BLOCKED_AFTER: Duration = Duration::from_secs(1);

/// It is looked at this often.
pub const POLL_EVERY: Duration = Duration::from_secs(1);
/// While it prints much.
const POLL_OFTEN: Duration = Duration::from_millis(100);

/// One running rsync.
pub struct Run {
    rsync: Box<Rsync>,
    watchdog: Box<Watchdog>,
    /// How long it may wait for the first word of the other end.
    patience: Duration,
    started: Duration,
    waited: Waited,
    looked: Duration,
    ended: Option<GivenUp>,
    messages: Messages,
    /// Bytes of its output that were looked at, and of those the last look's.
    seen: (u64, u64),
    /// Lines it has printed, and their bytes.
    printed: (u64, u64),
}

/// Why it was ended from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GivenUp {
    /// There was no progress, or no answer.
    Silent,
    /// It opened a name that it had seen as a file and that was a fifo by then, and waited for ever.
    Blocked,
    /// The other end's words had no end.
    Flooded,
}

/// An rsync that has ended.
pub struct Finished {
    /// What its end means.
    pub judgement: Judgement,
    /// Its output, from the start.
    pub stdout: File,
    /// Its complaints.
    pub stderr: Vec<u8>,
    /// How long the other end let it wait.
    pub waited: Waited,
}

/// What a pass over the output counts.
#[derive(Debug, Default)]
pub struct Report {
    /// rsync's own totals.
    pub totals: Totals,
    /// No deletion of this run counts.
    pub deletions_skipped: bool,
    /// Directories that were to be deleted and hold something that stays.
    pub not_empty: HashSet<RelPath>,
    /// Names passed over as no regular files; absent ones among them were not deleted.
    pub not_regular: HashSet<RelPath>,
}

impl Run {
    /// Takes over an rsync that has just been started; one that does not move for `timeout_s` seconds is ended, and
    /// one that has waited for its first answer for longer than `patience` says.
    pub fn new(rsync: Rsync, timeout_s: u32, patience: Patience, now: Duration) -> Self {
        let limit = Duration::from_secs(u64::from(timeout_s.max(1)));
        Self {
            rsync: Box::new(rsync),
            watchdog: Box::new(Watchdog::new(limit, now)),
            patience: patience.limit(limit),
            started: now,
            waited: Waited::Unknown,
            looked: now,
            ended: None,
            messages: Messages::default(),
            seen: (0, 0),
            printed: (0, 0),
        }
    }

    /// Gives it time for a remote that reads `bytes` before it answers: nothing moves here meanwhile.
    pub fn reading(mut self, bytes: u64) -> Self {
        self.watchdog.extend(Duration::from_secs(bytes / SLOWEST_READ));
        self
    }

    /// How far a comparison is that prints a line for every entry.
    pub fn compared(&mut self) -> VerifyAt {
        let (lines, at) = self.rsync.lines_after(self.printed.1);
        self.printed = (self.printed.0 + lines, at);
        VerifyAt { entries: self.printed.0, bytes: self.bytes_read() }
    }

    /// True when it was started ahead of its work.
    pub fn was_ahead(&self) -> bool {
        self.rsync.was_ahead()
    }

    /// Bytes its rsync has read so far.
    pub fn bytes_read(&self) -> u64 {
        self.rsync.bytes_read().unwrap_or(0)
    }

    /// How long it has made no progress.
    pub fn stalled(&self, now: Duration) -> Duration {
        self.watchdog.stalled(now)
    }

    /// How long to wait before the next look at it.
    pub fn poll_after(&self) -> Duration {
        if self.seen.1 >= MUCH_PRINTED { POLL_OFTEN } else { POLL_EVERY }
    }

    /// Looks whether it has ended; ends it when it has made no progress for longer than its timeouts allow (rule 8),
    /// or waits for a fifo.
    pub fn ended(&mut self, now: Duration) -> io::Result<Option<Exited>> {
        let exited = self.rsync.ended()?;
        if self.waited == Waited::Unknown && self.rsync.answered() {
            self.waited = Waited::For(now.saturating_sub(self.started));
        }
        if exited.is_some() {
            return Ok(exited);
        }
        if now.saturating_sub(self.looked) < self.poll_after() {
            return Ok(None);
        }
        self.looked = now;
        self.read_messages();
        let text = self.messages.bytes + self.rsync.printed().1;
        self.watchdog.look(Sample { progress: self.rsync.progress(), text }, now);
        if self.waited == Waited::Unknown && now.saturating_sub(self.started) > self.patience {
            self.waited = Waited::InVain;
        }
        let blocked = self.stalled(now) >= BLOCKED_AFTER && self.rsync.waits_for_fifo();
        self.ended = if blocked {
            Some(GivenUp::Blocked)
        } else if self.floods() {
            Some(GivenUp::Flooded)
        } else if self.waited == Waited::InVain || self.watchdog.is_hung(now) {
            Some(GivenUp::Silent)
        } else {
            return Ok(None);
        };
        Ok(Some(self.rsync.kill()?))
    }

    fn read_messages(&mut self) {
        let (from, messages) = (self.seen.0, &mut self.messages);
        let at = self.rsync.printed_after(from, |chunk| messages.read(chunk));
        self.seen = (at, at - from);
    }

    fn floods(&self) -> bool {
        self.messages.bytes > MESSAGES_MOST || self.rsync.overflows()
    }

    /// Kills it immediately.
    pub fn kill(&mut self) -> io::Result<Exited> {
        self.rsync.kill()
    }

    /// Its output and what its end means.
    pub fn finish(mut self, exited: Exited) -> io::Result<Finished> {
        // It may have reached its limits by itself.
        if self.ended.is_none() && exited != Exited::Code(0) && self.floods() {
            self.ended = Some(GivenUp::Flooded);
        }
        let mut stderr = self.rsync.complaints()?;
        self.rsync.stdout.rewind()?;
        let mut judgement = exit_status::verdict(exited, &stderr);
        let last = self.rsync.printed_last(itemize::CLOSING_BYTES)?;
        if judgement.verdict.is_an_end() && !itemize::is_closed(&last) {
            judgement = judgement.without_statistics(exited);
        }
        match self.ended {
            Some(GivenUp::Blocked) => {
                judgement.verdict = Verdict::Upset;
                judgement.message = "a file became a fifo while rsync read it".to_owned();
            }
            Some(GivenUp::Flooded) => judgement = judgement_of_flood(judgement),
            Some(GivenUp::Silent) => {
                let said = std::mem::take(&mut judgement.message);
                judgement = self.judgement_of_silence(judgement);
                if !stderr.is_empty() {
                    judgement.message = said;
                }
            }
            None if matches!(exited, Exited::Signal(_)) => {
                // What it complained of before says nothing of that.
                judgement.message = format!("rsync was killed by {exited}");
            }
            None => {}
        }
        judgement.message = shortened(judgement.message);
        if judgement.verdict == Verdict::Configuration {
            stderr.truncate(exit_status::own_messages(&stderr));
        }
        Ok(Finished { judgement, stdout: self.rsync.stdout, stderr, waited: self.waited })
    }
}

/// The start of a message, to fit into a status.
pub fn shortened(mut message: String) -> String {
    if let Some((end, _)) = message.char_indices().nth(SHOWN_MOST) {
        message.truncate(end);
        message += "...";
    }
    message
}

fn judgement_of_flood(of_end: Judgement) -> Judgement {
    Judgement {
        verdict: Verdict::Remote(Trouble::Broken),
        message: "the other end sends messages without end: rsync was killed".to_owned(),
        end_unseen: true,
        ..of_end
    }
}

impl Run {
    /// The watchdog ended it: that says something of the remote, not of the signal.
    fn judgement_of_silence(&self, of_signal: Judgement) -> Judgement {
        if self.waited == Waited::InVain {
            // No receiver was at work yet.
            return Judgement {
                verdict: Verdict::Remote(Trouble::Unreachable),
                message: "no answer: connected, but the other end sends nothing".to_owned(),
                end_unseen: false,
                ..of_signal
            };
        }
        let seconds = self.watchdog.limit().as_secs();
        Judgement {
            verdict: Verdict::Remote(Trouble::Broken),
            message: format!("no answer: rsync was killed after {seconds} s without progress"),
            ..of_signal
        }
    }
}

impl Finished {
    /// Reads the output to its end, with signs of life; each change goes to `each`.
    pub fn read(
        &mut self,
        mut alive: impl FnMut(),
        mut each: impl FnMut(Change),
    ) -> io::Result<Report> {
        let mut report =
            Report { deletions_skipped: self.judgement.deletions_skipped, ..Report::default() };
        self.stdout.rewind()?;
        for line in Lines::new(BufReader::new(&self.stdout)) {
            alive();
            match line? {
                Line::Change(change) => each(change),
                Line::DeletionsSkipped => report.deletions_skipped = true,
                Line::NotEmpty(path) => report.not_empty.extend([path]),
                Line::NonRegular(path) => report.not_regular.extend([path]),
                Line::Text(text) => report.totals.read(&text),
            }
        }
        Ok(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn each_pass_over_the_output_reports_progress() {
        let mut stdout = tempfile::tempfile().unwrap();
        stdout.write_all(&b"<f+++++++++ a\n".repeat(1_000)).unwrap();
        let judgement = exit_status::verdict(Exited::Code(0), b"");
        let mut finished =
            Finished { judgement, stdout, stderr: Vec::new(), waited: Waited::Unknown };
        let (mut signs, mut changes) = (0, 0);
        finished.read(|| signs += 1, |_| changes += 1).unwrap();
        assert_eq!((signs, changes), (1_000, 1_000));
    }
}
