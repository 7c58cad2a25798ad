//! What a person should know of first: what is wrong, why, and what to do. Pure.

use crate::figures;
use crate::help_topic::HelpTopic;
use crate::message::{
    InstanceStatus, LocalPathState, LocalPathStatus, PluginState, PluginStatus, PusherState,
    RemoteStatus,
};
use crate::shell::quoted_text;

/// What is wrong. The gravest first: what nothing but a person can end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A localpath is held: nothing of it is pushed.
    LocalPathHeld,
    /// A reconcile would delete too much on a remote.
    DeletionsHeld,
    /// rsync refuses what it is told, or the remote does.
    Refused,
    /// A localpath has a part that is not watched.
    Degraded,
    /// Paths of a remote fail.
    PathsFail,
    /// A plugin is held, though its localpath is not.
    PluginHeld,
    /// Calls of a plugin were given up.
    CallsGivenUp,
    /// A watcher does not run.
    LocalPathDown,
    /// A remote is in trouble.
    Trouble,
    /// A pusher does not run.
    RemoteDown,
    /// A call of a plugin fails.
    PluginFails,
    /// A plugin runner does not run.
    RunnerDown,
}

/// Who ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EndedBy {
    /// An operator.
    Operator,
    /// Nobody: it is tried again until it works.
    Itself,
}

impl Kind {
    /// Who ends it.
    pub fn ended_by(self) -> EndedBy {
        match self {
            Kind::LocalPathHeld
            | Kind::DeletionsHeld
            | Kind::Refused
            | Kind::Degraded
            | Kind::PathsFail
            | Kind::PluginHeld
            | Kind::CallsGivenUp => EndedBy::Operator,
            Kind::LocalPathDown
            | Kind::Trouble
            | Kind::RemoteDown
            | Kind::PluginFails
            | Kind::RunnerDown => EndedBy::Itself,
        }
    }

    /// The state in words.
    pub fn words(self) -> &'static str {
        match self {
            Kind::LocalPathHeld | Kind::DeletionsHeld | Kind::Refused | Kind::PluginHeld => "held",
            Kind::Degraded => "degraded",
            Kind::PathsFail => "failing paths",
            Kind::CallsGivenUp => "calls given up",
            Kind::Trouble => "in trouble",
            Kind::PluginFails => "failing",
            Kind::LocalPathDown | Kind::RemoteDown | Kind::RunnerDown => "down",
        }
    }

    /// What to do.
    pub fn advice(self) -> &'static str {
        match self {
            Kind::LocalPathHeld => {
                "Mount it again, or put the directory back: then it continues by itself. If the new directory is the right one, release it:"
            }
            Kind::DeletionsHeld => {
                "Look at what would be deleted there. If that is right, release it without --show:"
            }
            Kind::Refused => {
                "Fix what rsync names (password, module, option), there or in the configuration. It is tried every minute, or at once with:"
            }
            Kind::Degraded => {
                "Do what the reason says. What is not watched is scanned every minute meanwhile."
            }
            Kind::PathsFail => {
                "Remove the cause. The paths are tried again by themselves. This lists them with their errors:"
            }
            Kind::PluginHeld => "See the reason. It continues by itself when the reason is gone.",
            Kind::CallsGivenUp => {
                "This lists the calls, and \u{2018}journal retry\u{2019} repeats them:"
            }
            Kind::LocalPathDown | Kind::RemoteDown | Kind::RunnerDown => {
                "It is started again by itself. If it keeps ending, the log says why."
            }
            Kind::Trouble => {
                "Nothing is lost, and it is tried again by itself. If this lasts, see whether the host is up, its rsync daemon answers and its disk has room."
            }
            Kind::PluginFails => {
                "The call is repeated by itself. If this lasts, remove the cause. This lists what waits:"
            }
        }
    }
}

/// One thing that is wrong, at one or several places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concern {
    /// What is wrong.
    pub kind: Kind,
    /// The remote or the plugin; nothing for the localpath itself.
    pub name: Option<String>,
    /// The localpaths where it is wrong.
    pub localpaths: Vec<String>,
    /// The reason, as rsync or the system says it.
    pub why: Option<String>,
    /// The number of failing paths, or of calls that were given up.
    pub number: u64,
    /// Since when, in milliseconds since 1970: the earliest.
    pub since_ms: Option<i64>,
    /// The next try, in milliseconds since 1970: the earliest.
    pub retry_ms: Option<i64>,
    /// What to type.
    pub command: Option<String>,
    /// Where to read more.
    pub help: Option<HelpTopic>,
}

impl Concern {
    /// Distinguishes it from all others.
    pub fn key(&self) -> String {
        let name = self.name.as_deref().unwrap_or_default();
        let first = self.localpaths.first().map_or("", String::as_str);
        format!("{:?} {name} {first}", self.kind)
    }

    /// For example `2 failing paths`.
    pub fn words(&self) -> String {
        match self.kind {
            Kind::PathsFail => figures::count(self.number, "failing path", "failing paths"),
            Kind::CallsGivenUp => figures::count(self.number, "call given up", "calls given up"),
            kind => kind.words().to_owned(),
        }
    }

    fn at(kind: Kind, name: Option<&str>, l: &LocalPathStatus, why: Option<&str>) -> Self {
        Self {
            kind,
            name: name.map(str::to_owned),
            localpaths: vec![l.watch.to_string()],
            why: why.map(str::to_owned),
            number: 0,
            since_ms: None,
            retry_ms: None,
            command: None,
            help: None,
        }
    }

    fn with(self, words: &[&str], last: &[u8]) -> Self {
        let command = format!("syncsup {} {}", words.join(" "), quoted_text(last));
        Self { command: Some(command), ..self }
    }
}

/// Everything that is wrong, the gravest first. What has the same name and reason at several localpaths is one concern.
pub fn concerns(status: &InstanceStatus) -> Vec<Concern> {
    let mut all: Vec<Concern> = Vec::new();
    for new in status.localpaths.iter().flat_map(of_localpath) {
        let same = |c: &&mut Concern| {
            c.kind == new.kind && c.name.is_some() && c.name == new.name && c.why == new.why
        };
        match all.iter_mut().find(same) {
            Some(old) => {
                old.localpaths.extend(new.localpaths);
                old.number += new.number;
                old.since_ms = earliest(old.since_ms, new.since_ms);
                old.retry_ms = earliest(old.retry_ms, new.retry_ms);
            }
            None => all.push(new),
        }
    }
    // Stable: otherwise the order is that of the configuration.
    all.sort_by_key(|c| (c.kind.ended_by(), c.kind));
    all
}

fn earliest(a: Option<i64>, b: Option<i64>) -> Option<i64> {
    a.into_iter().chain(b).min()
}

fn of_localpath(l: &LocalPathStatus) -> Vec<Concern> {
    let mut all = Vec::new();
    let itself = |kind| Concern { help: l.help, ..Concern::at(kind, None, l, l.reason.as_deref()) };
    match l.state {
        LocalPathState::Held => {
            all.push(itself(Kind::LocalPathHeld).with(&["release"], l.watch.as_bytes()));
        }
        LocalPathState::Degraded => all.push(itself(Kind::Degraded)),
        LocalPathState::Down => {
            all.push(Concern { since_ms: l.watcher.since_ms, ..itself(Kind::LocalPathDown) });
        }
        LocalPathState::Starting | LocalPathState::Scanning | LocalPathState::Watching => {}
    }
    all.extend(l.remotes.iter().flat_map(|r| of_remote(l, r)));
    let runs = l.plugin_runner.as_ref().is_none_or(|r| r.pid.is_some());
    if let Some(runner) = l.plugin_runner.as_ref().filter(|_| !runs) {
        let why = runner.last_exit.as_deref();
        let down = Concern::at(Kind::RunnerDown, Some("plugin runner"), l, why);
        all.push(Concern { since_ms: runner.since_ms, ..down });
    }
    all.extend(l.plugins.iter().filter(|_| runs).flat_map(|p| of_plugin(l, p)));
    all
}

fn of_remote(l: &LocalPathStatus, r: &RemoteStatus) -> Vec<Concern> {
    let s = &r.status;
    let name = r.name.as_bytes();
    let about = |kind| Concern {
        since_ms: r.trouble_since_ms,
        retry_ms: s.retry_ms,
        help: s.help,
        ..Concern::at(kind, Some(&r.name), l, s.reason.as_deref())
    };
    let state = match s.state {
        PusherState::Backoff => Some(about(Kind::Trouble)),
        PusherState::Down => Some(about(Kind::RemoteDown)),
        // The localpath says why.
        PusherState::Held if l.state == LocalPathState::Held => None,
        // Only what rsync refuses is tried again.
        PusherState::Held if s.retry_ms.is_some() => {
            Some(about(Kind::Refused).with(&["sync"], name))
        }
        PusherState::Held => Some(about(Kind::DeletionsHeld).with(&["release --show"], name)),
        PusherState::InSync
        | PusherState::Behind
        | PusherState::Pushing
        | PusherState::Reconciling => None,
    };
    let fails = (s.failing > 0).then(|| {
        let why = s.first_failure.as_deref();
        let about = Concern::at(Kind::PathsFail, Some(&r.name), l, why);
        let help = Some(HelpTopic::FailingPaths);
        Concern { number: s.failing, help, ..about }.with(&["journal --remote"], name)
    });
    state.into_iter().chain(fails).collect()
}

fn of_plugin(l: &LocalPathStatus, p: &PluginStatus) -> Vec<Concern> {
    let about =
        |kind| Concern { help: p.help, ..Concern::at(kind, Some(&p.name), l, p.reason.as_deref()) };
    let journal = |c: Concern| c.with(&["journal --plugin"], p.name.as_bytes());
    let state = match p.state {
        PluginState::Failing => Some(journal(about(Kind::PluginFails))),
        PluginState::Held if l.state == LocalPathState::Held => None,
        PluginState::Held => Some(about(Kind::PluginHeld)),
        PluginState::Idle | PluginState::Waiting | PluginState::Calling => None,
    };
    let given_up = (p.given_up > 0)
        .then(|| journal(Concern { number: p.given_up, ..about(Kind::CallsGivenUp) }));
    state.into_iter().chain(given_up).collect()
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;
    use crate::message::ChildStatus;

    fn kinds(status: &InstanceStatus) -> Vec<Kind> {
        concerns(status).iter().map(|c| c.kind).collect()
    }

    #[test]
    fn what_needs_a_person_is_first() {
        let status = samples::troubled(20, 6);
        let all = concerns(&status);
        let wanted = [Kind::DeletionsHeld, Kind::Refused, Kind::PathsFail, Kind::Trouble];
        assert_eq!(kinds(&status), wanted);
        let dead = &all[3];
        assert_eq!((dead.localpaths.len(), dead.name.as_deref()), (7, Some("10.0.0.5::www")));
        assert_eq!(dead.since_ms, Some(samples::NOW_MS - 754_000));
        let command = all[0].command.as_deref();
        assert_eq!(command, Some("syncsup release --show 10.0.0.2::www"));
        assert_eq!(all[2].help, Some(HelpTopic::FailingPaths));
        assert_eq!((all[2].words(), all[2].number), ("2 failing paths".into(), 2));
    }

    #[test]
    fn nothing_is_wrong_in_an_instance_that_is_in_sync_or_works() {
        use PusherState::{Behind, InSync, Pushing, Reconciling};
        assert_eq!(kinds(&samples::instance(3, &[InSync, Behind, Pushing, Reconciling])), []);
    }

    #[test]
    fn a_held_localpath_is_said_once() {
        let mut status = samples::with_plugin(PluginState::Held);
        let l = &mut status.localpaths[0];
        (l.state, l.watch) = (LocalPathState::Held, "/da ta".into());
        l.remotes[0].status.state = PusherState::Held;
        let all = concerns(&status);
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].command.as_deref(), Some("syncsup release '/da ta'"));
        status.localpaths[0].state = LocalPathState::Watching;
        assert_eq!(kinds(&status), [Kind::DeletionsHeld, Kind::PluginHeld]);
    }

    #[test]
    fn whatever_is_down_or_fails_is_a_concern() {
        let mut status = samples::with_plugin(PluginState::Failing);
        status.localpaths[0].plugins[0].given_up = 3;
        status.localpaths[0].remotes[0].status.state = PusherState::Down;
        status.localpaths[0].state = LocalPathState::Down;
        let wanted = [Kind::CallsGivenUp, Kind::LocalPathDown, Kind::RemoteDown, Kind::PluginFails];
        assert_eq!(kinds(&status), wanted);
        status.localpaths[0].plugin_runner = Some(ChildStatus::default());
        status.localpaths[0].state = LocalPathState::Degraded;
        let wanted = [Kind::Degraded, Kind::RemoteDown, Kind::RunnerDown];
        assert_eq!(kinds(&status), wanted, "the state of its plugins is old");
    }

    #[test]
    fn keys_differ() {
        let all = concerns(&samples::troubled(50, 10));
        let keys: std::collections::BTreeSet<_> = all.iter().map(Concern::key).collect();
        assert_eq!(keys.len(), all.len());
    }
}
