//! Files that were written and not yet closed. A close is not always to come: `truncate` by path, and `utimensat` of
//! the modification time alone, report IN_MODIFY and nothing after it. So a file that has been quiet for a while is
//! looked at: it is marked unless a process has it open for writing.

use super::*;
use std::os::unix::ffi::OsStrExt;

/// An open file that has been quiet for this long is looked at.
pub const QUIET_FOR: Duration = Duration::from_secs(2);
/// While somebody has it open, the looks come at growing intervals, up to this.
pub const LOOK_EVERY: Duration = Duration::from_secs(60);
/// A modification time this far from the time of the change was set, not come by writing.
const SET_NS: u64 = 2_000_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Open {
    /// Not looked at before.
    due: Duration,
    /// From a look to the next.
    pause: Duration,
    written: bool,
    /// It was marked, though perhaps open, with this ctime.
    marked: Option<i64>,
}

impl Open {
    pub(super) fn new(now: Duration, written: bool) -> Self {
        Self { due: now + QUIET_FOR, pause: QUIET_FOR, written, marked: None }
    }
}

impl Map {
    pub(super) fn open(&mut self, path: RelPath, open: Open, batch: &mut Batch) {
        match self.open.get_mut(&path) {
            Some(known) => {
                if open.due < known.due {
                    self.due.insert((open.due, path));
                }
                (known.due, known.pause) = (open.due, open.pause);
                known.written |= open.written;
            }
            None => {
                batch.open(path.clone());
                self.due.insert((open.due, path.clone()));
                self.open.insert(path, open);
            }
        }
    }

    pub(super) fn close(&mut self, path: &RelPath, batch: &mut Batch) -> Option<Open> {
        let known = self.open.remove(path)?;
        batch.close(path.clone());
        Some(known)
    }

    /// Takes the open files below a directory that went, by their paths from there.
    pub(super) fn take_below(
        &mut self,
        gone: &RelPath,
        batch: &mut Batch,
    ) -> Vec<(OsString, Open)> {
        let inside = |p: &&RelPath| p.is_within(gone) && *p != gone;
        let below: Vec<RelPath> = self.open.keys().filter(inside).cloned().collect();
        let taken = below.into_iter().filter_map(|path| {
            let open = self.close(&path, batch)?;
            Some((
                OsStr::from_bytes(&path.as_bytes()[gone.as_bytes().len() + 1..]).to_owned(),
                open,
            ))
        });
        taken.collect()
    }

    /// A file that is marked at once, for its time says that no close will follow.
    pub(super) fn mark_if_times_were_set(
        &mut self,
        path: &RelPath,
        seen: &Seen,
        batch: &mut Batch,
    ) {
        let Some(open) = self.open.get_mut(path).filter(|o| o.written) else { return };
        if seen.mtime_ns.abs_diff(seen.ctime_ns) > SET_NS && open.marked != Some(seen.ctime_ns) {
            open.marked = Some(seen.ctime_ns);
            batch.mark(path.clone(), Scope::Entry, Events::WRITE);
            if seen.nlink > 1 {
                self.mark_links(seen, Events::WRITE, batch);
            }
        }
    }

    /// New files that nobody touched are marked; written ones that have been quiet wait for a look.
    pub(super) fn expire_open(&mut self, now: Duration, batch: &mut Batch) {
        while self.due.first().is_some_and(|(due, _)| *due <= now) {
            let Some((_, path)) = self.due.pop_first() else { break };
            match self.open.get(&path) {
                None => {}
                Some(open) if open.due > now => {
                    self.due.insert((open.due, path));
                }
                Some(open) if open.written => self.quiet.push(path),
                Some(_) => {
                    self.close(&path, batch);
                    batch.mark(path, Scope::Entry, Events::CREATE);
                }
            }
        }
    }

    /// Marks the open files at or below these paths, all when there are none, as they are now: under every known name,
    /// for what is written under one is the content of all. They stay open.
    pub fn mark_open(&mut self, below: &[RelPath], batch: &mut Batch) {
        let meant = |path: &RelPath| below.is_empty() || below.iter().any(|b| path.is_within(b));
        for path in self.open.keys().cloned().collect::<Vec<_>>() {
            let mut names = match self.split(&path) {
                Some((dir, name)) => self.links.paths_like(dir, name, &self.tree),
                None => Vec::new(),
            };
            names.push(path);
            for name in names.into_iter().filter(meant) {
                batch.mark(name, Scope::Entry, Events::WRITE);
            }
        }
    }

    /// True when files are to be looked at.
    pub fn has_quiet(&self) -> bool {
        !self.quiet.is_empty()
    }

    /// The files to be looked at; each is for [`Map::looked_at_quiet`].
    pub fn take_quiet(&mut self) -> Vec<RelPath> {
        std::mem::take(&mut self.quiet)
    }

    /// Takes the look at a quiet file: what lstat said of it, and whether a process has it open for writing.
    pub fn looked_at_quiet(
        &mut self,
        path: RelPath,
        seen: Option<&Seen>,
        writer: bool,
        now: Duration,
        batch: &mut Batch,
    ) {
        let Some(open) = self.open.get_mut(&path) else { return };
        if now < open.due || writer {
            if now >= open.due {
                open.pause = (open.pause * 2).min(LOOK_EVERY);
                open.due = now + open.pause;
            }
            self.due.insert((open.due, path));
            return;
        }
        let marked = open.marked;
        self.close(&path, batch);
        if marked.is_some() && marked == seen.map(|s| s.ctime_ns) {
            return;
        }
        if let Some(seen) = seen.filter(|s| s.kind == Kind::File && s.nlink > 1) {
            self.mark_links(seen, Events::WRITE, batch);
        }
        batch.mark(path, Scope::Entry, Events::WRITE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::FilterRules;
    use crate::seen::What;

    const S: Duration = Duration::from_secs(1);

    fn map() -> Map {
        let mut map = Map::new(Toggles::MODERN, Filter::new(&FilterRules::default()).unwrap());
        map.tree.start(1);
        map
    }

    fn tell(map: &mut Map, what: What, now: Duration) -> Batch {
        let mut batch = Batch::default();
        let name = "f".into();
        let notice = Notice { wd: 1, what, is_dir: false, cookie: 0, name };
        map.step(&notice, now, &mut batch, &mut Vec::new());
        batch
    }

    fn expire(map: &mut Map, now: Duration) -> Batch {
        let mut batch = Batch::default();
        map.expire(now, &mut batch, &mut Vec::new());
        batch
    }

    fn path() -> RelPath {
        RelPath::new("f").unwrap()
    }

    fn look(map: &mut Map, seen: Option<&Seen>, writer: bool, now: Duration) -> bool {
        assert_eq!(map.take_quiet(), [path()]);
        let mut batch = Batch::default();
        map.looked_at_quiet(path(), seen, writer, now, &mut batch);
        batch.has_marks()
    }

    fn seen(mtime_ns: i64, ctime_ns: i64) -> Seen {
        Seen { kind: Kind::File, size: 0, mtime_ns, ctime_ns, nlink: 1, dev: 1, ino: 1 }
    }

    #[test]
    fn modified_and_never_closed() {
        let mut map = map();
        assert!(!tell(&mut map, What::Modify, 10 * S).has_marks());
        assert_eq!(map.next_expiry(), Some(12 * S));
        // Written again, so not quiet.
        tell(&mut map, What::Modify, 11 * S);
        expire(&mut map, 12 * S);
        assert!(!map.has_quiet());
        assert_eq!(map.next_expiry(), Some(13 * S));
        expire(&mut map, 13 * S);
        assert!(look(&mut map, None, false, 13 * S));
        assert_eq!(map.next_expiry(), None);
    }

    #[test]
    fn a_writer_is_waited_for_with_growing_patience() {
        let mut map = map();
        tell(&mut map, What::Modify, Duration::ZERO);
        let mut now = Duration::ZERO;
        for pause in [2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(map.next_expiry(), Some(now + pause * S));
            now += pause * S;
            expire(&mut map, now);
            assert!(!look(&mut map, None, true, now));
        }
        // It writes again: the patience starts anew.
        tell(&mut map, What::Modify, now + S);
        assert_eq!(map.next_expiry(), Some(now + 3 * S));
        expire(&mut map, now + 3 * S);
        // Closed between the pass and its result.
        assert_eq!(map.take_quiet(), [path()]);
        assert!(tell(&mut map, What::CloseWrite, now + 3 * S).has_marks());
        let mut batch = Batch::default();
        map.looked_at_quiet(path(), None, false, now + 3 * S, &mut batch);
        assert!(batch.is_empty());
    }

    #[test]
    fn written_between_the_pass_and_its_result() {
        let mut map = map();
        tell(&mut map, What::Modify, 10 * S);
        expire(&mut map, 12 * S);
        tell(&mut map, What::Modify, 12 * S);
        assert!(!look(&mut map, None, false, 12 * S));
        assert_eq!(map.next_expiry(), Some(14 * S));
    }

    #[test]
    fn times_that_were_set_are_marked_at_once_and_once() {
        let mut map = map();
        let set = seen(0, 100_000_000_000);
        let mut batch = tell(&mut map, What::Modify, 10 * S);
        let looks = batch.take_looks();
        map.looked(path(), &looks[&path()], Some(&set), &mut batch);
        assert!(batch.has_marks());
        expire(&mut map, 12 * S);
        assert!(!look(&mut map, Some(&set), false, 12 * S));

        tell(&mut map, What::Modify, 20 * S);
        let mut batch = Batch::default();
        map.looked(path(), &looks[&path()], Some(&seen(100, 200)), &mut batch);
        assert!(!batch.has_marks(), "times that come by writing wait for the close");
        map.looked(path(), &looks[&path()], Some(&set), &mut batch);
        expire(&mut map, 22 * S);
        let later = seen(0, 100_000_000_001);
        assert!(look(&mut map, Some(&later), false, 22 * S), "changed since it was marked");
    }

    #[test]
    fn times_that_were_set_are_those_of_all_names() {
        let mut map = map();
        let set = Seen { nlink: 2, ..seen(0, 100_000_000_000) };
        map.links.saw(1, OsStr::new("other"), &set);
        let mut batch = tell(&mut map, What::Modify, 10 * S);
        let looks = batch.take_looks();
        map.looked(path(), &looks[&path()], Some(&set), &mut batch);
        let record = batch.into_record(None);
        let marked: Vec<String> = record.marks.iter().map(|m| m.path.to_string()).collect();
        assert_eq!(marked, ["f", "other"]);
    }

    #[test]
    fn what_is_open_is_marked_under_every_name() {
        let mut map = map();
        let twice = Seen { nlink: 2, ..seen(0, 0) };
        for name in ["f", "other"] {
            map.links.saw(1, OsStr::new(name), &twice);
        }
        tell(&mut map, What::Modify, 10 * S);
        for (below, wanted) in [(&[][..], &["f", "other"][..]), (&["other"], &["other"])] {
            let below: Vec<RelPath> = below.iter().map(|b| RelPath::new(*b).unwrap()).collect();
            let mut batch = Batch::default();
            map.mark_open(&below, &mut batch);
            let record = batch.into_record(None);
            let marked: BTreeSet<String> =
                record.marks.iter().map(|m| m.path.to_string()).collect();
            assert!(marked.iter().eq(wanted), "{marked:?}");
        }
    }

    #[test]
    fn created_and_never_touched() {
        let mut map = map();
        tell(&mut map, What::Create, 10 * S);
        assert!(!expire(&mut map, 11 * S).has_marks());
        assert!(expire(&mut map, 12 * S).has_marks());
        assert!(!map.has_quiet());
    }
}
