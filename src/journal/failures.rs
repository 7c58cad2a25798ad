//! The failure journal: what a remote is owed with an error, and the failed calls of plugins, for commands that list or
//! change it.

use super::row::path_at;
use super::{Journal, Result};
use crate::path::RelPath;
use rusqlite::params;

/// A party that has failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party<'a> {
    /// A remote, by its name.
    Remote(&'a str),
    /// A plugin, by its name in the journal.
    Plugin(&'a str),
}

impl Party<'_> {
    fn name(&self) -> &str {
        match self {
            Party::Remote(name) | Party::Plugin(name) => name,
        }
    }

    /// Its rows: a table and a condition.
    fn rows(&self) -> &'static str {
        match self {
            Party::Remote(_) => "owed WHERE remote = ?1 AND error IS NOT NULL",
            Party::Plugin(_) => "call WHERE plugin = ?1 AND error IS NOT NULL",
        }
    }
}

/// A failed path of a remote or a plugin, as the journal contains it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedRow {
    /// The path.
    pub path: RelPath,
    /// The error message of rsync or of the plugin.
    pub error: String,
    /// Failed pushes or calls.
    pub attempts: u32,
    /// The start of the wait, in milliseconds since 1970.
    pub since_ms: i64,
    /// The time of the next try, in milliseconds since 1970; `None` for a call that was given up.
    pub next_try_ms: Option<i64>,
}

impl Journal {
    /// The failures in the order of their paths, those after `after`, at most `limit`.
    pub fn failures(
        &self,
        of: Party<'_>,
        after: Option<&RelPath>,
        limit: u32,
    ) -> Result<Vec<FailedRow>> {
        let next = match of {
            Party::Remote(_) => "next_try",
            Party::Plugin(_) => "CASE given_up WHEN 0 THEN next_try END",
        };
        let sql = format!(
            "SELECT path, error, attempts, since, {next} FROM {} AND (?2 IS NULL OR path > ?2)
             ORDER BY path LIMIT ?3",
            of.rows()
        );
        let mut query = self.db.prepare_cached(&sql)?;
        let mut rows = query.query(params![of.name(), after.map(RelPath::as_bytes), limit])?;
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

    /// Makes the failures at or below these paths due now; all failures if `below` is empty. A call that was given up
    /// gets its full number of tries again. Returns the number of failures.
    pub fn retry_failures(&mut self, of: Party<'_>, below: &[RelPath], now_ms: i64) -> Result<u64> {
        let set = match of {
            Party::Remote(_) => "UPDATE owed SET next_try = ?5",
            Party::Plugin(_) => {
                "UPDATE call SET next_try = ?5, given_up = 0, attempts = iif(given_up, 0, attempts),
                 since = iif(given_up, ?5, since)"
            }
        };
        let rows = of.rows();
        let condition = rows.split_once(' ').map_or(rows, |(_, condition)| condition);
        self.each_failure(&format!("{set} {condition}"), of, below, now_ms)
    }

    /// Forgets the failures at or below these paths; all failures if `below` is empty. Returns their number.
    pub fn forget_failures(&mut self, of: Party<'_>, below: &[RelPath]) -> Result<u64> {
        self.each_failure(&format!("DELETE FROM {}", of.rows()), of, below, 0)
    }

    fn each_failure(
        &mut self,
        what: &str,
        of: Party<'_>,
        below: &[RelPath],
        time: i64,
    ) -> Result<u64> {
        let root = [RelPath::root()];
        let below = if below.is_empty() { &root } else { below };
        let sql = format!(
            "{what} AND ?5 IS NOT NULL AND (length(?2) = 0 OR path = ?2 OR (path > ?3 AND path < ?4))"
        );
        let mut count = 0;
        let tx = self.write()?;
        for path in below {
            // Compared as blobs: a concatenation in SQL is text, and every blob is greater than any text.
            let (first, after) =
                ([path.as_bytes(), b"/"].concat(), [path.as_bytes(), b"0"].concat());
            count += tx.execute(&sql, params![of.name(), path.as_bytes(), first, after, time])?;
        }
        tx.commit()?;
        Ok(count as u64)
    }
}
