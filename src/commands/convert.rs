//! `syncsup convert -o confxml.xml`: the same configuration as YAML.

use super::invocation::Invocation;
use super::print;
use crate::config::{self, convert::to_yaml};
use crate::error::{Error, Exit, Result};

/// Prints the YAML; warnings go to stderr.
pub fn run(invocation: &Invocation) -> Result<Exit> {
    let loaded = config::read(&invocation.files_or_default()?);
    let lines: Vec<String> = loaded.diagnostics.iter().map(|d| d.to_string()).collect();
    if loaded.has_errors() {
        return Err(Error::usage(lines.join("\n")));
    }
    lines.iter().for_each(|line| eprintln!("syncsup: {line}"));
    print(&to_yaml(&loaded.config)?);
    Ok(Exit::Ok)
}
