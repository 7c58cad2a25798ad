//! What the journal has for this remote, as last seen, and when it is looked at again. Pure: the time is given.

use crate::journal::Work;
use std::time::Duration;

/// The journal is looked at at least this often, wake or not.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// A journal that cannot be used is tried this often.
const RETRY: Duration = Duration::from_secs(1);

/// The work that waits.
#[derive(Clone, Debug)]
pub struct Pending {
    /// What there was at the last look.
    pub work: Work,
    /// When it was last looked at.
    looked: Duration,
    /// There may be more, or less, than there was.
    stale: bool,
    /// Marks gather until then, so that a burst goes in one push.
    gather_until: Option<Duration>,
    /// The journal cannot be used before.
    retry: Option<Duration>,
}

/// Nothing is known.
impl Default for Pending {
    fn default() -> Self {
        Self {
            work: Work::default(),
            looked: Duration::ZERO,
            stale: true,
            gather_until: None,
            retry: None,
        }
    }
}

impl Pending {
    /// The journal may have changed.
    pub fn touch(&mut self) {
        self.stale = true;
    }

    /// True when the journal may have changed since the last look.
    pub fn is_stale(&self) -> bool {
        self.stale
    }

    /// True when it is time for a look.
    pub fn wants_look(&self, now: Duration) -> bool {
        self.stale || now.saturating_sub(self.looked) >= LOOK_EVERY
    }

    /// It was looked at. Marks that come to an idle pusher gather for `delay`. True when something is new.
    pub fn looked(&mut self, work: Work, idle: bool, delay: Duration, now: Duration) -> bool {
        let before = std::mem::replace(&mut self.work, work);
        (self.stale, self.looked) = (false, now);
        let idle = idle && !before.marks && !before.due;
        if self.work.marks && idle && self.gather_until.is_none() {
            self.gather_until = Some(now + delay);
        }
        self.work != before
    }

    /// True when marks have gathered for long enough.
    pub fn has_gathered(&self, now: Duration) -> bool {
        self.gather_until.is_none_or(|at| now >= at)
    }

    /// What has gathered is being pushed.
    pub fn pushed(&mut self) {
        self.gather_until = None;
    }

    /// When marks have gathered.
    pub fn gathers_until(&self) -> Option<Duration> {
        self.gather_until
    }

    /// The journal cannot be used now.
    pub fn refused(&mut self, now: Duration) {
        self.retry = Some(now + RETRY);
    }

    /// True when the journal may be used: nobody has refused it, or it is tried again.
    pub fn is_usable(&self, now: Duration) -> bool {
        self.retry.is_none_or(|at| now >= at)
    }

    /// It is used again.
    pub fn used(&mut self) {
        self.retry = None;
    }

    /// When the journal is tried again, while it cannot be used.
    pub fn retry_at(&self) -> Option<Duration> {
        self.retry
    }

    /// When it is looked at at the latest.
    pub fn next_look(&self) -> Duration {
        self.looked + LOOK_EVERY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn marks_gather_only_where_nothing_was_to_be_done() {
        let marks = Work { marks: true, ..Work::default() };
        let mut pending = Pending::default();
        assert!(pending.wants_look(MS) && pending.looked(marks, true, 3 * MS, MS));
        assert!(!pending.has_gathered(3 * MS) && pending.has_gathered(4 * MS));
        // A later mark does not put it off.
        assert!(!pending.looked(marks, true, 3 * MS, 2 * MS));
        assert_eq!(pending.gathers_until(), Some(4 * MS));
        pending.pushed();
        pending.looked(marks, true, 3 * MS, 5 * MS);
        assert!(pending.has_gathered(5 * MS), "they waited for a push");
        pending.looked(Work::default(), true, 3 * MS, 6 * MS);
        pending.looked(marks, false, 3 * MS, 7 * MS);
        assert!(pending.has_gathered(7 * MS), "something is being pushed");
    }

    #[test]
    fn the_journal_is_looked_at_when_it_changed_and_once_a_minute() {
        let mut pending = Pending::default();
        pending.looked(Work::default(), true, MS, MS);
        assert!(!pending.wants_look(2 * MS) && pending.wants_look(MS + LOOK_EVERY));
        pending.touch();
        assert!(pending.is_stale() && pending.wants_look(2 * MS));
        pending.refused(MS);
        assert!(!pending.is_usable(2 * MS) && pending.is_usable(MS + RETRY));
        pending.used();
        assert!(pending.is_usable(MS) && pending.retry_at().is_none());
    }
}
