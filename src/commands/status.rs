//! `syncsup status`: every localpath and remote at a glance, or as JSON.

use super::invocation::Invocation;
use super::{client, print, table};
use crate::error::{Exit, Result};
use crate::message::{
    AllStatus, InstanceStatus, LocalPathStatus, PluginStatus, PusherState, RemoteStatus,
    ReporterStatus, VerifyProgress,
};
use crate::sys::clock;

/// Exit status 0 when everything is in sync, 1 when not, 3 when no supervisor runs.
pub fn run(invocation: &Invocation, json: bool) -> Result<Exit> {
    let running = client::running(invocation)?;
    let mut instances = Vec::new();
    for instance in &running {
        match instance.status() {
            Ok(status) => instances.push(status),
            // It ended just now.
            Err(e) if e.exit == Exit::NotRunning => {}
            Err(e) => return Err(e),
        }
    }
    let in_sync = instances.iter().flat_map(|i| &i.localpaths).all(is_in_sync);
    let none = instances.is_empty();
    if json {
        let text = serde_json::to_string(&AllStatus { instances }).unwrap_or_default();
        print(&(text + "\n"));
    } else {
        let now_ms = clock::wall_ms();
        instances.iter().for_each(|i| print(&show(i, now_ms)));
    }
    match (none, in_sync) {
        (true, _) => Err(client::none(invocation)),
        (false, true) => Ok(Exit::Ok),
        (false, false) => Ok(Exit::No),
    }
}

/// In sync is what is watched and has nothing left to push anywhere. Where nothing is pushed, as with `-m`, the plugins
/// are all there is: none of their calls fails or was given up.
fn is_in_sync(localpath: &LocalPathStatus) -> bool {
    let called = || {
        let runs = localpath.plugin_runner.as_ref().is_none_or(|r| r.pid.is_some());
        let fine = |p: &PluginStatus| p.state != "failing" && p.failing + p.given_up == 0;
        runs && localpath.plugins.iter().all(fine)
    };
    localpath.state == "watching"
        && localpath.remotes.iter().all(|r| r.status.state == PusherState::InSync)
        && (!localpath.remotes.is_empty() || called())
}

/// The word that `status` shows for a state.
pub fn word(state: PusherState) -> &'static str {
    match state {
        PusherState::InSync => "in sync",
        PusherState::Behind => "behind",
        PusherState::Pushing => "pushing",
        PusherState::Reconciling => "comparing",
        PusherState::Backoff => "in trouble",
        PusherState::Held => "HELD",
        PusherState::Down => "DOWN",
    }
}

fn show(instance: &InstanceStatus, now_ms: i64) -> String {
    let files: Vec<String> = instance.files.iter().map(|f| f.display().to_string()).collect();
    let mut out = format!("{} (pid {})\n", files.join(", "), instance.pid);
    let head = ["LOCALPATH / REMOTE", "STATE", "TO PUSH", "FAILING", "LAG", "PUSHED", "WHY"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for localpath in &instance.localpaths {
        rows.push(localpath_row(localpath));
        rows.extend(localpath.remotes.iter().map(|r| remote_row(r, now_ms)));
        rows.extend(localpath.plugins.iter().map(|p| plugin_row(p, localpath)));
    }
    out.push_str(&table::columns(&rows));
    out.extend(instance.reporter.as_ref().map(reporter_line));
    out
}

fn reporter_line(reporter: &ReporterStatus) -> String {
    let state = match reporter.state.as_str() {
        word @ ("refused" | "down") => word.to_uppercase(),
        word => word.to_owned(),
    };
    let why = reporter.reason.as_ref().map(|why| format!(": {}", one_line(why)));
    format!("http://{}/ {state}{}\n", reporter.listen, why.unwrap_or_default())
}

fn localpath_row(localpath: &LocalPathStatus) -> Vec<String> {
    let state = match localpath.state.as_str() {
        word @ ("held" | "down" | "degraded") => word.to_uppercase(),
        word => word.to_owned(),
    };
    let reason = match &localpath.reason {
        Some(reason) => one_line(reason),
        None => table::count(localpath.watches, "directory", "directories"),
    };
    let blank = String::new;
    vec![localpath.watch.to_string(), state, blank(), blank(), blank(), blank(), reason]
}

fn remote_row(remote: &RemoteStatus, now_ms: i64) -> Vec<String> {
    let s = &remote.status;
    let number = |n: u64| if n == 0 { "-".to_owned() } else { n.to_string() };
    let left = s.waiting + s.owed;
    let lag = if left == 0 { "-".into() } else { table::span(remote.lag_ms) };
    let why = match (&s.reason, &s.reconcile) {
        (Some(reason), _) => one_line(reason),
        (None, Some(r)) => format!("{}: {} of {} done", r.why, r.done, r.found),
        (None, None) => s.verify.as_ref().map(|v| verification(v, now_ms)).unwrap_or_default(),
    };
    vec![
        format!("  {}", remote.name),
        word(s.state).to_owned(),
        number(left),
        number(s.failing),
        lag,
        format!(
            "{}, {}",
            table::count(s.pushed_files, "file", "files"),
            table::bytes(s.pushed_bytes)
        ),
        why,
    ]
}

/// How far the rolling comparison is.
fn verification(verify: &VerifyProgress, now_ms: i64) -> String {
    match (&verify.run, verify.next_ms) {
        (Some(run), _) => {
            let at = match &run.at {
                Some(path) if !path.is_root() => format!(" after {path}"),
                _ => String::new(),
            };
            format!("verifies{at}, {} repaired", run.repaired)
        }
        (None, Some(next)) => {
            format!("verified again in {}", table::span((next - now_ms).max(0).unsigned_abs()))
        }
        (None, None) => String::new(),
    }
}

fn plugin_row(plugin: &PluginStatus, localpath: &LocalPathStatus) -> Vec<String> {
    let number = |n: u64| if n == 0 { "-".to_owned() } else { n.to_string() };
    let runner = localpath.plugin_runner.clone().unwrap_or_default();
    let (state, reason) = match runner.pid {
        Some(_) => (plugin.state.clone(), plugin.reason.clone()),
        None => ("DOWN".into(), runner.last_exit.map(|e| format!("its runner ended: {e}"))),
    };
    let given_up = (plugin.given_up > 0).then(|| format!("{} given up", plugin.given_up));
    let why = given_up.into_iter().chain(reason.map(|r| one_line(&r)));
    vec![
        format!("  plugin {}", plugin.name),
        state,
        number(plugin.waiting),
        number(plugin.failing),
        "-".into(),
        table::count(plugin.calls, "call", "calls"),
        why.collect::<Vec<_>>().join("; "),
    ]
}

/// Lines as one, safe for a terminal.
pub fn one_line(text: &str) -> String {
    crate::path::printable(text.lines().collect::<Vec<_>>().join("; ").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{ChildStatus, PusherStatus};

    fn sample(state: &str, remote: PusherState) -> LocalPathStatus {
        let status = PusherStatus {
            state: remote,
            reason: Some("first\nsecond".into()),
            waiting: 3,
            owed: 2,
            failing: 1,
            pushed_bytes: 12,
            ..Default::default()
        };
        let name = "10.0.0.2::www".to_owned();
        let child = ChildStatus::default();
        let remotes = vec![RemoteStatus { name, status, lag_ms: 2_500, pusher: child.clone() }];
        LocalPathStatus {
            watch: "/data".into(),
            state: state.into(),
            reason: None,
            watches: 4,
            watcher: child,
            remotes,
            plugins: vec![],
            plugin_runner: None,
        }
    }

    #[test]
    fn one_table() {
        let localpaths = vec![sample("watching", PusherState::Backoff)];
        let text = show(
            &InstanceStatus {
                pid: 7,
                files: vec!["/etc/c.xml".into()],
                localpaths,
                reporter: None,
            },
            0,
        );
        assert_eq!(
            text,
            "/etc/c.xml (pid 7)\n\
             LOCALPATH / REMOTE  STATE       TO PUSH  FAILING  LAG    PUSHED         WHY\n\
             /data               watching                                            4 directories\n  \
             10.0.0.2::www     in trouble  5        1        2.5 s  0 files, 12 B  first; second\n"
        );
    }

    #[test]
    fn the_rolling_comparison_is_where_nothing_else_is_to_be_said() {
        let mut remote = sample("watching", PusherState::InSync).remotes.remove(0);
        remote.status.verify =
            Some(VerifyProgress { next_ms: Some(7_300_000), ..Default::default() });
        let why = |remote: &RemoteStatus| remote_row(remote, 100_000).pop().unwrap();
        assert_eq!(why(&remote), "first; second");
        remote.status.reason = None;
        assert_eq!(why(&remote), "verified again in 2 h");
        let at = crate::path::RelPath::new(&b"d\xff"[..]);
        let run = crate::message::VerifyRun { at, repaired: 3, ..Default::default() };
        remote.status.verify = Some(VerifyProgress { run: Some(run), ..Default::default() });
        assert_eq!(why(&remote), "verifies after d\\xff, 3 repaired");
    }

    #[test]
    fn plugins_have_a_row() {
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
        let row = plugin_row(&plugin, &localpath).join("|");
        assert_eq!(row, "  plugin socket|failing|2|-|-|7 calls|1 given up; a: refused");
        localpath.plugin_runner = None;
        assert_eq!(plugin_row(&plugin, &localpath)[1], "DOWN");
    }

    #[test]
    fn in_sync_is_watched_and_nothing_left() {
        assert!(is_in_sync(&sample("watching", PusherState::InSync)));
        assert!(!is_in_sync(&sample("held", PusherState::InSync)));
        assert!(!is_in_sync(&sample("watching", PusherState::Behind)));
    }

    #[test]
    fn plugins_count_where_nothing_is_pushed() {
        let mut localpath = sample("watching", PusherState::InSync);
        localpath.plugin_runner = Some(ChildStatus { pid: Some(3), ..ChildStatus::default() });
        for (state, failing, given_up, fine) in [
            ("idle", 0, 0, true),
            ("failing", 0, 0, false),
            ("waiting", 1, 0, false),
            ("idle", 0, 1, false),
        ] {
            let state = state.to_owned();
            localpath.plugins =
                vec![PluginStatus { state, failing, given_up, ..Default::default() }];
            assert!(is_in_sync(&localpath));
            let alone = LocalPathStatus { remotes: vec![], ..localpath.clone() };
            assert_eq!(is_in_sync(&alone), fine, "{:?}", alone.plugins);
        }
        let down = Some(ChildStatus::default());
        assert!(!is_in_sync(&LocalPathStatus {
            remotes: vec![],
            plugin_runner: down,
            ..localpath
        }));
    }
}
