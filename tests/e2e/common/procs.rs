//! Processes, read from /proc.

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::collections::HashSet;
use std::fs;

/// One process.
#[derive(Clone, Debug)]
pub struct Proc {
    pub pid: i32,
    pub parent: i32,
    pub group: i32,
    /// The kernel's letter: R, S, D, T, Z…
    pub state: char,
    /// Clock ticks after boot; with the pid it names a process for ever.
    pub started: u64,
    /// The command line, words separated by blanks.
    pub command: String,
}

impl Proc {
    /// The process `pid`, if there is one.
    pub fn read(pid: i32) -> Option<Proc> {
        let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
        let stat = String::from_utf8_lossy(&stat);
        // The name may hold blanks and parentheses: the fields begin after the last ')'.
        let fields: Vec<&str> = stat[stat.rfind(')')? + 2..].split(' ').collect();
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<_> = command
            .split(|&b| b == 0)
            .filter(|w| !w.is_empty())
            .map(String::from_utf8_lossy)
            .collect();
        Some(Proc {
            pid,
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            group: fields.get(2)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
            command: words.join(" "),
        })
    }

    /// True when this very process still runs (a zombie does not).
    pub fn runs(&self) -> bool {
        Proc::read(self.pid).is_some_and(|now| now.started == self.started && now.state != 'Z')
    }

    /// Sends `signal`, unless the process has ended.
    pub fn signal(&self, signal: Signal) {
        if self.runs() {
            let _ = kill(Pid::from_raw(self.pid), signal);
        }
    }
}

/// Every process of this machine.
pub fn all() -> Vec<Proc> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok());
    pids.filter_map(Proc::read).collect()
}

/// All processes below `root`, `root` not included.
pub fn descendants(root: i32) -> Vec<Proc> {
    let all = all();
    let mut family = HashSet::from([root]);
    let mut found: Vec<Proc> = Vec::new();
    loop {
        let more: Vec<Proc> = all
            .iter()
            .filter(|p| family.contains(&p.parent) && !family.contains(&p.pid))
            .cloned()
            .collect();
        if more.is_empty() {
            return found;
        }
        family.extend(more.iter().map(|p| p.pid));
        found.extend(more);
    }
}

/// All processes that carry `variable` (`NAME=value`) in the environment they were started with.
pub fn marked(variable: &str) -> Vec<Proc> {
    let has = |p: &Proc| {
        fs::read(format!("/proc/{}/environ", p.pid))
            .is_ok_and(|env| env.split(|&b| b == 0).any(|v| v == variable.as_bytes()))
    };
    all().into_iter().filter(|p| p.state != 'Z' && has(p)).collect()
}

/// Sends `signal` to a process group that the caller started.
pub fn signal_group(group: i32, signal: Signal) {
    assert!(group > 1, "not a process group of ours: {group}");
    let _ = killpg(Pid::from_raw(group), signal);
}

/// Sends `signal` to a process that the caller started and has not waited for.
pub fn signal_process(pid: i32, signal: Signal) {
    assert!(pid > 1, "not a process of ours: {pid}");
    let _ = kill(Pid::from_raw(pid), signal);
}
