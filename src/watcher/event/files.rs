//! Files: which of their events cause marks, which files are open, and what happens when time passes.

use super::open_file::{Open, State};
use super::*;

impl Map {
    pub(super) fn step_file(
        &mut self,
        notice: &Notice,
        path: RelPath,
        arrived: Option<Arrived>,
        now: Duration,
        changes: &mut ChangeSet,
    ) {
        let t = self.toggles;
        let skipped = self.filter.skips_event(&path, false);
        let entry = |changes: &mut ChangeSet, wanted: bool, path: &RelPath, events: Events| {
            if wanted && !skipped {
                changes.mark(path.clone(), Scope::Entry, events);
            }
        };
        match notice.what {
            What::Create => {
                entry(changes, t.create_file, &path, Events::CREATE);
                if t.close_write && !skipped {
                    self.open(path.clone(), Open::new(now, State::Created), changes);
                }
                self.look(notice, path, Events::CREATE, changes);
            }
            What::Modify => {
                entry(changes, t.modify, &path, Events::WRITE);
                if !t.modify && t.close_write && !skipped {
                    self.written(notice, path, now, changes);
                }
            }
            What::CloseWrite => {
                entry(changes, t.close_write, &path, Events::WRITE);
                self.closed(&path, now, changes);
                self.look_at_links(notice, path, Events::WRITE, t.close_write, changes);
            }
            What::Attrib => {
                entry(changes, t.attrib, &path, Events::ATTRIB);
                self.look_at_links(notice, path, Events::ATTRIB, t.attrib, changes);
            }
            What::Delete => {
                entry(changes, t.delete, &path, Events::DELETE);
                let open = self.close(&path, changes);
                self.name_gone(notice, open, now, changes);
            }
            What::MovedFrom => {
                entry(changes, t.move_from, &path, Events::MOVE | Events::DELETE);
                let mut linked = None;
                if !self.links.is_empty() {
                    // In an exchange the queue reports first what arrives, and the entry for that file stays.
                    linked = self.links.forget(notice.wd, &notice.name);
                    self.look(notice, path.clone(), Events::empty(), changes);
                }
                let open = match arrived.filter(|arrived| arrived.at == path) {
                    Some(arrived) => arrived.displaced.or(self.open.get(&path).copied()),
                    None => self.close(&path, changes),
                };
                let (cookie, since) = (notice.cookie, now);
                self.moved_file = Some(MovedFile { cookie, since, from: path, open, linked });
            }
            What::MovedTo => self.moved_to(notice, path, t.move_to && !skipped, now, changes),
            _ => {}
        }
    }

    /// The file was written. The map waits for its close.
    fn written(&mut self, notice: &Notice, path: RelPath, now: Duration, changes: &mut ChangeSet) {
        // Times that a program set are visible immediately.
        if !self.open.contains_key(&path) {
            self.look(notice, path.clone(), Events::empty(), changes);
        }
        self.open(path, Open::new(now, State::Written), changes);
    }

    fn moved_to(
        &mut self,
        notice: &Notice,
        path: RelPath,
        marks: bool,
        now: Duration,
        changes: &mut ChangeSet,
    ) {
        let moved = self.moved_file.take().filter(|m| m.cookie == notice.cookie);
        let displaced = self.close(&path, changes);
        self.name_gone(notice, displaced, now, changes);
        self.arrived = Some(Arrived { at: path.clone(), displaced });
        if let Some(open) = moved.as_ref().and_then(|m| m.open) {
            self.open(path.clone(), open, changes);
        }
        if marks {
            let origin = moved.map(|m| m.from);
            changes.mark_moved(path.clone(), Scope::Entry, Events::MOVE, origin);
        }
        self.look(notice, path, Events::MOVE, changes);
    }

    /// An event ends the wait for the other half of a move, unless the event is that half.
    pub(super) fn end_move(&mut self, notice: &Notice, now: Duration, changes: &mut ChangeSet) {
        let half = |m: &MovedFile| notice.what == What::MovedTo && m.cookie == notice.cookie;
        if self.moved_file.as_ref().is_some_and(|moved| !half(moved)) {
            self.moved_away(now, changes);
        }
    }

    /// The moved file has left the tree. A later write to it, under whatever name, changes its other names in the tree.
    pub(super) fn moved_away(&mut self, now: Duration, changes: &mut ChangeSet) {
        if let Some(moved) = self.moved_file.take()
            && let Some(linked) = moved.linked
        {
            self.unnamed(linked, moved.open, now, changes);
        }
    }

    /// The name of this event is gone, or now belongs to another file. Descriptors that were opened under it no longer
    /// cause events, and the file may have other names.
    pub(super) fn name_gone(
        &mut self,
        notice: &Notice,
        open: Option<Open>,
        now: Duration,
        changes: &mut ChangeSet,
    ) {
        if let Some(linked) = self.links.forget(notice.wd, &notice.name) {
            self.unnamed(linked, open, now, changes);
        }
    }

    /// This file lost a name, at which `open` was open. What was written and not yet closed must be marked under the
    /// other names.
    fn unnamed(
        &mut self,
        (inode, content): (Inode, Content),
        open: Option<Open>,
        now: Duration,
        changes: &mut ChangeSet,
    ) {
        if !self.marks_content() {
            return;
        }
        let Some(open) = open.filter(|open| open.is_written()) else {
            return self.links.add_maybe_open(inode, None, Marked::Until(content), now);
        };
        let names = self.links.paths_of(inode, &self.tree);
        match names.into_iter().find(|name| !self.filter.skips_event(name, false)) {
            Some(name) => self.open(name, open.unnamed(now), changes),
            None => self.links.add_maybe_open(inode, None, Marked::Behind, now),
        }
    }

    /// True if a change of content causes a mark.
    pub(super) fn marks_content(&self) -> bool {
        self.toggles.close_write || self.toggles.modify
    }

    /// A walk found this file, which may be open under a name that is gone. Its current content is marked.
    pub fn found(&mut self, dir: i32, name: &OsStr, stat: &Stat, now: Duration) {
        if stat.kind == Kind::File && self.marks_content() {
            let name = (dir, name.to_owned());
            let inode = (stat.dev, stat.ino);
            self.links.add_maybe_open(inode, Some(name), Marked::all_of(stat), now);
        }
    }

    /// A change under one name changes the file under all. The known names are marked immediately, because this one may
    /// be gone when it is examined.
    fn look_at_links(
        &mut self,
        notice: &Notice,
        path: RelPath,
        events: Events,
        marks: bool,
        changes: &mut ChangeSet,
    ) {
        if self.links.is_empty() {
            return;
        }
        if marks {
            for name in self.links.paths_like(notice.wd, &notice.name, &self.tree) {
                changes.mark(name, Scope::Entry, events);
            }
        }
        self.look(notice, path, events, changes);
    }

    pub(super) fn look(
        &self,
        notice: &Notice,
        path: RelPath,
        events: Events,
        changes: &mut ChangeSet,
    ) {
        changes.look(path, StatRequest { dir: notice.wd, name: notice.name.clone(), events });
    }

    /// Handles the result of lstat for a file that events requested to examine; `None` if it is gone.
    pub fn looked(
        &mut self,
        path: RelPath,
        look: &StatRequest,
        stat: Option<&Stat>,
        now: Duration,
        changes: &mut ChangeSet,
    ) {
        let Some(stat) = stat.filter(|s| s.kind != Kind::Dir) else { return };
        // A fifo may have several names too, and all share its mode.
        let many = stat.nlink > 1;
        // No close event will follow.
        if look.events.contains(Events::CREATE) && (stat.kind != Kind::File || many) {
            self.close(&path, changes);
            if !self.filter.skips_event(&path, false) {
                changes.mark(path.clone(), Scope::Entry, Events::CREATE);
            }
        }
        if (many || !self.links.is_empty()) && self.links.saw(look.dir, &look.name, stat) {
            changes.mark(path.clone(), Scope::Entry, Events::WRITE);
            // It may still be open under one of those names.
            self.found(look.dir, &look.name, stat, now);
        }
        // The file may be open under a name that causes no events in this tree, or will soon cause none.
        if many && look.events.intersects(Events::CREATE | Events::MOVE) {
            self.found(look.dir, &look.name, stat, now);
        }
        if stat.kind == Kind::File {
            self.mark_if_times_were_set(&path, stat, changes);
        }
        let of_content = look.events & (Events::WRITE | Events::ATTRIB);
        let wanted = [
            (Events::WRITE, self.toggles.close_write || self.toggles.modify),
            (Events::ATTRIB, self.toggles.attrib),
        ];
        if many && wanted.iter().any(|(bit, on)| *on && of_content.contains(*bit)) {
            self.mark_links(stat, of_content, changes);
        }
    }

    /// Marks every known name of a file.
    pub fn mark_links(&mut self, stat: &Stat, events: Events, changes: &mut ChangeSet) {
        for name in self.links.paths(stat, &self.tree) {
            changes.mark(name, Scope::Entry, events);
        }
    }

    /// The time since boot at which [`Map::expire`] next has something to do.
    pub fn next_expiry(&self) -> Option<Duration> {
        let dirs = self.detached.iter().map(|d| d.since);
        let left = dirs.chain(self.moved_file.iter().map(|m| m.since)).min();
        let due = self.due.first().map(|(due, _)| *due);
        let send = self.sends.first().map(|(at, _)| *at);
        left.map(|since| since + PAIR_WITHIN).into_iter().chain(due).chain(send).min()
    }

    /// Handles the passing of time, once the queue is empty: moved directories that did not arrive have left the tree;
    /// new files that no process touched are marked.
    pub fn expire(&mut self, now: Duration, changes: &mut ChangeSet, acts: &mut Vec<Act>) {
        for moved in
            self.detached.extract_if(.., |d| now >= d.since + PAIR_WITHIN).collect::<Vec<_>>()
        {
            self.left(&moved, acts);
        }
        if self.moved_file.as_ref().is_some_and(|m| now >= m.since + PAIR_WITHIN) {
            self.moved_away(now, changes);
        }
        self.expire_open(now);
    }
}
