//! The times of scheduled reconciles (sersync's `crontab`). Pure.

use crate::config::cron::{self, jitter, next_by_cron};
use chrono::{DateTime, TimeZone};
use croner::Cron;
use std::time::Duration;

/// The next time after `now` at which a reconcile of `remote` is due, every `minutes` after `start` (never at `start`).
/// `None` for a period of zero.
pub fn next_after(start: Duration, minutes: u32, remote: &str, now: Duration) -> Option<Duration> {
    let period = Duration::from_secs(u64::from(minutes) * 60);
    if period.is_zero() {
        return None;
    }
    let first = start + period + jitter(period, remote);
    let passed = match now.checked_sub(first) {
        None => return Some(first),
        Some(since) => since.as_millis() / period.as_millis(),
    };
    let periods = u32::try_from(passed + 1).unwrap_or(u32::MAX);
    Some(first + period.saturating_mul(periods))
}

/// A cron expression applied to one remote.
pub struct Clockwork {
    text: String,
    cron: Cron,
    due_ms: Option<i64>,
    seen_ms: i64,
}

impl Clockwork {
    /// `None` for an invalid expression, which the configuration has already refused.
    pub fn new<Tz: TimeZone>(text: &str, remote: &str, now: &DateTime<Tz>) -> Option<Self> {
        let cron = cron::parse(text).ok()?;
        let mut new = Self { text: text.to_owned(), cron, due_ms: None, seen_ms: 0 };
        new.plan(remote, now);
        Some(new)
    }

    /// The expression.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// True if a reconcile is due at the wall-clock time `now`, once for each due time. If the clock was set back, the
    /// next time is computed again. If it was set forward, all skipped times count as one.
    pub fn turn<Tz: TimeZone>(&mut self, remote: &str, now: &DateTime<Tz>) -> bool {
        let now_ms = now.timestamp_millis();
        let due = self.due_ms.is_some_and(|due| now_ms >= due);
        if due || now_ms < self.seen_ms {
            self.plan(remote, now);
        }
        self.seen_ms = now_ms;
        due
    }

    /// The time until the next one.
    pub fn left(&self) -> Option<Duration> {
        let ms = u64::try_from(self.due_ms?.saturating_sub(self.seen_ms)).unwrap_or(0);
        Some(Duration::from_millis(ms))
    }

    fn plan<Tz: TimeZone>(&mut self, remote: &str, now: &DateTime<Tz>) {
        self.due_ms = next_by_cron(&self.cron, remote, now).map(|at| at.timestamp_millis());
        self.seen_ms = now.timestamp_millis();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::cron::SPREAD_MAX;
    use chrono::{FixedOffset, Utc};
    use std::collections::BTreeSet;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn each_period_runs_once_and_never_at_the_start() {
        let due = next_after(S(100), 10, "a::m", S(100)).unwrap();
        assert!((S(700)..S(760)).contains(&due), "{due:?}");
        assert_eq!(next_after(S(100), 10, "a::m", due - S(1)), Some(due));
        assert_eq!(next_after(S(100), 10, "a::m", due), Some(due + S(600)));
        assert_eq!(next_after(S(100), 10, "a::m", due + S(1_700)), Some(due + S(1_800)));
        assert_eq!(next_after(S(100), 0, "a::m", S(100)), None);
    }

    #[test]
    fn remotes_are_spread_over_the_period() {
        let at = |name: &str| next_after(S(0), 60, name, S(0)).unwrap();
        assert_ne!(at("10.0.0.1::www"), at("10.0.0.2::www"));
        assert_eq!(at("10.0.0.1::www"), at("10.0.0.1::www"));
        assert!(at("10.0.0.1::www") < S(3_600 + 300));
    }

    #[test]
    fn a_hundred_remotes_are_spread_over_part_of_a_period() {
        let name = |n: usize| format!("10.0.0.{n}::www");
        for (minutes, most) in [(60, SPREAD_MAX), (600, SPREAD_MAX), (10, S(60))] {
            let period = S(u64::from(minutes) * 60);
            let due = |n| next_after(S(100), minutes, &name(n), S(100)).unwrap();
            let all: BTreeSet<_> = (0..100).map(due).collect();
            assert!(all.len() > 80, "{minutes}: {}", all.len());
            let first = S(100) + period;
            assert!(all.iter().all(|at| (first..first + most).contains(at)), "{minutes}: {all:?}");
            // They are spread, not all at one end.
            let early = all.range(..first + most / 2).count();
            assert!((20..80).contains(&early), "{minutes}: {early} in the first half");
            // The delay of each remote never changes.
            let at = due(1);
            assert_eq!(next_after(S(100), minutes, &name(1), at), Some(at + period));
        }
    }

    #[test]
    fn a_hundred_remotes_are_spread_over_part_of_a_cron_hour() {
        let cron = cron::parse("0 * * * *").unwrap();
        let now: DateTime<Utc> = "2026-11-22T10:30:00Z".parse().unwrap();
        let hour: DateTime<Utc> = "2026-11-22T11:00:00Z".parse().unwrap();
        let name = |n: usize| format!("10.0.0.{n}::www");
        let due: BTreeSet<_> =
            (0..100).map(|n| next_by_cron(&cron, &name(n), &now).unwrap()).collect();
        assert!(due.len() > 80, "{}", due.len());
        let five_minutes = hour + SPREAD_MAX;
        assert!(due.iter().all(|at| (hour..five_minutes).contains(at)), "{due:?}");
        // Between the full hour and the remote's own time, that time is next; afterwards that of the next hour.
        let at = next_by_cron(&cron, &name(1), &now).unwrap();
        assert!(at > hour);
        assert_eq!(next_by_cron(&cron, &name(1), &hour), Some(at));
        assert_eq!(next_by_cron(&cron, &name(1), &at), Some(at + Duration::from_secs(3_600)));
    }

    #[test]
    fn each_occurrence_fires_once_whatever_the_clock_does() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let mut works = Clockwork::new("0 3 * * *", "r", &at("2026-11-22T02:00:00Z")).unwrap();
        let left = works.left().unwrap();
        assert!(left >= S(3_600) && left <= S(3_600) + SPREAD_MAX, "{left:?}");
        let due = at("2026-11-22T02:00:00Z") + left;
        assert!(!works.turn("r", &(due - S(1))));
        assert!(works.turn("r", &due));
        assert!(!works.turn("r", &(due + S(1))));
        assert_eq!(works.left(), Some(S(24 * 3_600 - 1)));
        // Three days forward is one reconcile. After a step back the next time is computed again.
        assert!(works.turn("r", &(due + S(3 * 24 * 3_600 + 60))));
        assert!(!works.turn("r", &(due - S(60))));
        assert_eq!(works.left(), Some(S(60)));
        assert!(works.turn("r", &due));
    }

    #[test]
    fn daylight_saving_skips_no_day() {
        // An hour that does not exist in spring: the comparison follows after it, on the same day.
        let zone = FixedOffset::east_opt(3_600).unwrap();
        let mut works =
            Clockwork::new("30 2 * * *", "r", &zone.timestamp_opt(1_774_656_000, 0).unwrap())
                .unwrap();
        let strikes = (0..72 * 60).filter(|n| {
            // Central Europe changes to summer time on 29 March 2026 at 01:00 UTC.
            let utc = 1_774_656_000 + n * 60;
            let offset = if utc < 1_774_746_000 { 3_600 } else { 7_200 };
            let zone = FixedOffset::east_opt(offset).unwrap();
            works.turn("r", &zone.timestamp_opt(utc, 0).unwrap())
        });
        assert_eq!(strikes.count(), 3);
    }
}
