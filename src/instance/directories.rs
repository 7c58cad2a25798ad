//! The directories of state, sockets and logs.

use super::lock::LOCK_NAME;
use super::names::instance_id;
use super::note::NOTE;
use crate::config::model::PLUGIN_KINDS;
use crate::error::{Error, Exit, Result};
use crate::journal::FILE_NAME;
use crate::language::say;
use crate::path::{OsBytes, printable};
use crate::shell::quoted_text;
use crate::sys::account::Account;
use crate::sys::files::Root;
use crate::sys::hand_over::{self, NotHandedOver, Owner};
use crate::sys::output::complain;
use crate::sys::umask;
use crate::trust::{self, Doubt, Doubted, User};
use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The name of a daemon's log; logrotate appends to it.
const LOG_NAME: &str = "syncsup.log";

/// The two directories that contain every file of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directories {
    /// `--state-dir`: journals, the daemon's log.
    pub state: PathBuf,
    /// `--run-dir`: sockets, pid files.
    pub run: PathBuf,
}

/// Where systemd puts the credentials of this service; `None` outside of one.
pub fn credentials() -> Option<PathBuf> {
    std::env::var_os("CREDENTIALS_DIRECTORY").filter(|dir| !dir.is_empty()).map(PathBuf::from)
}

impl Directories {
    /// The defaults of this user. Root uses the system's directories, other users those of the XDG rules. `env` looks
    /// up the environment.
    pub fn default_for(user: u32, env: impl Fn(&str) -> Option<PathBuf>) -> Self {
        if user == 0 {
            return Self { state: "/var/lib/syncsup".into(), run: "/run/syncsup".into() };
        }
        // Relative values must be ignored (XDG Base Directory Specification).
        let absolute = |name: &str| env(name).filter(|p| p.is_absolute());
        let home = || absolute("HOME").unwrap_or_else(|| "/".into()).join(".local/state");
        let state = absolute("XDG_STATE_HOME").unwrap_or_else(home).join("syncsup");
        let run = match absolute("XDG_RUNTIME_DIR") {
            Some(dir) => dir.join("syncsup"),
            None => PathBuf::from(format!("/tmp/syncsup-{user}")),
        };
        Self { state, run }
    }

    /// The defaults of this user.
    pub fn defaults() -> Self {
        let env = |name: &str| std::env::var_os(name).map(PathBuf::from);
        Self::default_for(User::current().uid, env)
    }

    /// ` --run-dir DIR` for a command that is suggested to the user; nothing for the default of this user.
    pub fn run_option(&self) -> String {
        option("--run-dir", &self.run, &Self::defaults().run)
    }

    /// The same for a command that starts an instance.
    pub fn options(&self) -> String {
        option("--state-dir", &self.state, &Self::defaults().state) + &self.run_option()
    }

    /// A file of the instance in the run directory.
    pub fn run_file(&self, instance: &str, extension: &str) -> PathBuf {
        self.run.join(format!("{instance}.{extension}"))
    }

    /// The log of a daemon.
    pub fn log_file(&self) -> PathBuf {
        self.state.join(LOG_NAME)
    }

    /// The error for a log that cannot be opened.
    pub fn log_refused(&self, error: std::io::Error) -> Error {
        Error::system(say!("cannot open the log {}", self.log_file().display()), error)
    }

    /// Creates both for `account`, while this process is root's. The state that an instance of root has left becomes
    /// that user's.
    pub fn hand_over(&self, account: &Account) -> Result<()> {
        umask::make_private();
        hand_over(&self.state, account)?;
        hand_over(&self.run, account)
    }

    /// Creates both. A state directory on a network file system is refused, because SQLite is not reliable there (rule
    /// 14).
    pub fn prepare(&self) -> Result<()> {
        umask::make_private();
        let advised = |made: Result<()>, option: &str| {
            made.map_err(|e| Error::new(e.exit, say!("{}; choose another with {}", e.text, option)))
        };
        advised(make(&self.state), "--state-dir")?;
        advised(make(&self.run), "--run-dir")?;
        let network = Root::open(&self.state).and_then(|d| d.file_system()).map(|f| f.network);
        if network.unwrap_or(false) {
            let text = say!(
                "the state directory {} is on a network file system, where a journal is not safe; choose a local one with --state-dir",
                self.state.display()
            );
            return Err(Error::usage(text));
        }
        Ok(())
    }
}

fn option(name: &str, given: &Path, default: &Path) -> String {
    match given == default {
        true => String::new(),
        false => format!(" {name} {}", quoted_text(given.as_os_str().as_bytes())),
    }
}

/// The user root.
const ROOT: User = User { uid: 0, gid: 0 };

/// Creates a directory that `account` owns, while this process is root's. A directory that root owns is handed over
/// with everything in it, if it contains only what syncsup creates.
fn hand_over(dir: &Path, account: &Account) -> Result<()> {
    let shown = printable(dir.as_os_str().as_bytes());
    let what = || say!("cannot give the directory {} to user {}", shown, account.name);
    let refused = |why: &dyn std::fmt::Display| Error::system(what(), why);
    let there = std::fs::metadata(dir).ok();
    if there.as_ref().is_some_and(|seen| seen.uid() == account.uid) {
        return Ok(());
    }
    match trust::doubted(dir, ROOT).map_err(|e| refused(&e))? {
        None => {}
        // Where others can write, that user creates it, or is refused.
        Some(_) if there.is_none() => return Ok(()),
        Some(doubted) => return Err(refused(&doubted.text(ROOT))),
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| refused(&e))?;
    let owner = Owner { uid: account.uid, gid: account.gid };
    let is_ours = |name: &OsStr, directory: bool| match directory {
        true => is_localpaths(&dir.join(name)),
        false => is_instances(name),
    };
    hand_over::hand_over(dir, owner, &is_ours).map_err(|why| match why {
        NotHandedOver::InUse(lock) => {
            let lock = printable(lock.as_os_str().as_bytes());
            let text = say!(
                "{}: an instance that root started uses it ({} is locked); stop that one first",
                what(),
                lock
            );
            Error::new(Exit::AlreadyRunning, text)
        }
        NotHandedOver::Foreign(file, why) => {
            let file = printable(file.as_os_str().as_bytes());
            refused(&say!(
                "{} in it: {}; move that away, or run chown {} {}",
                file,
                why,
                account.name,
                file
            ))
        }
        NotHandedOver::Refused(file, error) => {
            refused(&format!("{}: {error}", printable(file.as_os_str().as_bytes())))
        }
    })
}

/// True for a directory with the state of a localpath, or an empty one.
fn is_localpaths(dir: &Path) -> bool {
    let names = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.file_name());
    let mut names = names.peekable();
    let known = |name: &OsString| {
        name == LOCK_NAME || name == NOTE || name.as_bytes().starts_with(FILE_NAME.as_bytes())
    };
    names.peek().is_none() || names.any(|name| known(&name))
}

/// True for the names of files that an instance creates in the state or run directory.
fn is_instances(name: &OsStr) -> bool {
    let extension = Path::new(name).extension().unwrap_or_default();
    let of_ssh = name.as_bytes().strip_prefix(b"ssh-");
    let of_ssh =
        of_ssh.is_some_and(|key| key.len() >= 16 && key[..16].iter().all(u8::is_ascii_hexdigit));
    of_ssh
        || name.as_bytes().starts_with(LOG_NAME.as_bytes())
        || ["lock", "pid", "sock", GIVEN].iter().any(|known| extension == *known)
}

/// Creates a directory that only this user can access, and its parents. A directory that another user owns or can write
/// is refused, and so is a shared one such as /tmp, because syncsup obeys its contents. If a directory of this user is
/// writable by others, that permission is removed, unless others have created files in it.
pub fn make(dir: &Path) -> Result<()> {
    let shown = printable(dir.as_os_str().as_bytes());
    let refused = |why: &dyn std::fmt::Display| {
        Error::system(say!("cannot use the directory {}", shown), why)
    };
    let unfit = |why: &dyn std::fmt::Display| {
        Error::system(say!("cannot use the directory {}", shown), why)
    };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| refused(&e))?;
    let seen = std::fs::metadata(dir).map_err(|e| refused(&e))?;
    let user = User::current();
    if seen.uid() != user.uid && user.uid != 0 {
        return Err(refused(&say!("it belongs to user {}, not to user {}", seen.uid(), user.uid)));
    }
    let mode = seen.mode() & 0o7777;
    let foreign_group = mode & 0o020 != 0 && seen.gid() != 0 && seen.gid() != user.gid;
    if mode & 0o1000 != 0 && (mode & 0o002 != 0 || foreign_group) {
        return Err(unfit(&say!(
            "everybody can create files in it; use a private directory below it"
        )));
    }
    match trust::doubted(dir, user).map_err(|e| refused(&e))? {
        None => Ok(()),
        Some(Doubted { itself: true, why: Doubt::Writable(_), .. }) => {
            if let Some(other) = others_in(dir, user).map_err(|e| refused(&e))? {
                let other = printable(other.as_encoded_bytes());
                let why = say!(
                    "others can write it (mode {}), and {} in it belongs to another user; remove that, then run chmod go-w {}",
                    format!("{:04o}", mode),
                    other,
                    shown
                );
                return Err(unfit(&why));
            }
            let private = std::fs::Permissions::from_mode(mode & !0o022);
            std::fs::set_permissions(dir, private).map_err(|e| refused(&e))?;
            let now = mode & !0o022;
            complain(&say!(
                "syncsup: others could write the directory {} (mode {}); its mode was changed to {}",
                shown,
                format!("{:04o}", mode),
                format!("{:04o}", now)
            ));
            Ok(())
        }
        Some(Doubted { itself: true, why: Doubt::Owner(_), path }) if user.uid == 0 => {
            let why = Doubted { itself: true, why: Doubt::Owner(seen.uid()), path }.text(user);
            Err(unfit(&say!(
                "{}; if an instance with `user` wrote it, name that user again, or go back to root with chown -R 0:0 {}",
                why,
                shown
            )))
        }
        Some(doubted) => Err(unfit(&doubted.text(user))),
    }
}

/// The first name in a directory that belongs to neither this user nor root.
fn others_in(dir: &Path, user: User) -> std::io::Result<Option<OsString>> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.metadata().is_ok_and(|seen| !user.trusts(seen.uid())) {
            return Ok(Some(entry.file_name()));
        }
    }
    Ok(None)
}

/// Creates the directory of a localpath, and removes the permissions of others on its files: older releases created the
/// files with the umask.
pub fn make_private(dir: &Path) -> Result<()> {
    make(dir)?;
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let open = entry.metadata().is_ok_and(|seen| seen.is_file() && seen.mode() & 0o077 != 0);
        if open {
            // If the mode cannot be changed, it is no worse than before.
            let _ = std::fs::set_permissions(entry.path(), std::fs::Permissions::from_mode(0o600));
        }
    }
    Ok(())
}

/// The name of the instance of these configuration files (as given with `-o`). It is the same for every spelling of
/// their paths, symbolic links included.
pub fn instance(files: &[PathBuf]) -> String {
    let mut real: Vec<PathBuf> = files.iter().map(|file| real(file)).collect();
    real.sort();
    real.dedup();
    instance_id(&real)
}

/// The path without symbolic links. If the file does not exist, only its directory is resolved.
fn real(file: &Path) -> PathBuf {
    let in_directory = || Some(file.parent()?.canonicalize().ok()?.join(file.file_name()?));
    file.canonicalize().ok().or_else(in_directory).unwrap_or_else(|| file.to_owned())
}

/// The file beside the socket that contains the files that an instance was started with. A symbolic link may have
/// changed since.
pub const GIVEN: &str = "files";

/// The instances in the run directory that were started with these files. First come those with the same paths, then
/// those whose paths now lead to the same files. Some may no longer run.
pub fn started_with(run: &Path, files: &[PathBuf]) -> Vec<String> {
    let wanted = instance(files);
    let entries = std::fs::read_dir(run).into_iter().flatten().flatten().map(|e| e.path());
    let mut found: Vec<(bool, String)> = entries
        .filter(|path| path.extension().is_some_and(|e| e == GIVEN))
        .filter_map(|path| Some((given(&path)?, path.file_stem()?.to_str()?.to_owned())))
        .filter(|(given, _)| given == files || instance(given) == wanted)
        .map(|(given, id)| (given != files, id))
        .collect();
    found.sort();
    found.into_iter().map(|(_, id)| id).collect()
}

/// The files that the instance of this name was started with, and its `-m`, as far as they are known.
pub fn words_of(run: &Path, id: &str) -> Option<(Vec<PathBuf>, Option<String>)> {
    let files = given(&run.join(format!("{id}.{GIVEN}")))?;
    let module = PLUGIN_KINDS.into_iter().find(|kind| id.ends_with(&with_module("", kind)));
    Some((files, module.map(str::to_owned)))
}

fn given(path: &Path) -> Option<Vec<PathBuf>> {
    let text = std::fs::read(path).ok()?;
    let files: Vec<OsBytes> = serde_json::from_slice(&text).ok()?;
    Some(files.iter().map(|f| f.as_path().to_owned()).collect())
}

/// Writes the files that an instance was started with.
pub fn write_given(path: &Path, files: &[PathBuf]) -> std::io::Result<()> {
    let files: Vec<OsBytes> = files.iter().map(|f| f.as_path().into()).collect();
    std::fs::write(path, serde_json::to_vec(&files)?)
}

/// The name of the instance that `-m KIND` runs.
pub fn with_module(id: &str, kind: &str) -> String {
    format!("{id}-m-{kind}")
}

/// True if the instance of this name runs the plugins of `-m KIND`; without a kind, if it runs without `-m`.
pub fn is_of_module(id: &str, kind: Option<&str>) -> bool {
    match kind {
        Some(kind) => id.ends_with(&with_module("", kind)),
        // A name ends with 16 digits, or with the suffix that [`with_module`] appends to them.
        None => {
            id.len() > 17
                && id.as_bytes()[id.len() - 17] == b'-'
                && id[id.len() - 16..].bytes().all(|b| b.is_ascii_hexdigit())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_directories_depend_on_the_user() {
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
    fn an_instance_is_identified_by_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("a.xml"), dir.path().join("b.xml"));
        std::fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let one = |file: &PathBuf| instance(std::slice::from_ref(file));
        let (a, b) = (one(&file), one(&link));
        assert!(a.starts_with("a-") && a == b, "{a} {b}");
        let dir_link = dir.path().join("l");
        std::os::unix::fs::symlink(dir.path(), &dir_link).unwrap();
        assert_eq!(instance(&[dir.path().to_owned()]), instance(&[dir_link.join(".")]));
        assert_eq!(a, instance(&[dir_link.join("b.xml"), file.clone()]), "one file given twice");
        let other = dir.path().join("c.xml");
        std::fs::write(&other, "").unwrap();
        assert_eq!(instance(&[file.clone(), other.clone()]), instance(&[other, link]));
        std::fs::remove_file(&file).unwrap();
        assert_eq!(a, instance(&[dir_link.join("a.xml")]), "a file that is gone");
    }

    #[test]
    fn a_retargeted_link_still_identifies_its_instance() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        ["1.yaml", "2.yaml"].iter().for_each(|name| std::fs::write(path(name), "").unwrap());
        std::os::unix::fs::symlink("1.yaml", path("l.yaml")).unwrap();
        let id = instance(&[path("l.yaml")]);
        write_given(&path(&format!("{id}.files")), &[path("l.yaml")]).unwrap();
        std::fs::remove_file(path("l.yaml")).unwrap();
        std::os::unix::fs::symlink("2.yaml", path("l.yaml")).unwrap();
        assert_ne!(instance(&[path("l.yaml")]), id);
        for name in ["l.yaml", "2.yaml"] {
            assert_eq!(
                started_with(dir.path(), &[path(name)]),
                std::slice::from_ref(&id),
                "{name}"
            );
        }
    }

    #[test]
    fn plugin_instances_are_distinguished() {
        let id = instance(&["/etc/a-m-socket.xml".into()]);
        assert!(is_of_module(&id, None) && !is_of_module(&id, Some("socket")));
        let with = with_module(&id, "socket");
        assert!(is_of_module(&with, Some("socket")) && !is_of_module(&with, None));
        assert!(!is_of_module(&with, Some("http")));
    }

    #[test]
    fn a_running_instance_is_found_by_its_arguments() {
        let dir = tempfile::tempdir().unwrap();
        let files = [PathBuf::from("/etc/a.yaml"), PathBuf::from("/etc/b\n.yaml")];
        write_given(&dir.path().join("a-1.files"), &files).unwrap();
        std::fs::write(dir.path().join("b-2.files"), "no list").unwrap();
        assert_eq!(started_with(dir.path(), &files), ["a-1"]);
        assert!(started_with(dir.path(), &files[..1]).is_empty());
        assert!(started_with(&dir.path().join("none"), &files).is_empty());
    }

    #[test]
    fn directories_that_others_can_write_are_restricted_or_refused() {
        if User::current().uid != 0 {
            eprintln!("SKIPPED: not root");
            return;
        }
        let top = tempfile::tempdir().unwrap();
        let fresh = |mode| {
            let dir = tempfile::tempdir_in(top.path()).unwrap().keep();
            std::fs::write(dir.join("journal.db"), "").unwrap();
            std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(mode)).unwrap();
            dir
        };
        let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o7777;
        let refused = |dir: &Path| make(dir).unwrap_err().text;
        for (before, after) in [(0o777, 0o755), (0o757, 0o755), (0o755, 0o755), (0o700, 0o700)] {
            let dir = fresh(before);
            make_private(&dir).unwrap();
            assert_eq!((mode(&dir), mode(&dir.join("journal.db"))), (after, 0o600), "{before:o}");
        }
        let shared = fresh(0o1777);
        assert!(refused(&shared).contains("everybody can create files in it"));
        assert_eq!(mode(&shared), 0o1777, "/tmp stays as it is");
        assert!(make(&shared.join("mine")).is_ok());
        let trap = fresh(0o777);
        std::os::unix::fs::chown(trap.join("journal.db"), Some(1234), None).unwrap();
        assert!(refused(&trap).contains("journal.db in it belongs to another user"));
        let theirs = fresh(0o700);
        std::os::unix::fs::chown(&theirs, Some(1234), None).unwrap();
        assert!(refused(&theirs).contains("chown 0"), "{}", refused(&theirs));
        assert!(refused(&theirs.join("below")).contains("chown 0"));
        let link = top.path().join("link");
        std::os::unix::fs::symlink(fresh(0o700), &link).unwrap();
        assert!(make(&link).is_ok(), "root's own link");
        std::os::unix::fs::lchown(&link, Some(1234), None).unwrap();
        assert!(refused(&link).contains("chown 0"));
    }
}
