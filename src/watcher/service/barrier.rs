//! Barriers of `syncsup wait`: when is everything that was changed before one marked?
//!
//! The kernel queues an event before the call that caused it returns, and the queue is read in order. So a read that
//! finds the queue empty after the barrier came has read everything before it: no cookie file is needed, which would
//! change the times of the directory that it is made in, and which a full or read-only file system would refuse. What
//! is read must also be marked: walks of new directories and searches for other names of a file must have ended, files
//! that are open are marked as they are, and what is not watched is scanned once more.

use super::*;
use crate::message::Ticket;

/// The barriers that are not answered yet.
#[derive(Default)]
pub(super) struct Barriers {
    open: Vec<Barrier>,
    /// Scans of what is not watched, begun and ended since the start.
    scans_begun: u64,
    scans_ended: u64,
}

struct Barrier {
    ticket: Ticket,
    below: Vec<RelPath>,
    /// Everything before it has been read.
    passed: bool,
    /// Scans of what is not watched that had begun when it came: they may have been too early.
    scans: u64,
}

impl Barriers {
    pub(super) fn forget(&mut self, ticket: Ticket) {
        self.open.retain(|b| b.ticket != ticket);
    }

    /// Events may have been lost.
    pub(super) fn not_passed(&mut self) {
        self.open.iter_mut().for_each(|b| b.passed = false);
    }

    pub(super) fn scan_begins(&mut self) {
        self.scans_begun += 1;
    }

    pub(super) fn scan_ended(&mut self) {
        self.scans_ended = self.scans_begun;
    }
}

impl Service {
    pub(super) fn add_barrier(&mut self, ticket: Ticket, below: Vec<RelPath>) {
        if self.barriers.open.iter().any(|b| b.ticket == ticket) {
            return;
        }
        let scans = self.barriers.scans_begun;
        self.barriers.open.push(Barrier { ticket, below, passed: false, scans });
        // Only a scan can tell what changed where nothing is watched: at once, rather than within a minute.
        self.times.unwatched = Duration::ZERO;
        self.times.mounts = Duration::ZERO;
    }

    /// The queue was empty at a time after the barriers came, and all that was in it is in `batch`. Files that are
    /// still open, or that nobody may close, are marked as they are now.
    pub(super) fn pass_barriers(&mut self, batch: &mut Batch) {
        for barrier in self.barriers.open.iter_mut().filter(|b| !b.passed) {
            barrier.passed = true;
            self.map.mark_open(&barrier.below, batch);
        }
    }

    /// The record is written: answers the barriers before which nothing is left to be found.
    pub(super) fn answer_barriers(&mut self) {
        let walked = self.walker.is_idle() && !self.map.has_detached();
        let settled = walked && !self.rebuild && !self.map.links.wants_search();
        if self.barriers.open.is_empty() || !settled {
            return;
        }
        let watched = self.map.unwatched.is_empty();
        let ended = self.barriers.scans_ended;
        let reached = |b: &Barrier| b.passed && (watched || ended > b.scans);
        let tickets: Vec<Ticket> =
            self.barriers.open.iter().filter(|b| reached(b)).map(|b| b.ticket).collect();
        if tickets.is_empty() {
            return;
        }
        // It may have been replaced before, and no event tells when a directory above it was moved.
        if let Err(why) = ground::check(&self.watch, self.identity.as_ref()) {
            return self.hold(why);
        }
        match self.journal.last_seq() {
            Ok(seq) => {
                for ticket in tickets {
                    self.say(&FromWatcher::Reached { ticket, seq });
                    self.barriers.forget(ticket);
                }
            }
            Err(JournalError::Damaged(why)) => self.damaged(why),
            Err(error) => debug!(self.log, "cannot answer a barrier now"; "error" => %error),
        }
    }
}
