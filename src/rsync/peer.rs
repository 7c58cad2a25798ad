//! The other side of an rsync: how it is reached, and with which settings.

use crate::path::OsBytes;
use serde::{Deserialize, Serialize};

/// An rsync daemon's standard port.
pub const RSYNC_PORT: u16 = 873;
/// rsync's `--timeout` when none is given, in seconds (sersync's example value).
pub const TIMEOUT_S: u32 = 100;

/// One side that rsync connects to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Peer {
    /// Host name or address; an IPv6 address in brackets, as rsync writes it.
    pub host: String,
    /// How it is reached.
    pub target: Target,
    /// The remote user: rsync's auth user, or the ssh login.
    pub user: Option<String>,
    /// `--password-file` of a daemon.
    pub password_file: Option<OsBytes>,
    /// sersync's `commonParams`, split into arguments.
    pub params: Vec<OsBytes>,
    /// rsync's I/O `--timeout`, in seconds.
    pub timeout_s: u32,
    /// The remote rsync syncs each file to disk before it reports the file as done.
    #[serde(default)]
    pub fsync: bool,
    /// The local rsync program.
    pub rsync_program: OsBytes,
}

/// How a remote is reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// A plain rsync daemon.
    Daemon {
        /// Its port.
        port: u16,
        /// The module, and a path in it: `www` or `www/site`.
        module: OsBytes,
    },
    /// rsync started over ssh.
    Ssh {
        /// The absolute directory on the remote.
        path: OsBytes,
        /// ssh's port, when it is not the default.
        port: Option<u16>,
        /// Further arguments for the ssh command line, such as `-i FILE`.
        options: Vec<String>,
        /// Pushes share one persistent connection.
        control_master: bool,
    },
}

impl Peer {
    /// A peer with the defaults of both forms of a configuration, and no parameters.
    pub fn new(host: impl Into<String>, target: Target) -> Self {
        Self {
            host: host.into(),
            target,
            user: None,
            password_file: None,
            params: Vec::new(),
            timeout_s: TIMEOUT_S,
            fsync: false,
            rsync_program: OsBytes::from("rsync"),
        }
    }

    /// Its destination in rsync's own notation, without a password: `10.0.0.2::www`, `10.0.0.2:874::www`, `web@h:/srv`.
    /// This is the name of the remote in logs, in `status` and on the command line.
    pub fn name(&self) -> String {
        match &self.target {
            Target::Daemon { port: RSYNC_PORT, module } => format!("{}::{module}", self.host),
            Target::Daemon { port, module } => format!("{}:{port}::{module}", self.host),
            Target::Ssh { path, .. } => match &self.user {
                Some(user) => format!("{user}@{}:{path}", self.host),
                None => format!("{}:{path}", self.host),
            },
        }
    }
}
