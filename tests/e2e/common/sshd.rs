//! Real ssh servers on loopback ports, with keys of their own that last as long as they do.

use super::procs::{self, Proc, signal_group, signal_process};
use super::rsyncd::free_port;
use super::wait::{DEADLINE, wait_for};
use nix::sys::signal::Signal;
use std::fs;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// A slave that is reached over ssh as the user of the tests. Killed when dropped.
pub struct Sshd {
    pub port: u16,
    address: IpAddr,
    dir: TempDir,
    /// A program that starts it, such as `setpriv …`.
    launcher: Vec<String>,
    child: Option<Child>,
    _reservation: UnixListener,
}

impl Sshd {
    /// A server that lets one key in, on 127.0.0.1.
    pub fn start() -> Sshd {
        Sshd::start_with(Ipv4Addr::LOCALHOST.into(), "")
    }

    /// A server on an address of the loopback, with more lines for its configuration.
    pub fn start_with(address: IpAddr, lines: &str) -> Sshd {
        let mut sshd = Sshd::prepare(address, lines);
        sshd.start_again();
        sshd
    }

    /// A server that this user runs, started by `launcher`: it admits only this user.
    pub fn start_as(user: u32, launcher: &[String]) -> Sshd {
        let mut sshd = Sshd::prepare(Ipv4Addr::LOCALHOST.into(), "");
        sshd.launcher = launcher.to_vec();
        own(sshd.dir.path(), user);
        sshd.start_again();
        sshd
    }

    fn prepare(address: IpAddr, lines: &str) -> Sshd {
        let dir = TempDir::with_prefix("syncsup-sshd-").expect("temporary directory");
        let (port, reservation) = free_port();
        let sshd =
            Sshd { port, address, dir, launcher: vec![], child: None, _reservation: reservation };
        for key in ["host", "user", "stranger"] {
            sshd.make_key(key);
        }
        fs::copy(sshd.file("user.pub"), sshd.file("authorized")).expect("authorized keys");
        let text = format!(
            "Port {port}\nListenAddress {address}\nHostKey {host}\nAuthorizedKeysFile {keys}\nStrictModes no\n\
             UsePAM no\nPidFile none\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nPrintMotd no\nUseDNS no\nMaxStartups 100\nLogLevel VERBOSE\n\
             SetEnv HOME={home}\n{lines}\n",
            // Not the user's: what a shell reads there may take long, and would be killed with it.
            home = sshd.dir.path().display(),
            host = sshd.file("host").display(),
            keys = sshd.file("authorized").display(),
        );
        fs::write(sshd.file("conf"), text).expect("sshd_config");
        let name = match address {
            IpAddr::V4(address) => format!("[{address}]:{port}"),
            IpAddr::V6(address) => format!("[{address}]:{port}"),
        };
        let key = fs::read_to_string(sshd.file("host.pub")).expect("host key");
        fs::write(sshd.file("known"), format!("{name} {key}")).expect("known hosts");
        fs::create_dir(sshd.path()).expect("the slave's directory");
        sshd
    }

    /// The directory that is replicated to.
    pub fn path(&self) -> PathBuf {
        self.file("www")
    }

    /// A file of its own.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Its address as a configuration names it.
    pub fn host(&self) -> String {
        match self.address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        }
    }

    /// The options for ssh that let it in with `key`, as a YAML list.
    pub fn options(&self, key: &str) -> String {
        // Nothing of the machine's own configuration, nor of its users'.
        let known = format!("-oUserKnownHostsFile={}", self.file("known").display());
        let key = self.file(key);
        format!("[-F, none, -oIdentitiesOnly=yes, {known:?}, -i, {key:?}]")
    }

    /// The server's log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.file("log")).unwrap_or_default()
    }

    /// How many logins it has seen.
    pub fn logins(&self) -> usize {
        self.log().matches("Accepted publickey").count()
    }

    /// Kills the server and every connection.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // A session is in a process group of its own.
        let family = procs::descendants(child.id() as i32);
        signal_process(child.id() as i32, Signal::SIGKILL);
        family.iter().for_each(|p| p.signal(Signal::SIGKILL));
        let _ = child.wait();
        let place = (self.address, self.port).into();
        // Without the network a connection is neither accepted nor refused.
        let closed = || TcpStream::connect_timeout(&place, Duration::from_secs(1)).is_err();
        wait_for("the server's port to close", DEADLINE, closed);
    }

    /// Starts the stopped server on the same port.
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "the server already runs");
        // The root's sshd asks for it; made by the service elsewhere.
        let _ = fs::create_dir_all("/run/sshd");
        let mut words = self.launcher.clone();
        words.push(program().display().to_string());
        let child = Command::new(&words[0])
            .args(&words[1..])
            .arg("-D")
            .arg("-f")
            .arg(self.file("conf"))
            .arg("-E")
            .arg(self.file("log"))
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sshd starts");
        self.child = Some(child);
        let place = (self.address, self.port);
        wait_for(&format!("sshd to answer: {}", self.log()), DEADLINE, || greets(place));
    }

    /// True while the server runs.
    pub fn is_up(&self) -> bool {
        self.child.is_some()
    }

    /// The processes of its connections.
    pub fn sessions(&self) -> Vec<Proc> {
        procs::descendants(self.child.as_ref().expect("the server runs").id() as i32)
    }

    fn make_key(&self, name: &str) {
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"])
            .arg(self.file(name))
            .stdin(Stdio::null())
            .output();
        let made = made.expect("ssh-keygen: install openssh-client (make test does)");
        assert!(made.status.success(), "ssh-keygen: {made:?}");
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let family = procs::descendants(child.id() as i32);
            signal_group(child.id() as i32, Signal::SIGKILL);
            family.iter().for_each(|p| p.signal(Signal::SIGKILL));
            let _ = child.wait();
        }
    }
}

/// Gives everything at and below `path` to this user and the group of that number.
pub fn own(path: &Path, user: u32) {
    let owner = format!("{user}:{user}");
    let done = Command::new("chown").args(["-R", &owner]).arg(path).status().expect("chown");
    assert!(done.success(), "chown {owner} {}", path.display());
}

/// sshd must be called by its whole path: it starts itself again for each connection.
fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain([Path::new("/usr/sbin").to_owned()]);
    let found = places.map(|dir| dir.join("sshd")).find(|file| file.is_file());
    found.expect("there is no sshd: install openssh-server (make test does)")
}

fn greets(place: (IpAddr, u16)) -> bool {
    let Ok(mut stream) = TcpStream::connect(place) else { return false };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
    let mut hello = [0; 4];
    stream.read_exact(&mut hello).is_ok() && &hello == b"SSH-"
}
