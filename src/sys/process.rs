//! Starts and stops processes: roles (this program again) and rsync.

use super::channel::pair_for;
use super::script::explained;
use super::session::monotonic;
use super::umask::as_given;
use crate::message::Role;
use crate::path::printable;
use crate::stat::{Exited, Progress, cpu_ticks};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tempfile::NamedTempFile;

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
    let mut command = Command::new("/proc/self/exe");
    command.arg0(title).current_dir("/").process_group(0);
    // Only the supervisor notifies systemd. A plugin's command must not.
    for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] {
        command.env_remove(name);
    }
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
const SYNCS: &str = if cfg!(test) { "/bin/true" } else { "/proc/self/exe" };

/// A process that runs syncfs on one file system. If it hangs, it can be abandoned; a thread cannot.
pub struct FileSystemSync(Child);

impl FileSystemSync {
    /// Starts it for the file system of `directory`.
    pub fn start(directory: &Path) -> io::Result<Self> {
        let mut command = Command::new(SYNCS);
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
        let mut command = Command::new(SYNCS);
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

/// The kernel function in which an open of a fifo waits: since 5.5 with fifos built in, and before 5.5.
const FIFO_WAITS: &[&str] = &["wait_for_partner", "fifo_open", "pipe_wait"];

/// The most memory that the complaints of an rsync take. An rsync that writes more exits.
const STDERR_MOST: u64 = 32 << 20;
/// Bytes of the complaints that are read.
const STDERR_READ: u64 = 1 << 20;
/// The most that its output takes, however much memory is free.
const STDOUT_MOST: u64 = 4 << 30;
/// The least that its output may take.
const STDOUT_LEAST: u64 = 64 << 20;
/// The most that its output may grow between two checks, so that a flood is noticed before it has taken much.
const STDOUT_AT_ONCE: u64 = 256 << 20;
/// The interval of the checks whether an rsync makes progress.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The source of an rsync's list.
enum List {
    /// No list.
    Empty,
    /// This file, with the same position.
    File(File),
    /// A pipe. Once rsync has read more than this number of bytes, the other end has answered.
    Pipe(u64),
}

/// A running rsync. Its list is given and its output goes to files, so the caller only waits for its exit.
pub struct Rsync {
    child: Child,
    list: List,
    /// Its output. Read it after the exit, or from the start at any time.
    pub stdout: File,
    stderr: File,
    /// Bytes that it may print in total.
    stdout_most: u64,
    /// Bytes that it may print before the next check; `None` where its files are not bounded.
    allowed: Option<u64>,
    /// A file that it opens by name.
    _reads: Option<NamedTempFile>,
}

impl Rsync {
    /// Starts `argv` with `directory` as its working directory, `list` as its standard input (never a terminal), and
    /// its output in unnamed files in `scratch`.
    pub fn start(
        argv: &[OsString],
        envs: &[(&str, &str)],
        unset: &[&str],
        directory: &Path,
        list: &[u8],
        scratch: &Path,
    ) -> io::Result<Self> {
        let (program, words) =
            argv.split_first().ok_or_else(|| io::Error::other("an empty command line"))?;
        let mut input = memory_file("list")?;
        input.write_all(list)?;
        input.rewind()?;
        let watched = match list {
            [] => List::Empty,
            _ => List::File(input.try_clone()?),
        };
        Self::spawn(program, words, envs, unset, directory, (input.into(), watched), scratch)
    }

    fn spawn(
        program: &OsStr,
        words: &[OsString],
        envs: &[(&str, &str)],
        unset: &[&str],
        directory: &Path,
        (input, list): (OwnedFd, List),
        scratch: &Path,
    ) -> io::Result<Self> {
        let stdout = tempfile::tempfile_in(scratch).map_err(|e| {
            // "no such file" alone would seem to mean the program.
            let what = format!("cannot create a scratch file in {}", scratch.display());
            io::Error::new(e.kind(), format!("{what}: {e}"))
        })?;
        let stderr = bounded_memory_file("stderr", STDERR_MOST)?;
        let mut command = Command::new(program);
        command.args(words).current_dir(directory).envs(envs.iter().copied());
        for name in unset {
            command.env_remove(name);
        }
        command.stdin(input).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
        let child = as_given(|| command.spawn()).map_err(|e| explained(program, e))?;
        // Half of the free space, because other processes write to the same file system.
        let free =
            rustix::fs::fstatvfs(&stdout).map_or(STDOUT_MOST, |fs| fs.f_bavail * fs.f_frsize);
        let stdout_most = (free / 2).clamp(STDOUT_LEAST, STDOUT_MOST);
        // A log file of the user may be larger.
        let logs = words.iter().any(|word| word.as_encoded_bytes().starts_with(b"--log-file"));
        let allowed = (!logs).then(|| STDOUT_AT_ONCE.min(stdout_most));
        if let Some(allowed) = allowed {
            bound_files(&child, allowed, stdout_most);
        }
        Ok(Self { child, list, stdout, stderr, stdout_most, allowed, _reads: None })
    }

    /// Keeps a file that it opens by name until it has exited.
    pub fn reading(mut self, file: Option<NamedTempFile>) -> Self {
        self._reads = file;
        self
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// True when it was started before its work was known.
    pub fn was_ahead(&self) -> bool {
        matches!(self.list, List::Pipe(_))
    }

    /// True when it has begun to read its list. A sending rsync does so once the other end has answered. Also true
    /// where this cannot be known, because it has no list.
    pub fn answered(&self) -> bool {
        match &self.list {
            List::Empty => true,
            List::File(list) => (&*list).stream_position().map_or(true, |at| at > 0),
            List::Pipe(read) => self.bytes_read().is_none_or(|bytes| bytes > *read),
        }
    }

    /// Its exit status, if it has exited.
    pub fn ended(&mut self) -> io::Result<Option<Exited>> {
        let ended = self.child.try_wait()?.map(exited);
        if ended.is_none() && !self.overflows() {
            self.allow_more();
        }
        Ok(ended)
    }

    /// Raises the limit of its output when it has used half of the limit.
    fn allow_more(&mut self) {
        let wanted = self.printed().0.saturating_add(STDOUT_AT_ONCE).min(self.stdout_most);
        if let Some(allowed) = &mut self.allowed
            && wanted > *allowed + STDOUT_AT_ONCE / 2
        {
            *allowed = wanted;
            bound_files(&self.child, wanted, self.stdout_most);
        }
    }

    /// Waits for its exit. Checks every `pause`, and calls `each` each time. Kills an rsync that makes no progress for
    /// longer than `limit` allows, or that waits for a process to open a fifo; the error says so.
    pub fn finish(
        &mut self,
        limit: Duration,
        pause: Duration,
        mut each: impl FnMut(&mut Self),
    ) -> io::Result<Exited> {
        let (mut moved, mut looked) = ((Progress::Output(0), monotonic()), monotonic());
        loop {
            if let Some(exited) = self.ended()? {
                return Ok(exited);
            }
            each(self);
            let now = monotonic();
            if now.saturating_sub(looked) >= LOOK_EVERY.min(limit) {
                looked = now;
                let progress = self.progress();
                if progress != moved.0 {
                    moved = (progress, now);
                }
                let stalled = now.saturating_sub(moved.1);
                let blocked = stalled >= LOOK_EVERY && self.waits_for_fifo();
                if blocked || stalled > limit * progress.grace() {
                    self.kill()?;
                    let seconds = stalled.as_secs();
                    let why = match blocked {
                        true => "a file became a fifo while rsync read it".to_owned(),
                        false => format!(
                            "no answer: rsync was killed after {seconds} s without progress"
                        ),
                    };
                    return Err(io::Error::new(io::ErrorKind::TimedOut, why));
                }
            }
            std::thread::sleep(pause);
        }
    }

    /// Kills it immediately and waits for it.
    pub fn kill(&mut self) -> io::Result<Exited> {
        self.child.kill()?;
        Ok(exited(self.child.wait()?))
    }

    /// Bytes it has read so far, mostly file content; `None` where the system does not report it.
    pub fn bytes_read(&self) -> Option<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/io", self.child.id())).ok()?;
        text.lines().find_map(|l| l.strip_prefix("rchar: "))?.trim().parse().ok()
    }

    /// Its CPU time so far, and whether it sleeps. `None` where the system does not report it.
    pub fn cpu(&self) -> Option<(Duration, bool)> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).ok()?;
        let (ticks, sleeps) = cpu_ticks(&stat)?;
        let per_s = rustix::param::clock_ticks_per_second().max(1);
        Some((Duration::from_millis(ticks * 1_000 / per_s), sleeps))
    }

    /// True while it waits for a process to open the other end of a fifo. False also where the kernel does not show
    /// what it waits for. The name may refer to another file by now.
    pub fn waits_for_fifo(&self) -> bool {
        let place = std::fs::read_to_string(format!("/proc/{}/wchan", self.child.id()));
        place.is_ok_and(|place| FIFO_WAITS.iter().any(|wait| place.starts_with(wait)))
    }

    /// Counts the lines it has printed after the first `from` bytes, and returns the number of bytes counted so far.
    pub fn lines_after(&self, from: u64) -> (u64, u64) {
        let mut lines = 0;
        let at = self.printed_after(from, |chunk| {
            lines += chunk.iter().filter(|&&b| b == b'\n').count() as u64;
        });
        (lines, at)
    }

    /// Its complaints, from the start, up to a limit.
    pub fn complaints(&mut self) -> io::Result<Vec<u8>> {
        let said = self.stderr.stream_position()?;
        self.stderr.rewind()?;
        let mut text = Vec::new();
        (&self.stderr).take(said.min(STDERR_READ)).read_to_end(&mut text)?;
        Ok(text)
    }

    /// Bytes that it has printed, and bytes of its complaints.
    pub fn printed(&self) -> (u64, u64) {
        let stdout = self.stdout.metadata().map_or(0, |m| m.len());
        (stdout, (&self.stderr).stream_position().unwrap_or(0))
    }

    /// Passes what it has printed after the first `from` bytes to `each`, and returns the number of bytes printed so
    /// far.
    pub fn printed_after(&self, from: u64, mut each: impl FnMut(&[u8])) -> u64 {
        let (mut at, mut buffer) = (from, [0; 65_536]);
        // The child shares the position of this descriptor, so it must not change.
        while let Ok(n @ 1..) = self.stdout.read_at(&mut buffer, at) {
            each(&buffer[..n]);
            at += n as u64;
        }
        at
    }

    /// True when it has nearly or fully used its output limit: it exits by itself, or must be killed.
    pub fn overflows(&self) -> bool {
        const NEARLY: u64 = 64 << 10;
        let (stdout, stderr) = self.printed();
        stdout + NEARLY > self.allowed.unwrap_or(self.stdout_most) || stderr + NEARLY > STDERR_MOST
    }

    /// The last `bytes` that it has printed.
    pub fn printed_last(&self, bytes: u64) -> io::Result<Vec<u8>> {
        let from = self.stdout.metadata()?.len().saturating_sub(bytes);
        let (mut last, mut buffer) = (Vec::new(), [0; 4_096]);
        // The child shares the position of this descriptor, so it must not change.
        while let n @ 1.. = self.stdout.read_at(&mut buffer, from + last.len() as u64)? {
            last.extend_from_slice(&buffer[..n]);
        }
        Ok(last)
    }

    /// Its progress, for the watchdog.
    pub fn progress(&self) -> Progress {
        let proc =
            |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).ok();
        let (stdout, stderr) = self.printed();
        let listed = match &self.list {
            List::File(list) => (&*list).stream_position().unwrap_or(0),
            List::Empty | List::Pipe(_) => 0,
        };
        let output = stdout + stderr + listed;
        Progress::of(proc("io").as_deref(), || proc("stat"), output)
    }
}

/// An rsync that was started before its work was known. It connects, gets access, and waits for its list.
pub struct Ahead {
    rsync: Option<Rsync>,
    list: File,
}

impl Ahead {
    /// Starts it, as [`Rsync::start`] does.
    pub fn start(
        argv: &[OsString],
        envs: &[(&str, &str)],
        unset: &[&str],
        directory: &Path,
        scratch: &Path,
    ) -> io::Result<Self> {
        let (program, words) =
            argv.split_first().ok_or_else(|| io::Error::other("an empty command line"))?;
        let (input, list) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let input = (input, List::Pipe(0));
        let rsync = Rsync::spawn(program, words, envs, unset, directory, input, scratch)?;
        Ok(Self { rsync: Some(rsync), list: list.into() })
    }

    /// Its process.
    pub fn pid(&self) -> Option<u32> {
        self.rsync.as_ref().map(Rsync::pid)
    }

    /// False when it has exited.
    pub fn is_running(&mut self) -> bool {
        self.rsync.as_mut().is_some_and(|rsync| matches!(rsync.ended(), Ok(None)))
    }

    /// Its exit and its complaints, if it has exited.
    pub fn ended(&mut self) -> Option<(Exited, Vec<u8>)> {
        let rsync = self.rsync.as_mut()?;
        let exited = rsync.ended().ok()??;
        Some((exited, rsync.complaints().unwrap_or_default()))
    }

    /// Gives it its list. `None` when the list does not fit into the pipe, or when rsync no longer reads.
    pub fn feed(mut self, list: &[u8]) -> Option<Rsync> {
        let room = rustix::pipe::fcntl_getpipe_size(&self.list).unwrap_or(0);
        if list.len() > room && rustix::pipe::fcntl_setpipe_size(&self.list, list.len()).is_err() {
            return None;
        }
        let mut rsync = self.rsync.take()?;
        let read = rsync.bytes_read().unwrap_or(0);
        // The pipe has room for the whole list, so this does not block.
        if self.list.write_all(list).is_err() {
            let _ = rsync.kill();
            return None;
        }
        rsync.list = List::Pipe(read + list.len() as u64);
        Some(rsync)
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        // It has already exited.
        let _ = self.rsync.take().map(|mut rsync| rsync.kill());
    }
}

pub(super) fn memory_file(name: &str) -> io::Result<File> {
    Ok(rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC)?.into())
}

/// A file that takes no more than a number of bytes; a write beyond them fails. Its length is that number from the
/// start, and its position tells how much was written.
pub(super) fn bounded_memory_file(name: &str, most: u64) -> io::Result<File> {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
    let file = File::from(memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
    file.set_len(most)?;
    fcntl_add_seals(&file, SealFlags::GROW | SealFlags::SHRINK)?;
    Ok(file)
}

/// Limits the size of every file that the process writes: to a number of bytes for now, and to `most` at any time.
fn bound_files(child: &Child, now: u64, most: u64) {
    use rustix::process::{Resource, Rlimit, prlimit};
    let limit = Rlimit { current: Some(now), maximum: Some(most) };
    // The process has exited, or it has a lower limit. Both are harmless.
    let pid = rustix::process::Pid::from_raw(child.id() as i32);
    let _ = pid.map(|pid| prlimit(Some(pid), Resource::Fsize, limit));
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
const MARK: &str = "SYNCSUP_ROLE";

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
    fn a_failed_creation_names_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let (argv, gone) = ([OsString::from("/bin/true")], dir.path().join("gone"));
        let refused = Rsync::start(&argv, &[], &[], dir.path(), b"", &gone);
        let text = refused.err().map(|e| e.to_string()).unwrap_or_default();
        assert!(text.contains(&format!("scratch file in {}", gone.display())), "{text}");
    }

    #[test]
    fn a_blocked_open_of_a_fifo_is_seen_after_its_name_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let start = |script: &str| {
            let argv = ["/bin/sh", "-c", script].map(OsString::from);
            Rsync::start(&argv, &[], &[], dir.path(), b"", dir.path()).unwrap()
        };
        let (mut opens, mut sleeps) = (start("read x < fifo"), start("exec sleep 60"));
        while !opens.waits_for_fifo() {
            assert_eq!(opens.ended().unwrap(), None, "it ended without waiting");
            std::thread::yield_now();
        }
        std::fs::remove_file(&fifo).unwrap();
        assert!(opens.waits_for_fifo());
        while !std::fs::read_to_string(format!("/proc/{}/stat", sleeps.pid()))
            .unwrap()
            .contains("(sleep) S")
        {
            std::thread::yield_now();
        }
        assert!(!sleeps.waits_for_fifo());
        assert_eq!(opens.kill().unwrap(), Exited::Signal(9));
        assert_eq!(sleeps.kill().unwrap(), Exited::Signal(9));
    }

    #[test]
    fn a_hung_process_is_killed_and_a_working_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let run = |script: &str, limit| {
            let argv = ["/bin/sh", "-c", script].map(OsString::from);
            let mut run = Rsync::start(&argv, &[], &[], dir.path(), b"", dir.path()).unwrap();
            run.finish(limit, Duration::from_millis(1), |_| {})
        };
        let hung = run("exec sleep 600", Duration::from_millis(20)).unwrap_err();
        assert!(hung.to_string().contains("without progress"), "{hung}");
        assert_eq!(run("exit 3", Duration::from_secs(600)).unwrap(), Exited::Code(3));
    }

    #[test]
    fn output_and_status_are_returned() {
        let dir = tempfile::tempdir().unwrap();
        let argv = ["/bin/sh", "-c", "cat; echo oops >&2; pwd; exit 7"].map(OsString::from);
        let mut run =
            Rsync::start(&argv, &[("LC_ALL", "C")], &[], dir.path(), b"/a\0", dir.path()).unwrap();
        assert!(matches!(run.progress(), Progress::Bytes { .. }));
        let ended = run.child.wait().unwrap();
        assert_eq!(exited(ended), Exited::Code(7));
        assert_eq!(run.complaints().unwrap(), b"oops\n");
        let mut text = String::new();
        run.stdout.rewind().unwrap();
        run.stdout.read_to_string(&mut text).unwrap();
        assert_eq!(text, format!("/a\0{}\n", dir.path().canonicalize().unwrap().display()));
    }

    #[test]
    fn endless_stderr_takes_little_memory_and_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let argv = ["/bin/sh", "-c", "yes 'no end of it' >&2"].map(OsString::from);
        let mut run = Rsync::start(&argv, &[], &[], dir.path(), b"", dir.path()).unwrap();
        assert_ne!(exited(run.child.wait().unwrap()), Exited::Code(0), "a write failed");
        assert!(run.overflows() && run.printed().1 <= STDERR_MOST);
        let text = run.complaints().unwrap();
        assert!(text.len() as u64 == STDERR_READ && text.starts_with(b"no end of it\n"));
    }

    #[test]
    fn endless_output_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let argv = ["/bin/sh", "-c", "exec sleep 60"].map(OsString::from);
        let mut run = Rsync::start(&argv, &[], &[], dir.path(), b"", dir.path()).unwrap();
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", run.pid())).unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max file size")).unwrap();
        assert!(line.contains(&run.stdout_most.to_string()), "{line}");
        run.kill().unwrap();
        let log = [argv.as_slice(), &["--log-file=x".into()]].concat();
        let mut run = Rsync::start(&log, &[], &[], dir.path(), b"", dir.path()).unwrap();
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", run.pid())).unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max file size")).unwrap();
        assert!(!line.contains(&run.stdout_most.to_string()), "{line}");
        run.kill().unwrap();
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
