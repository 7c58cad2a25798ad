//! Plugins, and the commands that run when a remote is in trouble.

use super::{LocalPath, Place, RunAs};
use crate::path::{OsBytes, fnv1a};
use serde::{Deserialize, Serialize};

/// A program or server that the plugin runner calls for every change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plugin {
    /// The place of its declaration.
    pub place: Place,
    /// The target of the calls.
    pub call: Call,
    /// sersync's `<localpath watch="">` in its section: the directory that `-m` watches.
    pub watch: Option<OsBytes>,
    /// When and how often.
    pub manner: Manner,
}

/// When a plugin is called, and what happens after a failure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manner {
    /// The timeout of a call, in milliseconds.
    pub timeout_ms: u64,
    /// The most calls at a time; never two for one path.
    pub parallel: u32,
    /// The first delay after a failure, in milliseconds. It doubles, up to 60 times the value.
    pub retry_ms: u64,
    /// The number of failures after which a path is given up.
    pub attempts: u32,
    /// A call that could not be made for this long is given up; milliseconds.
    pub keep_ms: u64,
    /// The events for which it is called.
    pub events: CallEvents,
}

/// The timeout of a `command` of a `confxml.xml`, in milliseconds: one day, since sersync had no limit and its XML
/// cannot set one.
pub const XML_COMMAND_TIMEOUT_MS: u64 = 86_400_000;

impl Default for Manner {
    fn default() -> Self {
        Self {
            timeout_ms: 30_000,
            parallel: 4,
            retry_ms: 1_000,
            attempts: 10,
            keep_ms: 86_400_000,
            events: CallEvents::default(),
        }
    }
}

/// The events for which a plugin is called. sersync called it for everything that marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallEvents {
    /// A path was created or written.
    pub change: bool,
    /// Only mode, owner or times of a path changed.
    pub attrib: bool,
    /// A path was deleted.
    pub delete: bool,
}

impl Default for CallEvents {
    fn default() -> Self {
        Self { change: true, attrib: true, delete: true }
    }
}

/// The target of a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// `prefix PATH suffix`, without a shell.
    Command {
        /// Words before the path, split as a shell would.
        prefix: String,
        /// Words after it.
        suffix: String,
        /// Its output and exit status are ignored.
        ignore_error: bool,
        /// Only whole absolute paths that match one of these; all paths if empty.
        include: Vec<OsBytes>,
        /// The user that it runs as, if not the user of this program.
        user: Option<RunAs>,
    },
    /// Sends the changed path to a TCP address.
    Socket {
        /// Host name or address.
        host: String,
        /// TCP port.
        port: u16,
        /// The framing of paths.
        framing: Framing,
    },
    /// Posts a form to an HTTP server.
    Http {
        /// The URL.
        url: String,
        /// Certificates (PEM) to trust instead of the public ones.
        ca_file: Option<OsBytes>,
    },
    /// ChinaCache's refresh request.
    RefreshCdn {
        /// The service's host name.
        host: String,
        /// TCP port.
        port: u16,
        /// Its user.
        user: String,
        /// Its password.
        password: Secret,
        /// The beginning of every URL.
        base_url: String,
        /// `regexurl`'s `match`, if `regex` is on.
        url_match: Option<String>,
    },
}

impl Plugin {
    /// The user that it runs as, if it is a command that names one.
    pub fn run_as(&self) -> Option<&RunAs> {
        match &self.call {
            Call::Command { user, .. } => user.as_ref(),
            Call::Socket { .. } | Call::Http { .. } | Call::RefreshCdn { .. } => None,
        }
    }
}

impl LocalPath {
    /// The users that commands of its plugins and alarms run as.
    pub fn command_users(&self) -> impl Iterator<Item = &RunAs> {
        self.plugins.iter().filter_map(Plugin::run_as).chain(&self.alarms.user)
    }

    /// Which programs of the user's own its plugin runner starts.
    pub fn commands(&self) -> Commands {
        let is_command = |p: &&Plugin| matches!(p.call, Call::Command { .. });
        let plugins = self.plugins.iter().filter(is_command).map(|p| p.run_as().is_some());
        let alarms = (!self.alarms.is_empty()).then_some(self.alarms.user.is_some());
        let all: Vec<bool> = plugins.chain(alarms).collect();
        match all.as_slice() {
            [] => Commands::None,
            all if all.iter().all(|as_other| *as_other) => Commands::AsOthers,
            _ => Commands::AsThisUser,
        }
    }
}

/// Programs of the user's own that a plugin runner starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commands {
    /// None: its plugins are called over the network.
    None,
    /// Each names the user that it runs as.
    AsOthers,
    /// At least one runs with all rights of this program.
    AsThisUser,
}

/// How a socket plugin separates paths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Framing {
    /// A connection for each path, as in sersync.
    #[default]
    Connection,
    /// One connection, a newline after each path.
    Newline,
    /// One connection, a NUL after each path.
    Nul,
}

/// A password. It is never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("\"...\"")
    }
}

/// The kinds of plugins, with sersync's names, as `-m` accepts them.
pub const PLUGIN_KINDS: [&str; 4] = ["command", "socket", "http", "refreshCDN"];

impl Call {
    /// sersync's name of its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Call::Command { .. } => PLUGIN_KINDS[0],
            Call::Socket { .. } => PLUGIN_KINDS[1],
            Call::Http { .. } => PLUGIN_KINDS[2],
            Call::RefreshCdn { .. } => PLUGIN_KINDS[3],
        }
    }
}

impl Call {
    /// The identity of the call: its kind and its target. Other settings may change.
    fn target(&self) -> String {
        match self {
            Call::Command { prefix, suffix, .. } => format!("{prefix}\0{suffix}"),
            Call::Socket { host, port, .. } => format!("{host}\0{port}"),
            Call::Http { url, .. } => url.clone(),
            Call::RefreshCdn { host, port, base_url, .. } => format!("{host}\0{port}\0{base_url}"),
        }
    }
}

/// The names of plugins within their localpath, for users: their kinds, with a number if a kind is repeated.
pub fn plugin_titles(plugins: &[Plugin]) -> Vec<String> {
    numbered(plugins.iter().map(|p| p.call.kind().to_owned()))
}

/// The names of plugins in the journal. They depend on the call and not on the position in the list: another plugin
/// that takes the position must never make the waiting calls.
pub fn plugin_names(plugins: &[Plugin]) -> Vec<String> {
    let name = |p: &Plugin| format!("{}-{:016x}", p.call.kind(), fnv1a(p.call.target().as_bytes()));
    numbered(plugins.iter().map(name))
}

fn numbered(names: impl Iterator<Item = String>) -> Vec<String> {
    let all: Vec<String> = names.collect();
    let before = |n: usize| all[..n].iter().filter(|other| **other == all[n]).count();
    let number = |n: usize| match before(n) {
        0 => all[n].clone(),
        before => format!("{}-{}", all[n], before + 1),
    };
    (0..all.len()).map(number).collect()
}

/// Commands that run when a remote is in trouble.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alarms {
    /// Runs when a remote has been in trouble for `after_ms`.
    pub on_failure: Vec<String>,
    /// Runs when the remote has recovered.
    pub on_recovery: Vec<String>,
    /// Milliseconds of trouble before `on_failure`.
    pub after_ms: u64,
    /// The user that both run as, if not the user of this program.
    pub user: Option<RunAs>,
}

impl Default for Alarms {
    fn default() -> Self {
        Self {
            on_failure: Vec::new(),
            on_recovery: Vec::new(),
            after_ms: ALARM_AFTER_MS,
            user: None,
        }
    }
}

impl Alarms {
    /// True if no command is configured.
    pub fn is_empty(&self) -> bool {
        self.on_failure.is_empty() && self.on_recovery.is_empty()
    }
}

/// The default delay of `on_failure`, in milliseconds.
pub const ALARM_AFTER_MS: u64 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn command(prefix: &str) -> Plugin {
        let call = Call::Command {
            prefix: prefix.into(),
            suffix: String::new(),
            ignore_error: false,
            include: vec![],
            user: None,
        };
        Plugin { place: Place::default(), call, watch: None, manner: Manner::default() }
    }

    fn as_other(prefix: &str) -> Plugin {
        let mut plugin = command(prefix);
        if let Call::Command { user, .. } = &mut plugin.call {
            *user = Some(RunAs { name: "other".into(), place: Place::default() });
        }
        plugin
    }

    #[test]
    fn a_runner_keeps_its_privileges_for_any_command_without_a_user() {
        let commands = |settings: &str| {
            let text = format!("localpaths:\n- watch: /d\n  remotes: ['h::m']\n{settings}");
            let parsed = crate::config::parse(text.as_bytes(), "a.yaml".as_ref());
            assert!(parsed.diagnostics.is_empty(), "{:?}", parsed.diagnostics);
            parsed.config.localpaths[0].commands()
        };
        let plugins = |list: &str| format!("  plugins: [{list}]\n");
        let (server, with, without) = (
            "socket: {host: h, port: 1}",
            "command: {prefix: /bin/a, user: www}",
            "command: {prefix: /bin/b}",
        );
        let alarm = "  on_recovery: /bin/c\n";
        for (settings, expected) in [
            (String::new(), Commands::None),
            (plugins(server), Commands::None),
            (plugins(&format!("{server}, {with}")), Commands::AsOthers),
            (plugins(&format!("{without}, {with}")), Commands::AsThisUser),
            (plugins(with) + alarm, Commands::AsThisUser),
            (plugins(with) + alarm + "  alarm_user: www\n", Commands::AsOthers),
            (plugins(without) + alarm + "  alarm_user: www\n", Commands::AsThisUser),
            ("  alarm_user: www\n".into(), Commands::None),
        ] {
            assert_eq!(commands(&settings), expected, "{settings}");
        }
    }

    #[test]
    fn a_user_does_not_change_the_identity_of_a_call() {
        assert_eq!(plugin_names(&[command("a")]), plugin_names(&[as_other("a")]));
    }

    #[test]
    fn plugins_are_named_after_their_call() {
        let (a, b) = (command("a"), command("b"));
        let both = plugin_names(&[a.clone(), b.clone(), b.clone()]);
        assert_eq!(plugin_names(&[b.clone(), b.clone()]), both[1..]);
        assert_eq!(both[2], format!("{}-2", both[1]));
        let patient = Manner { timeout_ms: 1, ..Manner::default() };
        assert_eq!(plugin_names(&[Plugin { manner: patient, ..a.clone() }]), both[..1]);
        assert_eq!(plugin_titles(&[a, b]), ["command", "command-2"]);
        // Journals contain these names: they must not change with a release.
        assert_eq!(plugin_names(&[command("a")]), ["command-089be207b544f1e4"]);
    }
}
