//! The text that Prometheus reads, in format 0.0.4. Pure.

use super::View;
use crate::message::{ChildStatus, LocalPathStatus, PusherState, RemoteStatus};
use std::fmt::Write;
use std::time::Duration;

/// Every state of a remote, as `status --json` prints it.
const STATES: [(PusherState, &str); 7] = [
    (PusherState::InSync, "in_sync"),
    (PusherState::Behind, "behind"),
    (PusherState::Pushing, "pushing"),
    (PusherState::Reconciling, "reconciling"),
    (PusherState::Backoff, "backoff"),
    (PusherState::Held, "held"),
    (PusherState::Down, "down"),
];

/// A metric family with one sample per remote: name, type, help, value.
type Family = (&'static str, &'static str, &'static str, fn(&RemoteStatus) -> f64);

const REMOTE: [Family; 9] = [
    ("lag_seconds", "gauge", "Age of the oldest change that the remote does not have.", |r| {
        r.lag_ms as f64 / 1000.0
    }),
    ("marks_waiting", "gauge", "Changes that wait to be pushed.", |r| r.status.waiting as f64),
    (
        "paths_owed",
        "gauge",
        "Paths owed to the remote: to be pushed again, or found by a reconcile.",
        |r| r.status.owed as f64,
    ),
    ("failing_paths", "gauge", "Paths that rsync could not push.", |r| r.status.failing as f64),
    ("pushes_total", "counter", "Batches pushed since the pusher started.", |r| {
        r.status.pushes as f64
    }),
    ("pushed_files_total", "counter", "Files sent.", |r| r.status.pushed_files as f64),
    ("pushed_bytes_total", "counter", "Bytes of the files sent.", |r| r.status.pushed_bytes as f64),
    ("deleted_total", "counter", "Names deleted.", |r| r.status.deleted as f64),
    (
        "last_success_timestamp_seconds",
        "gauge",
        "Time of the last successful push; 0 if there was none.",
        |r| r.status.last_success_ms.unwrap_or(0) as f64 / 1000.0,
    ),
];

/// The whole text.
pub fn text(view: &View, now: Duration) -> String {
    let fresh = view.fresh(now);
    let mut out = String::new();
    head(&mut out, "up", "gauge", "1 while the supervisor sends its status.");
    sample(&mut out, "up", &[], if fresh.is_some() { 1.0 } else { 0.0 });
    head(&mut out, "build_info", "gauge", "The version.");
    sample(&mut out, "build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    if let Some(allowed) = view.watches_allowed {
        head(&mut out, "watches_allowed", "gauge", "fs.inotify.max_user_watches.");
        sample(&mut out, "watches_allowed", &[], allowed as f64);
    }
    // Old numbers would look like current ones.
    let Some(status) = fresh else { return out };
    localpaths(&mut out, &status.localpaths, status.now_ms);
    for (name, kind, help, value) in REMOTE {
        head(&mut out, name, kind, help);
        each_remote(&status.localpaths, |labels, remote| {
            sample(&mut out, name, labels, value(remote));
        });
    }
    head(&mut out, "remote_up", "gauge", "0 while a remote is in trouble, held or down.");
    each_remote(&status.localpaths, |labels, remote| {
        use PusherState::{Backoff, Down, Held};
        let bad = matches!(remote.status.state, Backoff | Held | Down);
        sample(&mut out, "remote_up", labels, if bad { 0.0 } else { 1.0 });
    });
    head(&mut out, "remote_state", "gauge", "1 for the current state of a remote.");
    each_remote(&status.localpaths, |labels, remote| {
        for (state, word) in STATES {
            let is = if remote.status.state == state { 1.0 } else { 0.0 };
            sample(&mut out, "remote_state", &[labels[0], labels[1], ("state", word)], is);
        }
    });
    out
}

fn localpaths(out: &mut String, all: &[LocalPathStatus], now_ms: i64) {
    head(out, "localpath_up", "gauge", "1 while every change of a localpath is noticed.");
    for l in all {
        let labels = [("localpath", &*l.watch.to_string())];
        sample(out, "localpath_up", &labels, if l.state.notices() { 1.0 } else { 0.0 });
    }
    head(out, "watches", "gauge", "Directories watched.");
    for l in all {
        sample(out, "watches", &[("localpath", &l.watch.to_string())], l.watches as f64);
    }
    head(
        out,
        "open_files",
        "gauge",
        "Files that are written and not yet closed, so not pushed yet.",
    );
    for l in all {
        sample(out, "open_files", &[("localpath", &l.watch.to_string())], l.open_files as f64);
    }
    head(
        out,
        "open_seconds",
        "gauge",
        "How long the oldest of these files has been open; 0 for none.",
    );
    for l in all {
        let ms = l.open_since_ms.map_or(0, |since_ms| now_ms.saturating_sub(since_ms).max(0));
        let labels = [("localpath", &*l.watch.to_string())];
        sample(out, "open_seconds", &labels, ms as f64 / 1000.0);
    }
    head(out, "restarts_total", "counter", "How often a process was restarted.");
    for l in all {
        let watch = l.watch.to_string();
        let mut restarts = |process: &str, remote: &str, child: &ChildStatus| {
            let labels = [("localpath", &*watch), ("remote", remote), ("process", process)];
            sample(out, "restarts_total", &labels, child.restarts as f64);
        };
        restarts("watcher", "", &l.watcher);
        l.remotes.iter().for_each(|r| restarts("pusher", &r.name, &r.pusher));
        l.plugin_runner.iter().for_each(|c| restarts("plugin_runner", "", c));
    }
}

fn each_remote(all: &[LocalPathStatus], mut act: impl FnMut(&[(&str, &str); 2], &RemoteStatus)) {
    for localpath in all {
        let watch = localpath.watch.to_string();
        for remote in &localpath.remotes {
            act(&[("localpath", &watch), ("remote", &remote.name)], remote);
        }
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "# HELP syncsup_{name} {help}\n# TYPE syncsup_{name} {kind}");
}

fn sample(out: &mut String, name: &str, labels: &[(&str, &str)], value: f64) {
    let _ = write!(out, "syncsup_{name}");
    for (n, (label, text)) in labels.iter().enumerate() {
        let sign = if n == 0 { '{' } else { ',' };
        let _ = write!(out, "{sign}{label}=\"{}\"", escaped(text));
    }
    let end = if labels.is_empty() { "" } else { "}" };
    let _ = writeln!(out, "{end} {value}");
}

/// A label value. The format escapes backslash, quote and newline.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::super::page::tests::view;
    use super::*;

    #[test]
    fn every_metric_has_its_labels() {
        let text = text(&view(), Duration::from_secs(101));
        for line in [
            "syncsup_up 1",
            "syncsup_watches_allowed 8192",
            "# TYPE syncsup_lag_seconds gauge",
            r#"syncsup_lag_seconds{localpath="/data/<b>\"q\"\\x0a",remote="10.0.0.2::www"} 2.5"#,
            r#"syncsup_pushed_bytes_total{localpath="/data/<b>\"q\"\\x0a",remote="10.0.0.2::www"} 9007199254740991"#,
            r#"syncsup_restarts_total{localpath="/data/<b>\"q\"\\x0a",remote="10.0.0.2::www",process="pusher"} 4"#,
            r#"syncsup_remote_state{localpath="/data/<b>\"q\"\\x0a",remote="10.0.0.2::www",state="backoff"} 1"#,
            r#"syncsup_remote_up{localpath="/data/<b>\"q\"\\x0a",remote="10.0.0.2::www"} 0"#,
            r#"syncsup_watches{localpath="/data/<b>\"q\"\\x0a"} 7"#,
            r#"syncsup_open_files{localpath="/data/<b>\"q\"\\x0a"} 3"#,
            r#"syncsup_open_seconds{localpath="/data/<b>\"q\"\\x0a"} 40.5"#,
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
        // Every family is announced once, before its samples.
        let mut families = Vec::new();
        for line in text.lines() {
            match line.strip_prefix("# TYPE ") {
                Some(rest) => families.push(rest.split(' ').next().unwrap()),
                None if line.starts_with('#') => {}
                None => {
                    let name = line.split(['{', ' ']).next().unwrap();
                    assert_eq!(families.last(), Some(&name), "{line}");
                }
            }
        }
        assert_eq!(families.len(), std::collections::BTreeSet::from_iter(&families).len());
    }

    #[test]
    fn a_silent_supervisor_is_down() {
        let text = text(&view(), Duration::from_secs(1_000));
        assert!(text.contains("syncsup_up 0\n") && !text.contains("syncsup_lag_seconds"));
    }

    #[test]
    fn label_values_are_escaped() {
        assert_eq!(escaped("a\\b\"c\nd"), r#"a\\b\"c\nd"#);
    }
}
