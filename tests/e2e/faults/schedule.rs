//! When which fault begins and ends, from a seed.

use super::Faults;
use fastrand::Rng;
use std::time::{Duration, Instant};

/// One fault of a schedule; times are from its beginning.
struct Planned {
    at: Duration,
    length: Duration,
    fault: usize,
    /// For what the fault itself chooses.
    seed: u64,
}

/// Faults in turn, shuffled, so that each comes once before any comes again; several may be there at a time.
fn plan(seed: u64, faults: usize, span: Duration) -> Vec<Planned> {
    let mut rng = Rng::with_seed(seed);
    let (mut planned, mut bag) = (Vec::new(), Vec::new());
    let mut at = Duration::from_millis(200);
    while at < span {
        if bag.is_empty() {
            bag = (0..faults).collect::<Vec<_>>();
            rng.shuffle(&mut bag);
        }
        let fault = bag.pop().expect("filled just now");
        // Most are short; the long ones outlast timeouts.
        let most = if rng.u32(0..5) == 0 { 6_000 } else { 1_500 };
        let length = Duration::from_millis(rng.u64(20..most));
        planned.push(Planned { at, length, fault, seed: rng.u64(..) });
        at += Duration::from_millis(rng.u64(50..1_200));
    }
    planned
}

/// What faults happen to.
pub trait Stage {
    /// A line for the log of the test.
    fn note(&mut self, text: &str);
    /// What an init system does: starts what has ended again, after a moment.
    fn tend(&mut self);
}

/// Carries the schedule out, and calls `look` many times a second; every fault has ended when it returns.
pub fn run<S: Stage>(
    scene: &mut S,
    faults: &mut Faults<S>,
    seed: u64,
    span: Duration,
    look: &mut dyn FnMut(&mut S),
) {
    assert!(!faults.is_empty(), "no fault is possible here");
    let began = Instant::now();
    // The end of each fault that is there.
    let mut ends: Vec<Option<Duration>> = vec![None; faults.len()];
    let mut planned = plan(seed, faults.len(), span).into_iter().peekable();
    while planned.peek().is_some() || ends.iter().any(Option::is_some) {
        let now = began.elapsed();
        for (n, end) in ends.iter_mut().enumerate() {
            if end.is_some_and(|end| end <= now) {
                *end = None;
                faults[n].end(scene);
                scene.note(&format!("{}: over", faults[n].name()));
            }
        }
        if let Some(next) = planned.next_if(|next| next.at <= now)
            && ends[next.fault].is_none()
        {
            let fault = &mut faults[next.fault];
            match fault.begin(scene, &mut Rng::with_seed(next.seed)) {
                Some(what) => {
                    ends[next.fault] = Some(next.at.max(now) + next.length);
                    scene.note(&format!("{}: {what}", fault.name()));
                }
                None => scene.note(&format!("{}: impossible now", fault.name())),
            }
        }
        scene.tend();
        look(scene);
        std::thread::sleep(Duration::from_millis(10));
    }
}
