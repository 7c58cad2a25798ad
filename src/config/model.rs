//! What a configuration means, whatever it was written in: the validated model that the supervisor works from.

mod plugin;

pub use plugin::*;

pub use crate::filter::{FilterRules, NameRules};
use crate::path::OsBytes;
pub use crate::rsync::peer::{Peer, RSYNC_PORT, TIMEOUT_S, Target};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Everything the given files say together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The files it was read from, in order.
    pub files: Vec<PathBuf>,
    /// sersync's `debug`: print each event, mark and command line.
    pub debug: bool,
    /// `sysctl: false`: the kernel's limits are left alone.
    #[serde(default)]
    pub no_sysctl: bool,
    /// `http`: where the reporter listens; none without it.
    #[serde(default)]
    pub http: Option<HttpServer>,
    /// Every directory that is replicated.
    pub localpaths: Vec<LocalPath>,
    /// Every plugin section of a `confxml.xml`, started or not: what `-m` chooses from.
    #[serde(default)]
    pub sections: Vec<Plugin>,
}

/// The reporter: status page, metrics and health over HTTP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HttpServer {
    /// Where it was declared; line 0 of no file for `--http`.
    pub place: Place,
    /// Address and port.
    pub listen: SocketAddr,
    /// Every request must show what this file holds; required where others than this machine can connect.
    pub token_file: Option<OsBytes>,
    /// `/healthz` fails when a remote is further behind, in milliseconds.
    pub max_lag_ms: u64,
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
    /// The scrub.
    #[serde(default)]
    pub verify_schedule: Option<VerifySchedule>,
    /// How long an idle pusher lets a burst gather before its first push, in milliseconds.
    pub delay_ms: u64,
    /// The share of one core that the start and end of pushes may cost the whole instance, in percent: `pace: {cpu}`.
    pub pace_percent: u32,
    /// Files of at least this many bytes go in a push of their own.
    pub large_file_bytes: u64,
    /// Files that are open for writing are pushed as they are.
    #[serde(default)]
    pub open_after: Vec<OpenRule>,
    /// A remote that is new to the journal is reconciled automatically (YAML). With a `confxml.xml` only `-r` asks for
    /// it, as in sersync.
    pub first_copy: bool,
    /// Programs that hear of every change.
    pub plugins: Vec<Plugin>,
    /// Commands that hear of a remote's trouble.
    pub alarms: Alarms,
}

/// When files that are open for writing are pushed as they are; the first rule that matches a path is the one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenRule {
    /// Of these paths, in the manner of .gitignore.
    pub glob: String,
    /// A file that has been open for this time is pushed, and again at this interval while it is written; milliseconds.
    pub after_ms: u64,
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
    /// How it is reached and spoken to.
    #[serde(flatten)]
    pub peer: Peer,
    /// When a reconcile is held for the operator.
    pub max_delete: MaxDelete,
    /// How long what is deleted and overwritten there is kept in its trash, in milliseconds; `None` without a trash.
    #[serde(default)]
    pub trash_keep_ms: Option<u64>,
    /// When an rsync waits for the next push.
    #[serde(default)]
    pub standby: StandbyMode,
}

/// When an rsync is kept started, connected and waiting for the next push.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StandbyMode {
    /// While the remote is active: for a minute after each push.
    Active,
    /// Always, once something was pushed.
    Always,
    /// Never.
    #[default]
    Off,
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
    /// When (`schedule`).
    pub schedule: Schedule,
    /// Patterns in rsync's own language, left out of scheduled reconciles (`crontabfilter`).
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

/// `verify_schedule`: the scrub compares every remote, one part of the tree after another, and pushes what differs again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifySchedule {
    /// When a run through the whole tree begins.
    pub when: VerifyWhen,
    /// Bytes compared in a second, on average over a part; `None`: as fast as it goes, half of the time.
    pub rate: Option<u64>,
    /// Content is compared, too.
    pub checksum: bool,
}

/// When a run of the scrub begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerifyWhen {
    /// This many seconds after the last one began.
    Every(u64),
    /// A cron expression of five fields, which [`super::cron::parse`] takes; in local time.
    Cron(String),
}

/// `verify_schedule: {rate}` when none is given: 20 MiB in a second.
pub const VERIFY_RATE: u64 = 20 << 20;
/// Minutes between tries of what failed when none are given (sersync's example value).
pub const RETRY_MINUTES: u32 = 60;
/// `delay` when none is given, in milliseconds.
pub const DELAY_MS: u64 = 3;
/// `pace: {cpu}` when none is given, in percent of one core.
pub const PACE_PERCENT: u32 = 25;
/// `max_lag` when none is given: a minute.
pub const MAX_LAG_MS: u64 = 60_000;
/// `trash: {keep}` when none is given, in milliseconds: 7 days.
pub const TRASH_KEEP_MS: u64 = 7 * 86_400_000;
/// `large_file` when none is given: 32 MiB.
pub const LARGE_FILE_BYTES: u64 = 32 << 20;

impl Remote {
    /// A remote with the defaults of both forms of a configuration.
    pub fn new(peer: Peer) -> Self {
        Self {
            place: Place::default(),
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
