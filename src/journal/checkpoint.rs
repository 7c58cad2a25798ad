//! The checkpoint: the time up to which every event is in `change`, and the facts that show whether that time is valid.

use super::{Journal, JournalError, Result};
use crate::path::RelPath;
use crate::root_id::RootId;
use rusqlite::OptionalExtension;
use serde::{Deserialize, Serialize};

/// The watcher writes it together with the marks that it covers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Wall clock in nanoseconds since 1970. Every earlier change is marked.
    pub at_ns: i64,
    /// The boot in which it was written.
    pub boot_id: String,
    /// Wall clock minus time since boot, in nanoseconds. It shows whether the clock was set.
    pub clock_offset_ns: i64,
    /// The root.
    #[serde(flatten, with = "Fields")]
    pub root: RootId,
    /// The watcher then stopped in order, and everything that had been pushed was on disk.
    pub clean: bool,
    /// The number of the watcher's run. The state directory contains it too, so that a mismatch shows if one of the two
    /// was restored from a backup.
    #[serde(default)]
    pub run: Option<u64>,
    /// The newest entries that were marked. If a file system was restored to an older state, its entries are older.
    #[serde(default)]
    pub canaries: Vec<Canary>,
}

/// A [`RootId`] with the field names that a checkpoint uses.
#[derive(Serialize, Deserialize)]
#[serde(remote = "RootId")]
struct Fields {
    #[serde(rename = "root_dev")]
    dev: u64,
    #[serde(rename = "root_ino")]
    ino: u64,
    fs_id: String,
}

/// Decides whether the root that was found is the one whose changes are in the journal. In an empty mount point, or in
/// another directory at the same path, everything would look deleted. Pure.
#[derive(Debug)]
pub struct RootCheck {
    boot_id: String,
    /// The first root found, used until a checkpoint of this boot exists.
    first: Option<RootId>,
}

impl RootCheck {
    /// Creates it for a process of this boot.
    pub fn new(boot_id: String) -> Self {
        Self { boot_id, first: None }
    }

    /// True if `found` is the root of `checkpoint`. If no checkpoint of this boot exists, it must also be the root that
    /// was found first.
    pub fn is_same(&mut self, checkpoint: Option<&Checkpoint>, found: RootId) -> bool {
        let same_boot = checkpoint.is_some_and(|last| last.boot_id == self.boot_id);
        let of_journal = checkpoint.is_none_or(|last| last.root.same_as(&found, same_boot));
        let unchanged = || self.first.as_ref().is_none_or(|first| first.same_as(&found, true));
        let same = of_journal && (same_boot || unchanged());
        if same {
            self.first = Some(found);
        }
        same
    }
}

/// An entry in its state when the checkpoint was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    /// Its path.
    pub path: RelPath,
    /// The time of its last change, in nanoseconds since 1970.
    pub ctime_ns: i64,
}

impl Journal {
    /// The last checkpoint. `None` before a watcher first accepted the root (it writes a checkpoint before its first
    /// scan), after [`Journal::forget_checkpoint`], and if the root is on a network file system.
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

    /// Forgets the checkpoint, so that the next start scans everything.
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

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            at_ns: 0,
            boot_id: "b".into(),
            clock_offset_ns: 0,
            root: id(1, 2, "f"),
            clean: true,
            run: None,
            canaries: Vec::new(),
        }
    }

    fn id(dev: u64, ino: u64, fs_id: &str) -> RootId {
        RootId { dev, ino, fs_id: fs_id.into() }
    }

    #[test]
    fn root_check_compares_with_the_checkpoint_and_the_first_root_found() {
        let same = |boot: &str, checkpoint: Option<&Checkpoint>, found: &[RootId]| {
            let mut check = RootCheck::new(boot.into());
            found.iter().map(|root| check.is_same(checkpoint, root.clone())).collect::<Vec<_>>()
        };
        let last = checkpoint();
        let (it, renumbered) = (id(1, 2, "f"), id(9, 2, "f"));
        let others = [id(1, 9, "f"), id(1, 2, "g")];
        assert_eq!(same("b", Some(&last), &[it.clone(), it.clone()]), [true, true]);
        assert_eq!(same("b", Some(&last), &[renumbered.clone(), it.clone()]), [false, true]);
        assert_eq!(same("b", Some(&last), &others), [false, false]);
        // The checkpoint is from another boot.
        assert_eq!(same("c", Some(&last), &others), [false, false]);
        assert_eq!(same("c", Some(&last), &[renumbered.clone(), renumbered]), [true, true]);
        assert_eq!(same("c", Some(&last), &[it.clone(), id(9, 2, "f")]), [true, false]);
        // There is no checkpoint.
        assert_eq!(same("b", None, &[it.clone(), id(1, 2, "g"), it]), [true, false, true]);
    }

    #[test]
    fn root_check_accepts_a_root_adopted_by_a_checkpoint_of_this_boot() {
        let mut check = RootCheck::new("b".into());
        let (old, new) = (checkpoint(), Checkpoint { root: id(1, 7, "f"), ..checkpoint() });
        assert!(check.is_same(Some(&old), old.root.clone()));
        assert!(check.is_same(Some(&new), new.root.clone()));
        assert!(check.is_same(None, new.root));
    }

    #[test]
    fn checkpoints_of_older_versions_are_read_and_key_names_are_stable() {
        let first = r#"{"at_ns":7,"boot_id":"b","clock_offset_ns":-3,"root_dev":18446744073709551615,"root_ino":2,"fs_id":"f","clean":true}"#;
        let with_run = r#"{"at_ns":7,"boot_id":"b","clock_offset_ns":-3,"root_dev":18446744073709551615,"root_ino":2,"fs_id":"f","clean":true,"run":4,"canaries":[{"path":"d/f","ctime_ns":5}]}"#;
        let read = |text: &str| serde_json::from_str::<Checkpoint>(text).unwrap();
        let canary = Canary { path: RelPath::new("d/f").unwrap(), ctime_ns: 5 };
        let wanted = Checkpoint {
            at_ns: 7,
            clock_offset_ns: -3,
            root: id(u64::MAX, 2, "f"),
            ..checkpoint()
        };
        assert_eq!(read(first), wanted);
        let wanted = Checkpoint { run: Some(4), canaries: vec![canary], ..wanted };
        assert_eq!(read(with_run), wanted);
        assert_eq!(serde_json::to_string(&wanted).unwrap(), with_run);
        assert!(serde_json::from_str::<Checkpoint>(&first.replace("root_ino", "ino")).is_err());
    }
}
