//! The processes of the demo, read from /proc.

use crate::path::printable;
use crate::sys::family;
use crate::sys::process::kill_pid;
use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

/// One process.
#[derive(Clone, Debug)]
pub struct DemoProcess {
    /// Its process ID.
    pub pid: u32,
    parent: u32,
    group: u32,
    zombie: bool,
    title: String,
}

/// All processes below this one that have not ended.
pub fn family() -> Vec<DemoProcess> {
    below(std::process::id())
}

/// The same without the processes of the given process groups.
pub fn family_without(groups: &[u32]) -> Vec<DemoProcess> {
    family().into_iter().filter(|p| !groups.contains(&p.group)).collect()
}

/// All processes below `root` that have not ended, parents first.
pub fn below(root: u32) -> Vec<DemoProcess> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok());
    let all: Vec<DemoProcess> = pids.filter_map(read).collect();
    let mut known = BTreeSet::from([root]);
    let mut found = Vec::new();
    loop {
        let more: Vec<&DemoProcess> =
            all.iter().filter(|p| known.contains(&p.parent) && !known.contains(&p.pid)).collect();
        if more.is_empty() {
            return found;
        }
        known.extend(more.iter().map(|p| p.pid));
        found.extend(more.into_iter().filter(|p| !p.zombie).cloned());
    }
}

/// The process tree below `root`, with the watcher first. rsyncs are left out, because they come and go.
pub fn tree(root: u32, title: &str) -> Vec<String> {
    let mut children: Vec<DemoProcess> = below(root)
        .into_iter()
        .filter(|p| p.parent == root && p.title.starts_with("syncsup"))
        .collect();
    children.sort_by_key(|p| (!p.title.contains("watcher"), p.pid));
    let mut lines = vec![format!("{root:>8}  {title}")];
    for (n, child) in children.iter().enumerate() {
        let branch = if n + 1 == children.len() { "└─" } else { "├─" };
        lines.push(format!("{:>8}  {branch} {}", child.pid, child.title));
    }
    lines
}

/// Kills and reaps all processes below this one, even if new ones keep appearing. Returns true if none is left.
pub fn end_all(patience: Duration) -> bool {
    let end = Instant::now() + patience;
    loop {
        for process in family() {
            kill_pid(process.pid);
        }
        if !family::reap_ended() && family().is_empty() {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn read(pid: u32) -> Option<DemoProcess> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    // The name may contain blanks and parentheses. The fields begin after the last ')'.
    let mut fields = stat.get(stat.rfind(')')? + 2..)?.split(' ');
    let zombie = matches!(fields.next()?, "Z" | "X");
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let title = printable(line.split(|&b| b == 0).next().unwrap_or_default());
    Some(DemoProcess { pid, parent, group, zombie, title })
}
