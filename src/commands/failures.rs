//! `syncsup journal`.
use super::invocation::{Invocation, JournalAction};
use crate::error::{Error, Exit, Result};
/// Not yet.
pub fn run(_: &Invocation, _: &JournalAction) -> Result<Exit> {
    Err(Error::usage("not yet"))
}
