//! `syncsup release NAME`: releases a held remote, or accepts a replaced localpath as it is now. With `--show` it only
//! compares, and lists what would be deleted.

use super::client::RunningInstance;
use super::invocation::Invocation;
use super::status::one_line;
use super::{client, print, verify};
use crate::error::{Error, Exit, Result};
use crate::language::{counted, say, words};
use crate::message::{InstanceStatus, LocalPathStatus, RemoteStatus, Request, VerifyEnd, Why};
use crate::path::{OsBytes, printable};

/// Releases, and prints what that means. Exit status 1 if nothing of that name is held.
pub fn run(invocation: &Invocation, name: &str, show: bool) -> Result<Exit> {
    let instance = client::the_one(invocation)?;
    if show {
        return show_deletions(&instance, name, &invocation.directories.run_option());
    }
    let status = instance.status()?;
    if let Some(why) = nothing_held(&status, name) {
        return Err(Error::new(Exit::No, why));
    }
    let answer = instance.command(&Request::Release(name.to_owned()), client::PATIENCE);
    // A refusal for a name that exists is not a usage error.
    let lines = if known(&status, name) { answer? } else { client::named(answer)? };
    print(&lines.into_iter().map(|line| line + "\n").collect::<String>());
    print(&approved(&status, name));
    Ok(Exit::Ok)
}

/// What is approved, one line per localpath.
fn approved(status: &InstanceStatus, name: &str) -> String {
    let of = |(watch, remote): (&OsBytes, &RemoteStatus)| {
        let deletions = counted(remote.status.held_deletions?, words::DELETIONS);
        Some(say!("{}: approved: {}\n", watch, deletions))
    };
    named(status, name).filter_map(of).collect()
}

/// The remotes of that name, with their localpaths.
fn named<'a>(
    status: &'a InstanceStatus,
    name: &'a str,
) -> impl Iterator<Item = (&'a OsBytes, &'a RemoteStatus)> {
    let of = move |l: &'a LocalPathStatus| l.remotes.iter().map(move |remote| (&l.watch, remote));
    status.localpaths.iter().flat_map(of).filter(move |(_, remote)| remote.name == name)
}

/// Compares, and lists what would be deleted. Exit status 1 if that cannot be determined.
fn show_deletions(instance: &RunningInstance, name: &str, run_option: &str) -> Result<Exit> {
    let status = instance.status()?;
    let mut pairs = Vec::new();
    for localpath in &status.localpaths {
        let watch = localpath.watch.to_string();
        let all = name == watch || (name.len() > 1 && name.trim_end_matches('/') == watch);
        let meant = localpath.remotes.iter().filter(|r| all || r.name == name);
        pairs.extend(meant.map(|r| (&localpath.watch, &r.name)));
    }
    if pairs.is_empty() {
        let name = printable(name.as_bytes());
        return Err(Error::usage(say!(
            "{}: no such localpath or remote; see `syncsup status{}`",
            name,
            run_option
        )));
    }
    let mut known = true;
    for (watch, remote) in pairs {
        print(&format!("{watch} {remote}\n"));
        let mut count = 0;
        let end = verify::ask(instance, watch, remote, |d| {
            if d.why == [Why::Extra] {
                count += 1;
                let slash = if d.dir { "/" } else { "" };
                print(&say!("  would be deleted  {}{}\n", d.path, slash));
            }
        })?;
        known &= matches!(end, VerifyEnd::Done { .. });
        let help = verify::help(instance, watch, remote, &end)?;
        print(&match end {
            VerifyEnd::Done { .. } => {
                format!("  {}\n", counted(count, words::DELETIONS))
            }
            VerifyEnd::Incomplete(why) => {
                say!("  INCOMPLETE, so nothing would be deleted: {}\n", one_line(&why))
            }
            VerifyEnd::Failed(why) => say!("  NOT VERIFIED: {}\n", one_line(&why)),
        });
        help.iter().for_each(|line| print(&format!("    {line}\n")));
    }
    Ok(if known { Exit::Ok } else { Exit::No })
}

fn known(status: &InstanceStatus, name: &str) -> bool {
    let localpath = |watch: String| watch == name || watch == name.trim_end_matches('/');
    status
        .localpaths
        .iter()
        .any(|l| localpath(l.watch.to_string()) || l.remotes.iter().any(|r| r.name == name))
}

/// Why there is nothing to release, if remotes have that name and the guard holds none of them.
fn nothing_held(status: &InstanceStatus, name: &str) -> Option<String> {
    let remotes = || named(status, name).map(|(_, remote)| &remote.status);
    let first = remotes().next()?;
    if remotes().any(|remote| remote.held_deletions.is_some()) {
        return None;
    }
    let state = super::status::word(first.state);
    Some(match &first.reason {
        None => say!("{} is not held ({}); nothing to release", name, state),
        Some(reason) => say!(
            "{}: the delete guard holds nothing ({}: {}); mend that instead",
            name,
            state,
            one_line(reason)
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{PusherState, PusherStatus};

    #[test]
    fn only_what_the_guard_holds_is_released() {
        let remote = |name: &str, state, held_deletions, reason: Option<&str>| RemoteStatus {
            name: name.into(),
            status: PusherStatus {
                state,
                held_deletions,
                reason: reason.map(str::to_owned),
                ..PusherStatus::default()
            },
            ..RemoteStatus::default()
        };
        let localpath = |watch: &str, remotes| LocalPathStatus {
            watch: watch.into(),
            remotes,
            ..Default::default()
        };
        let refused = Some("connection refused");
        let localpaths = vec![
            localpath(
                "/a",
                vec![
                    remote("fine", PusherState::InSync, None, None),
                    remote("both", PusherState::Behind, None, None),
                    remote("away", PusherState::Backoff, Some(7), refused),
                    remote("wrong", PusherState::Held, None, Some("module is read only")),
                ],
            ),
            localpath("/b", vec![remote("both", PusherState::Held, Some(300), Some("300 of 306"))]),
        ];
        let status = InstanceStatus { localpaths, ..InstanceStatus::default() };
        assert_eq!(
            nothing_held(&status, "fine").as_deref(),
            Some("fine is not held (in sync); nothing to release")
        );
        let wrong = nothing_held(&status, "wrong").unwrap();
        assert!(wrong.contains("(HELD: module is read only)"), "{wrong}");
        for name in ["both", "away", "/a", "unknown"] {
            assert_eq!(nothing_held(&status, name), None, "{name}");
        }
        assert_eq!(approved(&status, "both"), "/b: approved: 300 deletions\n");
        assert_eq!(approved(&status, "/a"), "");
    }
}
