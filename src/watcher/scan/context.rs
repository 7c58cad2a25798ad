//! What the walker works with in one turn. Directories are identified by their watch, and are opened only where the map
//! has them.

use crate::journal::{Events, Scope};
use crate::path::RelPath;
use crate::sys::clock;
use crate::sys::fault_point::{Point, pass};
use crate::sys::files::{self, Root};
use crate::sys::inotify::Queue;
use crate::watcher::change_set::ChangeSet;
use crate::watcher::event::Map;
use slog::Logger;
use std::ffi::OsStr;
use std::io;
use std::path::Path;

/// What the walker works with in one turn.
pub struct ScanContext<'a> {
    /// The queue to which watches are added.
    pub queue: &'a Queue,
    /// The root's path.
    pub watch: &'a Path,
    /// The current map.
    pub map: &'a mut Map,
    /// The marks of this turn.
    pub changes: &'a mut ChangeSet,
    /// The log.
    pub log: &'a Logger,
    /// The open root, kept only for this turn, because an open descriptor keeps a file system busy.
    root: Option<Root>,
}

pub(super) enum Trouble {
    /// Another directory, or none, is where the map has this one.
    Stale,
    /// Nothing, or something other than a directory, exists at this name.
    Gone,
    /// The system refused.
    Refused(io::Error),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        match files::is_no_directory(&error) {
            true => Trouble::Gone,
            false => Trouble::Refused(error),
        }
    }
}

impl<'a> ScanContext<'a> {
    /// A context for one turn.
    pub fn new(
        queue: &'a Queue,
        watch: &'a Path,
        map: &'a mut Map,
        changes: &'a mut ChangeSet,
        log: &'a Logger,
    ) -> Self {
        Self { queue, watch, map, changes, log, root: None }
    }

    pub(super) fn root(&mut self) -> io::Result<&Root> {
        if self.root.is_none() {
            self.root = Some(Root::open(self.watch)?);
        }
        self.root.as_ref().ok_or_else(|| io::Error::other("no root"))
    }

    pub(super) fn open_path(&mut self, path: &RelPath) -> Result<Root, Trouble> {
        if path.is_root() {
            return Ok(Root::open(self.watch)?);
        }
        Ok(self.root()?.subdir(path)?)
    }

    /// Opens the directory of this watch. Fails with [`Trouble::Stale`] if it is not where the map has it.
    pub(super) fn open_watched(&mut self, wd: i32) -> Result<Root, Trouble> {
        let path = self.map.tree.path(wd).ok_or(Trouble::Stale)?;
        let dir = match self.open_path(&path) {
            Err(Trouble::Gone) => return Err(Trouble::Stale),
            other => other?,
        };
        // The same directory returns the same watch.
        let got = self.queue.add(&dir.proc_path(), true)?;
        if got == wd {
            return Ok(dir);
        }
        if !self.map.tree.contains(got) {
            self.queue.remove(got);
        }
        Err(Trouble::Stale)
    }

    /// Watches a name in a watched directory. Returns the device of the directory and the watch of the name.
    pub(super) fn watch_child(&mut self, parent: i32, name: &OsStr) -> Result<(u64, i32), Trouble> {
        let dir = self.open_watched(parent)?;
        Ok((dir.stat.dev, self.watch_in(&dir, parent, name)?))
    }

    /// The same, in the open directory of this watch. A directory that is mounted at a second name below the root has
    /// one watch, and the map keeps it at the first name. If the map treated the second name as a move, it would switch
    /// between the two names forever.
    pub(super) fn watch_in(
        &mut self,
        dir: &Root,
        parent: i32,
        name: &OsStr,
    ) -> Result<i32, Trouble> {
        let place = dir.proc_path().join(name);
        let wd = self.queue.add(&place, false)?;
        pass(Point::WatcherWatches);
        let Some(at) = self.map.tree.path(wd) else { return Ok(wd) };
        let here = self.map.tree.path(parent).map(|dir| dir.join(name));
        if Some(&at) == here.as_ref() || self.open_watched(wd).is_err() {
            return Ok(wd);
        }
        let again = self.queue.add(&place, false)?;
        if again != wd {
            // It was moved to the name and back.
            if !self.map.tree.contains(again) {
                self.queue.remove(again);
            }
            return Err(Trouble::Stale);
        }
        let words = format!("also has another name: {}/{at}", self.watch.display());
        Err(Trouble::Refused(io::Error::other(words)))
    }

    pub(super) fn unwatch(&mut self, wds: &[i32]) {
        self.map.links.lost(wds, clock::boot());
        wds.iter().for_each(|&wd| self.queue.remove(wd));
    }

    /// True if this path is a mount point now, see [`Root::is_mounted`].
    pub(super) fn is_mounted(&mut self, path: &RelPath) -> bool {
        self.root().is_ok_and(|root| root.is_mounted(path))
    }

    /// The remedy for a mount point that will not be mounted again.
    pub(super) fn when_gone_for_good(&self) -> String {
        format!("if it is gone for good, run syncsup release {}", self.watch.display())
    }

    pub(super) fn mark_tree(&mut self, path: RelPath) {
        self.mark_moved_tree(path, None);
    }

    pub(super) fn mark_moved_tree(&mut self, path: RelPath, origin: Option<RelPath>) {
        let events = Events::MOVE | Events::DIR | Events::SCAN;
        self.changes.mark_moved(path, Scope::Tree, events, origin);
    }
}
