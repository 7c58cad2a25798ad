//! `syncsup verify`.
use super::invocation::{Invocation, Verify};
use crate::error::{Error, Exit, Result};
/// Not yet.
pub fn run(_: &Invocation, _: &Verify) -> Result<Exit> {
    Err(Error::usage("not yet"))
}
