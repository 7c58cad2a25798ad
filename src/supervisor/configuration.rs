//! Reads the configuration, at the start and at a reload.

use super::InstanceOptions;
use crate::config::diagnostic::{Diagnostic, Severity};
use crate::config::model::Config;
use crate::config::probe::Machine;
use crate::config::run_as::changed;
use crate::config::{self, Loaded, check, credentials, http, log, module};
use crate::error::{Error, Result};
use crate::instance::{directories, run_as};
use crate::language::say;
use std::collections::BTreeSet;

/// Examines the machine for a start, as the user that the instance runs as: every localpath must exist. Also returns the
/// warnings.
pub fn examine(mut loaded: Loaded) -> Result<(Config, Vec<Diagnostic>)> {
    loaded.diagnostics.extend(check::roots(&loaded.config, &Machine));
    loaded.diagnostics.extend(run_as::beyond(&loaded.config));
    sort_out(loaded)
}

/// The merged files, with `-m` only the parts that it needs, overridden by `--http` and `--user`.
pub fn read(options: &InstanceOptions) -> Loaded {
    let mut loaded = config::read_to_run(&options.files, options.user.as_deref(), &run_as::find);
    if let Some(kind) = &options.module {
        loaded.diagnostics.extend(module::only(&mut loaded.config, kind));
    }
    let directory = directories::credentials();
    loaded.diagnostics.extend(credentials::resolve(&mut loaded.config, directory.as_deref()));
    log::overlay(&mut loaded.config.log, options.log_format);
    loaded.diagnostics.extend(http::overlay(&mut loaded.config.http, options.http));
    loaded
}

/// Reads the configuration for a reload. Localpaths in `kept` may be missing, because a running instance holds these
/// (rule 21).
pub fn reload(options: &InstanceOptions, kept: &Config) -> Result<(Config, Vec<Diagnostic>)> {
    let mut loaded = read(options);
    if let Some(error) = changed(kept.user.as_ref(), loaded.config.user.as_ref()) {
        return Err(Error::usage(error.to_string()));
    }
    loaded.diagnostics.extend(log::changed(kept.log.as_ref(), loaded.config.log.as_ref()));
    loaded.diagnostics.extend(run_as::beyond(&loaded.config));
    let known: BTreeSet<_> = kept.localpaths.iter().map(|l| &l.watch).collect();
    let mut new = loaded.config.clone();
    new.localpaths.retain(|l| !known.contains(&l.watch));
    loaded.diagnostics.extend(check::roots(&new, &Machine));
    sort_out(loaded)
}

fn sort_out(loaded: Loaded) -> Result<(Config, Vec<Diagnostic>)> {
    let (errors, warnings): (Vec<_>, Vec<_>) =
        loaded.diagnostics.into_iter().partition(|d| d.severity == Severity::Error);
    if !errors.is_empty() {
        let lines: Vec<String> = errors.iter().map(Diagnostic::to_string).collect();
        return Err(Error::usage(lines.join("\n")));
    }
    if loaded.config.localpaths.is_empty() {
        return Err(Error::usage(say!("the configuration has no localpath")));
    }
    Ok((loaded.config, warnings))
}
