//! `syncsup wait`: asks the watchers, then the pushers, and keeps what they answer until the client asks for it.

use super::pusher::Pusher;
use super::run::Supervisor;
use super::site::Site;
use crate::message::{Answer, Ticket, ToPusher, ToWatcher, WaitFor, Waited};
use crate::path::RelPath;
use crate::sys::clock;
use std::collections::BTreeSet;
use std::time::Duration;

/// A client that has not asked for so long does not wait any more.
const FORGOTTEN: Duration = Duration::from_secs(30);
/// So many may wait at a time.
const MOST: usize = 1_000;

/// A question that clients ask about.
pub(super) struct Question {
    ticket: Ticket,
    asked: Duration,
    sites: Vec<String>,
}

/// What one localpath has to say about it.
pub(super) struct Waiting {
    ticket: Ticket,
    below: Vec<RelPath>,
    /// The last mark of what was changed before, once the watcher has read it.
    seq: Option<i64>,
    /// The remotes on which that is settled.
    settled: BTreeSet<String>,
}

impl Waiting {
    /// The journal is another one now.
    pub(super) fn begin_anew(&mut self) {
        self.seq = None;
        self.settled.clear();
    }

    /// Asks a pusher, once it is known what for.
    pub(super) fn ask(&self, pusher: &mut Pusher, now: Duration) {
        if let Some(seq) = self.seq
            && !self.settled.contains(&pusher.name)
        {
            let (ticket, below) = (self.ticket, self.below.clone());
            pusher.process.send(&ToPusher::Await { ticket, seq, below }, vec![], now);
        }
    }
}

impl Site {
    /// Asks the watcher what it has not answered yet: one that has just begun knows nothing of it.
    pub(super) fn ask_barriers(&mut self, now: Duration) {
        for waiting in self.waiting.iter().filter(|w| w.seq.is_none()) {
            let (ticket, below) = (waiting.ticket, waiting.below.clone());
            self.watcher.send(&ToWatcher::Barrier { ticket, below }, vec![], now);
        }
    }

    /// Everything that was changed before is marked.
    pub(super) fn barrier_reached(&mut self, ticket: Ticket, seq: i64, now: Duration) {
        // A journal that is to be set aside has nothing to say.
        if self.damaged() {
            return;
        }
        let Some(waiting) = self.waiting.iter_mut().find(|w| w.ticket == ticket) else { return };
        if waiting.seq.is_none() {
            waiting.seq = Some(seq);
            for pusher in &mut self.pushers {
                waiting.ask(pusher, now);
            }
        }
    }

    /// All of it is settled on the remote of pusher `n`.
    pub(super) fn awaited_settled(&mut self, n: usize, ticket: Ticket) {
        let waiting = self.waiting.iter_mut().find(|w| w.ticket == ticket && w.seq.is_some());
        if let (Some(waiting), Some(pusher)) = (waiting, self.pushers.get(n)) {
            waiting.settled.insert(pusher.name.clone());
        }
    }

    fn forget_wait(&mut self, ticket: Ticket, now: Duration) {
        self.waiting.retain(|w| w.ticket != ticket);
        self.watcher.send(&ToWatcher::DropBarrier(ticket), vec![], now);
        for pusher in &mut self.pushers {
            pusher.process.send(&ToPusher::DropAwait(ticket), vec![], now);
        }
    }
}

impl Supervisor {
    /// A ticket that was never given out: another supervisor may have given out any small number.
    pub(super) fn next_ticket(&mut self) -> Ticket {
        self.last_ticket = (self.last_ticket + 1).max(clock::wall_ns().unsigned_abs());
        self.last_ticket
    }

    /// A ticket for what is changed by now.
    pub(super) fn wait(&mut self, what: Vec<WaitFor>, now: Duration) -> Answer {
        if self.questions.len() >= MOST {
            return Answer::Refused(format!("{MOST} commands wait already"));
        }
        let known = |watch| {
            self.sites.iter().position(|s| !s.retiring && s.wanted.localpath.watch == watch)
        };
        let mut found = Vec::new();
        for WaitFor { watch, below } in what {
            let Some(n) = known(watch.clone()) else {
                return Answer::Refused(format!("{watch} is no localpath here"));
            };
            found.push((n, below));
        }
        let ticket = self.next_ticket();
        let mut question = Question { ticket, asked: now, sites: vec![] };
        for (n, below) in found {
            let site = &mut self.sites[n];
            question.sites.push(site.wanted.id.clone());
            let settled = BTreeSet::new();
            let barrier = ToWatcher::Barrier { ticket, below: below.clone() };
            site.waiting.push(Waiting { ticket, below, seq: None, settled });
            site.watcher.send(&barrier, vec![], now);
        }
        self.questions.push(question);
        Answer::Ticket(ticket)
    }

    /// How it is with a ticket.
    pub(super) fn waited(&mut self, ticket: Ticket, now: Duration) -> Option<Vec<Waited>> {
        let question = self.questions.iter_mut().find(|q| q.ticket == ticket)?;
        question.asked = now;
        let wall_ms = clock::wall_ms();
        let one = |id: &String| {
            let site = self.sites.iter().find(|s| s.wanted.id == *id && !s.retiring)?;
            let waiting = site.waiting.iter().find(|w| w.ticket == ticket)?;
            let settled = waiting.settled.iter().cloned().collect();
            let reached = waiting.seq.is_some();
            Some(Waited { reached, settled, status: site.report(wall_ms) })
        };
        // A localpath that is no longer configured: the client must choose anew.
        question.sites.iter().map(one).collect()
    }

    /// Forgets what nobody asks about any more.
    pub(super) fn forget_questions(&mut self, now: Duration) {
        let old = |q: &Question| now.saturating_sub(q.asked) > FORGOTTEN;
        let gone: Vec<Ticket> =
            self.questions.iter().filter(|q| old(q)).map(|q| q.ticket).collect();
        for ticket in gone {
            self.questions.retain(|q| q.ticket != ticket);
            self.sites.iter_mut().for_each(|site| site.forget_wait(ticket, now));
        }
    }
}
