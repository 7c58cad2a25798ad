//! The pusher's process: reads, steps, acts. All decisions are made in [`super::state`] and the pure modules below it.

use super::context::Context;
use super::jobs::Jobs;
use super::jobs::rsyncing::{Busy, Rsyncing};
use super::jobs::scrub::Scrub;
use super::jobs::verify::Verifying;
use super::phase::StopCause;
use super::prepare::{Prepared, prepare};
use super::privileges;
use super::slot::Returned;
use super::state::{Connection, Event, State};
use super::status::Status;
use super::waiters::Waiters;
use crate::journal::{JournalError, Party};
use crate::message::{FromPusher, Ticket, ToPusher, VerifyJob};
use crate::path::RelPath;
use crate::sys::begin::{Begun, begin, cannot_start};
use crate::sys::channel::Received;
use crate::sys::signals::Signals;
use crate::sys::{clock, log, poll, wake};
use slog::{info, o, warn};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// A push in flight may continue for this long after the supervisor has exited.
const ORPHAN_GRACE: Duration = Duration::from_secs(2);
/// A pusher rests, without heartbeats, if it has nothing to do for this time.
const RESTS_FOR: Duration = Duration::from_secs(5);
/// The interval at which rows of a partial comparison are written.
const ROWS_EVERY: Duration = Duration::from_millis(50);

/// Runs a pusher whose control channel is `channel`. Returns its exit status.
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
    if let Err(why) = privileges::give_up(&start, &logger) {
        cannot_start("pusher", &format!("cannot give up privileges: {why}"));
        return 1;
    }
    let prepared = prepare(control, start, logger.clone()).and_then(|prepared| {
        Pusher::begin(prepared, Some(signals), wake).map_err(|e| e.to_string())
    });
    match prepared {
        Ok(mut pusher) => pusher.work(),
        Err(why) => {
            slog::error!(logger, "cannot start"; "why" => why);
            1
        }
    }
}

/// A pusher at work.
pub struct Pusher {
    /// A simulation has none.
    pub(super) signals: Option<Signals>,
    pub(super) wake: OwnedFd,
    pub(super) context: Context,
    pub(super) state: State,
    pub(super) jobs: Jobs,
    /// Slots that the jobs have returned.
    pub(super) returned: Returned,
    pub(super) waiters: Waiters,
    pub(super) status: Status,
    /// When set, the process exits with this status.
    pub(super) exit: Option<i32>,
}

impl Pusher {
    /// A pusher that has handled its first event.
    pub(super) fn begin(
        prepared: Prepared,
        signals: Option<Signals>,
        wake: OwnedFd,
    ) -> Result<Self, JournalError> {
        let mut pusher = Pusher {
            signals,
            wake,
            context: prepared.context,
            state: prepared.state,
            jobs: prepared.jobs,
            returned: prepared.returned,
            waiters: Waiters::default(),
            status: Status::default(),
            exit: None,
        };
        let begun = pusher.step(prepared.begun);
        begun.inspect_err(|error| pusher.context.supervisor.report_damage(error))?;
        Ok(pusher)
    }

    fn work(&mut self) -> i32 {
        loop {
            match self.turn() {
                Ok(()) => {}
                Err(error @ JournalError::Damaged(_)) => {
                    slog::error!(self.context.log, "cannot use the journal"; "why" => error.to_string());
                    self.jobs.kill();
                    self.context.supervisor.report_damage(&error);
                    return 1;
                }
                Err(JournalError::Refused(why)) => {
                    warn!(self.context.log, "cannot use the journal; trying again"; "why" => why);
                    self.state.step(Event::JournalRefused, clock::boot());
                    self.send_slots_back();
                }
            }
            if let Some(exit) = self.exit {
                return exit;
            }
            if let Err(e) = self.sleep(clock::boot()) {
                warn!(self.context.log, "poll"; "why" => e.to_string());
            }
        }
    }

    /// One turn of the loop.
    pub(super) fn turn(&mut self) -> Result<(), JournalError> {
        self.receive()?;
        let now = clock::boot();
        self.advance(now)?;
        self.context.master.step(self.state.wants_connection(now), now);
        let connection = match self.context.master.is_opening(now) {
            true => Connection::Opening,
            false if self.context.has_standby() => Connection::Standby,
            false => Connection::Ready,
        };
        self.step(Event::Tick(connection))?;
        if self.exit.is_some() {
            return Ok(());
        }
        if self.state.pending().is_usable(now) && !self.state.phase().is_stopping() {
            for ticket in self.waiters.settled(&self.context, self.state.doubt())? {
                self.context.supervisor.send(&FromPusher::Settled(ticket));
            }
        }
        self.context.keep_standby(self.state.lets_standby(now), now);
        self.jobs.free_idle(now);
        self.send_slots_back();
        self.status.send(&self.context, &mut self.state, &self.jobs, now)
    }

    /// Reads signals and messages.
    fn receive(&mut self) -> Result<(), JournalError> {
        if self.signals.as_mut().is_some_and(|signals| signals.take().stop) {
            self.step(Event::Stop(ORPHAN_GRACE, StopCause::Requested))?;
        }
        loop {
            match self.context.supervisor.receive() {
                Ok(Received::Message(message, _)) => self.handle(message)?,
                Ok(Received::Nothing) => return Ok(()),
                Ok(Received::Closed) | Err(_) => {
                    // The supervisor is gone: finish or abandon the push in flight.
                    if !self.state.phase().is_orphaned() {
                        info!(self.context.log, "the supervisor is gone");
                        self.step(Event::Stop(ORPHAN_GRACE, StopCause::Orphaned))?;
                    }
                    return Ok(());
                }
            }
        }
    }

    fn handle(&mut self, message: ToPusher) -> Result<(), JournalError> {
        self.status.touch();
        match message {
            // Every message is answered.
            ToPusher::Start(_) | ToPusher::Ping => Ok(()),
            ToPusher::Slot { kind, active } => self.step(Event::Slot(kind, active)),
            ToPusher::DropStandby => {
                self.context.drop_standby();
                Ok(())
            }
            ToPusher::Spare => {
                match &mut self.jobs.scrub {
                    Some(scrub) => scrub.spare_granted(),
                    None => self.context.supervisor.send(&FromPusher::SpareDone),
                }
                Ok(())
            }
            ToPusher::Yield => {
                let now = clock::boot();
                self.jobs.scrub.iter_mut().for_each(|scrub: &mut Scrub| scrub.give_way(now));
                Ok(())
            }
            ToPusher::Reconcile(request) => self.step(Event::Reconcile(request)),
            ToPusher::Release => self.step(Event::Release),
            ToPusher::Hold(why) => self.step(Event::Hold(why)),
            ToPusher::Await { ticket, seq, below } => {
                self.waiters.add(ticket, seq, below);
                Ok(())
            }
            ToPusher::DropAwait(ticket) => {
                self.waiters.forget(ticket);
                Ok(())
            }
            ToPusher::Verify(ticket, job) => self.verify(ticket, job),
            ToPusher::VerifyMore(ticket) => {
                let verify = self.jobs.verify.iter_mut().filter(|v| v.work.ticket() == ticket);
                verify.for_each(|busy| busy.work.ask());
                Ok(())
            }
            ToPusher::DropVerify(ticket) => {
                match self.jobs.verify.take_if(|busy| busy.work.ticket() == ticket) {
                    Some(mut busy) => {
                        busy.work.kill();
                        self.step(Event::VerifyEnded)
                    }
                    None => Ok(()),
                }
            }
            ToPusher::FailuresDue => self.step(Event::FailuresDue),
            ToPusher::FailuresForgotten(below) => self.forget_failures(&below),
            ToPusher::Stop { grace_ms } => {
                self.step(Event::Stop(Duration::from_millis(grace_ms), StopCause::Requested))
            }
        }
    }

    /// Only one verify runs at a time. A new request replaces the old one, whose caller may be gone.
    fn verify(&mut self, ticket: Ticket, job: VerifyJob) -> Result<(), JournalError> {
        if let Some(mut old) = self.jobs.verify.take() {
            old.work.kill();
            old.work.send_failed(&self.context, "replaced by another verify".into());
        }
        self.jobs.verify = Some(Busy { work: Verifying::new(ticket, job), slot: None });
        self.step(Event::VerifyWanted)
    }

    /// Forgets these failures, and those of the pushes in flight, at an operator's request.
    fn forget_failures(&mut self, below: &[RelPath]) -> Result<(), JournalError> {
        let context = &mut self.context;
        context.journal.forget_failures(Party::Remote(&context.name), below)?;
        self.jobs.forget_failures(below);
        // The next push reports a journal that cannot be read.
        let _ = context.write_fail_log(self.state.health().message());
        self.step(Event::Owed)
    }

    /// Sleeps until a file descriptor is ready or the next deadline.
    fn sleep(&mut self, now: Duration) -> io::Result<()> {
        let due = self.due(now);
        let next = self.rest(now);
        let next = next.min(self.context.supervisor.next_beat().unwrap_or(Duration::MAX));
        let channel = self.context.supervisor.channel();
        let interest =
            if channel.wants_write() { poll::Interest::ReadWrite } else { poll::Interest::Read };
        let mut fds = vec![(self.wake.as_fd(), poll::Interest::Read)];
        fds.extend(self.signals.as_ref().map(|signals| (signals.as_fd(), poll::Interest::Read)));
        fds.extend(self.context.master.fd().map(|fd| (fd, poll::Interest::Read)));
        fds.extend(self.jobs.port.iter().map(|port| (port.as_fd(), poll::Interest::Read)));
        // A closed channel is always ready.
        if !self.state.phase().is_orphaned() {
            fds.push((channel.as_fd(), interest));
        }
        let ready = poll::wait(&fds, Some(next.saturating_sub(now)))?;
        let woken = ready[0];
        drop(fds);
        drop(channel);
        if ready.contains(&true) {
            self.context.supervisor.wake(clock::boot());
        }
        if woken {
            wake::drain(&self.wake);
        }
        if woken || due.is_some_and(|at| clock::boot() >= at) {
            self.state.step(Event::Woken, clock::boot());
        }
        // The next read detects a closed channel.
        self.context.supervisor.flush();
        Ok(())
    }

    /// When the next row is due that was put off.
    fn due(&self, now: Duration) -> Option<Duration> {
        let pending = self.state.pending();
        let usable = pending.retry_at().is_none() && !self.state.phase().is_stopping();
        let ms = pending.work.next_ms.filter(|_| usable)?;
        Some(now + Duration::from_millis((ms - clock::wall_ms()).max(0) as u64))
    }

    /// Says that it rests if it has nothing to do for a while. Returns its next deadline.
    pub(super) fn rest(&self, now: Duration) -> Duration {
        let next = self.next_time(now).min(self.due(now).unwrap_or(Duration::MAX));
        let idle = !self.jobs.any_running() && !self.state.phase().is_stopping();
        if idle && next >= now + RESTS_FOR {
            self.context.supervisor.rest(now);
        }
        next
    }

    /// The next deadline of the work, if no message arrives before.
    pub(super) fn next_time(&self, now: Duration) -> Duration {
        let soon = |yes: bool, wait: Duration| yes.then_some(now + wait);
        let writing = self.jobs.compare.as_ref().is_some_and(|busy| !busy.work.is_running());
        let times = [
            Some(self.state.next_deadline(now)),
            soon(self.jobs.any_running(), self.jobs.poll_after()),
            soon(writing, ROWS_EVERY),
            self.jobs.retry_at(),
            self.status.next_at(now),
            self.context.standby_next_at(now),
            self.context.master.next_at(self.state.wants_connection(now), now),
            self.jobs.scrub.as_ref().and_then(Scrub::wake),
        ];
        times.into_iter().flatten().min().unwrap_or(now)
    }
}
