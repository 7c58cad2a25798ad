//! The work that the journal has for this remote, as last read, and when it is read again. Pure: the time is given.

use crate::journal::{MarksWaiting, Work};
use std::time::Duration;

/// The longest interval between two reads of the journal, even without a wake.
const READ_EVERY: Duration = Duration::from_secs(60);
/// Attributes of directories wait for names for this long. A rename, a deletion, or an rsync from above sets them right
/// before or after a name in them changes.
const COMPANY_WAIT: Duration = Duration::from_millis(20);
/// The interval at which a journal that cannot be used is retried.
const RETRY: Duration = Duration::from_secs(1);

/// The work that waits.
#[derive(Clone, Debug)]
pub struct Pending {
    /// The work at the last read.
    pub work: Work,
    /// When the journal was last read.
    read_at: Duration,
    /// The journal may have changed since.
    stale: bool,
    /// Marks gather until this time, so that one push takes a burst.
    gather_until: Option<Duration>,
    /// The journal cannot be used before this time.
    retry: Option<Duration>,
}

/// Nothing was read yet.
impl Default for Pending {
    fn default() -> Self {
        Self {
            work: Work::default(),
            read_at: Duration::ZERO,
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

    /// True if the journal may have changed since it was read.
    pub fn is_stale(&self) -> bool {
        self.stale
    }

    /// True if it is time to read the journal.
    pub fn wants_read(&self, now: Duration) -> bool {
        self.stale || now.saturating_sub(self.read_at) >= READ_EVERY
    }

    /// The journal was read. The marks of an idle pusher gather for `delay`. Attributes of directories wait for names in
    /// any case. Returns true if the work has changed.
    pub fn was_read(&mut self, work: Work, idle: bool, delay: Duration, now: Duration) -> bool {
        let before = std::mem::replace(&mut self.work, work);
        (self.stale, self.read_at) = (false, now);
        match (before.marks, self.work.marks) {
            (_, MarksWaiting::None) => self.gather_until = None,
            (_, MarksWaiting::DirAttributes) => {
                self.gather_until.get_or_insert(now + delay.max(COMPANY_WAIT));
            }
            (MarksWaiting::None, MarksWaiting::Names) if idle && !before.due => {
                self.gather_until.get_or_insert(now + delay);
            }
            (MarksWaiting::DirAttributes, MarksWaiting::Names) => {
                self.gather_until = self.gather_until.map(|until| until.min(now + delay));
            }
            (MarksWaiting::None | MarksWaiting::Names, MarksWaiting::Names) => {}
        }
        self.work != before
    }

    /// True if marks have gathered for long enough.
    pub fn has_gathered(&self, now: Duration) -> bool {
        self.gather_until.is_none_or(|at| now >= at)
    }

    /// The gathered marks are being pushed.
    pub fn pushed(&mut self) {
        self.gather_until = None;
    }

    /// Until when marks gather.
    pub fn gathers_until(&self) -> Option<Duration> {
        self.gather_until
    }

    /// The journal cannot be used now.
    pub fn refused(&mut self, now: Duration) {
        // Another refusal does not delay the retry.
        self.retry.get_or_insert(now + RETRY);
    }

    /// True if the journal may be used: it was not refused, or a retry is due.
    pub fn is_usable(&self, now: Duration) -> bool {
        self.retry.is_none_or(|at| now >= at)
    }

    /// The journal is used again.
    pub fn used(&mut self) {
        self.retry = None;
    }

    /// When the journal is retried, while it cannot be used.
    pub fn retry_at(&self) -> Option<Duration> {
        self.retry
    }

    /// When the journal is read at the latest.
    pub fn next_read(&self) -> Duration {
        self.read_at + READ_EVERY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn marks_gather_only_if_the_pusher_was_idle() {
        let marks = Work { marks: MarksWaiting::Names, ..Work::default() };
        let mut pending = Pending::default();
        assert!(pending.wants_read(MS) && pending.was_read(marks, true, 3 * MS, MS));
        assert!(!pending.has_gathered(3 * MS) && pending.has_gathered(4 * MS));
        // A later mark does not delay the push.
        assert!(!pending.was_read(marks, true, 3 * MS, 2 * MS));
        assert_eq!(pending.gathers_until(), Some(4 * MS));
        pending.pushed();
        pending.was_read(marks, true, 3 * MS, 5 * MS);
        assert!(pending.has_gathered(5 * MS), "they waited for a push");
        pending.was_read(Work::default(), true, 3 * MS, 6 * MS);
        pending.was_read(marks, false, 3 * MS, 7 * MS);
        assert!(pending.has_gathered(7 * MS), "a push is in flight");
    }

    #[test]
    fn attributes_of_directories_wait_for_names() {
        let attributes = Work { marks: MarksWaiting::DirAttributes, ..Work::default() };
        let names = Work { marks: MarksWaiting::Names, ..Work::default() };
        for before in [Work::default(), names] {
            let mut pending = Pending::default();
            pending.was_read(before, false, 3 * MS, MS);
            pending.was_read(attributes, false, 3 * MS, 2 * MS);
            assert_eq!(pending.gathers_until(), Some(22 * MS));
            pending.was_read(attributes, true, 3 * MS, 3 * MS);
            assert_eq!(pending.gathers_until(), Some(22 * MS));
            pending.was_read(names, true, 3 * MS, 5 * MS);
            assert_eq!(pending.gathers_until(), Some(8 * MS), "a name ends it");
        }
    }

    #[test]
    fn the_journal_is_read_when_it_changed_and_once_a_minute() {
        let mut pending = Pending::default();
        pending.was_read(Work::default(), true, MS, MS);
        assert!(!pending.wants_read(2 * MS) && pending.wants_read(MS + READ_EVERY));
        pending.touch();
        assert!(pending.is_stale() && pending.wants_read(2 * MS));
        pending.refused(MS);
        assert!(!pending.is_usable(2 * MS) && pending.is_usable(MS + RETRY));
        pending.used();
        assert!(pending.is_usable(MS) && pending.retry_at().is_none());
    }
}
