//! Remotes whose file systems store times with a lower resolution than the local one.

use super::{Journal, Result};
use rusqlite::{Connection, OptionalExtension, params};

/// This table is newer than the others. It is created if it is missing, whatever the version of the other tables.
const TABLE: &str = "
-- remotes with coarse times: rsync's --modify-window for comparisons with them
CREATE TABLE IF NOT EXISTS times (remote TEXT PRIMARY KEY, window INTEGER NOT NULL) WITHOUT ROWID;
";

pub(super) fn prepare(db: &Connection) -> Result<()> {
    Ok(db.execute_batch(TABLE)?)
}

impl Journal {
    /// The interval within which `remote` cannot distinguish times, in seconds as rsync counts (0: the same second);
    /// `None` if no such limit was observed.
    pub fn times_window(&self, remote: &str) -> Result<Option<i32>> {
        let mut query = self.db.prepare_cached("SELECT window FROM times WHERE remote = ?1")?;
        Ok(query.query_row([remote], |row| row.get(0)).optional()?)
    }

    /// Stores that interval.
    pub fn set_times_window(&mut self, remote: &str, window: i32) -> Result<()> {
        let tx = self.write()?;
        tx.execute(
            "INSERT OR REPLACE INTO times (remote, window) VALUES (?1, ?2)",
            params![remote, window],
        )?;
        tx.commit()?;
        Ok(())
    }
}
