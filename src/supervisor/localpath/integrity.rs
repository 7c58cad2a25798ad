//! Checks whether the lock and the journal in a state directory are still the files that this supervisor opened. It
//! compares device and inode, since the database itself is never opened for that (rule 14).

use crate::instance::lock::LOCK_NAME;
use crate::journal::FILE_NAME;
use crate::sys::files;
use crate::sys::lock::{FileId, Lock};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

/// The interval between checks while every child runs.
const EVERY: Duration = Duration::from_secs(2);

/// The identity of the files. A file with an unknown identity is not missed.
#[derive(Debug, Default)]
pub struct Integrity {
    lock: Option<FileId>,
    journal: Option<FileId>,
    /// The directory. Confined processes reach no other.
    directory: Option<FileId>,
    check_at: Duration,
}

/// The fate of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Same,
    Gone,
    Replaced,
}

impl Integrity {
    /// Stores the identity of the current files: the lock that is held, and the journal in `dir`.
    pub fn new(held: &Lock, dir: &Path, now: Duration) -> Self {
        Self {
            lock: held.id().ok(),
            journal: id(&dir.join(FILE_NAME)).ok().flatten(),
            directory: id(dir).ok().flatten(),
            check_at: now + EVERY,
        }
    }

    /// False if the last check was a moment ago.
    pub fn is_due(&self, now: Duration) -> bool {
        now >= self.check_at
    }

    /// Delays the next check.
    pub fn checked(&mut self, now: Duration) {
        self.check_at = now + EVERY;
    }

    /// True if the identity of the journal is known.
    pub fn knows_journal(&self) -> bool {
        self.journal.is_some()
    }

    /// Makes the next check due.
    pub fn make_due(&mut self) {
        self.check_at = Duration::ZERO;
    }

    /// The error, and whether it concerns the journal.
    pub fn wrong(&self, dir: &Path) -> Option<(String, bool)> {
        let journal = fate(self.journal, &dir.join(FILE_NAME));
        let lock = fate(self.lock, &dir.join(LOCK_NAME));
        let names = [
            (dir.join(FILE_NAME), journal),
            (dir.join(LOCK_NAME), lock),
            (dir.to_owned(), fate(self.directory, dir)),
        ];
        let said: Vec<String> = names
            .into_iter()
            .filter_map(|(path, fate)| {
                let word = match fate {
                    Fate::Same => return None,
                    Fate::Gone => "removed",
                    Fate::Replaced => "replaced",
                };
                Some(format!("{} was {word}", path.display()))
            })
            .collect();
        (!said.is_empty()).then(|| (said.join(", "), journal != Fate::Same))
    }
}

fn id(path: &Path) -> io::Result<Option<FileId>> {
    match files::stat(path) {
        Ok(stat) => Ok(Some((stat.dev, stat.ino))),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// True if the file at `path` is the locked one.
pub fn is_locked_by(held: &Lock, path: &Path) -> io::Result<bool> {
    Ok(id(path)? == Some(held.id()?))
}

fn fate(known: Option<FileId>, path: &Path) -> Fate {
    match (known, id(path)) {
        // A file that cannot be examined is not known to be another one.
        (None, _) | (_, Err(_)) => Fate::Same,
        (Some(_), Ok(None)) => Fate::Gone,
        (Some(known), Ok(Some(now))) if now == known => Fate::Same,
        (Some(_), Ok(Some(_))) => Fate::Replaced,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_and_replaced_files_are_reported() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in [FILE_NAME, LOCK_NAME, "new"] {
            std::fs::write(at(name), "").unwrap();
        }
        let known = |name: &str| id(&at(name)).unwrap();
        let integrity = Integrity {
            lock: known(LOCK_NAME),
            journal: known(FILE_NAME),
            directory: id(dir.path()).unwrap(),
            check_at: Duration::ZERO,
        };
        assert_eq!(integrity.wrong(dir.path()), None);
        // The same files in another directory.
        let other = tempfile::tempdir().unwrap();
        for name in [FILE_NAME, LOCK_NAME] {
            std::fs::hard_link(at(name), other.path().join(name)).unwrap();
        }
        let (why, journal) = integrity.wrong(other.path()).unwrap();
        assert!(why == format!("{} was replaced", other.path().display()) && !journal, "{why}");
        std::fs::rename(at("new"), at(LOCK_NAME)).unwrap();
        let (why, journal) = integrity.wrong(dir.path()).unwrap();
        assert!(why.ends_with("/lock was replaced") && !journal, "{why}");
        std::fs::remove_file(at(FILE_NAME)).unwrap();
        let (why, journal) = integrity.wrong(dir.path()).unwrap();
        assert!(why.contains("/journal.db was removed, ") && journal, "{why}");
        assert_eq!(Integrity::default().wrong(dir.path()), None);
    }
}
