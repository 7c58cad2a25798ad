//! Whether the port of a remote in trouble answers. Pure: the time is given.
//!
//! A remote that does not answer is retried at growing intervals, up to a minute. Meanwhile its port is tried every
//! second, which costs almost nothing, and the first answer ends the wait. A port that answers while pushes still fail
//! is no reason to retry sooner.

use crate::rsync::exit_status::Trouble;
use std::time::Duration;

/// The interval between two tries.
const EVERY: Duration = Duration::from_secs(1);

/// What is known about the port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Port {
    /// Nothing.
    #[default]
    Unknown,
    /// It does not answer.
    Silent,
    /// It answers.
    Answers,
}

/// The port of one remote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    port: Port,
    /// The time of the next try. `None` while a try runs, and when there is nothing to find out.
    next: Option<Duration>,
}

impl Reach {
    /// A job has failed because of this trouble.
    pub fn failed(&mut self, trouble: Trouble, now: Duration) {
        match trouble {
            Trouble::Unreachable if self.port == Port::Unknown => self.port = Port::Silent,
            Trouble::Unreachable | Trouble::Broken => {}
            Trouble::ConnectionLimited | Trouble::Killed | Trouble::Full | Trouble::Storage => {
                self.next = None;
                return;
            }
        }
        self.next = Some(now + EVERY);
    }

    /// The remote works.
    pub fn works(&mut self) {
        *self = Self::default();
    }

    /// True if the port must be tried now. A try then runs.
    pub fn begins(&mut self, now: Duration) -> bool {
        self.next.take_if(|next| now >= *next).is_some()
    }

    /// A try has ended. Returns true if the port answers again.
    pub fn tried(&mut self, answers: bool, now: Duration) -> bool {
        let port = if answers { Port::Answers } else { Port::Silent };
        let before = std::mem::replace(&mut self.port, port);
        self.next = Some(now + EVERY);
        before == Port::Silent && answers
    }

    /// When the port is tried next.
    pub fn next_at(&self) -> Option<Duration> {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn the_first_answer_of_a_silent_port_ends_the_wait() {
        let mut reach = Reach::default();
        assert!(reach.next_at().is_none() && !reach.begins(S));
        reach.failed(Trouble::Unreachable, S);
        assert!(!reach.begins(S) && reach.begins(2 * S));
        assert!(!reach.begins(9 * S), "one try at a time");
        assert!(!reach.tried(false, 9 * S) && reach.begins(10 * S));
        assert!(reach.tried(true, 10 * S));
        assert!(!reach.tried(true, 11 * S), "it answered before");
        reach.works();
        assert_eq!(reach, Reach::default());
    }

    #[test]
    fn a_port_that_answers_while_pushes_fail_ends_no_wait() {
        let mut reach = Reach::default();
        reach.failed(Trouble::Broken, S);
        assert!(reach.begins(2 * S) && !reach.tried(true, 2 * S), "it may never have been silent");
        reach.failed(Trouble::Unreachable, 3 * S);
        assert!(reach.begins(4 * S) && !reach.tried(true, 4 * S));
        assert!(!reach.tried(false, 5 * S) && reach.tried(true, 6 * S));
        reach.failed(Trouble::Full, 7 * S);
        assert!(reach.next_at().is_none(), "a full disk is not found out by its port");
    }
}
