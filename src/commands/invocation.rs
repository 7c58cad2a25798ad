//! What a command line asks for, parsed.

use crate::error::{Error, Result};
use crate::instance::directories::Directories;
use crate::sys::output::complain;
use crate::trust::{self, User};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// `--state-dir`, `--run-dir`, or this user's defaults.
    pub directories: Directories,
    /// `-v`.
    pub verbose: bool,
    /// Not `--no-sysctl`.
    pub sysctl: bool,
    /// `--http`, `--max-lag`.
    pub http: crate::config::http::Given,
    /// `-o`, in order; empty when not given.
    pub files: Vec<PathBuf>,
    /// `-m`: the plugins that are run, or whose instance is meant.
    pub module: Option<String>,
    /// The subcommand.
    pub command: Command,
    /// The whole command line, the program's name first: a daemon keeps it.
    pub words: Vec<OsString>,
}

/// A subcommand with its own options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Replicates; also without any subcommand.
    Run {
        /// `-d`
        daemon: bool,
        /// `-r`
        reconcile: bool,
        /// `-n`
        slots: Option<usize>,
    },
    /// Says what a configuration means.
    Check {
        /// `--connect`
        connect: bool,
    },
    /// A `confxml.xml` as YAML.
    Convert,
    /// How things are.
    Status(StatusFormat),
    /// Ends an instance.
    Stop,
    /// Reads the configuration again.
    Reload,
    /// Compares now.
    Sync(Vec<String>),
    /// Lets a held remote or localpath go on, or only shows what that would delete.
    Release {
        /// The localpath or the remote.
        name: String,
        /// `--show`
        show: bool,
    },
    /// Waits until what is changed by now is settled.
    Wait(Wait),
    /// Compares, and says what differs.
    Verify(Verify),
    /// Looks at, or changes, what could not be pushed.
    Journal(JournalAction),
    /// What takes the place of a sersync.
    Migrate {
        /// Its directories or configuration files; where it runs and the usual places when empty.
        paths: Vec<PathBuf>,
        /// `--dry-run`
        dry: bool,
    },
    /// Lists the journals of localpaths that are no longer configured, or removes them.
    Prune {
        /// Those to remove: their directories' names, or localpaths.
        names: Vec<String>,
        /// `--yes`: all of them.
        yes: bool,
    },
    /// Takes over a fail log of sersync's own.
    Import(PathBuf),
    /// Lists what the trash of a remote holds, or restores it.
    Undelete(Wish),
    /// The main job, shown.
    Demo,
    /// `-h`
    Help,
    /// `-V`
    Version,
}

/// What `syncsup wait` waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Only what is at or below these, everything when empty.
    pub paths: Vec<PathBuf>,
    /// On which remotes.
    pub on: On,
    /// For how long.
    pub timeout: Duration,
}

/// The remotes on which something must be settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum On {
    /// All of each localpath.
    All,
    /// How many of each localpath.
    Quorum(usize),
    /// Those of these names.
    Remotes(Vec<String>),
}

/// What `syncsup verify` compares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verify {
    /// The localpath, or something in it; all when `None`.
    pub path: Option<PathBuf>,
    /// The remotes, all when empty.
    pub remotes: Vec<String>,
    /// By content.
    pub checksum: bool,
    /// Marks what differs, so that it is pushed.
    pub repair: bool,
    /// How it is printed.
    pub format: Format,
}

/// How lists are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Lines for people; what could harm a terminal is escaped.
    #[default]
    Lines,
    /// One JSON object a line.
    Json,
    /// Only the names as they are, a NUL after each.
    Null,
}

/// What `syncsup journal` does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalAction {
    /// Shows what could not be pushed.
    List {
        /// Which rows.
        which: Which,
        /// `--json`
        json: bool,
    },
    /// Has it pushed now.
    Retry(Which),
    /// Forgets it.
    Drop(Which),
}

/// Which rows of the failure journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Which {
    /// Of these remotes; all, when no plugin is named either.
    pub remotes: Vec<String>,
    /// Of these plugins; all, when no remote is named either.
    pub plugins: Vec<String>,
    /// At or below these paths, all when empty.
    pub paths: Vec<PathBuf>,
}

/// How `status` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusFormat {
    /// Once.
    Table,
    /// Once, as one JSON object.
    Json,
    /// Again every second.
    Watch,
}

/// What `undelete` is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Absolute, or from the root of the localpath.
    pub path: OsString,
    /// `--remote`.
    pub remote: Option<String>,
    /// What is restored; `None` only lists.
    pub at: Option<At>,
    /// `--force`: what is there now is overwritten.
    pub force: bool,
}

/// Which version `undelete` restores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// `--at`: the last one of those whose time begins so.
    Time(String),
    /// `--last`.
    Last,
}

impl Invocation {
    /// The configuration files: those of `-o`; else as sersync `./confxml.xml`, if it is there; else
    /// `/etc/syncsup/conf.d`; else `/etc/syncsup/syncsup.yaml`. Absolute.
    pub fn files_or_default(&self) -> Result<Vec<PathBuf>> {
        if !self.files.is_empty() {
            return self.files.iter().cloned().map(absolute).collect();
        }
        let places = ["confxml.xml", "/etc/syncsup/conf.d", "/etc/syncsup/syncsup.yaml"];
        // A link that leads nowhere is an error, not absence.
        let there = places.into_iter().filter(|p| Path::new(p).symlink_metadata().is_ok());
        let mut passed_over = None;
        for place in there {
            let file = absolute(place.into())?;
            // The user did not name ./confxml.xml: in another user's directory it may be a trap.
            match doubt(&file).filter(|_| place == places[0]) {
                Some(why) => passed_over = Some(format!("{}: {why}", file.display())),
                None => {
                    static SAID: Once = Once::new();
                    let say = |why: String| {
                        SAID.call_once(|| complain(&format!("syncsup: passed over: {why}")))
                    };
                    passed_over.map(say).unwrap_or_default();
                    return Ok(vec![file]);
                }
            }
        }
        let why = passed_over.unwrap_or_else(|| {
            "found none of ./confxml.xml, /etc/syncsup/conf.d and /etc/syncsup/syncsup.yaml; create one of them, or name a file with -o"
                .to_owned()
        });
        Err(Error::usage(format!("no configuration: {why}")))
    }
}

/// Why a configuration is not obeyed.
fn doubt(file: &Path) -> Option<String> {
    let user = User::current();
    trust::doubted(file, user).ok()?.map(|doubted| doubted.text(user))
}

/// The path from the root, without a look at the file system beyond the current directory.
pub fn absolute(path: PathBuf) -> Result<PathBuf> {
    std::path::absolute(&path).map_err(|e| Error::system(path.display(), e))
}
