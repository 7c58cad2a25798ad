//! What the checks ask the machine.

use crate::filter::Filter;
use crate::path::RelPath;
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// What stands at the place of a localpath.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Watch {
    /// A directory that can be read.
    Directory,
    /// Nothing.
    Missing,
    /// Something else.
    NotDirectory,
    /// The system's words.
    Refused(String),
}

/// A password file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PasswordFile {
    /// It is there.
    Found {
        /// Its permission bits.
        mode: u32,
        /// Its owner, by number.
        owner: u32,
        /// Its length in bytes.
        size: u64,
    },
    /// Nothing.
    Missing,
    /// The system's words.
    Refused(String),
}

/// The machine as the checks see it.
pub trait Probe {
    /// Looks at a localpath.
    fn watch(&self, path: &Path) -> Watch;
    /// Looks at a password file.
    fn password_file(&self, path: &Path) -> PasswordFile;
    /// Who runs this, by number.
    fn user(&self) -> u32;
    /// The first line of `PROGRAM --version`.
    fn rsync_version(&self, program: &OsStr) -> Option<String>;
    /// How many directories a localpath has that are not excluded, its root included.
    fn directories(&self, root: &Path, filter: &Filter) -> u64;
    /// `fs.inotify.max_user_watches`.
    fn max_user_watches(&self) -> Option<u64>;
}

/// This machine.
pub struct Machine;

impl Probe for Machine {
    fn watch(&self, path: &Path) -> Watch {
        match fs::metadata(path) {
            Ok(meta) if !meta.is_dir() => Watch::NotDirectory,
            Ok(_) => fs::read_dir(path)
                .map_or_else(|e| Watch::Refused(e.to_string()), |_| Watch::Directory),
            Err(error) if error.kind() == ErrorKind::NotFound => Watch::Missing,
            Err(error) if error.kind() == ErrorKind::NotADirectory => Watch::Missing,
            Err(error) => Watch::Refused(error.to_string()),
        }
    }

    fn password_file(&self, path: &Path) -> PasswordFile {
        match fs::metadata(path) {
            Ok(meta) if !meta.is_file() => PasswordFile::Refused("not a file".into()),
            Ok(meta) => match fs::File::open(path) {
                Ok(_) => PasswordFile::Found {
                    mode: meta.mode() & 0o7777,
                    owner: meta.uid(),
                    size: meta.len(),
                },
                Err(error) => PasswordFile::Refused(error.to_string()),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => PasswordFile::Missing,
            Err(error) => PasswordFile::Refused(error.to_string()),
        }
    }

    fn user(&self) -> u32 {
        fs::metadata("/proc/self").map_or(u32::MAX, |meta| meta.uid())
    }

    fn rsync_version(&self, program: &OsStr) -> Option<String> {
        let output = Command::new(program)
            .arg("--version")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .ok()?;
        let text = String::from_utf8_lossy(&output.stdout);
        Some(text.lines().next()?.to_owned())
    }

    fn directories(&self, root: &Path, filter: &Filter) -> u64 {
        let mut count = 0;
        let mut open = vec![RelPath::root()];
        while let Some(directory) = open.pop() {
            let Ok(entries) = fs::read_dir(directory.below(root)) else { continue };
            count += 1;
            for entry in entries.flatten() {
                let path = directory.join(&entry.file_name());
                if entry.file_type().is_ok_and(|t| t.is_dir()) && !filter.excludes(&path, true) {
                    open.push(path);
                }
            }
        }
        count
    }

    fn max_user_watches(&self) -> Option<u64> {
        fs::read_to_string("/proc/sys/fs/inotify/max_user_watches").ok()?.trim().parse().ok()
    }
}
