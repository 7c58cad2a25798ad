//! From one event to its marks and to what is to be done about directories. Pure: the map follows the history that
//! the queue tells, and whoever carries out an [`Act`] compares it with what the file system says now.

use crate::config::model::Toggles;
use crate::filter::Filter;
use crate::journal::{Events, Scope};
use crate::path::RelPath;
use crate::seen::{Kind, Notice, Seen, What};
use crate::watcher::batch::{Batch, Look};
use crate::watcher::hardlinks::Links;
use crate::watcher::tree::Tree;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::time::Duration;

/// A moved directory that did not arrive within this time has left the tree.
pub const PAIR_WITHIN: Duration = Duration::from_millis(50);
/// A new file that was neither written nor closed is marked after this time.
pub const UNTOUCHED_FOR: Duration = Duration::from_secs(2);

/// Why a name is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A directory was made: everything found in it is marked.
    Created,
    /// A directory was moved here: it is marked as a tree.
    Moved,
    /// The map was wrong about this name: as moved, and read even where it is watched already.
    Again,
}

/// What is to be done about a directory.
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
    /// A watched directory was moved to this name: make sure that it is the one (rule 17).
    Attach {
        /// The watch of its parent.
        parent: i32,
        /// Its name.
        name: OsString,
        /// The directory.
        moved: Detached,
    },
    /// These watches are of no use any more.
    Unwatch(Vec<i32>),
    /// Events were lost.
    Overflow,
    /// Something happened to the root.
    CheckRoot,
    /// A mount point inside was unmounted.
    Unmounted(RelPath),
}

/// A directory between the halves of its move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detached {
    cookie: u32,
    since: Duration,
    /// Its watch; `None` when it was not watched.
    pub wd: Option<i32>,
    /// Where it was.
    pub from: RelPath,
    /// The watch of its old parent.
    pub old_parent: i32,
    /// Directories came or went in it meanwhile, or parts of it were not watched: it must be read again.
    pub dirty: bool,
}

struct MovedFile {
    cookie: u32,
    from: RelPath,
    open: Option<Open>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    since: Duration,
    written: bool,
}

/// Everything the watcher knows of the localpath.
pub struct Map {
    /// The watched directories.
    pub tree: Tree,
    /// Files with several names.
    pub links: Links,
    /// Directories that could not be watched; nothing below them is.
    pub unwatched: BTreeSet<RelPath>,
    /// What is replicated.
    pub filter: Filter,
    toggles: Toggles,
    open: HashMap<RelPath, Open>,
    untouched: VecDeque<(Duration, RelPath)>,
    detached: Vec<Detached>,
    moved_file: Option<MovedFile>,
}

impl Map {
    /// An empty map.
    pub fn new(toggles: Toggles, filter: Filter) -> Self {
        Self {
            tree: Tree::default(),
            links: Links::default(),
            unwatched: BTreeSet::new(),
            filter,
            toggles,
            open: HashMap::new(),
            untouched: VecDeque::new(),
            detached: Vec::new(),
            moved_file: None,
        }
    }

    /// Forgets what it knows of directories, links and open files, to be built anew; the open files are returned.
    pub fn forget(&mut self) -> Vec<RelPath> {
        self.tree = Tree::default();
        self.links = Links::default();
        self.unwatched.clear();
        self.untouched.clear();
        self.detached.clear();
        self.moved_file = None;
        self.open.drain().map(|(path, _)| path).collect()
    }

    /// Takes one event of the queue.
    pub fn step(&mut self, notice: &Notice, now: Duration, batch: &mut Batch, acts: &mut Vec<Act>) {
        match notice.what {
            What::Overflow => return acts.push(Act::Overflow),
            What::DeleteSelf | What::MoveSelf | What::Unmount | What::Ignored => {
                return self.step_self(notice, acts);
            }
            _ if notice.name.is_empty() => return,
            _ => {}
        }
        let Some(dir) = self.tree.path(notice.wd) else {
            return self.note_detached(notice);
        };
        let path = dir.join(&notice.name);
        if self.filter.excludes(&path, notice.is_dir) {
            return self.step_excluded(notice, acts);
        }
        if notice.is_dir {
            self.step_dir(notice, path, now, batch, acts);
        } else {
            self.step_file(notice, path, now, batch);
        }
    }

    /// About the watched directory itself.
    fn step_self(&mut self, notice: &Notice, acts: &mut Vec<Act>) {
        let is_root = self.tree.root() == Some(notice.wd);
        match notice.what {
            What::DeleteSelf | What::MoveSelf if is_root => acts.push(Act::CheckRoot),
            What::Unmount => match self.tree.path(notice.wd) {
                Some(path) if !path.is_root() => acts.push(Act::Unmounted(path)),
                Some(_) => acts.push(Act::CheckRoot),
                None => {}
            },
            What::Ignored if self.tree.contains(notice.wd) => {
                if is_root {
                    acts.push(Act::CheckRoot);
                }
                let gone = self.tree.remove(notice.wd);
                acts.push(Act::Unwatch(gone.into_iter().filter(|&wd| wd != notice.wd).collect()));
            }
            _ => {}
        }
    }

    /// A watched directory may be moved to an excluded name.
    fn step_excluded(&mut self, notice: &Notice, acts: &mut Vec<Act>) {
        if notice.is_dir && notice.what == What::MovedTo {
            if let Some(moved) = self.take_detached(notice.cookie) {
                acts.extend(moved.wd.map(|wd| Act::Unwatch(self.tree.remove(wd))));
            }
        } else if notice.what == What::MovedTo {
            self.moved_file = None;
        }
    }

    /// Something happened in a directory that is between the halves of its move, or that is not known. Its move
    /// marks it as a tree; only new directories in it must be found again.
    fn note_detached(&mut self, notice: &Notice) {
        if notice.is_dir
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
        batch: &mut Batch,
        acts: &mut Vec<Act>,
    ) {
        let (parent, name) = (notice.wd, &notice.name);
        match notice.what {
            What::Create => {
                if self.toggles.create_folder {
                    batch.mark(path, Scope::Children, Events::CREATE | Events::DIR);
                }
                acts.push(Act::Enter { parent, name: name.clone(), why: Why::Created });
            }
            What::Attrib if self.toggles.attrib => {
                batch.mark(path, Scope::Entry, Events::ATTRIB | Events::DIR);
            }
            What::Delete => {
                if let Some(wd) = self.tree.child(parent, name) {
                    acts.push(Act::Unwatch(self.tree.remove(wd)));
                }
                self.forget_unwatched(&path);
                self.close_below(&path, batch);
                if self.toggles.delete {
                    batch.mark(path, Scope::Entry, Events::DELETE | Events::DIR);
                }
            }
            What::MovedFrom => {
                let wd = self.tree.child(parent, name);
                if let Some(wd) = wd {
                    self.tree.detach(wd);
                }
                let dirty = self.forget_unwatched(&path) || wd.is_none();
                let from = path.clone();
                let cookie = notice.cookie;
                let moved = Detached { cookie, since: now, wd, from, old_parent: parent, dirty };
                self.detached.push(moved);
                if self.toggles.move_from {
                    let events = Events::MOVE | Events::DELETE | Events::DIR;
                    batch.mark(path, Scope::Tree, events);
                }
            }
            What::MovedTo => self.moved_in(notice, path, batch, acts),
            _ => {}
        }
    }

    fn moved_in(&mut self, notice: &Notice, path: RelPath, batch: &mut Batch, acts: &mut Vec<Act>) {
        let (parent, name) = (notice.wd, notice.name.clone());
        let moved = self.take_detached(notice.cookie);
        if let Some(m) = &moved {
            self.rename_open(&m.from, &path, batch);
        }
        if self.toggles.move_to {
            let origin = moved.as_ref().map(|m| m.from.clone());
            batch.mark_moved(path, Scope::Tree, Events::MOVE | Events::DIR, origin);
        }
        acts.push(match moved {
            Some(moved) if moved.wd.is_some() => Act::Attach { parent, name, moved },
            _ => Act::Enter { parent, name, why: Why::Moved },
        });
    }

    fn step_file(&mut self, notice: &Notice, path: RelPath, now: Duration, batch: &mut Batch) {
        let t = self.toggles;
        let skipped = self.filter.skips_event(&path, false);
        let entry = |batch: &mut Batch, wanted: bool, path: &RelPath, events: Events| {
            if wanted && !skipped {
                batch.mark(path.clone(), Scope::Entry, events);
            }
        };
        match notice.what {
            What::Create => {
                entry(batch, t.create_file, &path, Events::CREATE);
                if t.close_write && !skipped {
                    self.open(path.clone(), Open { since: now, written: false }, batch);
                    self.untouched.push_back((now, path.clone()));
                }
                self.look(notice, path, Events::CREATE, batch);
            }
            What::Modify => {
                entry(batch, t.modify, &path, Events::WRITE);
                if !t.modify && t.close_write && !skipped {
                    self.open(path, Open { since: now, written: true }, batch);
                }
            }
            What::CloseWrite => {
                entry(batch, t.close_write, &path, Events::WRITE);
                self.close(&path, batch);
                if !self.links.is_empty() {
                    self.look(notice, path, Events::WRITE, batch);
                }
            }
            What::Attrib => {
                entry(batch, t.attrib, &path, Events::ATTRIB);
                if !self.links.is_empty() {
                    self.look(notice, path, Events::ATTRIB, batch);
                }
            }
            What::Delete => {
                entry(batch, t.delete, &path, Events::DELETE);
                self.close(&path, batch);
                self.links.forget(notice.wd, &notice.name);
            }
            What::MovedFrom => {
                entry(batch, t.move_from, &path, Events::MOVE | Events::DELETE);
                let open = self.close(&path, batch);
                self.links.forget(notice.wd, &notice.name);
                self.moved_file = Some(MovedFile { cookie: notice.cookie, from: path, open });
            }
            What::MovedTo => {
                let moved = self.moved_file.take().filter(|m| m.cookie == notice.cookie);
                self.close(&path, batch);
                if let Some(open) = moved.as_ref().and_then(|m| m.open) {
                    self.open(path.clone(), open, batch);
                }
                if t.move_to && !skipped {
                    let origin = moved.map(|m| m.from);
                    batch.mark_moved(path.clone(), Scope::Entry, Events::MOVE, origin);
                }
                self.look(notice, path, Events::MOVE, batch);
            }
            _ => {}
        }
    }

    fn look(&self, notice: &Notice, path: RelPath, events: Events, batch: &mut Batch) {
        batch.look(path, Look { dir: notice.wd, name: notice.name.clone(), events });
    }

    /// Takes what lstat said of a file that events wanted looked at; `None` when it is gone.
    pub fn looked(&mut self, path: RelPath, look: &Look, seen: Option<&Seen>, batch: &mut Batch) {
        let Some(seen) = seen.filter(|s| s.kind != Kind::Dir) else { return };
        let many = seen.kind == Kind::File && seen.nlink > 1;
        // No close will follow.
        if look.events.has(Events::CREATE) && (seen.kind != Kind::File || many) {
            self.close(&path, batch);
            if !self.filter.skips_event(&path, false) {
                batch.mark(path, Scope::Entry, Events::CREATE);
            }
        }
        if seen.kind == Kind::File && (many || !self.links.is_empty()) {
            self.links.saw(look.dir, &look.name, seen);
        }
        let of_content = Events(look.events.0 & (Events::WRITE.0 | Events::ATTRIB.0));
        let wanted = [
            (Events::WRITE, self.toggles.close_write || self.toggles.modify),
            (Events::ATTRIB, self.toggles.attrib),
        ];
        if many && wanted.iter().any(|(bit, on)| *on && of_content.has(*bit)) {
            self.mark_links(seen, of_content, batch);
        }
    }

    /// Marks every known name of a file.
    pub fn mark_links(&mut self, seen: &Seen, events: Events, batch: &mut Batch) {
        for name in self.links.paths(seen, &self.tree) {
            batch.mark(name, Scope::Entry, events);
        }
    }

    fn open(&mut self, path: RelPath, open: Open, batch: &mut Batch) {
        match self.open.get_mut(&path) {
            Some(known) => known.written |= open.written,
            None => {
                batch.open(path.clone());
                self.open.insert(path, open);
            }
        }
    }

    fn close(&mut self, path: &RelPath, batch: &mut Batch) -> Option<Open> {
        let known = self.open.remove(path)?;
        batch.close(path.clone());
        Some(known)
    }

    fn close_below(&mut self, gone: &RelPath, batch: &mut Batch) {
        let below: Vec<RelPath> = self.open.keys().filter(|p| p.is_within(gone)).cloned().collect();
        for path in below {
            self.close(&path, batch);
        }
    }

    fn rename_open(&mut self, from: &RelPath, to: &RelPath, batch: &mut Batch) {
        let below: Vec<RelPath> =
            self.open.keys().filter(|p| p.is_within(from) && *p != from).cloned().collect();
        for old in below {
            let tail = &old.as_bytes()[from.as_bytes().len() + 1..];
            let new = to.join(std::os::unix::ffi::OsStrExt::from_bytes(tail));
            if let Some(open) = self.close(&old, batch) {
                self.open(new.clone(), open, batch);
                if !open.written {
                    self.untouched.push_back((open.since, new));
                }
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

    fn take_detached(&mut self, cookie: u32) -> Option<Detached> {
        let at = self.detached.iter().position(|d| d.cookie == cookie)?;
        Some(self.detached.swap_remove(at))
    }

    /// True when the directory is between the halves of its move; it no longer is.
    pub fn found_detached(&mut self, wd: i32) {
        self.detached.retain(|d| d.wd != Some(wd));
    }

    /// When [`Map::expire`] has something to do next, in time since boot.
    pub fn next_expiry(&self) -> Option<Duration> {
        let left = self.detached.iter().map(|d| d.since + PAIR_WITHIN).min();
        let untouched = self.untouched.front().map(|(since, _)| *since + UNTOUCHED_FOR);
        left.into_iter().chain(untouched).min()
    }

    /// What time alone brings, once the queue is empty: moved directories that did not arrive have left; new files
    /// that nobody touched are marked.
    pub fn expire(&mut self, now: Duration, batch: &mut Batch, acts: &mut Vec<Act>) {
        let mut left = Vec::new();
        self.detached.retain(|d| {
            let stays = now < d.since + PAIR_WITHIN;
            if !stays {
                left.push((d.wd, d.from.clone()));
            }
            stays
        });
        for (wd, from) in left {
            acts.extend(wd.map(|wd| Act::Unwatch(self.tree.remove(wd))));
            self.close_below(&from, batch);
        }
        while self.untouched.front().is_some_and(|(since, _)| now >= *since + UNTOUCHED_FOR) {
            let Some((_, path)) = self.untouched.pop_front() else { break };
            if self.open.get(&path).is_some_and(|o| !o.written && now >= o.since + UNTOUCHED_FOR) {
                self.close(&path, batch);
                batch.mark(path, Scope::Entry, Events::CREATE);
            }
        }
    }

    /// True when new directories mark.
    pub fn marks_folders(&self) -> bool {
        self.toggles.create_folder
    }

    /// True when a walk shall neither mark nor enter this path.
    pub fn skips(&self, path: &RelPath, is_dir: bool) -> bool {
        self.filter.excludes(path, is_dir) || self.filter.skips_event(path, is_dir)
    }

    /// The watch of a name's directory and the name, as the tree has it.
    pub fn split<'a>(&self, path: &'a RelPath) -> Option<(i32, &'a OsStr)> {
        Some((self.tree.find(&path.parent()?)?, path.name()))
    }
}
