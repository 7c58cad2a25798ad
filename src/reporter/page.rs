//! The status page: one answer that contains everything. Pure. All text from outside goes through [`html`].

use super::View;
use super::history::POINTS;
use crate::figures;
use crate::message::{InstanceStatus, LocalPathStatus, PluginStatus, PusherState, RemoteStatus};
use crate::path::as_written;
use chrono::Local;
use std::fmt::Write;
use std::time::Duration;

const TEMPLATE: &str = include_str!("page.html");
/// The height of a graph, in its own units. Its width is [`POINTS`].
const HEIGHT: u32 = 40;

/// The page. `nonce` allows its style sheet.
pub fn page(view: &View, nonce: &str, now: Duration) -> String {
    let (word, body) = match view.fresh(now) {
        Some(status) => (verdict(status).1, body(view, status)),
        None => {
            let text = "The supervisor sends no status.";
            (
                text.to_owned(),
                format!("<header><h1>syncsup</h1><p class=\"bad\">{text}</p></header>"),
            )
        }
    };
    let title = format!("syncsup: {}", html(&word));
    let mut out = String::with_capacity(TEMPLATE.len() + body.len() + 100);
    let mut rest = TEMPLATE;
    // From front to back: inserted text is not searched again.
    for (mark, text) in [("{{title}}", &*title), ("{{nonce}}", nonce), ("{{body}}", &*body)] {
        let (before, after) = rest.split_once(mark).unwrap_or((rest, ""));
        out.push_str(before);
        out.push_str(text);
        rest = after;
    }
    out + rest
}

/// The CSS class and the text of the overall verdict.
fn verdict(status: &InstanceStatus) -> (&'static str, String) {
    let remotes = || status.localpaths.iter().flat_map(|l| &l.remotes);
    let bad = remotes().filter(|r| class(r.status.state) == "bad").count();
    let bad_paths =
        status.localpaths.iter().filter(|l| !matches!(&*l.state, "watching" | "scanning")).count();
    let behind = remotes().filter(|r| r.status.state != PusherState::InSync).count();
    match (bad + bad_paths, behind) {
        (0, 0) => ("good", "everything is in sync".into()),
        (0, n) => ("busy", format!("{n} of {} remotes behind", remotes().count())),
        (n, _) => ("bad", format!("{n} in trouble")),
    }
}

fn body(view: &View, status: &InstanceStatus) -> String {
    let (class, words) = verdict(status);
    let files: Vec<String> = status
        .files
        .iter()
        .map(|f| crate::path::printable(f.as_os_str().as_encoded_bytes()))
        .collect();
    let mut out = format!(
        "<header><div class=\"row\"><h1>syncsup</h1><strong class=\"{class}\">{}</strong></div>\n\
         <p class=\"dim\">{} · pid {} · version {} · {}</p></header>\n<main>\n",
        html(&words),
        html(&files.join(", ")),
        status.pid,
        env!("CARGO_PKG_VERSION"),
        figures::time(status.now_ms, &Local)
    );
    status.localpaths.iter().for_each(|l| localpath(&mut out, view, l, status.now_ms));
    out + "</main>"
}

fn localpath(out: &mut String, view: &View, l: &LocalPathStatus, now_ms: i64) {
    let class = match l.state.as_str() {
        "watching" => "good",
        "starting" | "scanning" => "busy",
        _ => "bad",
    };
    let watch = html(&l.watch.to_string());
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        "<section><div class=\"row\"><h2>{watch}</h2><span class=\"{class}\">{}</span></div>\n\
         <p class=\"dim\">{} {} watched{}{}</p>\n",
        html(&l.state),
        l.watches,
        if l.watches == 1 { "directory" } else { "directories" },
        l.open_words(now_ms).map(|open| format!(" · {open}")).unwrap_or_default(),
        restarts(l.watcher.restarts)
    );
    why(out, l.reason.as_deref());
    l.remotes.iter().for_each(|r| remote(out, view, l, r, now_ms));
    l.plugins.iter().for_each(|p| plugin(out, p));
    out.push_str("</section>\n");
}

fn restarts(n: u64) -> String {
    if n == 0 { String::new() } else { format!(" · restarted {n} times") }
}

fn why(out: &mut String, reason: Option<&str>) {
    if let Some(reason) = reason {
        let _ = writeln!(out, "<p class=\"why\">{}</p>", html(reason));
    }
}

fn remote(out: &mut String, view: &View, l: &LocalPathStatus, r: &RemoteStatus, now_ms: i64) {
    let s = &r.status;
    let (class, word) = (class(s.state), s.state.word());
    let left = s.waiting + s.owed;
    let lag = if left == 0 && r.lag_ms == 0 { "none".into() } else { figures::seconds(r.lag_ms) };
    let unknown = left == 0 && s.reconcile.as_ref().is_some_and(|c| c.found == 0);
    let _ = writeln!(
        out,
        "<div class=\"remote\"><div class=\"row\"><h3>{}</h3><span class=\"{class}\">{word}</span></div>",
        html(&r.name)
    );
    let reconcile = s.reconcile.as_ref().map(|c| c.why.to_string());
    why(out, s.reason.as_deref().filter(|_| s.reason != reconcile));
    if let Some(c) = &s.reconcile {
        let text = match c.found {
            0 => format!("reconcile: {}", c.why),
            found => format!("reconcile ({}): {} of {found} differences pushed", c.why, c.done),
        };
        why(out, Some(&text));
    }
    if s.failing > 0 && s.first_failure != s.reason {
        why(out, s.first_failure.as_deref());
    }
    let times = times(r, now_ms);
    if !times.is_empty() {
        let _ = writeln!(out, "<p class=\"dim\">{times}</p>");
    }
    let cells = [
        ("lag", lag),
        ("to push", if unknown { "?".into() } else { left.to_string() }),
        ("failing", s.failing.to_string()),
        ("last push", s.last_success_ms.map_or("never".into(), |ms| ago(ms, now_ms))),
        ("files sent", s.pushed_files.to_string()),
        ("bytes sent", figures::bytes(s.pushed_bytes)),
        ("restarts", r.pusher.restarts.to_string()),
    ];
    out.push_str("<dl>");
    for (name, value) in cells {
        let bad = if name == "failing" && s.failing > 0 { " class=\"bad\"" } else { "" };
        let _ = write!(out, "<div><dt>{name}</dt><dd{bad}>{value}</dd></div>");
    }
    out.push_str("</dl>\n");
    graph(out, &view.history.of(l.watch.as_bytes(), &r.name));
    out.push_str("</div>\n");
}

/// Since when the remote is in trouble, when it is retried, and when it is compared next.
fn times(r: &RemoteStatus, now_ms: i64) -> String {
    let since = r.trouble_since_ms.map(|ms| {
        let (word, at) = (r.status.state.word(), figures::time(ms, &Local));
        format!("{word} since {at} ({})", age(ms, now_ms))
    });
    let again = r.status.retry_ms.map(|ms| match ms > now_ms {
        true => format!("next try in {}", age(now_ms, ms)),
        false => "retrying now".to_owned(),
    });
    let compared = r.next_reconcile_ms.map(|ms| format!("next reconcile in {}", age(now_ms, ms)));
    let all: Vec<String> = since.into_iter().chain(again).chain(compared).collect();
    all.join(" · ")
}

fn age(from_ms: i64, to_ms: i64) -> String {
    figures::span(to_ms.saturating_sub(from_ms).max(0) as u64)
}

fn ago(ms: i64, now_ms: i64) -> String {
    format!("{} ago", age(ms, now_ms))
}

fn plugin(out: &mut String, p: &PluginStatus) {
    let class = if matches!(&*p.state, "failing" | "held") { "bad" } else { "dim" };
    let _ = writeln!(
        out,
        "<div class=\"remote\"><div class=\"row\"><h3>plugin {}</h3><span class=\"{class}\">{}</span></div>\n\
         <p class=\"dim\">{} calls, {} waiting, {} failing, {} given up</p>",
        html(&p.name),
        html(&p.state),
        p.calls,
        p.waiting,
        p.failing,
        p.given_up
    );
    why(out, p.reason.as_deref());
    out.push_str("</div>\n");
}

/// The lag of the last hour as a line, with the present at the right. Its scale is at least one second high.
fn graph(out: &mut String, points: &[Option<u32>]) {
    let most = points.iter().flatten().copied().max().unwrap_or(0);
    let (scale, first) = (f64::from(most.max(1_000)), POINTS - points.len().min(POINTS));
    let mut path = String::new();
    let mut open = false;
    for (n, point) in points.iter().enumerate() {
        let Some(lag) = point else {
            open = false;
            continue;
        };
        let y = f64::from(HEIGHT - 1) - f64::from(*lag) / scale * f64::from(HEIGHT - 2);
        let sign = if open { 'L' } else { 'M' };
        // A line from a point to itself makes a single point visible.
        let dot = if open { "" } else { "h0" };
        let _ = write!(path, "{sign}{} {y:.1}{dot}", first + n);
        open = true;
    }
    let most = figures::seconds(u64::from(most));
    let _ = writeln!(
        out,
        "<svg viewBox=\"0 0 {POINTS} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"lag of the last \
         hour, at most {most}\"><line x1=\"0\" y1=\"{0}\" x2=\"{POINTS}\" y2=\"{0}\"/><path d=\"{path}\"/></svg>\n\
         <p class=\"dim\">lag of the last hour, at most {most}</p>",
        HEIGHT - 1
    );
}

fn class(state: PusherState) -> &'static str {
    match state {
        PusherState::InSync => "good",
        PusherState::Behind | PusherState::Pushing | PusherState::Reconciling => "busy",
        PusherState::Backoff | PusherState::Held | PusherState::Down => "bad",
    }
}

/// Text that a browser cannot take for markup, and that cannot change the direction of writing.
pub fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in as_written(text.as_bytes()).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::history::History;
    use super::*;
    use crate::message::{ChildStatus, PusherStatus};
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
            state: "watching".into(),
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
        let (status, at) = (status(), Duration::from_secs(100));
        let mut history = History::default();
        history.note(&status, at);
        View {
            status: Some((Arc::new(status), at)),
            history: Arc::new(history),
            watches_allowed: Some(8_192),
            max_lag_ms: 60_000,
            ..View::default()
        }
    }

    #[test]
    fn names_are_escaped_in_html() {
        let text = page(&view(), "abc", Duration::from_secs(101));
        assert!(!text.contains("<script") && !text.contains("<b>") && !text.contains("<i>"));
        assert!(text.contains("3 files open since 40 s"), "{text}");
        assert!(text.contains("/data/&lt;b&gt;&quot;q&quot;\\x0a"), "{text}");
        // A marker within a name is not replaced.
        assert_eq!(text.matches("{{").count(), 1);
        assert!(text.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; {{body}}"));
        assert!(text.contains("<style nonce=\"abc\">") && text.trim_end().ends_with("</html>"));
        assert!(text.contains("<title>syncsup: 1 in trouble</title>"));
        assert!(!text.contains("style=") && !text.contains("http:") && !text.contains("src="));
    }

    #[test]
    fn ages_count_from_the_time_of_the_status() {
        let mut r = status().localpaths.remove(0).remotes.remove(0);
        assert_eq!(times(&r, 1_000_000), "");
        r.trouble_since_ms = Some(910_000);
        r.status.retry_ms = Some(1_005_000);
        r.next_reconcile_ms = Some(8_200_000);
        let since = figures::time(910_000, &Local);
        let all =
            format!("in trouble since {since} (1 min) · next try in 5.0 s · next reconcile in 2 h");
        assert_eq!(times(&r, 1_000_000), all);
    }

    /// Users compare the page and `status` side by side.
    #[test]
    fn numbers_are_formatted_as_in_status() {
        let r = |bytes, lag_ms| {
            let mut status = status();
            let remote = &mut status.localpaths[0].remotes[0];
            (remote.status.pushed_bytes, remote.lag_ms) = (bytes, lag_ms);
            status
        };
        for (bytes, lag_ms, wanted) in [
            (0, 300, ["<dd>0 B<", "<dd>0.3 s<"]),
            (1_024, 59_900, ["<dd>1.0 kB<", "<dd>59.9 s<"]),
            (1_048_576, 75_000, ["<dd>1.0 MB<", "<dd>75.0 s<"]),
            (5_368_709_120, 7_200_000, ["<dd>5.4 GB<", "<dd>7200.0 s<"]),
        ] {
            let text = body(&view(), &r(bytes, lag_ms));
            assert!(wanted.iter().all(|w| text.contains(w)), "{wanted:?} {text}");
        }
    }

    #[test]
    fn missing_samples_leave_gaps_in_the_graph() {
        let mut out = String::new();
        graph(&mut out, &[Some(0), Some(2_000), None, Some(1_000)]);
        assert!(out.contains("d=\"M356 39.0h0L357 1.0M359 20.0h0\""), "{out}");
        assert!(out.contains("at most 2.0 s"));
        graph(&mut String::new(), &[]);
    }

    #[test]
    fn a_silent_supervisor_is_shown() {
        let text = page(&view(), "abc", Duration::from_secs(200));
        assert!(text.contains("The supervisor sends no status") && !text.contains("/data"));
    }
}
