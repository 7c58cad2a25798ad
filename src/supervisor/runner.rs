//! A localpath's plugin runner as the supervisor sees it: its child, its wake pipe, its last status, and the last state
//! sent to it.

use super::process::ChildProcess;
use crate::config::model::{LocalPath, plugin_names};
use crate::instance::localpaths::ConfiguredLocalPath;
use crate::message::{FromPlugin, PluginStart, PluginStatus, RemoteHealth, Role, ToPlugin};
use crate::sys::wake;
use slog::{Logger, o};
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

/// How long a stopping runner may continue running calls.
const GRACE_MS: u64 = 5_000;

/// The name of its wake pipe. No remote can have this name.
pub const WAKE: &str = "plugin runner";

/// The plugin runner.
pub struct SupervisedRunner {
    /// Its child.
    pub process: ChildProcess<ToPlugin, FromPlugin>,
    /// The status that it sent last.
    pub status: Vec<PluginStatus>,
    /// No plugin is configured any more. The runner is forgotten when it has exited.
    pub removed: bool,
    wake: (OwnedFd, OwnedFd),
    told: Vec<RemoteHealth>,
}

impl SupervisedRunner {
    /// A runner that is due now.
    pub fn new(localpath: &LocalPath, log: &Logger, now: Duration) -> io::Result<Self> {
        let mut title = OsString::from("syncsup: plugin runner ");
        title.push(localpath.watch.as_os_str());
        let stop = || ToPlugin::Stop { grace_ms: GRACE_MS };
        let log = log.new(o!("child" => "plugin runner"));
        Ok(Self {
            process: ChildProcess::new(Role::Plugin, title, stop, log, now),
            status: Vec::new(),
            removed: false,
            wake: wake::pipe()?,
            told: Vec::new(),
        })
    }

    /// A copy of the writing end of its wake pipe.
    pub fn waker(&self) -> io::Result<OwnedFd> {
        self.wake.1.try_clone()
    }

    /// Starts its process, with the state directory of its localpath and the run directory.
    pub fn start(
        &mut self,
        of: &ConfiguredLocalPath,
        (dir, run_dir): (&Path, &Path),
        remotes: Vec<RemoteHealth>,
        now: Duration,
    ) {
        self.told.clone_from(&remotes);
        let start = PluginStart {
            localpath: of.localpath.clone(),
            state_dir: dir.to_owned(),
            run_dir: run_dir.to_owned(),
            names: plugin_names(&of.localpath.plugins),
            remotes,
            debug: of.debug,
        };
        let first = self.wake.0.try_clone().map(|fd| (ToPlugin::Start(Box::new(start)), vec![fd]));
        self.process.start(first, now);
    }

    /// Sends it the state of the remotes if that has changed.
    pub fn tell(&mut self, remotes: Vec<RemoteHealth>, now: Duration) {
        if self.process.runs() && self.told != remotes {
            self.process.send(&ToPlugin::Remotes(remotes.clone()), vec![], now);
            self.told = remotes;
        }
    }

    /// Stores its current status. True if its part of the fail log may have changed.
    pub fn note(&mut self, status: Vec<PluginStatus>) -> bool {
        let before = any_fails(&self.status);
        self.status = status;
        before || any_fails(&self.status)
    }
}

fn any_fails(status: &[PluginStatus]) -> bool {
    status.iter().any(|s| s.failing + s.given_up > 0)
}
