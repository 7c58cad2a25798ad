//! The failure journal: what a remote is owed with an error, for who looks at it and changes it.

use super::remote::path_at;
use super::{Journal, Result};
use crate::path::RelPath;
use rusqlite::params;

/// A path that could not be pushed, as the journal has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedRow {
    /// The path.
    pub path: RelPath,
    /// rsync's words.
    pub error: String,
    /// Failed pushes.
    pub attempts: u32,
    /// Since when it waits, in milliseconds since 1970.
    pub since_ms: i64,
    /// When it is tried again, in milliseconds since 1970.
    pub next_try_ms: i64,
}

impl Journal {
    /// What could not be pushed to `remote`, in the order of the paths, those after `after`, at most `limit`.
    pub fn failures(
        &self,
        remote: &str,
        after: Option<&RelPath>,
        limit: u32,
    ) -> Result<Vec<FailedRow>> {
        let sql = "SELECT path, error, attempts, since, next_try FROM owed
             WHERE remote = ?1 AND error IS NOT NULL AND (?2 IS NULL OR path > ?2) ORDER BY path LIMIT ?3";
        let mut query = self.db.prepare_cached(sql)?;
        let mut rows = query.query(params![remote, after.map(RelPath::as_bytes), limit])?;
        let mut failures = Vec::new();
        while let Some(row) = rows.next()? {
            failures.push(FailedRow {
                path: path_at(row, 0)?,
                error: row.get(1)?,
                attempts: row.get(2)?,
                since_ms: row.get(3)?,
                next_try_ms: row.get(4)?,
            });
        }
        Ok(failures)
    }

    /// Has what failed at or below these paths, everything when there are none, tried again now. Returns how many.
    pub fn retry_failures(&mut self, remote: &str, below: &[RelPath], now_ms: i64) -> Result<u64> {
        self.each_failure("UPDATE owed SET next_try = ?5", remote, below, now_ms)
    }

    /// Forgets what failed at or below these paths, everything when there are none. Returns how many.
    pub fn forget_failures(&mut self, remote: &str, below: &[RelPath]) -> Result<u64> {
        self.each_failure("DELETE FROM owed", remote, below, 0)
    }

    fn each_failure(
        &mut self,
        what: &str,
        remote: &str,
        below: &[RelPath],
        time: i64,
    ) -> Result<u64> {
        let root = [RelPath::root()];
        let below = if below.is_empty() { &root } else { below };
        let sql = format!(
            "{what} WHERE remote = ?1 AND error IS NOT NULL AND ?5 IS NOT NULL
               AND (length(?2) = 0 OR path = ?2 OR (path > ?3 AND path < ?4))"
        );
        let mut count = 0;
        let tx = self.write()?;
        for path in below {
            // As blobs: in SQL a concatenation would be text, and every blob is greater than any text.
            let (first, after) =
                ([path.as_bytes(), b"/"].concat(), [path.as_bytes(), b"0"].concat());
            count += tx.execute(&sql, params![remote, path.as_bytes(), first, after, time])?;
        }
        tx.commit()?;
        Ok(count as u64)
    }
}
