//! `syncsup status`: shows every localpath and remote as a table, or as JSON.

mod show;
mod watch;

use super::invocation::{Invocation, StatusFormat};
use super::{client, print, print_exactly};
use crate::error::{Error, Exit, Result};
use crate::message::{
    AllStatus, InstanceStatus, LocalPathStatus, PluginStatus, PusherState, RemoteStatus,
};
use crate::sys::clock;
use std::time::Duration;

/// Exit status 0 if everything is in sync, 1 if not, 3 if no supervisor is running, 5 if one does not answer.
pub fn run(invocation: &Invocation, how: StatusFormat) -> Result<Exit> {
    if how == StatusFormat::Watch {
        return watch::run(invocation);
    }
    let found = look(invocation, client::PATIENCE)?;
    match how {
        StatusFormat::Json => {
            let all = AllStatus { instances: found.instances.clone() };
            print_exactly(&(serde_json::to_string(&all).unwrap_or_default() + "\n"));
        }
        StatusFormat::Table | StatusFormat::Watch => print(&found.text()),
    }
    found.verdict(invocation)
}

/// What can be shown.
struct StatusReport {
    instances: Vec<InstanceStatus>,
    /// The error of an instance that does not answer. The others are still shown.
    silent: Option<Error>,
}

fn look(invocation: &Invocation, patience: Duration) -> Result<StatusReport> {
    let mut found = StatusReport { instances: Vec::new(), silent: None };
    for instance in client::running(invocation)? {
        match instance.status_within(patience) {
            Ok(status) => found.instances.push(status),
            // The instance has just ended.
            Err(e) if e.exit == Exit::NotRunning => {}
            Err(e) => found.silent = Some(e),
        }
    }
    Ok(found)
}

impl StatusReport {
    fn text(&self) -> String {
        let now_ms = clock::wall_ms();
        let all: Vec<String> = self.instances.iter().map(|i| show::instance(i, now_ms)).collect();
        all.join("\n")
    }

    fn verdict(self, invocation: &Invocation) -> Result<Exit> {
        let in_sync = self.instances.iter().flat_map(|i| &i.localpaths).all(is_in_sync);
        match (self.silent, self.instances.is_empty(), in_sync) {
            (Some(error), _, _) => Err(error),
            (None, true, _) => Err(client::none(invocation)),
            (None, false, true) => Ok(Exit::Ok),
            (None, false, false) => Ok(Exit::No),
        }
    }
}

/// A localpath is in sync if it is watched and nothing is left to push to any remote. If nothing is pushed, as with
/// `-m`, only the plugins count: no call fails or was given up.
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

/// Since when a remote is in trouble, when it is retried, and why, as `status` prints it.
pub fn trouble(remote: &RemoteStatus) -> Option<String> {
    show::trouble(remote, clock::wall_ms())
}

/// The word that `status` shows for a state. A state that needs attention is conspicuous.
pub fn word(state: PusherState) -> &'static str {
    match state {
        PusherState::Held => "HELD",
        PusherState::Down => "DOWN",
        other => other.word(),
    }
}

/// Joins lines into one that is safe for a terminal.
pub fn one_line(text: &str) -> String {
    crate::path::as_written(text.lines().collect::<Vec<_>>().join("; ").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::ChildStatus;

    #[test]
    fn in_sync_needs_a_watch_and_an_empty_backlog() {
        assert!(is_in_sync(&show::tests::sample("watching", PusherState::InSync)));
        assert!(!is_in_sync(&show::tests::sample("held", PusherState::InSync)));
        assert!(!is_in_sync(&show::tests::sample("watching", PusherState::Behind)));
        let unheard = show::tests::sample("watching", PusherState::default());
        assert!(!is_in_sync(&unheard), "what has not said anything is not known");
    }

    #[test]
    fn plugins_count_when_there_is_no_remote() {
        let mut localpath = show::tests::sample("watching", PusherState::InSync);
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
