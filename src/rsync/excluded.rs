//! What the filter excludes and a remote nevertheless has, as far as rsync's output showed it, so that no rsync enters
//! it again. Pure: the time is given.

use crate::path::RelPath;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The most paths that are remembered.
const MOST: usize = 10_000;
/// Paths are forgotten after this time, because the remote may have lost them. An rsync that meets one reports it
/// again.
const REMEMBERED: Duration = Duration::from_secs(3_600);

/// How a path was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shown {
    /// A dry run listed it.
    Listed,
    /// An rsync reported that it cannot enter the path.
    Complained,
}

/// The known excluded paths of a remote.
#[derive(Clone, Debug, Default)]
pub struct Known(BTreeMap<RelPath, (Shown, Duration)>);

impl Known {
    /// Adds a path. True when it is new.
    pub fn learn(&mut self, path: RelPath, shown: Shown, now: Duration) -> bool {
        self.0.retain(|_, (_, since)| now < *since + REMEMBERED);
        let before = self.0.get(&path).map(|(shown, _)| *shown);
        let news = before.is_none_or(|before| before < shown);
        if !news || (before.is_none() && self.0.len() >= MOST) {
            return false;
        }
        self.0.insert(path, (shown, now));
        true
    }

    /// The paths that were found in this way, or in a stronger one.
    pub fn shown(&self, least: Shown) -> impl Iterator<Item = &RelPath> {
        self.0.iter().filter(move |(_, (shown, _))| *shown >= least).map(|(path, _)| path)
    }
}

/// Directories that exist on the remote but not on the master, and that stay because they hold something excluded.
/// rsync reports what it would delete in a directory before it reports the directory.
#[derive(Debug, Default)]
pub struct Holders(BTreeSet<RelPath>);

impl Holders {
    /// True for a reported deletion that will not happen; `excluded` tells whether the filter leaves the path out.
    pub fn stays(&mut self, path: &RelPath, excluded: bool) -> bool {
        if excluded {
            let above = std::iter::successors(path.parent(), RelPath::parent);
            for dir in above {
                if !self.0.insert(dir) {
                    break;
                }
            }
        }
        excluded || self.0.contains(path)
    }
}

/// The topmost excluded path among the path itself and the directories above it.
pub fn topmost(
    path: &RelPath,
    is_dir: bool,
    excludes: impl Fn(&RelPath, bool) -> bool,
) -> Option<RelPath> {
    path.prefixes().find(|prefix| excludes(prefix, is_dir || prefix != path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::new(text).unwrap()
    }

    #[test]
    fn only_stronger_knowledge_is_new() {
        let (mut known, now) = (Known::default(), Duration::from_secs(10));
        assert!(known.learn(path("a"), Shown::Listed, now));
        assert!(!known.learn(path("a"), Shown::Listed, now));
        assert_eq!(known.shown(Shown::Complained).count(), 0);
        assert!(known.learn(path("a"), Shown::Complained, now));
        assert!(!known.learn(path("a"), Shown::Listed, now), "it cannot be entered");
        assert_eq!(known.shown(Shown::Listed).collect::<Vec<_>>(), [&path("a")]);
        assert!(known.learn(path("b"), Shown::Listed, now + REMEMBERED));
        assert_eq!(known.shown(Shown::Listed).collect::<Vec<_>>(), [&path("b")], "a is forgotten");
        for n in 0..2 * MOST {
            known.learn(path(&format!("n{n}")), Shown::Listed, now + REMEMBERED);
        }
        assert_eq!(known.shown(Shown::Listed).count(), MOST);
    }

    #[test]
    fn directories_with_excluded_entries_stay() {
        let mut holders = Holders::default();
        let seen = [("d/e/keep/x", true), ("d/e/keep", true), ("d/e/f", false), ("d/e", false)];
        let more = [("d/g/h", false), ("d/g", false), ("d", false), ("other", false)];
        let stays = seen.into_iter().chain(more).map(|(p, out)| holders.stays(&path(p), out));
        let expected = [true, true, false, true, false, false, true, false];
        assert_eq!(stays.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_topmost_excluded_directory_is_found() {
        let excludes = |p: &RelPath, dir: bool| dir && p.is_within(&path("a/b"));
        let top = |text: &str, dir| topmost(&path(text), dir, excludes).map(|p| p.to_string());
        assert_eq!(top("a/b/c/d", false).as_deref(), Some("a/b"));
        assert_eq!(top("a/b", true).as_deref(), Some("a/b"));
        assert_eq!(top("a/b", false), None, "a file of that name is not excluded");
        assert_eq!(top("a/c", true), None);
    }
}
