//! Brings the map in line with the file system: enters names that events request, verifies moves, and retries what does
//! not match.

use super::*;

impl Walker {
    /// Carries out an action on directories. Returns an action that the caller must carry out.
    pub fn act(&mut self, act: Act, context: &mut ScanContext<'_>) -> Option<Act> {
        match act {
            Act::Enter { parent, name, why } => self.enter(context, parent, name, why),
            Act::Attach { parent, name, moved } => self.attach(context, parent, name, moved),
            Act::Unwatch(wds) => context.unwatch(&wds),
            Act::Unmounted(path) => self.unmount(context, path),
            Act::Overflow | Act::CheckRoot | Act::RootLost => return Some(act),
        }
        None
    }

    pub(super) fn enter(
        &mut self,
        context: &mut ScanContext<'_>,
        parent: i32,
        name: OsString,
        why: Why,
    ) {
        if !context.map.tree.contains(parent) {
            return;
        }
        if why == Why::Left
            && let Some(dir) = context.map.tree.path(parent)
        {
            self.mounts_left(&dir.join(&name), context);
        }
        let path = context.map.tree.path(parent).map(|dir| dir.join(&name));
        if path.is_some_and(|path| self.avoids(&path)) {
            return;
        }
        match context.watch_child(parent, &name) {
            Ok((dev, wd)) => {
                let fresh = self.place(context, parent, &name, wd, why);
                let again = matches!(why, Why::Again | Why::Left);
                let read = matches!(fresh, Fresh::New) || (matches!(fresh, Fresh::Known) && again);
                if read {
                    self.walk_entered(context, wd, Some(dev), why);
                }
                if again && let Some(path) = context.map.tree.path(wd) {
                    context.mark_tree(path);
                }
            }
            Err(Trouble::Gone) => {
                if why == Why::Again
                    && let Some(dir) = context.map.tree.path(parent)
                {
                    context.mark_tree(dir.join(&name));
                }
            }
            Err(Trouble::Stale) => {
                let why = if why == Why::Moved { Why::Again } else { why };
                self.later(Todo::Enter { parent, name, why });
            }
            Err(Trouble::Refused(error)) => {
                let Some(dir) = context.map.tree.path(parent) else { return };
                let path = dir.join(&name);
                self.refused(context, &path, &error);
                if matches!(why, Why::Again | Why::Left) {
                    // A scan of unwatched directories may have missed it.
                    context.mark_tree(path.clone());
                }
                let at = DirRef::Unwatched(path);
                let mode = if why == Why::Created { Mode::All } else { Mode::Quiet };
                let item = Item { at, mode, parent_dev: None, parent_changed: true };
                self.jobs.push(Job::new(Purpose::New, vec![item]));
            }
        }
    }

    pub(super) fn walk_entered(
        &mut self,
        context: &ScanContext<'_>,
        wd: i32,
        parent_dev: Option<u64>,
        why: Why,
    ) {
        let (purpose, mode) = match why {
            Why::Created => (Purpose::New, Mode::All),
            Why::Moved if !context.map.marks_moves() => (Purpose::Tree, Mode::Quiet),
            Why::Moved | Why::Again | Why::Left => (Purpose::Tree, Mode::Whole),
        };
        let at = DirRef::Watched(wd);
        let item = Item { at, mode, parent_dev, parent_changed: true };
        self.jobs.push(Job::new(purpose, vec![item]));
    }

    /// The queue reports that a watched directory was moved to this name. So add_watch on the name must return its
    /// watch.
    pub(super) fn attach(
        &mut self,
        context: &mut ScanContext<'_>,
        parent: i32,
        name: OsString,
        moved: Detached,
    ) {
        let Some(wd) = moved.wd else { return };
        let to = context.map.tree.path(parent).map(|dir| dir.join(&name));
        if let Some(to) = &to {
            self.mounts_moved(&moved.from, to, true, context);
        }
        let (old_parent, old_name) = (moved.old_parent, moved.from.name().to_owned());
        match context.watch_child(parent, &name) {
            Ok((dev, got)) if got == wd => {
                self.attach_at(context, parent, &name, wd);
                if moved.dirty {
                    self.walk_entered(context, wd, Some(dev), Why::Moved);
                }
            }
            // Either it was moved on or removed, and the queue will report that. Or another directory arrived at this
            // name and left again, and this one is where the map had it.
            Err(trouble @ (Trouble::Gone | Trouble::Stale)) => {
                if let Some(to) = &to {
                    self.mounts_moved(&moved.from, to, false, context);
                }
                self.attach_at(context, parent, &name, wd);
                if moved.dirty {
                    self.walk_entered(context, wd, None, Why::Moved);
                }
                if matches!(trouble, Trouble::Stale) {
                    self.later(Todo::Enter { parent, name, why: Why::Again });
                }
                self.enter(context, old_parent, old_name, Why::Left);
            }
            Ok(_) | Err(Trouble::Refused(_)) => {
                debug!(context.log, "a move that is out of date"; "from" => %moved.from);
                let gone = context.map.tree.remove(wd);
                context.unwatch(&gone);
                self.enter(context, parent, name, Why::Again);
                self.enter(context, old_parent, old_name, Why::Again);
            }
        }
    }

    pub(super) fn attach_at(
        &mut self,
        context: &mut ScanContext<'_>,
        parent: i32,
        name: &OsStr,
        wd: i32,
    ) {
        match context.map.tree.place(parent, name, wd) {
            Placed::New { dropped } | Placed::Moved { dropped, .. } => context.unwatch(&dropped),
            Placed::Same => {}
            Placed::Nowhere => {
                let gone = context.map.tree.remove(wd);
                context.unwatch(&gone);
                self.later(Todo::Enter { parent, name: name.to_owned(), why: Why::Again });
            }
        }
    }

    /// Adds a new watch to the map.
    pub(super) fn place(
        &mut self,
        context: &mut ScanContext<'_>,
        parent: i32,
        name: &OsStr,
        wd: i32,
        why: Why,
    ) -> Fresh {
        match context.map.tree.place(parent, name, wd) {
            Placed::Same => Fresh::Known,
            Placed::New { dropped } => {
                context.unwatch(&dropped);
                Fresh::New
            }
            Placed::Moved { from, dropped } => {
                context.unwatch(&dropped);
                let origin = context.map.found_detached(wd);
                if let Some(path) = context.map.tree.path(wd) {
                    context.mark_moved_tree(path, origin);
                }
                if let Some(from) = from {
                    if let Some(to) = context.map.tree.path(wd) {
                        self.mounts_moved(&from, &to, true, context);
                    }
                    if let Some((parent, name)) = context.map.split(&from) {
                        let name = name.to_owned();
                        self.later(Todo::Enter { parent, name, why: Why::Again });
                    }
                    context.mark_tree(from);
                }
                self.walk_entered(context, wd, None, Why::Again);
                Fresh::Handled
            }
            Placed::Nowhere => {
                if !context.map.tree.contains(wd) {
                    context.queue.remove(wd);
                }
                let why = if why == Why::Moved { Why::Again } else { why };
                self.later(Todo::Enter { parent, name: name.to_owned(), why });
                Fresh::Handled
            }
        }
    }

    pub(super) fn later(&mut self, todo: Todo) {
        self.later.push(Later { since: clock::boot(), todo });
    }

    /// Postpones a directory that is not where the map has it. A search is repeated as a whole, because names that are
    /// found after its end would mark nothing.
    pub(super) fn read_later(&mut self, context: &ScanContext<'_>, item: Item, job: &mut Job) {
        if matches!(&item.at, DirRef::Watched(wd) if !context.map.tree.contains(*wd)) {
            return;
        }
        match job.purpose {
            Purpose::Links(_) => job.incomplete = true,
            _ => self.later(Todo::Read(item)),
        }
    }

    /// Opens a watched directory, so that names in it can be examined. Returns `None` if the map does not yet match the
    /// file system. The names are then examined when the map is up to date.
    pub fn open(&mut self, context: &mut ScanContext<'_>, wd: i32) -> Option<Root> {
        let opened = context.open_watched(wd);
        if matches!(opened, Err(Trouble::Stale)) && context.map.tree.contains(wd) {
            self.later(Todo::Names(wd));
        }
        opened.ok()
    }

    /// Retries what did not match. Call it when the queue is empty.
    pub fn try_later(&mut self, context: &mut ScanContext<'_>) {
        for Later { since, todo } in std::mem::take(&mut self.later) {
            let before = self.later.len();
            match todo {
                Todo::Enter { parent, name, why } => self.enter(context, parent, name, why),
                Todo::Read(item) => {
                    let DirRef::Watched(wd) = item.at else { continue };
                    match context.open_watched(wd) {
                        Ok(_) | Err(Trouble::Refused(_)) => {
                            self.jobs.push(Job::new(Purpose::Tree, vec![item]));
                        }
                        Err(_) if context.map.tree.contains(wd) => self.later(Todo::Read(item)),
                        Err(_) => {}
                    }
                }
                Todo::Names(wd) => {
                    if self.open(context, wd).is_some() {
                        let (at, mode) = (DirRef::Watched(wd), Mode::Quiet);
                        let item = Item { at, mode, parent_dev: None, parent_changed: false };
                        self.jobs.push(Job::new(Purpose::New, vec![item]));
                    }
                }
            }
            for again in &mut self.later[before..] {
                again.since = since;
            }
            self.lost |= self.later.len() > before && clock::boot() > since + LOST_AFTER;
        }
    }

    pub(super) fn refused(
        &mut self,
        context: &mut ScanContext<'_>,
        path: &RelPath,
        error: &io::Error,
    ) {
        self.out_of_watches |= error.kind() == io::ErrorKind::StorageFull;
        if self.refusal.is_none() {
            // This is logged once, not after every scan.
            if !std::mem::replace(&mut self.refusal_said, true) {
                warn!(context.log, "cannot watch a directory"; "directory" => %path, "error" => %error);
            }
            self.refusal = Some(format!("{path}: {error}"));
        }
        context.map.unwatched.insert(path.clone());
    }
}
