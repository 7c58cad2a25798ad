//! sync
use crate::cli::Invocation;
use crate::error::{Exit, Result};
/// x
pub fn run(_: &Invocation, _: &[String]) -> Result<Exit> {
    Ok(Exit::Ok)
}
