//! The systems that are compared.

use crate::first_line;
use crate::rig::{Rig, cpu_s, wait};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

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
        let work = rig.dir.path();
        let mut command = match self {
            System::Bulk => return Ok(Running { child: None, bulk_cpu_s: 0.0 }),
            System::Lsyncd => {
                let syncs: String = (0..rig.slaves.len()).map(|n| lua(rig, n)).collect();
                let config = work.join("lsyncd.lua");
                let status = work.join("lsyncd.status");
                let settings =
                    format!("settings{{nodaemon=true, insist=true, statusFile={status:?}}}\n");
                fs::write(&config, settings + &syncs).map_err(|e| e.to_string())?;
                let mut command = Command::new("lsyncd");
                command.arg("-nodaemon").arg(config);
                command
            }
            System::Syncsup | System::Unpaced => {
                let pace = if self == System::Unpaced { "pace: {cpu: 100%}\n" } else { "" };
                let mut yaml = format!(
                    "{pace}rsync: {{params: -a}}\nlocalpaths:\n  - watch: {:?}\n    remotes:\n",
                    rig.source
                );
                for n in 0..rig.slaves.len() {
                    let port = rig.port;
                    yaml += &format!("      - {{host: 127.0.0.1, port: {port}, module: m{n}}}\n");
                }
                let config = work.join("syncsup.yaml");
                fs::write(&config, yaml).map_err(|e| e.to_string())?;
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
        let running = Running { child: Some(child), bulk_cpu_s: 0.0 };
        // lsyncd reads nothing before its first copy is done.
        fs::write(rig.source.join("ready"), "x").map_err(|e| e.to_string())?;
        let there = |slave: &Path| slave.join("ready").exists();
        wait("the first copy", || rig.slaves.iter().all(|slave| there(slave)))?;
        std::thread::sleep(Duration::from_secs(2));
        Ok(running)
    }
}

const SYNCSUP: &str = env!("CARGO_BIN_EXE_syncsup");

fn lua(rig: &Rig, n: usize) -> String {
    format!(
        "sync{{default.rsync, source={:?}, target={:?}, delay=0,\n  \
         rsync={{archive=true, _extra={{\"--sockopts=TCP_NODELAY\"}}}}}}\n",
        rig.source,
        rig.url(n)
    )
}

impl Running {
    /// After the work: the bare rsyncs of a system that does not watch.
    pub fn finish(&mut self, rig: &Rig) -> Result<(), String> {
        if self.child.is_some() {
            return Ok(());
        }
        let start = |n: usize| {
            let mut command = Command::new("rsync");
            command.args(["-a", "--delete", "--sockopts=TCP_NODELAY"]);
            command.arg(rig.source.join("")).arg(rig.url(n)).stdin(Stdio::null()).spawn()
        };
        let before = own_children_cpu_s();
        let children: Result<Vec<Child>, _> = (0..rig.slaves.len()).map(start).collect();
        for mut child in children.map_err(|e| e.to_string())? {
            child.wait().map_err(|e| e.to_string())?;
        }
        self.bulk_cpu_s += own_children_cpu_s() - before;
        Ok(())
    }

    /// True if it replicates by itself.
    pub fn is_live(&self) -> bool {
        self.child.is_some()
    }

    /// The CPU time so far, in seconds.
    pub fn cpu_s(&self) -> f64 {
        self.child.as_ref().map_or(self.bulk_cpu_s, |child| cpu_s(child.id()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            let _ = child.wait();
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
