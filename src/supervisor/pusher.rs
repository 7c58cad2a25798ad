//! A pusher as the supervisor sees it: its child, its wake pipe, its last status, and the requests it has not received
//! yet.

use super::process::ChildProcess;
use super::schedule::{self, Clockwork};
use super::slots::{SlotHolder, SlotPool};
use crate::config::model::{Crontab, Remote, Schedule};
use crate::help_topic::HelpTopic;
use crate::message::{
    ChildStatus, FromPusher, PusherState, PusherStatus, ReconcileRequest, RemoteHealth,
    RemoteStatus, Role, Ticket, ToPusher, VerifyEnd, VerifyPart,
};
use crate::reconcile_reason::ReconcileReason;
use crate::sys::session::monotonic;
use crate::sys::{clock, wake};
use chrono::{Local, TimeZone};
use slog::{Logger, o};
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// How long a stopping pusher may continue the push in flight.
const GRACE_MS: u64 = 10_000;
/// A pusher that is not restarted within this time is down; a faster restart is worth waiting for.
const SOON: Duration = Duration::from_secs(1);

/// One pusher.
pub struct SupervisedPusher {
    /// Its identity among the holders of slots; never reused.
    pub key: SlotHolder,
    /// Its part of the configuration.
    pub remote: Remote,
    /// The remote's name.
    pub name: String,
    /// Its child.
    pub process: ChildProcess<ToPusher, FromPusher>,
    /// The status that it sent last.
    pub status: PusherStatus,
    /// Its remote is no longer configured. The remote is forgotten when the pusher has exited.
    pub removed: bool,
    /// The comparison that a `syncsup verify` reads from it.
    pub(super) verifying: Option<Verifying>,
    wake: (OwnedFd, OwnedFd),
    /// A requested reconcile that is not yet known to be in the journal.
    pending: Option<ReconcileRequest>,
    /// The number of the last request for a reconcile.
    requests: u64,
    trouble: TroubleSince,
    next_scheduled: Option<Duration>,
    clockwork: Option<Clockwork>,
}

/// Since when the remote is in trouble or held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TroubleSince {
    /// Unknown: no pusher has sent a status, or a guard held the remote before this instance started.
    Unknown,
    /// It is not in trouble.
    Never,
    /// This wall-clock time, in milliseconds since 1970.
    At(i64),
}

/// A comparison that a client reads.
pub(super) struct Verifying {
    /// Its number.
    pub(super) ticket: Ticket,
    /// The time at which the client last requested a part.
    pub(super) asked: Duration,
    /// The part that the client has not read yet.
    pub(super) part: Option<VerifyPart>,
}

impl SupervisedPusher {
    /// A pusher that is due now. It begins with a reconcile if a reason is given.
    pub fn new(
        key: SlotHolder,
        remote: Remote,
        reconcile: Option<ReconcileReason>,
        log: &Logger,
        now: Duration,
    ) -> io::Result<Self> {
        let name = remote.name();
        let title = OsString::from(format!("syncsup: pusher {name}"));
        let log = log.new(o!("child" => "pusher", "remote" => name.clone()));
        Ok(Self {
            key,
            remote,
            name,
            process: ChildProcess::new(Role::Pusher, title, stop, log, now),
            status: PusherStatus::default(),
            removed: false,
            verifying: None,
            wake: wake::pipe()?,
            requests: u64::from(reconcile.is_some()),
            pending: reconcile.map(|why| ReconcileRequest { why, number: 1 }),
            trouble: TroubleSince::Unknown,
            next_scheduled: None,
            clockwork: None,
        })
    }

    /// A copy of the writing end of its wake pipe.
    pub fn waker(&self) -> io::Result<OwnedFd> {
        self.wake.1.try_clone()
    }

    /// Makes it read the journal.
    pub fn wake(&self) {
        wake::wake(&self.wake.1);
    }

    /// A copy of the reading end of its wake pipe.
    pub fn wake_reader(&self) -> io::Result<OwnedFd> {
        self.wake.0.try_clone()
    }

    /// The reason of the reconcile with which the next process begins.
    pub fn pending(&self) -> Option<ReconcileReason> {
        self.pending.as_ref().map(|pending| pending.why.clone())
    }

    /// The number of the last request for a reconcile.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// Requests a reconcile. The request is repeated at the next start until the pusher has recorded it.
    pub fn request_reconcile(&mut self, why: &ReconcileReason, now: Duration) {
        if *why == ReconcileReason::Schedule && self.pending.is_some() {
            return;
        }
        self.requests += 1;
        let request = ReconcileRequest { why: why.clone(), number: self.requests };
        self.pending = Some(request.clone());
        self.process.send(&ToPusher::Reconcile(request), vec![], now);
    }

    /// Grants it a slot that no push needs, if one is free.
    pub fn want_spare(&mut self, slots: &mut SlotPool, now: Duration) {
        if slots.spare(self.key) {
            self.process.send(&ToPusher::Spare, vec![], now);
        }
    }

    /// It is started: what the previous process knew about the remote may be outdated.
    pub fn begins(&mut self) {
        self.status.reconciles_done = 0;
        if self.status.state == PusherState::InSync {
            self.status.state = PusherState::Behind;
        }
    }

    /// Stores its current status.
    pub fn note(&mut self, status: PusherStatus) {
        self.pending.take_if(|pending| status.requests_recorded >= pending.number);
        let guarded = status.held_deletions.is_some();
        self.trouble = match (status.state, self.trouble) {
            (PusherState::Backoff | PusherState::Held, since @ TroubleSince::At(_)) => since,
            (PusherState::Held, TroubleSince::Unknown) if guarded => TroubleSince::Unknown,
            (PusherState::Backoff | PusherState::Held, _) => TroubleSince::At(clock::wall_ms()),
            (_, _) => TroubleSince::Never,
        };
        self.status = status;
    }

    /// Requests a scheduled reconcile when it is due; the schedule counts from `start`.
    pub fn run_schedule(&mut self, crontab: Option<&Crontab>, start: Duration, now: Duration) {
        let minutes = match crontab.map(|c| &c.schedule) {
            Some(Schedule::Cron(text)) => return self.run_clockwork(text, now),
            Some(Schedule::Every(minutes)) => *minutes,
            None => 0,
        };
        self.clockwork = None;
        if self.next_scheduled.is_some_and(|due| now >= due) && minutes > 0 {
            self.request_reconcile(&ReconcileReason::Schedule, now);
        }
        self.next_scheduled = schedule::next_after(start, minutes, &self.name, now);
    }

    /// As [`Self::run_schedule`] for a cron expression, by the wall clock.
    fn run_clockwork(&mut self, text: &str, now: Duration) {
        let Some(wall) = Local.timestamp_millis_opt(clock::wall_ms()).single() else { return };
        if self.clockwork.as_ref().is_none_or(|c| c.text() != text) {
            self.clockwork = Clockwork::new(text, &self.name, &wall);
        }
        let Some(clockwork) = &mut self.clockwork else { return };
        let due = clockwork.turn(&self.name, &wall);
        self.next_scheduled = clockwork.left().map(|left| now + left);
        if due {
            self.request_reconcile(&ReconcileReason::Schedule, now);
        }
    }

    /// The next time of its schedule.
    pub fn next_scheduled(&self) -> Option<Duration> {
        self.next_scheduled
    }

    /// A part of a comparison was received.
    pub(super) fn verified(&mut self, ticket: Ticket, part: VerifyPart) {
        if let Some(verifying) = self.verifying.as_mut().filter(|v| v.ticket == ticket) {
            verifying.part = Some(part);
        }
    }

    /// Its process has exited, and the comparison has ended. The client still reads the last part.
    pub(super) fn verify_lost(&mut self) {
        if let Some(verifying) = &mut self.verifying {
            let why = "its pusher exited meanwhile; verify again".to_owned();
            verifying.part.get_or_insert_default().end.get_or_insert(VerifyEnd::Failed(why));
        }
    }

    /// The health of its remote, for plugins that wait for it or report it.
    pub fn health(&self, now: Duration) -> RemoteHealth {
        let down = !self.process.runs() && self.process.next_at().is_none_or(|at| at > now + SOON);
        let said = match self.status.state {
            PusherState::Backoff | PusherState::Held => Some(self.status.state),
            _ => None,
        };
        let trouble = if down { Some(PusherState::Down) } else { said };
        let reason = match down {
            true => self.process.report().last_exit.map(|e| format!("its pusher exited: {e}")),
            false => self.status.reason.clone().filter(|_| trouble.is_some()),
        };
        RemoteHealth { name: self.name.clone(), trouble, reason }
    }

    /// The state for `status`.
    pub fn report(&self, wall_ms: i64) -> RemoteStatus {
        let child: ChildStatus = self.process.report();
        let mut status = self.status.clone();
        let mut trouble_since_ms = match self.trouble {
            TroubleSince::At(ms) => Some(ms),
            TroubleSince::Unknown | TroubleSince::Never => None,
        };
        if child.pid.is_none() {
            trouble_since_ms = child.since_ms;
            status.retry_ms = None;
            status.help = Some(HelpTopic::ProcessDown);
            status.state = PusherState::Down;
            status.reason = child.last_exit.as_ref().map(|e| format!("its pusher exited: {e}"));
        }
        let lag_ms = status.oldest_ms.map_or(0, |oldest| wall_ms.saturating_sub(oldest).max(0));
        RemoteStatus {
            name: self.name.clone(),
            status,
            lag_ms: lag_ms as u64,
            trouble_since_ms,
            next_reconcile_ms: self.next_reconcile_ms(wall_ms),
            requests: self.requests,
            pusher: child,
        }
    }

    /// To the second, because it is computed from two clocks.
    fn next_reconcile_ms(&self, wall_ms: i64) -> Option<i64> {
        let left = self.next_scheduled?.saturating_sub(monotonic());
        let at = wall_ms.saturating_add(i64::try_from(left.as_millis()).ok()?);
        Some((at + 500).div_euclid(1_000) * 1_000)
    }
}

fn stop() -> ToPusher {
    ToPusher::Stop { grace_ms: GRACE_MS }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::ReconcileProgress;
    use crate::supervisor::testing;

    #[test]
    fn a_new_pusher_is_not_in_sync_because_its_predecessor_was() {
        let log = Logger::root(slog::Discard, o!());
        let remote = testing::remote("10.0.0.2");
        let mut pusher = SupervisedPusher::new(1, remote, None, &log, Duration::ZERO).unwrap();
        assert_eq!(pusher.status.state, PusherState::Behind, "nothing is known");
        for (before, after) in [
            (PusherState::InSync, PusherState::Behind),
            // The trouble of a remote does not end when its pusher exits.
            (PusherState::Backoff, PusherState::Backoff),
        ] {
            let done = PusherStatus { state: before, reconciles_done: 3, ..Default::default() };
            pusher.note(done);
            pusher.begins();
            assert_eq!((pusher.status.state, pusher.status.reconciles_done), (after, 0));
        }
    }

    #[test]
    fn since_when_a_predecessors_guard_holds_is_unknown() {
        let log = Logger::root(slog::Discard, o!());
        let since = |states: &[PusherState]| {
            let remote = testing::remote("10.0.0.2");
            let mut pusher = SupervisedPusher::new(1, remote, None, &log, Duration::ZERO).unwrap();
            for state in states {
                let held_deletions = (*state == PusherState::Held).then_some(7);
                pusher.note(PusherStatus { state: *state, held_deletions, ..Default::default() });
            }
            pusher.trouble
        };
        let known = |since| matches!(since, TroubleSince::At(_));
        use PusherState::{Backoff, Held, InSync, Reconciling};
        assert_eq!(since(&[Held, Held]), TroubleSince::Unknown);
        assert!(known(since(&[Reconciling, Held])) && known(since(&[Backoff])));
        assert!(known(since(&[Held, InSync, Held])));
        assert_eq!(since(&[Held, InSync]), TroubleSince::Never);
    }

    #[test]
    fn a_request_stays_until_its_pusher_has_recorded_it() {
        let log = Logger::root(slog::Discard, o!());
        let remote = testing::remote("10.0.0.2");
        let mut pusher = SupervisedPusher::new(1, remote, None, &log, Duration::ZERO).unwrap();
        let sync = ReconcileReason::Sync;
        pusher.request_reconcile(&sync, Duration::ZERO);
        let recorded = PusherStatus { requests_recorded: 1, ..Default::default() };
        pusher.note(recorded.clone());
        assert_eq!(pusher.pending(), None);
        pusher.request_reconcile(&sync, Duration::ZERO);
        // The reconcile of the first request begins and ends, and the second request is still on its way.
        let progress = ReconcileProgress { why: sync.clone(), ..Default::default() };
        pusher.note(PusherStatus { reconcile: Some(progress), ..recorded.clone() });
        pusher.note(PusherStatus { reconciles_done: 1, requests_completed: 1, ..recorded });
        assert_eq!((pusher.pending(), pusher.requests()), (Some(sync), 2));
        pusher.note(PusherStatus { requests_recorded: 2, ..Default::default() });
        assert_eq!(pusher.pending(), None);
    }
}
