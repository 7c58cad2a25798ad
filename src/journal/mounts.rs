//! Mount points inside the localpath, and what was last mounted there.

use super::{Journal, Record, Result};
use crate::path::RelPath;
use rusqlite::{Connection, Transaction, params};
use std::collections::BTreeMap;

/// This table is newer than `mount`. It is created if it is missing, whatever the version of the other tables.
const TABLE: &str = "
-- what was last mounted at a mount point: a file system and an inode, or - after it was seen unmounted
CREATE TABLE IF NOT EXISTS mounted (path BLOB PRIMARY KEY, identity TEXT NOT NULL) WITHOUT ROWID;
-- mount points of file systems that do not answer: nothing there is touched
CREATE TABLE IF NOT EXISTS silent (path BLOB PRIMARY KEY) WITHOUT ROWID;
";

pub(super) fn prepare(db: &Connection) -> Result<()> {
    Ok(db.execute_batch(TABLE)?)
}

/// Written together with the marks: a mark below a mount point is only safe if the mount point is known.
pub(super) fn write(tx: &Transaction<'_>, record: &Record) -> Result<()> {
    if let Some(unresponsive) = &record.unresponsive {
        tx.execute("DELETE FROM silent", [])?;
        for path in unresponsive {
            tx.prepare_cached("INSERT INTO silent VALUES (?1)")?.execute([path.as_bytes()])?;
        }
    }
    for (path, identity) in &record.mounts {
        let path = path.as_bytes();
        match identity {
            Some(identity) => {
                tx.prepare_cached("INSERT OR IGNORE INTO mount VALUES (?1)")?.execute([path])?;
                tx.prepare_cached("INSERT OR REPLACE INTO mounted VALUES (?1, ?2)")?
                    .execute(params![path, identity])?;
            }
            None => {
                tx.prepare_cached("DELETE FROM mount WHERE path = ?1")?.execute([path])?;
                tx.prepare_cached("DELETE FROM mounted WHERE path = ?1")?.execute([path])?;
            }
        }
    }
    Ok(())
}

impl Journal {
    /// The mount points inside the localpath.
    pub fn mounts(&self) -> Result<Vec<RelPath>> {
        self.paths("SELECT path FROM mount")
    }

    /// The mount points of file systems that do not respond. Access to them may block for ever.
    pub fn silent_mounts(&self) -> Result<Vec<RelPath>> {
        self.paths("SELECT path FROM silent")
    }

    /// All mount points, and what was last mounted there; empty if that is not known.
    pub fn mounted(&self) -> Result<BTreeMap<RelPath, String>> {
        let mut query = self.db.prepare_cached(
            "SELECT path, coalesce(identity, '') FROM mount LEFT JOIN mounted USING (path)",
        )?;
        let rows = query.query_map([], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get(1)?)))?;
        let mut mounted = BTreeMap::new();
        for row in rows {
            let (path, identity) = row?;
            mounted.extend(RelPath::new(path).map(|path| (path, identity)));
        }
        Ok(mounted)
    }

    /// Forgets the mount points. Only those found from now on count.
    pub fn forget_mounts(&mut self) -> Result<()> {
        let tx = self.write()?;
        tx.execute_batch("DELETE FROM mount; DELETE FROM mounted")?;
        tx.commit()?;
        Ok(())
    }
}
