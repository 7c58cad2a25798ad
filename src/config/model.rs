//! What a configuration means, whatever it was written in: the validated model that the supervisor works from.

use crate::path::{OsBytes, RelPath};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Everything the given files say together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The files it was read from, in order.
    pub files: Vec<PathBuf>,
    /// sersync's `debug`: print each event, mark and command line.
    pub debug: bool,
    /// Every directory that is replicated.
    pub localpaths: Vec<LocalPath>,
    /// Every plugin section of a `confxml.xml`, started or not: what `-m` chooses from.
    #[serde(default)]
    pub sections: Vec<Plugin>,
}

/// Where something was written. Two models are equal wherever they were written.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Place {
    /// The configuration file.
    pub file: PathBuf,
    /// Its line, from 1; 0 when unknown.
    pub line: usize,
}

impl PartialEq for Place {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// One replicated directory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LocalPath {
    /// The directory, absolute, without a trailing slash.
    pub watch: OsBytes,
    /// Where it was declared.
    pub place: Place,
    /// What is replicated.
    pub filter: FilterRules,
    /// Which events mark, and whether anything is ever deleted.
    pub inotify: Toggles,
    /// Where it is replicated to.
    pub remotes: Vec<Remote>,
    /// sersync's `failLog`: the script that shows what is owed.
    pub fail_log: Option<FailLog>,
    /// Scheduled reconciles.
    pub crontab: Option<Crontab>,
    /// How long an idle pusher lets a burst gather before its first push, in milliseconds.
    pub delay_ms: u64,
    /// Files of at least this many bytes go in a push of their own.
    pub large_file_bytes: u64,
    /// A remote that is new to the journal is reconciled by itself (YAML). With a `confxml.xml` only `-r` asks for
    /// it, as in sersync.
    pub first_copy: bool,
    /// Programs that hear of every change.
    pub plugins: Vec<Plugin>,
    /// Commands that hear of a remote's trouble.
    pub alarms: Alarms,
}

/// The rules of one filter; `crate::filter` gives them their meaning.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FilterRules {
    /// Regular expressions; one that matches a whole path excludes it and everything below it.
    pub exclude: Vec<OsBytes>,
    /// Globs in the manner of .gitignore: `*.tmp`, `cache/**`.
    pub exclude_glob: Vec<String>,
    /// Names that are skipped without being written down.
    pub names: NameRules,
    /// Files and directories of our own (state, sockets, logs, the fail log) that lie inside the localpath. No
    /// configuration says them: whoever knows the directories fills them in with `crate::filter::own_files`.
    #[serde(default)]
    pub inside: Vec<RelPath>,
}

/// Names skipped without a rule of the user's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NameRules {
    /// sersync's: files (not directories) that begin with `.`, end with `~` or are called `4913` do not mark when an
    /// event reports them; reconciles send them.
    Sersync,
    /// What editors leave for a moment (files `*~`, `.*.swp`, `.*.swx`, `4913`, `.#*`, `#*#`) is excluded everywhere.
    #[default]
    Editors,
    /// No name is skipped.
    None,
}

/// sersync's `inotify` section.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Toggles {
    /// Off: nothing is ever deleted on a remote, by nothing.
    pub delete: bool,
    /// A new directory marks.
    pub create_folder: bool,
    /// A new regular file marks before it is closed.
    pub create_file: bool,
    /// A file closed after writing marks.
    pub close_write: bool,
    /// A name moved away marks.
    pub move_from: bool,
    /// A name moved in marks.
    pub move_to: bool,
    /// A change of mode, owner or times marks.
    pub attrib: bool,
    /// Every write marks.
    pub modify: bool,
}

impl Toggles {
    /// sersync 2.5.4's shipped configuration.
    pub const SERSYNC: Toggles = Toggles {
        delete: true,
        create_folder: true,
        create_file: false,
        close_write: true,
        move_from: true,
        move_to: true,
        attrib: false,
        modify: false,
    };
    /// The defaults of a YAML configuration: sersync's, and attributes too.
    pub const MODERN: Toggles = Toggles { attrib: true, ..Toggles::SERSYNC };
}

/// One target of a localpath.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Remote {
    /// Where it was declared.
    pub place: Place,
    /// Host name or address; an IPv6 address in brackets, as rsync writes it.
    pub host: String,
    /// How it is reached.
    pub target: Target,
    /// The user at the remote: rsync's auth user, or the ssh login.
    pub user: Option<String>,
    /// `--password-file` of a daemon.
    pub password_file: Option<OsBytes>,
    /// sersync's `commonParams`, as words.
    pub params: Vec<OsBytes>,
    /// rsync's I/O `--timeout`, in seconds.
    pub timeout_s: u32,
    /// When a reconcile is held for the operator.
    pub max_delete: MaxDelete,
    /// The rsync program here.
    pub rsync_program: OsBytes,
}

/// How a remote is reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// A plain rsync daemon.
    Daemon {
        /// Its port.
        port: u16,
        /// The module, and a path in it: `www` or `www/site`.
        module: OsBytes,
    },
    /// rsync started over ssh.
    Ssh {
        /// The absolute directory there.
        path: OsBytes,
        /// ssh's port, when it is not the default.
        port: Option<u16>,
        /// More words for the ssh command line, such as `-i FILE`.
        options: Vec<String>,
    },
}

/// The delete guard of a remote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaxDelete {
    /// Half of what the remote has, when that is over 100 entries.
    #[default]
    Half,
    /// More than this many entries.
    Entries(u64),
    /// No guard.
    Unlimited,
}

/// sersync's `failLog`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FailLog {
    /// The script.
    pub path: OsBytes,
    /// Minutes between tries of what failed (`timeToExecute`).
    pub retry_minutes: u32,
}

/// sersync's `crontab`: reconciles on a schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Crontab {
    /// Minutes between reconciles (`schedule`).
    pub every_minutes: u32,
    /// Patterns in rsync's own language, left out of scheduled reconciles (`crontabfilter`).
    pub exclude: Vec<OsBytes>,
}

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

/// rsync's port when none is given.
pub const RSYNC_PORT: u16 = 873;
/// rsync's `--timeout` when none is given, in seconds (sersync's example value).
pub const TIMEOUT_S: u32 = 100;
/// Minutes between tries of what failed when none are given (sersync's example value).
pub const RETRY_MINUTES: u32 = 60;
/// `delay` when none is given, in milliseconds.
pub const DELAY_MS: u64 = 3;
/// `on_failure` waits so long when nothing is given, in milliseconds.
pub const ALARM_AFTER_MS: u64 = 10_000;
/// `large_file` when none is given: 32 MiB.
pub const LARGE_FILE_BYTES: u64 = 32 << 20;

impl Remote {
    /// The remote in rsync's own notation, without a password: `10.0.0.2::www`, `10.0.0.2:874::www`, `web@h:/srv`.
    /// It names the remote in logs, in `status` and on the command line.
    pub fn name(&self) -> String {
        match &self.target {
            Target::Daemon { port: RSYNC_PORT, module } => format!("{}::{module}", self.host),
            Target::Daemon { port, module } => format!("{}:{port}::{module}", self.host),
            Target::Ssh { path, .. } => match &self.user {
                Some(user) => format!("{user}@{}:{path}", self.host),
                None => format!("{}:{path}", self.host),
            },
        }
    }
}
