//! syncsup itself, started as a user would start it, with its own directories.

use super::watch::DemoWatch;
use crate::error::{Error, Exit, Result};
use serde_json::Value;
use std::fs::{self, File, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// The time limit until everything is watched.
const PATIENCE: Duration = Duration::from_secs(20);

/// One instance.
pub struct DemoInstance {
    dir: PathBuf,
    child: Option<Child>,
}

impl DemoInstance {
    /// Writes the configuration of an instance that keeps everything in `dir`. It is not started yet.
    pub fn new(dir: &Path, master: &Path, ports: &[u16]) -> Result<Self> {
        let remotes: Vec<String> = ports
            .iter()
            .map(|port| format!("      - {{host: 127.0.0.1, port: {port}, module: www}}\n"))
            .collect();
        let watch = Value::from(master.to_string_lossy()).to_string();
        let text = format!("localpaths:\n  - watch: {watch}\n    remotes:\n{}", remotes.concat());
        let instance = Self { dir: dir.to_owned(), child: None };
        fs::write(instance.configuration(), text)
            .map_err(|e| Error::system("cannot write the configuration", e))?;
        Ok(instance)
    }

    /// Its configuration file.
    pub fn configuration(&self) -> PathBuf {
        self.dir.join("syncsup.yaml")
    }

    /// The process ID of the supervisor, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Starts the instance and waits until it reports that it watches `master`.
    pub fn start(&mut self, master: &Path, watch: &mut DemoWatch) -> Result<()> {
        let cannot = |e| Error::system("cannot start syncsup", e);
        let stdout = self.dir.join("stdout");
        let log = OpenOptions::new().create(true).append(true).open(self.dir.join("log"));
        let child = self
            .command("run")
            .stdout(File::create(&stdout).map_err(cannot)?)
            .stderr(log.map_err(cannot)?)
            .process_group(0)
            .spawn()
            .map_err(cannot)?;
        let child = self.child.insert(child);
        let line = format!("watching {}", master.display());
        let watched = watch.until(PATIENCE, || {
            let text = fs::read_to_string(&stdout).unwrap_or_default();
            let ended = child.try_wait().map_err(|e| Error::system("cannot wait", e))?.is_some();
            Ok((ended || text.lines().any(|l| l == line)).then_some(!ended))
        })?;
        match watched {
            Some(true) => Ok(()),
            _ => Err(Error::new(
                Exit::No,
                format!("syncsup did not begin to watch; its log:\n{}", self.log()),
            )),
        }
    }

    /// The last lines of its log.
    pub fn log(&self) -> String {
        let text = fs::read(self.dir.join("log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    /// The localpath's part of `syncsup status --json`.
    pub fn status(&self) -> Result<Value> {
        let output = self.run("status", &["--json"])?;
        let all: Value = serde_json::from_slice(&output.stdout).map_err(|e| {
            let message = String::from_utf8_lossy(&output.stderr).into_owned();
            Error::new(
                Exit::No,
                format!("cannot parse the output of syncsup status --json: {e}\n{message}"),
            )
        })?;
        Ok(all["instances"][0]["localpaths"][0].clone())
    }

    /// Requests a stop and waits until the instance has ended.
    pub fn stop(&mut self, watch: &mut DemoWatch) -> Result<()> {
        let output = self.run("stop", &[])?;
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(Error::new(Exit::No, format!("syncsup stop failed: {message}")));
        }
        let Some(child) = &mut self.child else { return Ok(()) };
        let ended = watch.until(PATIENCE, || {
            child.try_wait().map_err(|e| Error::system("cannot wait for syncsup", e))
        })?;
        match ended {
            Some(status) if status.success() => {
                self.child = None;
                Ok(())
            }
            Some(status) => Err(Error::new(Exit::No, format!("syncsup exited: {status}"))),
            None => Err(Error::new(Exit::No, "syncsup does not exit")),
        }
    }

    /// Sends SIGKILL to the supervisor. Its children are found through the process that adopts them.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn run(&self, subcommand: &str, arguments: &[&str]) -> Result<Output> {
        let mut command = self.command(subcommand);
        command
            .args(arguments)
            .output()
            .map_err(|e| Error::system(format!("cannot run syncsup {subcommand}"), e))
    }

    /// This program, with the instance's directories.
    fn command(&self, subcommand: &str) -> Command {
        let mut command = Command::new("/proc/self/exe");
        command.arg0("syncsup").arg("--state-dir").arg(self.dir.join("state"));
        command.arg("--run-dir").arg(self.dir.join("run")).arg("--no-sysctl");
        command.arg(subcommand).arg("-o").arg(self.configuration());
        // If a service manager started the demo, the instance must not notify it.
        command.env_remove("NOTIFY_SOCKET").current_dir(&self.dir).stdin(Stdio::null());
        command
    }
}

impl Drop for DemoInstance {
    fn drop(&mut self) {
        self.kill();
    }
}
