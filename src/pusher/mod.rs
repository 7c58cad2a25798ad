//! The pusher: makes one remote equal to one localpath, one rsync after another.
//!
//! The pure part: [`batch`] turns marks into what [`crate::rsync`] is told to list, [`ledger`] keeps the accounts of a
//! batch, [`tally`] counts what a failed push did, [`health`] says when a remote is tried again, [`guard`] when a
//! comparison must wait for the operator.
//!
//! The shell: `run` is the process; `prepare` comes before its loop, `launch` starts what is to be done, which `select` has
//! chosen, `landing`
//! takes what comes of it, `idle` reports and sleeps. It has `lanes`, each with at most one rsync in flight:
//! one of small pushes, one of large files, two of what comparisons found (`push`, in `step`s that `judge` ends) and one
//! of comparisons (`compare`, which leaves `rows`).
//! A lane works from the `desk`; [`crate::rsync_run`] is one rsync under its watchdog; `voice` tells the supervisor that all this
//! lives, also from inside long work. `awaits` tells `syncsup wait` what is settled. `verify` compares for who
//! looks on; `rolling` does so all the time, a part of the tree after another, as [`roll`] says. `acknowledged` looks for what a
//! remote may have lost, where [`doubt`] sees a sign. `many` bounds what waits for a remote in trouble. Over ssh they share one
//! connection, the `master`.

pub mod batch;
pub mod doubt;
pub mod fail_log;
pub mod guard;
pub mod health;
pub mod ledger;
pub mod roll;
pub mod tally;
pub mod times;
pub mod whole;

mod acknowledged;
mod awaits;
mod blame;
mod compare;
mod desk;
mod expiry;
mod idle;
mod judge;
mod landing;
mod lanes;
mod launch;
mod many;
mod master;
mod prepare;
mod push;
mod report;
mod rolling;
mod rows;
mod run;
mod select;
mod step;
mod verify;
mod voice;

pub use run::run;
