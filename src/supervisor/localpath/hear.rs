//! What the children of a localpath say, and their ends.

use super::{SharedState, SupervisedLocalPath};
use crate::message::OpenFiles;
use crate::sys::poll::Interest;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// A child of a localpath.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Its watcher.
    Watcher,
    /// The pusher of that index.
    Pusher(usize),
    /// Its plugin runner.
    Runner,
}

impl SupervisedLocalPath {
    /// What to wait for.
    pub fn interests(&self) -> Vec<(Who, (BorrowedFd<'_>, Interest))> {
        let watcher = self.watcher.interest().map(|i| (Who::Watcher, i));
        let runner = self.runner.as_ref().and_then(|r| r.process.interest());
        let runner = runner.map(|i| (Who::Runner, i));
        let pushers = self.pushers.iter().enumerate();
        let pushers = pushers.filter_map(|(n, p)| Some((Who::Pusher(n), p.process.interest()?)));
        watcher.into_iter().chain(runner).chain(pushers).collect()
    }

    /// Hears the child whose channel is ready.
    pub fn hear(&mut self, child: Who, shared: &mut SharedState, now: Duration) {
        match child {
            Who::Runner => {
                let said = self.runner.as_mut().map(|r| r.process.receive(now));
                for message in said.into_iter().flatten() {
                    self.take_runner(message, shared, now);
                }
            }
            Who::Watcher => {
                for message in self.watcher.receive(now) {
                    self.take_watcher(message, now);
                }
            }
            Who::Pusher(n) => {
                for message in self.pushers[n].process.receive(now) {
                    self.take_pusher(n, message, shared, now);
                }
            }
        }
    }

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
            // The next one says what it finds.
            self.open = OpenFiles::default();
        }
    }
}
