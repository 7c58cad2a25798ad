//! What all jobs with an rsync have in common.

use crate::pusher::slots::Slot;
use std::time::Duration;

/// An rsync that has not moved for this long gives its slot back: a hung remote must not starve healthy ones.
pub const STALLED: Duration = Duration::from_secs(5);

/// What every job can be asked.
pub trait Rsyncing {
    /// True while its rsync is at work.
    fn is_running(&self) -> bool;
    /// How long that has not moved.
    fn stalled(&self, now: Duration) -> Duration;
    /// How long to wait before the next look at it, where that is known.
    fn look_after(&self) -> Option<Duration>;
    /// Ends it.
    fn kill(&mut self);
}

/// A job at work.
pub struct Busy<T> {
    /// What it does.
    pub work: T,
    /// The slot it holds; a probe has none, and one that does not move has given it back.
    pub slot: Option<Slot>,
}
