//! The life of a simulated process: the supervisor's own machine decides when it starts and when it is killed.

use crate::supervisor::child::{Child, ChildAction, ChildEvent};
use std::time::Duration;

/// A process, as the system sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Process {
    /// None runs.
    None,
    /// It runs.
    Runs,
    /// A signal has stopped it.
    Halted,
    /// It was killed. The supervisor has not reaped it.
    Dead,
}

/// What the supervisor has done in a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It has reaped the process.
    Reaped,
    /// It starts a process.
    Starts,
}

/// A process and its machine.
pub struct Life {
    machine: Child,
    process: Process,
}

impl Life {
    /// A process that is due now.
    pub fn new(now: Duration) -> Self {
        Self { machine: Child::new(now), process: Process::None }
    }

    /// True while it takes turns.
    pub fn runs(&self) -> bool {
        self.process == Process::Runs
    }

    /// True while messages reach it, now or when it continues.
    pub fn exists(&self) -> bool {
        matches!(self.process, Process::Runs | Process::Halted)
    }

    /// True if a signal has stopped it.
    pub fn is_halted(&self) -> bool {
        self.process == Process::Halted
    }

    /// Kills it. True if there was one.
    pub fn kill(&mut self) -> bool {
        let exists = self.exists();
        if exists {
            self.process = Process::Dead;
        }
        exists
    }

    /// Stops it by a signal. The supervisor learns of it.
    pub fn halt(&mut self, now: Duration) {
        if self.runs() {
            self.process = Process::Halted;
            self.step(ChildEvent::Halted, now);
        }
    }

    /// Lets it continue.
    pub fn resume(&mut self) {
        if self.process == Process::Halted {
            self.process = Process::Runs;
        }
    }

    /// It has sent messages; with the last one it said whether it rests.
    pub fn heard(&mut self, rests: bool, now: Duration) {
        self.step(if rests { ChildEvent::Rests } else { ChildEvent::Heard }, now);
    }

    /// It was sent a message.
    pub fn sent(&mut self, now: Duration) {
        self.step(ChildEvent::Sent, now);
    }

    /// The time at which a turn of the supervisor has an effect.
    pub fn next_at(&self) -> Option<Duration> {
        self.machine.next_at()
    }

    /// A turn of the supervisor.
    pub fn turn(&mut self, now: Duration) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.process == Process::Dead {
            self.process = Process::None;
            self.step(ChildEvent::Killed, now);
            changes.push(Change::Reaped);
        }
        // One that the simulation gives no turns waits for the CPU.
        let busy = self.runs() && self.machine.is_silent(now);
        if self.step(if busy { ChildEvent::Busy } else { ChildEvent::Tick }, now) {
            changes.push(Change::Starts);
        }
        changes
    }

    /// True if a process starts.
    fn step(&mut self, event: ChildEvent, now: Duration) -> bool {
        match self.machine.step(event, now) {
            Some(ChildAction::Start) => {
                assert_eq!(self.process, Process::None, "a second process starts");
                self.process = Process::Runs;
                self.step(ChildEvent::Started, now);
                true
            }
            Some(ChildAction::Kill) => {
                self.kill();
                false
            }
            Some(ChildAction::Ping | ChildAction::SendStop) | None => false,
        }
    }
}
