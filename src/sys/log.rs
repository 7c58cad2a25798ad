//! Logs: slog on stderr, one line an event.

use slog::{Drain, Level, Logger, o};
use std::sync::Mutex;

/// A logger to stderr. Debug shows each path and command line.
pub fn logger(debug: bool) -> Logger {
    let level = if debug { Level::Debug } else { Level::Info };
    let decorator = slog_term::PlainSyncDecorator::new(std::io::stderr());
    let format = slog_term::FullFormat::new(decorator)
        .use_original_order()
        .use_custom_timestamp(|w| write!(w, "{}", timestamp(super::clock::wall_ms())))
        .build();
    // A log that cannot be written (a full disk) must not end a process.
    let drain = Mutex::new(format).filter_level(level).ignore_res();
    Logger::root(drain, o!())
}

/// Milliseconds since 1970 as `2026-11-22T01:02:03.456Z`.
pub fn timestamp(ms: i64) -> String {
    let (days, in_day) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    // Civil date from days, the usual era arithmetic of the proleptic Gregorian calendar.
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + i64::from(month <= 2);
    let (h, m, s) = (in_day / 3_600_000, in_day / 60_000 % 60, in_day / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{:03}Z", in_day % 1000)
}

#[cfg(test)]
mod tests {
    #[test]
    fn dates() {
        assert_eq!(super::timestamp(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(super::timestamp(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(super::timestamp(1_795_309_323_456), "2026-11-22T01:02:03.456Z");
    }
}
