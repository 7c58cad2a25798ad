//! A source tree, real rsync daemons on loopback, and runs of rsync as the pusher makes them.

use crate::common::rsyncd::{free_port, old_rsync};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::net::TcpStream;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use syncsup::config::model::{Peer, Remote, Target};
use syncsup::path::{OsBytes, RelPath};
use syncsup::rsync::argv::{self, Check, Form, Options};
use syncsup::rsync::exit_status::{self, Judgement};
use syncsup::rsync::itemize::{self, Change, ChangeKind, Line};
use syncsup::stat::Exited;
use tempfile::TempDir;

pub const ON: Options = Options {
    check: Check::Quick,
    dry: false,
    delete: true,
    force: true,
    stats: false,
    unchanged: false,
};

/// The installed rsync, and the one with a broken `--delete-missing-args`, where there is one.
pub fn receivers() -> Vec<PathBuf> {
    let old = old_rsync();
    if old.is_none() {
        eprintln!("SKIPPED: no old rsync (SYNCSUP_TEST_OLD_RSYNC)");
    }
    [PathBuf::from("rsync")].into_iter().chain(old).collect()
}

pub struct Daemon {
    child: Child,
    pub port: u16,
    /// Keeps the port for this daemon while it is stopped.
    _reservation: UnixListener,
}

impl Daemon {
    /// Module `m` at `module`, with more lines of configuration; auth user `rep`, password `secret`.
    pub fn start(program: &Path, dir: &Path, module: &Path, more: &str) -> Self {
        let secrets = dir.join("secrets");
        fs::write(&secrets, "rep:secret\n").unwrap();
        fs::set_permissions(&secrets, fs::Permissions::from_mode(0o600)).unwrap();
        let root = if is_root() { "uid = 0\ngid = 0\n" } else { "" };
        let text = format!(
            "use chroot = no\nmunge symlinks = no\nlog file = {0}/log\nlock file = {0}/lock\nread only = no\n{root}\
             auth users = rep\nsecrets file = {0}/secrets\nsocket options = TCP_NODELAY\n{more}\n[m]\npath = {1}\n\
             comment = {0}\n",
            dir.display(),
            module.display()
        );
        let config = dir.join("rsyncd.conf");
        fs::write(&config, text).unwrap();
        let deadline = Instant::now() + Duration::from_secs(180);
        loop {
            let (port, reservation) = free_port();
            let mut child = Command::new(program)
                .args(["--daemon", "--no-detach", "--address=127.0.0.1"])
                .arg(format!("--port={port}"))
                .arg(format!("--config={}", config.display()))
                .stdin(Stdio::null())
                .spawn()
                .unwrap();
            // Another program may have taken the port meanwhile: then the daemon exits, and another port is tried.
            while child.try_wait().unwrap().is_none() {
                if says(port, dir.as_os_str().as_bytes()).unwrap_or(false) {
                    return Self { child, port, _reservation: reservation };
                }
                assert!(Instant::now() < deadline, "no rsync daemon within 180 s");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

impl Daemon {
    pub fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// On the same port, with the configuration in `dir`.
    pub fn start_again(&mut self, program: &Path, dir: &Path) {
        self.child = Command::new(program)
            .args(["--daemon", "--no-detach", "--address=127.0.0.1"])
            .arg(format!("--port={}", self.port))
            .arg(format!("--config={}", dir.join("rsyncd.conf").display()))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Asks for the list of modules: only the daemon that was started here has this comment.
fn says(port: u16, comment: &[u8]) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"@RSYNCD: 29.0\n#list\n")?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text)?;
    Ok(text.windows(comment.len()).any(|window| window == comment))
}

pub fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// One source, one module, one daemon.
pub struct Rig {
    pub dir: TempDir,
    pub daemon: Daemon,
    pub remote: Remote,
}

/// What an rsync said and did.
pub struct Run {
    pub exit: Exited,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

/// A new directory, in memory where there is plenty: some of these tests make tens of thousands of files at the same
/// time, which a disk's file system may take minutes for.
fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let plenty = nix::sys::statvfs::statvfs(memory)
        .is_ok_and(|fs| fs.blocks_available() * fs.fragment_size() > 8 << 30);
    match plenty {
        true => tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir()),
        false => tempfile::tempdir(),
    }
    .unwrap()
}

impl Rig {
    pub fn new(program: &Path) -> Self {
        Self::with(program, "")
    }

    pub fn with(program: &Path, more: &str) -> Self {
        let dir = scratch();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let base = dir.path().canonicalize().unwrap();
        for name in ["src", "dst", "etc"] {
            fs::create_dir(base.join(name)).unwrap();
        }
        let password_file = base.join("etc/password");
        fs::write(&password_file, "secret\n").unwrap();
        fs::set_permissions(&password_file, fs::Permissions::from_mode(0o600)).unwrap();
        let daemon = Daemon::start(program, &base.join("etc"), &base.join("dst"), more);
        let target = Target::Daemon { port: daemon.port, module: "m".into() };
        let remote = Remote::new(Peer {
            user: Some("rep".into()),
            password_file: Some(password_file.into()),
            params: vec!["-artuz".into()],
            timeout_s: 30,
            ..Peer::new("127.0.0.1", target)
        });
        Self { dir, daemon, remote }
    }

    pub fn base(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap()
    }
    pub fn src(&self) -> PathBuf {
        self.base().join("src")
    }
    pub fn dst(&self) -> PathBuf {
        self.base().join("dst")
    }
    pub fn params(&mut self, params: &[&str]) {
        self.remote.peer.params = params.iter().map(|&p| OsBytes::from(p)).collect();
    }
    pub fn module(&mut self, module: &[u8]) {
        self.remote.peer.target =
            Target::Daemon { port: self.daemon.port, module: module.to_vec().into() };
    }

    pub fn run(&self, form: &Form, options: Options, list: &[u8]) -> Run {
        self.run_with(form, options, list, &[])
    }

    pub fn run_with(
        &self,
        form: &Form,
        options: Options,
        list: &[u8],
        env: &[(&str, &OsStr)],
    ) -> Run {
        let mut stdin = tempfile::tempfile().unwrap();
        stdin.write_all(list).unwrap();
        stdin.rewind().unwrap();
        let mut command = self.command(form, options);
        let out = command.envs(env.iter().copied()).stdin(stdin).output().unwrap();
        Run {
            exit: Exited::Code(out.status.code().unwrap()),
            stdout: out.stdout,
            stderr: out.stderr,
        }
    }

    pub fn command(&self, form: &Form, options: Options) -> Command {
        let words = argv::argv(&self.remote.peer, form, options);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(self.src()).envs(argv::ENV.iter().copied());
        for name in argv::ENV_REMOVE {
            command.env_remove(name);
        }
        command
    }

    /// Form B's second half.
    pub fn delete_b(&self, parents: &[RelPath], names: &[RelPath], options: Options) -> Run {
        let rules = self.base().join("rules");
        File::create(&rules).unwrap().write_all(&argv::risk_rules(names, &[])).unwrap();
        self.run(&Form::DeleteB { rules }, options, &argv::list_directories(parents))
    }
}

impl Run {
    pub fn changes(&self) -> Vec<Change> {
        let change = |line| match line {
            Line::Change(change) => Some(change),
            _ => None,
        };
        self.lines().into_iter().filter_map(change).collect()
    }
    /// `+a` created, `>a` sent, `-a` deleted, `.a` attributes; directories end with `/`.
    pub fn said(&self) -> Vec<String> {
        let mut said: Vec<_> = self.changes().iter().map(short).collect();
        said.sort();
        said
    }
    pub fn lines(&self) -> Vec<Line> {
        itemize::Lines::new(&self.stdout[..]).map(Result::unwrap).collect()
    }
    pub fn judged(&self) -> Judgement {
        exit_status::verdict(self.exit, &self.stderr)
    }
    #[track_caller]
    pub fn ok(&self) -> &Self {
        assert_eq!(self.exit, Exited::Code(0), "{}", String::from_utf8_lossy(&self.stderr));
        assert!(self.stderr.is_empty(), "{}", String::from_utf8_lossy(&self.stderr));
        self
    }
}

fn short(change: &Change) -> String {
    let kind = match change.kind {
        ChangeKind::Created => '+',
        ChangeKind::Sent => '>',
        ChangeKind::Deleted => '-',
        ChangeKind::Attributes => '.',
    };
    format!("{kind}{}{}", change.path, if change.is_dir { "/" } else { "" })
}

pub fn p(bytes: impl AsRef<[u8]>) -> RelPath {
    RelPath::new(bytes.as_ref()).unwrap()
}
pub fn ps(texts: &[&str]) -> Vec<RelPath> {
    texts.iter().map(p).collect()
}

/// Makes files (holding `content`) and, where a name ends with `/`, directories.
pub fn make<T: AsRef<[u8]>>(base: &Path, names: impl IntoIterator<Item = T>, content: &str) {
    for name in names {
        let name = name.as_ref();
        let path = base.join(OsStr::from_bytes(name.strip_suffix(b"/").unwrap_or(name)));
        if name.ends_with(b"/") {
            fs::create_dir_all(path).unwrap();
        } else {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }
}

pub fn set_mtime(path: &Path, seconds: u64) {
    let time = std::time::UNIX_EPOCH + Duration::from_secs(seconds);
    File::open(path).unwrap().set_modified(time).unwrap();
}

/// Every name below `base`: type and mode, mtime in nanoseconds, content or target.
pub fn tree(base: &Path) -> BTreeMap<Vec<u8>, (u32, i64, i64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut todo = vec![base.to_owned()];
    while let Some(dir) = todo.pop() {
        // What vanishes under the eyes is not there.
        for entry in fs::read_dir(dir).into_iter().flatten() {
            let path = entry.unwrap().path();
            let Ok(meta) = fs::symlink_metadata(&path) else { continue };
            let content = if meta.is_dir() {
                todo.push(path.clone());
                Vec::new()
            } else if meta.is_symlink() {
                fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec()
            } else {
                fs::read(&path).unwrap_or_default()
            };
            let name = path.strip_prefix(base).unwrap().as_os_str().as_bytes().to_vec();
            found.insert(name, (meta.mode(), meta.mtime(), meta.mtime_nsec(), content));
        }
    }
    found
}

pub fn names(base: &Path) -> Vec<String> {
    tree(base).into_keys().map(|name| syncsup::path::printable(&name)).collect()
}
