//! Follows the reconcile of a remote. Pure.

use crate::commands::table;
use crate::message::{PusherState, RemoteStatus};
use std::time::Duration;

/// How long a remote may be in trouble before `sync` gives up.
const TROUBLE: Duration = Duration::from_secs(10);
/// The same for a held remote: it may have been held before the request.
const HELD: Duration = Duration::from_secs(2);

/// The result for a remote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyncOutcome {
    /// Not decided yet.
    Going,
    /// Compared, and everything found is pushed.
    InSync,
    /// It failed, for this reason.
    Failed(String),
}

/// One remote that was requested to reconcile.
#[derive(Debug)]
pub struct Follow {
    /// `WATCH NAME`.
    pub name: String,
    /// The result.
    pub verdict: SyncOutcome,
    done_before: u64,
    pid: Option<u32>,
    trouble_since: Option<(PusherState, Duration)>,
}

impl Follow {
    /// Follows a remote that had completed `done_before` reconciles before the request.
    pub fn new(name: &str, done_before: u64) -> Self {
        let verdict = SyncOutcome::Going;
        Self { name: name.to_owned(), verdict, done_before, pid: None, trouble_since: None }
    }

    /// Reads the remote's status, `elapsed` after the request. `wall_ms` is the time.
    pub fn look(&mut self, now: Option<&RemoteStatus>, elapsed: Duration, wall_ms: i64) {
        if self.verdict != SyncOutcome::Going {
            return;
        }
        let Some(remote) = now else {
            self.verdict = SyncOutcome::Failed("no longer configured".into());
            return;
        };
        let pid = remote.pusher.pid.filter(|_| remote.status.state != PusherState::Down);
        if self.pid.is_some() && pid.is_some() && pid != self.pid {
            // A new pusher counts from 0, and does what the old one left undone.
            self.done_before = 0;
        }
        self.pid = pid.or(self.pid);
        self.judge(remote, elapsed, wall_ms);
    }

    fn judge(&mut self, remote: &RemoteStatus, elapsed: Duration, wall_ms: i64) {
        let s = &remote.status;
        let compared = s.reconciles_done > self.done_before && s.reconcile.is_none();
        if compared && s.state == PusherState::InSync {
            self.verdict = SyncOutcome::InSync;
            return;
        }
        // While a path is retried, the remote has no reason for waiting.
        let why = || {
            let known = s.reason.as_ref().or(s.first_failure.as_ref());
            known.cloned().unwrap_or_else(|| "see the log".into())
        };
        if compared && s.failing > 0 && s.failing == s.owed && s.waiting == 0 {
            self.verdict = SyncOutcome::Failed(format!(
                "{}: {}",
                table::count(s.failing, "path fails", "paths fail"),
                why()
            ));
            return;
        }
        // Whether the operator has repaired the cause is known when the attempt has ended. There is one attempt per
        // minute.
        let tried = s.state == PusherState::Held && s.retry_ms.is_some_and(|at| at <= wall_ms);
        if tried {
            self.trouble_since = None;
            return;
        }
        let patience = match s.state {
            PusherState::Held => HELD,
            PusherState::Backoff | PusherState::Down => TROUBLE,
            // The readable part is pushed. The pusher waits before it compares again.
            PusherState::Behind if s.incomplete => HELD,
            PusherState::InSync
            | PusherState::Behind
            | PusherState::Pushing
            | PusherState::Reconciling => {
                self.trouble_since = None;
                return;
            }
        };
        let since = match self.trouble_since {
            Some((state, since)) if state == s.state => since,
            _ => elapsed,
        };
        self.trouble_since = Some((s.state, since));
        if elapsed >= since + patience {
            self.verdict = SyncOutcome::Failed(why());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{ChildStatus, PusherStatus, ReconcileProgress};

    fn remote(state: PusherState, done: u64, pid: u32) -> RemoteStatus {
        let status = PusherStatus { state, reconciles_done: done, ..Default::default() };
        let pusher = ChildStatus { pid: Some(pid), ..Default::default() };
        RemoteStatus { name: "r".into(), status, pusher, ..RemoteStatus::default() }
    }

    const NOW: i64 = 1_000;
    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn in_sync_only_after_the_requested_reconcile() {
        let mut follow = Follow::new("/a r", 3);
        follow.look(Some(&remote(PusherState::InSync, 3, 1)), S(0), NOW);
        assert_eq!(follow.verdict, SyncOutcome::Going);
        let mut busy = remote(PusherState::Reconciling, 4, 1);
        busy.status.reconcile = Some(ReconcileProgress::default());
        follow.look(Some(&busy), S(1), NOW);
        assert_eq!(follow.verdict, SyncOutcome::Going);
        follow.look(Some(&remote(PusherState::InSync, 4, 1)), S(2), NOW);
        assert_eq!(follow.verdict, SyncOutcome::InSync);
    }

    #[test]
    fn a_restarted_pusher_counts_from_zero() {
        let mut follow = Follow::new("/a r", 3);
        follow.look(Some(&remote(PusherState::Reconciling, 3, 1)), S(0), NOW);
        follow.look(Some(&remote(PusherState::Reconciling, 0, 2)), S(1), NOW);
        follow.look(Some(&remote(PusherState::InSync, 1, 2)), S(2), NOW);
        assert_eq!(follow.verdict, SyncOutcome::InSync);
    }

    #[test]
    fn a_lasting_error_is_a_failure() {
        let mut follow = Follow::new("/a r", 0);
        follow.look(Some(&remote(PusherState::Backoff, 0, 1)), S(0), NOW);
        follow.look(Some(&remote(PusherState::Reconciling, 0, 1)), S(8), NOW);
        follow.look(Some(&remote(PusherState::Backoff, 0, 1)), S(9), NOW);
        follow.look(Some(&remote(PusherState::Backoff, 0, 1)), S(18), NOW);
        assert_eq!(follow.verdict, SyncOutcome::Going);
        let mut refused = remote(PusherState::Backoff, 0, 1);
        refused.status.reason = Some("connection refused".into());
        follow.look(Some(&refused), S(19), NOW);
        assert_eq!(follow.verdict, SyncOutcome::Failed("connection refused".into()));
    }

    #[test]
    fn held_failing_and_removed_remotes_end_the_sync() {
        let mut held = Follow::new("/a r", 0);
        held.look(Some(&remote(PusherState::Held, 0, 1)), S(0), NOW);
        assert_eq!(held.verdict, SyncOutcome::Going);
        let mut tried = remote(PusherState::Held, 0, 1);
        tried.status.retry_ms = Some(NOW);
        held.look(Some(&tried), S(9), NOW);
        assert_eq!(held.verdict, SyncOutcome::Going, "it may have been mended");
        tried.status.retry_ms = Some(NOW + 60_000);
        held.look(Some(&tried), S(10), NOW);
        held.look(Some(&tried), S(12), NOW);
        assert!(matches!(held.verdict, SyncOutcome::Failed(_)));
        let mut failing = Follow::new("/a r", 0);
        let mut status = remote(PusherState::Behind, 1, 1);
        (status.status.owed, status.status.failing) = (2, 2);
        // The remote is just being retried.
        status.status.state = PusherState::Pushing;
        status.status.first_failure = Some("f: refused".into());
        failing.look(Some(&status), S(1), NOW);
        assert_eq!(failing.verdict, SyncOutcome::Failed("2 paths fail: f: refused".into()));
        let mut blind = Follow::new("/a r", 0);
        let mut status = remote(PusherState::Behind, 0, 1);
        (status.status.incomplete, status.status.reason) = (true, Some("cannot read d".into()));
        blind.look(Some(&status), S(1), NOW);
        blind.look(Some(&status), S(3), NOW);
        assert_eq!(blind.verdict, SyncOutcome::Failed("cannot read d".into()));
        let mut gone = Follow::new("/a r", 0);
        gone.look(None, S(1), NOW);
        assert!(matches!(gone.verdict, SyncOutcome::Failed(_)));
    }
}
