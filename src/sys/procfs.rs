//! The processes of other programs, from /proc.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// A running process. A field that may not be read is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its number.
    pub pid: u32,
    /// Its program.
    pub exe: Option<PathBuf>,
    /// Its working directory.
    pub cwd: Option<PathBuf>,
    /// Its command line, beginning with the program's name.
    pub args: Vec<OsString>,
}

/// Every process that has a command line.
pub fn running() -> Vec<Running> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|e| e.file_name().to_str()?.parse().ok());
    pids.filter_map(look).collect()
}

/// True if a process runs or waits for the CPU; false if it sleeps, is stopped, or is gone.
pub fn is_runnable(pid: u32) -> bool {
    // The name of the program may contain anything.
    let stat = fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after = stat.iter().rposition(|byte| *byte == b')');
    after.is_some_and(|at| stat[at..].starts_with(b") R"))
}

fn look(pid: u32) -> Option<Running> {
    let dir = Path::new("/proc").join(pid.to_string());
    let line = fs::read(dir.join("cmdline")).ok().filter(|line| !line.is_empty())?;
    let words = line.strip_suffix(b"\0").unwrap_or(&line).split(|&b| b == 0);
    Some(Running {
        pid,
        exe: fs::read_link(dir.join("exe")).ok(),
        cwd: fs::read_link(dir.join("cwd")).ok(),
        args: words.map(|w| OsString::from_vec(w.to_vec())).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    use std::process::Command;

    #[test]
    fn a_process_that_computes_is_runnable_and_a_stopped_one_is_not() {
        let mut child = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        let pid = Pid::from_raw(child.id() as i32);
        while !is_runnable(child.id()) {
            std::thread::yield_now();
        }
        kill(pid, Signal::SIGSTOP).unwrap();
        while is_runnable(child.id()) {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!is_runnable(child.id()));
    }
}
