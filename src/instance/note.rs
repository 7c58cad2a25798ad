//! The localpath of a state directory: the name of the directory contains only a hash of it.

use crate::path::OsBytes;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// What a state directory is of, in that directory.
const NOTE: &str = "localpath.json";
/// A longer note is none of ours.
const NOTE_MOST_BYTES: u64 = 1 << 20;

/// What a state directory is of.
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
    /// Writes it into the state directory, where it is not there already. It is lost with a full disk: then it is not
    /// known, and nothing removes the directory unasked.
    pub fn write(&self, dir: &Path) {
        if read(dir).as_ref() != Some(self)
            && let Ok(text) = serde_json::to_vec(self)
        {
            let _ = fs::write(dir.join(NOTE), text);
        }
    }
}

/// What a state directory says that it is of.
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
