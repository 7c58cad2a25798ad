//! Whether a remote stores times with full precision. Files that were just pushed and then differ only in their time
//! show that it does not. Pure.
//!
//! Comparisons with such a remote treat times within its unit as equal. Otherwise each of them would send everything
//! again. Pushes never do: a marked file is sent even if its size and second are the same. If a remote gets precise
//! times later (another disk), comparisons stay too lenient, but marked files are still pushed.

use crate::path::RelPath;
use crate::rsync::itemize::{Change, ChangeKind};
use std::collections::BTreeSet;

/// The largest number of files that are checked.
pub const FILES_MOST: usize = 8;
/// Times must be equal.
pub const EXACT: i32 = -1;
/// rsync's `--modify-window` values, finest first: nanoseconds; the same second (ext4 with small inodes, NFS 2, SMB);
/// adjacent seconds (FAT).
const WINDOWS: [i32; 3] = [EXACT, 0, 1];

/// True for a regular file that differs only in its time.
pub fn only_in_time(change: &Change) -> bool {
    let [_, _, time, ..] = change.differs.attributes;
    let others = change.differs.attributes.iter().enumerate().filter(|(n, _)| *n != 2);
    change.kind != ChangeKind::Deleted
        && change.differs.kind == b'f'
        && b"tT".contains(&time)
        && others.into_iter().all(|(_, letter)| b". ".contains(letter))
}

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimesCheck {
    /// Files differ in their times: check again with this window.
    Differ(i32),
    /// The remote stores times with this window.
    Within(i32),
    /// No coarse times were found.
    Exact,
    /// No file is left that could show it.
    Unknown,
}

/// Evaluates a dry run of these files, which were just pushed and have not changed since, with `window`. `differ` are
/// those that differ only in their time. `known` is the window known so far.
pub fn evaluate(
    files: &BTreeSet<RelPath>,
    differ: &BTreeSet<RelPath>,
    window: i32,
    known: i32,
) -> TimesCheck {
    if files.is_empty() {
        return TimesCheck::Unknown;
    }
    if differ.is_empty() {
        return if window > known { TimesCheck::Within(window) } else { TimesCheck::Exact };
    }
    // One file that was pushed differs. The others may have times that every file system can store.
    let next = WINDOWS.into_iter().find(|next| *next > window);
    next.map_or(TimesCheck::Exact, TimesCheck::Differ)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rsync::itemize::{Line, parse};

    #[test]
    fn only_a_different_time_counts() {
        for (line, wanted) in [
            ("<f..t...... a", true),
            (".f..t...... a", true),
            ("<f..T...... a", true),
            ("<f.st...... a", false),
            ("<fc.t...... a", false),
            (".f..tp..... a", false),
            (".f...p..... a", false),
            (".d..t...... d/", false),
            ("<f+++++++++ a", false),
            ("*deleting   a", false),
        ] {
            let Line::Change(change) = parse(line.as_bytes()) else { panic!("{line}") };
            assert_eq!(only_in_time(&change), wanted, "{line}");
        }
    }

    /// Checks until there is a result. The remote stores times in units of `unit` nanoseconds.
    fn learnt(unit: i64, known: i32, times: &[i64]) -> Option<i32> {
        let path = |n: usize| RelPath::new(format!("f{n}")).unwrap();
        let files = (0..times.len()).map(path).collect();
        let mut window = known;
        loop {
            let there = |time: i64| time / unit * unit;
            let same = |time: i64| match window {
                EXACT => time == there(time),
                _ => time / SECOND - there(time) / SECOND <= i64::from(window),
            };
            let differ = (0..times.len()).filter(|n| !same(times[*n])).map(path).collect();
            match evaluate(&files, &differ, window, known) {
                TimesCheck::Differ(wider) => window = wider,
                TimesCheck::Within(window) => return Some(window),
                TimesCheck::Exact | TimesCheck::Unknown => return None,
            }
        }
    }

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn the_time_unit_of_a_remote_is_found() {
        let times = [SECOND + 5, 3 * SECOND + 123, 4 * SECOND + 999_999_999];
        assert_eq!(learnt(1, EXACT, &times), None);
        assert_eq!(learnt(100, EXACT, &times), Some(0), "NTFS: ticks of 100 ns");
        assert_eq!(learnt(SECOND, EXACT, &times), Some(0));
        assert_eq!(learnt(SECOND, 0, &times), None, "already known");
        assert_eq!(learnt(2 * SECOND, EXACT, &times), Some(1));
        assert_eq!(learnt(2 * SECOND, EXACT, &[4 * SECOND + 5]), Some(0), "an even second");
        assert_eq!(learnt(2 * SECOND, 0, &times), Some(1), "found later");
        assert_eq!(
            learnt(60 * SECOND, EXACT, &[59 * SECOND]),
            None,
            "no file system has this unit"
        );
        let none = BTreeSet::new();
        assert_eq!(evaluate(&none, &none, EXACT, EXACT), TimesCheck::Unknown);
    }
}
