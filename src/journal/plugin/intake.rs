//! How marks become calls.

use super::super::mark::{Events, Marked, Scope};
use super::super::{Journal, Result};
use crate::journal::row::path_at;
use rusqlite::{OptionalExtension, params};

impl Journal {
    /// Makes calls of the marks after a plugin's cursor: those up to `upto`, up to the first that is not `ripe`, at
    /// most `limit`. Returns how many marks it took.
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
        // Marks must not move up between the look and the cursor's move, or one change would be two calls.
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

    /// True when there are marks that have not become calls.
    pub fn marks_wait(&self, plugin: &str) -> Result<bool> {
        let cursor = self.plugin_cursor(plugin)?;
        Ok(self.db.prepare_cached("SELECT 1 FROM change WHERE seq > ?1")?.exists([cursor])?)
    }

    fn plugin_cursor(&self, plugin: &str) -> Result<i64> {
        let mut query = self.db.prepare_cached("SELECT cursor FROM plugin WHERE name = ?1")?;
        Ok(query.query_row([plugin], |row| row.get(0))?)
    }
}

/// What a call is for that waits, or is in hand and may fail, when its path is marked again: nothing of it may be
/// lost to a mark that this plugin would not be called for.
pub(super) fn together(old: (Scope, Events), new: (Scope, Events)) -> (Scope, Events) {
    let mut scope = old.0.max(new.0);
    let mut events = old.1 | new.1;
    match (old.1.contains(Events::SCAN), new.1.contains(Events::SCAN)) {
        // An event is called for whatever was called before; what a scan found is a change, but for the names in a
        // directory.
        (true, false) => {
            events = events.difference(Events::SCAN);
            if old.0 != Scope::Children {
                events |= Events::WRITE;
            }
        }
        // What a directory was does not show that it changed.
        (false, true) if events.contains(Events::DIR) => events = events.difference(Events::SCAN),
        // One of them is for more than the names in it.
        (true, true) if old.0 != new.0 => scope = Scope::Tree,
        _ => {}
    }
    (scope, events)
}
