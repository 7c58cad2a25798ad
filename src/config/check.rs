//! Checks of all given files together, and of the machine. Pure: the machine's answers are passed as values, from
//! `probe`.

use super::destination::Destination;
use super::diagnostic::{Diagnostic, Severity};
use super::model::{Config, LocalPath, Place, Remote, Target};
use super::probe::{PasswordFile, Probe, Program, Watch};
use super::sender;
use super::{credentials, here, http, trusted};
use crate::filter::Filter;
use crate::language::say;
use crate::path::as_written;
use crate::script;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

fn finding(severity: Severity, place: &Place, text: String) -> Diagnostic {
    Diagnostic { severity, place: place.clone(), column: 0, text }
}

fn shown(place: &Place) -> String {
    format!("{}:{}", place.file.display(), place.line)
}

/// Checks what a single file cannot show, and merges parts that belong together:
/// - the same remote twice within one localpath is a warning, and one of the two is kept;
/// - the same localpath declared twice is one localpath with the remotes of both, if it has the same settings in both;
///   with other settings, or with the same remote in both, it is an error;
/// - a remote of a localpath that lies inside another remote of the same localpath is an error, since pushes to the
///   outer one delete the files of the inner one; if nothing is deleted, it is a warning;
/// - two localpaths that go to the same or nested places of one remote are an error, since each would delete the files
///   of the other; if neither deletes and neither lies inside the other, it is a warning.
pub fn across(config: &mut Config) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for localpath in &mut config.localpaths {
        keep_once(localpath, &mut found);
    }
    merge(config, &mut found);
    for (index, localpath) in config.localpaths.iter().enumerate() {
        names(localpath, &mut found);
        for remote in &localpath.remotes {
            found.extend(sender::parameters(localpath, remote));
        }
        inner_remotes(localpath, &mut found);
        for before in &config.localpaths[..index] {
            overlaps(before, localpath, &mut found);
        }
    }
    found.extend(without_users(config));
    found
}

/// Password files of remotes that log in without the name of a user. Each file is named once.
fn without_users(config: &Config) -> Vec<Diagnostic> {
    let mut said = BTreeSet::new();
    let remotes = config.localpaths.iter().flat_map(|l| &l.remotes);
    let without = remotes.filter(|remote| remote.peer.user.is_none()).filter_map(|remote| {
        let file = remote.peer.password_file.as_ref()?;
        said.insert(file.clone()).then(|| {
            let text = say!(
                "password_file {} is given without a user: rsync logs in with the name of the user that runs it; add `user: NAME`, a name in the `auth users` of the module",
                file
            );
            finding(Severity::Warning, &remote.password_place, text)
        })
    });
    without.collect()
}

fn same_place(a: &Remote, b: &Remote) -> bool {
    Destination::of(a).is_same(&Destination::of(b))
}

fn meet(a: &Remote, b: &Remote) -> bool {
    Destination::of(a).meets(&Destination::of(b))
}

/// True if `inner` is `outer` or lies below it.
fn within(inner: &[u8], outer: &[u8]) -> bool {
    let outer = outer.strip_suffix(b"/").unwrap_or(outer);
    inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

fn nested(a: &[u8], b: &[u8]) -> bool {
    within(a, b) || within(b, a)
}

fn keep_once(localpath: &mut LocalPath, found: &mut Vec<Diagnostic>) {
    let mut kept: Vec<Remote> = Vec::new();
    for remote in std::mem::take(&mut localpath.remotes) {
        match kept.iter().find(|k| same_place(k, &remote)) {
            Some(first) => {
                let name = remote.name();
                let at = shown(&first.place);
                let text = say!(
                    "remote {} is given twice for {} (first at {}); the second is ignored",
                    name,
                    localpath.watch,
                    at
                );
                found.push(finding(Severity::Warning, &remote.place, text));
            }
            None => kept.push(remote),
        }
    }
    localpath.remotes = kept;
}

fn merge(config: &mut Config, found: &mut Vec<Diagnostic>) {
    let mut merged: Vec<LocalPath> = Vec::new();
    for localpath in std::mem::take(&mut config.localpaths) {
        let Some(first) = merged.iter_mut().find(|m| m.watch == localpath.watch) else {
            merged.push(localpath);
            continue;
        };
        for remote in &localpath.remotes {
            if let Some(twin) = first.remotes.iter().find(|r| same_place(r, remote)) {
                let (watch, name, at) = (&localpath.watch, remote.name(), shown(&twin.place));
                let text = say!(
                    "localpath {} with remote {} is already declared at {}; remove one",
                    watch,
                    name,
                    at
                );
                found.push(finding(Severity::Error, &remote.place, text));
            }
        }
        let bare = |l: &LocalPath| LocalPath { remotes: Vec::new(), ..l.clone() };
        if bare(first) == bare(&localpath) {
            let new = localpath
                .remotes
                .into_iter()
                .filter(|r| !first.remotes.iter().any(|f| same_place(f, r)));
            let new: Vec<_> = new.collect();
            first.remotes.extend(new);
        } else {
            let at = shown(&first.place);
            let text = say!(
                "localpath {} is declared twice with different settings (first at {}); declare it once, with all its remotes",
                localpath.watch,
                at
            );
            found.push(finding(Severity::Error, &localpath.place, text));
        }
    }
    config.localpaths = merged;
}

/// The name of a remote must be usable in `status` and on the command line.
fn names(localpath: &LocalPath, found: &mut Vec<Diagnostic>) {
    for (index, remote) in localpath.remotes.iter().enumerate() {
        let name = remote.name();
        if let Some(twin) = localpath.remotes[..index].iter().find(|r| r.name() == name) {
            let at = shown(&twin.place);
            let text = say!(
                "two remotes of {} have the name {} (the other at {})",
                localpath.watch,
                name,
                at
            );
            found.push(finding(Severity::Error, &remote.place, text));
        }
    }
}

/// Remotes of one localpath that lie inside each other.
fn inner_remotes(localpath: &LocalPath, found: &mut Vec<Diagnostic>) {
    for (index, remote) in localpath.remotes.iter().enumerate() {
        for before in localpath.remotes[..index].iter().filter(|before| meet(before, remote)) {
            let text = say!(
                "{} to {} and to {} ({}): one destination lies inside the other; pushes to the outer one would delete or overwrite what the inner one receives: use separate destinations",
                localpath.watch,
                remote.name(),
                before.name(),
                shown(&before.place)
            );
            let severity =
                if localpath.inotify.delete { Severity::Error } else { Severity::Warning };
            found.push(finding(severity, &remote.place, text));
        }
    }
}

fn overlaps(a: &LocalPath, b: &LocalPath, found: &mut Vec<Diagnostic>) {
    let inside = nested(a.watch.as_bytes(), b.watch.as_bytes());
    let deletes = a.inotify.delete || b.inotify.delete;
    for x in &a.remotes {
        for y in b.remotes.iter().filter(|y| meet(x, y)) {
            let how = if inside { say!("one inside the other") } else { say!("two localpaths") };
            let text = say!(
                "{} to {} and {} to {} ({}): {}, with the same or nested destinations on one remote; each would overwrite or delete what the other sends: use separate destinations",
                b.watch,
                y.name(),
                a.watch,
                x.name(),
                shown(&x.place),
                how
            );
            let severity = if inside || deletes { Severity::Error } else { Severity::Warning };
            found.push(finding(severity, &y.place, text));
        }
    }
}

/// Examines each localpath, password file and script once. A missing watch is an error, since it cannot be replicated.
pub fn roots(config: &Config, probe: &dyn Probe) -> Vec<Diagnostic> {
    let mut found: Vec<Diagnostic> =
        config.http.iter().filter_map(|server| http::check(server, probe)).collect();
    let mut files = BTreeSet::new();
    let (mut contents, mut said) = (BTreeSet::new(), BTreeSet::new());
    let mut programs = BTreeSet::new();
    for localpath in &config.localpaths {
        let state = probe.watch(localpath.watch.as_path());
        if let Some(text) = watch_error(&as_written(localpath.watch.as_bytes()), &state) {
            found.push(finding(Severity::Error, &localpath.place, text));
        }
        if let Some(log) = &localpath.fail_log
            && files.insert(log.path.clone())
        {
            let text = fail_log_warning(log.path.as_path(), probe);
            found.extend(text.map(|t| finding(Severity::Warning, &log.place, t)));
        }
        let loops = localpath.remotes.iter().filter_map(|remote| {
            let text = onto_itself(localpath, remote, probe)?;
            Some(finding(Severity::Warning, &remote.place, text))
        });
        found.extend(loops);
        for (place, program) in trusted::programs_named(localpath) {
            let why = || match probe.program(&program) {
                Program::Begins(start) => script::fault(&start),
                // The version of an rsync is looked at, too.
                Program::Missing if !is_rsync(localpath, &program) => {
                    Some(say!("no such file; create it or correct the path"))
                }
                Program::Missing => None,
                Program::Unknown => None,
            };
            if program.is_absolute()
                && programs.insert(program.clone())
                && let Some(why) = why()
            {
                let shown = as_written(program.as_os_str().as_bytes());
                let text = say!("program {} cannot be run: {}", shown, why);
                found.push(finding(Severity::Warning, place, text));
            }
        }
        for remote in &localpath.remotes {
            let file = remote.peer.password_file.as_ref();
            let Some(file) = file.filter(|file| credentials::name(file).is_none()) else {
                continue;
            };
            let (shown, user) = (as_written(file.as_bytes()), remote.peer.user.as_deref());
            let new = files.insert(file.clone());
            if new || contents.insert((file.clone(), user)) {
                let state = probe.password_file(file.as_path());
                let text = password_warning(&shown, &state, probe.user()).filter(|_| new);
                let content = password_content_warning(&shown, &state, user);
                let content = content.filter(|text| said.insert(text.clone()));
                let texts = text.into_iter().chain(content);
                found.extend(texts.map(|t| finding(Severity::Warning, &remote.password_place, t)));
            }
        }
    }
    found
}

fn is_rsync(localpath: &LocalPath, program: &Path) -> bool {
    localpath.remotes.iter().any(|remote| remote.peer.rsync_program.as_path() == program)
}

/// Why a remote on this machine would copy the localpath into itself, if that can be determined.
fn onto_itself(localpath: &LocalPath, remote: &Remote, probe: &dyn Probe) -> Option<String> {
    if !probe.is_here(&remote.peer.host) {
        return None;
    }
    let there = here::directory(remote, &probe.daemon())?;
    let real = |path: &[u8]| probe.real(Path::new(OsStr::from_bytes(path))).into_os_string();
    let (there, watch) = (real(&there), real(localpath.watch.as_bytes()));
    here::warning(localpath, remote, watch.as_bytes(), there.as_bytes())
}

/// What the machine lacks: rsync, and inotify watches. It walks every localpath, which takes time.
pub fn machine(config: &Config, probe: &dyn Probe) -> Vec<Diagnostic> {
    let mut found = sender::versions(config, probe);
    let mut directories = 0;
    for localpath in &config.localpaths {
        if let Ok(filter) = Filter::new(&localpath.filter) {
            directories += probe.directories(localpath.watch.as_path(), &filter);
        }
    }
    let text = probe.max_user_watches().and_then(|max| watches_warning(directories, max));
    found.extend(text.map(|t| finding(Severity::Warning, &Place::default(), t)));
    found
}

/// Why a localpath cannot be watched.
pub fn watch_error(watch: &str, state: &Watch) -> Option<String> {
    let why = match state {
        Watch::Directory => return None,
        Watch::Missing => say!("no such directory; create it or correct the path"),
        Watch::NotDirectory => say!("not a directory; name the directory that contains it"),
        Watch::Refused(why) => say!("{}; run as a user that may read it", why),
    };
    Some(format!("localpath watch=\"{watch}\": {why}"))
}

/// What rsync would refuse about a password file; `user` is the number of the user that runs it.
pub fn password_warning(file: &str, state: &PasswordFile, user: u32) -> Option<String> {
    let why = match state {
        PasswordFile::Missing => {
            say!("no such file; create it with the password as its only line, and chmod 600 it")
        }
        PasswordFile::Refused(why) => {
            say!("{}; the user that runs syncsup must be able to read it", why)
        }
        PasswordFile::Found { mode, .. } if mode & 0o137 != 0 => {
            say!(
                "its mode is {}, but rsync refuses a file that others can read; run chmod 600 {}",
                format!("{:04o}", mode & 0o7777),
                file
            )
        }
        PasswordFile::Found { owner, .. } if user == 0 && *owner != 0 => {
            say!(
                "it belongs to user {}, but rsync as root requires root as the owner; run chown root {}",
                owner,
                file
            )
        }
        PasswordFile::Found { size: 0, .. } => {
            say!("it is empty; write the password as its only line")
        }
        PasswordFile::Found { .. } => return None,
    };
    Some(say!("password file {}: {}", file, why))
}

/// Parts of a password file that a daemon would take as a part of the password. They are the most frequent cause of
/// `auth failed`. The content is not shown.
pub fn password_content_warning(
    file: &str,
    state: &PasswordFile,
    user: Option<&str>,
) -> Option<String> {
    let PasswordFile::Found { start, .. } = state else { return None };
    let all = start.strip_prefix(b"\xef\xbb\xbf");
    // As rsync reads it: the first line that is not empty, without its line end.
    let line = start.split(|&b| b == b'\n' || b == b'\r').find(|line| !line.is_empty())?;
    let named =
        user.and_then(|user| line.strip_prefix(user.as_bytes())).and_then(|l| l.strip_prefix(b":"));
    let why = if all.is_some() {
        say!(
            "it begins with a byte order mark (BOM), which becomes part of the password; save it as UTF-8 without BOM"
        )
    } else if named.is_some() {
        say!(
            "it begins with the user and a colon, like the slave's secrets file; write only the password"
        )
    } else if line.trim_ascii().is_empty() || line.trim_ascii().len() != line.len() {
        say!(
            "there are blanks around the password, which become part of it; write only the password"
        )
    } else if line.contains(&0) {
        say!("it contains a NUL character; write only the password, as plain text")
    } else if line.starts_with(b"#") {
        say!("its first line begins with #, and is used as the password; write only the password")
    } else {
        return None;
    };
    Some(say!("password file {}: {}", file, why))
}

/// What to examine if the daemon of `remote` refuses the login; `file` is the state of its password file, if it has
/// one, and `runs` is the number of the user that runs this.
pub fn login_hint(remote: &Remote, file: Option<&PasswordFile>, runs: u32) -> String {
    let module = match &remote.peer.target {
        Target::Daemon { module, .. } => as_written(module.as_bytes()),
        Target::Ssh { .. } => String::new(),
    };
    let user = match &remote.peer.user {
        Some(user) => say!("user {} of module {}", user, module),
        None => {
            say!("no user is given for module {}, so rsync uses the name of its own user", module)
        }
    };
    let path = remote.peer.password_file.as_ref().map(|path| as_written(path.as_bytes()));
    let (Some(path), Some(file)) = (path, file) else {
        return say!("{}: no password_file is given", user);
    };
    let wrong = password_content_warning(&path, file, remote.peer.user.as_deref())
        .or_else(|| password_warning(&path, file, runs));
    match wrong {
        Some(wrong) => format!("{user}: {wrong}"),
        None => say!(
            "{}: the only line of {} must equal the password of that user in the `secrets file` of the slave; that file must have mode 600, and `auth users` must name the user",
            user,
            path
        ),
    }
}

/// Why the fail log cannot be written: its directory is not created automatically.
fn fail_log_warning(file: &Path, probe: &dyn Probe) -> Option<String> {
    let dir = file.parent()?;
    let why = match probe.watch(dir) {
        Watch::Missing => say!("no such directory; run mkdir -p {}", dir.display()),
        Watch::NotDirectory => say!("{} is not a directory", dir.display()),
        Watch::Directory | Watch::Refused(_) => return None,
    };
    Some(say!("fail log {} cannot be written: {}", file.display(), why))
}

/// The warning about too few inotify watches for the directories, and the command that raises the limit.
pub fn watches_warning(directories: u64, max_user_watches: u64) -> Option<String> {
    if directories <= max_user_watches {
        return None;
    }
    let enough = (directories * 2).next_multiple_of(65_536);
    Some(say!(
        "{} directories to watch, but fs.inotify.max_user_watches is {}; run sysctl -w \
         fs.inotify.max_user_watches={}",
        directories,
        max_user_watches,
        enough
    ))
}
