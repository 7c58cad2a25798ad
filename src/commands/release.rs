//! `syncsup release NAME`: releases a held remote, or accepts a replaced localpath as it is now. With `--show` it only
//! compares, and lists what would be deleted.

use super::client::RunningInstance;
use super::invocation::Invocation;
use super::status::one_line;
use super::{client, print, table, verify};
use crate::error::{Error, Exit, Result};
use crate::message::{InstanceStatus, PusherState, RemoteStatus, Request, VerifyEnd, Why};
use crate::path::printable;

/// Releases, and prints what that means. Exit status 1 if nothing of that name is held.
pub fn run(invocation: &Invocation, name: &str, show: bool) -> Result<Exit> {
    let instance = client::the_one(invocation)?;
    if show {
        return show_deletions(&instance, name);
    }
    let status = instance.status()?;
    // The release of a remote that is not held would let the next reconcile delete without the guard.
    if let Some(state) = in_order(&status, name) {
        let text = format!("{name} is not held ({state}); nothing to release");
        return Err(Error::new(Exit::No, text));
    }
    let answer = instance.command(&Request::Release(name.to_owned()), client::PATIENCE);
    // A refusal for a name that exists is not a usage error.
    let lines = if known(&status, name) { answer? } else { client::named(answer)? };
    print(&lines.into_iter().map(|line| line + "\n").collect::<String>());
    print(&held_back(&status, name));
    Ok(Exit::Ok)
}

/// What the guard held back, one line per localpath.
fn held_back(status: &InstanceStatus, name: &str) -> String {
    let mut out = String::new();
    for localpath in &status.localpaths {
        let of = |r: &&RemoteStatus| r.name == name && r.status.state == PusherState::Held;
        let reasons =
            localpath.remotes.iter().filter(of).filter_map(|r| r.status.reason.as_deref());
        for words in reasons.filter_map(|reason| reason.strip_prefix("would delete ")) {
            let count = words.split(';').next().unwrap_or_default();
            out += &format!("{}: the reconcile would have deleted {count}\n", localpath.watch);
        }
    }
    out
}

/// Compares, and lists what would be deleted. Exit status 1 if that cannot be determined.
fn show_deletions(instance: &RunningInstance, name: &str) -> Result<Exit> {
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
        return Err(Error::usage(format!(
            "{name}: no such localpath or remote; see `syncsup status`"
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
                print(&format!("  would be deleted  {}{slash}\n", d.path));
            }
        })?;
        known &= matches!(end, VerifyEnd::Done { .. });
        print(&match end {
            VerifyEnd::Done { .. } => {
                format!("  {}\n", table::count(count, "deletion", "deletions"))
            }
            VerifyEnd::Incomplete(why) => {
                format!("  INCOMPLETE, so nothing would be deleted: {}\n", one_line(&why))
            }
            VerifyEnd::Failed(why) => format!("  NOT VERIFIED: {}\n", one_line(&why)),
        });
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

/// The state of the remotes of that name, if there are any and none of them can be held. (A remote in trouble may be
/// held too.)
fn in_order(status: &InstanceStatus, name: &str) -> Option<&'static str> {
    let remotes = status.localpaths.iter().flat_map(|l| &l.remotes);
    let states: Vec<PusherState> =
        remotes.filter(|r| r.name == name).map(|r| r.status.state).collect();
    let fine = |state: &PusherState| {
        use PusherState::{Behind, InSync, Pushing, Reconciling};
        matches!(state, InSync | Behind | Pushing | Reconciling)
    };
    states.iter().all(fine).then(|| states.first().map(|s| super::status::word(*s)))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{LocalPathStatus, PusherStatus};

    #[test]
    fn only_holds_are_released() {
        let remote = |name: &str, state| RemoteStatus {
            name: name.into(),
            status: PusherStatus { state, ..PusherStatus::default() },
            ..RemoteStatus::default()
        };
        let localpath = |watch: &str, remotes| LocalPathStatus {
            watch: watch.into(),
            state: "watching".into(),
            watches: 1,
            remotes,
            ..Default::default()
        };
        let localpaths = vec![
            localpath(
                "/a",
                vec![
                    remote("fine", PusherState::InSync),
                    remote("both", PusherState::Behind),
                    remote("trouble", PusherState::Backoff),
                ],
            ),
            localpath("/b", vec![remote("both", PusherState::Held)]),
        ];
        let status = InstanceStatus { localpaths, ..InstanceStatus::default() };
        assert_eq!(in_order(&status, "fine"), Some("in sync"));
        for name in ["both", "trouble", "/a", "unknown"] {
            assert_eq!(in_order(&status, name), None, "{name}");
        }
    }
}
