//! The state of `syncsup wait`: the tickets of clients, and the progress of each localpath.

use super::pusher::SupervisedPusher;
use crate::message::{Ticket, ToPusher};
use crate::path::RelPath;
use std::collections::BTreeSet;
use std::time::Duration;

/// A client of `syncsup wait`.
pub(super) struct Waiter {
    /// Its number.
    pub(super) ticket: Ticket,
    /// The time at which its client last sent a query.
    pub(super) asked: Duration,
    /// What its request takes in memory, in bytes.
    pub(super) bytes: usize,
    /// The localpaths of the request, by the names of their state directories.
    pub(super) localpaths: Vec<String>,
}

/// The progress of a wait in one localpath.
pub(super) struct LocalPathWait {
    /// Its number.
    pub(super) ticket: Ticket,
    /// Only paths at or below these; all paths if empty.
    pub(super) below: Vec<RelPath>,
    /// The last mark of the earlier changes, once the watcher has read them.
    pub(super) seq: Option<i64>,
    /// The remotes that have settled these marks.
    pub(super) settled: BTreeSet<String>,
}

impl LocalPathWait {
    /// The journal was replaced.
    pub(super) fn reset(&mut self) {
        self.seq = None;
        self.settled.clear();
    }

    /// Sends the request to a pusher, once the mark is known.
    pub(super) fn ask(&self, pusher: &mut SupervisedPusher, now: Duration) {
        if let Some(seq) = self.seq
            && !self.settled.contains(&pusher.name)
        {
            let (ticket, below) = (self.ticket, self.below.clone());
            pusher.process.send(&ToPusher::Await { ticket, seq, below }, vec![], now);
        }
    }
}
