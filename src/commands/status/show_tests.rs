use super::super::layout::{Colours, Screen};
use super::*;
use crate::commands::table::width;
use crate::message::{ChildStatus, PusherStatus};
use crate::reporter::samples;
use chrono::Utc;
use std::path::Path;

const NOW: i64 = 1_795_309_323_456;

/// English, on any width, without colours.
fn view() -> View {
    View {
        language: Language::English,
        screen: Screen::default(),
        part: StatusPart::All,
        processes: Processes::Few,
        now_ms: NOW,
        time: |ms| figures::time(ms, &Utc),
    }
}

fn shown(instance: InstanceStatus) -> String {
    report(&[instance], &view())
}

fn texts(row: &TableRow) -> String {
    row.cells.iter().map(|c| c.text.as_str()).collect::<Vec<_>>().join("|")
}

/// One localpath with one remote.
pub fn sample(state: LocalPathState, remote: PusherState) -> LocalPathStatus {
    let status = PusherStatus {
        state: remote,
        reason: Some("first\nsecond".into()),
        help: Some(HelpTopic::Unreachable),
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
        requests: 1,
        pusher: ChildStatus { restarts: 2, last_exit: Some("signal 9".into()), ..child.clone() },
    }];
    LocalPathStatus {
        watch: "/data".into(),
        state,
        watches: 4,
        watcher: child,
        remotes,
        ..Default::default()
    }
}

#[test]
fn all_remotes_are_shown_in_one_table() {
    let text = shown(InstanceStatus {
        version: "1.2.3".into(),
        pid: 7,
        files: vec!["/etc/c.xml".into()],
        localpaths: vec![sample(LocalPathState::Watching, PusherState::Backoff)],
        ..Default::default()
    });
    assert_eq!(
        text,
        "1 in trouble

/etc/c.xml (syncsup 1.2.3)
  REMOTE         STATE       LAG      TO PUSH  FAILING  LAST PUSH   SENT           NEXT RECONCILE
/data: watching, 4 directories
  10.0.0.2::www  in trouble  312.5 s  5        1        12 min ago  0 files, 12 B  in 1 h
    since 2026-11-22 00:50:03 +00:00 (12 min), next try in 34.0 s: first; second
    1 path fails: a/b: no space
    help: syncsup help unreachable

PROCESS                   PID  RUNS FOR  RESTARTS  LAST EXIT
supervisor                7    -         -         -
  watcher /data           9    5.0 s     -         -
    pusher 10.0.0.2::www  9    5.0 s     2         signal 9
"
    );
}

#[test]
fn notes_are_shown_below_the_table() {
    let below = |change: &dyn Fn(&mut RemoteStatus)| {
        let mut localpath = sample(LocalPathState::Watching, PusherState::Behind);
        change(&mut localpath.remotes[0]);
        remote_row(&localpath.remotes[0], None, &view(), &mut Said::default()).below
    };
    assert_eq!(below(&|_| {}), ["    first; second", "    1 path fails: a/b: no space"]);
    let same = below(&|r| r.status.reason = r.status.first_failure.clone());
    assert_eq!(same, ["    1 path fails: a/b: no space"], "nothing is said twice");
    let down = below(&|r| {
        r.status = PusherStatus { state: PusherState::Down, ..Default::default() };
        r.trouble_since_ms = Some(NOW);
    });
    assert_eq!(down, ["    since 2026-11-22 01:02:03 +00:00 (0 ms)"]);
    let tried = below(&|r| {
        r.status.state = PusherState::Backoff;
        r.status.retry_ms = Some(NOW - 1);
    });
    assert!(tried[0].contains("), retrying now: first"), "{tried:?}");
}

#[test]
fn each_plugin_has_a_row() {
    let mut localpath = sample(LocalPathState::Watching, PusherState::InSync);
    let plugin = PluginStatus {
        name: "socket".into(),
        state: PluginState::Failing,
        reason: Some("a: refused".into()),
        waiting: 2,
        given_up: 1,
        calls: 7,
        ..Default::default()
    };
    localpath.plugin_runner = Some(ChildStatus { pid: Some(3), ..ChildStatus::default() });
    let row = plugin_row(&plugin, &localpath, &view());
    assert_eq!(texts(&row), "  plugin socket|failing|-|2|-|never|7 calls|-");
    assert_eq!(row.below, ["    1 given up; a: refused"]);
    localpath.plugin_runner = None;
    assert_eq!(plugin_row(&plugin, &localpath, &view()).cells[1].text, "DOWN");
}

#[test]
fn the_position_of_the_scrub_is_shown() {
    use crate::message::{VerifyProgress, VerifyRun};
    let said = |verify: VerifyProgress| {
        let mut remote = sample(LocalPathState::Watching, PusherState::InSync).remotes.remove(0);
        remote.status =
            PusherStatus { state: PusherState::InSync, verify: Some(verify), ..Default::default() };
        remote_row(&remote, None, &view(), &mut Said::default()).below
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
        let mut localpath = sample(LocalPathState::Watching, PusherState::InSync);
        (localpath.open_files, localpath.open_since_ms) = (files, Some(NOW - ms));
        localpath.open_path = crate::path::RelPath::new("log/a");
        let (localpaths, files) = (vec![localpath], vec!["/c".into()]);
        let text = shown(InstanceStatus { localpaths, files, ..Default::default() });
        assert!(text.contains(&format!("  10.0.0.2::www  in sync, {words}  ")), "{text}");
        assert!(text.contains("    sent when it is closed: log/a\n"), "{text}");
    }
    assert_eq!(
        sample(LocalPathState::Watching, PusherState::InSync).open_words(NOW, Language::English),
        None
    );
}

#[test]
fn a_standby_and_its_lack_are_shown() {
    let with = |standby| {
        let mut localpath = sample(LocalPathState::Watching, PusherState::InSync);
        localpath.remotes[0].status.standby = standby;
        let localpaths = vec![localpath];
        shown(InstanceStatus { localpaths, ..Default::default() })
    };
    assert!(with(StandbyStatus::Ready).contains("pusher 10.0.0.2::www, with a standby"));
    let short = with(StandbyStatus::ShortOfConnections);
    assert!(short.contains("without a standby: the remote refuses more connections"), "{short}");
    assert!(!with(StandbyStatus::None).contains("standby"));
}

#[test]
fn help_is_named_once_for_all_that_it_explains() {
    let mut localpath = sample(LocalPathState::Held, PusherState::Held);
    localpath.help = Some(HelpTopic::RootGone);
    let of = |localpath: &LocalPathStatus| {
        let localpaths = vec![localpath.clone()];
        shown(InstanceStatus { localpaths, ..Default::default() })
    };
    let text = of(&localpath);
    assert!(text.contains("    help: syncsup help root-gone\n"), "{text}");
    assert!(text.contains("    help: syncsup help unreachable\n"), "{text}");
    localpath.remotes[0].status.help = localpath.help;
    assert_eq!(of(&localpath).matches("help: ").count(), 1);
}

#[test]
fn plugins_and_the_page_name_their_help() {
    let plugin = PluginStatus { help: Some(HelpTopic::PluginFailing), ..Default::default() };
    let runner = Some(ChildStatus { pid: Some(3), ..ChildStatus::default() });
    let localpath = LocalPathStatus { plugin_runner: runner, ..LocalPathStatus::default() };
    assert_eq!(plugin_row(&plugin, &localpath, &view()).help, Some(HelpTopic::PluginFailing));
    let reporter = ReporterStatus {
        listen: "127.0.0.1:80".into(),
        state: ReporterState::Refused,
        reason: Some("in use".into()),
        help: Some(HelpTopic::PageRefused),
        ..ReporterStatus::default()
    };
    assert_eq!(
        reporter_lines(&reporter, &view()),
        "http://127.0.0.1:80/ REFUSED: in use\n    help: syncsup help page-refused\n"
    );
}

/// `SYNCSUP_SNAPSHOTS=write` rewrites the file.
fn is_snapshot(name: &str, instances: &[InstanceStatus], view: &View) {
    let text = report(instances, view);
    if let Some(columns) = view.screen.columns {
        text.lines().for_each(|line| assert!(width(line) <= columns, "{name}: {line}"));
    }
    let file = format!("src/commands/status/snapshots/{name}.txt");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("SYNCSUP_SNAPSHOTS").is_some_and(|how| how == "write") {
        std::fs::write(&file, &text).unwrap();
    }
    let wanted = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(text == wanted, "{} differs; SYNCSUP_SNAPSHOTS=write rewrites it", file.display());
}

fn wide(columns: usize) -> View {
    let screen = Screen { columns: Some(columns), colours: Colours::Off };
    View { screen, now_ms: samples::NOW_MS, ..view() }
}

/// One localpath and three remotes: one is dead, one is compared, one has a path that fails.
fn three() -> InstanceStatus {
    use PusherState::{Backoff, Behind, Reconciling};
    let mut status = samples::instance(1, &[Reconciling, Behind, Backoff]);
    let troubled = samples::troubled(5, 4);
    let remotes = &mut status.localpaths[0].remotes;
    for (n, (l, r)) in [(2, 2), (4, 2), (0, 3)].into_iter().enumerate() {
        let name = remotes[n].name.clone();
        remotes[n] = troubled.localpaths[l].remotes[r].clone();
        remotes[n].name = name;
    }
    remotes[2].status.help = Some(HelpTopic::Unreachable);
    remotes[1].status.help = Some(HelpTopic::FailingPaths);
    status
}

#[test]
fn three_remotes_are_shown_as_before() {
    for columns in [80, 120] {
        is_snapshot(&format!("three-{columns}"), &[three()], &wide(columns));
        let chinese = View { language: Language::Chinese, ..wide(columns) };
        is_snapshot(&format!("three-zh-{columns}"), &[three()], &chinese);
    }
    is_snapshot("three-narrow", &[three()], &wide(40));
    is_snapshot("three-unlimited", &[three()], &View { screen: Screen::default(), ..wide(80) });
}

#[test]
fn three_hundred_remotes_are_shown_as_before() {
    let mut status = samples::troubled(50, 6);
    let all = status.localpaths.iter_mut().flat_map(|l| &mut l.remotes);
    for r in all.filter(|r| r.status.state == PusherState::Backoff) {
        r.status.help = Some(HelpTopic::Unreachable);
    }
    status.localpaths[7].state = LocalPathState::Starting;
    is_snapshot("three-hundred-80", &[status.clone()], &wide(80));
    let problems = View { part: StatusPart::Problems, ..wide(120) };
    is_snapshot("three-hundred-problems-120", &[status.clone()], &problems);
    let chinese = View { part: StatusPart::Problems, language: Language::Chinese, ..wide(80) };
    is_snapshot("three-hundred-problems-zh-80", &[status], &chinese);
}

#[test]
fn without_problems_there_is_only_the_first_line() {
    let problems = View { part: StatusPart::Problems, ..view() };
    let two = || samples::instance(2, &[PusherState::InSync, PusherState::InSync]);
    assert_eq!(report(&[two(), two()], &problems), "everything is in sync\n");
    let works = samples::instance(1, &[PusherState::InSync, PusherState::Pushing]);
    assert_eq!(report(&[two(), works], &problems), "5 in sync, 1 behind\n");
    let mut refused = two();
    refused.reporter.as_mut().unwrap().state = ReporterState::Refused;
    let text = report(&[two(), refused], &problems);
    assert_eq!(text.lines().count(), 4, "one instance, and why: {text}");
    assert_eq!(report(&[], &problems), "");
}

#[test]
fn what_needs_a_look_comes_first() {
    use PusherState::{Backoff, Held, InSync};
    let mut status = samples::instance(3, &[InSync, InSync]);
    status.localpaths[1].remotes[1].status.state = Held;
    status.localpaths[2].remotes[1].status.state = Backoff;
    let text = shown(status);
    let lines = text.lines().take_while(|l| !l.starts_with("http://"));
    let starts: Vec<&str> =
        lines.skip(4).filter_map(|l| l.split([':', ' ']).find(|w| !w.is_empty())).collect();
    assert_eq!(
        starts.join(" "),
        "/data/uploads 10.0.0.3 /data/static 10.0.0.3 \
         /data/www 10.0.0.2 10.0.0.3 /data/static 10.0.0.2 /data/uploads 10.0.0.2"
    );
}

#[test]
fn a_localpath_is_titled_once_where_its_rows_follow_each_other() {
    use PusherState::{Backoff, InSync};
    let text = shown(samples::instance(1, &[InSync, Backoff, InSync]));
    assert_eq!(text.matches("/data/www: watching").count(), 1, "{text}");
    let at = |name: &str| text.find(&format!("  {name}::www")).unwrap();
    assert!(at("10.0.0.3") < at("10.0.0.2"), "{text}");
}

#[test]
fn many_processes_are_shown_on_request() {
    let few = samples::instance(2, &[PusherState::InSync; 3]);
    assert!(shown(few.clone()).contains("PROCESS"), "10 processes");
    let mut many = few;
    many.localpaths[0].plugin_runner = Some(ChildStatus::default());
    let text = shown(many.clone());
    let line = "\n\n11 processes, 1 down; `syncsup status --processes` shows them\n";
    assert!(!text.contains("PROCESS") && text.ends_with(line), "{text}");
    let all = View { processes: Processes::All, ..view() };
    let text = report(&[many], &all);
    assert!(text.contains("    plugin runner ") && text.contains("DOWN"), "{text}");
}

#[test]
fn colours_are_for_a_screen_that_has_them() {
    let screen = Screen { columns: Some(120), colours: Colours::On };
    let text = report(&[three()], &View { screen, ..wide(120) });
    assert!(text.contains("\x1b[31min trouble\x1b[0m"), "{text}");
    assert!(!report(&[three()], &wide(120)).contains('\x1b'));
    // The text of a remote has none.
    let mut status = three();
    status.localpaths[0].remotes[2].status.reason = Some("\x1b[2J".into());
    let text = report(&[status], &View { screen, ..wide(120) });
    assert!(text.contains("\\x1b[2J") && !text.contains("\x1b[2J"), "{text}");
}

#[test]
fn a_reason_that_many_rows_have_is_told_once_where_lines_have_a_limit() {
    let mut status = samples::troubled(6, 4);
    let told = |status: &InstanceStatus, view| report(std::slice::from_ref(status), &view);
    let refused = |text: &str| text.matches("Connection refused").count();
    assert_eq!(refused(&told(&status, view())), 2);
    let text = told(&status, wide(120));
    assert!(refused(&text) == 1 && text.contains("next try in 21.0 s: as above\n"), "{text}");
    // Another slave, or another reason.
    status.localpaths[0].remotes[3].name = "10.0.0.9::www".into();
    assert_eq!(refused(&told(&status, wide(120))), 2);
}

#[test]
fn a_reconcile_says_how_far_it_is_and_how_long_the_rest_takes() {
    use crate::message::{ReconcileProgress, ReconcileRate};
    let how_far = |r: &ReconcileProgress, language| {
        progress::bytes(r, language) + &progress::rate(r, language)
    };
    let mut r = ReconcileProgress { bytes: 2_000_000, bytes_done: 500_000, ..Default::default() };
    assert_eq!(how_far(&r, Language::English), ", 500.0 kB of 2.0 MB");
    r.rate = Some(ReconcileRate { bytes_per_s: 100_000, left_s: Some(15) });
    assert_eq!(how_far(&r, Language::English), ", 500.0 kB of 2.0 MB, 100.0 kB/s, 15.0 s left");
    assert_eq!(how_far(&r, Language::Chinese), "，500.0 kB/2.0 MB，100.0 kB/秒，还需 15.0 秒");
    r.rate = Some(ReconcileRate { bytes_per_s: 0, left_s: None });
    assert_eq!(how_far(&r, Language::English), ", 500.0 kB of 2.0 MB");
}
