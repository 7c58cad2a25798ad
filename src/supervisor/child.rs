//! The life of one child as a state machine. Pure: it is told what happened and what time it is, and says what to do.

use crate::message::SILENT_MS;
use std::time::Duration;

/// How long a child may take to stop in order before it is killed.
pub const STOP_DEADLINE: Duration = Duration::from_secs(12);
/// Up for this long, and its next end is a first one again.
const HEALTHY: Duration = Duration::from_secs(60);
const SILENT: Duration = Duration::from_millis(SILENT_MS);
/// Ticks come every second. After a longer pause it was the supervisor that was stopped or held up, not its child.
const OVERSLEPT: Duration = Duration::from_secs(3);

/// What happens after a child that is being ended has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It is started again.
    Restart,
    /// It stays away.
    End,
}

/// Where a child is in its life. Times are monotonic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No process; the next one is due at this time.
    Down {
        /// When it is started.
        restart_at: Duration,
    },
    /// A process that has not said anything yet.
    Starting {
        /// When it was started.
        since: Duration,
    },
    /// A process that speaks.
    Up {
        /// When it first spoke.
        since: Duration,
        /// When it last spoke.
        heard: Duration,
    },
    /// It was asked to stop.
    Stopping {
        /// When it is killed.
        deadline: Duration,
        /// What then.
        then: Then,
    },
    /// SIGKILL is on its way.
    Killing {
        /// What then.
        then: Then,
        /// Only because its channel was closed: most likely it was dying already.
        lost: bool,
    },
    /// It has ended for good.
    Gone,
}

/// What happened to a child, or is requested of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Its process was started.
    Started,
    /// The system refused to start its process.
    Refused,
    /// It said something.
    Heard,
    /// Its process has ended and was reaped.
    Ended,
    /// The same, by SIGKILL: an operator, or the kernel out of memory, killed it.
    Killed,
    /// Its channel is closed or speaks nonsense.
    Lost,
    /// Time has passed. Comes every second.
    Tick,
    /// It shall stop, for good.
    StopWanted,
    /// Restart it: stop it in order first (its configuration changed).
    RestartWanted,
    /// Restart it: kill it first (its journal is damaged or lost).
    KillWanted,
}

/// What the shell has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start a process; report `Started` or `Refused`.
    Start,
    /// Ask it to stop.
    SendStop,
    /// Kill its process group.
    Kill,
}

/// One child.
#[derive(Clone, Debug)]
pub struct Child {
    state: State,
    failures: u32,
    ticked: Duration,
}

/// A child that was killed from outside does not fail by itself: it waits no longer than this.
const KILLED_DELAY_MAX: Duration = Duration::from_secs(1);

/// How long to wait before a restart: nothing the first time, then 100 ms, doubling up to 30 s.
pub fn restart_delay(failures: u32) -> Duration {
    match failures {
        0 => Duration::ZERO,
        n => Duration::from_millis(100 << (n - 1).min(9)).min(Duration::from_secs(30)),
    }
}

impl State {
    /// The same, with patience that begins now.
    fn anew(self, now: Duration) -> State {
        match self {
            State::Starting { .. } => State::Starting { since: now },
            State::Up { since, .. } => State::Up { since, heard: now },
            State::Stopping { then, .. } => State::Stopping { deadline: now + STOP_DEADLINE, then },
            State::Down { .. } | State::Killing { .. } | State::Gone => self,
        }
    }
}

impl Child {
    /// A child that is due now.
    pub fn new(now: Duration) -> Self {
        Self { state: State::Down { restart_at: now }, failures: 0, ticked: now }
    }

    /// Where it is.
    pub fn state(&self) -> State {
        self.state
    }

    /// True when it has ended for good.
    pub fn is_gone(&self) -> bool {
        self.state == State::Gone
    }

    /// When `Tick` has something to do, if nothing else happens.
    pub fn next_at(&self) -> Option<Duration> {
        match self.state {
            State::Down { restart_at } => Some(restart_at),
            State::Starting { since } => Some(since + SILENT),
            State::Up { heard, .. } => Some(heard + SILENT),
            State::Stopping { deadline, .. } => Some(deadline),
            State::Killing { .. } | State::Gone => None,
        }
    }

    /// What to do about `event` at `now`.
    pub fn step(&mut self, event: Event, now: Duration) -> Option<Action> {
        if event == Event::Tick {
            let pause = now.saturating_sub(std::mem::replace(&mut self.ticked, now));
            if pause > OVERSLEPT {
                self.state = self.state.anew(now);
            }
        }
        let (state, action) = match self.state {
            State::Down { restart_at } => self.down(restart_at, event, now),
            State::Starting { since } => self.starting(since, event, now),
            State::Up { since, heard } => self.up(since, heard, event, now),
            State::Stopping { deadline, then } => self.stopping(deadline, then, event, now),
            State::Killing { then, lost } => (self.killing(then, lost, event, now), None),
            State::Gone => (gone(event, now), None),
        };
        self.state = state;
        action
    }

    fn failed(&mut self, now: Duration) -> State {
        let delay = restart_delay(self.failures);
        self.failures = self.failures.saturating_add(1);
        State::Down { restart_at: now + delay }
    }

    fn was_killed(&mut self, now: Duration) -> State {
        let delay = restart_delay(self.failures).min(KILLED_DELAY_MAX);
        self.failures = self.failures.saturating_add(1);
        State::Down { restart_at: now + delay }
    }

    fn down(
        &mut self,
        restart_at: Duration,
        event: Event,
        now: Duration,
    ) -> (State, Option<Action>) {
        let same = State::Down { restart_at };
        match event {
            Event::Tick => (same, (now >= restart_at).then_some(Action::Start)),
            Event::Started => (State::Starting { since: now }, None),
            // A refusal is never 'the first time': the system needs a moment.
            Event::Refused => {
                self.failures = self.failures.max(1);
                (self.failed(now), None)
            }
            Event::StopWanted => (State::Gone, None),
            Event::RestartWanted => (State::Down { restart_at: now }, None),
            Event::Heard | Event::Ended | Event::Killed | Event::Lost | Event::KillWanted => {
                (same, None)
            }
        }
    }

    fn starting(
        &mut self,
        since: Duration,
        event: Event,
        now: Duration,
    ) -> (State, Option<Action>) {
        match event {
            Event::Heard => (State::Up { since: now, heard: now }, None),
            Event::Ended => (self.failed(now), None),
            Event::Killed => (self.was_killed(now), None),
            Event::Lost => (State::Killing { then: Then::Restart, lost: true }, Some(Action::Kill)),
            Event::Tick if now < since + SILENT => (State::Starting { since }, None),
            Event::Tick | Event::KillWanted => kill(Then::Restart),
            Event::StopWanted => stop(Then::End, now),
            Event::RestartWanted => stop(Then::Restart, now),
            Event::Started | Event::Refused => (State::Starting { since }, None),
        }
    }

    fn up(
        &mut self,
        since: Duration,
        heard: Duration,
        event: Event,
        now: Duration,
    ) -> (State, Option<Action>) {
        if now >= since + HEALTHY {
            self.failures = 0;
        }
        match event {
            Event::Heard => (State::Up { since, heard: now }, None),
            Event::Ended => (self.failed(now), None),
            Event::Killed => (self.was_killed(now), None),
            Event::Lost => (State::Killing { then: Then::Restart, lost: true }, Some(Action::Kill)),
            Event::Tick if now < heard + SILENT => (State::Up { since, heard }, None),
            Event::Tick | Event::KillWanted => kill(Then::Restart),
            Event::StopWanted => stop(Then::End, now),
            Event::RestartWanted => stop(Then::Restart, now),
            Event::Started | Event::Refused => (State::Up { since, heard }, None),
        }
    }

    fn stopping(
        &mut self,
        deadline: Duration,
        then: Then,
        event: Event,
        now: Duration,
    ) -> (State, Option<Action>) {
        let with = |then| (State::Stopping { deadline, then }, None);
        match event {
            Event::Ended | Event::Killed => match then {
                Then::Restart => (State::Down { restart_at: now }, None),
                Then::End => (State::Gone, None),
            },
            Event::Tick if now >= deadline => kill(then),
            Event::KillWanted => kill(then),
            Event::StopWanted => with(Then::End),
            Event::RestartWanted => with(Then::Restart),
            // A child that stops closes its channel just before its end.
            Event::Tick | Event::Lost | Event::Heard | Event::Started | Event::Refused => {
                with(then)
            }
        }
    }

    fn killing(&mut self, then: Then, lost: bool, event: Event, now: Duration) -> State {
        match event {
            Event::Ended | Event::Killed => match then {
                Then::Restart if lost && event == Event::Killed => self.was_killed(now),
                Then::Restart => self.failed(now),
                Then::End => State::Gone,
            },
            Event::StopWanted => State::Killing { then: Then::End, lost },
            Event::RestartWanted => State::Killing { then: Then::Restart, lost },
            Event::Tick
            | Event::Heard
            | Event::Lost
            | Event::KillWanted
            | Event::Started
            | Event::Refused => State::Killing { then, lost },
        }
    }
}

fn kill(then: Then) -> (State, Option<Action>) {
    (State::Killing { then, lost: false }, Some(Action::Kill))
}

fn stop(then: Then, now: Duration) -> (State, Option<Action>) {
    (State::Stopping { deadline: now + STOP_DEADLINE, then }, Some(Action::SendStop))
}

fn gone(event: Event, now: Duration) -> State {
    match event {
        // Configured again.
        Event::RestartWanted => State::Down { restart_at: now },
        Event::Started
        | Event::Refused
        | Event::Heard
        | Event::Ended
        | Event::Killed
        | Event::Lost
        | Event::Tick
        | Event::StopWanted
        | Event::KillWanted => State::Gone,
    }
}

#[cfg(test)]
mod tests;
