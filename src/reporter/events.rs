//! What happened lately, from what differs between two statuses. Pure.
//!
//! The reporter keeps them, not the supervisor: nothing depends on them, and the log has them all. So a reporter that is
//! started again begins with none. What came and went between two statuses, within a second, is not seen.

use crate::figures;
use crate::message::{
    ChildStatus, InstanceStatus, LocalPathState, LocalPathStatus, PluginState, PluginStatus,
    PusherState, RemoteStatus,
};
use crate::reconcile_reason::ReconcileReason;
use std::collections::{BTreeMap, VecDeque};

/// The number of events that are kept.
pub const MOST: usize = 100;

/// To what something happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The localpath itself.
    LocalPath,
    /// One of its remotes.
    Remote(String),
    /// One of its plugins.
    Plugin(String),
    /// Its watcher.
    Watcher,
    /// The pusher of this remote.
    Pusher(String),
    /// Its plugin runner.
    PluginRunner,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A reload added it.
    Added,
    /// A reload removed it.
    Removed,
    /// It is in trouble.
    Trouble,
    /// It is held.
    Held,
    /// No process of it runs.
    Down,
    /// A localpath of which something cannot be watched.
    Degraded,
    /// It works again, after this time if that is known.
    Back(Option<u64>),
    /// Its process was started again.
    Restarted,
    /// It was compared, and what differed is pushed.
    Reconciled,
    /// This number of its paths or calls fail.
    Fails(u64),
    /// None of them fails any more.
    FailsNoMore,
    /// This number of calls was given up.
    GivenUp(u64),
}

impl What {
    /// The words after the subject.
    pub fn words(&self, subject: &Subject) -> String {
        let (one, many) = match subject {
            Subject::Plugin(_) | Subject::PluginRunner => ("call", "calls"),
            Subject::LocalPath | Subject::Remote(_) | Subject::Watcher | Subject::Pusher(_) => {
                ("path", "paths")
            }
        };
        match self {
            What::Added => "was added".into(),
            What::Removed => "was removed".into(),
            What::Trouble => "is in trouble".into(),
            What::Held => "is held".into(),
            What::Down => "is down".into(),
            What::Degraded => "is degraded".into(),
            What::Back(None) => "is back".into(),
            What::Back(Some(ms)) => format!("is back after {}", figures::span(*ms)),
            What::Restarted => "was restarted".into(),
            What::Reconciled => "was reconciled".into(),
            What::Fails(n) => format!(
                "has {}",
                figures::count(*n, &format!("failing {one}"), &format!("failing {many}"))
            ),
            What::FailsNoMore => format!("has no failing {one} any more"),
            What::GivenUp(n) => format!("gave up {}", figures::count(*n, one, many)),
        }
    }
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Counts all events of this process.
    pub number: u64,
    /// The time of the status that shows it, in milliseconds since 1970.
    pub at_ms: i64,
    /// The localpaths to which it happened at the same time.
    pub localpaths: Vec<String>,
    /// To what of them.
    pub subject: Subject,
    /// What.
    pub what: What,
    /// The reason.
    pub why: Option<String>,
}

/// The last events, the newest last.
#[derive(Clone, Debug, Default)]
pub struct Events {
    ring: VecDeque<Event>,
    /// The time of the first status: what happened before is not known.
    pub since_ms: Option<i64>,
    next: u64,
}

impl Events {
    /// Records what differs between the last status and a new one.
    pub fn note(&mut self, last: Option<&InstanceStatus>, new: &InstanceStatus) {
        self.since_ms.get_or_insert(new.now_ms);
        let Some(last) = last else { return };
        for mut event in between(last, new) {
            event.number = self.next;
            self.next += 1;
            self.ring.push_back(event);
        }
        self.ring.drain(..self.ring.len().saturating_sub(MOST));
    }

    /// The events, the newest first.
    pub fn newest_first(&self) -> impl ExactSizeIterator<Item = &Event> {
        self.ring.iter().rev()
    }
}

/// What happened between two statuses, in the order of the configuration.
pub fn between(old: &InstanceStatus, new: &InstanceStatus) -> Vec<Event> {
    let mut found = Found { at_ms: new.now_ms, events: Vec::new() };
    let before: BTreeMap<&[u8], &LocalPathStatus> =
        old.localpaths.iter().map(|l| (l.watch.as_bytes(), l)).collect();
    for l in &new.localpaths {
        match before.get(l.watch.as_bytes()) {
            Some(was) => localpath(&mut found, was, l),
            None => found.add(l, Subject::LocalPath, What::Added, None),
        }
    }
    let gone = |l: &&LocalPathStatus| !new.localpaths.iter().any(|n| n.watch == l.watch);
    for l in old.localpaths.iter().filter(gone) {
        found.add(l, Subject::LocalPath, What::Removed, None);
    }
    found.events
}

struct Found {
    at_ms: i64,
    events: Vec<Event>,
}

impl Found {
    /// One slave that dies takes a remote of each localpath with it: that is one event.
    fn add(&mut self, of: &LocalPathStatus, subject: Subject, what: What, why: Option<&str>) {
        let localpath = of.watch.to_string();
        let same = |e: &&mut Event| {
            e.subject == subject
                && e.what == what
                && e.why.as_deref() == why
                && subject != Subject::LocalPath
        };
        match self.events.iter_mut().find(same) {
            Some(event) => event.localpaths.push(localpath),
            None => self.events.push(Event {
                number: 0,
                at_ms: self.at_ms,
                localpaths: vec![localpath],
                subject,
                what,
                why: why.map(str::to_owned),
            }),
        }
    }

    /// A process that was restarted between the two statuses. One that was seen down is said anyway.
    fn restarts(
        &mut self,
        of: &LocalPathStatus,
        subject: Subject,
        was: &ChildStatus,
        is: &ChildStatus,
    ) {
        if is.restarts > was.restarts && was.pid.is_some() && is.pid.is_some() {
            self.add(of, subject, What::Restarted, is.last_exit.as_deref());
        }
    }
}

fn localpath(found: &mut Found, was: &LocalPathStatus, is: &LocalPathStatus) {
    let wrong = |state| match state {
        LocalPathState::Degraded => Some(What::Degraded),
        LocalPathState::Held => Some(What::Held),
        LocalPathState::Down => Some(What::Down),
        LocalPathState::Starting | LocalPathState::Scanning | LocalPathState::Watching => None,
    };
    if let Some((what, why)) = change(wrong(was.state), wrong(is.state), is.reason.as_deref(), None)
    {
        found.add(is, Subject::LocalPath, what, why);
    }
    found.restarts(is, Subject::Watcher, &was.watcher, &is.watcher);
    let named = |name: &str| was.remotes.iter().find(|r| r.name == name);
    for r in &is.remotes {
        match named(&r.name) {
            Some(before) => remote(found, is, before, r),
            None => found.add(is, Subject::Remote(r.name.clone()), What::Added, None),
        }
    }
    for r in was.remotes.iter().filter(|r| !is.remotes.iter().any(|n| n.name == r.name)) {
        found.add(is, Subject::Remote(r.name.clone()), What::Removed, None);
    }
    for p in &is.plugins {
        if let Some(before) = was.plugins.iter().find(|b| b.name == p.name) {
            plugin(found, is, before, p);
        }
    }
    if let (Some(before), Some(now)) = (&was.plugin_runner, &is.plugin_runner) {
        found.restarts(is, Subject::PluginRunner, before, now);
    }
}

/// What a change of state means. `None` is a state in which nothing is wrong.
fn change(
    was: Option<What>,
    is: Option<What>,
    why: Option<&str>,
    after_ms: Option<u64>,
) -> Option<(What, Option<&str>)> {
    match (was, is) {
        (was, Some(is)) if was.as_ref() != Some(&is) => Some((is, why)),
        (Some(_), None) => Some((What::Back(after_ms), None)),
        (_, Some(_)) | (None, None) => None,
    }
}

fn remote(found: &mut Found, of: &LocalPathStatus, was: &RemoteStatus, is: &RemoteStatus) {
    let wrong = |state| match state {
        PusherState::Backoff => Some(What::Trouble),
        PusherState::Held => Some(What::Held),
        PusherState::Down => Some(What::Down),
        PusherState::InSync
        | PusherState::Behind
        | PusherState::Pushing
        | PusherState::Reconciling => None,
    };
    let (before, now) = (&was.status, &is.status);
    let subject = || Subject::Remote(is.name.clone());
    let after_ms = was
        .trouble_since_ms
        .and_then(|since_ms| u64::try_from(found.at_ms.saturating_sub(since_ms)).ok());
    if let Some((what, why)) =
        change(wrong(before.state), wrong(now.state), now.reason.as_deref(), after_ms)
    {
        found.add(of, subject(), what, why);
    }
    // The number begins again with the pusher. Scheduled ones would push out everything else.
    let why = before.reconcile.as_ref().map(|r| &r.why);
    if now.reconciles_done > before.reconciles_done && why != Some(&ReconcileReason::Schedule) {
        found.add(of, subject(), What::Reconciled, why.map(ToString::to_string).as_deref());
    }
    match (before.failing, now.failing) {
        (0, n) if n > 0 => {
            found.add(of, subject(), What::Fails(n), now.first_failure.as_deref());
        }
        (n, 0) if n > 0 => found.add(of, subject(), What::FailsNoMore, None),
        _ => {}
    }
    found.restarts(of, Subject::Pusher(is.name.clone()), &was.pusher, &is.pusher);
}

fn plugin(found: &mut Found, of: &LocalPathStatus, was: &PluginStatus, is: &PluginStatus) {
    let wrong = |state| match state {
        PluginState::Failing => Some(What::Trouble),
        PluginState::Held => Some(What::Held),
        PluginState::Idle | PluginState::Waiting | PluginState::Calling => None,
    };
    let subject = || Subject::Plugin(is.name.clone());
    if let Some((what, why)) = change(wrong(was.state), wrong(is.state), is.reason.as_deref(), None)
    {
        found.add(of, subject(), what, why);
    }
    if let Some(n) = is.given_up.checked_sub(was.given_up).filter(|n| *n > 0) {
        found.add(of, subject(), What::GivenUp(n), is.reason.as_deref());
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;
    use crate::message::{PusherState::*, ReconcileProgress};

    /// What differs after `change`, as `(subject, what, why)`.
    fn after(
        old: &InstanceStatus,
        change: &dyn Fn(&mut InstanceStatus),
    ) -> Vec<(Subject, What, Option<String>)> {
        let mut new = old.clone();
        new.now_ms += 1_000;
        change(&mut new);
        between(old, &new).into_iter().map(|e| (e.subject, e.what, e.why)).collect()
    }

    fn remote(n: usize) -> Subject {
        Subject::Remote(samples::remote_name(n))
    }

    #[test]
    fn every_change_of_a_remote_is_an_event() {
        let mut old = samples::instance(1, &[InSync, Backoff, Held, Down]);
        old.localpaths[0].remotes[1].trouble_since_ms = Some(old.now_ms - 59_000);
        let set = |n: usize, state| {
            after(&old, &|s| {
                let r = &mut s.localpaths[0].remotes[n].status;
                (r.state, r.reason) = (state, Some("why".into()));
            })
        };
        let why = || Some("why".to_owned());
        assert_eq!(set(0, InSync), []);
        assert_eq!(set(0, Pushing), [], "work is no event");
        assert_eq!(set(0, Backoff), [(remote(0), What::Trouble, why())]);
        assert_eq!(set(0, Held), [(remote(0), What::Held, why())]);
        assert_eq!(set(0, Down), [(remote(0), What::Down, why())]);
        assert_eq!(set(1, Backoff), [], "another reason for the same trouble");
        assert_eq!(set(1, Held), [(remote(1), What::Held, why())]);
        assert_eq!(set(1, Behind), [(remote(1), What::Back(Some(60_000)), None)]);
        assert_eq!(set(2, Reconciling), [(remote(2), What::Back(None), None)]);
        assert_eq!(set(3, InSync), [(remote(3), What::Back(None), None)]);
    }

    #[test]
    fn reconciles_failures_and_restarts_are_events() {
        let mut old = samples::instance(1, &[InSync]);
        {
            let r = &mut old.localpaths[0].remotes[0];
            r.pusher.pid = Some(1);
            r.status.reconciles_done = 2;
            r.status.failing = 3;
            let why = "-r".to_owned().into();
            r.status.reconcile = Some(ReconcileProgress { why, ..Default::default() });
        }
        let change = |act: &dyn Fn(&mut RemoteStatus)| {
            after(&old, &|s| act(&mut s.localpaths[0].remotes[0]))
        };
        let done = change(&|r| r.status.reconciles_done = 3);
        assert_eq!(done, [(remote(0), What::Reconciled, Some("-r".into()))]);
        assert_eq!(change(&|r| r.status.reconciles_done = 0), [], "a new pusher counts from zero");
        let mut scheduled = old.clone();
        scheduled.localpaths[0].remotes[0].status.reconcile.as_mut().unwrap().why =
            ReconcileReason::Schedule;
        let done = after(&scheduled, &|s| s.localpaths[0].remotes[0].status.reconciles_done = 3);
        assert_eq!(done, []);
        assert_eq!(change(&|r| r.status.failing = 9), []);
        assert_eq!(change(&|r| r.status.failing = 0), [(remote(0), What::FailsNoMore, None)]);
        let pusher = Subject::Pusher(samples::remote_name(0));
        let killed = change(&|r| {
            (r.pusher.restarts, r.pusher.last_exit) = (1, Some("signal 9".into()));
        });
        assert_eq!(killed, [(pusher, What::Restarted, Some("signal 9".into()))]);
        let seen = change(&|r| {
            (r.pusher.restarts, r.pusher.pid, r.status.state) = (1, None, Down);
        });
        assert_eq!(seen, [(remote(0), What::Down, None)], "it is said once");
        old.localpaths[0].remotes[0].status.failing = 0;
        let fails = after(&old, &|s| {
            let r = &mut s.localpaths[0].remotes[0].status;
            (r.failing, r.first_failure) = (2, Some("a: denied".into()));
        });
        assert_eq!(fails, [(remote(0), What::Fails(2), Some("a: denied".into()))]);
    }

    #[test]
    fn every_change_of_a_localpath_is_an_event() {
        let old = samples::instance(2, &[InSync]);
        let set = |state| after(&old, &|s| s.localpaths[1].state = state);
        assert_eq!(set(LocalPathState::Held), [(Subject::LocalPath, What::Held, None)]);
        assert_eq!(set(LocalPathState::Degraded), [(Subject::LocalPath, What::Degraded, None)]);
        assert_eq!(set(LocalPathState::Scanning), []);
        let gone = after(&old, &|s| s.localpaths.truncate(1));
        assert_eq!(gone, [(Subject::LocalPath, What::Removed, None)]);
        let smaller = InstanceStatus { localpaths: old.localpaths[..1].to_vec(), ..old.clone() };
        let added = after(&smaller, &|s| s.localpaths = old.localpaths.clone());
        assert_eq!(added, [(Subject::LocalPath, What::Added, None)]);
        let fewer = after(&old, &|s| s.localpaths[0].remotes.clear());
        assert_eq!(fewer, [(remote(0), What::Removed, None)]);
        let plugin = after(&samples::with_plugin(PluginState::Calling), &|s| {
            let p = &mut s.localpaths[0].plugins[0];
            (p.state, p.given_up) = (PluginState::Failing, 2);
        });
        let http = || Subject::Plugin("http".into());
        assert_eq!(plugin, [(http(), What::Trouble, None), (http(), What::GivenUp(2), None)]);
    }

    #[test]
    fn a_slave_that_dies_is_one_event() {
        let old = samples::instance(20, &[InSync, InSync]);
        let mut new = old.clone();
        for l in &mut new.localpaths {
            let r = &mut l.remotes[1].status;
            (r.state, r.reason) = (Backoff, Some("refused".into()));
        }
        let [event] = &between(&old, &new)[..] else { panic!("more than one") };
        assert_eq!((event.localpaths.len(), &event.subject), (20, &remote(1)));
    }

    #[test]
    fn the_last_hundred_are_kept() {
        let mut events = Events::default();
        let mut last = samples::instance(1, &[InSync]);
        last.localpaths[0].remotes[0].status.state = Backoff;
        events.note(None, &last);
        assert_eq!((events.newest_first().len(), events.since_ms), (0, Some(last.now_ms)));
        for n in 0..150 {
            let mut new = last.clone();
            new.now_ms += 1_000;
            new.localpaths[0].remotes[0].status.state = [InSync, Backoff][n % 2];
            events.note(Some(&last), &new);
            last = new;
        }
        let numbers: Vec<u64> = events.newest_first().map(|e| e.number).collect();
        assert_eq!(numbers, (50..150).rev().collect::<Vec<_>>());
    }
}
