//! `syncsup convert -o confxml.xml`: prints the same configuration as YAML.

use super::invocation::Invocation;
use super::print_exactly;
use crate::config::{self, convert::to_yaml, model::Config};
use crate::error::{Error, Exit, Result};
use crate::language::{listed, say};
use crate::sys::output::complain;

/// Prints the YAML. Warnings go to stderr.
pub fn run(invocation: &Invocation) -> Result<Exit> {
    let loaded = config::read(&invocation.files_or_default()?);
    let lines: Vec<String> = loaded.diagnostics.iter().map(|d| d.to_string()).collect();
    if loaded.has_errors() {
        return Err(Error::usage(lines.join("\n")));
    }
    lines.iter().for_each(|line| complain(&format!("syncsup: {line}")));
    if let Some(text) = left_out(&loaded.config) {
        complain(&format!("syncsup: {text}"));
    }
    print_exactly(&to_yaml(&loaded.config)?);
    Ok(Exit::Ok)
}

/// The plugin sections that are not started. In YAML, every plugin in the file is called, so they must be omitted.
pub(super) fn left_out(config: &Config) -> Option<String> {
    let started = |kind: &str| {
        config.localpaths.iter().flat_map(|l| &l.plugins).any(|p| p.call.kind() == kind)
    };
    let kinds = config.sections.iter().map(|s| s.call.kind()).filter(|kind| !started(kind));
    let mut kinds: Vec<&str> = kinds.collect();
    kinds.sort_unstable();
    kinds.dedup();
    (!kinds.is_empty()).then(|| {
        say!(
            "the YAML omits plugins that are not started: {}; to call one with -m, keep the XML",
            listed(&kinds)
        )
    })
}
