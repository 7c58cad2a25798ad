//! What a localpath keeps in its state directory is looked after: files that somebody removed or replaced are noticed by
//! device and inode, and begun anew. The database itself is never opened for that (rule 14).

use super::Site;
use crate::error::{Error, Exit, Result};
use crate::journal::FILE_NAME;
use crate::supervisor::directories;
use crate::sys::files;
use crate::sys::lock::{self, FileId};
use crate::sys::process;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

/// How often to look while everybody runs.
const EVERY: Duration = Duration::from_secs(2);

/// The lock of a localpath in its state directory.
pub const LOCK_NAME: &str = "lock";

/// Which files they are. One that is not known yet is not missed.
#[derive(Debug, Default)]
pub struct Kept {
    lock: Option<FileId>,
    journal: Option<FileId>,
    look_at: Duration,
}

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Same,
    Gone,
    Replaced,
}

impl Kept {
    /// The next look is due.
    pub fn look_now(&mut self) {
        self.look_at = Duration::ZERO;
    }

    /// What is wrong: the sentence, and whether it concerns the journal.
    fn wrong(&self, dir: &Path) -> Option<(String, bool)> {
        let journal = fate(self.journal, &dir.join(FILE_NAME));
        let lock = fate(self.lock, &dir.join(LOCK_NAME));
        let names = [(FILE_NAME, journal), (LOCK_NAME, lock)];
        let said: Vec<String> = names
            .into_iter()
            .filter_map(|(name, fate)| {
                let word = match fate {
                    Fate::Same => return None,
                    Fate::Gone => "removed",
                    Fate::Replaced => "replaced",
                };
                Some(format!("{} was {word}", dir.join(name).display()))
            })
            .collect();
        (!said.is_empty()).then(|| (said.join(", "), journal != Fate::Same))
    }
}

fn id(path: &Path) -> io::Result<Option<FileId>> {
    match files::stat(path) {
        Ok(seen) => Ok(Some((seen.dev, seen.ino))),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn fate(known: Option<FileId>, path: &Path) -> Fate {
    match (known, id(path)) {
        // What cannot be looked at is not known to be another.
        (None, _) | (_, Err(_)) => Fate::Same,
        (Some(_), Ok(None)) => Fate::Gone,
        (Some(known), Ok(Some(now))) if now == known => Fate::Same,
        (Some(_), Ok(Some(_))) => Fate::Replaced,
    }
}

impl Site {
    /// Notes which files are its own.
    pub(super) fn note_kept(&mut self, now: Duration) {
        self.kept = Kept {
            lock: self.lock.id().ok(),
            journal: id(&self.dir.join(FILE_NAME)).ok().flatten(),
            look_at: now + EVERY,
        };
    }

    /// Looks whether they are still there. When a child is down at every turn: the next one would make a new journal,
    /// perhaps with the number of the old one.
    pub(super) fn look_after(&mut self, now: Duration) {
        if self.damaged.is_some() || (now < self.kept.look_at && self.all_run()) {
            return;
        }
        self.kept.look_at = now + EVERY;
        if self.kept.journal.is_none() {
            self.note_kept(now);
        }
        if let Some((why, journal)) = self.kept.wrong(&self.dir) {
            self.lost(why, journal, now);
        }
    }

    fn all_run(&self) -> bool {
        self.watcher.runs()
            && self.pushers.iter().all(|p| p.process.runs())
            && self.runner.as_ref().is_none_or(|r| r.process.runs())
    }

    /// Makes the directory and takes the lock again, where another file or none stands in its place.
    pub(super) fn lock_again(&mut self) -> Result<()> {
        directories::make_private(&self.dir)?;
        let path = self.dir.join(LOCK_NAME);
        let refused = |e| Error::system(format!("cannot lock {}", path.display()), e);
        if id(&path).map_err(refused)? == Some(self.lock.id().map_err(refused)?) {
            return Ok(());
        }
        let watch = self.wanted.localpath.watch.to_string();
        let lock = lock::take(&path, false).map_err(refused)?;
        self.lock = lock.ok_or_else(|| taken(&watch, &path))?;
        let _ = self.lock.sign();
        Ok(())
    }
}

/// Another supervisor has the lock.
pub fn taken(watch: &str, file: &Path) -> Error {
    let holders = process::lock_holders(file);
    let by = match (holders.iter().find(|h| !h.ours), lock::holder(file)) {
        (Some(other), _) => {
            let text = format!(
                "localpath {watch}: {} is locked by {other}, which is no supervisor; end it, or choose another --state-dir",
                file.display()
            );
            return Error::new(Exit::AlreadyRunning, text);
        }
        (None, pid) => pid.map_or(String::new(), |pid| format!(" by pid {pid}")),
    };
    let text = format!(
        "localpath {watch}: another supervisor keeps it already ({} is locked{by}); stop that one first, or choose another --state-dir",
        file.display()
    );
    Error::new(Exit::AlreadyRunning, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gone_and_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in [FILE_NAME, LOCK_NAME, "new"] {
            std::fs::write(at(name), "").unwrap();
        }
        let known = |name: &str| id(&at(name)).unwrap();
        let kept =
            Kept { lock: known(LOCK_NAME), journal: known(FILE_NAME), look_at: Duration::ZERO };
        assert_eq!(kept.wrong(dir.path()), None);
        std::fs::rename(at("new"), at(LOCK_NAME)).unwrap();
        let (why, journal) = kept.wrong(dir.path()).unwrap();
        assert!(why.ends_with("/lock was replaced") && !journal, "{why}");
        std::fs::remove_file(at(FILE_NAME)).unwrap();
        let (why, journal) = kept.wrong(dir.path()).unwrap();
        assert!(why.contains("/journal.db was removed, ") && journal, "{why}");
        assert_eq!(Kept::default().wrong(dir.path()), None);
    }
}
