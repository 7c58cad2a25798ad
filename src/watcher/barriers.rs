//! Barriers of `syncsup wait`: decides when everything that changed before a barrier is marked. Pure.
//!
//! The kernel queues an event before the call that caused it returns, and the queue is read in order. So a read that
//! finds the queue empty after the barrier arrived has read everything before the barrier. No cookie file is needed. A
//! cookie file would change the times of its directory, and a full or read-only file system would refuse it. What is
//! read must also be marked: walks of new directories and searches for other names of a file must have ended, open
//! files are marked as they are, and unwatched directories are scanned once more.

use crate::message::Ticket;
use crate::path::RelPath;

/// The barriers that are not answered yet.
#[derive(Default)]
pub struct Barriers {
    open: Vec<Barrier>,
    /// Scans of unwatched directories that have begun, and that have ended, since the start.
    scans_begun: u64,
    scans_ended: u64,
}

struct Barrier {
    ticket: Ticket,
    below: Vec<RelPath>,
    /// Everything before the barrier has been read.
    passed: bool,
    /// The number of scans of unwatched directories that had begun when the barrier arrived. Those scans may have been
    /// too early.
    scans: u64,
}

impl Barriers {
    /// Adds a barrier. Returns false if it is already known.
    pub fn add(&mut self, ticket: Ticket, below: Vec<RelPath>) -> bool {
        if self.open.iter().any(|b| b.ticket == ticket) {
            return false;
        }
        self.open.push(Barrier { ticket, below, passed: false, scans: self.scans_begun });
        true
    }

    /// Forgets a barrier that is answered or no longer wanted.
    pub fn forget(&mut self, ticket: Ticket) {
        self.open.retain(|b| b.ticket != ticket);
    }

    /// Events may have been lost.
    pub fn not_passed(&mut self) {
        self.open.iter_mut().for_each(|b| b.passed = false);
    }

    /// A scan of unwatched directories begins.
    pub fn scan_begins(&mut self) {
        self.scans_begun += 1;
    }

    /// The scan that began last has ended.
    pub fn scan_ended(&mut self) {
        self.scans_ended = self.scans_begun;
    }

    /// Everything that changed before now has been read. Returns the paths of each barrier that waited for that. An
    /// empty list means all paths.
    pub fn pass(&mut self) -> Vec<&[RelPath]> {
        let waiting = self.open.iter_mut().filter(|b| !b.passed);
        let passed = waiting.map(|b| {
            b.passed = true;
            b.below.as_slice()
        });
        passed.collect()
    }

    /// The barriers for which nothing is left to be found. `watched` is true if every directory is watched.
    pub fn reached(&self, watched: bool) -> Vec<Ticket> {
        let reached = |b: &&Barrier| b.passed && (watched || self.scans_ended > b.scans);
        self.open.iter().filter(reached).map(|b| b.ticket).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_barrier_is_reached_once_the_queue_was_read_after_it() {
        let mut barriers = Barriers::default();
        let d = RelPath::new("d").unwrap();
        assert!(barriers.pass().is_empty());
        assert!(barriers.add(1, vec![d.clone()]) && !barriers.add(1, vec![]));
        assert!(barriers.reached(true).is_empty());
        assert_eq!(barriers.pass(), [[d.clone()]]);
        assert!(barriers.pass().is_empty(), "once");
        assert_eq!(barriers.reached(true), [1]);
        barriers.not_passed();
        assert!(barriers.reached(true).is_empty());
        assert_eq!(barriers.pass(), [[d]]);
        barriers.forget(1);
        assert!(barriers.reached(true).is_empty());
    }

    #[test]
    fn a_barrier_waits_for_a_scan_of_unwatched_directories_begun_after_it() {
        let mut barriers = Barriers::default();
        barriers.scan_begins();
        barriers.add(1, vec![]);
        barriers.pass();
        barriers.scan_ended();
        assert!(barriers.reached(false).is_empty(), "that scan began before");
        barriers.scan_begins();
        assert!(barriers.reached(false).is_empty());
        barriers.scan_ended();
        assert_eq!(barriers.reached(false), [1]);
    }
}
