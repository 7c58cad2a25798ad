//! Walks: every directory is watched first and read after, in portions, so that the queue is read meanwhile.
//!
//! Directories are named by their watch, not by their path, and a directory is only read when the path that the map
//! has for it leads to that very directory: a walk goes on right through renames.

mod context;
mod mounts;
mod read;
mod resolve;

pub use context::ScanContext;

use crate::journal::{Events, Scope};
use crate::path::RelPath;
use crate::stat::{Kind, Stat};
use crate::sys::clock;
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

/// Entries of one portion; few in tests, where walks are to take many turns.
pub const PORTION: usize = if cfg!(test) { 20 } else { 2_000 };
/// Time of one portion.
pub const PORTION_TIME: Duration = Duration::from_millis(50);
/// When a directory does not stand where the map has it for this long, and no event says why, the map is rebuilt.
const LOST_AFTER: Duration = Duration::from_secs(1);

/// What a scan from `since_ns` marks of something it sees (section 4): a file that changed; a directory that changed,
/// and its names; and, where its parent changed too, everything below, for it may have been moved there.
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

/// True for a file whose modification time was set by a program (tar, `cp -p`): in a directory that another one was
/// swapped for, a file of the same name may have the same size and time and other content (rule 3). The comparison of
/// the tree would take it for equal, so it is marked itself.
pub fn needs_content(stat: &Stat) -> bool {
    stat.kind == Kind::File && (stat.ctime_ns - stat.mtime_ns).abs() > SLACK_NS
}

#[derive(Clone, Copy, Debug)]
enum Mode {
    /// Mark what changed since.
    Since(i64),
    /// Below a directory that may have been moved: mark what changed since, and files of which size and time say
    /// nothing of the content.
    Moved(i64),
    /// Mark everything.
    All,
    /// Only watch, and note files with several names.
    Quiet,
    /// The same, and the whole is marked as a tree when the walk has come to its end.
    Whole,
}

/// A directory that is walked.
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
    /// The device of its parent; `None` when that is of no interest.
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

/// What a walk is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The whole localpath, into an empty map.
    Scan,
    /// A directory that was made.
    New,
    /// A directory that was moved here, or not known to be here.
    Tree,
    /// What could not be watched, begun at this time.
    Unwatched(i64),
    /// A search for names of these files.
    Links(Vec<(u64, u64)>),
}

struct Job {
    purpose: Purpose,
    stack: Vec<Item>,
    reading: Option<Reading>,
    /// What it reads as [`Mode::Whole`] lies below these. What happened there before it was watched has no event, and
    /// may be younger than every mark but one that is made at the end.
    tops: Vec<i32>,
    /// A search for names did not see all there are.
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
    /// Names in this directory could not be looked at.
    Names(i32),
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
    /// Mount points inside, mounted or not, and what is mounted there; empty when that is not known.
    pub mounts: BTreeMap<RelPath, String>,
    /// Paths of which the journal does not know yet that they are mount points, what is mounted there, or that they are
    /// none any more.
    pub changed_mounts: BTreeSet<RelPath>,
    /// Those that are not mounted now.
    pub unmounted: BTreeSet<RelPath>,
    /// Paths at which something was mounted or unmounted; to be marked as trees with the next record.
    pub remounted: BTreeSet<RelPath>,
    /// Those of file systems that do not answer, or were not asked yet: nothing there is touched.
    avoided: BTreeSet<RelPath>,
    /// As the journal knows them.
    avoided_recorded: BTreeSet<RelPath>,
    /// Those that the last look did not find mounted.
    missing: BTreeSet<RelPath>,
    /// The table of mounts is to be looked at even when it did not change.
    look_again: bool,
    /// A mount is not a change: a reconcile follows this scan, or there is to be no first copy.
    pub first: bool,
    /// The map does not fit: rebuild it.
    pub lost: bool,
    /// Why some directory could not be watched; the first reason.
    pub refusal: Option<String>,
    refusal_said: bool,
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

    /// Begins the walk over everything, into an empty map, marking what changed since.
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

    /// Begins a search for names of these files.
    pub fn start_link_search(&mut self, root: i32, wanted: Vec<(u64, u64)>) {
        let at = DirRef::Watched(root);
        let item = Item { at, mode: Mode::Quiet, parent_dev: None, parent_changed: false };
        self.jobs.push(Job::new(Purpose::Links(wanted), vec![item]));
    }

    /// Begins a scan of what is not watched, marking what changed since.
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

    /// Walks one portion. Returns the walks that came to their end.
    pub fn portion(&mut self, context: &mut ScanContext<'_>) -> Vec<Done> {
        let until = clock::boot() + PORTION_TIME;
        let (mut entries, mut done) = (0, Vec::new());
        while let Some(mut job) = self.jobs.pop() {
            let finished = loop {
                if entries >= PORTION || clock::boot() >= until {
                    break false;
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
