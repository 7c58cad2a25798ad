//! The change set: what one turn of the loop adds to the journal: marks without duplicates, files opened and closed.
//! Pure.

use crate::journal::{Checkpoint, Events, Mark, Record, Scope};
use crate::path::RelPath;
use std::collections::{HashMap, HashSet};
use std::ffi::OsString;

struct Gathered {
    order: usize,
    scope: Scope,
    events: Events,
    origin: Option<RelPath>,
}

/// A file to examine before the turn ends, because its kind or its links matter.
#[derive(Debug)]
pub struct StatRequest {
    /// The watch of its directory.
    pub dir: i32,
    /// Its name in that directory.
    pub name: OsString,
    /// What happened to it.
    pub events: Events,
}

/// Collects changes. A path marked twice becomes one mark, with the wider scope.
#[derive(Default)]
pub struct ChangeSet {
    marks: HashMap<RelPath, Gathered>,
    opened: HashSet<RelPath>,
    closed: HashSet<RelPath>,
    looks: HashMap<RelPath, StatRequest>,
}

impl ChangeSet {
    /// Marks a path that may differ now.
    pub fn mark(&mut self, path: RelPath, scope: Scope, events: Events) {
        self.mark_moved(path, scope, events, None);
    }

    /// Marks a path that was moved to this name from `origin`.
    pub fn mark_moved(
        &mut self,
        path: RelPath,
        scope: Scope,
        events: Events,
        origin: Option<RelPath>,
    ) {
        let order = self.marks.len();
        let mark =
            self.marks.entry(path).or_insert(Gathered { order, scope, events, origin: None });
        mark.scope = mark.scope.max(scope);
        mark.events |= events;
        if origin.is_some() {
            mark.origin = origin;
        }
    }

    /// Adds a path to the open files in the journal, which does not have it yet.
    pub fn open(&mut self, path: RelPath) {
        if !self.closed.remove(&path) {
            self.opened.insert(path);
        }
    }

    /// Removes a path from the open files in the journal and in this set.
    pub fn close(&mut self, path: RelPath) {
        if !self.opened.remove(&path) {
            self.closed.insert(path);
        }
    }

    /// Requests that this file is examined before the turn ends.
    pub fn look(&mut self, path: RelPath, look: StatRequest) {
        self.looks.entry(path).and_modify(|l| l.events |= look.events).or_insert(look);
    }

    /// Takes the files to examine.
    pub fn take_stat_requests(&mut self) -> HashMap<RelPath, StatRequest> {
        std::mem::take(&mut self.looks)
    }

    /// True if at least one path is marked.
    #[cfg(test)]
    pub fn has_marks(&self) -> bool {
        !self.marks.is_empty()
    }

    /// The number of paths marked.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.marks.len()
    }

    /// True if there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty() && self.opened.is_empty() && self.closed.is_empty()
    }

    /// Converts the set into a record for the journal, in the order of the first marks.
    pub fn into_record(self, checkpoint: Option<Checkpoint>) -> Record {
        let mut marks: Vec<(RelPath, Gathered)> = self.marks.into_iter().collect();
        marks.sort_unstable_by_key(|(_, g)| g.order);
        Record {
            marks: marks
                .into_iter()
                .map(|(path, g)| Mark { path, scope: g.scope, events: g.events, origin: g.origin })
                .collect(),
            opened: self.opened.into_iter().collect(),
            closed: self.closed.into_iter().collect(),
            checkpoint,
            ..Record::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::new(text).unwrap()
    }

    #[test]
    fn marks_widen_and_keep_their_order() {
        let mut changes = ChangeSet::default();
        changes.mark(path("b"), Scope::Entry, Events::WRITE);
        changes.mark(path("a"), Scope::Tree, Events::MOVE);
        changes.mark(path("b"), Scope::Children, Events::ATTRIB);
        changes.mark(path("a"), Scope::Entry, Events::ATTRIB);
        let marks = changes.into_record(None).marks;
        assert_eq!(marks.len(), 2);
        assert_eq!(marks[0], Mark::new(path("b"), Scope::Children, Events::WRITE | Events::ATTRIB));
        assert_eq!(marks[1].scope, Scope::Tree);
    }

    #[test]
    fn a_file_opened_and_closed_in_one_turn_is_not_open() {
        let mut changes = ChangeSet::default();
        changes.open(path("a"));
        changes.close(path("a"));
        changes.close(path("b"));
        changes.open(path("b"));
        assert!(changes.is_empty());
    }
}
