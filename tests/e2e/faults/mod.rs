//! Faults of every kind come and go under churn, by a schedule from a seed. When they are over, the slaves are identical
//! within a deadline, `wait` says so and not too early, and nothing that was there all the time was deleted or replaced.
//!
//! Without `SYNCSUP_FAULTS_S` each test is short and its seed is fixed; with it the seed is random. Both are printed,
//! and `SYNCSUP_FAULT_SEED` sets it.

mod disks;
mod journal;
mod limits;
mod network;
mod power;
mod scene;
mod schedule;
mod signals;
mod slave;
mod soak;
mod trees;
mod upgrade;

use crate::common::namespace::with_private_mounts;
use fastrand::Rng;
use scene::Scene;
use std::time::Duration;

/// Something that goes wrong, and ends.
pub trait Fault {
    /// What it is, for the log.
    fn name(&self) -> String;
    /// Makes it happen; says what was done, or `None` where it is impossible now.
    fn begin(&mut self, scene: &mut Scene, rng: &mut Rng) -> Option<String>;
    /// Puts everything right again; does nothing when it never began.
    fn end(&mut self, scene: &mut Scene);
}

/// A list of faults, as each file gives its own.
pub type Faults = Vec<Box<dyn Fault>>;

/// How long the faults of a test last, and their seed.
fn span_and_seed() -> (Duration, u64) {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(text.parse::<u64>().unwrap_or_else(|e| panic!("{name} is a number: {e}")))
    };
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
    all
}

#[test]
fn slaves_match_after_faults_of_every_kind() {
    under("everything", all);
}
