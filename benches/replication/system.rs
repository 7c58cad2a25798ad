//! The systems that are compared.

use crate::first_line;
use crate::process::{cpu_s, kill};
use crate::rig::{LocalPath, Rig, wait};
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A system that replicates a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// One bare rsync per remote after the work.
    Bulk,
    /// lsyncd, as fast as it can be configured.
    Lsyncd,
    /// This program.
    Syncsup,
    /// This program, without a limit of what its pushes cost.
    Unpaced,
}

/// A running system.
pub struct Running {
    child: Option<Child>,
    /// The CPU time of rsyncs that the benchmark itself has run, in seconds.
    bulk_cpu_s: f64,
}

impl System {
    pub const ALL: [System; 4] = [System::Bulk, System::Lsyncd, System::Syncsup, System::Unpaced];

    /// The name in the tables.
    pub fn name(self) -> &'static str {
        match self {
            System::Bulk => "bulk",
            System::Lsyncd => "lsyncd",
            System::Syncsup => "syncsup",
            System::Unpaced => "syncsup, unpaced",
        }
    }

    /// The version that is measured.
    pub fn version(self) -> String {
        match self {
            System::Bulk => first_line(Command::new("rsync").arg("--version")),
            System::Lsyncd => first_line(Command::new("lsyncd").arg("--version")) + ", delay=0",
            System::Unpaced => "the same with `pace: {cpu: 100%}`".to_owned(),
            System::Syncsup => {
                first_line(Command::new(SYNCSUP).arg("--version")) + ", default settings"
            }
        }
    }

    /// True if it can be measured here.
    pub fn is_installed(&self) -> bool {
        *self != System::Lsyncd || Command::new("lsyncd").arg("--version").output().is_ok()
    }

    /// Starts it, and waits until a file has arrived on every slave.
    pub fn start(self, rig: &Rig) -> Result<Running, String> {
        let running = self.launch(rig)?;
        if running.is_live() {
            let slaves: Vec<_> = rig.localpaths.iter().flat_map(LocalPath::slaves).collect();
            settle(rig, &slaves)?;
        }
        Ok(running)
    }

    /// Starts it.
    pub fn launch(self, rig: &Rig) -> Result<Running, String> {
        let work = rig.dir.path();
        let mut command = match self {
            System::Bulk => return Ok(Running { child: None, bulk_cpu_s: 0.0 }),
            System::Lsyncd => {
                let config = work.join("lsyncd.lua");
                let status = work.join("lsyncd.status");
                let settings =
                    format!("settings{{nodaemon=true, insist=true, statusFile={status:?}}}\n");
                let syncs: String = rig.localpaths.iter().map(lua).collect();
                fs::write(&config, settings + &syncs).map_err(|e| e.to_string())?;
                let mut command = Command::new("lsyncd");
                command.arg("-nodaemon").arg(config);
                command
            }
            System::Syncsup | System::Unpaced => {
                let pace = if self == System::Unpaced { "pace: {cpu: 100%}\n" } else { "" };
                let localpaths: String = rig.localpaths.iter().map(yaml).collect();
                let text = format!("{pace}rsync: {{params: -a}}\nlocalpaths:\n{localpaths}");
                let config = work.join("syncsup.yaml");
                fs::write(&config, text).map_err(|e| e.to_string())?;
                let mut command = Command::new(SYNCSUP);
                command.arg("--state-dir").arg(work.join("state"));
                command.arg("--run-dir").arg(work.join("run")).arg("-r").arg("-o").arg(config);
                command
            }
        };
        let log = fs::File::create(work.join("log")).map_err(|e| e.to_string())?;
        command
            .stdin(Stdio::null())
            .stderr(log.try_clone().map_err(|e| e.to_string())?)
            .stdout(log);
        let child = command.spawn().map_err(|e| format!("{}: {e}", self.name()))?;
        Ok(Running { child: Some(child), bulk_cpu_s: 0.0 })
    }
}

/// How long a system may take to stop. lsyncd waits for its rsyncs, and one that hangs never ends.
const PATIENCE: Duration = Duration::from_secs(3);

const SYNCSUP: &str = env!("CARGO_BIN_EXE_syncsup");

/// A localpath in lsyncd's configuration.
fn lua(localpath: &LocalPath) -> String {
    let sync = |url: String| {
        format!(
            "sync{{default.rsync, source={:?}, target={url:?}, delay=0,\n  \
             rsync={{archive=true, _extra={{\"--sockopts=TCP_NODELAY\"}}}}}}\n",
            localpath.source
        )
    };
    localpath.remotes.iter().map(|remote| sync(remote.url())).collect()
}

/// A localpath in syncsup's configuration.
fn yaml(localpath: &LocalPath) -> String {
    let mut yaml = format!("  - watch: {:?}\n    remotes:\n", localpath.source);
    for remote in &localpath.remotes {
        let (port, module) = (remote.port, &remote.module);
        yaml += &format!("      - {{host: 127.0.0.1, port: {port}, module: {module}}}\n");
    }
    yaml
}

/// Waits until a file of every localpath has arrived on these slaves. lsyncd reads nothing before its first copy is done.
pub fn settle(rig: &Rig, slaves: &[PathBuf]) -> Result<(), String> {
    for localpath in &rig.localpaths {
        fs::write(localpath.source.join("ready"), "x").map_err(|e| e.to_string())?;
    }
    wait("the first copy", || slaves.iter().all(|slave| slave.join("ready").exists()))?;
    std::thread::sleep(Duration::from_secs(2));
    Ok(())
}

impl Running {
    /// After the work: the bare rsyncs of a system that does not watch.
    pub fn finish(&mut self, rig: &Rig) -> Result<(), String> {
        if self.child.is_some() {
            return Ok(());
        }
        let start = |localpath: &LocalPath, url: String| {
            let mut command = Command::new("rsync");
            command.args(["-a", "--delete", "--sockopts=TCP_NODELAY"]);
            command.arg(localpath.source.join("")).arg(url).stdin(Stdio::null()).spawn()
        };
        let before = own_children_cpu_s();
        let mut children = Vec::new();
        for localpath in &rig.localpaths {
            for remote in localpath.remotes.iter().filter(|remote| remote.slave.is_some()) {
                children.push(start(localpath, remote.url()).map_err(|e| e.to_string())?);
            }
        }
        for mut child in children {
            child.wait().map_err(|e| e.to_string())?;
        }
        self.bulk_cpu_s += own_children_cpu_s() - before;
        Ok(())
    }

    /// True if it replicates by itself.
    pub fn is_live(&self) -> bool {
        self.child.is_some()
    }

    /// The process, if it replicates by itself.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The CPU time so far, in seconds.
    pub fn cpu_s(&self) -> f64 {
        self.child.as_ref().map_or(self.bulk_cpu_s, |child| cpu_s(child.id()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(child) = &mut self.child else { return };
        let _ = Command::new("kill").arg(child.id().to_string()).status();
        let deadline = Instant::now() + PATIENCE;
        while matches!(child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                kill(child.id());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The CPU time of the children of this process that it has waited for, in seconds.
fn own_children_cpu_s() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest.to_owned()).unwrap_or_default();
    let times = fields.split_ascii_whitespace().skip(13).take(2);
    times.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}
