//! Decides when a remote's trouble, and its end, is reported to `on_failure` and `on_recovery`. Pure: times are given.

use crate::message::{PusherState, RemoteHealth};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

/// What is reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tell {
    /// The remote has been in trouble long enough.
    Failure,
    /// A push to the remote has succeeded again.
    Recovery,
}

/// What is known about the trouble of each remote.
#[derive(Debug, Default)]
pub struct Alarms {
    /// Since when a remote is in trouble: time since boot, and milliseconds since 1970.
    since: BTreeMap<String, (Duration, i64)>,
    /// Remotes whose trouble was reported, and since when it lasts, in milliseconds since 1970.
    told: BTreeMap<String, i64>,
}

impl Alarms {
    /// With what earlier processes reported.
    pub fn new(told: impl IntoIterator<Item = (String, i64)>) -> Self {
        Self { since: BTreeMap::new(), told: told.into_iter().collect() }
    }

    /// Records the state of the remotes. Returns the reported remotes that are no longer configured.
    pub fn note(&mut self, remotes: &[RemoteHealth], now: Duration, wall_ms: i64) -> Vec<String> {
        let configured = |name: &String| remotes.iter().any(|r| r.name == *name);
        let gone: Vec<String> = self.told.keys().filter(|n| !configured(n)).cloned().collect();
        self.told.retain(|name, _| configured(name));
        let bad = |name: &String| remotes.iter().any(|r| r.name == *name && r.trouble.is_some());
        self.since.retain(|name, _| bad(name));
        for remote in remotes.iter().filter(|r| r.trouble.is_some()) {
            self.since.entry(remote.name.clone()).or_insert((now, wall_ms));
        }
        gone
    }

    /// What must be reported now. `pushed` returns the time of the last successful push to a remote, in milliseconds
    /// since 1970. Without a push since the trouble, a remote is not known to have recovered.
    pub fn due(
        &self,
        after: Duration,
        now: Duration,
        pushed: impl Fn(&str) -> Option<i64>,
    ) -> Vec<(String, Tell, i64)> {
        let mut due = Vec::new();
        for (name, (since, since_ms)) in &self.since {
            if !self.told.contains_key(name) && now >= *since + after {
                due.push((name.clone(), Tell::Failure, *since_ms));
            }
        }
        for (name, since_ms) in &self.told {
            if !self.since.contains_key(name) && pushed(name).is_some_and(|at| at > *since_ms) {
                due.push((name.clone(), Tell::Recovery, *since_ms));
            }
        }
        due
    }

    /// It was reported.
    pub fn told(&mut self, name: &str, tell: &Tell, since_ms: i64) {
        match tell {
            Tell::Failure => drop(self.told.insert(name.to_owned(), since_ms)),
            Tell::Recovery => drop(self.told.remove(name)),
        }
    }

    /// When an alarm may next be due because of time alone.
    pub fn next(&self, after: Duration) -> Option<Duration> {
        let quiet = self.since.iter().filter(|(name, _)| !self.told.contains_key(*name));
        quiet.map(|(_, (since, _))| *since + after).min()
    }

    /// True if reported trouble seems to be over, but its end is not reported yet.
    pub fn waits_for_recovery(&self) -> bool {
        self.told.keys().any(|name| !self.since.contains_key(name))
    }
}

/// The environment variables of the command.
pub fn environment(
    tell: &Tell,
    localpath: OsString,
    remote: &str,
    health: Option<&RemoteHealth>,
    since: String,
) -> Vec<(&'static str, OsString)> {
    let state = match health.and_then(|h| h.trouble) {
        None => "ok",
        Some(PusherState::Held) => "held",
        Some(PusherState::Down) => "down",
        Some(_) => "backoff",
    };
    let reason = health.and_then(|h| h.reason.clone()).unwrap_or_default();
    let event = match tell {
        Tell::Failure => "failure",
        Tell::Recovery => "recovery",
    };
    vec![
        ("SYNCSUP_EVENT", event.into()),
        ("SYNCSUP_LOCALPATH", localpath),
        ("SYNCSUP_REMOTE", remote.into()),
        ("SYNCSUP_STATE", state.into()),
        // Neither arguments nor environment variables can contain a NUL.
        ("SYNCSUP_REASON", reason.replace('\0', " ").into()),
        ("SYNCSUP_SINCE", since.into()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(trouble: bool) -> Vec<RemoteHealth> {
        let trouble = trouble.then_some(PusherState::Backoff);
        vec![RemoteHealth { name: "r".into(), trouble, reason: Some("why".into()) }]
    }

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn an_alarm_is_sent_once_after_its_delay_and_at_the_recovery() {
        let mut a = Alarms::default();
        let none = |_: &str| None;
        a.note(&health(true), s(1), 1_000);
        assert!(a.due(s(10), s(10), none).is_empty());
        assert_eq!(a.next(s(10)), Some(s(11)));
        a.note(&health(true), s(5), 5_000);
        assert_eq!(a.due(s(10), s(11), none), [("r".into(), Tell::Failure, 1_000)]);
        a.told("r", &Tell::Failure, 1_000);
        assert!(a.due(s(10), s(99), none).is_empty());
        a.note(&health(false), s(20), 20_000);
        assert!(a.waits_for_recovery());
        assert!(a.due(s(10), s(21), |_| Some(999)).is_empty(), "not seen to be back");
        let due = a.due(s(10), s(21), |_| Some(20_500));
        assert_eq!(due, [("r".into(), Tell::Recovery, 1_000)]);
        a.told("r", &Tell::Recovery, 1_000);
        assert!(a.due(s(10), s(22), |_| Some(20_500)).is_empty());
    }

    #[test]
    fn a_short_outage_sends_no_alarm_and_a_restart_repeats_none() {
        let mut a = Alarms::default();
        a.note(&health(true), s(1), 1_000);
        a.note(&health(false), s(2), 2_000);
        assert!(a.due(s(10), s(30), |_| Some(9_999)).is_empty());
        let mut a = Alarms::new([("r".to_owned(), 500)]);
        a.note(&health(true), s(1), 1_000);
        assert!(a.due(s(0), s(30), |_| None).is_empty());
        assert_eq!(a.note(&[], s(31), 1), ["r"]);
        assert!(!a.waits_for_recovery());
        let env = environment(&Tell::Failure, "/d".into(), "r", health(true).first(), "t".into());
        assert_eq!(env[3], ("SYNCSUP_STATE", "backoff".into()));
        assert_eq!(env[4], ("SYNCSUP_REASON", "why".into()));
    }
}
