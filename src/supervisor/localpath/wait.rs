//! `syncsup wait` in one localpath: sends requests to its watcher, then to its pushers, and stores the answers.

use super::SupervisedLocalPath;
use crate::message::{Ticket, ToPusher, ToWatcher};
use std::time::Duration;

impl SupervisedLocalPath {
    /// Sends the watcher the unanswered requests: a new watcher has not received them.
    pub(super) fn ask_barriers(&mut self, now: Duration) {
        for wait in self.waits.iter().filter(|w| w.seq.is_none()) {
            let (ticket, below) = (wait.ticket, wait.below.clone());
            self.watcher.send(&ToWatcher::Barrier { ticket, below }, vec![], now);
        }
    }

    /// Every earlier change is marked.
    pub(super) fn barrier_reached(&mut self, ticket: Ticket, seq: i64, now: Duration) {
        // A journal that must be quarantined gives no valid answer.
        if self.damaged() {
            return;
        }
        let Some(wait) = self.waits.iter_mut().find(|w| w.ticket == ticket) else { return };
        if wait.seq.is_none() {
            wait.seq = Some(seq);
            for pusher in &mut self.pushers {
                wait.ask(pusher, now);
            }
        }
    }

    /// All these marks are settled on the remote of pusher `n`.
    pub(super) fn awaited_settled(&mut self, n: usize, ticket: Ticket) {
        let wait = self.waits.iter_mut().find(|w| w.ticket == ticket && w.seq.is_some());
        if let (Some(wait), Some(pusher)) = (wait, self.pushers.get(n)) {
            wait.settled.insert(pusher.name.clone());
        }
    }

    /// No client waits for this answer any more.
    pub(in crate::supervisor) fn forget_wait(&mut self, ticket: Ticket, now: Duration) {
        self.waits.retain(|w| w.ticket != ticket);
        self.watcher.send(&ToWatcher::DropBarrier(ticket), vec![], now);
        for pusher in &mut self.pushers {
            pusher.process.send(&ToPusher::DropAwait(ticket), vec![], now);
        }
    }
}
