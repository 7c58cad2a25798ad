//! Accounts for one batch: which rows of the journal it covers, and what is written about each row at its end. Pure.

use super::blame::Blame;
use super::health::path_retry_ms;
use crate::journal::{Events, Marked, Owe, Owed, Scope, Settlement, Totals};
use crate::path::RelPath;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// One path of a batch, and the rows that it covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The path as it was marked.
    pub path: RelPath,
    /// The scope of the mark.
    pub scope: Scope,
    /// What happened.
    pub events: Events,
    /// The path it was moved from, if that is known.
    pub origin: Option<RelPath>,
    /// The generation of its row in `owed`, if it has one.
    pub generation: Option<i64>,
    /// Failed pushes so far.
    pub attempts: u32,
    /// Since when it has waited, in milliseconds since 1970.
    pub since_ms: i64,
}

/// The delay before a path is pushed again that kept changing while rsync read it.
const UNSTEADY_MS: i64 = 200;

/// The largest number of directories that one dry run compares for temporary files of a killed receiver. With more, a
/// reconcile follows.
pub const PARENTS_MOST: usize = 1_000;

/// A batch.
#[derive(Debug, Default)]
pub struct Batch {
    /// Its paths, each of them once.
    pub items: Vec<Item>,
    /// The new position of the cursor.
    pub cursor: Option<i64>,
}

/// What becomes of a path that its push has not settled. Earlier variants take precedence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Not pushed in this batch, because a push in flight touches it: due after this number of milliseconds.
    Deferred(i64),
    /// A large file that gets its own push.
    Large,
    /// A file that gets into a portion, because the push would take too long with it.
    Portion,
    /// It kept changing while rsync read it. It is neither settled nor failed.
    Unsteady,
    /// It failed, with rsync's message.
    Failed(String),
    /// A file whose mtime was set during the push. It must be compared by content.
    Unproven,
    /// It was absent and is now a directory. The remote's old directory may have been kept as the new one.
    Reborn,
    /// A directory that a dry run must still compare.
    Compare(Scope),
}

impl Disposition {
    fn rank(&self) -> u8 {
        match self {
            Disposition::Deferred(_) => 0,
            Disposition::Large => 1,
            Disposition::Portion => 2,
            Disposition::Unsteady => 3,
            Disposition::Failed(_) => 4,
            Disposition::Unproven => 5,
            Disposition::Reborn => 6,
            Disposition::Compare(_) => 7,
        }
    }

    /// True if a plan finds it, so that the next plan finds it again.
    fn is_planned(&self) -> bool {
        match self {
            Disposition::Large
            | Disposition::Portion
            | Disposition::Failed(_)
            | Disposition::Compare(_) => true,
            Disposition::Deferred(_)
            | Disposition::Unsteady
            | Disposition::Unproven
            | Disposition::Reborn => false,
        }
    }
}

/// Whether everything was being pushed during a push or a comparison.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Beside {
    /// No.
    #[default]
    Nothing,
    /// It is still being pushed.
    Everything,
    /// It was, and that push has ended.
    Ended,
}

impl Beside {
    /// The same a moment later. `everything` says whether everything is being pushed now.
    pub fn later(self, everything: bool) -> Self {
        match (everything, self) {
            (true, _) => Beside::Everything,
            (false, Beside::Nothing) => Beside::Nothing,
            (false, Beside::Everything | Beside::Ended) => Beside::Ended,
        }
    }

    /// What waits for the end of that push, if the work is to be repeated after it.
    pub fn waits(self) -> Option<Events> {
        match self {
            Beside::Nothing => None,
            Beside::Everything => Some(Events::BESIDE),
            Beside::Ended => Some(Events::empty()),
        }
    }
}

/// What a push found about its paths. Paths without a disposition are settled.
#[derive(Debug, Default)]
pub struct Findings {
    /// The key is the path that was listed, or the one that was marked.
    dispositions: BTreeMap<RelPath, Disposition>,
    /// Paths whose content the remote may have got from an old name there. Only a comparison of content proves it.
    pub renamed: BTreeSet<RelPath>,
    /// What was marked -> the prefix that was listed in its place.
    pub replaced: BTreeMap<RelPath, RelPath>,
    /// Directories above listed paths on which the remote failed -> rsync's message.
    pub above: HashMap<RelPath, String>,
    /// Directories in which an aborted rsync had begun files, in its order.
    pub leftovers: Vec<RelPath>,
    /// Whether everything was being pushed at the same time.
    pub beside: Beside,
    /// Directories that the remote lacked and that are not in this batch.
    pub created: Vec<RelPath>,
    /// Directories that the remote lacked and that are in this batch, but not because they were created.
    pub lacked: Vec<RelPath>,
}

impl Findings {
    /// Notes what becomes of a path, unless a known disposition takes precedence.
    pub fn note(&mut self, path: RelPath, disposition: Disposition) {
        match self.dispositions.entry(path) {
            Entry::Vacant(entry) => drop(entry.insert(disposition)),
            Entry::Occupied(mut entry) if disposition.rank() <= entry.get().rank() => {
                entry.insert(disposition);
            }
            Entry::Occupied(_) => {}
        }
    }

    /// Notes several paths.
    pub fn note_all(&mut self, noted: impl IntoIterator<Item = (RelPath, Disposition)>) {
        noted.into_iter().for_each(|(path, disposition)| self.note(path, disposition));
    }

    /// Notes that these paths have failed, with this message.
    pub fn fail(&mut self, paths: impl IntoIterator<Item = RelPath>, message: &str) {
        let failed = || Disposition::Failed(message.to_owned());
        self.note_all(paths.into_iter().map(|path| (path, failed())));
    }

    /// Forgets what a plan finds, before a new plan.
    pub fn plan_again(&mut self) {
        self.dispositions.retain(|_, disposition| !disposition.is_planned());
        self.replaced.clear();
    }

    /// True if the path was deferred because another push touches it.
    pub fn is_deferred(&self, path: &RelPath) -> bool {
        matches!(self.dispositions.get(path), Some(Disposition::Deferred(_)))
    }

    /// True if another push gets this path.
    pub fn leaves(&self, path: &RelPath) -> bool {
        let left = self.dispositions.get(path);
        matches!(left, Some(Disposition::Deferred(_) | Disposition::Large | Disposition::Portion))
    }

    /// Adds the complaints of a run that name paths.
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

    /// True if this path, or one above it, is not settled.
    pub fn leaves_at_or_above(&self, path: &RelPath) -> bool {
        path.prefixes().any(|path| self.of(&path).is_some())
    }

    /// The names that no item covers and about which something was found, such as a name on the remote below one that is
    /// gone here. Where one has failed, the item above it fails in its place.
    fn beyond(&mut self, items: &[Item]) -> Vec<RelPath> {
        if self.dispositions.is_empty() {
            return Vec::new();
        }
        let covered: HashSet<RelPath> =
            items.iter().map(|item| &item.path).chain(self.replaced.values()).cloned().collect();
        let beyond = self.dispositions.keys().filter(|path| !covered.contains(*path));
        let mut beyond: Vec<RelPath> = beyond.cloned().collect();
        beyond.retain(|path| {
            let mut above = std::iter::successors(path.parent(), RelPath::parent);
            let above = above.find(|above| covered.contains(above) && !above.is_root());
            match (above, self.dispositions.get(path)) {
                (Some(above), Some(Disposition::Failed(message))) => {
                    self.fail([above], &message.clone());
                    false
                }
                _ => true,
            }
        });
        beyond
    }

    /// The directories in which a temporary file may be left. Only the latest count, because the receiver is not far
    /// behind the sender.
    pub fn leftovers(&self, now_ms: i64) -> Vec<Owe> {
        let dirs: BTreeSet<&RelPath> = self.leftovers.iter().rev().take(PARENTS_MOST).collect();
        dirs.into_iter().map(|dir| compared(dir.clone(), now_ms)).collect()
    }
}

/// What a killed push may have left to an old receiver (rule 2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aftermath {
    /// Directories in which a killed receiver may have left a temporary file.
    pub leftovers: Vec<Owe>,
    /// What is recorded because its end was not seen.
    pub unseen: Option<Settlement>,
}

/// The times that a settlement depends on, in milliseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Now.
    pub now_ms: i64,
    /// When a path is pushed again whose earlier push ended unseen.
    pub echo_ms: i64,
    /// The longest delay before a failed path is pushed again.
    pub retry_most_ms: i64,
}

impl Batch {
    /// Merges marks and owed rows, each path once. An old receiver may still be writing paths with marks up to
    /// `repush_upto`.
    pub fn new(marks: Vec<Marked>, owed: Vec<Owed>, repush_upto: i64) -> Self {
        let cursor = marks.last().map(|m| m.seq);
        let mut items: Vec<Item> = owed.into_iter().map(Item::from).collect();
        let known: HashMap<RelPath, usize> =
            items.iter().enumerate().map(|(i, it)| (it.path.clone(), i)).collect();
        for mark in marks {
            let mut events = mark.events;
            if mark.seq <= repush_upto {
                events |= Events::AGAIN;
            }
            match known.get(&mark.path).and_then(|&i| items.get_mut(i)) {
                Some(item) => {
                    item.scope = item.scope.max(mark.scope);
                    item.events |= events;
                    item.origin = mark.origin;
                }
                None => items.push(Item {
                    path: mark.path,
                    scope: mark.scope,
                    events,
                    origin: mark.origin,
                    generation: None,
                    attempts: 0,
                    since_ms: mark.marked_at_ms,
                }),
            }
        }
        Self { items, cursor }
    }

    /// Sorts the items, for [`Batch::has`] and [`Batch::touches`].
    pub fn sort(&mut self) {
        self.items.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    }

    /// True if a path is in this batch, which is sorted.
    pub fn has(&self, path: &RelPath) -> bool {
        self.has_bytes(path.as_bytes())
    }

    /// True if a comparison found a path of this batch.
    pub fn found(&self, path: &RelPath) -> bool {
        self.events(path).is_some_and(|events| events.contains(Events::RECONCILE))
    }

    /// What happened to a path of this batch, which is sorted.
    pub fn events(&self, path: &RelPath) -> Option<Events> {
        let at =
            self.items.binary_search_by(|item| item.path.as_bytes().cmp(path.as_bytes())).ok()?;
        Some(self.items[at].events)
    }

    /// True if this batch, which is sorted, pushes everything.
    pub fn is_everything(&self) -> bool {
        let whole = Events::WHOLE | Events::BULK;
        self.items.first().is_some_and(|item| item.path.is_root() && item.events.contains(whole))
    }

    /// True for a path below a directory that this batch, which is sorted, may push whole.
    pub fn is_in_whole(&self, path: &RelPath) -> bool {
        let whole = |above: RelPath| {
            self.events(&above).is_some_and(|events| events.contains(Events::WHOLE))
        };
        self.is_everything() || path.prefixes().any(whole)
    }

    /// The paths of this batch that were marked as deleted.
    pub fn deleted(&self) -> impl Iterator<Item = &RelPath> {
        self.items.iter().filter(|item| item.events.contains(Events::DELETE)).map(|item| &item.path)
    }

    fn has_bytes(&self, path: &[u8]) -> bool {
        self.items.binary_search_by(|item| item.path.as_bytes().cmp(path)).is_ok()
    }

    /// True if this batch, which is sorted, contains a path, one above it or one below it. The root counts as above
    /// none: a push of the root itself only sets its mode, owner and times.
    pub fn touches(&self, path: &RelPath) -> bool {
        let bytes = path.as_bytes();
        let slashes = bytes.iter().enumerate().filter(|&(_, &b)| b == b'/').map(|(at, _)| at);
        let mut ends = [bytes.len()].into_iter().chain(slashes);
        ends.any(|end| self.has_bytes(&bytes[..end])) || self.has_below(path)
    }

    /// True if this batch, which is sorted, contains a path below this one, which is not the root.
    pub fn has_below(&self, path: &RelPath) -> bool {
        let below = [path.as_bytes(), b"/"].concat();
        let next = self.items.partition_point(|item| item.path.as_bytes() < &below[..]);
        let next = self.items.get(next).filter(|_| !path.is_root());
        next.is_some_and(|item| item.path.is_within(path))
    }

    /// What is recorded when the push has ended: each row is settled, or owed from now on.
    pub fn settle(mut self, findings: &mut Findings, pushed: Totals, times: Times) -> Settlement {
        let mut end = Settlement { cursor: self.cursor, pushed, ..Settlement::default() };
        let beyond = findings.beyond(&self.items).into_iter();
        self.items.extend(beyond.map(|path| Item::found(path, times.now_ms)));
        let findings = &*findings;
        for item in self.items {
            if let Some(generation) = item.generation {
                end.done.push((item.path.clone(), generation));
            }
            let path = item.path.clone();
            let gone = item.events & (Events::DELETE | Events::DIR);
            let whole = item.events.contains(Events::WHOLE | Events::BULK);
            let everything = whole && path.is_root();
            match still_owed(item, findings, times) {
                None => {
                    end.whole.extend(whole.then(|| path.clone()));
                    // They may have changed after it had read them.
                    end.owe.extend(everything.then(|| attributes_of_root(times.now_ms)));
                    if gone.contains(Events::DELETE) {
                        end.deleted.push((path.clone(), gone));
                    }
                    end.settled.push(path);
                }
                Some(owe) => {
                    if whole && !owe.events.contains(Events::BULK) {
                        end.compare.push(path.clone());
                    }
                    if owe.events.contains(Events::ECHO) {
                        end.settled.push(path);
                    }
                    end.owe.push(owe);
                }
            }
        }
        end.owe.extend(findings.above.iter().map(|(path, message)| refused(path, message, times)));
        end.owe.extend(findings.leftovers(times.now_ms));
        end
    }

    /// An rsync of this batch ended unseen, and the batch continues. The whole batch will be pushed again later.
    pub fn repush(&mut self) {
        self.items.iter_mut().for_each(|item| item.events |= Events::AGAIN);
    }

    /// What is recorded when the push ended unseen: nothing is settled, and every path will be pushed a second time
    /// after it is settled. Marks become owed as well, because a path that is marked again meanwhile is at risk.
    pub fn unseen(&self, findings: &Findings) -> Settlement {
        let again = |item: &Item| {
            let events = item.events | Events::AGAIN | by_content(item, findings);
            Owe { events, ..owe(item, item.since_ms) }
        };
        Settlement { owe: self.items.iter().map(again).collect(), ..Settlement::default() }
    }

    /// What is recorded when the remote could not take what is pushed whole: it is compared, and the rest pushed by name.
    pub fn not_whole(&self) -> Option<Settlement> {
        let whole = self.items.iter().filter(|item| item.events.contains(Events::WHOLE));
        let compare: Vec<RelPath> = whole.map(|item| item.path.clone()).collect();
        (!compare.is_empty()).then(|| Settlement { compare, ..Settlement::default() })
    }

    /// The directories of this batch, to be compared: a killed receiver leaves its temporary file, and only a
    /// comparison of the directory finds it.
    pub fn parents(&self) -> Vec<Owe> {
        let parents = self.items.iter().filter_map(|item| Some((item.path.parent()?, item)));
        let parents: BTreeMap<RelPath, &Item> = parents.collect();
        parents.into_iter().map(|(path, item)| compared(path, item.since_ms)).collect()
    }
}

impl Item {
    /// A name that the push has found.
    fn found(path: RelPath, now_ms: i64) -> Self {
        Self {
            path,
            scope: Scope::Entry,
            events: Events::RECONCILE,
            origin: None,
            generation: None,
            attempts: 0,
            since_ms: now_ms,
        }
    }
}

impl From<Owed> for Item {
    fn from(row: Owed) -> Self {
        Self {
            path: row.path,
            scope: row.scope,
            events: row.events,
            origin: None,
            generation: Some(row.generation),
            attempts: row.attempts,
            since_ms: row.since_ms,
        }
    }
}

/// The root itself, after everything was pushed.
fn attributes_of_root(now_ms: i64) -> Owe {
    Owe {
        path: RelPath::root(),
        scope: Scope::Entry,
        events: Events::ATTRIB | Events::DIR,
        error: None,
        attempts: 0,
        next_try_ms: now_ms,
        since_ms: now_ms,
    }
}

/// A directory whose names are compared without delay.
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

/// A directory that was not in the batch, and on which the remote failed.
fn refused(path: &RelPath, message: &str, times: Times) -> Owe {
    Owe {
        path: path.clone(),
        scope: Scope::Entry,
        events: Events::ATTRIB | Events::DIR,
        error: Some(message.to_owned()),
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

/// The events that make the next push or comparison compare the content of what got its name on the remote.
fn by_content(item: &Item, findings: &Findings) -> Events {
    match findings.renamed.contains(&item.path) {
        // As for a directory that took the name of another one.
        true if item.scope == Scope::Tree => Events::MOVE | Events::DELETE,
        true => Events::CONTENT,
        false => Events::empty(),
    }
}

fn still_owed(item: Item, findings: &Findings, times: Times) -> Option<Owe> {
    let renamed = by_content(&item, findings);
    let once = Events::ECHO | Events::LARGE | Events::BULK | Events::BESIDE;
    let mut fresh = item.events.difference(once) | renamed;
    // It is compared from now on, under the delete guard.
    if item.events.contains(Events::WHOLE) {
        fresh |= Events::SCAN | Events::DIR;
    }
    let now = |events: Events| Owe { events, ..owe(&item, times.now_ms) };
    let owe = match findings.of(&item.path) {
        Some(Disposition::Deferred(wait_ms)) => {
            let events = item.events.difference(Events::ECHO);
            Owe { events, ..owe(&item, times.now_ms + wait_ms) }
        }
        Some(Disposition::Large) => Owe { scope: Scope::Entry, ..now(fresh | Events::LARGE) },
        Some(Disposition::Portion) => Owe { scope: Scope::Entry, ..now(fresh | Events::BULK) },
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
        Some(Disposition::Compare(scope)) => Owe { scope: *scope, ..now(fresh) },
        None if item.events.contains(Events::AGAIN) => {
            let events = fresh.difference(Events::AGAIN) | Events::ECHO;
            // What was pushed whole is compared.
            let (scope, events) = match item.events.contains(Events::WHOLE) {
                true => (Scope::Tree, events | Events::SCAN),
                false => (Scope::Entry, events),
            };
            Owe { scope, events, attempts: 0, ..owe(&item, times.echo_ms) }
        }
        None if item.events.contains(Events::COMPARE) => {
            let events = fresh.difference(Events::WHOLE | Events::COMPARE);
            Owe { scope: Scope::Tree, attempts: 0, ..now(events) }
        }
        None => {
            let waits = findings.beside.waits()?;
            // The push of everything sets the attributes of the root at its end.
            if item.path.is_root() {
                return None;
            }
            let events = fresh | waits | (item.events & Events::LARGE);
            Owe { scope: Scope::Entry, events, attempts: 0, ..owe(&item, times.now_ms) }
        }
    };
    Some(owe)
}

#[cfg(test)]
mod tests;
