//! What is known of the root apart from the checkpoint: a small file in the state directory. A root on a network file
//! system has no checkpoint, and a lost journal has none either.

use serde::{Deserialize, Serialize};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

/// The name of the file.
pub const FILE_NAME: &str = "root.json";

/// The root as a watcher took it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// The boot in which it was seen.
    pub boot_id: String,
    /// Its device; only comparable within one boot.
    pub dev: u64,
    /// Its inode.
    pub ino: u64,
    /// Identity of its file system, empty when it has none.
    pub fs_id: String,
    /// It was on a network file system.
    pub network: bool,
    /// There was to be no first copy: what changed before is never marked. Nanoseconds since 1970.
    pub not_before_ns: Option<i64>,
}

impl Known {
    /// What the state directory knows; a file that cannot be understood is as good as none.
    pub fn read(dir: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(dir.join(FILE_NAME)) {
            Ok(text) => Ok(serde_json::from_slice(&text).ok()),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Replaces the file; what stands there is always whole.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        let new = dir.join(format!("{FILE_NAME}.new"));
        let mut file = std::fs::File::create(&new)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        std::fs::rename(new, dir.join(FILE_NAME))
    }
}
