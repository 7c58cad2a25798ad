//! The plugin runner's part of the journal: a cursor for each plugin, the waiting calls, the last calls.
//!
//! A plugin's cursor shows which marks have become rows of `call`. A plugin never keeps a row of `change` longer than
//! the remotes do, however long it is down. A call is ready when the remotes have settled its mark. The key of a call
//! is its path, so the table never has more rows than the tree has entries.

use super::mark::{Events, Scope};
use super::row::path_at;
use super::{Journal, Result};
use crate::path::RelPath;
use rusqlite::{Connection, Transaction, params};
use std::collections::BTreeSet;

/// The most given-up calls that are kept for display, for each plugin.
pub const GIVEN_UP_MOST: u32 = 10_000;

const TABLES: &str = "
-- plugins; every mark up to cursor is a row of call, or was called for
CREATE TABLE IF NOT EXISTS plugin (
  name TEXT PRIMARY KEY, cursor INTEGER NOT NULL, calls INTEGER NOT NULL DEFAULT 0, last_success INTEGER) WITHOUT ROWID;
-- calls to be made; ready when the remotes have settled or tried the path; given_up: nobody tries any more
CREATE TABLE IF NOT EXISTS call (
  plugin TEXT NOT NULL, path BLOB NOT NULL, seq INTEGER NOT NULL, scope INTEGER NOT NULL, event INTEGER NOT NULL,
  ready INTEGER NOT NULL, error TEXT, attempts INTEGER NOT NULL DEFAULT 0, next_try INTEGER NOT NULL DEFAULT 0,
  since INTEGER NOT NULL, given_up INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (plugin, path)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS call_order ON call (plugin, given_up, ready, seq);
-- what a path was when it was last called for, so that a scan that finds it again does not call twice
CREATE TABLE IF NOT EXISTS called (
  plugin TEXT NOT NULL, path BLOB NOT NULL, dir INTEGER NOT NULL, ino INTEGER NOT NULL, ctime INTEGER NOT NULL,
  PRIMARY KEY (plugin, path)) WITHOUT ROWID;
-- remotes whose trouble was told to on_failure
CREATE TABLE IF NOT EXISTS alarm (remote TEXT PRIMARY KEY, since INTEGER NOT NULL) WITHOUT ROWID;
";

/// Creates the tables if they do not exist, in the transaction that creates the other tables.
pub(super) fn prepare(db: &Connection) -> Result<()> {
    Ok(db.execute_batch(TABLES)?)
}

/// A call to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The path that changed.
    pub path: RelPath,
    /// The number of its last mark.
    pub seq: i64,
    /// How far the mark reaches.
    pub scope: Scope,
    /// The events.
    pub events: Events,
    /// Failed calls so far.
    pub attempts: u32,
    /// The time at which it was first requested, in milliseconds since 1970.
    pub since_ms: i64,
}

/// The state of a path at the time of its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Called {
    /// It was a directory.
    pub dir: bool,
    /// Its inode.
    pub ino: u64,
    /// The time of its last change, in nanoseconds since 1970.
    pub ctime_ns: i64,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallEnd {
    /// It succeeded, or no call was needed; `counts` is set for a call that was made. `called` is the state of the path
    /// if it is known for certain; `None` forgets it.
    Done {
        /// A call was made.
        counts: bool,
        /// For [`Journal::called`].
        called: Option<Called>,
    },
    /// It failed and will be retried.
    Again {
        /// The error.
        error: String,
        /// Failed calls so far.
        attempts: u32,
        /// The time of the next try, in milliseconds since 1970.
        next_try_ms: i64,
    },
    /// It failed too often, and is given up.
    GivenUp {
        /// The error.
        error: String,
        /// Failed calls so far.
        attempts: u32,
    },
}

impl Journal {
    /// Sets the configured plugins. Other plugins and their calls are forgotten. A new plugin starts at the cursor of
    /// the existing ones, so that marks made during a reload reach it; without existing plugins it starts at the
    /// counter.
    pub fn set_plugins(&mut self, names: &[String]) -> Result<()> {
        let known: Vec<String> = {
            let mut query = self.db.prepare("SELECT name FROM plugin")?;
            let rows = query.query_map([], |row| row.get(0))?;
            rows.collect::<std::result::Result<_, _>>()?
        };
        let same = known.len() == names.len() && names.iter().all(|n| known.contains(n));
        if same {
            return Ok(());
        }
        let tx = self.write()?;
        let begin: i64 = tx.query_row(
            "SELECT coalesce((SELECT max(cursor) FROM plugin), (SELECT seq FROM counter))",
            [],
            |row| row.get(0),
        )?;
        for gone in known.iter().filter(|k| !names.contains(k)) {
            for table in ["call", "called"] {
                tx.execute(&format!("DELETE FROM {table} WHERE plugin = ?1"), [gone])?;
            }
            tx.execute("DELETE FROM plugin WHERE name = ?1", [gone])?;
        }
        for name in names {
            tx.execute(
                "INSERT OR IGNORE INTO plugin (name, cursor) VALUES (?1, ?2)",
                params![name, begin],
            )?;
        }
        tx.commit()?;
        Ok(())
    }

    /// The smallest cursor of the remotes outside `trouble`; the counter if there is none.
    pub fn horizon(&self, trouble: &BTreeSet<String>) -> Result<i64> {
        let mut query = self.db.prepare_cached("SELECT name, cursor FROM remote")?;
        let mut rows = query.query([])?;
        let mut least: Option<i64> = None;
        while let Some(row) = rows.next()? {
            if !trouble.contains(row.get_ref(0)?.as_str().unwrap_or_default()) {
                let cursor: i64 = row.get(1)?;
                least = Some(least.map_or(cursor, |l| l.min(cursor)));
            }
        }
        least.map_or_else(|| self.last_seq(), Ok)
    }

    /// Makes the calls ready whose paths the remotes outside `trouble` have settled or tried. A large file, or a path
    /// below a directory, is owed until its own push ends. Examines `limit` rows; returns whether more wait.
    pub fn make_ready(&mut self, trouble: &BTreeSet<String>, limit: u32) -> Result<bool> {
        let any = "SELECT 1 FROM call WHERE ready = 0 AND given_up = 0";
        if !self.db.prepare_cached(any)?.exists([])? {
            return Ok(false);
        }
        let horizon = self.horizon(trouble)?;
        let remotes: Vec<String> =
            self.remote_names()?.into_iter().filter(|n| !trouble.contains(n)).collect();
        let tx = self.write()?;
        let mut rows: Vec<(String, Vec<u8>, i64)> = Vec::new();
        {
            let mut query = tx.prepare_cached(
                "SELECT plugin, path, scope FROM call WHERE ready = 0 AND given_up = 0 AND seq <= ?1
                 ORDER BY seq LIMIT ?2",
            )?;
            let mut found = query.query(params![horizon, limit])?;
            while let Some(row) = found.next()? {
                rows.push((row.get(0)?, row.get(1)?, row.get(2)?));
            }
        }
        let full = rows.len() as u32 == limit;
        let ahead = "SELECT 1 FROM call WHERE ready = 0 AND given_up = 0 AND seq > ?1";
        let mut left = tx.prepare_cached(ahead)?.exists([horizon])?;
        for (plugin, path, scope) in rows {
            if is_owed(&tx, &remotes, &path, scope > 0)? {
                left = true;
                continue;
            }
            tx.prepare_cached("UPDATE call SET ready = 1 WHERE plugin = ?1 AND path = ?2")?
                .execute(params![plugin, path])?;
        }
        tx.commit()?;
        Ok(left || full)
    }

    /// The calls of a plugin that are due at `now_ms`, in the order of their marks, at most `limit`.
    pub fn calls_due(&self, plugin: &str, now_ms: i64, limit: u32) -> Result<Vec<Due>> {
        self.due_by("seq", plugin, now_ms, limit)
    }

    /// As [`Journal::calls_due`], in the order of failures, the fewest first.
    pub fn calls_least_tried(&self, plugin: &str, now_ms: i64, limit: u32) -> Result<Vec<Due>> {
        self.due_by("attempts, seq", plugin, now_ms, limit)
    }

    fn due_by(&self, order: &str, plugin: &str, now_ms: i64, limit: u32) -> Result<Vec<Due>> {
        let mut query = self.db.prepare_cached(&format!(
            "SELECT path, seq, scope, event, attempts, since FROM call
             WHERE plugin = ?1 AND given_up = 0 AND ready = 1 AND next_try <= ?2 ORDER BY {order} LIMIT ?3"
        ))?;
        let mut rows = query.query(params![plugin, now_ms, limit])?;
        let mut due = Vec::new();
        while let Some(row) = rows.next()? {
            due.push(Due {
                path: path_at(row, 0)?,
                seq: row.get(1)?,
                scope: Scope::from_db(row.get(2)?),
                events: row.get(3)?,
                attempts: row.get(4)?,
                since_ms: row.get(5)?,
            });
        }
        Ok(due)
    }

    /// The time at which the next call after `now_ms` is due, in milliseconds since 1970.
    pub fn next_call_ms(&self, now_ms: i64) -> Result<Option<i64>> {
        let sql =
            "SELECT min(next_try) FROM call WHERE given_up = 0 AND ready = 1 AND next_try > ?1";
        Ok(self.db.prepare_cached(sql)?.query_row([now_ms], |row| row.get(0))?)
    }

    /// The state of `path` at the time of its last call.
    pub fn called(&self, plugin: &str, path: &RelPath) -> Result<Option<Called>> {
        let mut query = self
            .db
            .prepare_cached("SELECT dir, ino, ctime FROM called WHERE plugin = ?1 AND path = ?2")?;
        let mut rows = query.query(params![plugin, path.as_bytes()])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let ino: i64 = row.get(1)?;
        Ok(Some(Called { dir: row.get(0)?, ino: ino as u64, ctime_ns: row.get(2)? }))
    }

    /// Writes the end of a call, all or nothing. If the path was marked again during the call, it stays due.
    pub fn end_call(&mut self, plugin: &str, due: &Due, end: &CallEnd, now_ms: i64) -> Result<()> {
        let tx = self.write()?;
        let path = due.path.as_bytes();
        match end {
            CallEnd::Done { counts, called } => {
                tx.prepare_cached("DELETE FROM call WHERE plugin = ?1 AND path = ?2 AND seq = ?3")?
                    .execute(params![plugin, path, due.seq])?;
                match called {
                    Some(c) => tx
                        .prepare_cached(
                            "INSERT OR REPLACE INTO called VALUES (?1, ?2, ?3, ?4, ?5)",
                        )?
                        .execute(params![plugin, path, c.dir, c.ino as i64, c.ctime_ns])?,
                    None => tx
                        .prepare_cached("DELETE FROM called WHERE plugin = ?1 AND path = ?2")?
                        .execute(params![plugin, path])?,
                };
                if *counts {
                    tx.prepare_cached(
                        "UPDATE plugin SET calls = calls + 1, last_success = ?2 WHERE name = ?1",
                    )?
                    .execute(params![plugin, now_ms])?;
                }
            }
            CallEnd::Again { error, attempts, next_try_ms } => {
                tx.prepare_cached(
                    "UPDATE call SET error = ?4, attempts = ?5, next_try = ?6 WHERE plugin = ?1 AND path = ?2 AND seq = ?3",
                )?
                .execute(params![plugin, path, due.seq, error, attempts, next_try_ms])?;
            }
            CallEnd::GivenUp { error, attempts } => {
                tx.prepare_cached(
                    "UPDATE call SET error = ?4, attempts = ?5, given_up = ?6 WHERE plugin = ?1 AND path = ?2 AND seq = ?3",
                )?
                .execute(params![plugin, path, due.seq, error, attempts, now_ms.max(1)])?;
                keep_newest(&tx, plugin)?;
            }
        }
        tx.commit()?;
        Ok(())
    }

    /// Gives up the calls of a plugin that have waited since `before_ms` or longer. Returns their number.
    pub fn give_up_old(&mut self, plugin: &str, before_ms: i64, now_ms: i64) -> Result<usize> {
        let old = "plugin = ?1 AND given_up = 0 AND ready = 1 AND since <= ?2";
        let sql = format!("SELECT 1 FROM call WHERE {old}");
        if !self.db.prepare_cached(&sql)?.exists(params![plugin, before_ms])? {
            return Ok(0);
        }
        let tx = self.write()?;
        let sql = format!(
            "UPDATE call SET given_up = max(?3, 1), error = coalesce(error, 'never called: the plugin was down') WHERE {old}"
        );
        let gone = tx.execute(&sql, params![plugin, before_ms, now_ms])?;
        keep_newest(&tx, plugin)?;
        tx.commit()?;
        Ok(gone)
    }

    /// Forgets the states of files whose last change was before `ctime_ns`: no scan finds these again.
    pub fn forget_called(&mut self, ctime_ns: i64) -> Result<()> {
        let old = "called WHERE dir = 0 AND ctime < ?1";
        if self.db.prepare_cached(&format!("SELECT 1 FROM {old}"))?.exists([ctime_ns])? {
            let tx = self.write()?;
            tx.execute(&format!("DELETE FROM {old}"), [ctime_ns])?;
            tx.commit()?;
        }
        Ok(())
    }
}

fn keep_newest(tx: &Transaction<'_>, plugin: &str) -> Result<()> {
    tx.prepare_cached(
        "DELETE FROM call WHERE plugin = ?1 AND given_up > 0 AND path IN (SELECT path FROM call
         WHERE plugin = ?1 AND given_up > 0 ORDER BY given_up DESC LIMIT -1 OFFSET ?2)",
    )?
    .execute(params![plugin, GIVEN_UP_MOST])?;
    Ok(())
}

/// True if one of `remotes` has not yet tried this path (or, with `below`, a path in it).
fn is_owed(tx: &Transaction<'_>, remotes: &[String], path: &[u8], below: bool) -> Result<bool> {
    let untried = format!("error IS NULL AND {}", Events::ECHO.none_in_sql());
    let mut here = tx.prepare_cached(&format!(
        "SELECT 1 FROM owed WHERE remote = ?1 AND path = ?2 AND {untried}"
    ))?;
    let mut inside = tx.prepare_cached(&format!(
        "SELECT 1 FROM owed WHERE remote = ?1 AND path > ?2 AND path < ?3 AND {untried}"
    ))?;
    let (mut from, mut to) = (path.to_vec(), path.to_vec());
    if path.is_empty() {
        to.push(0xff);
        to.resize(5_000, 0xff);
    } else {
        from.push(b'/');
        to.push(b'/' + 1);
    }
    for remote in remotes {
        if here.exists(params![remote, path])?
            || (below && inside.exists(params![remote, from, to])?)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

mod intake;
mod shown;

pub use shown::PluginBacklog;

#[cfg(test)]
mod tests;
