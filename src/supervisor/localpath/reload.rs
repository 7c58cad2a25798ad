//! A new configuration for a localpath that is running.

use super::{SharedState, SupervisedLocalPath};
use crate::error::Result;
use crate::instance::localpaths::ConfiguredLocalPath;
use crate::instance::quarantine;
use crate::message::ToWatcher;
use crate::supervisor::child::Event;
use crate::supervisor::runner::WAKE;
use crate::supervisor::topology::{ChildId, Diff};
use slog::{info, warn};
use std::time::Duration;

impl SupervisedLocalPath {
    /// Takes `new` over: what `diff` leaves alone does not notice.
    pub fn reconfigure(
        &mut self,
        new: ConfiguredLocalPath,
        diff: &Diff,
        shared: &mut SharedState,
        now: Duration,
    ) -> Result<()> {
        let localpath = new.id.clone();
        let pusher_id =
            |name: &str| ChildId::Pusher { localpath: localpath.clone(), remote: name.into() };
        self.configured = new;
        self.note_of(shared);
        for n in 0..self.pushers.len() {
            let name = self.pushers[n].name.clone();
            if diff.stop.contains(&pusher_id(&name)) {
                self.drop_pusher(n, now);
            }
        }
        let mut added = Vec::new();
        for remote in self.configured.remotes.clone() {
            let name = remote.name();
            let known = self.pushers.iter().position(|p| p.name == name);
            match known {
                None => {
                    let first = quarantine::first_copy(&self.configured.localpath);
                    if let Err(e) = quarantine::register(&self.dir, [&name], first) {
                        // Its pusher makes the row then.
                        warn!(self.log, "cannot note remote {name} now: {e}");
                    }
                    self.add_pusher(remote, None, shared, now)?;
                    added.push(name);
                }
                Some(n) => {
                    let pusher = &mut self.pushers[n];
                    pusher.remote = remote;
                    if pusher.removed || diff.restart.contains(&pusher_id(&name)) {
                        info!(self.log, "remote {name}: configured anew");
                        pusher.process.step(Event::RestartWanted, now);
                    }
                    if std::mem::take(&mut pusher.removed) {
                        added.push(name);
                    }
                }
            }
        }
        let runner = ChildId::Runner { localpath: localpath.clone() };
        if self.reconfigure_runner(diff.restart.contains(&runner), now)? {
            added.push(WAKE.to_owned());
        }
        if diff.restart.contains(&ChildId::Watcher { localpath }) {
            info!(self.log, "configured anew");
            self.watcher.step(Event::RestartWanted, now);
        } else if !added.is_empty() {
            self.add_wakes(added, now);
        }
        Ok(())
    }

    fn drop_pusher(&mut self, n: usize, now: Duration) {
        let pusher = &mut self.pushers[n];
        info!(self.log, "remote {}: no longer configured", pusher.name);
        pusher.removed = true;
        pusher.process.step(Event::StopWanted, now);
        self.watcher.send(&ToWatcher::DropWake(pusher.name.clone()), vec![], now);
    }

    fn add_wakes(&mut self, names: Vec<String>, now: Duration) {
        let known = |name: &String| {
            let pusher = self.pushers.iter().find(|p| p.name == *name).map(|p| p.waker());
            pusher.or_else(|| self.runner.as_ref().map(|r| r.waker()))
        };
        match names.iter().filter_map(known).collect() {
            Ok(fds) => self.watcher.send(&ToWatcher::AddWakes(names), fds, now),
            // Its next incarnation gets all of them.
            Err(_) => drop(self.watcher.step(Event::RestartWanted, now)),
        }
    }
}
