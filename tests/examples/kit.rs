//! Copies of examples, and the daemons that their files describe.

use crate::common::instance::Instance;
use crate::common::procs::signal_group;
use crate::common::wait::{DEADLINE, wait_for};
use nix::sys::signal::Signal;
use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// The password of every daemon here.
pub const PASSWORD: &str = "hunter2";

/// Copies `examples/NAME` to `to`, and in all its files each first word to its second, one after another. Each must
/// stand somewhere, so that no change here outlives what it was for.
pub fn copy(name: &str, to: &Path, changes: &[(&str, &str)]) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
    let mut used = vec![false; changes.len()];
    copy_into(&from, to, changes, &mut used);
    let unused: Vec<_> = changes.iter().zip(used).filter(|(_, u)| !u).map(|(c, _)| c.0).collect();
    assert!(unused.is_empty(), "{name} does not say {unused:?}");
}

fn copy_into(from: &Path, to: &Path, changes: &[(&str, &str)], used: &mut [bool]) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|e| e.unwrap()) {
        let (path, there) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_into(&path, &there, changes, used);
            continue;
        }
        let mut text = fs::read_to_string(&path).unwrap();
        for ((old, new), used) in changes.iter().zip(used.iter_mut()) {
            *used |= text.contains(old);
            text = text.replace(old, new);
        }
        fs::write(&there, text).unwrap();
        fs::set_permissions(&there, fs::metadata(&path).unwrap().permissions()).unwrap();
    }
}

/// Writes a file that only its owner may read.
pub fn secret(path: &Path, text: &str) {
    fs::write(path, format!("{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Writes a script.
pub fn script(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Only root may do what the examples' daemons do; for others they keep symbolic links by other means.
pub fn for_this_user(conf: &Path) {
    if !nix::unistd::geteuid().is_root() {
        let text = fs::read_to_string(conf).unwrap();
        let text = text.replace("uid = root\n", "").replace("gid = root\n", "");
        let text = text.replace("use chroot = yes", "use chroot = no\nmunge symlinks = no");
        fs::write(conf, text).unwrap();
    }
}

/// The rsync daemon that a file describes. Killed when dropped.
pub struct Daemon(Child);

impl Daemon {
    /// Listens at an address of the loopback.
    pub fn start(conf: &Path, address: &str, port: u16) -> Daemon {
        for_this_user(conf);
        let mut command = Command::new("rsync");
        command.args(["--daemon", "--no-detach", &format!("--address={address}")]);
        command.arg(format!("--port={port}")).arg(format!("--config={}", conf.display()));
        command.stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
        let daemon = Daemon(command.spawn().expect("rsync --daemon starts"));
        wait_greeting(address, port);
        daemon
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        signal_group(self.0.id() as i32, Signal::SIGKILL);
        let _ = self.0.wait();
    }
}

/// Waits until an rsync daemon answers.
pub fn wait_greeting(address: &str, port: u16) {
    wait_for(&format!("an rsync daemon at {address}:{port}"), DEADLINE, || {
        let Ok(mut stream) = TcpStream::connect((address, port)) else { return false };
        let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
        let mut hello = [0; 8];
        stream.read_exact(&mut hello).is_ok() && &hello == b"@RSYNCD:"
    });
}

/// An instance of a copied configuration, which `syncsup check` finds right.
pub fn instance(dir: &Path, config: &Path) -> Instance {
    let text = fs::read_to_string(config).unwrap();
    let instance = Instance::new(dir, "syncsup.yaml", &text);
    let checked = good(instance.command(&["check"]));
    assert!(checked.lines().any(|l| l == "ok" || l.starts_with("ok, ")), "{checked}");
    instance
}

/// A directory with a `syncsup` that is an instance's, for the PATH of a script.
pub fn path_with(instance: &Instance, dir: &Path) -> String {
    let text = format!(
        "exec '{}' --no-sysctl --state-dir '{}' --run-dir '{}' \"$@\"",
        Instance::program().display(),
        instance.state_dir().display(),
        instance.run_dir().display()
    );
    script(&dir.join("syncsup"), &text);
    format!("{}:{}", dir.display(), std::env::var("PATH").unwrap())
}

/// Everything a command has said.
pub fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat()
}

/// What a command that went well has said.
#[track_caller]
pub fn good(output: Output) -> String {
    assert!(output.status.success(), "{}", said(&output));
    said(&output)
}

/// `path` as a word.
pub fn word(path: impl Into<PathBuf>) -> String {
    path.into().display().to_string()
}
