//! The subcommands, one file or folder each. Each returns the exit status, or an error that the user reads.

pub mod check;
mod client;
pub mod convert;
pub mod demo;
pub mod invocation;
pub mod journal;
pub mod migrate;
pub mod progress;
pub mod release;
pub mod reload;
mod resolve;
pub mod run;
pub mod status;
pub mod stop;
pub mod sync;
mod table;
pub mod undelete;
pub mod verify;
pub mod wait;

use crate::sys::output::{print, print_exactly};
