//! How long an rsync waits for the other end's first answer. Pure.

use std::time::Duration;

/// How long an rsync waits for the first answer of the other end before it is killed. A slave that accepts connections
/// and does not answer is detected long before the timeout. For a slave that is only slow (a slow name server, a
/// `pre-xfer exec`), the wait grows with each attempt, up to the timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience(Duration);

/// How an rsync's wait for the first answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// The other end answered after this time.
    For(Duration),
    /// The rsync was killed without an answer.
    InVain,
    /// The rsync exited by itself, with a reason.
    Unknown,
}

impl Default for Patience {
    fn default() -> Self {
        Self(Self::FIRST)
    }
}

impl Patience {
    /// The wait when nothing is known. A connection takes up to 10 s of this time.
    const FIRST: Duration = Duration::from_secs(20);

    /// The wait of an rsync that is not retried: its whole timeout.
    pub const FOR_THE_TIMEOUT: Patience = Patience(Duration::MAX);

    /// How long to wait with a timeout of `timeout`.
    pub fn limit(self, timeout: Duration) -> Duration {
        self.0.min(timeout)
    }

    /// The wait of the next attempt.
    #[must_use]
    pub fn after(self, waited: Waited, timeout: Duration) -> Patience {
        match waited {
            Waited::For(time) if time <= Self::FIRST / 2 => Self::default(),
            Waited::InVain => Self((self.0 * 2).min(timeout.max(Self::FIRST))),
            Waited::For(_) | Waited::Unknown => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_slave_is_given_up_early_and_a_slow_one_is_not() {
        let (timeout, s) = (Duration::from_secs(100), Duration::from_secs);
        let mut patience = Patience::default();
        assert_eq!((patience.limit(timeout), patience.limit(s(5))), (s(20), s(5)));
        for wait in [40, 80, 100, 100] {
            patience = patience.after(Waited::InVain, timeout);
            assert_eq!(patience.limit(timeout), s(wait));
        }
        assert_eq!(patience.after(Waited::For(s(30)), timeout), patience);
        assert_eq!(patience.after(Waited::Unknown, timeout), patience);
        assert_eq!(patience.after(Waited::For(s(1)), timeout), Patience::default());
    }
}
