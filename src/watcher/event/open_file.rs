//! One open file, and the rules for those that are marked while they are open.

use crate::config::model::OpenRule;
use crate::filter::Globs;
use crate::path::RelPath;
use crate::stat::Stat;
use std::time::Duration;

/// An open file that has been quiet for this long is looked at.
pub const QUIET_FOR: Duration = Duration::from_secs(2);

/// How a file is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    /// It was made, and no event says that it was written.
    Created,
    /// It was written, and its close is an event.
    Written,
    /// It is written by a descriptor of which the name is gone: neither that nor its close is an event.
    Unnamed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) state: State,
    /// When that was first known.
    pub(super) since: Duration,
    /// Not looked at before.
    pub(super) due: Duration,
    /// From a look to the next.
    pub(super) pause: Duration,
    /// It was marked, though perhaps open, with this ctime.
    pub(super) marked: Option<i64>,
    /// It is marked as it is then, though open.
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

    /// The same file under another of its names.
    pub(super) fn unnamed(self, now: Duration) -> Self {
        Self { since: self.since, ..Self::new(now, State::Unnamed) }
    }
}

/// Which open files are marked as they are, and after which time.
#[derive(Default)]
pub struct OpenAfter {
    globs: Globs,
    after: Vec<Duration>,
}

impl OpenAfter {
    /// An error says which glob is none.
    pub fn new(rules: &[OpenRule]) -> Result<Self, String> {
        let globs = Globs::new(rules.iter().map(|rule| rule.glob.as_str()))?;
        let after = rules.iter().map(|rule| Duration::from_millis(rule.after_ms.max(1)));
        Ok(Self { globs, after: after.collect() })
    }

    /// After which time this one is marked; `None` when no rule is for it.
    pub(super) fn of(&self, path: &RelPath) -> Option<Duration> {
        self.after.get(self.globs.first(path)?).copied()
    }
}

/// What a look at an open file, or at one that may be, found.
pub struct Looked<'a> {
    /// What lstat says of it; `None` when it is gone.
    pub stat: Option<&'a Stat>,
    /// A process has it open for writing.
    pub writer: bool,
}
