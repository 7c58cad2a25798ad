//! Files with more than one name: a change to one name changes all (rule 19). Pure.

use crate::path::RelPath;
use crate::stat::Stat;
use crate::watcher::maybe_open::{Content, Inode, Marked, MaybeOpen, Name};
use crate::watcher::tree::Tree;
use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::time::Duration;

type NamesOfDirectory = HashMap<OsString, Inode>;

#[derive(Default)]
struct Names {
    names: HashSet<Name>,
    /// The link count for which the whole tree was searched. Names that are still missing lie outside the tree.
    searched: u64,
    /// The file's link count when last seen.
    nlink: u64,
    /// The file's size and modification time when last seen.
    content: Content,
}

/// Names by device and inode, and the reverse.
#[derive(Default)]
pub struct Links {
    files: HashMap<Inode, Names>,
    names: HashMap<i32, NamesOfDirectory>,
    wanted: HashSet<Inode>,
    /// Files whose names are being searched for.
    sought: HashSet<Inode>,
    /// Files that may be written without an event.
    maybe_open: MaybeOpen,
}

impl Links {
    /// True if it knows no file with several names and no file that may be open.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.maybe_open.is_empty()
    }

    /// Records the file that now has this name. If other names are missing, the file is added to the list of
    /// [`Links::take_wanted`]. Returns true if this is the only name left and others were missing. Changes made under
    /// those names were not seen, so the file must be marked.
    pub fn saw(&mut self, dir: i32, name: &OsStr, stat: &Stat) -> bool {
        let inode = (stat.dev, stat.ino);
        if self.inode_of(dir, name).is_some_and(|old| old != inode) {
            self.forget(dir, name);
        }
        if stat.nlink < 2 {
            self.maybe_open.named(inode, (dir, name.to_owned()));
            let Some(file) = self.files.remove(&inode) else { return false };
            for (dir, name) in &file.names {
                self.take_name(*dir, name);
            }
            return (file.names.len() as u64) < file.nlink;
        }
        let file = self.files.entry(inode).or_default();
        file.nlink = stat.nlink;
        file.content = (stat.size, stat.mtime_ns);
        file.names.insert((dir, name.to_owned()));
        self.names.entry(dir).or_default().insert(name.to_owned(), inode);
        if (file.names.len() as u64) < stat.nlink && file.searched != stat.nlink {
            self.wanted.insert(inode);
        }
        false
    }

    /// True if the content of a known file differs from when it was last seen.
    pub fn was_written(&self, stat: &Stat) -> bool {
        let known = self.files.get(&(stat.dev, stat.ino));
        known.is_some_and(|file| file.content != (stat.size, stat.mtime_ns))
    }

    /// Forgets a name that is gone. Returns the file that had it, if the file may have other names, and the content of
    /// that file when last seen.
    pub fn forget(&mut self, dir: i32, name: &OsStr) -> Option<(Inode, Content)> {
        let inode = self.take_name(dir, name)?;
        let file = self.files.get_mut(&inode)?;
        file.names.remove(&(dir, name.to_owned()));
        let content = file.content;
        if file.names.is_empty() {
            self.files.remove(&inode);
        }
        Some((inode, content))
    }

    /// Records that this file may be written through a descriptor that causes no events. It is examined soon.
    pub fn add_maybe_open(
        &mut self,
        inode: Inode,
        name: Option<Name>,
        marked: Marked,
        now: Duration,
    ) {
        self.maybe_open.add(inode, name, marked, now);
    }

    /// The time since which the oldest of the files that may be open may have been open.
    pub fn maybe_open_since(&self) -> Option<Duration> {
        self.maybe_open.oldest()
    }

    /// The files that may be open and are to be examined now, at most `most`, with their names. A file whose names are
    /// still being searched for waits.
    pub fn due_maybe_open(
        &mut self,
        now: Duration,
        most: usize,
        tree: &Tree,
    ) -> Vec<(Inode, Vec<RelPath>)> {
        let known = |inode| !self.wanted.contains(&inode) && !self.sought.contains(&inode);
        let due = self.maybe_open.due(now, most, known);
        due.into_iter().map(|inode| (inode, self.paths_of(inode, tree))).collect()
    }

    /// All files that may be open, with their known names.
    pub fn all_maybe_open(&mut self, tree: &Tree) -> Vec<(Inode, Vec<RelPath>)> {
        let all: Vec<Inode> = self.maybe_open.all().collect();
        all.into_iter().map(|inode| (inode, self.paths_of(inode, tree))).collect()
    }

    /// What is marked of a file that may be open.
    pub fn marked_of_maybe_open(&self, inode: Inode) -> Option<Marked> {
        self.maybe_open.get(inode).map(|(marked, _)| marked)
    }

    /// Forgets a file that may be open, after it was examined.
    pub fn forget_maybe_open(&mut self, inode: Inode) {
        self.maybe_open.remove(inode);
    }

    /// These directories are no longer watched, so writes through a name in them are no longer seen. The other names of
    /// those files are searched for later, and are thereby marked.
    pub fn lost(&mut self, dirs: &[i32], now: Duration) {
        for dir in dirs {
            for (name, inode) in self.names.remove(dir).into_iter().flatten() {
                if let Some(file) = self.files.get_mut(&inode) {
                    file.names.remove(&(*dir, name));
                    if file.names.is_empty() {
                        self.files.remove(&inode);
                    } else {
                        self.wanted.insert(inode);
                        self.maybe_open.add(inode, None, Marked::Until(file.content), now);
                    }
                }
            }
        }
    }

    /// Every known name of the file that was last seen under this name.
    pub fn paths_like(&mut self, dir: i32, name: &OsStr, tree: &Tree) -> Vec<RelPath> {
        self.inode_of(dir, name).map(|inode| self.paths_of(inode, tree)).unwrap_or_default()
    }

    fn inode_of(&self, dir: i32, name: &OsStr) -> Option<Inode> {
        self.names.get(&dir)?.get(name).copied()
    }

    fn take_name(&mut self, dir: i32, name: &OsStr) -> Option<Inode> {
        let names = self.names.get_mut(&dir)?;
        let inode = names.remove(name)?;
        if names.is_empty() {
            self.names.remove(&dir);
        }
        Some(inode)
    }

    /// Every known name of the file. Names in directories that are no longer watched are forgotten.
    pub fn paths(&mut self, stat: &Stat, tree: &Tree) -> Vec<RelPath> {
        self.paths_of((stat.dev, stat.ino), tree)
    }

    /// The same, by device and inode.
    pub fn paths_of(&mut self, inode: Inode, tree: &Tree) -> Vec<RelPath> {
        let Some(file) = self.files.get_mut(&inode) else {
            let name = self.maybe_open.get(inode).and_then(|(_, name)| name);
            let path = name.and_then(|(dir, name)| Some(tree.path(*dir)?.join(name)));
            return path.into_iter().collect();
        };
        let (mut paths, mut gone) = (Vec::new(), Vec::new());
        file.names.retain(|name| match tree.path(name.0) {
            Some(dir) => {
                paths.push(dir.join(&name.1));
                true
            }
            None if tree.contains(name.0) => true,
            None => {
                gone.push(name.clone());
                false
            }
        });
        for (dir, name) in gone {
            self.take_name(dir, &name);
        }
        paths
    }

    /// Takes the files whose names were to be searched for, but are now all known without a search. Returns every name
    /// of each. What happened under one name while others were not known is marked under all.
    pub fn found(&mut self, tree: &Tree) -> Vec<RelPath> {
        let all_known = |inode: &&Inode| {
            self.files.get(inode).is_some_and(|file| file.names.len() as u64 >= file.nlink)
        };
        let (files, maybe_open) = (&self.files, &self.maybe_open);
        self.wanted.retain(|inode| files.contains_key(inode) || maybe_open.has(*inode));
        let found: Vec<Inode> = self.wanted.iter().filter(all_known).copied().collect();
        self.searched(&found, tree)
    }

    /// True if some names are not known, so that the tree must be searched.
    pub fn wants_search(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// Requests another search for the names of these files.
    pub fn want(&mut self, files: &[(u64, u64)]) {
        let known = |inode: &&Inode| self.files.contains_key(inode) || self.maybe_open.has(**inode);
        self.wanted.extend(files.iter().filter(known));
    }

    /// A search starts now. Returns the files whose names it looks for.
    pub fn take_wanted(&mut self) -> Vec<(u64, u64)> {
        self.sought.extend(&self.wanted);
        self.wanted.drain().collect()
    }

    /// The search is done. Names that are still missing lie outside the tree. Returns every name of the files that were
    /// searched for.
    pub fn searched(&mut self, looked_for: &[(u64, u64)], tree: &Tree) -> Vec<RelPath> {
        let mut paths = Vec::new();
        for &inode in looked_for {
            paths.extend(self.paths_of(inode, tree));
            if let Some(file) = self.files.get_mut(&inode) {
                file.searched = file.nlink;
            }
            self.wanted.remove(&inode);
            self.sought.remove(&inode);
        }
        paths
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stat::Kind;

    fn file(ino: u64, nlink: u64) -> Stat {
        Stat {
            kind: Kind::File,
            size: 0,
            mtime_ns: 0,
            ctime_ns: 0,
            sparse: false,
            nlink,
            dev: 1,
            ino,
        }
    }

    #[test]
    fn all_names_of_a_file_are_marked() {
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
    fn names_found_without_a_search_are_marked() {
        let mut tree = Tree::default();
        tree.start(1);
        tree.place(1, OsStr::new("d"), 2);
        let mut links = Links::default();
        // Its times were set under this name while the other name was unknown.
        links.saw(1, OsStr::new("a"), &file(7, 2));
        assert!(links.found(&tree).is_empty());
        links.saw(2, OsStr::new("b"), &file(7, 2));
        let mut paths = links.found(&tree);
        paths.sort();
        assert_eq!(paths, [RelPath::new("a").unwrap(), RelPath::new("d/b").unwrap()]);
        assert!(!links.wants_search() && links.found(&tree).is_empty());
        // A file with one name left needs no search.
        links.saw(1, OsStr::new("c"), &file(8, 2));
        links.saw(1, OsStr::new("c"), &file(8, 1));
        assert!(links.found(&tree).is_empty() && !links.wants_search());
    }

    #[test]
    fn the_last_name_is_marked_when_others_are_unknown() {
        let mut links = Links::default();
        links.saw(1, OsStr::new("a"), &file(7, 2));
        assert!(links.saw(1, OsStr::new("a"), &file(7, 1)) && links.is_empty());
        links.saw(1, OsStr::new("a"), &file(7, 2));
        links.saw(1, OsStr::new("b"), &file(7, 2));
        links.forget(1, OsStr::new("b"));
        assert!(links.saw(1, OsStr::new("a"), &file(7, 1)), "whatever happened under b");
        links.saw(1, OsStr::new("a"), &file(7, 2));
        links.saw(1, OsStr::new("b"), &file(7, 2));
        assert!(!links.saw(1, OsStr::new("a"), &file(7, 1)), "each event of b marked a");
        assert!(links.is_empty());
    }

    #[test]
    fn other_names_are_searched_when_a_directory_is_no_longer_watched() {
        let mut tree = Tree::default();
        tree.start(1);
        tree.place(1, OsStr::new("d"), 2);
        let mut links = Links::default();
        links.saw(1, OsStr::new("a"), &file(7, 2));
        links.saw(2, OsStr::new("b"), &file(7, 2));
        assert_eq!(links.paths_like(2, OsStr::new("b"), &tree).len(), 2);
        links.lost(&[2], Duration::ZERO);
        assert!(links.paths_like(2, OsStr::new("b"), &tree).is_empty());
        assert_eq!(links.take_wanted(), [(1, 7)]);
        assert_eq!(links.searched(&[(1, 7)], &tree), [RelPath::new("a").unwrap()]);
        links.lost(&[1], Duration::ZERO);
        links.forget_maybe_open((1, 7));
        assert!(links.is_empty() && !links.wants_search());
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
