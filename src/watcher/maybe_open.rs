//! Files that may be open for writing without causing events, through a descriptor whose own name is gone: removed,
//! overwritten, moved away or never given (`O_TMPFILE`). The watcher examines each one soon after that, once. If a
//! process has it open for writing, it is kept as an open file. Pure.

use crate::stat::Stat;
use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::time::Duration;

/// Device and inode.
pub type Inode = (u64, u64);
/// The watch of the directory, and the name in it. The pair stays valid when the directory is renamed.
pub type Name = (i32, OsString);

/// The delay between the time at which a file may be open and its examination. A scan from a checkpoint finds what
/// changed up to this long before the checkpoint.
pub const LOOK_AFTER: Duration = Duration::from_secs(1);

/// Size and modification time.
pub type Content = (u64, i64);

/// What is marked of a file under all its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marked {
    /// Its content as it was when this content was seen.
    Until(Content),
    /// It was written since its last mark.
    Behind,
}

impl Marked {
    /// All current content of the file.
    pub fn all_of(stat: &Stat) -> Self {
        Marked::Until((stat.size, stat.mtime_ns))
    }

    /// True if the current content is marked.
    pub fn covers(self, stat: &Stat) -> bool {
        self == Marked::all_of(stat)
    }
}

struct Entry {
    since: Duration,
    marked: Marked,
    /// Its name, if it has only one.
    name: Option<Name>,
}

/// The files, by inode.
#[derive(Default)]
pub struct MaybeOpen {
    files: HashMap<Inode, Entry>,
    order: BTreeSet<(Duration, Inode)>,
}

impl MaybeOpen {
    /// True if there are no files.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// True if it contains this file.
    pub fn has(&self, inode: Inode) -> bool {
        self.files.contains_key(&inode)
    }

    /// Adds a file that may be written through a descriptor that causes no events.
    pub fn add(&mut self, inode: Inode, name: Option<Name>, marked: Marked, now: Duration) {
        match self.files.get_mut(&inode) {
            Some(entry) => {
                // The content seen last may not be marked under all names. The content seen first is.
                if marked == Marked::Behind {
                    entry.marked = marked;
                }
                entry.name = name.or(entry.name.take());
            }
            None => {
                self.files.insert(inode, Entry { since: now, marked, name });
                self.order.insert((now, inode));
            }
        }
    }

    /// The only name of the file was seen: records it.
    pub fn named(&mut self, inode: Inode, name: Name) {
        if let Some(entry) = self.files.get_mut(&inode) {
            entry.name = Some(name);
        }
    }

    /// Removes a file, because it is now known whether the file is open.
    pub fn remove(&mut self, inode: Inode) -> Option<(Marked, Option<Name>)> {
        let entry = self.files.remove(&inode)?;
        self.order.remove(&(entry.since, inode));
        Some((entry.marked, entry.name))
    }

    /// The only name of the file, and what is marked for it.
    pub fn get(&self, inode: Inode) -> Option<(Marked, Option<&Name>)> {
        self.files.get(&inode).map(|d| (d.marked, d.name.as_ref()))
    }

    /// The time since which the oldest file may have been open.
    pub fn oldest(&self) -> Option<Duration> {
        self.order.first().map(|(since, _)| *since)
    }

    /// The files to examine now, at most `most`, in the order in which they were added.
    pub fn due(&self, now: Duration, most: usize, ready: impl Fn(Inode) -> bool) -> Vec<Inode> {
        let old = self.order.iter().take_while(|(since, _)| *since + LOOK_AFTER <= now);
        old.map(|(_, inode)| *inode).filter(|inode| ready(*inode)).take(most).collect()
    }

    /// All files.
    pub fn all(&self) -> impl Iterator<Item = Inode> {
        self.order.iter().map(|(_, inode)| *inode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn files_are_checked_in_order_once_they_are_due() {
        let mut maybe_open = MaybeOpen::default();
        let until = Marked::Until((1, 1));
        maybe_open.add((1, 1), None, until, S);
        maybe_open.add((1, 2), None, until, 2 * S);
        assert!(maybe_open.due(S, 9, |_| true).is_empty());
        assert_eq!(maybe_open.due(2 * S, 9, |_| true), [(1, 1)]);
        assert_eq!(maybe_open.due(9 * S, 9, |_| true), [(1, 1), (1, 2)]);
        assert_eq!(maybe_open.due(9 * S, 1, |inode| inode.1 > 1), [(1, 2)]);
        // Another of its names is gone. A file that loses names all the time must be examined too.
        maybe_open.add((1, 1), None, until, 3 * S);
        assert_eq!(maybe_open.oldest(), Some(S));
        assert_eq!(maybe_open.remove((1, 1)), Some((until, None)));
        assert_eq!(maybe_open.due(3 * S, 9, |_| true), [(1, 2)]);
        maybe_open.remove((1, 2));
        assert!(maybe_open.is_empty() && maybe_open.oldest().is_none());
    }

    #[test]
    fn a_file_written_since_its_mark_stays_written() {
        let mut maybe_open = MaybeOpen::default();
        maybe_open.add((1, 1), None, Marked::Behind, S);
        maybe_open.add((1, 1), None, Marked::Until((7, 7)), S);
        assert_eq!(maybe_open.get((1, 1)), Some((Marked::Behind, None)));
        maybe_open.add((1, 2), None, Marked::Until((1, 1)), S);
        maybe_open.add((1, 2), None, Marked::Until((2, 2)), S);
        assert_eq!(maybe_open.remove((1, 2)), Some((Marked::Until((1, 1)), None)));
    }
}
