//! Cron expressions: minute, hour, day of the month, month, day of the week; names, ranges, steps and lists.

use crate::language::say;
use crate::path::fnv1a;
use chrono::{DateTime, TimeZone, Utc};
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use std::time::Duration;

/// No two remotes of a localpath start at the same moment. The start of each is delayed by its own part of the period,
/// at most by this.
pub const SPREAD_MAX: Duration = Duration::from_secs(300);

/// Parses an expression of five fields as in crontab(5), or `@daily` and the like. Errors say what is wrong with it. An
/// expression that no day matches (`0 0 30 2 *`) is an error, too.
pub fn parse(text: &str) -> Result<Cron, String> {
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    let cron = parser.parse(text).map_err(|e| {
        say!("`{}` is not a cron expression ({}); write minute, hour, day, month and day of the week, \
             such as `30 2 * * mon-fri`", text, e)
    })?;
    match next(&cron, &DateTime::<Utc>::UNIX_EPOCH) {
        Some(_) => Ok(cron),
        None => Err(say!("`{}` never occurs", text)),
    }
}

/// The next matching time after `now`.
pub fn next<Tz: TimeZone>(cron: &Cron, now: &DateTime<Tz>) -> Option<DateTime<Tz>> {
    cron.find_next_occurrence(now, false).ok()
}

/// The last matching time up to and including `now`.
pub fn last<Tz: TimeZone>(cron: &Cron, now: &DateTime<Tz>) -> Option<DateTime<Tz>> {
    cron.find_previous_occurrence(now, true).ok()
}

/// The next time after `now` at which a cron expression makes a comparison of `remote` due. The remote's own delay is
/// added, so the result may still belong to the last matching time.
pub fn next_by_cron<Tz: TimeZone>(
    cron: &Cron,
    remote: &str,
    now: &DateTime<Tz>,
) -> Option<DateTime<Tz>> {
    let late = |at: DateTime<Tz>| {
        let period = next(cron, &at).and_then(|next| (next - at.clone()).to_std().ok());
        at + jitter(period.unwrap_or_default(), remote)
    };
    let last = last(cron, now).map(late).filter(|at| at > now);
    last.or_else(|| next(cron, now).map(late))
}

/// A delay within the first tenth of the period. It is always the same for a remote.
pub fn jitter(period: Duration, remote: &str) -> Duration {
    let spread = (period / 10).min(SPREAD_MAX);
    let share = fnv1a(remote.as_bytes()) % 1000;
    spread * u32::try_from(share).unwrap_or(0) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::FixedOffset;

    fn after(text: &str, now: &str) -> String {
        let now: DateTime<FixedOffset> = now.parse().unwrap();
        next(&parse(text).unwrap(), &now).unwrap().to_rfc3339()
    }

    #[test]
    fn names_ranges_steps_and_lists_are_accepted() {
        // A Sunday.
        let now = "2026-11-22T10:00:00+08:00";
        for (text, wanted) in [
            ("* * * * *", "2026-11-22T10:01:00+08:00"),
            ("0 10 * * *", "2026-11-23T10:00:00+08:00"),
            ("30 2 * * mon-fri", "2026-11-23T02:30:00+08:00"),
            ("30 2 * * 1-5", "2026-11-23T02:30:00+08:00"),
            ("30 2 * * 7", "2026-11-29T02:30:00+08:00"),
            ("30 2 * * 0", "2026-11-29T02:30:00+08:00"),
            ("*/20 * * * *", "2026-11-22T10:20:00+08:00"),
            ("5-59/20 10,12 * * *", "2026-11-22T10:05:00+08:00"),
            ("0 0 1 jan,jul *", "2027-01-01T00:00:00+08:00"),
            ("0 0 29 2 *", "2028-02-29T00:00:00+08:00"),
            // As in cron: if both days are given, either one matches.
            ("0 0 13 * fri", "2026-11-27T00:00:00+08:00"),
            ("@daily", "2026-11-23T00:00:00+08:00"),
        ] {
            assert_eq!(after(text, now), wanted, "{text}");
        }
    }

    #[test]
    fn mistakes_are_reported() {
        for text in [
            "",
            "60",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * mon-",
            "*/0 * * * *",
            "5-1 * * * *",
            "a b c d e",
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains("not a cron expression"), "{text}: {error}");
        }
        assert!(parse("0 0 30 2 *").unwrap_err().contains("never occurs"));
    }

    #[test]
    fn previous_includes_the_current_minute() {
        let now: DateTime<Utc> = "2026-11-22T10:00:00Z".parse().unwrap();
        let cron = parse("0 * * * *").unwrap();
        assert_eq!(last(&cron, &now), Some(now));
    }
}
