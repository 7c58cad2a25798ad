//! `syncsup reload`: the configuration is read again; with an error in it, the old one stays.

use super::invocation::Invocation;
use super::{client, print};
use crate::error::{Error, Exit, Result};
use crate::message::Request;
use std::time::Duration;

/// A configuration may name directories that are slow to look at.
const PATIENCE: Duration = Duration::from_secs(60);

/// Reloads, and prints what was done; exit status 2 when the new configuration is refused.
pub fn run(invocation: &Invocation) -> Result<Exit> {
    let instance = client::the_one(invocation)?;
    // A supervisor that hangs is not waited for that long.
    instance.status()?;
    let lines = instance.command(&Request::Reload, PATIENCE).map_err(|e| match e.exit {
        Exit::No => {
            Error::usage(format!("{}\nnot reloaded; the old configuration stays in force", e.text))
        }
        _ => e,
    })?;
    print(&lines.into_iter().map(|line| line + "\n").collect::<String>());
    Ok(Exit::Ok)
}
