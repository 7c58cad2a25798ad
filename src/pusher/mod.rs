//! The pusher: makes one remote equal to one localpath, one rsync after another.
//!
//! The pure part: [`state`] is the machine, events in and actions out; [`scheduler`] says which job starts next. They build on
//! [`phase`] (may it work), [`health`] (when a remote is tried again), [`doubt`] (has it lost something), [`reconcile`] (when
//! everything is compared, and how far that is), [`pending`] (what waits in the journal), [`in_flight`] (what is under way) and
//! [`slots`]. [`plan`] turns marks into what [`crate::rsync`] is told to list, [`batch`] keeps the accounts of a batch,
//! [`partial_stats`] counts what a failed push did, [`guard`] says when a comparison must wait for the operator.
//!
//! The shell: `run` is the process, whose loop reads, steps and sleeps; `prepare` comes before it, `act` carries out actions,
//! `completion` makes events of what the `jobs` come to. These are, with at most one rsync in each: a push of each `lane`
//! (`jobs::select` finds what it takes, `push` goes in `step`s, `step_end` says what the end of one means), a comparison
//! (`compare`, which leaves `rows`), a comparison that a person reads (`verify`), the `scrub`, which compares a part of the tree
//! after another all the time, and `expire`, which looks after the trash. They work from the `context`; `supervisor_link` tells the
//! supervisor that all this lives, also from inside long work. `status` says how far it is, `waiters` tells `syncsup wait` what is
//! settled. `acknowledged` looks for what a remote may have lost, where [`doubt`] sees a sign. Over ssh they share one
//! connection, the `master`.

pub(crate) mod batch;
pub(crate) mod coarse_times;
pub(crate) mod doubt;
pub(crate) mod fail_log;
pub(crate) mod guard;
pub(crate) mod health;
pub(crate) mod in_flight;
pub(crate) mod partial_stats;
pub(crate) mod pending;
pub(crate) mod phase;
pub(crate) mod plan;
pub(crate) mod reconcile;
pub(crate) mod scheduler;
pub(crate) mod slots;
pub(crate) mod standing;
pub(crate) mod state;
pub(crate) mod stuck;
pub(crate) mod whole;

mod acknowledged;
mod act;
mod blame;
mod completion;
mod context;
mod jobs;
mod lane;
mod master;
mod prepare;
mod report;
mod run;
mod status;
mod supervisor_link;
mod waiters;
mod walk;

pub use run::run;
