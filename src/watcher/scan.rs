//! Walks: every directory is watched first and read afterwards, in portions, so that the queue is read in between.
//!
//! A walk identifies directories by their watch, not by their path. It reads a directory only if the path in the map
//! leads to that same directory. So a walk continues correctly through renames.

mod context;
mod mounts;
mod read;
mod resolve;

pub use context::ScanContext;

use crate::journal::{Events, Scope};
use crate::path::RelPath;
use crate::stat::{Kind, Stat};
use crate::sys::clock;
use crate::sys::fault_point::{Point, pass};
use crate::sys::files::lstat_at;
use crate::sys::files::{Name, Root};
use crate::watcher::checkpoint_validity::SLACK_NS;
use crate::watcher::event::{Act, Detached, Map, Why};
use crate::watcher::tree::Placed;
use context::Trouble;
use slog::{debug, warn};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

/// The number of entries in one portion. It is small in tests, so that walks take many turns.
pub const PORTION: usize = if cfg!(test) { 20 } else { 2_000 };
/// The longest time of one portion.
pub const PORTION_TIME: Duration = Duration::from_millis(50);
/// If a directory is not where the map has it for this long, and no event explains that, the map is rebuilt.
const LOST_AFTER: Duration = Duration::from_secs(1);

/// What a scan from `since_ns` marks for an entry that it sees (section 4): a file that changed; a directory that
/// changed, and its names; and, if the parent changed too, everything below the directory, because the directory may
/// have been moved.
pub fn scope_to_mark(stat: &Stat, parent_changed: bool, since_ns: i64) -> Option<Scope> {
    if stat.ctime_ns < since_ns.saturating_sub(SLACK_NS) {
        return None;
    }
    Some(match stat.kind {
        Kind::Dir if parent_changed => Scope::Tree,
        Kind::Dir => Scope::Children,
        _ => Scope::Entry,
    })
}

/// True for a file whose modification time was set by a program (tar, `cp -p`). If a directory was swapped for another
/// one, a file of the same name may have the same size and time but other content (rule 3). The comparison of the tree
/// would consider it equal, so the file itself is marked.
pub fn needs_content(stat: &Stat) -> bool {
    stat.kind == Kind::File && (stat.ctime_ns - stat.mtime_ns).abs() > SLACK_NS
}

/// What a scan marks a file with. After a power cut its size and time prove nothing if it changed since `unproven_ns`.
pub fn events_of(stat: &Stat, unproven_ns: Option<i64>) -> Events {
    let mut events = Events::WRITE | Events::SCAN;
    let unproven = unproven_ns.is_some_and(|since| stat.ctime_ns >= since);
    events.set(Events::CONTENT, unproven && stat.kind == Kind::File);
    events
}

#[derive(Clone, Copy, Debug)]
enum Mode {
    /// Mark what changed since this time.
    Since(i64),
    /// Below a directory that may have been moved: mark what changed since this time, and files whose size and time
    /// prove nothing about the content.
    Moved(i64),
    /// Mark everything.
    All,
    /// Only watch, and record files with several names.
    Quiet,
    /// As `Quiet`, and the whole is marked as a tree when the walk ends.
    Whole,
}

/// A directory to walk.
#[derive(Clone, Debug)]
enum DirRef {
    Watched(i32),
    /// It cannot be watched.
    Unwatched(RelPath),
}

#[derive(Clone, Debug)]
struct Item {
    at: DirRef,
    mode: Mode,
    /// The device of its parent; `None` if it does not matter.
    parent_dev: Option<u64>,
    parent_changed: bool,
}

struct Reading {
    at: DirRef,
    mode: Mode,
    changed: bool,
    dev: u64,
    names: std::vec::IntoIter<Name>,
    dir: Option<Root>,
}

/// The purpose of a walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The whole localpath, into an empty map.
    Scan,
    /// A directory that was created.
    New,
    /// A directory that was moved into the tree, or that the map did not have.
    Tree,
    /// Directories that could not be watched. The scan began at this time.
    Unwatched(i64),
    /// A search for the names of these files.
    Links(Vec<(u64, u64)>),
}

struct Job {
    purpose: Purpose,
    stack: Vec<Item>,
    reading: Option<Reading>,
    /// What the walk reads as [`Mode::Whole`] lies below these. A change before a directory was watched has no event,
    /// and may be later than every mark except one that is made at the end.
    tops: Vec<i32>,
    /// A search for names did not see every name.
    incomplete: bool,
    dirs: u64,
}

impl Job {
    fn new(purpose: Purpose, stack: Vec<Item>) -> Self {
        Self { purpose, stack, reading: None, tops: Vec::new(), incomplete: false, dirs: 0 }
    }
}

enum Todo {
    Enter {
        parent: i32,
        name: OsString,
        why: Why,
    },
    Read(Item),
    /// Names in this directory could not be examined.
    Names(i32),
}

/// Something to retry once the queue is empty and the map is up to date.
struct Later {
    since: Duration,
    todo: Todo,
}

/// A walk that ended.
pub struct Done {
    /// Its purpose.
    pub purpose: Purpose,
    /// The number of directories that it saw.
    pub dirs: u64,
}

/// Everything that remains to be walked.
#[derive(Default)]
pub struct Walker {
    jobs: Vec<Job>,
    later: Vec<Later>,
    /// Mount points inside the root, mounted or not, and what is mounted there. The string is empty if that is unknown.
    pub mounts: BTreeMap<RelPath, String>,
    /// Paths whose entry in `mounts` the journal does not have yet: a new mount point, what is mounted there, or that
    /// the path is no longer a mount point.
    pub changed_mounts: BTreeSet<RelPath>,
    /// Mount points at which nothing is mounted now.
    pub unmounted: BTreeSet<RelPath>,
    /// Paths at which something was mounted or unmounted. The next record marks them as trees.
    pub remounted: BTreeSet<RelPath>,
    /// Mount points of file systems that do not answer, or were not probed yet. Nothing below them is touched.
    avoided: BTreeSet<RelPath>,
    /// The same set, as the journal has it.
    avoided_recorded: BTreeSet<RelPath>,
    /// Mount points at which the last check found nothing mounted.
    missing: BTreeSet<RelPath>,
    /// The mount table must be read even if it did not change.
    look_again: bool,
    /// A mount does not count as a change, because a reconcile follows this scan, or because no first copy is wanted.
    pub first: bool,
    /// After a power cut: a file that changed since this time may have lost its content and kept its size and times.
    pub unproven_since_ns: Option<i64>,
    /// The map does not match the file system and must be rebuilt.
    pub lost: bool,
    /// The first reason why a directory could not be watched.
    pub refusal: Option<String>,
    refusal_said: bool,
    /// The user has no watches left.
    pub out_of_watches: bool,
}

enum Fresh {
    New,
    Known,
    Handled,
}

impl Walker {
    /// True if nothing is left to walk or to retry.
    pub fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.later.is_empty()
    }

    /// True when a walk can continue immediately.
    pub fn has_jobs(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// Forgets all walks.
    pub fn clear(&mut self) {
        self.jobs.clear();
        self.later.clear();
        self.lost = false;
        self.refusal = None;
        self.refusal_said = false;
        self.out_of_watches = false;
    }

    /// Begins a walk over everything, into an empty map. It marks what changed since `since_ns`.
    pub fn start_scan(
        &mut self,
        root: &Root,
        context: &mut ScanContext<'_>,
        since_ns: i64,
    ) -> io::Result<()> {
        self.clear();
        let wd = context.queue.add(&root.proc_path(), true)?;
        context.map.tree.start(wd);
        let at = DirRef::Watched(wd);
        let mode = Mode::Since(since_ns);
        let item = Item { at, mode, parent_dev: None, parent_changed: false };
        self.jobs.push(Job::new(Purpose::Scan, vec![item]));
        Ok(())
    }

    /// Begins a search for the names of these files.
    pub fn start_link_search(&mut self, root: i32, wanted: Vec<(u64, u64)>) {
        let at = DirRef::Watched(root);
        let item = Item { at, mode: Mode::Quiet, parent_dev: None, parent_changed: false };
        self.jobs.push(Job::new(Purpose::Links(wanted), vec![item]));
    }

    /// Begins a scan of unwatched directories. It marks what changed since `since_ns`.
    pub fn start_unwatched(&mut self, map: &Map, since_ns: i64, now_ns: i64) {
        self.refusal = None;
        self.out_of_watches = false;
        let item = |path: &RelPath| Item {
            at: DirRef::Unwatched(path.clone()),
            mode: Mode::Since(since_ns),
            parent_dev: None,
            parent_changed: true,
        };
        let stack = map.unwatched.iter().map(item).collect();
        self.jobs.push(Job::new(Purpose::Unwatched(now_ns), stack));
    }

    /// Walks one portion. Returns the walks that ended.
    pub fn portion(&mut self, context: &mut ScanContext<'_>) -> Vec<Done> {
        let until = clock::boot() + PORTION_TIME;
        let (mut entries, mut done) = (0, Vec::new());
        while let Some(mut job) = self.jobs.pop() {
            let finished = loop {
                if entries >= PORTION || clock::boot() >= until {
                    break false;
                }
                if job.purpose == Purpose::Scan {
                    pass(Point::WatcherScans);
                }
                let reading = match job.reading.take() {
                    Some(reading) => Some(reading),
                    None => match job.stack.pop() {
                        Some(item) => self.begin(context, item, &mut job),
                        None => break true,
                    },
                };
                entries += 1;
                if let Some(mut reading) = reading
                    && !self.read(context, &mut reading, &mut job, &mut entries)
                {
                    reading.dir = None;
                    job.reading = Some(reading);
                }
            };
            if finished {
                done.push(self.finish(context, job));
            } else {
                self.jobs.push(job);
                break;
            }
        }
        done
    }

    fn finish(&mut self, context: &mut ScanContext<'_>, job: Job) -> Done {
        for top in job.tops {
            if let Some(path) = context.map.tree.path(top) {
                context.mark_tree(path);
            }
        }
        if let Purpose::Links(wanted) = &job.purpose {
            for path in context.map.links.searched(wanted, &context.map.tree) {
                context.changes.mark(path, Scope::Entry, Events::WRITE | Events::SCAN);
            }
            if job.incomplete {
                context.map.links.want(wanted);
            }
        }
        Done { purpose: job.purpose, dirs: job.dirs }
    }
}

#[cfg(test)]
mod tests;
