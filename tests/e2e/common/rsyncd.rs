//! Real rsync daemons on loopback ports.

use super::procs::{self, Proc, signal_group};
use super::proxy::Proxy;
use super::wait::{DEADLINE, poll, wait_for};
use nix::sys::signal::Signal;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// The user of a daemon that asks for a password.
pub const USER: &str = "rsync_backup";

/// What a daemon is like.
#[derive(Clone, Debug)]
pub struct Options {
    /// Asks for a password.
    pub auth: bool,
    /// The rsync program, `rsync` unless another release is wanted.
    pub program: PathBuf,
    /// More lines for each module: `max connections = 1`, `read only = yes`…
    pub module_lines: String,
    /// Masters reach it through a [`Proxy`].
    pub proxied: bool,
    /// Where it listens.
    pub address: Ipv4Addr,
    /// A program that starts it, such as `nsenter …`.
    pub launcher: Vec<OsString>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            auth: false,
            program: "rsync".into(),
            module_lines: String::new(),
            proxied: false,
            address: Ipv4Addr::LOCALHOST,
            launcher: Vec::new(),
        }
    }
}

/// A slave: one daemon with its modules. Killed when dropped.
pub struct Rsyncd {
    pub port: u16,
    options: Options,
    modules: Vec<String>,
    dir: TempDir,
    child: Option<Child>,
    proxy: Option<Proxy>,
    /// Keeps the port for this daemon while it is stopped.
    _reservation: UnixListener,
}

impl Rsyncd {
    /// A daemon with one module, `www`.
    pub fn start() -> Rsyncd {
        Rsyncd::start_with(&["www"], Options::default())
    }

    /// A daemon with the given modules.
    pub fn start_with(modules: &[&str], options: Options) -> Rsyncd {
        let dir = TempDir::with_prefix("syncsup-slave-").expect("temporary directory");
        let (port, reservation) = free_port();
        let modules: Vec<String> = modules.iter().map(|m| m.to_string()).collect();
        let proxy = options.proxied.then(|| Proxy::start(port));
        let mut daemon =
            Rsyncd { port, options, modules, dir, child: None, proxy, _reservation: reservation };
        for module in &daemon.modules {
            fs::create_dir(daemon.module(module)).expect("module directory");
        }
        daemon.write_files();
        daemon.start_again();
        daemon
    }

    /// The directory of a module.
    pub fn module(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The directory of the only, or first, module.
    pub fn path(&self) -> PathBuf {
        self.module(&self.modules[0])
    }

    /// The first module as syncsup names it.
    pub fn name(&self) -> String {
        format!("{}:{}::{}", self.options.address, self.front(), self.modules[0])
    }

    /// The network before a daemon that is `proxied`.
    pub fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().expect("a daemon that is proxied")
    }

    /// The port that masters use.
    fn front(&self) -> u16 {
        self.proxy.as_ref().map_or(self.port, |proxy| proxy.port)
    }

    /// The first module as a YAML flow map, with more keys such as `, params: -aH`.
    pub fn yaml(&self, more: &str) -> String {
        let auth = match self.options.auth {
            true => format!(", user: {USER}, password_file: {:?}", self.password_file()),
            false => String::new(),
        };
        format!(
            "{{host: {}, port: {}, module: {}{auth}{more}}}",
            self.options.address,
            self.front(),
            self.modules[0]
        )
    }

    /// The file with the password, for the sender.
    pub fn password_file(&self) -> PathBuf {
        self.dir.path().join("password")
    }

    /// The daemon's log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Kills the daemon and every transfer.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        signal_group(child.id() as i32, Signal::SIGKILL);
        let _ = child.wait();
        let place = (self.options.address, self.port);
        // A network that is cut answers nothing.
        wait_for("the daemon's port to close", DEADLINE, || connect(place).is_err());
    }

    /// Starts the stopped daemon on the same port.
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "the daemon already runs");
        let place = (self.options.address, self.port);
        self.child = Some(self.spawn());
        let up = poll(DEADLINE, || {
            let child = self.child.as_mut().expect("started just now");
            if child.try_wait().expect("waitable child").is_some() {
                // A process that another test is starting still has the port that was listened on before.
                self.child = Some(self.spawn());
            }
            greeting(place).then_some(())
        });
        assert!(up.is_some(), "rsyncd does not answer on port {}: {}", self.port, self.log());
    }

    fn spawn(&self) -> Child {
        let mut words = self.options.launcher.clone();
        words.push(self.options.program.clone().into());
        Command::new(&words[0])
            .args(&words[1..])
            .args(["--daemon", "--no-detach", "--config"])
            .arg(self.dir.path().join("rsyncd.conf"))
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(self.dir.path().join("stderr")).expect("log file"))
            .spawn()
            .expect("rsync --daemon starts")
    }

    /// True between `start_again` and `stop`.
    pub fn is_up(&self) -> bool {
        self.child.is_some()
    }

    /// Runs another rsync from the next start on.
    pub fn set_program(&mut self, program: &Path) {
        self.options.program = program.to_owned();
    }

    /// Gives every module other lines; from the next connection on.
    pub fn set_module_lines(&mut self, lines: &str) {
        self.options.module_lines = lines.to_string();
        self.write_files();
    }

    /// Stops the daemon and its transfers from answering, connections open.
    pub fn hang(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Ends `hang`.
    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// The processes of its transfers.
    pub fn transfers(&self) -> Vec<Proc> {
        procs::descendants(self.child.as_ref().expect("the daemon runs").id() as i32)
    }

    fn signal(&self, signal: Signal) {
        signal_group(self.child.as_ref().expect("the daemon runs").id() as i32, signal);
    }

    fn write_files(&self) {
        let dir = self.dir.path();
        for (name, text) in
            [("secrets", format!("{USER}:hunter2\n")), ("password", "hunter2\n".to_string())]
        {
            fs::write(dir.join(name), text).expect("secret");
            fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o600))
                .expect("mode 0600");
        }
        let mut conf = format!(
            "address = {}\nport = {}\nlog file = {}\nlock file = {}\nreverse lookup = no\n\
             socket options = TCP_NODELAY\n",
            self.options.address,
            self.port,
            dir.join("log").display(),
            dir.join("lock").display(),
        );
        // Only a daemon in a chroot keeps symlinks as they are.
        let mut lines = match nix::unistd::geteuid().is_root() {
            true => "uid = 0\ngid = 0\nuse chroot = yes\n".to_string(),
            false => "use chroot = no\nmunge symlinks = no\n".to_string(),
        };
        if self.options.auth {
            lines +=
                &format!("auth users = {USER}\nsecrets file = {}\n", dir.join("secrets").display());
        }
        if !self.options.module_lines.contains("read only") {
            lines += "read only = no\n";
        }
        lines += &self.options.module_lines;
        for module in &self.modules {
            conf += &format!("[{module}]\npath = {}\n{lines}\n", self.module(module).display());
        }
        fs::write(dir.join("rsyncd.conf"), conf).expect("rsyncd.conf");
    }
}

impl Drop for Rsyncd {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            signal_group(child.id() as i32, Signal::SIGKILL);
            let _ = child.wait();
        }
    }
}

/// An older rsync whose receiver cannot delete missing arguments, where one was laid ready.
pub fn old_rsync() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/old-rsync/usr/bin/rsync");
    std::env::var_os("SYNCSUP_TEST_OLD_RSYNC")
        .map(PathBuf::from)
        .or(Some(beside))
        .filter(|p| p.exists())
}

/// A port that nothing listens on, below the range of outgoing connections (which could take it while its daemon is
/// stopped) and that of `syncsup demo`, reserved among the tests of this machine by a name in the abstract socket space.
pub fn free_port() -> (u16, UnixListener) {
    loop {
        let port = fastrand::u16(15_000..20_000);
        let name = SocketAddr::from_abstract_name(format!("syncsup-test-port-{port}"))
            .expect("a short name");
        let Ok(reservation) = UnixListener::bind_addr(&name) else { continue };
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return (port, reservation);
        }
    }
}

fn connect(place: (Ipv4Addr, u16)) -> io::Result<TcpStream> {
    TcpStream::connect_timeout(&place.into(), Duration::from_secs(1))
}

fn greeting(place: (Ipv4Addr, u16)) -> bool {
    let Ok(mut stream) = connect(place) else { return false };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
    let mut hello = [0; 8];
    stream.read_exact(&mut hello).is_ok() && &hello == b"@RSYNCD:"
}
