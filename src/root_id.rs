//! The identity of the root of a localpath, as a value (rule 18). Pure.

use serde::{Deserialize, Serialize};

/// The beginning of the id of a file system that the kernel derives from its device number (XFS and others). After a
/// reboot the id may differ.
pub const DEVICE_ID: &str = "device:";

/// The identity of a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootId {
    /// Its device; comparable only within one boot.
    pub dev: u64,
    /// Its inode.
    pub ino: u64,
    /// The id of its file system; empty if it has none. If it begins with [`DEVICE_ID`], it is also comparable only
    /// within one boot.
    pub fs_id: String,
}

impl RootId {
    /// True if both are the same directory. The roots of two tmpfs, or of two file systems created in turn on one
    /// device, may have the same device and inode. The id of the file system distinguishes them.
    pub fn same_as(&self, other: &Self, same_boot: bool) -> bool {
        let comparable = |id: &str| !id.is_empty() && (same_boot || !id.starts_with(DEVICE_ID));
        let same_fs =
            self.fs_id == other.fs_id || !comparable(&self.fs_id) || !comparable(&other.fs_id);
        self.ino == other.ino && (!same_boot || self.dev == other.dev) && same_fs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(dev: u64, ino: u64, fs_id: &str) -> RootId {
        RootId { dev, ino, fs_id: fs_id.into() }
    }

    #[test]
    fn device_numbers_are_compared_only_within_one_boot() {
        for (name, a, b, in_one_boot, across_boots) in [
            ("unchanged", id(1, 2, "f"), id(1, 2, "f"), true, true),
            ("other device number", id(1, 2, "f"), id(9, 2, "f"), false, true),
            ("other inode", id(1, 2, "f"), id(1, 9, "f"), false, false),
            // Another tmpfs at the same path has the same device and inode.
            ("other file system", id(1, 2, "f"), id(1, 2, "g"), false, false),
            ("other file system and device", id(1, 2, "f"), id(9, 2, "g"), false, false),
            ("renumbered device", id(1, 2, "device:f:1"), id(9, 2, "device:f:2"), false, true),
            ("renumbered file system", id(1, 2, "device:f:1"), id(1, 2, "device:f:2"), false, true),
            ("lasting id became a number", id(1, 2, "f"), id(1, 2, "device:f"), false, true),
            ("no file system id", id(1, 2, ""), id(1, 2, "f"), true, true),
            ("no file system ids", id(1, 2, ""), id(1, 2, ""), true, true),
            ("no file system id, other inode", id(1, 2, ""), id(1, 3, "f"), false, false),
        ] {
            for (a, b) in [(&a, &b), (&b, &a)] {
                assert_eq!(a.same_as(b, true), in_one_boot, "{name}, one boot");
                assert_eq!(a.same_as(b, false), across_boots, "{name}, two boots");
            }
        }
    }
}
