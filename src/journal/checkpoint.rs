//! The checkpoint: the time up to which every event is in `change`, and what makes that time trustworthy.

use super::{Journal, JournalError, Result};
use crate::path::RelPath;
use rusqlite::OptionalExtension;
use serde::{Deserialize, Serialize};

/// Written by the watcher with the marks it vouches for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Wall clock in nanoseconds since 1970: every change before it is marked.
    pub at_ns: i64,
    /// The boot in which it was written.
    pub boot_id: String,
    /// Wall clock minus time since boot, in nanoseconds: a clock that was set shows here.
    pub clock_offset_ns: i64,
    /// Device of the root; only comparable within one boot.
    pub root_dev: u64,
    /// Inode of the root.
    pub root_ino: u64,
    /// Identity of the file system across boots, empty when it has none.
    pub fs_id: String,
    /// The watcher stopped in order after it, and everything that was pushed was on disk by then.
    pub clean: bool,
    /// The number of the watcher's run; the state directory keeps it too, so that one of the two that was put back
    /// does not fit.
    #[serde(default)]
    pub run: Option<u64>,
    /// The youngest entries that were marked: a file system that was put back to an older state has older ones.
    #[serde(default)]
    pub canaries: Vec<Canary>,
}

/// An entry as it was when the checkpoint was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    /// Where it is.
    pub path: RelPath,
    /// The time of its last change, in nanoseconds since 1970.
    pub ctime_ns: i64,
}

impl Journal {
    /// The last checkpoint. `None` before a watcher first took the root as it was (it notes one before its first scan),
    /// after [`Journal::forget_checkpoint`], and where the root is on a network file system.
    pub fn checkpoint(&self) -> Result<Option<Checkpoint>> {
        let text: Option<String> = self
            .db
            .prepare_cached("SELECT state FROM checkpoint")?
            .query_row([], |row| row.get(0))
            .optional()?;
        text.map(|t| {
            serde_json::from_str(&t).map_err(|e| JournalError::Damaged(format!("checkpoint: {e}")))
        })
        .transpose()
    }

    /// Forgets the checkpoint, so that the next start looks at everything anew.
    pub fn forget_checkpoint(&mut self) -> Result<()> {
        let tx = self.write()?;
        tx.execute("DELETE FROM checkpoint", [])?;
        tx.commit()?;
        Ok(())
    }
}
