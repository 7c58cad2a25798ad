//! The watcher's part of the journal: marks, open files, cleaning.

use super::{Checkpoint, Journal, Mark, Result};
use crate::path::RelPath;
use rusqlite::{Transaction, params};
use std::collections::{BTreeMap, BTreeSet};

/// The shortest interval between two stored times of mark numbers.
const MARK_TIME_EVERY_MS: i64 = 1_000;
/// The approximate maximum of stored times.
const MARK_TIMES_MOST: i64 = 1_000;

/// The number up to which every remote has settled and every plugin has taken in everything; null without remotes and
/// plugins.
const SETTLED: &str =
    "(SELECT min(cursor) FROM (SELECT cursor FROM remote UNION ALL SELECT cursor FROM plugin))";

/// Everything that one read of the queue adds. It is written in one transaction.
#[derive(Debug, Default)]
pub struct Record {
    /// The paths that may differ now.
    pub marks: Vec<Mark>,
    /// Files that were written and not yet closed.
    pub opened: Vec<RelPath>,
    /// Files that were closed or marked, or are gone: no longer open.
    pub closed: Vec<RelPath>,
    /// Mount points found inside the localpath, and what is mounted there; `None` for a path that is no longer a mount
    /// point.
    pub mounts: BTreeMap<RelPath, Option<String>>,
    /// Mount points of file systems that do not respond: the whole set, if it changed.
    pub unresponsive: Option<BTreeSet<RelPath>>,
    /// The new checkpoint, if the queue was emptied.
    pub checkpoint: Option<Checkpoint>,
}

impl Record {
    /// True if there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
            && self.opened.is_empty()
            && self.closed.is_empty()
            && self.mounts.is_empty()
            && self.unresponsive.is_none()
            && self.checkpoint.is_none()
    }
}

impl Journal {
    /// Writes a record; `now_ms` is the time of its marks. The journal then contains the whole record, or nothing.
    pub fn record(&mut self, record: &Record, now_ms: i64) -> Result<()> {
        let tx = self.write()?;
        mark_all(&tx, &record.marks, now_ms)?;
        super::open::write(&tx, record, now_ms)?;
        super::mounts::write(&tx, record)?;
        if let Some(checkpoint) = &record.checkpoint {
            let text = serde_json::to_string(checkpoint)
                .map_err(|e| super::JournalError::Refused(e.to_string()))?;
            tx.prepare_cached(
                "INSERT INTO checkpoint VALUES (1, ?1) ON CONFLICT (one) DO UPDATE SET state = ?1",
            )?
            .execute([text])?;
        }
        tx.commit()?;
        Ok(())
    }

    /// As [`Journal::record`], and the record is on disk afterwards. Nothing may be pushed before the checkpoint that
    /// is no longer clean is on disk.
    pub fn record_on_disk(&mut self, record: &Record, now_ms: i64) -> Result<()> {
        self.on_disk(|journal| journal.record(record, now_ms))
    }

    /// Removes up to `limit` marks that every remote has settled and every plugin has taken in. Returns the number of
    /// removed marks.
    pub fn clean(&mut self, limit: u32) -> Result<usize> {
        // The first read takes no lock: this function runs often and usually finds nothing.
        let settled =
            format!("SELECT seq FROM change WHERE seq <= {SETTLED} ORDER BY seq LIMIT ?1");
        if !self.db.prepare_cached(&settled)?.exists([limit])? {
            return Ok(0);
        }
        let tx = self.write()?;
        let gone = tx
            .prepare_cached(&format!("DELETE FROM change WHERE seq IN ({settled})"))?
            .execute([limit])?;
        tx.commit()?;
        Ok(gone)
    }

    pub(super) fn paths(&self, sql: &str) -> Result<Vec<RelPath>> {
        let mut query = self.db.prepare_cached(sql)?;
        let rows = query.query_map([], |row| row.get::<_, Vec<u8>>(0))?;
        let mut paths = Vec::new();
        for bytes in rows {
            paths.extend(RelPath::new(bytes?));
        }
        Ok(paths)
    }
}

/// Removes the times of numbers that no remote needs. For a remote that stays in trouble, one time per second may
/// remain. If there are too many, every second one is removed, except the one from which a remote's lag is counted.
fn forget_times(tx: &Transaction<'_>) -> Result<()> {
    tx.prepare_cached("DELETE FROM mark_time WHERE seq <= (SELECT min(cursor) FROM remote)")?
        .execute([])?;
    let kept: i64 =
        tx.prepare_cached("SELECT count(*) FROM mark_time")?.query_row([], |row| row.get(0))?;
    if kept > MARK_TIMES_MOST {
        tx.execute(
            "DELETE FROM mark_time WHERE seq IN
               (SELECT seq FROM (SELECT seq, row_number() OVER (ORDER BY seq) AS n FROM mark_time) WHERE n % 2 = 0)
             AND seq NOT IN (SELECT (SELECT min(seq) FROM mark_time WHERE seq > cursor) FROM remote
               WHERE cursor < (SELECT max(seq) FROM mark_time))",
            [],
        )?;
    }
    Ok(())
}

fn mark_all(tx: &Transaction<'_>, marks: &[Mark], now_ms: i64) -> Result<()> {
    if marks.is_empty() {
        return Ok(());
    }
    let first: i64 = tx
        .prepare_cached("UPDATE counter SET seq = seq + ?1 RETURNING seq - ?1")?
        .query_row([marks.len() as i64], |row| row.get(0))?;
    // Also if this is the first mark that a remote has not settled.
    let noted = tx
        .prepare_cached(
            "INSERT INTO mark_time SELECT ?1, ?2 WHERE NOT EXISTS (SELECT 1 FROM
               (SELECT seq, at FROM mark_time ORDER BY seq DESC LIMIT 1)
               WHERE at BETWEEN ?2 - ?3 AND ?2 AND seq > (SELECT coalesce(max(cursor), 0) FROM remote))",
        )?
        .execute(params![first + 1, now_ms, MARK_TIME_EVERY_MS])?;
    if noted > 0 {
        forget_times(tx)?;
    }
    // A mark that every remote has settled needs no time any more; only its row still exists.
    let settled: Option<i64> =
        tx.prepare_cached(&format!("SELECT {SETTLED}"))?.query_row([], |row| row.get(0))?;
    let mut mark = tx.prepare_cached(
        "INSERT INTO change (path, seq, scope, event, origin, marked_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (path) DO UPDATE SET seq = excluded.seq,
           scope = iif(seq <= ?7, excluded.scope, max(scope, excluded.scope)),
           event = iif(seq <= ?7, 0, event) | excluded.event,
           origin = coalesce(excluded.origin, iif(seq <= ?7, NULL, origin)), marked_at = excluded.marked_at",
    )?;
    for (seq, m) in (first + 1..).zip(marks) {
        let origin = m.origin.as_ref().map(RelPath::as_bytes);
        let (path, scope, events) = (m.path.as_bytes(), m.scope as i64, m.events);
        mark.execute(params![path, seq, scope, events, origin, now_ms, settled.unwrap_or(-1)])?;
    }
    Ok(())
}
