//! `syncsup wait`: says when everything marked up to a number is settled on this remote.
//!
//! It is when, first, some batch that read all there was above the cursor has ended since that mark (or nothing was
//! there): a path that is marked again moves up, so the cursor alone says nothing. Second, no comparison is wanted at
//! that moment that may stand for changes. Third, all that was owed at that moment, and what came of it, is gone. What
//! is marked meanwhile does not count, so that a busy localpath is not waited for without end.

use super::doubt::Doubt;
use super::run::Pusher;
use crate::journal::JournalError;
use crate::message::{FromPusher, SCHEDULE, Ticket};
use crate::path::RelPath;
use crate::sys::clock;

/// What is waited for.
#[derive(Default)]
pub(super) struct Awaits {
    open: Vec<Await>,
    /// Every mark up to it was settled or owed at some moment.
    whole: i64,
    /// The batch in flight has read all marks up to it.
    reading: Option<i64>,
}

struct Await {
    ticket: Ticket,
    seq: i64,
    below: Vec<RelPath>,
    /// What is owed since then, in milliseconds since 1970, may be of a mark up to `seq`.
    since_ms: Option<i64>,
}

impl Awaits {
    pub(super) fn add(&mut self, ticket: Ticket, seq: i64, below: Vec<RelPath>) {
        self.forget(ticket);
        self.open.push(Await { ticket, seq, below, since_ms: None });
    }

    pub(super) fn forget(&mut self, ticket: Ticket) {
        self.open.retain(|a| a.ticket != ticket);
    }

    /// A batch starts that has read every mark up to `whole`, if it has.
    pub(super) fn reads(&mut self, whole: Option<i64>) {
        self.reading = whole;
    }

    /// That batch has ended: all of it is settled or owed, or nothing of it is.
    pub(super) fn read(&mut self, settled: bool) {
        let read = self.reading.take().filter(|_| settled);
        self.whole = self.whole.max(read.unwrap_or(0));
    }
}

impl Pusher {
    /// Tells who waits for what is settled by now.
    pub(super) fn answer_awaits(&mut self) -> Result<(), JournalError> {
        if self.awaits.open.is_empty() {
            return Ok(());
        }
        let (journal, name) = (&self.desk.journal, &self.desk.name);
        let whole = journal.nothing_after(self.desk.row.cursor)?.unwrap_or(0);
        self.awaits.whole = self.awaits.whole.max(whole);
        // The schedule's stand for nothing that was marked.
        let compares = self.doubt != Doubt::No
            || journal.wanted_reconcile(name)?.is_some_and(|why| why != SCHEDULE);
        let mut settled = Vec::new();
        for a in &mut self.awaits.open {
            if a.since_ms.is_none() && self.awaits.whole >= a.seq && !compares {
                a.since_ms = Some(journal.owed_since(name, clock::wall_ms())?);
            }
            if let Some(since_ms) = a.since_ms
                && !journal.owes(name, since_ms, &a.below)?
            {
                settled.push(a.ticket);
            }
        }
        for ticket in settled {
            self.awaits.forget(ticket);
            self.voice.send(&FromPusher::Settled(ticket));
        }
        Ok(())
    }
}
