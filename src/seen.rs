//! What the system says of a file, of a process or of the inotify queue, as plain values for the pure parts.

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

/// What lstat says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its kind.
    pub kind: Kind,
    /// Bytes.
    pub size: u64,
    /// Time of the last change of content, nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Time of the last change of anything, nanoseconds since 1970.
    pub ctime_ns: i64,
    /// Names it has.
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
    /// The thing that it happened to is a directory.
    pub is_dir: bool,
    /// Pairs the two halves of a move; 0 else.
    pub cookie: u32,
    /// The name in the watched directory; empty when it is about the directory itself.
    pub name: OsString,
}

/// What an event reports.
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
    /// IN_IGNORED: the watch is gone.
    Ignored,
    /// IN_Q_OVERFLOW: events were lost.
    Overflow,
}

/// How the identity of a file system begins that says nothing in another boot.
pub const DEVICE_ID: &str = "device:";

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exited {
    /// By itself, with this status.
    Code(i32),
    /// By this signal.
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
