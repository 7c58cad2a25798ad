//! Files: which of their events mark, which are open, what time alone brings.

use super::*;

impl Map {
    pub(super) fn step_file(
        &mut self,
        notice: &Notice,
        path: RelPath,
        now: Duration,
        batch: &mut Batch,
    ) {
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
                    self.open(path.clone(), Open::new(now, false), batch);
                }
                self.look(notice, path, Events::CREATE, batch);
            }
            What::Modify => {
                entry(batch, t.modify, &path, Events::WRITE);
                if !t.modify && t.close_write && !skipped {
                    self.written(notice, path, now, batch);
                }
            }
            What::CloseWrite => {
                entry(batch, t.close_write, &path, Events::WRITE);
                self.close(&path, batch);
                self.look_at_links(notice, path, Events::WRITE, t.close_write, batch);
            }
            What::Attrib => {
                entry(batch, t.attrib, &path, Events::ATTRIB);
                self.look_at_links(notice, path, Events::ATTRIB, t.attrib, batch);
            }
            What::Delete => {
                entry(batch, t.delete, &path, Events::DELETE);
                self.close(&path, batch);
                self.links.forget(notice.wd, &notice.name);
            }
            What::MovedFrom => {
                entry(batch, t.move_from, &path, Events::MOVE | Events::DELETE);
                let open = self.close(&path, batch);
                if !self.links.is_empty() {
                    // In an exchange what arrives is told of first, and that stays.
                    self.links.forget(notice.wd, &notice.name);
                    self.look(notice, path.clone(), Events(0), batch);
                }
                self.moved_file = Some(MovedFile { cookie: notice.cookie, from: path, open });
            }
            What::MovedTo => self.moved_to(notice, path, t.move_to && !skipped, batch),
            _ => {}
        }
    }

    /// Written, and the close is waited for.
    fn written(&mut self, notice: &Notice, path: RelPath, now: Duration, batch: &mut Batch) {
        // Times that were set show at once in a look.
        if !self.open.contains_key(&path) {
            self.look(notice, path.clone(), Events(0), batch);
        }
        self.open(path, Open::new(now, true), batch);
    }

    fn moved_to(&mut self, notice: &Notice, path: RelPath, marks: bool, batch: &mut Batch) {
        let moved = self.moved_file.take().filter(|m| m.cookie == notice.cookie);
        self.close(&path, batch);
        if let Some(open) = moved.as_ref().and_then(|m| m.open) {
            self.open(path.clone(), open, batch);
        }
        if marks {
            let origin = moved.map(|m| m.from);
            batch.mark_moved(path.clone(), Scope::Entry, Events::MOVE, origin);
        }
        self.look(notice, path, Events::MOVE, batch);
    }

    /// What changed under one name changed under all: those that are known are marked at once, for this one may be gone
    /// when it is looked at.
    fn look_at_links(
        &mut self,
        notice: &Notice,
        path: RelPath,
        events: Events,
        marks: bool,
        batch: &mut Batch,
    ) {
        if self.links.is_empty() {
            return;
        }
        if marks {
            for name in self.links.paths_like(notice.wd, &notice.name, &self.tree) {
                batch.mark(name, Scope::Entry, events);
            }
        }
        self.look(notice, path, events, batch);
    }

    pub(super) fn look(&self, notice: &Notice, path: RelPath, events: Events, batch: &mut Batch) {
        batch.look(path, Look { dir: notice.wd, name: notice.name.clone(), events });
    }

    /// Takes what lstat said of a file that events wanted looked at; `None` when it is gone.
    pub fn looked(&mut self, path: RelPath, look: &Look, seen: Option<&Seen>, batch: &mut Batch) {
        let Some(seen) = seen.filter(|s| s.kind != Kind::Dir) else { return };
        // A fifo may have several names too, and its mode is that of all.
        let many = seen.nlink > 1;
        // No close will follow.
        if look.events.has(Events::CREATE) && (seen.kind != Kind::File || many) {
            self.close(&path, batch);
            if !self.filter.skips_event(&path, false) {
                batch.mark(path.clone(), Scope::Entry, Events::CREATE);
            }
        }
        if (many || !self.links.is_empty()) && self.links.saw(look.dir, &look.name, seen) {
            batch.mark(path.clone(), Scope::Entry, Events::WRITE);
        }
        if seen.kind == Kind::File {
            self.mark_if_times_were_set(&path, seen, batch);
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

    /// When [`Map::expire`] has something to do next, in time since boot.
    pub fn next_expiry(&self) -> Option<Duration> {
        let left = self.detached.iter().map(|d| d.since + PAIR_WITHIN).min();
        let due = self.due.first().map(|(due, _)| *due);
        left.into_iter().chain(due).min()
    }

    /// What time alone brings, once the queue is empty: moved directories that did not arrive have left; new files
    /// that nobody touched are marked.
    pub fn expire(&mut self, now: Duration, batch: &mut Batch, acts: &mut Vec<Act>) {
        for moved in
            self.detached.extract_if(.., |d| now >= d.since + PAIR_WITHIN).collect::<Vec<_>>()
        {
            self.left(&moved, acts);
        }
        self.expire_open(now, batch);
    }
}
