//! The watcher: the process that watches one localpath and marks what changed in its journal.
//!
//! | file | contents |
//! |---|---|
//! | `start` | the start of the process: the lock, the journal |
//! | `privileges` | what the process gives up before it works |
//! | `service` | the loop: read the queue, write one record, wake the pushers |
//! | `watched_root` | whether the root exists and is the same directory |
//! | `root_record` | the record of the root in the state directory |
//! | `canaries` | whether the file system of the root was restored to an older state |
//! | [`event`] | turns one event into marks and actions on directories; pure |
//! | [`tree`], [`hardlinks`] | the map of watches; files with several names; pure |
//! | [`change_set`], [`checkpoint_validity`] | what one turn adds to the journal; checkpoints; pure |
//! | [`maybe_open`] | files that may be written without an event; pure |
//! | [`mount_health`], `mount_probes` | which file systems below the root answer (pure); the probes of them |
//! | `barriers` | whether everything before a `syncsup wait` is marked; pure |
//! | [`scan`] | walks: a directory is watched first and read afterwards, in portions |

mod barriers;
mod canaries;
pub(crate) mod change_set;
pub(crate) mod checkpoint_validity;
pub(crate) mod event;
pub(crate) mod hardlinks;
pub(crate) mod maybe_open;
pub(crate) mod mount_health;
mod mount_probes;
mod privileges;
mod root_record;
pub(crate) mod scan;
mod service;
#[cfg(test)]
#[path = "tests/simulated.rs"]
pub(crate) mod simulated;
mod start;
pub mod tree;
mod watched_root;

pub use start::run;

#[cfg(test)]
mod tests;
