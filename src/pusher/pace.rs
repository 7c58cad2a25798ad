//! How often a remote may be pushed to. Pure: the time is given.
//!
//! Every push costs CPU time at both ends, whatever its size: an rsync starts, logs in and exits. With a standby,
//! nothing else would limit the number of pushes that a stream of changes causes. So pushes are spaced: their cost
//! at this end stays below a share of one core for the whole instance, divided among the active remotes. A few pushes are saved up
//! for the first changes after a quiet time, so that a single change is pushed immediately.
//!
//! However cheap a push is, the pushes of a stream keep an interval: below it, more pushes make nothing visibly faster.
//! It is shorter if each push carries many names.

use std::time::Duration;

/// The number of pushes that can be saved up.
const SAVED_MOST: f64 = 6.0;
/// The same for all active remotes together. Each can save up at least one.
const SAVED_MOST_ALL: f64 = 24.0;
/// The longest interval between two pushes.
const INTERVAL_MOST: Duration = Duration::from_millis(250);
/// The shortest interval between two pushes of a stream, if each carries few names.
const INTERVAL_LEAST: Duration = Duration::from_millis(67);
/// The same if each carries many.
const INTERVAL_LEAST_MANY: Duration = Duration::from_millis(45);
/// This many names are many.
const MANY: usize = 16;
/// The assumed cost of a push before any is measured.
const COST_FIRST: Duration = Duration::from_millis(6);
/// The weight of a new measurement.
const WEIGHT: f64 = 0.1;
/// A measured cost is limited to this: the cost of a large push does not show what every push costs.
const COST_MOST: Duration = Duration::from_millis(50);

/// The pace of one remote.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// The share of one core for the whole instance. `None` means no limit.
    share: Option<f64>,
    /// The number of remotes among which the share is divided.
    active: u32,
    /// The cost of one push.
    cost: Duration,
    /// The shortest interval, by what the last push carried.
    least: Duration,
    /// The number of pushes that may start immediately.
    saved: f64,
    /// The time of that count.
    counted: Duration,
}

impl Pace {
    /// A pace with this share of one core, in percent. 100 and more means no limit.
    pub fn new(percent: u32) -> Self {
        let share = (percent < 100).then(|| f64::from(percent.max(1)) / 100.0);
        Self {
            share,
            active: 1,
            cost: COST_FIRST,
            least: INTERVAL_LEAST,
            saved: SAVED_MOST,
            counted: Duration::ZERO,
        }
    }

    /// This number of remotes is active now.
    pub fn divide(&mut self, active: u32) {
        self.active = active.max(1);
    }

    /// A push of this many names has cost this much CPU time here: the pusher itself, and its rsyncs.
    pub fn measured(&mut self, names: usize, own: Duration, rsyncs: Duration) {
        self.least = if names < MANY { INTERVAL_LEAST } else { INTERVAL_LEAST_MANY };
        let cost = (own + rsyncs).min(COST_MOST);
        self.cost = self.cost.mul_f64(1.0 - WEIGHT) + cost.mul_f64(WEIGHT);
    }

    /// The interval between two pushes of an endless stream of changes.
    pub fn interval(&self) -> Duration {
        let Some(share) = self.share else { return Duration::ZERO };
        self.cost.mul_f64(f64::from(self.active) / share).clamp(self.least, INTERVAL_MOST)
    }

    /// True if a push may start.
    pub fn allows(&self, now: Duration) -> bool {
        self.saved_at(now) >= 1.0
    }

    /// When a push may start, if not now.
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
        let most = (SAVED_MOST_ALL / f64::from(self.active)).clamp(1.0, SAVED_MOST);
        let more = now.saturating_sub(self.counted).as_secs_f64() / interval.as_secs_f64();
        (self.saved + more).min(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// The number of pushes in one second of endless changes.
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
        assert_eq!(pace.interval(), INTERVAL_LEAST);
        assert!(pace.next_at(Duration::ZERO).is_none(), "a lone change goes at once");
        let first = pushes(&mut pace, Duration::ZERO);
        let second = pushes(&mut pace, 1_000 * MS);
        assert!((19..=21).contains(&first) && (14..=15).contains(&second), "{first} {second}");
        assert_eq!(pushes(&mut pace, 60_000 * MS), first, "saved up again");
        assert!(pace.next_at(61_000 * MS).is_some_and(|at| at <= 61_068 * MS));
    }

    #[test]
    fn the_share_is_divided_and_the_cost_is_measured() {
        let mut pace = Pace::new(25);
        pace.divide(10);
        assert_eq!(pace.interval(), 240 * MS);
        pace.divide(4);
        assert_eq!(pace.interval(), 96 * MS);
        pace.divide(1_000);
        assert_eq!(pace.interval(), INTERVAL_MOST);
        assert_eq!(pushes(&mut pace, 60_000 * MS), 4, "a fleet has saved up one push each");
        pace.divide(0);
        for _ in 0..100 {
            pace.measured(1, MS, 3 * MS);
        }
        assert_eq!(pace.interval(), INTERVAL_LEAST, "cheap");
        pace.measured(100, MS, 3 * MS);
        assert_eq!(pace.interval(), INTERVAL_LEAST_MANY, "each carries much");
        pace.divide(4);
        assert!(pace.interval() > 63 * MS && pace.interval() < 68 * MS, "{:?}", pace.interval());
        pace.measured(1, MS, Duration::from_secs(9));
        assert!(pace.interval() < 200 * MS, "one large push is no measure");
    }

    #[test]
    fn a_whole_core_is_no_bound() {
        let mut pace = Pace::new(100);
        assert_eq!(pushes(&mut pace, Duration::ZERO), 1_000);
        assert!(pace.next_at(MS).is_none() && pace.interval().is_zero());
    }
}
