//! The state of a localpath for `status`.

use super::{Damage, SupervisedLocalPath};
use crate::help_topic::{HelpTopic, Reason};
use crate::message::{LocalPathState, LocalPathStatus, WatcherState};

impl SupervisedLocalPath {
    /// Why it is not watched, if that requires action by the operator.
    pub fn stuck(&self) -> Option<String> {
        match (self.root.held(), &self.state) {
            (Some(held), _) => Some(format!("is held: {}", held.why)),
            (None, Some(WatcherState::Refused(why))) => Some(format!("is not replicated: {why}")),
            (None, _) => None,
        }
    }

    /// The state for `status`.
    pub fn report(&self, wall_ms: i64) -> LocalPathStatus {
        use WatcherState::{Degraded, Held, Refused, Scanning, Starting, Watching};
        let watcher = self.watcher.report();
        let ended = || {
            let why = format!("its watcher exited: {}", watcher.last_exit.as_ref()?);
            Some(Reason::new(HelpTopic::ProcessDown, why))
        };
        let damaged = |d: &Damage| Reason::new(HelpTopic::JournalDamaged, d.why.as_str());
        let refused = |why: &String| Reason::new(HelpTopic::JournalRefused, why.as_str());
        let (state, reason) = match (&self.state, watcher.pid) {
            (_, None) => (LocalPathState::Down, self.damaged.as_ref().map(damaged).or_else(ended)),
            (None | Some(Starting), _) => (LocalPathState::Starting, None),
            (Some(Scanning), _) => (LocalPathState::Scanning, None),
            (Some(Watching), _) => (LocalPathState::Watching, None),
            (Some(Degraded(reason)), _) => (LocalPathState::Degraded, Some(reason.clone())),
            (Some(Refused(why)), _) => (LocalPathState::Degraded, Some(refused(why))),
            (Some(Held(reason)), _) => (LocalPathState::Held, Some(reason.clone())),
        };
        LocalPathStatus {
            watch: self.watch().clone(),
            state,
            help: reason.as_ref().map(|reason| reason.help),
            reason: reason.map(|reason| reason.why),
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
