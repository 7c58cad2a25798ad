//! `syncsup schema`: prints the JSON Schema of the YAML configuration, for editors.

use super::print_exactly;
use crate::config::SCHEMA;
use crate::error::{Exit, Result};

/// Prints it.
pub fn run() -> Result<Exit> {
    print_exactly(SCHEMA);
    Ok(Exit::Ok)
}
