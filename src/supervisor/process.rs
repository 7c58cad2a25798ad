//! A running child: its process, its channel, and the state machine that controls it.

use super::child::{Child, ChildAction, ChildEvent, ChildState};
use crate::message::{FromChild, Role, ToChild};
use crate::stat::Exited;
use crate::sys::channel::{Channel, Received, pair_for};
use crate::sys::clock;
use crate::sys::fault_point::{Point, pass};
use crate::sys::poll::Interest;
use crate::sys::process::{GroupChild, start_role};
use crate::sys::procfs;
use serde::{Serialize, de::DeserializeOwned};
use slog::{Logger, debug, error, info, warn};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

const SIGKILL: i32 = 9;

/// The most messages of one child that are read in one turn. The others are read after every child's turn.
const AT_ONCE: usize = 64;

/// A child with its messages: `Out` is sent to it, `In` is received from it.
pub struct ChildProcess<Out, In> {
    role: Role,
    title: OsString,
    machine: Child,
    running: Option<RunningChild<Out, In>>,
    stop: fn() -> Out,
    log: Logger,
    starts: u64,
    /// The wall-clock time of its start or exit.
    since_ms: i64,
    last_exit: Option<String>,
}

struct RunningChild<Out, In> {
    child: GroupChild,
    channel: Channel<Out, In>,
}

impl<Out: Serialize + ToChild, In: DeserializeOwned + FromChild> ChildProcess<Out, In> {
    /// A child that is due now; `stop` creates its stop message.
    pub fn new(role: Role, title: OsString, stop: fn() -> Out, log: Logger, now: Duration) -> Self {
        let machine = Child::new(now);
        let since_ms = clock::wall_ms();
        Self {
            role,
            title,
            machine,
            running: None,
            stop,
            log,
            starts: 0,
            since_ms,
            last_exit: None,
        }
    }

    /// The descriptor to poll while it runs.
    pub fn interest(&self) -> Option<(BorrowedFd<'_>, Interest)> {
        let channel = &self.running.as_ref()?.channel;
        let interest = if channel.wants_write() { Interest::ReadWrite } else { Interest::Read };
        Some((channel.as_fd(), interest))
    }

    /// True while it has a process.
    pub fn runs(&self) -> bool {
        self.running.is_some()
    }

    /// True if nothing is expected of it until it is woken.
    pub fn rests(&self) -> bool {
        self.machine.rests()
    }

    /// True if it has exited for good.
    pub fn is_gone(&self) -> bool {
        self.machine.is_gone()
    }

    /// True if it was asked to stop, and after its exit.
    pub fn is_stopping(&self) -> bool {
        matches!(self.machine.state(), ChildState::Stopping { .. } | ChildState::Gone)
    }

    /// The time of its next tick.
    pub fn next_at(&self) -> Option<Duration> {
        self.machine.next_at()
    }

    /// Its process, its number of restarts, its last exit.
    pub fn report(&self) -> crate::message::ChildStatus {
        crate::message::ChildStatus {
            pid: self.running.as_ref().map(|r| r.child.pid()),
            since_ms: Some(self.since_ms),
            restarts: self.starts.saturating_sub(1),
            last_exit: self.last_exit.clone(),
        }
    }

    /// Passes the event to the state machine; true if the child must be started with [`ChildProcess::start`].
    pub fn step(&mut self, event: ChildEvent, now: Duration) -> bool {
        let silent = event == ChildEvent::Tick && self.machine.is_silent(now);
        let event = if silent && self.is_busy() { ChildEvent::Busy } else { event };
        match self.machine.step(event, now) {
            Some(ChildAction::Start) => return true,
            Some(ChildAction::SendStop) => {
                let stop = (self.stop)();
                self.send(&stop, vec![], now);
            }
            Some(ChildAction::Ping) => {
                if let Some(ping) = Out::ping() {
                    self.send(&ping, vec![], now);
                }
            }
            Some(ChildAction::Kill) => {
                let why = match event {
                    ChildEvent::Tick | ChildEvent::Busy if silent => {
                        "it sent no message for too long"
                    }
                    ChildEvent::Tick | ChildEvent::Busy => "it did not stop in time",
                    ChildEvent::Lost => "it closed its channel",
                    _ => "its journal is damaged or lost",
                };
                warn!(self.log, "killed: {why}"; "pid" => self.running.as_ref().map(|r| r.child.pid()));
                if let Some(running) = &self.running {
                    running.child.kill();
                }
            }
            None => {}
        }
        false
    }

    /// True if its process runs, and is not to end.
    pub fn is_kept(&self) -> bool {
        match self.machine.state() {
            ChildState::Starting { .. } | ChildState::Up { .. } | ChildState::Resting { .. } => {
                true
            }
            ChildState::Down { .. }
            | ChildState::Stopping { .. }
            | ChildState::Killing { .. }
            | ChildState::Gone => false,
        }
    }

    /// True if its process runs or waits for the CPU.
    fn is_busy(&self) -> bool {
        self.running.as_ref().is_some_and(|running| procfs::is_runnable(running.child.pid()))
    }

    /// Starts its process with its first message.
    pub fn start(&mut self, first: io::Result<(Out, Vec<OwnedFd>)>, now: Duration) {
        let started = first.and_then(|(message, fds)| {
            let (ours, theirs) = pair_for(self.role)?;
            let child = start_role(self.role, &self.title, theirs)?;
            pass(Point::SupervisorStarted);
            Ok((child, Channel::new(ours), message, fds))
        });
        match started {
            Ok((child, channel, message, fds)) => {
                self.starts += 1;
                self.since_ms = clock::wall_ms();
                debug!(self.log, "started"; "pid" => child.pid());
                self.running = Some(RunningChild { child, channel });
                self.step(ChildEvent::Started, now);
                self.send(&message, fds, now);
            }
            Err(e) => {
                error!(self.log, "cannot start: {e}; trying again");
                self.last_exit = Some(format!("not started: {e}"));
                self.step(ChildEvent::Refused, now);
            }
        }
    }

    /// Sends a message if it runs. A message that cannot be sent now is queued.
    pub fn send(&mut self, message: &Out, fds: Vec<OwnedFd>, now: Duration) {
        let Some(running) = &mut self.running else { return };
        let event = match running.channel.send(message, fds) {
            Ok(()) => ChildEvent::Sent,
            Err(_) => ChildEvent::Lost,
        };
        self.step(event, now);
    }

    /// True while earlier messages have not been sent.
    pub fn is_behind(&self) -> bool {
        self.running.as_ref().is_some_and(|r| r.channel.wants_write())
    }

    /// Its messages, when its channel is ready.
    pub fn receive(&mut self, now: Duration) -> Vec<In> {
        let mut messages = Vec::new();
        let Some(running) = &mut self.running else { return messages };
        let mut lost = running.channel.flush().is_err();
        while messages.len() < AT_ONCE && !lost {
            match running.channel.receive() {
                Ok(Received::Message(message, _)) => messages.push(message),
                Ok(Received::Nothing) => break,
                Ok(Received::Closed) => lost = true,
                Err(e) => {
                    error!(self.log, "sent an invalid message: {e}");
                    lost = true;
                }
            }
        }
        if let Some(last) = messages.last() {
            let event = if last.rests() { ChildEvent::Rests } else { ChildEvent::Heard };
            self.step(event, now);
        }
        // A child that exits closes its channel first, so its exit is checked before it counts as lost.
        if lost && !self.has_ended() {
            self.step(ChildEvent::Lost, now);
        }
        messages
    }

    /// If its process has exited: kills its orphans, reaps it, and returns its last messages.
    pub fn reap(&mut self, now: Duration) -> Option<Vec<In>> {
        if !self.has_ended() {
            self.see_halt(now);
            return None;
        }
        let mut running = self.running.take()?;
        let mut last = Vec::new();
        while let Ok(Received::Message(message, _)) = running.channel.receive() {
            last.push(message);
        }
        let ended = running.child.reap();
        pass(Point::SupervisorReaped);
        let how = match &ended {
            Ok(how) => how.to_string(),
            Err(e) => format!("unknown: {e}"),
        };
        self.last_exit = Some(how.clone());
        self.since_ms = clock::wall_ms();
        let before = self.machine.state();
        let killed = matches!(ended, Ok(Exited::Signal(SIGKILL)));
        self.machine.step(if killed { ChildEvent::Killed } else { ChildEvent::Ended }, now);
        match (before, self.machine.state()) {
            (ChildState::Stopping { .. }, _) => debug!(self.log, "stopped"; "how" => how),
            (_, ChildState::Down { restart_at }) => {
                let in_ms = restart_at.saturating_sub(now).as_millis() as u64;
                warn!(self.log, "exited; restarting"; "how" => how, "in_ms" => in_ms);
            }
            _ => info!(self.log, "exited"; "how" => how),
        }
        Some(last)
    }

    fn see_halt(&mut self, now: Duration) {
        if self.running.as_ref().is_some_and(|r| r.child.halted()) {
            self.step(ChildEvent::Halted, now);
        }
    }

    fn has_ended(&self) -> bool {
        // An error can only mean that the child does not exist any more.
        self.running.as_ref().is_some_and(|r| r.child.ended().unwrap_or(true))
    }
}
