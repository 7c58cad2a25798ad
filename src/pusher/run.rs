//! The pusher's process: reads, calls, acts. What is decided is decided in the pure parts.

use super::batch::PARENTS_MOST;
use super::context::Context;
use super::doubt::Doubt;
use super::health::Health;
use super::jobs::Jobs;
use super::pending::Pending;
use super::phase::Phase;
use super::push::Push;
use super::reconcile::Reconcile;
use super::slots::Slots;
use super::supervisor_link::SupervisorLink;
use super::waiters::Waiters;
use crate::journal::{JournalError, Owe, Settlement};
use crate::message::{FromPusher, PusherStatus, ToPusher};
use crate::reconcile_reason::ReconcileReason;
use crate::sys::begin::{Begun, begin, cannot_start};
use crate::sys::channel::Received;
use crate::sys::signals::Signals;
use crate::sys::{clock, log};
use slog::{info, o, warn};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// The push in hand may go on for so long when the supervisor is gone.
const ORPHAN_GRACE: Duration = Duration::from_secs(2);

/// Runs a pusher whose control channel is `channel`; returns its exit status.
pub fn run(channel: OwnedFd) -> i32 {
    let begun = begin("pusher", channel, |message| match message {
        ToPusher::Start(start) => Some(*start),
        _ => None,
    });
    let Some(Begun { control, signals, start, mut fds }) = begun else { return 1 };
    let Some(wake) = fds.pop() else {
        cannot_start("pusher", "no wake pipe was passed with the start message");
        return 1;
    };
    let name = start.remote.name();
    let logger = log::logger(start.debug)
        .new(o!("role" => "pusher", "localpath" => start.localpath.watch.to_string(), "remote" => name.clone()));
    match Pusher::prepare(control, signals, start, wake, logger.clone()) {
        Ok(mut pusher) => pusher.work(),
        Err(why) => {
            slog::error!(logger, "cannot go on"; "why" => why);
            1
        }
    }
}

/// A pusher at work.
pub struct Pusher {
    pub(super) supervisor: SupervisorLink,
    pub(super) signals: Signals,
    pub(super) wake: OwnedFd,
    pub(super) context: Context,
    pub(super) jobs: Jobs,
    pub(super) slots: Slots,
    pub(super) health: Health,
    /// The trouble was met by a push: a comparison, which writes nothing there, cannot tell that it is over.
    pub(super) push_failed: bool,
    /// Whether the remote still has what it has acknowledged.
    pub(super) doubt: Doubt,
    pub(super) phase: Phase,
    /// The trash is looked after no sooner.
    pub(super) expiry_due: Option<Duration>,
    pub(super) pending: Pending,
    pub(super) yielding: Yielding,
    /// The remote takes few connections: until then there is one at a time.
    pub(super) connection_limited: Option<Duration>,
    pub(super) reconcile: Reconcile,
    /// When a comparison last found something, in milliseconds since 1970.
    pub(super) compared_ms: i64,
    /// Batches that went through.
    pub(super) pushes: u64,
    pub(super) stop: Option<Stop>,
    pub(super) killed: bool,
    /// Everything is to be compared when the remote is back, see [`Pusher::leftovers`].
    pub(super) leftovers_everywhere: bool,
    /// This remote's part of the fail log is not empty.
    pub(super) fail_log_shows: bool,
    pub(super) waiters: Waiters,
    pub(super) said: Said,
}

/// The process ends when the push in hand has ended, or at this time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stop {
    pub(super) until: Duration,
    /// The supervisor is gone: nobody listens.
    pub(super) orphaned: bool,
}

/// Pushes that would touch the same paths let each other go first.
#[derive(Default)]
pub(super) struct Yielding {
    /// All that is owed by name touches a portion in flight: there is nothing to start before one ends.
    pub(super) small: bool,
    /// Something that is owed by name touched a portion: no other portion starts before it has been pushed.
    pub(super) bulk: bool,
    /// There is no large file but those in flight.
    pub(super) large: bool,
    /// All that portions could have touches what is in flight.
    pub(super) portions: bool,
    /// Some of that is being pushed as marked. Else the end of a push of marks changes nothing: to read thousands of
    /// rows after each of them would take all there is of a core.
    pub(super) to_marks: bool,
}

/// What was last told to the supervisor.
#[derive(Default)]
pub(super) struct Said {
    pub(super) status: Option<PusherStatus>,
    pub(super) status_at: Duration,
    pub(super) dirty: bool,
    /// The time of the next try of a remote in trouble, and the same on the wall clock.
    pub(super) retry: Option<(Duration, i64)>,
}

impl Pusher {
    pub(super) fn want_reconcile(&mut self, why: &ReconcileReason) -> Result<(), JournalError> {
        // Any other reason compares more than the schedule, which leaves out what `crontabfilter` says.
        if *why == ReconcileReason::Schedule && self.context.row.reconcile.is_some() {
            return Ok(());
        }
        let again = self.jobs.everything().is_some_and(|work| work.why() == Some(why));
        self.context.journal.want_reconcile(&self.context.name, Some(why))?;
        self.context.row.reconcile = Some(why.clone());
        self.reconcile.request(again);
        self.said.dirty = true;
        Ok(())
    }

    fn work(&mut self) -> i32 {
        loop {
            match self.turn() {
                Ok(None) => {}
                Ok(Some(exit)) => return exit,
                Err(JournalError::Damaged(why)) => {
                    slog::error!(self.context.log, "the journal is damaged"; "why" => &why);
                    self.jobs.kill();
                    // The supervisor sets it aside when this process has ended.
                    self.supervisor.send(&FromPusher::Damaged(why));
                    return 1;
                }
                Err(JournalError::Refused(why)) => {
                    warn!(self.context.log, "cannot use the journal; trying again"; "why" => why);
                    self.pending.refused(clock::boot());
                }
            }
        }
    }

    /// One turn of the loop. `Some` ends the process.
    fn turn(&mut self) -> Result<Option<i32>, JournalError> {
        self.listen()?;
        let now = clock::boot();
        self.advance(now)?;
        self.context.master.tend(self.wants_master(now), now);
        if let Some(stop) = self.stop {
            if self.jobs.idle() || now >= stop.until {
                return self.end().map(Some);
            }
        } else if self.pending.is_usable(now) {
            self.pending.used();
            if self.pending.wants_look(now) {
                self.look_at_journal(now)?;
            }
            self.start_lanes(now)?;
            for ticket in self.waiters.settled(&self.context, self.doubt)? {
                self.supervisor.send(&FromPusher::Settled(ticket));
            }
        }
        for _ in 0..self.jobs.slots_of_stalled(now) {
            self.give_slot_back();
        }
        self.tell(now)?;
        if let Err(e) = self.sleep(now) {
            warn!(self.context.log, "poll"; "why" => e.to_string());
        }
        Ok(None)
    }

    /// Stops in order: whatever is still in flight is ended.
    fn end(&mut self) -> Result<i32, JournalError> {
        let killed = !self.jobs.idle() || self.killed || self.leftovers_everywhere;
        self.jobs.kill();
        self.context.master.leave();
        if !killed {
            self.context.journal.set_clean(&self.context.name, true)?;
        }
        Ok(0)
    }

    /// Reads signals, wakes and messages.
    fn listen(&mut self) -> Result<(), JournalError> {
        let arrived = self.signals.take();
        if arrived.stop {
            self.stop_within(ORPHAN_GRACE, false);
        }
        loop {
            match self.supervisor.receive() {
                Ok(Received::Message(message, _)) => self.obey(message)?,
                Ok(Received::Nothing) => return Ok(()),
                Ok(Received::Closed) | Err(_) => {
                    // The supervisor is gone: finish or abandon the push in hand.
                    if !self.supervisor_is_gone() {
                        info!(self.context.log, "the supervisor is gone");
                        self.stop_within(ORPHAN_GRACE, true);
                    }
                    return Ok(());
                }
            }
        }
    }

    fn stop_within(&mut self, grace: Duration, orphaned: bool) {
        let new = Stop { until: clock::boot() + grace, orphaned };
        let both = |old: Stop| Stop {
            until: old.until.min(new.until),
            orphaned: old.orphaned || new.orphaned,
        };
        self.stop = Some(self.stop.map_or(new, both));
    }

    pub(super) fn supervisor_is_gone(&self) -> bool {
        self.stop.is_some_and(|stop| stop.orphaned)
    }

    fn obey(&mut self, message: ToPusher) -> Result<(), JournalError> {
        self.said.dirty = true;
        match message {
            ToPusher::Start(_) => {}
            ToPusher::Slot => {
                self.slots.asked = self.slots.asked.saturating_sub(1);
                self.slots.free += 1;
            }
            ToPusher::Spare => self.spare_granted(),
            ToPusher::Yield => self.yield_spare(clock::boot()),
            ToPusher::Reconcile(why) => {
                if why != ReconcileReason::Schedule {
                    self.health.hasten(clock::boot());
                    // The operator who asks may have mended what failed.
                    self.context.journal.retry_now(&self.context.name, clock::wall_ms())?;
                }
                self.want_reconcile(&why)?;
            }
            ToPusher::Release => {
                // Nothing is approved in advance.
                if let Some(held) = self.context.row.held.take() {
                    info!(self.context.log, "released by the operator"; "deletions" => held.deletions);
                    self.context.journal.set_held(&self.context.name, None)?;
                    self.reconcile.release(held.deletions);
                }
            }
            ToPusher::Hold(why) => {
                self.phase.told(why);
                if self.phase.held().is_some() {
                    // A running rsync would keep the file system busy, and push from a root that is not there. Last:
                    // where the journal fails, it is held all the same.
                    self.abandon()?;
                }
            }
            ToPusher::Await { ticket, seq, below } => self.waiters.add(ticket, seq, below),
            ToPusher::DropAwait(ticket) => self.waiters.forget(ticket),
            ToPusher::Verify(ticket, job) => self.verify(ticket, job),
            ToPusher::VerifyMore(ticket) => self.verify_more(ticket, true),
            ToPusher::DropVerify(ticket) => self.verify_more(ticket, false),
            ToPusher::FailuresDue => self.health.hasten(clock::boot()),
            ToPusher::FailuresForgotten(below) => self.forget_failures(&below)?,
            ToPusher::Stop { grace_ms } => self.stop_within(Duration::from_millis(grace_ms), false),
        }
        self.pending.touch();
        Ok(())
    }

    /// Ends everything in flight; nothing of it is settled.
    fn abandon(&mut self) -> Result<(), JournalError> {
        self.killed |= !self.jobs.idle();
        self.jobs.kill();
        self.end_expiry();
        let pushes = self.jobs.take_pushes();
        let compare = self.jobs.compare.take();
        self.jobs.spool = None;
        // Nothing is left in flight that anybody could wait for.
        self.yielding = Yielding::default();
        compare.iter().for_each(|busy| self.return_slot(busy.slot));
        pushes.iter().for_each(|busy| self.return_slot(busy.slot));
        pushes.iter().try_for_each(|busy| self.unseen(&busy.work))
    }

    /// The end of this push was not seen: an old receiver may still be at work on its names (rule 2).
    pub(super) fn unseen(&mut self, push: &Push) -> Result<(), JournalError> {
        self.context.again_upto = self.context.again_upto.max(push.cursor().unwrap_or(0));
        self.leftovers(push.parents())?;
        self.context.journal.settle(&self.context.name, &push.unseen(), clock::wall_ms())
    }

    /// Has these directories compared, because a receiver that was ended may have left a temporary file in one of them.
    pub(super) fn leftovers(&mut self, parents: Vec<Owe>) -> Result<(), JournalError> {
        if parents.len() > PARENTS_MOST {
            // One that stays in trouble is not to be compared after each try.
            self.leftovers_everywhere = self.health != Health::Good;
            return if self.leftovers_everywhere {
                Ok(())
            } else {
                self.want_reconcile(&ReconcileReason::Leftovers)
            };
        }
        if parents.is_empty() {
            return Ok(());
        }
        let end = Settlement { owe: parents, ..Settlement::default() };
        self.context.journal.settle(&self.context.name, &end, clock::wall_ms())
    }
}
