//! What a remote is owed apart from its cursor: single names, names with what is below them, large files.

use super::mark::{Events, Marked, Owed, Scope};
use super::remote::path_at;
use super::{Journal, Result};
use rusqlite::params;

impl Journal {
    /// The single names that `remote` is owed and that are due at `now_ms`, at most `limit` rows; not the large ones.
    pub fn due(&self, remote: &str, now_ms: i64, limit: u32) -> Result<Vec<Owed>> {
        self.owed_rows(
            "WHERE remote = ?1 AND next_try <= ?2 AND scope = 0 AND event & 1024 = 0 ORDER BY next_try, path LIMIT ?3",
            params![remote, now_ms, limit],
        )
    }

    /// What `remote` is owed and reaches below its name, due at `now_ms`, at most `limit` rows; with `live` only what
    /// no scan has marked.
    pub fn due_wide(&self, remote: &str, live: bool, now_ms: i64, limit: u32) -> Result<Vec<Owed>> {
        self.owed_rows(
            "WHERE remote = ?1 AND next_try <= ?2 AND scope > 0 AND (event & 64 = 0 OR NOT ?4)
             ORDER BY next_try, path LIMIT ?3",
            params![remote, now_ms, limit, live],
        )
    }

    /// The large files that `remote` is owed, due at `now_ms`, at most `limit` rows.
    pub fn due_large(&self, remote: &str, now_ms: i64, limit: u32) -> Result<Vec<Owed>> {
        self.owed_rows(
            "WHERE remote = ?1 AND next_try <= ?2 AND scope = 0 AND event & 1024 != 0 ORDER BY since, path LIMIT ?3",
            params![remote, now_ms, limit],
        )
    }

    /// The rows of these marks that failed and are not due yet at `now_ms`.
    pub fn failing_later(&self, remote: &str, now_ms: i64, marks: &[Marked]) -> Result<Vec<Owed>> {
        let any = "SELECT 1 FROM owed WHERE remote = ?1 AND error IS NOT NULL AND next_try > ?2";
        if !self.db.prepare_cached(any)?.exists(params![remote, now_ms])? {
            return Ok(Vec::new());
        }
        let mut rows = Vec::new();
        for mark in marks {
            rows.extend(self.owed_rows(
                "WHERE remote = ?1 AND path = ?2 AND error IS NOT NULL AND next_try > ?3",
                params![remote, mark.path.as_bytes(), now_ms],
            )?);
        }
        Ok(rows)
    }

    /// How many rows `remote` is owed by reconciles, so that they come in portions.
    pub fn owed_by_reconcile(&self, remote: &str) -> Result<u64> {
        let sql = "SELECT count(*) FROM owed WHERE remote = ?1 AND event & 128 != 0
               AND event & 1536 = 0 AND error IS NULL";
        let count: i64 = self.db.prepare_cached(sql)?.query_row([remote], |row| row.get(0))?;
        Ok(count as u64)
    }

    /// The pusher of `remote` died with pushes in hand: what is owed and due gets [`Events::AGAIN`].
    pub fn push_again_later(&mut self, remote: &str, now_ms: i64) -> Result<()> {
        let tx = self.write()?;
        tx.execute(
            "UPDATE owed SET event = event | 256 WHERE remote = ?1 AND (next_try <= ?2 OR event & 1024 != 0)",
            params![remote, now_ms],
        )?;
        tx.commit()?;
        Ok(())
    }

    /// The failure journal: what `remote` is owed with an error, at most `limit` rows.
    pub fn failing(&self, remote: &str, limit: u32) -> Result<Vec<Owed>> {
        self.owed_rows(
            "WHERE remote = ?1 AND error IS NOT NULL ORDER BY path LIMIT ?2",
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
                events: Events(row.get(2)?),
                error: row.get(3)?,
                attempts: row.get(4)?,
                since_ms: row.get(5)?,
                generation: row.get(6)?,
            });
        }
        Ok(owed)
    }

    /// Makes everything `remote` is owed due now (the operator's retry, or the remote is back).
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
