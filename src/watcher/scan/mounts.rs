//! Mount points below the root: file systems that are mounted, unmounted, mounted again or moved (rule 6).

use super::*;
use crate::sys::mounts::Mounts;
use slog::{error, info};
use std::os::unix::ffi::OsStringExt;

/// Recorded in place of what was mounted, once it is no longer mounted. Whatever is mounted there next counts as a
/// change, because changes in the meantime cause no events.
const NOTHING: &str = "-";

impl Walker {
    /// True for a path in a file system that must not be touched.
    pub fn avoids(&self, path: &RelPath) -> bool {
        self.avoided.iter().any(|mount| path.is_within(mount))
    }

    /// Mount points of file systems that must not be touched.
    pub fn avoided(&self) -> &BTreeSet<RelPath> {
        &self.avoided
    }

    /// The set of avoided mount points, if the journal has another one.
    pub fn avoided_to_record(&self) -> Option<BTreeSet<RelPath>> {
        (self.avoided != self.avoided_recorded).then(|| self.avoided.clone())
    }

    /// The journal now has this set of avoided mount points.
    pub fn avoided_are_recorded(&mut self, avoided: BTreeSet<RelPath>) {
        self.avoided_recorded = avoided;
    }

    /// Avoids everything at or below this mount point. The mount point is held as if nothing were mounted.
    pub fn avoid(&mut self, path: RelPath) {
        if !self.mounts.contains_key(&path) {
            self.note_mount(path.clone(), NOTHING.to_owned());
        }
        self.avoided.insert(path);
    }

    /// Avoids these mount points and no others. One that was avoided before and is not in the set answers, or is
    /// unmounted.
    pub fn avoid_only(&mut self, paths: BTreeSet<RelPath>, context: &mut ScanContext<'_>) {
        for path in paths.difference(&self.avoided.clone()) {
            if let Some(wd) = context.map.tree.find(path) {
                let gone = context.map.tree.remove(wd);
                context.unwatch(&gone);
            }
            context.map.unwatched.retain(|unwatched| !unwatched.is_within(path));
            self.avoid(path.clone());
        }
        let before = std::mem::replace(&mut self.avoided, paths);
        let free: Vec<RelPath> = before.difference(&self.avoided).cloned().collect();
        for path in free {
            self.look_again = true;
            if context.is_mounted(&path) && !context.map.skips(&path, true) {
                self.mounted(path, context);
            }
        }
    }

    /// Checks what is mounted now. No event reports a new mount. No event reports an unmount either, if the file system
    /// is also mounted at another place. Without a mount table, only mount points that were found not to be mounted are
    /// checked.
    pub fn look_at_mounts(&mut self, table: Option<&mut Mounts>, context: &mut ScanContext<'_>) {
        let again = std::mem::take(&mut self.look_again);
        let places = match table {
            // A read of the table that failed is repeated automatically.
            Some(table) => table.look(context.watch, again).unwrap_or_default(),
            None => again.then(BTreeSet::new),
        };
        if let Some(places) = places {
            // A mount that another one hides causes no difference in the table.
            self.look_for_missing(context);
            for path in places {
                let held = self.unmounted.contains(&path) || self.missing.contains(&path);
                if !held && !self.avoids(&path) && !context.map.skips(&path, true) {
                    self.mounted(path, context);
                }
            }
        }
        for path in self.unmounted.clone() {
            if !self.avoids(&path) && context.is_mounted(&path) {
                self.mounted(path, context);
            }
        }
    }

    /// Holds mount points at which nothing is mounted, or at which nothing exists at all, if two checks find that. One
    /// check is not enough, because the queue may be about to report that a directory above was moved.
    pub fn look_for_missing(&mut self, context: &mut ScanContext<'_>) {
        let before = std::mem::take(&mut self.missing);
        let known: Vec<RelPath> = self.mounts.keys().cloned().collect();
        for path in known {
            if self.unmounted.contains(&path)
                || self.avoids(&path)
                || context.map.skips(&path, true)
                || context.is_mounted(&path)
            {
                continue;
            }
            if !before.contains(&path) {
                self.missing.insert(path);
                self.look_again = true;
                continue;
            }
            if let Some(wd) = context.map.tree.find(&path) {
                let gone = context.map.tree.remove(wd);
                context.unwatch(&gone);
            }
            context.map.unwatched.retain(|unwatched| !unwatched.is_within(&path));
            self.unmount(context, path);
        }
    }

    /// Something is mounted at this path now, or was for a moment. Everything may differ from what was there before.
    fn mounted(&mut self, path: RelPath, context: &mut ScanContext<'_>) {
        // The mount point is recorded together with the first marks below it, which are safe only then. A file does not
        // count as a mount point.
        if context.is_mounted(&path)
            && let Ok(dir) = context.open_path(&path)
        {
            info!(context.log, "mounted"; "mount_point" => %path);
            self.note_mount(path.clone(), dir.identity().unwrap_or_default());
        }
        self.unmounted.remove(&path);
        if let Some((parent, name)) = context.map.split(&path) {
            let name = name.to_owned();
            self.enter(context, parent, name, Why::Again);
        }
        // A walk over everything that has not reached this path yet would mark too little.
        self.remounted.insert(path);
    }

    /// Every directory on an unmounted file system reports the unmount. The mount point above them is what is held.
    pub(super) fn unmount(&mut self, context: &ScanContext<'_>, path: RelPath) {
        let known = self.mounts.keys().rev().find(|mount| path.is_within(mount)).cloned();
        let mount = known.unwrap_or(path);
        if self.unmounted.insert(mount.clone()) {
            error!(context.log, "not mounted; pushing nothing there until it is";
                "mount_point" => %mount, "hint" => context.when_gone_for_good());
            if self.mounts.get(&mount).is_none_or(|known| known != NOTHING) {
                self.note_mount(mount, NOTHING.to_owned());
            }
        }
    }

    /// The queue reports that a directory was moved, and what is mounted in it moved along. `found` is true if the
    /// directory is at its new name. What is no longer mounted there is then held at the path that the slaves have.
    pub(super) fn mounts_moved(
        &mut self,
        from: &RelPath,
        to: &RelPath,
        found: bool,
        context: &mut ScanContext<'_>,
    ) {
        for old in self.mounted_within(from) {
            let rest = old.as_path().strip_prefix(from.as_path());
            let new = rest.map(|rest| to.as_path().join(rest).into_os_string().into_vec());
            let Some(new) = new.ok().and_then(RelPath::new) else { continue };
            if !found || context.is_mounted(&new) {
                let identity = self.mounts.get(&old).cloned().unwrap_or_default();
                self.forget_mount(&old);
                self.note_mount(new, identity);
            }
        }
    }

    /// A directory left the tree, and what is mounted in it left along with it.
    pub(super) fn mounts_left(&mut self, from: &RelPath, context: &mut ScanContext<'_>) {
        for old in self.mounted_within(from) {
            if !context.is_mounted(&old) {
                self.forget_mount(&old);
            }
        }
    }

    /// The mount points below a directory that moved. A mount point itself cannot be moved: one that was moved is no
    /// longer mounted.
    fn mounted_within(&self, path: &RelPath) -> Vec<RelPath> {
        let within = |mount: &&RelPath| {
            mount.is_within(path) && *mount != path && !self.unmounted.contains(*mount)
        };
        self.mounts.keys().filter(within).cloned().collect()
    }

    fn note_mount(&mut self, path: RelPath, identity: String) {
        self.mounts.insert(path.clone(), identity);
        self.changed_mounts.insert(path);
        // The table may not have it at this path.
        self.look_again = true;
    }

    fn forget_mount(&mut self, path: &RelPath) {
        self.mounts.remove(path);
        self.changed_mounts.insert(path.clone());
    }

    /// The changes to mount points that the journal does not have yet, in the journal's form.
    pub fn mounts_to_record(&self) -> BTreeMap<RelPath, Option<String>> {
        let entry = |path: &RelPath| (path.clone(), self.mounts.get(path).cloned());
        self.changed_mounts.iter().map(entry).collect()
    }

    /// Takes over mount points from a journal that was set aside. They are held until something is mounted there.
    pub fn recall_mounts(&mut self, mounts: &BTreeSet<RelPath>) {
        if self.mounts.is_empty() {
            mounts.iter().for_each(|path| self.note_mount(path.clone(), NOTHING.to_owned()));
        }
    }

    /// Forgets all mount points, as the journal did.
    pub fn forget_mounts(&mut self) {
        self.mounts.clear();
        self.changed_mounts.clear();
        self.unmounted.clear();
    }

    /// Records mount points. Returns false for one that is not mounted now: what lies under it is not part of the
    /// localpath.
    pub(super) fn is_there(
        &mut self,
        context: &mut ScanContext<'_>,
        item: &Item,
        path: &RelPath,
        dir: &Root,
    ) -> bool {
        let other_device = item.parent_dev.map(|dev| dev != dir.stat.dev);
        let mounted = dir.is_mount_root().or(other_device);
        let (Some(mounted), false) = (mounted, path.is_root()) else { return true };
        let known = self.mounts.get(path);
        if !mounted && known.is_none() {
            return true;
        }
        let identity = dir.identity().unwrap_or_default();
        if mounted {
            self.unmounted.remove(path);
            if known != Some(&identity) {
                // Files on it that are older than the checkpoint count as changed. They do not if everything is
                // compared, or if no first copy is wanted.
                if !self.first && known.is_none_or(|known| !known.is_empty()) {
                    self.remounted.insert(path.clone());
                }
                self.note_mount(path.clone(), identity);
            }
            return true;
        }
        let unknown = known.is_some_and(String::is_empty) && other_device == Some(true);
        if unknown || known == Some(&identity) {
            // Either this is a subvolume of btrfs that was mistaken for a mount point, or what was mounted at this path
            // now exists at it without a mount.
            self.unmounted.remove(path);
            self.forget_mount(path);
            return true;
        }
        self.unmount(context, path.clone());
        if let DirRef::Watched(wd) = item.at {
            let gone = context.map.tree.remove(wd);
            context.unwatch(&gone);
        }
        false
    }
}
