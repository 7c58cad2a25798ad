//! Named steps of the processes at which a test kills or stops them. What a released program contains of this is an empty
//! function: everything else exists only with debug assertions.

#[cfg(debug_assertions)]
mod armed;
#[cfg(debug_assertions)]
pub use armed::{ALL, VARIABLE, orders, pass};

/// A step at which a death is interesting.
#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(debug_assertions, derive(Debug))]
pub enum Point {
    /// The supervisor has started a child, and has not sent its configuration.
    SupervisorStarted,
    /// The supervisor has reaped a child, and has not restarted it.
    SupervisorReaped,
    /// The supervisor has applied a new configuration to one of its localpaths, or to none.
    SupervisorReloads,
    /// A quarantine is announced, and the damaged journal is still in its place.
    QuarantineBegun,
    /// A file of the damaged journal has its new name, and the others may not.
    QuarantineRenames,
    /// The damaged journal is gone, and there is no new one.
    QuarantineRenamed,
    /// The new journal asks for reconciles, and the quarantine still counts as unfinished.
    QuarantineEnds,
    /// The watcher has read events, and they are not in the journal.
    WatcherRead,
    /// A checkpoint is about to be committed.
    WatcherCheckpoints,
    /// A checkpoint is in the journal.
    WatcherCheckpointed,
    /// Marks are in the journal, and no pusher was woken.
    WatcherMarked,
    /// In a scan, between two directories.
    WatcherScans,
    /// A directory is watched, and was not read.
    WatcherWatches,
    /// What the pusher will change is not on disk as unfinished: 'not clean' is about to be committed.
    PusherBegins,
    /// 'Not clean' is on disk, and nothing was pushed.
    PusherBegun,
    /// A batch is selected.
    PusherSelected,
    /// It is known what is mounted, and no path of the batch was looked at.
    PusherLooks,
    /// A standby has its list.
    PusherFed,
    /// An rsync has exited, and nothing of it is recorded.
    PusherRsyncEnded,
    /// A settlement is about to be committed.
    PusherSettles,
    /// A settlement is committed, and was not reported.
    PusherSettled,
    /// A comparison has counted, and no row is written.
    PusherCounted,
    /// Rows of a comparison are committed, and others may not be.
    PusherOwes,
    /// An rsync that gives what was moved its new names works.
    PusherRenames,
    /// Everything has ended, and 'clean' is not on disk.
    PusherEnds,
    /// A call of a plugin has started.
    PluginCalls,
    /// A call has ended, and its row is there.
    PluginCalled,
    /// The row of a call that has ended is gone.
    PluginRecorded,
    /// The reporter has its configuration.
    ReporterBegins,
    /// The reporter listens, and still has its privileges.
    ReporterListens,
}

/// Passes a point.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn pass(_point: Point) {}

/// A released program takes no orders.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn orders() -> Option<&'static std::path::Path> {
    None
}
