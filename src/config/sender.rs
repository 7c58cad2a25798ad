//! The interaction of the local rsync with the parameters of each remote. Pure: the machine's answers are passed as
//! values, from `probe`.

use super::diagnostic::{Diagnostic, Severity};
use super::model::{Config, LocalPath, Place, Remote, Target};
use super::probe::Probe;
use crate::language::say;
use crate::path::as_written;
use crate::rsync::params;
use std::collections::BTreeSet;

type Version = (u32, u32, u32);

/// The first rsync whose sender cannot be led out of the tree by a link that replaces a directory.
const SAFE: Version = (3, 5, 0);

fn finding(severity: Severity, place: &Place, text: String) -> Diagnostic {
    Diagnostic { severity, place: place.clone(), column: 0, text }
}

/// Errors of parameters that depend on the destination.
pub(super) fn parameters(localpath: &LocalPath, remote: &Remote) -> Vec<Diagnostic> {
    let in_module = match &remote.peer.target {
        Target::Daemon { module, .. } => {
            !module.as_bytes().strip_suffix(b"/").unwrap_or(module.as_bytes()).contains(&b'/')
        }
        Target::Ssh { .. } => false,
    };
    let inside = params::inside_destination(&remote.peer.params, in_module).into_iter();
    // The trash replaces the user's backups.
    let counts = |name: &str| name != "--backup-dir" || remote.trash_keep_ms.is_none();
    let mut found: Vec<Diagnostic> = inside
        .filter(|(name, _)| counts(name))
        .map(|(name, dir)| {
            let text = say!("rsync parameter `{}` of {}: `{}` lies in the replicated directory, and every reconcile would delete it; name a directory outside, or exclude it with --exclude={}", name, remote.name(), as_written(dir.as_bytes()), as_written(dir.as_bytes()));
            finding(Severity::Error, &remote.place, text)
        })
        .collect();
    if let Some(file) = params::log_file(&remote.peer.params)
        && file.as_path().starts_with(localpath.watch.as_path())
    {
        let text = say!(
            "rsync parameter `--log-file` of {}: {} lies in the localpath, and every line written to it would be pushed; choose another file",
            remote.name(),
            as_written(file.as_bytes())
        );
        found.push(finding(Severity::Error, &remote.place, text));
    }
    found
}

/// What is wrong with the local rsyncs, each once, and the parameters that they do not support.
pub fn versions(config: &Config, probe: &dyn Probe) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let mut programs = BTreeSet::new();
    let mut told = BTreeSet::new();
    for remote in config.localpaths.iter().flat_map(|localpath| &localpath.remotes) {
        let program = &remote.peer.rsync_program;
        if programs.insert(program.clone()) {
            let line = probe.rsync_version(program.as_os_str());
            let text = rsync_warning(&program.to_string(), line.as_deref());
            found.extend(text.map(|t| finding(Severity::Warning, &remote.place, t)));
        }
        if remote.peer.params.is_empty()
            || !told.insert((program.clone(), remote.peer.params.clone()))
        {
            continue;
        }
        let line = probe.rsync_version(program.as_os_str());
        let Some(version) = line.as_deref().and_then(version) else { continue };
        for (option, (major, minor, patch)) in params::newer_than(&remote.peer.params, version) {
            let text = say!(
                "rsync parameter `{}` needs rsync {}.{}.{}, and {} is {}",
                option,
                major,
                minor,
                patch,
                program,
                shown(version)
            );
            found.push(finding(Severity::Warning, &remote.place, text));
        }
    }
    found
}

fn shown((major, minor, patch): Version) -> String {
    format!("{major}.{minor}.{patch}")
}

/// The version in the first line of `--version`. A prerelease (`3.5.0pre1`) counts as the release.
fn version(line: &str) -> Option<Version> {
    let number = line.split_whitespace().skip_while(|w| *w != "version").nth(1)?;
    let digits = |part: &str| {
        let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        part[..end].parse::<u32>().ok()
    };
    let mut parts = number.trim_start_matches('v').split(['.', '-']).map_while(digits);
    Some((parts.next()?, parts.next()?, parts.next().unwrap_or(0)))
}

/// What is wrong with an rsync, by the first line of its `--version`; `None` is an rsync that did not answer.
pub fn rsync_warning(program: &str, line: Option<&str>) -> Option<String> {
    let Some(line) = line else {
        return Some(say!(
            "rsync program {} was not found; install rsync, 3.1.0 or newer",
            program
        ));
    };
    match version(line) {
        Some(version) if version >= SAFE => None,
        Some(version) if version >= (3, 1, 0) => Some(say!(
            "rsync program {} is {}; install 3.5.0 or newer: older versions have 33 known CVEs, and a user who can write in a localpath can replace a directory with a link and so have files from outside it sent",
            program,
            shown(version)
        )),
        Some(version) => {
            Some(say!("rsync program {} is {}; install 3.1.0 or newer", program, shown(version)))
        }
        None => Some(say!(
            "rsync program {} does not print its version; install rsync, 3.1.0 or newer",
            program
        )),
    }
}
