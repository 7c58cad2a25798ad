//! The standby: an rsync that is started ahead of the next push, connected, let in and waiting for its list. A change that
//! goes through it is visible in a fraction of the time that a connection takes.
//!
//! It holds no slot before it is fed. What it was started with must be what the push would be started with now: the
//! command line, and the root (an rsync that was started in a root which was replaced would delete what it is told about).

use crate::config::model::StandbyMode;
use crate::sys::files::Root;
use crate::sys::process::{Ahead, Rsync};
use std::ffi::OsString;
use std::time::Duration;

/// A remote that gets nothing for this long needs none.
const ACTIVE: Duration = Duration::from_secs(60);
/// It is renewed after this: a daemon, or a firewall, ends connections on which nothing is said.
const RENEW: Duration = Duration::from_secs(60);
/// A remote that is short of connections has none for this long.
const SHORT: Duration = Duration::from_secs(600);
/// One that ended by itself before it was fed has no successor sooner.
const AFTER_DEATH: Duration = Duration::from_secs(5);

/// The standby of one remote.
pub struct Standby {
    mode: StandbyMode,
    ready: Option<Ready>,
    /// When something was last pushed.
    pushed: Option<Duration>,
    /// None is started sooner.
    not_before: Duration,
}

struct Ready {
    ahead: Ahead,
    argv: Vec<OsString>,
    root: Root,
    since: Duration,
}

impl Standby {
    /// None yet.
    pub fn new(mode: StandbyMode) -> Self {
        Self { mode, ready: None, pushed: None, not_before: Duration::ZERO }
    }

    /// Something was pushed.
    pub fn pushed(&mut self, now: Duration) {
        self.pushed = Some(now);
    }

    /// True while one waits.
    pub fn is_ready(&self) -> bool {
        self.ready.is_some()
    }

    /// True when one is to be started now.
    pub fn is_wanted(&self, now: Duration) -> bool {
        let active = match self.mode {
            StandbyMode::Active => self.pushed.is_some_and(|at| now < at + ACTIVE),
            StandbyMode::Always => self.pushed.is_some(),
            StandbyMode::Off => false,
        };
        active && self.ready.is_none() && now >= self.not_before
    }

    /// Takes over one that was just started.
    pub fn take_over(&mut self, ahead: Ahead, argv: Vec<OsString>, root: Root, now: Duration) {
        self.ready = Some(Ready { ahead, argv, root, since: now });
    }

    /// The one that waits, with its list, where it does what this command line would do in this root.
    pub fn feed(&mut self, argv: &[OsString], root: &Root, list: &[u8]) -> Option<Rsync> {
        // The root of one that waits is held open: no other has its inode.
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

    /// Lets one go that has ended, is old, or is not needed any more.
    pub fn tend(&mut self, now: Duration) {
        let Some(ready) = &mut self.ready else { return };
        if !ready.ahead.is_running() {
            self.ready = None;
            self.not_before = now + AFTER_DEATH;
        } else if now >= ready.since + RENEW || self.quiet_at().is_some_and(|at| now >= at) {
            self.ready = None;
        }
    }

    /// Lets it go: the remote is in trouble, held, or the process stops.
    pub fn let_go(&mut self) {
        self.ready = None;
    }

    /// None could be started.
    pub fn failed(&mut self, now: Duration) {
        self.not_before = now + AFTER_DEATH;
    }

    /// The remote has no room for it. True when that was not known.
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

    /// When [`Standby::tend`] has something to do.
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
