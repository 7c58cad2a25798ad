//! Compares two trees entry by entry: names, types, modes, owners, times, link targets, content. This module shares
//! nothing with the code that replicates, so that it cannot have the same errors.

use crate::path::printable;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What is known about one name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct DemoEntry {
    /// Type and permissions. For a symbolic link only the type, because its permissions mean nothing.
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, i64),
    /// Length of a regular file.
    size: u64,
    /// Target of a symbolic link.
    target: Option<PathBuf>,
}

/// Everything below a directory; the directory itself is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DemoTree(BTreeMap<Vec<u8>, DemoEntry>);

const TYPE: u32 = 0o170_000;
const SYMLINK: u32 = 0o120_000;
const FILE: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;

impl DemoTree {
    /// Reads the whole tree. A name that vanishes in the meantime is left out.
    pub fn read(root: &Path) -> io::Result<DemoTree> {
        let mut tree = BTreeMap::new();
        let mut open = vec![Vec::new()];
        while let Some(path) = open.pop() {
            let full = below(root, &path);
            let entry = match entry(&full) {
                Err(e) if e.kind() == io::ErrorKind::NotFound && !path.is_empty() => continue,
                read => read?,
            };
            if entry.mode & TYPE == DIRECTORY {
                let names = fs::read_dir(&full)?.flatten();
                open.extend(names.map(|n| join(&path, &n.file_name().into_vec())));
            }
            if !path.is_empty() {
                tree.insert(path, entry);
            }
        }
        Ok(DemoTree(tree))
    }

    /// The number of names.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// One line for each name that differs on the slave. The content is not compared.
    pub fn differences(&self, slave: &DemoTree) -> Vec<String> {
        let mut lines = Vec::new();
        for (path, ours) in &self.0 {
            match slave.0.get(path) {
                None => lines.push(format!("missing: {}", printable(path))),
                Some(theirs) if ours != theirs => {
                    lines.push(format!("different {}: {}", ours.what(theirs), printable(path)));
                }
                Some(_) => {}
            }
        }
        let more = slave.0.keys().filter(|path| !self.0.contains_key(*path));
        lines.extend(more.map(|path| format!("extra: {}", printable(path))));
        lines
    }

    /// The same for the content of every regular file.
    pub fn content_differences(&self, master: &Path, slave: &Path) -> io::Result<Vec<String>> {
        let mut lines = Vec::new();
        for (path, _) in self.0.iter().filter(|(_, e)| e.mode & TYPE == FILE) {
            if fs::read(below(master, path))? != fs::read(below(slave, path))? {
                lines.push(format!("different content: {}", printable(path)));
            }
        }
        Ok(lines)
    }
}

impl DemoEntry {
    fn what(&self, other: &DemoEntry) -> &'static str {
        match () {
            () if self.mode & TYPE != other.mode & TYPE => "type",
            () if self.size != other.size => "length",
            () if self.target != other.target => "target",
            () if self.mode != other.mode => "mode",
            () if self.owner != other.owner => "owner",
            () => "mtime",
        }
    }
}

fn entry(path: &Path) -> io::Result<DemoEntry> {
    let meta = fs::symlink_metadata(path)?;
    let kind = meta.mode() & TYPE;
    Ok(DemoEntry {
        mode: if kind == SYMLINK { kind } else { meta.mode() },
        owner: (meta.uid(), meta.gid()),
        mtime: (meta.mtime(), meta.mtime_nsec()),
        size: if kind == FILE { meta.len() } else { 0 },
        target: if kind == SYMLINK { Some(fs::read_link(path)?) } else { None },
    })
}

fn below(root: &Path, path: &[u8]) -> PathBuf {
    if path.is_empty() { root.to_owned() } else { root.join(std::ffi::OsStr::from_bytes(path)) }
}

fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = parent.to_vec();
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::time::{Duration, SystemTime};

    fn build(root: &Path) {
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        fs::create_dir(root.join("d")).unwrap();
        fs::write(root.join("d/f\n"), "text").unwrap();
        symlink("f", root.join("d/l")).unwrap();
        for name in ["d/f\n", "d"] {
            fs::File::open(root.join(name)).unwrap().set_modified(then).unwrap();
        }
    }

    #[test]
    fn every_difference_is_seen() {
        type DemoChange = fn(&Path);
        let changes: [(&str, DemoChange); 6] = [
            ("missing: d/f\\x0a", |r| fs::remove_file(r.join("d/f\n")).unwrap()),
            ("extra: x", |r| fs::write(r.join("x"), "").unwrap()),
            ("different mode: d/f\\x0a", |r| {
                fs::set_permissions(r.join("d/f\n"), fs::Permissions::from_mode(0o600)).unwrap();
            }),
            ("different type: d/f\\x0a", |r| {
                fs::remove_file(r.join("d/f\n")).unwrap();
                fs::create_dir(r.join("d/f\n")).unwrap();
            }),
            ("different length: d/f\\x0a", |r| fs::write(r.join("d/f\n"), "more text").unwrap()),
            ("different mtime: d/f\\x0a", |r| fs::write(r.join("d/f\n"), "next").unwrap()),
        ];
        for (line, change) in changes {
            let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            build(a.path());
            build(b.path());
            // Only a special call can set the time of a link. It is left out.
            let read = |root: &Path| {
                let mut tree = DemoTree::read(root).unwrap();
                tree.0.remove(b"d/l".as_slice());
                tree
            };
            assert_eq!(read(a.path()).differences(&read(b.path())), Vec::<String>::new());
            change(b.path());
            let found = read(a.path()).differences(&read(b.path()));
            assert!(found.iter().any(|l| l == line), "{line}: {found:?}");
        }
    }

    #[test]
    fn other_content_with_the_same_size_and_time_is_seen() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        build(a.path());
        build(b.path());
        let tree = DemoTree::read(a.path()).unwrap();
        assert!(tree.content_differences(a.path(), b.path()).unwrap().is_empty());
        let file = b.path().join("d/f\n");
        let time = fs::metadata(&file).unwrap().modified().unwrap();
        fs::write(&file, "TEXT").unwrap();
        fs::File::open(&file).unwrap().set_modified(time).unwrap();
        let found = tree.content_differences(a.path(), b.path()).unwrap();
        assert_eq!(found, ["different content: d/f\\x0a"]);
    }
}
