//! From marks to what an rsync must be told: a pure plan of one batch.
//!
//! A mark says that a path may differ; what is there *now* decides what is done. Each component of a path is looked
//! at, because rsync does harm below anything that is not a directory: the first missing or non-directory prefix is
//! listed instead. Only ENOENT (or a present non-directory above) is absence; any other error is a failure of that
//! path and never a deletion. What is absent is deleted only when a mark says that it went ([`Events::DELETE`]): of what
//! went while nobody watched, a scan marks the directory, and the delete guard has its say.

use crate::journal::{Events, Scope};
use crate::path::RelPath;
use crate::rsync::trash;
use crate::stat::{Kind, Stat};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

/// A row of the journal, as far as a plan needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marked {
    /// The path.
    pub path: RelPath,
    /// How far the mark reaches.
    pub scope: Scope,
    /// What happened.
    pub events: Events,
}

/// lstat below the root of a localpath.
pub trait Look {
    /// What is at `path`, no link followed; on failure the system's errno.
    fn lstat(&self, path: &RelPath) -> Result<Stat, i32>;
}

/// What a plan is made with, besides the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Regular files of at least this many bytes are [`Plan::large`].
    pub large: u64,
    /// Names of one file stay together, however large it is.
    pub hard_links: bool,
    /// Deletions are allowed at all.
    pub delete: bool,
    /// The device of the root, where nothing of another file system is replicated (`-x`).
    pub one_device: Option<u64>,
}

/// A file for a push of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Large {
    /// The file.
    pub path: RelPath,
    /// It must be compared by content, see [`Plan::checksum`].
    pub checksum: bool,
}

/// A name to delete. Its parent is a present directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absent {
    /// The first missing component of what was marked.
    pub path: RelPath,
    /// Nothing proves that it was no directory; then it may hold excluded names on the remote.
    pub may_be_dir: bool,
}

/// What a batch comes to. No path is in two of `present`, `checksum`, `large`, `absent` and `failed`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Entries that exist.
    pub present: Vec<RelPath>,
    /// Regular files of which size and mtime prove nothing: the mtime was set (it is over 2 s away from the ctime),
    /// so the remote's file may have the same size and mtime and other content. For a run of their own with
    /// `--checksum`.
    pub checksum: Vec<RelPath>,
    /// Every regular file of `present`, `checksum` and `large`, with its mtime as it was looked at.
    pub regular: BTreeMap<RelPath, i64>,
    /// Large regular files.
    pub large: Vec<Large>,
    /// What is to be deleted; empty when deletions are off (then the parents are in `present`).
    pub absent: Vec<Absent>,
    /// Directories of which the direct children must be found by a dry run; none is below one of `tree`.
    pub children: Vec<RelPath>,
    /// Directories of which everything below must be found by a dry run; none is below another.
    pub tree: Vec<RelPath>,
    /// Paths that could not be looked at, and the errno.
    pub failed: Vec<(RelPath, i32)>,
    /// What was marked -> the prefix that is listed in its place.
    pub replaced: BTreeMap<RelPath, RelPath>,
    /// Marked, but excluded, or gone without a mark that says so: settled by doing nothing.
    pub skipped: Vec<RelPath>,
    /// The root itself was marked as an entry; it cannot be listed.
    pub root: bool,
    /// Those of `present`, `checksum` and `large` that are no directories, where the remote may have one: sending
    /// them would delete what it holds.
    pub in_the_way: BTreeSet<RelPath>,
}

/// Of a path that is too long for the trash.
const ENAMETOOLONG: i32 = 36;

impl Plan {
    /// Takes out the paths that are too long for the trash: they fail, and nothing else with them.
    pub fn leave_out_long(&mut self) {
        let mut failed = Vec::new();
        let mut fits = |path: &RelPath| {
            let fits = trash::can_keep(path);
            if !fits {
                failed.push((path.clone(), ENAMETOOLONG));
            }
            fits
        };
        self.present.retain(&mut fits);
        self.checksum.retain(&mut fits);
        self.large.retain(|large| fits(&large.path));
        self.absent.retain(|absent| fits(&absent.path));
        self.failed.extend(failed);
    }

    /// Takes out the paths that are here and of which `goes` is true.
    pub fn leave_out(&mut self, goes: impl Fn(&RelPath) -> bool) -> Vec<RelPath> {
        let mut out = Vec::new();
        let mut stays = |path: &RelPath| {
            let stays = path.is_root() || !goes(path);
            if !stays {
                out.push(path.clone());
            }
            stays
        };
        self.present.retain(&mut stays);
        self.checksum.retain(&mut stays);
        self.large.retain(|large| stays(&large.path));
        self.children.retain(&mut stays);
        self.tree.retain(&mut stays);
        out
    }
}

const ENOENT: i32 = 2;
const ENOTDIR: i32 = 20;
const SECOND: i64 = 1_000_000_000;
/// Coarse file system clocks and slow writers: a fresh mtime may be this much older than the ctime.
const FRESH: i64 = 2 * SECOND;
/// The longest tick of the clock that stamps files (100 Hz).
const TICK: i64 = SECOND / 100;

/// Makes the plan. `excluded` says whether a path (a directory, if true) is left out by the filter; it is asked for
/// every directory above a path too.
pub fn plan(
    rows: impl IntoIterator<Item = Marked>,
    look: &impl Look,
    limits: Limits,
    excluded: impl Fn(&RelPath, bool) -> bool,
) -> Plan {
    let mut merged: BTreeMap<RelPath, (Scope, Events)> = BTreeMap::new();
    for row in rows {
        let entry = merged.entry(row.path).or_insert((Scope::Entry, Events::default()));
        entry.0 = entry.0.max(row.scope);
        entry.1 |= row.events;
    }
    let mut sorter = Sorter {
        places: Places { look, excluded, one_device: limits.one_device, known: HashMap::new() },
        limits,
        out: Sets::default(),
    };
    for (path, (scope, events)) in merged {
        sorter.sort(path, scope, events);
    }
    sorter.out.into_plan()
}

/// What the way to a path, the path included, turns out to be.
#[derive(Clone, Debug)]
enum Place {
    /// A directory, reached through directories.
    Dir,
    /// A directory of another file system, which is not replicated: only its entry is, as with rsync's `-x`.
    MountPoint,
    /// There, and no directory.
    NonDir(Stat),
    /// Missing, below a present directory.
    Missing,
    /// Below this missing or non-directory prefix.
    Cut(Rc<Cut>),
    /// It, or a directory above it, could not be looked at.
    Failed(i32),
    /// It, or a directory above it, is excluded; or it lies below a mount point that is not entered.
    Excluded,
}

/// Where the way to a path ends before the path.
#[derive(Debug)]
struct Cut {
    prefix: RelPath,
    /// What is there, when it is not missing.
    stat: Option<Stat>,
}

/// Every place is looked at once in a batch.
struct Places<'a, L, F> {
    look: &'a L,
    excluded: F,
    one_device: Option<u64>,
    known: HashMap<RelPath, Place>,
}

impl<L: Look, F: Fn(&RelPath, bool) -> bool> Places<'_, L, F> {
    fn get(&mut self, path: &RelPath) -> Place {
        let Some(parent) = path.parent() else { return Place::Dir };
        if let Some(place) = self.known.get(path) {
            return place.clone();
        }
        let place = match self.get(&parent) {
            Place::Dir => self.look(path),
            Place::NonDir(stat) => Place::Cut(Rc::new(Cut { prefix: parent, stat: Some(stat) })),
            Place::Missing => Place::Cut(Rc::new(Cut { prefix: parent, stat: None })),
            // An rsync that is told one of its names takes that name's file system for the one to stay on.
            Place::MountPoint => Place::Excluded,
            place @ (Place::Cut(_) | Place::Failed(_) | Place::Excluded) => place,
        };
        self.known.insert(path.clone(), place.clone());
        place
    }

    fn look(&self, path: &RelPath) -> Place {
        match self.look.lstat(path) {
            Ok(stat) if (self.excluded)(path, stat.kind == Kind::Dir) => Place::Excluded,
            Ok(Stat { kind: Kind::Dir, dev, .. }) => match self.one_device {
                Some(device) if device != dev => Place::MountPoint,
                Some(_) | None => Place::Dir,
            },
            Ok(stat) => Place::NonDir(stat),
            // ENOTDIR: a directory above was replaced between two looks.
            Err(ENOENT | ENOTDIR) => Place::Missing,
            Err(errno) => Place::Failed(errno),
        }
    }
}

#[derive(Default)]
struct Sets {
    plan: Plan,
    present: BTreeSet<RelPath>,
    checksum: BTreeSet<RelPath>,
    /// With whether it must be compared by content.
    large: BTreeMap<RelPath, bool>,
    /// With whether it may be a directory.
    absent: BTreeMap<RelPath, bool>,
}

impl Sets {
    fn into_plan(mut self) -> Plan {
        let plan = &mut self.plan;
        plan.tree = uncovered(std::mem::take(&mut plan.tree));
        let tree: BTreeSet<_> = plan.tree.iter().collect();
        plan.children = std::mem::take(&mut plan.children)
            .into_iter()
            .filter(|path| {
                !tree.contains(&RelPath::root()) && !path.prefixes().any(|p| tree.contains(&p))
            })
            .collect();
        self.present.retain(|path| !self.checksum.contains(path));
        plan.present = self.present.into_iter().collect();
        plan.checksum = self.checksum.into_iter().collect();
        plan.large =
            self.large.into_iter().map(|(path, checksum)| Large { path, checksum }).collect();
        plan.absent =
            self.absent.into_iter().map(|(path, may_be_dir)| Absent { path, may_be_dir }).collect();
        self.plan
    }
}

/// Paths in order, without those below another of them.
fn uncovered(mut paths: Vec<RelPath>) -> Vec<RelPath> {
    paths.sort();
    let all: BTreeSet<_> = paths.iter().cloned().collect();
    let root = all.contains(&RelPath::root());
    let above = |path: &RelPath| path.prefixes().any(|p| p != *path && all.contains(&p));
    paths.retain(|path| path.is_root() || !(root || above(path)));
    paths
}

/// What a second look, after a plan was carried out, tells of a file whose mtime was `planned`: true when its mtime
/// was set meanwhile. It may have been pushed by size and mtime though they prove nothing any more.
pub fn set_meanwhile(planned: i64, now: &Stat) -> bool {
    now.kind == Kind::File && now.mtime_ns != planned && (now.ctime_ns - now.mtime_ns).abs() > FRESH
}

struct Sorter<'a, L, F> {
    places: Places<'a, L, F>,
    limits: Limits,
    out: Sets,
}

impl<L: Look, F: Fn(&RelPath, bool) -> bool> Sorter<'_, L, F> {
    fn sort(&mut self, path: RelPath, scope: Scope, events: Events) {
        let plan = &mut self.out.plan;
        match self.places.get(&path) {
            Place::Dir => match scope {
                Scope::Tree => plan.tree.push(path),
                Scope::Children => plan.children.push(path),
                Scope::Entry if path.is_root() => plan.root = true,
                // It was deleted and is there again: what the remote has in it may be the old one's.
                Scope::Entry if events.contains(Events::DELETE | Events::DIR) => {
                    plan.children.push(path);
                }
                Scope::Entry => drop(self.out.present.insert(path)),
            },
            Place::MountPoint => drop(self.out.present.insert(path)),
            Place::NonDir(stat) => self.file(path, stat, events),
            Place::Missing => {
                let unsure = Events::DIR | Events::SCAN | Events::RECONCILE;
                let may_be_dir = events.intersects(unsure) || scope != Scope::Entry;
                self.missing(&path, &path, events, may_be_dir);
            }
            Place::Cut(cut) => {
                plan.replaced.insert(path.clone(), cut.prefix.clone());
                match cut.stat {
                    // Something was below it, so what the remote has there was a directory.
                    None => self.missing(&cut.prefix, &path, events, true),
                    // Its own events are not known here: be sure.
                    Some(stat) => self.file(cut.prefix.clone(), stat, Events::MOVE | Events::DIR),
                }
            }
            Place::Failed(errno) => plan.failed.push((path, errno)),
            Place::Excluded => plan.skipped.push(path),
        }
    }

    fn file(&mut self, path: RelPath, stat: Stat, events: Events) {
        if stat.kind == Kind::File {
            self.out.plan.regular.insert(path.clone(), stat.mtime_ns);
        }
        // A reconcile saw rsync itself tell the difference, and a change of attributes has left the content alone.
        let harmless = Events::ATTRIB | Events::RECONCILE;
        let bookkeeping = Events::DIR | Events::AGAIN | Events::ECHO | Events::LARGE;
        let proven =
            events.intersects(harmless) && events.difference(harmless | bookkeeping).is_empty();
        if events.contains(Events::DIR) {
            self.out.plan.in_the_way.insert(path.clone());
        }
        let regular = stat.kind == Kind::File;
        // Two files written in one tick of the clock have the same mtime. When one of them is moved over the other
        // soon after, only its content tells.
        let moved = events.intersects(Events::MOVE | Events::SCAN);
        let fresh = if moved { TICK } else { FRESH };
        let set = !proven && (stat.ctime_ns - stat.mtime_ns).abs() > fresh;
        let checksum = regular && (set || events.contains(Events::CONTENT));
        let together = self.limits.hard_links && stat.nlink > 1;
        if regular && stat.size >= self.limits.large && !together {
            *self.out.large.entry(path).or_default() |= checksum;
        } else if checksum {
            self.out.checksum.insert(path);
        } else {
            self.out.present.insert(path);
        }
    }

    fn missing(&mut self, path: &RelPath, marked: &RelPath, events: Events, may_be_dir: bool) {
        // What it was is not known for sure, and what is excluded is never deleted.
        let excluded = &self.places.excluded;
        let kept = excluded(path, false) || (may_be_dir && excluded(path, true));
        if kept || self.limits.delete && !events.contains(Events::DELETE) {
            self.out.plan.skipped.push(marked.clone());
        } else if self.limits.delete {
            *self.out.absent.entry(path.clone()).or_default() |= may_be_dir;
        } else if let Some(parent) = path.parent().filter(|parent| !parent.is_root()) {
            // The deletion changed the parent's times.
            self.out.present.insert(parent);
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
