//! Whether a remote answers, when it is retried, and when that is logged. Pure: the time is given.

use crate::config::model::FailLog;
use crate::help_topic::Reason;
use std::time::Duration;

/// The longest wait before a failed path is pushed again, when no `failLog` says otherwise.
const RETRY_MOST_MS: i64 = 300_000;

/// The state of one remote, as its pushes show it. Times are those of one monotonic clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// The last push succeeded, or none was tried.
    Good,
    /// It is in trouble that may pass by itself. It is retried at `until`.
    Backoff {
        /// Failures in a row.
        failures: u32,
        /// When it is retried.
        until: Duration,
        /// rsync's message.
        reason: Reason,
        /// The job that met the trouble.
        met_by: MetBy,
    },
    /// The operator must fix something (module, password, parameter). It is retried at `until`.
    Misconfigured {
        /// Failures in a row.
        failures: u32,
        /// When it is retried.
        until: Duration,
        /// rsync's message.
        reason: Reason,
        /// The job that met the trouble.
        met_by: MetBy,
    },
}

/// The job that has met the trouble of a remote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetBy {
    /// A push. A comparison cannot tell when the trouble is over, because it writes nothing on the remote.
    Push,
    /// Another job. Any job can tell when the trouble is over.
    Any,
}

/// The interval between attempts for a remote whose configuration is wrong.
pub const MISCONFIGURED_RETRY: Duration = Duration::from_secs(60);

/// The wait before a remote in trouble is retried: 1 s doubled to 60 s after each failure in a row, of which `jitter` (0 to
/// 1) picks a moment in the later half, so that many pushers do not retry together.
pub fn backoff(failures: u32, jitter: f64) -> Duration {
    let ceiling = 2_u32.saturating_pow(failures.saturating_sub(1)).min(60);
    Duration::from_secs_f64((f64::from(ceiling) * (0.5 + 0.5 * jitter.clamp(0.0, 1.0))).max(1.0))
}

impl Health {
    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        match self {
            Health::Good => 0,
            Health::Backoff { failures, .. } | Health::Misconfigured { failures, .. } => *failures,
        }
    }

    /// Why the remote is in trouble.
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Health::Good => None,
            Health::Backoff { reason, .. } | Health::Misconfigured { reason, .. } => Some(reason),
        }
    }

    /// rsync's message, while the remote is in trouble.
    pub fn message(&self) -> Option<&str> {
        self.reason().map(|reason| reason.why.as_str())
    }

    /// When the remote may be tried. `None` means at any time.
    pub fn until(&self) -> Option<Duration> {
        match self {
            Health::Good => None,
            Health::Backoff { until, .. } | Health::Misconfigured { until, .. } => Some(*until),
        }
    }

    /// The job that has met the trouble, while the remote is in trouble.
    pub fn met_by(&self) -> Option<MetBy> {
        match self {
            Health::Good => None,
            Health::Backoff { met_by, .. } | Health::Misconfigured { met_by, .. } => Some(*met_by),
        }
    }

    /// Trouble that a push has met stays that of a push, whatever job meets it next.
    fn now_met_by(&self, met_by: MetBy) -> MetBy {
        if self.met_by() == Some(MetBy::Push) { MetBy::Push } else { met_by }
    }

    /// Allows an attempt now, at the operator's request.
    pub fn retry_now(&mut self, now: Duration) {
        if let Health::Backoff { until, .. } | Health::Misconfigured { until, .. } = self {
            *until = now.min(*until);
        }
    }

    /// True if the remote may be tried at `now`.
    pub fn may_try(&self, now: Duration) -> bool {
        self.until().is_none_or(|until| now >= until)
    }

    /// Failures in a row, with one at `now`. A job that was under way when the remote was refused meets the same failure.
    pub fn failures_at(&self, now: Duration) -> u32 {
        self.failures().saturating_add(self.may_try(now).into())
    }

    /// The state after one more failure that may pass by itself. `wait` comes from [`backoff`].
    pub fn after_trouble(
        &self,
        now: Duration,
        wait: Duration,
        reason: Reason,
        met_by: MetBy,
    ) -> Health {
        let failures = self.failures_at(now);
        Health::Backoff { failures, until: now + wait, reason, met_by: self.now_met_by(met_by) }
    }

    /// The state after one more failure that the operator must fix.
    pub fn after_refusal(&self, now: Duration, reason: Reason, met_by: MetBy) -> Health {
        let failures = self.failures_at(now);
        let (until, met_by) = (now + MISCONFIGURED_RETRY, self.now_met_by(met_by));
        Health::Misconfigured { failures, until, reason, met_by }
    }

    /// True if this failure is worth a line in the log: the first one, then at growing intervals, and when the message
    /// or the kind of trouble is new.
    pub fn worth_logging(&self, before: &Health) -> bool {
        let kind = |h: &Health| match h {
            Health::Good => (0, None),
            Health::Backoff { reason, .. } => (1, Some(reason.clone())),
            Health::Misconfigured { reason, .. } => (2, Some(reason.clone())),
        };
        let one_more = self.failures() != before.failures();
        (one_more && self.failures().is_power_of_two())
            || (kind(self) != kind(before) && self.failures() < 8)
    }
}

/// A reconcile that was incomplete, `times` in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incomplete {
    /// How many times in a row.
    pub times: u32,
    /// rsync's message.
    pub message: String,
}

impl Incomplete {
    /// The state after one more incomplete reconcile, and whether it is worth a line in the log.
    pub fn again(before: Option<Incomplete>, message: String) -> (Incomplete, bool) {
        let times = before.as_ref().map_or(1, |b| b.times.saturating_add(1));
        let news = before.is_none_or(|b| b.message != message);
        (Incomplete { times, message }, news || times.is_power_of_two())
    }

    /// The delay before the next reconcile: 60 s, doubled up to one hour.
    pub fn wait(&self) -> Duration {
        Duration::from_secs((60 << (self.times.saturating_sub(1)).min(6)).min(3_600))
    }
}

/// The longest wait before a failed path is pushed or compared again, in milliseconds: `timeToExecute` of sersync's
/// `failLog`.
pub fn retry_most_ms(fail_log: Option<&FailLog>) -> i64 {
    fail_log.map_or(RETRY_MOST_MS, |log| i64::from(log.retry_minutes) * 60_000)
}

/// The delay before a path that failed `attempts` times is pushed again. It is short after the first failure, and then
/// grows up to `most_ms`.
pub fn path_retry_ms(attempts: u32, most_ms: i64) -> i64 {
    match attempts {
        0 => 0,
        // sersync, too, retries a failed path immediately.
        1 => 500,
        n => (2_000i64 << (n - 2).min(20)).min(most_ms.max(1_000)),
    }
}

/// True if the failure number `attempts` of a path is worth a line in the log: the first one, then at growing
/// intervals. Not the second one, which follows immediately.
pub fn path_worth_logging(attempts: u32) -> bool {
    attempts != 2 && attempts.is_power_of_two()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::Place;
    use crate::help_topic::HelpTopic;

    fn reason(why: &str) -> Reason {
        Reason::new(HelpTopic::Unreachable, why)
    }

    #[test]
    fn backoff_depends_on_the_failure() {
        let seconds = |failures, jitter| backoff(failures, jitter).as_secs_f64();
        assert_eq!((seconds(0, 1.0), seconds(1, 0.0), seconds(1, 1.0)), (1.0, 1.0, 1.0));
        assert_eq!((seconds(4, 0.0), seconds(4, 1.0)), (4.0, 8.0));
        for failures in [7, 50, u32::MAX] {
            assert_eq!((seconds(failures, 0.0), seconds(failures, 1.0)), (30.0, 60.0));
        }
    }

    #[test]
    fn trouble_is_logged_once_and_then_at_growing_intervals() {
        let mut health = Health::Good;
        let mut logged = 0;
        for n in 0..100 {
            let now = Duration::from_secs(n);
            let next =
                health.after_trouble(now, Duration::from_secs(1), reason("down"), MetBy::Any);
            logged += u32::from(next.worth_logging(&health));
            assert!(!next.may_try(now) && next.may_try(now + Duration::from_secs(1)));
            health = next;
        }
        assert_eq!(logged, 7, "1, 2, 4, 8, 16, 32, 64");
        assert!(Health::Good.may_try(Duration::ZERO));
    }

    #[test]
    fn jobs_that_were_under_way_meet_the_same_failure() {
        let at = Duration::from_secs;
        let first = Health::Good.after_refusal(at(1), reason("no module"), MetBy::Push);
        let second = first.after_refusal(at(2), reason("no module"), MetBy::Any);
        assert_eq!(second.failures(), 1);
        assert!(first.worth_logging(&Health::Good) && !second.worth_logging(&first));
        let other = second.after_trouble(at(3), at(1), reason("down"), MetBy::Any);
        assert!(other.failures() == 1 && other.worth_logging(&second), "another message");
        let next = other.after_trouble(at(4), at(1), reason("down"), MetBy::Any);
        assert!(next.failures() == 2 && next.worth_logging(&other));
    }

    #[test]
    fn trouble_of_a_push_stays_that_of_a_push() {
        let now = Duration::ZERO;
        let push = Health::Good.after_trouble(now, now, reason("full"), MetBy::Push);
        let both = push.after_refusal(now, reason("no module"), MetBy::Any);
        assert_eq!((both.met_by(), both.failures()), (Some(MetBy::Push), 2));
        let other = Health::Good.after_refusal(now, reason("no module"), MetBy::Any);
        assert_eq!((other.met_by(), Health::Good.met_by()), (Some(MetBy::Any), None));
    }

    #[test]
    fn an_incomplete_reconcile_is_retried_with_growing_delays() {
        let mut incomplete = None;
        let mut waits = Vec::new();
        let mut logged = Vec::new();
        for message in ["a", "a", "a", "b", "b", "b", "b", "b"] {
            let (next, news) = Incomplete::again(incomplete, message.into());
            waits.push(next.wait().as_secs());
            logged.push(news);
            incomplete = Some(next);
        }
        assert_eq!(waits, [60, 120, 240, 480, 960, 1_920, 3_600, 3_600]);
        assert_eq!(logged, [true, true, false, true, false, false, false, true]);
    }

    #[test]
    fn a_failed_path_is_retried_soon_and_then_with_growing_delays() {
        let log =
            |retry_minutes| FailLog { path: "/f".into(), place: Place::default(), retry_minutes };
        let most = |retry_minutes| retry_most_ms(Some(&log(retry_minutes)));
        assert_eq!((most(1), most(60), retry_most_ms(None)), (60_000, 3_600_000, 300_000));
        let delays: Vec<i64> = (1..8).map(|n| path_retry_ms(n, most(1))).collect();
        assert_eq!(delays, [500, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000]);
        assert_eq!(path_retry_ms(u32::MAX, most(60)), 3_600_000);
        let logged: Vec<u32> = (1..40).filter(|n| path_worth_logging(*n)).collect();
        assert_eq!(logged, [1, 4, 8, 16, 32]);
    }
}
