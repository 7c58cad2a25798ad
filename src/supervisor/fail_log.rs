//! sersync's `failLog`: one script for all localpaths that name it, assembled from the parts that their pushers wrote.

use crate::path::{PLUGIN_PART, fail_log_part};
use crate::script::FAIL_LOG_HEAD;
use crate::sys::own::{self, Place};
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The most names that are tried for an existing script that is kept.
const NAMES_MOST: u32 = 1_000;

/// Rewrites the script from these parts, any of which may be missing. The script is empty if nothing is owed, and
/// unchanged if the text is the same. It is never created without text. A script that syncsup did not write, such as
/// one of sersync, is renamed first; returns its new name. Errors are those of the file system.
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
        text.splice(0..0, FAIL_LOG_HEAD.bytes());
    }
    // Its directory may be writable by every user, as sersync's /tmp was.
    let (place, name) = own::split(script)?;
    let most = text.len().max(FAIL_LOG_HEAD.len()) as u64 + 1;
    let (old, private) = match place.file(name) {
        Ok(file) => {
            let private = file.metadata()?.permissions().mode() & 0o777 == 0o600;
            let mut old = Vec::new();
            file.take(most).read_to_end(&mut old)?;
            (old, private)
        }
        Err(e) if e.kind() == ErrorKind::NotFound => (Vec::new(), false),
        Err(e) => return Err(e),
    };
    if old == text && (text.is_empty() || private) {
        return Ok(None);
    }
    let aside = match old.is_empty() || old.starts_with(FAIL_LOG_HEAD.as_bytes()) {
        true => None,
        // Its paths can be imported. Overwriting would lose them.
        false => Some(set_aside(&place, script)?),
    };
    if text.is_empty() && aside.is_some() {
        return Ok(aside);
    }
    // Mode 0600, and the final name never has a partial file.
    place.write(name, &text)?;
    Ok(aside)
}

/// The parts in `state_dir` that the plugin runner wrote.
pub fn plugin_parts(state_dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(state_dir).into_iter().flatten().flatten();
    let mut parts: Vec<PathBuf> = entries.map(|e| e.path()).filter(|p| is_plugins(p)).collect();
    parts.sort();
    parts
}

/// Removes the parts of remotes that are not among `remotes`; true if one existed.
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

/// Renames the script to the first free `NAME.sersync`, `NAME.sersync.2`…
fn set_aside(place: &Place, script: &Path) -> io::Result<PathBuf> {
    let name = script.file_name().unwrap_or_default();
    for n in 1..=NAMES_MOST {
        let mut free = name.to_owned();
        free.push(".sersync");
        if n > 1 {
            free.push(format!(".{n}"));
        }
        match place.rename(name, &free) {
            Ok(()) => return Ok(script.with_file_name(free)),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
    Err(io::Error::other("too many old fail logs beside it; remove some"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_added_and_removed() {
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
        assert_eq!(fs::read_to_string(&script).unwrap(), format!("{FAIL_LOG_HEAD}one\n"));
        // Its mode was changed: every user can access it.
        fs::set_permissions(&script, fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(write(&script, &parts).unwrap(), None);
        assert_eq!(fs::metadata(&script).unwrap().permissions().mode() & 0o777, 0o600);
        fs::remove_file(&part).unwrap();
        assert_eq!(write(&script, &parts).unwrap(), None);
        assert_eq!(fs::read_to_string(&script).unwrap(), "");
    }

    #[test]
    fn a_fail_log_of_sersync_is_kept_aside() {
        let dir = tempfile::tempdir().unwrap();
        let (script, part) = (dir.path().join("log.sh"), dir.path().join("fail-a.sh"));
        let parts = [part.clone()];
        for name in ["log.sh.sersync", "log.sh.sersync.2"] {
            fs::write(&script, format!("#errno 256\n{name}\n")).unwrap();
            fs::write(&part, "one\n").unwrap();
            let aside = write(&script, &parts).unwrap().unwrap();
            assert_eq!(aside, dir.path().join(name));
            assert!(fs::read_to_string(&aside).unwrap().contains(name));
            assert_eq!(fs::read_to_string(&script).unwrap(), format!("{FAIL_LOG_HEAD}one\n"));
        }
    }

    #[test]
    fn foreign_files_in_place_of_the_fail_log_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("part"), "one\n").unwrap();
        fs::write(at("kept"), "kept").unwrap();
        let parts = [at("part")];
        nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::os::unix::fs::symlink(at("kept"), at("link")).unwrap();
        std::os::unix::fs::symlink(at("made"), at("dangling")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", at("endless")).unwrap();
        fs::create_dir(at("dir")).unwrap();
        for name in ["fifo", "link", "dangling", "endless", "dir"] {
            assert!(write(&at(name), &parts).is_err(), "{name}");
        }
        assert_eq!(fs::read(at("kept")).unwrap(), b"kept");
        assert!(!at("made").exists());
        // A large script that syncsup did not write is kept whole, without reading it whole.
        fs::write(at("large"), vec![b'x'; 1 << 20]).unwrap();
        let aside = write(&at("large"), &parts).unwrap().unwrap();
        assert_eq!(fs::metadata(aside).unwrap().len(), 1 << 20);
        assert_eq!(fs::read_to_string(at("large")).unwrap(), format!("{FAIL_LOG_HEAD}one\n"));
    }
}
