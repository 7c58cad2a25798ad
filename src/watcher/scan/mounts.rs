//! Mount points below the root: what is mounted, unmounted, mounted again and moved (rule 6).

use super::*;
use crate::sys::mounts::{Change, Mounts};
use slog::info;

impl Walker {
    /// Looks what is mounted now. No event tells of a new mount, nor of the end of one whose file system is mounted
    /// elsewhere too; without a table, what was recorded is looked at alone.
    pub fn look_at_mounts(&mut self, table: Option<&mut Mounts>, ground: &mut Ground<'_>) {
        if let Some(table) = table {
            if std::mem::take(&mut self.mount_moved) {
                table.moved();
            }
            // It is looked at again in a second.
            for (path, change) in table.look(ground.watch).unwrap_or_default() {
                if !ground.map.skips(&path, true) {
                    self.mount_changed(path, change, ground);
                }
            }
        }
        for path in self.unmounted.clone() {
            if ground.is_mounted(&path) {
                info!(ground.log, "mounted again"; "mount_point" => %path);
                self.enter_mount(path, ground);
            }
        }
    }

    fn mount_changed(&mut self, path: RelPath, change: Change, ground: &mut Ground<'_>) {
        let mounted = ground.is_mounted(&path);
        if mounted {
            info!(ground.log, "mounted"; "mount_point" => %path);
            // With the first marks below it, which are only safe then. What it is, its walk finds out.
            if !self.mounts.contains_key(&path) {
                self.note_mount(path.clone(), String::new());
            }
        } else if change == Change::Left {
            self.mount_left(&path, ground);
        } else if self.mounts.contains_key(&path) {
            if let Some(wd) = ground.map.tree.find(&path) {
                let gone = ground.map.tree.remove(wd);
                ground.unwatch(&gone);
            }
            ground.map.unwatched.remove(&path);
            return self.unmount(ground, path);
        }
        self.enter_mount(path, ground);
    }

    /// Everything here may differ from what was here before.
    fn enter_mount(&mut self, path: RelPath, ground: &mut Ground<'_>) {
        self.unmounted.remove(&path);
        if let Some((parent, name)) = ground.map.split(&path) {
            let name = name.to_owned();
            self.enter(ground, parent, name, Why::Again);
        }
        // Where the walk over everything has not come to yet, it marks too little.
        self.remounted.insert(path);
    }

    /// A directory was moved from here, maybe with mount points in it.
    pub(super) fn moved_from(&mut self, path: &RelPath) {
        self.mount_moved |= self.mounts.keys().any(|mount| mount.is_within(path));
    }

    /// What was mounted here is mounted elsewhere now.
    fn mount_left(&mut self, path: &RelPath, ground: &Ground<'_>) {
        if self.mounts.remove(path).is_some() {
            info!(ground.log, "a mount point was moved"; "from" => %path);
            self.mounts_left.insert(path.clone());
            self.new_mounts.remove(path);
            self.unmounted.remove(path);
        }
    }

    /// After a scan of everything: mount points that it did not come to, since nothing stands there.
    pub fn look_for_missing(&mut self, ground: &mut Ground<'_>) {
        let known: Vec<RelPath> = self.mounts.keys().cloned().collect();
        for path in known {
            if !ground.map.skips(&path, true) && !ground.is_mounted(&path) {
                self.unmount(ground, path);
            }
        }
    }

    fn note_mount(&mut self, path: RelPath, identity: String) {
        self.mounts_left.remove(&path);
        self.mounts.insert(path.clone(), identity.clone());
        self.new_mounts.insert(path, identity);
    }

    /// A directory was on a file system that was unmounted: every directory of it says so, and the mount point above
    /// them is what is held.
    pub(super) fn unmount(&mut self, ground: &Ground<'_>, path: RelPath) {
        let known = self.mounts.keys().rev().find(|mount| path.is_within(mount)).cloned();
        let mount = known.unwrap_or(path);
        if self.unmounted.insert(mount.clone()) {
            warn!(ground.log, "unmounted; nothing is pushed there until it is mounted again";
                "mount_point" => %mount, "hint" => ground.when_gone_for_good());
            if !self.mounts.contains_key(&mount) {
                self.note_mount(mount, String::new());
            }
        }
    }

    /// Notes mount points. False for one that is not mounted now: what lies under it is not ours.
    pub(super) fn is_there(
        &mut self,
        ground: &mut Ground<'_>,
        item: &Item,
        path: &RelPath,
        dir: &Root,
    ) -> bool {
        let Some(mounted) = stands_on_mount(item.parent_dev, path, dir) else { return true };
        if mounted {
            self.unmounted.remove(path);
            let identity = dir.identity();
            let known = self.mounts.get(path);
            // A subvolume of btrfs has a device of its own, and goes like any directory.
            let lasts = known.is_some() || dir.is_mount_root() != Some(false);
            if lasts && known != Some(&identity) {
                // What is older than the checkpoint is news here. It is not where everything is compared, or where
                // there is to be no first copy.
                if !self.first && known.is_none_or(|known| !known.is_empty()) {
                    self.remounted.insert(path.clone());
                }
                // With the directory above it, while nobody saw.
                let old =
                    self.mounts.iter().find(|(at, was)| **was == identity && ground.is_gone(at));
                if let Some(old) = old.map(|(at, _)| at.clone()).filter(|_| !identity.is_empty()) {
                    self.mount_left(&old, ground);
                }
                self.note_mount(path.clone(), identity);
            }
            return true;
        }
        if !self.mounts.contains_key(path) {
            return true;
        }
        if self.unmounted.insert(path.clone()) {
            warn!(ground.log, "not mounted; nothing is pushed there until it is";
                "mount_point" => %path, "hint" => ground.when_gone_for_good());
        }
        if let Place::Watched(wd) = item.place {
            let gone = ground.map.tree.remove(wd);
            ground.unwatch(&gone);
        }
        false
    }
}

/// Whether something is mounted at this open directory; `None` when that cannot be told.
fn stands_on_mount(parent_dev: Option<u64>, path: &RelPath, dir: &Root) -> Option<bool> {
    if path.is_root() {
        return None;
    }
    if parent_dev.is_some_and(|dev| dev != dir.seen.dev) || dir.is_mount_root() == Some(true) {
        return Some(true);
    }
    parent_dev.map(|_| false)
}
