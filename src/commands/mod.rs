//! The subcommands, one file or folder each. Each returns the exit status, or an error that the user reads.

pub(crate) mod check;
mod client;
pub(crate) mod convert;
pub(crate) mod demo;
pub(crate) mod help_on;
pub(crate) mod invocation;
pub(crate) mod journal;
pub(crate) mod migrate;
pub(crate) mod progress;
pub(crate) mod release;
pub(crate) mod reload;
mod resolve;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod status;
pub(crate) mod stop;
pub(crate) mod sync;
mod table;
pub(crate) mod undelete;
pub(crate) mod verify;
pub(crate) mod wait;

use crate::sys::output::{print, print_exactly};
