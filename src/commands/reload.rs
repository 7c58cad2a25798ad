//! `syncsup reload`: reads the configuration again. If the new one has an error, the old one stays in use.

use super::invocation::Invocation;
use super::{client, print};
use crate::error::{Error, Exit, Result};
use crate::language::say;
use crate::message::Request;
use std::time::Duration;

/// A configuration may name directories on slow file systems.
const PATIENCE: Duration = Duration::from_secs(60);

/// Reloads, and prints what was done. Exit status 2 if the new configuration is refused.
pub fn run(invocation: &Invocation) -> Result<Exit> {
    let instance = client::the_one(invocation)?;
    // Do not wait that long for a supervisor that hangs.
    instance.status()?;
    let lines = instance.command(&Request::Reload, PATIENCE).map_err(|e| match e.exit {
        Exit::No => {
            Error::usage(say!("{}\nnot reloaded; the old configuration stays in force", e.text))
        }
        _ => e,
    })?;
    print(&lines.into_iter().map(|line| line + "\n").collect::<String>());
    Ok(Exit::Ok)
}
