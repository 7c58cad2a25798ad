//! `syncsup run`, also the default without a subcommand: replicates, in the foreground or as a daemon.

mod bars;

use super::invocation::Invocation;
use super::print;
use crate::error::{Exit, Result};
use crate::language::say;
use crate::supervisor::notifications::Notification;
use crate::supervisor::{InstanceOptions, daemon, run};
use crate::sys::session::monotonic;
use bars::Bars;

/// Runs until it is stopped. With `daemon`, returns when every localpath is watched.
pub fn run(
    invocation: &Invocation,
    daemon: bool,
    reconcile: bool,
    slots: Option<usize>,
) -> Result<Exit> {
    let options = InstanceOptions {
        files: invocation.files_or_default()?,
        directories: invocation.directories.clone(),
        slots,
        reconcile,
        debug: invocation.verbose,
        module: invocation.module.clone(),
        sysctl: invocation.sysctl,
        user: invocation.user.clone(),
        log_format: invocation.log_format,
        http: invocation.http,
    };
    let line = |text: &str| print(&format!("{text}\n"));
    if daemon {
        let pid = daemon::start(&options, &invocation.words, &line)?;
        let option = options.directories.run_option();
        print(&say!("syncsup runs as a daemon, pid {}; see `syncsup status{}`\n", pid, option));
        return Ok(Exit::Ok);
    }
    let mut bars = Bars::new();
    run::run(options, false, &mut |notification| match notification {
        Notification::Comparing(localpaths) => bars.update(&localpaths, monotonic()),
        Notification::Banner(lines) => lines.iter().for_each(|text| line(text)),
        Notification::Watching(watch) => {
            bars.clear();
            line(&format!("watching {watch}"));
        }
        // The log reports it, and the log is on the terminal too.
        Notification::Warned(_) | Notification::Started(_) => {}
    })?;
    Ok(Exit::Ok)
}
