//! The lag of each remote and the bytes sent over the last hour, in memory. Pure.

use crate::message::{InstanceStatus, PusherState, RemoteStatus};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// The number of points in an hour.
pub const POINTS: usize = 360;
/// The time of one point.
const STEP: Duration = Duration::from_secs(10);
/// The throughput is that of this time.
const RECENT: Duration = Duration::from_secs(10);

/// The rings of all remotes. The age of a point is its distance from the end.
#[derive(Clone, Debug, Default)]
pub struct History {
    rings: BTreeMap<(Vec<u8>, String), Ring>,
    /// The bytes sent to all remotes within each point.
    sent: VecDeque<Option<u64>>,
    step: Option<u64>,
}

/// One remote.
#[derive(Clone, Debug, Default)]
struct Ring {
    lag: VecDeque<Option<u32>>,
    /// When it had sent how many bytes in total, the oldest first: what is recent, and one before that.
    totals: VecDeque<(Duration, u64)>,
}

impl History {
    /// Records the lag and the total of every remote at `now` on a monotonic clock. A point is the largest lag within
    /// its time. Remotes that are gone are dropped.
    pub fn note(&mut self, status: &InstanceStatus, now: Duration) {
        let step = now.as_secs() / STEP.as_secs();
        let passed = step.saturating_sub(self.step.unwrap_or(step));
        self.step = Some(step);
        // Time without a status is a gap.
        let passed = (passed as usize).min(POINTS);
        let mut old = std::mem::take(&mut self.rings);
        let mut sent = 0;
        for localpath in &status.localpaths {
            for remote in &localpath.remotes {
                let key = (localpath.watch.as_bytes().to_vec(), remote.name.clone());
                let mut ring = old.remove(&key).unwrap_or_default();
                let lag = u32::try_from(remote.lag_ms).unwrap_or(u32::MAX);
                push(&mut ring.lag, passed, |last| last.unwrap_or(0).max(lag));
                sent += ring.total(remote, now);
                self.rings.insert(key, ring);
            }
        }
        push(&mut self.sent, passed, |last| last.unwrap_or(0) + sent);
    }

    /// The lag of a remote in milliseconds, the oldest first. `None` is a time without a status. Empty if the remote is
    /// unknown.
    pub fn of(&self, watch: &[u8], remote: &str) -> Vec<Option<u32>> {
        self.ring(watch, remote).map(|ring| ring.lag.iter().copied().collect()).unwrap_or_default()
    }

    /// The largest lag of all remotes in the hour, in milliseconds.
    pub fn largest_lag_ms(&self) -> u32 {
        self.rings.values().flat_map(|ring| ring.lag.iter().flatten()).copied().max().unwrap_or(0)
    }

    /// The bytes that are sent to a remote per second.
    pub fn rate(&self, watch: &[u8], remote: &str) -> u64 {
        self.ring(watch, remote).map_or(0, Ring::rate)
    }

    /// The bytes that are sent to all remotes per second.
    pub fn rate_of_all(&self) -> u64 {
        self.rings.values().map(Ring::rate).sum()
    }

    /// The bytes per second over the hour, the oldest first, as [`History::of`]. The last point is unfinished, so it is
    /// left out.
    pub fn rates(&self) -> Vec<Option<u64>> {
        let done = self.sent.len().saturating_sub(1);
        self.sent.iter().take(done).map(|sent| sent.map(|n| n / STEP.as_secs())).collect()
    }

    fn ring(&self, watch: &[u8], remote: &str) -> Option<&Ring> {
        self.rings.get(&(watch.to_vec(), remote.to_owned()))
    }
}

impl Ring {
    /// Records a total. Returns what it has grown by.
    fn total(&mut self, remote: &RemoteStatus, now: Duration) -> u64 {
        // A pusher that has said nothing yet has not read its total in the journal.
        let s = &remote.status;
        let unheard = s.pushed_bytes == 0
            && s.last_success_ms.is_none()
            && s.reconcile.is_none()
            && matches!(s.state, PusherState::Behind | PusherState::Down);
        let last = self.totals.back().map(|(_, total)| *total);
        if unheard || last.is_some_and(|last| s.pushed_bytes < last) {
            self.totals.clear();
        }
        if unheard {
            return 0;
        }
        self.totals.push_back((now, s.pushed_bytes));
        while self.totals.get(1).is_some_and(|(at, _)| *at + RECENT <= now) {
            self.totals.pop_front();
        }
        s.pushed_bytes.saturating_sub(last.unwrap_or(s.pushed_bytes))
    }

    fn rate(&self) -> u64 {
        let (Some((from, old)), Some((to, new))) = (self.totals.front(), self.totals.back()) else {
            return 0;
        };
        let ms = to.saturating_sub(*from).as_millis().max(1);
        (u128::from(new - old) * 1_000 / ms) as u64
    }
}

/// Makes the last point of a ring what `point` makes of it, after new points for the time that has passed.
fn push<T: Clone>(ring: &mut VecDeque<Option<T>>, passed: usize, point: impl Fn(Option<T>) -> T) {
    ring.extend(std::iter::repeat_n(None, passed));
    match ring.back_mut() {
        Some(last) => *last = Some(point(last.take())),
        None => ring.push_back(Some(point(None))),
    }
    ring.drain(..ring.len().saturating_sub(POINTS));
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    fn at(s: u64) -> Duration {
        Duration::from_secs(100 + s)
    }

    #[test]
    fn history_keeps_one_hour() {
        let mut history = History::default();
        let mut status = samples::instance(1, &[PusherState::InSync]);
        for (s, lag) in [(0, 5), (1, 9), (2, 3), (10, 4), (40, 6)] {
            status.localpaths[0].remotes[0].lag_ms = lag;
            history.note(&status, at(s));
        }
        let watch = status.localpaths[0].watch.clone();
        let of = |h: &History| h.of(watch.as_bytes(), &samples::remote_name(0));
        assert_eq!(of(&history), [Some(9), Some(4), None, None, Some(6)]);
        assert_eq!(history.largest_lag_ms(), 9);
        for s in 0..2 * POINTS as u64 {
            history.note(&status, at(50 + 10 * s));
        }
        assert_eq!((of(&history).len(), history.rates().len()), (POINTS, POINTS - 1));
        assert!(of(&history).iter().all(|p| *p == Some(6)));
        history.note(&status, at(10_000_000));
        assert_eq!(of(&history).iter().flatten().count(), 1);
        status.localpaths[0].remotes.clear();
        history.note(&status, at(10_000_001));
        assert!(of(&history).is_empty());
    }

    #[test]
    fn throughput_is_what_the_totals_grow_by() {
        let mut history = History::default();
        let mut status = samples::instance(1, &[PusherState::InSync; 2]);
        let watch = status.localpaths[0].watch.clone();
        let mut note = |totals: [u64; 2], s: u64| {
            for (r, total) in status.localpaths[0].remotes.iter_mut().zip(totals) {
                r.status.pushed_bytes = total;
            }
            history.note(&status, at(s));
            let rate = |n| history.rate(watch.as_bytes(), &samples::remote_name(n));
            (rate(0), rate(1), history.rate_of_all(), history.rates())
        };
        assert_eq!(note([5_000, 0], 0), (0, 0, 0, vec![]), "the first totals are no throughput");
        assert_eq!(note([6_000, 0], 1), (1_000, 0, 1_000, vec![]));
        assert_eq!(note([6_000, 30_000], 2), (500, 15_000, 15_500, vec![]));
        assert_eq!(note([6_000, 30_000], 10).3, [Some(3_100)]);
        assert_eq!(note([6_000, 30_000], 12).2, 0, "it was more than ten seconds ago");
        assert_eq!(note([1, 30_000], 13).0, 0, "a total that falls is another one");
    }

    #[test]
    fn the_total_of_a_pusher_that_starts_is_no_throughput() {
        let mut history = History::default();
        let mut status = samples::instance(1, &[PusherState::Behind]);
        let known = status.clone();
        status.localpaths[0].remotes[0].status = Default::default();
        for (s, shown) in [&status, &status, &known, &known].into_iter().enumerate() {
            history.note(shown, at(s as u64));
            assert_eq!(history.rate_of_all(), 0);
        }
    }
}
