//! The messages of the children of a localpath, and their exits.

use super::{SharedState, SupervisedLocalPath};
use crate::help_topic::{HelpTopic, Reason};
use crate::message::{
    FromPlugin, FromPusher, FromWatcher, OpenFiles, ToPlugin, ToPusher, WatcherState,
};
use crate::supervisor::child::ChildEvent;
use crate::supervisor::root_state::RootState;
use crate::sys::poll::Interest;
use slog::{error, info, warn};
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// The least time between two watchers that are started because the root is out of reach.
const REACH_EVERY: Duration = Duration::from_secs(10);

/// A child of a localpath.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalPathChild {
    /// Its watcher.
    Watcher,
    /// The pusher with this index.
    Pusher(usize),
    /// Its plugin runner.
    Runner,
}

impl SupervisedLocalPath {
    /// The descriptors to poll.
    pub fn interests(&self) -> Vec<(LocalPathChild, (BorrowedFd<'_>, Interest))> {
        let watcher = self.watcher.interest().map(|i| (LocalPathChild::Watcher, i));
        let runner = self.runner.as_ref().and_then(|r| r.process.interest());
        let runner = runner.map(|i| (LocalPathChild::Runner, i));
        let pushers = self.pushers.iter().enumerate();
        let pushers =
            pushers.filter_map(|(n, p)| Some((LocalPathChild::Pusher(n), p.process.interest()?)));
        watcher.into_iter().chain(runner).chain(pushers).collect()
    }

    /// Reads the messages of the child whose channel is ready.
    pub fn hear(&mut self, child: LocalPathChild, shared: &mut SharedState, now: Duration) {
        match child {
            LocalPathChild::Runner => {
                let said = self.runner.as_mut().map(|r| r.process.receive(now));
                for message in said.into_iter().flatten() {
                    self.take_runner(message, shared, now);
                }
            }
            LocalPathChild::Watcher => {
                for message in self.watcher.receive(now) {
                    self.take_watcher(message, now);
                }
            }
            LocalPathChild::Pusher(n) => {
                for message in self.pushers[n].process.receive(now) {
                    self.take_pusher(n, message, shared, now);
                }
            }
        }
    }

    /// Reaps the children that have exited, and reads their last messages.
    pub(super) fn reap(&mut self, shared: &mut SharedState, now: Duration) {
        for n in 0..self.pushers.len() {
            let Some(last) = self.pushers[n].process.reap(now) else { continue };
            for message in last {
                self.take_pusher(n, message, shared, now);
            }
            self.pushers[n].verify_lost();
            let granted = shared.slots.gone(self.pushers[n].key);
            shared.granted.extend(granted);
        }
        let last = self.runner.as_mut().and_then(|r| r.process.reap(now));
        for message in last.into_iter().flatten() {
            self.take_runner(message, shared, now);
        }
        if let Some(last) = self.watcher.reap(now) {
            for message in last {
                self.take_watcher(message, now);
            }
            self.state = None;
            // The next watcher reports its own open files.
            self.open = OpenFiles::default();
        }
    }

    fn take_watcher(&mut self, message: FromWatcher, now: Duration) {
        match message {
            FromWatcher::Alive | FromWatcher::Rests => {}
            FromWatcher::State(state) => {
                self.watcher_state(state, now);
                self.ask_barriers(now);
            }
            FromWatcher::Watches(n) => self.watches = n,
            FromWatcher::Open(open) => self.open = open,
            FromWatcher::NeedReconcile(why) => {
                warn!(self.log, "reconciling every remote: {why}");
                self.request_reconcile(&why, |_| true, now);
            }
            FromWatcher::OutOfReach => {
                // One that is to end is not started again, nor one whose successor would say the same.
                if self.watcher.is_kept() && now >= self.reach_at {
                    self.reach_at = now + REACH_EVERY;
                    info!(self.log, "a watcher is started for the root as it is now");
                    self.watcher.step(ChildEvent::RestartWanted, now);
                }
            }
            FromWatcher::Damaged(why) => self.damage(why, now),
            FromWatcher::Reached { ticket, seq } => self.barrier_reached(ticket, seq, now),
        }
    }

    fn watcher_state(&mut self, state: WatcherState, now: Duration) {
        let new = self.state.as_ref() != Some(&state);
        match &state {
            WatcherState::Refused(why) if new => {
                error!(self.log, "nothing new is pushed: {why}";
                    "help" => HelpTopic::JournalRefused.command());
            }
            WatcherState::Degraded(Reason { why, help }) if new => {
                warn!(self.log, "degraded: {why}"; "help" => help.command());
            }
            _ => {}
        }
        let root = self.root.after(&state);
        self.state = Some(state);
        if root == self.root {
            return;
        }
        match (&self.root, &root) {
            (_, RootState::HeldFromStart(Reason { why, help }))
            | (_, RootState::Held(Reason { why, help })) => match help {
                HelpTopic::RootAdopted => info!(self.log, "held: {why}"),
                help => error!(self.log, "held: {why}"; "help" => help.command()),
            },
            (RootState::Held(_), RootState::Accepted) => info!(self.log, "no longer held"),
            (_, RootState::Accepted | RootState::Unknown) => {}
        }
        self.root = root;
        let Some(hold) = self.root.hold() else { return };
        for pusher in &mut self.pushers {
            pusher.process.send(&ToPusher::Hold(hold.clone()), vec![], now);
        }
        if let Some(runner) = &mut self.runner {
            runner.process.send(&ToPlugin::Hold(hold.map(|held| held.why)), vec![], now);
        }
    }

    fn take_pusher(
        &mut self,
        n: usize,
        message: FromPusher,
        shared: &mut SharedState,
        now: Duration,
    ) {
        let pusher = &mut self.pushers[n];
        match message {
            FromPusher::Alive | FromPusher::Rests => {}
            FromPusher::WantSlot(kind) => {
                shared.granted.extend(shared.slots.want(pusher.key, kind));
            }
            FromPusher::SlotDone(kind) => {
                shared.granted.extend(shared.slots.done(pusher.key, kind));
            }
            FromPusher::ShortOfConnections => shared.short.push(pusher.remote.peer.host.clone()),
            FromPusher::WantSpare => pusher.want_spare(&mut shared.slots, now),
            FromPusher::SpareDone => shared.granted.extend(shared.slots.spare_done(pusher.key)),
            FromPusher::Status(status) => pusher.note(*status),
            FromPusher::FailLog => {
                let log = self.configured.localpath.fail_log.as_ref();
                shared.fail_logs.extend(log.map(|log| log.path.as_path().to_owned()));
            }
            FromPusher::Damaged(why) => self.damage(why, now),
            FromPusher::Verified(ticket, part) => pusher.verified(ticket, part),
            FromPusher::Settled(ticket) => self.awaited_settled(n, ticket),
        }
    }

    fn take_runner(&mut self, message: FromPlugin, shared: &mut SharedState, now: Duration) {
        match message {
            FromPlugin::Alive => {}
            FromPlugin::Status(status) => {
                let fails = self.runner.as_mut().is_some_and(|r| r.note(status));
                if let (true, Some(log)) = (fails, &self.configured.localpath.fail_log) {
                    shared.fail_logs.insert(log.path.as_path().to_owned());
                }
            }
            FromPlugin::Damaged(why) => self.damage(why, now),
        }
    }
}
