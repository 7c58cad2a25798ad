//! What a watcher gives up before it works: it reads the localpath, and writes its state directory.

use crate::message::WatcherStart;
use crate::sys::confine;
use crate::sys::descriptors::WriterSearch;
use crate::sys::domain::{self, Reach};
use crate::sys::files::Root;
use crate::sys::process::ITSELF;
use slog::Logger;
use std::env;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
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
    /// It can open the root that was there at its start, if there was one.
    Root,
    /// The same, but that root, with this device and inode, was refused to this user before.
    RefusedRoot(Option<(u64, u64)>),
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
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                Domain::RefusedRoot(identity(watch))
            }
            Ok(_) | Err(_) => Domain::Root,
        };
        // There the same directory may be another inode at each look.
        let network =
            Root::open(watch).and_then(|root| root.file_system()).is_ok_and(|f| f.network);
        let (read, domain) = match network {
            true => (Path::new("/"), Domain::None),
            false => (watch, domain),
        };
        let confined = confine::work_within(&reach(read, &start.state_dir), log)?;
        Ok(Self { writers, domain: if confined { domain } else { Domain::None } })
    }

    /// True if this error of opening the root may only mean that it is another one than at the start of this process.
    pub fn miss_the_root(&self, watch: &Path, error: &io::Error) -> bool {
        error.kind() == ErrorKind::PermissionDenied
            && match self.domain {
                Domain::None => false,
                Domain::Root => true,
                Domain::RefusedRoot(refused) => refused != identity(watch),
            }
    }
}

/// Device and inode, which a domain does not hide.
fn identity(watch: &Path) -> Option<(u64, u64)> {
    fs::metadata(watch).ok().map(|seen| (seen.dev(), seen.ino()))
}

fn reach(read: &Path, state_dir: &Path) -> Reach {
    let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
    let mut reads = paths(READS);
    reads.push(read.to_owned());
    // The time zone.
    let zones = ["TZ", "TZDIR"].into_iter().filter_map(|name| env::var(name).ok());
    let zones = zones.map(|zone| PathBuf::from(zone.trim_start_matches(':')));
    reads.extend(zones.filter(|path| path.is_absolute()));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_that_was_refused_before_needs_no_other_watcher() {
        let dir = tempfile::tempdir().unwrap();
        let denied = io::Error::from(ErrorKind::PermissionDenied);
        let missing = io::Error::from(ErrorKind::NotFound);
        let misses = |domain, error| {
            Privileges { writers: WriterSearch::Here, domain }.miss_the_root(dir.path(), error)
        };
        let this = identity(dir.path());
        for (domain, needed) in [
            (Domain::None, false),
            (Domain::Root, true),
            (Domain::RefusedRoot(this), false),
            (Domain::RefusedRoot(None), true),
            (Domain::RefusedRoot(identity(Path::new("/"))), true),
        ] {
            assert_eq!(misses(domain, &denied), needed, "{domain:?}");
            assert!(!misses(domain, &missing), "{domain:?}");
        }
    }
}
