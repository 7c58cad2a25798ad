//! When the standby of a remote is started and let go.

use super::Context;
use super::rsyncs::Extra;
use crate::message::{FromPusher, StandbyStatus};
use crate::pusher::standby::Needs;
use crate::rsync::exit_status::verdict;
use crate::sys::clock;
use slog::debug;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

impl Context {
    /// The remote has no room for another connection. True when a standby may be the reason, this one's or that of
    /// another pusher: all of those let go.
    pub(super) fn is_short_of_connections(&self) -> bool {
        let news = self.standby.borrow_mut().is_short(clock::boot());
        if news {
            self.supervisor.send(&FromPusher::ShortOfConnections);
        }
        news
    }

    /// Another pusher found the remote's host short of connections.
    pub fn drop_standby(&self) {
        self.standby.borrow_mut().is_short(clock::boot());
    }

    /// True while a standby waits for the next push.
    pub fn has_standby(&self) -> bool {
        self.standby.borrow().is_ready()
    }

    /// When [`Context::keep_standby`] has something to do.
    pub fn standby_next_at(&self, now: Duration) -> Option<Duration> {
        self.standby.borrow().next_at(now)
    }

    /// A push begins.
    pub fn push_begins(&self, now: Duration) {
        self.standby.borrow_mut().push_begins(now);
    }

    /// What a small push should do that needs this, so that a standby suits it.
    pub fn suit_standby(&self, needs: Needs) -> Needs {
        match self.start.remote.trash_keep_ms {
            Some(_) => needs,
            None => self.standby.borrow_mut().suit(needs),
        }
    }

    /// What `status` shows of the standby.
    pub fn standby_status(&self, now: Duration) -> StandbyStatus {
        self.standby.borrow().status(now)
    }

    /// Starts a standby when one is wanted, and lets one go that is not. `allowed`: nothing stands against it.
    pub fn keep_standby(&self, allowed: bool, now: Duration) {
        let mut standby = self.standby.borrow_mut();
        // What a push of this remote keeps in the trash has the time of that push.
        if !allowed || self.start.remote.trash_keep_ms.is_some() {
            standby.let_go();
            return;
        }
        if let Some((exited, complaints)) = standby.tend(now)
            && verdict(exited, &complaints).connection_limited()
        {
            drop(standby);
            self.is_short_of_connections();
            return;
        }
        let Some((form, options)) = standby.next(now) else { return };
        let Ok(root) = self.open_root() else { return };
        let argv = self.command(&form, options, &Extra::default(), None);
        let directory = root.proc_path();
        match self.launch(&argv, &directory).start_ahead() {
            Ok(ahead) => {
                debug!(self.log, "standby"; "pid" => ahead.pid());
                // The first file system is not unmounted while anything runs.
                let first = fs::metadata("/").map_or(root.stat.dev, |first| first.dev());
                let may_unmount = root.stat.dev != first;
                standby.take_over(ahead, argv, root, may_unmount, now);
            }
            // The next push meets the same, and says so.
            Err(_) => standby.failed(now),
        }
    }
}
