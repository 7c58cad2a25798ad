//! The life of one child as a state machine. Pure: the inputs are events and the time, the output is an action.

use crate::message::SILENT_MS;
use std::time::Duration;

/// How long a child may take to stop in order before it is killed.
pub const STOP_DEADLINE: Duration = Duration::from_secs(12);
/// After a run of this length, the next exit counts as the first one again.
const HEALTHY: Duration = Duration::from_secs(60);
const SILENT: Duration = Duration::from_millis(SILENT_MS);
/// The same for a child that runs or waits for the CPU. On an overloaded machine a restart would only add to the load.
const SILENT_BUSY: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_secs(1);
/// Ticks come every second, unless every child rests. After a longer pause the supervisor was stopped or delayed, not its child.
const OVERSLEPT: Duration = Duration::from_secs(3);

/// The next step after a stopped or killed child has exited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// The child is restarted.
    Restart,
    /// The child is not restarted.
    End,
}

/// The state of a child. Times are monotonic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildState {
    /// No process runs; the next one is due at this time.
    Down {
        /// The time of the next start.
        restart_at: Duration,
    },
    /// A process that has not sent anything yet.
    Starting {
        /// The time of its start.
        since: Duration,
    },
    /// A process that sends messages.
    Up {
        /// The time of its first message.
        since: Duration,
        /// The time of its last message.
        heard: Duration,
    },
    /// A process that sleeps until it is woken. It sends no heartbeats.
    Resting {
        /// The time of its first message.
        since: Duration,
    },
    /// It was asked to stop.
    Stopping {
        /// The time at which it is killed.
        deadline: Duration,
        /// The next step.
        then: Then,
    },
    /// SIGKILL was sent.
    Killing {
        /// The next step.
        then: Then,
        /// Only because its channel was closed: most likely it was already exiting.
        lost: bool,
    },
    /// It has exited for good.
    Gone,
}

/// An event of a child, or a request about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildEvent {
    /// Its process was started.
    Started,
    /// The system refused to start its process.
    Refused,
    /// It sent a message.
    Heard,
    /// It sent the message that it rests.
    Rests,
    /// A message was sent to it.
    Sent,
    /// A signal has stopped it (SIGSTOP).
    Halted,
    /// Its process has exited and was reaped.
    Ended,
    /// As `Ended`, but by SIGKILL: an operator, or the kernel out of memory, killed it.
    Killed,
    /// Its channel is closed, or a message on it is invalid.
    Lost,
    /// Time has passed. Sent every second, unless every child rests.
    Tick,
    /// The same, of a child that is silent for too long: its process runs, or waits for the CPU.
    Busy,
    /// It must stop for good.
    StopWanted,
    /// Restart it after an orderly stop (its configuration changed).
    RestartWanted,
    /// Restart it after a kill (its journal is damaged or lost).
    KillWanted,
}

/// The action of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildAction {
    /// Start a process; report `Started` or `Refused`.
    Start,
    /// Ask it to stop.
    SendStop,
    /// Send it a message that it must answer.
    Ping,
    /// Kill its process group.
    Kill,
}

/// One child.
#[derive(Clone, Debug)]
pub struct Child {
    state: ChildState,
    failures: u32,
    ticked: Duration,
}

/// A child that was killed from outside has not failed. Its restart is delayed at most this long.
const KILLED_DELAY_MAX: Duration = Duration::from_secs(1);

/// The delay before a restart: none the first time, then 100 ms, doubling up to 30 s.
pub fn restart_delay(failures: u32) -> Duration {
    match failures {
        0 => Duration::ZERO,
        n => Duration::from_millis(100 << (n - 1).min(9)).min(Duration::from_secs(30)),
    }
}

impl ChildState {
    /// The same state with its timeout starting now.
    fn anew(self, now: Duration) -> ChildState {
        match self {
            ChildState::Starting { .. } => ChildState::Starting { since: now },
            ChildState::Up { since, .. } => ChildState::Up { since, heard: now },
            ChildState::Stopping { then, .. } => {
                ChildState::Stopping { deadline: now + STOP_DEADLINE, then }
            }
            ChildState::Down { .. }
            | ChildState::Resting { .. }
            | ChildState::Killing { .. }
            | ChildState::Gone => self,
        }
    }
}

impl Child {
    /// A child that is due now.
    pub fn new(now: Duration) -> Self {
        Self { state: ChildState::Down { restart_at: now }, failures: 0, ticked: now }
    }

    /// Its state.
    pub fn state(&self) -> ChildState {
        self.state
    }

    /// True if nothing is expected of it until it is woken.
    pub fn rests(&self) -> bool {
        matches!(self.state, ChildState::Resting { .. } | ChildState::Gone)
    }

    /// True if it has exited for good.
    pub fn is_gone(&self) -> bool {
        self.state == ChildState::Gone
    }

    /// True if a tick now would kill it because it is silent. The caller then looks whether it is busy.
    pub fn is_silent(&self, now: Duration) -> bool {
        match self.state {
            ChildState::Starting { since: heard } | ChildState::Up { heard, .. } => {
                now >= heard + SILENT
            }
            ChildState::Down { .. }
            | ChildState::Resting { .. }
            | ChildState::Stopping { .. }
            | ChildState::Killing { .. }
            | ChildState::Gone => false,
        }
    }

    /// The time at which `Tick` has an effect, if no other event comes first.
    pub fn next_at(&self) -> Option<Duration> {
        match self.state {
            ChildState::Down { restart_at } => Some(restart_at),
            // One that is busy is looked at every second.
            ChildState::Starting { since: heard } | ChildState::Up { heard, .. } => {
                Some((heard + SILENT).max(self.ticked + TICK))
            }
            ChildState::Stopping { deadline, .. } => Some(deadline),
            ChildState::Resting { .. } | ChildState::Killing { .. } | ChildState::Gone => None,
        }
    }

    /// The action for `event` at `now`.
    pub fn step(&mut self, event: ChildEvent, now: Duration) -> Option<ChildAction> {
        if matches!(event, ChildEvent::Tick | ChildEvent::Busy) {
            let pause = now.saturating_sub(std::mem::replace(&mut self.ticked, now));
            if pause > OVERSLEPT {
                self.state = self.state.anew(now);
            }
        }
        let (state, action) = match self.state {
            ChildState::Down { restart_at } => self.down(restart_at, event, now),
            ChildState::Starting { since } => self.starting(since, event, now),
            ChildState::Up { since, heard } => self.up(since, heard, event, now),
            ChildState::Resting { since } => self.resting(since, event, now),
            ChildState::Stopping { deadline, then } => self.stopping(deadline, then, event, now),
            ChildState::Killing { then, lost } => (self.killing(then, lost, event, now), None),
            ChildState::Gone => (gone(event, now), None),
        };
        self.state = state;
        action
    }

    fn failed(&mut self, now: Duration) -> ChildState {
        let delay = restart_delay(self.failures);
        self.failures = self.failures.saturating_add(1);
        ChildState::Down { restart_at: now + delay }
    }

    fn was_killed(&mut self, now: Duration) -> ChildState {
        let delay = restart_delay(self.failures).min(KILLED_DELAY_MAX);
        self.failures = self.failures.saturating_add(1);
        ChildState::Down { restart_at: now + delay }
    }

    fn down(
        &mut self,
        restart_at: Duration,
        event: ChildEvent,
        now: Duration,
    ) -> (ChildState, Option<ChildAction>) {
        let same = ChildState::Down { restart_at };
        match event {
            ChildEvent::Tick | ChildEvent::Busy => {
                (same, (now >= restart_at).then_some(ChildAction::Start))
            }
            ChildEvent::Started => (ChildState::Starting { since: now }, None),
            // A refusal never counts as the first failure: the system needs a moment.
            ChildEvent::Refused => {
                self.failures = self.failures.max(1);
                (self.failed(now), None)
            }
            ChildEvent::StopWanted => (ChildState::Gone, None),
            ChildEvent::RestartWanted => (ChildState::Down { restart_at: now }, None),
            ChildEvent::Heard
            | ChildEvent::Rests
            | ChildEvent::Sent
            | ChildEvent::Halted
            | ChildEvent::Ended
            | ChildEvent::Killed
            | ChildEvent::Lost
            | ChildEvent::KillWanted => (same, None),
        }
    }

    fn starting(
        &mut self,
        since: Duration,
        event: ChildEvent,
        now: Duration,
    ) -> (ChildState, Option<ChildAction>) {
        match event {
            ChildEvent::Heard => (ChildState::Up { since: now, heard: now }, None),
            ChildEvent::Rests => (ChildState::Resting { since: now }, None),
            ChildEvent::Ended => (self.failed(now), None),
            ChildEvent::Killed => (self.was_killed(now), None),
            ChildEvent::Lost => {
                (ChildState::Killing { then: Then::Restart, lost: true }, Some(ChildAction::Kill))
            }
            ChildEvent::Tick if now < since + SILENT => (ChildState::Starting { since }, None),
            ChildEvent::Busy if now < since + SILENT_BUSY => (ChildState::Starting { since }, None),
            ChildEvent::Tick | ChildEvent::Busy | ChildEvent::KillWanted => kill(Then::Restart),
            ChildEvent::StopWanted => stop(Then::End, now),
            ChildEvent::RestartWanted => stop(Then::Restart, now),
            ChildEvent::Started | ChildEvent::Refused | ChildEvent::Sent | ChildEvent::Halted => {
                (ChildState::Starting { since }, None)
            }
        }
    }

    fn up(
        &mut self,
        since: Duration,
        heard: Duration,
        event: ChildEvent,
        now: Duration,
    ) -> (ChildState, Option<ChildAction>) {
        if now >= since + HEALTHY {
            self.failures = 0;
        }
        match event {
            ChildEvent::Heard => (ChildState::Up { since, heard: now }, None),
            ChildEvent::Rests => (ChildState::Resting { since }, None),
            ChildEvent::Ended => (self.failed(now), None),
            ChildEvent::Killed => (self.was_killed(now), None),
            ChildEvent::Lost => {
                (ChildState::Killing { then: Then::Restart, lost: true }, Some(ChildAction::Kill))
            }
            ChildEvent::Tick if now < heard + SILENT => (ChildState::Up { since, heard }, None),
            ChildEvent::Busy if now < heard + SILENT_BUSY => {
                (ChildState::Up { since, heard }, None)
            }
            ChildEvent::Tick | ChildEvent::Busy | ChildEvent::KillWanted => kill(Then::Restart),
            ChildEvent::StopWanted => stop(Then::End, now),
            ChildEvent::RestartWanted => stop(Then::Restart, now),
            ChildEvent::Started | ChildEvent::Refused | ChildEvent::Sent | ChildEvent::Halted => {
                (ChildState::Up { since, heard }, None)
            }
        }
    }

    /// A message wakes it, and then it must be heard. A child that a signal has stopped is asked, because it does not
    /// send anything by itself when it continues.
    fn resting(
        &mut self,
        since: Duration,
        event: ChildEvent,
        now: Duration,
    ) -> (ChildState, Option<ChildAction>) {
        match event {
            ChildEvent::Rests | ChildEvent::Tick | ChildEvent::Busy => {
                (ChildState::Resting { since }, None)
            }
            ChildEvent::Sent => (ChildState::Up { since, heard: now }, None),
            ChildEvent::Halted => (ChildState::Up { since, heard: now }, Some(ChildAction::Ping)),
            ChildEvent::Heard
            | ChildEvent::Started
            | ChildEvent::Refused
            | ChildEvent::Ended
            | ChildEvent::Killed
            | ChildEvent::Lost
            | ChildEvent::KillWanted
            | ChildEvent::StopWanted
            | ChildEvent::RestartWanted => self.up(since, now, event, now),
        }
    }

    fn stopping(
        &mut self,
        deadline: Duration,
        then: Then,
        event: ChildEvent,
        now: Duration,
    ) -> (ChildState, Option<ChildAction>) {
        let with = |then| (ChildState::Stopping { deadline, then }, None);
        match event {
            ChildEvent::Ended | ChildEvent::Killed => match then {
                Then::Restart => (ChildState::Down { restart_at: now }, None),
                Then::End => (ChildState::Gone, None),
            },
            ChildEvent::Tick | ChildEvent::Busy if now >= deadline => kill(then),
            ChildEvent::KillWanted => kill(then),
            ChildEvent::StopWanted => with(Then::End),
            ChildEvent::RestartWanted => with(Then::Restart),
            // A child that stops closes its channel just before it exits.
            ChildEvent::Tick
            | ChildEvent::Busy
            | ChildEvent::Lost
            | ChildEvent::Heard
            | ChildEvent::Rests
            | ChildEvent::Sent
            | ChildEvent::Halted
            | ChildEvent::Started
            | ChildEvent::Refused => with(then),
        }
    }

    fn killing(&mut self, then: Then, lost: bool, event: ChildEvent, now: Duration) -> ChildState {
        match event {
            ChildEvent::Ended | ChildEvent::Killed => match then {
                Then::Restart if lost && event == ChildEvent::Killed => self.was_killed(now),
                Then::Restart => self.failed(now),
                Then::End => ChildState::Gone,
            },
            ChildEvent::StopWanted => ChildState::Killing { then: Then::End, lost },
            ChildEvent::RestartWanted => ChildState::Killing { then: Then::Restart, lost },
            ChildEvent::Tick
            | ChildEvent::Busy
            | ChildEvent::Heard
            | ChildEvent::Rests
            | ChildEvent::Sent
            | ChildEvent::Halted
            | ChildEvent::Lost
            | ChildEvent::KillWanted
            | ChildEvent::Started
            | ChildEvent::Refused => ChildState::Killing { then, lost },
        }
    }
}

fn kill(then: Then) -> (ChildState, Option<ChildAction>) {
    (ChildState::Killing { then, lost: false }, Some(ChildAction::Kill))
}

fn stop(then: Then, now: Duration) -> (ChildState, Option<ChildAction>) {
    (ChildState::Stopping { deadline: now + STOP_DEADLINE, then }, Some(ChildAction::SendStop))
}

fn gone(event: ChildEvent, now: Duration) -> ChildState {
    match event {
        // It was configured again.
        ChildEvent::RestartWanted => ChildState::Down { restart_at: now },
        ChildEvent::Started
        | ChildEvent::Refused
        | ChildEvent::Heard
        | ChildEvent::Rests
        | ChildEvent::Sent
        | ChildEvent::Halted
        | ChildEvent::Ended
        | ChildEvent::Killed
        | ChildEvent::Lost
        | ChildEvent::Tick
        | ChildEvent::Busy
        | ChildEvent::StopWanted
        | ChildEvent::KillWanted => ChildState::Gone,
    }
}

#[cfg(test)]
mod tests;
