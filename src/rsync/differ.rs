//! Translates rsync's letters for the output of `syncsup verify`. Pure.

use super::complaint;
use super::itemize::{Change, ChangeKind};
use crate::path::RelPath;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashSet};

/// How a path differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Missing on the remote, or of another type.
    Missing,
    /// On the remote and missing locally.
    Extra,
    /// A directory on the remote is in its place.
    Type,
    /// Its content, compared by checksum, or the device number.
    Content,
    /// Its size.
    Size,
    /// The target of a symbolic link.
    Target,
    /// Its modification time.
    Time,
    /// Its permissions.
    Mode,
    /// Its owner.
    Owner,
    /// Its group.
    Group,
    /// Its access control list.
    Acl,
    /// Its extended attributes.
    Xattr,
}

/// The most directories for which extra names in them are remembered.
const EMPTIED_MOST: usize = 100_000;

/// Reads the output of one dry run, line after line.
#[derive(Default)]
pub struct Differ {
    /// Directories with extra names.
    emptied: HashSet<RelPath>,
}

impl Differ {
    /// How a path differs. Empty when no difference counts.
    pub fn why(&mut self, change: &Change) -> Vec<Why> {
        match change.kind {
            ChangeKind::Deleted => {
                // A name below was extra, and locally this name is no directory: on the remote it is one.
                let parent = change.path.parent().filter(|p| !p.is_root());
                self.emptied.extend(parent.filter(|_| self.emptied.len() < EMPTIED_MOST));
                vec![Why::Extra]
            }
            ChangeKind::Created if !change.is_dir && self.emptied.contains(&change.path) => {
                vec![Why::Type]
            }
            ChangeKind::Created => vec![Why::Missing],
            ChangeKind::Sent | ChangeKind::Attributes => attributes(change),
        }
    }
}

fn attributes(change: &Change) -> Vec<Why> {
    let link = change.differs.kind == b'L';
    let of = |letter: &u8| match letter.to_ascii_lowercase() {
        b'c' if link => Some(Why::Target),
        b'c' => Some(Why::Content),
        b's' => Some(Why::Size),
        // Every name that is pushed into the root changes the root's time on the remote, which does not matter.
        b't' if change.path.is_root() => None,
        b't' => Some(Why::Time),
        b'p' => Some(Why::Mode),
        b'o' => Some(Why::Owner),
        b'g' => Some(Why::Group),
        b'a' => Some(Why::Acl),
        b'x' => Some(Why::Xattr),
        _ => None,
    };
    change.differs.attributes.iter().filter_map(of).collect()
}

/// The most paths pushed meanwhile that are remembered. With more, every difference is called pending.
const TOUCHED_MOST: usize = 100_000;

/// The paths that were pushed since a comparison began.
#[derive(Debug, Default)]
pub struct Touched {
    paths: BTreeSet<RelPath>,
    /// Too many to keep: any path may then still be pending.
    all: bool,
}

impl Touched {
    /// Records that these paths are being pushed.
    pub fn add<'a>(&mut self, paths: impl IntoIterator<Item = &'a RelPath>) {
        for path in paths {
            self.all |= self.paths.len() >= TOUCHED_MOST;
            if !self.all {
                self.paths.insert(path.clone());
            }
        }
    }

    /// Records that everything is being pushed.
    pub fn add_everything(&mut self) {
        self.all = true;
    }

    /// True when the paths were too many to keep.
    pub fn is_full(&self) -> bool {
        self.all
    }

    /// True when this path or a directory above it was pushed; with `below`, also when something below it was pushed.
    pub fn holds(&self, path: &RelPath, below: bool) -> bool {
        self.all || touched(path, below, &self.paths)
    }

    /// True for rsync's temporary file of a name that was pushed.
    pub fn has_temporary(&self, path: &RelPath) -> bool {
        complaint::temporary_of(path).is_some_and(|name| self.all || self.paths.contains(&name))
    }
}

/// The directory that is compared for a path: the path itself if it is a local directory, else the nearest local
/// directory above it.
pub fn directory_of(path: &RelPath, is_dir: impl Fn(&RelPath) -> bool) -> RelPath {
    let mut top = path.clone();
    while !top.is_root() && !is_dir(&top) {
        top = top.parent().unwrap_or_default();
    }
    top
}

/// True when pushes below a directory may be the reason that the directory differs in this way.
pub fn may_come_from_below(why: &[Why]) -> bool {
    why.iter().any(|w| matches!(w, Why::Time | Why::Missing | Why::Extra | Why::Type))
}

/// True when this path or a directory above it is among `paths`; with `below`, also when something below it is. The
/// root does not count as a directory above: its push only sets its mode, its owner and its times.
pub fn touched(path: &RelPath, below: bool, paths: &BTreeSet<RelPath>) -> bool {
    // Paths below this one sort after it, but names such as `path-x` may come between.
    let from = |first: RelPath| paths.range(first..).next().is_some_and(|p| p.is_within(path));
    let within = || from(path.clone()) || first_below(path).is_some_and(from);
    (below && within())
        || path.prefixes().any(|above| paths.contains(&above))
        || (path.is_root() && paths.contains(path))
}

/// The first path in sort order that can be below this one.
fn first_below(path: &RelPath) -> Option<RelPath> {
    RelPath::new([path.as_bytes(), b"/\x01"].concat()).filter(|_| !path.is_root())
}

#[cfg(test)]
mod tests {
    use super::super::itemize::{Line, parse};
    use super::*;

    #[test]
    fn every_itemized_letter_has_its_text() {
        use Why::*;
        let mut differ = Differ::default();
        for (line, why) in [
            ("<f+++++++++ a/b", vec![Missing]),
            ("<f.st...... a", vec![Size, Time]),
            ("<fc........ a", vec![Content]),
            ("<f..T...... a", vec![Time]),
            (".f...pog... a", vec![Mode, Owner, Group]),
            (".f.......ax a", vec![Acl, Xattr]),
            ("cLc.t...... l", vec![Target, Time]),
            ("*deleting   swapped/in", vec![Extra]),
            ("<f+++++++++ swapped", vec![Type]),
            (".d..t.o.... ./", vec![Owner]),
            (".d..t...... ./", vec![]),
            ("*deleting   d/in", vec![Extra]),
            ("cd+++++++++ d/", vec![Missing]),
        ] {
            let Line::Change(change) = parse(line.as_bytes()) else { panic!("{line}") };
            assert_eq!(differ.why(&change), why, "{line}");
        }
    }

    #[test]
    fn paths_on_their_way_are_pending() {
        let path = |text: &str| RelPath::new(text).unwrap();
        let paths: BTreeSet<RelPath> = ["a/b", "d", "d-x", "e/f/g"].into_iter().map(path).collect();
        for yes in ["a/b", "a/b/c", "a", "d", "d/x/y", "e", "e/f", ""] {
            assert!(touched(&path(yes), true, &paths), "{yes}");
        }
        for no in ["a/c", "b", "d-", "a/b-", "e/g"] {
            assert!(!touched(&path(no), true, &paths), "{no}");
        }
        assert!(!touched(&path("a"), true, &BTreeSet::new()));
        assert!(!touched(&path("e"), false, &paths) && touched(&path("a/b/c"), false, &paths));
        let root: BTreeSet<RelPath> = [RelPath::root()].into();
        assert!(touched(&RelPath::root(), false, &root) && !touched(&path("a"), true, &root));
        let mut many = Touched::default();
        let names: Vec<RelPath> = (0..TOUCHED_MOST).map(|n| path(&format!("n{n}"))).collect();
        many.add(&names);
        assert!(!many.holds(&path("a"), true));
        many.add([&path("one more")]);
        assert!(many.holds(&path("a"), true));
    }
}
