//! The plugin runner: calls the plugins of one localpath for what changed, when the remotes have it.
//!
//! The pure part: [`queue`] says which calls come next and what a failure means, [`subject`] what a call is about,
//! [`command`] makes and judges command lines, [`alarm`] says when a remote's trouble is told, [`fail_log`] how a failed
//! call is made by hand.
//!
//! The shell: `run` is the process, `prepare` comes before its loop, `idle` ends each turn; `station` is a plugin with its
//! calls, `flight` starts and lands them.
//! Commands are processes; `caller` keeps threads for what goes over the network: [`socket`], [`http`], [`cdn`].

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
