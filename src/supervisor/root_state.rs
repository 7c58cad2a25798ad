//! The findings of a localpath's watchers about its root. Pure.

use crate::help_topic::Reason;
use crate::message::WatcherState;

/// Whether files of the root may be pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootState {
    /// No watcher has examined it yet: pushers wait.
    Unknown,
    /// It has been held since the start, and why.
    HeldFromStart(Reason),
    /// It is the root that was watched before.
    Accepted,
    /// It was accepted before and is now held, and why.
    Held(Reason),
}

impl RootState {
    /// The next state after a watcher's message.
    pub fn after(&self, said: &WatcherState) -> RootState {
        match said {
            // A new watcher has not examined it yet; a full disk gives no information about it.
            WatcherState::Starting | WatcherState::Refused(_) => self.clone(),
            WatcherState::Scanning | WatcherState::Watching | WatcherState::Degraded(_) => {
                RootState::Accepted
            }
            WatcherState::Held(why) => match self {
                RootState::Unknown | RootState::HeldFromStart(_) => {
                    RootState::HeldFromStart(why.clone())
                }
                RootState::Accepted | RootState::Held(_) => RootState::Held(why.clone()),
            },
        }
    }

    /// Why it is held.
    pub fn held(&self) -> Option<&Reason> {
        match self {
            RootState::HeldFromStart(why) | RootState::Held(why) => Some(why),
            RootState::Unknown | RootState::Accepted => None,
        }
    }

    /// The contents of `Hold` for a pusher and the plugin runner. `None` while nothing is known, so that they wait.
    pub fn hold(&self) -> Option<Option<Reason>> {
        match self {
            RootState::Unknown => None,
            RootState::Accepted => Some(None),
            RootState::HeldFromStart(why) | RootState::Held(why) => Some(Some(why.clone())),
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

    #[test]
    fn each_transition_is_correct() {
        use RootState::{Accepted, Held, HeldFromStart, Unknown};
        let all = [Unknown, HeldFromStart(reason("a")), Accepted, Held(reason("a"))];
        for state in &all {
            for same in [WatcherState::Starting, WatcherState::Refused("full".to_owned())] {
                assert_eq!(state.after(&same), *state, "{same:?}");
            }
            for good in [
                WatcherState::Scanning,
                WatcherState::Watching,
                WatcherState::Degraded(reason("d")),
            ] {
                assert_eq!(state.after(&good), Accepted, "{good:?}");
            }
        }
        let held = all.map(|state| state.after(&WatcherState::Held(reason("b"))));
        let b = reason("b");
        assert_eq!(
            held,
            [HeldFromStart(b.clone()), HeldFromStart(b.clone()), Held(b.clone()), Held(b)]
        );
    }

    #[test]
    fn pushers_wait_until_the_root_is_known() {
        assert_eq!(RootState::Unknown.hold(), None);
        assert_eq!(RootState::Accepted.hold(), Some(None));
        let held = RootState::Held(reason("gone"));
        assert_eq!((held.hold(), held.held()), (Some(Some(reason("gone"))), Some(&reason("gone"))));
    }
}
