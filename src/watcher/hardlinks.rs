//! Names of files that have more than one: a change to one name changes all (rule 19). Pure.

use crate::path::RelPath;
use crate::seen::Seen;
use crate::watcher::tree::Tree;
use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};

type Inode = (u64, u64);
/// The watch of the directory, and the name in it: a renamed directory takes its names along.
type Name = (i32, OsString);

#[derive(Default)]
struct Names {
    names: HashSet<Name>,
    /// The link count for which the whole tree was searched: what is missing lies outside.
    searched: u64,
    /// Its link count when last seen.
    nlink: u64,
}

/// Names by device and inode, and back.
#[derive(Default)]
pub struct Links {
    files: HashMap<Inode, Names>,
    names: HashMap<Name, Inode>,
    wanted: HashSet<Inode>,
}

impl Links {
    /// True when no file with several names is known.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Says what stands at a name now. Names that are missing are put on the list of [`Links::take_wanted`].
    pub fn saw(&mut self, dir: i32, name: &OsStr, seen: &Seen) {
        let (inode, name) = ((seen.dev, seen.ino), (dir, name.to_owned()));
        if self.names.get(&name).is_some_and(|&old| old != inode || seen.nlink < 2) {
            self.forget(dir, &name.1);
        }
        if seen.nlink < 2 {
            if let Some(file) = self.files.remove(&inode) {
                for name in &file.names {
                    self.names.remove(name);
                }
            }
            return;
        }
        let file = self.files.entry(inode).or_default();
        file.nlink = seen.nlink;
        file.names.insert(name.clone());
        self.names.insert(name, inode);
        if (file.names.len() as u64) < seen.nlink && file.searched != seen.nlink {
            self.wanted.insert(inode);
        }
        if file.names.len() as u64 >= seen.nlink {
            self.wanted.remove(&inode);
        }
    }

    /// The name is gone.
    pub fn forget(&mut self, dir: i32, name: &OsStr) {
        if self.names.is_empty() {
            return;
        }
        let name = (dir, name.to_owned());
        if let Some(inode) = self.names.remove(&name)
            && let Some(file) = self.files.get_mut(&inode)
        {
            file.names.remove(&name);
            if file.names.is_empty() {
                self.files.remove(&inode);
            }
        }
    }

    /// Every known name of the file; names in directories that are no longer watched are forgotten.
    pub fn paths(&mut self, seen: &Seen, tree: &Tree) -> Vec<RelPath> {
        self.paths_of((seen.dev, seen.ino), tree)
    }

    fn paths_of(&mut self, inode: Inode, tree: &Tree) -> Vec<RelPath> {
        let Some(file) = self.files.get_mut(&inode) else { return Vec::new() };
        let mut paths = Vec::new();
        file.names.retain(|name| match tree.path(name.0) {
            Some(dir) => {
                paths.push(dir.join(&name.1));
                true
            }
            None if tree.contains(name.0) => true,
            None => {
                self.names.remove(name);
                false
            }
        });
        paths
    }

    /// True when some names are not known: the tree must be searched.
    pub fn wants_search(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// The search starts now: these files are looked for.
    pub fn take_wanted(&mut self) -> Vec<(u64, u64)> {
        self.wanted.drain().collect()
    }

    /// The search is done: what is still missing lies outside. Returns every name of the files looked for.
    pub fn searched(&mut self, looked_for: &[(u64, u64)], tree: &Tree) -> Vec<RelPath> {
        let mut paths = Vec::new();
        for &inode in looked_for {
            paths.extend(self.paths_of(inode, tree));
            if let Some(file) = self.files.get_mut(&inode) {
                file.searched = file.nlink;
            }
            self.wanted.remove(&inode);
        }
        paths
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seen::Kind;

    fn file(ino: u64, nlink: u64) -> Seen {
        Seen { kind: Kind::File, size: 0, mtime_ns: 0, ctime_ns: 0, nlink, dev: 1, ino }
    }

    #[test]
    fn all_names_of_a_file() {
        let mut tree = Tree::default();
        tree.start(1);
        tree.place(1, OsStr::new("d"), 2);
        let mut links = Links::default();
        links.saw(1, OsStr::new("a"), &file(7, 1));
        assert!(links.is_empty());
        links.saw(2, OsStr::new("b"), &file(7, 2));
        assert!(links.wants_search(), "one name is not known");
        let wanted = links.take_wanted();
        links.saw(1, OsStr::new("a"), &file(7, 2));
        let mut paths = links.searched(&wanted, &tree);
        paths.sort();
        assert_eq!(paths, [RelPath::new("a").unwrap(), RelPath::new("d/b").unwrap()]);
        assert!(!links.wants_search());
        links.saw(2, OsStr::new("b"), &file(8, 1));
        assert_eq!(links.paths(&file(7, 2), &tree), [RelPath::new("a").unwrap()]);
        links.forget(1, OsStr::new("a"));
        assert!(links.is_empty());
    }

    #[test]
    fn a_link_from_outside_is_searched_for_once() {
        let mut tree = Tree::default();
        tree.start(1);
        let mut links = Links::default();
        links.saw(1, OsStr::new("a"), &file(7, 2));
        let wanted = links.take_wanted();
        links.searched(&wanted, &tree);
        links.saw(1, OsStr::new("a"), &file(7, 2));
        assert!(!links.wants_search());
        links.saw(1, OsStr::new("a"), &file(7, 3));
        assert!(links.wants_search(), "one more name");
    }
}
