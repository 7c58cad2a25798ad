//! Whether the pusher works, is held or stops. Pure: the time is given.

use crate::help_topic::Reason;
use std::time::Duration;

/// The interval at which a root that this process found missing is looked for.
const ROOT_RETRY: Duration = Duration::from_secs(1);

/// What the pusher may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The watcher has not checked the root yet. It may not be the one that was there before the last boot.
    AwaitingRoot,
    /// Nothing is pushed, for this reason.
    Held {
        /// Why.
        reason: Reason,
        /// When the hold ends by itself, if this process found the root missing. `None` if the watcher ends it.
        retry: Option<Duration>,
    },
    /// The root is the one that was watched before.
    Running,
    /// The process exits when the push in flight has ended, or at this time.
    Stopping {
        /// The deadline.
        until: Duration,
        /// Why.
        cause: StopCause,
    },
}

/// Why a pusher stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopCause {
    /// The supervisor or a signal told it to.
    Requested,
    /// The supervisor is gone.
    Orphaned,
}

impl Phase {
    /// The watcher holds the localpath for a reason, or ends the hold.
    pub fn set_hold(&mut self, hold: Option<Reason>) {
        *self = match (&self, hold) {
            (Phase::Stopping { .. }, _) => return,
            (_, Some(reason)) => Phase::Held { reason, retry: None },
            (_, None) => Phase::Running,
        };
    }

    /// The process must stop at `until` at the latest.
    pub fn stop(&mut self, until: Duration, cause: StopCause) {
        *self = match self {
            Phase::Stopping { until: old, cause: StopCause::Orphaned } => {
                Phase::Stopping { until: until.min(*old), cause: StopCause::Orphaned }
            }
            Phase::Stopping { until: old, cause: StopCause::Requested } => {
                Phase::Stopping { until: until.min(*old), cause }
            }
            Phase::AwaitingRoot | Phase::Held { .. } | Phase::Running => {
                Phase::Stopping { until, cause }
            }
        };
    }

    /// True while the process stops.
    pub fn is_stopping(&self) -> bool {
        matches!(self, Phase::Stopping { .. })
    }

    /// True if the supervisor is gone.
    pub fn is_orphaned(&self) -> bool {
        matches!(self, Phase::Stopping { cause: StopCause::Orphaned, .. })
    }

    /// An rsync could not be started in the root. Returns true if the reason is new.
    pub fn root_gone(&mut self, reason: Reason, now: Duration) -> bool {
        let news = self.held() != Some(&reason);
        match self {
            // Only the watcher ends a hold that it began.
            Phase::Held { retry: None, .. } | Phase::Stopping { .. } => return false,
            Phase::AwaitingRoot | Phase::Held { .. } | Phase::Running => {
                *self = Phase::Held { reason, retry: Some(now + ROOT_RETRY) };
            }
        }
        news
    }

    /// Ends a hold whose time is over, so that the root is looked for again. Returns true if it did.
    pub fn retry(&mut self, now: Duration) -> bool {
        let due = !self.is_stopping() && self.next_at().is_some_and(|at| now >= at);
        if due {
            *self = Phase::Running;
        }
        due
    }

    /// When the phase ends by itself.
    pub fn next_at(&self) -> Option<Duration> {
        match self {
            Phase::Held { retry, .. } => *retry,
            Phase::Stopping { until, .. } => Some(*until),
            Phase::AwaitingRoot | Phase::Running => None,
        }
    }

    /// Why nothing is pushed, while it is held.
    pub fn held(&self) -> Option<&Reason> {
        match self {
            Phase::Held { reason, .. } => Some(reason),
            Phase::AwaitingRoot | Phase::Running | Phase::Stopping { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::help_topic::HelpTopic;

    fn reason(why: &str) -> Reason {
        Reason::new(HelpTopic::RootGone, why)
    }

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn the_watcher_begins_and_ends_a_hold() {
        let mut phase = Phase::AwaitingRoot;
        phase.set_hold(Some(reason("unmounted")));
        assert_eq!((phase.held(), phase.next_at()), (Some(&reason("unmounted")), None));
        assert!(
            !phase.retry(99 * S) && !phase.root_gone(reason("gone"), S),
            "only the watcher ends it"
        );
        assert_eq!(phase.held(), Some(&reason("unmounted")));
        phase.set_hold(None);
        assert_eq!(phase, Phase::Running);
    }

    #[test]
    fn a_root_that_is_gone_is_looked_for_again() {
        let mut phase = Phase::Running;
        assert!(phase.root_gone(reason("gone"), S));
        assert_eq!(phase.next_at(), Some(2 * S));
        assert!(!phase.retry(S) && phase.retry(2 * S));
        assert_eq!((phase.held(), phase.next_at()), (None, None));
        assert!(phase.root_gone(reason("gone"), 3 * S) && !phase.root_gone(reason("gone"), 4 * S));
        phase.set_hold(Some(reason("held")));
        assert_eq!(phase.next_at(), None);
    }

    #[test]
    fn a_stop_is_final_and_only_comes_sooner() {
        let mut phase = Phase::Running;
        phase.stop(9 * S, StopCause::Requested);
        phase.set_hold(Some(reason("unmounted")));
        assert!(!phase.retry(10 * S) && !phase.root_gone(reason("gone"), S));
        assert!(phase.is_stopping() && !phase.is_orphaned() && phase.held().is_none());
        phase.stop(3 * S, StopCause::Orphaned);
        phase.stop(5 * S, StopCause::Requested);
        assert_eq!(phase.next_at(), Some(3 * S));
        assert!(phase.is_orphaned());
    }
}
