//! `syncsup wait`: reports when every mark up to a number is settled on this remote.
//!
//! Three conditions must hold. First, a batch that read every mark above the cursor has ended since that mark, or there
//! was no mark above the cursor. The cursor alone does not tell this, because a path that is marked again gets a higher
//! number. Second, no reconcile is requested at that moment that may replace marks. Third, every row that was owed at
//! that moment, and every row that resulted from it, is settled. Later marks do not count, so that a wait ends on a
//! busy localpath, too.

use super::context::Context;
use super::doubt::Doubt;
use crate::journal::JournalError;
use crate::message::Ticket;
use crate::path::RelPath;
use crate::reconcile_reason::ReconcileReason;
use crate::sys::clock;

/// The open waits.
#[derive(Default)]
pub(super) struct Waiters {
    open: Vec<Waiter>,
    /// Every mark up to this number was settled or owed at some moment.
    read_upto: i64,
    /// The batch in flight has read every mark up to this number.
    reading: Option<i64>,
}

struct Waiter {
    ticket: Ticket,
    seq: i64,
    below: Vec<RelPath>,
    /// Rows that are owed since this time, in milliseconds since 1970, or before may result from a mark up to `seq`.
    since_ms: Option<i64>,
}

impl Waiters {
    pub(super) fn add(&mut self, ticket: Ticket, seq: i64, below: Vec<RelPath>) {
        self.forget(ticket);
        self.open.push(Waiter { ticket, seq, below, since_ms: None });
    }

    pub(super) fn forget(&mut self, ticket: Ticket) {
        self.open.retain(|a| a.ticket != ticket);
    }

    /// A batch starts. It has read every mark up to `read_upto`, which is `None` if it has not read all marks.
    pub(super) fn reads(&mut self, read_upto: Option<i64>) {
        self.reading = read_upto;
    }

    /// That batch has ended. All its marks are settled or owed, or none is.
    pub(super) fn read(&mut self, settled: bool) {
        let read = self.reading.take().filter(|_| settled);
        self.read_upto = self.read_upto.max(read.unwrap_or(0));
    }

    /// Removes and returns the waiters for which everything is settled. `doubt` says whether the remote may have lost
    /// data.
    pub(super) fn settled(
        &mut self,
        context: &Context,
        doubt: Doubt,
    ) -> Result<Vec<Ticket>, JournalError> {
        if self.open.is_empty() {
            return Ok(Vec::new());
        }
        let (journal, name) = (&context.journal, &context.name);
        let read_upto = journal.nothing_after(context.remote_state.cursor)?.unwrap_or(0);
        self.read_upto = self.read_upto.max(read_upto);
        // A scheduled reconcile replaces no marks.
        let compares = doubt != Doubt::No
            || journal.wanted_reconcile(name)?.is_some_and(|why| why != ReconcileReason::Schedule);
        let mut settled = Vec::new();
        for waiter in &mut self.open {
            if waiter.since_ms.is_none() && self.read_upto >= waiter.seq && !compares {
                waiter.since_ms = Some(journal.owed_since(name, clock::wall_ms())?);
            }
            if let Some(since_ms) = waiter.since_ms
                && !journal.owes(name, since_ms, &waiter.below)?
            {
                settled.push(waiter.ticket);
            }
        }
        settled.iter().for_each(|ticket| self.forget(*ticket));
        Ok(settled)
    }
}
