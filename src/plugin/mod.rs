//! The plugin runner: calls the plugins of one localpath for what changed, after the remotes have the change.
//!
//! The pure part: [`queue`] decides which calls come next and what a failure means, [`subject`] describes what a call
//! is about, [`command`] builds and judges command lines, [`alarm`] decides when a remote's trouble is reported, and
//! [`fail_log`] shows how to make a failed call by hand.
//!
//! The shell: `run` is the process, `prepare` runs before its loop, and `idle` ends each turn. `station` is a plugin
//! with its calls, and `flight` starts and ends them. Commands are processes. `caller` keeps threads for calls over the
//! network: [`socket`], [`http`], [`cdn`].

pub(crate) mod alarm;
pub(crate) mod cdn;
pub(crate) mod command;
pub(crate) mod fail_log;
pub(crate) mod http;
pub(crate) mod queue;
pub(crate) mod socket;
pub(crate) mod subject;

mod caller;
mod flight;
mod idle;
mod prepare;
mod run;
mod station;

pub use run::run;
