//! Journals of localpaths that are no longer configured: what they belong to, and their removal. Each state directory
//! names its localpath and the files that configured it.

use super::directories::with_module;
use super::lock::LOCK_NAME;
use super::names::localpath_id;
use super::note::{StateNote, read};
use crate::config::{self, model::Config, module};
use crate::journal::FILE_NAME;
use crate::language::say;
use crate::sys::lock::{self, Lock};
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Whether a state directory is still needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// An instance uses it, or a process of a killed instance.
    InUse {
        /// The supervisor, as far as it is known.
        pid: Option<u32>,
    },
    /// This file configures its localpath.
    Configured(PathBuf),
    /// None of the files that configured its localpath still does.
    Removed,
    /// Unknown, and why.
    Unknown(String),
}

/// A directory with a journal below the state directory.
#[derive(Clone, Debug)]
pub struct StateDir {
    /// Its name.
    pub id: String,
    /// Its description; `None` if it has none.
    pub of: Option<StateNote>,
    /// The size of its files, in bytes.
    pub bytes: u64,
    /// The time of its last write, in milliseconds since 1970.
    pub used_ms: i64,
    /// Whether it is still needed.
    pub standing: Standing,
    dir: PathBuf,
}

/// Every directory with a journal below `state`, by name. `files` are additional configuration files.
pub fn all(state: &Path, files: &[PathBuf]) -> io::Result<Vec<StateDir>> {
    let entries = match fs::read_dir(state) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut all = Vec::new();
    for entry in entries {
        let entry = entry?;
        let dir = entry.path();
        let plain = entry.file_type()?.is_dir();
        let Some(id) = entry.file_name().to_str().filter(|_| plain).map(str::to_owned) else {
            continue;
        };
        let (names, bytes, used_ms) = look(&dir)?;
        if !names.iter().any(|n| n == LOCK_NAME || n.starts_with(FILE_NAME)) {
            continue;
        }
        let of = read(&dir);
        let standing = match locks(&dir)? {
            Locks::Held { pid } => Standing::InUse { pid },
            Locks::Ours(_) => standing(&id, of.as_ref(), files),
        };
        all.push(StateDir { id, of, bytes, used_ms, standing, dir });
    }
    all.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(all)
}

/// The names of the files, their total size in bytes, and the time of the newest.
fn look(dir: &Path) -> io::Result<(Vec<String>, u64, i64)> {
    let ms = |m: &Metadata| {
        let since = m.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
        since.map_or(0, |t| t.as_millis() as i64)
    };
    let (mut names, mut bytes, mut used_ms) = (Vec::new(), 0, 0);
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let Ok(meta) = entry.metadata() else { continue };
        if meta.is_file() {
            bytes += meta.len();
            used_ms = used_ms.max(ms(&meta));
        }
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    Ok((names, bytes, used_ms))
}

enum Locks {
    Held { pid: Option<u32> },
    Ours(#[allow(dead_code, reason = "held until it is dropped")] Vec<Lock>),
}

/// Takes the locks that exist. Children of a killed supervisor, and their rsyncs, also hold locks.
fn locks(dir: &Path) -> io::Result<Locks> {
    let mut ours = Vec::new();
    let (mut names, _, _) = look(dir)?;
    names.retain(|name| name == LOCK_NAME || name.ends_with(".lock"));
    // The supervisor's lock comes first.
    names.sort();
    for name in names {
        let path = dir.join(&name);
        match lock::take(&path, false)? {
            Some(lock) => ours.push(lock),
            None => return Ok(Locks::Held { pid: lock::holder(&dir.join(LOCK_NAME)) }),
        }
    }
    Ok(Locks::Ours(ours))
}

/// Whether a configuration names the localpath of a directory that no process uses.
fn standing(id: &str, of: Option<&StateNote>, files: &[PathBuf]) -> Standing {
    let noted = of.into_iter().flat_map(|of| &of.files).map(|f| f.as_path().to_owned());
    let module = of.and_then(|of| of.module.as_deref());
    let mut broken = None;
    for file in noted.chain(files.iter().cloned()) {
        // A missing file configures nothing. A file that cannot be examined may exist.
        if matches!(file.try_exists(), Ok(false)) {
            continue;
        }
        let mut loaded = config::read(std::slice::from_ref(&file));
        if let Some(kind) = module {
            let _ = module::only(&mut loaded.config, kind);
        }
        if names(&loaded.config, module, id) {
            return Standing::Configured(file);
        }
        if loaded.has_errors() {
            broken = broken.or(Some(file));
        }
    }
    match (of, broken) {
        (_, Some(file)) => Standing::Unknown(say!("{} has errors", file.display())),
        (None, None) => Standing::Unknown(say!("its localpath is unknown")),
        (Some(_), None) => Standing::Removed,
    }
}

/// True if the configuration contains the localpath whose directory is `id`.
fn names(config: &Config, module: Option<&str>, id: &str) -> bool {
    config.localpaths.iter().any(|localpath| {
        let plain = localpath_id(localpath.watch.as_path());
        module.map_or(plain.clone(), |kind| with_module(&plain, kind)) == id
    })
}

/// Removes a directory, unless a process has started to use it.
pub fn remove(found: &StateDir) -> io::Result<()> {
    match locks(&found.dir)? {
        Locks::Held { .. } => Err(io::Error::other(say!("an instance has begun to use it"))),
        Locks::Ours(_held) => fs::remove_dir_all(&found.dir),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::OsBytes;

    fn of(watch: &str, files: &[&Path], module: Option<&str>) -> StateNote {
        StateNote {
            watch: watch.into(),
            remotes: vec!["h::m".into()],
            files: files.iter().map(|f| OsBytes::from(*f)).collect(),
            module: module.map(str::to_owned),
        }
    }

    #[test]
    fn a_state_directory_goes_when_no_configuration_names_its_localpath() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let write = |name: &str, watches: &[&str]| {
            let one = |w: &&str| {
                format!(
                    "- {{watch: {w}, remotes: ['h:{w}'], plugins: [{{command: {{prefix: x}}}}]}}\n"
                )
            };
            let text: String = watches.iter().map(one).collect();
            fs::write(at(name), format!("localpaths:\n{text}")).unwrap();
        };
        write("a.yaml", &["/data/a", "/data/b"]);
        write("other.yaml", &["/data/other"]);
        fs::write(at("broken.yaml"), "localpaths: [\n").unwrap();
        let (a, other, broken, gone) =
            (at("a.yaml"), at("other.yaml"), at("broken.yaml"), at("gone.yaml"));
        let check = |watch: &str, noted: &[&Path], module: Option<&str>, files: &[PathBuf]| {
            let id = localpath_id(Path::new(watch));
            let id = module.map_or(id.clone(), |kind| with_module(&id, kind));
            standing(&id, Some(&of(watch, noted, module)), files)
        };
        assert_eq!(check("/data/a", &[&a], None, &[]), Standing::Configured(a.clone()));
        assert_eq!(check("/data/c", &[&a], None, &[]), Standing::Removed);
        assert_eq!(check("/data/c", &[&gone], None, &[]), Standing::Removed);
        let now = [other.clone()];
        let moved = check("/data/other", &[&gone], None, &now);
        assert_eq!(moved, Standing::Configured(other.clone()), "another file has it now");
        assert!(matches!(check("/data/c", &[&a, &broken], None, &[]), Standing::Unknown(_)));
        // A broken file does not hide another one that configures the localpath.
        assert_eq!(check("/data/a", &[&broken, &a], None, &[]), Standing::Configured(a.clone()));
        assert_eq!(check("/data/a", &[&a], Some("command"), &[]), Standing::Configured(a.clone()));
        assert_eq!(check("/data/a", &[&a], Some("socket"), &[]), Standing::Removed);
        let old = standing(&localpath_id(Path::new("/data/c")), None, std::slice::from_ref(&a));
        assert!(matches!(old, Standing::Unknown(_)));
        let kept = standing(&localpath_id(Path::new("/data/a")), None, std::slice::from_ref(&a));
        assert_eq!(kept, Standing::Configured(a));
    }

    #[test]
    fn only_directories_with_a_journal_are_found_and_those_in_use_stay() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["www-1", "www-2", "www-3", "www-4", "else", "empty"] {
            fs::create_dir(at(name)).unwrap();
        }
        fs::write(at("syncsup.log"), "a log").unwrap();
        fs::write(at("else/notes"), "of somebody's").unwrap();
        std::os::unix::fs::symlink(at("www-1"), at("link")).unwrap();
        for name in ["www-1", "www-2", "www-3", "www-4"] {
            fs::write(at(name).join(FILE_NAME), [0; 1_000]).unwrap();
            of("/data/www", &[], None).write(&at(name));
        }
        fs::write(at("www-1/lock"), "").unwrap();
        let held = lock::take(&at("www-1/lock"), false).unwrap().unwrap();
        held.sign().unwrap();
        let pusher = lock::take(&at("www-2/pusher-x.lock"), false).unwrap().unwrap();
        let watcher = lock::take(&at("www-4/watcher.lock"), false).unwrap().unwrap();
        let found = all(dir.path(), &[]).unwrap();
        let shown: Vec<_> = found.iter().map(|f| (f.id.as_str(), f.standing.clone())).collect();
        assert_eq!(
            shown,
            [
                ("www-1", Standing::InUse { pid: Some(std::process::id()) }),
                ("www-2", Standing::InUse { pid: None }),
                ("www-3", Standing::Removed),
                ("www-4", Standing::InUse { pid: None }),
            ]
        );
        assert!(found[2].bytes > 1_000 && found[2].used_ms > 0);
        assert!(remove(&found[0]).is_err() && remove(&found[1]).is_err());
        remove(&found[2]).unwrap();
        drop((held, pusher, watcher));
        remove(&found[1]).unwrap();
        assert!(at("www-1").exists() && !at("www-2").exists() && !at("www-3").exists());
        assert!(all(&at("nowhere"), &[]).unwrap().is_empty());
    }
}
