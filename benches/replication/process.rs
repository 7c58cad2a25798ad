//! What the kernel says of the processes of a system.

use std::fs;
use std::process::Command;

/// A process and those below it.
pub fn family(pid: u32) -> Vec<u32> {
    std::iter::once(pid).chain(descendants(pid)).collect()
}

/// The processes below a process.
pub fn descendants(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let children = fs::read_to_string(path).unwrap_or_default();
    let children: Vec<u32> =
        children.split(' ').filter_map(|word| word.trim().parse().ok()).collect();
    let below: Vec<u32> = children.iter().flat_map(|child| descendants(*child)).collect();
    children.into_iter().chain(below).collect()
}

/// Kills a process and those below it.
pub fn kill(pid: u32) {
    signal(pid, "-KILL");
}

/// Sends a signal to a process and those below it.
pub fn signal(pid: u32, signal: &str) {
    for pid in descendants(pid).into_iter().chain([pid]) {
        let _ = Command::new("kill").args([signal, &pid.to_string()]).status();
    }
}

/// The CPU time of a process, of its descendants, and of those that they have waited for, in seconds.
pub fn cpu_s(pid: u32) -> f64 {
    let of = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields = stat.rsplit_once(')').map(|(_, rest)| rest.to_owned()).unwrap_or_default();
        let times = fields.split_ascii_whitespace().skip(11).take(4);
        times.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>()
    };
    let ticks: u64 = family(pid).into_iter().map(of).sum();
    ticks as f64 / 100.0
}

/// The CPU time of a process and of its living descendants, in seconds. It counts nanoseconds where [`cpu_s`] counts ticks.
pub fn fine_cpu_s(pid: u32) -> f64 {
    let of = |pid: u32| {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let times = tasks.filter_map(|task| {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split_ascii_whitespace().next()?.parse::<u64>().ok()
        });
        times.sum::<u64>()
    };
    let nanoseconds: u64 = family(pid).into_iter().map(of).sum();
    nanoseconds as f64 / 1e9
}

/// The memory that only this process or one of its descendants has, in MB.
pub fn private_mb(pid: u32) -> f64 {
    let of = |pid: u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let lines = text.lines().filter_map(|line| line.strip_prefix("Private_"));
        let sizes =
            lines.filter_map(|line| line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok());
        sizes.sum::<u64>()
    };
    let kilobytes: u64 = family(pid).into_iter().map(of).sum();
    kilobytes as f64 * 1_024.0 / 1e6
}

/// The inotify watches of a process and of its descendants.
pub fn watches(pid: u32) -> usize {
    let of = |pid: u32| {
        let files = fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten();
        let texts = files.filter_map(|file| fs::read_to_string(file.path()).ok());
        let count = |text: String| text.lines().filter(|l| l.starts_with("inotify wd:")).count();
        texts.map(count).sum::<usize>()
    };
    family(pid).into_iter().map(of).sum()
}

/// The length of the kernel's queues of events.
pub fn max_queued_events() -> usize {
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap_or_default();
    limit.trim().parse().unwrap_or(usize::MAX / 2)
}

/// True if one of the descendants of a process runs this program.
pub fn runs(pid: u32, program: &str) -> bool {
    let name = |pid: u32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    descendants(pid).into_iter().any(|pid| name(pid).trim_end() == program)
}
