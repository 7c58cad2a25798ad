use super::intake::together;
use super::*;
use crate::journal::{Mark, Marked, Owe, Record, Settlement};

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

fn mark(journal: &mut Journal, names: &[&str], now_ms: i64) {
    let marks = names.iter().map(|n| Mark::entry(path(n), Events::WRITE)).collect();
    journal.record(&Record { marks, ..Record::default() }, now_ms).unwrap();
}

fn open() -> (tempfile::TempDir, Journal) {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(dir.path()).unwrap();
    journal.remote("a", None).unwrap();
    journal.remote("b", None).unwrap();
    journal.set_plugins(&["p".into()]).unwrap();
    (dir, journal)
}

fn settle(journal: &mut Journal, remote: &str, cursor: i64) {
    let end = Settlement { cursor: Some(cursor), ..Settlement::default() };
    journal.settle(remote, &end, 0).unwrap();
}

fn due(journal: &Journal) -> Vec<String> {
    journal.calls_due("p", i64::MAX, 100).unwrap().iter().map(|d| d.path.to_string()).collect()
}

fn none() -> BTreeSet<String> {
    BTreeSet::new()
}

#[test]
fn a_call_waits_for_every_remote_that_is_not_failing() {
    let (_dir, mut j) = open();
    mark(&mut j, &["x", "y"], 5);
    settle(&mut j, "a", 2);
    let all = |_: &Marked| true;
    assert_eq!(j.horizon(&none()).unwrap(), 0);
    assert_eq!(j.take_in("p", 0, 100, all).unwrap(), 0);
    let trouble = BTreeSet::from(["b".to_owned()]);
    assert_eq!(j.horizon(&trouble).unwrap(), 2);
    assert_eq!(j.take_in("p", 2, 100, |m| m.seq > 1).unwrap(), 0, "too young");
    assert_eq!(j.take_in("p", 2, 100, all).unwrap(), 2);
    assert!(due(&j).is_empty());
    assert!(!j.make_ready(&trouble, 100).unwrap());
    assert_eq!(due(&j), ["x", "y"]);
    let both = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
    assert_eq!(j.horizon(&both).unwrap(), 2, "nobody holds it up");
}

#[test]
fn paths_owed_without_an_attempt_are_not_ready() {
    let (_dir, mut j) = open();
    mark(&mut j, &["large", "d"], 1);
    settle(&mut j, "b", 2);
    let owe = |name: &str, error: Option<&str>| Owe {
        path: path(name),
        scope: Scope::Entry,
        events: Events::LARGE,
        error: error.map(str::to_owned),
        attempts: 0,
        next_try_ms: 0,
        since_ms: 0,
    };
    let owed = vec![owe("large", None), owe("d/x", None), owe("dx", None)];
    j.settle("a", &Settlement { cursor: Some(2), owe: owed, ..Settlement::default() }, 1).unwrap();
    j.take_in("p", 2, 100, |_| true).unwrap();
    j.db.execute("UPDATE call SET scope = 2 WHERE path = x'64'", []).unwrap();
    assert!(j.make_ready(&none(), 100).unwrap());
    assert!(due(&j).is_empty());
    let again = vec![owe("large", Some("refused"))];
    j.settle("a", &Settlement { owe: again, ..Settlement::default() }, 1).unwrap();
    assert!(j.make_ready(&none(), 100).unwrap());
    assert_eq!(due(&j), ["large"], "tried is enough");
    assert!(!j.make_ready(&BTreeSet::from(["a".to_owned()]), 100).unwrap());
    assert_eq!(due(&j), ["large", "d"]);
}

/// Every remote has settled everything.
fn settle_all(j: &mut Journal) {
    let cursor = j.last_seq().unwrap();
    for remote in j.remote_names().unwrap() {
        settle(j, &remote, cursor);
    }
}

#[test]
fn a_path_marked_during_its_call_is_called_again() {
    let (_dir, mut j) = open();
    let take = |j: &mut Journal| {
        j.take_in("p", i64::MAX, 100, |_| true).unwrap();
        assert!(j.make_ready(&none(), 100).unwrap(), "no remote has settled it");
        settle_all(j);
        assert!(!j.make_ready(&none(), 100).unwrap());
    };
    mark(&mut j, &["x"], 1);
    take(&mut j);
    let first = j.calls_due("p", 1, 1).unwrap().remove(0);
    mark(&mut j, &["x"], 2);
    take(&mut j);
    let called = Some(Called { dir: false, ino: 7, ctime_ns: 8 });
    j.end_call("p", &first, &CallEnd::Done { counts: true, called }, 3).unwrap();
    assert_eq!(due(&j), ["x"]);
    assert_eq!(j.called("p", &path("x")).unwrap(), called);
    let second = j.calls_due("p", 1, 1).unwrap().remove(0);
    j.end_call("p", &second, &CallEnd::Done { counts: true, called: None }, 4).unwrap();
    assert!(due(&j).is_empty());
    assert_eq!(j.called("p", &path("x")).unwrap(), None);
    let backlog = j.plugin_backlog("p").unwrap();
    assert_eq!((backlog.waiting, backlog.calls, backlog.last_success_ms), (0, 2, Some(4)));
}

#[test]
fn failed_calls_back_off_and_are_given_up() {
    let (_dir, mut j) = open();
    mark(&mut j, &["x"], 1);
    settle_all(&mut j);
    j.take_in("p", 9, 9, |_| true).unwrap();
    j.make_ready(&none(), 100).unwrap();
    let call = j.calls_due("p", 1, 1).unwrap().remove(0);
    let error = "exit 3".to_owned();
    let again = CallEnd::Again { error: error.clone(), attempts: 1, next_try_ms: 50 };
    j.end_call("p", &call, &again, 1).unwrap();
    assert!(j.calls_due("p", 49, 1).unwrap().is_empty());
    assert_eq!(j.next_call_ms(1).unwrap(), Some(50));
    assert_eq!(j.calls_due("p", 50, 1).unwrap()[0].attempts, 1);
    j.end_call("p", &call, &CallEnd::GivenUp { error, attempts: 2 }, 60).unwrap();
    assert!(due(&j).is_empty());
    let backlog = j.plugin_backlog("p").unwrap();
    assert_eq!((backlog.waiting, backlog.given_up), (0, 1));
    assert_eq!(backlog.first_error.as_deref(), Some("x: exit 3"));
    // A new change starts from the beginning.
    mark(&mut j, &["x"], 70);
    settle_all(&mut j);
    j.take_in("p", 9, 9, |_| true).unwrap();
    j.make_ready(&none(), 100).unwrap();
    let again = j.calls_due("p", 99, 1).unwrap().remove(0);
    assert_eq!((again.attempts, again.since_ms), (0, 70));
}

#[test]
fn cleaning_respects_the_runner_and_is_not_blocked() {
    let (_dir, mut j) = open();
    mark(&mut j, &["x", "y"], 1);
    settle(&mut j, "a", 2);
    settle(&mut j, "b", 2);
    assert_eq!(j.clean(100).unwrap(), 0, "not taken in");
    j.take_in("p", 1, 9, |_| true).unwrap();
    assert_eq!(j.clean(100).unwrap(), 1);
    // No longer configured.
    j.set_plugins(&[]).unwrap();
    assert_eq!(j.clean(100).unwrap(), 1);
    j.set_plugins(&["q".into()]).unwrap();
    assert!(!j.marks_wait("q").unwrap(), "a new one begins now");
    for remote in ["a", "b"] {
        j.forget_remote(remote).unwrap();
    }
    mark(&mut j, &["z"], 1);
    j.take_in("q", 9, 9, |_| true).unwrap();
    assert_eq!(j.clean(100).unwrap(), 1, "without remotes too");
}

#[test]
fn old_signatures_expire_except_for_directories() {
    let (_dir, mut j) = open();
    for (n, dir) in [("f", false), ("d", true)] {
        let call = Due {
            path: path(n),
            seq: 1,
            scope: Scope::Entry,
            events: Events::WRITE,
            attempts: 0,
            since_ms: 0,
        };
        let called = Some(Called { dir, ino: 1, ctime_ns: 5 });
        j.end_call("p", &call, &CallEnd::Done { counts: true, called }, 1).unwrap();
    }
    j.forget_called(6).unwrap();
    assert_eq!(j.called("p", &path("f")).unwrap(), None);
    assert!(j.called("p", &path("d")).unwrap().is_some());
    j.set_alarm("a", Some(3)).unwrap();
    assert_eq!(j.alarms().unwrap(), [("a".to_owned(), 3)]);
    j.set_alarm("a", None).unwrap();
    assert!(j.alarms().unwrap().is_empty());
}

#[test]
fn a_later_mark_cancels_no_waiting_call() {
    use Events as E;
    use Scope::{Children, Entry, Tree};
    for (old, new, both) in [
        ((Entry, E::WRITE), (Entry, E::ATTRIB), (Entry, E::WRITE | E::ATTRIB)),
        ((Tree, E::MOVE), (Entry, E::ATTRIB), (Tree, E::MOVE | E::ATTRIB)),
        ((Entry, E::SCAN), (Entry, E::ATTRIB), (Entry, E::WRITE | E::ATTRIB)),
        ((Children, E::SCAN | E::DIR), (Entry, E::ATTRIB | E::DIR), (Children, E::ATTRIB | E::DIR)),
        ((Entry, E::ATTRIB | E::DIR), (Children, E::SCAN | E::DIR), (Children, E::ATTRIB | E::DIR)),
        ((Entry, E::SCAN), (Children, E::SCAN), (Tree, E::SCAN)),
        ((Entry, E::WRITE), (Entry, E::WRITE | E::SCAN), (Entry, E::WRITE | E::SCAN)),
    ] {
        assert_eq!(together(old, new), both, "{old:?} {new:?}");
    }
    let (_dir, mut j) = open();
    let step = |j: &mut Journal, events: Events| {
        let marks = vec![Mark::entry(path("x"), events)];
        j.record(&Record { marks, ..Record::default() }, 1).unwrap();
        settle_all(j);
        j.take_in("p", i64::MAX, 9, |_| true).unwrap();
        j.make_ready(&none(), 9).unwrap();
        j.calls_due("p", i64::MAX, 1).unwrap().remove(0)
    };
    let first = step(&mut j, E::WRITE);
    j.clean(100).unwrap();
    assert_eq!(step(&mut j, E::ATTRIB).events, E::WRITE | E::ATTRIB);
    // The call was running, and fails.
    let error = || "why".to_owned();
    let again = CallEnd::Again { error: error(), attempts: 1, next_try_ms: 9 };
    j.end_call("p", &first, &again, 1).unwrap();
    let second = j.calls_due("p", 1, 1).unwrap().remove(0);
    assert_eq!(second.events, E::WRITE | E::ATTRIB);
    // A later change does not undo that a call was given up.
    j.end_call("p", &second, &CallEnd::GivenUp { error: error(), attempts: 1 }, 1).unwrap();
    j.clean(100).unwrap();
    assert_eq!(step(&mut j, E::ATTRIB).events, E::ATTRIB);
}
