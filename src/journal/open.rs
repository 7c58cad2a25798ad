//! Files that were written and not yet closed, and the time since when.

use super::{Journal, Record, Result};
use crate::path::RelPath;
use rusqlite::{Connection, Transaction, params};
use std::collections::HashMap;

/// This table is newer than `open`. It is created if it is missing, whatever the version of the other tables.
const TABLE: &str = "
-- since when a path is in `open`, in milliseconds since 1970
CREATE TABLE IF NOT EXISTS open_since (path BLOB PRIMARY KEY, since INTEGER NOT NULL) WITHOUT ROWID;
";

pub(super) fn prepare(db: &Connection) -> Result<()> {
    Ok(db.execute_batch(TABLE)?)
}

/// A file that is already open keeps its time.
pub(super) fn write(tx: &Transaction<'_>, record: &Record, now_ms: i64) -> Result<()> {
    let mut open = tx.prepare_cached("INSERT OR IGNORE INTO open VALUES (?1)")?;
    let mut since = tx.prepare_cached("INSERT OR IGNORE INTO open_since VALUES (?1, ?2)")?;
    for path in &record.opened {
        open.execute([path.as_bytes()])?;
        since.execute(params![path.as_bytes(), now_ms])?;
    }
    for table in ["open", "open_since"] {
        let mut close = tx.prepare_cached(&format!("DELETE FROM {table} WHERE path = ?1"))?;
        for path in &record.closed {
            close.execute([path.as_bytes()])?;
        }
    }
    Ok(())
}

impl Journal {
    /// The files that had been written and not closed when they were last seen.
    pub fn open_paths(&self) -> Result<Vec<RelPath>> {
        self.paths("SELECT path FROM open")
    }

    /// The times since when the files are open, where known, in milliseconds since 1970.
    pub fn open_since(&self) -> Result<HashMap<RelPath, i64>> {
        let mut query = self.db.prepare_cached("SELECT path, since FROM open_since")?;
        let rows = query.query_map([], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get(1)?)))?;
        let mut since = HashMap::new();
        for row in rows {
            let (path, ms) = row?;
            since.extend(RelPath::new(path).map(|path| (path, ms)));
        }
        Ok(since)
    }
}
