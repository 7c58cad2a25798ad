//! What waits without a failure, and why: a slave that is full or down refuses everything, not a single path. Pure.

use crate::commands::status;
use crate::figures;
use crate::message::{PluginStatus, PusherState, RemoteStatus};

/// What is owed to a remote, and why it waits. `None` if only failing paths wait. `trouble` says since when and why the
/// remote is in trouble.
pub fn of_remote(remote: &RemoteStatus, trouble: Option<String>) -> Option<String> {
    let s = &remote.status;
    let reconcile = s.reconcile.as_ref().map(|r| r.why.to_string());
    let left = s.waiting + s.owed;
    let why = match s.state {
        // A path that is being pushed does not wait.
        PusherState::InSync | PusherState::Pushing | PusherState::Reconciling => return None,
        PusherState::Behind if left <= s.failing => return None,
        PusherState::Behind => trouble.unwrap_or_else(|| "waiting for its turn".to_owned()),
        PusherState::Backoff | PusherState::Held | PusherState::Down => {
            let why = trouble.map(|why| format!(", {why}")).unwrap_or_default();
            format!("{}{why}", status::word(s.state))
        }
    };
    Some(text(left, s.failing, reconcile.as_deref(), &why))
}

/// The same for a remote of an instance that is not running.
pub fn of_nobody(left: u64, failing: u64, reconcile: Option<&str>) -> Option<String> {
    let waits = left > failing || reconcile.is_some();
    waits.then(|| text(left, failing, reconcile, "no supervisor runs"))
}

fn text(left: u64, failing: u64, reconcile: Option<&str>, why: &str) -> String {
    let fail = match failing {
        0 => String::new(),
        1 => ", 1 of them failing".to_owned(),
        n => format!(", {n} of them failing"),
    };
    let owed = match left {
        0 => None,
        1 => Some(format!("1 path is owed{fail}")),
        n => Some(format!("{n} paths are owed{fail}")),
    };
    let compared = reconcile.map(|why| format!("reconcile due ({})", status::one_line(why)));
    let what: Vec<String> = owed.into_iter().chain(compared).collect();
    let what = if what.is_empty() { "nothing is owed".to_owned() } else { what.join(", ") };
    format!("{what}: {why}")
}

/// The waiting calls of a plugin. `None` if only failed calls wait.
pub fn of_plugin(plugin: &PluginStatus) -> Option<String> {
    let calls = plugin.waiting.checked_sub(plugin.failing).filter(|n| *n > 0)?;
    let calls = figures::count(calls, "call waits", "calls wait");
    let why = plugin.reason.as_deref().map(|why| format!(": {}", status::one_line(why)));
    Some(format!("{calls} ({}){}", plugin.state, why.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{PusherStatus, ReconcileProgress};

    fn remote(state: PusherState, waiting: u64, owed: u64, failing: u64) -> RemoteStatus {
        let status = PusherStatus { state, waiting, owed, failing, ..Default::default() };
        RemoteStatus { name: "r".into(), status, ..Default::default() }
    }

    #[test]
    fn owed_paths_are_counted_with_the_reason() {
        use PusherState::*;
        let full = || Some("since noon: No space left on device".to_owned());
        for (remote, trouble, wanted) in [
            (
                remote(Backoff, 4_000, 312, 0),
                full(),
                Some("4312 paths are owed: in trouble, since noon: No space left on device"),
            ),
            (
                remote(Held, 0, 12, 2),
                Some("would delete 11".into()),
                Some("12 paths are owed, 2 of them failing: HELD, would delete 11"),
            ),
            (
                remote(Down, 0, 0, 0),
                Some("its pusher exited".into()),
                Some("nothing is owed: DOWN, its pusher exited"),
            ),
            (remote(Behind, 1, 0, 0), None, Some("1 path is owed: waiting for its turn")),
            (remote(Pushing, 3, 1, 1), None, None),
            (remote(Behind, 0, 3, 3), None, None),
            (remote(InSync, 0, 0, 0), None, None),
        ] {
            assert_eq!(of_remote(&remote, trouble).as_deref(), wanted, "{remote:?}");
        }
        let mut dropped = remote(Backoff, 0, 0, 0);
        let why = "more than 200000 names waited for it".to_owned().into();
        dropped.status.reconcile = Some(ReconcileProgress { why, ..Default::default() });
        assert_eq!(
            of_remote(&dropped, full()).unwrap(),
            "reconcile due (more than 200000 names waited for it): in trouble, since noon: No space left on device"
        );
    }

    #[test]
    fn without_a_supervisor_its_absence_is_the_reason() {
        let text = of_nobody(3, 0, None);
        assert_eq!(text.as_deref(), Some("3 paths are owed: no supervisor runs"));
        assert_eq!(of_nobody(2, 2, None), None);
        assert!(of_nobody(0, 0, Some("-r")).unwrap().starts_with("reconcile due"));
    }

    #[test]
    fn waiting_calls_are_counted() {
        let plugin = |waiting, failing| PluginStatus {
            state: "waiting".into(),
            waiting,
            failing,
            ..Default::default()
        };
        assert_eq!(of_plugin(&plugin(3, 1)).as_deref(), Some("2 calls wait (waiting)"));
        assert_eq!(of_plugin(&plugin(1, 1)), None);
    }
}
