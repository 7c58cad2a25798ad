//! Placeholders: files that have the sizes and times of other files, but no content, and that nobody can read.

use super::own;
use crate::path::RelPath;
use rustix::fs::{Timespec, Timestamps, futimens};
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use tempfile::TempDir;

/// A directory with placeholders. It is removed with this value.
pub struct Placeholders(TempDir);

impl Placeholders {
    /// An empty directory in `directory`, whose name begins with `prefix`.
    pub fn new(directory: &Path, prefix: &str) -> io::Result<Self> {
        own::directory_in(directory, prefix).map(Self)
    }

    /// Adds a file of this size and modification time (in nanoseconds since 1970) with two names.
    pub fn add(&self, names: [&RelPath; 2], size: u64, mtime_ns: i64) -> io::Result<()> {
        let [first, second] = names.map(|name| name.below(self.0.path()));
        for directory in [&first, &second].into_iter().filter_map(|name| name.parent()) {
            fs::create_dir_all(directory)?;
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o0).open(&first)?;
        file.set_len(size)?;
        let time = Timespec {
            tv_sec: mtime_ns.div_euclid(1_000_000_000),
            tv_nsec: mtime_ns.rem_euclid(1_000_000_000),
        };
        futimens(&file, &Timestamps { last_access: time, last_modification: time })?;
        fs::hard_link(&first, &second)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}
