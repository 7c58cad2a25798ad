//! The meaning of a configuration in any format: the validated model that the supervisor uses.

mod plugin;

pub use plugin::*;

pub use crate::filter::{FilterRules, NameRules};
use crate::log_settings::LogSettings;
use crate::path::OsBytes;
pub use crate::rsync::peer::{Peer, RSYNC_PORT, TIMEOUT_S, Target};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;

/// The merged contents of the given files.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The files it was read from, in order.
    pub files: Vec<PathBuf>,
    /// sersync's `debug`: print each event, mark and command line.
    pub debug: bool,
    /// `sysctl: false`: the kernel's limits are not changed.
    #[serde(default)]
    pub no_sysctl: bool,
    /// `user`: the user that an instance of root becomes.
    #[serde(default)]
    pub user: Option<RunAs>,
    /// `log`: what is logged, in which form and where.
    #[serde(default)]
    pub log: Option<Log>,
    /// `http`: the address of the reporter; without it no reporter runs.
    #[serde(default)]
    pub http: Option<HttpServer>,
    /// Every directory that is replicated.
    pub localpaths: Vec<LocalPath>,
    /// Every plugin section of a `confxml.xml`, started or not: `-m` selects from them.
    #[serde(default)]
    pub sections: Vec<Plugin>,
}

/// The user that an instance of root, or a command, becomes before it does anything else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunAs {
    /// The place of its declaration; line 0 of no file for `--user`.
    pub place: Place,
    /// Its name.
    pub name: String,
}

/// What is logged, in which form and where.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Log {
    /// The place of its declaration; line 0 of no file for `--log-format`.
    pub place: Place,
    /// What was set.
    pub settings: LogSettings,
}

/// The reporter: status page, metrics and health over HTTP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HttpServer {
    /// The place of its declaration; line 0 of no file for `--http`.
    pub place: Place,
    /// Address and port.
    pub listen: SocketAddr,
    /// Every request must contain the token in this file. Required if other machines can connect.
    pub token_file: Option<OsBytes>,
    /// `/healthz` fails if a remote's lag is greater, in milliseconds.
    pub max_lag_ms: u64,
}

/// A place in a configuration file. Two models are equal regardless of their places.
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
    /// The place of its declaration.
    pub place: Place,
    /// The rules that exclude paths from replication.
    pub filter: FilterRules,
    /// The events that cause marks, and whether anything is ever deleted.
    pub inotify: Toggles,
    /// Its targets.
    pub remotes: Vec<Remote>,
    /// sersync's `failLog`: the script that lists the owed paths.
    pub fail_log: Option<FailLog>,
    /// Scheduled reconciles.
    pub crontab: Option<Crontab>,
    /// The scrub.
    #[serde(default)]
    pub verify_schedule: Option<VerifySchedule>,
    /// How long an idle pusher waits before its first push, so that a burst gathers, in milliseconds. `None`: the
    /// pusher decides, and spaces pushes by their cost.
    pub delay_ms: Option<u64>,
    /// The share of one core that the start and end of pushes of the whole instance may use, in percent: `pace: {cpu}`.
    pub pace_percent: u32,
    /// Files of at least this many bytes are pushed separately.
    pub large_file_bytes: u64,
    /// When files that are open for writing are pushed in their current state.
    #[serde(default)]
    pub open_after: Vec<OpenRule>,
    /// A remote that is new to the journal is reconciled automatically (YAML). With a `confxml.xml`, only `-r` requests
    /// that, as in sersync.
    pub first_copy: bool,
    /// Programs that are called for every change.
    pub plugins: Vec<Plugin>,
    /// Commands that run when a remote is in trouble.
    pub alarms: Alarms,
}

/// When files that are open for writing are pushed in their current state. The first rule that matches a path applies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenRule {
    /// For these paths, with the syntax of .gitignore.
    pub glob: String,
    /// A file that has been open for this time is pushed, and pushed again at this interval while it is written;
    /// milliseconds.
    pub after_ms: u64,
}

/// sersync's `inotify` section.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Toggles {
    /// If off, nothing is ever deleted on a remote, by any function.
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
    /// The place of its declaration.
    pub place: Place,
    /// How it is reached: transport and parameters.
    #[serde(flatten)]
    pub peer: Peer,
    /// The place that names its password file.
    #[serde(default)]
    pub password_place: Place,
    /// The number of deletions above which a reconcile is held for the operator.
    pub max_delete: MaxDelete,
    /// How long the trash on the remote keeps deleted and overwritten files, in milliseconds; `None` without a trash.
    #[serde(default)]
    pub trash_keep_ms: Option<u64>,
    /// When a standby is kept for the next push.
    #[serde(default)]
    pub standby: StandbyMode,
}

/// When a standby is kept: an rsync that is started, connected and waiting for the next push.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StandbyMode {
    /// While the remote is active: for one minute after each push.
    #[default]
    Active,
    /// Always, after the first push.
    Always,
    /// Never.
    Off,
}

/// The delete guard of a remote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaxDelete {
    /// Half of the remote's entries, if it has more than 100.
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
    /// The place that names it.
    #[serde(default)]
    pub place: Place,
    /// Minutes between retries of failed pushes (`timeToExecute`).
    pub retry_minutes: u32,
}

/// sersync's `crontab`: reconciles on a schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Crontab {
    /// When (`schedule`).
    pub schedule: Schedule,
    /// Patterns in rsync's syntax that scheduled reconciles exclude (`crontabfilter`).
    pub exclude: Vec<OsBytes>,
}

/// When scheduled reconciles run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// This many minutes after the last one.
    Every(u32),
    /// A cron expression of five fields, which [`super::cron::parse`] takes; in local time.
    Cron(String),
}

/// `verify_schedule`: the scrub compares every remote, one part of the tree after another, and pushes differing paths
/// again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifySchedule {
    /// When a run through the whole tree starts.
    pub when: VerifyWhen,
    /// Bytes compared per second, on average over a part; `None`: no limit on the rate, half of the time.
    pub rate: Option<u64>,
    /// Content is compared, too.
    pub checksum: bool,
}

/// When a run of the scrub starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerifyWhen {
    /// This many seconds after the start of the last run.
    Every(u64),
    /// A cron expression of five fields, which [`super::cron::parse`] takes; in local time.
    Cron(String),
}

/// The default of `verify_schedule: {rate}`: 20 MiB per second.
pub const VERIFY_RATE: u64 = 20 << 20;
/// The default for minutes between retries of failed pushes (sersync's example value).
pub const RETRY_MINUTES: u32 = 60;
/// The default of `pace: {cpu}`, in percent of one core.
pub const PACE_PERCENT: u32 = 25;
/// The default of `max_lag`: one minute.
pub const MAX_LAG_MS: u64 = 60_000;
/// The default of `trash: {keep}`, in milliseconds: 7 days.
pub const TRASH_KEEP_MS: u64 = 7 * 86_400_000;
/// The default of `large_file`: 32 MiB.
pub const LARGE_FILE_BYTES: u64 = 32 << 20;

impl Remote {
    /// A remote with the defaults that both formats share.
    pub fn new(peer: Peer) -> Self {
        Self {
            place: Place::default(),
            password_place: Place::default(),
            peer,
            max_delete: MaxDelete::default(),
            trash_keep_ms: None,
            standby: StandbyMode::default(),
        }
    }

    /// See [`Peer::name`].
    pub fn name(&self) -> String {
        self.peer.name()
    }
}
