//! A remote that stays in trouble while names come and go without end: it is compared instead.

use super::run::Pusher;
use crate::journal::{Instead, JournalError};
use slog::warn;

/// Names that may wait for a remote in trouble; when there are more, it is compared instead.
pub const NAMES_MOST: u32 = 200_000;
/// Failures in a row before that: what the last push left in the hands of a receiver has come to its end.
const FAILURES_LEAST: u32 = 3;

impl Pusher {
    /// Bounds what waits for a remote in trouble: every name that was ever touched would be kept for it, those of
    /// temporary files too. A comparison finds what is left of them. Deletions are then the comparison's, and so the
    /// guard's: which of them were asked for by name is not known any more.
    pub(super) fn bound_backlog(&mut self) -> Result<(), JournalError> {
        // While the guard holds comparisons, only what is known by name comes through.
        if self.health.failures() < FAILURES_LEAST || self.context.row.held.is_some() {
            return Ok(());
        }
        let context = &mut self.context;
        let Some(Instead { cursor, why, behind_since_ms }) =
            context.journal.compare_instead(&context.name, NAMES_MOST)?
        else {
            return Ok(());
        };
        warn!(context.log, "too many names wait for this remote: it is compared instead when it is back"; "why" => %why);
        context.row.cursor = cursor;
        context.row.reconcile = Some(why);
        context.row.behind_since_ms = behind_since_ms;
        self.reconcile.replace_marks();
        self.said.dirty = true;
        self.pending.touch();
        Ok(())
    }
}
