//! One directory of a walk: opened, judged, read.

use super::*;

impl Walker {
    /// Opens and judges a directory and lists its names; `None` when there is nothing to read.
    pub(super) fn begin(
        &mut self,
        ground: &mut Ground<'_>,
        mut item: Item,
        job: &mut Job,
    ) -> Option<Reading> {
        if matches!(job.purpose, Purpose::Unwatched(_)) {
            self.try_to_watch(ground, &mut item);
        }
        let path = match &item.place {
            Place::Watched(wd) => match ground.map.tree.path(*wd) {
                Some(path) => path,
                None => {
                    self.read_later(ground, item, job);
                    return None;
                }
            },
            Place::Unwatched(path) => path.clone(),
        };
        if self.avoids(&path) {
            return None;
        }
        let opened = match &item.place {
            Place::Watched(wd) => ground.open_watched(*wd),
            Place::Unwatched(path) => ground.open_path(path),
        };
        let dir = match opened {
            Ok(dir) => dir,
            Err(Trouble::Refused(error)) => {
                self.refused(ground, &path, &error);
                return None;
            }
            Err(_) => {
                match item.place {
                    Place::Watched(_) => self.read_later(ground, item, job),
                    Place::Unwatched(path) => drop(ground.map.unwatched.remove(&path)),
                }
                return None;
            }
        };
        job.dirs += 1;
        if !self.is_there(ground, &item, &path, &dir) {
            return None;
        }
        if let (Mode::Whole, Place::Watched(wd)) = (item.mode, &item.place) {
            let top_of = |top: &i32| ground.map.tree.path(*top);
            if !job.tops.iter().filter_map(top_of).any(|top| path.is_within(&top)) {
                job.tops.push(*wd);
            }
        }
        let (mode, changed) = begin_marks(ground, &item, path.clone(), &dir.seen);
        match dir.names() {
            Ok(names) => Some(Reading {
                place: item.place,
                mode,
                changed,
                dev: dir.seen.dev,
                names: names.into_iter(),
                dir: Some(dir),
            }),
            Err(error) => {
                self.refused(ground, &path, &error);
                None
            }
        }
    }

    /// Something that could not be watched before.
    pub(super) fn try_to_watch(&mut self, ground: &mut Ground<'_>, item: &mut Item) {
        let Place::Unwatched(path) = &item.place else { return };
        let Some((parent, name)) = ground.map.split(path) else { return };
        let name = name.to_owned();
        match ground.watch_child(parent, &name) {
            Ok((_, wd)) => {
                ground.map.unwatched.remove(path);
                self.place(ground, parent, &name, wd, Why::Moved);
                item.place = Place::Watched(wd);
            }
            Err(Trouble::Refused(error)) => {
                let path = path.clone();
                self.refused(ground, &path, &error);
            }
            Err(_) => {}
        }
    }

    /// Reads on; false when the portion is used up.
    pub(super) fn read(
        &mut self,
        ground: &mut Ground<'_>,
        reading: &mut Reading,
        job: &mut Job,
        entries: &mut usize,
    ) -> bool {
        let path = match &reading.place {
            Place::Watched(wd) => ground.map.tree.path(*wd),
            Place::Unwatched(path) => Some(path.clone()),
        };
        if reading.dir.is_none() {
            reading.dir = match &reading.place {
                Place::Watched(wd) => ground.open_watched(*wd).ok(),
                Place::Unwatched(path) => ground.open_path(path).ok(),
            };
        }
        let (Some(path), Some(dir)) = (path, reading.dir.take()) else {
            // Read from its start when it is found again: it may be between the halves of a move.
            let (place, mode) = (reading.place.clone(), reading.mode);
            let item = Item { place, mode, parent_dev: None, parent_changed: true };
            self.read_later(ground, item, job);
            return true;
        };
        while *entries < PORTION {
            let Some(name) = reading.names.next() else { return true };
            *entries += 1;
            self.entry(ground, reading, &dir, &path, name, job);
        }
        false
    }

    pub(super) fn entry(
        &mut self,
        ground: &mut Ground<'_>,
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
        // A file that vanishes meanwhile is nothing.
        let look = || lstat_at(dir.as_fd(), Path::new(&name)).ok();
        let mut seen = None;
        let kind = match kind {
            Some(kind) => kind,
            None => {
                seen = look();
                let Some(seen) = &seen else { return };
                seen.kind
            }
        };
        let path = at;
        if ground.map.skips(&path, kind == Kind::Dir) {
            if let (Kind::Dir, Place::Watched(wd)) = (kind, &reading.place) {
                ground.map.skipped_in(*wd);
            }
            return;
        }
        if kind == Kind::Dir {
            return self.subdirectory(ground, reading, dir, path, &name, job);
        }
        let Some(seen) = seen.or_else(look) else { return };
        if let Place::Watched(wd) = reading.place
            && (seen.nlink > 1 || !ground.map.links.is_empty())
        {
            // Through a name here that nobody watched yet, maybe.
            let written = ground.map.links.was_written(&seen);
            if ground.map.links.saw(wd, &name, &seen) {
                ground.batch.mark(path.clone(), Scope::Entry, Events::WRITE | Events::SCAN);
            }
            if written {
                ground.map.mark_links(&seen, Events::WRITE | Events::SCAN, ground.batch);
            }
        }
        match reading.mode {
            Mode::Since(since) => {
                if let Some(scope) = judge(&seen, reading.changed, since) {
                    ground.batch.mark(path, scope, Events::WRITE | Events::SCAN);
                    self.doubt(ground, reading, &name, &seen);
                }
            }
            Mode::Moved(since) => {
                if judge(&seen, reading.changed, since).is_some() || needs_content(&seen) {
                    ground.batch.mark(path, Scope::Entry, Events::WRITE | Events::SCAN);
                }
            }
            Mode::All => {
                ground.batch.mark(path, Scope::Entry, Events::CREATE | Events::WRITE);
                // Not every file of a new directory: events will tell of those with one name.
                if seen.nlink > 1 {
                    self.doubt(ground, reading, &name, &seen);
                }
            }
            Mode::Quiet | Mode::Whole => {}
        }
    }

    /// It changed, so a process may be writing to it, and by a name that is gone.
    fn doubt(&self, ground: &mut Ground<'_>, reading: &Reading, name: &OsStr, seen: &Seen) {
        if let Place::Watched(wd) = reading.place {
            ground.map.found(wd, name, seen, clock::boot());
        }
    }

    pub(super) fn subdirectory(
        &mut self,
        ground: &mut Ground<'_>,
        reading: &Reading,
        dir: &Root,
        path: RelPath,
        name: &OsStr,
        job: &mut Job,
    ) {
        let (mode, parent_dev) = (reading.mode, Some(reading.dev));
        let item = |place| Item { place, mode, parent_dev, parent_changed: reading.changed };
        let Place::Watched(parent) = reading.place else {
            return job.stack.push(item(Place::Unwatched(path)));
        };
        let wd = match ground.watch_in(dir, parent, name) {
            Ok(wd) => wd,
            Err(Trouble::Refused(error)) => {
                self.refused(ground, &path, &error);
                return job.stack.push(item(Place::Unwatched(path)));
            }
            Err(_) => return,
        };
        // A whole scan and the walk of a new directory leave alone what an event brought in meanwhile.
        let again = matches!(job.purpose, Purpose::Tree | Purpose::Links(_));
        let searches = matches!(job.purpose, Purpose::Links(_));
        match self.place(ground, parent, name, wd, Why::Moved) {
            // Its own event, when that comes, finds it known.
            Fresh::New if searches => self.walk_entered(ground, wd, parent_dev, Why::Again),
            Fresh::New => job.stack.push(item(Place::Watched(wd))),
            Fresh::Known if again => job.stack.push(item(Place::Watched(wd))),
            Fresh::Known | Fresh::Handled => {}
        }
    }
}

/// Marks the directory itself; tells how what is in it is looked at, and whether it changed.
fn begin_marks(ground: &mut Ground<'_>, item: &Item, path: RelPath, seen: &Seen) -> (Mode, bool) {
    match item.mode {
        Mode::Since(since) | Mode::Moved(since) => {
            match judge(seen, item.parent_changed, since) {
                Some(scope) => {
                    ground.batch.mark(path, scope, Events::SCAN | Events::DIR);
                    // Below a tree only what changes from now on is news.
                    let tree = scope == Scope::Tree;
                    (if tree { Mode::Moved(clock::file_ns()) } else { item.mode }, true)
                }
                None => (item.mode, false),
            }
        }
        Mode::All => {
            if ground.map.marks_folders() {
                ground.batch.mark(path, Scope::Children, Events::CREATE | Events::DIR);
            }
            (Mode::All, true)
        }
        Mode::Quiet | Mode::Whole => (item.mode, false),
    }
}
