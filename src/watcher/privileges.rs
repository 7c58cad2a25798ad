//! What a watcher gives up before it works: it reads the localpath, and writes its state directory.

use crate::message::WatcherStart;
use crate::sys::confine;
use crate::sys::descriptors::WriterSearch;
use crate::sys::domain::{self, Reach};
use crate::sys::process::ITSELF;
use slog::Logger;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// What a watcher reads besides the localpath: processes, mounts and settings of the kernel, the time zone, and what a
/// probe of a mount point needs to start.
const READS: &[&str] = &[
    "/proc",
    "/etc/ld.so.cache",
    "/etc/ld.so.preload",
    "/etc/localtime",
    "/usr/share/zoneinfo",
    "/dev/urandom",
];

/// What is left to this process.
pub struct Privileges {
    /// Finds the files that other processes write.
    pub writers: WriterSearch,
    domain: Domain,
}

/// Whether the process can leave the directory that was the root when it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Domain {
    /// It can open any directory.
    None,
    /// It can open this one root, if it is the one that was there at its start.
    Root,
    /// The same, but the root refused to be opened before that, too.
    RefusedRoot,
}

impl Privileges {
    /// Those of a process that has given up nothing.
    pub fn all() -> Self {
        Self { writers: WriterSearch::Here, domain: Domain::None }
    }

    /// Keeps this process to what the watcher of this localpath needs. Call it before it starts a thread.
    pub fn limit(start: &WatcherStart, log: &Logger) -> io::Result<Self> {
        let writers = WriterSearch::apart()?;
        let watch = start.localpath.watch.as_path();
        let domain = match fs::read_dir(watch) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Domain::RefusedRoot,
            // If it is missing, the next one needs another process.
            Ok(_) | Err(_) => Domain::Root,
        };
        let confined = confine::work_within(&reach(watch, &start.state_dir), log)?;
        Ok(Self { writers, domain: if confined { domain } else { Domain::None } })
    }

    /// True if this error of opening the root may only mean that it is another one than at the start of this process.
    pub fn miss_the_root(&self, error: &io::Error) -> bool {
        self.domain == Domain::Root && error.kind() == ErrorKind::PermissionDenied
    }
}

fn reach(watch: &Path, state_dir: &Path) -> Reach {
    let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
    let mut reads = paths(READS);
    reads.push(watch.to_owned());
    // Probes of mount points and syncs of file systems are this program.
    let mut runs = paths(domain::LIBRARIES);
    runs.push(ITSELF.into());
    Reach {
        reads,
        runs,
        writes: paths(&["/dev/null"]),
        owns: vec![state_dir.to_owned()],
        ports: Some(Vec::new()),
        ..Reach::default()
    }
}
