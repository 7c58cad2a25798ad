//! Whether the root lets the pusher work. Pure: the time is given.

use std::time::Duration;

/// A root that this process found gone is looked for this often.
const ROOT_RETRY: Duration = Duration::from_secs(1);

/// What is known of the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The watcher has not looked at it yet: it may be another one than before the last boot.
    AwaitingRoot,
    /// Nothing is pushed, for this reason.
    Held {
        /// Why.
        why: String,
        /// When it ends by itself: this process found the root gone. Without it the watcher ends it.
        retry: Option<Duration>,
    },
    /// It is the one that was watched before.
    Running,
}

impl Phase {
    /// The watcher holds the localpath for a reason, or lets it go.
    pub fn told(&mut self, hold: Option<String>) {
        *self = match hold {
            Some(why) => Phase::Held { why, retry: None },
            None => Phase::Running,
        };
    }

    /// An rsync could not be started in the root; true when that is news.
    pub fn root_gone(&mut self, why: String, now: Duration) -> bool {
        let news = self.held() != Some(&why);
        match self {
            // The watcher ends what it began.
            Phase::Held { retry: None, .. } => return false,
            Phase::AwaitingRoot | Phase::Held { .. } | Phase::Running => {
                *self = Phase::Held { why, retry: Some(now + ROOT_RETRY) };
            }
        }
        news
    }

    /// Lets it be looked for again when it is time; true when it was.
    pub fn retry(&mut self, now: Duration) -> bool {
        let due = self.next_retry().is_some_and(|at| now >= at);
        if due {
            *self = Phase::Running;
        }
        due
    }

    /// When [`Phase::retry`] has something to do.
    pub fn next_retry(&self) -> Option<Duration> {
        match self {
            Phase::Held { retry, .. } => *retry,
            Phase::AwaitingRoot | Phase::Running => None,
        }
    }

    /// Why nothing is pushed, while it is held.
    pub fn held(&self) -> Option<&str> {
        match self {
            Phase::Held { why, .. } => Some(why),
            Phase::AwaitingRoot | Phase::Running => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn the_watcher_begins_and_ends_a_hold() {
        let mut phase = Phase::AwaitingRoot;
        phase.told(Some("unmounted".into()));
        assert_eq!((phase.held(), phase.next_retry()), (Some("unmounted"), None));
        assert!(!phase.retry(99 * S) && !phase.root_gone("gone".into(), S), "the watcher ends it");
        assert_eq!(phase.held(), Some("unmounted"));
        phase.told(None);
        assert_eq!(phase, Phase::Running);
    }

    #[test]
    fn a_root_that_is_gone_is_looked_for_again() {
        let mut phase = Phase::Running;
        assert!(phase.root_gone("gone".into(), S));
        assert_eq!(phase.next_retry(), Some(2 * S));
        assert!(!phase.retry(S) && phase.retry(2 * S));
        assert_eq!((phase.held(), phase.next_retry()), (None, None));
        assert!(phase.root_gone("gone".into(), 3 * S) && !phase.root_gone("gone".into(), 4 * S));
        phase.told(Some("held".into()));
        assert_eq!(phase.next_retry(), None);
    }
}
