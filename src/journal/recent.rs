//! The paths that each remote settled recently. A remote may lose them in an outage.

use super::row::path_at;
use super::{Journal, Result};
use crate::path::RelPath;
use rusqlite::{Connection, Transaction, params};

/// This table is newer than the others. It is created if it is missing.
const TABLE: &str = "
-- what a remote settled in the last minute before its last settlement, and when
CREATE TABLE IF NOT EXISTS recent (
  remote TEXT NOT NULL, path BLOB NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (remote, path)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS recent_at ON recent (remote, at);
";

/// Paths that are older than this at the next settlement are on the remote's disk by then, in milliseconds.
const KEPT_MS: i64 = 60_000;
/// The most paths that are kept for a remote.
const MOST: i64 = 10_000;
/// A batch of more paths than this is stored as [`MANY`].
const MOST_AT_ONCE: usize = 1_000;
/// Represents more paths than are kept. No path begins with a slash.
const MANY: &[u8] = b"/";

/// The paths that a remote settled recently.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recent {
    /// Each path once.
    pub paths: Vec<RelPath>,
    /// There were more paths than are kept.
    pub more: bool,
}

pub(super) fn prepare(db: &Connection) -> Result<()> {
    Ok(db.execute_batch(TABLE)?)
}

/// Written in the transaction that settles these paths.
pub(super) fn note(
    tx: &Transaction<'_>,
    remote: &str,
    settled: &[RelPath],
    now_ms: i64,
) -> Result<()> {
    if settled.is_empty() {
        return Ok(());
    }
    let mut insert = tx.prepare_cached("INSERT OR REPLACE INTO recent VALUES (?1, ?2, ?3)")?;
    if settled.len() > MOST_AT_ONCE {
        insert.execute(params![remote, MANY, now_ms])?;
    } else {
        for path in settled {
            insert.execute(params![remote, path.as_bytes(), now_ms])?;
        }
    }
    // A time in the future: the clock was set back.
    tx.prepare_cached("DELETE FROM recent WHERE remote = ?1 AND at NOT BETWEEN ?2 AND ?3")?
        .execute(params![remote, now_ms - KEPT_MS, now_ms])?;
    let surplus = tx
        .prepare_cached(
            "DELETE FROM recent WHERE remote = ?1 AND at <=
               (SELECT at FROM recent WHERE remote = ?1 ORDER BY at DESC LIMIT 1 OFFSET ?2)",
        )?
        .execute(params![remote, MOST])?;
    if surplus > 0 {
        insert.execute(params![remote, MANY, now_ms])?;
    }
    Ok(())
}

impl Journal {
    /// The paths that `remote` settled in the minute before its last settlement.
    pub fn recent(&self, remote: &str) -> Result<Recent> {
        let mut query =
            self.db.prepare_cached("SELECT path FROM recent WHERE remote = ?1 ORDER BY path")?;
        let mut rows = query.query([remote])?;
        let mut recent = Recent::default();
        while let Some(row) = rows.next()? {
            if row.get_ref(0)?.as_blob().is_ok_and(|path| path == MANY) {
                recent.more = true;
            } else {
                recent.paths.push(path_at(row, 0)?);
            }
        }
        Ok(recent)
    }

    /// Forgets these paths: they are owed from now on.
    pub fn forget_recent(&mut self, remote: &str) -> Result<()> {
        let tx = self.write()?;
        tx.execute("DELETE FROM recent WHERE remote = ?1", [remote])?;
        tx.commit()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Settlement;

    fn path(text: &str) -> RelPath {
        RelPath::new(text).unwrap()
    }

    fn settle(journal: &mut Journal, remote: &str, settled: Vec<RelPath>, now_ms: i64) {
        let end = Settlement { settled, ..Settlement::default() };
        journal.settle(remote, &end, now_ms).unwrap();
    }

    #[test]
    fn the_last_minute_before_the_last_settlement_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path()).unwrap();
        for remote in ["r", "s"] {
            journal.remote(remote, None).unwrap();
        }
        settle(&mut journal, "r", vec![path("a"), path("")], 1_000);
        settle(&mut journal, "r", vec![path("b")], 30_000);
        settle(&mut journal, "s", vec![path("of another")], 30_000);
        let recent = journal.recent("r").unwrap();
        assert_eq!((recent.paths, recent.more), (vec![path(""), path("a"), path("b")], false));
        settle(&mut journal, "r", vec![path("c")], 61_001);
        assert_eq!(journal.recent("r").unwrap().paths, [path("b"), path("c")]);
        settle(&mut journal, "r", vec![], 10_000_000);
        assert_eq!(journal.recent("r").unwrap().paths, [path("b"), path("c")], "quiet since");
        // The clock was set back.
        settle(&mut journal, "r", vec![path("d")], 50);
        assert_eq!(journal.recent("r").unwrap().paths, [path("d")]);
        journal.forget_recent("r").unwrap();
        assert_eq!(journal.recent("r").unwrap(), Recent::default());
        assert_eq!(journal.recent("s").unwrap().paths.len(), 1);
        journal.forget_remote("s").unwrap();
        assert_eq!(journal.recent("s").unwrap(), Recent::default());
    }

    #[test]
    fn recent_paths_are_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path()).unwrap();
        journal.remote("r", None).unwrap();
        for n in 0..30 {
            let settled = (0..1_000).map(|i| path(&format!("{n}/{i}"))).collect();
            settle(&mut journal, "r", settled, 1_000 + n);
        }
        let recent = journal.recent("r").unwrap();
        assert!(recent.more && recent.paths.len() <= MOST as usize, "{}", recent.paths.len());
        assert!(recent.paths.contains(&path("29/7")) && !recent.paths.contains(&path("0/7")));
        settle(&mut journal, "r", (0..5_000).map(|i| path(&i.to_string())).collect(), 200_000);
        assert_eq!(journal.recent("r").unwrap(), Recent { paths: vec![], more: true });
    }
}
