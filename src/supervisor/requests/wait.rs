//! `syncsup wait`: a client gets a ticket, and queries its state until the changes are settled.

use crate::language::say;
use crate::message::{Answer, Ticket, ToWatcher, WaitFor, Waited};
use crate::path::RelPath;
use crate::supervisor::state::Supervisor;
use crate::supervisor::waiters::{LocalPathWait, Waiter};
use crate::sys::clock;
use std::collections::BTreeSet;
use std::time::Duration;

/// A client that has sent no query for this time no longer waits.
const FORGOTTEN: Duration = Duration::from_secs(30);
/// The most memory that the requests of waiters may take, in bytes. For a further one, the waiters whose clients have sent
/// no query for longest are forgotten. A client that still waits then sends its request again.
const MOST_BYTES: usize = 16 << 20;
/// What one waiter takes beside its paths, and one path beside its bytes.
const WAITER_BYTES: usize = 4 << 10;
const PATH_BYTES: usize = 64;

impl Supervisor {
    /// Issues a ticket for everything that has changed by now.
    pub(in crate::supervisor) fn wait(&mut self, what: Vec<WaitFor>, now: Duration) -> Answer {
        let bytes = bytes_of(&what);
        if bytes > MOST_BYTES {
            return Answer::Refused(say!("too many localpaths to wait for"));
        }
        let known =
            |watch| self.localpaths.iter().position(|l| l.is_configured() && *l.watch() == watch);
        let mut found = Vec::new();
        for WaitFor { watch, below } in what {
            let Some(n) = known(watch.clone()) else {
                return Answer::Refused(say!("{} is not a localpath of this instance", watch));
            };
            found.push((n, below));
        }
        self.make_room(bytes, now);
        let ticket = self.next_ticket();
        let mut waiter = Waiter { ticket, asked: now, bytes, localpaths: vec![] };
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
        gone.into_iter().for_each(|ticket| self.forget_waiter(ticket, now));
    }

    fn forget_waiter(&mut self, ticket: Ticket, now: Duration) {
        self.waiters.retain(|w| w.ticket != ticket);
        self.localpaths.iter_mut().for_each(|localpath| localpath.forget_wait(ticket, now));
    }

    fn make_room(&mut self, bytes: usize, now: Duration) {
        let waiters = self.waiters.iter().map(|w| (w.ticket, w.asked, w.bytes));
        for ticket in in_excess(waiters.collect(), bytes) {
            self.forget_waiter(ticket, now);
        }
    }
}

/// What a request takes in memory.
fn bytes_of(what: &[WaitFor]) -> usize {
    let path = |path: &RelPath| PATH_BYTES + path.as_bytes().len();
    let one = |wait: &WaitFor| WAITER_BYTES + wait.below.iter().map(path).sum::<usize>();
    WAITER_BYTES + what.iter().map(one).sum::<usize>()
}

/// The tickets that are forgotten for a new waiter of this size: those that were not queried for longest. Each waiter is
/// its ticket, its last query and its size.
fn in_excess(mut waiters: Vec<(Ticket, Duration, usize)>, bytes: usize) -> Vec<Ticket> {
    let mut excess =
        (waiters.iter().map(|w| w.2).sum::<usize>() + bytes).saturating_sub(MOST_BYTES);
    waiters.sort_by_key(|w| w.1);
    let until_it_fits = waiters.into_iter().take_while(|w| {
        let more = excess > 0;
        excess = excess.saturating_sub(w.2);
        more
    });
    until_it_fits.map(|w| w.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiters_that_are_not_queried_are_forgotten_for_new_ones() {
        let s = Duration::from_secs;
        let half = MOST_BYTES / 2;
        assert!(in_excess(vec![], MOST_BYTES).is_empty());
        assert!(in_excess(vec![(1, s(5), half)], half).is_empty());
        // 2 was queried before 1.
        let two = vec![(1, s(5), half), (2, s(4), half)];
        assert_eq!(in_excess(two.clone(), 1), [2]);
        assert_eq!(in_excess(two, half + 1), [2, 1]);
        let flood: Vec<_> = (0..10_000).map(|n| (n, s(1), WAITER_BYTES * 2)).collect();
        let left = flood.len() - in_excess(flood, WAITER_BYTES * 2).len();
        assert!((1_000..2_100).contains(&left), "{left}");
    }

    #[test]
    fn the_paths_of_a_request_count() {
        let below: Vec<RelPath> =
            (0..100).map(|n| RelPath::new(format!("d/{n}")).unwrap()).collect();
        let what = |below| vec![WaitFor { watch: "/d".into(), below }];
        assert!(bytes_of(&what(below)) > bytes_of(&what(vec![])) + 100 * PATH_BYTES);
    }
}
