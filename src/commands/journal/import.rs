//! `syncsup journal import FILE`: takes over what sersync itself still had to push.

use crate::commands::client::{self, RunningInstance};
use crate::commands::invocation::{Invocation, absolute};
use crate::commands::print;
use crate::config;
use crate::config::model::{Config, Remote, Target};
use crate::config::sersync_log::{self, Lost};
use crate::error::{Error, Exit, Result, without_number};
use crate::instance::owe::owe_offline;
use crate::instance::run_as;
use crate::language::{counted, said, say, words};
use crate::message::Request;
use crate::path::{OsBytes, RelPath, printable};
use crate::script::FAIL_LOG_HEAD;
use crate::sys::output::complain;
use crate::sys::{log, own};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The paths of one request, in bytes. A request is limited to 64 KiB.
const AT_ONCE_BYTES: usize = 8 << 10;
/// sersync empties its fail log every hour. A larger file is not a fail log.
const MOST_BYTES: u64 = 256 << 20;
/// The size of each path in a request, in addition to its name.
const EACH_BYTES: usize = 16;

/// Exit status 1 if a line was not understood or names nothing that is configured. Each such line is printed, and all
/// others are imported.
pub fn run(invocation: &Invocation, file: &Path) -> Result<Exit> {
    let shown = printable(file.as_os_str().as_bytes());
    run_as::assume_owner(&invocation.directories, &log::logger(false))?;
    let text = own::read(file, MOST_BYTES).map_err(|e| {
        Error::usage(format!("{shown}: {}", say!("cannot be read: {}", without_number(&e))))
    })?;
    if text.starts_with(FAIL_LOG_HEAD.as_bytes()) {
        let why = say!("written by syncsup itself: its entries are in the journal already");
        return Err(Error::usage(format!("{shown}: {why}")));
    }
    let (config, kept) = configuration(invocation)?;
    let (lost, odd) = sersync_log::parse(&text);
    let mut complaints: Vec<(usize, String)> =
        odd.into_iter().map(|o| (o.line, said(o.why))).collect();
    let mut taken: BTreeMap<(OsBytes, String), BTreeSet<RelPath>> = BTreeMap::new();
    for lost in lost {
        match remote_of(&config, &lost) {
            Some(place) => drop(taken.entry(place).or_default().insert(lost.path)),
            None => complaints.push((lost.line, not_configured(&lost))),
        }
    }
    complaints.sort();
    for (line, why) in &complaints {
        complain(&say!("syncsup: {}:{}: not imported: {}", shown, line, why));
    }
    for ((watch, remote), paths) in &taken {
        let paths: Vec<RelPath> = paths.iter().cloned().collect();
        match kept.iter().find(|(kept, _)| kept == watch) {
            Some((_, instance)) => ask(instance, watch, remote, &paths)?,
            None => owe_offline(&invocation.directories, &config, watch, remote, &paths)?,
        }
        print(&say!("{} {}: {} imported\n", watch, remote, amount(&paths)));
    }
    print(&say!("{} is unchanged; none of its commands was run\n", shown));
    Ok(if complaints.is_empty() { Exit::Ok } else { Exit::No })
}

fn amount(paths: &[RelPath]) -> String {
    let whole = paths.iter().any(RelPath::is_root);
    let names = paths.len() - usize::from(whole);
    let paths = || counted(names as u64, words::PATHS);
    match (whole, names) {
        (true, 0) => say!("a full reconcile"),
        (true, _) => say!("a full reconcile, {}", paths()),
        (false, _) => paths(),
    }
}

/// The configuration, and which localpaths a running instance keeps.
pub(in crate::commands) fn configuration(
    invocation: &Invocation,
) -> Result<(Config, Vec<(OsBytes, RunningInstance)>)> {
    let mut kept = Vec::new();
    let mut files = Vec::new();
    for instance in client::running(invocation)? {
        let status = instance.status()?;
        files.extend(status.files);
        // An instance of -m may run beside the instance that replicates.
        let replicated = status.localpaths.into_iter().filter(client::has_remotes);
        kept.extend(replicated.map(|l| (l.watch, instance.clone())));
    }
    let mut seen = BTreeSet::new();
    files.retain(|file| seen.insert(file.clone()));
    // A running instance reports its files. If none is running, the command line gives them.
    if files.is_empty() || !invocation.files.is_empty() {
        files = invocation.files_or_default()?;
    }
    let files = files.into_iter().map(absolute).collect::<Result<Vec<_>>>()?;
    let loaded = config::read(&files);
    if loaded.has_errors() {
        let lines: Vec<String> = loaded.diagnostics.iter().map(ToString::to_string).collect();
        return Err(Error::usage(lines.join("\n")));
    }
    Ok((loaded.config, kept))
}

/// The localpath and the remote that a line refers to.
fn remote_of(config: &Config, lost: &Lost) -> Option<(OsBytes, String)> {
    let localpaths = config.localpaths.iter().filter(|l| l.watch.as_bytes() == lost.watch);
    let mut all = localpaths.flat_map(|l| l.remotes.iter().map(move |r| (l, r)));
    let (localpath, remote) = all.find(|(_, remote)| is(remote, lost))?;
    Some((localpath.watch.clone(), remote.name()))
}

fn is(remote: &Remote, lost: &Lost) -> bool {
    let place = |bytes: &[u8]| bytes.strip_suffix(b"/").unwrap_or(bytes) == lost.place;
    let there = match &remote.peer.target {
        Target::Daemon { port, module } => {
            // The default port may have been changed since.
            !lost.ssh && lost.port.is_none_or(|p| p == *port) && place(module.as_bytes())
        }
        Target::Ssh { path, .. } => lost.ssh && place(path.as_bytes()),
    };
    there && remote.peer.host.as_bytes().eq_ignore_ascii_case(&lost.host)
}

fn not_configured(lost: &Lost) -> String {
    let colon = if lost.ssh { ":" } else { "::" };
    say!(
        "no localpath {} with a remote {}{}{} is configured (for {})",
        printable(&lost.watch),
        printable(&lost.host),
        colon,
        printable(&lost.place),
        lost.path
    )
}

fn ask(instance: &RunningInstance, watch: &OsBytes, remote: &str, paths: &[RelPath]) -> Result<()> {
    let mut rest = paths;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest.iter().take_while(|path| {
            bytes += path.as_bytes().len() + EACH_BYTES;
            bytes <= AT_ONCE_BYTES
        });
        let (some, more) = rest.split_at(fits.count().max(1));
        let request =
            Request::Owe { watch: watch.clone(), remote: remote.to_owned(), paths: some.to_vec() };
        instance.command(&request, client::PATIENCE)?;
        rest = more;
    }
    Ok(())
}
