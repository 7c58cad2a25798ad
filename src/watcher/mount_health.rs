//! File systems below the localpath that may not answer, such as one on a network server that is gone, or one of a FUSE
//! process that hangs. A call on such a file system would never return, so a separate process probes each one first.
//! Pure.

use crate::path::RelPath;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A file system that has not answered after this time is unresponsive.
pub const WITHIN: Duration = Duration::from_secs(3);
/// A file system that answers is probed again after this time.
const EVERY: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It is being probed for the first time.
    Unknown { since: Duration },
    /// It answered.
    Responsive { next: Duration },
    /// It answered, and is being probed again.
    Probing { since: Duration },
    /// It does not answer.
    Unresponsive,
}

/// The state of each file system, by mount point.
#[derive(Default)]
pub struct MountHealth(BTreeMap<RelPath, State>);

impl MountHealth {
    /// Takes the currently mounted file systems, and returns those to probe. [`MountHealth::answered`] records that one
    /// answered.
    pub fn due(&mut self, mounted: &BTreeSet<RelPath>, now: Duration) -> Vec<RelPath> {
        self.0.retain(|path, _| mounted.contains(path));
        let mut asked = Vec::new();
        for path in mounted {
            let next = match self.0.get(path) {
                None => State::Unknown { since: now },
                Some(State::Responsive { next }) if now >= *next => State::Probing { since: now },
                Some(State::Unknown { since } | State::Probing { since })
                    if now >= *since + WITHIN =>
                {
                    self.0.insert(path.clone(), State::Unresponsive);
                    continue;
                }
                Some(_) => continue,
            };
            self.0.insert(path.clone(), next);
            asked.push(path.clone());
        }
        asked
    }

    /// Records that this file system answered.
    pub fn answered(&mut self, path: &RelPath, now: Duration) {
        if let Some(state) = self.0.get_mut(path) {
            *state = State::Responsive { next: now + EVERY };
        }
    }

    /// True if no such file system is mounted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True while a file system may still answer for the first time.
    pub fn awaits_first(&self) -> bool {
        self.0.values().any(|state| matches!(state, State::Unknown { .. }))
    }

    /// The mount points of file systems that must not be touched.
    pub fn avoided(&self) -> BTreeSet<RelPath> {
        let avoided = |state: &State| matches!(state, State::Unknown { .. } | State::Unresponsive);
        self.0.iter().filter(|(_, state)| avoided(state)).map(|(path, _)| path.clone()).collect()
    }

    /// The mount points of file systems that do not answer.
    pub fn unresponsive(&self) -> BTreeSet<RelPath> {
        let unresponsive = self.0.iter().filter(|(_, state)| **state == State::Unresponsive);
        unresponsive.map(|(path, _)| path.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn set(names: &[&str]) -> BTreeSet<RelPath> {
        names.iter().map(|name| RelPath::new(*name).unwrap()).collect()
    }

    #[test]
    fn a_mount_is_unresponsive_until_it_answers() {
        let mut health = MountHealth::default();
        let m = RelPath::new("m").unwrap();
        assert_eq!(health.due(&set(&["m", "n"]), S).len(), 2);
        assert!(
            health.awaits_first()
                && health.avoided() == set(&["m", "n"])
                && health.unresponsive().is_empty()
        );
        health.answered(&RelPath::new("n").unwrap(), S);
        assert_eq!((health.avoided(), health.unresponsive()), (set(&["m"]), set(&[])));
        assert!(health.due(&set(&["m", "n"]), S + WITHIN).is_empty(), "asked once");
        assert_eq!((health.avoided(), health.unresponsive()), (set(&["m"]), set(&["m"])));
        assert!(!health.awaits_first());
        health.answered(&m, 9 * S);
        assert!(health.avoided().is_empty() && health.unresponsive().is_empty());
    }

    #[test]
    fn a_responsive_mount_is_used_while_it_is_probed_again() {
        let mut health = MountHealth::default();
        let m = RelPath::new("m").unwrap();
        health.due(&set(&["m"]), S);
        health.answered(&m, S);
        assert!(health.due(&set(&["m"]), S + EVERY - Duration::from_millis(1)).is_empty());
        assert_eq!(health.due(&set(&["m"]), S + EVERY), [m]);
        assert!(health.avoided().is_empty(), "it may answer yet");
        assert!(health.due(&set(&["m"]), S + EVERY + WITHIN).is_empty());
        assert_eq!(health.unresponsive(), set(&["m"]));
        // The file system is unmounted.
        health.due(&set(&[]), 20 * S);
        assert!(health.avoided().is_empty());
    }
}
