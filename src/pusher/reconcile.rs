//! What is known of the reconcile of a remote: when a comparison may start, what the operator approved, how far what it
//! found is pushed. Pure: the time is given.

use super::health::Incomplete;
use crate::journal::Held;
use crate::message::ReconcileProgress;
use crate::reconcile_reason::ReconcileReason;
use std::time::Duration;

/// What a comparison has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Paths that differ.
    pub paths: u64,
    /// Those of them that are to be deleted.
    pub deletions: u64,
    /// The size of those that are to be sent.
    pub bytes: u64,
}

/// How much of it is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Paths that a comparison found and that are owed.
    pub owed: u64,
    /// Paths that it found and that are not yet owed; `None` when no reconcile compares.
    pub unwritten: Option<u64>,
    /// Bytes pushed to this remote so far, those in flight included.
    pub pushed_bytes: u64,
}

/// The reconcile of one remote, and the comparisons of parts beside it.
#[derive(Clone, Debug, Default)]
pub struct Reconcile {
    /// One is requested, for this reason; the journal has it.
    wanted: Option<ReconcileReason>,
    /// The delete guard holds what one has found; the journal has it.
    held: Option<Held>,
    /// When one last went through, in milliseconds since 1970; the journal has it.
    reconciled_at_ms: Option<i64>,
    /// No comparison at all comes sooner.
    not_before: Option<Duration>,
    /// A reconcile comes no sooner.
    retry: Option<Duration>,
    /// What the last one could not see.
    incomplete: Option<Incomplete>,
    /// The operator has approved this number of deletions for the next comparison.
    approved: Option<u64>,
    /// The one that compares was requested once more.
    requested_again: bool,
    /// What was found and is being pushed.
    progress: Option<ReconcileProgress>,
    /// Bytes pushed before that was found.
    bytes_before: u64,
    finished: u64,
}

impl Reconcile {
    /// As the journal has it.
    pub fn new(
        wanted: Option<ReconcileReason>,
        held: Option<Held>,
        reconciled_at_ms: Option<i64>,
    ) -> Self {
        Self { wanted, held, reconciled_at_ms, ..Self::default() }
    }

    /// Why one is requested.
    pub fn wanted(&self) -> Option<&ReconcileReason> {
        self.wanted.as_ref()
    }

    /// What the delete guard holds.
    pub fn held(&self) -> Option<&Held> {
        self.held.as_ref()
    }

    /// When one last went through, in milliseconds since 1970.
    pub fn reconciled_at_ms(&self) -> Option<i64> {
        self.reconciled_at_ms
    }

    /// One is requested; `again` when one for the same reason compares now.
    pub fn request(&mut self, why: ReconcileReason, again: bool) {
        self.wanted = Some(why);
        self.requested_again = again;
        self.retry = None;
        self.incomplete = None;
    }

    /// One stands for too many marks, for a reason that no other has.
    pub fn replace_marks(&mut self, why: ReconcileReason) {
        self.wanted = Some(why);
        self.requested_again = false;
        self.retry = None;
    }

    /// The delete guard holds what one has found; what was approved was less.
    pub fn hold(&mut self, held: Held) {
        self.held = Some(held);
        self.approved = None;
    }

    /// The operator releases what the guard holds: that is approved for the next comparison.
    pub fn release(&mut self) -> Option<Held> {
        let held = self.held.take()?;
        self.approved = Some(held.deletions);
        self.retry = None;
        Some(held)
    }

    /// Deletions that the operator has approved.
    pub fn approved(&self) -> Option<u64> {
        self.approved
    }

    /// What was approved has been compared, or is not enough.
    pub fn forget_approval(&mut self) {
        self.approved = None;
    }

    /// No comparison starts before this time.
    pub fn put_off(&mut self, until: Option<Duration>) {
        self.not_before = until;
    }

    /// True when a comparison may start.
    pub fn may_compare(&self, now: Duration) -> bool {
        self.not_before.is_none_or(|at| now >= at)
    }

    /// True when a comparison of everything may start, too.
    pub fn may_compare_everything(&self, now: Duration) -> bool {
        self.retry.is_none_or(|at| now >= at)
    }

    /// When one of them may start that may not now.
    pub fn next_at(&self, now: Duration) -> Option<Duration> {
        [self.retry, self.not_before].into_iter().flatten().filter(|at| *at > now).min()
    }

    /// A reconcile compares, and has counted so far.
    pub fn compares(&mut self, why: &ReconcileReason, counted: Counted) {
        self.progress = Some(ReconcileProgress {
            why: why.clone(),
            found: counted.paths,
            deletions: counted.deletions,
            bytes: counted.bytes,
            ..ReconcileProgress::default()
        });
    }

    /// All is counted, and nothing of it is pushed yet: `pushed_bytes` were before.
    pub fn counted(&mut self, pushed_bytes: u64) {
        self.bytes_before = pushed_bytes;
    }

    /// It could not see everything. Returns what is known of that when it is worth a line in the log.
    pub fn was_incomplete(&mut self, message: String, now: Duration) -> Option<&Incomplete> {
        let (incomplete, news) = Incomplete::again(self.incomplete.take(), message);
        self.retry = Some(now + incomplete.wait());
        self.incomplete = Some(incomplete);
        self.incomplete.as_ref().filter(|_| news)
    }

    /// True when the one that compares settles its request: that was not made once more meanwhile.
    pub fn settles(&self) -> bool {
        !self.requested_again
    }

    /// It compared everything at this time, in milliseconds since 1970, and the journal knows; this request is left.
    pub fn finish(&mut self, left: Option<ReconcileReason>, at_ms: i64) {
        self.wanted = left;
        self.reconciled_at_ms = Some(at_ms);
        self.incomplete = None;
        self.requested_again = false;
        self.finished += 1;
    }

    /// Reconciles that went through.
    pub fn finished(&self) -> u64 {
        self.finished
    }

    /// Something was found that is not yet pushed, as far as the last [`Reconcile::note_left`] knew.
    pub fn is_under_way(&self) -> bool {
        self.progress.is_some()
    }

    /// Notes how much of it is left.
    pub fn note_left(&mut self, left: Left) {
        if let Some(progress) = &mut self.progress {
            let unwritten = left.unwritten.unwrap_or(0);
            progress.done = progress.found.saturating_sub(left.owed + unwritten);
            let pushed = left.pushed_bytes.saturating_sub(self.bytes_before);
            progress.bytes_done = pushed.min(progress.bytes);
        }
        if left.owed == 0 && left.unwritten.is_none() {
            self.progress = None;
        }
    }

    /// How far it is.
    pub fn progress(&self) -> Option<&ReconcileProgress> {
        self.progress.as_ref()
    }

    /// How many deletions and paths the one under way has found.
    pub fn found(&self) -> Counted {
        self.progress.as_ref().map_or_else(Counted::default, |progress| Counted {
            paths: progress.found,
            deletions: progress.deletions,
            bytes: progress.bytes,
        })
    }

    /// What could not be compared, once all that was found is pushed.
    pub fn incomplete(&self) -> Option<&str> {
        let incomplete = self.incomplete.as_ref().filter(|_| self.progress.is_none());
        incomplete.map(|incomplete| incomplete.words.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn counted(paths: u64) -> Counted {
        Counted { paths, deletions: 1, bytes: 100 }
    }

    fn left(owed: u64, unwritten: Option<u64>, pushed_bytes: u64) -> Left {
        Left { owed, unwritten, pushed_bytes }
    }

    #[test]
    fn progress_ends_when_the_last_row_is_settled() {
        let mut reconcile = Reconcile::default();
        reconcile.compares(&ReconcileReason::Sync, counted(10));
        reconcile.counted(1_000);
        reconcile.note_left(left(4, Some(2), 1_050));
        let progress = reconcile.progress().unwrap();
        assert_eq!((progress.done, progress.bytes_done, progress.found), (4, 50, 10));
        assert!(reconcile.settles());
        reconcile.finish(None, 9);
        assert_eq!((reconcile.finished(), reconcile.reconciled_at_ms()), (1, Some(9)));
        reconcile.note_left(left(1, None, 5_000));
        assert_eq!(reconcile.progress().unwrap().bytes_done, 100, "others push, too");
        reconcile.note_left(left(0, None, 5_000));
        assert!(!reconcile.is_under_way());
    }

    #[test]
    fn one_that_is_requested_while_it_compares_is_not_settled_by_that() {
        let mut reconcile = Reconcile::default();
        reconcile.request(ReconcileReason::Sync, true);
        assert!(!reconcile.settles());
        reconcile.finish(None, 9);
        assert!(reconcile.settles(), "the second one settles it");
        reconcile.request(ReconcileReason::Sync, true);
        reconcile.replace_marks(ReconcileReason::Leftovers);
        assert!(reconcile.settles());
    }

    #[test]
    fn an_incomplete_one_comes_again_later_and_a_request_hastens_it() {
        let mut reconcile = Reconcile::default();
        assert!(reconcile.may_compare_everything(S));
        let times = reconcile.was_incomplete("opendir failed".into(), S).map(|i| i.times);
        assert_eq!((times, reconcile.incomplete()), (Some(1), Some("opendir failed")));
        assert!(!reconcile.may_compare_everything(60 * S) && reconcile.may_compare(60 * S));
        assert_eq!(reconcile.next_at(S), Some(61 * S));
        assert!(reconcile.may_compare_everything(61 * S));
        reconcile.request(ReconcileReason::Sync, false);
        assert!(reconcile.may_compare_everything(S) && reconcile.incomplete().is_none());
    }

    #[test]
    fn what_it_found_is_pushed_before_it_is_called_incomplete() {
        let mut reconcile = Reconcile::default();
        reconcile.compares(&ReconcileReason::NewRemote, counted(3));
        reconcile.was_incomplete("opendir failed".into(), S);
        assert_eq!(reconcile.incomplete(), None);
        reconcile.note_left(left(0, None, 0));
        assert!(reconcile.incomplete().is_some());
    }

    #[test]
    fn an_approval_is_for_the_next_comparison_alone() {
        let mut reconcile = Reconcile::default();
        reconcile.was_incomplete("x".into(), S);
        assert_eq!(reconcile.release(), None, "nothing is approved in advance");
        reconcile.hold(Held { why: "too many".into(), deletions: 7 });
        assert_eq!(
            (reconcile.approved(), reconcile.held().map(|held| held.deletions)),
            (None, Some(7))
        );
        assert_eq!(reconcile.release().map(|held| held.deletions), Some(7));
        assert_eq!((reconcile.approved(), reconcile.may_compare_everything(S)), (Some(7), true));
        reconcile.forget_approval();
        assert_eq!(reconcile.approved(), None);
    }

    #[test]
    fn what_was_put_off_waits() {
        let mut reconcile = Reconcile::default();
        reconcile.put_off(Some(5 * S));
        assert!(!reconcile.may_compare(4 * S) && reconcile.may_compare(5 * S));
        assert_eq!((reconcile.next_at(4 * S), reconcile.next_at(5 * S)), (Some(5 * S), None));
        reconcile.put_off(None);
        assert!(reconcile.may_compare(S));
    }
}
