//! How fast what a reconcile has found is pushed, and how long the rest takes. Pure.

use crate::message::{ReconcileProgress, ReconcileRate};
use std::collections::VecDeque;
use std::time::Duration;

/// What was pushed in this time counts: long enough for a steady figure, short enough to follow a slower line.
const WINDOW: Duration = Duration::from_secs(20);
/// The shortest interval between two samples.
const EVERY: Duration = Duration::from_secs(1);
/// Less shows nothing.
const LEAST: Duration = Duration::from_secs(2);

/// The last samples.
#[derive(Debug, Default)]
pub struct Meter {
    samples: VecDeque<Sample>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Duration,
    bytes: u64,
    share: f64,
}

impl Meter {
    /// No reconcile is being pushed.
    pub fn stop(&mut self) {
        self.samples.clear();
    }

    /// Takes a sample at `now` of a monotonic clock.
    pub fn note(&mut self, progress: &ReconcileProgress, now: Duration) {
        let sample = Sample { at: now, bytes: progress.bytes_done, share: progress.share() };
        // Another reconcile begins from the start.
        if self.samples.back().is_some_and(|last| sample.share < last.share) {
            self.samples.clear();
        }
        if self.samples.back().is_some_and(|last| now < last.at + EVERY) {
            return;
        }
        self.samples.push_back(sample);
        while self.samples.get(1).is_some_and(|next| next.at + WINDOW <= now) {
            self.samples.pop_front();
        }
    }

    /// The rate; `None` until enough was seen.
    pub fn rate(&self) -> Option<ReconcileRate> {
        let (first, last) = (self.samples.front()?, self.samples.back()?);
        let time = last.at.checked_sub(first.at).filter(|time| *time >= LEAST)?;
        let bytes = last.bytes.saturating_sub(first.bytes) as f64 / time.as_secs_f64();
        let share = (last.share - first.share) / time.as_secs_f64();
        // At a standstill the end is not known.
        let left_s = (share > 0.0).then(|| ((1.0 - last.share) / share).ceil() as u64);
        Some(ReconcileRate { bytes_per_s: bytes as u64, left_s })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(meter: &mut Meter, s: u64, done: u64) -> Option<ReconcileRate> {
        let progress = ReconcileProgress {
            found: 100,
            done,
            bytes: 10_000,
            bytes_done: done * 100,
            ..ReconcileProgress::default()
        };
        meter.note(&progress, Duration::from_secs(s));
        meter.rate()
    }

    #[test]
    fn a_steady_push_has_a_rate_and_an_end() {
        let mut meter = Meter::default();
        assert_eq!(at(&mut meter, 10, 0), None);
        assert_eq!(at(&mut meter, 11, 2), None, "too short");
        let steady = |left_s| Some(ReconcileRate { bytes_per_s: 200, left_s: Some(left_s) });
        assert_eq!(at(&mut meter, 12, 4), steady(48));
        assert_eq!(at(&mut meter, 20, 20), steady(40));
    }

    #[test]
    fn what_is_long_ago_does_not_count_and_a_standstill_has_no_end() {
        let mut meter = Meter::default();
        for s in 0..10 {
            at(&mut meter, s, s * 5);
        }
        let slow = (10..40).map(|s| at(&mut meter, s, 45)).last().flatten();
        assert_eq!(slow, Some(ReconcileRate { bytes_per_s: 0, left_s: None }));
        meter.stop();
        assert_eq!(meter.rate(), None);
    }

    #[test]
    fn another_reconcile_begins_from_the_start() {
        let mut meter = Meter::default();
        for s in 0..10 {
            at(&mut meter, s, s * 10);
        }
        assert_eq!(at(&mut meter, 10, 0), None);
    }
}
