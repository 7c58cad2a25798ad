//! `syncsup status`: shows localpaths and remotes, what needs a look first, as text or as JSON.

mod layout;
mod processes;
mod select;
mod show;
mod view;
mod watch;

use super::invocation::{Invocation, StatusFormat, StatusWish};
use super::{client, print_exactly};
use crate::error::{Error, Exit, Result};
use crate::help_topic::HelpTopic;
use crate::language::Language;
use crate::message::{
    AllStatus, InstanceStatus, LocalPathState, LocalPathStatus, PluginState, PluginStatus,
    PusherState, RemoteStatus,
};
use crate::sys::{clock, terminal};
use layout::{Colours, Screen};
use std::time::Duration;
use view::View;

/// Exit status 0 if everything that is shown or asked for is in sync, 1 if not, 3 if no supervisor is running, 5 if one
/// does not answer.
pub fn run(invocation: &Invocation, wish: &StatusWish) -> Result<Exit> {
    if wish.format == StatusFormat::Watch {
        return watch::run(invocation, wish);
    }
    let found = look(invocation, wish, client::PATIENCE)?;
    match wish.format {
        StatusFormat::Json => {
            let all = AllStatus { instances: found.instances.clone() };
            print_exactly(&(serde_json::to_string(&all).unwrap_or_default() + "\n"));
        }
        StatusFormat::Text | StatusFormat::Watch => print_exactly(&found.text(wish)),
    }
    found.verdict(invocation)
}

/// What can be shown.
struct StatusReport {
    instances: Vec<InstanceStatus>,
    /// The error of an instance that does not answer. The others are still shown.
    silent: Option<Error>,
}

fn look(invocation: &Invocation, wish: &StatusWish, patience: Duration) -> Result<StatusReport> {
    let (mut instances, mut silent) = (Vec::new(), None);
    for instance in client::running(invocation)? {
        match instance.status_within(patience) {
            Ok(status) => instances.push(status),
            // The instance has just ended.
            Err(e) if e.exit == Exit::NotRunning => {}
            Err(e) => silent = Some(e),
        }
    }
    if !instances.is_empty() {
        instances = match (select::named(instances, &wish.names), &silent) {
            (Ok(named), _) => named,
            // It may be the one that has this name.
            (Err(_), Some(_)) => Vec::new(),
            (Err(unknown), None) => return Err(unknown),
        };
    }
    Ok(StatusReport { instances, silent })
}

impl StatusReport {
    /// Nothing in it controls a terminal, except for the colours of a screen that has them.
    fn text(&self, wish: &StatusWish) -> String {
        let colours = if terminal::has_colours() { Colours::On } else { Colours::Off };
        let view = View {
            language: Language::current(),
            screen: Screen { columns: terminal::columns(), colours },
            part: wish.part,
            processes: wish.processes,
            now_ms: clock::wall_ms(),
            time: show::at,
        };
        show::report(&self.instances, &view)
    }

    fn verdict(self, invocation: &Invocation) -> Result<Exit> {
        let in_sync = self.instances.iter().flat_map(|i| &i.localpaths).all(is_in_sync);
        match (self.silent, self.instances.is_empty(), in_sync) {
            (Some(error), _, _) => Err(error),
            (None, true, _) => Err(client::none(invocation)),
            (None, false, true) => Ok(Exit::Ok),
            (None, false, false) => Ok(Exit::No),
        }
    }
}

/// A localpath is in sync if it is watched and nothing is left to push to any remote. If nothing is pushed, as with
/// `-m`, only the plugins count: no call fails or was given up.
fn is_in_sync(localpath: &LocalPathStatus) -> bool {
    let called = || {
        let runs = localpath.plugin_runner.as_ref().is_none_or(|r| r.pid.is_some());
        let fine =
            |p: &PluginStatus| p.state != PluginState::Failing && p.failing + p.given_up == 0;
        runs && localpath.plugins.iter().all(fine)
    };
    localpath.state == LocalPathState::Watching
        && localpath.remotes.iter().all(|r| r.status.state == PusherState::InSync)
        && (!localpath.remotes.is_empty() || called())
}

/// Since when a remote is in trouble, when it is retried, and why, as `status` prints it.
pub fn trouble(remote: &RemoteStatus) -> Option<String> {
    show::trouble(remote, clock::wall_ms(), Language::current(), show::at)
}

/// The word that `status` shows for a state. A state that needs attention is conspicuous.
pub fn word(state: PusherState) -> &'static str {
    word_in(state, Language::current())
}

/// The same in a language.
pub fn word_in(state: PusherState, language: Language) -> &'static str {
    match (language, state) {
        (Language::English, PusherState::Held) => "HELD",
        (Language::English, PusherState::Down) => "DOWN",
        (Language::English | Language::Chinese, state) => language.pick(state.text()),
    }
}

/// Where the documentation says what to do. In Chinese also what has happened, since the reason above it is English.
pub fn help(topic: HelpTopic) -> String {
    help_in(topic, Language::current())
}

/// The same in a language.
pub fn help_in(topic: HelpTopic, language: Language) -> String {
    match language {
        Language::English => format!("help: {}", topic.command()),
        Language::Chinese => format!("{}，处理办法：{}", topic.in_chinese(), topic.command()),
    }
}

/// Joins lines into one that is safe for a terminal.
pub fn one_line(text: &str) -> String {
    crate::path::as_written(text.lines().collect::<Vec<_>>().join("; ").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::ChildStatus;

    #[test]
    fn in_sync_needs_a_watch_and_an_empty_backlog() {
        assert!(is_in_sync(&show::tests::sample(LocalPathState::Watching, PusherState::InSync)));
        assert!(!is_in_sync(&show::tests::sample(LocalPathState::Held, PusherState::InSync)));
        assert!(!is_in_sync(&show::tests::sample(LocalPathState::Watching, PusherState::Behind)));
        let unheard = show::tests::sample(LocalPathState::Watching, PusherState::default());
        assert!(!is_in_sync(&unheard), "what has not said anything is not known");
    }

    #[test]
    fn plugins_count_when_there_is_no_remote() {
        let mut localpath = show::tests::sample(LocalPathState::Watching, PusherState::InSync);
        localpath.plugin_runner = Some(ChildStatus { pid: Some(3), ..ChildStatus::default() });
        for (state, failing, given_up, fine) in [
            (PluginState::Idle, 0, 0, true),
            (PluginState::Failing, 0, 0, false),
            (PluginState::Waiting, 1, 0, false),
            (PluginState::Idle, 0, 1, false),
        ] {
            localpath.plugins =
                vec![PluginStatus { state, failing, given_up, ..Default::default() }];
            assert!(is_in_sync(&localpath));
            let alone = LocalPathStatus { remotes: vec![], ..localpath.clone() };
            assert_eq!(is_in_sync(&alone), fine, "{:?}", alone.plugins);
        }
        let down = Some(ChildStatus::default());
        assert!(!is_in_sync(&LocalPathStatus {
            remotes: vec![],
            plugin_runner: down,
            ..localpath
        }));
    }
}
