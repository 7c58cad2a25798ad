//! The root record: what is known about the root apart from the checkpoint, in a small file in the state directory. A
//! root on a network file system has no checkpoint, and neither does a lost journal.

use crate::path::RelPath;
use crate::root_id::RootId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

pub use crate::path::ROOT_FILE as FILE_NAME;

/// The root as a watcher accepted it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootRecord {
    /// The boot in which it was seen.
    pub boot_id: String,
    /// The identity of the directory.
    #[serde(flatten)]
    pub root: RootId,
    /// It was on a network file system.
    pub network: bool,
    /// Set if no first copy was wanted: what changed before this time is never marked. Nanoseconds since 1970.
    pub not_before_ns: Option<i64>,
    /// The mount points inside. They are also kept in the record because a journal that is set aside takes its own list
    /// with it.
    #[serde(default)]
    pub mounts: BTreeSet<RelPath>,
    /// The number of the last run that the journal has recorded.
    #[serde(default)]
    pub run: Option<u64>,
    /// The number of the run that the journal is about to record, or has recorded.
    #[serde(default)]
    pub next_run: Option<u64>,
}

impl RootRecord {
    /// Reads the record. A file that cannot be parsed counts as missing.
    pub fn read(dir: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(dir.join(FILE_NAME)) {
            Ok(text) => Ok(serde_json::from_slice(&text).ok()),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Replaces the file atomically: a reader never sees a partial file.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        let new = dir.join(format!("{FILE_NAME}.new"));
        let mut file = std::fs::File::create(&new)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        std::fs::rename(new, dir.join(FILE_NAME))?;
        std::fs::File::open(dir)?.sync_all()
    }

    /// Forgets the root.
    pub fn forget(dir: &Path) -> io::Result<()> {
        match std::fs::remove_file(dir.join(FILE_NAME)) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }
}

/// True if a journal whose last run is `run` belongs to this state directory: neither was restored to an older state
/// without the other. Pure.
pub fn fits(record: Option<&RootRecord>, run: Option<u64>) -> bool {
    let (noted, next) = record.map_or((None, None), |record| (record.run, record.next_run));
    // A start may have been interrupted between the two writes.
    run == noted || (next.is_some() && run == next)
}

/// The number of the next run. Pure.
pub fn run_after(record: Option<&RootRecord>, run: Option<u64>) -> u64 {
    let record = record.iter().flat_map(|record| [record.run, record.next_run]);
    record.chain([run]).flatten().max().unwrap_or(0) + 1
}

/// Why the root at a start is not the recorded one, for a root without a checkpoint. Pure. A root on a network file
/// system has no lasting numbers. Only if it became a local directory is it known not to be mounted.
pub fn other_root(
    record: Option<&RootRecord>,
    has_checkpoint: bool,
    now: &RootRecord,
) -> Option<&'static str> {
    let record = record?;
    if record.network && !now.network {
        return Some("it was on a network file system and is now a local directory");
    }
    if record.network || now.network || has_checkpoint {
        return None;
    }
    let same_boot = record.boot_id == now.boot_id;
    (!record.root.same_as(&now.root, same_boot))
        .then_some("it is not the directory that was watched before")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(dev: u64, ino: u64, fs_id: &str) -> RootId {
        RootId { dev, ino, fs_id: fs_id.into() }
    }

    #[test]
    fn records_of_older_versions_are_read_and_key_names_are_stable() {
        let first =
            r#"{"boot_id":"b","dev":1,"ino":2,"fs_id":"f","network":false,"not_before_ns":null}"#;
        let full = r#"{"boot_id":"b","dev":1,"ino":2,"fs_id":"f","network":false,"not_before_ns":5,"mounts":["m"],"run":3,"next_run":4}"#;
        let read = |text: &str| serde_json::from_str::<RootRecord>(text).unwrap();
        let wanted = RootRecord {
            boot_id: "b".into(),
            root: root(1, 2, "f"),
            network: false,
            not_before_ns: None,
            mounts: BTreeSet::new(),
            run: None,
            next_run: None,
        };
        assert_eq!(read(first), wanted);
        let wanted = RootRecord {
            not_before_ns: Some(5),
            mounts: BTreeSet::from([RelPath::new("m").unwrap()]),
            run: Some(3),
            next_run: Some(4),
            ..wanted
        };
        assert_eq!(read(full), wanted);
        assert_eq!(serde_json::to_string(&wanted).unwrap(), full);
    }

    #[test]
    fn a_network_root_that_became_local_is_another_root() {
        let local = RootRecord {
            boot_id: "b".into(),
            root: root(1, 2, "f"),
            network: false,
            not_before_ns: None,
            mounts: BTreeSet::new(),
            run: None,
            next_run: None,
        };
        let network = RootRecord { network: true, root: root(1, 1, "n"), ..local.clone() };
        assert_eq!(other_root(None, false, &local), None);
        assert!(other_root(Some(&network), false, &local).is_some());
        assert!(other_root(Some(&network), true, &local).is_some());
        let remounted = RootRecord { root: root(7, 1, "m"), ..network.clone() };
        assert_eq!(other_root(Some(&network), false, &remounted), None);
        assert_eq!(other_root(Some(&local), false, &local), None);
        let empty = RootRecord { root: root(1, 3, "f"), ..local.clone() };
        assert!(other_root(Some(&local), false, &empty).is_some());
        assert_eq!(other_root(Some(&local), true, &empty), None, "the checkpoint knows better");
        let booted = RootRecord { boot_id: "c".into(), root: root(9, 2, "f"), ..local.clone() };
        assert_eq!(other_root(Some(&local), false, &booted), None);
    }

    #[test]
    fn a_journal_of_another_run_does_not_fit() {
        let record = |run, next_run| RootRecord {
            boot_id: "b".into(),
            root: root(1, 2, "f"),
            network: false,
            not_before_ns: None,
            mounts: BTreeSet::new(),
            run,
            next_run,
        };
        for (record, run, fit) in [
            (None, None, true),
            // The journal alone was restored to an older state, then the state directory alone.
            (Some(record(Some(4), None)), Some(3), false),
            (Some(record(Some(3), None)), Some(4), false),
            (Some(record(Some(4), None)), Some(4), true),
            // A start was interrupted before, and after, the journal recorded it.
            (Some(record(Some(4), Some(5))), Some(4), true),
            (Some(record(Some(4), Some(5))), Some(5), true),
            (Some(record(Some(4), Some(5))), Some(3), false),
            // From before runs had numbers: both are from then, or only one of the two.
            (Some(record(None, None)), None, true),
            (Some(record(None, None)), Some(7), false),
            (Some(record(Some(7), None)), None, false),
            (None, Some(7), false),
        ] {
            assert_eq!(fits(record.as_ref(), run), fit, "{record:?} {run:?}");
            let next = run_after(record.as_ref(), run);
            assert!(run.is_none_or(|run| next > run));
            assert!(record.is_none_or(|k| k.run.max(k.next_run).is_none_or(|n| next > n)));
        }
    }
}
