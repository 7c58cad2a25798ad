//! Whether a remote keeps times as fine as ours: files that were just pushed and then differ in nothing but their time
//! show that it does not. Pure.
//!
//! Comparisons with such a remote take times within its unit for the same; else they would send everything again, each
//! time. Pushes never do: what was marked goes, though its size and second are the same. A remote whose times become fine
//! later (another disk) is compared a little too kindly from then on, which harms nothing that was marked.

use crate::path::RelPath;
use crate::rsync::itemize::{Change, ChangeKind};
use std::collections::BTreeSet;

/// Files that are looked at, at most.
pub const LOOKED_AT: usize = 8;
/// Every time counts.
pub const EXACT: i32 = -1;
/// rsync's windows from the finest: every nanosecond; the same second (ext4 with small inodes, NFS 2, SMB); two seconds
/// that are neighbours (FAT).
const WINDOWS: [i32; 3] = [EXACT, 0, 1];

/// True for a regular file that differs in nothing but its time.
pub fn only_in_time(change: &Change) -> bool {
    let [_, _, time, ..] = change.differs.attributes;
    let others = change.differs.attributes.iter().enumerate().filter(|(n, _)| *n != 2);
    change.kind != ChangeKind::Deleted
        && change.differs.kind == b'f'
        && b"tT".contains(&time)
        && others.into_iter().all(|(_, letter)| b". ".contains(letter))
}

/// What a look told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Files differ in their times: look once more, with this window.
    Look(i32),
    /// Times within this window are the same there.
    Window(i32),
    /// Nothing of the kind.
    Nothing,
}

/// After a dry run of these files, just pushed and unchanged since, with `window`; `differ` are those that differ in
/// their time alone. `known` is the window that the remote has so far.
pub fn told(
    files: &BTreeSet<RelPath>,
    differ: &BTreeSet<RelPath>,
    window: i32,
    known: i32,
) -> Told {
    if files.is_empty() {
        return Told::Nothing;
    }
    if differ.is_empty() {
        return if window > known { Told::Window(window) } else { Told::Nothing };
    }
    // One that was pushed differs: perhaps the others have times that every file system keeps.
    let next = WINDOWS.into_iter().find(|next| *next > window);
    next.map_or(Told::Nothing, Told::Look)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rsync::itemize::{Line, parse};

    #[test]
    fn a_time_alone() {
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

    /// Looks until it is told, at a remote that keeps times in units of this many nanoseconds.
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
            match told(&files, &differ, window, known) {
                Told::Look(wider) => window = wider,
                Told::Window(window) => return Some(window),
                Told::Nothing => return None,
            }
        }
    }

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn the_unit_of_a_remote_is_found() {
        let times = [SECOND + 5, 3 * SECOND + 123, 4 * SECOND + 999_999_999];
        assert_eq!(learnt(1, EXACT, &times), None);
        assert_eq!(learnt(100, EXACT, &times), Some(0), "NTFS: ticks of 100 ns");
        assert_eq!(learnt(SECOND, EXACT, &times), Some(0));
        assert_eq!(learnt(SECOND, 0, &times), None, "that is known");
        assert_eq!(learnt(2 * SECOND, EXACT, &times), Some(1));
        assert_eq!(learnt(2 * SECOND, EXACT, &[4 * SECOND + 5]), Some(0), "an even second");
        assert_eq!(learnt(2 * SECOND, 0, &times), Some(1), "found later");
        assert_eq!(learnt(60 * SECOND, EXACT, &[59 * SECOND]), None, "no file system does that");
        assert_eq!(learnt(SECOND, EXACT, &[]), None);
    }
}
