//! When a child sends heartbeats, and when it rests. Pure: the time is given.
//!
//! The supervisor kills a child that is silent for too long. A child that has nothing to do rests: it says so once,
//! sleeps until something wakes it, and sends no heartbeats meanwhile. It sends one when it wakes, before it does
//! anything that may take long.

use super::ALIVE_EVERY_MS;
use std::time::Duration;

/// The interval between heartbeats.
const EVERY: Duration = Duration::from_millis(ALIVE_EVERY_MS);

/// What the supervisor heard last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    /// Another message than a heartbeat.
    News,
    /// A heartbeat.
    Beat,
    /// That the child rests.
    Rest,
}

/// The heartbeats of one child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulse {
    heard: Heard,
    /// The time of the last message.
    at: Duration,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { heard: Heard::News, at: Duration::ZERO }
    }
}

impl Pulse {
    /// A message was sent that is no heartbeat.
    pub fn sent(&mut self, now: Duration) {
        *self = Self { heard: Heard::News, at: now };
    }

    /// The child works. True if a heartbeat is due. It is then sent.
    pub fn beats(&mut self, now: Duration) -> bool {
        let due = now >= self.at + EVERY;
        if due {
            *self = Self { heard: Heard::Beat, at: now };
        }
        due
    }

    /// The child has nothing to do. True if it must say that it rests: it has had nothing to do since its last heartbeat.
    pub fn rests(&mut self, now: Duration) -> bool {
        let new = self.heard == Heard::Beat;
        if new {
            *self = Self { heard: Heard::Rest, at: now };
        }
        new
    }

    /// Something has woken the child. True if it rested. A heartbeat is then sent.
    pub fn wakes(&mut self, now: Duration) -> bool {
        let rested = self.is_resting();
        if rested {
            *self = Self { heard: Heard::Beat, at: now };
        }
        rested
    }

    /// True if the child has said that it rests.
    pub fn is_resting(&self) -> bool {
        self.heard == Heard::Rest
    }

    /// When the next heartbeat is due. `None` while the child rests.
    pub fn next_at(&self) -> Option<Duration> {
        (!self.is_resting()).then_some(self.at + EVERY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn a_child_without_work_beats_once_more_and_rests() {
        let mut pulse = Pulse::default();
        pulse.sent(S);
        assert!(!pulse.rests(S) && !pulse.beats(2 * S) && pulse.next_at() == Some(3 * S));
        assert!(pulse.beats(3 * S) && pulse.rests(3 * S) && !pulse.rests(9 * S));
        assert!(pulse.is_resting() && pulse.next_at().is_none());
        assert!(pulse.wakes(60 * S) && !pulse.wakes(60 * S));
        assert!(pulse.rests(60 * S), "it was woken for nothing");
    }

    #[test]
    fn long_work_that_a_timer_begins_sends_heartbeats() {
        let mut pulse = Pulse::default();
        assert!(pulse.beats(5 * S) && pulse.rests(5 * S));
        assert!(pulse.beats(60 * S) && !pulse.beats(61 * S) && !pulse.is_resting());
    }
}
