//! One directory of a walk: it is opened, marked and read.

use super::*;

impl Walker {
    /// Opens and marks a directory, and lists its names. Returns `None` if there is nothing to read.
    pub(super) fn begin(
        &mut self,
        context: &mut ScanContext<'_>,
        mut item: Item,
        job: &mut Job,
    ) -> Option<Reading> {
        if matches!(job.purpose, Purpose::Unwatched(_)) {
            self.try_to_watch(context, &mut item);
        }
        let path = match &item.at {
            DirRef::Watched(wd) => match context.map.tree.path(*wd) {
                Some(path) => path,
                None => {
                    self.read_later(context, item, job);
                    return None;
                }
            },
            DirRef::Unwatched(path) => path.clone(),
        };
        if self.avoids(&path) {
            return None;
        }
        let opened = match &item.at {
            DirRef::Watched(wd) => context.open_watched(*wd),
            DirRef::Unwatched(path) => context.open_path(path),
        };
        let dir = match opened {
            Ok(dir) => dir,
            Err(Trouble::Refused(error)) => {
                self.refused(context, &path, &error);
                return None;
            }
            Err(_) => {
                match item.at {
                    DirRef::Watched(_) => self.read_later(context, item, job),
                    DirRef::Unwatched(path) => drop(context.map.unwatched.remove(&path)),
                }
                return None;
            }
        };
        job.dirs += 1;
        if !self.is_there(context, &item, &path, &dir) {
            return None;
        }
        if let (Mode::Whole, DirRef::Watched(wd)) = (item.mode, &item.at) {
            let top_of = |top: &i32| context.map.tree.path(*top);
            if !job.tops.iter().filter_map(top_of).any(|top| path.is_within(&top)) {
                job.tops.push(*wd);
            }
        }
        let (mode, changed) = begin_marks(context, &item, path.clone(), &dir.stat);
        match dir.names() {
            Ok(names) => Some(Reading {
                at: item.at,
                mode,
                changed,
                dev: dir.stat.dev,
                names: names.into_iter(),
                dir: Some(dir),
            }),
            Err(error) => {
                self.refused(context, &path, &error);
                None
            }
        }
    }

    /// Tries to watch a directory that could not be watched before.
    pub(super) fn try_to_watch(&mut self, context: &mut ScanContext<'_>, item: &mut Item) {
        let DirRef::Unwatched(path) = &item.at else { return };
        let Some((parent, name)) = context.map.split(path) else { return };
        let name = name.to_owned();
        match context.watch_child(parent, &name) {
            Ok((_, wd)) => {
                context.map.unwatched.remove(path);
                self.place(context, parent, &name, wd, Why::Moved);
                item.at = DirRef::Watched(wd);
            }
            Err(Trouble::Refused(error)) => {
                let path = path.clone();
                self.refused(context, &path, &error);
            }
            Err(_) => {}
        }
    }

    /// Continues to read a directory. Returns false if the portion is used up.
    pub(super) fn read(
        &mut self,
        context: &mut ScanContext<'_>,
        reading: &mut Reading,
        job: &mut Job,
        entries: &mut usize,
    ) -> bool {
        let path = match &reading.at {
            DirRef::Watched(wd) => context.map.tree.path(*wd),
            DirRef::Unwatched(path) => Some(path.clone()),
        };
        if reading.dir.is_none() {
            reading.dir = match &reading.at {
                DirRef::Watched(wd) => context.open_watched(*wd).ok(),
                DirRef::Unwatched(path) => context.open_path(path).ok(),
            };
        }
        let (Some(path), Some(dir)) = (path, reading.dir.take()) else {
            // It is read from its start when it is found again. It may be between the halves of a move.
            let (at, mode) = (reading.at.clone(), reading.mode);
            let item = Item { at, mode, parent_dev: None, parent_changed: true };
            self.read_later(context, item, job);
            return true;
        };
        while *entries < PORTION {
            let Some(name) = reading.names.next() else { return true };
            *entries += 1;
            self.entry(context, reading, &dir, &path, name, job);
        }
        false
    }

    pub(super) fn entry(
        &mut self,
        context: &mut ScanContext<'_>,
        reading: &Reading,
        dir: &Root,
        dir_path: &RelPath,
        name: Name,
        job: &mut Job,
    ) {
        let Name { name, kind } = name;
        let at = dir_path.join(&name);
        if self.avoids(&at) {
            return;
        }
        // A file that vanishes meanwhile is ignored.
        let look = || lstat_at(dir.as_fd(), Path::new(&name)).ok();
        let mut stat = None;
        let kind = match kind {
            Some(kind) => kind,
            None => {
                stat = look();
                let Some(stat) = &stat else { return };
                stat.kind
            }
        };
        let path = at;
        if context.map.skips(&path, kind == Kind::Dir) {
            if let (Kind::Dir, DirRef::Watched(wd)) = (kind, &reading.at) {
                context.map.skipped_in(*wd);
            }
            return;
        }
        if kind == Kind::Dir {
            return self.subdirectory(context, reading, dir, path, &name, job);
        }
        let Some(stat) = stat.or_else(look) else { return };
        if let DirRef::Watched(wd) = reading.at
            && (stat.nlink > 1 || !context.map.links.is_empty())
        {
            // The write may have used a name in this tree that was not watched yet.
            let written = context.map.links.was_written(&stat);
            if context.map.links.saw(wd, &name, &stat) {
                context.changes.mark(path.clone(), Scope::Entry, Events::WRITE | Events::SCAN);
                // It may still be open under a name that is gone.
                self.maybe_open(context, reading, &name, &stat);
            }
            if written {
                context.map.mark_links(&stat, Events::WRITE | Events::SCAN, context.changes);
            }
        }
        match reading.mode {
            Mode::Since(since) => {
                let events = events_of(&stat, self.unproven_since_ns);
                let unproven = events.contains(Events::CONTENT).then_some(Scope::Entry);
                if let Some(scope) = scope_to_mark(&stat, reading.changed, since).or(unproven) {
                    context.changes.mark(path, scope, events);
                    self.maybe_open(context, reading, &name, &stat);
                }
            }
            Mode::Moved(since) => {
                let events = events_of(&stat, self.unproven_since_ns);
                let unproven = events.contains(Events::CONTENT) || needs_content(&stat);
                if unproven || scope_to_mark(&stat, reading.changed, since).is_some() {
                    context.changes.mark(path, Scope::Entry, events);
                }
            }
            Mode::All => {
                context.changes.mark(path, Scope::Entry, Events::CREATE | Events::WRITE);
                // This is not needed for every file of a new directory: files with one name cause events.
                if stat.nlink > 1 {
                    self.maybe_open(context, reading, &name, &stat);
                }
            }
            Mode::Quiet | Mode::Whole => {}
        }
    }

    /// The file changed, so a process may be writing to it, even by a name that is gone.
    fn maybe_open(
        &self,
        context: &mut ScanContext<'_>,
        reading: &Reading,
        name: &OsStr,
        stat: &Stat,
    ) {
        if let DirRef::Watched(wd) = reading.at {
            context.map.found(wd, name, stat, clock::boot());
        }
    }

    pub(super) fn subdirectory(
        &mut self,
        context: &mut ScanContext<'_>,
        reading: &Reading,
        dir: &Root,
        path: RelPath,
        name: &OsStr,
        job: &mut Job,
    ) {
        let (mode, parent_dev) = (reading.mode, Some(reading.dev));
        let item = |at| Item { at, mode, parent_dev, parent_changed: reading.changed };
        let DirRef::Watched(parent) = reading.at else {
            return job.stack.push(item(DirRef::Unwatched(path)));
        };
        let wd = match context.watch_in(dir, parent, name) {
            Ok(wd) => wd,
            Err(Trouble::Refused(error)) => {
                self.refused(context, &path, &error);
                return job.stack.push(item(DirRef::Unwatched(path)));
            }
            Err(_) => return,
        };
        // A scan of everything, and the walk of a new directory, skip a directory that an event added meanwhile.
        let again = matches!(job.purpose, Purpose::Tree | Purpose::Links(_));
        let searches = matches!(job.purpose, Purpose::Links(_));
        match self.place(context, parent, name, wd, Why::Moved) {
            // If its own event arrives later, the directory is already known.
            Fresh::New if searches => self.walk_entered(context, wd, parent_dev, Why::Again),
            Fresh::New => job.stack.push(item(DirRef::Watched(wd))),
            Fresh::Known if again => job.stack.push(item(DirRef::Watched(wd))),
            Fresh::Known | Fresh::Handled => {}
        }
    }
}

/// Marks the directory itself. Returns the mode for its contents, and whether it changed.
fn begin_marks(
    context: &mut ScanContext<'_>,
    item: &Item,
    path: RelPath,
    stat: &Stat,
) -> (Mode, bool) {
    match item.mode {
        Mode::Since(since) | Mode::Moved(since) => {
            match scope_to_mark(stat, item.parent_changed, since) {
                Some(scope) => {
                    context.changes.mark(path, scope, Events::SCAN | Events::DIR);
                    // Below a tree only changes from now on matter.
                    let tree = scope == Scope::Tree;
                    (if tree { Mode::Moved(clock::file_ns()) } else { item.mode }, true)
                }
                None => (item.mode, false),
            }
        }
        Mode::All => {
            if context.map.marks_folders() {
                context.changes.mark(path, Scope::Children, Events::CREATE | Events::DIR);
            }
            (Mode::All, true)
        }
        Mode::Quiet | Mode::Whole => (item.mode, false),
    }
}
