//! Follows the reconcile of a remote. Pure.

use crate::help_topic::HelpTopic;
use crate::language::{counted, say, words};
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
    /// The section of docs/troubleshooting.md for a failure.
    pub help: Option<HelpTopic>,
    /// The supervisor's number for the request, once a status shows it.
    request: Option<u64>,
    trouble_since: Option<(PusherState, Duration)>,
}

impl Follow {
    /// Follows a remote after the request.
    pub fn new(name: &str) -> Self {
        let verdict = SyncOutcome::Going;
        let (help, request, trouble_since) = (None, None, None);
        Self { name: name.to_owned(), verdict, help, request, trouble_since }
    }

    /// Reads the remote's status, `elapsed` after the request. `wall_ms` is the time.
    pub fn look(&mut self, now: Option<&RemoteStatus>, elapsed: Duration, wall_ms: i64) {
        if self.verdict != SyncOutcome::Going {
            return;
        }
        let Some(remote) = now else {
            self.verdict = SyncOutcome::Failed(say!("no longer configured"));
            return;
        };
        // The first status after the request counts it, and perhaps another client's, too.
        let request = *self.request.get_or_insert(remote.requests);
        if request == 0 {
            let why =
                "the supervisor does not count its requests: it is of another version; restart it";
            self.verdict = SyncOutcome::Failed(why.into());
            return;
        }
        self.judge(remote, request, elapsed, wall_ms);
        if matches!(self.verdict, SyncOutcome::Failed(_)) {
            self.help = remote.status.help;
        }
    }

    fn judge(&mut self, remote: &RemoteStatus, request: u64, elapsed: Duration, wall_ms: i64) {
        let s = &remote.status;
        let compared = s.requests_completed >= request && s.reconcile.is_none();
        if compared && s.state == PusherState::InSync {
            self.verdict = SyncOutcome::InSync;
            return;
        }
        // While a path is retried, the remote has no reason for waiting.
        let why = || {
            let known = s.reason.as_ref().or(s.first_failure.as_ref());
            known.cloned().unwrap_or_else(|| say!("see the log"))
        };
        if compared && s.failing > 0 && s.failing == s.owed && s.waiting == 0 {
            self.verdict = SyncOutcome::Failed(format!(
                "{}: {}",
                counted(s.failing, words::PATHS_FAIL),
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
    use crate::message::{PusherStatus, ReconcileProgress};

    /// A remote with these numbers of the last request that is completed, and of the last one.
    fn remote(state: PusherState, requests_completed: u64, requests: u64) -> RemoteStatus {
        let status = PusherStatus { state, requests_completed, ..Default::default() };
        RemoteStatus { name: "r".into(), status, requests, ..RemoteStatus::default() }
    }

    const NOW: i64 = 1_000;
    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn in_sync_only_after_the_requested_reconcile() {
        let mut follow = Follow::new("/a r");
        // Another one was running when this one was requested.
        let mut busy = remote(PusherState::Reconciling, 2, 4);
        busy.status.reconcile = Some(ReconcileProgress::default());
        follow.look(Some(&busy), S(0), NOW);
        follow.look(Some(&remote(PusherState::InSync, 3, 4)), S(1), NOW);
        assert_eq!(follow.verdict, SyncOutcome::Going);
        // Another client's request need not be completed.
        follow.look(Some(&remote(PusherState::InSync, 4, 5)), S(2), NOW);
        assert_eq!(follow.verdict, SyncOutcome::InSync);
    }

    #[test]
    fn a_restarted_pusher_completes_what_was_requested() {
        let mut follow = Follow::new("/a r");
        follow.look(Some(&remote(PusherState::Reconciling, 3, 4)), S(0), NOW);
        follow.look(Some(&remote(PusherState::InSync, 0, 4)), S(1), NOW);
        assert_eq!(follow.verdict, SyncOutcome::Going);
        follow.look(Some(&remote(PusherState::InSync, 4, 4)), S(2), NOW);
        assert_eq!(follow.verdict, SyncOutcome::InSync);
    }

    #[test]
    fn a_supervisor_that_does_not_count_is_refused() {
        let mut follow = Follow::new("/a r");
        follow.look(Some(&remote(PusherState::InSync, 0, 0)), S(0), NOW);
        assert!(matches!(follow.verdict, SyncOutcome::Failed(_)));
    }

    #[test]
    fn a_lasting_error_is_a_failure() {
        let mut follow = Follow::new("/a r");
        follow.look(Some(&remote(PusherState::Backoff, 0, 1)), S(0), NOW);
        follow.look(Some(&remote(PusherState::Reconciling, 0, 1)), S(8), NOW);
        follow.look(Some(&remote(PusherState::Backoff, 0, 1)), S(9), NOW);
        follow.look(Some(&remote(PusherState::Backoff, 0, 1)), S(18), NOW);
        assert_eq!(follow.verdict, SyncOutcome::Going);
        let mut refused = remote(PusherState::Backoff, 0, 1);
        refused.status.reason = Some("connection refused".into());
        refused.status.help = Some(HelpTopic::Unreachable);
        follow.look(Some(&refused), S(19), NOW);
        assert_eq!(follow.help, refused.status.help);
        assert_eq!(follow.verdict, SyncOutcome::Failed("connection refused".into()));
    }

    #[test]
    fn held_failing_and_removed_remotes_end_the_sync() {
        let mut held = Follow::new("/a r");
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
        let mut failing = Follow::new("/a r");
        let mut status = remote(PusherState::Behind, 1, 1);
        (status.status.owed, status.status.failing) = (2, 2);
        // The remote is just being retried.
        status.status.state = PusherState::Pushing;
        status.status.first_failure = Some("f: refused".into());
        failing.look(Some(&status), S(1), NOW);
        assert_eq!(failing.verdict, SyncOutcome::Failed("2 paths fail: f: refused".into()));
        let mut blind = Follow::new("/a r");
        let mut status = remote(PusherState::Behind, 0, 1);
        (status.status.incomplete, status.status.reason) = (true, Some("cannot read d".into()));
        blind.look(Some(&status), S(1), NOW);
        blind.look(Some(&status), S(3), NOW);
        assert_eq!(blind.verdict, SyncOutcome::Failed("cannot read d".into()));
        let mut gone = Follow::new("/a r");
        gone.look(None, S(1), NOW);
        assert!(matches!(gone.verdict, SyncOutcome::Failed(_)));
    }
}
