//! Files that were written and not yet closed. Not every write is followed by a close event: `truncate` by path, and
//! `utimensat` of the modification time alone, cause IN_MODIFY and nothing after it. So the watcher examines a file
//! that has been quiet for a while, and marks it unless a process has it open for writing.

use super::open_file::{Looked, Open, State};
use super::*;
use crate::watcher::maybe_open::LOOK_AFTER;
use std::os::unix::ffi::OsStrExt;

/// While a process has a file open, the file is examined at growing intervals, at most this long.
pub const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Open files are counted after this time, because a file that is being copied is not worth reporting.
const SHOWN_AFTER: Duration = Duration::from_secs(3);
/// If a modification time differs by this much from the time of the change, a program set it, and it does not come from
/// a write.
const SET_NS: u64 = 2_000_000_000;

/// The maximum number of files that may be open and are examined in one turn.
const MAYBE_OPEN_MOST: usize = 5_000;

impl Map {
    pub(super) fn open(&mut self, path: RelPath, open: Open, changes: &mut ChangeSet) {
        self.note_open(path.clone(), open, changes);
        self.plan_send(path);
    }

    /// If a rule applies to a file that is written and not closed, plans when to mark it.
    fn plan_send(&mut self, path: RelPath) {
        let Some(open) = self.open.get_mut(&path).filter(|o| o.is_written() && o.send.is_none())
        else {
            return;
        };
        if let Some(after) = self.open_after.of(&path) {
            open.send = Some(open.since + after);
            self.sends.insert((open.since + after, path));
        }
    }

    fn note_open(&mut self, path: RelPath, open: Open, changes: &mut ChangeSet) {
        match self.open.get_mut(&path) {
            Some(known) => {
                if open.due < known.due {
                    self.due.insert((open.due, path));
                }
                (known.due, known.pause) = (open.due, open.pause);
                known.state = known.state.max(open.state);
                known.since = known.since.min(open.since);
            }
            None => {
                changes.open(path.clone());
                self.due.insert((open.due, path.clone()));
                // Another name may have another rule.
                self.open.insert(path, Open { send: None, ..open });
            }
        }
    }

    /// The open files that are to be marked now as they are. Each is passed to [`Map::send_open`].
    pub fn take_sends(&mut self, now: Duration) -> Vec<RelPath> {
        let mut paths = Vec::new();
        while self.sends.first().is_some_and(|(at, _)| *at <= now) {
            let Some((at, path)) = self.sends.pop_first() else { break };
            // If the file was closed, or closed and opened again, or moved, it has a time of its own.
            if self.open.get(&path).is_some_and(|open| open.send == Some(at)) {
                paths.push(path);
            }
        }
        paths
    }

    /// Marks an open file as it is if it changed since its last mark. Does so again after the same interval.
    pub fn send_open(
        &mut self,
        path: RelPath,
        stat: Option<&Stat>,
        now: Duration,
        changes: &mut ChangeSet,
    ) {
        let Some(after) = self.open_after.of(&path) else { return };
        let Some(open) = self.open.get_mut(&path) else { return };
        open.send = Some(now + after);
        self.sends.insert((now + after, path.clone()));
        let Some(stat) = stat.filter(|s| s.kind == Kind::File) else { return };
        if open.marked.replace(stat.ctime_ns) != Some(stat.ctime_ns) {
            if stat.nlink > 1 {
                self.mark_links(stat, Events::WRITE, changes);
            }
            changes.mark(path, Scope::Entry, Events::WRITE);
        }
    }

    /// The number of files that are written and not closed, and the one that has been open longest, with the time since
    /// which it has been open.
    pub fn open_files(&self, now: Duration) -> (u64, Option<(&RelPath, Duration)>) {
        let long = |open: &&Open| open.is_written() && now >= open.since + SHOWN_AFTER;
        let files = || self.open.iter().filter(|(_, open)| long(open));
        let oldest = files().map(|(path, open)| (path, open.since));
        (files().count() as u64, oldest.min_by_key(|(path, since)| (*since, *path)))
    }

    /// True while a file is open, as far as is known.
    #[cfg(test)]
    pub fn has_open_files(&self) -> bool {
        !self.open.is_empty()
    }

    /// A process closed the file. A descriptor whose own name is gone may still be open.
    pub(super) fn closed(&mut self, path: &RelPath, now: Duration, changes: &mut ChangeSet) {
        match self.open.get(path) {
            Some(open) if open.state == State::Unnamed => {
                self.open(path.clone(), Open::new(now, State::Unnamed), changes);
            }
            _ => drop(self.close(path, changes)),
        }
    }

    /// The file was open when a scan began, and still is. It was marked with this ctime.
    pub fn still_open(
        &mut self,
        path: RelPath,
        (ctime_ns, since): (i64, Duration),
        now: Duration,
        changes: &mut ChangeSet,
    ) {
        let marked = Some(ctime_ns);
        self.open(path, Open { marked, since, ..Open::new(now, State::Unnamed) }, changes);
    }

    pub(super) fn close(&mut self, path: &RelPath, changes: &mut ChangeSet) -> Option<Open> {
        let known = self.open.remove(path)?;
        changes.close(path.clone());
        Some(known)
    }

    /// Takes the open files below a directory that is gone, by their paths relative to it.
    pub(super) fn take_below(
        &mut self,
        gone: &RelPath,
        changes: &mut ChangeSet,
    ) -> Vec<(OsString, Open)> {
        let inside = |p: &&RelPath| p.is_within(gone) && *p != gone;
        let below: Vec<RelPath> = self.open.keys().filter(inside).cloned().collect();
        let taken = below.into_iter().filter_map(|path| {
            let open = self.close(&path, changes)?;
            Some((
                OsStr::from_bytes(&path.as_bytes()[gone.as_bytes().len() + 1..]).to_owned(),
                open,
            ))
        });
        taken.collect()
    }

    /// Marks a file immediately if its times show that no close will follow.
    pub(super) fn mark_if_times_were_set(
        &mut self,
        path: &RelPath,
        stat: &Stat,
        changes: &mut ChangeSet,
    ) {
        let Some(open) = self.open.get_mut(path).filter(|o| o.is_written()) else { return };
        if stat.mtime_ns.abs_diff(stat.ctime_ns) > SET_NS && open.marked != Some(stat.ctime_ns) {
            open.marked = Some(stat.ctime_ns);
            changes.mark(path.clone(), Scope::Entry, Events::WRITE);
            if stat.nlink > 1 {
                self.mark_links(stat, Events::WRITE, changes);
            }
        }
    }

    /// Files that have been quiet are queued to be examined.
    pub(super) fn expire_open(&mut self, now: Duration) {
        while self.due.first().is_some_and(|(due, _)| *due <= now) {
            let Some((_, path)) = self.due.pop_first() else { break };
            match self.open.get(&path) {
                None => {}
                Some(open) if open.due > now => {
                    self.due.insert((open.due, path));
                }
                Some(_) => self.quiet.push(path),
            }
        }
    }

    /// Marks the files at or below these paths that are open or may be open, as they are now. An empty list means all
    /// paths. Each is marked under every known name, because a write under one name changes the content under all. The
    /// files stay open.
    pub fn mark_open(&mut self, below: &[RelPath], changes: &mut ChangeSet) {
        let meant = |path: &RelPath| below.is_empty() || below.iter().any(|b| path.is_within(b));
        for path in self.open.keys().cloned().collect::<Vec<_>>() {
            let mut names = match self.split(&path) {
                Some((dir, name)) => self.links.paths_like(dir, name, &self.tree),
                None => Vec::new(),
            };
            names.push(path);
            for name in names.into_iter().filter(meant) {
                changes.mark(name, Scope::Entry, Events::WRITE);
            }
        }
        for (_, names) in self.links.all_maybe_open(&self.tree) {
            for name in names.into_iter().filter(meant) {
                changes.mark(name, Scope::Entry, Events::WRITE);
            }
        }
    }

    /// The time since boot at which files are to be examined next.
    pub fn next_look(&self) -> Option<Duration> {
        let quiet = (!self.quiet.is_empty()).then_some(Duration::ZERO);
        let maybe_open = self.links.maybe_open_since().map(|since| since + LOOK_AFTER);
        quiet.into_iter().chain(maybe_open).min()
    }

    /// The open files to examine. Each is passed to [`Map::looked_at_quiet`].
    pub fn take_quiet(&mut self) -> Vec<RelPath> {
        std::mem::take(&mut self.quiet)
    }

    /// The files to examine because they may be open, with their names. Each is passed to
    /// [`Map::looked_at_maybe_open`].
    pub fn due_maybe_open(&mut self, now: Duration) -> Vec<(Inode, Vec<RelPath>)> {
        self.links.due_maybe_open(now, MAYBE_OPEN_MOST, &self.tree)
    }

    /// Handles the result of examining a quiet file.
    pub fn looked_at_quiet(
        &mut self,
        path: RelPath,
        looked: Looked<'_>,
        now: Duration,
        changes: &mut ChangeSet,
    ) {
        let Some(open) = self.open.get_mut(&path) else { return };
        let created = open.state == State::Created;
        if now < open.due || looked.writer {
            if now >= open.due {
                open.pause = (open.pause * 2).min(LOOK_EVERY);
                open.due = now + open.pause;
                match looked.stat {
                    // No process has written to it, so it is complete, for example a lock.
                    Some(stat) if created && stat.size == 0 && open.marked.is_none() => {
                        open.marked = Some(stat.ctime_ns);
                        changes.mark(path.clone(), Scope::Entry, Events::CREATE);
                    }
                    // It was written without an event.
                    Some(stat) if created && stat.size > 0 => open.state = State::Unnamed,
                    _ => {}
                }
            }
            self.due.insert((open.due, path.clone()));
            self.plan_send(path);
            return;
        }
        let marked = open.marked;
        self.close(&path, changes);
        if marked.is_some() && marked == looked.stat.map(|s| s.ctime_ns) {
            return;
        }
        let events = if created { Events::CREATE } else { Events::WRITE };
        if let Some(stat) = looked.stat.filter(|s| s.kind == Kind::File && s.nlink > 1) {
            self.mark_links(stat, events, changes);
        }
        changes.mark(path, Scope::Entry, events);
    }

    /// Handles the result of examining a file that may be open, at one of its names. `None` if no name led to it.
    pub fn looked_at_maybe_open(
        &mut self,
        inode: Inode,
        at: Option<(RelPath, Looked<'_>)>,
        now: Duration,
        changes: &mut ChangeSet,
    ) {
        let Some(marked) = self.links.marked_of_maybe_open(inode) else { return };
        match at {
            Some((path, looked)) if looked.writer => {
                self.open(path, Open::new(now, State::Unnamed), changes);
            }
            Some((path, looked)) if !looked.stat.is_some_and(|stat| marked.covers(stat)) => {
                self.mark_maybe_open(inode, changes);
                changes.mark(path, Scope::Entry, Events::WRITE);
            }
            Some(_) | None => {}
        }
        self.links.forget_maybe_open(inode);
    }

    /// Marks every known name of a file that may be open.
    pub fn mark_maybe_open(&mut self, inode: Inode, changes: &mut ChangeSet) {
        for name in self.links.paths_of(inode, &self.tree) {
            changes.mark(name, Scope::Entry, Events::WRITE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::open_file::OpenAfter;
    use super::*;
    use crate::config::model::{FilterRules, OpenRule};
    use crate::stat::What;

    const S: Duration = Duration::from_secs(1);

    fn map() -> Map {
        let mut map = Map::new(Toggles::MODERN, Filter::new(&FilterRules::default()).unwrap());
        map.tree.start(1);
        map
    }

    fn tell(map: &mut Map, what: What, now: Duration) -> ChangeSet {
        let mut changes = ChangeSet::default();
        let name = "f".into();
        let notice = Notice { wd: 1, what, is_dir: false, cookie: 0, name };
        map.step(&notice, now, &mut changes, &mut Vec::new());
        changes
    }

    fn expire(map: &mut Map, now: Duration) -> ChangeSet {
        let mut changes = ChangeSet::default();
        map.expire(now, &mut changes, &mut Vec::new());
        changes
    }

    fn path() -> RelPath {
        RelPath::new("f").unwrap()
    }

    fn look(map: &mut Map, stat: Option<&Stat>, writer: bool, now: Duration) -> bool {
        assert_eq!(map.take_quiet(), [path()]);
        let mut changes = ChangeSet::default();
        map.looked_at_quiet(path(), Looked { stat, writer }, now, &mut changes);
        changes.has_marks()
    }

    fn stat(mtime_ns: i64, ctime_ns: i64) -> Stat {
        Stat {
            kind: Kind::File,
            size: 0,
            mtime_ns,
            ctime_ns,
            sparse: false,
            nlink: 1,
            dev: 1,
            ino: 1,
        }
    }

    #[test]
    fn a_file_modified_and_never_closed_is_marked() {
        let mut map = map();
        assert!(!tell(&mut map, What::Modify, 10 * S).has_marks());
        assert_eq!(map.next_expiry(), Some(12 * S));
        // It was written again, so it is not quiet.
        tell(&mut map, What::Modify, 11 * S);
        expire(&mut map, 12 * S);
        assert!(map.next_look().is_none());
        assert_eq!(map.next_expiry(), Some(13 * S));
        expire(&mut map, 13 * S);
        assert!(look(&mut map, None, false, 13 * S));
        assert_eq!(map.next_expiry(), None);
    }

    #[test]
    fn a_writer_is_checked_with_growing_delays() {
        let mut map = map();
        tell(&mut map, What::Modify, Duration::ZERO);
        let mut now = Duration::ZERO;
        for pause in [2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(map.next_expiry(), Some(now + pause * S));
            now += pause * S;
            expire(&mut map, now);
            assert!(!look(&mut map, None, true, now));
        }
        // It is written again, so the wait restarts.
        tell(&mut map, What::Modify, now + S);
        assert_eq!(map.next_expiry(), Some(now + 3 * S));
        expire(&mut map, now + 3 * S);
        // It is closed between the pass and its result.
        assert_eq!(map.take_quiet(), [path()]);
        assert!(tell(&mut map, What::CloseWrite, now + 3 * S).has_marks());
        let mut changes = ChangeSet::default();
        let looked = Looked { stat: None, writer: false };
        map.looked_at_quiet(path(), looked, now + 3 * S, &mut changes);
        assert!(changes.is_empty());
    }

    #[test]
    fn a_file_written_between_the_pass_and_its_result_stays_open() {
        let mut map = map();
        tell(&mut map, What::Modify, 10 * S);
        expire(&mut map, 12 * S);
        tell(&mut map, What::Modify, 12 * S);
        assert!(!look(&mut map, None, false, 12 * S));
        assert_eq!(map.next_expiry(), Some(14 * S));
    }

    #[test]
    fn set_times_are_marked_immediately_and_once() {
        let mut map = map();
        let set = stat(0, 100_000_000_000);
        let mut changes = tell(&mut map, What::Modify, 10 * S);
        let looks = changes.take_stat_requests();
        map.looked(path(), &looks[&path()], Some(&set), 10 * S, &mut changes);
        assert!(changes.has_marks());
        expire(&mut map, 12 * S);
        assert!(!look(&mut map, Some(&set), false, 12 * S));

        tell(&mut map, What::Modify, 20 * S);
        let mut changes = ChangeSet::default();
        map.looked(path(), &looks[&path()], Some(&stat(100, 200)), 10 * S, &mut changes);
        assert!(!changes.has_marks(), "times that come by writing wait for the close");
        map.looked(path(), &looks[&path()], Some(&set), 10 * S, &mut changes);
        expire(&mut map, 22 * S);
        let later = stat(0, 100_000_000_001);
        assert!(look(&mut map, Some(&later), false, 22 * S), "changed since it was marked");
    }

    #[test]
    fn set_times_mark_all_names_of_a_file() {
        let mut map = map();
        let set = Stat { nlink: 2, ..stat(0, 100_000_000_000) };
        map.links.saw(1, OsStr::new("other"), &set);
        let mut changes = tell(&mut map, What::Modify, 10 * S);
        let looks = changes.take_stat_requests();
        map.looked(path(), &looks[&path()], Some(&set), 10 * S, &mut changes);
        let record = changes.into_record(None);
        let marked: Vec<String> = record.marks.iter().map(|m| m.path.to_string()).collect();
        assert_eq!(marked, ["f", "other"]);
    }

    #[test]
    fn a_file_whose_other_name_went_unseen_may_be_open_under_it() {
        let mut map = map();
        map.links.saw(1, OsStr::new("f"), &Stat { nlink: 2, ..stat(0, 0) });
        let mut changes = tell(&mut map, What::Attrib, 10 * S);
        let looks = changes.take_stat_requests();
        map.looked(path(), &looks[&path()], Some(&stat(0, 0)), 10 * S, &mut changes);
        let searched = map.links.take_wanted();
        map.links.searched(&searched, &map.tree);
        let maybe_open = map.due_maybe_open(10 * S + LOOK_AFTER);
        assert_eq!(maybe_open, [((1, 1), vec![path()])]);
    }

    #[test]
    fn an_open_file_is_marked_under_every_name() {
        let mut map = map();
        let twice = Stat { nlink: 2, ..stat(0, 0) };
        for name in ["f", "other"] {
            map.links.saw(1, OsStr::new(name), &twice);
        }
        tell(&mut map, What::Modify, 10 * S);
        for (below, wanted) in [(&[][..], &["f", "other"][..]), (&["other"], &["other"])] {
            let below: Vec<RelPath> = below.iter().map(|b| RelPath::new(*b).unwrap()).collect();
            let mut changes = ChangeSet::default();
            map.mark_open(&below, &mut changes);
            let record = changes.into_record(None);
            let marked: BTreeSet<String> =
                record.marks.iter().map(|m| m.path.to_string()).collect();
            assert!(marked.iter().eq(wanted), "{marked:?}");
        }
    }

    fn event(map: &mut Map, what: What, cookie: u32, name: &str, changes: &mut ChangeSet) {
        let notice = Notice { wd: 1, what, is_dir: false, cookie, name: name.into() };
        map.step(&notice, 10 * S, changes, &mut Vec::new());
    }

    fn open_now(map: &Map) -> Vec<(String, State)> {
        let mut open: Vec<_> = map.open.iter().map(|(p, o)| (p.to_string(), o.state)).collect();
        open.sort();
        open
    }

    #[test]
    fn exchanged_open_files_stay_open() {
        for (names, wanted) in [
            (&["a", "b"][..], &["a", "b"][..]),
            (&["b"], &["a"]),
            // The file may also have been moved to the name and back. A look then closes the other one.
            (&["a"], &["a", "b"]),
        ] {
            let mut map = map();
            let mut changes = ChangeSet::default();
            names.iter().for_each(|name| event(&mut map, What::Modify, 0, name, &mut changes));
            for (what, cookie, name) in [
                (What::MovedFrom, 1, "a"),
                (What::MovedTo, 1, "b"),
                (What::MovedFrom, 2, "b"),
                (What::MovedTo, 2, "a"),
            ] {
                event(&mut map, what, cookie, name, &mut changes);
            }
            let open: Vec<String> = open_now(&map).into_iter().map(|(name, _)| name).collect();
            assert_eq!(open, wanted, "{names:?} were open");
        }
    }

    #[test]
    fn an_open_file_whose_name_goes_stays_open_under_another() {
        let twice = Stat { nlink: 2, ..stat(0, 0) };
        for (lost, gone) in [
            (&[(What::Delete, 0, "f")][..], "removed"),
            (&[(What::MovedFrom, 1, "c"), (What::MovedTo, 1, "f")], "written over"),
            (&[(What::MovedFrom, 1, "f"), (What::Delete, 0, "x")], "moved away"),
        ] {
            let mut map = map();
            for name in ["f", "g"] {
                map.links.saw(1, OsStr::new(name), &twice);
            }
            map.links.found(&map.tree);
            let mut changes = tell(&mut map, What::Modify, 10 * S);
            for (what, cookie, name) in lost {
                event(&mut map, *what, *cookie, name, &mut changes);
            }
            assert_eq!(open_now(&map), [("g".to_owned(), State::Unnamed)], "{gone}");
            // A close of another descriptor proves nothing about this one.
            event(&mut map, What::CloseWrite, 0, "g", &mut changes);
            assert_eq!(open_now(&map).len(), 1);
        }
    }

    #[test]
    fn a_possibly_open_file_is_marked_or_kept_open_or_ignored() {
        let twice = Stat { nlink: 2, ..stat(5, 5) };
        let g = || RelPath::new("g").unwrap();
        for (stat, writer, marked, open) in [
            (twice, false, 0, 0),
            (Stat { size: 1, ..twice }, false, 1, 0),
            (Stat { mtime_ns: 6, nlink: 1, ..twice }, false, 1, 0),
            (twice, true, 0, 1),
        ] {
            let mut map = map();
            for name in ["f", "g"] {
                map.links.saw(1, OsStr::new(name), &twice);
            }
            map.links.found(&map.tree);
            tell(&mut map, What::Delete, 10 * S);
            assert!(map.due_maybe_open(10 * S).is_empty(), "not at once");
            let maybe_open = map.due_maybe_open(10 * S + LOOK_AFTER);
            assert_eq!(maybe_open, [((1, 1), vec![g()])]);
            let mut changes = ChangeSet::default();
            let at = Some((g(), Looked { stat: Some(&stat), writer }));
            map.looked_at_maybe_open((1, 1), at, 11 * S, &mut changes);
            assert_eq!((changes.len(), map.open.len()), (marked, open), "{stat:?} {writer}");
            assert!(map.due_maybe_open(20 * S).is_empty());
        }
    }

    fn sent(map: &mut Map, stat: Stat, now: Duration) -> Vec<String> {
        let mut changes = ChangeSet::default();
        for path in map.take_sends(now) {
            map.send_open(path, Some(&stat), now, &mut changes);
        }
        let marks = changes.into_record(None).marks;
        marks.iter().map(|m| m.path.to_string()).collect()
    }

    #[test]
    fn an_open_file_is_marked_while_it_is_written() {
        let rule = |glob: &str, after_ms| OpenRule { glob: glob.into(), after_ms };
        let rules = [rule("*.log", 10_000), rule("slow/**", 60_000)];
        let mut map = map().with_open_after(OpenAfter::new(&rules).unwrap());
        let mut changes = ChangeSet::default();
        for name in ["a.log", "other"] {
            event(&mut map, What::Create, 0, name, &mut changes);
            event(&mut map, What::Modify, 0, name, &mut changes);
        }
        assert!(sent(&mut map, stat(5, 5), 19 * S).is_empty());
        assert_eq!(sent(&mut map, stat(5, 5), 20 * S), ["a.log"]);
        assert!(sent(&mut map, stat(6, 6), 21 * S).is_empty(), "at its interval");
        assert_eq!(sent(&mut map, stat(6, 6), 30 * S), ["a.log"]);
        assert!(sent(&mut map, stat(6, 6), 40 * S).is_empty(), "it was not written");
        assert_eq!(sent(&mut map, stat(7, 7), 50 * S), ["a.log"]);
        assert!(map.next_expiry().is_some());
        // Moved: the mark of the move covers its current content. It is sent at the same interval.
        for (what, name) in [(What::MovedFrom, "a.log"), (What::MovedTo, "b.log")] {
            event(&mut map, what, 9, name, &mut changes);
        }
        assert_eq!(sent(&mut map, stat(8, 8), 60 * S), ["b.log"]);
        // Closed: the close marks it.
        event(&mut map, What::CloseWrite, 0, "b.log", &mut changes);
        assert!(sent(&mut map, stat(9, 9), 99 * S).is_empty());
        let bad = OpenAfter::new(&[rule("a[", 1)]).map(|_| ()).unwrap_err();
        assert!(bad.contains("a["), "{bad}");
    }

    #[test]
    fn files_are_counted_once_they_have_been_open_for_a_while() {
        let mut map = map();
        let mut changes = ChangeSet::default();
        // It was created and not written, for example a lock.
        event(&mut map, What::Create, 0, "lock", &mut changes);
        event(&mut map, What::Modify, 0, "b", &mut changes);
        assert_eq!(map.open_files(12 * S), (0, None));
        let b = RelPath::new("b").unwrap();
        tell(&mut map, What::Modify, 13 * S);
        assert_eq!(map.open_files(13 * S), (1, Some((&b, 10 * S))));
        // It is written again, and counts as open since the same time.
        tell(&mut map, What::Modify, 20 * S);
        assert_eq!(map.open_files(20 * S), (2, Some((&b, 10 * S))));
        event(&mut map, What::CloseWrite, 0, "b", &mut changes);
        assert_eq!(map.open_files(20 * S), (1, Some((&path(), 13 * S))));
    }

    #[test]
    fn a_file_created_and_held_open_is_marked() {
        let mut map = map();
        tell(&mut map, What::Create, 10 * S);
        expire(&mut map, 12 * S);
        assert!(look(&mut map, Some(&stat(0, 0)), true, 12 * S), "an empty file is whole");
        let whole = Stat { size: 9, ..stat(0, 7) };
        expire(&mut map, 16 * S);
        assert!(!look(&mut map, Some(&whole), true, 16 * S), "written without an event");
        assert_eq!(open_now(&map), [("f".to_owned(), State::Unnamed)]);
        expire(&mut map, 24 * S);
        assert!(look(&mut map, Some(&whole), false, 24 * S));
        assert!(map.open.is_empty());
    }

    #[test]
    fn a_file_created_and_never_touched_is_marked() {
        let mut map = map();
        tell(&mut map, What::Create, 10 * S);
        expire(&mut map, 11 * S);
        assert!(map.next_look().is_none());
        expire(&mut map, 12 * S);
        assert!(look(&mut map, Some(&stat(0, 0)), false, 12 * S));
        assert!(map.next_look().is_none() && map.next_expiry().is_none());
    }
}
