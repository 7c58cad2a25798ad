//! Files to which a push has given second names on a remote, as hard links.

use super::{Journal, Result};
use crate::path::RelPath;
use rusqlite::{Connection, params};

/// This table is newer than the others. It is created if it is missing.
const TABLE: &str = "
-- files that a remote may have under two names, until one of them is gone or replaced: both names, each with a NUL
CREATE TABLE IF NOT EXISTS linked (id INTEGER PRIMARY KEY, remote TEXT NOT NULL, names BLOB NOT NULL);
";

pub(super) fn prepare(db: &Connection) -> Result<()> {
    Ok(db.execute_batch(TABLE)?)
}

impl Journal {
    /// Records that `remote` is about to get second names for files: the first and the second name of each. Returns the
    /// number of the record, which a settlement removes.
    pub fn link(&mut self, remote: &str, files: &[[RelPath; 2]]) -> Result<i64> {
        let mut names = Vec::new();
        for name in files.iter().flatten() {
            names.extend_from_slice(name.as_bytes());
            names.push(0);
        }
        let tx = self.write()?;
        tx.prepare_cached("INSERT INTO linked (remote, names) VALUES (?1, ?2)")?
            .execute(params![remote, names])?;
        let id = tx.last_insert_rowid();
        tx.commit()?;
        Ok(id)
    }

    /// These records of `remote`, oldest first.
    pub fn linked(&self, remote: &str) -> Result<Vec<(i64, Vec<[RelPath; 2]>)>> {
        let mut query =
            self.db.prepare_cached("SELECT id, names FROM linked WHERE remote = ?1 ORDER BY id")?;
        let rows = query.query_map([remote], |row| Ok((row.get(0)?, row.get::<_, Vec<u8>>(1)?)))?;
        rows.map(|row| row.map(|(id, names)| (id, pairs(&names))).map_err(Into::into)).collect()
    }
}

fn pairs(names: &[u8]) -> Vec<[RelPath; 2]> {
    let names: Vec<_> = names.split(|&b| b == 0).map(|name| RelPath::new(name.to_vec())).collect();
    let pair = |pair: &[Option<RelPath>]| match pair {
        [Some(first), Some(second)] => Some([first.clone(), second.clone()]),
        _ => None,
    };
    names.chunks(2).filter_map(pair).collect()
}
