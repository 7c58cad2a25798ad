//! What a lane is to push now: of what is marked and owed, all that touches nothing another lane has in hand.

use crate::journal::{Events, JournalError, Marked, Owed, Scope};
use crate::path::RelPath;
use crate::pusher::batch::Batch;
use crate::pusher::context::Context;
use crate::pusher::jobs::Jobs;
use crate::pusher::lane::Lane;
use crate::pusher::scheduler::Blocked;
use crate::rsync::complaint;
use crate::stat::Kind;
use crate::sys::{clock, files};
use std::collections::HashMap;

/// Names in one batch.
pub const BATCH: u32 = 10_000;
/// Bytes of the files of one portion: what is changed in it while it goes waits for its end.
const PORTION_BYTES: u64 = 64 << 20;
/// Large files of which the smallest is looked for.
const LARGE_LOOKED_AT: u32 = 100;
/// Names that are owed and go along with marks.
const ALONG: u32 = 1_000;
/// What was put off because a file in flight is in its way is tried again after this, in milliseconds.
const FLIGHT_WAIT_MS: i64 = 500;
/// So long after a comparison found something, a new directory is compared too: what was pushed under it before it
/// was watched may be gone again.
const COMPARED_LATELY_MS: i64 = 60_000;

/// Paths that are not pushed now -> milliseconds until they are due.
pub type Deferred = HashMap<RelPath, i64>;

/// What a lane found for it.
#[derive(Default)]
pub struct Selection {
    /// What it pushes now; `None` when all of it must wait for a push in flight.
    pub batch: Option<Batch>,
    /// What of that is put off.
    pub deferred: Deferred,
    /// What must wait.
    pub blocked: Vec<Blocked>,
    /// The batch holds every mark up to this one.
    pub whole: Option<i64>,
    /// Lanes whose large file has gone: it is given up.
    pub gone: Vec<Lane>,
}

/// What `lane` is to push now. With `bulk`, what a comparison of everything found waits, too; with `comparing`, one is
/// under way or requested.
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
    let mut batch = Batch::new(marks, owed, context.again_upto);
    if lane == Lane::Small {
        beside_large(context, jobs, &batch, &mut found)?;
        beside_temporaries(jobs, &batch, &mut found.deferred);
    }
    narrow(&mut batch, comparing, jobs.compared_ms);
    found.batch = Some(batch);
    Ok(found)
}

/// Marks, and single names that are owed.
fn small(
    context: &Context,
    jobs: &Jobs,
    bulk: bool,
    now_ms: i64,
    found: &mut Selection,
) -> Result<(Vec<Marked>, Vec<Owed>), JournalError> {
    let (journal, name) = (&context.journal, &context.name);
    // Before they are read: what is marked in between is above it.
    let last = journal.last_seq()?;
    let marks = journal.marks_after(context.standing.cursor, BATCH)?;
    // A change does not wait for what a large directory differs in.
    let along = if marks.is_empty() { BATCH } else { ALONG };
    let mut owed = journal.due(name, now_ms, along)?;
    found.whole = (marks.len() < BATCH as usize).then_some(last);
    // A path that failed and is marked again: its row goes with the mark.
    owed.extend(journal.failing_later(name, now_ms, &marks)?);
    // A path that is marked all the time would never be in a portion.
    if bulk {
        owed.extend(journal.bulk_of(name, now_ms, &marks)?);
    }
    if after_bulk(jobs, &marks, &mut owed, &mut found.deferred) {
        // The next portion waits for these: they are not put off again and again.
        found.blocked.push(Blocked::PortionBehindNames);
        if owed.is_empty() {
            found.blocked.push(Blocked::NamesBehindPortion);
        }
    }
    Ok((marks, owed))
}

/// What touches a portion in flight comes after it: rows stay where they are, marks are put off. True when there was
/// any.
///
/// The other way round there is nothing to wait for: what changes after a push of marks has looked at it is marked
/// again, and pushed after that portion.
fn after_bulk(
    jobs: &Jobs,
    marks: &[Marked],
    owed: &mut Vec<Owed>,
    deferred: &mut Deferred,
) -> bool {
    let touched = |path: &RelPath| jobs.bulk().any(|push| push.touches(path));
    let before = owed.len();
    owed.retain(|row| !touched(&row.path));
    let marks = marks.iter().filter(|mark| touched(&mark.path));
    deferred.extend(marks.map(|mark| (mark.path.clone(), 0)));
    owed.len() < before || !deferred.is_empty()
}

/// Of what a comparison of everything found the next names, but for those that touch the portion in flight, and those
/// that are being pushed as marked: nothing goes twice. When there are none, what they wait for.
fn next_portion(
    context: &Context,
    jobs: &Jobs,
    now_ms: i64,
) -> Result<(Vec<Owed>, Blocked), JournalError> {
    let in_flight: usize = jobs.bulk().map(|push| push.paths().count()).sum();
    let limit = BATCH + in_flight as u32;
    let mut owed = context.journal.due_bulk(&context.name, now_ms, limit)?;
    owed.retain(|row| !jobs.bulk().any(|push| push.touches(&row.path)));
    let untouched = owed.len();
    if let Some(marked) = jobs.push(Lane::Small) {
        owed.retain(|row| !marked.has(&row.path));
    }
    // Else the end of a push of marks changes nothing: to read thousands of rows after each of them would take all there
    // is of a core.
    let behind = match owed.len() < untouched {
        true => Blocked::PortionBehindMarks,
        false => Blocked::PortionBehindPortion,
    };
    owed.truncate(BATCH as usize);
    let silent = context.journal.silent_mounts()?;
    let silent = |path: &RelPath| silent.iter().any(|mount| path.is_within(mount));
    let localpath = &context.start.localpath;
    let mut bytes = 0;
    let small = owed.iter().take_while(|row| {
        let first = bytes == 0;
        let look = || files::lstat(&row.path.below(localpath.watch.as_path())).ok();
        let stat = if silent(&row.path) { None } else { look() };
        // What is larger goes apart.
        let size = stat.map_or(0, |stat| stat.size);
        bytes += if size < localpath.large_file_bytes { size } else { 0 };
        first || bytes <= PORTION_BYTES
    });
    let names = small.count();
    owed.truncate(names);
    Ok((owed, behind))
}

/// A directory made while nothing was being compared has no more in it than its own events say: no comparison is
/// needed for it.
fn narrow(batch: &mut Batch, comparing: bool, compared_ms: i64) {
    let made = Events::CREATE | Events::DIR | Events::ATTRIB | Events::AGAIN;
    for item in &mut batch.items {
        let only_made = item.scope == Scope::Children && item.events.difference(made).is_empty();
        if only_made && !comparing && item.since_ms - compared_ms > COMPARED_LATELY_MS {
            item.scope = Scope::Entry;
        }
    }
}

/// What a comparison found too much there and may be the temporary file of a name in hand comes when it is in hand no
/// more: by then that has gone, or it is what an earlier receiver left (rule 20).
fn beside_temporaries(jobs: &Jobs, batch: &Batch, deferred: &mut Deferred) {
    let found = batch.items.iter().filter(|item| item.events.contains(Events::RECONCILE));
    let of_one_in_hand =
        |path: &&RelPath| complaint::temporary_of(path).is_some_and(|name| jobs.in_hand(&name));
    let temporaries = found.map(|item| &item.path).filter(of_one_in_hand);
    deferred.extend(temporaries.map(|path| (path.clone(), FLIGHT_WAIT_MS)));
}

/// The large files that wait and that no push in flight touches, the one that has waited longest first.
fn large_waiting(context: &Context, jobs: &Jobs, now_ms: i64) -> Result<Vec<Owed>, JournalError> {
    let mut owed = context.journal.due_large(&context.name, now_ms, LARGE_LOOKED_AT)?;
    owed.retain(|row| !jobs.large().any(|push| push.touches(&row.path)));
    Ok(owed)
}

/// How many large files wait that no push in flight touches: of many, some.
pub fn large_count(context: &Context, jobs: &Jobs) -> Result<usize, JournalError> {
    Ok(large_waiting(context, jobs, clock::wall_ms())?.len())
}

/// The large file that is next in this lane.
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

/// A batch leaves a large file in flight alone. When its name has gone, it is given up instead.
fn beside_large(
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
            found.gone.push(lane);
        }
    }
    Ok(())
}
