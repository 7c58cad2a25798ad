//! What a command line asks for, parsed.

use super::undelete::Wish;
use crate::error::{Error, Result};
use crate::supervisor::directories::Directories;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// `--state-dir`, `--run-dir`, or this user's defaults.
    pub directories: Directories,
    /// `-v`.
    pub verbose: bool,
    /// Not `--no-sysctl`.
    pub sysctl: bool,
    /// `-o`, in order; empty when not given.
    pub files: Vec<PathBuf>,
    /// `-m`: the plugins that are run, or whose instance is meant.
    pub module: Option<String>,
    /// The subcommand.
    pub command: Command,
    /// The whole command line, for the process list.
    pub line: OsString,
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
    Status {
        /// `--json`
        json: bool,
    },
    /// Ends an instance.
    Stop,
    /// Reads the configuration again.
    Reload,
    /// Compares now.
    Sync(Vec<String>),
    /// Lets a held remote or localpath go on.
    Release(String),
    /// What takes the place of a sersync.
    Migrate {
        /// Its directories or configuration files; where it runs and the usual places when empty.
        paths: Vec<PathBuf>,
        /// `--dry-run`
        dry: bool,
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

impl Invocation {
    /// The configuration files: those of `-o`; else as sersync `./confxml.xml`, if it is there; else
    /// `/etc/syncsup/conf.d`; else `/etc/syncsup/syncsup.yaml`. Absolute.
    pub fn files_or_default(&self) -> Result<Vec<PathBuf>> {
        if !self.files.is_empty() {
            return self.files.iter().cloned().map(absolute).collect();
        }
        let places = ["confxml.xml", "/etc/syncsup/conf.d", "/etc/syncsup/syncsup.yaml"];
        let found = places.into_iter().find(|p| Path::new(p).exists());
        found.map(|p| Ok(vec![absolute(p.into())?])).unwrap_or_else(|| {
            Err(Error::usage(
                "no configuration: there is no ./confxml.xml, /etc/syncsup/conf.d or /etc/syncsup/syncsup.yaml; \
                 write one of them or name a file with -o",
            ))
        })
    }
}

/// The path from the root, without a look at the file system beyond the current directory.
pub fn absolute(path: PathBuf) -> Result<PathBuf> {
    std::path::absolute(&path).map_err(|e| Error::system(path.display(), e))
}
