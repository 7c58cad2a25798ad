//! The journal: one SQLite database for each localpath, shared by its watcher, its pushers and its plugin runner.
//!
//! `change` contains the paths that may differ, `remote` how far each remote has settled them, and `owed` what one
//! remote still lacks besides. Marks may be repeated or stale. A batch may be repeated after any crash.

mod checkpoint;
mod failures;
mod linked;
mod mark;
mod marks;
mod mounts;
mod open;
mod owed;
mod plugin;
mod recent;
mod remote;
mod row;
mod schema;
mod settled;
mod times;
mod verify;

pub use checkpoint::{Canary, Checkpoint, RootCheck};
pub use failures::{FailedRow, Party};
pub use mark::{Events, Mark, Marked, NOT_LIVE, Owe, Owed, Scope};
pub use marks::Record;
pub use plugin::{CallEnd, Called, Due, PluginBacklog};
pub use recent::Recent;
pub use remote::{Backlog, Held, Instead, MarksWaiting, RemoteRow, Settlement, Totals, Work};
pub use verify::{Compared, VerifyRun, VerifyState};

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};
use std::fmt;
use std::path::{Path, PathBuf};

/// The name of the database file in a localpath's state directory.
pub const FILE_NAME: &str = "journal.db";
/// The watcher checkpoints and truncates a write-ahead log of more than this many bytes.
pub const WAL_LIMIT_BYTES: u64 = 16 << 20;

/// The longest delay of an owed row in milliseconds, unless [`Journal::set_longest_delay`] sets another.
pub const LONGEST_DELAY_MS: i64 = 300_000;

/// An error of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalError {
    /// The file is not a readable database. Only quarantine helps.
    Damaged(String),
    /// The system refused an operation (full, busy, I/O, permissions). The data is unchanged.
    Refused(String),
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JournalError::Damaged(why) => write!(f, "damaged: {why}"),
            JournalError::Refused(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for JournalError {}

impl From<rusqlite::Error> for JournalError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                JournalError::Damaged(error.to_string())
            }
            // A column contains a value that this program did not write.
            None => JournalError::Damaged(error.to_string()),
            // SQLite's own message is 'disk I/O error'.
            Some(ErrorCode::SystemIoFailure) if no_room_for_shared_memory(&error) => {
                JournalError::Refused(format!("{FILE_NAME}-shm cannot grow: the disk is full"))
            }
            Some(_) => JournalError::Refused(error.to_string()),
        }
    }
}

fn no_room_for_shared_memory(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map(|e| e.extended_code);
    code == Some(rusqlite::ffi::SQLITE_IOERR_SHMSIZE)
}

/// The result of a journal operation.
pub type Result<T> = std::result::Result<T, JournalError>;

/// An open journal.
pub struct Journal {
    db: Connection,
    path: PathBuf,
    longest_delay_ms: i64,
}

impl Journal {
    /// Opens the journal in the state directory `dir` of a localpath, and creates it if none exists.
    pub fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE_NAME);
        let db = Connection::open(&path)?;
        schema::keep_statements(&db)?;
        schema::prepare(&db)?;
        Ok(Self { db, path, longest_delay_ms: LONGEST_DELAY_MS })
    }

    /// Opens an existing journal read-only, for commands that read it while no instance runs.
    pub fn open_read_only(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE_NAME);
        let flags =
            rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY | rusqlite::OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(&path, flags)?;
        db.busy_timeout(schema::BUSY_TIMEOUT)?;
        Ok(Self { db, path, longest_delay_ms: LONGEST_DELAY_MS })
    }

    /// Sets the longest delay of owed rows to `ms` milliseconds. A row that is due later than that was delayed before
    /// the clock was set back, and is due now.
    pub fn set_longest_delay(&mut self, ms: i64) {
        self.longest_delay_ms = ms.max(LONGEST_DELAY_MS);
    }

    /// Checkpoints and truncates the write-ahead log if it is larger than [`WAL_LIMIT_BYTES`]. If another program reads
    /// for a long time, such as an operator's tool, the log stays unchanged until the next call.
    pub fn truncate_wal(&self) -> Result<()> {
        let mut wal = self.path.clone().into_os_string();
        wal.push("-wal");
        if std::fs::metadata(&wal).is_ok_and(|m| m.len() > WAL_LIMIT_BYTES) {
            // The checkpoint blocks every writer while it waits for readers.
            self.db.busy_timeout(schema::SHORT_TIMEOUT)?;
            let done = self.db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
            self.db.busy_timeout(schema::BUSY_TIMEOUT)?;
            done?;
        }
        Ok(())
    }

    /// Runs `what`, which writes. Returns when its writes and all earlier ones are on disk.
    pub(in crate::journal) fn on_disk<T>(
        &mut self,
        what: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        self.db.pragma_update(None, "synchronous", schema::ON_DISK)?;
        let done = what(self);
        self.db.pragma_update(None, "synchronous", schema::SYNCHRONOUS)?;
        done
    }

    fn write(&mut self) -> Result<Transaction<'_>> {
        Ok(self.db.transaction_with_behavior(TransactionBehavior::Immediate)?)
    }
}

#[cfg(test)]
mod tests;
