//! The real program, started with directories of its own.

use super::procs::{self, Proc};
use super::wait::{DEADLINE, poll, wait_for};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// Marks everything an instance starts, in its environment.
const MARK: &str = "SYNCSUP_TEST_ID";

/// One instance of syncsup: configuration, state, sockets and log below one directory. Whatever it started is killed
/// when it is dropped.
pub struct Instance {
    dir: PathBuf,
    config: PathBuf,
    /// A program that starts syncsup, such as `setpriv …`.
    pub launcher: Vec<OsString>,
    /// More environment variables for what is launched, but not for commands.
    pub environment: Vec<(OsString, OsString)>,
    child: Option<Child>,
    starts: usize,
    mark: String,
}

impl Instance {
    /// An instance that is not started yet; its files go to `dir`, and `config` is its configuration's name there.
    pub fn new(dir: &Path, config: &str, text: &str) -> Instance {
        fs::create_dir_all(dir).expect("instance directory");
        let config = dir.join(config);
        fs::write(&config, text).expect("configuration");
        let mark = format!("{MARK}={}-{:016x}", std::process::id(), fastrand::u64(..));
        let dir = dir.to_owned();
        let (launcher, environment) = (Vec::new(), Vec::new());
        Instance { dir, config, launcher, environment, child: None, starts: 0, mark }
    }

    /// The configuration file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// `--state-dir`.
    pub fn state_dir(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// `--run-dir`.
    pub fn run_dir(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// The program: the one just built, or the one named by SYNCSUP_TEST_BIN (an installed package's, say).
    pub fn program() -> PathBuf {
        std::env::var_os("SYNCSUP_TEST_BIN")
            .unwrap_or_else(|| env!("CARGO_BIN_EXE_syncsup").into())
            .into()
    }

    /// A command line with the instance's directories and the given arguments, not yet started.
    pub fn prepare(&self, program: &Path, args: &[&str]) -> Command {
        let mut words = self.launcher.clone();
        words.push(program.into());
        let mut command = Command::new(&words[0]);
        let (name, value) = self.mark.split_once('=').expect("NAME=value");
        command.args(&words[1..]).env(name, value).current_dir(&self.dir);
        command.arg("--state-dir").arg(self.state_dir()).arg("--run-dir").arg(self.run_dir());
        // The terminal and the language of the tests' user are not theirs.
        command.env("LC_ALL", "C.UTF-8").env_remove("COLUMNS").env_remove("NO_COLOR");
        // The limits of the machine that runs the tests are not theirs.
        command.arg("--no-sysctl");
        command.args(args).stdin(Stdio::null());
        command
    }

    /// Runs a command with `-o CONFIG` to its end.
    pub fn command(&self, args: &[&str]) -> Output {
        let mut command = self.prepare(&Instance::program(), args);
        run(command.arg("-o").arg(&self.config))
    }

    /// Runs a command with `-o CONFIG` on a terminal of its own, where nobody types. Returns what it prints.
    pub fn on_a_terminal(&self, args: &[&str]) -> String {
        let mut command = self.prepare(&Instance::program(), args);
        command.arg("-o").arg(&self.config);
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words: Vec<String> = words.map(|word| format!("'{}'", word.display())).collect();
        let mut script = Command::new("script");
        script.args(["-qec", &words.join(" "), "/dev/null"]).stdin(Stdio::null());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => script.env(name, value),
                None => script.env_remove(name),
            };
        }
        String::from_utf8_lossy(&run(&mut script).stdout).into_owned()
    }

    /// Starts a command with `-o CONFIG` and does not wait for its end; it is killed with the returned guard.
    pub fn begin(&self, args: &[&str]) -> Begun {
        let mut command = self.prepare(&Instance::program(), args);
        command.arg("-o").arg(&self.config).stdout(Stdio::null()).stderr(Stdio::null());
        Begun(command.spawn().expect("syncsup starts"))
    }

    /// Starts in the foreground and waits until each path of `watch` is watched.
    pub fn start(&mut self, args: &[&str], watch: &[&Path]) {
        self.launch(args);
        self.wait_watching(watch);
    }

    /// Starts in the foreground and waits for nothing.
    pub fn launch(&mut self, args: &[&str]) {
        self.launch_as(&Instance::program(), args);
    }

    /// The same by another name of the program; its output goes to a file.
    pub fn launch_as(&mut self, program: &Path, args: &[&str]) {
        assert!(self.child.is_none(), "the instance already runs");
        self.starts += 1;
        let log = OpenOptions::new().create(true).append(true).open(self.log()).expect("log file");
        let mut command = self.prepare(program, args);
        command.arg("-o").arg(&self.config).envs(self.environment.iter().cloned());
        if std::env::var_os("SYNCSUP_TEST_VERBOSE").is_some() && !args.contains(&"-v") {
            command.arg("-v");
        }
        command
            .stdout(File::create(self.stdout()).expect("output file"))
            .stderr(log)
            .process_group(0);
        self.child = Some(command.spawn().expect("syncsup starts"));
    }

    /// Waits for the line `watching PATH` of each path.
    pub fn wait_watching(&mut self, watch: &[&Path]) {
        let wanted: Vec<String> =
            watch.iter().map(|p| format!("watching {}", p.display())).collect();
        let out = self.stdout();
        let child = self.child.as_mut().expect("the instance was started");
        let met = poll(DEADLINE, || {
            let text = fs::read_to_string(&out).unwrap_or_default();
            let watching = wanted.iter().all(|line| text.lines().any(|l| l == line));
            (watching || child.try_wait().ok().flatten().is_some()).then_some(watching)
        });
        assert!(met == Some(true), "never said {wanted:?}\n{}", self.report());
    }

    /// The foreground instance's exit status, once it has ended by itself.
    pub fn wait_exit(&mut self) -> ExitStatus {
        let child = self.child.as_mut().expect("the instance was started");
        let status = poll(DEADLINE, || child.try_wait().expect("waitable child"));
        self.child = status.is_none().then(|| self.child.take()).flatten();
        status.unwrap_or_else(|| panic!("syncsup does not end\n{}", self.report()))
    }

    /// True when it was started in the foreground and has ended by itself; it can be launched again then.
    pub fn has_ended(&mut self) -> bool {
        if let Some(child) = &mut self.child
            && child.try_wait().expect("waitable child").is_some()
        {
            self.child = None;
        }
        self.child.is_none()
    }

    /// SIGTERM, and the end of everything the instance had started.
    pub fn stop(&mut self) -> ExitStatus {
        let family = self.family();
        self.supervisor().signal(Signal::SIGTERM);
        let status = match self.child {
            Some(_) => self.wait_exit(),
            None => ExitStatus::from_raw(0),
        };
        wait_for("all processes of the instance to exit with it", DEADLINE, || {
            !family.iter().any(Proc::runs)
        });
        // It does not wait long for a disk that is slow, and nothing can end that sync.
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let slow = log.contains("takes too long to write everything to disk");
        let mut left = procs::marked(&self.mark);
        left.retain(|process| !(slow && process.command == "syncsup: sync"));
        assert!(left.is_empty(), "left behind after the end: {left:?}");
        status
    }

    /// SIGKILL to every process, the supervisor first so that it restarts nothing.
    pub fn kill9(&mut self) {
        let family = self.family();
        family.iter().for_each(|p| p.signal(Signal::SIGKILL));
        self.kill_marked();
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
    }

    /// SIGKILL to the supervisor alone.
    pub fn kill_supervisor(&mut self) {
        self.supervisor().signal(Signal::SIGKILL);
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
    }

    fn kill_marked(&self) {
        let end = Instant::now() + Duration::from_secs(5);
        loop {
            let left = procs::marked(&self.mark);
            if left.is_empty() || Instant::now() > end {
                return;
            }
            left.iter().for_each(|p| p.signal(Signal::SIGKILL));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The supervisor: the child in the foreground, or the one named by the pid file.
    pub fn supervisor(&self) -> Proc {
        let pid = self.child.as_ref().map(|c| c.id() as i32).or_else(|| self.pid_file());
        let found = pid.and_then(Proc::read);
        found.unwrap_or_else(|| panic!("no supervisor runs\n{}", self.log_tail(50)))
    }

    /// What the pid file of a running or ended daemon says.
    pub fn pid_file(&self) -> Option<i32> {
        let files = fs::read_dir(self.run_dir()).ok()?;
        let file = files.flatten().find(|f| f.path().extension().is_some_and(|e| e == "pid"))?;
        fs::read_to_string(file.path()).ok()?.trim().parse().ok()
    }

    /// The supervisor, first, and all its descendants.
    pub fn family(&self) -> Vec<Proc> {
        let pid = self.child.as_ref().map(|c| c.id() as i32).or_else(|| self.pid_file());
        let Some(head) = pid.and_then(Proc::read) else { return Vec::new() };
        let below = procs::descendants(head.pid);
        std::iter::once(head).chain(below).collect()
    }

    /// The watchers that run now.
    pub fn watchers(&self) -> Vec<Proc> {
        self.role("syncsup: watcher ")
    }

    /// The pushers that run now.
    pub fn pushers(&self) -> Vec<Proc> {
        self.role("syncsup: pusher ")
    }

    /// The rsyncs that run now, without standbys.
    pub fn rsyncs(&self) -> Vec<Proc> {
        let (_, working) = self.waiting_and_working();
        working
    }

    /// The rsyncs that were started ahead of their push and wait for their list.
    pub fn standbys(&self) -> Vec<Proc> {
        let (waiting, _) = self.waiting_and_working();
        waiting
    }

    /// The rsyncs: one waits as long as a pusher can still write its list.
    fn waiting_and_working(&self) -> (Vec<Proc>, Vec<Proc>) {
        let rsyncs = self.all_rsyncs();
        let open: HashSet<PathBuf> =
            self.pushers().iter().flat_map(|pusher| open_files(pusher.pid)).collect();
        rsyncs.into_iter().partition(|rsync| {
            let input = fs::read_link(format!("/proc/{}/fd/0", rsync.pid)).unwrap_or_default();
            input.to_string_lossy().starts_with("pipe:") && open.contains(&input)
        })
    }

    fn all_rsyncs(&self) -> Vec<Proc> {
        let rsync = |p: &Proc| {
            p.command.split(' ').next().is_some_and(|w| w.rsplit('/').next() == Some("rsync"))
        };
        self.family().into_iter().filter(rsync).collect()
    }

    fn role(&self, argv0: &str) -> Vec<Proc> {
        let mut found = self.family();
        found.retain(|p| p.state != 'Z' && p.command.starts_with(argv0));
        // One that is about to become an rsync has its parent's words for a moment.
        let pids: Vec<i32> = found.iter().map(|p| p.pid).collect();
        found.retain(|p| !pids.contains(&p.parent));
        found
    }

    /// The only watcher, waited for.
    pub fn watcher(&self) -> Proc {
        poll(DEADLINE, || self.watchers().pop()).expect("a watcher runs")
    }

    /// The pusher of the remote named `remote`, waited for.
    pub fn pusher(&self, remote: &str) -> Proc {
        poll(DEADLINE, || {
            let named = |p: &Proc| format!("{} ", p.command).contains(&format!(" {remote} "));
            self.pushers().into_iter().find(named)
        })
        .expect("the pusher runs")
    }

    /// `status --json` of a running instance.
    pub fn status(&self) -> Value {
        self.try_status().unwrap_or_else(|| panic!("no status\n{}", self.report()))
    }

    /// `None` while no supervisor answers, as between the start of the process and its socket.
    fn try_status(&self) -> Option<Value> {
        let out = self.command(&["status", "--json"]);
        if out.status.code() == Some(3) {
            return None;
        }
        Some(serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {out:?}")))
    }

    /// Waits until `status --json` satisfies `wanted`; gives it.
    pub fn wait_status(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let met = poll(DEADLINE, || self.try_status().filter(&wanted));
        met.unwrap_or_else(|| panic!("status never showed: {what}\n{}", self.report()))
    }

    /// The file that the foreground instance logs to.
    pub fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    fn stdout(&self) -> PathBuf {
        self.dir.join(format!("out.{}", self.starts))
    }

    /// The whole log, a daemon's too.
    pub fn log_text(&self) -> String {
        let read = |path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        read(self.log()) + &read(self.state_dir().join("syncsup.log"))
    }

    fn log_tail(&self, lines: usize) -> String {
        let text = self.log_text();
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// What is known about the instance, for a failed test.
    pub fn report(&self) -> String {
        if let Some(keep) = std::env::var_os("SYNCSUP_TEST_KEEP") {
            let name = self.mark.rsplit('-').next().unwrap_or_default();
            let to = Path::new(&keep).join(name);
            let _ = Command::new("cp").arg("-rT").arg(&self.dir).arg(&to).status();
            println!("kept: {}", to.display());
        }
        let status = self.command(&["status", "--json"]);
        format!(
            "--- log, last lines\n{}\n--- status --json\n{}{}\n--- journal\n{}",
            self.log_tail(50),
            String::from_utf8_lossy(&status.stdout),
            String::from_utf8_lossy(&status.stderr),
            self.journal()
        )
    }

    /// Rows of the journals, where there is a sqlite3 to show them.
    fn journal(&self) -> String {
        let mut text = String::new();
        for dir in fs::read_dir(self.state_dir()).into_iter().flatten().flatten() {
            let file = dir.path().join("journal.db");
            if !file.exists() {
                continue;
            }
            text += &format!("{}\n", file.display());
            for table in ["checkpoint", "remote", "change", "owed", "open"] {
                let query = format!("select * from \"{table}\" limit 20");
                let Ok(out) =
                    Command::new("sqlite3").arg("-readonly").arg(&file).arg(query).output()
                else {
                    break;
                };
                text += &format!("[{table}]\n{}", String::from_utf8_lossy(&out.stdout));
                text += &String::from_utf8_lossy(&out.stderr);
            }
        }
        text
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.kill9();
    }
}

/// A command that runs on.
pub struct Begun(Child);

impl Drop for Begun {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a command to its end, which must come before the deadline.
fn run(command: &mut Command) -> Output {
    let child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("syncsup starts");
    let process = Proc::read(child.id() as i32);
    let (done, ended) = std::sync::mpsc::channel::<()>();
    let guard = std::thread::spawn(move || {
        let late = ended
            .recv_timeout(DEADLINE * 2)
            .is_err_and(|e| e == std::sync::mpsc::RecvTimeoutError::Timeout);
        if late && let Some(process) = process {
            process.signal(Signal::SIGKILL);
        }
        late
    });
    let output = child.wait_with_output().expect("waitable child");
    drop(done);
    assert!(!guard.join().unwrap_or(true), "a command did not end: {command:?}");
    output
}

/// What a process has open.
fn open_files(pid: i32) -> Vec<PathBuf> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    open.filter_map(|fd| fs::read_link(fd.path()).ok()).collect()
}
