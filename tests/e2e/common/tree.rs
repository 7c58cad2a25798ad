//! Snapshots of directory trees and readable differences between them.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::fmt::Write as _;
use std::fs::{self, File, Metadata};
use std::hash::Hasher;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use syncsup::path::printable;

/// What a name is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Dir,
    /// Size and a hash of the content; no hash in a snapshot of metadata only.
    File(u64, Option<u64>),
    Symlink(Vec<u8>),
    Fifo,
    Socket,
    /// 'b' or 'c', and the device number.
    Device(char, u64),
}

/// One name of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    kind: Kind,
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, i64),
}

/// Everything below a directory, the directory's own attributes left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree(BTreeMap<Vec<u8>, Entry>);

/// How much of the files is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Content {
    Skip,
    Hash,
}

impl Tree {
    /// Names, types, modes, owners, times, targets and content below `root`. What vanishes meanwhile is left out.
    pub fn read(root: &Path) -> Tree {
        Tree::walk(root, Content::Hash)
    }

    /// How many regular files it has.
    pub fn files(&self) -> usize {
        self.0.values().filter(|entry| matches!(entry.kind, Kind::File(..))).count()
    }

    /// The same without content: cheap enough to poll.
    fn metadata(root: &Path) -> Tree {
        Tree::walk(root, Content::Skip)
    }

    fn walk(root: &Path, content: Content) -> Tree {
        let mut tree = BTreeMap::new();
        let mut todo = vec![Vec::new()];
        while let Some(dir) = todo.pop() {
            let Ok(names) = fs::read_dir(root.join(std::ffi::OsStr::from_bytes(&dir))) else {
                continue;
            };
            for name in names.flatten() {
                // What a slave keeps of its own.
                if dir.is_empty() && name.file_name() == ".syncsup-trash" {
                    continue;
                }
                let mut path = dir.clone();
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend(name.file_name().into_vec());
                let Ok(entry) = Entry::read(&name.path(), content) else { continue };
                if entry.kind == Kind::Dir {
                    todo.push(path.clone());
                }
                tree.insert(path, entry);
            }
        }
        Tree(tree)
    }

    /// The number of names.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The names, relative to the root.
    pub fn names(&self) -> Vec<String> {
        self.0.keys().map(|path| printable(path)).collect()
    }

    /// One line for each name that differs, `self` being the master.
    pub fn diff(&self, slave: &Tree) -> Vec<String> {
        let mut lines = Vec::new();
        for (path, ours) in &self.0 {
            match slave.0.get(path) {
                None => lines.push(format!("missing  {}  ({})", printable(path), ours.show())),
                Some(theirs) if ours != theirs => {
                    lines.push(format!(
                        "differs  {}  master {}; slave {}",
                        printable(path),
                        ours.show(),
                        theirs.show()
                    ));
                }
                Some(_) => {}
            }
        }
        let extra = slave.0.iter().filter(|(path, _)| !self.0.contains_key(*path));
        lines
            .extend(extra.map(|(path, theirs)| {
                format!("extra    {}  ({})", printable(path), theirs.show())
            }));
        lines
    }
}

impl Entry {
    fn read(path: &Path, content: Content) -> io::Result<Entry> {
        let meta = fs::symlink_metadata(path)?;
        let kind = Kind::read(path, &meta, content)?;
        // The mode of a symlink means nothing, and its times are set by rsync where the system can.
        let mode = if meta.is_symlink() { 0 } else { meta.mode() & 0o7777 };
        Ok(Entry {
            kind,
            mode,
            owner: (meta.uid(), meta.gid()),
            mtime: (meta.mtime(), meta.mtime_nsec()),
        })
    }

    fn show(&self) -> String {
        let kind = match &self.kind {
            Kind::Symlink(target) => format!("symlink to {}", printable(target)),
            Kind::File(size, Some(hash)) => format!("file of {size} bytes #{:08x}", hash >> 32),
            Kind::File(size, None) => format!("file of {size} bytes"),
            kind => format!("{kind:?}").to_lowercase(),
        };
        let (uid, gid) = self.owner;
        format!("{kind} {:04o} {uid}:{gid} @{}.{:09}", self.mode, self.mtime.0, self.mtime.1)
    }
}

impl Kind {
    fn read(path: &Path, meta: &Metadata, content: Content) -> io::Result<Kind> {
        let kind = meta.file_type();
        Ok(if kind.is_dir() {
            Kind::Dir
        } else if kind.is_symlink() {
            Kind::Symlink(fs::read_link(path)?.into_os_string().into_vec())
        } else if kind.is_fifo() {
            Kind::Fifo
        } else if kind.is_socket() {
            Kind::Socket
        } else if kind.is_block_device() {
            Kind::Device('b', meta.rdev())
        } else if kind.is_char_device() {
            Kind::Device('c', meta.rdev())
        } else if content == Content::Hash {
            Kind::File(meta.len(), Some(hash(path)?))
        } else {
            Kind::File(meta.len(), None)
        })
    }
}

fn hash(path: &Path) -> io::Result<u64> {
    let mut file = File::open(path)?;
    let mut hasher = DefaultHasher::new();
    let mut buf = vec![0; 64 << 10];
    loop {
        match file.read(&mut buf)? {
            0 => return Ok(hasher.finish()),
            n => hasher.write(&buf[..n]),
        }
    }
}

/// True when both trees are equal in everything; content is read only when all else is equal.
pub fn identical(master: &Path, slave: &Path) -> bool {
    Tree::metadata(master) == Tree::metadata(slave) && Tree::read(master) == Tree::read(slave)
}

/// The first 20 differences of each slave, for a failed test.
pub fn report(master: &Path, slaves: &[&Path]) -> String {
    let ours = Tree::read(master);
    let mut out = String::new();
    for slave in slaves {
        let lines = ours.diff(&Tree::read(slave));
        let _ =
            writeln!(out, "{}: {} of {} names differ", slave.display(), lines.len(), ours.len());
        lines.iter().take(20).for_each(|line| {
            let _ = writeln!(out, "  {line}");
        });
    }
    out
}
