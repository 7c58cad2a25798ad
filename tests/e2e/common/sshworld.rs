//! A master with slaves that are reached over ssh, and an instance between them.

use super::instance::Instance;
use super::procs::{self, Proc};
use super::sshd::Sshd;
use super::wait::{DEADLINE, poll, wait_for};
use super::world::{wait_identical, write};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What a world is made of; every field has a default.
pub struct Setup {
    /// rsync's own parameters.
    pub params: &'static str,
    /// The key that is shown: `user` or `stranger`.
    pub key: &'static str,
    /// More keys for `ssh:`, such as `, control_master: false`.
    pub ssh: String,
    /// More YAML lines at the top.
    pub settings: &'static str,
    /// Directories on the slave, each a remote of its own.
    pub places: Vec<PathBuf>,
    /// How long rsync waits for an answer.
    pub timeout: &'static str,
    /// More keys for each remote, such as `, max_delete: 5`.
    pub remote: &'static str,
}

/// One localpath, and its remotes on one ssh server.
pub struct World {
    // Dropped in this order: first the program, then its connections, then its slave, then the files.
    pub instance: Instance,
    _masters: Masters,
    pub sshd: Sshd,
    pub places: Vec<PathBuf>,
    pub master: PathBuf,
    pub dir: TempDir,
}

/// Ends the masters that are left: they are no descendants of the instance.
struct Masters(PathBuf);

impl Drop for Masters {
    fn drop(&mut self) {
        masters_in(&self.0).iter().for_each(|p| p.signal(Signal::SIGKILL));
    }
}

fn masters_in(run_dir: &Path) -> Vec<Proc> {
    let socket = run_dir.join("ssh-").display().to_string();
    // What is still on its way to become one is in the group of its pusher.
    let is = |p: &Proc| {
        let command = &p.command;
        p.state != 'Z'
            && command.starts_with("ssh")
            && command.contains(&socket)
            && p.group == p.pid
    };
    procs::all().into_iter().filter(is).collect()
}

impl Setup {
    /// For a server.
    pub fn of(sshd: &Sshd) -> Setup {
        Setup {
            params: "-a",
            key: "user",
            ssh: String::new(),
            settings: "",
            places: vec![sshd.path()],
            timeout: "100s",
            remote: "",
        }
    }

    /// Builds the world and starts its instance.
    pub fn start(self, sshd: Sshd) -> World {
        let mut world = self.build(sshd);
        world.run();
        world
    }

    /// Builds the world; the instance does not run yet.
    pub fn build(self, sshd: Sshd) -> World {
        let dir = TempDir::with_prefix("syncsup-test-").expect("temporary directory");
        let master = dir.path().join("master");
        fs::create_dir(&master).expect("master");
        let text = self.yaml(&sshd, &master);
        let instance = Instance::new(&dir.path().join("i"), "syncsup.yaml", &text);
        let masters = Masters(instance.run_dir());
        World { instance, _masters: masters, sshd, places: self.places, master, dir }
    }

    /// The configuration.
    pub fn yaml(&self, sshd: &Sshd, master: &Path) -> String {
        let mut text = format!("rsync: {{params: {:?}, timeout: {}}}\n", self.params, self.timeout);
        text += "filter: {names: none}\n";
        text += self.settings;
        text += &format!("\nlocalpaths:\n  - watch: {master:?}\n    remotes:\n");
        for place in &self.places {
            text += &self.yaml_remote(sshd, place);
        }
        text
    }

    fn yaml_remote(&self, sshd: &Sshd, place: &Path) -> String {
        let (host, port, options) = (sshd.host(), sshd.port, sshd.options(self.key));
        let ssh = format!("{{port: {port}, options: {options}{}}}", self.ssh);
        let more = self.remote;
        format!("      - {{host: {host:?}, path: {place:?}, ssh: {ssh}{more}}}\n")
    }
}

impl World {
    /// A running world with one directory.
    pub fn start() -> World {
        let sshd = Sshd::start();
        Setup::of(&sshd).start(sshd)
    }

    /// Starts the instance (again) and waits until it watches.
    pub fn run(&mut self) {
        self.instance.start(&[], &[&self.master]);
    }

    /// A path in the master.
    pub fn at(&self, path: &str) -> PathBuf {
        self.master.join(path)
    }

    /// Writes a file in the master, its directories too.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        write(&self.at(path), content);
    }

    /// Waits until all directories equal the master.
    #[track_caller]
    pub fn wait_identical(&self) {
        let places: Vec<&Path> = self.places.iter().map(PathBuf::as_path).collect();
        wait_identical(&self.instance, &self.master, &places, DEADLINE * 3);
    }

    /// How long a new small file takes to the first directory.
    #[track_caller]
    pub fn probe(&self) -> Duration {
        let name = format!("probe-{:016x}", fastrand::u64(..));
        let there = self.places[0].join(&name);
        let began = Instant::now();
        self.write(&name, &name);
        let end = began + DEADLINE * 3;
        // Polled often: this is also the measured time.
        while !fs::read(&there).is_ok_and(|c| c == name.as_bytes()) {
            assert!(Instant::now() < end, "{name} never came\n{}", self.instance.report());
            std::thread::sleep(Duration::from_millis(1));
        }
        began.elapsed()
    }

    /// Waits until remote number `index`, in `status --json`, satisfies `wanted`.
    #[track_caller]
    pub fn wait_remote(&self, index: usize, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let pick = |s: &Value| s["instances"][0]["localpaths"][0]["remotes"][index].clone();
        pick(&self.instance.wait_status(what, |s| wanted(&pick(s))))
    }

    /// The masters that run now.
    pub fn masters(&self) -> Vec<Proc> {
        masters_in(&self.instance.run_dir())
    }

    /// The only master, waited for until pushes go through it.
    #[track_caller]
    pub fn joined(&self) -> Proc {
        let found = poll(DEADLINE, || {
            let mut masters = self.masters();
            let links = self.instance.pushers().iter().all(|p| has_link(p.pid));
            (masters.len() == 1 && links).then(|| masters.remove(0))
        });
        found.unwrap_or_else(|| {
            panic!("not one master: {:?}\n{}", self.masters(), self.instance.report())
        })
    }

    /// Waits until nothing is to be done and nothing runs.
    #[track_caller]
    pub fn wait_quiet(&self) {
        self.instance.wait_status("in sync", |s| {
            let remotes = s["instances"][0]["localpaths"][0]["remotes"].as_array();
            remotes.is_some_and(|all| all.iter().all(|r| r["state"] == "in_sync"))
        });
        wait_for("the exit of every rsync", DEADLINE, || self.instance.rsyncs().is_empty());
    }

    /// Waits until no connection is kept.
    #[track_caller]
    pub fn wait_no_master(&self) {
        wait_for("the end of the last master", DEADLINE, || self.masters().is_empty());
    }
}

/// True when a pusher holds a master: its `.users` lock is open.
fn has_link(pid: i32) -> bool {
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    fds.filter_map(|fd| fs::read_link(fd.path()).ok())
        .any(|file| file.to_string_lossy().ends_with(".users"))
}
