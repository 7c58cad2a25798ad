//! sersync's `failLog`: one script for all localpaths that name it, put together from what their pushers wrote.

use crate::path::{PLUGIN_PART, fail_log_part};
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// How a fail log of our own begins.
pub const HEAD: &str = "#!/bin/sh
# What syncsup still owes its remotes: for each path a comment, and a line that pushes it by hand.
# It is tried again by itself; this file is written anew whenever that changes something.
";

/// Writes the script anew from these parts, of which any may be missing; empty when nothing is owed, and unchanged when
/// it says the same. Never made when there is nothing to say. A script that is not ours, as sersync leaves it, is
/// renamed first; returns its new name. Errors are those of the file system.
pub fn write(script: &Path, parts: &[PathBuf]) -> io::Result<Option<PathBuf>> {
    let mut text = Vec::new();
    for part in parts {
        match fs::read(part) {
            Ok(bytes) => text.extend(bytes),
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    if !text.is_empty() {
        text.splice(0..0, HEAD.bytes());
    }
    let old = fs::read(script).unwrap_or_default();
    let private = || fs::metadata(script).is_ok_and(|m| m.permissions().mode() & 0o777 == 0o600);
    if old == text && (text.is_empty() || private()) {
        return Ok(None);
    }
    let aside = match old.is_empty() || old.starts_with(HEAD.as_bytes()) {
        true => None,
        // What it owes can be taken over; without that it would be lost.
        false => Some(set_aside(script)?),
    };
    if text.is_empty() && aside.is_some() {
        return Ok(aside);
    }
    let dir = script.parent().unwrap_or(Path::new("/"));
    // 0600, and never half written under its own name.
    let mut file = tempfile::NamedTempFile::with_prefix_in(".syncsup-", dir)?;
    file.write_all(&text)?;
    file.persist(script)?;
    Ok(aside)
}

/// The parts in `state_dir` that its plugin runner wrote.
pub fn plugin_parts(state_dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(state_dir).into_iter().flatten().flatten();
    let mut parts: Vec<PathBuf> = entries.map(|e| e.path()).filter(|p| is_plugins(p)).collect();
    parts.sort();
    parts
}

/// Removes the parts of remotes that are not among `remotes`; true when there was one.
pub fn remove_others(state_dir: &Path, remotes: &BTreeSet<String>) -> io::Result<bool> {
    let kept: BTreeSet<_> = remotes.iter().map(|r| fail_log_part(r)).collect();
    let mut parts: Vec<PathBuf> = fs::read_dir(state_dir)?.flatten().map(|e| e.path()).collect();
    parts.retain(|p| is_part(p) && !is_plugins(p));
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

fn is_plugins(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    name.starts_with(PLUGIN_PART.as_bytes())
}

/// Renames it to the first free `NAME.sersync`, `NAME.sersync.2`…
fn set_aside(script: &Path) -> io::Result<PathBuf> {
    let name = |n: u32| {
        let mut path = script.as_os_str().to_owned();
        path.push(".sersync");
        if n > 1 {
            path.push(format!(".{n}"));
        }
        PathBuf::from(path)
    };
    let free = (1..).map(name).find(|path| fs::symlink_metadata(path).is_err());
    let free = free.ok_or(ErrorKind::AlreadyExists)?;
    fs::rename(script, &free)?;
    Ok(free)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let (script, part) = (dir.path().join("log.sh"), dir.path().join("fail-a.sh"));
        let parts = [part.clone(), dir.path().join("fail-b.sh")];
        assert_eq!(write(&script, &parts).unwrap(), None);
        assert!(!script.exists());
        fs::write(dir.path().join("other"), "no\n").unwrap();
        fs::write(dir.path().join("fail-10.0.0.1%3A%3Aold.sh"), "gone\n").unwrap();
        fs::write(dir.path().join("fail-plugin http.sh"), "a plugin's\n").unwrap();
        fs::write(&part, "one\n").unwrap();
        let kept = BTreeSet::from(["a".to_owned()]);
        assert!(remove_others(dir.path(), &kept).unwrap());
        assert!(!remove_others(dir.path(), &kept).unwrap());
        assert_eq!(plugin_parts(dir.path()), [dir.path().join("fail-plugin http.sh")]);
        assert_eq!(write(&script, &parts).unwrap(), None);
        assert_eq!(fs::read_to_string(&script).unwrap(), format!("{HEAD}one\n"));
        // Somebody has opened it to all.
        fs::set_permissions(&script, fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(write(&script, &parts).unwrap(), None);
        assert_eq!(fs::metadata(&script).unwrap().permissions().mode() & 0o777, 0o600);
        fs::remove_file(&part).unwrap();
        assert_eq!(write(&script, &parts).unwrap(), None);
        assert_eq!(fs::read_to_string(&script).unwrap(), "");
    }

    #[test]
    fn what_sersync_left_is_kept_aside() {
        let dir = tempfile::tempdir().unwrap();
        let (script, part) = (dir.path().join("log.sh"), dir.path().join("fail-a.sh"));
        let parts = [part.clone()];
        for name in ["log.sh.sersync", "log.sh.sersync.2"] {
            fs::write(&script, format!("#errno 256\n{name}\n")).unwrap();
            fs::write(&part, "one\n").unwrap();
            let aside = write(&script, &parts).unwrap().unwrap();
            assert_eq!(aside, dir.path().join(name));
            assert!(fs::read_to_string(&aside).unwrap().contains(name));
            assert_eq!(fs::read_to_string(&script).unwrap(), format!("{HEAD}one\n"));
        }
    }
}
