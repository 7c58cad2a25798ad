//! End to end: the real program, real rsync daemons on loopback ports, real inotify, real kills. One file for each
//! promise; `common` holds the machinery, `machinery` proves it.
//!
//! The folders `examples`, `pusher`, `rsync` and `supervisor` of `tests` belong to this program, too: these tests wait
//! most of the time, and one program runs them all in parallel.
//!
//! Environment: `SYNCSUP_SEED` repeats a churn; `SYNCSUP_CHURN_S` is its length in seconds (20); `SYNCSUP_TEST_BIN`
//! names another syncsup to test; `SYNCSUP_TEST_OLD_RSYNC` an rsync whose receiver is broken or old;
//! `SYNCSUP_SNAPSHOTS=write` writes what the commands say into `snapshots/`;
//! `SYNCSUP_FAULT_SEED` repeats a schedule of faults, `SYNCSUP_FAULTS_S` is how long each lasts, `SYNCSUP_SOAK_S` how long
//! the soak does;
//! `SYNCSUP_TEST_VERBOSE` makes each instance log every event and rsync; `SYNCSUP_TEST_KEEP` is a directory to
//! which the files of an instance are copied when its test fails.

mod common;

mod machinery;

mod broken_off;
mod charsets;
mod churn;
mod coarse;
mod configurations;
mod control;
mod daemon;
mod degraded;
mod demo;
mod events;
mod excluded;
mod fail_log;
mod failures;
mod faults;
mod filter;
mod guard;
mod hostile;
mod install;
mod journal;
mod language;
mod logs;
mod lost_there;
mod migrate;
mod mounts;
mod names;
mod output;
mod overflow;
mod params;
mod plugin;
mod power;
mod privileges;
mod progress;
mod refusals;
mod remotes;
mod renames;
mod reporter;
mod root;
mod rules;
mod run_as;
mod schedule;
mod sersync;
mod slow;
mod snapshots;
mod sparse;
mod ssh;
mod ssh_master;
mod standby;
mod starts;
mod status;
mod strangers;
mod sysctl;
mod toggles;
mod traps;
mod trash;
mod trees;
mod verify;
mod verify_schedule;
mod wait;

#[path = "../examples/mod.rs"]
mod examples;
#[path = "../pusher/mod.rs"]
mod pusher;
#[path = "../rsync/mod.rs"]
mod rsync;
#[path = "../supervisor/mod.rs"]
mod supervisor;
