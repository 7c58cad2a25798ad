//! syncsup keeps directories on one Linux master identical on many slaves in real time.
//!
//! One idea: *everything marks; only a push acts.* A mark says that a path may differ on a remote; a push makes the
//! remote's state of a path equal to the local state as it is at that moment.
//!
//! # Overview of the modules
//!
//! | module | purpose |
//! |---|---|
//! | [`error`], [`path`], `shell`, `script`, `figures` | exit statuses; byte paths; shell words; scripts; figures |
//! | [`language`] | English or Chinese, and what is said in both |
//! | [`help_topic`] | the sections of docs/troubleshooting.md, and the reasons that name one |
//! | `trust` | the users whose files this process may trust |
//! | [`rsync`] | the command lines of rsync and its output |
//! | [`filter`] | what is replicated |
//! | [`config`] | bytes of a `confxml.xml` or a YAML file -> validated model, all errors at once |
//! | [`journal`] | the SQLite file: marks, cursors, what is owed, the checkpoint |
//! | [`message`] | one enum for each direction of each control channel |
//! | [`stat`], `root_id` | as values: the system's data about a file or the queue, and the identity of a root |
//! | [`supervisor`] | starts and restarts the children of one instance, grants slots, answers commands |
//! | `commands`, [`cli`], [`role`] | the work of a command line or of a re-executed child |
//! | [`sys`] | the only module that touches the system: channels, polling, processes, signals, inotify |
//! | `rsync_run` | a running rsync and its watchdog; a comparison by a dry run |
//! | `instance` | an instance on disk: its directories, their names, the work of commands while no supervisor runs |
//! | [`pusher`] | marks -> rsync's command line; rsync's output -> settled paths |
//! | `plugin` | the process that calls the plugins of one localpath |
//! | `reporter` | the process that shows status and metrics over HTTP |
//! | `watcher` | the process that watches one localpath and marks what changed |

#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

pub mod cli;
pub(crate) mod commands;
pub mod config;
pub mod error;
pub(crate) mod figures;
pub mod filter;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod help_topic;
pub(crate) mod instance;
pub mod journal;
pub mod language;
pub mod log_settings;
pub mod message;
pub mod path;
pub(crate) mod plugin;
pub mod pusher;
pub mod reconcile_reason;
pub(crate) mod reporter;
pub mod role;
pub(crate) mod root_id;
pub mod rsync;
pub(crate) mod rsync_run;
pub(crate) mod script;
pub(crate) mod shell;
#[cfg(test)]
#[path = "simulation/tests.rs"]
mod simulation;
pub mod stat;
pub mod supervisor;
pub mod sys;
pub(crate) mod trust;
pub mod watcher;
