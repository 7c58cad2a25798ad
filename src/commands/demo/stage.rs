//! The stage of the demo: a temporary directory with the master, the slaves and the instance, and the comparisons.

use super::instance::DemoInstance;
use super::lag::{self, Lags};
use super::procs;
use super::say::{Say, time};
use super::slave::DemoSlave;
use super::tree::DemoTree;
use super::watch::DemoWatch;
use crate::commands::status;
use crate::error::{Error, Exit, Result};
use crate::language::{Language, words};
use crate::message::PusherState;
use crate::sys::family;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The time limit until a step is identical. A slave that was down is retried within seconds.
const PATIENCE: Duration = Duration::from_secs(30);
/// The number of differences shown when a step fails.
const SHOWN: usize = 10;

/// The parts of the demo.
pub struct DemoStage {
    /// Prints the text.
    pub say: Say,
    /// Waits for conditions.
    pub watch: DemoWatch,
    /// The slaves.
    pub slaves: Vec<DemoSlave>,
    /// The number of comparisons that found no difference.
    pub comparisons: u32,
    instance: Option<DemoInstance>,
    dir: Option<TempDir>,
}

impl DemoStage {
    /// An empty stage.
    pub fn build() -> Result<Self> {
        let watch = DemoWatch::new()?;
        family::adopt_orphans().map_err(|e| Error::system("cannot adopt orphans", e))?;
        let dir = TempDir::with_prefix("syncsup-demo-")
            .map_err(|e| Error::system("cannot create a temporary directory", e))?;
        let master = dir.path().join("master");
        fs::create_dir(&master)
            .map_err(|e| Error::system(format!("cannot create {}", master.display()), e))?;
        Ok(Self {
            say: Say::new(),
            watch,
            slaves: Vec::new(),
            comparisons: 0,
            instance: None,
            dir: Some(dir),
        })
    }

    /// The replicated directory.
    pub fn master(&self) -> PathBuf {
        self.path().join("master")
    }

    /// Starts `count` slaves, and creates the instance that will push to them.
    pub fn add_slaves(&mut self, count: usize) -> Result<()> {
        for n in 1..=count {
            let dir = self.path().join(format!("slave{n}"));
            self.slaves.push(DemoSlave::start(dir, &mut self.watch)?);
        }
        let ports: Vec<u16> = self.slaves.iter().map(|s| s.port).collect();
        self.instance = Some(DemoInstance::new(self.path(), &self.master(), &ports)?);
        Ok(())
    }

    /// Starts the instance and waits until it watches the master.
    pub fn start(&mut self) -> Result<()> {
        let master = self.master();
        let Self { instance: Some(instance), watch, .. } = self else { return Ok(()) };
        instance.start(&master, watch)
    }

    /// Stops the instance.
    pub fn stop(&mut self) -> Result<()> {
        let Self { instance: Some(instance), watch, .. } = self else { return Ok(()) };
        instance.stop(watch)
    }

    /// The process ID of the supervisor. 0 if it is not running.
    pub fn instance_pid(&self) -> u32 {
        self.instance.as_ref().and_then(DemoInstance::pid).unwrap_or(0)
    }

    /// The process IDs of the watcher and of the pushers, in this order, from `status`.
    pub fn children(&self) -> Result<Vec<u32>> {
        let Some(instance) = &self.instance else { return Ok(Vec::new()) };
        let status = instance.status()?;
        let mut pids = vec![status["watcher"]["pid"].clone()];
        let remotes = status["remotes"].as_array().cloned().unwrap_or_default();
        pids.extend(remotes.iter().map(|r| r["pusher"]["pid"].clone()));
        Ok(pids.iter().filter_map(|p| u32::try_from(p.as_u64()?).ok()).collect())
    }

    /// The same, after all are running and none of them is `gone`.
    pub fn children_without(&mut self, gone: u32) -> Result<Vec<u32>> {
        let end = Instant::now() + PATIENCE;
        loop {
            let pids = self.children()?;
            if pids.len() == self.slaves.len() + 1 && !pids.contains(&gone) {
                return Ok(pids);
            }
            if Instant::now() > end {
                let text = format!("process {gone} was killed and was not restarted: {pids:?}");
                return Err(Error::new(Exit::No, text));
            }
            self.watch.pause(Duration::from_millis(20))?;
        }
    }

    /// The state of a slave and the reason, as `status` prints them.
    pub fn remote_state(&self, slave: usize) -> Result<String> {
        let Some(instance) = &self.instance else { return Ok(String::new()) };
        Ok(remote_state(instance, &self.slaves[slave].name())?.1)
    }

    /// The same, after `status` no longer reports the slave as in sync. `status` is slightly delayed.
    pub fn remote_trouble(&mut self, slave: usize) -> Result<String> {
        let name = self.slaves[slave].name();
        let Self { instance, watch, .. } = self;
        let Some(instance) = instance else { return Ok(String::new()) };
        let seen = watch.until(Duration::from_secs(5), || {
            let (state, text) = remote_state(instance, &name)?;
            Ok((state != PusherState::InSync).then_some(text))
        })?;
        seen.ok_or_else(|| {
            Error::new(Exit::No, format!("'syncsup status' still reports {name} as in sync"))
        })
    }

    /// Waits until these slaves are identical with the master, and prints how long that took since `since`.
    pub fn compare(&mut self, which: &[usize], since: Instant) -> Result<()> {
        let master = self.master();
        let paths: Vec<PathBuf> = which.iter().map(|&n| self.slaves[n].path()).collect();
        let done = self.watch.until(PATIENCE, || {
            let ours = read(&master)?;
            let same = paths.iter().all(|slave| is_same(&ours, &master, slave));
            Ok(same.then(|| (since.elapsed(), ours.len())))
        })?;
        let Some((elapsed, names)) = done else { return Err(self.different(which)) };
        self.comparisons += 1;
        let numbers: Vec<String> = which.iter().map(|n| (n + 1).to_string()).collect();
        let text = match which.len() == self.slaves.len() {
            true => (
                format!(
                    "{} slaves identical after {}, {names} names compared",
                    which.len(),
                    time(elapsed)
                ),
                format!(
                    "{} 台从机在 {} 后完全一致，共比对 {names} 个条目",
                    which.len(),
                    time(elapsed)
                ),
            ),
            false => (
                format!(
                    "slaves {} identical after {}, {names} names compared",
                    numbers.join(" and "),
                    time(elapsed)
                ),
                format!(
                    "从机 {} 在 {} 后完全一致，共比对 {names} 个条目",
                    numbers.join("、"),
                    time(elapsed)
                ),
            ),
        };
        self.say.good((&text.0, &text.1), &[])
    }

    /// What a single file takes.
    pub fn lags(&mut self) -> Result<Lags> {
        let (master, aside) = (self.master(), self.path().join("aside"));
        lag::measure(&master, &aside, &self.slaves[0], &mut self.watch)
    }

    /// The differences of one slave now.
    pub fn differences(&self, slave: usize) -> Result<Vec<String>> {
        let (master, path) = (self.master(), self.slaves[slave].path());
        let ours = read(&master)?;
        let lines = ours.differences(&read(&path)?);
        if !lines.is_empty() {
            return Ok(lines);
        }
        ours.content_differences(&master, &path)
            .map_err(|e| Error::system("cannot compare the content of files", e))
    }

    /// An error that names the differences.
    fn different(&self, which: &[usize]) -> Error {
        let mut text = String::new();
        for &n in which {
            let lines = self.differences(n).unwrap_or_else(|e| vec![e.text]);
            if !lines.is_empty() {
                text += &format!("slave {} is not identical: {} differences\n", n + 1, lines.len());
                lines.iter().take(SHOWN).for_each(|l| text += &format!("  {l}\n"));
                let state = self.remote_state(n).unwrap_or_else(|e| e.text);
                text += &format!("  'syncsup status' reports: {state}\n");
            }
        }
        let log = self.instance.as_ref().map(DemoInstance::log).unwrap_or_default();
        Error::new(Exit::No, format!("{text}the end of syncsup's log:\n{log}"))
    }

    /// Sends SIGKILL to the supervisor and to everything it has started.
    pub fn kill_all(&mut self, patience: Duration) -> Result<()> {
        if let Some(instance) = &mut self.instance {
            instance.kill();
        }
        let daemons = self.daemons();
        let gone = self.watch.until(patience, || {
            let left = procs::family_without(&daemons);
            left.iter().for_each(|p| crate::sys::process::kill_pid(p.pid));
            Ok(left.is_empty().then_some(()))
        })?;
        gone.ok_or_else(|| Error::new(Exit::No, "some processes survived SIGKILL"))
    }

    /// The number of running processes, without those of the slaves.
    pub fn running(&self) -> usize {
        procs::family_without(&self.daemons()).len()
    }

    fn daemons(&self) -> Vec<u32> {
        self.slaves.iter().filter_map(DemoSlave::pid).collect()
    }

    /// Kills every process, removes every file, and checks the result.
    pub fn clean(&mut self) -> Result<()> {
        self.instance = None;
        self.slaves.clear();
        let gone = procs::end_all(Duration::from_secs(10));
        let Some(dir) = self.dir.take() else { return Ok(()) };
        let path = dir.path().to_owned();
        dir.close().map_err(|e| Error::system(format!("cannot remove {}", path.display()), e))?;
        if !gone || path.exists() {
            return Err(Error::new(Exit::No, "the demo left processes or files behind"));
        }
        self.say.line(
            (
                "Cleaned up: no process of the demo runs, {} is removed.",
                "清理完毕：演示的进程已全部结束，{} 已删除。",
            ),
            &[&path.display().to_string()],
        )
    }

    fn path(&self) -> &Path {
        self.dir.as_ref().map_or(Path::new("/nonexistent"), TempDir::path)
    }
}

impl Drop for DemoStage {
    fn drop(&mut self) {
        // Something is left to clean up only after a panic.
        let _ = self.clean();
    }
}

/// The state of a remote, and the same with its reason in the words of `status`.
fn remote_state(instance: &DemoInstance, name: &str) -> Result<(PusherState, String)> {
    let localpath = instance.status()?;
    let remotes = localpath["remotes"].as_array().cloned().unwrap_or_default();
    let remote = remotes.into_iter().find(|r| r["name"] == name).unwrap_or_default();
    let state = serde_json::from_value(remote["state"].clone()).unwrap_or_default();
    let language = Language::current();
    let word = status::word_in(state, language);
    let colon = language.pick(words::COLON);
    let reason = remote["reason"].as_str().map(|reason| format!("{colon}{reason}"));
    Ok((state, format!("{word}{}", reason.unwrap_or_default())))
}

fn read(root: &Path) -> Result<DemoTree> {
    DemoTree::read(root).map_err(|e| Error::system(format!("cannot read {}", root.display()), e))
}

fn is_same(ours: &DemoTree, master: &Path, slave: &Path) -> bool {
    // Files may appear and vanish on a slave while it is read. That is a difference, too.
    DemoTree::read(slave).is_ok_and(|theirs| *ours == theirs)
        && ours.content_differences(master, slave).is_ok_and(|lines| lines.is_empty())
}
