//! Mount points below the root: what is mounted, unmounted, mounted again and moved (rule 6).

use super::*;
use crate::sys::mounts::Mounts;
use slog::info;
use std::os::unix::ffi::OsStringExt;

/// Noted in place of what was mounted, when that is not mounted any more: what is mounted there next is news, for what
/// changes meanwhile has no events.
const NOTHING: &str = "-";

impl Walker {
    /// True for what lies in a file system that must not be touched.
    pub fn avoids(&self, path: &RelPath) -> bool {
        self.avoided.iter().any(|mount| path.is_within(mount))
    }

    /// Mount points of file systems that must not be touched.
    pub fn avoided(&self) -> &BTreeSet<RelPath> {
        &self.avoided
    }

    /// What the journal does not know of them.
    pub fn avoided_to_record(&self) -> Option<BTreeSet<RelPath>> {
        (self.avoided != self.avoided_recorded).then(|| self.avoided.clone())
    }

    /// The journal knows them so.
    pub fn avoided_are_recorded(&mut self, avoided: BTreeSet<RelPath>) {
        self.avoided_recorded = avoided;
    }

    /// Nothing at or below this mount point is touched. It is held as one that is not mounted.
    pub fn avoid(&mut self, path: RelPath) {
        if !self.mounts.contains_key(&path) {
            self.note_mount(path.clone(), NOTHING.to_owned());
        }
        self.avoided.insert(path);
    }

    /// The same for these, and for no others: what is not among them any more answers, or is unmounted.
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

    /// Looks what is mounted now. No event tells of a new mount, nor of the end of one whose file system is mounted
    /// elsewhere too; without a table, what was found not to be mounted is looked at alone.
    pub fn look_at_mounts(&mut self, table: Option<&mut Mounts>, context: &mut ScanContext<'_>) {
        let again = std::mem::take(&mut self.look_again);
        let places = match table {
            // One that failed is repeated automatically.
            Some(table) => table.look(context.watch, again).unwrap_or_default(),
            None => again.then(BTreeSet::new),
        };
        if let Some(places) = places {
            // What another one hides is no difference in the table.
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

    /// Holds mount points at which nothing is mounted, also where nothing stands at all, when two looks find that: the
    /// queue may just be about to tell that a directory above was moved.
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

    /// Something is mounted here now, or was for a moment: everything may differ from what was here before.
    fn mounted(&mut self, path: RelPath, context: &mut ScanContext<'_>) {
        // Noted with the first marks below it, which are only safe then. A file is no mount point of ours.
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
        // Where the walk over everything has not come to yet, it marks too little.
        self.remounted.insert(path);
    }

    /// A directory on a file system that was unmounted says so, as each of it does: the mount point above them is what
    /// is held.
    pub(super) fn unmount(&mut self, context: &ScanContext<'_>, path: RelPath) {
        let known = self.mounts.keys().rev().find(|mount| path.is_within(mount)).cloned();
        let mount = known.unwrap_or(path);
        if self.unmounted.insert(mount.clone()) {
            warn!(context.log, "not mounted; pushing nothing there until it is";
                "mount_point" => %mount, "hint" => context.when_gone_for_good());
            if self.mounts.get(&mount).is_none_or(|known| known != NOTHING) {
                self.note_mount(mount, NOTHING.to_owned());
            }
        }
    }

    /// A directory was moved, says the queue, and what is mounted in it went along. `found`: it stands there; what is not
    /// mounted there any more is held where the slaves have it.
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

    /// A directory left the tree, and what is mounted in it went along.
    pub(super) fn mounts_left(&mut self, from: &RelPath, context: &mut ScanContext<'_>) {
        for old in self.mounted_within(from) {
            if !context.is_mounted(&old) {
                self.forget_mount(&old);
            }
        }
    }

    /// A mount point itself cannot be moved: one that was is not mounted any more.
    fn mounted_within(&self, path: &RelPath) -> Vec<RelPath> {
        let within = |mount: &&RelPath| {
            mount.is_within(path) && *mount != path && !self.unmounted.contains(*mount)
        };
        self.mounts.keys().filter(within).cloned().collect()
    }

    fn note_mount(&mut self, path: RelPath, identity: String) {
        self.mounts.insert(path.clone(), identity);
        self.changed_mounts.insert(path);
        // The table may not have it there.
        self.look_again = true;
    }

    fn forget_mount(&mut self, path: &RelPath) {
        self.mounts.remove(path);
        self.changed_mounts.insert(path.clone());
    }

    /// What the journal does not know yet, as it takes it.
    pub fn mounts_to_record(&self) -> BTreeMap<RelPath, Option<String>> {
        let entry = |path: &RelPath| (path.clone(), self.mounts.get(path).cloned());
        self.changed_mounts.iter().map(entry).collect()
    }

    /// Takes mount points over from a journal that was set aside: held until something is mounted there.
    pub fn recall_mounts(&mut self, mounts: &BTreeSet<RelPath>) {
        if self.mounts.is_empty() {
            mounts.iter().for_each(|path| self.note_mount(path.clone(), NOTHING.to_owned()));
        }
    }

    /// Forgets all of them, as the journal did.
    pub fn forget_mounts(&mut self) {
        self.mounts.clear();
        self.changed_mounts.clear();
        self.unmounted.clear();
    }

    /// Notes mount points. False for one that is not mounted now: what lies under it is not ours.
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
                // What is older than the checkpoint is news here. It is not where everything is compared, or where
                // there is to be no first copy.
                if !self.first && known.is_none_or(|known| !known.is_empty()) {
                    self.remounted.insert(path.clone());
                }
                self.note_mount(path.clone(), identity);
            }
            return true;
        }
        let unknown = known.is_some_and(String::is_empty) && other_device == Some(true);
        if unknown || known == Some(&identity) {
            // A subvolume of btrfs, which was taken for one; or what was mounted here stands here by itself.
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
