//! The standby: an rsync that is started and connected before the next push. It waits for its list of paths. A push
//! through a standby takes a fraction of the time that a new connection needs.
//!
//! A standby holds no slot until it gets its list. It can be used only if the push would start the same rsync: the same
//! command line and the same root. An rsync that was started in a root that has been replaced would delete what its
//! list names.

use crate::config::model::StandbyMode;
use crate::sys::files::Root;
use crate::sys::process::{Ahead, Rsync};
use std::ffi::OsString;
use std::time::Duration;

/// A remote to which nothing is pushed for this time needs no standby.
const ACTIVE: Duration = Duration::from_secs(60);
/// The standby is renewed after this time: daemons and firewalls close idle connections.
const RENEW: Duration = Duration::from_secs(60);
/// A remote that is short of connections gets no standby for this time.
const SHORT: Duration = Duration::from_secs(600);
/// The delay before the next standby if one exited before it was used.
const AFTER_DEATH: Duration = Duration::from_secs(5);

/// The standby of one remote.
pub struct Standby {
    mode: StandbyMode,
    ready: Option<Ready>,
    /// The time of the last push.
    pushed: Option<Duration>,
    /// No standby is started before this time.
    not_before: Duration,
}

struct Ready {
    ahead: Ahead,
    argv: Vec<OsString>,
    root: Root,
    since: Duration,
}

impl Standby {
    /// No standby is running yet.
    pub fn new(mode: StandbyMode) -> Self {
        Self { mode, ready: None, pushed: None, not_before: Duration::ZERO }
    }

    /// Something was pushed.
    pub fn pushed(&mut self, now: Duration) {
        self.pushed = Some(now);
    }

    /// True if a standby is waiting.
    pub fn is_ready(&self) -> bool {
        self.ready.is_some()
    }

    /// True if a standby must be started now.
    pub fn is_wanted(&self, now: Duration) -> bool {
        let active = match self.mode {
            StandbyMode::Active => self.pushed.is_some_and(|at| now < at + ACTIVE),
            StandbyMode::Always => self.pushed.is_some(),
            StandbyMode::Off => false,
        };
        active && self.ready.is_none() && now >= self.not_before
    }

    /// Takes over a standby that was just started.
    pub fn take_over(&mut self, ahead: Ahead, argv: Vec<OsString>, root: Root, now: Duration) {
        self.ready = Some(Ready { ahead, argv, root, since: now });
    }

    /// Gives the waiting standby its list and returns it, if it would do the same as this command line in this root.
    pub fn feed(&mut self, argv: &[OsString], root: &Root, list: &[u8]) -> Option<Rsync> {
        // The root of a waiting standby is kept open, so no other directory can have its inode.
        let same = |ready: &mut Ready| {
            ready.argv == argv
                && (ready.root.stat.dev, ready.root.stat.ino) == (root.stat.dev, root.stat.ino)
        };
        let mut ready = self.ready.take_if(same)?;
        if !ready.ahead.is_running() {
            return None;
        }
        ready.ahead.feed(list)
    }

    /// Stops a standby that has exited, is old, or is no longer needed.
    pub fn tend(&mut self, now: Duration) {
        let Some(ready) = &mut self.ready else { return };
        if !ready.ahead.is_running() {
            self.ready = None;
            self.not_before = now + AFTER_DEATH;
        } else if now >= ready.since + RENEW || self.quiet_at().is_some_and(|at| now >= at) {
            self.ready = None;
        }
    }

    /// Stops the standby: the remote is in trouble or held, or the process stops.
    pub fn let_go(&mut self) {
        self.ready = None;
    }

    /// The standby could not be started.
    pub fn failed(&mut self, now: Duration) {
        self.not_before = now + AFTER_DEATH;
    }

    /// The remote has no free connection for a standby. Returns true if this is new.
    pub fn is_short(&mut self, now: Duration) -> bool {
        self.ready = None;
        let news = self.mode != StandbyMode::Off && self.not_before < now + SHORT / 2;
        self.not_before = now + SHORT;
        news
    }

    fn quiet_at(&self) -> Option<Duration> {
        match self.mode {
            StandbyMode::Active => self.pushed.map(|at| at + ACTIVE),
            StandbyMode::Always | StandbyMode::Off => None,
        }
    }

    /// The time at which [`Standby::tend`] has something to do.
    pub fn next_at(&self) -> Option<Duration> {
        let ready = self.ready.as_ref()?;
        Some(self.quiet_at().map_or(ready.since + RENEW, |at| at.min(ready.since + RENEW)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn a_standby_is_wanted_while_the_remote_is_active() {
        let mut active = Standby::new(StandbyMode::Active);
        assert!(!active.is_wanted(S), "nothing was pushed");
        active.pushed(S);
        assert!(active.is_wanted(60 * S) && !active.is_wanted(61 * S));
        let mut always = Standby::new(StandbyMode::Always);
        assert!(!always.is_wanted(S));
        always.pushed(S);
        assert!(always.is_wanted(9_999 * S));
        let mut off = Standby::new(StandbyMode::Off);
        off.pushed(S);
        assert!(!off.is_wanted(S) && !off.is_short(S));
    }

    #[test]
    fn a_remote_short_of_connections_has_none_for_a_while() {
        let mut standby = Standby::new(StandbyMode::Always);
        standby.pushed(S);
        assert!(standby.is_short(S) && !standby.is_short(2 * S), "said once");
        assert!(!standby.is_wanted(601 * S) && standby.is_wanted(602 * S));
        standby.failed(700 * S);
        assert!(!standby.is_wanted(704 * S) && standby.is_wanted(705 * S));
        assert!(standby.next_at().is_none(), "there is none to renew");
    }
}
