//! Whether a remote answers, when it is tried again, and when that is said. Pure: the time is given.

use std::time::Duration;

/// The state of one remote, as its pushes show it. Times are those of one monotonic clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// The last push went well, or none was tried.
    Good,
    /// It is in trouble and will pass by itself: tried again at `until`.
    Backoff {
        /// Failures in a row.
        failures: u32,
        /// When it is tried again.
        until: Duration,
        /// rsync's words.
        words: String,
    },
    /// Somebody must mend something (module, password, parameter): tried again at `until`.
    Misconfigured {
        /// Failures in a row.
        failures: u32,
        /// When it is tried again.
        until: Duration,
        /// rsync's words.
        words: String,
    },
}

/// Time between tries of a remote whose configuration is wrong.
pub const MISCONFIGURED_RETRY: Duration = Duration::from_secs(60);

impl Health {
    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        match self {
            Health::Good => 0,
            Health::Backoff { failures, .. } | Health::Misconfigured { failures, .. } => *failures,
        }
    }

    /// When the remote may be tried; `None`: at any time.
    pub fn until(&self) -> Option<Duration> {
        match self {
            Health::Good => None,
            Health::Backoff { until, .. } | Health::Misconfigured { until, .. } => Some(*until),
        }
    }

    /// True when the remote may be tried at `now`.
    pub fn may_try(&self, now: Duration) -> bool {
        self.until().is_none_or(|until| now >= until)
    }

    /// The state after one more failure that passes by itself. `wait` comes from the backoff table.
    pub fn after_trouble(&self, now: Duration, wait: Duration, words: String) -> Health {
        Health::Backoff { failures: self.failures().saturating_add(1), until: now + wait, words }
    }

    /// The state after one more failure that somebody must mend.
    pub fn after_refusal(&self, now: Duration, words: String) -> Health {
        let failures = self.failures().saturating_add(1);
        Health::Misconfigured { failures, until: now + MISCONFIGURED_RETRY, words }
    }

    /// True when this failure is worth a line in the log: the first, then at growing intervals, and when the words
    /// or the kind of trouble are new.
    pub fn worth_saying(&self, before: &Health) -> bool {
        let kind = |h: &Health| match h {
            Health::Good => (0, String::new()),
            Health::Backoff { words, .. } => (1, words.clone()),
            Health::Misconfigured { words, .. } => (2, words.clone()),
        };
        self.failures().is_power_of_two() || (kind(self) != kind(before) && self.failures() < 8)
    }
}

/// When a path that failed `attempts` times is pushed again: at once, then after growing delays up to `most`.
pub fn path_retry_ms(attempts: u32, most_ms: i64) -> i64 {
    match attempts {
        0 => 0,
        // sersync, too, tries a failed path again at once.
        1 => 500,
        n => (2_000i64 << (n - 2).min(20)).min(most_ms.max(1_000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_said_once_and_then_ever_more_rarely() {
        let mut health = Health::Good;
        let mut said = 0;
        for n in 0..100 {
            let now = Duration::from_secs(n);
            let next = health.after_trouble(now, Duration::from_secs(1), "down".into());
            said += u32::from(next.worth_saying(&health));
            assert!(!next.may_try(now) && next.may_try(now + Duration::from_secs(1)));
            health = next;
        }
        assert_eq!(said, 7, "1, 2, 4, 8, 16, 32, 64");
        assert!(Health::Good.may_try(Duration::ZERO));
    }

    #[test]
    fn a_failed_path_comes_again_soon_and_then_later() {
        let delays: Vec<i64> = (1..8).map(|n| path_retry_ms(n, 60_000)).collect();
        assert_eq!(delays, [500, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000]);
    }
}
