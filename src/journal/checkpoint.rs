//! The checkpoint: the time up to which every event is in `change`, and what makes that time trustworthy.

use super::{Journal, JournalError, Result};
use crate::path::RelPath;
use rusqlite::OptionalExtension;
use serde::{Deserialize, Serialize};

/// Written by the watcher with the marks it vouches for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Wall clock in nanoseconds since 1970: every change before it is marked.
    pub at_ns: i64,
    /// The boot in which it was written.
    pub boot_id: String,
    /// Wall clock minus time since boot, in nanoseconds: a clock that was set shows here.
    pub clock_offset_ns: i64,
    /// Device of the root; only comparable within one boot.
    pub root_dev: u64,
    /// Inode of the root.
    pub root_ino: u64,
    /// Identity of the file system across boots, empty when it has none.
    pub fs_id: String,
    /// The watcher stopped in order after it, and everything that was pushed was on disk by then.
    pub clean: bool,
    /// The number of the watcher's run; the state directory keeps it too, so that one of the two that was put back
    /// does not fit.
    #[serde(default)]
    pub run: Option<u64>,
    /// The youngest entries that were marked: a file system that was put back to an older state has older ones.
    #[serde(default)]
    pub canaries: Vec<Canary>,
}

/// A root as it is found: device, inode, identity of its file system.
pub type Found = (u64, u64, String);

/// Whether the root that is found in the boot `boot_id` is the one whose changes are in the journal: of an empty mount point,
/// or another directory in its place, everything would look deleted. `first` is what was found before in this run. Pure.
pub fn is_same_root(
    checkpoint: Option<&Checkpoint>,
    boot_id: &str,
    here: &Found,
    first: Option<&Found>,
) -> bool {
    let unchanged = first.is_none_or(|first| first == here);
    match checkpoint {
        Some(c) if c.boot_id == boot_id => {
            (here.0, here.1, here.2.as_str()) == (c.root_dev, c.root_ino, c.fs_id.as_str())
        }
        // Devices are only comparable within one boot; the watcher judges the rest before it says go.
        Some(c) => c.root_ino == here.1 && unchanged,
        None => unchanged,
    }
}

/// An entry as it was when the checkpoint was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    /// Where it is.
    pub path: RelPath,
    /// The time of its last change, in nanoseconds since 1970.
    pub ctime_ns: i64,
}

impl Journal {
    /// The last checkpoint. `None` before a watcher first took the root as it was (it notes one before its first scan),
    /// after [`Journal::forget_checkpoint`], and where the root is on a network file system.
    pub fn checkpoint(&self) -> Result<Option<Checkpoint>> {
        let text: Option<String> = self
            .db
            .prepare_cached("SELECT state FROM checkpoint")?
            .query_row([], |row| row.get(0))
            .optional()?;
        text.map(|t| {
            serde_json::from_str(&t).map_err(|e| JournalError::Damaged(format!("checkpoint: {e}")))
        })
        .transpose()
    }

    /// Forgets the checkpoint, so that the next start looks at everything anew.
    pub fn forget_checkpoint(&mut self) -> Result<()> {
        let tx = self.write()?;
        tx.execute("DELETE FROM checkpoint", [])?;
        tx.commit()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_another_when_its_device_inode_or_file_system_is() {
        let checkpoint = Checkpoint {
            at_ns: 0,
            boot_id: "b".into(),
            clock_offset_ns: 0,
            root_dev: 1,
            root_ino: 2,
            fs_id: "f".into(),
            clean: true,
            run: None,
            canaries: Vec::new(),
        };
        let found = |dev, ino, fs: &str| (dev, ino, fs.to_owned());
        let same = |boot: &str, here: &Found, first: Option<&Found>| {
            is_same_root(Some(&checkpoint), boot, here, first)
        };
        let (it, moved) = (found(1, 2, "f"), found(9, 2, "g"));
        assert!(same("b", &it, None) && same("b", &it, Some(&it)));
        for other in [found(9, 2, "f"), found(1, 9, "f"), found(1, 2, "g")] {
            assert!(!same("b", &other, None), "{other:?}");
        }
        assert!(same("c", &moved, None) && same("c", &moved, Some(&moved)));
        assert!(!same("c", &moved, Some(&it)) && !same("c", &found(9, 3, "g"), None));
        let unknown = |here: &Found, first: Option<&Found>| is_same_root(None, "b", here, first);
        assert!(unknown(&it, None) && unknown(&it, Some(&it)) && !unknown(&it, Some(&moved)));
    }
}
