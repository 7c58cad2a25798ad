//! How many remotes are in which state, and the sentence that says it: the first line of `status`, and the tiles of the
//! page. Pure.

use super::{
    ChildStatus, InstanceStatus, LocalPathState, LocalPathStatus, PluginState, PluginStatus,
    PusherState, RemoteStatus,
};
use crate::language::{Language, Text, words};

/// What a person wants to know of a remote's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// In trouble, or without a pusher. It is tried again without help.
    Trouble,
    /// An operator must look.
    Held,
    /// On its way to be in sync.
    Working,
    /// Nothing to do.
    InSync,
}

impl Class {
    /// Every class, the gravest first.
    pub const ALL: [Class; 4] = [Class::Trouble, Class::Held, Class::Working, Class::InSync];
    /// Every class, in the order of the first line of `status`.
    pub const IN_SYNC_FIRST: [Class; 4] =
        [Class::InSync, Class::Working, Class::Trouble, Class::Held];

    /// The class of a state.
    pub fn of(state: PusherState) -> Self {
        match state {
            PusherState::Backoff | PusherState::Down => Class::Trouble,
            PusherState::Held => Class::Held,
            PusherState::Behind | PusherState::Pushing | PusherState::Reconciling => Class::Working,
            PusherState::InSync => Class::InSync,
        }
    }

    /// The class of a localpath's own state.
    pub fn of_localpath(state: LocalPathState) -> Self {
        use LocalPathState::{Degraded, Down, Held, Scanning, Starting, Watching};
        match state {
            Down | Degraded => Class::Trouble,
            Held => Class::Held,
            Starting | Scanning => Class::Working,
            Watching => Class::InSync,
        }
    }

    /// The words of its tile.
    pub fn words(self) -> &'static str {
        self.text().0
    }

    /// The words in both languages.
    pub fn text(self) -> Text<'static> {
        match self {
            Class::Trouble => words::IN_TROUBLE,
            Class::Held => words::HELD,
            Class::Working => words::BEHIND,
            Class::InSync => words::IN_SYNC,
        }
    }
}

/// The number of remotes of each class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally([usize; 4]);

impl Tally {
    /// The remotes of one localpath.
    pub fn of(localpath: &LocalPathStatus) -> Self {
        let mut tally = Self::default();
        tally.add(localpath);
        tally
    }

    /// The remotes of all localpaths.
    pub fn of_all(status: &InstanceStatus) -> Self {
        let mut tally = Self::default();
        status.localpaths.iter().for_each(|l| tally.add(l));
        tally
    }

    fn add(&mut self, localpath: &LocalPathStatus) {
        localpath.remotes.iter().for_each(|r| self.0[Class::of(r.status.state) as usize] += 1);
    }

    /// The number of remotes of a class.
    pub fn count(&self, class: Class) -> usize {
        self.0[class as usize]
    }

    /// The number of all remotes.
    pub fn all(&self) -> usize {
        self.0.iter().sum()
    }

    /// The gravest class that has a remote; none without remotes.
    pub fn worst(&self) -> Option<Class> {
        Class::ALL.into_iter().find(|class| self.count(*class) > 0)
    }

    /// `1 in trouble, 2 held, 117 in sync`, in the given order.
    fn words(&self, language: Language, order: [Class; 4]) -> String {
        let some = order.into_iter().filter(|class| self.count(*class) > 0);
        let each = some.map(|class| {
            let count = self.count(class).to_string();
            language.say(words::OF_CLASS, &[&count, language.pick(class.text())])
        });
        each.collect::<Vec<_>>().join(language.pick(words::COMMA))
    }
}

/// The state of all localpaths at a glance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The remotes.
    tally: Tally,
    /// The localpaths that are not simply watched.
    localpaths: Vec<(LocalPathState, usize)>,
    /// The plugins that fail.
    plugins: usize,
    /// How grave it is.
    pub worst: Class,
}

impl Summary {
    /// Counts.
    pub fn of<'a>(localpaths: impl IntoIterator<Item = &'a LocalPathStatus>) -> Self {
        use LocalPathState::{Degraded, Down, Held, Scanning, Starting};
        let all: Vec<&LocalPathStatus> = localpaths.into_iter().collect();
        let mut tally = Tally::default();
        all.iter().for_each(|l| tally.add(l));
        let plugins = all.iter().map(|l| l.plugins.iter().filter(|p| l.plugin_fails(p)).count());
        let plugins = plugins.sum();
        let worst = all.iter().map(|l| Class::of_localpath(l.state)).chain(tally.worst());
        let worst = worst.chain((plugins > 0).then_some(Class::Trouble)).min();
        let localpaths = [Down, Held, Degraded, Starting, Scanning]
            .into_iter()
            .map(|state| (state, all.iter().filter(|l| l.state == state).count()));
        Self {
            tally,
            localpaths: localpaths.filter(|(_, n)| *n > 0).collect(),
            plugins,
            worst: worst.unwrap_or(Class::InSync),
        }
    }

    /// `93 in sync, 20 in trouble, 7 held; 2 localpaths starting`: the remotes in the given order of classes.
    pub fn words(&self, language: Language, order: [Class; 4]) -> String {
        if self.worst == Class::InSync {
            return language.pick(words::ALL_IN_SYNC).to_owned();
        }
        let paths = self.localpaths.iter().map(|(state, n)| {
            let count = language.count(*n as u64, words::LOCALPATHS);
            language.say(words::OF_STATE, &[&count, language.pick(state.text())])
        });
        let paths = paths.collect::<Vec<_>>().join(language.pick(words::COMMA));
        let plugins = language.count(self.plugins as u64, words::PLUGINS_FAIL);
        let plugins = if self.plugins > 0 { plugins } else { String::new() };
        let mut all = vec![self.tally.words(language, order), paths, plugins];
        all.retain(|part| !part.is_empty());
        all.join(language.pick(words::SEMICOLON))
    }
}

impl LocalPathStatus {
    /// True if the calls of one of its plugins fail, were given up, or cannot be made. One that is held says so as its
    /// localpath.
    pub fn plugin_fails(&self, plugin: &PluginStatus) -> bool {
        let runs = |runner: &ChildStatus| runner.pid.is_some();
        plugin.state == PluginState::Failing
            || plugin.failing + plugin.given_up > 0
            || !self.plugin_runner.as_ref().is_none_or(runs)
    }

    /// True if the operator should look at one of its plugins.
    pub fn plugin_needs_a_look(&self, plugin: &PluginStatus) -> bool {
        plugin.state == PluginState::Held || self.plugin_fails(plugin)
    }

    /// True if the operator should look at it, apart from its remotes and plugins.
    pub fn needs_a_look(&self) -> bool {
        matches!(Class::of_localpath(self.state), Class::Trouble | Class::Held)
    }
}

impl RemoteStatus {
    /// True if the operator should look at it: it is in trouble, held or down, or paths fail.
    pub fn needs_a_look(&self) -> bool {
        let class = Class::of(self.status.state);
        matches!(class, Class::Trouble | Class::Held) || self.status.failing > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reporter::samples;

    #[test]
    fn remotes_are_counted_by_class() {
        use PusherState::{Backoff, Behind, Down, Held, InSync, Pushing, Reconciling};
        let states = [Backoff, Behind, Down, Held, InSync, Pushing, Reconciling, InSync];
        let status = samples::instance(1, &states);
        let tally = Tally::of_all(&status);
        assert_eq!(Class::ALL.map(|class| tally.count(class)), [2, 1, 3, 2]);
        assert_eq!((tally.all(), tally.worst()), (8, Some(Class::Trouble)));
        assert_eq!(tally, Tally::of(&status.localpaths[0]));
        assert_eq!(Tally::default().worst(), None);
    }

    #[test]
    fn the_verdict_names_what_is_wrong_first() {
        use PusherState::{Backoff, Held, InSync, Pushing};
        let of = |status: &InstanceStatus| {
            let all = Summary::of(&status.localpaths);
            (all.worst, all.words(Language::English, Class::ALL))
        };
        let said = |states: &[PusherState], paths: &[LocalPathState]| {
            let mut status = samples::instance(paths.len(), states);
            status.localpaths.iter_mut().zip(paths).for_each(|(l, state)| l.state = *state);
            of(&status)
        };
        let watching = LocalPathState::Watching;
        for (states, paths, class, words) in [
            (&[InSync][..], &[watching][..], Class::InSync, "everything is in sync"),
            (&[InSync, Pushing], &[watching], Class::Working, "1 behind, 1 in sync"),
            (&[Held, InSync], &[watching], Class::Held, "1 held, 1 in sync"),
            (&[Backoff, Held], &[watching, watching], Class::Trouble, "2 in trouble, 2 held"),
            (
                &[InSync],
                &[LocalPathState::Held, LocalPathState::Starting],
                Class::Held,
                "2 in sync; 1 localpath held, 1 localpath starting",
            ),
            (&[], &[LocalPathState::Down], Class::Trouble, "1 localpath down"),
            (&[], &[], Class::InSync, "everything is in sync"),
        ] {
            assert_eq!(said(states, paths), (class, words.to_owned()));
        }
        let plugin = |state| of(&samples::with_plugin(state));
        let wanted = (Class::Trouble, "1 in sync; 1 plugin fails".to_owned());
        assert_eq!(plugin(PluginState::Failing), wanted);
        assert_eq!(plugin(PluginState::Calling).0, Class::InSync);
        let mut status = samples::with_plugin(PluginState::Idle);
        status.localpaths[0].plugin_runner = Some(ChildStatus::default());
        assert_eq!(of(&status), wanted, "its runner is down");
    }

    #[test]
    fn the_first_line_of_status_begins_with_what_is_in_sync() {
        let mut status = samples::troubled(20, 6);
        status.localpaths[18].state = LocalPathState::Starting;
        status.localpaths[19].state = LocalPathState::Starting;
        let said = |language| Summary::of(&status.localpaths).words(language, Class::IN_SYNC_FIRST);
        assert_eq!(
            said(Language::English),
            "109 in sync, 2 behind, 7 in trouble, 2 held; 2 localpaths starting"
        );
        assert_eq!(
            said(Language::Chinese),
            "109 个已同步，2 个落后，7 个故障，2 个已暂停；2 个本地目录正在启动"
        );
    }
}
