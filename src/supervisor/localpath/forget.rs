//! Remotes that are no longer configured leave the journal and the fail log when their pusher has ended.

use super::{SharedState, SupervisedLocalPath};
use crate::journal::Journal;
use crate::supervisor::fail_log;
use crate::supervisor::pusher::Pusher;
use slog::{info, warn};
use std::collections::BTreeSet;
use std::time::Duration;

/// How long to wait after a remote could not be forgotten.
const FORGET_AGAIN: Duration = Duration::from_secs(5);

impl SupervisedLocalPath {
    /// Forgets the remotes whose pusher has ended. One that the journal refuses to forget is tried again: its cursor
    /// would keep every mark from now on.
    pub(super) fn forget_removed(&mut self, shared: &mut SharedState, now: Duration) {
        if now < self.forget_at {
            return;
        }
        let gone = |p: &Pusher| p.removed && p.process.is_gone();
        let names: Vec<String> =
            self.pushers.iter().filter(|p| gone(p)).map(|p| p.name.clone()).collect();
        if names.is_empty() {
            return;
        }
        for name in names {
            let forgotten = Journal::open(&self.dir).and_then(|mut j| j.forget_remote(&name));
            match forgotten {
                Ok(()) => info!(self.log, "forgot remote {name}"),
                Err(e) => {
                    // At the latest the next start forgets it: it is not configured then either.
                    self.forget_at = now + FORGET_AGAIN;
                    warn!(self.log, "cannot forget remote {name} now: {e}; tried again");
                    continue;
                }
            }
            self.pushers.retain(|p| p.name != name);
        }
        self.forget_fail_logs(shared);
    }

    /// Removes what pushers wrote of remotes that are gone; the script is written anew without it.
    pub(super) fn forget_fail_logs(&self, shared: &mut SharedState) {
        let names: BTreeSet<String> = self.pushers.iter().map(|p| p.name.clone()).collect();
        match fail_log::remove_others(&self.dir, &names) {
            Ok(false) => {}
            Ok(true) => {
                let script = self.configured.localpath.fail_log.as_ref();
                shared.fail_logs.extend(script.map(|l| l.path.as_path().to_owned()));
            }
            Err(e) => warn!(self.log, "cannot remove an old part of the fail log: {e}"),
        }
    }
}
