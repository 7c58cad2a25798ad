//! What a test orders. [`VARIABLE`] names a directory. A file in it that has the name of a point says `kill N`, `stop N` or
//! `spin N`: the process that passes the point for the N-th time since the file is there kills or stops itself, or computes
//! for longer than it may be silent. Before, it adds its process ID to the name of the file, so that an order is carried
//! out once.

use super::Point;
use crate::message::SILENT_MS;
use nix::sys::signal::{Signal, kill};
use nix::unistd::getpid;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The environment variable with the directory of the orders.
pub const VARIABLE: &str = "SYNCSUP_FAULT_POINTS";

/// Every point, in the order of their numbers.
pub const ALL: [Point; COUNT] = {
    use Point::*;
    [
        SupervisorStarted,
        SupervisorReaped,
        SupervisorReloads,
        QuarantineBegun,
        QuarantineRenames,
        QuarantineRenamed,
        QuarantineEnds,
        WatcherRead,
        WatcherCheckpoints,
        WatcherCheckpointed,
        WatcherMarked,
        WatcherScans,
        WatcherWatches,
        PusherBegins,
        PusherBegun,
        PusherSelected,
        PusherLooks,
        PusherFed,
        PusherRsyncEnded,
        PusherSettles,
        PusherSettled,
        PusherCounted,
        PusherOwes,
        PusherRenames,
        PusherEnds,
        PluginCalls,
        PluginCalled,
        PluginRecorded,
        ReporterBegins,
        ReporterListens,
    ]
};
const COUNT: usize = Point::ReporterListens as usize + 1;

/// How often this process has passed each point since there is an order for it.
static PASSED: [AtomicU32; COUNT] = [const { AtomicU32::new(0) }; COUNT];

/// What a process does to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Signal(Signal),
    Spin,
}

/// How long it computes: between the limits of a silent process and of a busy one.
const SPIN: Duration = Duration::from_millis(SILENT_MS + 5_000);

/// What an order means for the process that passes the point for this time; `None` if it goes on.
fn decide(order: &str, passed: u32) -> Option<Deed> {
    let (what, time) = order.trim_end().split_once(' ')?;
    let deed = match what {
        "kill" => Deed::Signal(Signal::SIGKILL),
        "stop" => Deed::Signal(Signal::SIGSTOP),
        "spin" => Deed::Spin,
        _ => return None,
    };
    let time: u32 = time.parse().ok()?;
    (passed >= time).then_some(deed)
}

/// The directory of the orders, to which a confined process needs access. `None` without a test.
pub fn orders() -> Option<&'static Path> {
    static ORDERS: OnceLock<Option<PathBuf>> = OnceLock::new();
    ORDERS.get_or_init(|| std::env::var_os(VARIABLE).map(PathBuf::from)).as_deref()
}

/// Passes a point.
pub fn pass(point: Point) {
    let Some(orders) = orders() else { return };
    let (passed, name) = (&PASSED[point as usize], format!("{point:?}"));
    let Ok(order) = fs::read_to_string(orders.join(&name)) else {
        passed.store(0, Ordering::Relaxed);
        return;
    };
    let times = passed.fetch_add(1, Ordering::Relaxed).saturating_add(1);
    let Some(deed) = decide(&order, times) else { return };
    // Another process may carry it out at this moment.
    let taken = orders.join(format!("{name}.{}", getpid()));
    if fs::rename(orders.join(&name), taken).is_err() {
        return;
    }
    match deed {
        Deed::Signal(signal) => drop(kill(getpid(), signal)),
        Deed::Spin => {
            let began = Instant::now();
            while began.elapsed() < SPIN {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_hits_the_process_that_passes_for_the_nth_time() {
        assert_eq!(decide("kill 1", 1), Some(Deed::Signal(Signal::SIGKILL)));
        assert_eq!(decide("stop 3\n", 2), None);
        assert_eq!(decide("stop 3\n", 3), Some(Deed::Signal(Signal::SIGSTOP)));
        assert_eq!(decide("spin 1", 1), Some(Deed::Spin));
        // Another process had taken the order and could not: the next pass does it.
        assert_eq!(decide("kill 2", 5), Some(Deed::Signal(Signal::SIGKILL)));
        for nonsense in ["", "kill", "kill x", "kill -1", "end 1", "kill 1 2"] {
            assert_eq!(decide(nonsense, 9), None, "{nonsense}");
        }
    }

    #[test]
    fn every_point_has_its_own_number() {
        for (n, point) in ALL.into_iter().enumerate() {
            assert_eq!(point as usize, n, "{point:?}");
        }
    }
}
