//! The delete guard: a comparison that would delete too much is held for the operator. Pure.

use crate::config::model::MaxDelete;
use crate::rsync::itemize::Totals;
use crate::rsync_run::dry_run::Counts;

/// The default guard allows up to this number of deletions, unless they delete everything.
const ALWAYS_ALLOWED: u64 = 100;

/// What a comparison would do to a remote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Names it would delete.
    pub deletions: u64,
    /// Names it would create.
    pub created: u64,
    /// The number of entries that the remote has, if known.
    pub entries: Option<u64>,
    /// The number of names that would stay on the remote, without directories, if known.
    pub staying: Option<u64>,
}

impl Losses {
    /// The losses if pushes have just created this number of files on the remote. These files count as created, not as
    /// staying.
    #[must_use]
    pub fn without_created(self, files: u64) -> Losses {
        let staying = self.staying.map(|staying| staying.saturating_sub(files));
        Losses { staying, created: self.created + files, ..self }
    }
}

/// The number of entries that a remote has, from the totals of a dry run: the `files` in the local list, without the
/// `created` ones that the remote lacks, and the `deletions` that only the remote has.
pub fn remote_entries(files: u64, created: u64, deletions: u64) -> u64 {
    files.saturating_sub(created) + deletions
}

/// [`Losses::staying`] after a reconcile. `None` for an rsync that does not count directories (before 3.1).
pub fn staying(here: Contents, totals: &Totals) -> Option<u64> {
    if here == Contents::Nothing {
        return Some(0);
    }
    let files = totals.files.checked_sub(totals.directories?)?;
    let created = totals.created.saturating_sub(totals.created_directories.unwrap_or(0));
    Some(files.saturating_sub(created))
}

/// [`Losses::staying`] after a comparison of some directories. The rest is estimated from the known number of entries
/// of the remote, which includes its root.
pub fn staying_of_part(
    here: Contents,
    totals: &Totals,
    entries: Option<u64>,
    deletions: u64,
) -> Option<u64> {
    match staying(here, totals) {
        Some(0) if here == Contents::Nothing => Some(0),
        Some(some) if some > 0 => Some(some),
        _ => entries.map(|entries| entries.saturating_sub(deletions + 1)),
    }
}

/// What was compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The whole localpath.
    Whole,
    /// A part of the localpath. The number of entries of the whole remote, if known.
    Part(Option<u64>),
}

/// What a comparison of this extent would do.
pub fn losses(extent: Extent, here: Contents, counts: Counts, totals: &Totals) -> Losses {
    let Counts { deletions, created, .. } = counts;
    let (entries, staying) = match extent {
        Extent::Whole => {
            (Some(remote_entries(totals.files, totals.created, deletions)), staying(here, totals))
        }
        Extent::Part(entries) => (entries, staying_of_part(here, totals, entries, deletions)),
    };
    Losses { deletions, created, entries, staying }
}

/// Whether the localpath contains anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// Nothing that is replicated, or only directories: a new file system has one, `lost+found`.
    Nothing,
    /// Something.
    Something,
}

/// True if these deletions must wait for the operator: they are more than allowed, or they would replace everything on
/// the remote by fewer names. A file system that was emptied, or covered by another mount, looks like that.
pub fn holds(max: MaxDelete, losses: Losses) -> bool {
    let Losses { deletions, created, entries, staying } = losses;
    let all = deletions > 0 && staying == Some(0) && created < deletions;
    match max {
        MaxDelete::Unlimited => false,
        MaxDelete::Entries(most) => all || deletions > most,
        MaxDelete::Half => {
            let half = entries.is_some_and(|entries| deletions > entries / 2);
            all || deletions > ALWAYS_ALLOWED && half
        }
    }
}

/// True if the number of entries of the remote may decide whether these deletions are held.
pub fn depends_on_entries(max: MaxDelete, deletions: u64) -> bool {
    max == MaxDelete::Half && deletions > ALWAYS_ALLOWED
}

/// True if the operator has approved at least this number of deletions. Later ones are not approved.
pub fn is_approved(approved: Option<u64>, deletions: u64) -> bool {
    approved.is_some_and(|most| deletions <= most)
}

/// The message for the operator.
pub fn message(deletions: u64, entries: Option<u64>, remote: &str) -> String {
    // The known number of entries may be out of date.
    let of = entries.filter(|n| *n >= deletions).map(|n| format!(" of {n}")).unwrap_or_default();
    format!(
        "would delete {deletions}{of} entries; look with `syncsup release --show {remote}`; if that is right, `syncsup release {remote}`; if not, repair the master, then `syncsup sync {remote}`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn losses(deletions: u64, entries: Option<u64>) -> Losses {
        Losses { deletions, entries, staying: entries.map(|n| n - deletions), ..Losses::default() }
    }

    #[test]
    fn more_than_half_of_a_large_remote_is_held() {
        let holds = |max, deletions, entries| holds(max, losses(deletions, entries));
        assert!(!holds(MaxDelete::Half, 100, Some(101)));
        assert!(holds(MaxDelete::Half, 101, Some(150)));
        assert!(!holds(MaxDelete::Half, 101, Some(202)));
        assert!(!holds(MaxDelete::Half, 5_000, None));
        assert!(holds(MaxDelete::Entries(10), 11, None));
        assert!(!holds(MaxDelete::Unlimited, 1_000_000, Some(1_000_000)));
        assert!(message(600, Some(401), "r").starts_with("would delete 600 entries"));
        assert_eq!(
            message(400, Some(401), "r"),
            "would delete 400 of 401 entries; look with `syncsup release --show r`; if that is right, `syncsup release r`; if not, repair the master, then `syncsup sync r`"
        );
        assert_eq!(remote_entries(100, 90, 50), 60);
    }

    #[test]
    fn deleting_all_names_is_held_even_if_they_are_few() {
        for max in [MaxDelete::Half, MaxDelete::Entries(0), MaxDelete::Entries(1_000)] {
            for deletions in [1, 2, 60, 100, 5_000] {
                assert!(holds(max, losses(deletions, Some(deletions))), "{max:?} {deletions}");
            }
        }
        assert!(!holds(MaxDelete::Unlimited, losses(60, Some(60))));
        // The remote is empty, or names stay.
        assert!(!holds(MaxDelete::Half, losses(0, Some(0))));
        assert!(!holds(MaxDelete::Half, losses(60, Some(61))));
        // A first copy may replace a placeholder page. A smaller tree must not replace a larger one.
        let first_copy = Losses { created: 2, ..losses(2, Some(2)) };
        assert!(!holds(MaxDelete::Half, first_copy));
        let other_tree = Losses { created: 3, ..losses(60, Some(60)) };
        assert!(holds(MaxDelete::Half, other_tree));
    }

    #[test]
    fn files_that_were_pushed_just_before_do_not_stay() {
        let most = |staying| Losses { staying: Some(staying), ..losses(30, Some(31)) };
        assert!(!holds(MaxDelete::Half, most(1)), "an old file stays");
        assert!(holds(MaxDelete::Half, most(1).without_created(1)), "a new one does not");
        assert!(!holds(MaxDelete::Half, most(2).without_created(1)));
        assert!(
            !holds(MaxDelete::Half, most(30).without_created(30)),
            "as many files replace them"
        );
    }

    #[test]
    fn directories_do_not_count_as_staying() {
        let totals = |files, directories, created, created_directories| Totals {
            files,
            directories: Some(directories),
            created,
            created_directories: Some(created_directories),
            ..Totals::default()
        };
        // An empty root; empty directories; all files new; one of three files is on the remote.
        assert_eq!(staying(Contents::Something, &totals(1, 1, 0, 0)), Some(0));
        assert_eq!(staying(Contents::Something, &totals(9, 9, 4, 4)), Some(0));
        assert_eq!(staying(Contents::Something, &totals(12, 2, 10, 0)), Some(0));
        assert_eq!(staying(Contents::Something, &totals(4, 1, 2, 0)), Some(1));
        let old = Totals { files: 9, ..Totals::default() };
        assert_eq!(staying(Contents::Something, &old), None);
        assert_eq!(staying(Contents::Nothing, &old), Some(0));

        let part = |here, entries, deletions| {
            staying_of_part(here, &totals(1, 1, 0, 0), entries, deletions)
        };
        assert_eq!(part(Contents::Nothing, Some(500), 3), Some(0));
        assert_eq!(part(Contents::Something, Some(61), 60), Some(0));
        assert_eq!(part(Contents::Something, Some(62), 60), Some(1));
        assert_eq!(part(Contents::Something, None, 60), None);
        // The earlier count may be too low, for example by a file that a killed receiver left.
        let two = totals(2, 1, 0, 0);
        assert_eq!(staying_of_part(Contents::Something, &two, Some(2), 1), Some(1));
    }

    #[test]
    fn a_release_approves_only_what_was_shown() {
        assert!(is_approved(Some(700), 700) && is_approved(Some(700), 3));
        assert!(!is_approved(Some(700), 701) && !is_approved(Some(0), 1) && !is_approved(None, 1));
    }
}
