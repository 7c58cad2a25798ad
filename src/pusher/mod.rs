//! The pusher: makes one remote equal to one localpath, one rsync after another.
//!
//! The pure part: [`state`] is the machine, events in and actions out; [`scheduler`] says which job starts next. They
//! build on [`phase`] (whether the pusher may work), [`health`] (when a remote is retried), [`reach`] (whether the port
//! of one in trouble answers), [`doubt`] (whether a remote may have lost data), [`reconcile`] (when a reconcile runs, and
//! its progress), [`pending`] (what waits in the journal), [`in_flight`] (the running jobs) and [`slot`]. [`plan`] turns
//! marks into the list that [`crate::rsync`] sends, [`sent_times`] remembers which files may be written again unseen,
//! [`batch`] accounts for every path of a batch, [`partial_stats`] counts what a failed push did, [`guard`] decides when
//! a comparison must wait for the operator.
//!
//! The shell: `run` is the process, whose loop reads, steps and sleeps. `prepare` runs before it, `act` carries out
//! actions, and `completion` turns the results of the `jobs` into events. Each job has at most one rsync at a time: a
//! push of each `lane` (`jobs::select` selects its batch, `push` runs it in `step`s, `step_end` interprets the end of a
//! step), a comparison (`compare`, which writes `rows`), `syncsup verify` (`verify`), the `scrub`, which compares one
//! part of the tree after another, and `expire`, which deletes old trash. The jobs share the `context`.
//! `supervisor_link` sends heartbeats to the supervisor, also during long work. `status` reports the progress, and
//! `waiters` tells `syncsup wait` what is settled. `acknowledged` looks for data that a remote may have lost when
//! [`doubt`] sees a sign. Over ssh all jobs share one connection, the `master`. The `standby` is an rsync that waits for
//! the next push; [`pace`] limits what pushes through it cost.
//!
//! The test `simulation` runs all of this in one thread over a modelled rsync.

pub(crate) mod batch;
pub(crate) mod coarse_times;
pub(crate) mod doubt;
pub(crate) mod fail_log;
pub(crate) mod guard;
pub(crate) mod health;
pub(crate) mod in_flight;
pub(crate) mod job_error;

pub(crate) mod pace;
pub(crate) mod partial_stats;
pub(crate) mod pending;
pub(crate) mod phase;
pub mod plan;
pub(crate) mod reach;
pub(crate) mod reconcile;
pub(crate) mod remote_state;
pub(crate) mod scheduler;
pub(crate) mod sent_times;
pub(crate) mod slot;
pub(crate) mod state;
pub(crate) mod whole;

mod acknowledged;
mod act;
mod blame;
mod completion;
mod context;
mod jobs;
mod lane;
mod linked;
mod master;
mod meter;
mod prepare;
mod privileges;
mod report;
mod root_lstat;
mod run;
#[cfg(test)]
#[path = "tests/simulated.rs"]
pub(crate) mod simulated;
mod standby;
mod status;
mod supervisor_link;
mod trees;
mod waiters;
mod walk;

pub use run::run;
