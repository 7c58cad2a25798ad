//! Where a remote stands in the journal. Pure.

use crate::journal::{RemoteRow, Settlement, Totals};

/// Where the remote stands, as this pusher last wrote it into the journal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Standing {
    /// All marks up to it are settled or owed.
    pub cursor: i64,
    /// Its receiver cannot do `--delete-missing-args`.
    pub form_b: bool,
    /// When a push last went well, in milliseconds since 1970.
    pub last_success_ms: Option<i64>,
    /// Since when it is known to lack what a reconcile must find, in milliseconds since 1970.
    pub behind_since_ms: Option<i64>,
    /// Entries the remote has: counted by the last reconcile, and kept by the pushes since.
    pub entries: Option<i64>,
    /// Files, bytes and deletions so far.
    pub totals: Totals,
}

impl Standing {
    /// As the journal has it.
    pub fn new(row: &RemoteRow) -> Self {
        Self {
            cursor: row.cursor,
            form_b: row.form_b,
            last_success_ms: row.last_success_ms,
            behind_since_ms: row.behind_since_ms,
            entries: row.entries,
            totals: row.totals,
        }
    }

    /// What a push has settled at this time, in milliseconds since 1970.
    pub fn settled(&mut self, end: &Settlement, now_ms: i64) {
        self.cursor = self.cursor.max(end.cursor.unwrap_or(0));
        self.totals += end.pushed;
        let grown = end.pushed.created as i64 - end.pushed.deleted as i64;
        self.entries = self.entries.map(|entries| (entries + grown).max(0));
        if end.success {
            self.last_success_ms = Some(now_ms);
        }
    }
}
