//! Which files were pushed soon after they were written, with the modification time that was pushed. Pure: the times are
//! given.
//!
//! A file that is written again may keep its size and its time: within one tick of the clock that stamps files, or because
//! a program sets the time. If the remote has the file with that time, only a comparison by content shows the change. A
//! file whose time is much older than its change is compared by content in any case.

use crate::path::RelPath;
use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

/// A file that was older than this when it was pushed need not be remembered.
const FRESH_NS: i64 = 3_000_000_000;
/// The most files that are remembered.
const FILES_MOST: usize = 16_384;
/// For how long.
const AGE_MOST_NS: i64 = 600_000_000_000;

/// The longest tick of the clock that stamps files (100 Hz).
const TICK_NS: i64 = 10_000_000;

/// What the remote may have of a file with this modification time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// Nothing that was pushed with it.
    Nothing,
    /// What was pushed with it. It has other content now only if a program has set the time since: then the file was
    /// changed later than that.
    Pushed,
    /// The same, and it may have been written again within the tick in which it was read.
    PushedInTick,
}

/// The files, each as a hash of its path and its time. Two files with the same hash only cost a comparison.
pub struct SentTimes {
    files: HashMap<u64, Before>,
    order: VecDeque<(i64, u64)>,
    /// Files with times up to this one may have been pushed, and are not remembered.
    forgotten_upto_ns: i64,
}

impl SentTimes {
    /// Nothing is remembered: a predecessor may have pushed files with times up to this one.
    pub fn new(forgotten_upto_ns: i64) -> Self {
        Self { files: HashMap::new(), order: VecDeque::new(), forgotten_upto_ns }
    }

    /// A file was pushed with this modification time, and read no earlier than `since_ns`.
    pub fn sent(&mut self, path: &RelPath, mtime_ns: i64, since_ns: i64) {
        if mtime_ns < since_ns - FRESH_NS {
            return;
        }
        let before = match mtime_ns < since_ns - TICK_NS {
            true => Before::Pushed,
            false => Before::PushedInTick,
        };
        let file = hash(path, mtime_ns);
        match self.files.get_mut(&file) {
            Some(Before::PushedInTick) => {}
            Some(known) => *known = before,
            None => {
                self.files.insert(file, before);
                self.order.push_back((mtime_ns, file));
            }
        }
        let old = |(mtime_ns, _): &(i64, u64)| *mtime_ns < since_ns - AGE_MOST_NS;
        while self.order.len() > FILES_MOST || self.order.front().is_some_and(old) {
            let Some((mtime_ns, file)) = self.order.pop_front() else { break };
            self.files.remove(&file);
            self.forgotten_upto_ns = self.forgotten_upto_ns.max(mtime_ns);
        }
    }

    /// What the remote may have of this file.
    pub fn before(&self, path: &RelPath, mtime_ns: i64) -> Before {
        match self.files.get(&hash(path, mtime_ns)) {
            _ if mtime_ns <= self.forgotten_upto_ns => Before::PushedInTick,
            Some(before) => *before,
            None => Before::Nothing,
        }
    }
}

/// True if a program may have set the modification time after the last change of the content.
pub fn may_be_set(mtime_ns: i64, ctime_ns: i64) -> bool {
    (ctime_ns - mtime_ns).abs() > TICK_NS
}

fn hash(path: &RelPath, mtime_ns: i64) -> u64 {
    let mut hasher = DefaultHasher::new();
    (path, mtime_ns).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;

    #[test]
    fn a_file_that_was_pushed_fresh_is_remembered_with_its_time() {
        let path = |text: &str| RelPath::new(text).unwrap();
        let mut sent = SentTimes::new(0);
        sent.sent(&path("a"), 10 * S, 11 * S);
        sent.sent(&path("tick"), 11 * S - TICK_NS, 11 * S);
        sent.sent(&path("old"), 7 * S, 11 * S);
        assert_eq!(sent.before(&path("a"), 10 * S), Before::Pushed);
        assert_eq!(sent.before(&path("a"), 10 * S + 1), Before::Nothing);
        assert_eq!(sent.before(&path("tick"), 11 * S - TICK_NS), Before::PushedInTick);
        sent.sent(&path("tick"), 11 * S - TICK_NS, 12 * S);
        assert_eq!(sent.before(&path("tick"), 11 * S - TICK_NS), Before::PushedInTick, "still");
        assert_eq!(sent.before(&path("b"), 10 * S), Before::Nothing);
        assert_eq!(sent.before(&path("old"), 7 * S), Before::Nothing);
        let after_a_crash = SentTimes::new(9 * S);
        assert_eq!(after_a_crash.before(&path("old"), 7 * S), Before::PushedInTick);
        assert!(may_be_set(S, S + TICK_NS + 1) && !may_be_set(S, S + TICK_NS));
    }

    #[test]
    fn what_is_forgotten_may_have_been_pushed() {
        let path = |n: usize| RelPath::new(n.to_string()).unwrap();
        let mut sent = SentTimes::new(0);
        for n in 0..FILES_MOST + 5 {
            sent.sent(&path(n), S + n as i64, S);
        }
        assert_eq!((sent.files.len(), sent.order.len()), (FILES_MOST, FILES_MOST));
        assert_eq!(sent.forgotten_upto_ns, S + 4);
        sent.sent(&path(0), 1_000 * S, 1_000 * S);
        assert_eq!((sent.files.len(), sent.forgotten_upto_ns), (1, S + 4 + FILES_MOST as i64));
    }
}
