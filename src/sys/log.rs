//! Logs: slog to stderr, one line per event, in local time with its offset.

use crate::path::as_written;
use slog::{Drain, Level, Logger, o};
use std::fs::{File, OpenOptions};
use std::io::IsTerminal;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

/// Clears the line at the cursor and everything below: progress bars that another process of the instance draws. They
/// are redrawn below the line.
pub const CLEAR: &str = "\r\x1b[J";

/// Opens the log of a daemon, which only its user can read.
pub fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// A logger to stderr. Debug level logs each path and command line.
pub fn logger(debug: bool) -> Logger {
    let level = if debug { Level::Debug } else { Level::Info };
    let before = if std::io::stderr().is_terminal() { CLEAR } else { "" };
    let out = OneLine { out: std::io::stderr(), before };
    let decorator = slog_term::PlainSyncDecorator::new(out);
    let format = slog_term::FullFormat::new(decorator)
        .use_original_order()
        .use_custom_timestamp(|w| write!(w, "{}", super::clock::local(super::clock::wall_ms())))
        .build();
    // A log that cannot be written (a full disk) must not end a process.
    let drain = Mutex::new(format).filter_level(level).ignore_res();
    Logger::root(drain, o!())
}

/// Writes each record as one line, whatever it contains. A name or a message of a remote starts no line of its own, and
/// moves no cursor of a terminal that shows the log.
struct OneLine<W> {
    out: W,
    /// Written before each record.
    before: &'static str,
}

impl<W: Write> Write for OneLine<W> {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        let (text, end) = match record.strip_suffix(b"\n") {
            Some(text) => (text, "\n"),
            None => (record, ""),
        };
        self.out.write_all(format!("{}{}{end}", self.before, as_written(text)).as_bytes())?;
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A continuing problem. It is logged once, and then at growing intervals that double from one minute to one hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seldom {
    /// Not logged before this time; the current interval.
    next: Option<(Duration, Duration)>,
}

impl Seldom {
    /// Records another occurrence, at `now` of a monotonic clock. True if it must be logged.
    pub fn worth_logging(&mut self, now: Duration) -> bool {
        let wait = match self.next {
            Some((at, _)) if now < at => return false,
            Some((_, wait)) => (wait * 2).min(Duration::from_secs(3_600)),
            None => Duration::from_secs(60),
        };
        self.next = Some((now + wait, wait));
        true
    }

    /// Records that the problem is over: the next occurrence is logged.
    pub fn over(&mut self) {
        self.next = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_printable_line() {
        let mut out = Vec::new();
        let mut lines = OneLine { out: &mut out, before: CLEAR };
        lines.write_all("a\nb \u{1b}[1m \u{202e} \u{56fe} \\x\n".as_bytes()).unwrap();
        assert_eq!(out, "\r\x1b[Ja\\x0ab \\x1b[1m \\xe2\\x80\\xae \u{56fe} \\x\n".as_bytes());
    }

    #[test]
    fn a_lasting_problem_is_logged_less_and_less_often() {
        let mut seldom = Seldom::default();
        let day = (0..86_400).map(Duration::from_secs);
        let logged: Vec<_> = day.filter(|now| seldom.worth_logging(*now)).collect();
        assert_eq!(logged[..5], [0, 60, 180, 420, 900].map(Duration::from_secs));
        assert!(logged.len() < 32, "once an hour in the end: {}", logged.len());
        assert!(!seldom.worth_logging(Duration::from_secs(86_400)));
        seldom.over();
        assert!(seldom.worth_logging(Duration::from_secs(86_401)));
    }
}
