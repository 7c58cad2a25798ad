//! Counts what a partially failed push has done: everything that it printed, except what a second dry run still finds
//! different. Pure.

use crate::journal;
use crate::path::RelPath;
use crate::rsync::itemize::{self, Change, ChangeKind};
use std::collections::HashSet;

/// 1 for a created name, and 1 if it is not a directory.
pub fn created(change: &Change) -> (u64, u64) {
    let created = change.kind == ChangeKind::Created;
    (u64::from(created), u64::from(created && !change.is_dir))
}

/// The count of one run.
#[derive(Debug, Default)]
pub struct PartialStats {
    sent: HashSet<RelPath>,
    deleted: HashSet<RelPath>,
    created: u64,
    created_files: u64,
    files: u64,
    bytes: u64,
}

impl PartialStats {
    /// Counts a change that the run printed.
    pub fn add(&mut self, change: Change) {
        let (created, file) = created(&change);
        self.created += created;
        self.created_files += file;
        match change.kind {
            ChangeKind::Deleted => drop(self.deleted.insert(change.path)),
            ChangeKind::Sent | ChangeKind::Created if !change.is_dir => {
                self.sent.insert(change.path);
            }
            ChangeKind::Sent | ChangeKind::Created | ChangeKind::Attributes => {}
        }
    }

    /// Takes rsync's totals. They count every file that was sent, even if the receiver could not write it.
    pub fn set_totals(&mut self, totals: itemize::Totals) {
        (self.files, self.bytes) = (totals.transferred, totals.transferred_bytes);
    }

    /// Takes back a change that is still missing after the run. `size` is that of the local regular file.
    pub fn take_back(&mut self, change: &Change, size: impl Fn(&RelPath) -> Option<u64>) {
        let (created, file) = created(change);
        self.created = self.created.saturating_sub(created);
        self.created_files = self.created_files.saturating_sub(file);
        match change.kind {
            ChangeKind::Deleted => drop(self.deleted.remove(&change.path)),
            ChangeKind::Sent | ChangeKind::Created if self.sent.remove(&change.path) => {
                if let Some(bytes) = size(&change.path) {
                    self.files = self.files.saturating_sub(1);
                    self.bytes = self.bytes.saturating_sub(bytes);
                }
            }
            ChangeKind::Sent | ChangeKind::Created | ChangeKind::Attributes => {}
        }
    }

    /// The remaining totals.
    pub fn totals(&self) -> journal::Totals {
        let deleted = self.deleted.len() as u64;
        journal::Totals {
            files: self.files,
            bytes: self.bytes,
            deleted,
            created: self.created,
            created_files: self.created_files,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_that_are_found_again_are_not_counted() {
        let change = |path: &str, kind, is_dir| {
            let differs = Default::default();
            Change { path: RelPath::new(path).unwrap(), kind, is_dir, differs }
        };
        let mut partial_stats = PartialStats::default();
        for (path, kind, is_dir) in [
            ("a", ChangeKind::Created, false),
            ("b", ChangeKind::Sent, false),
            ("link", ChangeKind::Created, false),
            ("d", ChangeKind::Created, true),
            ("x", ChangeKind::Deleted, false),
            ("y", ChangeKind::Deleted, true),
        ] {
            partial_stats.add(change(path, kind, is_dir));
        }
        let totals =
            itemize::Totals { transferred: 2, transferred_bytes: 30, ..Default::default() };
        partial_stats.set_totals(totals);
        assert_eq!(
            partial_stats.totals(),
            journal::Totals { files: 2, bytes: 30, deleted: 2, created: 3, created_files: 2 }
        );
        let size = |path: &RelPath| (path.name() != "link").then_some(10);
        for left in [
            change("b", ChangeKind::Sent, false),
            change("link", ChangeKind::Created, false),
            change("never sent", ChangeKind::Sent, false),
            change("a", ChangeKind::Attributes, false),
            change("y", ChangeKind::Deleted, true),
        ] {
            partial_stats.take_back(&left, size);
        }
        assert_eq!(
            partial_stats.totals(),
            journal::Totals { files: 1, bytes: 20, deleted: 1, created: 2, created_files: 1 }
        );
    }
}
