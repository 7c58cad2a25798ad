//! Turns one event into marks and into actions on directories. Pure: the map follows the history in the queue, and the
//! code that carries out an [`Act`] compares the map with the current state of the file system.

mod files;
mod open;
mod open_file;

use crate::config::model::Toggles;
use crate::filter::Filter;
use crate::journal::{Events, Scope};
use crate::path::RelPath;
use crate::stat::{Kind, Notice, Stat, What};
use crate::watcher::change_set::{ChangeSet, StatRequest};
use crate::watcher::hardlinks::Links;
use crate::watcher::maybe_open::{Content, Inode, Marked};
use crate::watcher::tree::Tree;
use open_file::Open;
pub use open_file::{Looked, OpenAfter};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::time::Duration;

/// A moved directory that did not arrive at a new name within this time has left the tree.
pub const PAIR_WITHIN: Duration = Duration::from_millis(50);

/// Why a name is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A directory was created: everything found in it is marked.
    Created,
    /// A directory was moved to this name: it is marked as a tree.
    Moved,
    /// The map was wrong about this name. As for `Moved`, but the directory is read even if it is watched already.
    Again,
    /// The queue reports that the directory which the map has at this name left it, and its new name is unknown. For an
    /// exchange of two names (RENAME_EXCHANGE), the queue reports what arrives before it reports what leaves. So a
    /// directory that exists at this name is the one that arrived, and the map was wrong.
    Left,
}

/// An action on a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// A directory appeared at this name: watch it, then read it.
    Enter {
        /// The watch of its parent.
        parent: i32,
        /// Its name.
        name: OsString,
        /// Why.
        why: Why,
    },
    /// A watched directory was moved to this name: verify that the name leads to this directory (rule 17).
    Attach {
        /// The watch of its parent.
        parent: i32,
        /// Its name.
        name: OsString,
        /// The directory.
        moved: Detached,
    },
    /// These watches are no longer needed.
    Unwatch(Vec<i32>),
    /// Events were lost.
    Overflow,
    /// Something happened to the root.
    CheckRoot,
    /// The root is no longer watched: it was unmounted or removed.
    RootLost,
    /// A mount point inside was unmounted.
    Unmounted(RelPath),
}

/// A directory between the halves of its move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detached {
    cookie: u32,
    since: Duration,
    /// Its watch; `None` if it was not watched.
    pub wd: Option<i32>,
    /// Its old path.
    pub from: RelPath,
    /// The watch of its old parent.
    pub old_parent: i32,
    /// Directories appeared or disappeared in it meanwhile, or parts of it were not watched. It must be read again.
    pub dirty: bool,
    /// It, or something in it, could not be watched.
    unwatched: bool,
    /// Open files in it, by their paths relative to it. When it arrives, its old name may already lead to other files.
    open: Vec<(OsString, Open)>,
}

/// A file between the halves of its move.
struct MovedFile {
    cookie: u32,
    since: Duration,
    from: RelPath,
    open: Option<Open>,
    /// The file, and its content when last seen, if it may have other names.
    linked: Option<(Inode, Content)>,
}

/// A file that has just arrived at a name. If the next event says that it leaves this name, then either two names were
/// exchanged, or the file was moved to this name and then moved on. The queue reports both in the same way.
struct Arrived {
    at: RelPath,
    /// The file that was open at this name before.
    displaced: Option<Open>,
}

/// Everything the watcher knows of the localpath.
pub struct Map {
    /// The watched directories.
    pub tree: Tree,
    /// Files with several names.
    pub links: Links,
    /// Directories that could not be watched. Nothing below them is watched.
    pub unwatched: BTreeSet<RelPath>,
    /// Watched directories that contain an excluded one. After a move the excluded one may no longer be excluded.
    holding_excluded: HashSet<i32>,
    /// Which paths are replicated.
    pub filter: Filter,
    toggles: Toggles,
    open: HashMap<RelPath, Open>,
    /// When open files are examined. Each file has an entry that is no later than its time.
    due: BTreeSet<(Duration, RelPath)>,
    /// Open files that are to be examined now.
    quiet: Vec<RelPath>,
    detached: Vec<Detached>,
    /// Which open files are marked while they are open, and when.
    open_after: OpenAfter,
    /// The times of these marks. Entries of files that were closed meanwhile are left in it.
    sends: BTreeSet<(Duration, RelPath)>,
    moved_file: Option<MovedFile>,
    arrived: Option<Arrived>,
}

impl Map {
    /// An empty map.
    pub fn new(toggles: Toggles, filter: Filter) -> Self {
        Self {
            tree: Tree::default(),
            links: Links::default(),
            unwatched: BTreeSet::new(),
            holding_excluded: HashSet::new(),
            filter,
            toggles,
            open: HashMap::new(),
            due: BTreeSet::new(),
            quiet: Vec::new(),
            detached: Vec::new(),
            open_after: OpenAfter::default(),
            sends: BTreeSet::new(),
            moved_file: None,
            arrived: None,
        }
    }

    /// The map with rules for open files.
    pub fn with_open_after(self, open_after: OpenAfter) -> Self {
        Self { open_after, ..self }
    }

    /// Forgets all directories, links and open files, so that the map can be rebuilt. Returns the files that are open
    /// or may be open.
    pub fn forget(&mut self) -> Vec<RelPath> {
        let maybe_open =
            self.links.all_maybe_open(&self.tree).into_iter().flat_map(|(_, paths)| paths);
        let mut open: Vec<RelPath> = maybe_open.collect();
        self.tree = Tree::default();
        self.links = Links::default();
        self.unwatched.clear();
        self.holding_excluded.clear();
        self.due.clear();
        self.sends.clear();
        self.quiet.clear();
        self.detached.clear();
        self.moved_file = None;
        self.arrived = None;
        open.extend(self.open.drain().map(|(path, _)| path));
        open
    }

    /// Handles one event of the queue.
    pub fn step(
        &mut self,
        notice: &Notice,
        now: Duration,
        changes: &mut ChangeSet,
        acts: &mut Vec<Act>,
    ) {
        self.end_move(notice, now, changes);
        let arrived = self.arrived.take();
        match notice.what {
            What::Overflow => return acts.push(Act::Overflow),
            What::DeleteSelf | What::MoveSelf | What::Unmount | What::Ignored => {
                return self.step_self(notice, acts);
            }
            _ if notice.name.is_empty() => return self.step_itself(notice, changes),
            _ => {}
        }
        let Some(dir) = self.tree.path(notice.wd) else {
            return self.note_detached(notice, now, changes);
        };
        let path = dir.join(&notice.name);
        if self.filter.excludes(&path, notice.is_dir) {
            return self.step_excluded(notice, now, changes, acts);
        }
        if notice.is_dir {
            self.step_dir(notice, path, now, changes, acts);
        } else {
            self.step_file(notice, path, arrived, now, changes);
        }
    }

    /// The attributes of a watched directory were changed. Its parent reports this too, unless the directory is the
    /// root, a mount point, or mounted from another place (rule 31). The move itself marks a directory between the
    /// halves of its move as a tree.
    fn step_itself(&self, notice: &Notice, changes: &mut ChangeSet) {
        if self.toggles.attrib
            && matches!(notice.what, What::Attrib | What::Modify)
            && let Some(path) = self.tree.path(notice.wd)
        {
            changes.mark(path, Scope::Entry, Events::ATTRIB | Events::DIR);
        }
    }

    /// Handles an event about the place of the watched directory itself.
    fn step_self(&mut self, notice: &Notice, acts: &mut Vec<Act>) {
        let is_root = self.tree.root() == Some(notice.wd);
        match notice.what {
            What::DeleteSelf | What::MoveSelf if is_root => acts.push(Act::CheckRoot),
            What::Unmount => match self.tree.path(notice.wd) {
                Some(path) if !path.is_root() => acts.push(Act::Unmounted(path)),
                Some(_) => acts.push(Act::RootLost),
                None => {}
            },
            What::Ignored if self.tree.contains(notice.wd) => {
                if is_root {
                    acts.push(Act::RootLost);
                }
                let gone = self.tree.remove(notice.wd);
                acts.push(Act::Unwatch(gone.into_iter().filter(|&wd| wd != notice.wd).collect()));
            }
            _ => {}
        }
    }

    /// A watched directory may be moved to an excluded name.
    fn step_excluded(
        &mut self,
        notice: &Notice,
        now: Duration,
        changes: &mut ChangeSet,
        acts: &mut Vec<Act>,
    ) {
        if notice.is_dir && matches!(notice.what, What::Create | What::MovedTo) {
            self.skipped_in(notice.wd);
            if let Some(moved) = self.take_detached(notice.cookie) {
                self.left(&moved, acts);
            }
        } else if notice.what == What::MovedTo {
            self.moved_away(now, changes);
        }
    }

    /// Records that this directory contains an excluded one.
    pub fn skipped_in(&mut self, wd: i32) {
        self.holding_excluded.insert(wd);
    }

    fn holds_excluded(&mut self, moved: i32) -> bool {
        let tree = &self.tree;
        self.holding_excluded.retain(|wd| tree.contains(*wd));
        self.holding_excluded.iter().any(|wd| tree.top(*wd) == Some(moved))
    }

    /// Something happened in a directory that is between the halves of its move, or that is unknown. The move marks the
    /// directory as a tree. Only new directories in it, and names that may be further names of a file, must be found
    /// again.
    fn note_detached(&mut self, notice: &Notice, now: Duration, changes: &mut ChangeSet) {
        if !notice.is_dir && matches!(notice.what, What::Delete | What::MovedFrom | What::MovedTo) {
            self.name_gone(notice, None, now, changes);
        }
        if (notice.is_dir || matches!(notice.what, What::Create | What::MovedTo))
            && let Some(top) = self.tree.top(notice.wd)
        {
            self.detached.iter_mut().filter(|d| d.wd == Some(top)).for_each(|d| d.dirty = true);
        }
    }

    fn step_dir(
        &mut self,
        notice: &Notice,
        path: RelPath,
        now: Duration,
        changes: &mut ChangeSet,
        acts: &mut Vec<Act>,
    ) {
        let (parent, name) = (notice.wd, &notice.name);
        match notice.what {
            What::Create => {
                if self.toggles.create_folder {
                    changes.mark(path, Scope::Children, Events::CREATE | Events::DIR);
                }
                acts.push(Act::Enter { parent, name: name.clone(), why: Why::Created });
            }
            // `utimensat` of the modification time alone causes IN_MODIFY, for a directory too.
            What::Attrib | What::Modify if self.toggles.attrib => {
                changes.mark(path, Scope::Entry, Events::ATTRIB | Events::DIR);
            }
            What::Delete => {
                if let Some(wd) = self.tree.child(parent, name) {
                    acts.push(Act::Unwatch(self.tree.remove(wd)));
                }
                self.forget_unwatched(&path);
                self.take_below(&path, changes);
                if self.toggles.delete {
                    changes.mark(path, Scope::Entry, Events::DELETE | Events::DIR);
                }
            }
            What::MovedFrom => {
                let wd = self.tree.child(parent, name);
                if let Some(wd) = wd {
                    self.tree.detach(wd);
                }
                let unwatched = self.forget_unwatched(&path);
                let dirty = unwatched || wd.is_none_or(|wd| self.holds_excluded(wd));
                let open = self.take_below(&path, changes);
                self.detached.push(Detached {
                    cookie: notice.cookie,
                    since: now,
                    wd,
                    from: path.clone(),
                    old_parent: parent,
                    dirty,
                    unwatched,
                    open,
                });
                if self.toggles.move_from {
                    let events = Events::MOVE | Events::DELETE | Events::DIR;
                    changes.mark(path, Scope::Tree, events);
                }
            }
            What::MovedTo => self.moved_in(notice, path, changes, acts),
            _ => {}
        }
    }

    fn moved_in(
        &mut self,
        notice: &Notice,
        path: RelPath,
        changes: &mut ChangeSet,
        acts: &mut Vec<Act>,
    ) {
        let (parent, name) = (notice.wd, notice.name.clone());
        let moved = self.take_detached(notice.cookie);
        for (name, open) in moved.iter().flat_map(|m| &m.open) {
            self.open(path.join(name), *open, changes);
        }
        if self.toggles.move_to {
            let origin = moved.as_ref().map(|m| m.from.clone());
            changes.mark_moved(path, Scope::Tree, Events::MOVE | Events::DIR, origin);
        }
        match moved {
            Some(moved) if moved.wd.is_some() => acts.push(Act::Attach { parent, name, moved }),
            moved => {
                acts.push(Act::Enter { parent, name, why: Why::Moved });
                moved.iter().for_each(|moved| self.left(moved, acts));
            }
        }
    }

    fn forget_unwatched(&mut self, within: &RelPath) -> bool {
        let before = self.unwatched.len();
        if before > 0 {
            self.unwatched.retain(|p| !p.is_within(within));
        }
        self.unwatched.len() < before
    }

    /// A directory that is between the halves of its move has left what is watched.
    pub(super) fn left(&mut self, moved: &Detached, acts: &mut Vec<Act>) {
        match moved.wd {
            Some(wd) => acts.push(Act::Unwatch(self.tree.remove(wd))),
            // In an exchange, the directory that the map forgot may be the one that had just arrived.
            None if moved.unwatched => {}
            None => return,
        }
        let (parent, name) = (moved.old_parent, moved.from.name().to_owned());
        acts.push(Act::Enter { parent, name, why: Why::Left });
    }

    fn take_detached(&mut self, cookie: u32) -> Option<Detached> {
        let at = self.detached.iter().position(|d| d.cookie == cookie)?;
        Some(self.detached.swap_remove(at))
    }

    /// True if a directory is between the halves of its move. What happens in it is marked when the move has ended.
    pub fn has_detached(&self) -> bool {
        !self.detached.is_empty()
    }

    /// The directory was found: it is no longer between the halves of a move. Returns its old path if it was.
    pub fn found_detached(&mut self, wd: i32) -> Option<RelPath> {
        let at = self.detached.iter().position(|d| d.wd == Some(wd))?;
        Some(self.detached.swap_remove(at).from)
    }

    /// True if new directories are marked.
    pub fn marks_folders(&self) -> bool {
        self.toggles.create_folder
    }

    /// True if directories that were moved into the tree are marked.
    pub fn marks_moves(&self) -> bool {
        self.toggles.move_to
    }

    /// True if a walk must neither mark nor enter this path.
    pub fn skips(&self, path: &RelPath, is_dir: bool) -> bool {
        self.filter.excludes(path, is_dir) || self.filter.skips_event(path, is_dir)
    }

    /// The watch of the directory of a path, and the name in it, as the tree has them.
    pub fn split<'a>(&self, path: &'a RelPath) -> Option<(i32, &'a OsStr)> {
        Some((self.tree.find(&path.parent()?)?, path.name()))
    }
}
