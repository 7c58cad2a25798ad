//! What a test orders. [`VARIABLE`] names a directory. A file in it that has the name of a point says `kill N` or `stop N`:
//! the process that passes the point for the N-th time since the file is there kills or stops itself. Before, it adds its
//! process ID to the name of the file, so that an order is carried out once.

use super::Point;
use nix::sys::signal::{Signal, kill};
use nix::unistd::getpid;
use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

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

/// The signal that an order means for the process that passes the point for this time; `None` if it goes on.
fn decide(order: &str, passed: u32) -> Option<Signal> {
    let (what, time) = order.trim_end().split_once(' ')?;
    let signal = match what {
        "kill" => Signal::SIGKILL,
        "stop" => Signal::SIGSTOP,
        _ => return None,
    };
    let time: u32 = time.parse().ok()?;
    (passed >= time).then_some(signal)
}

/// Passes a point.
pub fn pass(point: Point) {
    static ORDERS: OnceLock<Option<PathBuf>> = OnceLock::new();
    let Some(orders) = ORDERS.get_or_init(|| std::env::var_os(VARIABLE).map(PathBuf::from)) else {
        return;
    };
    let (passed, name) = (&PASSED[point as usize], format!("{point:?}"));
    let Ok(order) = fs::read_to_string(orders.join(&name)) else {
        passed.store(0, Ordering::Relaxed);
        return;
    };
    let times = passed.fetch_add(1, Ordering::Relaxed).saturating_add(1);
    let Some(signal) = decide(&order, times) else { return };
    // Another process may carry it out at this moment.
    let taken = orders.join(format!("{name}.{}", getpid()));
    if fs::rename(orders.join(&name), taken).is_ok() {
        let _ = kill(getpid(), signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_hits_the_process_that_passes_for_the_nth_time() {
        assert_eq!(decide("kill 1", 1), Some(Signal::SIGKILL));
        assert_eq!(decide("stop 3\n", 2), None);
        assert_eq!(decide("stop 3\n", 3), Some(Signal::SIGSTOP));
        // Another process had taken the order and could not: the next pass does it.
        assert_eq!(decide("kill 2", 5), Some(Signal::SIGKILL));
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
