//! What a remote is owed in addition to the marks after its cursor: single names, names with everything below them,
//! large files.

use super::mark::{Events, Marked, NOT_LIVE, Owed, Scope};
use super::row::path_at;
use super::{Journal, Result};
use rusqlite::params;

impl Journal {
    /// The single names that `remote` is owed and that are due at `now_ms`, at most `limit` rows, without large files.
    pub fn due(&self, remote: &str, now_ms: i64, limit: u32) -> Result<Vec<Owed>> {
        self.due_rows("lane = 0 ORDER BY next_try, path", remote, now_ms, limit)
    }

    /// The directories to compare that `remote` is owed and that are due at `now_ms`, at most `limit` rows. With
    /// `live`, only those that no scan has marked.
    pub fn due_dirs(&self, remote: &str, live: bool, now_ms: i64, limit: u32) -> Result<Vec<Owed>> {
        let live = if live { NOT_LIVE.none_in_sql() } else { "TRUE".to_owned() };
        let which = format!("lane = 1 AND {live} ORDER BY next_try, path");
        self.due_rows(&which, remote, now_ms, limit)
    }

    /// The large files that `remote` is owed and that are due at `now_ms`, at most `limit` rows.
    pub fn due_large(&self, remote: &str, now_ms: i64, limit: u32) -> Result<Vec<Owed>> {
        self.due_rows("lane = 2 ORDER BY since, path", remote, now_ms, limit)
    }

    /// The names that a reconcile found and that are due at `now_ms`, at most `limit` rows.
    pub fn due_bulk(&self, remote: &str, now_ms: i64, limit: u32) -> Result<Vec<Owed>> {
        self.due_rows("lane = 3 ORDER BY next_try, path", remote, now_ms, limit)
    }

    /// What was pushed beside a push of everything is due, unless `remote` is owed such a push.
    pub fn release_beside(&mut self, remote: &str) -> Result<()> {
        let tx = self.write()?;
        tx.execute(
            "UPDATE owed SET event = event & ~?2 WHERE remote = ?1 AND event & ?2 != 0 AND NOT EXISTS
               (SELECT 1 FROM owed WHERE remote = ?1 AND path = x'' AND lane = 3)",
            params![remote, Events::BESIDE],
        )?;
        tx.commit()?;
        Ok(())
    }

    /// True if `remote` is owed everything in one push.
    pub fn owes_everything(&self, remote: &str) -> Result<bool> {
        let sql = "SELECT 1 FROM owed WHERE remote = ?1 AND path = x'' AND lane = 3";
        Ok(self.db.prepare_cached(sql)?.exists([remote])?)
    }

    fn due_rows(&self, which: &str, remote: &str, now_ms: i64, limit: u32) -> Result<Vec<Owed>> {
        let sql = format!("WHERE remote = ?1 AND next_try BETWEEN ?2 AND ?3 AND {which} LIMIT ?4");
        let mut rows = Vec::new();
        for (first, last) in self.due_times(now_ms) {
            let left = limit - rows.len() as u32;
            rows.extend(self.owed_rows(&sql, params![remote, first, last, left])?);
        }
        Ok(rows)
    }

    /// The intervals (from, to) of times that are due at `now_ms`. The second interval contains rows only after the
    /// clock was set back, because no row is delayed that far.
    pub(super) fn due_times(&self, now_ms: i64) -> [(i64, i64); 2] {
        let (_, last) = self.later_times(now_ms);
        [(i64::MIN, now_ms), (last.saturating_add(1), i64::MAX)]
    }

    /// The interval (from, to) of times that are not yet due at `now_ms`.
    pub(super) fn later_times(&self, now_ms: i64) -> (i64, i64) {
        (now_ms + 1, now_ms.saturating_add(self.longest_delay_ms))
    }

    /// The rows of these marks that failed and are not yet due at `now_ms`.
    pub fn failing_later(&self, remote: &str, now_ms: i64, marks: &[Marked]) -> Result<Vec<Owed>> {
        let (first, last) = self.later_times(now_ms);
        let any = "SELECT 1 FROM owed WHERE remote = ?1 AND error IS NOT NULL AND next_try BETWEEN ?2 AND ?3";
        if !self.db.prepare_cached(any)?.exists(params![remote, first, last])? {
            return Ok(Vec::new());
        }
        let which = "error IS NOT NULL AND next_try BETWEEN ?3 AND ?4";
        self.rows_of(marks, which, remote, (first, last))
    }

    /// The rows of these marks that a reconcile found and that are due at `now_ms`.
    pub fn bulk_of(&self, remote: &str, now_ms: i64, marks: &[Marked]) -> Result<Vec<Owed>> {
        let (first, last) = self.later_times(now_ms);
        // A directory that waits to be pushed whole is pushed as an entry meanwhile.
        let single = Events::WHOLE.none_in_sql();
        let which = format!("lane = 3 AND {single} AND next_try NOT BETWEEN ?3 AND ?4");
        self.rows_of(marks, &which, remote, (first, last))
    }

    fn rows_of(
        &self,
        marks: &[Marked],
        which: &str,
        remote: &str,
        (first, last): (i64, i64),
    ) -> Result<Vec<Owed>> {
        let sql = format!("WHERE remote = ?1 AND path = ?2 AND {which}");
        let mut rows = Vec::new();
        for mark in marks {
            let values = params![remote, mark.path.as_bytes(), first, last];
            rows.extend(self.owed_rows(&sql, values)?);
        }
        Ok(rows)
    }

    /// The number of rows that `remote` is owed by reconciles.
    pub fn owed_by_reconcile(&self, remote: &str) -> Result<u64> {
        Ok(self.owed_in_bulk(remote, true)? + self.owed_in_bulk(remote, false)?)
    }

    /// The number of those rows that are in the lanes of full comparisons, or without `bulk`, that are not. Each kind
    /// has its own portions and never waits for the other. Directories that are still to be compared are not counted: a
    /// comparison would wait for its own.
    pub fn owed_in_bulk(&self, remote: &str, bulk: bool) -> Result<u64> {
        let found = Events::RECONCILE.any_in_sql();
        let first_time = (Events::ECHO | Events::LARGE).none_in_sql();
        let in_bulk = Events::BULK.any_in_sql();
        let mut query = self.db.prepare_cached(&format!(
            "SELECT count(*) FROM owed WHERE remote = ?1 AND {found} AND {first_time}
               AND error IS NULL AND ({in_bulk}) = ?2 AND lane != 1"
        ))?;
        let count: i64 = query.query_row(params![remote, bulk], |row| row.get(0))?;
        Ok(count as u64)
    }

    /// The pusher of `remote` died while pushes were in flight: rows that are owed and due get [`Events::AGAIN`].
    pub fn push_again_later(&mut self, remote: &str, now_ms: i64) -> Result<()> {
        let (first, last) = self.later_times(now_ms);
        let tx = self.write()?;
        tx.execute(
            "UPDATE owed SET event = event | 256
              WHERE remote = ?1 AND (next_try NOT BETWEEN ?2 AND ?3 OR lane = 2)",
            params![remote, first, last],
        )?;
        tx.commit()?;
        Ok(())
    }

    /// The failure journal: the rows that `remote` is owed with an error, at most `limit`.
    pub fn failing(&self, remote: &str, limit: u32) -> Result<Vec<Owed>> {
        self.owed_rows(
            "WHERE remote = ?1 AND error IS NOT NULL ORDER BY path LIMIT ?2",
            params![remote, limit],
        )
    }

    /// All rows that `remote` is owed, failing ones first, at most `limit`; without rows that are only pushed once
    /// more.
    pub fn owing(&self, remote: &str, limit: u32) -> Result<Vec<Owed>> {
        let unsettled = Events::ECHO.none_in_sql();
        self.owed_rows(
            &format!("WHERE remote = ?1 AND {unsettled} ORDER BY error IS NULL, path LIMIT ?2"),
            params![remote, limit],
        )
    }

    fn owed_rows(&self, which: &str, values: impl rusqlite::Params) -> Result<Vec<Owed>> {
        let columns = "path, scope, event, error, attempts, since, generation";
        let mut query = self.db.prepare_cached(&format!("SELECT {columns} FROM owed {which}"))?;
        let mut rows = query.query(values)?;
        let mut owed = Vec::new();
        while let Some(row) = rows.next()? {
            owed.push(Owed {
                path: path_at(row, 0)?,
                scope: Scope::from_db(row.get(1)?),
                events: row.get(2)?,
                error: row.get(3)?,
                attempts: row.get(4)?,
                since_ms: row.get(5)?,
                generation: row.get(6)?,
            });
        }
        Ok(owed)
    }

    /// Makes every row that `remote` is owed due now (the operator's retry, or the remote is back).
    pub fn retry_now(&mut self, remote: &str, now_ms: i64) -> Result<()> {
        let tx = self.write()?;
        tx.execute(
            "UPDATE owed SET next_try = ?2 WHERE remote = ?1 AND error IS NOT NULL AND next_try > ?2",
            params![remote, now_ms],
        )?;
        tx.commit()?;
        Ok(())
    }
}
