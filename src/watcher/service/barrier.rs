//! Answers the barriers of `syncsup wait`, see [`crate::watcher::barriers`].

use super::*;
use crate::message::Ticket;

impl Service {
    pub(super) fn add_barrier(&mut self, ticket: Ticket, below: Vec<RelPath>) {
        if !self.barriers.add(ticket, below) {
            return;
        }
        // Only a scan finds changes in unwatched directories: it runs immediately, rather than within a minute.
        self.times.unwatched = Duration::ZERO;
        self.times.mounts = Duration::ZERO;
    }

    /// The queue was empty at a time after the barriers arrived, and everything read from it is in `changes`. Files
    /// that are still open, or that may never be closed, are marked as they are now.
    pub(super) fn pass_barriers(&mut self, changes: &mut ChangeSet) {
        for below in self.barriers.pass() {
            self.map.mark_open(below, changes);
        }
    }

    /// The record is written: answers the barriers for which nothing is left to be found.
    pub(super) fn answer_barriers(&mut self) {
        let walked = self.walker.is_idle() && !self.map.has_detached();
        let settled = walked && self.map_state != MapState::Stale && !self.map.links.wants_search();
        if !settled {
            return;
        }
        let tickets = self.barriers.reached(self.map.unwatched.is_empty());
        if tickets.is_empty() {
            return;
        }
        // The root may have been replaced before, and no event reports that a directory above it was moved.
        if let Err(reason) = watched_root::check(&self.watch, self.watched_root.as_ref()) {
            return self.hold(reason);
        }
        match self.journal.last_seq() {
            Ok(seq) => {
                for ticket in tickets {
                    self.say(&FromWatcher::Reached { ticket, seq });
                    self.barriers.forget(ticket);
                }
            }
            Err(JournalError::Damaged(why)) => self.damaged(why),
            Err(error) => debug!(self.log, "cannot answer a barrier"; "error" => %error),
        }
    }
}
