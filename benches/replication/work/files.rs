//! The trees that works begin with.

use crate::rig::{Rig, Sockets};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// The names `d0` …
pub fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("d{n}")).collect()
}

/// One localpath with one slave, and with files in 100 directories.
pub fn filled(files: usize, bytes: usize) -> Result<Rig, String> {
    let rig = Rig::new(1, Sockets::AsTheyAre)?;
    fill(rig.source(), 100, files, bytes)?;
    Ok(rig)
}

/// Makes the directories `d0` …
pub fn make(source: &Path, directories: usize) -> Result<(), String> {
    let make = |name: &String| fs::create_dir(source.join(name));
    names(directories).iter().try_for_each(make).map_err(|e| e.to_string())
}

/// Makes files in directories.
pub fn fill(source: &Path, directories: usize, files: usize, bytes: usize) -> Result<(), String> {
    make(source, directories)?;
    let content = vec![b'x'; bytes];
    let write = |n: usize| fs::write(source.join(format!("d{}/f{n}", n % directories)), &content);
    (0..files).try_for_each(write).map_err(|e| e.to_string())
}

/// The number of names below a directory of a slave, two levels deep. Temporary files of rsync do not count.
pub fn count(slave: &PathBuf) -> usize {
    let names = |path: &PathBuf| fs::read_dir(path).into_iter().flatten().flatten();
    let plain = |name: &OsString| !name.as_encoded_bytes().starts_with(b".");
    let below = |path: PathBuf| names(&path).filter(|name| plain(&name.file_name())).count();
    names(slave).map(|name| 1 + below(name.path())).sum()
}
