//! An instance in a directory of its own, and waiting.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

pub const DEADLINE: Duration = Duration::from_secs(60);
/// Modules; each localpath has its own of these.
pub const ONE: &str = "one";
pub const TWO: &str = "two";

/// A directory with a configuration, and the instances started with it; everything ends with it.
pub struct World {
    pub dir: tempfile::TempDir,
    pub child: Option<Child>,
}

/// Calls `look` until it gives something, or fails.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "never came: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl World {
    pub fn new(localpaths: &[(&str, &[&str])]) -> World {
        let world = World { dir: tempfile::tempdir().unwrap(), child: None };
        for (name, _) in localpaths {
            fs::create_dir_all(world.path(name)).unwrap();
        }
        world.configure("c.yaml", localpaths, "");
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn configure(&self, file: &str, localpaths: &[(&str, &[&str])], more: &str) {
        let mut text = String::from("localpaths:\n");
        for (name, remotes) in localpaths {
            let watch = self.path(name);
            let urls: Vec<String> =
                remotes.iter().map(|r| format!("'rsync://127.0.0.1:1/{name}-{r}'")).collect();
            text += &format!("- watch: {}\n  remotes: [{}]\n", watch.display(), urls.join(", "));
        }
        fs::write(self.path(file), text + more).unwrap();
    }

    pub fn prepare(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_syncsup"));
        command.arg("--state-dir").arg(self.path("state")).arg("--run-dir").arg(self.path("run"));
        // The limits of the machine that runs the tests are not theirs.
        command.arg("--no-sysctl");
        command.args(args).current_dir(self.dir.path()).stdin(Stdio::null());
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.prepare(args).output().unwrap()
    }

    pub fn start(&mut self, args: &[&str]) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("log")).unwrap();
        let out = fs::File::create(self.path("out")).unwrap();
        let mut command = self.prepare(&[&["-o", "c.yaml"], args].concat());
        self.child = Some(command.stdout(out).stderr(log).spawn().unwrap());
        self.wait_state("every localpath watched", |s| {
            localpaths(s).iter().all(|l| l["state"] == "watching") && !localpaths(s).is_empty()
        });
    }

    pub fn supervisor(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// The exit status, when it has ended.
    pub fn wait_end(&mut self) -> i32 {
        let mut child = self.child.take().unwrap();
        let status = wait_for("its end", || child.try_wait().unwrap());
        status.code().unwrap_or(-1)
    }

    pub fn log(&self) -> String {
        let read = |p: PathBuf| fs::read_to_string(p).unwrap_or_default();
        read(self.path("log")) + &read(self.path("state/syncsup.log"))
    }

    pub fn status(&self) -> Option<Value> {
        let out = self.run(&["status", "--json"]);
        let all: Value = serde_json::from_slice(&out.stdout).ok()?;
        all["instances"].get(0).cloned()
    }

    pub fn wait_state(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        wait_for(what, || self.status().filter(&wanted))
    }

    /// The localpath's status.
    pub fn local(&self, name: &str) -> Value {
        let watch = self.path(name).display().to_string();
        let status = self.status().unwrap();
        localpaths(&status).iter().find(|l| l["watch"] == watch.as_str()).unwrap().clone()
    }

    pub fn state_of(&self, name: &str) -> PathBuf {
        let found = fs::read_dir(self.path("state")).unwrap().flatten().map(|e| e.path());
        let prefix = format!("{name}-");
        found
            .into_iter()
            .find(|p| p.file_name().unwrap().to_str().unwrap().starts_with(&prefix))
            .unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.run(&["stop"]);
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub fn localpaths(status: &Value) -> Vec<Value> {
    status["localpaths"].as_array().cloned().unwrap_or_default()
}

pub fn pid(child: &Value) -> i32 {
    child["pid"].as_u64().unwrap_or(0) as i32
}

pub fn pids(localpath: &Value) -> Vec<i32> {
    let remotes = localpath["remotes"].as_array().unwrap();
    std::iter::once(pid(&localpath["watcher"]))
        .chain(remotes.iter().map(|r| pid(&r["pusher"])))
        .collect()
}

pub fn signal(pid: i32, signal: Signal) {
    assert!(pid > 1);
    kill(Pid::from_raw(pid), signal).unwrap();
}

pub fn runs(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

pub fn code(out: &Output) -> i32 {
    out.status.code().unwrap_or(-1)
}

pub fn text(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr)
}
