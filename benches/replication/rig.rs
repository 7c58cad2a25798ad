//! A master's directories and its slaves.

use crate::process::{cpu_s, kill};
use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long anything may take.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// What a slave's rsyncd.conf says about its sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sockets {
    /// Nothing, as in most of them: small answers of the slave wait for 40 ms.
    AsTheyAre,
    /// `socket options = TCP_NODELAY`.
    NoDelay,
}

/// A directory of the master, and where it is replicated to.
pub struct LocalPath {
    pub source: PathBuf,
    pub remotes: Vec<Remote>,
}

/// What a system pushes to.
pub struct Remote {
    pub port: u16,
    pub module: String,
    /// None where no rsync daemon answers.
    pub slave: Option<PathBuf>,
}

/// One master and its slaves.
pub struct Rig {
    pub dir: TempDir,
    /// At least one.
    pub localpaths: Vec<LocalPath>,
    pub port: u16,
    daemon: Option<Child>,
}

impl LocalPath {
    /// The directories that it is replicated to.
    pub fn slaves(&self) -> Vec<PathBuf> {
        self.remotes.iter().filter_map(|remote| remote.slave.clone()).collect()
    }
}

impl Remote {
    /// Its rsync URL.
    pub fn url(&self) -> String {
        format!("rsync://127.0.0.1:{}/{}/", self.port, self.module)
    }
}

impl Rig {
    /// One localpath with this number of slaves.
    pub fn new(slaves: usize, sockets: Sockets) -> Result<Rig, String> {
        Rig::wide(&[slaves], sockets)
    }

    /// One localpath with as many slaves for each number.
    pub fn wide(slaves: &[usize], sockets: Sockets) -> Result<Rig, String> {
        let dir = directory()?;
        let source = |n: usize| dir.path().join(format!("source{n}"));
        let sources = slaves.iter().enumerate().map(|(n, slaves)| (source(n), *slaves)).collect();
        Rig::over(dir, sources, sockets)
    }

    /// The localpath is the slave of another rig.
    pub fn below(slave: &Path, slaves: usize) -> Result<Rig, String> {
        Rig::over(directory()?, vec![(slave.to_owned(), slaves)], Sockets::AsTheyAre)
    }

    /// The slaves are modules `m0`, `m1` … of one daemon.
    fn over(dir: TempDir, sources: Vec<(PathBuf, usize)>, sockets: Sockets) -> Result<Rig, String> {
        let port = free_port()?;
        let mut config = format!(
            "port = {port}\naddress = 127.0.0.1\nlog file = {}\n",
            dir.path().join("rsyncd.log").display()
        );
        if sockets == Sockets::NoDelay {
            config += "socket options = TCP_NODELAY\n";
        }
        let mut modules = 0;
        let mut localpaths = Vec::new();
        for (source, slaves) in sources {
            fs::create_dir_all(&source).map_err(|e| e.to_string())?;
            let mut remotes = Vec::new();
            for _ in 0..slaves {
                let module = format!("m{modules}");
                let slave = dir.path().join(&module);
                fs::create_dir(&slave).map_err(|e| e.to_string())?;
                config += &format!("[{module}]\npath = {}\n", slave.display());
                config += "read only = no\nuse chroot = no\nuid = 0\ngid = 0\n";
                remotes.push(Remote { port, module, slave: Some(slave) });
                modules += 1;
            }
            localpaths.push(LocalPath { source, remotes });
        }
        fs::write(dir.path().join("rsyncd.conf"), config).map_err(|e| e.to_string())?;
        let mut rig = Rig { dir, localpaths, port, daemon: None };
        rig.start_daemon()?;
        Ok(rig)
    }

    /// The directory of the first localpath.
    pub fn source(&self) -> &Path {
        &self.localpaths[0].source
    }

    /// The slaves of the first localpath.
    pub fn slaves(&self) -> Vec<PathBuf> {
        self.localpaths[0].slaves()
    }

    /// Starts the daemon, again after [`Rig::stop_daemon`].
    pub fn start_daemon(&mut self) -> Result<(), String> {
        let child = Command::new("rsync")
            .args(["--daemon", "--no-detach", "--config"])
            .arg(self.dir.path().join("rsyncd.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.daemon = Some(child.map_err(|e| format!("rsync: {e}"))?);
        let answers = || TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok();
        wait("the daemon", answers)
    }

    /// Kills the daemon and its transfers.
    pub fn stop_daemon(&mut self) {
        let Some(mut daemon) = self.daemon.take() else { return };
        kill(daemon.id());
        let _ = daemon.wait();
    }

    /// The CPU time of the daemon and of all its transfers so far, in seconds.
    pub fn daemon_cpu_s(&self) -> f64 {
        self.daemon.as_ref().map_or(0.0, |daemon| cpu_s(daemon.id()))
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop_daemon();
    }
}

/// A directory in memory, if there is one.
fn directory() -> Result<TempDir, String> {
    let shared_memory = Path::new("/dev/shm");
    let dir = if shared_memory.is_dir() {
        TempDir::with_prefix_in("syncsup-bench-", shared_memory)
    } else {
        TempDir::with_prefix("syncsup-bench-")
    };
    dir.map_err(|e| e.to_string())
}

/// A port that nothing listens to.
pub fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|e| e.to_string())?;
    Ok(listener.local_addr().map_err(|e| e.to_string())?.port())
}

/// Polls until `done`, for a sixth of one core at most, so that it holds up no rsync.
pub fn wait(what: &str, mut done: impl FnMut() -> bool) -> Result<(), String> {
    let began = Instant::now();
    loop {
        let look = Instant::now();
        if done() {
            return Ok(());
        }
        let looked = look.elapsed();
        if began.elapsed() > DEADLINE {
            return Err(format!("{what}: not within {} s", DEADLINE.as_secs()));
        }
        std::thread::sleep((looked * 5).max(Duration::from_millis(1)));
    }
}
