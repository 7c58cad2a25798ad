//! The lag of each remote over the last hour, in memory. Pure.

use crate::message::InstanceStatus;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// The number of points in an hour.
pub const POINTS: usize = 360;
/// The time of one point.
const STEP: Duration = Duration::from_secs(10);

/// One ring per remote. The age of a point is its distance from the end.
#[derive(Clone, Debug, Default)]
pub struct History {
    rings: BTreeMap<(Vec<u8>, String), VecDeque<Option<u32>>>,
    step: Option<u64>,
}

impl History {
    /// Records the lag of every remote at `now` on a monotonic clock. A point is the largest lag within its time.
    /// Remotes that are gone are dropped.
    pub fn note(&mut self, status: &InstanceStatus, now: Duration) {
        let step = now.as_secs() / STEP.as_secs();
        let passed = step.saturating_sub(self.step.unwrap_or(step));
        self.step = Some(step);
        let mut old = std::mem::take(&mut self.rings);
        for localpath in &status.localpaths {
            for remote in &localpath.remotes {
                let key = (localpath.watch.as_bytes().to_vec(), remote.name.clone());
                let mut ring = old.remove(&key).unwrap_or_default();
                // Time without a status is a gap.
                let empty = (passed as usize).min(POINTS);
                ring.extend(std::iter::repeat_n(None, empty));
                let lag = u32::try_from(remote.lag_ms).unwrap_or(u32::MAX);
                match ring.back_mut() {
                    Some(last) => *last = Some(last.unwrap_or(0).max(lag)),
                    None => ring.push_back(Some(lag)),
                }
                ring.drain(..ring.len().saturating_sub(POINTS));
                self.rings.insert(key, ring);
            }
        }
    }

    /// The lag of a remote in milliseconds, the oldest first. `None` is a time without a status. Empty if the remote is
    /// unknown.
    pub fn of(&self, watch: &[u8], remote: &str) -> Vec<Option<u32>> {
        let ring = self.rings.get(&(watch.to_vec(), remote.to_owned()));
        ring.map(|ring| ring.iter().copied().collect()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::page::tests::status;
    use super::*;

    #[test]
    fn history_keeps_one_hour() {
        let mut history = History::default();
        let mut status = status();
        let at = |s: u64| Duration::from_secs(100 + s);
        for (s, lag) in [(0, 5), (1, 9), (2, 3), (10, 4), (40, 6)] {
            status.localpaths[0].remotes[0].lag_ms = lag;
            history.note(&status, at(s));
        }
        let (watch, name) =
            (status.localpaths[0].watch.clone(), status.localpaths[0].remotes[0].name.clone());
        let of = |h: &History| h.of(watch.as_bytes(), &name);
        assert_eq!(of(&history), [Some(9), Some(4), None, None, Some(6)]);
        for s in 0..2 * POINTS as u64 {
            history.note(&status, at(50 + 10 * s));
        }
        assert_eq!(of(&history).len(), POINTS);
        assert!(of(&history).iter().all(|p| *p == Some(6)));
        history.note(&status, at(10_000_000));
        assert_eq!(of(&history).iter().flatten().count(), 1);
        status.localpaths[0].remotes.clear();
        history.note(&status, at(10_000_001));
        assert!(of(&history).is_empty());
    }
}
