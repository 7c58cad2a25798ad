//! The description of a state directory. The name of the directory contains only a hash of its localpath.

use crate::path::OsBytes;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// The file in a state directory that describes it.
pub const NOTE: &str = "localpath.json";
/// A longer note was not written by syncsup.
const NOTE_MOST_BYTES: u64 = 1 << 20;

/// The description of a state directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateNote {
    /// The localpath.
    pub watch: OsBytes,
    /// Its remotes, in rsync's notation.
    pub remotes: Vec<String>,
    /// The files and directories that the instance was started with.
    pub files: Vec<OsBytes>,
    /// Its `-m`.
    pub module: Option<String>,
}

impl StateNote {
    /// Writes the description into the state directory, if it is not already there. A full disk may prevent that: then
    /// the localpath stays unknown, and the directory is removed only on request.
    pub fn write(&self, dir: &Path) {
        if read(dir).as_ref() != Some(self)
            && let Ok(text) = serde_json::to_vec(self)
        {
            let _ = fs::write(dir.join(NOTE), text);
        }
    }
}

/// Reads the description of a state directory.
pub fn read(dir: &Path) -> Option<StateNote> {
    let path = dir.join(NOTE);
    let plain =
        fs::symlink_metadata(&path).is_ok_and(|m| m.is_file() && m.len() <= NOTE_MOST_BYTES);
    serde_json::from_slice(&fs::read(path).ok().filter(|_| plain)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_survives_arbitrary_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let note = StateNote {
            watch: b"/d\xff\n".to_vec().into(),
            remotes: vec!["h::m".into()],
            files: vec!["/etc/x.yaml".into()],
            module: Some("http".into()),
        };
        note.write(dir.path());
        assert_eq!(read(dir.path()), Some(note));
        fs::write(dir.path().join(NOTE), "odd").unwrap();
        assert_eq!(read(dir.path()), None);
    }
}
