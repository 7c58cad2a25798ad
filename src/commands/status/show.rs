//! The table of `status`. Pure: the time is given.

use super::{one_line, word};
use crate::commands::table;
use crate::figures;
use crate::message::{
    ChildStatus, InstanceStatus, LocalPathStatus, PluginStatus, PusherState, RemoteStatus,
    ReporterStatus, StandbyStatus, VerifyProgress,
};
use crate::path::printable;
use chrono::Local;

/// One row of the table: its cells, then the lines below it.
type TableRow = (Vec<String>, Vec<String>);

/// One instance: its localpaths with their remotes, then its processes.
pub fn instance(instance: &InstanceStatus, now_ms: i64) -> String {
    let files: Vec<String> =
        instance.files.iter().map(|f| printable(f.as_os_str().as_encoded_bytes())).collect();
    let mut out = format!("{} (syncsup {})\n", files.join(", "), instance.version);
    let head =
        ["REMOTE", "STATE", "LAG", "TO PUSH", "FAILING", "LAST PUSH", "SENT", "NEXT RECONCILE"];
    let indented = |word: &str| format!("  {word}");
    let mut rows: Vec<TableRow> = vec![(head.map(str::to_owned).to_vec(), vec![])];
    rows[0].0[0] = indented(head[0]);
    for localpath in &instance.localpaths {
        rows.push((vec![], localpath_lines(localpath)));
        let open = localpath.open_words(now_ms);
        rows.extend(localpath.remotes.iter().map(|r| remote_row(r, open.as_deref(), now_ms)));
        rows.extend(localpath.plugins.iter().map(|p| plugin_row(p, localpath, now_ms)));
    }
    let cells: Vec<Vec<String>> = rows.iter().map(|(cells, _)| cells.clone()).collect();
    for (line, (cells, below)) in table::columns(&cells).lines().zip(&rows) {
        out.extend((!cells.is_empty()).then(|| format!("{line}\n")));
        out.extend(below.iter().map(|line| format!("{line}\n")));
    }
    out.extend(instance.reporter.as_ref().map(reporter_line));
    out + "\n" + &processes(instance, now_ms)
}

fn localpath_lines(localpath: &LocalPathStatus) -> Vec<String> {
    let state = match localpath.state.as_str() {
        word @ ("held" | "down" | "degraded") => word.to_uppercase(),
        word => word.to_owned(),
    };
    let watched = table::count(localpath.watches, "directory", "directories");
    let mut lines = vec![format!("{}: {state}, {watched}", localpath.watch)];
    lines.extend(localpath.reason.as_ref().map(|reason| format!("    {}", one_line(reason))));
    if let Some(path) = localpath.open_path.as_ref().filter(|_| localpath.open_files > 0) {
        lines.push(format!("    sent when it is closed: {path}"));
    }
    lines
}

fn remote_row(remote: &RemoteStatus, open: Option<&str>, now_ms: i64) -> TableRow {
    let s = &remote.status;
    let left = s.waiting + s.owed;
    let lag = match (left, remote.lag_ms) {
        (0, 0) => "-".to_owned(),
        (_, ms) => figures::seconds(ms),
    };
    // It is not known in advance how much a reconcile will find.
    let unknown = left == 0 && s.reconcile.as_ref().is_some_and(|r| r.found == 0);
    let to_push = if unknown { "?".to_owned() } else { number(left) };
    let sent = table::count(s.pushed_files, "file", "files");
    let cells = vec![
        format!("  {}", remote.name),
        match open.filter(|_| s.state == PusherState::InSync) {
            Some(open) => format!("{}, {open}", word(s.state)),
            None => word(s.state).to_owned(),
        },
        lag,
        to_push,
        number(s.failing),
        s.last_success_ms.map_or("never".into(), |ms| ago(ms, now_ms)),
        format!("{sent}, {}", table::bytes(s.pushed_bytes)),
        remote.next_reconcile_ms.map_or("-".into(), |ms| until(ms, now_ms)),
    ];
    let mut below = Vec::new();
    below.extend(trouble(remote, now_ms));
    let now = matches!(s.state, PusherState::Reconciling | PusherState::Pushing);
    below.extend(s.reconcile.as_ref().map(|r| match r.found {
        0 if now => format!("reconcile running: {}", r.why),
        0 => format!("reconcile due: {}", r.why),
        found => format!("reconcile ({}): {} of {found} differences pushed", r.why, r.done),
    }));
    below.extend(s.verify.as_ref().and_then(|v| verification(v, now_ms)));
    if s.standby == StandbyStatus::ShortOfConnections {
        below.push("without a standby: the remote refuses more connections".to_owned());
    }
    if let Some(first) = s.first_failure.as_ref().filter(|_| s.failing > 0) {
        let paths = table::count(s.failing, "path fails", "paths fail");
        below.push(format!("{paths}: {}", one_line(first)));
    }
    (cells, below.iter().map(|line| format!("    {line}")).collect())
}

/// The progress of the rolling comparison.
fn verification(verify: &VerifyProgress, now_ms: i64) -> Option<String> {
    let Some(run) = &verify.run else {
        return verify.next_ms.map(|next| format!("next scrub {}", until(next, now_ms)));
    };
    let after = match &run.at {
        Some(path) if !path.is_root() => format!(" after {path}"),
        _ => String::new(),
    };
    Some(format!("scrub{after}, {} repaired", run.repaired))
}

/// Since when the remote is in trouble, when it is retried, and why.
pub(super) fn trouble(remote: &RemoteStatus, now_ms: i64) -> Option<String> {
    let s = &remote.status;
    let reason = s.reason.as_ref().map(|r| one_line(r));
    if !matches!(s.state, PusherState::Backoff | PusherState::Held | PusherState::Down) {
        // Failures are shown anyway.
        let why = s.reconcile.as_ref().map(|r| r.why.to_string());
        return reason.filter(|_| s.reason != s.first_failure && s.reason != why);
    }
    let since =
        remote.trouble_since_ms.map(|ms| format!("since {} ({})", at(ms), span(ms, now_ms)));
    let again = s.retry_ms.map(|ms| match ms > now_ms {
        true => format!("next try {}", until(ms, now_ms)),
        false => "retrying now".to_owned(),
    });
    let when: Vec<String> = since.into_iter().chain(again).collect();
    match (when.is_empty(), reason) {
        (true, reason) => reason,
        (false, None) => Some(when.join(", ")),
        (false, Some(reason)) => Some(format!("{}: {reason}", when.join(", "))),
    }
}

fn plugin_row(plugin: &PluginStatus, localpath: &LocalPathStatus, now_ms: i64) -> TableRow {
    let runner = localpath.plugin_runner.clone().unwrap_or_default();
    let (state, reason) = match runner.pid {
        Some(_) => (plugin.state.clone(), plugin.reason.clone()),
        None => ("DOWN".into(), runner.last_exit.map(|e| format!("its runner exited: {e}"))),
    };
    let given_up = (plugin.given_up > 0).then(|| format!("{} given up", plugin.given_up));
    let why: Vec<String> = given_up.into_iter().chain(reason.map(|r| one_line(&r))).collect();
    let cells = vec![
        format!("  plugin {}", plugin.name),
        state,
        "-".into(),
        number(plugin.waiting),
        number(plugin.failing),
        plugin.last_success_ms.map_or("never".into(), |ms| ago(ms, now_ms)),
        table::count(plugin.calls, "call", "calls"),
        "-".into(),
    ];
    let below = (!why.is_empty()).then(|| format!("    {}", why.join("; ")));
    (cells, below.into_iter().collect())
}

fn reporter_line(reporter: &ReporterStatus) -> String {
    let state = match reporter.state.as_str() {
        word @ ("refused" | "down") => word.to_uppercase(),
        word => word.to_owned(),
    };
    let why = reporter.reason.as_ref().map(|why| format!(": {}", one_line(why)));
    format!("http://{}/ {state}{}\n", reporter.listen, why.unwrap_or_default())
}

fn processes(instance: &InstanceStatus, now_ms: i64) -> String {
    let head = ["PROCESS", "PID", "RUNS FOR", "RESTARTS", "LAST EXIT"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let supervisor = ChildStatus {
        pid: Some(instance.pid),
        since_ms: instance.since_ms,
        ..ChildStatus::default()
    };
    rows.push(process_row("supervisor".into(), &supervisor, now_ms));
    for l in &instance.localpaths {
        rows.push(process_row(format!("  watcher {}", l.watch), &l.watcher, now_ms));
        let pushers = l.remotes.iter();
        rows.extend(pushers.map(|r| process_row(format!("    {}", pusher(r)), &r.pusher, now_ms)));
        let runner = l.plugin_runner.iter();
        rows.extend(runner.map(|c| process_row("    plugin runner".into(), c, now_ms)));
    }
    let reporter = instance.reporter.iter();
    rows.extend(
        reporter.map(|r| process_row(format!("  reporter {}", r.listen), &r.process, now_ms)),
    );
    table::columns(&rows)
}

fn pusher(remote: &RemoteStatus) -> String {
    match remote.status.standby {
        StandbyStatus::Ready => format!("pusher {}, with a standby", remote.name),
        StandbyStatus::None | StandbyStatus::ShortOfConnections => {
            format!("pusher {}", remote.name)
        }
    }
}

fn process_row(name: String, child: &ChildStatus, now_ms: i64) -> Vec<String> {
    let since = child.since_ms.map(|ms| span(ms, now_ms));
    let (pid, runs) = match (child.pid, since) {
        (Some(pid), Some(since)) => (pid.to_string(), since),
        (Some(pid), None) => (pid.to_string(), "-".into()),
        (None, since) => ("-".into(), format!("DOWN {}", since.unwrap_or_default())),
    };
    let last = child.last_exit.as_ref().map_or("-".into(), |e| one_line(e));
    vec![name, pid, runs.trim_end().to_owned(), number(child.restarts), last]
}

fn number(n: u64) -> String {
    if n == 0 { "-".to_owned() } else { n.to_string() }
}

fn span(from_ms: i64, to_ms: i64) -> String {
    table::span(to_ms.saturating_sub(from_ms).max(0) as u64)
}

fn ago(ms: i64, now_ms: i64) -> String {
    format!("{} ago", span(ms, now_ms))
}

fn until(ms: i64, now_ms: i64) -> String {
    format!("in {}", span(now_ms, ms))
}

/// Local time, to the second.
pub(super) fn at(ms: i64) -> String {
    figures::time(ms, &Local)
}

#[cfg(test)]
#[path = "show_tests.rs"]
pub mod tests;
