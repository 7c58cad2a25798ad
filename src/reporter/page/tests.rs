use super::*;
use crate::message::{
    ChildStatus, InstanceStatus, LocalPathState, LocalPathStatus, PluginState, PluginStatus,
    PusherState, PusherStatus, ReconcileProgress, RemoteStatus,
};
use crate::reporter::events::Events;
use crate::reporter::history::{History, POINTS};
use crate::reporter::samples;
use std::path::Path;
use std::sync::Arc;

/// One localpath with a hostile name, and one remote in trouble.
pub fn status() -> InstanceStatus {
    let status = PusherStatus {
        state: PusherState::Backoff,
        reason: Some("rsync: <script>alert('x')</script> {{body}}".into()),
        waiting: 3,
        pushed_bytes: (1 << 53) - 1,
        ..PusherStatus::default()
    };
    let pusher = ChildStatus { restarts: 4, ..ChildStatus::default() };
    let remote = RemoteStatus {
        name: "10.0.0.2::www".into(),
        status,
        lag_ms: 2_500,
        pusher,
        ..RemoteStatus::default()
    };
    let localpath = LocalPathStatus {
        watch: "/data/<b>\"q\"\n".into(),
        state: LocalPathState::Watching,
        watches: 7,
        open_files: 3,
        open_since_ms: Some(-40_500),
        remotes: vec![remote],
        plugins: vec![PluginStatus { name: "<i>".into(), ..PluginStatus::default() }],
        ..LocalPathStatus::default()
    };
    InstanceStatus { pid: 1, localpaths: vec![localpath], ..InstanceStatus::default() }
}

/// The same as the reporter's view at 100 s.
pub fn view() -> View {
    view_of(status())
}

fn view_of(status: InstanceStatus) -> View {
    let at = Duration::from_secs(100);
    let (mut history, mut events) = (History::default(), Events::default());
    history.note(&status, at);
    events.note(None, &status);
    View {
        status: Some((Arc::new(status), at)),
        history: Arc::new(history),
        events: Arc::new(events),
        watches_allowed: Some(8_192),
        max_lag_ms: 60_000,
        ..View::default()
    }
}

fn utc(ms: i64) -> Option<DateTime<FixedOffset>> {
    DateTime::from_timestamp_millis(ms).map(|time| time.fixed_offset())
}

/// The page of a view, at the time of its status.
fn shown(view: &View) -> String {
    shown_as(Part::Remotes, view)
}

fn shown_as(part: Part, view: &View) -> String {
    let at = view.status.as_ref().map_or(Duration::ZERO, |(_, at)| *at);
    document(part, view, "n0nce", at, utc).into_string()
}

/// What is between the style sheet and the script.
fn content(page: &str) -> &str {
    let from = page.find("<body").unwrap();
    &page[from..page.find("<script").unwrap()]
}

/// As an instance is after a bad hour: lags, throughput, and events.
fn lived(end: InstanceStatus) -> View {
    let (mut history, mut events) = (History::default(), Events::default());
    let mut last: Option<InstanceStatus> = None;
    for n in 0..POINTS {
        let left_ms = (POINTS - 1 - n) as i64 * 10_000;
        let mut now = InstanceStatus { now_ms: end.now_ms - left_ms, ..end.clone() };
        for (i, l) in now.localpaths.iter_mut().enumerate() {
            for (j, r) in l.remotes.iter_mut().enumerate() {
                earlier(r, &end, [n, i, j]);
            }
        }
        history.note(&now, Duration::from_secs(100 + 10 * n as u64));
        events.note(last.as_ref(), &now);
        last = Some(now);
    }
    let at = Duration::from_secs(100 + 10 * (POINTS as u64 - 1));
    View {
        status: last.map(|status| (Arc::new(status), at)),
        history: Arc::new(history),
        events: Arc::new(events),
        ..view()
    }
}

/// Remote `j` of localpath `i` at point `n`. Before its trouble it was in sync, but for an outage that is over.
fn earlier(r: &mut RemoteStatus, end: &InstanceStatus, [n, i, j]: [usize; 3]) {
    let wave = |n: usize| {
        let mixed = n.wrapping_mul(73_856_093)
            ^ (i + 1).wrapping_mul(19_349_663)
            ^ (j + 1).wrapping_mul(83_492_791);
        (mixed ^ (mixed >> 7)).wrapping_mul(2_654_435_761) / 65_536 % 400
    };
    let burst = |n: &usize| wave(*n) < 8 + (*n / 40 + i) % 5 * 9;
    let bursts = (0..=n).filter(burst).count() as u64;
    r.status.pushed_bytes = 500_000_000 + bursts * 3_100_000 * (1 + (i + j) as u64 % 4);
    let left_ms = (POINTS - 1 - n) as i64 * 10_000;
    let since_ms = r.trouble_since_ms.unwrap_or(end.now_ms - r.lag_ms as i64);
    r.lag_ms = r.lag_ms.saturating_sub(left_ms as u64);
    if left_ms > 300_000 {
        r.pusher.restarts = 0;
    }
    if left_ms > 0 && end.now_ms - left_ms < since_ms {
        let (pushed_bytes, state) = (r.status.pushed_bytes, PusherState::InSync);
        r.status = PusherStatus { pushed_bytes, state, ..PusherStatus::default() };
        r.lag_ms = if wave(n) < 4 { 300 + 900 * wave(n) as u64 } else { 0 };
        r.trouble_since_ms = None;
        if (60..75).contains(&n) && j == 2 {
            r.status.state = PusherState::Backoff;
            r.status.reason = Some("rsync: connection unexpectedly closed".into());
            r.lag_ms = (n as u64 - 59) * 10_000;
            r.trouble_since_ms = Some(end.now_ms - (POINTS as i64 - 60) * 10_000);
        }
    }
}

/// Writes a page to the directory that is to be kept, for a look at it.
fn keep(name: &str, page: &str) {
    if let Some(dir) = std::env::var_os("SYNCSUP_TEST_KEEP") {
        std::fs::write(Path::new(&dir).join(name), page).unwrap();
    }
}

#[test]
fn names_are_escaped_in_html() {
    let text = page(Part::Remotes, &view(), "abc", Duration::from_secs(101));
    let body = content(&text);
    assert!(!body.contains("<script") && !body.contains("<b>\"") && !body.contains("<i>\""));
    assert!(!body.contains("<i></"), "{body}");
    assert!(text.contains("3 files open since 40 s"), "{text}");
    assert!(text.contains("/data/&lt;b&gt;&quot;q&quot;\\x0a"), "{text}");
    assert!(text.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; {{body}}"));
    assert!(text.contains("<style nonce=\"abc\">") && text.trim_end().ends_with("</html>"));
    assert!(text.contains("<title>syncsup: 1 in trouble</title>"));
    assert!(!text.contains("style=") && !text.contains("http:") && !text.contains("src="));
    assert_eq!(text.matches("<script").count(), 1);
    assert_eq!(text.matches("<style").count(), 1);
}

/// Whatever field it is in, hostile text makes neither an element, nor an attribute, nor a character that is not seen.
#[test]
fn no_text_from_outside_is_markup() {
    let bad = |n: usize| format!("\u{202e}\"'><img src=x onerror=y{n}>&amp;</script>\u{200b}\r\n");
    let child = |n| ChildStatus {
        pid: None,
        since_ms: Some(i64::MAX),
        restarts: 2,
        last_exit: Some(bad(n)),
    };
    let make = |state, path, plugin| {
        let mut status = samples::with_plugin(plugin);
        status.files = vec![bad(1).into()];
        let l = &mut status.localpaths[0];
        (l.watch, l.state, l.reason) = (bad(2).as_str().into(), path, Some(bad(3)));
        (l.open_files, l.open_since_ms) = (1, Some(0));
        l.open_path = crate::path::RelPath::new(bad(4).replace("</", "<").as_bytes());
        l.watcher = child(5);
        l.plugins[0].name = bad(6);
        l.plugins[0].reason = Some(bad(7));
        (l.plugins[0].given_up, l.plugins[0].failing) = (1, 1);
        let r = &mut l.remotes[0];
        (r.name, r.pusher) = (bad(8), child(9));
        (r.status.state, r.status.reason) = (state, Some(bad(10)));
        (r.status.failing, r.status.first_failure) = (1, Some(bad(11)));
        let why = bad(12).into();
        r.status.reconcile = Some(ReconcileProgress { why, found: 3, ..Default::default() });
        status.reporter.as_mut().unwrap().listen = bad(13);
        status.reporter.as_mut().unwrap().process = child(14);
        status
    };
    let before = make(PusherState::InSync, LocalPathState::Watching, PluginState::Idle);
    for (state, path, plugin) in [
        (PusherState::Held, LocalPathState::Watching, PluginState::Failing),
        (PusherState::Down, LocalPathState::Held, PluginState::Held),
        (PusherState::Backoff, LocalPathState::Degraded, PluginState::Calling),
    ] {
        let mut view = view_of(make(state, path, plugin));
        let mut events = Events::default();
        events.note(None, &before);
        events.note(Some(&before), &view.status.as_ref().unwrap().0);
        view.events = Arc::new(events);
        let text = shown(&view);
        let processes = shown_as(Part::Processes, &view);
        let body = [content(&text), content(&processes)].concat();
        for n in 1..=14 {
            // In a path the slash is one.
            let slash = if n == 4 { "" } else { "/" };
            let field = format!("onerror=y{n}&gt;&amp;amp;&lt;{slash}script");
            assert!(body.contains(&field) || n == 3 && path == LocalPathState::Watching, "{field}");
        }
        assert!(!body.contains("<img") && !body.contains("'>") && !body.contains("</script"));
        assert!(![text, processes].concat().contains(['\u{202e}', '\u{200b}', '\r']));
        let quotes = body.matches('"').count();
        assert_eq!(quotes % 2, 0);
    }
}

/// Users compare the page and `status` side by side.
#[test]
fn numbers_are_formatted_as_in_status() {
    for (lag_ms, wanted) in
        [(300, "0.3 s"), (59_900, "59.9 s"), (75_000, "75.0 s"), (7_200_000, "7200.0 s")]
    {
        let mut status = status();
        status.localpaths[0].remotes[0].lag_ms = lag_ms;
        let text = shown(&view_of(status));
        assert!(
            text.contains(&format!("<span class=\"n lag\">{wanted}</span>")),
            "{wanted} {text}"
        );
    }
}

#[test]
fn times_count_from_the_time_of_the_status() {
    let mut status = samples::troubled(3, 4);
    status.localpaths[0].remotes[3].next_reconcile_ms = Some(samples::NOW_MS + 7_200_000);
    let text = shown(&view_of(status));
    for words in [
        "in trouble since 00:49:29 (12 min) · next try in 21 s · next reconcile in 2 h",
        "<span class=\"when\">since 00:49:29 (12 min) · next try in 21 s",
        "runs for 3 d · 2026-11-22 01:02:03 +00:00",
        "3377 of 5210 differences pushed",
        "held since 11-21 23:32 (1 h)",
        "since 11-21 23:32 (1 h)",
    ] {
        assert!(text.contains(words), "{words}\n{text}");
    }
}

#[test]
fn trouble_is_said_first_with_what_to_do() {
    let text = shown(&view_of(samples::troubled(20, 6)));
    let at = |words: &str| text.find(words).unwrap_or_else(|| panic!("{words}\n{text}"));
    let order = [
        "7 in trouble, 2 held, 2 behind, 109 in sync",
        "Needs you",
        "syncsup release --show 10.0.0.2::www",
        "auth failed on module",
        "2 failing paths",
        "Tried again without help",
        "of 7 localpaths",
        "data-k=\"remotes\"",
        "<h2>/data/www</h2>",
        "id=\"events\"",
    ];
    assert!(order.windows(2).all(|pair| at(pair[0]) < at(pair[1])), "{text}");
    // Each remote that the filters count has a row with its class.
    for (class, count) in [("trouble", 7), ("held", 2), ("working", 2), ("insync", 109)] {
        assert_eq!(text.matches(&format!("<li class=\"row remote {class}\"")).count(), count);
    }
    assert_eq!(text.matches("<details class=\"localpath").count(), 20);
    assert!(!text.contains("\" open><summary"), "many are folded");
    let calm = shown(&view_of(samples::instance(2, &[PusherState::InSync])));
    assert!(!calm.contains("Needs you") && calm.contains("everything is in sync"));
    assert_eq!(calm.matches("\" open><summary").count(), 2, "few are not folded");
}

#[test]
fn a_localpath_counts_what_is_held_beside_what_is_in_trouble() {
    use PusherState::{Backoff, Behind, Held, InSync};
    let state = |states: &[PusherState]| shown(&view_of(samples::instance(1, states)));
    assert!(state(&[Backoff, Held, Held, InSync]).contains("1 in trouble, 2 held, of 4"));
    assert!(state(&[Backoff, Behind, InSync]).contains("1 of 3 in trouble"));
    assert!(state(&[Held, InSync]).contains("1 of 2 held"));
}

#[test]
fn processes_are_listed_apart() {
    let mut status = samples::with_plugin(PluginState::Idle);
    status.localpaths[0].remotes[0].pusher = ChildStatus {
        restarts: 3,
        last_exit: Some("signal 9 (SIGKILL)".into()),
        ..ChildStatus::default()
    };
    let view = view_of(status);
    let text = shown_as(Part::Processes, &view);
    let table = &text[text.find("<table").unwrap()..];
    for words in ["supervisor", "127.0.0.1:8008 listening", "watcher", "pusher", "plugin runner"] {
        assert!(table.contains(words), "{words}");
    }
    assert!(table.contains("<td class=\"n\">3</td><td>signal 9 (SIGKILL)</td>"), "{table}");
    assert_eq!(table.matches("<tr").count(), 6);
    assert!(shown(&view).contains("<a href=\"processes\">Processes <small>5</small></a>"));
}

#[test]
fn events_are_shown_with_their_times_and_their_beginning() {
    let view = lived(samples::troubled(3, 4));
    let text = shown(&view);
    let since = view.events.since_ms.unwrap();
    assert!(text.contains(&format!("datetime=\"{}\"", crate::figures::utc(since))));
    assert!(text.contains("when the reporter started"));
    let shows = [
        "<b>10.0.0.5::www</b> <span class=\"dim\">of /data/www</span> is in trouble",
        "<b>10.0.0.4::www</b> <span class=\"dim\">of /data/www and 2 more</span> is back after",
        "title=\"2026-11-22 00:49:33 +00:00\">00:49:33</time>",
    ];
    assert!(shows.iter().all(|words| text.contains(words)), "{text}");
}

#[test]
fn the_page_is_small() {
    let one = shown(&view_of(samples::instance(1, &[PusherState::InSync])));
    assert!(one.len() < 30_000, "{}", one.len());
    let hour = shown(&lived(samples::instance(2, &[PusherState::InSync; 3])));
    assert!(hour.len() < 60_000, "{}", hour.len());
}

/// `SYNCSUP_TEST_KEEP` names a directory for pages of every size, to be looked at in a browser.
#[test]
fn every_remote_has_a_row_in_a_large_instance() {
    let sizes = [(20, 6), (1, 1), (50, 10), (60, 10)];
    let looked_at = std::env::var_os("SYNCSUP_TEST_KEEP").is_some();
    for (localpaths, remotes) in sizes.into_iter().take(if looked_at { 4 } else { 1 }) {
        let view = lived(samples::troubled(localpaths, remotes));
        let at = std::time::Instant::now();
        let text = shown(&view);
        let took = at.elapsed();
        assert_eq!(text.matches("<li class=\"row remote ").count(), localpaths * remotes);
        keep(&format!("page-{localpaths}x{remotes}.html"), &text);
        keep(&format!("processes-{localpaths}x{remotes}.html"), &shown_as(Part::Processes, &view));
        eprintln!("{localpaths} x {remotes}: {} bytes in {took:?}", text.len());
    }
}

/// `SYNCSUP_SNAPSHOTS=write` rewrites the file.
#[test]
fn the_content_of_the_page_is_as_it_was() {
    let mut status = samples::troubled(3, 4);
    status.localpaths[0].plugins =
        samples::with_plugin(PluginState::Idle).localpaths[0].plugins.clone();
    let text = shown(&lived(status)).replace(VERSION, "VERSION");
    // A line for each element, so that a difference can be read.
    let got = content(&text).replace("><", ">\n<") + "\n";
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/reporter/page/snapshot.html");
    if std::env::var_os("SYNCSUP_SNAPSHOTS").is_some_and(|how| how == "write") {
        std::fs::write(&file, &got).unwrap();
    }
    let wanted = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(got == wanted, "{} differs; SYNCSUP_SNAPSHOTS=write rewrites it", file.display());
}

#[test]
fn a_silent_supervisor_is_shown() {
    let text = page(Part::Remotes, &view(), "abc", Duration::from_secs(200));
    assert!(text.contains("The supervisor sends no status") && !text.contains("/data"));
}
