//! Selects what a lane pushes now: all marks and owed rows that touch no path in flight in another lane.

use crate::journal::{Events, JournalError, Marked, Owed, Scope};
use crate::path::RelPath;
use crate::pusher::batch::Batch;
use crate::pusher::context::Context;
use crate::pusher::jobs::Jobs;
use crate::pusher::jobs::push::Push;
use crate::pusher::lane::Lane;
use crate::pusher::scheduler::Blocked;
use crate::pusher::trees::{self, Files, Size};
use crate::rsync::complaint;
use crate::stat::Kind;
use crate::sys::files::Root;
use crate::sys::{clock, files};
use std::collections::HashMap;
use std::path::Path;

/// Names in one batch.
pub const BATCH: u32 = 10_000;
/// Marks in one batch. With many at once, directories are found all of whose names are marked, which costs less than a
/// list of the names.
pub const MARKS: u32 = 50_000;
/// A directory that was searched in vain counts as this number of names.
const SEARCHED: usize = 1_000;
/// The rows among which the first portion is searched that may consist of whole directories.
const WHOLE_CONSIDERED: u32 = 1_000;
/// The largest size of the files of one portion: a change of one of its paths waits for the end of its push.
const PORTION_BYTES: u64 = 64 << 20;
/// The number of large files among which the smallest one is searched.
const LARGE_CONSIDERED: u32 = 100;
/// The largest number of owed names that are pushed with marks.
const ALONG: u32 = 1_000;
/// The delay before a path is pushed that was deferred because of a file in flight, in milliseconds.
const FLIGHT_WAIT_MS: i64 = 500;
/// For this long after a comparison found a difference, a new directory is compared, too: names may have been pushed
/// below it before it was watched, and may be gone again.
const COMPARED_LATELY_MS: i64 = 60_000;

/// Paths that are not pushed now -> milliseconds until they are due.
pub type Deferred = HashMap<RelPath, i64>;

/// What a lane pushes now.
#[derive(Default)]
pub struct Selection {
    /// The batch to push. `None` if everything must wait for a push in flight.
    pub batch: Option<Batch>,
    /// The paths of the batch that are deferred.
    pub deferred: Deferred,
    /// Why other work must wait.
    pub blocked: Vec<Blocked>,
    /// The batch contains every mark up to this number.
    pub read_upto: Option<i64>,
    /// Lanes whose large file is gone, and whose push is abandoned.
    pub abandoned: Vec<Lane>,
}

/// What `lane` pushes now. `bulk` says whether rows of a reconcile wait, and `comparing` whether one is running or
/// requested.
pub fn select(
    context: &Context,
    jobs: &Jobs,
    lane: Lane,
    bulk: bool,
    comparing: bool,
) -> Result<Selection, JournalError> {
    let now_ms = clock::wall_ms();
    let mut found = Selection::default();
    let (marks, owed) = match lane {
        Lane::Small => {
            let (marks, owed) = small(context, jobs, bulk, now_ms, &mut found)?;
            if marks.is_empty() && found.blocked.contains(&Blocked::NamesBehindPortion) {
                return Ok(found);
            }
            (marks, owed)
        }
        Lane::Large | Lane::Large2 => {
            let Some(row) = next_large(context, jobs, lane, now_ms)? else { return Ok(found) };
            (Vec::new(), vec![row])
        }
        Lane::Bulk | Lane::Bulk2 => {
            let (owed, behind) = next_portion(context, jobs, now_ms)?;
            if owed.is_empty() && jobs.pushing() {
                found.blocked.push(behind);
                return Ok(found);
            }
            (Vec::new(), owed)
        }
    };
    let mut batch = Batch::new(marks, owed, context.repush_upto);
    if lane == Lane::Small {
        defer_large(context, jobs, &batch, &mut found)?;
        defer_temporaries(jobs, &batch, &mut found.deferred);
    }
    narrow_scopes(&mut batch, comparing, jobs.compared_ms);
    found.batch = Some(batch);
    Ok(found)
}

/// Marks, and owed names.
fn small(
    context: &Context,
    jobs: &Jobs,
    bulk: bool,
    now_ms: i64,
    found: &mut Selection,
) -> Result<(Vec<Marked>, Vec<Owed>), JournalError> {
    let (journal, name) = (&context.journal, &context.name);
    // This is read before the marks, so that later marks are above it.
    let last = journal.last_seq()?;
    let mut marks = journal.marks_after(context.remote_state.cursor, MARKS)?;
    let mut complete = marks.len() < MARKS as usize;
    // Each name that is deleted by a rule is compared with every other rule.
    let gone = |mark: &Marked| mark.events.contains(Events::DELETE);
    let mut deletions = (0..marks.len()).filter(|&at| gone(&marks[at]));
    if let Some(at) = deletions.nth(BATCH as usize) {
        marks.truncate(at);
        complete = false;
    }
    // A change must not wait for the many differences of a large directory.
    let along = if marks.is_empty() { BATCH } else { ALONG };
    let mut owed = journal.due(name, now_ms, along)?;
    found.read_upto = complete.then_some(last);
    // The row of a failing path that is marked again is pushed with the mark.
    owed.extend(journal.failing_later(name, now_ms, &marks)?);
    // A path that is marked all the time would never get into a portion.
    if bulk {
        owed.extend(journal.bulk_of(name, now_ms, &marks)?);
    }
    if after_bulk(jobs, &marks, &mut owed, &mut found.deferred) {
        // The next portion waits for these, so that they are not deferred repeatedly.
        found.blocked.push(Blocked::PortionBehindNames);
        if owed.is_empty() {
            found.blocked.push(Blocked::NamesBehindPortion);
        }
    }
    Ok((marks, owed))
}

/// Rows and marks that touch a portion in flight wait for its end: rows stay owed, marks are deferred. Returns true if
/// there were any.
///
/// A portion need not wait for marks: a path that changes after a push of marks has read it is marked again, and is
/// pushed after the portion.
fn after_bulk(
    jobs: &Jobs,
    marks: &[Marked],
    owed: &mut Vec<Owed>,
    deferred: &mut Deferred,
) -> bool {
    // What changes while everything is pushed is pushed beside it, the root's own attributes, too.
    let portions = || jobs.bulk().filter(|push| !push.is_everything());
    let touched = |path: &RelPath| portions().any(|push| push.touches(path));
    let before = owed.len();
    owed.retain(|row| !touched(&row.path));
    let marks = marks.iter().filter(|mark| touched(&mark.path));
    deferred.extend(marks.map(|mark| (mark.path.clone(), 0)));
    owed.len() < before || !deferred.is_empty()
}

/// The next names of a reconcile, without those that touch a portion or marks in flight, so that no name is pushed
/// twice. Also what the names wait for, if there are none.
fn next_portion(
    context: &Context,
    jobs: &Jobs,
    now_ms: i64,
) -> Result<(Vec<Owed>, Blocked), JournalError> {
    let in_flight: usize = jobs.bulk().map(|push| push.paths().count()).sum();
    let mut portion = Portion::new(context)?;
    let mut behind = Blocked::PortionBehindPortion;
    if jobs.pushes_everything() {
        return Ok((Vec::new(), behind));
    }
    // A few directories that are pushed whole may be enough.
    for limit in [WHOLE_CONSIDERED, BATCH] {
        let limit = limit + in_flight as u32;
        let mut owed = context.journal.due_bulk(&context.name, now_ms, limit)?;
        let all = owed.len() < limit as usize;
        let mut tops = Tops::new(context, &portion.silent);
        owed.retain(|row| !jobs.bulk().any(|push| tops.touch(push, &row.path)));
        owed.retain(|row| !jobs.large().any(|push| tops.delete_beside(push, &row.path)));
        let untouched = owed.len();
        if let Some(marked) = jobs.push(Lane::Small) {
            owed.retain(|row| !tops.meet_marks(marked, row));
        }
        // Otherwise the end of a push of marks unblocks nothing. Reading thousands of rows after each of them would keep
        // a core busy.
        if owed.len() < untouched {
            behind = Blocked::PortionBehindMarks;
        }
        let everything = owed.first().is_some_and(|row| {
            row.path.is_root() && row.events.contains(Events::WHOLE | Events::BULK)
        });
        // It is pushed alone.
        match everything {
            true if jobs.bulk().next().is_some() => owed.clear(),
            true => owed.truncate(1),
            false => {}
        }
        portion.rows.clear();
        portion.size = Size::default();
        let full = owed.into_iter().any(|row| !portion.add(context, row));
        if full || all {
            break;
        }
    }
    Ok((portion.rows, behind))
}

/// Finds what is pushed in the place of a name that is gone.
struct Tops<'a> {
    watch: &'a Path,
    silent: &'a [RelPath],
    /// What is known of names above others.
    dirs: HashMap<RelPath, bool>,
}

impl<'a> Tops<'a> {
    fn new(context: &'a Context, silent: &'a [RelPath]) -> Self {
        let watch = context.start.localpath.watch.as_path();
        Self { watch, silent, dirs: HashMap::new() }
    }

    /// The first name on the way to this path that is no directory. Of everything below it, it is what is pushed.
    fn top(&mut self, path: &RelPath) -> Option<RelPath> {
        path.prefixes().find(|above| !self.is_dir(above))
    }

    fn is_dir(&mut self, path: &RelPath) -> bool {
        let look = || {
            self.silent.iter().any(|mount| path.is_within(mount))
                || files::lstat(&path.below(self.watch)).is_ok_and(|stat| stat.kind == Kind::Dir)
        };
        *self.dirs.entry(path.clone()).or_insert_with(look)
    }

    /// True if a push of this path would touch what that push touches.
    fn touch(&mut self, push: &Push, path: &RelPath) -> bool {
        push.touches(path) || self.delete_beside(push, path)
    }

    /// True if a push of this path would delete, or send, a name that that push touches.
    fn delete_beside(&mut self, push: &Push, path: &RelPath) -> bool {
        self.top(path).is_some_and(|top| push.touches(&top))
    }

    /// True if the push of marks sends, renames or deletes what a push of this row would send or delete.
    fn meet_marks(&mut self, marked: &Push, row: &Owed) -> bool {
        marked.renames(&row.path)
            || match self.top(&row.path) {
                Some(top) => marked.sends(&top) || marked.reads(&top) || marked.has_below(&top),
                // The attributes of a directory may be set while it is pushed whole, or names below it.
                None if row.events.contains(Events::WHOLE) => false,
                None => marked.sends(&row.path) || marked.reads(&row.path),
            }
    }
}

/// The names of a reconcile that are pushed together.
struct Portion {
    rows: Vec<Owed>,
    size: Size,
    /// The localpath, if directories can be pushed whole.
    trees: Option<Root>,
    silent: Vec<RelPath>,
}

impl Portion {
    fn new(context: &Context) -> Result<Self, JournalError> {
        let watch = context.start.localpath.watch.as_path();
        let trees = trees::can_be_sent(context).then(|| Root::open(watch).ok()).flatten();
        let silent = context.journal.silent_mounts()?;
        Ok(Self { rows: Vec::new(), size: Size::default(), trees, silent })
    }

    /// Adds a row if it fits. The first one always does.
    fn add(&mut self, context: &Context, mut row: Owed) -> bool {
        context.supervisor.beat();
        let size = match row.events.contains(Events::WHOLE | Events::BULK) {
            true => self.whole(context, &row.path),
            false => Some(self.single(context, &row.path)),
        };
        // A directory that has grown is compared instead.
        if size.is_none() {
            row.events.remove(Events::BULK);
        }
        let size = size.unwrap_or(Size { names: SEARCHED, bytes: 0 });
        let names = self.size.names + 1 + size.names;
        let bytes = self.size.bytes + size.bytes;
        if !self.rows.is_empty() && (names > BATCH as usize || bytes > PORTION_BYTES) {
            return false;
        }
        self.size = Size { names, bytes };
        self.rows.push(row);
        true
    }

    fn whole(&self, context: &Context, path: &RelPath) -> Option<Size> {
        let root = self.trees.as_ref()?;
        if path.is_root() {
            return self.silent.is_empty().then(Size::default);
        }
        let size = trees::size(context, root, path, &self.silent, Files::Examined)?;
        (size.bytes <= PORTION_BYTES).then_some(size)
    }

    fn single(&self, context: &Context, path: &RelPath) -> Size {
        let localpath = &context.start.localpath;
        let stat = match self.silent.iter().any(|mount| path.is_within(mount)) {
            true => None,
            false => files::lstat(&path.below(localpath.watch.as_path())).ok(),
        };
        // Large files are pushed separately.
        let bytes = stat.map_or(0, |stat| stat.size);
        Size { names: 0, bytes: if bytes < localpath.large_file_bytes { bytes } else { 0 } }
    }
}

/// A directory that was created while no comparison ran contains only what its own events marked. It needs no
/// comparison.
fn narrow_scopes(batch: &mut Batch, comparing: bool, compared_ms: i64) {
    let created = Events::CREATE | Events::DIR | Events::ATTRIB | Events::AGAIN;
    for item in &mut batch.items {
        let only_created =
            item.scope == Scope::Children && item.events.difference(created).is_empty();
        if only_created && !comparing && item.since_ms - compared_ms > COMPARED_LATELY_MS {
            item.scope = Scope::Entry;
        }
    }
}

/// Defers an extra name on the remote that may be the temporary file of a name in flight, until that push has ended. By
/// then the file is gone, or an earlier receiver left it (rule 20).
fn defer_temporaries(jobs: &Jobs, batch: &Batch, deferred: &mut Deferred) {
    let found = batch.items.iter().filter(|item| item.events.contains(Events::RECONCILE));
    let of_one_in_flight =
        |path: &&RelPath| complaint::temporary_of(path).is_some_and(|name| jobs.in_flight(&name));
    let temporaries = found.map(|item| &item.path).filter(of_one_in_flight);
    deferred.extend(temporaries.map(|path| (path.clone(), FLIGHT_WAIT_MS)));
}

/// The large files that wait and that no push in flight touches, the one that has waited longest first.
fn large_waiting(context: &Context, jobs: &Jobs, now_ms: i64) -> Result<Vec<Owed>, JournalError> {
    let mut owed = context.journal.due_large(&context.name, now_ms, LARGE_CONSIDERED)?;
    let silent = context.journal.silent_mounts()?;
    let mut tops = Tops::new(context, &silent);
    owed.retain(|row| !jobs.large().any(|push| tops.touch(push, &row.path)));
    owed.retain(|row| !jobs.bulk().any(|push| tops.delete_beside(push, &row.path)));
    if let Some(marked) = jobs.push(Lane::Small) {
        owed.retain(|row| !tops.meet_marks(marked, row));
    }
    Ok(owed)
}

/// The number of large files that wait and that no push in flight touches. It is bounded.
pub fn large_count(context: &Context, jobs: &Jobs) -> Result<usize, JournalError> {
    Ok(large_waiting(context, jobs, clock::wall_ms())?.len())
}

/// The next large file of this lane.
fn next_large(
    context: &Context,
    jobs: &Jobs,
    lane: Lane,
    now_ms: i64,
) -> Result<Option<Owed>, JournalError> {
    let owed = large_waiting(context, jobs, now_ms)?;
    let watch = context.start.localpath.watch.as_path();
    let size = |row: &Owed| files::lstat(&row.path.below(watch)).map_or(0, |stat| stat.size);
    Ok(match lane {
        Lane::Large2 => owed.into_iter().min_by_key(size),
        _ => owed.into_iter().next(),
    })
}

/// Defers large files in flight from a batch. If the name of such a file is gone, its push is abandoned instead.
fn defer_large(
    context: &Context,
    jobs: &Jobs,
    batch: &Batch,
    found: &mut Selection,
) -> Result<(), JournalError> {
    for lane in Lane::LARGE {
        let first = jobs.push(lane).and_then(|push| push.paths().next());
        let Some(large) = first else { continue };
        if !batch.items.iter().any(|i| large.is_within(&i.path) || i.path.is_within(large)) {
            continue;
        }
        let silent = context.journal.silent_mounts()?;
        let there = match silent.iter().any(|mount| large.is_within(mount)) {
            true => None,
            false => files::lstat(&large.below(context.start.localpath.watch.as_path())).ok(),
        };
        if there.is_some_and(|stat| stat.kind == Kind::File) {
            found.deferred.insert(large.clone(), FLIGHT_WAIT_MS);
        } else {
            found.abandoned.push(lane);
        }
    }
    Ok(())
}
