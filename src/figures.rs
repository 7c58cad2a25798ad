//! Figures for users: bytes, times and durations have the same format wherever they are shown. Pure.

use chrono::{DateTime, SecondsFormat, TimeZone};
use std::fmt::Display;

/// `1 file`, `2 files`.
pub fn count(n: u64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// Bytes as `12 B`, `3.4 MB`.
pub fn bytes(n: u64) -> String {
    let units = ["kB", "MB", "GB", "TB", "PB"];
    if n < 1000 {
        return format!("{n} B");
    }
    let mut value = n as f64;
    let mut unit = "B";
    for u in units {
        // A value that would be rounded to 1000.0 becomes 1.0 of the next unit.
        if value < 999.95 {
            break;
        }
        (value, unit) = (value / 1000.0, u);
    }
    format!("{value:.1} {unit}")
}

/// Milliseconds as `12 ms`, `3.4 s`, `5 min`, `2 h`, `3 d`.
pub fn span(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => seconds(ms),
        60_000..3_600_000 => format!("{} min", ms / 60_000),
        3_600_000..172_800_000 => format!("{} h", ms / 3_600_000),
        _ => format!("{} d", ms / 86_400_000),
    }
}

/// Milliseconds as `0.3 s`, `75.0 s`: always in seconds, so that values are easy to compare.
pub fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}

/// Milliseconds since 1970 in UTC, for file names, which sort by time: `2026-11-22T01:02:03.456Z`.
pub fn utc(ms: i64) -> String {
    let time = DateTime::from_timestamp_millis(ms);
    time.map_or_else(|| ms.to_string(), |t| t.to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// Milliseconds since 1970 in the time zone `zone`, for a log: RFC 3339, `2026-11-22T09:02:03.456+08:00`.
pub fn rfc3339<Z: TimeZone>(ms: i64, zone: &Z) -> String {
    let time = DateTime::from_timestamp_millis(ms).map(|t| t.with_timezone(zone));
    time.map_or_else(|| ms.to_string(), |t| t.to_rfc3339_opts(SecondsFormat::Millis, false))
}

/// Milliseconds since 1970 in the time zone `zone`, for a sentence: `2026-11-22 09:02:03 +08:00`.
pub fn time<Z: TimeZone>(ms: i64, zone: &Z) -> String
where
    Z::Offset: Display,
{
    let time = DateTime::from_timestamp_millis(ms).map(|t| t.with_timezone(zone));
    time.map_or_else(|| ms.to_string(), |t| t.format("%Y-%m-%d %H:%M:%S %:z").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{FixedOffset, Utc};

    #[test]
    fn amounts_and_durations_have_units() {
        assert_eq!([bytes(999), bytes(3_400_000)], ["999 B", "3.4 MB"]);
        assert_eq!(
            [bytes(999_949), bytes(999_950), bytes(1 << 53)],
            ["999.9 kB", "1.0 MB", "9.0 PB"]
        );
        assert_eq!([span(7), span(3_450), span(90_000)], ["7 ms", "3.4 s", "1 min"]);
        assert_eq!([span(7_200_000), span(864_000_000)], ["2 h", "10 d"]);
        assert_eq!([seconds(0), seconds(75_090)], ["0.0 s", "75.0 s"]);
        assert_eq!([count(1, "file", "files"), count(2, "file", "files")], ["1 file", "2 files"]);
    }

    #[test]
    fn times_in_file_names_are_utc() {
        assert_eq!(utc(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(utc(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(utc(1_795_309_323_456), "2026-11-22T01:02:03.456Z");
    }

    /// Also if the offset is not a whole hour or is negative, and if the day differs.
    #[test]
    fn times_have_the_offset_of_their_zone() {
        let ms = 1_795_309_323_456;
        for (seconds, log, sentence) in [
            (0, "2026-11-22T01:02:03.456+00:00", "2026-11-22 01:02:03 +00:00"),
            (28_800, "2026-11-22T09:02:03.456+08:00", "2026-11-22 09:02:03 +08:00"),
            (20_700, "2026-11-22T06:47:03.456+05:45", "2026-11-22 06:47:03 +05:45"),
            (-16_200, "2026-11-21T20:32:03.456-04:30", "2026-11-21 20:32:03 -04:30"),
        ] {
            let zone = FixedOffset::east_opt(seconds).unwrap();
            assert_eq!([rfc3339(ms, &zone), time(ms, &zone)], [log, sentence]);
        }
        assert_eq!(rfc3339(0, &Utc), "1970-01-01T00:00:00.000+00:00");
        assert_eq!(rfc3339(i64::MAX, &Utc), i64::MAX.to_string(), "no time at all");
    }
}
