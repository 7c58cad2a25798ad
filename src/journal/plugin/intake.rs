//! How marks become calls.

use super::super::mark::{Events, Marked, Scope};
use super::super::{Journal, Result};
use crate::journal::row::path_at;
use rusqlite::{OptionalExtension, params};

impl Journal {
    /// Converts marks after a plugin's cursor into calls: those up to `upto`, up to the first that is not `ripe`, at
    /// most `limit`. Returns the number of marks.
    pub fn take_in(
        &mut self,
        plugin: &str,
        upto: i64,
        limit: u32,
        ripe: impl Fn(&Marked) -> bool,
    ) -> Result<usize> {
        let cursor = self.plugin_cursor(plugin)?;
        let first = self.marks_after(cursor, 1)?;
        if first.first().is_none_or(|m| m.seq > upto || !ripe(m)) {
            return Ok(0);
        }
        // Marks must not be renumbered between the read and the move of the cursor, or one change would become two
        // calls.
        let tx = self.write()?;
        let mut taken = 0;
        let mut last = cursor;
        {
            let mut marks = tx.prepare_cached(
                "SELECT path, seq, scope, event, marked_at FROM change WHERE seq > ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3",
            )?;
            let mut call = tx.prepare_cached(
                "INSERT INTO call (plugin, path, seq, scope, event, ready, since) VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6)
                 ON CONFLICT (plugin, path) DO UPDATE SET seq = excluded.seq, scope = excluded.scope,
                   event = excluded.event, ready = 0, attempts = 0, next_try = 0, error = NULL, given_up = 0,
                   since = CASE given_up WHEN 0 THEN since ELSE excluded.since END",
            )?;
            let mut old = tx.prepare_cached(
                "SELECT scope, event FROM call WHERE plugin = ?1 AND path = ?2 AND given_up = 0",
            )?;
            let mut rows = marks.query(params![cursor, upto, limit])?;
            while let Some(row) = rows.next()? {
                let mark = Marked {
                    path: path_at(row, 0)?,
                    seq: row.get(1)?,
                    scope: Scope::from_db(row.get(2)?),
                    events: row.get(3)?,
                    origin: None,
                    marked_at_ms: row.get(4)?,
                };
                if !ripe(&mark) {
                    break;
                }
                last = mark.seq;
                taken += 1;
                let (path, since) = (mark.path.as_bytes(), mark.marked_at_ms);
                let waiting = old
                    .query_row(params![plugin, path], |row| {
                        Ok((Scope::from_db(row.get(0)?), row.get(1)?))
                    })
                    .optional()?;
                let new = (mark.scope, mark.events);
                let (scope, events) = waiting.map_or(new, |old| together(old, new));
                call.execute(params![plugin, path, mark.seq, scope as i64, events, since])?;
            }
        }
        tx.execute("UPDATE plugin SET cursor = ?2 WHERE name = ?1", params![plugin, last])?;
        tx.commit()?;
        Ok(taken)
    }

    /// True if marks exist that have not become calls.
    pub fn marks_wait(&self, plugin: &str) -> Result<bool> {
        let cursor = self.plugin_cursor(plugin)?;
        Ok(self.db.prepare_cached("SELECT 1 FROM change WHERE seq > ?1")?.exists([cursor])?)
    }

    fn plugin_cursor(&self, plugin: &str) -> Result<i64> {
        let mut query = self.db.prepare_cached("SELECT cursor FROM plugin WHERE name = ?1")?;
        Ok(query.query_row([plugin], |row| row.get(0))?)
    }
}

/// Merges a waiting call, or one that is running and may fail, with a new mark of its path. The new mark must not
/// remove anything from the call, even if this plugin is not called for the new mark.
pub(super) fn together(old: (Scope, Events), new: (Scope, Events)) -> (Scope, Events) {
    let mut scope = old.0.max(new.0);
    let mut events = old.1 | new.1;
    match (old.1.contains(Events::SCAN), new.1.contains(Events::SCAN)) {
        // An event causes a call whatever came before. A path that a scan found counts as a change, except for the
        // names in a directory.
        (true, false) => {
            events = events.difference(Events::SCAN);
            if old.0 != Scope::Children {
                events |= Events::WRITE;
            }
        }
        // The old state of a directory does not show that it changed.
        (false, true) if events.contains(Events::DIR) => events = events.difference(Events::SCAN),
        // One of the two covers more than the names in the directory.
        (true, true) if old.0 != new.0 => scope = Scope::Tree,
        _ => {}
    }
    (scope, events)
}
