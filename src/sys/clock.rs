//! The clocks, and their local time.

use crate::figures;
use chrono::Local;
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Wall clock, in nanoseconds since 1970: file times are compared with it.
pub fn wall_ns() -> i64 {
    #[cfg(test)]
    if let Some(now) = simulated::NOW.get() {
        return *simulated::BOOTED_NS + now.as_nanos() as i64;
    }
    let t = clock_gettime(ClockId::Realtime);
    t.tv_sec * 1_000_000_000 + t.tv_nsec
}

/// The clock with which file systems stamp changes: it lags the wall clock by up to one tick.
pub fn file_ns() -> i64 {
    let t = clock_gettime(ClockId::RealtimeCoarse);
    t.tv_sec * 1_000_000_000 + t.tv_nsec
}

/// Wall clock, in milliseconds since 1970: the journal's time.
pub fn wall_ms() -> i64 {
    #[cfg(test)]
    if let Some(now) = simulated::NOW.get() {
        return simulated::START_MS + simulated::SET_BY_MS.get() + now.as_millis() as i64;
    }
    wall_ns() / 1_000_000
}

/// Milliseconds since 1970 as local time, for a log: `2026-11-22T09:02:03.456+08:00`.
pub fn local(ms: i64) -> String {
    figures::rfc3339(ms, &Local)
}

/// The same, for a sentence: `2026-11-22 09:02:03 +08:00`.
pub fn local_time(ms: i64) -> String {
    figures::time(ms, &Local)
}

/// Local time as syslog(3) writes it: `Nov 22 09:02:03`.
pub fn syslog_time() -> String {
    Local::now().format("%b %e %H:%M:%S").to_string()
}

/// Time since boot, including time in suspend.
pub fn boot() -> Duration {
    #[cfg(test)]
    if let Some(now) = simulated::NOW.get() {
        return now;
    }
    let t = clock_gettime(ClockId::Boottime);
    Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
}

/// The clock of a simulation.
#[cfg(test)]
pub(crate) mod simulated {
    use std::cell::Cell;
    use std::sync::LazyLock;
    use std::time::Duration;

    /// The journal's time at the start of a simulation, in milliseconds since 1970.
    pub const START_MS: i64 = 1_800_000_000_000;

    /// When a simulated machine was booted, in nanoseconds since 1970. What happens to files has real times.
    pub static BOOTED_NS: LazyLock<i64> = LazyLock::new(|| super::file_ns() - 3_600_000_000_000);

    thread_local! {
        /// The time since boot that this thread sees, in a simulation.
        pub static NOW: Cell<Option<Duration>> = const { Cell::new(None) };

        /// By how much its clock was set since then, in milliseconds.
        pub static SET_BY_MS: Cell<i64> = const { Cell::new(0) };
    }
}
