//! A master's directory, its slaves, and what is seen at the slaves.

use inotify::{Inotify, WatchMask};
use std::collections::HashMap;
use std::ffi::OsString;
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

/// One master and its slaves.
pub struct Rig {
    pub dir: TempDir,
    pub source: PathBuf,
    pub slaves: Vec<PathBuf>,
    pub port: u16,
    daemon: Option<Child>,
}

impl Rig {
    /// With this number of slaves, modules `m0`, `m1` … of one daemon.
    pub fn new(slaves: usize, sockets: Sockets) -> Result<Rig, String> {
        let shared_memory = Path::new("/dev/shm");
        let dir = if shared_memory.is_dir() {
            TempDir::with_prefix_in("syncsup-bench-", shared_memory)
        } else {
            TempDir::with_prefix("syncsup-bench-")
        };
        let dir = dir.map_err(|e| e.to_string())?;
        let source = dir.path().join("source");
        let slaves: Vec<PathBuf> = (0..slaves).map(|n| dir.path().join(format!("m{n}"))).collect();
        for made in slaves.iter().chain([&source]) {
            fs::create_dir(made).map_err(|e| e.to_string())?;
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|e| e.to_string())?;
        let port = listener.local_addr().map_err(|e| e.to_string())?.port();
        drop(listener);
        let mut config = format!(
            "port = {port}\naddress = 127.0.0.1\nlog file = {}\n",
            dir.path().join("rsyncd.log").display()
        );
        if sockets == Sockets::NoDelay {
            config += "socket options = TCP_NODELAY\n";
        }
        for (n, slave) in slaves.iter().enumerate() {
            config +=
                &format!("[m{n}]\npath = {}\nread only = no\nuse chroot = no\n", slave.display());
            config += "uid = 0\ngid = 0\n";
        }
        fs::write(dir.path().join("rsyncd.conf"), config).map_err(|e| e.to_string())?;
        let mut rig = Rig { dir, source, slaves, port, daemon: None };
        rig.start_daemon()?;
        Ok(rig)
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
        for pid in descendants(daemon.id()) {
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
        let _ = daemon.kill();
        let _ = daemon.wait();
    }

    /// The CPU time of the daemon and of all its transfers so far, in seconds.
    pub fn daemon_cpu_s(&self) -> f64 {
        self.daemon.as_ref().map_or(0.0, |daemon| cpu_s(daemon.id()))
    }

    /// The rsync URL of slave number `n`.
    pub fn url(&self, n: usize) -> String {
        format!("rsync://127.0.0.1:{}/m{n}/", self.port)
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop_daemon();
    }
}

/// Polls until `done`.
pub fn wait(what: &str, mut done: impl FnMut() -> bool) -> Result<(), String> {
    let began = Instant::now();
    while !done() {
        if began.elapsed() > DEADLINE {
            return Err(format!("{what}: not within {} s", DEADLINE.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// The processes below a process.
fn descendants(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let children = fs::read_to_string(path).unwrap_or_default();
    let children: Vec<u32> =
        children.split(' ').filter_map(|word| word.trim().parse().ok()).collect();
    let below: Vec<u32> = children.iter().flat_map(|child| descendants(*child)).collect();
    children.into_iter().chain(below).collect()
}

/// The CPU time of a process, of its descendants, and of those that they have waited for, in seconds.
pub fn cpu_s(pid: u32) -> f64 {
    let of = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields = stat.rsplit_once(')').map(|(_, rest)| rest.to_owned()).unwrap_or_default();
        let times = fields.split_ascii_whitespace().skip(11).take(4);
        times.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>()
    };
    let ticks: u64 = std::iter::once(pid).chain(descendants(pid)).map(of).sum();
    ticks as f64 / 100.0
}

/// The names that arrive in directories of a slave, with the time of each arrival.
pub struct Arrivals {
    inotify: Inotify,
    pub seen: HashMap<OsString, Instant>,
    /// All arrivals, also of names that arrived before.
    pub count: usize,
}

impl Arrivals {
    /// In these directories, which exist.
    pub fn watch(directories: &[PathBuf]) -> Result<Arrivals, String> {
        let inotify = Inotify::init().map_err(|e| e.to_string())?;
        for directory in directories {
            let mask = WatchMask::MOVED_TO;
            inotify.watches().add(directory, mask).map_err(|e| e.to_string())?;
        }
        Ok(Arrivals { inotify, seen: HashMap::new(), count: 0 })
    }

    /// Reads what has arrived.
    pub fn read(&mut self) {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(events) = self.inotify.read_events(&mut buffer) {
            let now = Instant::now();
            let mut any = false;
            for name in events.filter_map(|event| event.name) {
                self.seen.insert(name.to_owned(), now);
                self.count += 1;
                any = true;
            }
            if !any {
                break;
            }
        }
    }
}
