//! `syncsup wait`: a client gets a ticket, and queries its state until the changes are settled.

use crate::message::{Answer, Ticket, ToWatcher, WaitFor, Waited};
use crate::supervisor::state::Supervisor;
use crate::supervisor::waiters::{LocalPathWait, Waiter};
use crate::sys::clock;
use std::collections::BTreeSet;
use std::time::Duration;

/// A client that has sent no query for this time no longer waits.
const FORGOTTEN: Duration = Duration::from_secs(30);
/// The most waiters at a time.
const MOST: usize = 1_000;

impl Supervisor {
    /// Issues a ticket for everything that has changed by now.
    pub(in crate::supervisor) fn wait(&mut self, what: Vec<WaitFor>, now: Duration) -> Answer {
        if self.waiters.len() >= MOST {
            return Answer::Refused(format!("{MOST} waiters are waiting already"));
        }
        let known =
            |watch| self.localpaths.iter().position(|l| l.is_configured() && *l.watch() == watch);
        let mut found = Vec::new();
        for WaitFor { watch, below } in what {
            let Some(n) = known(watch.clone()) else {
                return Answer::Refused(format!("{watch} is not a localpath of this instance"));
            };
            found.push((n, below));
        }
        let ticket = self.next_ticket();
        let mut waiter = Waiter { ticket, asked: now, localpaths: vec![] };
        for (n, below) in found {
            let localpath = &mut self.localpaths[n];
            waiter.localpaths.push(localpath.configured.id.clone());
            let settled = BTreeSet::new();
            let barrier = ToWatcher::Barrier { ticket, below: below.clone() };
            localpath.waits.push(LocalPathWait { ticket, below, seq: None, settled });
            localpath.watcher.send(&barrier, vec![], now);
        }
        self.waiters.push(waiter);
        Answer::Ticket(ticket)
    }

    /// The state of a ticket.
    pub(in crate::supervisor) fn waited(
        &mut self,
        ticket: Ticket,
        now: Duration,
    ) -> Option<Vec<Waited>> {
        let waiter = self.waiters.iter_mut().find(|w| w.ticket == ticket)?;
        waiter.asked = now;
        let wall_ms = clock::wall_ms();
        let one = |id: &String| {
            let localpath =
                self.localpaths.iter().find(|l| l.configured.id == *id && l.is_configured())?;
            let wait = localpath.waits.iter().find(|w| w.ticket == ticket)?;
            let settled = wait.settled.iter().cloned().collect();
            let reached = wait.seq.is_some();
            Some(Waited { reached, settled, status: localpath.report(wall_ms) })
        };
        // A localpath is no longer configured: the client must send the request again.
        waiter.localpaths.iter().map(one).collect()
    }

    /// Forgets the waiters that have stopped sending queries.
    pub(in crate::supervisor) fn forget_waiters(&mut self, now: Duration) {
        let old = |w: &Waiter| now.saturating_sub(w.asked) > FORGOTTEN;
        let gone: Vec<Ticket> = self.waiters.iter().filter(|w| old(w)).map(|w| w.ticket).collect();
        for ticket in gone {
            self.waiters.retain(|w| w.ticket != ticket);
            self.localpaths.iter_mut().for_each(|localpath| localpath.forget_wait(ticket, now));
        }
    }
}
