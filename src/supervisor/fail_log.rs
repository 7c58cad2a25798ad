//! sersync's `failLog`: one script for all localpaths that name it, put together from what their pushers wrote.

use crate::path::file_name;
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const HEAD: &str = "#!/bin/sh
# What syncsup still owes its remotes: for each path a comment, and a line that pushes it by hand.
# It is tried again by itself; this file is written anew whenever that changes something.
";

/// Writes the script anew from the parts in the state directories of its localpaths; unchanged when they say the
/// same. Never made when there is nothing to say. Errors are those of the file system.
pub fn write(script: &Path, state_dirs: &[PathBuf]) -> io::Result<()> {
    let mut text = HEAD.as_bytes().to_vec();
    for dir in state_dirs {
        let mut parts: Vec<PathBuf> = fs::read_dir(dir)?.flatten().map(|e| e.path()).collect();
        parts.retain(|p| is_part(p));
        parts.sort();
        for part in parts {
            text.extend(fs::read(part)?);
        }
    }
    let old = fs::read(script).unwrap_or_default();
    if old == text || (old.is_empty() && text.len() == HEAD.len()) {
        return Ok(());
    }
    let dir = script.parent().unwrap_or(Path::new("/"));
    // 0600, and never half written under its own name.
    let mut file = tempfile::NamedTempFile::with_prefix_in(".syncsup-", dir)?;
    file.write_all(&text)?;
    file.persist(script)?;
    Ok(())
}

/// Removes the parts of remotes that are not among `remotes`; true when there was one.
pub fn remove_others(state_dir: &Path, remotes: &BTreeSet<String>) -> io::Result<bool> {
    let kept: BTreeSet<_> = remotes.iter().map(|r| format!("fail-{}.sh", file_name(r))).collect();
    let mut parts: Vec<PathBuf> = fs::read_dir(state_dir)?.flatten().map(|e| e.path()).collect();
    parts.retain(|p| is_part(p));
    parts.retain(|p| p.file_name().and_then(|n| n.to_str()).is_none_or(|n| !kept.contains(n)));
    for part in &parts {
        fs::remove_file(part)?;
    }
    Ok(!parts.is_empty())
}

fn is_part(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    name.starts_with(b"fail-") && name.ends_with(b".sh")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let (script, state) = (dir.path().join("log.sh"), dir.path().join("state"));
        fs::create_dir(&state).unwrap();
        let dirs = [state.clone()];
        write(&script, &dirs).unwrap();
        assert!(!script.exists());
        fs::write(state.join("fail-a.sh"), "one\n").unwrap();
        fs::write(state.join("other"), "no\n").unwrap();
        fs::write(state.join("fail-10.0.0.1%3A%3Aold.sh"), "gone\n").unwrap();
        let kept = BTreeSet::from(["a".to_owned()]);
        assert!(remove_others(&state, &kept).unwrap());
        assert!(!remove_others(&state, &kept).unwrap());
        write(&script, &dirs).unwrap();
        assert_eq!(fs::read_to_string(&script).unwrap(), format!("{HEAD}one\n"));
        fs::remove_file(state.join("fail-a.sh")).unwrap();
        write(&script, &dirs).unwrap();
        assert_eq!(fs::read_to_string(&script).unwrap(), HEAD);
    }
}
