//! The files that make an instance the only one of its configuration: its lock, its pid file, its control socket.

use super::InstanceOptions;
use super::control::ControlSocket;
use crate::error::{Error, Exit, Result};
use crate::instance::directories::{
    GIVEN, instance, is_of_module, started_with, with_module, write_given,
};
use crate::language::say;
use crate::sys::lock::{self, Lock};
use std::path::PathBuf;

/// Held while the instance runs.
pub struct RunFiles {
    /// The socket that receives commands.
    pub control: ControlSocket,
    pid_file: PathBuf,
    given_file: PathBuf,
    _lock: Lock,
}

impl RunFiles {
    /// Creates the files in the run directory. Exit status 4 if the instance already runs.
    pub fn take(options: &InstanceOptions) -> Result<Self> {
        let id = instance(&options.files);
        let id = options.module.as_ref().map_or(id.clone(), |kind| with_module(&id, kind));
        let file = |extension| options.directories.run_file(&id, extension);
        let (lock_path, pid_file, socket) = (file("lock"), file("pid"), file("sock"));
        let given_file = file(GIVEN);
        let lock = lock::take_over(&lock_path)
            .map_err(|e| Error::system(say!("cannot lock {}", lock_path.display()), e))?
            .ok_or_else(|| runs_already(options, &pid_file))?;
        for other in namesakes(options, &id) {
            let path = options.directories.run_file(&other, "lock");
            if lock::take(&path, false).is_ok_and(|lock| lock.is_none()) {
                return Err(runs_already(options, &options.directories.run_file(&other, "pid")));
            }
        }
        // Before the socket exists, by which commands find the instance.
        write_given(&given_file, &options.files)
            .map_err(|e| Error::system(say!("cannot write {}", given_file.display()), e))?;
        let control = ControlSocket::listen(&socket)
            .map_err(|e| Error::system(say!("cannot listen on {}", socket.display()), e))?;
        std::fs::write(&pid_file, format!("{}\n", std::process::id()))
            .map_err(|e| Error::system(say!("cannot write {}", pid_file.display()), e))?;
        Ok(Self { control, pid_file, given_file, _lock: lock })
    }

    /// Removes the files, the lock last.
    pub fn leave(self, patience: std::time::Duration) {
        let _ = std::fs::remove_file(&self.pid_file);
        let _ = std::fs::remove_file(&self.given_file);
        self.control.finish(patience);
    }
}

/// Other instances of the same `-m` that were started with the same paths, which then led to other files.
fn namesakes(options: &InstanceOptions, id: &str) -> Vec<String> {
    let mut found = started_with(&options.directories.run, &options.files);
    found.retain(|other| other != id && is_of_module(other, options.module.as_deref()));
    found
}

fn runs_already(options: &InstanceOptions, pid_file: &std::path::Path) -> Error {
    let pid = std::fs::read_to_string(pid_file).unwrap_or_default();
    let option = options.directories.run_option();
    let files: Vec<_> = options.files.iter().map(|f| f.display().to_string()).collect();
    let text = say!(
        "a supervisor already runs with {} (pid {}); see `syncsup status{}`, or stop it with `syncsup stop{}`",
        files.join(", "),
        pid.trim(),
        option,
        option
    );
    Error::new(Exit::AlreadyRunning, text)
}
