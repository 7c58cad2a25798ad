//! The state of a remote's reconcile: when a comparison may start, what the operator approved, how much of what it
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
    /// Those of them to delete.
    pub deletions: u64,
    /// The size of those to send.
    pub bytes: u64,
}

/// How much of a reconcile remains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remaining {
    /// Paths that it found and that are owed.
    pub owed: u64,
    /// Paths that it found and that are not yet owed. `None` if no reconcile compares.
    pub unwritten: Option<u64>,
    /// Bytes pushed to this remote so far, those in flight included.
    pub pushed_bytes: u64,
}

/// How many requests there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Requests {
    /// All of them.
    all: u64,
    /// The number of the supervisor's last one.
    supervisor: u64,
}

/// The delete guard. What it holds is also in the journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Guard {
    /// It holds nothing.
    #[default]
    Open,
    /// It holds what a comparison found.
    Holds(Held),
    /// It did, but an operator has asked for another comparison, which decides whether it still does.
    LooksAgain,
}

/// The reconcile of one remote, and its partial comparisons.
#[derive(Clone, Debug, Default)]
pub struct Reconcile {
    /// A reconcile is requested, for this reason. Also in the journal.
    wanted: Option<ReconcileReason>,
    /// Whether the delete guard holds what a comparison found.
    guard: Guard,
    /// When a reconcile last completed, in milliseconds since 1970. Also in the journal.
    reconciled_at_ms: Option<i64>,
    /// No comparison starts before this time.
    not_before: Option<Duration>,
    /// No reconcile starts before this time.
    retry: Option<Duration>,
    /// What the last reconcile could not read.
    incomplete: Option<Incomplete>,
    /// The number of deletions that the operator has approved for the next comparison.
    approved: Option<u64>,
    /// The requests so far, and those that came before the last reconcile began to compare.
    requests: Requests,
    began_after: Requests,
    /// The number of the supervisor's last request that is in the journal.
    recorded: u64,
    /// The number of the supervisor's last request that a reconcile has completed.
    completed: u64,
    /// The progress of pushing what was found.
    progress: Option<ReconcileProgress>,
    /// Bytes pushed before the reconcile.
    bytes_before: u64,
    finished: u64,
}

impl Reconcile {
    /// The state as the journal has it.
    pub fn new(
        wanted: Option<ReconcileReason>,
        held: Option<Held>,
        reconciled_at_ms: Option<i64>,
    ) -> Self {
        let guard = held.map_or(Guard::Open, Guard::Holds);
        Self { wanted, guard, reconciled_at_ms, ..Self::default() }
    }

    /// Why a reconcile is requested, if one is.
    pub fn wanted(&self) -> Option<&ReconcileReason> {
        self.wanted.as_ref()
    }

    /// What the delete guard holds. `None` while another comparison is to decide that.
    pub fn held(&self) -> Option<&Held> {
        match &self.guard {
            Guard::Holds(held) => Some(held),
            Guard::Open | Guard::LooksAgain => None,
        }
    }

    /// An operator has asked for a comparison: the guard does not prevent it.
    pub fn look_again(&mut self) {
        if self.held().is_some() {
            self.guard = Guard::LooksAgain;
        }
    }

    /// A reconcile has compared everything, and the guard let it pass. True if it held something until now.
    pub fn passed(&mut self) -> bool {
        std::mem::take(&mut self.guard) != Guard::Open
    }

    /// When a reconcile last completed, in milliseconds since 1970.
    pub fn reconciled_at_ms(&self) -> Option<i64> {
        self.reconciled_at_ms
    }

    /// Requests a reconcile. One that compares now does not settle it.
    pub fn request(&mut self, why: ReconcileReason) {
        self.wanted = Some(why);
        self.requests.all += 1;
        self.retry = None;
        self.incomplete = None;
    }

    /// The supervisor has sent the request with this number.
    pub fn received(&mut self, number: u64) {
        self.requests.supervisor = number;
    }

    /// The journal has recorded the request with this number.
    pub fn recorded(&mut self, number: u64) {
        self.recorded = number;
    }

    /// The pusher begins, and the supervisor has numbered its requests up to this one.
    pub fn begins_after(&mut self, number: u64) {
        self.received(number);
        if self.wanted.is_none() {
            self.completed = number;
        }
    }

    /// The numbers of the supervisor's last requests: that the journal has recorded, that a reconcile has completed.
    pub fn requests_done(&self) -> (u64, u64) {
        (self.recorded, self.completed)
    }

    /// A reconcile begins to compare.
    pub fn begins(&mut self) {
        self.began_after = self.requests;
    }

    /// Requests a reconcile that replaces too many marks. No other request has this reason.
    pub fn replace_marks(&mut self, why: ReconcileReason) {
        self.wanted = Some(why);
        self.requests.all += 1;
        self.retry = None;
    }

    /// The delete guard holds what a reconcile found. Fewer deletions were approved.
    pub fn hold(&mut self, held: Held) {
        self.guard = Guard::Holds(held);
        self.approved = None;
    }

    /// The operator releases what the guard holds, and so approves it for the next comparison.
    pub fn release(&mut self) -> Option<Held> {
        let held = self.held()?.clone();
        self.guard = Guard::Open;
        self.approved = Some(held.deletions);
        self.retry = None;
        Some(held)
    }

    /// Deletions that the operator has approved.
    pub fn approved(&self) -> Option<u64> {
        self.approved
    }

    /// The approval has been used, or is not enough.
    pub fn forget_approval(&mut self) {
        self.approved = None;
    }

    /// No comparison starts before this time.
    pub fn put_off(&mut self, until: Option<Duration>) {
        self.not_before = until;
    }

    /// True if a comparison may start.
    pub fn may_compare(&self, now: Duration) -> bool {
        self.not_before.is_none_or(|at| now >= at)
    }

    /// True if a reconcile may start.
    pub fn may_reconcile(&self, now: Duration) -> bool {
        self.retry.is_none_or(|at| now >= at)
    }

    /// When a comparison or reconcile may start that may not start now.
    pub fn next_at(&self, now: Duration) -> Option<Duration> {
        [self.retry, self.not_before].into_iter().flatten().filter(|at| *at > now).min()
    }

    /// A reconcile compares, and has counted this so far.
    pub fn compares(&mut self, why: &ReconcileReason, counted: Counted) {
        self.progress = Some(ReconcileProgress {
            why: why.clone(),
            found: counted.paths,
            deletions: counted.deletions,
            bytes: counted.bytes,
            ..ReconcileProgress::default()
        });
    }

    /// All differences are counted, and none is pushed yet. `pushed_bytes` is the number of bytes pushed before.
    pub fn counted(&mut self, pushed_bytes: u64) {
        self.bytes_before = pushed_bytes;
    }

    /// The reconcile was incomplete. Returns the details if they are worth a line in the log.
    pub fn was_incomplete(&mut self, message: String, now: Duration) -> Option<&Incomplete> {
        let (incomplete, news) = Incomplete::again(self.incomplete.take(), message);
        self.retry = Some(now + incomplete.wait());
        self.incomplete = Some(incomplete);
        self.incomplete.as_ref().filter(|_| news)
    }

    /// True if the reconcile that compares settles its request: none arrived since it began.
    pub fn settles(&self) -> bool {
        self.requests.all == self.began_after.all
    }

    /// The reconcile completed at this time, in milliseconds since 1970, and the journal has recorded it. `left` is the
    /// request that remains.
    pub fn finish(&mut self, left: Option<ReconcileReason>, at_ms: i64) {
        self.wanted = left;
        self.reconciled_at_ms = Some(at_ms);
        self.incomplete = None;
        self.completed = self.began_after.supervisor;
        self.finished += 1;
    }

    /// The number of completed reconciles.
    pub fn finished(&self) -> u64 {
        self.finished
    }

    /// True if not all that was found was pushed at the last [`Reconcile::note_remaining`].
    pub fn is_under_way(&self) -> bool {
        self.progress.is_some()
    }

    /// Notes how much remains.
    pub fn note_remaining(&mut self, remaining: Remaining) {
        if let Some(progress) = &mut self.progress {
            let unwritten = remaining.unwritten.unwrap_or(0);
            progress.done = progress.found.saturating_sub(remaining.owed + unwritten);
            let pushed = remaining.pushed_bytes.saturating_sub(self.bytes_before);
            progress.bytes_done = pushed.min(progress.bytes);
        }
        if remaining.owed == 0 && remaining.unwritten.is_none() {
            self.progress = None;
        }
    }

    /// The progress.
    pub fn progress(&self) -> Option<&ReconcileProgress> {
        self.progress.as_ref()
    }

    /// What the running reconcile has found.
    pub fn found(&self) -> Counted {
        self.progress.as_ref().map_or_else(Counted::default, |progress| Counted {
            paths: progress.found,
            deletions: progress.deletions,
            bytes: progress.bytes,
        })
    }

    /// What could not be compared, after all that was found is pushed.
    pub fn incomplete(&self) -> Option<&str> {
        let incomplete = self.incomplete.as_ref().filter(|_| self.progress.is_none());
        incomplete.map(|incomplete| incomplete.message.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn counted(paths: u64) -> Counted {
        Counted { paths, deletions: 1, bytes: 100 }
    }

    fn remaining(owed: u64, unwritten: Option<u64>, pushed_bytes: u64) -> Remaining {
        Remaining { owed, unwritten, pushed_bytes }
    }

    #[test]
    fn progress_ends_when_the_last_row_is_settled() {
        let mut reconcile = Reconcile::default();
        reconcile.compares(&ReconcileReason::Sync, counted(10));
        reconcile.counted(1_000);
        reconcile.note_remaining(remaining(4, Some(2), 1_050));
        let progress = reconcile.progress().unwrap();
        assert_eq!((progress.done, progress.bytes_done, progress.found), (4, 50, 10));
        assert!(reconcile.settles());
        reconcile.finish(None, 9);
        assert_eq!((reconcile.finished(), reconcile.reconciled_at_ms()), (1, Some(9)));
        reconcile.note_remaining(remaining(1, None, 5_000));
        assert_eq!(reconcile.progress().unwrap().bytes_done, 100, "other pushes count, too");
        reconcile.note_remaining(remaining(0, None, 5_000));
        assert!(!reconcile.is_under_way());
    }

    #[test]
    fn a_request_during_a_reconcile_is_not_settled_by_it() {
        let mut reconcile = Reconcile::default();
        reconcile.begins_after(3);
        assert_eq!(reconcile.requests_done(), (0, 3));
        for number in [4, 5] {
            reconcile.received(number);
            reconcile.request(ReconcileReason::Sync);
            reconcile.recorded(number);
            if number == 4 {
                reconcile.begins();
            }
        }
        assert!(!reconcile.settles());
        reconcile.finish(Some(ReconcileReason::Sync), 9);
        assert_eq!(reconcile.requests_done(), (5, 4));
        reconcile.begins();
        assert!(reconcile.settles(), "the second one settles it");
        reconcile.finish(None, 9);
        assert_eq!(reconcile.requests_done(), (5, 5));
        reconcile.replace_marks(ReconcileReason::Leftovers);
        assert!(!reconcile.settles(), "for another reason");
    }

    #[test]
    fn what_a_predecessor_left_undone_is_not_completed_by_its_end() {
        let mut reconcile = Reconcile::new(Some(ReconcileReason::Sync), None, None);
        reconcile.begins_after(7);
        assert_eq!(reconcile.requests_done(), (0, 0));
        reconcile.begins();
        reconcile.finish(None, 9);
        assert_eq!(reconcile.requests_done(), (0, 7));
    }

    #[test]
    fn an_incomplete_reconcile_is_retried_later_or_at_a_request() {
        let mut reconcile = Reconcile::default();
        assert!(reconcile.may_reconcile(S));
        let times = reconcile.was_incomplete("opendir failed".into(), S).map(|i| i.times);
        assert_eq!((times, reconcile.incomplete()), (Some(1), Some("opendir failed")));
        assert!(!reconcile.may_reconcile(60 * S) && reconcile.may_compare(60 * S));
        assert_eq!(reconcile.next_at(S), Some(61 * S));
        assert!(reconcile.may_reconcile(61 * S));
        reconcile.request(ReconcileReason::Sync);
        assert!(reconcile.may_reconcile(S) && reconcile.incomplete().is_none());
    }

    #[test]
    fn a_reconcile_is_reported_as_incomplete_after_its_rows_are_pushed() {
        let mut reconcile = Reconcile::default();
        reconcile.compares(&ReconcileReason::NewRemote, counted(3));
        reconcile.was_incomplete("opendir failed".into(), S);
        assert_eq!(reconcile.incomplete(), None);
        reconcile.note_remaining(remaining(0, None, 0));
        assert!(reconcile.incomplete().is_some());
    }

    #[test]
    fn an_approval_is_for_the_next_comparison_only() {
        let mut reconcile = Reconcile::default();
        reconcile.was_incomplete("x".into(), S);
        assert_eq!(reconcile.release(), None, "nothing is approved in advance");
        reconcile.hold(Held { why: "too many".into(), deletions: 7 });
        assert_eq!(
            (reconcile.approved(), reconcile.held().map(|held| held.deletions)),
            (None, Some(7))
        );
        assert_eq!(reconcile.release().map(|held| held.deletions), Some(7));
        assert_eq!((reconcile.approved(), reconcile.may_reconcile(S)), (Some(7), true));
        reconcile.forget_approval();
        assert_eq!(reconcile.approved(), None);
    }

    #[test]
    fn an_operator_who_asks_again_gets_another_comparison() {
        let held = Held { why: "too many".into(), deletions: 7 };
        let mut reconcile =
            Reconcile::new(Some(ReconcileReason::NewRemote), Some(held.clone()), None);
        // Asked twice before it has compared.
        reconcile.look_again();
        reconcile.look_again();
        assert_eq!(reconcile.held(), None);
        assert_eq!(reconcile.release(), None, "nothing is approved in advance");
        assert!(reconcile.passed() && !reconcile.passed(), "it is lifted once");
        assert_eq!(reconcile.approved(), None, "and nothing is approved by that");
        reconcile.look_again();
        assert_eq!(reconcile.release(), None, "there is nothing to release");
        reconcile.hold(held.clone());
        reconcile.look_again();
        reconcile.hold(Held { deletions: 8, ..held.clone() });
        assert_eq!(reconcile.held().map(|held| held.deletions), Some(8), "the number that counts");
        assert_eq!(reconcile.release().map(|held| held.deletions), Some(8));
    }

    #[test]
    fn a_comparison_that_was_put_off_waits() {
        let mut reconcile = Reconcile::default();
        reconcile.put_off(Some(5 * S));
        assert!(!reconcile.may_compare(4 * S) && reconcile.may_compare(5 * S));
        assert_eq!((reconcile.next_at(4 * S), reconcile.next_at(5 * S)), (Some(5 * S), None));
        reconcile.put_off(None);
        assert!(reconcile.may_compare(S));
    }
}
