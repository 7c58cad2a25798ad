//! The change set: what one turn of the loop adds to the journal, marks without doubles, files opened and closed. Pure.

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

/// A file to be looked at before the turn ends, because its kind or its links matter.
#[derive(Debug)]
pub struct StatRequest {
    /// The watch of its directory.
    pub dir: i32,
    /// Its name there.
    pub name: OsString,
    /// What happened to it.
    pub events: Events,
}

/// Gathers; a path marked twice is one mark, as wide as the wider.
#[derive(Default)]
pub struct ChangeSet {
    marks: HashMap<RelPath, Gathered>,
    opened: HashSet<RelPath>,
    closed: HashSet<RelPath>,
    looks: HashMap<RelPath, StatRequest>,
}

impl ChangeSet {
    /// This path may differ now.
    pub fn mark(&mut self, path: RelPath, scope: Scope, events: Events) {
        self.mark_moved(path, scope, events, None);
    }

    /// The same, and it was moved here from `origin`.
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

    /// The journal shall keep this path as open; it does not have it yet.
    pub fn open(&mut self, path: RelPath) {
        if !self.closed.remove(&path) {
            self.opened.insert(path);
        }
    }

    /// The journal, or this set, has this path as open: no longer.
    pub fn close(&mut self, path: RelPath) {
        if !self.opened.remove(&path) {
            self.closed.insert(path);
        }
    }

    /// Have a look at this file before the turn ends.
    pub fn look(&mut self, path: RelPath, look: StatRequest) {
        self.looks.entry(path).and_modify(|l| l.events |= look.events).or_insert(look);
    }

    /// The files to be looked at.
    pub fn take_stat_requests(&mut self) -> HashMap<RelPath, StatRequest> {
        std::mem::take(&mut self.looks)
    }

    /// True when at least one path is marked.
    #[cfg(test)]
    pub fn has_marks(&self) -> bool {
        !self.marks.is_empty()
    }

    /// Paths marked.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.marks.len()
    }

    /// True when there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty() && self.opened.is_empty() && self.closed.is_empty()
    }

    /// As the journal takes it, in the order of the first marks.
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
