//! Starts and stops processes: roles, which are this program again.

use super::account;
use super::channel::pair_for;
use super::log;
use super::umask::as_given;
use crate::message::Role;
use crate::path::printable;
use crate::stat::Exited;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(super) fn exited(status: ExitStatus) -> Exited {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exited::Code(code),
        (None, signal) => Exited::Signal(signal.unwrap_or(0)),
    }
}

/// The processes that this process has started and will reap itself. Every other child is an adopted one.
static STARTED: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

fn started() -> MutexGuard<'static, BTreeSet<u32>> {
    STARTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reaps the processes that this process has adopted: as process 1 of a container it becomes the parent of every
/// orphan.
pub fn reap_adopted() {
    if std::process::id() != 1 {
        return;
    }
    let own = started();
    for pid in ended_children(1).into_iter().filter(|pid| !own.contains(pid)) {
        let _ = waitpid(Pid::from_raw(pid as i32), Some(WaitPidFlag::WNOHANG));
    }
}

/// The children of a process that have exited and are not reaped.
fn ended_children(parent: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|p| p.file_name().to_str()?.parse::<u32>().ok());
    let ended = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name before it may contain any character, including parentheses.
        let (_, rest) = stat.rsplit_once(") ").unwrap_or_default();
        let mut words = rest.split(' ');
        (words.next(), words.next()) == (Some("Z"), Some(&parent.to_string()))
    };
    pids.filter(ended).collect()
}

/// A process in a group of its own.
pub struct GroupChild(Child);

impl GroupChild {
    /// The number of the process and of its group.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// True when it has exited and waits to be reaped.
    pub fn ended(&self) -> io::Result<bool> {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        Ok(waitid(Id::Pid(self.id()), flags)? != WaitStatus::StillAlive)
    }

    /// True if a signal has stopped it since the last call.
    pub fn halted(&self) -> bool {
        let flags = WaitPidFlag::WSTOPPED | WaitPidFlag::WNOHANG;
        matches!(waitid(Id::Pid(self.id()), flags), Ok(WaitStatus::Stopped(..)))
    }

    /// Kills the whole group immediately.
    pub fn kill(&self) {
        // The leader is not reaped yet, so its number is still valid. No process is left.
        let _ = killpg(self.id(), Signal::SIGKILL);
    }

    /// Does not wait for it: a process that hangs is treated as an adopted one. If it has exited, it is reaped.
    pub fn forget(&mut self) {
        let _ = self.0.try_wait();
        started().remove(&self.pid());
    }

    /// Kills the rest of the group (an orphaned rsync), then waits for the leader.
    pub fn reap(mut self) -> io::Result<Exited> {
        self.kill();
        let ended = self.0.wait();
        started().remove(&self.pid());
        Ok(exited(ended?))
    }

    fn id(&self) -> Pid {
        Pid::from_raw(self.0.id() as i32)
    }
}

/// Starts this program again, with the title `title`, `channel` of [`super::channel::pair_for`] as its standard input,
/// and a process group of its own. `/proc/self/exe` is the same binary even after an upgrade.
pub fn start_role(role: Role, title: &OsStr, channel: OwnedFd) -> io::Result<GroupChild> {
    start(role, title, None, channel)
}

/// The same for the role that reads a token file.
pub fn start_reader(file: &Path, channel: OwnedFd) -> io::Result<GroupChild> {
    start(Role::Token, "syncsup: token".as_ref(), Some(file), channel)
}

fn start(
    role: Role,
    title: &OsStr,
    file: Option<&Path>,
    channel: OwnedFd,
) -> io::Result<GroupChild> {
    let mut command = Command::new(ITSELF);
    command.args(file).arg0(title).current_dir("/").process_group(0);
    // Only the supervisor notifies systemd. A plugin's command must not.
    for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] {
        command.env_remove(name);
    }
    command.envs(account::environment().iter().cloned());
    command.envs(log::variable());
    command.stdin(channel).stdout(Stdio::null()).env(MARK, role.word());
    let child = as_given(|| command.spawn())?;
    started().insert(child.id());
    Ok(GroupChild(child))
}

/// For a role just started: takes the channel from standard input, which becomes /dev/null, and sets the short name
/// that `ps` and `top` show.
pub fn take_channel(name: &OsStr) -> io::Result<OwnedFd> {
    let channel = io::stdin().as_fd().try_clone_to_owned()?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    let name = CString::new(name.as_bytes())?;
    nix::sys::prctl::set_name(&name)?;
    Ok(channel)
}

/// The path of this program. A unit test has no roles, so the value does not matter.
pub const ITSELF: &str = if cfg!(test) { "/bin/true" } else { "/proc/self/exe" };

/// A process that runs syncfs on one file system. If it hangs, it can be abandoned; a thread cannot.
pub struct FileSystemSync(Child);

impl FileSystemSync {
    /// Starts it for the file system of `directory`.
    pub fn start(directory: &Path) -> io::Result<Self> {
        let mut command = Command::new(ITSELF);
        command.arg0("syncsup: sync").current_dir(directory).process_group(0);
        let (_, theirs) = pair_for(Role::Sync)?;
        command.stdin(theirs).stdout(Stdio::null()).stderr(Stdio::null());
        let child = as_given(|| command.spawn())?;
        started().insert(child.id());
        Ok(Self(child))
    }

    /// True when each process has finished; an error when one failed.
    pub fn all_done(syncs: &mut Vec<Self>) -> io::Result<bool> {
        let mut left = Vec::new();
        for mut sync in syncs.drain(..) {
            match sync.0.try_wait()? {
                None => left.push(sync),
                Some(status) if status.success() => {}
                Some(status) => return Err(io::Error::other(status.to_string())),
            }
        }
        *syncs = left;
        Ok(syncs.is_empty())
    }
}

impl Drop for FileSystemSync {
    fn drop(&mut self) {
        // A process that hangs is treated as an adopted one.
        started().remove(&self.0.id());
    }
}

/// A process that examines a path where the lookup may never return. If it hangs, it is not waited for. Dropping the
/// value kills it, as far as that is possible.
pub struct Question(Child);

impl Question {
    /// Starts it.
    pub fn ask(path: &Path) -> io::Result<Self> {
        let mut command = Command::new(ITSELF);
        command.arg0("syncsup: look").arg(path).process_group(0);
        let (_, theirs) = pair_for(Role::Look)?;
        command.stdin(theirs).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self(command.spawn()?))
    }

    /// True when it has exited. An error is an answer, too.
    pub fn is_answered(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        // It has exited, or will never exit.
        let _ = self.0.kill();
        let _ = self.0.try_wait();
    }
}

/// In that process: calls statfs on a path.
pub fn look_at(path: &Path) {
    // The result does not matter.
    let _ = rustix::fs::statfs(path);
}

/// In that process: syncs the file system of its working directory.
pub fn sync_here() -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(".")?)?)
}

/// The CPU time of this process, and of all its children that have been waited for.
pub fn cpu_times() -> (Duration, Duration) {
    use nix::sys::resource::{UsageWho, getrusage};
    use nix::sys::time::TimeValLike;
    let of = |who| {
        let Ok(usage) = getrusage(who) else { return Duration::ZERO };
        let spent = usage.user_time() + usage.system_time();
        Duration::from_micros(spent.num_microseconds().unsigned_abs())
    };
    (of(UsageWho::RUSAGE_SELF), of(UsageWho::RUSAGE_CHILDREN))
}

/// Kills a process by number. A process that no longer exists is no error. Only for numbers that are known to be ours.
pub fn kill_pid(pid: u32) {
    let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
}

/// A variable in the environment of every role and of every process that a role starts.
const MARK: &str = "ITSELFUP_ROLE";

/// A process that holds the lock on a file: the process that took it, or one that inherited it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// The name of its program.
    pub name: String,
    /// True if it is a role of this program, or was started by one.
    pub ours: bool,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "pid {} ({})", self.pid, printable(self.name.as_bytes()))
    }
}

/// The processes, other than this one, that hold the flock on `file`, according to their descriptors in /proc. A
/// process that only has the file open, such as a backup, holds no lock and is not included.
pub fn lock_holders(file: &Path) -> Vec<Holder> {
    let Ok(file_seen) = std::fs::metadata(file) else { return Vec::new() };
    let signer = super::lock::holder(file);
    let me = std::process::id();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|p| p.file_name().to_str()?.parse::<u32>().ok());
    let holder = |pid: u32| {
        let takers = takers(pid, (file_seen.dev(), file_seen.ino()));
        let taker = *takers.first()?;
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let marked = || {
            let words = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            words
                .split(|&b| b == 0)
                .any(|w| w.strip_prefix(MARK.as_bytes()).is_some_and(|w| w.starts_with(b"=")))
        };
        let ours = is_ours(taker, signer, marked);
        Some(Holder { pid, name: name.trim_end().to_owned(), ours })
    };
    pids.filter(|&pid| pid != me).filter_map(holder).collect()
}

/// Whether the holder of a lock belongs to us. The process that took the lock must be the role that signed it. Its
/// number is 0 when it has exited and the kernel no longer reports it. In that case the holder must have been started
/// by a role.
fn is_ours(taker: u32, signer: Option<u32>, marked: impl FnOnce() -> bool) -> bool {
    match taker {
        0 => marked(),
        taker => signer == Some(taker),
    }
}

/// The processes that took the locks on this file that a process holds.
fn takers(pid: u32, id: (u64, u64)) -> Vec<u32> {
    let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    // A stat of a descriptor that is not a file may wait for a server: the link is checked first.
    let files = fds.filter(|fd| {
        let link = std::fs::read_link(fd.path());
        link.is_ok_and(|link| link.is_absolute() && !link.starts_with("/dev"))
            && std::fs::metadata(fd.path()).is_ok_and(|m| (m.dev(), m.ino()) == id)
    });
    let info = |fd: std::fs::DirEntry| {
        let file = format!("/proc/{pid}/fdinfo/{}", fd.file_name().to_str()?);
        taker_in(&std::fs::read_to_string(file).ok()?)
    };
    files.filter_map(info).collect()
}

/// The number in a line such as `lock:\t1: FLOCK  ADVISORY  WRITE 123 08:01:42 0 EOF`.
fn taker_in(info: &str) -> Option<u32> {
    let lock =
        info.lines().find_map(|line| line.strip_prefix("lock:").filter(|l| l.contains("FLOCK")))?;
    lock.split_ascii_whitespace().nth(4)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exited_child_is_visible_until_it_is_reaped() {
        let mut child = Command::new("/bin/true").spawn().unwrap();
        let (me, pid) = (std::process::id(), child.id());
        while !ended_children(me).contains(&pid) {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(!ended_children(me).contains(&pid));
    }

    #[test]
    fn a_lock_holder_is_ours_only_if_it_inherited_the_lock() {
        let info =
            "pos:\t0\nflags:\t0100001\nlock:\t1: FLOCK  ADVISORY  WRITE 123 08:01:42 0 EOF\n";
        assert_eq!(taker_in(info), Some(123));
        let posix = "lock:\t1: POSIX  ADVISORY  WRITE 123 08:01:42 0 EOF\n";
        assert_eq!([taker_in(posix), taker_in("pos:\t0\n")], [None, None]);
        for (taker, signer, marked, ours) in [
            (5, Some(5), false, true),
            (5, Some(6), true, false),
            (5, None, true, false),
            (0, Some(5), true, true),
            (0, Some(5), false, false),
        ] {
            assert_eq!(is_ours(taker, signer, || marked), ours, "{taker} {signer:?} {marked}");
        }
    }

    #[test]
    fn readers_of_a_locked_file_and_other_holders_are_not_ours() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("lock");
        let sleeper = |redirect: &str| {
            let script = format!("exec {redirect}{}; exec sleep 60", file.display());
            let mut child = Command::new("sh").arg("-c").arg(script).spawn().unwrap();
            let comm = format!("/proc/{}/comm", child.id());
            let sleeps = || std::fs::read_to_string(&comm);
            while sleeps().unwrap() != "sleep\n" {
                assert!(child.try_wait().unwrap().is_none());
                std::thread::yield_now();
            }
            child
        };
        let lock = super::super::lock::take(&file, true).unwrap().unwrap();
        lock.sign().unwrap();
        let mut heir = Command::new("sleep").arg("60").spawn().unwrap();
        let mut reader = lock.hidden(|| sleeper("7<")).unwrap();
        let holders = lock_holders(&file);
        let of = |child: &Child| holders.iter().find(|h| h.pid == child.id()).map(|h| h.ours);
        // Other tests of this process start processes meanwhile, which also inherit the descriptor.
        assert_eq!((of(&heir), of(&reader)), (Some(true), None), "{holders:?}");
        for child in [&mut heir, &mut reader] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        drop(lock);
        let flock = Command::new("flock").arg(&file).args(["sleep", "60"]).spawn();
        let Ok(mut stranger) = flock else { return eprintln!("SKIPPED: no flock(1)") };
        let taken = || lock_holders(&file).into_iter().find(|h| h.pid == stranger.id());
        let holder = loop {
            if let Some(holder) = taken() {
                break holder;
            }
            std::thread::yield_now();
        };
        assert!(!holder.ours && holder.name == "flock", "{holder}");
        for holder in lock_holders(&file).iter().filter(|h| h.name == "sleep") {
            kill_pid(holder.pid);
        }
        stranger.wait().unwrap();
    }
}
