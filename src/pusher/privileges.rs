//! What a pusher gives up before it works, and what its rsyncs are confined to.

use crate::message::PusherStart;
use crate::rsync::{needs, params};
use crate::sys::confine::{self, Also, Does};
use crate::sys::domain::{self, Reach};
use crate::sys::executable;
use crate::sys::rsync::Confined;
use slog::{Logger, debug};
use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Gives up what neither the pusher nor its rsync needs. A program of the user's own, which may use sudo, runs as it
/// always did.
pub fn give_up(start: &PusherStart, log: &Logger) -> io::Result<()> {
    if rsync_alone(start).is_none() {
        debug!(
            log,
            "this process and what it starts keep their privileges, for a program of the user's own"
        );
        return Ok(());
    }
    confine::give_up(Does::Pushes, also(start), log)
}

/// The file of rsync. `None` when another program runs beside it or in its place that is not ssh as such.
fn rsync_alone(start: &PusherStart) -> Option<PathBuf> {
    let peer = &start.remote.peer;
    let other =
        params::remote_shell(&peer.params).is_some() || env::var_os("RSYNC_CONNECT_PROG").is_some();
    if other { None } else { executable::rsync(peer.rsync_program.as_os_str()) }
}

/// What rsync needs for some parameters of the user.
fn also(start: &PusherStart) -> Also {
    let has = |name| params::has(&start.remote.peer.params, name);
    Also {
        trusted_attributes: has("xattrs"),
        access_times: has("open-noatime"),
        log: has("log-file"),
        ..Also::default()
    }
}

/// What the rsyncs of this pusher are confined to. `None` where it cannot be told what they need.
pub fn confined(start: &PusherStart, log: &Logger) -> Option<Confined> {
    let found = reach(start);
    if found.is_none() {
        debug!(log, "rsync may read every file: what it needs beside the localpath is not known");
    }
    Some(Confined { reach: found?, also: also(start) })
}

/// Lets this process, and the rsyncs that are `confined`, write nothing but its state directory, connect to nothing but
/// the remote, and signal and look into no process but those. It can still read and run any file, because a password
/// file and rsync may be replaced at any time; what an rsync reads is confined when it starts.
pub fn write_state_only(state_dir: &Path, confined: &Confined, log: &Logger) -> io::Result<()> {
    if !confined.reach.creates_in.is_empty() {
        debug!(
            log,
            "this process can write other files, since a directory of the log of rsync may be replaced"
        );
        return Ok(());
    }
    if !domain::links_between_directories() {
        debug!(
            log,
            "this kernel has no Landlock of Linux 5.19, so this process can write other files"
        );
        return Ok(());
    }
    let all = vec![PathBuf::from("/")];
    let owns = vec![state_dir.to_owned()];
    let reach = Reach { reads: all.clone(), runs: all, owns, ..confined.reach.clone() };
    confine::work_within(&reach, log).map(drop)
}

fn reach(start: &PusherStart) -> Option<Reach> {
    let peer = &start.remote.peer;
    let needs = needs::of(peer)?;
    let names = fs::read_to_string("/etc/nsswitch.conf").unwrap_or_default();
    if !needs::finds_names(&names) {
        return None;
    }
    let program = rsync_alone(start)?;
    let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
    let mut reads = paths(needs::NAMES);
    reads.extend(env::var_os("HOME").map(|home| Path::new(&home).join(".popt")));
    let mut runs = paths(domain::LIBRARIES);
    // One that is installed elsewhere may have its libraries beside it.
    let real = program.canonicalize().unwrap_or_else(|_| program.clone());
    if let Some(prefix) = real.parent().and_then(Path::parent) {
        runs.extend([prefix.join("lib"), prefix.join("lib64")]);
    }
    runs.push(program);
    for variable in ["LD_LIBRARY_PATH", "LD_PRELOAD"] {
        runs.extend(env::var_os(variable).iter().flat_map(env::split_paths));
    }
    let ports = vec![needs.port, needs::DNS_PORT];
    Some(Reach {
        reads,
        runs,
        writes: paths(&["/dev/null"]),
        creates_in: needs.log.into_iter().collect(),
        ports: env::var_os("RSYNC_PROXY").is_none().then_some(ports),
        ..Reach::default()
    })
}

#[cfg(test)]
#[path = "tests/privileges.rs"]
mod tests;
