//! The status of a pusher. Pure.

use super::health::Health;
use super::phase::Phase;
use super::remote_state::RemoteState;
use crate::help_topic::{HelpTopic, Reason};
use crate::journal::{Backlog, Held};
use crate::message::{PusherState, PusherStatus, ReconcileProgress, StandbyStatus, VerifyProgress};
use crate::reconcile_reason::ReconcileReason;

const WAITS_FOR_SLOT: &str = "waits for a slot (-n)";

/// Everything that a status is computed from.
#[derive(Debug)]
pub struct StatusView<'a> {
    /// Whether the pusher may work.
    pub phase: &'a Phase,
    /// Whether the remote answers.
    pub health: &'a Health,
    /// The remote's row.
    pub remote_state: &'a RemoteState,
    /// Why a reconcile is requested.
    pub wanted: Option<&'a ReconcileReason>,
    /// What the delete guard holds.
    pub held: Option<&'a Held>,
    /// The marks and owed rows that wait.
    pub backlog: Backlog,
    /// When the remote may be tried again, on the wall clock, while it is in trouble.
    pub retry_ms: Option<i64>,
    /// The message of a failing path.
    pub first_failure: Option<String>,
    /// A push is in flight.
    pub pushing: bool,
    /// A job waits for a slot.
    pub waits_for_slot: bool,
    /// A reconcile is under way, or what it found is being pushed.
    pub reconcile: Option<ReconcileProgress>,
    /// What the last reconcile could not read, until it is repeated.
    pub incomplete: Option<&'a str>,
    /// Why the remote may have lost data, until that is checked.
    pub doubt: Option<&'a str>,
    /// Reconciles completed since the start.
    pub reconciles_done: u64,
    /// The supervisor's last requests: recorded, completed.
    pub requests_done: (u64, u64),
    /// Batches pushed since the start.
    pub pushes: u64,
    /// The progress of the scrub.
    pub verify: Option<VerifyProgress>,
    /// The rsync that waits for the next push.
    pub standby: StandbyStatus,
}

/// The status.
pub fn status(view: StatusView<'_>) -> PusherStatus {
    let (state, reason) = state(&view);
    let failing = (view.backlog.failing > 0).then_some(HelpTopic::FailingPaths);
    let help = help(&view).or(failing);
    // No remote is retried while the localpath is held.
    let retry_ms = view.retry_ms.filter(|_| view.phase.held().is_none());
    PusherStatus {
        state,
        reason,
        help,
        first_failure: view.first_failure,
        retry_ms,
        waiting: view.backlog.waiting,
        owed: view.backlog.owed,
        failing: view.backlog.failing,
        oldest_ms: view.backlog.oldest_ms,
        last_success_ms: view.remote_state.last_success_ms,
        pushed_files: view.remote_state.totals.files,
        pushed_bytes: view.remote_state.totals.bytes,
        deleted: view.remote_state.totals.deleted,
        held_deletions: view.held.map(|held| held.deletions),
        incomplete: view.incomplete.is_some(),
        reconcile: view.reconcile,
        reconciles_done: view.reconciles_done,
        requests_recorded: view.requests_done.0,
        requests_completed: view.requests_done.1,
        pushes: view.pushes,
        verify: view.verify,
        standby: view.standby,
    }
}

fn state(view: &StatusView<'_>) -> (PusherState, Option<String>) {
    let reason = |message: &str| Some(message.to_owned());
    if let Some(held) = view.phase.held() {
        return (PusherState::Held, reason(&held.why));
    }
    match view.health {
        Health::Misconfigured { reason: why, .. } => return (PusherState::Held, reason(&why.why)),
        Health::Backoff { reason: why, .. } => return (PusherState::Backoff, reason(&why.why)),
        Health::Good => {}
    }
    if let Some(held) = view.held {
        return (PusherState::Held, reason(&held.why));
    }
    if *view.phase == Phase::AwaitingRoot {
        return (PusherState::Behind, reason("waiting for the watcher to check the localpath"));
    }
    if view.reconcile.is_some() && view.incomplete.is_none() {
        let why = view.wanted.map(ReconcileReason::to_string);
        return (PusherState::Reconciling, why);
    }
    if view.pushing {
        return (PusherState::Pushing, None);
    }
    if let Some(message) = view.incomplete {
        return (PusherState::Behind, Some(format!("reconcile incomplete: {message}")));
    }
    if view.backlog.waiting + view.backlog.owed > 0 {
        let waits = view.waits_for_slot.then(|| WAITS_FOR_SLOT.to_owned());
        return (PusherState::Behind, view.first_failure.clone().or(waits));
    }
    if let Some(message) = view.doubt {
        return (PusherState::Behind, reason(message));
    }
    (PusherState::InSync, None)
}

/// The section of docs/troubleshooting.md for what keeps the remote from being in sync.
fn help(view: &StatusView<'_>) -> Option<HelpTopic> {
    let reason: Option<&Reason> = view.phase.held().or(view.health.reason());
    let guard = view.held.map(|_| HelpTopic::Guard);
    let incomplete = view.incomplete.map(|_| HelpTopic::Incomplete);
    reason.map(|reason| reason.help).or(guard).or(incomplete)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pusher::health::MetBy;
    use std::time::Duration;

    fn view<'a>(
        health: &'a Health,
        remote_state: &'a RemoteState,
        backlog: Backlog,
    ) -> StatusView<'a> {
        StatusView {
            phase: &Phase::Running,
            retry_ms: None,
            health,
            remote_state,
            wanted: None,
            held: None,
            backlog,
            first_failure: None,
            pushing: false,
            waits_for_slot: false,
            reconcile: None,
            incomplete: None,
            doubt: None,
            reconciles_done: 0,
            requests_done: (0, 0),
            pushes: 0,
            verify: None,
            standby: StandbyStatus::None,
        }
    }

    #[test]
    fn a_remote_is_in_sync_only_if_nothing_waits() {
        let remote_state = RemoteState::default();
        let good = Health::Good;
        assert_eq!(
            status(view(&good, &remote_state, Backlog::default())).state,
            PusherState::InSync
        );
        let backlog = Backlog { waiting: 1, ..Backlog::default() };
        assert_eq!(status(view(&good, &remote_state, backlog)).state, PusherState::Behind);
        let refused = Reason::new(HelpTopic::Unreachable, "refused");
        let down = good.after_trouble(Duration::ZERO, Duration::ZERO, refused.clone(), MetBy::Push);
        let status = status(view(&down, &remote_state, backlog));
        assert_eq!(
            (status.state, status.reason.as_deref(), status.help),
            (PusherState::Backoff, Some("refused"), Some(HelpTopic::Unreachable))
        );
    }

    #[test]
    fn a_remote_that_waits_for_a_slot_says_so() {
        let (remote_state, good) = (RemoteState::default(), Health::Good);
        let backlog = Backlog { waiting: 1, ..Backlog::default() };
        let mut view = view(&good, &remote_state, backlog);
        view.waits_for_slot = true;
        let status = status(view);
        assert_eq!(
            (status.state, status.reason.as_deref()),
            (PusherState::Behind, Some(WAITS_FOR_SLOT))
        );
    }

    #[test]
    fn a_remote_that_may_have_lost_data_is_behind() {
        let (remote_state, good) = (RemoteState::default(), Health::Good);
        let mut view = view(&good, &remote_state, Backlog::default());
        view.doubt = Some("comparing the names");
        let status = status(view);
        assert_eq!(status.state, PusherState::Behind);
        assert_eq!(status.reason.as_deref(), Some("comparing the names"));
    }

    #[test]
    fn an_incomplete_reconcile_is_reported() {
        let remote_state = RemoteState::default();
        let good = Health::Good;
        let mut view = view(&good, &remote_state, Backlog::default());
        view.reconcile = Some(ReconcileProgress::default());
        view.incomplete = Some("opendir \"d\" failed");
        let status = status(view);
        assert!(status.state == PusherState::Behind && status.incomplete);
        assert!(status.reason.unwrap().contains("opendir"));
    }

    #[test]
    fn the_help_is_that_of_the_reason() {
        let (remote_state, good) = (RemoteState::default(), Health::Good);
        let failing = Backlog { owed: 2, failing: 1, ..Backlog::default() };
        assert_eq!(status(view(&good, &remote_state, failing)).help, Some(HelpTopic::FailingPaths));
        assert_eq!(status(view(&good, &remote_state, Backlog::default())).help, None);
        let held = Held { why: "would delete 9".into(), deletions: 9 };
        let guarded = |health| StatusView {
            held: Some(&held),
            incomplete: Some("opendir"),
            ..view(health, &remote_state, failing)
        };
        assert_eq!(status(guarded(&good)).help, Some(HelpTopic::Guard));
        let refused = Reason::new(HelpTopic::Password, "auth failed");
        let wrong = good.after_refusal(Duration::ZERO, refused, MetBy::Push);
        assert_eq!(status(guarded(&wrong)).help, Some(HelpTopic::Password));
        let gone = Reason::new(HelpTopic::RootGone, "gone");
        let phase = Phase::Held { reason: gone, retry: None };
        let away = status(StatusView { phase: &phase, ..guarded(&wrong) });
        assert_eq!(
            (away.state, away.reason.as_deref(), away.help),
            (PusherState::Held, Some("gone"), Some(HelpTopic::RootGone))
        );
        let incomplete =
            StatusView { incomplete: Some("x"), ..view(&good, &remote_state, failing) };
        assert_eq!(status(incomplete).help, Some(HelpTopic::Incomplete));
    }
}
