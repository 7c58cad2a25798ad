use super::*;
use crate::message::PusherStatus;

const NOW: i64 = 1_795_309_323_456;

/// One localpath with one remote.
pub fn sample(state: &str, remote: PusherState) -> LocalPathStatus {
    let status = PusherStatus {
        state: remote,
        reason: Some("first\nsecond".into()),
        waiting: 3,
        owed: 2,
        failing: 1,
        first_failure: Some("a/b: no space".into()),
        last_success_ms: Some(NOW - 720_000),
        retry_ms: Some(NOW + 34_000),
        pushed_bytes: 12,
        ..Default::default()
    };
    let name = "10.0.0.2::www".to_owned();
    let child = ChildStatus { pid: Some(9), since_ms: Some(NOW - 5_000), ..Default::default() };
    let remotes = vec![RemoteStatus {
        name,
        status,
        lag_ms: 312_500,
        trouble_since_ms: Some(NOW - 720_000),
        next_reconcile_ms: Some(NOW + 3_600_000),
        pusher: ChildStatus { restarts: 2, last_exit: Some("signal 9".into()), ..child.clone() },
    }];
    LocalPathStatus {
        watch: "/data".into(),
        state: state.into(),
        watches: 4,
        watcher: child,
        remotes,
        ..Default::default()
    }
}

#[test]
fn all_remotes_are_shown_in_one_table() {
    let text = instance(
        &InstanceStatus {
            version: "1.2.3".into(),
            pid: 7,
            files: vec!["/etc/c.xml".into()],
            localpaths: vec![sample("watching", PusherState::Backoff)],
            ..Default::default()
        },
        NOW,
    );
    let since = at(NOW - 720_000);
    assert_eq!(
        text,
        format!(
            "/etc/c.xml (syncsup 1.2.3)
  REMOTE         STATE       LAG      TO PUSH  FAILING  LAST PUSH   SENT           NEXT RECONCILE
/data: watching, 4 directories
  10.0.0.2::www  in trouble  312.5 s  5        1        12 min ago  0 files, 12 B  in 1 h
    since {since} (12 min), next try in 34.0 s: first; second
    1 path fails: a/b: no space

PROCESS                   PID  RUNS FOR  RESTARTS  LAST EXIT
supervisor                7    -         -         -
  watcher /data           9    5.0 s     -         -
    pusher 10.0.0.2::www  9    5.0 s     2         signal 9
"
        )
    );
}

#[test]
fn notes_are_shown_below_the_table() {
    let below = |change: &dyn Fn(&mut RemoteStatus)| {
        let mut localpath = sample("watching", PusherState::Behind);
        change(&mut localpath.remotes[0]);
        remote_row(&localpath.remotes[0], None, NOW).1
    };
    assert_eq!(below(&|_| {}), ["    first; second", "    1 path fails: a/b: no space"]);
    let same = below(&|r| r.status.reason = r.status.first_failure.clone());
    assert_eq!(same, ["    1 path fails: a/b: no space"], "nothing is said twice");
    let down = below(&|r| {
        r.status = PusherStatus { state: PusherState::Down, ..Default::default() };
        r.trouble_since_ms = Some(NOW);
    });
    assert_eq!(down, [format!("    since {} (0 ms)", at(NOW))]);
    let tried = below(&|r| {
        r.status.state = PusherState::Backoff;
        r.status.retry_ms = Some(NOW - 1);
    });
    assert!(tried[0].contains("), retrying now: first"), "{tried:?}");
}

#[test]
fn each_plugin_has_a_row() {
    let mut localpath = sample("watching", PusherState::InSync);
    let plugin = PluginStatus {
        name: "socket".into(),
        state: "failing".into(),
        reason: Some("a: refused".into()),
        waiting: 2,
        given_up: 1,
        calls: 7,
        ..Default::default()
    };
    localpath.plugin_runner = Some(ChildStatus { pid: Some(3), ..ChildStatus::default() });
    let (cells, below) = plugin_row(&plugin, &localpath, NOW);
    assert_eq!(cells.join("|"), "  plugin socket|failing|-|2|-|never|7 calls|-");
    assert_eq!(below, ["    1 given up; a: refused"]);
    localpath.plugin_runner = None;
    assert_eq!(plugin_row(&plugin, &localpath, NOW).0[1], "DOWN");
}

#[test]
fn the_position_of_the_scrub_is_shown() {
    use crate::message::{VerifyProgress, VerifyRun};
    let said = |verify: VerifyProgress| {
        let mut remote = sample("watching", PusherState::InSync).remotes.remove(0);
        remote.status =
            PusherStatus { state: PusherState::InSync, verify: Some(verify), ..Default::default() };
        remote_row(&remote, None, NOW).1
    };
    let waits = VerifyProgress { next_ms: Some(NOW + 7_200_000), ..Default::default() };
    assert_eq!(said(waits), ["    next scrub in 2 h"]);
    let at = crate::path::RelPath::new(&b"d\xff"[..]).unwrap();
    let run = VerifyRun { at: Some(at), repaired: 3, ..Default::default() };
    let runs = VerifyProgress { run: Some(run), ..Default::default() };
    assert_eq!(said(runs), ["    scrub after d\\xff, 3 repaired"]);
}

#[test]
fn open_files_are_shown_even_in_sync() {
    for (ms, files, words) in
        [(40_700, 1, "1 file open since 40 s"), (125_000, 2, "2 files open since 2 min")]
    {
        let mut localpath = sample("watching", PusherState::InSync);
        (localpath.open_files, localpath.open_since_ms) = (files, Some(NOW - ms));
        localpath.open_path = crate::path::RelPath::new("log/a");
        let (localpaths, files) = (vec![localpath], vec!["/c".into()]);
        let text = instance(&InstanceStatus { localpaths, files, ..Default::default() }, NOW);
        assert!(text.contains(&format!("  10.0.0.2::www  in sync, {words}  ")), "{text}");
        assert!(text.contains("    sent when it is closed: log/a\n"), "{text}");
    }
    assert_eq!(sample("watching", PusherState::InSync).open_words(NOW), None);
}

#[test]
fn a_standby_and_its_lack_are_shown() {
    let shown = |standby| {
        let mut localpath = sample("watching", PusherState::InSync);
        localpath.remotes[0].status.standby = standby;
        let localpaths = vec![localpath];
        instance(&InstanceStatus { localpaths, ..Default::default() }, NOW)
    };
    assert!(shown(StandbyStatus::Ready).contains("pusher 10.0.0.2::www, with a standby"));
    let short = shown(StandbyStatus::ShortOfConnections);
    assert!(short.contains("without a standby: the remote refuses more connections"), "{short}");
    assert!(!shown(StandbyStatus::None).contains("standby"));
}
