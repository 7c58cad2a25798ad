//! Setting a damaged journal aside. Only when no child of its localpath lives (rule 13).

use crate::journal::FILE_NAME;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Renames the database, its write-ahead log and its shared memory together; `time` becomes part of the name.
/// Returns the database's new name.
pub fn set_aside(dir: &Path, time: &str) -> io::Result<PathBuf> {
    let aside = dir.join(format!("{FILE_NAME}.damaged-{time}"));
    // The log first: a log that is left beside a new database would be replayed into it.
    for suffix in ["-wal", "-shm", ""] {
        let from = dir.join(format!("{FILE_NAME}{suffix}"));
        let mut to = aside.clone().into_os_string();
        to.push(suffix);
        match std::fs::rename(from, to) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    Ok(aside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_files_move_together() {
        let dir = tempfile::tempdir().unwrap();
        for suffix in ["", "-wal"] {
            std::fs::write(dir.path().join(format!("journal.db{suffix}")), suffix).unwrap();
        }
        let aside = set_aside(dir.path(), "20260102T030405").unwrap();
        assert_eq!(aside.file_name().unwrap(), "journal.db.damaged-20260102T030405");
        let mut names: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(
            names,
            ["journal.db.damaged-20260102T030405", "journal.db.damaged-20260102T030405-wal"]
        );
        set_aside(dir.path(), "again").unwrap();
    }
}
