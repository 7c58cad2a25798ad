//! What all jobs that run an rsync have in common.

use crate::pusher::slot::Slot;
use std::time::Duration;

/// A job whose rsync makes no progress for this long returns its slot: a hung remote must not starve healthy ones.
pub const STALLED: Duration = Duration::from_secs(5);

/// A job whose rsync the network holds for this long returns its slot, too.
pub const NETWORK_BOUND: Duration = Duration::from_secs(1);

/// A job that runs an rsync.
pub trait Rsyncing {
    /// True while its rsync runs.
    fn is_running(&self) -> bool;
    /// For how long its rsync has made no progress.
    fn stalled(&self, now: Duration) -> Duration;
    /// For how long the network has held its rsync: it has moved data, and has used little CPU time.
    fn network_bound(&self, now: Duration) -> Duration;
    /// The delay before its rsync should be polled again, if known.
    fn poll_after(&self) -> Option<Duration>;
    /// Kills its rsync.
    fn kill(&mut self);
}

/// A running job.
pub struct Busy<T> {
    /// The job.
    pub work: T,
    /// The slot that it holds. A probe has none, and a stalled job has returned it.
    pub slot: Option<Slot>,
}
