//! `syncsup wait`: says when everything marked up to a number is settled on this remote.
//!
//! It is when, first, some batch that read all there was above the cursor has ended since that mark (or nothing was
//! there): a path that is marked again moves up, so the cursor alone says nothing. Second, no comparison is wanted at
//! that moment that may stand for changes. Third, all that was owed at that moment, and what came of it, is gone. What
//! is marked meanwhile does not count, so that a busy localpath is not waited for without end.

use super::context::Context;
use super::doubt::Doubt;
use crate::journal::JournalError;
use crate::message::Ticket;
use crate::path::RelPath;
use crate::reconcile_reason::ReconcileReason;
use crate::sys::clock;

/// What is waited for.
#[derive(Default)]
pub(super) struct Waiters {
    open: Vec<Waiter>,
    /// Every mark up to it was settled or owed at some moment.
    whole: i64,
    /// The batch in flight has read all marks up to it.
    reading: Option<i64>,
}

struct Waiter {
    ticket: Ticket,
    seq: i64,
    below: Vec<RelPath>,
    /// What is owed since then, in milliseconds since 1970, may be of a mark up to `seq`.
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

    /// A batch starts that has read every mark up to `whole`, if it has.
    pub(super) fn reads(&mut self, whole: Option<i64>) {
        self.reading = whole;
    }

    /// That batch has ended: all of it is settled or owed, or nothing of it is.
    pub(super) fn read(&mut self, settled: bool) {
        let read = self.reading.take().filter(|_| settled);
        self.whole = self.whole.max(read.unwrap_or(0));
    }

    /// Those for which everything is settled by now; they wait no longer. `lost` says whether the remote may have lost
    /// something.
    pub(super) fn settled(
        &mut self,
        context: &Context,
        lost: Doubt,
    ) -> Result<Vec<Ticket>, JournalError> {
        if self.open.is_empty() {
            return Ok(Vec::new());
        }
        let (journal, name) = (&context.journal, &context.name);
        let whole = journal.nothing_after(context.standing.cursor)?.unwrap_or(0);
        self.whole = self.whole.max(whole);
        // A scheduled reconcile stands for nothing that was marked.
        let compares = lost != Doubt::No
            || journal.wanted_reconcile(name)?.is_some_and(|why| why != ReconcileReason::Schedule);
        let mut settled = Vec::new();
        for waiter in &mut self.open {
            if waiter.since_ms.is_none() && self.whole >= waiter.seq && !compares {
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
