//! Decides when an rsync makes no progress. Progress is bytes of files, not messages of the other end. Pure: the time
//! is given.
//!
//! Everything that an rsync writes goes to the other end, except the messages of the other end that it prints. What it
//! reads may be file content, an answer, or a message without meaning. Reads therefore count only above a minimum rate.
//! Below it they only extend the limit for a while, like the signs of life of a remote that reads a large directory.

use crate::stat::Progress;
use std::time::Duration;

/// An rsync that writes fewer bytes a second than this makes no progress by writing.
const WRITTEN_LEAST: u64 = 1 << 10;
/// An rsync that reads fewer bytes a second than this makes no progress by reading.
const READ_LEAST: u64 = 64 << 10;
/// After a standstill, the rsync makes up for at most this many seconds.
const MADE_UP_S: u64 = 16;
/// Signs of life extend the limit by this factor.
const ALIVE: u32 = 10;
/// Until it has written this many bytes, the rsync may still be waiting for access: signs of life do not count.
const LET_IN: u64 = 200;

/// One observation of an rsync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// How far it has come.
    pub progress: Progress,
    /// Bytes of the other end's messages, and of complaints, that it has printed.
    pub text: u64,
}

impl Sample {
    /// True when it has written more than an rsync writes before it gets access. False also where this cannot be seen.
    fn let_in(&self) -> bool {
        let Progress::Bytes { written, .. } = self.progress else { return false };
        written.saturating_sub(self.text) >= LET_IN
    }
}

/// Watches one rsync.
#[derive(Clone, Copy, Debug)]
pub struct Watchdog {
    /// How long the rsync may make no progress.
    limit: Duration,
    /// Its state at the last progress.
    at: Sample,
    /// The time of the last progress.
    since: Duration,
    /// The last observation.
    last: Sample,
    /// The last sign of life.
    alive: Duration,
}

impl Watchdog {
    /// Watches an rsync that starts now.
    pub fn new(limit: Duration, now: Duration) -> Self {
        let none = Sample { progress: Progress::Output(0), text: 0 };
        Self { limit, at: none, since: now, last: none, alive: now }
    }

    /// Extends the limit.
    pub fn extend(&mut self, more: Duration) {
        self.limit += more;
    }

    /// Takes in one observation.
    pub fn look(&mut self, sample: Sample, now: Duration) {
        if self.advances(&sample, now) {
            (self.at, self.since) = (sample, now);
        }
        if sample.text == self.last.text && sample.progress != self.last.progress {
            self.alive = now;
        }
        self.last = sample;
    }

    fn advances(&self, sample: &Sample, now: Duration) -> bool {
        let text = sample.text.saturating_sub(self.at.text);
        let gained = |now: u64, then: u64| now.saturating_sub(then).saturating_sub(text);
        match (sample.progress, self.at.progress) {
            (Progress::Bytes { read, written }, Progress::Bytes { read: r, written: w }) => {
                let seconds = now.saturating_sub(self.since).as_secs().clamp(1, MADE_UP_S);
                gained(written, w) >= WRITTEN_LEAST * seconds
                    || (sample.let_in() && gained(read, r) >= READ_LEAST * seconds)
            }
            (Progress::Work(now), Progress::Work(then))
            | (Progress::Output(now), Progress::Output(then)) => gained(now, then) > 0,
            // The measure changed, as at the first observation: there is nothing to compare with yet.
            (now, then) => std::mem::discriminant(&now) != std::mem::discriminant(&then),
        }
    }

    /// How long it has made no progress.
    pub fn stalled(&self, now: Duration) -> Duration {
        now.saturating_sub(self.since)
    }

    /// How long it may make no progress.
    pub fn limit(&self) -> Duration {
        self.limit * self.last.progress.grace()
    }

    /// True when the rsync must be killed.
    pub fn is_hung(&self, now: Duration) -> bool {
        let alive = self.last.let_in() && now.saturating_sub(self.alive) <= self.limit();
        let most = if alive { self.limit() * ALIVE } else { self.limit() };
        self.stalled(now) > most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    /// Observes an rsync every second: `by` gives the bytes read, written and printed until then. Returns the second in
    /// which it is killed.
    fn ended(by: impl Fn(u64) -> (u64, u64, u64)) -> Option<u64> {
        let mut dog = Watchdog::new(LIMIT, Duration::ZERO);
        (1..=3_600).find(|&second| {
            let (read, written, text) = by(second);
            let now = Duration::from_secs(second);
            dog.look(Sample { progress: Progress::Bytes { read, written }, text }, now);
            dog.is_hung(now)
        })
    }

    #[test]
    fn messages_are_not_progress() {
        // With or without access: a message every other second, or many messages, each with its header of four bytes.
        for start in [50, 5_000] {
            assert_eq!(ended(|s| (100 + s / 2 * 44, start + s / 2 * 40, s / 2 * 40)), Some(62));
            assert_eq!(ended(|s| (100 + s * 44_000, start + s * 40_000, s * 40_000)), Some(62));
            assert_eq!(ended(|_| (100, start, 0)), Some(62), "silence");
        }
        assert_eq!(ended(|s| (100 + s * 30, 50, 0)), Some(62), "lines before it was let in");
        assert_eq!(ended(|s| (100 + (s << 20), 50, 0)), Some(62), "many of them");
    }

    #[test]
    fn files_are_progress_however_long_they_take() {
        for by in [
            // A slow line. A remote that reads a large directory after its list has arrived. Equal files, which are
            // only read, on the remote or locally. Deletions.
            |s| (500, 2_000 * s, 0),
            |s| (500 + 100_000 * s, 3_000, 0),
            |s| (500 + 5_000 * s, 3_000 + 1_200 * s, 0),
            |s| (500 + 64 * 20 * s, 3_000 + 64 * 20 * s, 0),
            // Messages in between.
            |s| (500 + 2_100 * s, 4_000 * s, 2_000 * s),
        ] as [fn(u64) -> (u64, u64, u64); 5]
        {
            assert_eq!(ended(by), None);
        }
    }

    #[test]
    fn signs_of_life_extend_the_deadline_but_not_forever() {
        let quiet_then = |s: u64| (500 + s / 30 * 4, 3_000, 0);
        let end = ended(quiet_then).unwrap();
        assert!((600..700).contains(&end), "{end}");
    }

    #[test]
    fn a_pause_need_not_be_made_up_for() {
        let resumed = |s: u64| (500, 3_000 + 20_000 * s.saturating_sub(59), 0);
        assert_eq!(ended(resumed), None);
    }

    #[test]
    fn without_byte_counts_other_work_is_progress() {
        for (kind, times) in [(Progress::Work as fn(u64) -> Progress, 10), (Progress::Output, 100)]
        {
            let mut dog = Watchdog::new(LIMIT, Duration::ZERO);
            let mut at = |value, text, now| {
                dog.look(Sample { progress: kind(value), text }, Duration::from_secs(now));
                dog.is_hung(Duration::from_secs(now))
            };
            assert!(!at(1, 0, 0) && !at(2, 0, 60 * times) && !at(2, 0, 2 * 60 * times));
            assert!(at(40, 38, 2 * 60 * times + 61), "what is printed is no work");
        }
    }
}
