//! `syncsup wait`: decides whether everything that was marked before a certain time is settled.
//!
//! A mark gets a higher number when its path is marked again. So a cursor above a number does not show that everything
//! marked below that number is settled. What counts is a moment at which no mark was above the cursor except those read
//! in one batch ([`Journal::nothing_after`]). From then on, an earlier mark that is not settled is in `owed`, and rows
//! derived from such a row keep its `since`.

use super::{Events, Journal, Result, Scope};
use crate::path::RelPath;
use rusqlite::params;

impl Journal {
    /// The number of the last mark, if every mark up to it is at or below `cursor`.
    pub fn nothing_after(&self, cursor: i64) -> Result<Option<i64>> {
        // The order matters: a mark made between the two reads has a higher number.
        let seq = self.last_seq()?;
        let more =
            self.db.prepare_cached("SELECT 1 FROM change WHERE seq > ?1")?.exists([cursor])?;
        Ok((!more).then_some(seq))
    }

    /// A time in milliseconds since 1970. Every row that `remote` is owed now is at least as old, whatever the clock
    /// did.
    pub fn owed_since(&self, remote: &str, now_ms: i64) -> Result<i64> {
        let sql = "SELECT max(since) FROM owed WHERE remote = ?1";
        let last: Option<i64> =
            self.db.prepare_cached(sql)?.query_row([remote], |row| row.get(0))?;
        Ok(last.map_or(now_ms, |last| last.max(now_ms)))
    }

    /// True if `remote` is owed a row since `since_ms` or earlier that may touch these paths; any row if `below` is
    /// empty. Rows that are settled and only pushed once more do not count.
    pub fn owes(&self, remote: &str, since_ms: i64, below: &[RelPath]) -> Result<bool> {
        let mut query = self.db.prepare_cached(&format!(
            "SELECT path, scope FROM owed WHERE remote = ?1 AND since <= ?2 AND {}",
            Events::ECHO.none_in_sql()
        ))?;
        let mut rows = query.query(params![remote, since_ms])?;
        while let Some(row) = rows.next()? {
            let path = super::row::path_at(row, 0)?;
            let wide = Scope::from_db(row.get(1)?) > Scope::Entry;
            // A name above these paths may be an obstacle on the remote, or may have to be created first.
            let touches = |b: &RelPath| path.is_within(b) || b.is_within(&path);
            let root_itself = path.is_root() && !wide;
            if below.is_empty()
                || (below.iter().any(touches) && !root_itself)
                || below.iter().any(RelPath::is_root)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// True if a mark that `remote` has not settled, or a row that it is owed, shows that this path or a name above it
    /// was deleted.
    pub fn is_marked_deleted(&self, remote: &str, path: &RelPath) -> Result<bool> {
        let mut deleted = self.db.prepare_cached(
            "SELECT 1 FROM change WHERE path = ?2 AND event & ?3 != 0
               AND seq > (SELECT cursor FROM remote WHERE name = ?1)
             UNION ALL SELECT 1 FROM owed WHERE remote = ?1 AND path = ?2 AND event & ?3 != 0",
        )?;
        for above in path.prefixes() {
            if deleted.exists(params![remote, above.as_bytes(), Events::DELETE])? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// True if this path itself is owed to `remote` with an error.
    pub fn is_failing(&self, remote: &str, path: &RelPath) -> Result<bool> {
        let failing = "SELECT 1 FROM owed WHERE remote = ?1 AND path = ?2 AND error IS NOT NULL";
        Ok(self.db.prepare_cached(failing)?.exists(params![remote, path.as_bytes()])?)
    }

    /// True if this path or a name above it is marked and not settled on `remote`, or is owed to it, or is a file that
    /// is written and not yet closed. With `below`, also if that applies to a path in it.
    pub fn is_pending(&self, remote: &str, path: &RelPath, below: bool) -> Result<bool> {
        let marked = "FROM change WHERE seq > (SELECT cursor FROM remote WHERE name = ?1)";
        let owed = &format!("FROM owed WHERE remote = ?1 AND {}", Events::ECHO.none_in_sql());
        // `0` is the byte after `/`.
        let first = if path.is_root() { vec![] } else { [path.as_bytes(), b"/"].concat() };
        let after = if path.is_root() { vec![0xff] } else { [path.as_bytes(), b"0"].concat() };
        // The root alone covers nothing below it; with the names directly in it, only these.
        let wide_root = match path.parent() {
            None => "",
            Some(parent) if parent.is_root() => "AND (length(path) > 0 OR scope > 0)",
            Some(_) => "AND (length(path) > 0 OR scope > 1)",
        };
        for table in [marked, owed.as_str()] {
            let within = format!("SELECT 1 {table} AND path >= ?2 AND path < ?3");
            if below && self.db.prepare_cached(&within)?.exists(params![remote, first, after])? {
                return Ok(true);
            }
            let named = format!("SELECT 1 {table} AND path = ?2 {wide_root}");
            let mut named = self.db.prepare_cached(&named)?;
            for above in path.prefixes().chain([RelPath::root()]) {
                if named.exists(params![remote, above.as_bytes()])? {
                    return Ok(true);
                }
            }
        }
        let mut open = self.db.prepare_cached("SELECT 1 FROM open WHERE path = ?1")?;
        if open.exists([path.as_bytes()])? {
            return Ok(true);
        }
        let within = "SELECT 1 FROM open WHERE path >= ?1 AND path < ?2";
        Ok(below && self.db.prepare_cached(within)?.exists(params![first, after])?)
    }
}
