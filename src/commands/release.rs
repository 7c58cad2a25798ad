//! `syncsup release NAME`: a held remote goes on, or a replaced localpath is taken as it is now.

use super::invocation::Invocation;
use super::{client, print};
use crate::error::{Exit, Result};
use crate::message::Request;

/// Releases, and prints what that means.
pub fn run(invocation: &Invocation, name: &str) -> Result<Exit> {
    let instance = client::the_one(invocation)?;
    let lines =
        client::named(instance.command(&Request::Release(name.to_owned()), client::PATIENCE))?;
    print(&lines.into_iter().map(|line| line + "\n").collect::<String>());
    Ok(Exit::Ok)
}
