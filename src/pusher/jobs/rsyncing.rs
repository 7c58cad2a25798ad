//! What all jobs that run an rsync have in common.

use crate::pusher::slot::Slot;
use std::time::Duration;

/// A job that runs an rsync.
pub trait Rsyncing {
    /// True while its rsync runs.
    fn is_running(&self) -> bool;
    /// True if its rsync needs no slot, because it only waits.
    fn idles(&self, now: Duration) -> bool;
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
