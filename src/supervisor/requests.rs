//! The requests of commands.

mod failures;
mod owe;
mod verify;
mod wait;

use super::control::ClientId;
use super::state::Supervisor;
use crate::language::say;
use crate::message::{Answer, Asked, InstanceStatus, Request, ToPusher, ToWatcher};
use crate::reconcile_reason::ReconcileReason;
use crate::sys::clock;
use std::time::Duration;

impl Supervisor {
    /// Executes a request. `None` is answered at the end.
    pub(super) fn answer(
        &mut self,
        client: ClientId,
        Asked { language, request }: Asked,
        now: Duration,
    ) -> Option<Answer> {
        language.during(|| self.execute(client, request, now))
    }

    fn execute(&mut self, client: ClientId, request: Request, now: Duration) -> Option<Answer> {
        Some(match request {
            Request::Status => Answer::Status(Box::new(self.report())),
            Request::Stop => {
                self.last_answers.push(client);
                self.stop(now);
                return None;
            }
            _ if self.stopping => Answer::Refused(say!("the instance is stopping")),
            Request::Reload => match self.reload(now) {
                Ok(lines) => Answer::Done(lines),
                Err(error) => Answer::Refused(error.text),
            },
            Request::Sync(names) => self.sync(&names, now),
            Request::Release(name) => self.release(&name, now),
            Request::Owe { watch, remote, paths } => self.owe(&watch, &remote, &paths, now),
            Request::Wait(what) => self.wait(what, now),
            Request::Failing { watch, whose, after } => {
                self.failing(&watch, &whose, after.as_ref())
            }
            Request::Failures { watch, whose, below, forget } => {
                self.change_failures(&watch, &whose, &below, forget, now)
            }
            Request::Verify { watch, remote, job } => self.verify(&watch, &remote, job, now),
            Request::Verified(ticket) => Answer::Verified(self.verified(ticket, now)),
            Request::Waited(ticket) => Answer::Waited(self.waited(ticket, now)),
        })
    }

    /// The state for `status` and for the reporter.
    pub(super) fn report(&self) -> InstanceStatus {
        let wall = clock::wall_ms();
        InstanceStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            since_ms: Some(self.since_ms),
            now_ms: wall,
            files: self.config.files.clone(),
            localpaths: self
                .localpaths
                .iter()
                .filter(|l| l.is_configured())
                .map(|l| l.report(wall))
                .collect(),
            reporter: self.reporter.report(),
        }
    }

    /// `LOCALPATH REMOTE` of each remote that will compare.
    fn sync(&mut self, names: &[String], now: Duration) -> Answer {
        if let Some(unknown) = names.iter().find(|n| !self.is_known(n)) {
            return self.unknown(unknown);
        }
        let mut asked = Vec::new();
        for localpath in self.localpaths.iter_mut().filter(|l| l.is_configured()) {
            let watch = localpath.watch().to_string();
            let all = names.is_empty() || names.iter().any(|n| same_path(n, &watch));
            let picked = localpath.request_reconcile(
                &ReconcileReason::Sync,
                |p| all || names.contains(&p.name),
                now,
            );
            asked.extend(picked.into_iter().map(|name| format!("{watch} {name}")));
        }
        Answer::Done(asked)
    }

    fn release(&mut self, name: &str, now: Duration) -> Answer {
        if !self.is_known(name) {
            return self.unknown(name);
        }
        let mut done = Vec::new();
        for localpath in self.localpaths.iter_mut().filter(|l| l.is_configured()) {
            let watch = localpath.watch().to_string();
            if same_path(name, &watch) {
                // Otherwise any directory that appears there later, such as an empty mount point, would be accepted.
                if !localpath.watch().as_path().is_dir() {
                    return Answer::Refused(say!(
                        "localpath {}: no such directory; mount it or create it, then release it",
                        watch
                    ));
                }
                localpath.watcher.send(&ToWatcher::AdoptRoot, vec![], now);
                done.push(say!(
                    "localpath {}: its root and its mount points are accepted as they are now",
                    watch
                ));
            }
            for pusher in localpath.pushers.iter_mut().filter(|p| p.name == name && !p.removed) {
                pusher.process.send(&ToPusher::Release, vec![], now);
                done.push(say!("remote {} of {}: released", name, watch));
            }
        }
        Answer::Done(done)
    }

    fn is_known(&self, name: &str) -> bool {
        self.localpaths.iter().filter(|l| l.is_configured()).any(|l| {
            same_path(name, &l.watch().to_string())
                || l.pushers.iter().any(|p| p.name == name && !p.removed)
        })
    }

    fn unknown(&self, name: &str) -> Answer {
        let mut known: Vec<String> = Vec::new();
        for localpath in &self.localpaths {
            known.push(localpath.watch().to_string());
            known.extend(localpath.pushers.iter().map(|p| p.name.clone()));
        }
        known.dedup();
        Answer::Refused(say!(
            "{}: no such localpath or remote; there are: {}",
            name,
            known.join(", ")
        ))
    }
}

/// `/data/` equals `/data`.
fn same_path(given: &str, watch: &str) -> bool {
    given == watch || (given.len() > 1 && given.trim_end_matches('/') == watch)
}
