use super::*;
use crate::path::RelPath;
use crate::reconcile_reason::ReconcileReason;
use rusqlite::StatementStatus::{FullscanStep, RePrepare};
use rusqlite::trace::{TraceEvent, TraceEventCodes};
use std::sync::{Arc, Mutex};

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

fn journal() -> (tempfile::TempDir, Journal) {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    (dir, journal)
}

fn mark(journal: &mut Journal, paths: &[&str]) {
    let marks = paths.iter().map(|p| Mark::entry(path(p), Events::WRITE)).collect();
    journal.record(&Record { marks, ..Record::default() }, 1000).unwrap();
}

fn owe(text: &str) -> Owe {
    Owe {
        path: path(text),
        scope: Scope::Entry,
        events: Events::WRITE,
        error: None,
        attempts: 0,
        next_try_ms: 0,
        since_ms: 5,
    }
}

#[test]
fn marking_again_moves_the_row_up_and_only_widens() {
    let (_dir, mut j) = journal();
    j.remote("r", None).unwrap();
    let wide = Mark::new(path("a"), Scope::Tree, Events::MOVE);
    j.record(&Record { marks: vec![wide], ..Record::default() }, 1).unwrap();
    mark(&mut j, &["b", "a"]);
    let rows = j.marks_after(0, 10).unwrap();
    assert_eq!(rows.iter().map(|m| m.path.to_string()).collect::<Vec<_>>(), ["b", "a"]);
    assert_eq!(rows[1].scope, Scope::Tree);
    assert_eq!(rows[1].events, Events::MOVE | Events::WRITE);
    assert!(rows[1].seq > rows[0].seq);
}

#[test]
fn marking_again_drops_what_every_remote_has_settled() {
    let (_dir, mut j) = journal();
    let wide = || Mark::new(path("a"), Scope::Tree, Events::MOVE | Events::DELETE);
    let again = |j: &mut Journal| {
        j.record(&Record { marks: vec![wide()], ..Record::default() }, 1).unwrap();
        let settled = j.last_seq().unwrap();
        mark(j, &["a"]);
        let row = j.marks_after(0, 10).unwrap().remove(0);
        (settled, row.scope, row.events)
    };
    let merged = (Scope::Tree, Events::MOVE | Events::DELETE | Events::WRITE);
    // No plugin is called.
    let (_, scope, events) = again(&mut j);
    assert_eq!((scope, events), merged);
    for name in ["r", "s"] {
        j.remote(name, None).unwrap();
    }
    let settle = |j: &mut Journal, name, cursor| {
        j.settle(name, &Settlement { cursor, ..Settlement::default() }, 2).unwrap();
    };
    let (seq, scope, events) = again(&mut j);
    assert_eq!((scope, events), merged);
    settle(&mut j, "r", Some(seq + 1));
    mark(&mut j, &["a"]);
    let row = j.marks_after(0, 10).unwrap().remove(0);
    assert_eq!((row.scope, row.events), merged, "the other one has not");
    let last = j.last_seq().unwrap();
    for name in ["r", "s"] {
        settle(&mut j, name, Some(last));
    }
    mark(&mut j, &["a"]);
    let row = j.marks_after(0, 10).unwrap().remove(0);
    assert_eq!((row.scope, row.events), (Scope::Entry, Events::WRITE));
}

#[test]
fn an_emptied_table_never_reuses_numbers_below_a_cursor() {
    let (dir, mut j) = journal();
    j.remote("r", None).unwrap();
    mark(&mut j, &["a", "b", "c"]);
    let last = j.marks_after(0, 10).unwrap()[2].seq;
    j.settle("r", &Settlement { cursor: Some(last), ..Settlement::default() }, 2).unwrap();
    assert_eq!(j.clean(100).unwrap(), 3);
    drop(j);
    let mut j = Journal::open(dir.path()).unwrap();
    mark(&mut j, &["d"]);
    let after = j.marks_after(last, 10).unwrap();
    assert_eq!(after.len(), 1, "the new mark is above the cursor");
}

#[test]
fn a_mark_stays_until_the_slowest_remote_has_settled_it() {
    let (_dir, mut j) = journal();
    j.remote("fast", None).unwrap();
    j.remote("slow", None).unwrap();
    mark(&mut j, &["a"]);
    j.settle("fast", &Settlement { cursor: Some(1), ..Settlement::default() }, 2).unwrap();
    assert_eq!(j.clean(100).unwrap(), 0);
    assert_eq!(j.backlog("fast").unwrap().waiting, 0);
    let slow = j.backlog("slow").unwrap();
    assert_eq!((slow.waiting, slow.oldest_ms), (1, Some(1000)));
    j.forget_remote("slow").unwrap();
    assert_eq!(j.clean(100).unwrap(), 1);
}

fn mark_at(j: &mut Journal, paths: &[&str], now_ms: i64) {
    let marks = paths.iter().map(|text| Mark::entry(path(text), Events::WRITE)).collect();
    j.record(&Record { marks, ..Record::default() }, now_ms).unwrap();
}

fn oldest(j: &Journal, remote: &str) -> Option<i64> {
    j.backlog(remote).unwrap().oldest_ms
}

#[test]
fn marking_again_keeps_the_age_of_the_oldest_mark() {
    let (_dir, mut j) = journal();
    j.remote("dead", None).unwrap();
    j.remote("well", None).unwrap();
    for round in 0..300 {
        let now_ms = 10_000 + round * 400;
        mark_at(&mut j, &["a", "b", "c"], now_ms);
        assert_eq!(oldest(&j, "dead"), Some(10_000), "round {round}");
        assert_eq!(oldest(&j, "well"), Some(now_ms), "round {round}");
        let end = Settlement { cursor: Some(j.last_seq().unwrap()), ..Settlement::default() };
        j.settle("well", &end, now_ms).unwrap();
        assert_eq!(oldest(&j, "well"), None);
        j.clean(100).unwrap();
    }
    let end = Settlement { cursor: Some(j.last_seq().unwrap()), ..Settlement::default() };
    j.settle("dead", &end, 1).unwrap();
    assert_eq!(oldest(&j, "dead"), None);
    mark_at(&mut j, &["z"], 500_000);
    assert_eq!(oldest(&j, "dead"), Some(500_000));
}

#[test]
fn the_times_of_marks_are_bounded_and_the_oldest_is_kept() {
    let (_dir, mut j) = journal();
    j.remote("dead", None).unwrap();
    j.remote("later", None).unwrap();
    for second in 0..5_000 {
        mark_at(&mut j, &["hot", &format!("f{}", second % 7)], second * 1_000);
        if second == 2_500 {
            let end = Settlement { cursor: Some(j.last_seq().unwrap()), ..Settlement::default() };
            j.settle("later", &end, 1).unwrap();
        }
    }
    let kept: i64 = j.db.query_row("SELECT count(*) FROM mark_time", [], |row| row.get(0)).unwrap();
    assert!((10..2_000).contains(&kept), "{kept}");
    assert_eq!(oldest(&j, "dead"), Some(0));
    // The more marks there were, the less precise is the time.
    let later = oldest(&j, "later").unwrap();
    assert!((2_501_000..2_520_000).contains(&later), "{later}");
}

#[test]
fn a_reconcile_keeps_the_age_of_the_marks_it_replaces() {
    let (_dir, mut j) = journal();
    j.remote("new", Some((&ReconcileReason::NewRemote, 7_000))).unwrap();
    assert_eq!(oldest(&j, "new"), Some(7_000), "it has nothing yet");
    j.reconciled("new", 8_000, 1, Some(&ReconcileReason::NewRemote)).unwrap();
    assert_eq!(oldest(&j, "new"), None);
    mark_at(&mut j, &["a", "b", "c", "d"], 9_000);
    mark_at(&mut j, &["a", "b", "c", "d"], 90_000);
    let instead = j.compare_instead("new", 3).unwrap().unwrap();
    assert_eq!((instead.behind_since_ms, oldest(&j, "new")), (Some(9_000), Some(9_000)));
    mark_at(&mut j, &["e"], 99_000);
    assert_eq!(oldest(&j, "new"), Some(9_000));
    // Another reconcile does not settle the request. Its own does, and keeps a request that arrived during it.
    j.reconciled("new", 100_000, 1, Some(&ReconcileReason::Sync)).unwrap();
    assert_eq!(oldest(&j, "new"), Some(9_000));
    j.reconciled("new", 100_000, 1, Some(&instead.why)).unwrap();
    assert_eq!(oldest(&j, "new"), Some(99_000));
}

/// Removes the additions of version 3.
const WITHOUT_VERSION_3: &str = "ALTER TABLE remote DROP COLUMN held_deletions;
    ALTER TABLE remote DROP COLUMN behind_since; DROP TABLE mark_time";

#[test]
fn a_journal_of_the_previous_version_is_upgraded() {
    let (dir, mut j) = journal();
    j.remote("r", None).unwrap();
    j.db.execute_batch("UPDATE remote SET held = 'would delete 7 entries'").unwrap();
    j.db.execute_batch(&format!("{WITHOUT_VERSION_3}; PRAGMA user_version = 2")).unwrap();
    drop(j);
    let mut j = Journal::open(dir.path()).unwrap();
    let held = j.remote("r", None).unwrap().held.unwrap();
    // A release of that approves no deletions before they have been counted again.
    assert_eq!((held.why.as_str(), held.deletions), ("would delete 7 entries", 0));
    let shown = Held { why: "would delete 9 entries".into(), deletions: 9 };
    j.set_held("r", Some(&shown)).unwrap();
    assert_eq!(j.remote("r", None).unwrap().held, Some(shown));
    j.set_held("r", None).unwrap();
    assert_eq!(j.remote("r", None).unwrap().held, None);
    mark_at(&mut j, &["a"], 5);
    assert_eq!(oldest(&j, "r"), Some(5));
}

#[test]
fn deletions_are_known_until_they_are_settled() {
    let (_dir, mut j) = journal();
    j.remote("r", None).unwrap();
    let marks = vec![
        Mark::entry(path("d"), Events::DELETE | Events::DIR),
        Mark::entry(path("w"), Events::WRITE),
        Mark::new(path(""), Scope::Children, Events::SCAN | Events::DIR),
    ];
    j.record(&Record { marks, ..Record::default() }, 5).unwrap();
    let deleted = |j: &Journal, text| j.is_marked_deleted("r", &path(text)).unwrap();
    assert!(deleted(&j, "d") && deleted(&j, "d/x/y"));
    assert!(!deleted(&j, "w") && !deleted(&j, "w/x") && !deleted(&j, "dd") && !deleted(&j, ""));
    let end = Settlement { cursor: Some(j.last_seq().unwrap()), ..Settlement::default() };
    j.settle("r", &end, 6).unwrap();
    assert!(!deleted(&j, "d"));
    let owe = vec![Owe { events: Events::DELETE, ..owe("o") }, owe("p")];
    j.settle("r", &Settlement { owe, ..Settlement::default() }, 7).unwrap();
    assert!(deleted(&j, "o") && deleted(&j, "o/x") && !deleted(&j, "p"));
}

#[test]
fn an_owed_row_changed_meanwhile_stays() {
    let (_dir, mut j) = journal();
    j.remote("r", None).unwrap();
    j.settle("r", &Settlement { owe: vec![owe("a")], ..Settlement::default() }, 5).unwrap();
    let old = j.due("r", 10, 10).unwrap();
    j.settle("r", &Settlement { owe: vec![owe("a")], ..Settlement::default() }, 6).unwrap();
    let done = vec![(path("a"), old[0].generation)];
    j.settle("r", &Settlement { done, ..Settlement::default() }, 7).unwrap();
    let left = j.due("r", 10, 10).unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].since_ms, 5, "its age is that of the first time");
    let done = vec![(path("a"), left[0].generation)];
    j.settle("r", &Settlement { done, ..Settlement::default() }, 8).unwrap();
    assert!(j.due("r", 10, 10).unwrap().is_empty());
}

#[test]
fn a_later_retry_does_not_postpone_a_due_one() {
    let (_dir, mut j) = journal();
    j.remote("r", None).unwrap();
    let due = Owe { scope: Scope::Tree, events: Events::MOVE, next_try_ms: 10, ..owe("a") };
    let echo = Owe { events: Events::WRITE | Events::ECHO, next_try_ms: 60_000, ..owe("a") };
    for rows in [[due.clone(), echo.clone()], [echo, due]] {
        for row in rows {
            j.settle("r", &Settlement { owe: vec![row], ..Settlement::default() }, 5).unwrap();
        }
        assert_eq!(j.backlog("r").unwrap().owed, 1, "it is not in sync");
        let left = j.due_dirs("r", false, 10, 10).unwrap();
        assert_eq!(left[0].scope, Scope::Tree);
        assert_eq!(left[0].events, Events::MOVE | Events::WRITE | Events::AGAIN);
        let done = vec![(path("a"), left[0].generation)];
        j.settle("r", &Settlement { done, ..Settlement::default() }, 7).unwrap();
    }
}

#[test]
fn paths_postponed_before_the_clock_was_set_back_are_due() {
    let (_dir, mut j) = journal();
    j.remote("r", None).unwrap();
    let day = 86_400_000;
    let rows = [
        Owe { next_try_ms: day + 60_000, ..owe("name") },
        Owe { next_try_ms: day + 60_000, scope: Scope::Tree, ..owe("wide") },
        Owe { next_try_ms: day + 60_000, events: Events::LARGE, ..owe("large") },
    ];
    j.settle("r", &Settlement { owe: rows.into(), ..Settlement::default() }, 5).unwrap();
    let before = j.work("r", 0, day).unwrap();
    assert_eq!(before, Work { next_ms: Some(day + 60_000), ..Work::default() });
    // One day back.
    let work = j.work("r", 0, 0).unwrap();
    assert!(work.due && work.dirs && work.large && work.next_ms.is_none(), "{work:?}");
    assert_eq!(j.due("r", 0, 10).unwrap()[0].path, path("name"));
    assert_eq!(j.due_dirs("r", false, 0, 10).unwrap()[0].path, path("wide"));
    assert_eq!(j.due_large("r", 0, 10).unwrap()[0].path, path("large"));
    assert!(j.due("r", 0, 0).unwrap().is_empty());
    // The configured delays may be longer.
    j.set_longest_delay(2 * day);
    assert!(!j.work("r", 0, 0).unwrap().due && j.due("r", 0, 10).unwrap().is_empty());
}

#[test]
fn a_new_remote_starts_at_the_counter_and_needs_a_reconcile() {
    let (_dir, mut j) = journal();
    j.remote("old", None).unwrap();
    mark(&mut j, &["a", "b"]);
    let row = j.remote("new", Some((&ReconcileReason::NewRemote, 5))).unwrap();
    assert_eq!((row.cursor, row.reconcile), (2, Some(ReconcileReason::NewRemote)));
    let left = j.reconciled("new", 8, 77, Some(&ReconcileReason::Sync)).unwrap();
    assert_eq!(left, Some(ReconcileReason::NewRemote));
    assert_eq!(j.reconciled("new", 9, 77, Some(&ReconcileReason::NewRemote)).unwrap(), None);
    let row = j.remote("new", Some((&ReconcileReason::NewRemote, 5))).unwrap();
    assert_eq!((row.reconcile, row.reconciled_at_ms, row.entries), (None, Some(9), Some(77)));
}

#[test]
fn too_many_paths_become_one_reconcile_request() {
    let (_dir, mut j) = journal();
    j.remote("r", None).unwrap();
    j.remote("other", None).unwrap();
    j.settle("r", &Settlement { owe: vec![owe("owed")], ..Settlement::default() }, 5).unwrap();
    mark(&mut j, &["a", "b", "c"]);
    // Many marks of a few names are a few rows.
    mark(&mut j, &["a", "b", "c"]);
    assert_eq!(j.compare_instead("r", 3).unwrap(), None);
    mark(&mut j, &["d"]);
    let Instead { cursor, why, behind_since_ms } = j.compare_instead("r", 3).unwrap().unwrap();
    let row = j.remote("r", None).unwrap();
    assert_eq!((cursor, row.cursor, row.reconcile.as_ref()), (7, 7, Some(&why)));
    assert_eq!(behind_since_ms, row.behind_since_ms);
    assert_eq!(j.backlog("r").unwrap(), Backlog { owed: 1, ..j.backlog("r").unwrap() });
    assert_eq!(j.backlog("r").unwrap().waiting, 0);
    assert_eq!(j.backlog("other").unwrap().waiting, 4, "the others keep their marks");
    // A comparison that began before the next request does not settle it.
    mark(&mut j, &["e", "f", "g", "h"]);
    let again = j.compare_instead("r", 3).unwrap().unwrap().why;
    assert_eq!(j.reconciled("r", 9, 1, Some(&why)).unwrap(), Some(again));
    assert_eq!(j.compare_instead("r", 3).unwrap(), None);
}

#[test]
fn the_cursor_never_moves_back() {
    let (_dir, mut j) = journal();
    j.remote("r", None).unwrap();
    mark(&mut j, &["a", "b"]);
    j.settle("r", &Settlement { cursor: Some(2), ..Settlement::default() }, 2).unwrap();
    j.settle("r", &Settlement { cursor: Some(1), ..Settlement::default() }, 2).unwrap();
    assert_eq!(j.remote("r", None).unwrap().cursor, 2);
}

#[test]
fn a_file_that_is_no_database_is_damaged_and_a_missing_directory_is_not() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(FILE_NAME), vec![b'x'; 8192]).unwrap();
    assert!(matches!(Journal::open(dir.path()), Err(JournalError::Damaged(_))));
    assert!(matches!(Journal::open(&dir.path().join("none")), Err(JournalError::Refused(_))));
}

#[test]
fn hostile_names_survive() {
    let (_dir, mut j) = journal();
    j.remote("r", None).unwrap();
    let name = RelPath::new(b"\xff\n'; DROP TABLE change; --".to_vec()).unwrap();
    let marks = vec![Mark::entry(name.clone(), Events::CREATE)];
    j.record(&Record { marks, opened: vec![name.clone()], ..Record::default() }, 1).unwrap();
    assert_eq!(j.marks_after(0, 9).unwrap()[0].path, name);
    assert_eq!(j.open_paths().unwrap(), std::slice::from_ref(&name));
    j.record(&Record { closed: vec![name], ..Record::default() }, 1).unwrap();
    assert!(j.open_paths().unwrap().is_empty());
}

#[test]
fn a_record_is_written_with_its_mount_points_or_not_at_all() {
    let (_dir, mut j) = journal();
    let refuse =
        "CREATE TRIGGER full BEFORE INSERT ON mount BEGIN SELECT RAISE(ABORT, 'full'); END";
    j.db.execute_batch(refuse).unwrap();
    let marks = vec![Mark::entry(path("m/f"), Events::WRITE)];
    let mounts = [(path("m"), Some("a".to_owned()))].into();
    let record = Record { marks, mounts, ..Record::default() };
    assert!(matches!(j.record(&record, 1), Err(JournalError::Refused(_))));
    assert_eq!((j.last_seq().unwrap(), j.mounts().unwrap().len()), (0, 0));
    j.db.execute_batch("DROP TRIGGER full").unwrap();
    j.record(&record, 1).unwrap();
    j.record(&record, 1).unwrap();
    assert_eq!((j.last_seq().unwrap(), j.mounts().unwrap()), (2, vec![path("m")]));
    // An older program knows only one of the tables.
    j.db.execute_batch("INSERT INTO mount VALUES (CAST('n' AS BLOB))").unwrap();
    let mounts = [(path("m"), Some("b".to_owned()))].into();
    j.record(&Record { mounts, ..Record::default() }, 1).unwrap();
    let both = [(path("m"), "b".to_owned()), (path("n"), String::new())];
    assert_eq!(j.mounted().unwrap(), both.into());
    j.record(&Record { mounts: [(path("m"), None)].into(), ..Record::default() }, 1).unwrap();
    assert_eq!(j.mounts().unwrap(), [path("n")]);
    j.forget_mounts().unwrap();
    assert!(j.mounts().unwrap().is_empty());
}

#[test]
fn two_writers_wait_for_each_other() {
    let (dir, mut j) = journal();
    j.remote("r", None).unwrap();
    let writers: Vec<_> = (0..2)
        .map(|n| {
            let dir = dir.path().to_owned();
            std::thread::spawn(move || {
                let mut j = Journal::open(&dir).unwrap();
                for i in 0..200 {
                    mark(&mut j, &[&format!("{n}-{i}")]);
                }
            })
        })
        .collect();
    writers.into_iter().for_each(|w| w.join().unwrap());
    assert_eq!(j.marks_after(0, 1000).unwrap().len(), 400);
    assert_eq!(j.last_seq().unwrap(), 400);
}

#[test]
fn a_journal_of_the_first_version_is_upgraded() {
    let (dir, mut j) = journal();
    j.remote("r", None).unwrap();
    let found = Owe { events: Events::RECONCILE | Events::BULK, ..owe("found") };
    let failed = Owe { error: Some("no".into()), ..Owe { path: path("failed"), ..found.clone() } };
    j.settle("r", &Settlement { owe: vec![found, failed, owe("a")], ..Settlement::default() }, 1)
        .unwrap();
    j.db.execute_batch(
        "DROP INDEX owed_due; ALTER TABLE owed DROP COLUMN lane;
         ALTER TABLE owed ADD COLUMN lane INTEGER AS
           (CASE WHEN scope > 0 THEN 1 WHEN event & 1024 != 0 THEN 2 ELSE 0 END);
         CREATE INDEX owed_due ON owed (remote, lane, next_try, path);",
    )
    .unwrap();
    j.db.execute_batch(&format!("{WITHOUT_VERSION_3}; PRAGMA user_version = 1")).unwrap();
    drop(j);
    let j = Journal::open(dir.path()).unwrap();
    let paths = |rows: Vec<Owed>| rows.into_iter().map(|row| row.path).collect::<Vec<_>>();
    assert_eq!(paths(j.due_bulk("r", 1, 9).unwrap()), [path("found")]);
    assert_eq!(paths(j.due("r", 1, 9).unwrap()), [path("a"), path("failed")]);
}

#[test]
fn the_position_of_a_scrub_is_kept_and_deleted_with_its_remote() {
    let (dir, mut j) = journal();
    j.remote("r", None).unwrap();
    assert_eq!(j.verify_state("r").unwrap(), None);
    let hostile = RelPath::new(&b"d\xff\n/e"[..]).unwrap();
    let run = VerifyRun {
        began_ms: 7,
        after: Some(Compared::Names(hostile)),
        repaired: 3,
        ..VerifyRun::default()
    };
    let state = VerifyState { since_ms: 5, run: Some(run), last: None };
    j.set_verify_state("r", Some(&state)).unwrap();
    drop(j);
    let mut j = Journal::open(dir.path()).unwrap();
    assert_eq!(j.verify_state("r").unwrap(), Some(state));
    j.forget_remote("r").unwrap();
    assert_eq!(j.verify_state("r").unwrap(), None);
}

#[test]
fn a_journal_without_the_scrub_table_gets_it() {
    let (dir, j) = journal();
    j.db.execute_batch("DROP TABLE verify").unwrap();
    drop(j);
    let mut j = Journal::open(dir.path()).unwrap();
    j.set_verify_state("r", Some(&VerifyState::default())).unwrap();
    assert_eq!(j.verify_state("r").unwrap(), Some(VerifyState::default()));
    j.set_verify_state("r", None).unwrap();
    assert_eq!(j.verify_state("r").unwrap(), None);
}

#[test]
fn the_schema_documents_the_event_bits() {
    let (_dir, j) = journal();
    let sql = "SELECT sql FROM sqlite_schema WHERE name = 'owed'";
    let sql: String = j.db.query_row(sql, [], |row| row.get(0)).unwrap();
    for events in [Events::LARGE, Events::BULK] {
        assert!(sql.contains(&events.any_in_sql()), "{events:?}: {sql}");
    }
}

/// What one change costs a journal in which another remote is far behind.
#[test]
fn a_change_scans_no_table_and_no_statement_is_prepared_again() {
    let (_dir, mut j) = journal();
    for remote in ["r", "behind"] {
        j.remote(remote, None).unwrap();
    }
    let names: Vec<String> = (0..2_000).map(|n| format!("d{}/f{n}", n % 50)).collect();
    mark(&mut j, &names.iter().map(String::as_str).collect::<Vec<_>>());
    let owed = names.iter().map(|name| Owe { next_try_ms: 1, ..owe(name) }).collect();
    j.settle("behind", &Settlement { owe: owed, ..Settlement::default() }, 1).unwrap();
    let settled = names.iter().map(|name| path(name)).collect();
    let mut cursor = j.last_seq().unwrap();
    j.settle("r", &Settlement { cursor: Some(cursor), settled, ..Settlement::default() }, 1_000)
        .unwrap();
    let bad = Arc::new(Mutex::new(Vec::new()));
    let found = bad.clone();
    let look = move |event: TraceEvent<'_>| {
        let TraceEvent::Profile(statement, _) = event else { return };
        let (steps, again) = (statement.get_status(FullscanStep), statement.get_status(RePrepare));
        // A scan of the few remotes is none.
        if steps > 100 || again > 0 {
            found.lock().unwrap().push(format!("{steps} {again}: {}", statement.sql()));
        }
    };
    j.db.trace_v2(TraceEventCodes::SQLITE_TRACE_PROFILE, Some(look)).unwrap();
    for n in 0..10 {
        let now_ms = 1_000 + n;
        mark(&mut j, &[&names[n as usize], "new"]);
        let work = j.work("r", cursor, now_ms).unwrap();
        assert!(work.marks == MarksWaiting::Names && !work.due);
        let last = j.last_seq().unwrap();
        let marks = j.marks_after(cursor, 100).unwrap();
        assert_eq!(marks.len(), 2);
        let failing = Owe { error: Some("x".into()), next_try_ms: 60_000, ..owe("fails") };
        for rows in [
            j.due("r", now_ms, 100).unwrap(),
            j.failing_later("r", now_ms, &marks).unwrap(),
            j.bulk_of("r", now_ms, &marks).unwrap(),
            j.due_bulk("r", now_ms, 100).unwrap(),
            j.due_large("r", now_ms, 100).unwrap(),
        ] {
            assert!(rows.is_empty());
        }
        let end = Settlement {
            cursor: Some(last),
            owe: vec![failing],
            settled: marks.into_iter().map(|mark| mark.path).collect(),
            success: true,
            ..Settlement::default()
        };
        j.settle("r", &end, now_ms).unwrap();
        cursor = last;
        assert_eq!(j.nothing_after(cursor).unwrap(), Some(last));
        assert_eq!(j.backlog("r").unwrap().owed, 1);
        j.owed_since("r", now_ms).unwrap();
        j.owes("r", now_ms, &[path("new")]).unwrap();
        j.failing("r", 1).unwrap();
        j.wanted_reconcile("r").unwrap();
        j.mounts().unwrap();
        j.silent_mounts().unwrap();
        j.checkpoint().unwrap();
        j.clean(5_000).unwrap();
    }
    assert_eq!(*bad.lock().unwrap(), Vec::<String>::new());
}

#[test]
fn a_directory_that_must_be_compared_is_pushed_whole_before() {
    let (_dir, mut j) = journal();
    j.remote("r", None).unwrap();
    let events = Events::RECONCILE | Events::WHOLE | Events::BULK;
    let whole = |text| Owe { scope: Scope::Tree, events, ..owe(text) };
    let compared = |text| Owe { scope: Scope::Tree, events: Events::MOVE, ..owe(text) };
    let single = |text| Owe { events: Events::ATTRIB, ..owe(text) };
    let events = |rows: Vec<Owed>| {
        rows.iter().map(|row| row.events.contains(Events::COMPARE)).collect::<Vec<_>>()
    };
    let end = |owe| Settlement { owe, ..Settlement::default() };
    j.settle("r", &end(vec![whole("a"), whole("b"), compared("c"), whole("")]), 1).unwrap();
    assert!(j.owes_everything("r").unwrap() && j.due_bulk("r", 1, 9).unwrap().len() == 3);
    j.settle("r", &end(vec![single("a"), compared("b"), whole("c"), compared("")]), 1).unwrap();
    let paths = |rows: Vec<Owed>| rows.into_iter().map(|row| row.path).collect::<Vec<_>>();
    assert_eq!(events(j.due_bulk("r", 1, 9).unwrap()), [true, false, true, true]);
    assert_eq!(paths(j.due_bulk("r", 1, 9).unwrap()), ["", "a", "b", "c"].map(path));
    assert!(j.due_dirs("r", false, 1, 9).unwrap().is_empty());
    // One that is not pushed whole any more is compared by that.
    let part = Owe { events: Events::RECONCILE | Events::WHOLE, ..compared("d") };
    j.settle("r", &end(vec![compared("d"), part]), 1).unwrap();
    assert_eq!(events(j.due_dirs("r", false, 1, 9).unwrap()), [false]);
    // A mark of it is pushed without it.
    let mark = Mark::entry(path("a"), Events::ATTRIB);
    j.record(&Record { marks: vec![mark], ..Record::default() }, 2).unwrap();
    let marks = j.marks_after(0, 9).unwrap();
    assert!(j.bulk_of("r", 1, &marks).unwrap().is_empty());
}

/// A comparison writes more rows when these are pushed, and its own directories are settled at its end.
#[test]
fn a_comparison_does_not_wait_for_the_directories_that_it_compares() {
    let (_dir, mut j) = journal();
    j.remote("r", None).unwrap();
    let found = Events::RECONCILE;
    let dir = |scope| Owe { scope, events: found | Events::DIR, ..owe("d") };
    let whole = Owe { scope: Scope::Tree, events: found | Events::WHOLE, ..owe("") };
    let end = |owe| Settlement { owe, ..Settlement::default() };
    j.settle("r", &end(vec![dir(Scope::Children), whole]), 1).unwrap();
    assert_eq!(j.owed_by_reconcile("r").unwrap(), 0);
    let rows = vec![
        Owe { events: found, ..owe("name") },
        Owe { events: found | Events::BULK, ..owe("portion") },
        Owe { scope: Scope::Tree, events: found | Events::BULK | Events::WHOLE, ..owe("whole") },
    ];
    j.settle("r", &end(rows), 1).unwrap();
    assert_eq!([false, true].map(|bulk| j.owed_in_bulk("r", bulk).unwrap()), [1, 2]);
}

#[test]
fn a_directory_that_was_marked_while_it_was_pushed_whole_is_only_compared() {
    let (_dir, mut j) = journal();
    j.remote("r", None).unwrap();
    let events = Events::RECONCILE | Events::WHOLE | Events::BULK;
    let end = |owe| Settlement { owe, ..Settlement::default() };
    let whole = |text| Owe { scope: Scope::Tree, events, ..owe(text) };
    j.settle("r", &end(vec![whole("a"), whole("b")]), 1).unwrap();
    let rows = j.due_bulk("r", 1, 9).unwrap();
    let scan = Owe { scope: Scope::Children, events: Events::SCAN, ..owe("a") };
    j.settle("r", &end(vec![scan, whole("b")]), 1).unwrap();
    let settled = Settlement {
        done: rows.iter().map(|row| (row.path.clone(), row.generation)).collect(),
        whole: rows.iter().map(|row| row.path.clone()).collect(),
        ..Settlement::default()
    };
    j.settle("r", &settled, 1).unwrap();
    let [a, b] = &j.due_dirs("r", false, 1, 9).unwrap()[..] else { panic!() };
    assert!(a.path == path("a") && a.events.contains(Events::SCAN));
    assert!(b.path == path("b") && b.events.contains(Events::SCAN), "it was found once more");
    assert!(j.due_dirs("r", true, 1, 9).unwrap().is_empty(), "the guard applies");
    assert!(j.due_bulk("r", 1, 9).unwrap().is_empty());
}

#[test]
fn what_was_pushed_beside_everything_waits_for_its_end() {
    let (_dir, mut j) = journal();
    j.remote("r", None).unwrap();
    let whole = Owe {
        scope: Scope::Tree,
        events: Events::RECONCILE | Events::WHOLE | Events::BULK,
        ..owe("")
    };
    let beside = |text, events| Owe { events: events | Events::BESIDE, ..owe(text) };
    let end = |owe| Settlement { owe, ..Settlement::default() };
    let rows = vec![
        whole.clone(),
        beside("name", Events::WRITE),
        beside("large", Events::LARGE),
        Owe { scope: Scope::Tree, ..beside("dir", Events::MOVE) },
    ];
    j.settle("r", &end(rows.clone()), 1).unwrap();
    let due = |j: &Journal| {
        let work = j.work("r", 0, 1).unwrap();
        (work.due, work.large, work.dirs)
    };
    assert_eq!(due(&j), (false, false, false));
    j.release_beside("r").unwrap();
    assert_eq!(due(&j), (false, false, false), "it is still to be pushed");
    let row = j.due_bulk("r", 1, 9).unwrap().remove(0);
    let done = Settlement {
        done: vec![(row.path.clone(), row.generation)],
        whole: vec![row.path],
        ..Settlement::default()
    };
    j.settle("r", &done, 1).unwrap();
    assert_eq!(due(&j), (true, true, true));
    // It is also released if everything is compared instead, or is not owed any more.
    j.settle("r", &end(rows), 1).unwrap();
    assert_eq!(due(&j), (false, false, false));
    let compare = Settlement { compare: vec![path("")], ..Settlement::default() };
    j.settle("r", &compare, 1).unwrap();
    assert_eq!(due(&j), (true, true, true));
    let [root, ..] = &j.due_dirs("r", false, 1, 9).unwrap()[..] else { panic!() };
    assert!(root.path.is_root() && root.events.contains(Events::SCAN));
}
