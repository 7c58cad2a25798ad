//! Brings the map and the file system together: names that events ask to be entered, moves that are made sure of, and what
//! does not fit tried again.

use super::*;

impl Walker {
    /// Carries out what concerns directories; what is left is for the caller.
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
                    // A scan of what is not watched may have passed it by.
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

    /// A watched directory was moved to this name, says the queue; add_watch on the name must give its watch.
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
            // It was moved on or removed, and the queue will tell; or it is another that came here and left, and this one
            // stands where the map had it.
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

    /// Puts a watch that was just added into the map.
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
                context.map.found_detached(wd);
                if let Some(path) = context.map.tree.path(wd) {
                    context.mark_tree(path);
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

    /// A directory of the map that does not stand where the map has it now. A search is repeated as a whole: names that
    /// are found after its end would mark nothing.
    pub(super) fn read_later(&mut self, context: &ScanContext<'_>, item: Item, job: &mut Job) {
        if matches!(&item.at, DirRef::Watched(wd) if !context.map.tree.contains(*wd)) {
            return;
        }
        match job.purpose {
            Purpose::Links(_) => job.incomplete = true,
            _ => self.later(Todo::Read(item)),
        }
    }

    /// Opens a watched directory, so that names in it can be looked at. `None` where the map is behind the file system:
    /// its names are looked at when the map is up to date.
    pub fn open(&mut self, context: &mut ScanContext<'_>, wd: i32) -> Option<Root> {
        let opened = context.open_watched(wd);
        if matches!(opened, Err(Trouble::Stale)) && context.map.tree.contains(wd) {
            self.later(Todo::Names(wd));
        }
        opened.ok()
    }

    /// Tries again what did not fit; to be called when the queue is empty.
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
            // Said once, not after every scan.
            if !std::mem::replace(&mut self.refusal_said, true) {
                warn!(context.log, "cannot watch a directory"; "directory" => %path, "error" => %error);
            }
            self.refusal = Some(format!("{path}: {error}"));
        }
        context.map.unwatched.insert(path.clone());
    }
}
