//! The standby: an rsync that is started and connected before the next push. It waits for its list of paths. A push
//! through a standby takes a fraction of the time that a new connection needs.
//!
//! A standby holds no slot until it gets its list. It can be used only if the push would start the same rsync: the same
//! command line and the same root. An rsync that was started in a root that has been replaced would delete what its
//! list names.

use crate::config::model::StandbyMode;
use crate::message::StandbyStatus;
use crate::rsync::argv::{Form, Options};
use crate::stat::Exited;
use crate::sys::files::Root;
use crate::sys::rsync::{Ahead, Rsync};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::time::Duration;

/// A remote to which nothing is pushed for this time needs no standby.
const ACTIVE: Duration = Duration::from_secs(60);
/// The same if the root may be unmounted. A standby keeps its file system busy.
const ACTIVE_MOUNTED: Duration = Duration::from_secs(10);
/// The standby is renewed after this time: daemons and firewalls close idle connections.
const RENEW: Duration = Duration::from_secs(60);
/// A remote that is short of connections gets no standby for this time.
const SHORT: Duration = Duration::from_secs(600);
/// A standby that does not suit this number of pushes in a row is replaced by one that does what the last one did.
const UNSUITABLE_MOST: u32 = 2;
/// The delay before the next standby if one exited before it was used.
const AFTER_DEATH: Duration = Duration::from_secs(5);

/// The number of small pushes that one standby should suit: what one of them needs, all of them do. A lower tier gets each
/// file under another name first, with an old time, between two changes of its directory.
const SUITED: usize = 8;

/// What a small push needs, besides sending names. Another that needs less may do it, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// It deletes what is listed and missing.
    pub deletes: bool,
    /// It compares by content.
    pub by_content: bool,
}

/// The standby of one remote.
pub struct Standby {
    mode: StandbyMode,
    ready: Option<Ready>,
    /// The time of the last push.
    pushed: Option<Duration>,
    /// What the first rsync of the last push did. The next one will probably do the same.
    does: Option<(Form, Options)>,
    /// What the last small pushes needed.
    needs: VecDeque<Needs>,
    /// The number of pushes in a row that the waiting standby did not suit.
    unsuitable: u32,
    /// How long a remote counts as active after a push.
    active: Duration,
    /// No standby is started before this time.
    not_before: Duration,
    /// The remote has no connection for a standby before this time.
    short_until: Option<Duration>,
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
        Self {
            mode,
            ready: None,
            pushed: None,
            does: None,
            needs: VecDeque::new(),
            unsuitable: 0,
            active: ACTIVE,
            not_before: Duration::ZERO,
            short_until: None,
        }
    }

    /// A push begins.
    pub fn push_begins(&mut self, now: Duration) {
        self.pushed = Some(now);
        self.does = None;
    }

    /// What a small push should do that needs this, so that the same standby suits the last ones and the next ones.
    pub fn suit(&mut self, needs: Needs) -> Needs {
        if self.mode == StandbyMode::Off {
            return needs;
        }
        self.needs.push_back(needs);
        if self.needs.len() > SUITED {
            self.needs.pop_front();
        }
        Needs {
            deletes: self.needs.iter().any(|needs| needs.deletes),
            by_content: self.needs.iter().any(|needs| needs.by_content),
        }
    }

    /// An rsync is needed that a standby could be, with this command line.
    pub fn needed(&mut self, form: &Form, options: Options, argv: &[OsString]) {
        if self.does.is_some() {
            return;
        }
        self.does = Some((form.clone(), options));
        match &self.ready {
            Some(ready) if ready.argv != argv => self.unsuitable += 1,
            Some(_) | None => self.unsuitable = 0,
        }
        if self.unsuitable >= UNSUITABLE_MOST {
            self.let_go();
        }
    }

    /// What the next standby will do, if one must be started now.
    pub fn next(&self, now: Duration) -> Option<(Form, Options)> {
        self.does.clone().filter(|_| self.is_wanted(now))
    }

    /// What `status` shows.
    pub fn status(&self, now: Duration) -> StandbyStatus {
        match &self.ready {
            Some(_) => StandbyStatus::Ready,
            None if self.short_until.is_some_and(|until| now < until) => {
                StandbyStatus::ShortOfConnections
            }
            None => StandbyStatus::None,
        }
    }

    /// True if a standby is waiting.
    pub fn is_ready(&self) -> bool {
        self.ready.is_some()
    }

    fn is_wanted(&self, now: Duration) -> bool {
        let active = match self.mode {
            StandbyMode::Active => self.pushed.is_some_and(|at| now < at + self.active),
            StandbyMode::Always => self.pushed.is_some(),
            StandbyMode::Off => false,
        };
        let short = self.short_until.is_some_and(|until| now < until);
        active && self.ready.is_none() && now >= self.not_before && !short
    }

    /// Takes over a standby that was just started. `may_unmount`: the root is on a file system that may be unmounted.
    pub fn take_over(
        &mut self,
        ahead: Ahead,
        argv: Vec<OsString>,
        root: Root,
        may_unmount: bool,
        now: Duration,
    ) {
        self.unsuitable = 0;
        self.active = if may_unmount { ACTIVE_MOUNTED } else { ACTIVE };
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

    /// Stops a standby that is old or no longer needed. Returns the exit and the complaints of one that has exited.
    pub fn tend(&mut self, now: Duration) -> Option<(Exited, Vec<u8>)> {
        let ready = self.ready.as_mut()?;
        let ended = ready.ahead.ended();
        if ended.is_some() {
            self.ready = None;
            self.not_before = now + AFTER_DEATH;
        } else if now >= ready.since + RENEW || self.quiet_at().is_some_and(|at| now >= at) {
            self.ready = None;
        }
        ended
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
        let known = self.short_until.is_some_and(|until| until > now + SHORT / 2);
        self.short_until = Some(now + SHORT);
        self.mode != StandbyMode::Off && !known
    }

    fn quiet_at(&self) -> Option<Duration> {
        match self.mode {
            StandbyMode::Active => self.pushed.map(|at| at + self.active),
            StandbyMode::Always | StandbyMode::Off => None,
        }
    }

    /// The time at which a standby must be stopped, renewed or started.
    pub fn next_at(&self, now: Duration) -> Option<Duration> {
        match &self.ready {
            Some(ready) => {
                Some(self.quiet_at().map_or(ready.since + RENEW, |at| at.min(ready.since + RENEW)))
            }
            None => {
                let at = self.not_before.max(self.short_until.unwrap_or_default());
                // If it is past, none is allowed.
                (at > now && self.does.is_some() && self.is_wanted(at)).then_some(at)
            }
        }
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
        active.push_begins(S);
        assert!(active.is_wanted(60 * S) && !active.is_wanted(61 * S));
        let mut always = Standby::new(StandbyMode::Always);
        assert!(!always.is_wanted(S));
        always.push_begins(S);
        assert!(always.is_wanted(9_999 * S));
        let mut off = Standby::new(StandbyMode::Off);
        off.push_begins(S);
        assert!(!off.is_wanted(S) && !off.is_short(S));
    }

    #[test]
    fn a_remote_short_of_connections_has_none_for_a_while() {
        let mut standby = Standby::new(StandbyMode::Always);
        standby.push_begins(S);
        assert!(standby.is_short(S) && !standby.is_short(2 * S), "said once");
        assert!(!standby.is_wanted(601 * S) && standby.is_wanted(602 * S));
        standby.failed(700 * S);
        assert!(!standby.is_wanted(704 * S) && standby.is_wanted(705 * S));
        assert!(standby.next_at(700 * S).is_none(), "no push has shown what it would do");
        let options = Options { delete: true, ..Options::default() };
        standby.needed(&Form::Send, options, &[]);
        assert_eq!(standby.next_at(700 * S), Some(705 * S));
        assert!(standby.next_at(705 * S).is_none());
    }

    #[test]
    fn one_standby_suits_different_small_pushes() {
        let (deletes, by_content) = (true, true);
        let sends = Needs::default();
        let all = Needs { deletes, by_content };
        let mut standby = Standby::new(StandbyMode::Active);
        assert_eq!(standby.suit(sends), sends);
        let deletion = Needs { deletes, ..sends };
        assert_eq!(standby.suit(deletion), deletion);
        assert_eq!(standby.suit(Needs { by_content, ..sends }), all);
        let later: Vec<Needs> = (0..SUITED).map(|_| standby.suit(sends)).collect();
        assert_eq!(later[SUITED - 3..], [all, Needs { by_content, ..sends }, sends]);
        let mut off = Standby::new(StandbyMode::Off);
        off.suit(all);
        assert_eq!(off.suit(sends), sends);
    }
}
