//! One run of an rsync. Its watchdog kills it when it makes no progress. The meaning of its exit is returned together
//! with its output.

use super::network_bound::NetworkBound;
use super::patience::{Patience, Waited};
use super::watchdog::{Sample, Watchdog};
use crate::help_topic::HelpTopic;
use crate::language::say;
use crate::message::VerifyAt;
use crate::path::RelPath;
use crate::rsync::exit_status::{self, Judgement, Trouble, Verdict};
use crate::rsync::itemize::{self, Change, Line, Lines, Messages, Totals};
use crate::stat::Exited;
use crate::sys::rsync::Rsync;
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, Seek};
use std::time::Duration;

/// An rsync that prints more bytes of the other end's messages than this is killed: such a peer is faulty or hostile.
const MESSAGES_MOST: u64 = 16 << 20;
/// An rsync that prints more bytes than this between two checks is checked more often.
const MUCH_PRINTED: u64 = 1 << 20;
/// The length of an rsync message in a status or a journal, in characters.
const SHOWN_MOST: usize = 2_000;

/// The lowest speed of a remote that compares content, in bytes a second.
const SLOWEST_READ: u64 = 20 << 20;

/// An rsync that makes no progress for longer than this only waits: a hung remote must not starve healthy ones.
const STALLED: Duration = Duration::from_secs(5);
/// So does one that the network holds for longer than this.
const NETWORK_BOUND: Duration = Duration::from_secs(1);
/// An rsync without progress for this time is examined: it may be blocked in the open of a fifo.
const BLOCKED_AFTER: Duration = Duration::from_secs(1);

/// The interval of the checks.
pub const POLL_EVERY: Duration = Duration::from_secs(1);
/// The interval while the rsync prints much.
const POLL_OFTEN: Duration = Duration::from_millis(100);

/// One running rsync.
pub struct Run {
    rsync: Box<Rsync>,
    watchdog: Box<Watchdog>,
    network_bound: NetworkBound,
    /// How long the rsync may wait for the first answer of the other end.
    patience: Duration,
    started: Duration,
    waited: Waited,
    looked: Duration,
    ended: Option<GivenUp>,
    messages: Messages,
    /// Bytes of its output that have been examined, and those of the last check among them.
    seen: (u64, u64),
    /// Lines that the rsync has printed, and their bytes.
    printed: (u64, u64),
}

/// Why this process killed the rsync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GivenUp {
    /// It made no progress, or got no answer.
    Silent,
    /// It opened a name that it had seen as a file and that had become a fifo, and blocked forever.
    Blocked,
    /// The messages of the other end did not stop.
    Flooded,
}

/// An rsync that has exited.
pub struct Finished {
    /// The meaning of its exit.
    pub judgement: Judgement,
    /// Its output, from the start.
    pub stdout: File,
    /// Its complaints.
    pub stderr: Vec<u8>,
    /// How long it waited for the other end.
    pub waited: Waited,
}

/// The counters of one pass over the output.
#[derive(Debug, Default)]
pub struct Report {
    /// rsync's own totals.
    pub totals: Totals,
    /// True if no deletion of this run counts.
    pub deletions_skipped: bool,
    /// Directories that were to be deleted but hold something that stays.
    pub not_empty: HashSet<RelPath>,
    /// Names that rsync skipped as non-regular files. The absent ones among them were not deleted.
    pub not_regular: HashSet<RelPath>,
}

impl Run {
    /// Takes over an rsync that has just been started. The rsync is killed when it makes no progress for `timeout_s`
    /// seconds, or when it waits for its first answer for longer than `patience` allows.
    pub fn new(rsync: Rsync, timeout_s: u32, patience: Patience, now: Duration) -> Self {
        let limit = Duration::from_secs(u64::from(timeout_s.max(1)));
        Self {
            network_bound: NetworkBound::new(now),
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

    /// Extends the limit for a remote that reads `bytes` before it answers. Nothing is transferred meanwhile.
    pub fn reading(mut self, bytes: u64) -> Self {
        self.watchdog.extend(Duration::from_secs(bytes / SLOWEST_READ));
        self
    }

    /// How far a comparison has come that prints a line for every entry.
    pub fn compared(&mut self) -> VerifyAt {
        let (lines, at) = self.rsync.lines_after(self.printed.1);
        self.printed = (self.printed.0 + lines, at);
        VerifyAt { entries: self.printed.0, bytes: self.bytes_read() }
    }

    /// The lines that it has printed so far.
    pub fn lines(&self) -> u64 {
        self.printed.0 + self.rsync.lines_after(self.printed.1).0
    }

    /// True when the rsync was started before its work was known.
    pub fn was_ahead(&self) -> bool {
        self.rsync.was_ahead()
    }

    /// Bytes that the rsync has read so far.
    pub fn bytes_read(&self) -> u64 {
        self.rsync.bytes_read().unwrap_or(0)
    }

    /// True if it only waits, for a remote that hangs or for the network, so that others may run beside it.
    pub fn idles(&self, now: Duration) -> bool {
        self.stalled(now) > STALLED || self.network_bound.time(now) > NETWORK_BOUND
    }

    fn stalled(&self, now: Duration) -> Duration {
        self.watchdog.stalled(now)
    }

    /// How long to wait before the next check.
    pub fn poll_after(&self) -> Duration {
        if self.seen.1 >= MUCH_PRINTED { POLL_OFTEN } else { POLL_EVERY }
    }

    /// Checks whether the rsync has exited. Kills it when it has made no progress for longer than its timeouts allow
    /// (rule 8), or when it waits for a fifo.
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
        if let Some((cpu, sleeps)) = self.rsync.cpu() {
            self.network_bound.look(cpu, sleeps, now);
        }
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

    /// The output and the meaning of the exit.
    pub fn finish(mut self, exited: Exited) -> io::Result<Finished> {
        // The rsync may have reached its limits before it was killed.
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
                judgement.message = say!("a file became a fifo while rsync read it");
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
                // Its earlier complaints do not explain the kill.
                judgement.message = say!("rsync was killed by {}", exited);
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

/// The start of a message, short enough for a status.
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
        message: say!("the other end sends messages without end: rsync was killed"),
        help: HelpTopic::Broken,
        end_unseen: true,
        ..of_end
    }
}

impl Run {
    /// The watchdog killed it: the cause is the remote, not the signal.
    fn judgement_of_silence(&self, of_signal: Judgement) -> Judgement {
        if self.waited == Waited::InVain {
            // No receiver was working yet.
            return Judgement {
                verdict: Verdict::Remote(Trouble::Unreachable),
                // Over ssh, it is not known whether a connection was made.
                message: say!(
                    "no answer: nothing came from the other end within {} s",
                    self.patience.as_secs()
                ),
                help: HelpTopic::NoAnswer,
                end_unseen: false,
                ..of_signal
            };
        }
        let seconds = self.watchdog.limit().as_secs();
        Judgement {
            verdict: Verdict::Remote(Trouble::Broken),
            message: say!("no answer: rsync was killed after {} s without progress", seconds),
            help: HelpTopic::Broken,
            ..of_signal
        }
    }
}

impl Finished {
    /// True if it has begun nothing: it announces every file before it sends its data.
    pub fn began_nothing(&self) -> bool {
        self.stdout.metadata().is_ok_and(|output| output.len() == 0)
    }

    /// Reads the output to its end, reports that it is alive, and passes each change to `each`.
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
