//! `syncsup release NAME`: a held remote goes on, or a replaced localpath is taken as it is now.

use super::invocation::Invocation;
use super::{client, print};
use crate::error::{Error, Exit, Result};
use crate::message::{InstanceStatus, PusherState, Request};

/// Releases, and prints what that means. Exit status 1 when nothing of that name is held.
pub fn run(invocation: &Invocation, name: &str) -> Result<Exit> {
    let instance = client::the_one(invocation)?;
    // A release for nothing would let the next comparison delete what it likes.
    if let Some(state) = in_order(&instance.status()?, name) {
        let text = format!("{name} is not held ({state}); there is nothing to release");
        return Err(Error::new(Exit::No, text));
    }
    let lines =
        client::named(instance.command(&Request::Release(name.to_owned()), client::PATIENCE))?;
    print(&lines.into_iter().map(|line| line + "\n").collect::<String>());
    Ok(Exit::Ok)
}

/// How the remotes of that name are, if there are some and none of them can be held. (One in trouble may be held too.)
fn in_order(status: &InstanceStatus, name: &str) -> Option<&'static str> {
    let remotes = status.localpaths.iter().flat_map(|l| &l.remotes);
    let states: Vec<PusherState> =
        remotes.filter(|r| r.name == name).map(|r| r.status.state).collect();
    let fine = |state: &PusherState| {
        use PusherState::{Behind, InSync, Pushing, Reconciling};
        matches!(state, InSync | Behind | Pushing | Reconciling)
    };
    states.iter().all(fine).then(|| states.first().map(|s| super::status::word(*s)))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{LocalPathStatus, PusherStatus, RemoteStatus};

    #[test]
    fn only_what_may_be_held_is_released() {
        let remote = |name: &str, state| RemoteStatus {
            name: name.into(),
            status: PusherStatus { state, ..PusherStatus::default() },
            lag_ms: 0,
            pusher: Default::default(),
        };
        let localpath = |watch: &str, remotes| LocalPathStatus {
            watch: watch.into(),
            state: "watching".into(),
            reason: None,
            watches: 1,
            watcher: Default::default(),
            remotes,
            plugins: vec![],
            plugin_runner: None,
        };
        let localpaths = vec![
            localpath(
                "/a",
                vec![
                    remote("fine", PusherState::InSync),
                    remote("both", PusherState::Behind),
                    remote("trouble", PusherState::Backoff),
                ],
            ),
            localpath("/b", vec![remote("both", PusherState::Held)]),
        ];
        let status = InstanceStatus { pid: 1, files: vec![], localpaths, reporter: None };
        assert_eq!(in_order(&status, "fine"), Some("in sync"));
        for name in ["both", "trouble", "/a", "unknown"] {
            assert_eq!(in_order(&status, name), None, "{name}");
        }
    }
}
