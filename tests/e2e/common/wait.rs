//! Waiting for conditions, with deadlines.

use std::time::{Duration, Instant};

/// How long anything may take before a test gives up: generous, for slow machines; waiting ends on success. Below
/// a minute: after that every pusher looks and every held remote is tried anyway, and a wake that is lost would not show.
pub const DEADLINE: Duration = Duration::from_secs(55);
/// The pause between two looks.
pub const TICK: Duration = Duration::from_millis(20);

/// The first `Some` that `look` gives before the deadline.
pub fn poll<T>(deadline: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + deadline;
    loop {
        let began = Instant::now();
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= end {
            return None;
        }
        // An expensive look must not eat the processor that the tested programs need.
        std::thread::sleep(TICK.max(began.elapsed()));
    }
}

/// Waits until `ready` holds; panics with `what` at the deadline.
#[track_caller]
pub fn wait_for(what: &str, deadline: Duration, mut ready: impl FnMut() -> bool) {
    let met = poll(deadline, || ready().then_some(()));
    assert!(met.is_some(), "timed out after {} s: {what}", deadline.as_secs());
}

/// Panics when `still` ceases to hold within `span`.
#[track_caller]
pub fn holds_for(what: &str, span: Duration, mut still: impl FnMut() -> bool) {
    let broken = poll(span, || (!still()).then_some(()));
    assert!(broken.is_none(), "ceased to hold: {what}");
}
