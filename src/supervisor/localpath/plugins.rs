//! The plugin runner of a localpath.

use super::{SharedState, SupervisedLocalPath};
use crate::error::{Error, Result};
use crate::journal::Journal;
use crate::message::{RemoteHealth, ToPlugin, ToWatcher};
use crate::supervisor::child::ChildEvent;
use crate::supervisor::fail_log;
use crate::supervisor::runner::{SupervisedRunner, WAKE};
use crate::supervisor::topology::needs_runner;
use slog::{info, warn};
use std::time::Duration;

impl SupervisedLocalPath {
    /// Adds a plugin runner, if one is needed.
    pub(super) fn add_runner(&mut self, now: Duration) -> Result<()> {
        if needs_runner(&self.configured.localpath) {
            let runner = SupervisedRunner::new(&self.configured.localpath, &self.log, now)
                .map_err(|e| Error::system("cannot create a wake pipe", e))?;
            self.runner = Some(runner);
        }
        Ok(())
    }

    fn remotes_health(&self, now: Duration) -> Vec<RemoteHealth> {
        self.pushers.iter().filter(|p| !p.removed).map(|p| p.health(now)).collect()
    }

    /// Starts the runner when it is due, and sends it the state of the remotes.
    pub(super) fn tick_runner(&mut self, shared: &mut SharedState, now: Duration) {
        let remotes = self.remotes_health(now);
        let start_allowed = self.damaged.is_none();
        let Some(runner) = &mut self.runner else { return };
        if (start_allowed || runner.process.runs()) && runner.process.step(ChildEvent::Tick, now) {
            runner.start(&self.configured, (&self.dir, &shared.run_dir), remotes, now);
            if let Some(hold) = self.root.hold() {
                let hold = hold.map(|held| held.why);
                runner.process.send(&ToPlugin::Hold(hold), vec![], now);
            }
        } else if self.root.held().is_none() {
            // The state of the remotes is unknown while the localpath is held.
            runner.tell(remotes, now);
        }
        if runner.removed && runner.process.is_gone() {
            self.forget_runner(shared);
        }
    }

    /// Its calls are forgotten, too.
    fn forget_runner(&mut self, shared: &mut SharedState) {
        self.runner = None;
        for part in fail_log::plugin_parts(&self.dir) {
            let _ = std::fs::remove_file(part);
        }
        if let Some(log) = &self.configured.localpath.fail_log {
            shared.fail_logs.insert(log.path.as_path().to_owned());
        }
        let forgotten = Journal::open(&self.dir).and_then(|mut j| j.set_plugins(&[]));
        match forgotten {
            Ok(()) => info!(self.log, "no plugin is configured any more"),
            // The next start forgets them.
            Err(e) => warn!(self.log, "cannot forget the plugins: {e}; the next start does it"),
        }
    }

    /// Applies a new configuration; true if the watcher does not have the runner's wake pipe yet.
    pub(super) fn reconfigure_runner(&mut self, restart: bool, now: Duration) -> Result<bool> {
        let wanted = needs_runner(&self.configured.localpath);
        match &mut self.runner {
            None => {
                self.add_runner(now)?;
                return Ok(wanted);
            }
            Some(runner) if !wanted => {
                runner.removed = true;
                runner.process.step(ChildEvent::StopWanted, now);
                self.watcher.send(&ToWatcher::DropWake(WAKE.into()), vec![], now);
            }
            Some(runner) => {
                let back = std::mem::take(&mut runner.removed);
                if restart || back {
                    info!(self.log, "plugins: reconfigured");
                    runner.process.step(ChildEvent::RestartWanted, now);
                }
                return Ok(back);
            }
        }
        Ok(false)
    }
}
