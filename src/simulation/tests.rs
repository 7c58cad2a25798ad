//! A localpath with one or two remotes in a simulated world: the real watcher over real inotify, real pushers, a real
//! journal, and the supervisor's machines for children, slots, requests and the root, in one thread, with a clock that the
//! simulation sets and with rsyncs that it models. One seed gives one schedule: what changes on the master, when each
//! process takes its next turn, what dies or stops and when. Each world has kinds of trouble that are frequent in it, and
//! others that it lacks (swarm testing). Half of them begin after a first reconcile.
//!
//! When the world is calm again, each slave must equal the master. Nothing may have been deleted that was never gone, nor
//! by a comparison before it was released where the guard allows no deletion. `wait` may not have returned before its
//! changes were there. No pusher may have said that a slave may have lost data, unless that slave had.
//!
//! `SYNCSUP_SIMULATE_S=60 cargo test --lib simulation` runs other schedules for a minute, `SYNCSUP_SEED=N` one. A schedule
//! that fails is shrunk: the steps that do not matter are left out. `SYNCSUP_STEPS=3,7` runs only these of it.

#[path = "tests/differential.rs"]
mod differential;
#[path = "tests/filter.rs"]
mod filter;
#[path = "tests/kinds.rs"]
mod kinds;
#[path = "tests/life.rs"]
mod life;
#[path = "tests/rsync.rs"]
mod rsync;
#[path = "tests/side.rs"]
mod side;
#[path = "tests/waits.rs"]
mod waits;
#[path = "tests/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use world::World;

/// Events of a schedule, before the calm.
const STEPS: u64 = 60;
/// The schedules of an ordinary test.
const SCHEDULES: u64 = 200;

/// A schedule: the seed, and the steps that happen.
type Schedule = (u64, BTreeSet<u64>);

fn whole(seed: u64) -> Schedule {
    (seed, (1..=STEPS).collect())
}

/// Runs a schedule. Each step has random numbers of its own, so that leaving one out changes no other.
fn run((seed, steps): &Schedule, shown: bool) {
    let mut world = World::new(*seed, shown);
    for at in steps {
        world.step(*at, fastrand::Rng::with_seed(mixed(*seed, *at)));
    }
    world.calm(STEPS + 1, fastrand::Rng::with_seed(mixed(*seed, 0)));
}

/// A seed for one step. Seeds that follow one another do not give similar numbers.
fn mixed(seed: u64, step: u64) -> u64 {
    (seed ^ step.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
}

/// The error of a schedule that fails.
fn failure(schedule: &Schedule) -> Option<Box<dyn std::any::Any + Send>> {
    catch_unwind(AssertUnwindSafe(|| run(schedule, false))).err()
}

/// Leaves out the steps without which the schedule fails all the same.
fn shrunk(mut schedule: Schedule) -> Schedule {
    let mut count = STEPS as usize / 4;
    while count > 0 {
        let steps: Vec<u64> = schedule.1.iter().rev().copied().collect();
        for part in steps.chunks(count) {
            let mut less = schedule.clone();
            less.1.retain(|step| !part.contains(step));
            if failure(&less).is_some() {
                schedule = less;
            }
        }
        count /= 2;
    }
    schedule
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn a_calm_world_is_equal() {
    if let Some(seed) = number("SYNCSUP_SEED") {
        let only = std::env::var("SYNCSUP_STEPS").ok();
        let steps = only.map(|only| only.split(',').filter_map(|step| step.parse().ok()).collect());
        return run(&(seed, steps.unwrap_or(whole(seed).1)), true);
    }
    // The same schedules each time, unless more are asked for.
    let seconds = number("SYNCSUP_SIMULATE_S");
    let first = seconds.map_or(0, |_| fastrand::u64(..1 << 40));
    let (began, next, failed) = (Instant::now(), AtomicU64::new(0), AtomicBool::new(false));
    let work = || {
        loop {
            let count = next.fetch_add(1, Ordering::Relaxed);
            let over = match seconds {
                Some(seconds) => began.elapsed() >= Duration::from_secs(seconds),
                None => count >= SCHEDULES,
            };
            if over || failed.load(Ordering::Relaxed) {
                return;
            }
            let schedule = whole(first + count);
            if failure(&schedule).is_none() {
                continue;
            }
            if !failed.swap(true, Ordering::Relaxed) {
                let schedule = shrunk(schedule);
                let steps: Vec<String> = schedule.1.iter().map(u64::to_string).collect();
                println!("SYNCSUP_SEED={} SYNCSUP_STEPS={}", schedule.0, steps.join(","));
                println!("schedule {count}; the shrunk one:");
                if let Some(why) = failure(&schedule) {
                    resume_unwind(why);
                }
                panic!("it failed once and does not fail again");
            }
        }
    };
    // Each thread has a world, with a clock and rsyncs of its own.
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    println!("{} schedules from seed {first}", next.load(Ordering::Relaxed));
}
