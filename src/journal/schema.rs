//! The tables. An operator may read them with any SQLite tool; only syncsup writes.

use super::{JournalError, Result};
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use std::time::Duration;

/// How long a statement waits for another writer. This is shorter than the silence after which a child is killed.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(8);
/// How long an operation waits that can also be done later.
pub const SHORT_TIMEOUT: Duration = Duration::from_millis(50);
const VERSION: i64 = 4;
/// The number of prepared statements that are kept: more than one process has.
const STATEMENTS: usize = 128;
/// NORMAL is sufficient for most writes. Marks and checkpoint are in one file, so the next scan finds what a power
/// failure lost, and after an unclean stop a comparison does.
pub const SYNCHRONOUS: &str = "NORMAL";
/// For writes that must be on disk before the next step: the log is synced at the commit.
pub const ON_DISK: &str = "FULL";

/// The column `lane` of `owed`, as SQL.
macro_rules! lane {
    () => {
        "lane INTEGER AS (CASE WHEN event & 16384 != 0 AND error IS NULL THEN 4
    WHEN event & 12288 = 12288 AND error IS NULL THEN 3 WHEN scope > 0 THEN 1 WHEN event & 1024 != 0 THEN 2
    WHEN event & 4096 != 0 AND error IS NULL THEN 3 ELSE 0 END)"
    };
}

const TABLES: &str = concat!(
    "
-- the last seq given out: persisted, so that an emptied `change` never starts again below a cursor
CREATE TABLE counter (one INTEGER PRIMARY KEY CHECK (one = 1), seq INTEGER NOT NULL);
INSERT INTO counter VALUES (1, 0);
-- dirty paths; marking again moves seq up, widens scope, gathers events
CREATE TABLE change (
  path BLOB PRIMARY KEY, seq INTEGER NOT NULL, scope INTEGER NOT NULL, event INTEGER NOT NULL,
  origin BLOB, marked_at INTEGER NOT NULL) WITHOUT ROWID;
CREATE UNIQUE INDEX change_seq ON change (seq);
-- remotes; every mark up to cursor is settled or owed
CREATE TABLE remote (
  name TEXT PRIMARY KEY, cursor INTEGER NOT NULL, generation INTEGER NOT NULL DEFAULT 0,
  reconcile TEXT, settings TEXT, held TEXT, form_b INTEGER NOT NULL DEFAULT 0, clean INTEGER NOT NULL DEFAULT 1,
  files INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0, deleted INTEGER NOT NULL DEFAULT 0,
  last_success INTEGER, reconciled_at INTEGER, entries INTEGER, held_deletions INTEGER,
  behind_since INTEGER) WITHOUT ROWID;
-- when mark number seq was made, about one in a second: a path that is marked again moves up, and its row then tells
-- only of its last mark
CREATE TABLE mark_time (seq INTEGER PRIMARY KEY, at INTEGER NOT NULL);
-- what one remote lacks apart from its cursor; error is null when no push has failed on it; lane: 0 a name among
-- others, 1 a name with what is below it, to be compared first, 2 a large file, 3 what a comparison of
-- everything found, also a directory that is pushed whole, 4 what waits for the end of a push of everything
CREATE TABLE owed (
  remote TEXT NOT NULL, path BLOB NOT NULL, scope INTEGER NOT NULL, event INTEGER NOT NULL, error TEXT,
  attempts INTEGER NOT NULL, next_try INTEGER NOT NULL, since INTEGER NOT NULL, generation INTEGER NOT NULL,
  ",
    lane!(),
    ",
  PRIMARY KEY (remote, path)) WITHOUT ROWID;
CREATE INDEX owed_due ON owed (remote, lane, next_try, path);
-- written and not yet closed
CREATE TABLE open (path BLOB PRIMARY KEY) WITHOUT ROWID;
-- the time up to which every event is in `change`
CREATE TABLE checkpoint (one INTEGER PRIMARY KEY CHECK (one = 1), state TEXT NOT NULL);
-- mount points inside the localpath, held like its root while they are not mounted
CREATE TABLE mount (path BLOB PRIMARY KEY) WITHOUT ROWID;
"
);

/// Upgrades versions 1 to 3. Version 1 had no lane 3, the others had no directories in it.
const LANES: &str = concat!(
    "
DROP INDEX owed_due;
ALTER TABLE owed DROP COLUMN lane;
ALTER TABLE owed ADD COLUMN ",
    lane!(),
    ";
CREATE INDEX owed_due ON owed (remote, lane, next_try, path);
"
);

/// Upgrades versions 1 and 2, which contained neither the number of held deletions nor the time since which a remote lacks
/// something.
const FROM_2: &str = "
ALTER TABLE remote ADD COLUMN held_deletions INTEGER;
ALTER TABLE remote ADD COLUMN behind_since INTEGER;
CREATE TABLE mark_time (seq INTEGER PRIMARY KEY, at INTEGER NOT NULL);
";

/// Keeps statements prepared. Without the stability guarantee, SQLite prepares a statement again whenever a bound value
/// changes that its plan might depend on.
pub fn keep_statements(db: &Connection) -> Result<()> {
    db.set_prepared_statement_cache_capacity(STATEMENTS);
    // A confined process writes nothing outside of its state directory.
    db.pragma_update(None, "temp_store", "MEMORY")?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// Configures the connection and creates the tables if they do not exist.
pub fn prepare(db: &Connection) -> Result<()> {
    db.busy_timeout(BUSY_TIMEOUT)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", SYNCHRONOUS)?;
    db.execute_batch("BEGIN IMMEDIATE")?;
    let made = make(db);
    db.execute_batch(if made.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
    made
}

fn make(db: &Connection) -> Result<()> {
    match db.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))? {
        0 => {
            db.execute_batch(TABLES)?;
            db.pragma_update(None, "user_version", VERSION)?;
            later_tables(db)
        }
        VERSION => later_tables(db),
        old @ 1..=3 => {
            db.execute_batch(LANES)?;
            if old < 3 {
                db.execute_batch(FROM_2)?;
            }
            db.pragma_update(None, "user_version", VERSION)?;
            later_tables(db)
        }
        other => Err(JournalError::Damaged(format!("unknown journal version {other}"))),
    }
}

/// Tables that were added without any other change. An older program ignores them.
fn later_tables(db: &Connection) -> Result<()> {
    super::plugin::prepare(db)?;
    super::verify::prepare(db)?;
    super::times::prepare(db)?;
    super::recent::prepare(db)?;
    super::linked::prepare(db)?;
    super::mounts::prepare(db)?;
    super::open::prepare(db)
}
