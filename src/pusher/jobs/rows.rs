//! The rows of a comparison: the directories that it covers, and the rows that it leaves.

use crate::journal::{Events, Owe, Owed, Scope, Settlement};
use crate::message::Why;
use crate::path::RelPath;
use crate::pusher::context::Context;
use crate::pusher::health::path_retry_ms;
use crate::pusher::job_error::JobError;
use crate::pusher::plan::Lstat;
use crate::rsync::exit_status::Judgement;
use crate::rsync::itemize::{Change, ChangeKind};
use crate::sys::clock;
use crate::sys::files::Root;

/// What a dry run could not read.
pub struct Unseen {
    /// rsync's message.
    pub message: String,
    /// The paths it named.
    pub paths: Vec<(RelPath, String)>,
}

/// The row of a difference. `since_ms` is that of the oldest row that the comparison covers.
pub fn owe(change: Change, since_ms: i64, now_ms: i64) -> Owe {
    let kind = match (change.kind, change.is_dir) {
        (ChangeKind::Deleted, true) => Events::DELETE | Events::DIR,
        (ChangeKind::Deleted, false) => Events::DELETE,
        // rsync itself found the difference, so no comparison by content is needed.
        _ => Events::default(),
    };
    Owe {
        path: change.path,
        scope: Scope::Entry,
        events: Events::RECONCILE | kind,
        error: None,
        attempts: 0,
        next_try_ms: now_ms,
        since_ms,
    }
}

/// The row of a directory that the remote lacked, or of the root.
pub fn whole(path: RelPath, since_ms: i64, now_ms: i64) -> Owe {
    Owe {
        path,
        scope: Scope::Tree,
        events: Events::RECONCILE | Events::DIR | Events::BULK | Events::WHOLE,
        error: None,
        attempts: 0,
        next_try_ms: now_ms,
        since_ms,
    }
}

/// The row of a name that no line of a comparison shows.
pub fn unshown(path: RelPath, since_ms: i64, now_ms: i64) -> Owe {
    Owe {
        path,
        scope: Scope::Entry,
        events: Events::RECONCILE,
        error: None,
        attempts: 0,
        next_try_ms: now_ms,
        since_ms,
    }
}

/// The row of a path that was changed on the remote itself.
pub fn repair(change: Change, why: &[Why], now_ms: i64) -> Owe {
    let mut row = owe(change, now_ms, now_ms);
    if why.contains(&Why::Content) {
        row.events |= Events::CONTENT;
    }
    row
}

impl Unseen {
    /// From rsync's messages.
    pub fn new(paths: Vec<(RelPath, String)>, judgement: Judgement) -> Self {
        let mut message = match judgement.message {
            message if message.is_empty() => "a part could not be compared".to_owned(),
            message => message,
        };
        if paths.len() > 1 {
            message += &format!(" (and {} more)", paths.len() - 1);
        }
        Self { message, paths }
    }
}

/// Rows whose directories could be compared only in part stay owed. If rsync named a path in a directory, its row gets
/// rsync's message and is compared later (after at most `most_ms`). For the other rows rsync only held back the
/// deletions. They are compared again immediately, without the failing ones.
pub fn not_compared(rows: &[Owed], incomplete: &Unseen, now_ms: i64, most_ms: i64) -> Vec<Owe> {
    let named = |row: &Owed| incomplete.paths.iter().find(|(path, _)| path.is_within(&row.path));
    let any = rows.iter().any(|row| named(row).is_some());
    let one = |row: &Owed| {
        let message = match named(row) {
            Some((_, message)) => Some(message),
            None => (!any).then_some(&incomplete.message),
        };
        let attempts = row.attempts.saturating_add(u32::from(message.is_some()));
        let wait = message.map_or(0, |_| path_retry_ms(attempts, most_ms));
        Owe {
            path: row.path.clone(),
            scope: row.scope,
            events: row.events,
            error: message.cloned(),
            attempts,
            next_try_ms: now_ms + wait,
            since_ms: row.since_ms,
        }
    };
    rows.iter().map(one).collect()
}

/// The delay before a directory above a file system that does not answer is compared again.
const SILENT_RETRY_MS: i64 = 10_000;

/// The rows that are directories now, all of the same scope. The others become entries in the journal.
pub fn directories(
    context: &mut Context,
    root: &Root,
    rows: Vec<Owed>,
) -> Result<Option<Vec<Owed>>, JobError> {
    let mut end = Settlement::default();
    let mut dirs = Vec::new();
    {
        let files = context.lstat_below(root)?;
        for row in rows {
            if let Some(message) = context.cannot_compare(std::slice::from_ref(&row.path))? {
                end.done.push((row.path.clone(), row.generation));
                end.owe.push(Owe {
                    path: row.path,
                    scope: row.scope,
                    events: row.events,
                    error: Some(message),
                    attempts: row.attempts.saturating_add(1),
                    next_try_ms: clock::wall_ms() + SILENT_RETRY_MS,
                    since_ms: row.since_ms,
                });
                continue;
            }
            let is_dir = match row.path.is_root() {
                true => true,
                false => files.lstat(&row.path).is_ok_and(|stat| context.enters(root, &stat)),
            };
            let excluded = context.filter.excludes(&row.path, true);
            if is_dir && !excluded {
                dirs.push(row);
                continue;
            }
            end.done.push((row.path.clone(), row.generation));
            end.owe.push(Owe {
                path: row.path,
                scope: Scope::Entry,
                events: row.events,
                error: None,
                attempts: 0,
                next_try_ms: 0,
                since_ms: row.since_ms,
            });
        }
    }
    if !end.done.is_empty() {
        context.journal.settle(&context.name, &end, clock::wall_ms())?;
    }
    let tree = dirs.iter().any(|row| row.scope == Scope::Tree);
    if tree {
        dirs.retain(|row| row.scope == Scope::Tree);
    }
    // Content is compared only where needed. The other rows are compared next.
    if dirs.iter().any(swapped) {
        dirs.retain(swapped);
    }
    Ok((!dirs.is_empty()).then_some(dirs))
}

/// The row of a directory whose push, with everything below it, was not seen to end: a receiver may still be writing there
/// (rule 2), so it is compared once more when that receiver has ended.
pub fn compared_again(context: &Context, row: &Owed, now_ms: i64) -> Option<Owe> {
    row.events.contains(Events::WHOLE | Events::AGAIN).then(|| Owe {
        path: row.path.clone(),
        scope: row.scope,
        events: row.events.difference(Events::WHOLE | Events::AGAIN) | Events::ECHO,
        error: None,
        attempts: 0,
        next_try_ms: now_ms + i64::from(context.start.remote.peer.timeout_s) * 1_000,
        since_ms: row.since_ms,
    })
}

/// The row of a directory that was compared beside a push of everything: that push may still create what it had read
/// before. `waits` is [`Events::BESIDE`] while it runs.
pub fn compared_after(row: &Owed, waits: Events, now_ms: i64) -> Owe {
    Owe {
        path: row.path.clone(),
        scope: row.scope,
        events: row.events.difference(Events::WHOLE | Events::COMPARE | Events::AGAIN) | waits,
        error: None,
        attempts: 0,
        next_try_ms: now_ms,
        since_ms: row.since_ms,
    }
}

/// True for a directory that was moved to the name of another one. Files in both may have the same size and time, so
/// that only their content differs (rule 3).
pub fn swapped(row: &Owed) -> bool {
    row.scope == Scope::Tree && row.events.contains(Events::MOVE | Events::DELETE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreadable_directory_does_not_delay_others() {
        let path = |text: &str| RelPath::new(text).unwrap();
        let row = |text: &str| Owed {
            path: path(text),
            scope: Scope::Tree,
            events: Events::MOVE,
            error: None,
            attempts: 20,
            since_ms: 1,
            generation: 1,
        };
        let rows = [row("a"), row("b"), row("c")];
        let judgement = crate::rsync::exit_status::verdict(
            crate::stat::Exited::Code(23),
            b"rsync: opendir failed",
        );
        let incomplete = Unseen::new(vec![(path("b/x"), "opendir b/x".into())], judgement.clone());
        let owed = not_compared(&rows, &incomplete, 1_000, 60_000);
        let error = |n: usize| owed[n].error.as_deref();
        assert_eq!((error(0), error(1), error(2)), (None, Some("opendir b/x"), None));
        assert!(owed[0].next_try_ms == 1_000 && owed[1].next_try_ms == 61_000);
        let incomplete = Unseen::new(vec![], judgement);
        let owed = not_compared(&rows, &incomplete, 1_000, 60_000);
        assert!(owed.iter().all(|o| o.error.is_some() && o.next_try_ms == 61_000));
    }
}
