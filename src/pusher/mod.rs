//! The pusher: makes one remote equal to one localpath, one rsync after another.
//!
//! The pure part: [`plan`] turns marks into what [`crate::rsync`] is told to list, [`batch`] keeps the accounts of a batch,
//! [`partial_stats`] counts what a failed push did, [`pending`] is what
//! waits in the journal, [`phase`] says whether the root lets it work, [`health`] when a remote is tried again, [`reconcile`] when
//! everything is compared and how far that is, [`guard`] when a comparison must wait for the operator, [`slots`] which job starts next.
//!
//! The shell: `run` is the process; `prepare` comes before its loop, `launch` starts the jobs that `select` has chosen,
//! `completion` takes what comes of them, `event_loop` reports and sleeps. The `jobs` are, with at most one rsync in each:
//! a push of each `lane` (`push`, in `step`s; `step_end` says what the end of one means), a comparison (`compare`, which
//! leaves `rows`), a comparison that is read by a person (`verify`), the `scrub`, which compares a part of the tree after
//! another all the time, and the `expiry` of the trash. They work from the `context`; `supervisor_link` tells the
//! supervisor that all this lives, also from inside long work. `waiters` tells `syncsup wait` what is settled.
//! `acknowledged` looks for what a remote may have lost, where [`doubt`] sees a sign. `backlog_limit` bounds what waits for
//! a remote in trouble. Over ssh they share one connection, the `master`.

pub mod batch;
pub mod coarse_times;
pub mod doubt;
pub mod fail_log;
pub mod guard;
pub mod health;
pub mod partial_stats;
pub mod pending;
pub mod phase;
pub mod plan;
pub mod reconcile;
pub mod slots;
pub mod whole;

mod acknowledged;
mod backlog_limit;
mod blame;
mod compare;
mod completion;
mod context;
mod event_loop;
mod expiry;
mod jobs;
mod lane;
mod launch;
mod master;
mod prepare;
mod push;
mod report;
mod rows;
mod run;
mod scrub;
mod select;
mod step;
mod step_end;
mod supervisor_link;
mod verify;
mod waiters;

pub use run::run;
