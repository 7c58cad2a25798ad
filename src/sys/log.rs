//! Logs: slog on stderr, one line an event.

use slog::{Drain, Level, Logger, o};
use std::sync::Mutex;
use std::time::Duration;

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

/// A trouble that goes on: it is said once, and then at growing intervals, one minute doubled to one hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seldom {
    /// Not before this time, and so long after the time before.
    next: Option<(Duration, Duration)>,
}

impl Seldom {
    /// It happened once more, at `now` of a monotonic clock: true when it is to be said.
    pub fn worth_saying(&mut self, now: Duration) -> bool {
        let wait = match self.next {
            Some((at, _)) if now < at => return false,
            Some((_, wait)) => (wait * 2).min(Duration::from_secs(3_600)),
            None => Duration::from_secs(60),
        };
        self.next = Some((now + wait, wait));
        true
    }

    /// It is over: the next one is news.
    pub fn over(&mut self) {
        self.next = None;
    }
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
    use super::*;

    #[test]
    fn a_trouble_that_goes_on_is_said_ever_more_rarely() {
        let mut seldom = Seldom::default();
        let day = (0..86_400).map(Duration::from_secs);
        let said: Vec<_> = day.filter(|now| seldom.worth_saying(*now)).collect();
        assert_eq!(said[..5], [0, 60, 180, 420, 900].map(Duration::from_secs));
        assert!(said.len() < 32, "once an hour in the end: {}", said.len());
        assert!(!seldom.worth_saying(Duration::from_secs(86_400)));
        seldom.over();
        assert!(seldom.worth_saying(Duration::from_secs(86_401)));
    }

    #[test]
    fn dates() {
        assert_eq!(super::timestamp(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(super::timestamp(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(super::timestamp(1_795_309_323_456), "2026-11-22T01:02:03.456Z");
    }
}
