//! Lets alone file systems below the localpath that do not answer, and takes them up again when they do.

use super::*;

impl Service {
    /// Before a walk: asks each, and waits a moment for those that were never asked.
    pub(super) fn probe_mounts_first(&mut self) {
        let until = clock::boot() + WITHIN;
        loop {
            self.mount_probes.probe(&self.watch, &self.log);
            if !self.mount_probes.first_awaited() || clock::boot() >= until + SECOND {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        for path in self.mount_probes.avoided() {
            self.walker.avoid(path);
        }
    }

    /// Asks those that are due, and hears what has come. What does not answer is let alone, and taken up again when it
    /// does.
    pub(super) fn look_at_mount_probes(&mut self) {
        self.mount_probes.probe(&self.watch, &self.log);
        let now = self.mount_probes.avoided();
        if now == *self.walker.avoided() || matches!(self.state, WatcherState::Held(_)) {
            return;
        }
        let mut changes = ChangeSet::default();
        let mut context =
            ScanContext::new(&self.queue, &self.watch, &mut self.map, &mut changes, &self.log);
        self.walker.avoid_only(now, &mut context);
        // What is noted and marked goes with the next record.
        self.pending_changes = Some(changes);
    }

    /// lstat, but of nothing in a file system that does not answer.
    pub(super) fn lstat(&self, path: &RelPath) -> Option<Stat> {
        lstat(&self.walker, &self.watch, path)
    }
}

/// The same, apart.
pub(super) fn lstat(walker: &Walker, watch: &Path, path: &RelPath) -> Option<Stat> {
    if walker.avoids(path) { None } else { files::lstat(&path.below(watch)).ok() }
}
