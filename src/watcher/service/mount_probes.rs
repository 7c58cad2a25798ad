//! Avoids file systems below the localpath that do not answer, and watches them again when they answer.

use super::*;

impl Service {
    /// Runs before a walk. Probes each file system, and waits a moment for those that were never probed.
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

    /// Probes file systems that are due, and reads the answers. A file system that does not answer is avoided until it
    /// answers again.
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
        // The next record includes what is noted and marked.
        self.pending_changes = Some(changes);
    }

    /// Calls lstat, except in a file system that does not answer.
    pub(super) fn lstat(&self, path: &RelPath) -> Option<Stat> {
        lstat(&self.walker, &self.watch, path)
    }
}

/// The same as a function, without a `Service`.
pub(super) fn lstat(walker: &Walker, watch: &Path, path: &RelPath) -> Option<Stat> {
    if walker.avoids(path) { None } else { files::lstat(&path.below(watch)).ok() }
}
