//! lstat below the root of a localpath, where a mount point may have nothing mounted or may not answer.

use super::plan::Lstat;
use super::supervisor_link::SupervisorLink;
use crate::path::RelPath;
use crate::stat::{Kind, Stat};
use crate::sys::files::Root;
use std::io;

/// lstat below an open root. It fails below a mount point that is not mounted, so that nothing there looks deleted. It
/// also fails for missing directories above, because deleting them would delete everything below.
pub struct RootLstat<'a> {
    root: &'a Root,
    supervisor: &'a SupervisorLink,
    /// The recorded mount points at which nothing is mounted now.
    pub unmounted: Vec<RelPath>,
    /// The others, and the numbers of what is mounted there.
    mounted: Vec<(RelPath, u64)>,
}

/// The error below a mount point that is not mounted. It never means a deletion.
const ENODEV: i32 = 19;
const EIO: i32 = 5;

impl<'a> RootLstat<'a> {
    /// Looks below `root`. `mounts` are the recorded mount points; `silent` ones must not be touched. Each lstat may
    /// take long, and sends a heartbeat.
    pub fn new(
        root: &'a Root,
        mounts: Vec<RelPath>,
        silent: Vec<RelPath>,
        supervisor: &'a SupervisorLink,
    ) -> Self {
        let touched = |m: &RelPath| !silent.iter().any(|silent| m.is_within(silent));
        let (mut unmounted, mut mounted) = (silent.clone(), Vec::new());
        for mount in mounts.into_iter().filter(touched) {
            match root.mount_number(&mount) {
                Some(number) => mounted.push((mount, number)),
                None => unmounted.push(mount),
            }
        }
        Self { root, supervisor, unmounted, mounted }
    }
}

impl Lstat for RootLstat<'_> {
    fn lstat(&self, path: &RelPath) -> Result<Stat, i32> {
        self.supervisor.beat();
        if self.unmounted.iter().any(|mount| path.is_within(mount)) {
            return Err(ENODEV);
        }
        let stat = self.root.lstat(path);
        let dir = stat.as_ref().is_ok_and(|stat| stat.kind == Kind::Dir);
        if !dir && self.unmounted.iter().any(|mount| mount.is_within(path)) {
            return Err(ENODEV);
        }
        // It may have been unmounted since the first look, so what was seen counts only if it is still there.
        let concerns = |mount: &RelPath| path.is_within(mount) || !dir && mount.is_within(path);
        let is_there = |mount, number| self.root.mount_number(mount) == Some(number);
        if self.mounted.iter().any(|(mount, number)| concerns(mount) && !is_there(mount, *number)) {
            return Err(ENODEV);
        }
        stat.map_err(|e: io::Error| e.raw_os_error().unwrap_or(EIO))
    }
}

#[cfg(test)]
mod tests {
    use super::super::supervisor_link::tests::{heard, supervisor};
    use super::*;
    use std::fs;

    #[test]
    fn every_lstat_sends_a_heartbeat_if_one_is_due() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), "x").unwrap();
        let root = Root::open(dir.path()).unwrap();
        let (supervisor, mut end) = supervisor();
        let files = RootLstat::new(&root, vec![], vec![], &supervisor);
        assert!(files.lstat(&RelPath::new("a").unwrap()).is_ok());
        assert_eq!(heard(&mut end), 1);
    }
}
