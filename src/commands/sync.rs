//! `syncsup sync`: reconciles now, and follows every remote until its reconcile ends.

mod follow;
mod show;

use super::invocation::Invocation;
use super::{client, print, status};
use crate::error::{Error, Exit, Result};
use crate::help_topic::HelpTopic;
use crate::language::say;
use crate::message::{InstanceStatus, Request};
use crate::sys::clock;
use follow::{Follow, SyncOutcome};
use show::Show;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// The interval at which the supervisor is asked for the progress.
const EVERY: Duration = Duration::from_millis(200);

/// Exit status 0 if every requested remote is in sync, 1 if one failed or is held.
pub fn run(invocation: &Invocation, names: &[String]) -> Result<Exit> {
    let instance = client::the_one_with_remotes(invocation)?;
    let asked = client::named(instance.command(&Request::Sync(names.to_vec()), client::PATIENCE))?;
    let mut follows: Vec<Follow> = asked.iter().map(|line| Follow::new(line)).collect();
    if follows.is_empty() {
        print(&say!("no remote to reconcile\n"));
        return Ok(Exit::Ok);
    }
    let started = Instant::now();
    let mut show = Show::new(&follows);
    loop {
        let status = instance.status().map_err(|e| match e.exit {
            Exit::NotRunning => Error::new(
                Exit::No,
                say!("the supervisor stopped before the reconcile was complete"),
            ),
            _ => e,
        })?;
        for (n, follow) in follows.iter_mut().enumerate() {
            let now = remote(&status, &follow.name);
            follow.look(now, started.elapsed(), clock::wall_ms());
            show.update(n, follow, now);
        }
        if follows.iter().all(|f| f.verdict != SyncOutcome::Going) {
            break;
        }
        std::thread::sleep(EVERY);
    }
    show.finish();
    let topics: BTreeSet<HelpTopic> = follows.iter().filter_map(|f| f.help).collect();
    topics.into_iter().for_each(|topic| print(&format!("{}\n", status::help(topic))));
    let fine = follows.iter().all(|f| f.verdict == SyncOutcome::InSync);
    Ok(if fine { Exit::Ok } else { Exit::No })
}

/// The remote that the supervisor calls `WATCH NAME`.
fn remote<'a>(status: &'a InstanceStatus, line: &str) -> Option<&'a crate::message::RemoteStatus> {
    let mut all = status.localpaths.iter().flat_map(|l| l.remotes.iter().map(move |r| (l, r)));
    all.find(|(l, r)| format!("{} {}", l.watch, r.name) == line).map(|(_, r)| r)
}
