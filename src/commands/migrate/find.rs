//! Finds a sersync: its configuration files, and the processes that use them.

use crate::sys::own;
use crate::sys::procfs::Running;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Where sersync is usually unpacked: under a new name, or under its original name.
pub const USUAL: [&str; 2] = ["/usr/local/sersync", "/usr/local/GNU-Linux-x86"];

/// No configuration is larger.
const MOST_BYTES: u64 = 4 << 20;

/// One configuration file of sersync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundConfiguration {
    /// The `confxml.xml`, absolute.
    pub file: PathBuf,
    /// The process that runs with it.
    pub process: Option<SersyncProcess>,
}

/// A running sersync.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SersyncProcess {
    /// Its process ID.
    pub pid: u32,
    /// The process IDs of others that do the same with the same file.
    pub others: Vec<u32>,
    /// It was started with `-r`.
    pub reconcile: bool,
    /// `-n`.
    pub slots: Option<usize>,
    /// `-m`: it only runs a plugin.
    pub plugin: Option<String>,
    /// `-o`, as it was written.
    file: Option<PathBuf>,
}

impl SersyncProcess {
    /// The process IDs of all of these processes, for people and for `kill`.
    pub fn pids(&self) -> String {
        let all = std::iter::once(&self.pid).chain(&self.others);
        all.map(u32::to_string).collect::<Vec<_>>().join(" ")
    }
}

/// Every sersync below `paths` (configuration files, or directories that contain them or a `conf` with them). If
/// `paths` is empty, every running sersync and those in the usual places.
pub fn find(paths: &[PathBuf], running: &[Running]) -> Vec<FoundConfiguration> {
    let mut found: Vec<FoundConfiguration> = Vec::new();
    for running in running.iter().filter(|r| is_sersync(r)) {
        let process = SersyncProcess { pid: running.pid, ..letters(&running.args[1..]) };
        let Some(file) = file_of(running, &process) else { continue };
        let given = paths.iter().any(|p| p.canonicalize().is_ok_and(|p| file.starts_with(p)));
        if !paths.is_empty() && !given {
            continue;
        }
        let twin = found
            .iter_mut()
            .filter(|f| f.file == file)
            .find_map(|f| f.process.as_mut().filter(|twin| twin.plugin == process.plugin));
        match twin {
            Some(twin) => {
                twin.others.push(process.pid);
                twin.reconcile |= process.reconcile;
                twin.slots = twin.slots.max(process.slots);
            }
            None => found.push(FoundConfiguration { file, process: Some(process) }),
        }
    }
    let usual = USUAL.map(PathBuf::from);
    for path in if paths.is_empty() { &usual } else { paths } {
        for file in configurations(path) {
            if !found.iter().any(|f| f.file == file) {
                found.push(FoundConfiguration { file, process: None });
            }
        }
    }
    let plugin = |f: &FoundConfiguration| f.process.as_ref().and_then(|p| p.plugin.clone());
    found.sort_by_key(|f| (f.file.clone(), plugin(f)));
    found
}

/// Checks the name of the program, and the name in its command line. syncsup itself may be called `sersync`.
fn is_sersync(running: &Running) -> bool {
    // The program may have been replaced while it runs.
    let name = |path: &OsStr| {
        let name = Path::new(path).file_name().unwrap_or_default().as_bytes().to_vec();
        name.strip_suffix(b" (deleted)").map(<[u8]>::to_vec).unwrap_or(name)
    };
    let exe = running.exe.as_ref().map(|exe| name(exe.as_os_str())).unwrap_or_default();
    let called = running.args.first().map(|arg| name(arg)).unwrap_or_default();
    let is = |name: &[u8]| name == b"sersync2" || name == b"sersync";
    exe != b"syncsup" && (is(&exe) || (exe.is_empty() && is(&called)))
}

/// Parses sersync's own options. They can be combined. `o`, `n` and `m` take the rest of the word or the next word.
fn letters(args: &[OsString]) -> SersyncProcess {
    let mut process = SersyncProcess::default();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let Some(mut rest) = arg.as_bytes().strip_prefix(b"-") else { continue };
        while let Some((&letter, more)) = rest.split_first() {
            rest = more;
            if b"onm".contains(&letter) {
                let value = match more {
                    [] => args.next().map(OsString::as_os_str),
                    more => Some(OsStr::from_bytes(more)),
                };
                let text = || value.and_then(OsStr::to_str).map(str::to_owned);
                match letter {
                    b'o' => process.file = value.map(PathBuf::from),
                    b'n' => process.slots = text().and_then(|n| n.parse().ok()),
                    _ => process.plugin = text(),
                }
                break;
            }
            process.reconcile |= letter == b'r';
        }
    }
    process
}

/// The file it was started with. A relative name is looked up in its working directory, or beside its program.
fn file_of(running: &Running, process: &SersyncProcess) -> Option<PathBuf> {
    let file = process.file.clone().unwrap_or_else(|| "confxml.xml".into());
    let beside = running.exe.as_ref().and_then(|exe| exe.parent());
    let places = [running.cwd.as_deref(), beside];
    places.into_iter().flatten().find_map(|dir| dir.join(&file).canonicalize().ok())
}

/// sersync's configuration files at `path`.
fn configurations(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return path.canonicalize().into_iter().collect();
    }
    let mut files = Vec::new();
    for dir in [path.to_owned(), path.join("conf")] {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path());
        files.extend(entries.filter(|p| p.extension().is_some_and(|e| e == "xml")));
    }
    let mut files: Vec<PathBuf> = files.into_iter().filter_map(|f| f.canonicalize().ok()).collect();
    // The XML files of other programs are ignored.
    files.retain(|file| {
        own::glance(file, MOST_BYTES)
            .is_ok_and(|text| text.windows(8).any(|word| word == b"<sersync"))
    });
    files.sort();
    files.dedup();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(exe: &str, line: &[&str]) -> Running {
        Running {
            pid: 7,
            exe: (!exe.is_empty()).then(|| exe.into()),
            cwd: Some("/".into()),
            args: line.iter().map(OsString::from).collect(),
        }
    }

    #[test]
    fn combined_letters_are_read() {
        let words: Vec<OsString> =
            ["-dro", "/a b.xml", "-n20", "-m", "command"].iter().map(OsString::from).collect();
        let process = letters(&words);
        assert_eq!(process.file.as_deref(), Some(Path::new("/a b.xml")));
        assert_eq!((process.reconcile, process.slots), (true, Some(20)));
        assert_eq!(process.plugin.as_deref(), Some("command"));
        assert_eq!(letters(&["-d".into()]), SersyncProcess::default());
    }

    #[test]
    fn syncsup_called_sersync_is_not_sersync() {
        assert!(is_sersync(&running("/usr/local/sersync/sersync2", &["./sersync2", "-d"])));
        assert!(is_sersync(&running("/opt/sersync2 (deleted)", &["x"])));
        assert!(is_sersync(&running("", &["/usr/local/sersync/sersync2", "-d"])));
        assert!(!is_sersync(&running("/usr/local/bin/syncsup", &["sersync", "-d"])));
        assert!(!is_sersync(&running("/usr/bin/vi", &["sersync2"])));
    }

    #[test]
    fn each_file_is_found_once_with_its_process() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir(root.join("conf")).unwrap();
        for (name, text) in [
            ("confxml.xml", "<head><sersync/></head>"),
            ("other.xml", "<html/>"),
            ("conf/b.xml", "<head><sersync/></head>"),
        ] {
            fs::write(root.join(name), text).unwrap();
        }
        let exe = root.join("sersync2");
        let one = running(exe.to_str().unwrap(), &["./sersync2", "-r", "-o", "confxml.xml"]);
        let found = find(std::slice::from_ref(&root), &[one]);
        let files: Vec<_> = found.iter().map(|f| f.file.strip_prefix(&root).unwrap()).collect();
        assert_eq!(files, [Path::new("conf/b.xml"), Path::new("confxml.xml")]);
        assert_eq!(found[0].process, None);
        assert!(found[1].process.as_ref().is_some_and(|p| p.pid == 7 && p.reconcile));
    }

    #[test]
    fn processes_on_one_file_are_distinguished_by_their_options() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::write(root.join("confxml.xml"), "<head><sersync/></head>").unwrap();
        let exe = root.join("sersync2");
        let of = |pid: u32, more: &[&str]| {
            let line = [&["./sersync2", "-o", "confxml.xml"], more].concat();
            Running { pid, ..running(exe.to_str().unwrap(), &line) }
        };
        let all = [of(1, &["-m", "http"]), of(2, &["-r"]), of(3, &[]), of(4, &["-mcommand"])];
        let found = find(&[], &all);
        let ours = found.iter().filter(|f| f.file.starts_with(&root));
        let told: Vec<_> = ours
            .filter_map(|f| f.process.as_ref())
            .map(|p| (p.pids(), p.plugin.clone().unwrap_or_default(), p.reconcile))
            .collect();
        let wanted = [("2 3", "", true), ("4", "command", false), ("1", "http", false)];
        assert_eq!(told, wanted.map(|(pids, kind, r)| (pids.to_owned(), kind.to_owned(), r)));
    }
}
