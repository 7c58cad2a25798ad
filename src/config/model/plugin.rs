//! Plugins, and the commands that hear of a remote's trouble.

use super::Place;
use crate::path::OsBytes;
use serde::{Deserialize, Serialize};

/// Something that hears of every change, from the plugin runner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plugin {
    /// Where it was declared.
    pub place: Place,
    /// What is called.
    pub call: Call,
    /// sersync's `<localpath watch="">` in its section: what `-m` watches.
    pub watch: Option<OsBytes>,
    /// When and how often.
    pub manner: Manner,
}

/// When a plugin is called, and what is done when that fails.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manner {
    /// A call may take so long, in milliseconds.
    pub timeout_ms: u64,
    /// Calls at a time, never two for one path.
    pub parallel: u32,
    /// The first wait after a failure, in milliseconds; it doubles, up to 60 times as much.
    pub retry_ms: u64,
    /// Failures of one path after which it is given up.
    pub attempts: u32,
    /// A call that could not be made for so long is given up, in milliseconds.
    pub keep_ms: u64,
    /// What happened, that it is called for.
    pub events: CallEvents,
}

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

/// What a plugin is called for. sersync called for everything that marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallEvents {
    /// A path is new or was written.
    pub change: bool,
    /// Only mode, owner or times of a path changed.
    pub attrib: bool,
    /// A path is gone.
    pub delete: bool,
}

impl Default for CallEvents {
    fn default() -> Self {
        Self { change: true, attrib: true, delete: true }
    }
}

/// What is called.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// `prefix PATH suffix`, without a shell.
    Command {
        /// Words before the path, split as a shell would.
        prefix: String,
        /// Words after it.
        suffix: String,
        /// Its output and status are of no interest.
        ignore_error: bool,
        /// Only whole absolute paths that match one of these; all when empty.
        include: Vec<OsBytes>,
    },
    /// The changed path to a TCP address.
    Socket {
        /// Host name or address.
        host: String,
        /// TCP port.
        port: u16,
        /// How paths are told apart.
        framing: Framing,
    },
    /// A form to an HTTP server.
    Http {
        /// Where it is posted to.
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
        /// What every URL begins with.
        base_url: String,
        /// `regexurl`'s `match`, when `regex` is on.
        url_match: Option<String>,
    },
}

/// How a socket plugin tells paths apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Framing {
    /// A connection for each path, as sersync.
    #[default]
    Connection,
    /// One connection, a newline after each path.
    Newline,
    /// One connection, a NUL after each path.
    Nul,
}

/// A password: never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("\"...\"")
    }
}

/// The kinds of plugins, by sersync's names, as `-m` takes them.
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

/// The names of plugins within their localpath: their kinds, with a number where a kind comes again.
pub fn plugin_names(plugins: &[Plugin]) -> Vec<String> {
    let mut names = Vec::new();
    for (n, plugin) in plugins.iter().enumerate() {
        let kind = plugin.call.kind();
        match plugins[..n].iter().filter(|p| p.call.kind() == kind).count() {
            0 => names.push(kind.to_owned()),
            before => names.push(format!("{kind}-{}", before + 1)),
        }
    }
    names
}

/// Commands that hear of a remote's trouble.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarms {
    /// A remote has been in trouble for `after_ms`.
    pub on_failure: Vec<String>,
    /// It is back.
    pub on_recovery: Vec<String>,
    /// Milliseconds of trouble before `on_failure`.
    pub after_ms: u64,
}

impl Default for Alarms {
    fn default() -> Self {
        Self { on_failure: Vec::new(), on_recovery: Vec::new(), after_ms: ALARM_AFTER_MS }
    }
}

impl Alarms {
    /// Nobody wants to hear.
    pub fn is_empty(&self) -> bool {
        self.on_failure.is_empty() && self.on_recovery.is_empty()
    }
}

/// `on_failure` waits so long when nothing is given, in milliseconds.
pub const ALARM_AFTER_MS: u64 = 10_000;
