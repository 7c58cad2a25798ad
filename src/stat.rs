//! The system's data about a file, a process or the inotify queue, as plain values for the pure modules.

use std::ffi::OsString;

/// The kind of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Dir,
    /// A regular file.
    File,
    /// A symbolic link.
    Symlink,
    /// A fifo, socket or device.
    Other,
}

/// The result of lstat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Its kind.
    pub kind: Kind,
    /// Size in bytes.
    pub size: u64,
    /// Time of the last change of the content, nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Time of the last change of content or metadata, nanoseconds since 1970.
    pub ctime_ns: i64,
    /// It has far fewer blocks than its size needs.
    pub sparse: bool,
    /// Number of hard links.
    pub nlink: u64,
    /// Its device; comparable only within one boot.
    pub dev: u64,
    /// Its inode.
    pub ino: u64,
}

/// One event of the inotify queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The watch descriptor; -1 for an overflow.
    pub wd: i32,
    /// What happened.
    pub what: What,
    /// The event is about a directory.
    pub is_dir: bool,
    /// Pairs the two halves of a move; otherwise 0.
    pub cookie: u32,
    /// The name in the watched directory; empty if the event is about the directory itself.
    pub name: OsString,
}

/// The type of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// IN_CREATE
    Create,
    /// IN_MODIFY
    Modify,
    /// IN_CLOSE_WRITE
    CloseWrite,
    /// IN_ATTRIB
    Attrib,
    /// IN_DELETE
    Delete,
    /// IN_MOVED_FROM
    MovedFrom,
    /// IN_MOVED_TO
    MovedTo,
    /// IN_DELETE_SELF
    DeleteSelf,
    /// IN_MOVE_SELF
    MoveSelf,
    /// IN_UNMOUNT
    Unmount,
    /// IN_IGNORED: the watch was removed.
    Ignored,
    /// IN_Q_OVERFLOW: events were lost.
    Overflow,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exited {
    /// It exited with this status.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
}

impl std::fmt::Display for Exited {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Exited::Code(code) => write!(f, "exit {code}"),
            Exited::Signal(1) => f.write_str("SIGHUP"),
            Exited::Signal(2) => f.write_str("SIGINT"),
            Exited::Signal(6) => f.write_str("SIGABRT"),
            Exited::Signal(7) => f.write_str("SIGBUS"),
            Exited::Signal(9) => f.write_str("SIGKILL"),
            Exited::Signal(11) => f.write_str("SIGSEGV"),
            Exited::Signal(13) => f.write_str("SIGPIPE"),
            Exited::Signal(15) => f.write_str("SIGTERM"),
            Exited::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// The progress of a process. Only whether it changes matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Bytes of files and network together.
    Bytes {
        /// Read.
        read: u64,
        /// Written.
        written: u64,
    },
    /// The byte counts are not available (`hidepid`, a sandbox without the right to trace): CPU time, and the bytes
    /// that it has printed and read of its list. A slow transfer may need a long time for one tick.
    Work(u64),
    /// CPU time is not available either: only the bytes that it has printed and read of its list.
    Output(u64),
}

impl Progress {
    /// From `/proc/PID/io`, else from `/proc/PID/stat`, and the bytes that it has printed or read of its list.
    pub fn of(io: Option<&str>, stat: impl FnOnce() -> Option<String>, output: u64) -> Self {
        if let Some((read, written)) = io.and_then(bytes) {
            return Progress::Bytes { read, written };
        }
        let ticks = stat().as_deref().and_then(ticks);
        ticks.map_or(Progress::Output(output), |ticks| Progress::Work(ticks + output))
    }

    /// The factor by which the timeout is multiplied before a process without progress counts as hung.
    pub fn grace(self) -> u32 {
        match self {
            Progress::Bytes { .. } => 1,
            Progress::Work(_) => 10,
            Progress::Output(_) => 100,
        }
    }
}

/// `rchar` and `wchar` of `/proc/PID/io`.
fn bytes(io: &str) -> Option<(u64, u64)> {
    let number = |label: &str| {
        let line = io.lines().find_map(|line| line.strip_prefix(label))?;
        line.trim().parse().ok()
    };
    Some((number("rchar:")?, number("wchar:")?))
}

/// The CPU time of a process in clock ticks, and whether it sleeps, from its `/proc/PID/stat`.
pub fn cpu_ticks(stat: &str) -> Option<(u64, bool)> {
    let state = stat[stat.rfind(')')? + 1..].trim_start().chars().next()?;
    Some((ticks(stat)?, state == 'S'))
}

/// `utime` and `stime` of `/proc/PID/stat` together: the 14th and 15th field. The 2nd is a name in brackets, which may
/// contain any character.
fn ticks(stat: &str) -> Option<u64> {
    let fields = &stat[stat.rfind(')')? + 1..];
    let mut times = fields.split_ascii_whitespace().skip(11).map(str::parse::<u64>);
    Some(times.next()?.ok()? + times.next()?.ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "7 (a) b 1 2) S 1 7 7 0 -1 0 9 9 9 9 30 12 9 9 20 0 1 0 99 0 0";

    #[test]
    fn cpu_time_and_state_follow_the_name() {
        assert_eq!(cpu_ticks(STAT), Some((42, true)));
        assert_eq!(cpu_ticks(&STAT.replace(") S", ") D")), Some((42, false)));
        assert_eq!(cpu_ticks("7 (a"), None);
    }

    #[test]
    fn another_counter_replaces_hidden_byte_counts() {
        let stat = || Some(STAT.to_owned());
        let io = "rchar: 100\nwchar: 11\nsyscr: 7\n";
        assert_eq!(Progress::of(Some(io), stat, 5), Progress::Bytes { read: 100, written: 11 });
        for io in [None, Some("")] {
            assert_eq!(Progress::of(io, stat, 5), Progress::Work(47));
            assert_eq!(Progress::of(io, || None, 5), Progress::Output(5));
        }
        let grace =
            [Progress::Bytes { read: 0, written: 0 }, Progress::Work(0), Progress::Output(0)]
                .map(|p| p.grace());
        assert_eq!(grace, [1, 10, 100], "what is known less closely is waited for longer");
    }
}
