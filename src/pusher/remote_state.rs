//! A remote's row in the journal, as the pusher last wrote it. Pure.

use crate::journal::{RemoteRow, Settlement, Totals};

/// The remote's row, as this pusher last wrote it into the journal.
#[derive(Clone, Copy, Debug, Default)]
pub struct RemoteState {
    /// Every mark up to this number is settled or owed.
    pub cursor: i64,
    /// Its receiver does not support `--delete-missing-args`.
    pub form_b: bool,
    /// When a push last succeeded, in milliseconds since 1970.
    pub last_success_ms: Option<i64>,
    /// Since when it lacks changes that only a reconcile finds, in milliseconds since 1970.
    pub behind_since_ms: Option<i64>,
    /// The number of entries that the remote has: counted by the last reconcile, and updated by pushes since.
    pub entries: Option<i64>,
    /// Files, bytes and deletions so far.
    pub totals: Totals,
    /// Files that pushes have created on the remote, and not deleted, between the start of this process and its first
    /// reconcile. Until then nothing shows which files the remote had before.
    pub created_files: Option<u64>,
}

impl RemoteState {
    /// The state as the journal has it.
    pub fn new(row: &RemoteRow) -> Self {
        Self {
            cursor: row.cursor,
            form_b: row.form_b,
            last_success_ms: row.last_success_ms,
            behind_since_ms: row.behind_since_ms,
            entries: row.entries,
            totals: row.totals,
            created_files: Some(0),
        }
    }

    /// Applies what a push has settled at this time, in milliseconds since 1970.
    pub fn settled(&mut self, end: &Settlement, now_ms: i64) {
        self.cursor = self.cursor.max(end.cursor.unwrap_or(0));
        self.totals += end.pushed;
        self.created_files = self
            .created_files
            .map(|files| (files + end.pushed.created_files).saturating_sub(end.pushed.deleted));
        let grown = end.pushed.created as i64 - end.pushed.deleted as i64;
        self.entries = self.entries.map(|entries| (entries + grown).max(0));
        if end.success {
            self.last_success_ms = Some(now_ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn created_files_are_counted_until_they_are_deleted() {
        let mut remote_state =
            RemoteState { entries: Some(5), created_files: Some(0), ..RemoteState::default() };
        let pushed = |created, created_files, deleted| Settlement {
            pushed: Totals { created, created_files, deleted, ..Totals::default() },
            ..Settlement::default()
        };
        remote_state.settled(&pushed(3, 2, 0), 1);
        assert_eq!((remote_state.created_files, remote_state.entries), (Some(2), Some(8)));
        remote_state.settled(&pushed(0, 0, 1), 2);
        assert_eq!((remote_state.created_files, remote_state.entries), (Some(1), Some(7)));
        remote_state.settled(&pushed(0, 0, 9), 3);
        assert_eq!((remote_state.created_files, remote_state.entries), (Some(0), Some(0)));
    }
}
