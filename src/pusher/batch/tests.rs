use super::*;

const TIMES: Times = Times { now_ms: 1_000, echo_ms: 61_000, retry_most_ms: 60_000 };

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}
fn marked(text: &str, seq: i64) -> Marked {
    Marked {
        path: path(text),
        seq,
        scope: Scope::Entry,
        events: Events::WRITE,
        origin: None,
        marked_at_ms: 10,
    }
}
fn owed(text: &str, events: Events) -> Owed {
    let (path, scope) = (path(text), Scope::Entry);
    Owed { path, scope, events, error: None, attempts: 2, since_ms: 3, generation: 9 }
}

#[test]
fn rows_of_one_path_are_merged() {
    let marks = vec![marked("a", 5), Marked { scope: Scope::Tree, ..marked("b", 6) }];
    let batch = Batch::new(marks, vec![owed("b", Events::MOVE)], 5);
    assert_eq!(batch.cursor, Some(6));
    let b = batch.items.iter().find(|i| i.path == path("b")).unwrap();
    assert_eq!(
        (b.scope, b.events, b.generation),
        (Scope::Tree, Events::MOVE | Events::WRITE, Some(9))
    );
    let a = batch.items.iter().find(|i| i.path == path("a")).unwrap();
    assert!(a.events.contains(Events::AGAIN), "its mark was read before");
    assert!(!b.events.contains(Events::AGAIN));
}

#[test]
fn paths_above_and_below_touch_a_batch() {
    let names = ["d/e", "d-e/f", "a/b/c", "z"];
    let marks = names.into_iter().zip(5..).map(|(name, seq)| marked(name, seq));
    let mut batch = Batch::new(marks.collect(), vec![], 0);
    batch.sort();
    for text in ["d/e", "d", "d/e/x", "a", "a/b", "a/b/c", "a/b/c/d/e", "d-e", "z"] {
        assert!(batch.touches(&path(text)), "{text}");
    }
    for text in ["d/f", "d/e-", "d-", "a/b/cd", "a/b/x", "y", "zz", ""] {
        assert!(!batch.touches(&path(text)), "{text}");
    }
    assert!(!Batch::default().touches(&path("")));
    let all = Batch::new(vec![marked("", 5)], vec![], 0);
    assert!(all.touches(&path("")) && !all.touches(&path("x/y")), "the root itself");
}

#[test]
fn a_settled_path_is_not_owed() {
    let batch = Batch::new(vec![marked("a", 5)], vec![owed("b", Events::WRITE)], 0);
    let end = batch.settle(&mut Findings::default(), Totals::default(), TIMES);
    assert_eq!((end.cursor, end.owe.len()), (Some(5), 0));
    assert_eq!(end.done, [(path("b"), 9)]);
}

#[test]
fn a_failure_of_a_listed_prefix_is_owed_for_the_marked_path() {
    let batch = Batch::new(vec![marked("d/x", 5), marked("e", 6)], vec![], 0);
    let mut findings = Findings::default();
    findings.fail([path("d")], "Permission denied");
    findings.replaced = [(path("d/x"), path("d"))].into();
    let end = batch.settle(&mut findings, Totals::default(), TIMES);
    assert_eq!(end.owe.len(), 1);
    assert_eq!((end.owe[0].path.clone(), end.owe[0].attempts), (path("d/x"), 1));
    assert_eq!(end.owe[0].error.as_deref(), Some("Permission denied"));
    assert_eq!(end.owe[0].next_try_ms, 1_500);
}

#[test]
fn large_compared_and_deferred_paths_stay_owed_when_the_cursor_passes() {
    let marks = vec![marked("big", 5), marked("dir", 6), marked("later", 7)];
    let mut findings = Findings::default();
    findings.note(path("big"), Disposition::Large);
    findings.note(path("dir"), Disposition::Compare(Scope::Tree));
    findings.note(path("later"), Disposition::Deferred(500));
    let end = Batch::new(marks, vec![], 0).settle(&mut findings, Totals::default(), TIMES);
    let of = |text: &str| end.owe.iter().find(|o| o.path == path(text)).unwrap();
    assert!(of("big").events.contains(Events::LARGE));
    assert_eq!(of("dir").scope, Scope::Tree);
    assert!(of("later").next_try_ms > TIMES.now_ms);
}

#[test]
fn an_unsteady_path_is_pushed_again_soon_and_has_not_failed() {
    let marks = vec![marked("d/x", 5), Marked { scope: Scope::Tree, ..marked("t", 6) }];
    let mut findings = Findings::default();
    findings.note(path("d"), Disposition::Unsteady);
    findings.note(path("t"), Disposition::Unsteady);
    findings.replaced = [(path("d/x"), path("d"))].into();
    findings.note(path("t"), Disposition::Compare(Scope::Tree));
    let end = Batch::new(marks, vec![], 6).settle(&mut findings, Totals::default(), TIMES);
    assert_eq!(end.owe.len(), 2);
    for owe in &end.owe {
        assert!(owe.error.is_none() && owe.attempts == 0 && owe.next_try_ms <= 2_000);
        assert!(owe.events.contains(Events::AGAIN), "still to be pushed a second time");
    }
    assert_eq!(end.owe[1].scope, Scope::Tree);
}

#[test]
fn a_file_whose_mtime_was_set_during_a_push_is_compared_by_content() {
    let attrib = Marked { events: Events::ATTRIB, ..marked("a", 5) };
    let mut findings = Findings::default();
    findings.note(path("a"), Disposition::Unproven);
    let end = Batch::new(vec![attrib], vec![], 0).settle(&mut findings, Totals::default(), TIMES);
    assert_eq!(end.owe.len(), 1);
    assert!(end.owe[0].events.contains(Events::WRITE), "no longer proven by its mtime");
    assert_eq!(end.owe[0].next_try_ms, TIMES.now_ms);
}

#[test]
fn a_deleted_name_that_is_a_directory_again_is_compared_with_its_tree() {
    let marks = vec![Marked { scope: Scope::Tree, ..marked("d", 5) }, marked("d/x", 6)];
    let mut findings = Findings::default();
    findings.note(path("d"), Disposition::Reborn);
    findings.replaced = [(path("d/x"), path("d"))].into();
    let end = Batch::new(marks, vec![], 0).settle(&mut findings, Totals::default(), TIMES);
    let of = |text: &str| end.owe.iter().find(|o| o.path == path(text)).unwrap();
    assert_eq!(of("d").scope, Scope::Tree);
    assert_eq!(of("d/x").scope, Scope::Entry, "planned again");
}

#[test]
fn the_last_directories_of_an_aborted_rsync_are_compared() {
    let dirs = (0..3_000).map(|n| path(&format!("d{:04}", n % 1_500)));
    let mut findings = Findings { leftovers: dirs.collect(), ..Findings::default() };
    let marks = vec![marked("d1499/f", 5)];
    let end = Batch::new(marks, vec![], 0).settle(&mut findings, Totals::default(), TIMES);
    let names: Vec<_> = end.owe.iter().map(|owe| owe.path.to_string()).collect();
    assert_eq!((names.len(), &*names[0], &*names[999]), (1_000, "d0500", "d1499"));
    assert!(end.owe.iter().all(|owe| (owe.scope, owe.next_try_ms) == (Scope::Children, 1_000)));
    assert!(!end.owe[0].events.contains(Events::SCAN), "a temporary file is no accident");
}

#[test]
fn after_an_unseen_end_a_path_is_pushed_exactly_twice() {
    let batch = Batch::new(vec![marked("a", 5)], vec![owed("b", Events::WRITE)], 5);
    let unseen = batch.unseen(&Findings::default());
    assert_eq!(unseen.cursor, None);
    assert_eq!(unseen.owe.len(), 2, "a mark becomes owed, too, because it may be marked again");
    let parents = batch.parents();
    assert_eq!(parents.len(), 1);
    assert_eq!((parents[0].path.is_root(), parents[0].scope), (true, Scope::Children));
    assert!(unseen.owe[0].events.contains(Events::AGAIN));
    let end = batch.settle(&mut Findings::default(), Totals::default(), TIMES);
    assert_eq!(end.owe.len(), 1);
    assert_eq!(end.owe[0].next_try_ms, TIMES.echo_ms);
    let echo = owed("a", end.owe[0].events);
    let end = Batch::new(vec![], vec![echo], 0).settle(
        &mut Findings::default(),
        Totals::default(),
        TIMES,
    );
    assert!(end.owe.is_empty());
}

/// splitmix64: a seed gives the same numbers everywhere.
struct Draw(u64);

impl Draw {
    fn of(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }
    fn yes(&mut self, of: u64) -> bool {
        self.of(of) == 0
    }
}

/// Names that a slave always refuses, in pushes and comparisons of every kind: comparisons find them again, pushes turn
/// them into other scopes and lanes, and pushes of names below them fail on them.
#[test]
fn no_failing_path_is_retried_before_its_backoff() {
    use crate::journal::Journal;
    use crate::pusher::jobs::rows::not_compared;
    const NAMES: [&str; 4] = ["d", "d/f", "d/e", "big"];
    const MOST_MS: i64 = 60_000;
    for seed in 0..4 {
        println!("seed {seed}");
        let mut draw = Draw(seed);
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path()).unwrap();
        journal.set_longest_delay(MOST_MS);
        journal.remote("r", None).unwrap();
        let row = |name: &str, now_ms: i64, draw: &mut Draw| Owe {
            path: path(name),
            scope: [Scope::Entry, Scope::Children, Scope::Tree][draw.of(3) as usize],
            events: Events::from_bits_retain(draw.of(256) as u32)
                | if draw.yes(2) { Events::BULK } else { Events::empty() },
            error: None,
            attempts: 0,
            next_try_ms: now_ms,
            since_ms: now_ms,
        };
        let all = NAMES.iter().map(|name| row(name, 1_000, &mut draw)).collect();
        journal.settle("r", &Settlement { owe: all, ..Settlement::default() }, 1_000).unwrap();
        let (mut now_ms, mut failures) = (1_000_i64, HashMap::<RelPath, Vec<i64>>::new());
        while now_ms < 120_000 {
            let mut rows = journal.due("r", now_ms, 100).unwrap();
            rows.extend(journal.due_large("r", now_ms, 1).unwrap());
            rows.extend(journal.due_bulk("r", now_ms, 100).unwrap());
            let dirs = journal.due_dirs("r", false, now_ms, 100).unwrap();
            now_ms += 100;
            if !rows.is_empty() {
                let mut findings = Findings::default();
                for row in &rows {
                    // Large files and directories become rows of their kind once. After that the push fails.
                    match draw.of(4) {
                        0 if row.attempts == 0 && row.scope == Scope::Entry => {
                            findings.note(row.path.clone(), Disposition::Large);
                        }
                        1 if row.events.contains(Events::DELETE) => {
                            findings.note(row.path.clone(), Disposition::Compare(Scope::Children));
                        }
                        _ => {
                            findings.fail([row.path.clone()], "refused");
                            failures.entry(row.path.clone()).or_default().push(now_ms);
                        }
                    }
                }
                findings.above.extend(draw.yes(2).then(|| (path("d"), "refused".into())));
                let times = Times { now_ms, echo_ms: now_ms + 60_000, retry_most_ms: MOST_MS };
                let end =
                    Batch::new(vec![], rows, 0).settle(&mut findings, Totals::default(), times);
                journal.settle("r", &end, now_ms).unwrap();
            }
            if !dirs.is_empty() {
                // A comparison finds all of them again, and may be incomplete.
                let done = dirs.iter().map(|row| (row.path.clone(), row.generation)).collect();
                let mut end = Settlement { done, ..Settlement::default() };
                let attempts = |name: &str| {
                    dirs.iter().find(|row| row.path == path(name)).map_or(0, |row| row.attempts)
                };
                end.owe = NAMES
                    .iter()
                    .map(|name| Owe {
                        scope: Scope::Entry,
                        attempts: attempts(name),
                        ..row(name, now_ms, &mut draw)
                    })
                    .collect();
                if draw.yes(2) {
                    let incomplete = crate::pusher::jobs::rows::Unseen {
                        message: "opendir".into(),
                        paths: vec![(path("d"), "opendir".into())],
                    };
                    for row in &dirs {
                        failures.entry(row.path.clone()).or_default().push(now_ms);
                    }
                    end.owe.extend(not_compared(&dirs, &incomplete, now_ms, MOST_MS));
                }
                journal.settle("r", &end, now_ms).unwrap();
            }
            // A push of another name fails on a directory above it, or its end is not seen.
            if draw.yes(50) {
                let lost = Batch::new(vec![marked("d/other", 1)], vec![], 0).parents();
                journal
                    .settle("r", &Settlement { owe: lost, ..Settlement::default() }, now_ms)
                    .unwrap();
            }
        }
        // 0.5, 2, 4 … 60 s: 7 attempts in two minutes, and a few more for rows that change their kind.
        for (path, times) in failures {
            assert!(times.len() <= 14, "{path}: {} attempts: {times:?}", times.len());
        }
    }
}

#[test]
fn a_disposition_of_higher_rank_stays_and_a_later_message_replaces_an_earlier_one() {
    let mut findings = Findings::default();
    findings.note(path("a"), Disposition::Compare(Scope::Tree));
    findings.fail([path("a")], "one");
    findings.fail([path("a")], "two");
    findings.note(path("a"), Disposition::Unproven);
    assert_eq!(findings.of(&path("a")), Some(&Disposition::Failed("two".into())));
    findings.note(path("a"), Disposition::Unsteady);
    findings.note(path("b"), Disposition::Deferred(5));
    findings.note(path("c"), Disposition::Large);
    findings.plan_again();
    assert_eq!(findings.of(&path("a")), Some(&Disposition::Unsteady), "no plan finds it again");
    assert!(findings.is_deferred(&path("b")) && findings.of(&path("c")).is_none());
}

#[test]
fn what_failed_below_a_name_is_not_settled() {
    // Listed as its parent, which is gone; below that, a name there could not be deleted.
    let marks = vec![marked("gone/b", 7), marked("d", 8)];
    let mut findings = Findings::default();
    findings.replaced.insert(path("gone/b"), path("gone"));
    findings.fail(["gone/a", "d/e/f", "elsewhere"].map(path), "busy");
    findings.note(path("sent/along"), Disposition::Unproven);
    let end = Batch::new(marks, vec![], 0).settle(&mut findings, Totals::default(), TIMES);
    let rows: Vec<_> = end.owe.iter().map(|o| (o.path.to_string(), o.error.as_deref())).collect();
    let busy = Some("busy");
    let expected = [("gone/b", busy), ("d", busy), ("elsewhere", busy), ("sent/along", None)];
    assert_eq!(rows, expected.map(|(path, error)| (path.to_owned(), error)));
    assert!(end.owe[3].events.contains(Events::WRITE), "compared by content");
    assert!(end.settled.is_empty() && end.deleted.is_empty());
}

fn settled(row: Owed, findings: &mut Findings) -> Vec<Owe> {
    Batch::new(vec![], vec![row], 0).settle(findings, Totals::default(), TIMES).owe
}

#[test]
fn a_directory_that_was_pushed_whole_in_part_is_compared_under_the_guard() {
    let whole = Events::RECONCILE | Events::DIR | Events::WHOLE | Events::BULK;
    let row = Owed { scope: Scope::Tree, ..owed("d", whole) };
    let mut findings = Findings::default();
    assert!(settled(row.clone(), &mut findings).is_empty());
    findings.note(path("d"), Disposition::Compare(Scope::Tree));
    let [owe] = &settled(row.clone(), &mut findings)[..] else { panic!() };
    assert!(owe.scope == Scope::Tree && owe.events.contains(Events::SCAN | Events::WHOLE));
    assert!(!owe.events.contains(Events::BULK), "it is not pushed whole again");
    // Everything whose earlier push may still run is compared when that has ended.
    let row = Owed { path: path(""), events: whole | Events::AGAIN, ..row };
    let [owe] = &settled(row.clone(), &mut Findings::default())[..] else { panic!() };
    assert_eq!((owe.scope, owe.next_try_ms), (Scope::Tree, TIMES.echo_ms));
    assert!(owe.events.contains(Events::ECHO | Events::SCAN));
    assert!(!owe.events.intersects(Events::BULK | Events::AGAIN));
}

#[test]
fn what_is_pushed_beside_everything_is_pushed_once_more() {
    let mut beside = Findings { beside: Beside::Everything, ..Findings::default() };
    let row = owed("f", Events::WRITE | Events::BESIDE);
    assert!(settled(row.clone(), &mut Findings::default()).is_empty(), "that was once more");
    let [owe] = &settled(row, &mut beside)[..] else { panic!() };
    assert!(owe.events.contains(Events::WRITE | Events::BESIDE) && owe.next_try_ms == TIMES.now_ms);
    let mut ended = Findings { beside: Beside::Ended, ..Findings::default() };
    let again = settled(owed("f", Events::WRITE), &mut ended);
    assert!(again.len() == 1 && !again[0].events.contains(Events::BESIDE), "it waits for nothing");
    assert!(
        settled(owed("", Events::ATTRIB), &mut beside).is_empty(),
        "the root is set at the end"
    );
    let gone = owed("gone", Events::DELETE);
    assert!(settled(gone, &mut beside)[0].events.contains(Events::DELETE | Events::BESIDE));
    let large = owed("large", Events::WRITE | Events::LARGE);
    assert!(settled(large, &mut beside)[0].events.contains(Events::LARGE), "in its own lane");
    let mut batch = Batch::new(vec![], vec![owed("", Events::WHOLE | Events::BULK)], 0);
    batch.sort();
    assert!(batch.is_everything() && batch.is_in_whole(&path("a/b")) && !batch.touches(&path("a")));
}

#[test]
fn names_in_a_directory_that_is_pushed_whole_are_in_flight() {
    let rows = vec![owed("d", Events::WHOLE | Events::BULK), owed("e", Events::RECONCILE)];
    let mut batch = Batch::new(vec![], rows, 0);
    batch.sort();
    assert!(batch.is_in_whole(&path("d/x/y")) && !batch.is_everything());
    assert!(!batch.is_in_whole(&path("e/x")) && !batch.is_in_whole(&path("d-e")));
}

#[test]
fn a_directory_that_was_also_marked_is_compared_after_it_was_pushed_whole() {
    let events = Events::WHOLE | Events::BULK | Events::COMPARE | Events::MOVE | Events::DELETE;
    let row = Owed { scope: Scope::Tree, ..owed("d", events) };
    let [owe] = &settled(row, &mut Findings::default())[..] else { panic!() };
    assert_eq!(owe.scope, Scope::Tree);
    assert_eq!(owe.events, Events::MOVE | Events::DELETE | Events::DIR | Events::SCAN);
}

#[test]
fn the_root_is_set_once_more_after_everything_was_pushed() {
    let whole = Events::RECONCILE | Events::DIR | Events::WHOLE | Events::BULK;
    let row = Owed { path: path(""), scope: Scope::Tree, ..owed("", whole) };
    let end =
        Batch::new(vec![], vec![row], 0).settle(&mut Findings::default(), Totals::default(), TIMES);
    assert_eq!(end.whole, [path("")]);
    let [owe] = &end.owe[..] else { panic!() };
    assert!(owe.path.is_root() && owe.scope == Scope::Entry && !owe.events.contains(Events::WHOLE));
}

#[test]
fn what_a_remote_cannot_take_as_a_whole_is_compared() {
    let whole = Events::RECONCILE | Events::DIR | Events::WHOLE | Events::BULK;
    let rows = vec![Owed { scope: Scope::Tree, ..owed("d", whole) }, owed("f", Events::BULK)];
    let batch = Batch::new(vec![], rows, 0);
    assert_eq!(batch.not_whole().map(|end| end.compare), Some(vec![path("d")]));
    assert!(Batch::new(vec![], vec![owed("f", Events::BULK)], 0).not_whole().is_none());
    let mut findings = Findings::default();
    findings.note(path("d"), Disposition::Unsteady);
    let row = Owed { scope: Scope::Tree, ..owed("d", whole) };
    let end = Batch::new(vec![], vec![row], 0).settle(&mut findings, Totals::default(), TIMES);
    assert_eq!(end.compare, [path("d")]);
    assert!(end.owe[0].events.contains(Events::SCAN) && !end.owe[0].events.contains(Events::BULK));
}
