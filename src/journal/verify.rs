//! The progress of the scrub (`verify_schedule`) of each remote.

use super::{Journal, JournalError, Result};
use crate::path::RelPath;
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

/// This table is newer than the others. It is created if it is missing, whatever the version of the other tables.
const TABLE: &str = "
-- how far the rolling comparison of a remote is
CREATE TABLE IF NOT EXISTS verify (remote TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID;
";

/// The state of one remote's scrub. Times are in milliseconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyState {
    /// The start of the interval to the next run: when the schedule was first seen, or the last run.
    pub since_ms: i64,
    /// The current run.
    #[serde(default)]
    pub run: Option<VerifyRun>,
    /// The last completed run.
    #[serde(default)]
    pub last: Option<VerifyRun>,
}

/// One run through the tree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyRun {
    /// The start of the run.
    pub began_ms: i64,
    /// The end of the run.
    #[serde(default)]
    pub ended_ms: Option<i64>,
    /// The part that was compared last: the position from which a restart continues.
    #[serde(default)]
    pub after: Option<Compared>,
    /// Parts compared.
    pub parts: u64,
    /// Local entries that were compared.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Paths that differed and were owed.
    pub repaired: u64,
    /// The paths of these to be deleted since the operator last looked: the number that the guard counts.
    #[serde(default)]
    pub deletions: u64,
    /// Entries of the remote in the compared parts.
    #[serde(default)]
    pub there: u64,
    /// Parts that could not be compared, or only partly.
    pub incomplete: u64,
}

/// A part of the tree, identified by its end in the order of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compared {
    /// The names directly in a directory. What is below them follows.
    Names(RelPath),
    /// A directory with everything below it.
    Whole(RelPath),
}

pub(super) fn prepare(db: &Connection) -> Result<()> {
    Ok(db.execute_batch(TABLE)?)
}

impl Journal {
    /// The progress of the scrub of `remote`; `None` if its schedule has not been seen yet.
    pub fn verify_state(&self, remote: &str) -> Result<Option<VerifyState>> {
        let text: Option<String> = self
            .db
            .prepare_cached("SELECT state FROM verify WHERE remote = ?1")?
            .query_row([remote], |row| row.get(0))
            .optional()?;
        text.map(|t| {
            serde_json::from_str(&t).map_err(|e| JournalError::Damaged(format!("verify: {e}")))
        })
        .transpose()
    }

    /// Stores the progress; `None` forgets it.
    pub fn set_verify_state(&mut self, remote: &str, state: Option<&VerifyState>) -> Result<()> {
        let text = state.map(serde_json::to_string).transpose();
        let text = text.map_err(|e| JournalError::Refused(format!("verify: {e}")))?;
        let tx = self.write()?;
        match text {
            Some(text) => tx.execute(
                "INSERT OR REPLACE INTO verify (remote, state) VALUES (?1, ?2)",
                params![remote, text],
            )?,
            None => tx.execute("DELETE FROM verify WHERE remote = ?1", [remote])?,
        };
        tx.commit()?;
        Ok(())
    }
}
