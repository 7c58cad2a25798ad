//! When scheduled reconciles (sersync's `crontab`) are due. Pure.

use super::names::fnv1a;
use std::time::Duration;

/// No two remotes of a localpath start at the same moment: each is late by its own part of the period, at most this.
const SPREAD_MAX: Duration = Duration::from_secs(300);

/// The next time after `now` that a reconcile of `remote` is due, every `minutes` from `start` on (never at `start`).
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

/// A share of the first tenth of the period that is always the same for a remote.
fn jitter(period: Duration, remote: &str) -> Duration {
    let spread = (period / 10).min(SPREAD_MAX);
    let share = fnv1a(remote.as_bytes()) % 1000;
    spread * u32::try_from(share).unwrap_or(0) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn every_period_once_and_never_at_the_start() {
        let due = next_after(S(100), 10, "a::m", S(100)).unwrap();
        assert!((S(700)..S(760)).contains(&due), "{due:?}");
        assert_eq!(next_after(S(100), 10, "a::m", due - S(1)), Some(due));
        assert_eq!(next_after(S(100), 10, "a::m", due), Some(due + S(600)));
        assert_eq!(next_after(S(100), 10, "a::m", due + S(1_700)), Some(due + S(1_800)));
        assert_eq!(next_after(S(100), 0, "a::m", S(100)), None);
    }

    #[test]
    fn remotes_are_spread() {
        let at = |name: &str| next_after(S(0), 60, name, S(0)).unwrap();
        assert_ne!(at("10.0.0.1::www"), at("10.0.0.2::www"));
        assert_eq!(at("10.0.0.1::www"), at("10.0.0.1::www"));
        assert!(at("10.0.0.1::www") < S(3_600 + 300));
    }
}
