//! File systems below the localpath that may not answer: a network server that is gone, a FUSE process that hangs. A look
//! at one would never end, so each is asked first, by a process of its own. Pure.

use crate::path::RelPath;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// One that has not answered after this time is dead.
pub const WITHIN: Duration = Duration::from_secs(3);
/// One that answers is asked again after this.
const EVERY: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Asked for the first time.
    New { since: Duration },
    /// It answered.
    Fine { next: Duration },
    /// It answered, and was asked again.
    Asked { since: Duration },
    /// It does not answer.
    Dead,
}

/// Their mount points.
#[derive(Default)]
pub struct Silent(BTreeMap<RelPath, State>);

impl Silent {
    /// These are mounted now. Returns those that are to be asked; whether they answer is for [`Silent::answered`].
    pub fn ask(&mut self, mounted: &BTreeSet<RelPath>, now: Duration) -> Vec<RelPath> {
        self.0.retain(|path, _| mounted.contains(path));
        let mut asked = Vec::new();
        for path in mounted {
            let next = match self.0.get(path) {
                None => State::New { since: now },
                Some(State::Fine { next }) if now >= *next => State::Asked { since: now },
                Some(State::New { since } | State::Asked { since }) if now >= *since + WITHIN => {
                    self.0.insert(path.clone(), State::Dead);
                    continue;
                }
                Some(_) => continue,
            };
            self.0.insert(path.clone(), next);
            asked.push(path.clone());
        }
        asked
    }

    /// This one answered.
    pub fn answered(&mut self, path: &RelPath, now: Duration) {
        if let Some(state) = self.0.get_mut(path) {
            *state = State::Fine { next: now + EVERY };
        }
    }

    /// True while one may still answer for the first time.
    pub fn waits(&self) -> bool {
        self.0.values().any(|state| matches!(state, State::New { .. }))
    }

    /// Those that must not be touched.
    pub fn avoided(&self) -> BTreeSet<RelPath> {
        let avoided = |state: &State| matches!(state, State::New { .. } | State::Dead);
        self.0.iter().filter(|(_, state)| avoided(state)).map(|(path, _)| path.clone()).collect()
    }

    /// Those that do not answer.
    pub fn dead(&self) -> BTreeSet<RelPath> {
        let dead = self.0.iter().filter(|(_, state)| **state == State::Dead);
        dead.map(|(path, _)| path.clone()).collect()
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
    fn one_that_does_not_answer_is_dead_until_it_does() {
        let mut silent = Silent::default();
        let m = RelPath::new("m").unwrap();
        assert_eq!(silent.ask(&set(&["m", "n"]), S).len(), 2);
        assert!(silent.waits() && silent.avoided() == set(&["m", "n"]) && silent.dead().is_empty());
        silent.answered(&RelPath::new("n").unwrap(), S);
        assert_eq!((silent.avoided(), silent.dead()), (set(&["m"]), set(&[])));
        assert!(silent.ask(&set(&["m", "n"]), S + WITHIN).is_empty(), "asked once");
        assert_eq!((silent.avoided(), silent.dead()), (set(&["m"]), set(&["m"])));
        assert!(!silent.waits());
        silent.answered(&m, 9 * S);
        assert!(silent.avoided().is_empty() && silent.dead().is_empty());
    }

    #[test]
    fn one_that_answered_is_asked_again_and_used_meanwhile() {
        let mut silent = Silent::default();
        let m = RelPath::new("m").unwrap();
        silent.ask(&set(&["m"]), S);
        silent.answered(&m, S);
        assert!(silent.ask(&set(&["m"]), S + EVERY - Duration::from_millis(1)).is_empty());
        assert_eq!(silent.ask(&set(&["m"]), S + EVERY), [m]);
        assert!(silent.avoided().is_empty(), "it may answer yet");
        assert!(silent.ask(&set(&["m"]), S + EVERY + WITHIN).is_empty());
        assert_eq!(silent.dead(), set(&["m"]));
        // Unmounted.
        silent.ask(&set(&[]), 20 * S);
        assert!(silent.avoided().is_empty());
    }
}
