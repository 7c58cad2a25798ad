//! `-r` in the foreground: whoever started the instance hears how far the comparison is, until it is over.

use super::run::Progress;
use super::state::Supervisor;
use crate::sys::clock;
use std::time::Duration;

/// How often it is told.
const EVERY: Duration = Duration::from_millis(200);

impl Supervisor {
    /// Tells it when it is due.
    pub(super) fn tell_progress(&mut self, tell: &mut dyn FnMut(Progress), now: Duration) {
        if self.stopping || self.follow_at.is_none_or(|at| now < at) {
            return;
        }
        let wall_ms = clock::wall_ms();
        let all: Vec<_> =
            self.localpaths.iter().map(|localpath| localpath.report(wall_ms)).collect();
        let over = all.iter().flat_map(|l| &l.remotes).all(|r| r.is_compared());
        self.follow_at = (!over).then_some(now + EVERY);
        tell(Progress::Comparing(all));
    }
}
