//! Data for `status`, the fail log and the alarms.

use super::super::{Journal, Result};
use crate::journal::row::path_at;
use crate::path::RelPath;
use rusqlite::params;

/// The remaining work of a plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PluginBacklog {
    /// Calls that have not been made, and marks that the remotes have not settled.
    pub waiting: u64,
    /// The waiting calls that failed at least once.
    pub failing: u64,
    /// Calls that were given up.
    pub given_up: u64,
    /// The error of one failing or given-up call, with its path.
    pub first_error: Option<String>,
    /// Calls made so far.
    pub calls: u64,
    /// The time of the last successful call, in milliseconds since 1970.
    pub last_success_ms: Option<i64>,
}

impl Journal {
    /// The remaining work of a plugin.
    pub fn plugin_backlog(&self, plugin: &str) -> Result<PluginBacklog> {
        let (cursor, calls, last): (i64, i64, Option<i64>) = self
            .db
            .prepare_cached("SELECT cursor, calls, last_success FROM plugin WHERE name = ?1")?
            .query_row([plugin], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        let marks: i64 = self
            .db
            .prepare_cached("SELECT count(*) FROM change WHERE seq > ?1")?
            .query_row([cursor], |row| row.get(0))?;
        let count = |what: &str| -> Result<i64> {
            let sql = format!("SELECT count(*) FROM call WHERE plugin = ?1 AND {what}");
            Ok(self.db.prepare_cached(&sql)?.query_row([plugin], |row| row.get(0))?)
        };
        let first_error = self.failed_calls(plugin, 1)?.pop();
        Ok(PluginBacklog {
            waiting: (marks + count("given_up = 0")?) as u64,
            failing: count("given_up = 0 AND error IS NOT NULL")? as u64,
            given_up: count("given_up > 0")? as u64,
            first_error: first_error.map(|(path, error, _, _)| format!("{path}: {error}")),
            calls: calls as u64,
            last_success_ms: last,
        })
    }

    /// Failing and given-up calls: path, error, time since when, tries; at most `limit`.
    pub fn failed_calls(
        &self,
        plugin: &str,
        limit: u32,
    ) -> Result<Vec<(RelPath, String, i64, u32)>> {
        let mut query = self.db.prepare_cached(
            "SELECT path, error, since, attempts FROM call WHERE plugin = ?1 AND error IS NOT NULL
             ORDER BY given_up DESC, seq LIMIT ?2",
        )?;
        let mut rows = query.query(params![plugin, limit])?;
        let mut failed = Vec::new();
        while let Some(row) = rows.next()? {
            failed.push((path_at(row, 0)?, row.get(1)?, row.get(2)?, row.get(3)?));
        }
        Ok(failed)
    }

    /// Remotes whose trouble was reported, and its start, in milliseconds since 1970.
    pub fn alarms(&self) -> Result<Vec<(String, i64)>> {
        let mut query = self.db.prepare_cached("SELECT remote, since FROM alarm")?;
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<std::result::Result<_, _>>()?)
    }

    /// Stores that a remote's trouble was reported, or, with `None`, that its recovery was.
    pub fn set_alarm(&mut self, remote: &str, since_ms: Option<i64>) -> Result<()> {
        let tx = self.write()?;
        match since_ms {
            Some(ms) => {
                tx.execute("INSERT OR REPLACE INTO alarm VALUES (?1, ?2)", params![remote, ms])?
            }
            None => tx.execute("DELETE FROM alarm WHERE remote = ?1", [remote])?,
        };
        tx.commit()?;
        Ok(())
    }

    /// The time of the last successful push to `remote`, in milliseconds since 1970.
    pub fn last_success(&self, remote: &str) -> Result<Option<i64>> {
        let mut query =
            self.db.prepare_cached("SELECT last_success FROM remote WHERE name = ?1")?;
        let mut rows = query.query([remote])?;
        Ok(match rows.next()? {
            Some(row) => row.get(0)?,
            None => None,
        })
    }
}
