//! Faults of every kind come and go under churn, by a schedule from a seed. When they are over, the slaves are identical
//! within a deadline, `wait` says so and not too early, and nothing that was there all the time was deleted or replaced.
//!
//! Without `SYNCSUP_FAULTS_S` each test is short and its seed is fixed; with it the seed is random. Both are printed,
//! and `SYNCSUP_FAULT_SEED` sets it.

mod clocks;
mod disks;
mod journal;
mod limits;
mod network;
mod pids;
// A program without debug assertions has none.
#[cfg(debug_assertions)]
mod points;
mod power;
mod scene;
mod schedule;
mod signals;
mod slave;
mod soak;
mod ssh;
mod trees;
mod upgrade;
mod watches;

use crate::common::namespace::with_private_mounts;
use fastrand::Rng;
use scene::Scene;
use std::time::Duration;

/// Something that goes wrong, and ends.
pub trait Fault<S = Scene> {
    /// What it is, for the log.
    fn name(&self) -> String;
    /// Makes it happen; says what was done, or `None` where it is impossible now.
    fn begin(&mut self, scene: &mut S, rng: &mut Rng) -> Option<String>;
    /// Puts everything right again; does nothing when it never began.
    fn end(&mut self, scene: &mut S);
}

/// A list of faults, as each file gives its own.
pub type Faults<S = Scene> = Vec<Box<dyn Fault<S>>>;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse::<u64>().unwrap_or_else(|e| panic!("{name} is a number: {e}")))
}

/// True in `make test-faults`.
fn is_long() -> bool {
    number("SYNCSUP_FAULTS_S").is_some()
}

/// How long the faults of a test last, and their seed.
fn span_and_seed() -> (Duration, u64) {
    let long = number("SYNCSUP_FAULTS_S");
    let seed = number("SYNCSUP_FAULT_SEED");
    let seed = seed.unwrap_or_else(|| if long.is_some() { fastrand::u64(..) } else { 1 });
    (Duration::from_secs(long.unwrap_or(5)), seed)
}

/// Runs a schedule of these faults, and everything that must hold after it.
fn under(name: &'static str, faults: impl FnOnce(&Scene) -> Faults + Send + 'static) {
    with_private_mounts(move || {
        let (span, seed) = span_and_seed();
        println!("{name}: SYNCSUP_FAULT_SEED={seed}, {} s", span.as_secs());
        let mut scene = Scene::start(seed, 100);
        let mut faults = faults(&scene);
        if faults.is_empty() {
            println!("SKIPPED: no fault of this kind is possible here");
            return;
        }
        schedule::run(&mut scene, &mut faults, seed, span, &mut |_| {});
        scene.settle();
    });
}

#[test]
fn slaves_match_after_the_network_failed() {
    under("network", network::faults);
}

#[test]
fn slaves_match_after_processes_were_killed_and_stopped() {
    under("signals", |_| signals::faults());
}

#[test]
fn slaves_match_after_file_systems_were_full_and_read_only() {
    under("disks", |_| disks::faults());
}

#[test]
fn slaves_match_after_limits_were_reached() {
    under("limits", |_| limits::faults());
}

#[test]
fn slaves_match_after_processes_ran_out() {
    under("pids", |_| pids::faults());
}

#[test]
fn slaves_match_after_restarts_with_another_clock() {
    under("clocks", |_| clocks::faults());
}

#[test]
fn slaves_match_after_the_journal_was_damaged_and_put_back() {
    under("journal", |_| journal::faults());
}

#[test]
fn slaves_match_after_mounts_and_symlinks_were_swapped() {
    under("trees", |_| trees::faults());
}

#[test]
fn slaves_match_after_slaves_were_hostile_or_replaced() {
    under("slave", |_| slave::faults());
}

#[test]
fn slaves_match_after_upgrades_under_load() {
    under("upgrade", upgrade::faults);
}

#[cfg(debug_assertions)]
#[test]
fn slaves_match_after_deaths_at_every_step() {
    points::at_every_step();
}

/// Every fault there is, several at a time.
fn all(scene: &Scene) -> Faults {
    let mut all = network::faults(scene);
    all.extend(signals::faults());
    all.extend(disks::faults());
    all.extend(limits::faults());
    all.extend(journal::faults());
    all.extend(trees::faults());
    all.extend(slave::faults());
    all.extend(upgrade::faults(scene));
    all.extend(pids::faults());
    all.extend(clocks::faults());
    #[cfg(debug_assertions)]
    all.extend(points::faults());
    all
}

#[test]
fn slaves_match_after_faults_of_every_kind() {
    under("everything", all);
}
