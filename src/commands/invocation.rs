//! What a command line requests, parsed.

use crate::error::{Error, Result};
use crate::help_topic::HelpTopic;
use crate::instance::directories::Directories;
use crate::language::say;
use crate::log_settings::LogFormat;
use crate::sys::output::complain;
use crate::trust::{self, User};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

/// The parsed command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// `--state-dir` and `--run-dir`, or the defaults of this user.
    pub directories: Directories,
    /// `-v`.
    pub verbose: bool,
    /// `--user`.
    pub user: Option<String>,
    /// False with `--no-sysctl`.
    pub sysctl: bool,
    /// `--log-format`
    pub log_format: Option<LogFormat>,
    /// `--http`, `--max-lag`.
    pub http: crate::config::http::Given,
    /// `-o`, in order. Empty if not given.
    pub files: Vec<PathBuf>,
    /// `-m`: the plugins to run, or whose instance is meant.
    pub module: Option<String>,
    /// The subcommand.
    pub command: Command,
    /// The whole command line, with the program's name first. A daemon keeps it.
    pub words: Vec<OsString>,
}

/// A subcommand with its own options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Replicates. Also the default without a subcommand.
    Run {
        /// `-d`
        daemon: bool,
        /// `-r`
        reconcile: bool,
        /// `-n`
        slots: Option<usize>,
    },
    /// Explains a configuration.
    Check {
        /// `--connect`
        connect: bool,
    },
    /// Prints a `confxml.xml` as YAML.
    Convert,
    /// Prints the JSON Schema of the YAML configuration.
    Schema,
    /// Prints the status.
    Status(StatusWish),
    /// Stops an instance.
    Stop,
    /// Reads the configuration again.
    Reload,
    /// Reconciles now.
    Sync(Vec<String>),
    /// Releases a held remote or localpath, or only shows what a release would delete.
    Release {
        /// The localpath or the remote.
        name: String,
        /// `--show`
        show: bool,
    },
    /// Waits until all changes made so far are settled.
    Wait(Wait),
    /// Compares, and prints the differences.
    Verify(Verify),
    /// Lists or changes what could not be pushed.
    Journal(JournalAction),
    /// Replaces a sersync.
    Migrate {
        /// Its directories or configuration files. If empty, the running processes and the usual places.
        paths: Vec<PathBuf>,
        /// `--dry-run`
        dry: bool,
    },
    /// Lists the journals of localpaths that are no longer configured, or removes them.
    Prune {
        /// The journals to remove: names of their directories, or localpaths.
        names: Vec<String>,
        /// `--yes`: removes all of them.
        yes: bool,
    },
    /// Imports sersync's own fail log.
    Import(PathBuf),
    /// Lists what the trash of a remote holds, or restores it.
    Undelete(Wish),
    /// Runs the demonstration.
    Demo,
    /// Prints a section of docs/troubleshooting.md.
    HelpOn(HelpTopic),
    /// `-h`
    Help,
    /// `-V`
    Version,
}

/// What `syncsup wait` waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Only what is at or below these paths. Everything if empty.
    pub paths: Vec<PathBuf>,
    /// The remotes on which it must be settled.
    pub on: On,
    /// The time limit.
    pub timeout: Duration,
}

/// The remotes on which something must be settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum On {
    /// All remotes of each localpath.
    All,
    /// This number of remotes of each localpath.
    Quorum(usize),
    /// The remotes of these names.
    Remotes(Vec<String>),
}

/// What `syncsup verify` compares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verify {
    /// The localpath, or a path in it. All localpaths if `None`.
    pub path: Option<PathBuf>,
    /// The remotes. All if empty.
    pub remotes: Vec<String>,
    /// Compares by content.
    pub checksum: bool,
    /// Marks the differences, so that they are pushed.
    pub repair: bool,
    /// The output format.
    pub format: Format,
}

/// The output format of lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Lines for people. What could harm a terminal is escaped.
    #[default]
    Lines,
    /// One JSON object per line.
    Json,
    /// Only the names, unchanged, each followed by a NUL.
    Null,
}

/// What `syncsup journal` does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalAction {
    /// Lists what could not be pushed.
    List {
        /// The rows to list.
        which: Which,
        /// `--json`
        json: bool,
    },
    /// Pushes it now.
    Retry(Which),
    /// Drops it.
    Drop(Which),
}

/// Selects rows of the failure journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Which {
    /// Rows of these remotes. All, if no plugin is named either.
    pub remotes: Vec<String>,
    /// Rows of these plugins. All, if no remote is named either.
    pub plugins: Vec<String>,
    /// Rows at or below these paths. All if empty.
    pub paths: Vec<PathBuf>,
}

/// What `status` shows, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusWish {
    /// Localpaths and remotes. All if empty.
    pub names: Vec<String>,
    /// The output format.
    pub format: StatusFormat,
    /// How much of them.
    pub part: StatusPart,
    /// The processes.
    pub processes: Processes,
}

/// The output format of `status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusFormat {
    /// Once.
    Text,
    /// Once, as one JSON object.
    Json,
    /// Repeated every second.
    Watch,
}

/// How much `status` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusPart {
    /// Everything.
    All,
    /// `--problems`: only what needs a look.
    Problems,
}

/// The processes that `status` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Processes {
    /// Only if they are few.
    Few,
    /// `--processes`: all of them.
    All,
}

/// What `undelete` must do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// The path: absolute, or relative to the root of the localpath.
    pub path: OsString,
    /// `--remote`.
    pub remote: Option<String>,
    /// The version to restore. `None` only lists.
    pub at: Option<At>,
    /// `--force`: overwrites what exists now.
    pub force: bool,
}

/// The version that `undelete` restores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// `--at`: the last version whose time begins with this text.
    Time(String),
    /// `--last`.
    Last,
}

impl Invocation {
    /// The configuration files: those of `-o`. Otherwise `./confxml.xml`, as in sersync, if it exists. Otherwise
    /// `/etc/syncsup/conf.d`, or else `/etc/syncsup/syncsup.yaml`. The paths are absolute.
    pub fn files_or_default(&self) -> Result<Vec<PathBuf>> {
        if !self.files.is_empty() {
            return self.files.iter().cloned().map(absolute).collect();
        }
        let places = ["confxml.xml", "/etc/syncsup/conf.d", "/etc/syncsup/syncsup.yaml"];
        // A dangling link is an error. It does not count as a missing file.
        let there = places.into_iter().filter(|p| Path::new(p).symlink_metadata().is_ok());
        let mut passed_over = None;
        for place in there {
            let file = absolute(place.into())?;
            // The user did not name ./confxml.xml. In another user's directory it may be a trap.
            match doubt(&file).filter(|_| place == places[0]) {
                Some(why) => passed_over = Some(format!("{}: {why}", file.display())),
                None => {
                    static SAID: Once = Once::new();
                    let say = |why: String| {
                        SAID.call_once(|| complain(&say!("syncsup: passed over: {}", why)))
                    };
                    passed_over.map(say).unwrap_or_default();
                    return Ok(vec![file]);
                }
            }
        }
        let why = passed_over.unwrap_or_else(|| {
            say!("found none of ./confxml.xml, /etc/syncsup/conf.d and /etc/syncsup/syncsup.yaml; create one of them, or name a file with -o")
        });
        Err(Error::usage(say!("no configuration: {}", why)))
    }
}

/// Why a configuration is not trusted.
fn doubt(file: &Path) -> Option<String> {
    let user = User::current();
    trust::doubted(file, user).ok()?.map(|doubted| doubted.text(user))
}

/// The path from the root. Of the file system, only the current directory is looked up.
pub fn absolute(path: PathBuf) -> Result<PathBuf> {
    std::path::absolute(&path).map_err(|e| Error::system(path.display(), e))
}
