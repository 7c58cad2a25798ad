//! A master, its slaves and an instance between them.

use super::instance::Instance;
use super::rsyncd::{Options, Rsyncd};
use super::tree::{self, Tree};
use super::wait::{DEADLINE, poll};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What a world is made of; every field has a default.
pub struct Setup {
    /// How many slaves, each a daemon of its own.
    pub remotes: usize,
    /// What the daemons are like.
    pub daemon: Options,
    /// What the first ones are like that differ from it.
    pub daemons: Vec<Options>,
    /// More keys for `rsync:`, such as `, timeout: 5s`.
    pub rsync: &'static str,
    /// rsync's own parameters.
    pub params: &'static str,
    /// More YAML lines at the top, `inotify:` among them where it is not the default.
    pub settings: &'static str,
    /// More keys for each remote, such as `, max_delete: 5`.
    pub remote: &'static str,
    /// Starts rsync through a script that writes each command line down.
    pub log_rsyncs: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Setup {
            remotes: 1,
            daemon: Options::default(),
            daemons: Vec::new(),
            rsync: "",
            params: "-a",
            settings: "",
            remote: "",
            log_rsyncs: false,
        }
    }
}

/// One localpath with its slaves.
pub struct World {
    // Dropped in this order: first the program, then its slaves, then the files.
    pub instance: Instance,
    pub remotes: Vec<Rsyncd>,
    pub master: PathBuf,
    /// A directory on the master's file system that is not replicated.
    pub outside: PathBuf,
    dir: TempDir,
}

impl World {
    /// A running world with `remotes` slaves and nothing in it.
    pub fn start(remotes: usize) -> World {
        Setup { remotes, ..Setup::default() }.start()
    }

    /// The slave directories.
    pub fn slaves(&self) -> Vec<PathBuf> {
        self.remotes.iter().map(Rsyncd::path).collect()
    }

    /// Starts the instance (again) and waits until it watches.
    pub fn run(&mut self, args: &[&str]) {
        self.instance.start(args, &[&self.master]);
    }

    /// A path in the master.
    pub fn at(&self, path: &str) -> PathBuf {
        self.master.join(path)
    }

    /// A path in the first slave.
    pub fn there(&self, path: &str) -> PathBuf {
        self.remotes[0].path().join(path)
    }

    /// Writes a file in the master, its directories too.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        write(&self.at(path), content);
    }

    /// More events than the kernel's queue holds, whatever this machine's limit is: equal neighbours would be merged, so two
    /// files take turns.
    pub fn overflow(&self, files: [&str; 2]) {
        let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").expect("a limit");
        for i in 0..limit.trim().parse::<usize>().expect("a number") + 1_000 {
            let mode = fs::Permissions::from_mode(if i % 4 < 2 { 0o600 } else { 0o644 });
            fs::set_permissions(self.at(files[i % 2]), mode).expect("a file of the master");
        }
    }

    /// Waits until all slaves equal the master.
    #[track_caller]
    pub fn wait_identical(&self) {
        self.wait_identical_within(DEADLINE);
    }

    /// The same with a deadline of one's own.
    #[track_caller]
    pub fn wait_identical_within(&self, deadline: Duration) {
        let slaves = self.slaves();
        let slaves: Vec<&Path> = slaves.iter().map(PathBuf::as_path).collect();
        wait_identical(&self.instance, &self.master, &slaves, deadline);
    }

    /// The state of the localpath in `status --json`.
    pub fn state(&self) -> String {
        let status = self.instance.status();
        status["instances"][0]["localpaths"][0]["state"].as_str().unwrap_or_default().to_string()
    }

    /// Waits until the localpath, in `status --json`, satisfies `wanted`.
    #[track_caller]
    pub fn wait_local(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let status =
            self.instance.wait_status(what, |s| wanted(&s["instances"][0]["localpaths"][0]));
        status["instances"][0]["localpaths"][0].clone()
    }

    /// Waits until remote number `index`, in `status --json`, satisfies `wanted`.
    #[track_caller]
    pub fn wait_remote(&self, index: usize, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let name = self.remotes[index].name();
        let pick = |local: &Value| {
            let remotes = local["remotes"].as_array()?;
            remotes.iter().find(|r| r["name"] == name.as_str()).cloned()
        };
        let local = self.wait_local(what, |local| pick(local).is_some_and(|r| wanted(&r)));
        pick(&local).expect("found just now")
    }

    /// Waits until every remote says `in_sync`, of all that was changed before.
    #[track_caller]
    pub fn wait_in_sync(&self) {
        // It may have reported this too early. The exit status is ignored: a localpath may have no remote.
        let _ = self.instance.command(&["wait", "--timeout", "30s"]);
        for index in 0..self.remotes.len() {
            self.wait_remote(index, "in_sync", |r| r["state"] == "in_sync");
        }
    }

    /// How long a new small file takes to remote number `index`.
    #[track_caller]
    pub fn probe(&self, index: usize) -> Duration {
        let name = format!("probe-{:016x}", fastrand::u64(..));
        let there = self.remotes[index].path().join(&name);
        let began = Instant::now();
        self.write(&name, &name);
        let came =
            poll(DEADLINE, || fs::read(&there).is_ok_and(|c| c == name.as_bytes()).then_some(()));
        assert!(came.is_some(), "{name} never came to remote {index}\n{}", self.instance.report());
        began.elapsed()
    }

    /// The localpath's journal.
    pub fn journal(&self) -> PathBuf {
        let dirs = fs::read_dir(self.instance.state_dir()).expect("the state directory");
        let mut files = dirs.flatten().map(|dir| dir.path().join("journal.db"));
        files.find(|file| file.exists()).expect("a journal")
    }

    /// The command lines of the rsyncs started so far, where the setup says `log_rsyncs`.
    pub fn rsyncs(&self) -> Vec<String> {
        let text = fs::read(self.dir.path().join("rsyncs")).unwrap_or_default();
        String::from_utf8_lossy(&text).lines().map(str::to_string).collect()
    }

    /// Those of them that compared the whole tree.
    pub fn full_comparisons(&self) -> Vec<String> {
        let short_n = |w: &str| w.starts_with('-') && !w.starts_with("--") && w.contains('n');
        let dry = |line: &str| line.split(' ').any(|w| w == "--dry-run" || short_n(w));
        let whole = |line: &String| line.contains("rsync://") || line.contains("::");
        let listed = |line: &str| line.contains("--files-from");
        self.rsyncs().into_iter().filter(|line| whole(line) && !listed(line) && dry(line)).collect()
    }
}

impl Setup {
    /// Builds the world and starts its instance.
    pub fn start(self) -> World {
        let mut world = self.build();
        world.run(&[]);
        world
    }

    /// Builds the world; the instance does not run yet.
    pub fn build(self) -> World {
        let dir = TempDir::with_prefix("syncsup-test-").expect("temporary directory");
        let (master, outside) = (dir.path().join("master"), dir.path().join("outside"));
        fs::create_dir(&master).expect("master");
        fs::create_dir(&outside).expect("outside");
        let options = |n| self.daemons.get(n).unwrap_or(&self.daemon).clone();
        let daemon = |n| Rsyncd::start_with(&["www"], options(n));
        let remotes: Vec<Rsyncd> = (0..self.remotes).map(daemon).collect();
        let text = self.yaml(&master, &remotes, dir.path());
        let instance = Instance::new(&dir.path().join("instance"), "syncsup.yaml", &text);
        World { instance, remotes, master, outside, dir }
    }

    fn yaml(&self, master: &Path, remotes: &[Rsyncd], dir: &Path) -> String {
        let program = match self.log_rsyncs {
            true => format!(", program: {:?}", logging_rsync(dir)),
            false => String::new(),
        };
        let mut text = format!("rsync: {{params: {:?}{program}{}}}\n", self.params, self.rsync);
        text += self.settings;
        text += &format!("\nlocalpaths:\n  - watch: {master:?}\n    remotes:\n");
        remotes.iter().for_each(|r| text += &format!("      - {}\n", r.yaml(self.remote)));
        text
    }
}

/// A script that writes its command line down and becomes the real rsync.
fn logging_rsync(dir: &Path) -> PathBuf {
    let script = dir.join("rsync");
    let log = dir.join("rsyncs");
    let text =
        format!("#!/bin/sh\nprintf '%s\\n' \"$*\" >> '{}'\nexec rsync \"$@\"\n", log.display());
    fs::write(&script, text).expect("script");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("mode 0755");
    script
}

/// Writes a file and the directories above it.
pub fn write(path: &Path, content: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().expect("not the root")).expect("directories");
    fs::write(path, content).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}

/// Waits until each slave equals the master; panics with what differs and what the instance says.
#[track_caller]
pub fn wait_identical(instance: &Instance, master: &Path, slaves: &[&Path], deadline: Duration) {
    let met =
        poll(deadline, || slaves.iter().all(|slave| tree::identical(master, slave)).then_some(()));
    if met.is_none() {
        let differences = tree::report(master, slaves);
        panic!("not identical after {} s\n{differences}{}", deadline.as_secs(), instance.report());
    }
}

/// A tree of `dirs` directories with `files` files each, all below `root`.
pub fn populate(root: &Path, dirs: usize, files: usize) -> Tree {
    for dir in 0..dirs {
        for file in 0..files {
            let content = format!("{dir}/{file}\n").repeat(1 + (dir * files + file) % 50);
            write(&root.join(format!("dir{dir:03}/file{file:03}")), content);
        }
    }
    Tree::read(root)
}
