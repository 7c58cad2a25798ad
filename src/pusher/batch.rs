//! The accounts of one batch: which journal rows it answers for, and what is written about each at its end. Pure.

use super::blame::Blame;
use super::health::path_retry_ms;
use crate::journal::{Events, Marked, Owe, Owed, Scope, Settlement, Totals};
use crate::path::RelPath;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// One path of a batch and the rows it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The path as it was marked.
    pub path: RelPath,
    /// How far below it.
    pub scope: Scope,
    /// What happened.
    pub events: Events,
    /// Its row in `owed`, when it has one there.
    pub generation: Option<i64>,
    /// Failed pushes so far.
    pub attempts: u32,
    /// Since when it waits, in milliseconds since 1970.
    pub since_ms: i64,
}

/// What was unsteady under rsync's eyes is pushed again after this.
const UNSTEADY_MS: i64 = 200;

/// Directories that are compared at most, in one dry run, for the temporary files of a receiver that was ended; with more,
/// everything is.
pub const PARENTS_MOST: usize = 1_000;

/// The accounts.
#[derive(Debug, Default)]
pub struct Batch {
    /// Every path once.
    pub items: Vec<Item>,
    /// The cursor moves here.
    pub cursor: Option<i64>,
}

/// What becomes of a path that its push has not settled; what comes first weighs more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Not pushed in this batch, because a push in flight touches it: due after this number of milliseconds.
    Deferred(i64),
    /// A file that goes in a push of its own.
    Large,
    /// It changed under rsync's eyes again and again: neither settled nor failed.
    Unsteady,
    /// It failed, with rsync's message.
    Failed(String),
    /// A file whose mtime was set during the push: to be compared by content.
    Unproven,
    /// It was absent and is a directory now: the remote's may not have been deleted, but taken for it.
    Reborn,
    /// A directory whose names below are still to be found by a dry run.
    Wide(Scope),
}

impl Disposition {
    fn rank(&self) -> u8 {
        match self {
            Disposition::Deferred(_) => 0,
            Disposition::Large => 1,
            Disposition::Unsteady => 2,
            Disposition::Failed(_) => 3,
            Disposition::Unproven => 4,
            Disposition::Reborn => 5,
            Disposition::Wide(_) => 6,
        }
    }

    /// True when it was found by a plan, and is found again by the next one.
    fn is_planned(&self) -> bool {
        match self {
            Disposition::Large | Disposition::Failed(_) | Disposition::Wide(_) => true,
            Disposition::Deferred(_)
            | Disposition::Unsteady
            | Disposition::Unproven
            | Disposition::Reborn => false,
        }
    }
}

/// What the push found about its paths; everything that has no disposition is settled.
#[derive(Debug, Default)]
pub struct Findings {
    /// By the path that was listed, or by the one that was marked.
    dispositions: BTreeMap<RelPath, Disposition>,
    /// What was marked -> the prefix that was listed in its place.
    pub replaced: BTreeMap<RelPath, RelPath>,
    /// Directories above listed paths on which the remote refused something -> rsync's message.
    pub above: HashMap<RelPath, String>,
    /// Directories in which an rsync that broke off had begun files, in its order.
    pub leftovers: Vec<RelPath>,
    /// Directories that the remote lacked and that are not in this batch.
    pub made: Vec<RelPath>,
    /// Directories that the remote lacked and that are in this batch, but not because somebody made them.
    pub lacked: Vec<RelPath>,
}

impl Findings {
    /// Notes what becomes of a path, unless what is known of it weighs more.
    pub fn note(&mut self, path: RelPath, disposition: Disposition) {
        match self.dispositions.entry(path) {
            Entry::Vacant(entry) => drop(entry.insert(disposition)),
            Entry::Occupied(mut entry) if disposition.rank() <= entry.get().rank() => {
                entry.insert(disposition);
            }
            Entry::Occupied(_) => {}
        }
    }

    /// Notes the same of many.
    pub fn note_all(&mut self, noted: impl IntoIterator<Item = (RelPath, Disposition)>) {
        noted.into_iter().for_each(|(path, disposition)| self.note(path, disposition));
    }

    /// These have failed, with this message.
    pub fn fail(&mut self, paths: impl IntoIterator<Item = RelPath>, message: &str) {
        let failed = || Disposition::Failed(message.to_owned());
        self.note_all(paths.into_iter().map(|path| (path, failed())));
    }

    /// A new plan finds its own.
    pub fn plan_again(&mut self) {
        self.dispositions.retain(|_, disposition| !disposition.is_planned());
        self.replaced.clear();
    }

    /// True for a path that another push touches.
    pub fn is_deferred(&self, path: &RelPath) -> bool {
        matches!(self.dispositions.get(path), Some(Disposition::Deferred(_)))
    }

    /// Takes in what a run complained of by name.
    pub fn blame(&mut self, blame: Blame) {
        let failed = blame.failed.into_iter();
        self.note_all(failed.map(|(path, message)| (path, Disposition::Failed(message))));
        self.above.extend(blame.above);
    }

    /// What becomes of a marked path: its own disposition, or that of the prefix that was listed in its place.
    fn of(&self, path: &RelPath) -> Option<&Disposition> {
        let own = self.dispositions.get(path);
        own.or_else(|| self.dispositions.get(self.replaced.get(path)?))
    }

    /// The directories in which a temporary file may be left. The receiver was not far behind the last that was begun.
    pub fn leftovers(&self, now_ms: i64) -> Vec<Owe> {
        let dirs: BTreeSet<&RelPath> = self.leftovers.iter().rev().take(PARENTS_MOST).collect();
        dirs.into_iter().map(|dir| compared(dir.clone(), now_ms)).collect()
    }
}

/// What an ended push leaves in the hands of an old receiver (rule 2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aftermath {
    /// Directories in which a receiver that was ended may have left a temporary file.
    pub leftovers: Vec<Owe>,
    /// The last mark that it had in hand, and what is written because its end was not seen.
    pub unseen: Option<(i64, Settlement)>,
}

/// The times a settlement is made with, in milliseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Now.
    pub now_ms: i64,
    /// When a path whose earlier push ended unseen is pushed once more.
    pub echo_ms: i64,
    /// The longest wait before a failed path is pushed again.
    pub retry_most_ms: i64,
}

impl Batch {
    /// Merges marks and owed rows, each path once. Marks up to `again_upto` may be in the hands of an old receiver.
    pub fn new(marks: Vec<Marked>, owed: Vec<Owed>, again_upto: i64) -> Self {
        let cursor = marks.last().map(|m| m.seq);
        let mut items: Vec<Item> = owed.into_iter().map(Item::from).collect();
        let known: HashMap<RelPath, usize> =
            items.iter().enumerate().map(|(i, it)| (it.path.clone(), i)).collect();
        for mark in marks {
            let mut events = mark.events;
            if mark.seq <= again_upto {
                events |= Events::AGAIN;
            }
            match known.get(&mark.path).and_then(|&i| items.get_mut(i)) {
                Some(item) => {
                    item.scope = item.scope.max(mark.scope);
                    item.events |= events;
                }
                None => items.push(Item {
                    path: mark.path,
                    scope: mark.scope,
                    events,
                    generation: None,
                    attempts: 0,
                    since_ms: mark.marked_at_ms,
                }),
            }
        }
        Self { items, cursor }
    }

    /// Puts the items in order, for [`Batch::has`] and [`Batch::touches`].
    pub fn sort(&mut self) {
        self.items.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    }

    /// True when a path is in this batch, which is sorted.
    pub fn has(&self, path: &RelPath) -> bool {
        self.has_bytes(path.as_bytes())
    }

    /// True when a comparison found a path of this batch.
    pub fn found(&self, path: &RelPath) -> bool {
        self.events(path).is_some_and(|events| events.contains(Events::RECONCILE))
    }

    /// What happened to a path of this batch, which is sorted.
    pub fn events(&self, path: &RelPath) -> Option<Events> {
        let at =
            self.items.binary_search_by(|item| item.path.as_bytes().cmp(path.as_bytes())).ok()?;
        Some(self.items[at].events)
    }

    /// The paths of this batch that a mark says went.
    pub fn going(&self) -> impl Iterator<Item = &RelPath> {
        self.items.iter().filter(|item| item.events.contains(Events::DELETE)).map(|item| &item.path)
    }

    fn has_bytes(&self, path: &[u8]) -> bool {
        self.items.binary_search_by(|item| item.path.as_bytes().cmp(path)).is_ok()
    }

    /// True when a path, one above it or one below it is in this batch, which is sorted. The root is above none: of the
    /// root itself a push sets mode, owner and times, and nothing ever stands in its place.
    pub fn touches(&self, path: &RelPath) -> bool {
        let bytes = path.as_bytes();
        let slashes = bytes.iter().enumerate().filter(|&(_, &b)| b == b'/').map(|(at, _)| at);
        let mut ends = [bytes.len()].into_iter().chain(slashes);
        ends.any(|end| self.has_bytes(&bytes[..end])) || {
            let below = [bytes, b"/"].concat();
            let next = self.items.partition_point(|item| item.path.as_bytes() < &below[..]);
            let next = self.items.get(next).filter(|_| !path.is_root());
            next.is_some_and(|item| item.path.is_within(path))
        }
    }

    /// What is to be written when the push has ended: each row is settled, or owed from now on.
    pub fn settle(self, findings: &Findings, pushed: Totals, times: Times) -> Settlement {
        let mut end = Settlement { cursor: self.cursor, pushed, ..Settlement::default() };
        for item in self.items {
            if let Some(generation) = item.generation {
                end.done.push((item.path.clone(), generation));
            }
            let path = item.path.clone();
            match still_owed(item, findings, times) {
                None => end.settled.push(path),
                Some(owe) => {
                    if owe.events.contains(Events::ECHO) {
                        end.settled.push(path);
                    }
                    end.owe.push(owe);
                }
            }
        }
        end.owe.extend(findings.above.iter().map(|(path, words)| refused(path, words, times)));
        end.owe.extend(findings.leftovers(times.now_ms));
        end
    }

    /// An rsync of this batch ended unseen, and the batch goes on: all of it will be pushed once more later.
    pub fn again(&mut self) {
        self.items.iter_mut().for_each(|item| item.events |= Events::AGAIN);
    }

    /// What is to be written when the push ended unseen: nothing is settled, and every path will be pushed once more
    /// after it is. Marks become owed as well, for a path that is marked again meanwhile is the one in danger.
    pub fn unseen(&self) -> Settlement {
        let again = |item: &Item| {
            let events = item.events | Events::AGAIN;
            Owe { events, ..owe(item, item.since_ms) }
        };
        Settlement { owe: self.items.iter().map(again).collect(), ..Settlement::default() }
    }

    /// A receiver that was ended leaves its temporary file; only a comparison of the directory finds it.
    pub fn parents(&self) -> Vec<Owe> {
        let parents = self.items.iter().filter_map(|item| Some((item.path.parent()?, item)));
        let parents: BTreeMap<RelPath, &Item> = parents.collect();
        parents.into_iter().map(|(path, item)| compared(path, item.since_ms)).collect()
    }
}

impl From<Owed> for Item {
    fn from(row: Owed) -> Self {
        Self {
            path: row.path,
            scope: row.scope,
            events: row.events,
            generation: Some(row.generation),
            attempts: row.attempts,
            since_ms: row.since_ms,
        }
    }
}

/// A directory whose names are to be compared at once.
fn compared(path: RelPath, since_ms: i64) -> Owe {
    Owe {
        path,
        scope: Scope::Children,
        events: Events::RECONCILE | Events::DIR,
        error: None,
        attempts: 0,
        next_try_ms: since_ms,
        since_ms,
    }
}

/// A directory that was not in hand, and on which the remote refused something all the same.
fn refused(path: &RelPath, words: &str, times: Times) -> Owe {
    Owe {
        path: path.clone(),
        scope: Scope::Entry,
        events: Events::ATTRIB | Events::DIR,
        error: Some(words.to_owned()),
        attempts: 1,
        next_try_ms: times.now_ms + path_retry_ms(1, times.retry_most_ms),
        since_ms: times.now_ms,
    }
}

/// The item as an owed row that is due at `next_try_ms`.
fn owe(item: &Item, next_try_ms: i64) -> Owe {
    Owe {
        path: item.path.clone(),
        scope: item.scope,
        events: item.events,
        error: None,
        attempts: item.attempts,
        next_try_ms,
        since_ms: item.since_ms,
    }
}

fn still_owed(item: Item, findings: &Findings, times: Times) -> Option<Owe> {
    let fresh = item.events.difference(Events::ECHO | Events::LARGE | Events::BULK);
    let now = |events: Events| Owe { events, ..owe(&item, times.now_ms) };
    let owe = match findings.of(&item.path) {
        Some(Disposition::Deferred(wait_ms)) => {
            let events = item.events.difference(Events::ECHO);
            Owe { events, ..owe(&item, times.now_ms + wait_ms) }
        }
        Some(Disposition::Large) => Owe { scope: Scope::Entry, ..now(fresh | Events::LARGE) },
        Some(Disposition::Unsteady) => {
            Owe { events: fresh, ..owe(&item, times.now_ms + UNSTEADY_MS) }
        }
        Some(Disposition::Failed(message)) => {
            let attempts = item.attempts.saturating_add(1);
            let next_try_ms = times.now_ms + path_retry_ms(attempts, times.retry_most_ms);
            let error = Some(message.clone());
            Owe { events: fresh, error, attempts, ..owe(&item, next_try_ms) }
        }
        Some(Disposition::Unproven) => now(fresh | Events::WRITE),
        Some(Disposition::Reborn) => {
            let scope =
                if findings.replaced.contains_key(&item.path) { item.scope } else { Scope::Tree };
            Owe { scope, ..now(fresh | Events::MOVE | Events::DELETE | Events::DIR) }
        }
        Some(Disposition::Wide(scope)) => Owe { scope: *scope, ..now(fresh) },
        None if item.events.contains(Events::AGAIN) => {
            let events = fresh.difference(Events::AGAIN) | Events::ECHO;
            Owe { scope: Scope::Entry, events, attempts: 0, ..owe(&item, times.echo_ms) }
        }
        None => return None,
    };
    Some(owe)
}

#[cfg(test)]
mod tests;
