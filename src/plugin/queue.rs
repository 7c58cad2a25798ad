//! Decides which calls come next, and what happens after a failure. Pure: times are given.

use crate::config::model::Manner;
use crate::journal::{CallEnd, Called, Due};
use crate::path::RelPath;
use std::collections::BTreeSet;
use std::time::Duration;

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It succeeded.
    Done,
    /// It failed.
    Failed {
        /// The error, for people. It never contains a password.
        error: String,
        /// What the failure means for other calls.
        fault: Fault,
    },
}

/// The cause of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This path: calls for other paths may succeed.
    Path,
    /// This path, or possibly the plugin: no answer, or an error of the server.
    Either,
    /// The plugin: it was not reached, so the failure does not depend on the path.
    Plugin,
    /// The plugin can never be called for this path.
    Never,
}

/// The longest delay, as a multiple of the first one.
const MOST: u64 = 60;

/// The delay after a number of failures, in milliseconds: `first`, doubled each time, up to 60 times `first`.
pub fn wait_ms(failures: u32, first: u64) -> u64 {
    let doubled = first.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled.min(first.saturating_mul(MOST))
}

/// The calls of one plugin that are in progress.
#[derive(Clone, Debug, Default)]
pub struct Lane {
    flying: BTreeSet<RelPath>,
    /// Failures in a row that may be the plugin's fault.
    failures: u32,
    /// No call starts before this time.
    gate: Option<Duration>,
}

impl Lane {
    /// The number of calls that may start now.
    pub fn room(&self, manner: &Manner, now: Duration) -> usize {
        if self.gate.is_some_and(|at| now < at) {
            return 0;
        }
        // A plugin that was in trouble first gets a single call.
        let most = if self.failures > 0 { 1 } else { manner.parallel as usize };
        most.saturating_sub(self.flying.len())
    }

    /// The rows of `due` without a call in progress, in order. While the plugin may be in trouble, the rows with the
    /// fewest failures come first. Otherwise, one bad path would be used for every attempt.
    pub fn free<'d>(&self, due: &'d [Due]) -> Vec<&'d Due> {
        let mut free: Vec<_> = due.iter().filter(|d| !self.flying.contains(&d.path)).collect();
        if self.failures > 0 {
            free.sort_by_key(|d| d.attempts);
        }
        free
    }

    /// A call starts.
    pub fn starts(&mut self, path: &RelPath) {
        self.flying.insert(path.clone());
    }

    /// A call has ended.
    pub fn ends(&mut self, path: &RelPath, outcome: &Outcome, manner: &Manner, now: Duration) {
        self.flying.remove(path);
        match outcome {
            Outcome::Done | Outcome::Failed { fault: Fault::Path, .. } => {
                self.failures = 0;
                self.gate = None;
            }
            Outcome::Failed { fault: Fault::Either | Fault::Plugin, .. } => {
                self.failures = self.failures.saturating_add(1);
                let wait = wait_ms(self.failures, manner.retry_ms);
                self.gate = Some(now + Duration::from_millis(wait));
            }
            Outcome::Failed { fault: Fault::Never, .. } => {}
        }
    }

    /// The state of the plugin is unknown again, so calls may start immediately.
    pub fn begin_anew(&mut self) {
        (self.failures, self.gate) = (0, None);
    }

    /// When calls may start again, if not now.
    pub fn gate(&self, now: Duration) -> Option<Duration> {
        self.gate.filter(|at| *at > now)
    }

    /// The number of calls in progress.
    pub fn flying(&self) -> usize {
        self.flying.len()
    }

    /// The number of failures in a row: the plugin does not answer.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

/// What is recorded about a call that ended at `wall_ms`. `called` is the state of its path at the call.
pub fn end(
    due: &Due,
    outcome: &Outcome,
    called: Option<Called>,
    manner: &Manner,
    wall_ms: i64,
) -> CallEnd {
    let Outcome::Failed { error, fault } = outcome else {
        return CallEnd::Done { counts: true, called };
    };
    let error = error.clone();
    let attempts = match fault {
        Fault::Plugin => due.attempts,
        Fault::Path | Fault::Either | Fault::Never => due.attempts.saturating_add(1),
    };
    let old = wall_ms.saturating_sub(due.since_ms) > manner.keep_ms as i64;
    if old || attempts >= manner.attempts || *fault == Fault::Never {
        return CallEnd::GivenUp { error, attempts };
    }
    let wait = match fault {
        // The whole plugin waits, not only this path.
        Fault::Plugin => 0,
        _ => wait_ms(attempts, manner.retry_ms) as i64,
    };
    CallEnd::Again { error, attempts, next_try_ms: wall_ms.saturating_add(wait) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Events, Scope};

    const SECOND: Duration = Duration::from_secs(1);

    fn due(path: &str) -> Due {
        Due {
            path: RelPath::new(path).unwrap(),
            seq: 1,
            scope: Scope::Entry,
            events: Events::WRITE,
            attempts: 0,
            since_ms: 0,
        }
    }

    fn failed(fault: Fault) -> Outcome {
        Outcome::Failed { error: "why".into(), fault }
    }

    #[test]
    fn one_call_per_path_and_a_total_limit() {
        let manner = Manner { parallel: 2, ..Manner::default() };
        let mut lane = Lane::default();
        let all = [due("a"), due("b"), due("c")];
        assert_eq!(lane.room(&manner, SECOND), 2);
        lane.starts(&all[0].path);
        let free: Vec<_> = lane.free(&all).into_iter().map(|d| d.path.to_string()).collect();
        assert_eq!((lane.room(&manner, SECOND), free), (1, vec!["b".into(), "c".to_owned()]));
        lane.starts(&all[1].path);
        assert_eq!(lane.room(&manner, SECOND), 0);
        lane.ends(&all[0].path, &Outcome::Done, &manner, SECOND);
        assert_eq!((lane.room(&manner, SECOND), lane.flying()), (1, 1));
    }

    #[test]
    fn a_plugin_that_is_down_gets_single_probes() {
        let manner = Manner { retry_ms: 1_000, ..Manner::default() };
        let mut lane = Lane::default();
        let path = due("a").path;
        for (n, wait) in [1, 2, 4, 8, 16, 32, 60, 60].into_iter().enumerate() {
            lane.starts(&path);
            lane.ends(&path, &failed(Fault::Plugin), &manner, SECOND);
            assert_eq!(lane.gate(SECOND), Some(SECOND * (1 + wait)), "{n}");
            assert_eq!(lane.room(&manner, SECOND * wait), 0);
            assert_eq!(lane.room(&manner, SECOND * (1 + wait)), 1);
        }
        lane.ends(&path, &failed(Fault::Path), &manner, SECOND);
        assert_eq!(lane.room(&manner, SECOND), 4, "it answers");
        lane.ends(&path, &failed(Fault::Either), &manner, SECOND);
        assert_eq!(lane.room(&manner, SECOND), 0);
    }

    #[test]
    fn a_failing_path_is_not_every_probe() {
        let manner = Manner::default();
        let mut lane = Lane::default();
        let bad = Due { attempts: 3, ..due("bad") };
        let all = [bad.clone(), Due { attempts: 1, ..due("b") }, due("c"), due("d")];
        let first = |lane: &Lane| lane.free(&all)[0].path.to_string();
        assert_eq!(first(&lane), "bad", "all are called for at once");
        lane.starts(&bad.path);
        lane.ends(&bad.path, &failed(Fault::Either), &manner, SECOND);
        assert_eq!(first(&lane), "c");
        lane.starts(&all[2].path);
        lane.ends(&all[2].path, &Outcome::Done, &manner, SECOND);
        assert_eq!((lane.room(&manner, SECOND), first(&lane).as_str()), (4, "bad"));
    }

    #[test]
    fn a_failing_path_is_given_up_but_not_for_a_plugin_that_is_down() {
        let manner = Manner { attempts: 3, retry_ms: 10, keep_ms: 5_000, ..Manner::default() };
        let at = |attempts, fault, now| {
            let due = Due { attempts, ..due("a") };
            end(&due, &failed(fault), None, &manner, now)
        };
        let again =
            |attempts, next_try_ms| CallEnd::Again { error: "why".into(), attempts, next_try_ms };
        let given_up = |attempts| CallEnd::GivenUp { error: "why".into(), attempts };
        assert_eq!(at(0, Fault::Path, 100), again(1, 110));
        assert_eq!(at(1, Fault::Either, 100), again(2, 120));
        assert_eq!(at(2, Fault::Path, 100), given_up(3));
        assert_eq!(at(2, Fault::Plugin, 100), again(2, 100));
        assert_eq!(at(0, Fault::Plugin, 5_001), given_up(0));
        assert_eq!(at(0, Fault::Never, 0), given_up(1));
        let done = end(&due("a"), &Outcome::Done, None, &manner, 1);
        assert_eq!(done, CallEnd::Done { counts: true, called: None });
    }
}
