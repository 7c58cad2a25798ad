//! What a lane is to push now: of what is marked and owed, all that touches nothing another lane has in hand.

use super::batch::Batch;
use super::lane::Lane;
use super::run::Pusher;
use crate::journal::{Events, JournalError, Marked, Owed, Scope};
use crate::path::RelPath;
use crate::rsync::complaint;
use crate::stat::Kind;
use crate::sys::{clock, files};
use std::collections::HashMap;

/// Names in one batch.
pub(super) const BATCH: u32 = 10_000;
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
type Deferred = HashMap<RelPath, i64>;

impl Pusher {
    /// What `lane` is to push now, and what of it is put off. `None` when all of it must wait for a push in flight.
    pub(super) fn read(&mut self, lane: Lane) -> Result<Option<(Batch, Deferred)>, JournalError> {
        let (name, now_ms) = (self.context.name.clone(), clock::wall_ms());
        let mut deferred = Deferred::new();
        let (marks, owed) = match lane {
            Lane::Small => {
                // Before they are read: what is marked in between is above it.
                let last = self.context.journal.last_seq()?;
                let marks = self.context.journal.marks_after(self.context.row.cursor, BATCH)?;
                // A change does not wait for what a large directory differs in.
                let along = if marks.is_empty() { BATCH } else { ALONG };
                let mut owed = self.context.journal.due(&name, now_ms, along)?;
                self.waiters.reads((marks.len() < BATCH as usize).then_some(last));
                // A path that failed and is marked again: its row goes with the mark.
                owed.extend(self.context.journal.failing_later(&name, now_ms, &marks)?);
                // A path that is marked all the time would never be in a portion.
                if self.pending.work.bulk {
                    owed.extend(self.context.journal.bulk_of(&name, now_ms, &marks)?);
                }
                if self.after_bulk(&marks, &mut owed, &mut deferred) && owed.is_empty() {
                    self.yielding.small = true;
                    if marks.is_empty() {
                        return Ok(None);
                    }
                }
                (marks, owed)
            }
            Lane::Large | Lane::Large2 => {
                let Some(row) = self.next_large(lane, now_ms)? else { return Ok(None) };
                (Vec::new(), vec![row])
            }
            Lane::Bulk | Lane::Bulk2 => {
                let owed = self.next_portion(now_ms)?;
                if owed.is_empty() && self.jobs.pushing() {
                    self.yielding.portions = true;
                    return Ok(None);
                }
                (Vec::new(), owed)
            }
        };
        let batch = Batch::new(marks, owed, self.context.again_upto);
        if lane == Lane::Small {
            self.beside_large(&batch, &mut deferred)?;
            self.beside_temporaries(&batch, &mut deferred);
        }
        Ok(Some((batch, deferred)))
    }

    /// What touches a portion in flight comes after it: rows stay where they are, marks are put off. True when there was
    /// any.
    ///
    /// The other way round there is nothing to wait for: what changes after a push of marks has looked at it is marked
    /// again, and pushed after that portion.
    fn after_bulk(
        &mut self,
        marks: &[Marked],
        owed: &mut Vec<Owed>,
        deferred: &mut Deferred,
    ) -> bool {
        let touched = |path: &RelPath| self.jobs.bulk().any(|push| push.touches(path));
        let before = owed.len();
        owed.retain(|row| !touched(&row.path));
        let marks = marks.iter().filter(|mark| touched(&mark.path));
        deferred.extend(marks.map(|mark| (mark.path.clone(), 0)));
        let any = owed.len() < before || !deferred.is_empty();
        // The next portion waits for these: they are not put off again and again.
        self.yielding.bulk = any;
        any
    }

    /// Of what a comparison of everything found the next names, but for those that touch the portion in flight, and those
    /// that are being pushed as marked: nothing goes twice.
    fn next_portion(&mut self, now_ms: i64) -> Result<Vec<Owed>, JournalError> {
        let in_flight: usize = self.jobs.bulk().map(|push| push.paths().count()).sum();
        let limit = BATCH + in_flight as u32;
        let mut owed = self.context.journal.due_bulk(&self.context.name, now_ms, limit)?;
        owed.retain(|row| !self.jobs.bulk().any(|push| push.touches(&row.path)));
        let untouched = owed.len();
        if let Some(marked) = self.jobs.push(Lane::Small) {
            owed.retain(|row| !marked.has(&row.path));
        }
        self.yielding.to_marks = owed.len() < untouched;
        owed.truncate(BATCH as usize);
        let silent = self.context.journal.silent_mounts()?;
        let silent = |path: &RelPath| silent.iter().any(|mount| path.is_within(mount));
        let localpath = &self.context.start.localpath;
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
        Ok(owed)
    }

    /// A directory made while nothing was being compared has no more in it than its own events say: no comparison is
    /// needed for it.
    pub(super) fn narrow(&self, batch: &mut Batch) {
        let busy = self.jobs.comparing() || self.context.row.reconcile.is_some();
        let made = Events::CREATE | Events::DIR | Events::ATTRIB | Events::AGAIN;
        for item in &mut batch.items {
            let only_made =
                item.scope == Scope::Children && item.events.difference(made).is_empty();
            if only_made && !busy && item.since_ms - self.compared_ms > COMPARED_LATELY_MS {
                item.scope = Scope::Entry;
            }
        }
    }

    /// What a comparison found too much there and may be the temporary file of a name in hand comes when it is in hand no
    /// more: by then that has gone, or it is what an earlier receiver left (rule 20).
    fn beside_temporaries(&self, batch: &Batch, deferred: &mut Deferred) {
        let found = batch.items.iter().filter(|item| item.events.contains(Events::RECONCILE));
        let of_one_in_hand = |path: &&RelPath| {
            complaint::temporary_of(path).is_some_and(|name| self.jobs.in_hand(&name))
        };
        let temporaries = found.map(|item| &item.path).filter(of_one_in_hand);
        deferred.extend(temporaries.map(|path| (path.clone(), FLIGHT_WAIT_MS)));
    }

    /// The large file that is next in this lane.
    pub(super) fn next_large(&self, lane: Lane, now_ms: i64) -> Result<Option<Owed>, JournalError> {
        let mut owed =
            self.context.journal.due_large(&self.context.name, now_ms, LARGE_LOOKED_AT)?;
        owed.retain(|row| !self.jobs.large().any(|push| push.touches(&row.path)));
        let watch = self.context.start.localpath.watch.as_path();
        let size = |row: &Owed| files::lstat(&row.path.below(watch)).map_or(0, |stat| stat.size);
        Ok(match lane {
            Lane::Large2 => owed.into_iter().min_by_key(size),
            _ => owed.into_iter().next(),
        })
    }

    /// A batch leaves a large file in flight alone. When its name has gone, it is given up instead.
    fn beside_large(&mut self, batch: &Batch, deferred: &mut Deferred) -> Result<(), JournalError> {
        for lane in Lane::LARGE {
            let first = self.jobs.push(lane).and_then(|push| push.paths().next());
            let Some(large) = first.cloned() else { continue };
            if !batch.items.iter().any(|i| large.is_within(&i.path) || i.path.is_within(&large)) {
                continue;
            }
            let silent = self.context.journal.silent_mounts()?;
            let there = match silent.iter().any(|mount| large.is_within(mount)) {
                true => None,
                false => {
                    files::lstat(&large.below(self.context.start.localpath.watch.as_path())).ok()
                }
            };
            if there.is_some_and(|stat| stat.kind == Kind::File) {
                deferred.insert(large, FLIGHT_WAIT_MS);
            } else if let Some(mut busy) = self.jobs.place(lane).take() {
                busy.work.kill();
                self.return_slot(busy.slot);
                self.unseen(&busy.work)?;
            }
        }
        Ok(())
    }
}
