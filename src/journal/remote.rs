//! A pusher's part of the journal: its row in `remote`, its batches, what is owed.

use super::mark::{Events, Marked, NOT_LIVE, Owe, Scope};
use super::row::{path_at, some_path_at};
use super::{Journal, Result};
use crate::path::RelPath;
use crate::reconcile_reason::ReconcileReason;
use rusqlite::{Row, Transaction, params};

/// A row of `remote`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RemoteRow {
    /// All marks up to this number are settled or owed.
    pub cursor: i64,
    /// Why a reconcile is requested.
    pub reconcile: Option<ReconcileReason>,
    /// The hash of the filter, the toggles and the parameters that produced the remote's state.
    pub settings: Option<String>,
    /// The delete guard holds the remote until the operator has looked.
    pub held: Option<Held>,
    /// Its receiver does not support `--delete-missing-args`.
    pub form_b: bool,
    /// Its last pusher stopped in order.
    pub clean: bool,
    /// The time of the last successful push, in milliseconds since 1970.
    pub last_success_ms: Option<i64>,
    /// The time of the last completed reconcile, in milliseconds since 1970.
    pub reconciled_at_ms: Option<i64>,
    /// The time since which the remote is known to lack paths that only a reconcile can find, in milliseconds since
    /// 1970.
    pub behind_since_ms: Option<i64>,
    /// The number of entries on the remote: counted by the last reconcile, and updated by later pushes.
    pub entries: Option<i64>,
    /// Files, bytes and deletions in total.
    pub totals: Totals,
}

/// A comparison that the delete guard holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The reason, for the operator.
    pub why: String,
    /// The number of deletions that it would make; a release approves this number. A journal of an older version does
    /// not contain it: then a release approves none, and the next comparison counts the deletions.
    pub deletions: u64,
}

/// The amount of pushed data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Files sent.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Names deleted.
    pub deleted: u64,
    /// Names created on the remote. Stored only as a part of [`RemoteRow::entries`].
    pub created: u64,
    /// The created names that are not directories. Not stored.
    pub created_files: u64,
}

impl std::ops::AddAssign for Totals {
    fn add_assign(&mut self, more: Totals) {
        self.files += more.files;
        self.bytes += more.bytes;
        self.deleted += more.deleted;
        self.created += more.created;
        self.created_files += more.created_files;
    }
}

/// A reconcile that replaces too many marks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instead {
    /// The remote's new cursor.
    pub cursor: i64,
    /// The reason for the reconcile.
    pub why: ReconcileReason,
    /// The time since which the remote lacks something, in milliseconds since 1970.
    pub behind_since_ms: Option<i64>,
}

/// The end of a batch, written in one transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settlement {
    /// The new value of the cursor.
    pub cursor: Option<i64>,
    /// Owed rows that are settled. Each is removed only if its generation is unchanged.
    pub done: Vec<(RelPath, i64)>,
    /// Directories that were pushed whole. One that was marked meanwhile is only compared.
    pub whole: Vec<RelPath>,
    /// Directories that are to be compared, and not pushed whole any more.
    pub compare: Vec<RelPath>,
    /// New owed rows, written after `done` is removed. An existing row is widened.
    pub owe: Vec<Owe>,
    /// Paths that the remote has now acknowledged, in order.
    pub settled: Vec<RelPath>,
    /// Settled paths that were marked as deleted, with these events. A row of one that is pushed a second time because of
    /// an old receiver must delete it then, too.
    pub deleted: Vec<(RelPath, Events)>,
    /// Records of [`Journal::link`] none of whose files has two names any longer.
    pub parted: Vec<i64>,
    /// Added to the totals.
    pub pushed: Totals,
    /// A push succeeded.
    pub success: bool,
}

/// The remaining work of a remote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Marks after the cursor.
    pub waiting: u64,
    /// Rows in `owed`, without rows that are only pushed once more.
    pub owed: u64,
    /// The rows of these with an error.
    pub failing: u64,
    /// The time of the oldest mark that is not settled, in milliseconds since 1970. It is accurate to about a second if
    /// its path was marked again later.
    pub oldest_ms: Option<i64>,
    /// The time at which the next owed row is due, in milliseconds since 1970.
    pub next_try_ms: Option<i64>,
}

/// The marks that wait for a pusher.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MarksWaiting {
    /// There are none.
    #[default]
    None,
    /// Attributes of a few directories: a change in them often follows or came first.
    DirAttributes,
    /// Others, too.
    Names,
}

impl MarksWaiting {
    /// True if there are any.
    pub fn any(self) -> bool {
        match self {
            MarksWaiting::None => false,
            MarksWaiting::DirAttributes | MarksWaiting::Names => true,
        }
    }
}

/// With more marks, it is not looked at what they are.
const FEW_MARKS: u32 = 8;

/// The work that a pusher could do now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// The marks after the cursor.
    pub marks: MarksWaiting,
    /// Single names are owed and due.
    pub due: bool,
    /// Directories to compare are owed and due.
    pub dirs: bool,
    /// Live events marked some of these. The delete guard does not apply to them.
    pub live_dirs: bool,
    /// Large files are owed and due.
    pub large: bool,
    /// Names that a reconcile found are due.
    pub bulk: bool,
    /// The time at which the next owed row after that is due, in milliseconds since 1970.
    pub next_ms: Option<i64>,
}

impl Journal {
    /// The row of `remote`. If it does not exist, it is created with the cursor at the counter and with the request for
    /// a reconcile `first`: the reason, and the time in milliseconds since 1970 (rule 11: committed before the dry run
    /// starts).
    pub fn remote(
        &mut self,
        name: &str,
        first: Option<(&ReconcileReason, i64)>,
    ) -> Result<RemoteRow> {
        let tx = self.write()?;
        tx.execute(
            "INSERT OR IGNORE INTO remote (name, cursor, reconcile, behind_since)
             SELECT ?1, seq, ?2, ?3 FROM counter",
            params![name, first.map(|(why, _)| why), first.map(|(_, since_ms)| since_ms)],
        )?;
        let row = tx.query_row(
            "SELECT cursor, reconcile, settings, held, form_b, clean, last_success, reconciled_at, entries,
               files, bytes, deleted, held_deletions, behind_since FROM remote WHERE name = ?1",
            [name],
            remote_row,
        )?;
        tx.commit()?;
        Ok(row)
    }

    /// The names of all remotes in the journal.
    pub fn remote_names(&self) -> Result<Vec<String>> {
        let mut query = self.db.prepare("SELECT name FROM remote")?;
        let names = query.query_map([], |row| row.get(0))?;
        Ok(names.collect::<std::result::Result<_, _>>()?)
    }

    /// Forgets a remote that is no longer configured, and what it is owed.
    pub fn forget_remote(&mut self, name: &str) -> Result<()> {
        let tx = self.write()?;
        tx.execute("DELETE FROM owed WHERE remote = ?1", [name])?;
        tx.execute("DELETE FROM verify WHERE remote = ?1", [name])?;
        tx.execute("DELETE FROM times WHERE remote = ?1", [name])?;
        tx.execute("DELETE FROM recent WHERE remote = ?1", [name])?;
        tx.execute("DELETE FROM linked WHERE remote = ?1", [name])?;
        tx.execute("DELETE FROM remote WHERE name = ?1", [name])?;
        tx.commit()?;
        Ok(())
    }

    /// Sets one column of a remote's row.
    fn set(&mut self, name: &str, column: &str, value: &dyn rusqlite::ToSql) -> Result<()> {
        let tx = self.write()?;
        tx.execute(
            &format!("UPDATE remote SET {column} = ?2 WHERE name = ?1"),
            params![name, value],
        )?;
        tx.commit()?;
        Ok(())
    }

    /// Why a reconcile of `name` is requested in the journal. A watcher may have written the request.
    pub fn wanted_reconcile(&self, name: &str) -> Result<Option<ReconcileReason>> {
        let mut query = self.db.prepare_cached("SELECT reconcile FROM remote WHERE name = ?1")?;
        let mut rows = query.query([name])?;
        Ok(rows.next()?.map(|row| row.get(0)).transpose()?.flatten())
    }

    /// Requests a reconcile, or withdraws the request.
    pub fn want_reconcile(&mut self, name: &str, why: Option<&ReconcileReason>) -> Result<()> {
        self.set(name, "reconcile", &why)
    }

    /// A reconcile was completed and the remote has `entries`. Removes the request `settled`. Returns the remaining
    /// request: one that arrived during the reconcile for another reason stays.
    pub fn reconciled(
        &mut self,
        name: &str,
        now_ms: i64,
        entries: i64,
        settled: Option<&ReconcileReason>,
    ) -> Result<Option<ReconcileReason>> {
        let tx = self.write()?;
        let left = tx.query_row(
            "UPDATE remote SET reconcile = nullif(reconcile, ?4), reconciled_at = ?2, entries = ?3,
               behind_since = CASE WHEN reconcile = ?4 THEN NULL ELSE behind_since END WHERE name = ?1
             RETURNING reconcile",
            params![name, now_ms, entries, settled],
            |row| row.get(0),
        )?;
        tx.commit()?;
        Ok(left)
    }

    /// Stores the number of entries on the remote.
    pub fn set_entries(&mut self, name: &str, entries: i64) -> Result<()> {
        self.set(name, "entries", &entries)
    }

    /// If `remote` has more than `most` unsettled marks, forgets them and requests a reconcile instead. Otherwise names
    /// that appear and disappear while the remote is in trouble would be kept without limit. It happens in one
    /// transaction, and the reason is unique, so that a running comparison does not settle the request. The age of the
    /// oldest of these marks is kept. Returns the new cursor and the request; `None` if the number is not exceeded.
    pub fn compare_instead(&mut self, name: &str, most: u32) -> Result<Option<Instead>> {
        let cursor = "SELECT cursor FROM remote WHERE name = ?1";
        // The last mark number is cheap to read; then the rows are counted.
        let may = format!("SELECT 1 FROM counter WHERE seq - ?2 > ({cursor})");
        let many = format!("SELECT 1 FROM change WHERE seq > ({cursor}) LIMIT 1 OFFSET ?2");
        for sql in [&may, &many] {
            if !self.db.prepare_cached(sql)?.exists(params![name, most])? {
                return Ok(None);
            }
        }
        let oldest_ms = self.backlog(name)?.oldest_ms;
        let tx = self.write()?;
        let seq: i64 = tx.query_row("SELECT seq FROM counter", [], |row| row.get(0))?;
        let why =
            ReconcileReason::Found(format!("more than {most} names waited for it (mark {seq})"));
        tx.execute(
            "UPDATE remote SET cursor = ?2, reconcile = ?3, behind_since = ?4 WHERE name = ?1",
            params![name, seq, why, oldest_ms],
        )?;
        tx.commit()?;
        Ok(Some(Instead { cursor: seq, why, behind_since_ms: oldest_ms }))
    }

    /// Stores the hash of the settings of the remote.
    pub fn set_settings(&mut self, name: &str, hash: &str) -> Result<()> {
        self.set(name, "settings", &hash)
    }

    /// Holds the remote for the operator, or ends the hold.
    pub fn set_held(&mut self, name: &str, held: Option<&Held>) -> Result<()> {
        let tx = self.write()?;
        tx.execute(
            "UPDATE remote SET held = ?2, held_deletions = ?3 WHERE name = ?1",
            params![name, held.map(|h| &h.why), held.map(|h| h.deletions as i64)],
        )?;
        tx.commit()?;
        Ok(())
    }

    /// Stores that the receiver does not support `--delete-missing-args`.
    pub fn set_form_b(&mut self, name: &str, form_b: bool) -> Result<()> {
        self.set(name, "form_b", &form_b)
    }

    /// Stores whether the pusher of this remote stopped in order. A `false` is on disk before the pusher pushes
    /// anything.
    pub fn set_clean(&mut self, name: &str, clean: bool) -> Result<()> {
        match clean {
            true => self.set(name, "clean", &clean),
            false => self.on_disk(|journal| journal.set(name, "clean", &clean)),
        }
    }

    /// The marks after `cursor`, oldest first, at most `limit`.
    pub fn marks_after(&self, cursor: i64, limit: u32) -> Result<Vec<Marked>> {
        let mut query = self.db.prepare_cached(
            "SELECT path, seq, scope, event, origin, marked_at FROM change WHERE seq > ?1 ORDER BY seq LIMIT ?2",
        )?;
        let mut rows = query.query(params![cursor, limit])?;
        let mut marks = Vec::new();
        while let Some(row) = rows.next()? {
            marks.push(Marked {
                path: path_at(row, 0)?,
                seq: row.get(1)?,
                scope: Scope::from_db(row.get(2)?),
                events: row.get(3)?,
                origin: some_path_at(row, 4)?,
                marked_at_ms: row.get(5)?,
            });
        }
        Ok(marks)
    }

    /// The number of the last mark.
    pub fn last_seq(&self) -> Result<i64> {
        Ok(self.db.prepare_cached("SELECT seq FROM counter")?.query_row([], |row| row.get(0))?)
    }

    /// Writes the end of a batch, all or nothing.
    pub fn settle(&mut self, remote: &str, end: &Settlement, now_ms: i64) -> Result<()> {
        let tx = self.write()?;
        {
            let mut drop_row = tx.prepare_cached(
                "DELETE FROM owed WHERE remote = ?1 AND path = ?2 AND generation = ?3",
            )?;
            for (path, generation) in &end.done {
                drop_row.execute(params![remote, path.as_bytes(), generation])?;
            }
        }
        compare(&tx, remote, &end.whole, Events::WHOLE | Events::BULK | Events::COMPARE)?;
        owe_all(&tx, remote, &end.owe)?;
        compare(&tx, remote, &end.compare, Events::BULK | Events::COMPARE)?;
        if end.whole.iter().chain(&end.compare).any(RelPath::is_root) {
            release_beside(&tx, remote)?;
        }
        tell_deleted(&tx, remote, &end.deleted)?;
        super::recent::note(&tx, remote, &end.settled, now_ms)?;
        for id in &end.parted {
            tx.prepare_cached("DELETE FROM linked WHERE id = ?1")?.execute([id])?;
        }
        tx.prepare_cached(
            "UPDATE remote SET cursor = max(cursor, ?2), files = files + ?3, bytes = bytes + ?4,
               deleted = deleted + ?5, entries = max(0, entries + ?8 - ?5), last_success = CASE WHEN ?6 THEN ?7 ELSE last_success END WHERE name = ?1",
        )?
        .execute(params![
            remote,
            end.cursor.unwrap_or(0),
            end.pushed.files as i64,
            end.pushed.bytes as i64,
            end.pushed.deleted as i64,
            end.success,
            now_ms,
            end.pushed.created as i64
        ])?;
        tx.commit()?;
        Ok(())
    }

    /// The remaining work of `remote`.
    pub fn backlog(&self, remote: &str) -> Result<Backlog> {
        // A path that is marked repeatedly has a new row, although its first mark is not settled. The number after the
        // cursor is no younger than the next number whose time is stored.
        let (waiting, oldest_row, oldest_number, behind): (
            i64,
            Option<i64>,
            Option<i64>,
            Option<i64>,
        ) = self
            .db
            .prepare_cached(
                "SELECT count(*), min(marked_at),
                   (SELECT at FROM mark_time WHERE seq > cursor ORDER BY seq LIMIT 1),
                   (SELECT behind_since FROM remote WHERE name = ?1 AND reconcile IS NOT NULL)
                 FROM change, (SELECT cursor FROM remote WHERE name = ?1) WHERE seq > cursor",
            )?
            .query_row([remote], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
        let oldest_mark = oldest_row.map(|row| oldest_number.map_or(row, |number| number.min(row)));
        let (owed, failing, since, next): (i64, i64, Option<i64>, Option<i64>) = self
            .db
            .prepare_cached(&format!(
                "SELECT count(*), count(error), min(since), min(next_try) FROM owed
                 WHERE remote = ?1 AND {}",
                Events::ECHO.none_in_sql()
            ))?
            .query_row([remote], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
        Ok(Backlog {
            waiting: waiting as u64,
            owed: owed as u64,
            failing: failing as u64,
            oldest_ms: oldest_mark.into_iter().chain(since).chain(behind).min(),
            next_try_ms: next,
        })
    }

    /// The work that a pusher of `remote` could do at `now_ms`.
    pub fn work(&self, remote: &str, cursor: i64, now_ms: i64) -> Result<Work> {
        let due = |which: &str| -> Result<bool> {
            let sql = format!(
                "SELECT 1 FROM owed WHERE remote = ?1 AND next_try BETWEEN ?2 AND ?3 AND {which}"
            );
            let mut query = self.db.prepare_cached(&sql)?;
            for (first, last) in self.due_times(now_ms) {
                if query.exists(params![remote, first, last])? {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        let (first, last) = self.later_times(now_ms);
        let next = |lane: i64| -> Result<Option<i64>> {
            let sql = "SELECT min(next_try) FROM owed
                 WHERE remote = ?1 AND lane = ?2 AND next_try BETWEEN ?3 AND ?4";
            let mut query = self.db.prepare_cached(sql)?;
            Ok(query.query_row(params![remote, lane, first, last], |row| row.get(0))?)
        };
        let marks = self.marks_waiting(cursor)?;
        let mut owed = self.db.prepare_cached("SELECT 1 FROM owed WHERE remote = ?1")?;
        if !owed.exists([remote])? {
            return Ok(Work { marks, ..Work::default() });
        }
        Ok(Work {
            marks,
            due: due("lane = 0")?,
            dirs: due("lane = 1")?,
            live_dirs: due(&format!("lane = 1 AND {}", NOT_LIVE.none_in_sql()))?,
            large: due("lane = 2")?,
            bulk: due("lane = 3")?,
            next_ms: [next(0)?, next(1)?, next(2)?, next(3)?].into_iter().flatten().min(),
        })
    }
}

impl Journal {
    fn marks_waiting(&self, cursor: i64) -> Result<MarksWaiting> {
        let sql =
            "SELECT event = ?2 AND scope = 0 FROM change WHERE seq > ?1 ORDER BY seq LIMIT ?3";
        let mut query = self.db.prepare_cached(sql)?;
        let few = params![cursor, Events::ATTRIB | Events::DIR, FEW_MARKS + 1];
        let (mut rows, mut seen) = (query.query(few)?, 0);
        while let Some(row) = rows.next()? {
            seen += 1;
            if !row.get::<_, bool>(0)? || seen > FEW_MARKS {
                return Ok(MarksWaiting::Names);
            }
        }
        Ok(if seen == 0 { MarksWaiting::None } else { MarksWaiting::DirAttributes })
    }
}

/// Rows of these paths that are pushed a second time learn that the paths were deleted.
fn tell_deleted(tx: &Transaction<'_>, remote: &str, deleted: &[(RelPath, Events)]) -> Result<()> {
    let owes = || tx.prepare_cached("SELECT 1 FROM owed WHERE remote = ?1")?.exists([remote]);
    if deleted.is_empty() || !owes()? {
        return Ok(());
    }
    let twice = (Events::AGAIN | Events::ECHO).any_in_sql();
    let sql =
        format!("UPDATE owed SET event = event | ?3 WHERE remote = ?1 AND path = ?2 AND {twice}");
    let mut update = tx.prepare_cached(&sql)?;
    for (path, events) in deleted {
        update.execute(params![remote, path.as_bytes(), events])?;
    }
    Ok(())
}

/// Rows of these directories are compared, under the guard: they lose the events `gone`.
fn compare(tx: &Transaction<'_>, remote: &str, paths: &[RelPath], gone: Events) -> Result<()> {
    let mut update = tx.prepare_cached(
        "UPDATE owed SET event = event & ~?3 | ?4 WHERE remote = ?1 AND path = ?2 AND scope > 0",
    )?;
    for path in paths {
        update.execute(params![remote, path.as_bytes(), gone, Events::SCAN])?;
    }
    Ok(())
}

/// No push of everything runs any more: what was pushed beside it is due.
fn release_beside(tx: &Transaction<'_>, remote: &str) -> Result<()> {
    tx.prepare_cached("UPDATE owed SET event = event & ~?2 WHERE remote = ?1 AND event & ?2 != 0")?
        .execute(params![remote, Events::BESIDE])?;
    Ok(())
}

/// An existing row that is not part of this settlement is widened, and keeps its time if that is earlier: a later
/// repeated push must not delay a row that is due now. Of the two rows, the one without [`Events::ECHO`] comes first,
/// and the other follows it.
///
/// A directory that one of the two rows pushes whole and the other compares is compared afterwards.
///
/// A failing path is not retried earlier because it is found or marked again. Its next try is the latest time that any
/// failure demands, whatever the scope, the lane and the cause of the other row.
fn owe_all(tx: &Transaction<'_>, remote: &str, owe: &[Owe]) -> Result<()> {
    if owe.is_empty() {
        return Ok(());
    }
    let generation: i64 = tx.query_row(
        "UPDATE remote SET generation = generation + 1 WHERE name = ?1 RETURNING generation",
        [remote],
        |row| row.get(0),
    )?;
    let mut insert = tx.prepare_cached(
        "INSERT INTO owed (remote, path, scope, event, error, attempts, next_try, since, generation)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT (remote, path) DO UPDATE SET scope = max(scope, excluded.scope),
           event = CASE (event & ?10) = (excluded.event & ?10) WHEN 1 THEN event | excluded.event
             ELSE (event | excluded.event) & ~?10 | ?11 END
             | CASE WHEN (event | excluded.event) & ?12 = ?12 AND (event & ?12 = 0 AND scope > 0
               OR excluded.event & ?12 = 0 AND excluded.scope > 0) THEN ?13 ELSE 0 END,
           since = min(since, excluded.since), error = coalesce(excluded.error, error),
           attempts = max(attempts, excluded.attempts),
           next_try = CASE WHEN (error IS NULL) = (excluded.error IS NULL) THEN
               CASE WHEN error IS NULL THEN min(next_try, excluded.next_try) ELSE max(next_try, excluded.next_try) END
             WHEN error IS NULL THEN excluded.next_try ELSE next_try END,
           generation = excluded.generation",
    )?;
    for o in owe {
        insert.execute(params![
            remote,
            o.path.as_bytes(),
            o.scope as i64,
            o.events,
            o.error,
            o.attempts,
            o.next_try_ms,
            o.since_ms,
            generation,
            Events::ECHO,
            Events::AGAIN,
            Events::WHOLE | Events::BULK,
            Events::COMPARE,
        ])?;
    }
    Ok(())
}

fn remote_row(row: &Row<'_>) -> rusqlite::Result<RemoteRow> {
    let held_deletions = row.get::<_, Option<i64>>(12)?.unwrap_or(0) as u64;
    Ok(RemoteRow {
        cursor: row.get(0)?,
        reconcile: row.get(1)?,
        settings: row.get(2)?,
        held: row.get::<_, Option<String>>(3)?.map(|why| Held { why, deletions: held_deletions }),
        form_b: row.get(4)?,
        clean: row.get(5)?,
        last_success_ms: row.get(6)?,
        reconciled_at_ms: row.get(7)?,
        entries: row.get(8)?,
        behind_since_ms: row.get(13)?,
        totals: Totals {
            files: row.get::<_, i64>(9)? as u64,
            bytes: row.get::<_, i64>(10)? as u64,
            deleted: row.get::<_, i64>(11)? as u64,
            created: 0,
            created_files: 0,
        },
    })
}
