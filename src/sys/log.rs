//! Logs: one line per event, as text or JSON, to standard error or to the system's log. Times are local, with their offset.

use crate::log_settings::{LogFormat, LogLevel, LogSettings, LogTarget};
use crate::path::as_written;
use serde_json::Value;
use slog::{Drain, KV, Level, Logger, OwnedKVList, Record, Serializer, o};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

/// Clears the line at the cursor and everything below: progress bars that another process of the instance draws. They
/// are redrawn below the line.
pub const CLEAR: &str = "\r\x1b[J";

/// Opens the log of a daemon, which only its user can read.
pub fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// A copy of standard error, for a daemon that keeps it.
pub fn standard_error() -> io::Result<File> {
    Ok(io::stderr().as_fd().try_clone_to_owned()?.into())
}

/// Standard error of this process, and of those that it starts, is this log from now on.
pub fn redirect(path: &Path) -> io::Result<()> {
    Ok(rustix::stdio::dup2_stderr(open(path)?)?)
}

/// The environment variable with which a process tells those that it starts what to log. Only roles obey it.
const VARIABLE: &str = "SYNCSUP_LOG";

/// What this process logs.
static SETTINGS: OnceLock<LogSettings> = OnceLock::new();

/// From now on this process, and what it starts, logs like that. Only the first call has an effect.
pub fn set(settings: LogSettings) {
    let _ = SETTINGS.set(settings);
}

/// In a role: logs as the process that has started this one. Without its word, the defaults apply.
pub fn inherit() {
    let settings = std::env::var(VARIABLE).ok().and_then(|text| serde_json::from_str(&text).ok());
    if let Some(settings) = settings {
        set(settings);
    }
}

/// The variable for a process that this one starts.
pub(super) fn variable() -> Option<(&'static str, String)> {
    Some((VARIABLE, serde_json::to_string(SETTINGS.get()?).ok()?))
}

/// A logger. With `debug` it logs each path and command line, whatever the settings are.
pub fn logger(debug: bool) -> Logger {
    // A log that cannot be written (a full disk) must not end a process.
    Logger::root(Lines { debug }.ignore_res(), o!())
}

/// Writes each record as one line.
struct Lines {
    debug: bool,
}

impl Lines {
    fn takes(&self, level: Level) -> bool {
        let least = match SETTINGS.get().and_then(|settings| settings.level).unwrap_or_default() {
            _ if self.debug => Level::Debug,
            LogLevel::Error => Level::Error,
            LogLevel::Warning => Level::Warning,
            LogLevel::Info => Level::Info,
            LogLevel::Debug => Level::Debug,
        };
        level.is_at_least(least)
    }
}

impl Drain for Lines {
    type Ok = ();
    type Err = io::Error;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> io::Result<()> {
        if !self.takes(record.level()) {
            return Ok(());
        }
        let settings = SETTINGS.get().copied().unwrap_or_default();
        let sink = Sink::of(settings.target);
        let line = match settings.format.unwrap_or_default() {
            LogFormat::Text => text(record, values, sink.wants_time())?,
            LogFormat::Json => json(record, values)?,
        };
        sink.write(record.level(), &line)
    }

    fn is_enabled(&self, level: Level) -> bool {
        self.takes(level)
    }
}

/// Where lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sink {
    /// Standard error: a file, a pipe or a terminal.
    Stderr,
    /// Standard error, which systemd's journal reads: it knows the time, and a number in front tells it the level.
    Journal,
    /// The system's log.
    Syslog,
}

impl Sink {
    fn of(target: Option<LogTarget>) -> Sink {
        static OF_JOURNAL: OnceLock<bool> = OnceLock::new();
        match target {
            Some(LogTarget::Syslog) => Sink::Syslog,
            Some(LogTarget::Stderr | LogTarget::File) | None => {
                match *OF_JOURNAL.get_or_init(stderr_is_of_journal) {
                    true => Sink::Journal,
                    false => Sink::Stderr,
                }
            }
        }
    }

    fn wants_time(self) -> bool {
        match self {
            Sink::Stderr => true,
            Sink::Journal | Sink::Syslog => false,
        }
    }

    /// Writes one line with one call, so that lines of several processes do not mix.
    fn write(self, level: Level, line: &str) -> io::Result<()> {
        let number = severity(level);
        let to_stderr =
            |before: &str| io::stderr().lock().write_all(format!("{before}{line}\n").as_bytes());
        match self {
            Sink::Stderr if io::stderr().is_terminal() => to_stderr(CLEAR),
            Sink::Stderr => to_stderr(""),
            Sink::Journal => to_stderr(&format!("<{number}>")),
            // A system log that is not there must not hide an error.
            Sink::Syslog => to_syslog(number, line).or_else(|_| {
                to_stderr(&format!("{} ", super::clock::local(super::clock::wall_ms())))
            }),
        }
    }
}

/// True if standard error is the stream to the journal that systemd has given to the service.
fn stderr_is_of_journal() -> bool {
    let stream = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    let stat = rustix::fs::fstat(io::stderr());
    stat.is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// The number of a level in syslog.
fn severity(level: Level) -> u8 {
    match level {
        Level::Critical => 2,
        Level::Error => 3,
        Level::Warning => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// The facility `daemon` of syslog.
const DAEMON: u8 = 3 << 3;

/// Sends a line to the system's log, in the form of glibc's syslog(3). Each line finds the socket by its name, so that
/// a log that was restarted is found.
fn to_syslog(severity: u8, line: &str) -> io::Result<()> {
    static SOCKET: OnceLock<Option<UnixDatagram>> = OnceLock::new();
    let socket = SOCKET.get_or_init(|| {
        let socket = UnixDatagram::unbound().ok()?;
        // A log that does not read must not stop replication.
        socket.set_nonblocking(true).ok()?;
        Some(socket)
    });
    let socket = socket.as_ref().ok_or(io::ErrorKind::NotConnected)?;
    let (time, pid) = (super::clock::syslog_time(), std::process::id());
    let message = format!("<{}>{time} syncsup[{pid}]: {line}", DAEMON | severity);
    socket.send_to(message.as_bytes(), "/dev/log").map(drop)
}

/// A record for people. A name or a message of a remote starts no line of its own, and moves no cursor of a terminal that
/// shows the log.
fn text(record: &Record<'_>, values: &OwnedKVList, time: bool) -> io::Result<String> {
    let mut out = Vec::new();
    let format = slog_term::FullFormat::new(slog_term::PlainDecorator::new(&mut out))
        .use_original_order()
        .use_custom_timestamp(move |w| match time {
            true => write!(w, "{}", super::clock::local(super::clock::wall_ms())),
            false => Ok(()),
        })
        .build();
    format.log(record, values)?;
    drop(format);
    let line = out.strip_suffix(b"\n").unwrap_or(&out);
    Ok(as_written(if time { line } else { line.trim_ascii_start() }))
}

/// A record as a JSON object: time, level, message, and what it is about.
fn json(record: &Record<'_>, values: &OwnedKVList) -> io::Result<String> {
    let mut fields = Fields(serde_json::Map::new());
    values.serialize(record, &mut fields).map_err(io::Error::other)?;
    record.kv().serialize(record, &mut fields).map_err(io::Error::other)?;
    let level = match record.level() {
        Level::Critical => "critical",
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Info => "info",
        Level::Debug | Level::Trace => "debug",
    };
    let time = super::clock::local(super::clock::wall_ms());
    let first = [("time", time), ("level", level.into()), ("message", record.msg().to_string())];
    let first = first.into_iter().map(|(key, value)| format!("\"{key}\":{}", Value::from(value)));
    let others = fields.0.into_iter().map(|(key, value)| format!("{}:{value}", Value::from(key)));
    Ok(format!("{{{}}}", first.chain(others).collect::<Vec<_>>().join(",")))
}

/// Collects the values of a record, each name once: the record's own, then those of its logger.
struct Fields(serde_json::Map<String, Value>);

impl Fields {
    fn set(&mut self, key: slog::Key, value: impl Into<Value>) -> slog::Result {
        self.0.insert(key.to_string(), value.into());
        Ok(())
    }
}

impl Serializer for Fields {
    fn emit_arguments(&mut self, key: slog::Key, value: &fmt::Arguments<'_>) -> slog::Result {
        self.set(key, value.to_string())
    }

    fn emit_u64(&mut self, key: slog::Key, value: u64) -> slog::Result {
        self.set(key, value)
    }

    fn emit_u32(&mut self, key: slog::Key, value: u32) -> slog::Result {
        self.set(key, value)
    }

    fn emit_usize(&mut self, key: slog::Key, value: usize) -> slog::Result {
        self.set(key, value)
    }

    fn emit_i64(&mut self, key: slog::Key, value: i64) -> slog::Result {
        self.set(key, value)
    }

    fn emit_i32(&mut self, key: slog::Key, value: i32) -> slog::Result {
        self.set(key, value)
    }

    fn emit_bool(&mut self, key: slog::Key, value: bool) -> slog::Result {
        self.set(key, value)
    }

    fn emit_none(&mut self, key: slog::Key) -> slog::Result {
        self.set(key, Value::Null)
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
    use slog::warn;
    use std::sync::{Arc, Mutex};

    /// Keeps what [`text`] and [`json`] make of each record.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<String>>>);

    impl Drain for Kept {
        type Ok = ();
        type Err = io::Error;

        fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> io::Result<()> {
            let mut kept = self.0.lock().unwrap();
            kept.push(text(record, values, false)?);
            kept.push(json(record, values)?);
            Ok(())
        }
    }

    fn lines(log: impl Fn(&Logger)) -> Vec<String> {
        let kept = Kept::default();
        log(&Logger::root(kept.clone().ignore_res(), o!("localpath" => "/d\n", "path" => "old")));
        kept.0.lock().unwrap().clone()
    }

    #[test]
    fn a_record_is_one_printable_line() {
        let name = "b \u{1b}[1m \u{202e} \u{56fe} \\x";
        let lines = lines(|log| warn!(log, "a\nb"; "path" => name, "count" => 3u64));
        assert!(lines[0].starts_with("WARN a\\x0ab, localpath: /d\\x0a"), "{}", lines[0]);
        assert!(lines[0].contains("path: b \\x1b[1m \\xe2\\x80\\xae \u{56fe} \\x"), "{}", lines[0]);
        assert!(!lines[1].contains(['\n', '\u{1b}']), "{}", lines[1]);
        let object: Value = serde_json::from_str(&lines[1]).unwrap();
        assert_eq!(object["message"], "a\nb");
        assert_eq!((&object["level"], &object["count"]), (&Value::from("warning"), &3.into()));
        assert_eq!((&object["localpath"], &object["path"]), (&Value::from("/d\n"), &name.into()));
        assert_eq!(lines[1].matches("\"path\"").count(), 1, "the record's own value");
        assert!(object["time"].as_str().is_some_and(|time| time.contains('T')));
    }

    #[test]
    fn levels_have_the_numbers_of_syslog() {
        let levels = [Level::Critical, Level::Error, Level::Warning, Level::Info, Level::Debug];
        assert_eq!(levels.map(severity), [2, 3, 4, 6, 7]);
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
