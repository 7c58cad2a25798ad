//! Which calls come next, and what is done about those that fail. Pure: times are given.

use crate::config::model::Manner;
use crate::journal::{CallEnd, Called, Due};
use crate::path::RelPath;
use std::collections::BTreeSet;
use std::time::Duration;

/// How a call went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Well.
    Done,
    /// Not well.
    Failed {
        /// Why, for people; never a password.
        error: String,
        /// What that says about other calls.
        fault: Fault,
    },
}

/// What a failure says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Of this path: others may go well.
    Path,
    /// Of this path and perhaps of the plugin: no answer, or an error of the server.
    Either,
    /// Of the plugin: it was not reached, so this says nothing of the path.
    Plugin,
    /// This path can never be called for.
    Never,
}

/// The longest wait, in first waits.
const MOST: u64 = 60;

/// The wait after a number of failures, in milliseconds: `first`, doubled each time, up to 60 times as much.
pub fn wait_ms(failures: u32, first: u64) -> u64 {
    let doubled = first.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled.min(first.saturating_mul(MOST))
}

/// One plugin's calls in hand.
#[derive(Clone, Debug, Default)]
pub struct Lane {
    flying: BTreeSet<RelPath>,
    /// Failures in a row that may be the plugin's.
    failures: u32,
    /// Nothing is called before.
    gate: Option<Duration>,
}

impl Lane {
    /// How many calls may start now.
    pub fn room(&self, manner: &Manner, now: Duration) -> usize {
        if self.gate.is_some_and(|at| now < at) {
            return 0;
        }
        // A plugin that was in trouble is asked once first.
        let most = if self.failures > 0 { 1 } else { manner.parallel as usize };
        most.saturating_sub(self.flying.len())
    }

    /// Those of `due` that are not being called for already: in their order, but while the plugin may be in trouble
    /// those that failed least come first, since one bad path would otherwise be every probe.
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

    /// The state of the plugin is unknown again: calls may start immediately.
    pub fn begin_anew(&mut self) {
        (self.failures, self.gate) = (0, None);
    }

    /// When calls may start again, if they may not now.
    pub fn gate(&self, now: Duration) -> Option<Duration> {
        self.gate.filter(|at| *at > now)
    }

    /// Calls in hand.
    pub fn flying(&self) -> usize {
        self.flying.len()
    }

    /// The plugin does not answer.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

/// What is written of a call that ended at `wall_ms`; `called` is what its path was.
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
        // The whole plugin waits.
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
