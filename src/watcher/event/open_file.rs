//! An open file, and the rules for files that are marked while they are open.

use crate::config::model::OpenRule;
use crate::filter::Globs;
use crate::path::RelPath;
use crate::stat::Stat;
use std::time::Duration;

/// An open file that has been quiet for this long is examined.
pub const QUIET_FOR: Duration = Duration::from_secs(2);

/// How a file is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    /// It was created, and no event reports that it was written.
    Created,
    /// It was written, and its close causes an event.
    Written,
    /// It is written through a descriptor whose name is gone. Neither the writes nor the close cause an event.
    Unnamed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) state: State,
    /// When this was first known.
    pub(super) since: Duration,
    /// The file is not examined before this time.
    pub(super) due: Duration,
    /// The interval until the file is examined again.
    pub(super) pause: Duration,
    /// The file was marked, although it may be open, with this ctime.
    pub(super) marked: Option<i64>,
    /// The file is marked as it is at this time, although it is open.
    pub(super) send: Option<Duration>,
}

impl Open {
    pub(super) fn new(now: Duration, state: State) -> Self {
        let due = now + QUIET_FOR;
        Self { state, since: now, due, pause: QUIET_FOR, marked: None, send: None }
    }

    pub(super) fn is_written(&self) -> bool {
        self.state > State::Created
    }

    /// The same open file under another of its names.
    pub(super) fn unnamed(self, now: Duration) -> Self {
        Self { since: self.since, ..Self::new(now, State::Unnamed) }
    }
}

/// Which open files are marked while they are open, and after which time.
#[derive(Default)]
pub struct OpenAfter {
    globs: Globs,
    after: Vec<Duration>,
}

impl OpenAfter {
    /// The error names the glob that is invalid.
    pub fn new(rules: &[OpenRule]) -> Result<Self, String> {
        let globs = Globs::new(rules.iter().map(|rule| rule.glob.as_str()))?;
        let after = rules.iter().map(|rule| Duration::from_millis(rule.after_ms.max(1)));
        Ok(Self { globs, after: after.collect() })
    }

    /// The time after which this file is marked; `None` if no rule applies to it.
    pub(super) fn of(&self, path: &RelPath) -> Option<Duration> {
        self.after.get(self.globs.first(path)?).copied()
    }
}

/// The result of examining a file that is open or may be open.
pub struct Looked<'a> {
    /// The result of lstat; `None` if the file is gone.
    pub stat: Option<&'a Stat>,
    /// A process has it open for writing.
    pub writer: bool,
}
