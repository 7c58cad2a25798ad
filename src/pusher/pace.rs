//! How often a remote is pushed to. Pure: the time is given.
//!
//! A push costs CPU whatever is in it: to start an rsync, to log in, to end, on both ends. With a standby nothing else would
//! bound how many of them a stream of changes causes. So they are spaced: what they cost stays under a share of one core
//! for the whole instance, divided among the remotes that are active. Some are saved up for the first changes after
//! quiet, so that a lone change goes at once.

use std::time::Duration;

/// Pushes that may be saved up.
const SAVED_MOST: f64 = 6.0;
/// They are not spaced further than this.
const INTERVAL_MOST: Duration = Duration::from_secs(1);
/// What one is taken to cost before any was measured, on both ends.
const COST_FIRST: Duration = Duration::from_millis(12);
/// The other end costs about as much as this one.
const ENDS: u32 = 2;
/// How much a new measure counts.
const WEIGHT: f64 = 0.1;
/// What a large push costs is no measure of what every push does.
const COST_MOST: Duration = Duration::from_millis(50);

/// The pace of one remote.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// The share of a core for the whole instance; `None` without a bound.
    share: Option<f64>,
    /// Remotes that the share is divided among.
    active: u32,
    /// What one push costs.
    cost: Duration,
    /// Pushes that may start at once.
    saved: f64,
    /// When that was counted.
    counted: Duration,
}

impl Pace {
    /// With this share of a core, in percent; 100 and more is no bound.
    pub fn new(percent: u32) -> Self {
        let share = (percent < 100).then(|| f64::from(percent.max(1)) / 100.0);
        Self { share, active: 1, cost: COST_FIRST, saved: SAVED_MOST, counted: Duration::ZERO }
    }

    /// This number of remotes is active now.
    pub fn divide(&mut self, active: u32) {
        self.active = active.max(1);
    }

    /// An rsync has cost this much on this end.
    pub fn measured(&mut self, cost: Duration) {
        let cost = (cost * ENDS).min(COST_MOST);
        self.cost = self.cost.mul_f64(1.0 - WEIGHT) + cost.mul_f64(WEIGHT);
    }

    /// Time between two pushes of a stream without end.
    pub fn interval(&self) -> Duration {
        let Some(share) = self.share else { return Duration::ZERO };
        (self.cost.mul_f64(f64::from(self.active) / share)).min(INTERVAL_MOST)
    }

    /// True when a push may start.
    pub fn allows(&self, now: Duration) -> bool {
        self.saved_at(now) >= 1.0
    }

    /// When one may start, if that is later.
    pub fn next_at(&self, now: Duration) -> Option<Duration> {
        let missing = 1.0 - self.saved_at(now);
        (missing > 0.0).then(|| now + self.interval().mul_f64(missing) + Duration::from_micros(10))
    }

    /// A push starts.
    pub fn spend(&mut self, now: Duration) {
        self.saved = (self.saved_at(now) - 1.0).max(0.0);
        self.counted = now;
    }

    fn saved_at(&self, now: Duration) -> f64 {
        let interval = self.interval();
        if interval.is_zero() {
            return SAVED_MOST;
        }
        let more = now.saturating_sub(self.counted).as_secs_f64() / interval.as_secs_f64();
        (self.saved + more).min(SAVED_MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Pushes in a second of changes without end.
    fn pushes(pace: &mut Pace, from: Duration) -> usize {
        (0..1_000)
            .filter(|ms| {
                let now = from + *ms * MS;
                let starts = pace.allows(now);
                if starts {
                    pace.spend(now);
                }
                starts
            })
            .count()
    }

    #[test]
    fn a_stream_is_spaced_and_the_first_changes_after_quiet_are_not() {
        let mut pace = Pace::new(25);
        assert_eq!(pace.interval(), 48 * MS);
        assert!(pace.next_at(Duration::ZERO).is_none(), "a lone change goes at once");
        let first = pushes(&mut pace, Duration::ZERO);
        let second = pushes(&mut pace, 1_000 * MS);
        assert!((25..=27).contains(&first) && (20..=21).contains(&second), "{first} {second}");
        assert_eq!(pushes(&mut pace, 60_000 * MS), first, "saved up again");
        assert!(pace.next_at(61_000 * MS).is_some_and(|at| at <= 61_048 * MS + MS));
    }

    #[test]
    fn the_share_is_divided_and_the_cost_is_measured() {
        let mut pace = Pace::new(25);
        pace.divide(10);
        assert_eq!(pace.interval(), 480 * MS);
        pace.divide(1_000);
        assert_eq!(pace.interval(), INTERVAL_MOST);
        pace.divide(0);
        for _ in 0..100 {
            pace.measured(3 * MS);
        }
        assert!(pace.interval() > 23 * MS && pace.interval() < 26 * MS, "{:?}", pace.interval());
        pace.measured(Duration::from_secs(9));
        assert!(pace.interval() < 50 * MS, "one large push is no measure");
    }

    #[test]
    fn a_whole_core_is_no_bound() {
        let mut pace = Pace::new(100);
        assert_eq!(pushes(&mut pace, Duration::ZERO), 1_000);
        assert!(pace.next_at(MS).is_none() && pace.interval().is_zero());
    }
}
