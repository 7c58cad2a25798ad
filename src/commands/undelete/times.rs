//! The times of a trash, as users see and write them. Its directories are named in UTC, but users see local time. Pure.

use crate::figures;
use chrono::{DateTime, FixedOffset, NaiveDateTime, SecondsFormat, TimeZone, Utc};

/// The time in a directory's name, as [`crate::rsync::trash::stamp`] makes it, in the time zone `zone`:
/// `2026-11-22T18:15:00.123456+08:00`. A name that is not a time is returned unchanged.
pub fn shown<Z: TimeZone>(stamp: &str, zone: &Z) -> String {
    let time = stamp.parse::<DateTime<Utc>>().map(|t| t.with_timezone(zone));
    time.map_or_else(|_| stamp.to_owned(), |t| t.to_rfc3339_opts(SecondsFormat::Micros, false))
}

/// True if the directory of this name has the time `at`, or a time that begins with it. `at` is local time as shown, a
/// time with another offset, or UTC if it ends with `Z`.
pub fn is_at<Z: TimeZone>(stamp: &str, at: &str, zone: &Z) -> bool {
    // As in a sentence: 2026-11-22 18:15.
    let at = at.trim().replacen(' ', "T", 1).replace(' ', "");
    if let Some(utc) = at.strip_suffix('Z') {
        return stamp.starts_with(utc);
    }
    match at.parse::<DateTime<FixedOffset>>() {
        Ok(time) => {
            let utc = time.with_timezone(&Utc).format("%Y-%m-%dT%H:%M:%S").to_string();
            let fraction: String = at
                .get(19..)
                .unwrap_or_default()
                .chars()
                .take_while(|c| !"+-".contains(*c))
                .collect();
            stamp.starts_with(&(utc + &fraction))
        }
        Err(_) => shown(stamp, zone).starts_with(&at),
    }
}

/// When a file was written, in the time zone `zone`: `2026-11-22 18:15:00 +08:00`. rsync prints `2026/11/22-10:15:00`
/// in UTC.
pub fn written<Z: TimeZone>(modified: &str, zone: &Z) -> String
where
    Z::Offset: std::fmt::Display,
{
    let time = NaiveDateTime::parse_from_str(modified, "%Y/%m/%d-%H:%M:%S");
    time.map_or_else(
        |_| modified.to_owned(),
        |t| figures::time(t.and_utc().timestamp_millis(), zone),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: &str = "2026-11-22T20:15:00.123456Z";

    fn zone(hours: i32) -> FixedOffset {
        FixedOffset::east_opt(hours * 3_600).unwrap()
    }

    #[test]
    fn times_are_shown_in_local_time() {
        assert_eq!(shown(STAMP, &zone(8)), "2026-11-23T04:15:00.123456+08:00");
        assert_eq!(shown(STAMP, &zone(-5)), "2026-11-22T15:15:00.123456-05:00");
        assert_eq!(shown("odd", &zone(8)), "odd");
        assert_eq!(written("2026/11/22-20:15:00", &zone(8)), "2026-11-23 04:15:00 +08:00");
        assert_eq!(written("odd", &zone(8)), "odd");
    }

    #[test]
    fn times_are_accepted_in_every_notation() {
        for at in [
            "",
            "2026-11-23",
            "2026-11-23T04:15",
            "2026-11-23 04:15",
            "2026-11-23T04:15:00.1234",
            "2026-11-23T04:15:00.123456+08:00",
            "2026-11-23T04:15:00+08:00",
            "2026-11-23 04:15:00 +08:00",
            // As a user in another time zone sees it.
            "2026-11-22T15:15:00.123456-05:00",
            "2026-11-22T20:15Z",
            STAMP,
        ] {
            assert!(is_at(STAMP, at, &zone(8)), "{at}");
        }
        for at in [
            "2026-11-22",
            "2026-11-22T20:15",
            "2026-11-23T04:15Z",
            "2026-11-23T04:15:00.123457+08:00",
            "2026-11-23T04:15:01+08:00",
            "2026-11-23T04:15:00-08:00",
            "yesterday",
        ] {
            assert!(!is_at(STAMP, at, &zone(8)), "{at}");
        }
    }
}
