//! What `syncsup wait` waits for: the tickets that clients have, and how far each localpath is with one.

use super::pusher::SupervisedPusher;
use crate::message::{Ticket, ToPusher};
use crate::path::RelPath;
use std::collections::BTreeSet;
use std::time::Duration;

/// A client of `syncsup wait`.
pub(super) struct Waiter {
    /// Its number.
    pub(super) ticket: Ticket,
    /// When its client last asked.
    pub(super) asked: Duration,
    /// The localpaths that it is about, by the names of their state directories.
    pub(super) localpaths: Vec<String>,
}

/// How far a wait is in one localpath.
pub(super) struct LocalPathWait {
    /// Its number.
    pub(super) ticket: Ticket,
    /// Only what is at or below these; everything when empty.
    pub(super) below: Vec<RelPath>,
    /// The last mark of what was changed before, once the watcher has read it.
    pub(super) seq: Option<i64>,
    /// The remotes on which that is settled.
    pub(super) settled: BTreeSet<String>,
}

impl LocalPathWait {
    /// The journal is another one now.
    pub(super) fn reset(&mut self) {
        self.seq = None;
        self.settled.clear();
    }

    /// Asks a pusher, once it is known what for.
    pub(super) fn ask(&self, pusher: &mut SupervisedPusher, now: Duration) {
        if let Some(seq) = self.seq
            && !self.settled.contains(&pusher.name)
        {
            let (ticket, below) = (self.ticket, self.below.clone());
            pusher.process.send(&ToPusher::Await { ticket, seq, below }, vec![], now);
        }
    }
}
