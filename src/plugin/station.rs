//! One plugin at run time, and its calls: in hand, and ended.

use super::caller::Caller;
use super::command::Line;
use super::queue::{Lane, Outcome};
use crate::config::model::{Call, Plugin};
use crate::journal::{Called, Due};
use crate::sys::program::Program;
use std::time::Duration;

/// One plugin at run time.
pub struct Station {
    /// For people.
    pub name: String,
    /// In the journal.
    pub key: String,
    pub plugin: Plugin,
    pub lane: Lane,
    /// The command line, when it is a command.
    pub line: Option<Line>,
    /// Threads that have nothing to do, else.
    pub idle: Vec<Caller>,
    /// The message of its last failure, so that it is logged once.
    pub said: Option<String>,
    /// Its last failure, with the path.
    pub last: Option<String>,
}

/// A call in hand.
pub struct Flight {
    pub number: u64,
    pub station: usize,
    pub due: Due,
    pub called: Option<Called>,
    pub how: How,
}

/// A call that has ended and is not written down yet.
#[derive(Clone)]
pub struct Landed {
    pub station: usize,
    pub due: Due,
    pub outcome: Outcome,
    pub called: Option<Called>,
}

/// What makes a call.
pub enum How {
    Program { program: Program, until: Duration, late: bool },
    Thread(Caller),
}

impl Station {
    /// Errors are for people.
    pub fn new(name: String, key: String, plugin: Plugin) -> Result<Self, String> {
        let line = match &plugin.call {
            Call::Command { prefix, suffix, include, ignore_error } => {
                Some(Line::new(prefix, suffix, include, *ignore_error)?)
            }
            _ => None,
        };
        Ok(Self {
            name,
            key,
            plugin,
            lane: Lane::default(),
            line,
            idle: vec![],
            said: None,
            last: None,
        })
    }

    /// One connection for all paths is one after the other.
    pub fn room(&self, now: Duration) -> usize {
        let mut manner = self.plugin.manner.clone();
        if let Call::Socket { framing, .. } = &self.plugin.call
            && *framing != crate::config::model::Framing::Connection
        {
            manner.parallel = 1;
        }
        self.lane.room(&manner, now)
    }
}

impl Landed {
    pub fn new(station: usize, due: Due, outcome: Outcome, called: Option<Called>) -> Self {
        Self { station, due, outcome, called }
    }
}

impl Flight {
    pub fn output(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        match &self.how {
            How::Program { program, .. } => program.output(),
            How::Thread(_) => None,
        }
    }

    /// When it has taken too long.
    pub fn until(&self) -> Option<Duration> {
        match &self.how {
            How::Program { until, late: false, .. } => Some(*until),
            How::Program { .. } | How::Thread(_) => None,
        }
    }

    pub fn kill(&self) {
        if let How::Program { program, .. } = &self.how {
            program.kill();
        }
    }
}
