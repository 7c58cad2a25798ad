//! Where state, sockets and logs are.

use super::names::instance_id;
use crate::error::{Error, Result};
use crate::sys::files::Root;
use crate::sys::session;
use serde::{Deserialize, Serialize};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The two directories that everything of an instance is in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directories {
    /// `--state-dir`: journals, the daemon's log.
    pub state: PathBuf,
    /// `--run-dir`: sockets, pid files.
    pub run: PathBuf,
}

impl Directories {
    /// The defaults of this user: root's are the system's, others have theirs by the XDG rules. `env` looks up the
    /// environment.
    pub fn default_for(user: u32, env: impl Fn(&str) -> Option<PathBuf>) -> Self {
        if user == 0 {
            return Self { state: "/var/lib/syncsup".into(), run: "/run/syncsup".into() };
        }
        // Relative values are to be ignored (XDG Base Directory Specification).
        let absolute = |name: &str| env(name).filter(|p| p.is_absolute());
        let home = || absolute("HOME").unwrap_or_else(|| "/".into()).join(".local/state");
        let state = absolute("XDG_STATE_HOME").unwrap_or_else(home).join("syncsup");
        let run = match absolute("XDG_RUNTIME_DIR") {
            Some(dir) => dir.join("syncsup"),
            None => PathBuf::from(format!("/tmp/syncsup-{user}")),
        };
        Self { state, run }
    }

    /// A file of the instance in the run directory.
    pub fn run_file(&self, instance: &str, extension: &str) -> PathBuf {
        self.run.join(format!("{instance}.{extension}"))
    }

    /// The log of a daemon.
    pub fn log_file(&self) -> PathBuf {
        self.state.join("syncsup.log")
    }

    /// Makes both. State on a network file system is refused: SQLite cannot be trusted there (rule 14).
    pub fn prepare(&self) -> Result<()> {
        let advised = |made: Result<()>, option: &str| {
            made.map_err(|e| {
                Error::new(e.exit, format!("{}; choose another with {option}", e.text))
            })
        };
        advised(make(&self.state), "--state-dir")?;
        advised(make(&self.run), "--run-dir")?;
        let network = Root::open(&self.state).and_then(|d| d.file_system()).map(|f| f.network);
        if network.unwrap_or(false) {
            let text = format!(
                "the state directory {} is on a network file system, where a journal is not safe; choose a local one with --state-dir",
                self.state.display()
            );
            return Err(Error::usage(text));
        }
        Ok(())
    }
}

/// Makes a directory for this user only, with all above it; one that belongs to another user is refused, since /tmp is
/// everybody's.
pub fn make(dir: &Path) -> Result<()> {
    let refused = |why: &dyn std::fmt::Display| {
        Error::system(format!("cannot make the directory {}", dir.display()), why)
    };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| refused(&e))?;
    let owner = std::fs::metadata(dir).map_err(|e| refused(&e))?.uid();
    let user = session::user();
    if owner != user && user != 0 {
        return Err(refused(&format!("it belongs to user {owner}, not to user {user}")));
    }
    Ok(())
}

/// The instance that these configuration files (as given with `-o`) make.
pub fn instance(files: &[PathBuf]) -> String {
    let real: Vec<PathBuf> =
        files.iter().map(|f| f.canonicalize().unwrap_or_else(|_| f.clone())).collect();
    let mut id = instance_id(&real);
    // The name that was given is the one that people know, also of a symbolic link.
    if let (Some(given), Some(at)) = (files.first(), id.rfind('-')) {
        let readable = instance_id(std::slice::from_ref(given));
        let stem = readable.rfind('-').map_or("", |end| &readable[..end]);
        id = format!("{stem}{}", &id[at..]);
    }
    id
}

/// The same name for what `-m KIND` runs.
pub fn with_module(id: &str, kind: &str) -> String {
    format!("{id}-m-{kind}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults() {
        let none = |_: &str| None;
        assert_eq!(Directories::default_for(0, none).run, Path::new("/run/syncsup"));
        let env = |name: &str| match name {
            "HOME" => Some("/home/u".into()),
            "XDG_RUNTIME_DIR" => Some("relative".into()),
            _ => None,
        };
        let user = Directories::default_for(7, env);
        assert_eq!(user.state, Path::new("/home/u/.local/state/syncsup"));
        assert_eq!(user.run, Path::new("/tmp/syncsup-7"));
    }

    #[test]
    fn an_instance_is_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("a.xml"), dir.path().join("b.xml"));
        std::fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let (a, b) = (instance(&[file]), instance(&[link]));
        assert!(a.starts_with("a-") && b.starts_with("b-"), "{a} {b}");
        assert_eq!(a[2..], b[2..]);
    }
}
