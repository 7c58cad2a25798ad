//! Reloads: removed settings leave nothing behind, and unchanged processes keep running.

use super::world::*;
use std::fs;

#[test]
fn a_remote_that_cannot_be_forgotten_yet_is_forgotten_later() {
    let mut world = World::new(&[("a", &[ONE, TWO])]);
    let script = world.path("fail.sh");
    let fail_log = format!("  fail_log: {{path: {}}}\n", script.display());
    world.configure("c.yaml", &[("a", &[ONE, TWO])], &fail_log);
    world.start(&[]);
    let state = world.state_of("a");
    let gone = state.join("fail-127.0.0.1%3A1%3A%3Aa-two.sh");
    let db = rusqlite::Connection::open(state.join("journal.db")).unwrap();
    db.busy_timeout(DEADLINE).unwrap();
    let refuse =
        "CREATE TRIGGER kept BEFORE DELETE ON remote BEGIN SELECT RAISE(ABORT, 'not now'); END";
    db.execute_batch(refuse).unwrap();
    let names = || {
        let mut query = db.prepare("SELECT name FROM remote ORDER BY name").unwrap();
        let names = query.query_map([], |row| row.get::<_, String>(0)).unwrap();
        names.map(Result::unwrap).collect::<Vec<_>>()
    };
    assert_eq!(names().len(), 2);
    world.configure("c.yaml", &[("a", &[ONE])], &fail_log);
    assert_eq!(code(&world.run(&["reload"])), 0);
    wait_for("a refusal", || world.log().contains("not now; trying again").then_some(()));
    assert_eq!(names().len(), 2);
    // Its pusher, which would remove it too, has ended.
    fs::write(&gone, "# a-two: owed\n").unwrap();
    db.execute_batch("DROP TRIGGER kept").unwrap();
    wait_for("the remote to be forgotten", || (names().len() == 1).then_some(()));
    wait_for("its part of the fail log to go", || (!gone.exists()).then_some(()));
}

#[test]
fn the_fail_log_of_a_remote_removed_while_stopped_is_deleted_at_the_start() {
    let mut world = World::new(&[("a", &[ONE, TWO])]);
    world.start(&[]);
    let state = world.state_of("a");
    assert_eq!(code(&world.run(&["stop"])), 0);
    assert_eq!(world.wait_end(), 0);
    let (kept, gone) = (state.join("fail-127.0.0.1%3A1%3A%3Aa-one.sh"), state.join("fail-b.sh"));
    fs::write(&kept, "# a-one: owed\n").unwrap();
    fs::write(&gone, "# b: owed\n").unwrap();
    let script = world.path("fail.sh");
    fs::write(&script, "# old\n").unwrap();
    let fail_log = format!("  fail_log: {{path: {}}}\n", script.display());
    world.configure("c.yaml", &[("a", &[ONE])], &fail_log);
    world.start(&[]);
    assert!(!gone.exists());
    wait_for("a script without it", || {
        // When nothing is owed by the time it is written, sersync's goes aside and none is made.
        let text = fs::read_to_string(&script).unwrap_or_default();
        (!text.contains("# old") && !text.contains("# b")).then_some(())
    });
}

#[test]
fn a_localpath_named_twice_is_merged_in_any_order() {
    let mut world = World::new(&[("a", &[ONE]), ("a", &[TWO])]);
    world.start(&[]);
    assert_eq!(localpaths(&world.status().unwrap()).len(), 1);
    let before = world.local("a");
    let remotes = |local: &serde_json::Value| {
        let remotes = local["remotes"].as_array().unwrap().iter();
        let mut named: Vec<_> =
            remotes.map(|r| (r["name"].to_string(), pid(&r["pusher"]))).collect();
        named.sort();
        named
    };
    assert_eq!(remotes(&before).len(), 2);
    world.configure("c.yaml", &[("a", &[TWO]), ("a", &[ONE])], "");
    let reloaded = world.run(&["reload"]);
    assert!(text(&reloaded).contains("0 restarted, 3 untouched"), "{}", text(&reloaded));
    let after = world.local("a");
    assert_eq!(remotes(&after), remotes(&before));
    assert_eq!(pid(&after["watcher"]), pid(&before["watcher"]));
    // With a filter of its own it cannot be one, and is refused.
    world.configure("c.yaml", &[("a", &[TWO]), ("a", &[ONE])], "  filter: {exclude: [x]}\n");
    let refused = world.run(&["reload"]);
    assert_eq!(code(&refused), 2, "{}", text(&refused));
    assert!(text(&refused).contains("declared twice"), "{}", text(&refused));
    assert_eq!(remotes(&world.local("a")), remotes(&before));
}
