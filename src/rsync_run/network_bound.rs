//! Whether the network holds an rsync: it runs, and uses little CPU time. Pure: the time is given.

use std::time::Duration;

/// An rsync that uses less than this part of the time as CPU time is held by the network, or by the other end.
const SHARE: u32 = 5;

/// What is known about one rsync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkBound {
    /// The time of the last look, and its CPU time until then.
    looked: (Duration, Duration),
    /// Since when it has been held.
    since: Option<Duration>,
}

impl NetworkBound {
    /// An rsync that starts its work at `now`.
    pub fn new(now: Duration) -> Self {
        Self { looked: (now, Duration::ZERO), since: None }
    }

    /// The rsync has used this CPU time so far. `sleeps`: it waits for neither a CPU nor a disk.
    pub fn look(&mut self, cpu: Duration, sleeps: bool, now: Duration) {
        let (before, cpu_before) = std::mem::replace(&mut self.looked, (now, cpu));
        let used = cpu.saturating_sub(cpu_before) * SHARE;
        let held = sleeps && used < now.saturating_sub(before);
        self.since = if held { Some(self.since.unwrap_or(before)) } else { None };
    }

    /// For how long it has been held.
    pub fn time(&self, now: Duration) -> Duration {
        self.since.map_or(Duration::ZERO, |since| now.saturating_sub(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn an_rsync_that_sleeps_most_of_the_time_is_held() {
        let mut held = NetworkBound::new(1_000 * MS);
        held.look(100 * MS, true, 2_000 * MS);
        assert_eq!(held.time(2_000 * MS), 1_000 * MS);
        held.look(200 * MS, true, 3_000 * MS);
        assert_eq!(held.time(3_000 * MS), 2_000 * MS);
        held.look(450 * MS, true, 4_000 * MS);
        assert_eq!(held.time(4_000 * MS), Duration::ZERO, "it works");
        held.look(460 * MS, false, 5_000 * MS);
        assert_eq!(held.time(5_000 * MS), Duration::ZERO, "it waits for the disk");
    }
}
