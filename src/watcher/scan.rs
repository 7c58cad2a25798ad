//! Walks: every directory is watched first and read after, in portions, so that the queue is read meanwhile.
//!
//! Directories are named by their watch, not by their path, and a directory is only read when the path that the map
//! has for it leads to that very directory: a walk goes on right through renames.

use crate::journal::{Events, Scope};
use crate::path::RelPath;
use crate::seen::{Kind, Seen};
use crate::sys::files::{self, Name, Root};
use crate::sys::inotify::Queue;
use crate::sys::{clock, files::lstat_at};
use crate::watcher::batch::Batch;
use crate::watcher::event::{Act, Detached, Map, Why};
use crate::watcher::tree::Placed;
use slog::{Logger, debug, warn};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

/// Entries of one portion.
pub const PORTION: usize = 2_000;
/// Time of one portion.
pub const PORTION_TIME: Duration = Duration::from_millis(50);
/// File times are this coarse, and an event may come this much after the change it reports.
pub const SLACK_NS: i64 = 2_000_000_000;
/// When a directory does not stand where the map has it for this long, and no event says why, the map is built anew.
const LOST_AFTER: Duration = Duration::from_secs(1);

/// What a scan from `since_ns` marks of something it sees (section 4): a file that changed; a directory that changed,
/// and its names; and, where its parent changed too, everything below, for it may have been moved there.
pub fn judge(seen: &Seen, parent_changed: bool, since_ns: i64) -> Option<Scope> {
    if seen.ctime_ns < since_ns.saturating_sub(SLACK_NS) {
        return None;
    }
    Some(match seen.kind {
        Kind::Dir if parent_changed => Scope::Tree,
        Kind::Dir => Scope::Children,
        _ => Scope::Entry,
    })
}

/// What the walker works with in one turn.
pub struct Ground<'a> {
    /// The queue that watches are added to.
    pub queue: &'a Queue,
    /// The root's path.
    pub watch: &'a Path,
    /// What is known.
    pub map: &'a mut Map,
    /// What is marked.
    pub batch: &'a mut Batch,
    /// Where to say it.
    pub log: &'a Logger,
    /// The open root, kept for this turn only: an open descriptor keeps a file system busy.
    pub root: Option<Root>,
}

enum Trouble {
    /// Another directory, or none, stands where the map has this one.
    Stale,
    /// Nothing, or no directory, stands at this name.
    Gone,
    /// The system refuses.
    Refused(io::Error),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Trouble::Gone,
            _ => Trouble::Refused(error),
        }
    }
}

impl Ground<'_> {
    fn root(&mut self) -> io::Result<&Root> {
        if self.root.is_none() {
            self.root = Some(Root::open(self.watch)?);
        }
        self.root.as_ref().ok_or_else(|| io::Error::other("no root"))
    }

    fn open_path(&mut self, path: &RelPath) -> Result<Root, Trouble> {
        if path.is_root() {
            return Ok(Root::open(self.watch)?);
        }
        Ok(self.root()?.subdir(path)?)
    }

    /// Opens the directory of this watch, or says that it is not where the map has it.
    fn open_watched(&mut self, wd: i32) -> Result<Root, Trouble> {
        let path = self.map.tree.path(wd).ok_or(Trouble::Stale)?;
        let dir = match self.open_path(&path) {
            Err(Trouble::Gone) => return Err(Trouble::Stale),
            other => other?,
        };
        // The same directory gives the same watch.
        let got = self.queue.add(&dir.proc_path(), true)?;
        if got == wd {
            return Ok(dir);
        }
        if !self.map.tree.contains(got) {
            self.queue.remove(got);
        }
        Err(Trouble::Stale)
    }

    /// Watches a name in a watched directory: the directory's device and the name's watch.
    fn watch_child(&mut self, parent: i32, name: &OsStr) -> Result<(u64, i32), Trouble> {
        let dir = self.open_watched(parent)?;
        let wd = self.queue.add(&dir.proc_path().join(name), false)?;
        Ok((dir.seen.dev, wd))
    }

    fn unwatch(&self, wds: &[i32]) {
        wds.iter().for_each(|&wd| self.queue.remove(wd));
    }

    fn mark_tree(&mut self, path: RelPath) {
        let events = Events::MOVE | Events::DIR | Events::SCAN;
        self.batch.mark(path, Scope::Tree, events);
    }
}

#[derive(Clone, Copy, Debug)]
enum Mode {
    /// Mark what changed since.
    Since(i64),
    /// Mark everything.
    All,
    /// Only watch, and note files with several names.
    Quiet,
}

#[derive(Clone, Debug)]
enum Place {
    Watched(i32),
    /// It cannot be watched.
    Unwatched(RelPath),
}

#[derive(Clone, Debug)]
struct Item {
    place: Place,
    mode: Mode,
    /// The device of its parent; `None` when that is of no interest.
    parent_dev: Option<u64>,
    parent_changed: bool,
}

struct Reading {
    place: Place,
    mode: Mode,
    changed: bool,
    dev: u64,
    names: std::vec::IntoIter<Name>,
    dir: Option<Root>,
}

/// What a walk is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The whole localpath, into an empty map.
    Scan,
    /// A directory that was made.
    New,
    /// A directory that was moved here: marked again as a tree at the end when that took more than one turn.
    Tree(i32),
    /// What could not be watched, begun at this time.
    Unwatched(i64),
    /// A search for names of these files.
    Links(Vec<(u64, u64)>),
}

struct Job {
    purpose: Purpose,
    stack: Vec<Item>,
    reading: Option<Reading>,
    turns: u32,
    dirs: u64,
}

impl Job {
    fn new(purpose: Purpose, item: Item) -> Self {
        Self { purpose, stack: vec![item], reading: None, turns: 0, dirs: 0 }
    }
}

enum Todo {
    Enter { parent: i32, name: OsString, why: Why },
    Read(Item),
}

/// Something to be tried again once the queue is empty and the map up to date.
struct Later {
    since: Duration,
    todo: Todo,
}

/// A walk that came to its end.
pub struct Done {
    /// What it was for.
    pub purpose: Purpose,
    /// Directories it saw.
    pub dirs: u64,
}

/// Everything that is still to be walked.
#[derive(Default)]
pub struct Walker {
    jobs: Vec<Job>,
    later: Vec<Later>,
    /// Mount points inside, mounted or not.
    pub mounts: BTreeSet<RelPath>,
    /// Mount points found since the last look at this.
    pub new_mounts: Vec<RelPath>,
    /// Those that are not mounted now.
    pub unmounted: BTreeSet<RelPath>,
    /// The map does not fit: build it anew.
    pub lost: bool,
    /// Why some directory could not be watched; the first reason.
    pub refusal: Option<String>,
    /// The user's watches are used up.
    pub out_of_watches: bool,
}

enum Fresh {
    New,
    Known,
    Handled,
}

impl Walker {
    /// True when nothing is left to be walked or tried again.
    pub fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.later.is_empty()
    }

    /// True when a walk can go on at once.
    pub fn has_jobs(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// Forgets all walks.
    pub fn clear(&mut self) {
        self.jobs.clear();
        self.later.clear();
        self.lost = false;
        self.refusal = None;
        self.out_of_watches = false;
    }

    /// Begins the walk over everything, into an empty map, marking what changed since.
    pub fn start_scan(
        &mut self,
        root: &Root,
        ground: &mut Ground<'_>,
        since_ns: i64,
    ) -> io::Result<()> {
        self.clear();
        let wd = ground.queue.add(&root.proc_path(), true)?;
        ground.map.tree.start(wd);
        let place = Place::Watched(wd);
        let mode = Mode::Since(since_ns);
        let item = Item { place, mode, parent_dev: None, parent_changed: false };
        self.jobs.push(Job::new(Purpose::Scan, item));
        Ok(())
    }

    /// Begins a search for names of these files.
    pub fn start_link_search(&mut self, root: i32, wanted: Vec<(u64, u64)>) {
        let place = Place::Watched(root);
        let item = Item { place, mode: Mode::Quiet, parent_dev: None, parent_changed: false };
        self.jobs.push(Job::new(Purpose::Links(wanted), item));
    }

    /// Begins a scan of what is not watched, marking what changed since.
    pub fn start_unwatched(&mut self, map: &Map, since_ns: i64, now_ns: i64) {
        self.refusal = None;
        self.out_of_watches = false;
        let item = |path: &RelPath| Item {
            place: Place::Unwatched(path.clone()),
            mode: Mode::Since(since_ns),
            parent_dev: None,
            parent_changed: true,
        };
        let stack = map.unwatched.iter().map(item).collect();
        let purpose = Purpose::Unwatched(now_ns);
        self.jobs.push(Job { purpose, stack, reading: None, turns: 0, dirs: 0 });
    }

    /// A mount point that is mounted again: everything in it may have changed.
    pub fn mounted_again(&mut self, path: &RelPath, ground: &mut Ground<'_>) {
        self.unmounted.remove(path);
        if let Some((parent, name)) = ground.map.split(path) {
            let name = name.to_owned();
            self.enter(ground, parent, name, Why::Again);
        }
    }

    /// Carries out what concerns directories; what is left is for the caller.
    pub fn act(&mut self, act: Act, ground: &mut Ground<'_>) -> Option<Act> {
        match act {
            Act::Enter { parent, name, why } => self.enter(ground, parent, name, why),
            Act::Attach { parent, name, moved } => self.attach(ground, parent, name, moved),
            Act::Unwatch(wds) => ground.unwatch(&wds),
            Act::Unmounted(path) => {
                warn!(ground.log, "unmounted; nothing is pushed there until it is mounted again";
                    "mount_point" => %path);
                self.mounts.insert(path.clone());
                self.new_mounts.push(path.clone());
                self.unmounted.insert(path);
            }
            Act::Overflow | Act::CheckRoot => return Some(act),
        }
        None
    }

    fn enter(&mut self, ground: &mut Ground<'_>, parent: i32, name: OsString, why: Why) {
        if !ground.map.tree.contains(parent) {
            return;
        }
        match ground.watch_child(parent, &name) {
            Ok((dev, wd)) => {
                let fresh = self.place(ground, parent, &name, wd, why);
                let read = matches!(fresh, Fresh::New)
                    || (matches!(fresh, Fresh::Known) && why == Why::Again);
                if read {
                    self.walk_entered(wd, dev, why);
                }
                if why == Why::Again
                    && let Some(path) = ground.map.tree.path(wd)
                {
                    ground.mark_tree(path);
                }
            }
            Err(Trouble::Gone) => {
                if why == Why::Again
                    && let Some(dir) = ground.map.tree.path(parent)
                {
                    ground.mark_tree(dir.join(&name));
                }
            }
            Err(Trouble::Stale) => {
                let why = if why == Why::Created { why } else { Why::Again };
                self.later(Todo::Enter { parent, name, why });
            }
            Err(Trouble::Refused(error)) => {
                let Some(dir) = ground.map.tree.path(parent) else { return };
                let path = dir.join(&name);
                self.refused(ground, &path, &error);
                let place = Place::Unwatched(path);
                let mode = if why == Why::Created { Mode::All } else { Mode::Quiet };
                let item = Item { place, mode, parent_dev: None, parent_changed: true };
                self.jobs.push(Job::new(Purpose::New, item));
            }
        }
    }

    fn walk_entered(&mut self, wd: i32, dev: u64, why: Why) {
        let (purpose, mode) = match why {
            Why::Created => (Purpose::New, Mode::All),
            Why::Moved | Why::Again => (Purpose::Tree(wd), Mode::Quiet),
        };
        let place = Place::Watched(wd);
        let item = Item { place, mode, parent_dev: Some(dev), parent_changed: true };
        self.jobs.push(Job::new(purpose, item));
    }

    /// A watched directory was moved to this name, says the queue; add_watch on the name must give its watch.
    fn attach(&mut self, ground: &mut Ground<'_>, parent: i32, name: OsString, moved: Detached) {
        let Some(wd) = moved.wd else { return };
        match ground.watch_child(parent, &name) {
            Ok((dev, got)) if got == wd => {
                self.attach_at(ground, parent, &name, wd);
                if moved.dirty {
                    self.walk_entered(wd, dev, Why::Moved);
                }
            }
            // It was moved on or removed: the queue will tell.
            Err(Trouble::Gone) => self.attach_at(ground, parent, &name, wd),
            Err(Trouble::Stale) => {
                self.attach_at(ground, parent, &name, wd);
                self.later(Todo::Enter { parent, name, why: Why::Again });
            }
            Ok(_) | Err(Trouble::Refused(_)) => {
                debug!(ground.log, "a move that is no longer true"; "from" => %moved.from);
                let gone = ground.map.tree.remove(wd);
                ground.unwatch(&gone);
                self.enter(ground, parent, name, Why::Again);
                let old = moved.from.name().to_owned();
                self.enter(ground, moved.old_parent, old, Why::Again);
            }
        }
    }

    fn attach_at(&mut self, ground: &mut Ground<'_>, parent: i32, name: &OsStr, wd: i32) {
        match ground.map.tree.place(parent, name, wd) {
            Placed::New { dropped } | Placed::Moved { dropped, .. } => ground.unwatch(&dropped),
            Placed::Same => {}
            Placed::Nowhere => {
                let gone = ground.map.tree.remove(wd);
                ground.unwatch(&gone);
                self.later(Todo::Enter { parent, name: name.to_owned(), why: Why::Again });
            }
        }
    }

    /// Puts a watch that was just added into the map.
    fn place(
        &mut self,
        ground: &mut Ground<'_>,
        parent: i32,
        name: &OsStr,
        wd: i32,
        why: Why,
    ) -> Fresh {
        match ground.map.tree.place(parent, name, wd) {
            Placed::Same => Fresh::Known,
            Placed::New { dropped } => {
                ground.unwatch(&dropped);
                Fresh::New
            }
            Placed::Moved { from, dropped } => {
                ground.unwatch(&dropped);
                ground.map.found_detached(wd);
                if let Some(path) = ground.map.tree.path(wd) {
                    ground.mark_tree(path);
                }
                if let Some(from) = from {
                    if let Some((parent, name)) = ground.map.split(&from) {
                        let name = name.to_owned();
                        self.later(Todo::Enter { parent, name, why: Why::Again });
                    }
                    ground.mark_tree(from);
                }
                self.jobs.push(Job::new(
                    Purpose::Tree(wd),
                    Item {
                        place: Place::Watched(wd),
                        mode: Mode::Quiet,
                        parent_dev: None,
                        parent_changed: true,
                    },
                ));
                Fresh::Handled
            }
            Placed::Nowhere => {
                if !ground.map.tree.contains(wd) {
                    ground.queue.remove(wd);
                }
                let why = if why == Why::Created { why } else { Why::Again };
                self.later(Todo::Enter { parent, name: name.to_owned(), why });
                Fresh::Handled
            }
        }
    }

    fn later(&mut self, todo: Todo) {
        self.later.push(Later { since: clock::boot(), todo });
    }

    /// Tries again what did not fit; to be called when the queue is empty.
    pub fn try_later(&mut self, ground: &mut Ground<'_>) {
        for Later { since, todo } in std::mem::take(&mut self.later) {
            let before = self.later.len();
            match todo {
                Todo::Enter { parent, name, why } => self.enter(ground, parent, name, why),
                Todo::Read(item) => {
                    let Place::Watched(wd) = item.place else { continue };
                    match ground.open_watched(wd) {
                        Ok(_) => self.jobs.push(Job::new(Purpose::Tree(wd), item)),
                        Err(_) if ground.map.tree.contains(wd) => self.later(Todo::Read(item)),
                        Err(_) => {}
                    }
                }
            }
            for again in &mut self.later[before..] {
                again.since = since;
            }
            self.lost |= self.later.len() > before && clock::boot() > since + LOST_AFTER;
        }
    }

    fn refused(&mut self, ground: &mut Ground<'_>, path: &RelPath, error: &io::Error) {
        self.out_of_watches |= error.kind() == io::ErrorKind::StorageFull;
        if self.refusal.is_none() {
            warn!(ground.log, "cannot watch a directory"; "directory" => %path, "error" => %error);
            self.refusal = Some(format!("{path}: {error}"));
        }
        ground.map.unwatched.insert(path.clone());
    }

    /// Walks one portion. Returns the walks that came to their end.
    pub fn portion(&mut self, ground: &mut Ground<'_>) -> Vec<Done> {
        let until = clock::boot() + PORTION_TIME;
        let (mut entries, mut done) = (0, Vec::new());
        while let Some(mut job) = self.jobs.pop() {
            job.turns += 1;
            let finished = loop {
                if entries >= PORTION || clock::boot() >= until {
                    break false;
                }
                let reading = match job.reading.take() {
                    Some(reading) => Some(reading),
                    None => match job.stack.pop() {
                        Some(item) => self.begin(ground, item, &mut job),
                        None => break true,
                    },
                };
                entries += 1;
                if let Some(mut reading) = reading
                    && !self.read(ground, &mut reading, &mut job, &mut entries)
                {
                    reading.dir = None;
                    job.reading = Some(reading);
                }
            };
            if finished {
                done.push(self.finish(ground, job));
            } else {
                self.jobs.push(job);
                break;
            }
        }
        done
    }

    fn finish(&mut self, ground: &mut Ground<'_>, job: Job) -> Done {
        match &job.purpose {
            Purpose::Tree(wd) if job.turns > 1 => {
                if let Some(path) = ground.map.tree.path(*wd) {
                    ground.mark_tree(path);
                }
            }
            Purpose::Links(wanted) => {
                for path in ground.map.links.searched(wanted, &ground.map.tree) {
                    ground.batch.mark(path, Scope::Entry, Events::WRITE | Events::SCAN);
                }
            }
            _ => {}
        }
        Done { purpose: job.purpose, dirs: job.dirs }
    }

    /// Opens and judges a directory and lists its names; `None` when there is nothing to read.
    fn begin(&mut self, ground: &mut Ground<'_>, mut item: Item, job: &mut Job) -> Option<Reading> {
        if matches!(job.purpose, Purpose::Unwatched(_)) {
            self.try_to_watch(ground, &mut item);
        }
        let path = match &item.place {
            Place::Watched(wd) => match ground.map.tree.path(*wd) {
                Some(path) => path,
                None if ground.map.tree.contains(*wd) => {
                    self.later(Todo::Read(item));
                    return None;
                }
                None => return None,
            },
            Place::Unwatched(path) => path.clone(),
        };
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
                    Place::Watched(_) => self.later(Todo::Read(item)),
                    Place::Unwatched(path) => drop(ground.map.unwatched.remove(&path)),
                }
                return None;
            }
        };
        job.dirs += 1;
        if !self.is_there(ground, &item, &path, &dir) {
            return None;
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
    fn try_to_watch(&mut self, ground: &mut Ground<'_>, item: &mut Item) {
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

    /// Notes mount points. False for one that is not mounted now: what lies under it is not ours.
    fn is_there(
        &mut self,
        ground: &mut Ground<'_>,
        item: &Item,
        path: &RelPath,
        dir: &Root,
    ) -> bool {
        let Some(parent_dev) = item.parent_dev else { return true };
        if parent_dev != dir.seen.dev {
            self.unmounted.remove(path);
            if self.mounts.insert(path.clone()) {
                self.new_mounts.push(path.clone());
            }
            return true;
        }
        if !self.mounts.contains(path) {
            return true;
        }
        if self.unmounted.insert(path.clone()) {
            warn!(ground.log, "not mounted; nothing is pushed there until it is"; "mount_point" => %path);
        }
        if let Place::Watched(wd) = item.place {
            let gone = ground.map.tree.remove(wd);
            ground.unwatch(&gone);
        }
        false
    }

    /// Reads on; false when the portion is used up.
    fn read(
        &mut self,
        ground: &mut Ground<'_>,
        reading: &mut Reading,
        job: &mut Job,
        entries: &mut usize,
    ) -> bool {
        let path = match &reading.place {
            Place::Watched(wd) => match ground.map.tree.path(*wd) {
                Some(path) => path,
                None => return true,
            },
            Place::Unwatched(path) => path.clone(),
        };
        if reading.dir.is_none() {
            let again = match &reading.place {
                Place::Watched(wd) => ground.open_watched(*wd),
                Place::Unwatched(path) => ground.open_path(path),
            };
            match again {
                Ok(dir) => reading.dir = Some(dir),
                Err(_) => {
                    // Read from its start when it is found again.
                    let (place, mode) = (reading.place.clone(), reading.mode);
                    let item = Item { place, mode, parent_dev: None, parent_changed: true };
                    self.later(Todo::Read(item));
                    return true;
                }
            }
        }
        let Some(dir) = reading.dir.take() else { return true };
        while *entries < PORTION {
            let Some(name) = reading.names.next() else { return true };
            *entries += 1;
            self.entry(ground, reading, &dir, &path, name, job);
        }
        false
    }

    fn entry(
        &mut self,
        ground: &mut Ground<'_>,
        reading: &Reading,
        dir: &Root,
        dir_path: &RelPath,
        name: Name,
        job: &mut Job,
    ) {
        let Name { name, kind } = name;
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
        let path = dir_path.join(&name);
        if ground.map.skips(&path, kind == Kind::Dir) {
            return;
        }
        if kind == Kind::Dir {
            return self.subdirectory(ground, reading, dir, path, &name, job);
        }
        let Some(seen) = seen.or_else(look) else { return };
        if seen.kind == Kind::File
            && seen.nlink > 1
            && let Place::Watched(wd) = reading.place
        {
            ground.map.links.saw(wd, &name, &seen);
        }
        match reading.mode {
            Mode::Since(since) => {
                if let Some(scope) = judge(&seen, reading.changed, since) {
                    ground.batch.mark(path, scope, Events::WRITE | Events::SCAN);
                }
            }
            Mode::All => {
                ground.batch.mark(path, Scope::Entry, Events::CREATE | Events::WRITE);
            }
            Mode::Quiet => {}
        }
    }

    fn subdirectory(
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
        let wd = match ground.queue.add(&dir.proc_path().join(name), false).map_err(Trouble::from) {
            Ok(wd) => wd,
            Err(Trouble::Refused(error)) => {
                self.refused(ground, &path, &error);
                return job.stack.push(item(Place::Unwatched(path)));
            }
            Err(_) => return,
        };
        // A whole scan and the walk of a new directory leave alone what an event brought in meanwhile.
        let again = matches!(job.purpose, Purpose::Tree(_) | Purpose::Links(_));
        match self.place(ground, parent, name, wd, Why::Moved) {
            Fresh::New => job.stack.push(item(Place::Watched(wd))),
            Fresh::Known if again => job.stack.push(item(Place::Watched(wd))),
            Fresh::Known | Fresh::Handled => {}
        }
    }
}

/// Marks the directory itself; tells how what is in it is looked at, and whether it changed.
fn begin_marks(ground: &mut Ground<'_>, item: &Item, path: RelPath, seen: &Seen) -> (Mode, bool) {
    match item.mode {
        Mode::Since(since) => match judge(seen, item.parent_changed, since) {
            Some(scope) => {
                ground.batch.mark(path, scope, Events::SCAN | Events::DIR);
                // Below a tree only what changes from now on is news.
                let since = if scope == Scope::Tree { clock::file_ns() } else { since };
                (Mode::Since(since), true)
            }
            None => (item.mode, false),
        },
        Mode::All => {
            if ground.map.marks_folders() {
                ground.batch.mark(path, Scope::Children, Events::CREATE | Events::DIR);
            }
            (Mode::All, true)
        }
        Mode::Quiet => (Mode::Quiet, false),
    }
}

/// True when `path` below `watch` is a mount point now.
pub fn is_mounted(watch: &Path, path: &RelPath) -> bool {
    let Some(parent) = path.parent() else { return false };
    match (files::lstat(&path.below(watch)), files::stat(&parent.below(watch))) {
        (Ok(seen), Ok(above)) => seen.dev != above.dev,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_scan_marks() {
        let seen = |kind, ctime_ns| Seen {
            kind,
            size: 0,
            mtime_ns: 0,
            ctime_ns,
            nlink: 1,
            dev: 1,
            ino: 1,
        };
        let since = 100 * SLACK_NS;
        let (old, new) = (since - SLACK_NS - 1, since - SLACK_NS);
        assert_eq!(judge(&seen(Kind::File, old), true, since), None);
        assert_eq!(judge(&seen(Kind::File, new), false, since), Some(Scope::Entry));
        assert_eq!(judge(&seen(Kind::Symlink, new), true, since), Some(Scope::Entry));
        assert_eq!(judge(&seen(Kind::Dir, new), false, since), Some(Scope::Children));
        assert_eq!(judge(&seen(Kind::Dir, new), true, since), Some(Scope::Tree));
        assert_eq!(judge(&seen(Kind::Dir, old), true, since), None);
    }
}
