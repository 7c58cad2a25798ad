//! Plans one batch: turns marks into the lists for rsync. Pure.
//!
//! A mark says that a path may differ. What exists *now* decides what is done. Each component of a path is checked,
//! because rsync does harm below anything that is not a directory. The first missing or non-directory prefix is listed
//! instead. Only ENOENT (or an existing non-directory above) means that a path is absent. Any other error is a failure
//! of that path and never a deletion. An absent path is deleted only if a mark says that it was removed
//! ([`Events::DELETE`]). If it was removed while no watcher ran, a scan marks its directory, and the delete guard
//! applies.

use crate::journal::{Events, Scope};
use crate::path::RelPath;
use crate::rsync::trash;
use crate::stat::{Kind, Stat};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

/// The parts of a row of the journal that a plan needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marked {
    /// The path.
    pub path: RelPath,
    /// The scope of the mark.
    pub scope: Scope,
    /// What happened.
    pub events: Events,
    /// The path it was moved from, if that is known.
    pub origin: Option<RelPath>,
}

/// lstat below the root of a localpath.
pub trait Lstat {
    /// The stat of `path`, without following a link, or the errno.
    fn lstat(&self, path: &RelPath) -> Result<Stat, i32>;
}

/// A file of at least this many bytes counts for [`Limits::batch_bytes`].
pub const BULKY: u64 = 64 << 10;

/// What a plan depends on, besides the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Regular files of at least this many bytes are [`Plan::large`].
    pub large: u64,
    /// The bytes of files of at least [`BULKY`] in one push. Further ones are [`Plan::rest`].
    pub batch_bytes: u64,
    /// Hard links are preserved: a large file with several names is not split off.
    pub hard_links: bool,
    /// Deletions are allowed.
    pub delete: bool,
    /// The remote can give its files new names.
    pub renames: bool,
    /// Directories can be pushed whole.
    pub whole: bool,
    /// The device of the root, if no other file system is replicated (`-x`).
    pub one_device: Option<u64>,
}

/// A file that gets its own push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Large {
    /// The file.
    pub path: RelPath,
    /// It must be compared by content: see [`Plan::checksum`].
    pub checksum: bool,
}

/// A name to delete. Its parent is an existing directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absent {
    /// The first missing component of the marked path.
    pub path: RelPath,
    /// It may have been a directory, and so may contain excluded names on the remote.
    pub may_be_dir: bool,
}

/// A file or directory that was moved. The remote has it under its old name, which is gone here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renamed {
    /// The old name.
    pub from: RelPath,
    /// The name now.
    pub to: RelPath,
}

/// The plan of a batch. No path is in two of `present`, `checksum`, `replace`, `large`, `rest`,
/// `absent` and `failed`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Entries that exist.
    pub present: Vec<RelPath>,
    /// The bytes of the regular files in `present`.
    pub present_bytes: u64,
    /// Regular files whose size and mtime prove nothing: the mtime was set (it is over 2 s away from the ctime), so the
    /// remote's file may have the same size and mtime but other content. They are compared by
    /// content (`--checksum`).
    pub checksum: Vec<RelPath>,
    /// Regular files that the remote may have under another name, too. They are sent in any case, and replaced.
    pub replace: Vec<RelPath>,
    /// Every regular file of `present`, `checksum`, `replace`, `large` and `rest`, with its mtime when it was planned.
    pub regular: BTreeMap<RelPath, i64>,
    /// Large regular files.
    pub large: Vec<Large>,
    /// Regular files that would make the push too long. They are sent in portions.
    pub rest: Vec<RelPath>,
    /// Names to delete. Empty if deletions are off; then the parents are in `present`.
    pub absent: Vec<Absent>,
    /// Directories whose direct children must be compared by a dry run. None is below one of `tree`.
    pub children: Vec<RelPath>,
    /// Directories whose whole trees must be compared by a dry run. None is below another.
    pub tree: Vec<RelPath>,
    /// Directories that are pushed with everything below them. The remote lacked them.
    pub whole: Vec<RelPath>,
    /// Paths whose lstat failed, and the errno.
    pub failed: Vec<(RelPath, i32)>,
    /// What the remote need not be sent again. Each `to` is in one of the other lists, too.
    pub renamed: Vec<Renamed>,
    /// A marked path -> the prefix that is listed in its place.
    pub replaced: BTreeMap<RelPath, RelPath>,
    /// Marked paths that are excluded, or gone without a mark of a deletion. They are settled without a push.
    pub skipped: Vec<RelPath>,
    /// The root itself was marked as an entry. It cannot be in a list.
    pub root: bool,
    /// Paths of `present`, `checksum` and `large` that are not directories, but may be directories on the remote:
    /// sending them would delete what these contain.
    pub in_the_way: BTreeSet<RelPath>,
}

/// The error for a path that is too long for the trash.
const ENAMETOOLONG: i32 = 36;

impl Plan {
    /// Moves paths that are too long for the trash to `failed`, so that they do not fail the whole push.
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

    /// Compares by content, too, the files of [`Plan::present`] for which this is true of the path and its mtime.
    pub fn compare_by_content(&mut self, which: impl Fn(&RelPath, i64) -> bool) {
        let regular = &self.regular;
        let chosen = |path: &RelPath| regular.get(path).is_some_and(|mtime| which(path, *mtime));
        let (chosen, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.present).into_iter().partition(chosen);
        self.present = rest;
        if !chosen.is_empty() {
            self.checksum.extend(chosen);
            self.checksum.sort_unstable();
        }
    }

    /// Replaces those regular files that are sent now and for which this is true of the path, and of whether it may be in
    /// the way of a directory on the remote.
    pub fn replace(&mut self, which: impl Fn(&RelPath, bool) -> bool) {
        for list in [&mut self.present, &mut self.checksum] {
            let chosen = |path: &mut RelPath| {
                self.regular.contains_key(path) && which(path, self.in_the_way.contains(path))
            };
            self.replace.extend(list.extract_if(.., chosen));
        }
        self.replace.sort_unstable();
    }

    /// The regular files that are sent now, with their mtimes.
    pub fn sent(&self) -> impl Iterator<Item = (&RelPath, i64)> {
        let sent = self.present.iter().chain(&self.checksum);
        sent.filter_map(|path| Some((path, *self.regular.get(path)?)))
    }

    /// Removes and returns the existing paths for which `goes` is true.
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
/// A fresh mtime may be this much older than the ctime, because of coarse file system clocks and slow writers.
const FRESH: i64 = 2 * SECOND;
/// Sending a smaller file costs no more than renaming it on the remote.
const RENAMED_LEAST: u64 = 64 << 10;
/// The largest number of moves of one path that are followed.
const RENAMES_MOST: usize = 16;
/// The longest tick of the clock that stamps files (100 Hz).
const TICK: i64 = SECOND / 100;

/// Makes the plan. `excluded(path, is_dir)` says whether the filter excludes a path. It is also called for every
/// directory above a path.
pub fn plan(
    rows: impl IntoIterator<Item = Marked>,
    files: &impl Lstat,
    limits: Limits,
    excluded: impl Fn(&RelPath, bool) -> bool,
) -> Plan {
    let mut merged: BTreeMap<RelPath, (Scope, Events)> = BTreeMap::new();
    let mut origins = BTreeMap::new();
    for row in rows {
        if let Some(origin) = row.origin.filter(|_| limits.renames) {
            origins.insert(row.path.clone(), origin);
        }
        let entry = merged.entry(row.path).or_insert((Scope::Entry, Events::default()));
        entry.0 = entry.0.max(row.scope);
        entry.1 |= row.events;
    }
    let mut sorter = Sorter {
        places: Places { files, excluded, one_device: limits.one_device, known: HashMap::new() },
        limits,
        out: Sets::default(),
    };
    for (path, (scope, events)) in &merged {
        sorter.sort(path.clone(), *scope, *events);
    }
    for (to, origin) in &origins {
        sorter.rename(to, origin, &origins, &merged);
    }
    sorter.out.into_plan()
}

/// What a path and the directories above it are.
#[derive(Clone, Debug)]
enum Place {
    /// A directory, reached through directories.
    Dir,
    /// A directory of another file system. Only its entry is replicated, not its contents, as with rsync's `-x`.
    MountPoint,
    /// It exists and is not a directory.
    NonDir(Stat),
    /// Missing, below an existing directory.
    Missing,
    /// Below this missing or non-directory prefix.
    Cut(Rc<Cut>),
    /// lstat failed for it or for a directory above it.
    Failed(i32),
    /// It or a directory above it is excluded, or it is below a mount point that is not entered.
    Excluded,
}

/// The prefix at which a path is cut off.
#[derive(Debug)]
struct Cut {
    prefix: RelPath,
    /// The stat of the prefix, if it exists.
    stat: Option<Stat>,
}

/// The places of a batch. Each is looked up only once.
struct Places<'a, L, F> {
    files: &'a L,
    excluded: F,
    one_device: Option<u64>,
    known: HashMap<RelPath, Place>,
}

impl<L: Lstat, F: Fn(&RelPath, bool) -> bool> Places<'_, L, F> {
    fn get(&mut self, path: &RelPath) -> Place {
        let Some(parent) = path.parent() else { return Place::Dir };
        if let Some(place) = self.known.get(path) {
            return place.clone();
        }
        let place = match self.get(&parent) {
            Place::Dir => self.look_up(path),
            Place::NonDir(stat) => Place::Cut(Rc::new(Cut { prefix: parent, stat: Some(stat) })),
            Place::Missing => Place::Cut(Rc::new(Cut { prefix: parent, stat: None })),
            // rsync would enter this file system if its list contained a name on it.
            Place::MountPoint => Place::Excluded,
            place @ (Place::Cut(_) | Place::Failed(_) | Place::Excluded) => place,
        };
        self.known.insert(path.clone(), place.clone());
        place
    }

    fn is_excluded(&self, path: &RelPath) -> bool {
        (self.excluded)(path, false) || (self.excluded)(path, true)
    }

    fn look_up(&self, path: &RelPath) -> Place {
        match self.files.lstat(path) {
            Ok(stat) if (self.excluded)(path, stat.kind == Kind::Dir) => Place::Excluded,
            Ok(Stat { kind: Kind::Dir, dev, .. }) => match self.one_device {
                Some(device) if device != dev => Place::MountPoint,
                Some(_) | None => Place::Dir,
            },
            Ok(stat) => Place::NonDir(stat),
            // ENOTDIR: a directory above was replaced meanwhile.
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
    /// The value says whether it must be compared by content.
    large: BTreeMap<RelPath, bool>,
    rest: BTreeSet<RelPath>,
    /// The bytes of the files of at least [`BULKY`] in `present` and `checksum`.
    bytes: u64,
    /// The value says whether it may have been a directory.
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
        plan.rest = self.rest.into_iter().collect();
        plan.absent =
            self.absent.into_iter().map(|(path, may_be_dir)| Absent { path, may_be_dir }).collect();
        self.plan
    }
}

/// Sorts the paths, and removes those that are below another one.
fn uncovered(mut paths: Vec<RelPath>) -> Vec<RelPath> {
    paths.sort();
    let all: BTreeSet<_> = paths.iter().cloned().collect();
    let root = all.contains(&RelPath::root());
    let above = |path: &RelPath| path.prefixes().any(|p| p != *path && all.contains(&p));
    paths.retain(|path| path.is_root() || !(root || above(path)));
    paths
}

/// True for a directory that a portion pushes whole. It is compared if an earlier push of it failed, or if a push that
/// was not seen to end may still be running.
///
/// A push of everything is as cheap as the comparison, and the comparison follows.
fn is_whole(path: &RelPath, events: Events) -> bool {
    let seen = path.is_root() || !events.contains(Events::AGAIN);
    seen && events.contains(Events::WHOLE | Events::BULK)
}

/// True if these events say nothing of content: rsync itself found the difference, or only attributes changed.
pub fn spares_content(events: Events) -> bool {
    let harmless = Events::ATTRIB | Events::RECONCILE;
    let bookkeeping = Events::DIR | Events::AGAIN | Events::ECHO | Events::LARGE | Events::BULK;
    events.intersects(harmless) && events.difference(harmless | bookkeeping).is_empty()
}

/// True if the mtime of a file was set after it was planned with the mtime `planned`. The file may have been pushed by
/// size and mtime, which prove nothing any more.
pub fn set_meanwhile(planned: i64, now: &Stat) -> bool {
    now.kind == Kind::File && now.mtime_ns != planned && (now.ctime_ns - now.mtime_ns).abs() > FRESH
}

struct Sorter<'a, L, F> {
    places: Places<'a, L, F>,
    limits: Limits,
    out: Sets,
}

impl<L: Lstat, F: Fn(&RelPath, bool) -> bool> Sorter<'_, L, F> {
    fn sort(&mut self, path: RelPath, scope: Scope, events: Events) {
        let plan = &mut self.out.plan;
        match self.places.get(&path) {
            Place::Dir => match scope {
                Scope::Tree if self.limits.whole && is_whole(&path, events) => {
                    plan.whole.push(path)
                }
                Scope::Tree => plan.tree.push(path),
                Scope::Children => plan.children.push(path),
                Scope::Entry if path.is_root() => plan.root = true,
                // It was deleted and created again. The remote's directory may still contain the old one's names.
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
                    // A path was marked below it, so it was a directory.
                    None => self.missing(&cut.prefix, &path, events, true),
                    // Its own events are not known, so assume that it was moved and may be a directory.
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
        let proven = spares_content(events);
        if events.contains(Events::DIR) {
            self.out.plan.in_the_way.insert(path.clone());
        }
        let regular = stat.kind == Kind::File;
        // Two files written in one tick of the clock have the same mtime. If one of them is moved over the other soon
        // after, only the content differs.
        let moved = events.intersects(Events::MOVE | Events::SCAN);
        let fresh = if moved { TICK } else { FRESH };
        let set = !proven && (stat.ctime_ns - stat.mtime_ns).abs() > fresh;
        let checksum = regular && (set || events.contains(Events::CONTENT));
        let together = self.limits.hard_links && stat.nlink > 1;
        // A file that is marked all the time must not be put off again and again.
        let waited = events.contains(Events::BULK);
        if regular && stat.size >= self.limits.large && !together {
            *self.out.large.entry(path).or_default() |= checksum;
        } else if regular && !together && !waited && !self.fits(&path, stat.size) {
            self.out.rest.insert(path);
        } else if checksum {
            self.out.checksum.insert(path);
        } else {
            let news = self.out.present.insert(path);
            self.out.plan.present_bytes += if regular && news { stat.size } else { 0 };
        }
    }

    /// Notes a moved path whose content the remote has under an old name. Several moves may have led to its name.
    fn rename(
        &mut self,
        to: &RelPath,
        origin: &RelPath,
        origins: &BTreeMap<RelPath, RelPath>,
        marks: &BTreeMap<RelPath, (Scope, Events)>,
    ) {
        let mut from = origin;
        for _ in 0..RENAMES_MOST {
            match origins.get(from) {
                Some(before) if self.is_gone(from) => from = before,
                Some(_) | None => break,
            }
        }
        // The remote does not have what is new or was written since. Its old name goes with this push.
        let news = match self.places.get(to) {
            Place::Dir => Events::CREATE,
            _ => Events::CREATE | Events::WRITE,
        };
        let known = marks.get(from).is_some_and(|(_, events)| {
            events.contains(Events::DELETE | Events::MOVE) && !events.intersects(news)
        });
        if !known || !self.is_gone(from) || self.places.is_excluded(from) {
            return;
        }
        match self.places.get(to) {
            Place::Dir if marks.get(to).is_some_and(|(scope, _)| *scope == Scope::Tree) => {}
            Place::NonDir(stat) if stat.kind == Kind::File && stat.size >= RENAMED_LEAST => {
                let out = &mut self.out;
                if let Some(checksum) = out.large.get_mut(to) {
                    *checksum = true;
                } else if out.present.remove(to) {
                    out.checksum.insert(to.clone());
                }
            }
            _ => return,
        }
        self.out.plan.renamed.push(Renamed { from: from.clone(), to: to.clone() });
    }

    /// True if nothing exists at this path, and nothing in the place of a directory above it.
    fn is_gone(&mut self, path: &RelPath) -> bool {
        match self.places.get(path) {
            Place::Missing => true,
            Place::Cut(cut) => cut.stat.is_none(),
            _ => false,
        }
    }

    /// True if this file still fits into the push. The first one always does.
    fn fits(&mut self, path: &RelPath, size: u64) -> bool {
        let out = &mut self.out;
        if size < BULKY || out.present.contains(path) || out.checksum.contains(path) {
            return true;
        }
        let fits = out.bytes == 0 || out.bytes + size <= self.limits.batch_bytes;
        if fits {
            out.bytes += size;
        }
        fits
    }

    fn missing(&mut self, path: &RelPath, marked: &RelPath, events: Events, may_be_dir: bool) {
        // Excluded names are never deleted, and the type of the missing name is not known for sure.
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
