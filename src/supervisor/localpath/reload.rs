//! A new configuration for a running localpath. When the pusher of a removed remote has exited, the remote is removed
//! from the journal and the fail log.

use super::{SharedState, SupervisedLocalPath};
use crate::error::Result;
use crate::instance::localpaths::ConfiguredLocalPath;
use crate::instance::quarantine;
use crate::journal::Journal;
use crate::message::ToWatcher;
use crate::supervisor::child::ChildEvent;
use crate::supervisor::fail_log;
use crate::supervisor::pusher::SupervisedPusher;
use crate::supervisor::runner::WAKE;
use crate::supervisor::topology::{ChildId, Diff};
use slog::{info, warn};
use std::collections::BTreeSet;
use std::time::Duration;

/// The delay after a remote could not be forgotten.
const FORGET_AGAIN: Duration = Duration::from_secs(5);

impl SupervisedLocalPath {
    /// Applies `new`. Children that `diff` reports as unchanged are not affected.
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
        self.write_note(shared);
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
                    if let Err(e) = quarantine::register(&self.dir, [&name], first.as_ref()) {
                        // Its pusher creates the row in that case.
                        warn!(
                            self.log,
                            "cannot record remote {name}: {e}; its pusher does it when it starts"
                        );
                    }
                    self.add_pusher(remote, None, shared, now)?;
                    added.push(name);
                }
                Some(n) => {
                    let pusher = &mut self.pushers[n];
                    pusher.remote = remote;
                    if pusher.removed || diff.restart.contains(&pusher_id(&name)) {
                        info!(self.log, "remote {name}: reconfigured");
                        pusher.process.step(ChildEvent::RestartWanted, now);
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
            info!(self.log, "reconfigured");
            self.watcher.step(ChildEvent::RestartWanted, now);
        } else if !added.is_empty() {
            self.add_wakes(added, now);
        }
        Ok(())
    }

    fn drop_pusher(&mut self, n: usize, now: Duration) {
        let pusher = &mut self.pushers[n];
        info!(self.log, "remote {}: no longer configured", pusher.name);
        pusher.removed = true;
        pusher.process.step(ChildEvent::StopWanted, now);
        self.watcher.send(&ToWatcher::DropWake(pusher.name.clone()), vec![], now);
    }

    fn add_wakes(&mut self, names: Vec<String>, now: Duration) {
        let known = |name: &String| {
            let pusher = self.pushers.iter().find(|p| p.name == *name).map(|p| p.waker());
            pusher.or_else(|| self.runner.as_ref().map(|r| r.waker()))
        };
        match names.iter().filter_map(known).collect() {
            Ok(fds) => self.watcher.send(&ToWatcher::AddWakes(names), fds, now),
            // Its next process gets all of them.
            Err(_) => drop(self.watcher.step(ChildEvent::RestartWanted, now)),
        }
    }

    /// Forgets the remotes whose pusher has exited. If the journal refuses, it is tried again: the cursor of the remote
    /// would otherwise keep every mark from now on.
    pub(super) fn forget_removed(&mut self, shared: &mut SharedState, now: Duration) {
        if now < self.forget_at {
            return;
        }
        let gone = |p: &SupervisedPusher| p.removed && p.process.is_gone();
        let names: Vec<String> =
            self.pushers.iter().filter(|p| gone(p)).map(|p| p.name.clone()).collect();
        if names.is_empty() {
            return;
        }
        for name in names {
            let forgotten = Journal::open(&self.dir).and_then(|mut j| j.forget_remote(&name));
            match forgotten {
                Ok(()) => info!(self.log, "forgot remote {name}"),
                Err(e) => {
                    // The next start forgets it at the latest: it is not configured then either.
                    self.forget_at = now + FORGET_AGAIN;
                    warn!(self.log, "cannot forget remote {name}: {e}; trying again");
                    continue;
                }
            }
            self.pushers.retain(|p| p.name != name);
        }
        self.forget_fail_logs(shared);
    }

    /// Removes the parts of removed remotes; the script is rewritten without them.
    pub(super) fn forget_fail_logs(&self, shared: &mut SharedState) {
        let names: BTreeSet<String> = self.pushers.iter().map(|p| p.name.clone()).collect();
        match fail_log::remove_others(&self.dir, &names) {
            Ok(false) => {}
            Ok(true) => {
                let script = self.configured.localpath.fail_log.as_ref();
                shared.fail_logs.extend(script.map(|l| l.path.as_path().to_owned()));
            }
            Err(e) => warn!(self.log, "cannot remove an old part of the fail log: {e}"),
        }
    }
}
