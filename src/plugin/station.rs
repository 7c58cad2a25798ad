//! One plugin at run time, and its calls, in progress and ended.

use super::caller::Caller;
use super::command::Line;
use super::queue::{Lane, Outcome};
use crate::config::model::{Call, Plugin};
use crate::journal::{Called, Due};
use crate::sys::program::Program;
use std::time::Duration;

/// One plugin at run time.
pub struct Station {
    /// Its name for people.
    pub name: String,
    /// Its key in the journal.
    pub key: String,
    pub plugin: Plugin,
    pub lane: Lane,
    /// The command line, if the plugin is a command.
    pub line: Option<Line>,
    /// Otherwise, its idle threads.
    pub idle: Vec<Caller>,
    /// The message of its last failure, so that it is logged only once.
    pub said: Option<String>,
    /// Its last failure, with the path.
    pub last: Option<String>,
}

/// A call in progress.
pub struct Flight {
    pub number: u64,
    pub station: usize,
    pub due: Due,
    pub called: Option<Called>,
    pub how: How,
}

/// A call that has ended and is not recorded yet.
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
            Call::Command { prefix, suffix, include, ignore_error, .. } => {
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

    /// The number of calls that may start now. If all paths share one connection, it is one at a time.
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

    /// When the call has taken too long.
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
