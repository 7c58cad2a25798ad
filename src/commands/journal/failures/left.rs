//! What waits without a failure, and why: a slave that is full or down refuses everything, not a single path. Pure.

use crate::commands::status;
use crate::language::{Language, counted, say, words};
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
        PusherState::Behind => trouble.unwrap_or_else(|| say!("waiting for its turn")),
        PusherState::Backoff | PusherState::Held | PusherState::Down => {
            let why = trouble.map(|why| say!(", {}", why)).unwrap_or_default();
            format!("{}{why}", status::word(s.state))
        }
    };
    Some(text(left, s.failing, reconcile.as_deref(), &why))
}

/// The same for a remote of an instance that is not running.
pub fn of_nobody(left: u64, failing: u64, reconcile: Option<&str>) -> Option<String> {
    let waits = left > failing || reconcile.is_some();
    waits.then(|| text(left, failing, reconcile, &say!("no supervisor runs")))
}

fn text(left: u64, failing: u64, reconcile: Option<&str>, why: &str) -> String {
    let fail = match failing {
        0 => String::new(),
        1 => say!(", 1 of them failing"),
        n => say!(", {} of them failing", n),
    };
    let owed = match left {
        0 => None,
        1 => Some(say!("1 path is owed{}", fail)),
        n => Some(say!("{} paths are owed{}", n, fail)),
    };
    let compared = reconcile.map(|why| say!("reconcile due ({})", status::one_line(why)));
    let what: Vec<String> = owed.into_iter().chain(compared).collect();
    let what = if what.is_empty() {
        say!("nothing is owed")
    } else {
        what.join(Language::current().pick(words::COMMA))
    };
    format!("{what}{}{why}", Language::current().pick(words::COLON))
}

/// The waiting calls of a plugin. `None` if only failed calls wait.
pub fn of_plugin(plugin: &PluginStatus) -> Option<String> {
    let calls = plugin.waiting.checked_sub(plugin.failing).filter(|n| *n > 0)?;
    let calls = counted(calls, words::CALLS_WAIT);
    let language = Language::current();
    let state = language.pick(plugin.state.text());
    let why = plugin.reason.as_deref().map(status::one_line);
    let why = why.map(|why| format!("{}{why}", language.pick(words::COLON)));
    Some(say!("{} ({}){}", calls, state, why.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{PluginState, PusherStatus, ReconcileProgress};

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
        let chinese = Language::Chinese.during(|| of_nobody(3, 1, Some("-r")));
        let wanted = "有 3 个路径待推送，其中 1 个失败，等待全量比对（-r）：没有 supervisor 在运行";
        assert_eq!(chinese.as_deref(), Some(wanted));
    }

    #[test]
    fn waiting_calls_are_counted() {
        let plugin = |waiting, failing| PluginStatus {
            state: PluginState::Waiting,
            waiting,
            failing,
            ..Default::default()
        };
        assert_eq!(of_plugin(&plugin(3, 1)).as_deref(), Some("2 calls wait (waiting)"));
        assert_eq!(of_plugin(&plugin(1, 1)), None);
    }
}
