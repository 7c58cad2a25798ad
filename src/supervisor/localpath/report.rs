//! The state of a localpath for `status`.

use super::SupervisedLocalPath;
use crate::message::{LocalPathStatus, WatcherState};

impl SupervisedLocalPath {
    /// Why it is not watched, if that requires action by the operator.
    pub fn stuck(&self) -> Option<String> {
        match (self.root.held(), &self.state) {
            (Some(why), _) => Some(format!("is held: {why}")),
            (None, Some(WatcherState::Refused(why))) => Some(format!("is not replicated: {why}")),
            (None, _) => None,
        }
    }

    /// The state for `status`.
    pub fn report(&self, wall_ms: i64) -> LocalPathStatus {
        use WatcherState::{Degraded, Held, Refused, Scanning, Starting, Watching};
        let watcher = self.watcher.report();
        let ended = || watcher.last_exit.as_ref().map(|e| format!("its watcher exited: {e}"));
        let (state, reason) = match (&self.state, watcher.pid) {
            (_, None) => ("down", self.damaged.as_ref().map(|d| d.why.clone()).or_else(ended)),
            (None | Some(Starting), _) => ("starting", None),
            (Some(Scanning), _) => ("scanning", None),
            (Some(Watching), _) => ("watching", None),
            (Some(Degraded(why)), _) => ("degraded", Some(why.clone())),
            (Some(Refused(why)), _) => ("degraded", Some(why.clone())),
            (Some(Held(why)), _) => ("held", Some(why.clone())),
        };
        LocalPathStatus {
            watch: self.watch().clone(),
            state: state.to_owned(),
            reason,
            watches: self.watches,
            open_files: self.open.files,
            open_since_ms: self.open.oldest.as_ref().map(|(_, since_ms)| *since_ms),
            open_path: self.open.oldest.as_ref().map(|(path, _)| path.clone()),
            watcher,
            remotes: self
                .pushers
                .iter()
                .filter(|p| !p.removed)
                .map(|p| p.report(wall_ms))
                .collect(),
            plugins: self.runner.iter().flat_map(|r| r.status.clone()).collect(),
            plugin_runner: self.runner.as_ref().map(|r| r.process.report()),
        }
    }
}
