//! The watcher: the process that watches one localpath and marks what changed in its journal.
//!
//! | file | what happens there |
//! |---|---|
//! | `start` | the start of the process: the lock, the journal |
//! | `service` | the loop: read the queue, write one record, wake the pushers |
//! | `watched_root`, `root_record`, `canaries` | the root: is it there, is it the same; what the state directory keeps of it; was its file system put back |
//! | [`event`] | one event -> marks, and what is to be done about directories; pure |
//! | [`tree`], [`hardlinks`], [`change_set`], [`checkpoint_validity`] | the map of watches; files with several names; what one turn adds; checkpoints; pure |
//! | [`maybe_open`] | files that may be written without an event; pure |
//! | [`mount_health`], `mount_probes` | which file systems below answer, pure; asking them |
//! | `barriers` | when is everything before a `syncsup wait` marked; pure |
//! | [`scan`] | walks: watch first, read after, in portions |

mod barriers;
mod canaries;
pub(crate) mod change_set;
pub(crate) mod checkpoint_validity;
pub(crate) mod event;
pub(crate) mod hardlinks;
pub(crate) mod maybe_open;
pub(crate) mod mount_health;
mod mount_probes;
mod root_record;
pub(crate) mod scan;
mod service;
mod start;
pub(crate) mod tree;
mod watched_root;

pub use start::run;

#[cfg(test)]
mod tests;
