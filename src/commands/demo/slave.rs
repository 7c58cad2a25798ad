//! A slave: a real rsync daemon with one module, on its own loopback port.

use super::watch::DemoWatch;
use crate::error::{Error, Exit, Result};
use crate::sys::family;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

/// The time limit for a daemon's answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The ports to try. They are below the range of outgoing connections, which could take a port while its daemon is
/// stopped.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// One slave.
pub struct DemoSlave {
    /// The daemon's port.
    pub port: u16,
    dir: PathBuf,
    daemon: Option<Child>,
}

impl DemoSlave {
    /// Starts a daemon that keeps everything in `dir`.
    pub fn start(dir: PathBuf, watch: &mut DemoWatch) -> Result<Self> {
        let module = dir.join("www");
        fs::create_dir_all(&module)
            .and_then(|()| fs::create_dir(dir.join("aside")))
            .map_err(|e| Error::system(format!("cannot create {}", module.display()), e))?;
        let mut slave = Self { port: 0, dir, daemon: None };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut port = now.subsec_nanos();
        for _ in 0..50 {
            port = port.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            slave.port = PORTS.start + (port >> 16) as u16 % (PORTS.end - PORTS.start);
            if TcpListener::bind((Ipv4Addr::LOCALHOST, slave.port)).is_ok() {
                slave.write_configuration()?;
                slave.start_again(watch)?;
                return Ok(slave);
            }
        }
        Err(Error::system("cannot find a free port on 127.0.0.1", "50 were in use"))
    }

    /// The directory that receives its files.
    pub fn path(&self) -> PathBuf {
        self.dir.join("www")
    }

    /// Another module of it, which syncsup does not know, in rsync's notation.
    pub fn aside(&self) -> String {
        format!("rsync://127.0.0.1:{}/aside/", self.port)
    }

    /// Its name in rsync's notation.
    pub fn name(&self) -> String {
        format!("127.0.0.1:{}::www", self.port)
    }

    /// The daemon's process ID while it runs. It is also the process group of all its transfers.
    pub fn pid(&self) -> Option<u32> {
        self.daemon.as_ref().map(Child::id)
    }

    /// Kills the daemon and all its transfers.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut daemon) = self.daemon.take() else { return Ok(()) };
        family::kill_group(daemon.id());
        daemon.wait().map_err(|e| Error::system("cannot wait for rsync --daemon", e))?;
        Ok(())
    }

    /// Starts the daemon again on the same port, and waits until it answers.
    pub fn start_again(&mut self, watch: &mut DemoWatch) -> Result<()> {
        let child = Command::new("rsync")
            .args(["--daemon", "--no-detach", "--config"])
            .arg(self.configuration())
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| Error::system("cannot start rsync --daemon", e))?;
        self.daemon = Some(child);
        if watch.until(PATIENCE, || Ok(self.answers().then_some(())))?.is_some() {
            return Ok(());
        }
        let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        let text = format!("rsync --daemon does not answer on port {}:\n{log}", self.port);
        Err(Error::new(Exit::System, text.trim_end()))
    }

    fn configuration(&self) -> PathBuf {
        self.dir.join("rsyncd.conf")
    }

    /// Only a daemon of root can chroot into its module, which keeps symbolic links unchanged.
    fn write_configuration(&self) -> Result<()> {
        let rights = match is_root() {
            true => "use chroot = yes\nuid = 0\ngid = 0",
            false => "use chroot = no\nmunge symlinks = no",
        };
        let text = format!(
            "address = 127.0.0.1\nport = {}\nlog file = {}\nlock file = {}\nreverse lookup = no\n\
             socket options = TCP_NODELAY\n{rights}\n\n[www]\npath = {}\ncomment = {}\nread only = no\n\n\
             [aside]\npath = {}\nread only = no\nlist = no\n",
            self.port,
            self.dir.join("log").display(),
            self.dir.join("lock").display(),
            self.path().display(),
            self.comment(),
            self.dir.join("aside").display(),
        );
        let file = self.configuration();
        fs::write(&file, text)
            .map_err(|e| Error::system(format!("cannot write {}", file.display()), e))
    }

    /// Distinguishes this daemon from any other that may listen on the same port.
    fn comment(&self) -> String {
        format!("demo {} {}", std::process::id(), self.port)
    }

    /// True if the daemon lists the module of this demo.
    fn answers(&self) -> bool {
        self.list().is_some_and(|lines| lines.iter().any(|l| l.ends_with(&self.comment())))
    }

    /// The daemon's answer to a list request. Up to this point, rsync's protocol is text.
    fn list(&self) -> Option<Vec<String>> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
        stream.write_all(b"@RSYNCD: 30.0\n#list\n").ok()?;
        BufReader::new(stream).lines().collect::<std::io::Result<_>>().ok()
    }
}

impl Drop for DemoSlave {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

/// True if root runs this program.
pub fn is_root() -> bool {
    fs::metadata(Path::new("/proc/self")).is_ok_and(|meta| meta.uid() == 0)
}

/// rsync's version, or an error that says how to get rsync.
pub fn rsync_version() -> Result<String> {
    let missing = |why: &dyn std::fmt::Display| {
        Error::system(
            "rsync does not run",
            format!("{why}; install it, e.g. apt-get install rsync"),
        )
    };
    let output = Command::new("rsync")
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .map_err(|e| missing(&e))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split_whitespace().skip_while(|w| *w != "version").nth(1);
    version.map(str::to_owned).ok_or_else(|| missing(&"it does not print its version"))
}
