//! `syncsup journal import` into a localpath that this supervisor runs.

use crate::instance::owe::owe;
use crate::journal::Journal;
use crate::language::say;
use crate::message::Answer;
use crate::path::{OsBytes, RelPath};
use crate::reconcile_reason::ReconcileReason;
use crate::supervisor::state::Supervisor;
use std::time::Duration;

impl Supervisor {
    /// Owes a remote these paths. Its pusher reads the journal immediately.
    pub(in crate::supervisor) fn owe(
        &mut self,
        watch: &OsBytes,
        remote: &str,
        paths: &[RelPath],
        now: Duration,
    ) -> Answer {
        let localpath = self.localpaths.iter_mut().filter(|l| l.is_configured()).find(|l| {
            l.watch() == watch && l.pushers.iter().any(|p| p.name == remote && !p.removed)
        });
        let Some(localpath) = localpath else {
            return Answer::Refused(say!(
                "{} with remote {} is not configured in this instance",
                watch,
                remote
            ));
        };
        let names: Vec<RelPath> = paths.iter().filter(|p| !p.is_root()).cloned().collect();
        if names.len() < paths.len() {
            localpath.request_reconcile(&ReconcileReason::Import, |p| p.name == remote, now);
        }
        match Journal::open(localpath.dir()).and_then(|mut j| owe(&mut j, remote, &names)) {
            Ok(()) => {
                localpath.pushers.iter().filter(|p| p.name == remote).for_each(|p| p.wake());
                Answer::Done(vec![])
            }
            Err(e) => Answer::Refused(say!("the journal of {}: {}; try again", watch, e)),
        }
    }
}
