//! A running rsync, or one that waits for its list: its input, its output, its progress, and its end.

use super::account;
use super::confine::{Also, Does, keep_capabilities};
use super::domain::{Reach, stay_within};
use super::memory;
use super::process::exited;
use super::script::explained;
use super::session::monotonic;
use super::umask::as_given;
use crate::language::say;
use crate::rsync::needs;
use crate::stat::{Exited, Progress, cpu_ticks};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;
use tempfile::NamedTempFile;

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

/// Takes from this thread, and from every program that it starts, the capabilities to read what a mode forbids. Without
/// new privileges root does not get them back.
fn give_up_reading() -> io::Result<()> {
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities, set_no_new_privs};
    let reading = CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
    set_no_new_privs(true)?;
    let mut sets = capabilities(None)?;
    for set in [&mut sets.effective, &mut sets.permitted, &mut sets.inheritable] {
        set.remove(reading);
    }
    Ok(set_capabilities(None, sets)?)
}

/// What an rsync that sends is confined to.
#[derive(Clone, Debug)]
pub struct Confined {
    /// What it reaches besides its working directory.
    pub reach: Reach,
    /// What it needs for some parameters.
    pub also: Also,
}

/// How an rsync is started.
#[derive(Clone, Copy)]
pub struct Launch<'a> {
    /// The command line, program first.
    pub argv: &'a [OsString],
    /// Variables that it gets in addition to the inherited ones.
    pub envs: &'a [(&'a str, &'a str)],
    /// Variables that it does not inherit.
    pub unset: &'a [&'a str],
    /// Its working directory.
    pub directory: &'a Path,
    /// The directory of the unnamed file that takes its output.
    pub scratch: &'a Path,
    /// What it is confined to; `None` for one that is not.
    pub confined: Option<&'a Confined>,
}

impl Launch<'_> {
    /// Starts it with `list` as its standard input, which is never a terminal.
    pub fn start(self, list: &[u8]) -> io::Result<Rsync> {
        let mut input = memory::file("list")?;
        input.write_all(list)?;
        input.rewind()?;
        let watched = match list {
            [] => List::Empty,
            _ => List::File(input.try_clone()?),
        };
        self.spawn(input.into(), watched)
    }

    /// The same, but this rsync cannot read what the mode of a file forbids, even if this process can.
    pub fn start_unprivileged(self, list: &[u8]) -> io::Result<Rsync> {
        #[cfg(test)]
        if simulated::is_simulating() {
            return self.start(list);
        }
        on_a_thread(|| {
            give_up_reading()?;
            self.start(list)
        })
    }

    /// Starts it before its list is known.
    pub fn start_ahead(self) -> io::Result<Ahead> {
        let (input, list) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let rsync = self.spawn(input, List::Pipe(0))?;
        Ok(Ahead { rsync: Some(rsync), list: list.into() })
    }

    fn spawn(self, input: OwnedFd, list: List) -> io::Result<Rsync> {
        #[cfg(test)]
        let (input, list) = match simulated::start(&self, input, list)? {
            Ok(rsync) => return Ok(rsync),
            Err(given) => given,
        };
        let (program, words) =
            self.argv.split_first().ok_or_else(|| io::Error::other("an empty command line"))?;
        let stdout = tempfile::tempfile_in(self.scratch).map_err(|e| {
            // "no such file" alone would seem to mean the program.
            let what = say!("cannot create a scratch file in {}", self.scratch.display());
            io::Error::new(e.kind(), format!("{what}: {e}"))
        })?;
        let stderr = memory::bounded_file("stderr", STDERR_MOST)?;
        let mut command = Command::new(program);
        command.args(words).current_dir(self.directory);
        command.envs(account::environment().iter().cloned()).envs(self.envs.iter().copied());
        for name in self.unset {
            command.env_remove(name);
        }
        command.stdin(input).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
        let child = self.as_confined(|| as_given(|| command.spawn()));
        let child = child.map_err(|e| explained(program, e))?;
        // Half of the free space, because other processes write to the same file system.
        let free =
            rustix::fs::fstatvfs(&stdout).map_or(STDOUT_MOST, |fs| fs.f_bavail * fs.f_frsize);
        let stdout_most = (free / 2).clamp(STDOUT_LEAST, STDOUT_MOST);
        // A log file of the user may be larger.
        let logs = words.iter().any(|word| word.as_encoded_bytes().starts_with(b"--log-file"));
        let allowed = (!logs).then(|| STDOUT_AT_ONCE.min(stdout_most));
        if let Some(allowed) = allowed {
            bound_files(child.id(), allowed, stdout_most);
        }
        let body = Body::Process(child);
        Ok(Rsync { body, list, stdout, stderr, stdout_most, allowed, _reads: None })
    }
}

impl Launch<'_> {
    /// Starts a process that is confined. It inherits what the thread that starts it has left.
    fn as_confined<T: Send>(self, start: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        let Some(confined) = self.confined else { return start() };
        let mut reach = confined.reach.clone();
        reach.reads.push(self.directory.to_owned());
        reach.reads.extend(needs::files(self.argv));
        on_a_thread(|| {
            keep_capabilities(Does::Sends.capabilities() | confined.also.capabilities())?;
            // Without Landlock there are still the capabilities. The supervisor reports it once.
            stay_within(&reach)?;
            start()
        })
    }
}

/// Runs this on a thread of its own, which gives up rights that this process keeps. Errors: EAGAIN where the system starts
/// no more threads.
fn on_a_thread<T: Send>(run: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, run)?;
        let failed = |_| Err(io::Error::other("the thread that starts rsync failed"));
        thread.join().unwrap_or_else(failed)
    })
}

/// What runs.
enum Body {
    Process(Child),
    #[cfg(test)]
    Simulated(simulated::Shared),
}

impl Body {
    fn id(&self) -> u32 {
        match self {
            Body::Process(child) => child.id(),
            #[cfg(test)]
            Body::Simulated(_) => u32::MAX,
        }
    }

    fn try_wait(&mut self) -> io::Result<Option<Exited>> {
        match self {
            Body::Process(child) => Ok(child.try_wait()?.map(exited)),
            #[cfg(test)]
            Body::Simulated(rsync) => Ok(rsync.lock().expect("one thread").exited),
        }
    }

    fn kill(&mut self) -> io::Result<Exited> {
        match self {
            Body::Process(child) => {
                child.kill()?;
                Ok(exited(child.wait()?))
            }
            #[cfg(test)]
            Body::Simulated(rsync) => Ok(rsync.lock().expect("one thread").kill()),
        }
    }
}

/// A running rsync. Its list is given and its output goes to files, so the caller only waits for its exit.
pub struct Rsync {
    body: Body,
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
    /// Keeps a file that it opens by name until it has exited.
    pub fn reading(mut self, file: Option<NamedTempFile>) -> Self {
        self._reads = file;
        self
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.body.id()
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
        let ended = self.body.try_wait()?;
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
            bound_files(self.body.id(), wanted, self.stdout_most);
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
                        true => say!("a file became a fifo while rsync read it"),
                        false => {
                            say!("no answer: rsync was killed after {} s without progress", seconds)
                        }
                    };
                    return Err(io::Error::new(io::ErrorKind::TimedOut, why));
                }
            }
            std::thread::sleep(pause);
        }
    }

    /// Kills it immediately and waits for it.
    pub fn kill(&mut self) -> io::Result<Exited> {
        self.body.kill()
    }

    /// Bytes it has read so far, mostly file content; `None` where the system does not report it.
    pub fn bytes_read(&self) -> Option<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/io", self.body.id())).ok()?;
        text.lines().find_map(|l| l.strip_prefix("rchar: "))?.trim().parse().ok()
    }

    /// Its CPU time so far, and whether it sleeps. `None` where the system does not report it.
    pub fn cpu(&self) -> Option<(Duration, bool)> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.body.id())).ok()?;
        let (ticks, sleeps) = cpu_ticks(&stat)?;
        let per_s = rustix::param::clock_ticks_per_second().max(1);
        Some((Duration::from_millis(ticks * 1_000 / per_s), sleeps))
    }

    /// True while it waits for a process to open the other end of a fifo. False also where the kernel does not show
    /// what it waits for. The name may refer to another file by now.
    pub fn waits_for_fifo(&self) -> bool {
        let place = std::fs::read_to_string(format!("/proc/{}/wchan", self.body.id()));
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
        let (mut at, mut buffer) = (from, [0; 8_192]);
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
            |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", self.body.id())).ok();
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

/// Limits the size of every file that the process writes: to a number of bytes for now, and to `most` at any time.
fn bound_files(process: u32, now: u64, most: u64) {
    use rustix::process::{Resource, Rlimit, prlimit};
    let limit = Rlimit { current: Some(now), maximum: Some(most) };
    // The process has exited, or it has a lower limit. Both are harmless.
    let pid = rustix::process::Pid::from_raw(process as i32);
    let _ = pid.map(|pid| prlimit(Some(pid), Resource::Fsize, limit));
}

/// rsyncs that a simulation models.
#[cfg(test)]
pub(crate) mod simulated {
    use super::*;
    use std::cell::RefCell;
    use std::path::PathBuf;
    use std::sync::{Arc, Mutex};

    /// An rsync as the program sees it.
    pub struct Process {
        /// The command line, program first.
        pub argv: Vec<OsString>,
        /// Its working directory.
        pub directory: PathBuf,
        /// Its standard input.
        pub input: File,
        /// Takes its output.
        pub stdout: File,
        /// Takes its complaints.
        pub stderr: File,
        /// Its end.
        pub exited: Option<Exited>,
    }

    impl Process {
        /// Kills it.
        pub fn kill(&mut self) -> Exited {
            *self.exited.get_or_insert(Exited::Signal(9))
        }
    }

    /// One that the program and the simulation share.
    pub type Shared = Arc<Mutex<Process>>;

    thread_local! {
        /// Those that were started, in a simulation.
        pub static STARTED: RefCell<Option<Vec<Shared>>> = const { RefCell::new(None) };
    }

    /// True if this thread simulates.
    pub(super) fn is_simulating() -> bool {
        STARTED.with_borrow(Option::is_some)
    }

    /// Starts one if this thread simulates. Otherwise returns what was given.
    pub(super) fn start(
        launch: &Launch<'_>,
        input: OwnedFd,
        list: List,
    ) -> io::Result<Result<Rsync, (OwnedFd, List)>> {
        STARTED.with_borrow_mut(|started| {
            let Some(started) = started else { return Ok(Err((input, list))) };
            rustix::io::ioctl_fionbio(&input, true)?;
            let stdout = tempfile::tempfile_in(launch.scratch)?;
            let stderr = memory::file("stderr")?;
            let process = Arc::new(Mutex::new(Process {
                argv: launch.argv.to_vec(),
                // The root is given by its descriptor.
                directory: std::fs::read_link(launch.directory)
                    .unwrap_or_else(|_| launch.directory.to_owned()),
                input: input.into(),
                stdout: stdout.try_clone()?,
                stderr: stderr.try_clone()?,
                exited: None,
            }));
            started.push(process.clone());
            Ok(Ok(Rsync {
                body: Body::Simulated(process),
                list: if matches!(list, List::Pipe(_)) { list } else { List::Empty },
                stdout,
                stderr,
                stdout_most: STDOUT_MOST,
                allowed: None,
                _reads: None,
            }))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn launch<'a>(argv: &'a [OsString], directory: &'a Path) -> Launch<'a> {
        Launch { argv, envs: &[], unset: &[], directory, scratch: directory, confined: None }
    }

    #[test]
    fn a_failed_creation_names_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let (argv, gone) = ([OsString::from("/bin/true")], dir.path().join("gone"));
        let refused = Launch { scratch: &gone, ..launch(&argv, dir.path()) }.start(b"");
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
            launch(&argv, dir.path()).start(b"").unwrap()
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
            let mut run = launch(&argv, dir.path()).start(b"").unwrap();
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
        let mut run = launch(&argv, dir.path()).start(b"/a\0").unwrap();
        assert!(matches!(run.progress(), Progress::Bytes { .. }));
        let ended = loop {
            if let Some(ended) = run.body.try_wait().unwrap() {
                break ended;
            }
            std::thread::yield_now();
        };
        assert_eq!(ended, Exited::Code(7));
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
        let mut run = launch(&argv, dir.path()).start(b"").unwrap();
        let ended = loop {
            if let Some(ended) = run.body.try_wait().unwrap() {
                break ended;
            }
            std::thread::yield_now();
        };
        assert_ne!(ended, Exited::Code(0), "a write failed");
        assert!(run.overflows() && run.printed().1 <= STDERR_MOST);
        let text = run.complaints().unwrap();
        assert!(text.len() as u64 == STDERR_READ && text.starts_with(b"no end of it\n"));
    }

    #[test]
    fn endless_output_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let argv = ["/bin/sh", "-c", "exec sleep 60"].map(OsString::from);
        let mut run = launch(&argv, dir.path()).start(b"").unwrap();
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", run.pid())).unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max file size")).unwrap();
        assert!(line.contains(&run.stdout_most.to_string()), "{line}");
        run.kill().unwrap();
        let log = [argv.as_slice(), &["--log-file=x".into()]].concat();
        let mut run = launch(&log, dir.path()).start(b"").unwrap();
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", run.pid())).unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max file size")).unwrap();
        assert!(!line.contains(&run.stdout_most.to_string()), "{line}");
        run.kill().unwrap();
    }

    /// As a pusher confines an rsync whose program is this one.
    fn confined(program: &Path, port: u16) -> Confined {
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        Confined {
            reach: Reach {
                reads: paths(needs::NAMES),
                runs: [paths(crate::sys::domain::LIBRARIES), vec![program.to_owned()]].concat(),
                writes: paths(&["/dev/null"]),
                ports: Some(vec![port, needs::DNS_PORT]),
                ..Reach::default()
            },
            also: Also::default(),
        }
    }

    #[test]
    #[ignore = "a measurement: cargo test --release --lib cost_of -- --ignored --nocapture"]
    fn cost_of_confinement() {
        let dir = tempfile::tempdir().unwrap();
        let argv = [OsString::from("/bin/true")];
        let confined = confined(Path::new("/bin/true"), 873);
        let mean_us = |confined: Option<&Confined>| {
            let (runs, before) = (1_000, std::time::Instant::now());
            for _ in 0..runs {
                let launch = Launch { confined, ..launch(&argv, dir.path()) };
                let Body::Process(mut child) = launch.start(b"").unwrap().body else { panic!() };
                assert!(child.wait().unwrap().success());
            }
            before.elapsed().as_micros() / runs
        };
        for _ in 0..3 {
            let (free, bound) = (mean_us(None), mean_us(Some(&confined)));
            eprintln!("start to exit: {free} us free, {bound} us confined");
        }
    }

    /// Tries what an rsync must and must not do. Prints the names of what succeeded, then stops.
    const TRIES: &str = r#"
        try() { if (eval "$2") 2>/dev/null; then echo "$1"; fi; }
        try tree 'read x < file'
        try deep 'read x < dir/deep/file'
        try names 'read x < /etc/passwd'
        try null ': > /dev/null'
        try port "exec 3<>/dev/tcp/127.0.0.1/$PORT"
        try rules 'read x < "$RULES"'
        try link 'read x < out/secret'
        try above 'read x < ../outside/secret'
        try sibling 'read x < ../state/journal.db'
        try list 'cd ../outside && for x in *; do [ "$x" != "*" ]; done'
        try shadow 'read x < /etc/shadow'
        try process 'read x < /proc/$PPID/environ || [ -n "$x" ]'
        try create ': > new'
        try write 'echo y >> file'
        try elsewhere ': > ../state/new'
        try other "exec 3<>/dev/tcp/127.0.0.1/$OTHER"
        try run '/usr/bin/env true'
        kill -STOP $$
    "#;

    #[test]
    fn a_confined_rsync_reaches_its_tree_and_its_port_and_nothing_else() {
        let Some(bash) = crate::sys::executable::found("bash".as_ref()) else {
            return eprintln!("SKIPPED: no bash");
        };
        if !crate::sys::domain::is_supported() {
            return eprintln!("SKIPPED: this kernel has no Landlock");
        }
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        for (name, text) in [
            ("root/file", "x\n"),
            ("root/dir/deep/file", "x\n"),
            ("outside/secret", "x\n"),
            ("state/journal.db", "x\n"),
            ("state/rules", "x\n"),
        ] {
            let file = dir.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
        std::os::unix::fs::symlink("../outside", root.join("out")).unwrap();
        let listen = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, other) = (listen(), listen());
        let number = |l: &std::net::TcpListener| l.local_addr().unwrap().port();
        let (port_word, other_word) = (number(&port).to_string(), number(&other).to_string());
        let rules = dir.path().join("state/rules");
        let mut from = OsString::from("--exclude-from=");
        from.push(&rules);
        let argv = [bash.clone().into(), "-c".into(), TRIES.into(), "rsync".into(), from];
        let envs =
            [("PORT", &*port_word), ("OTHER", &*other_word), ("RULES", rules.to_str().unwrap())];
        let confined = confined(&bash, number(&port));
        let tried = |confined: Option<&Confined>| {
            let launch =
                Launch { envs: &envs, scratch: dir.path(), confined, ..launch(&argv, &root) };
            let mut run = launch.start(b"").unwrap();
            let status = || std::fs::read_to_string(format!("/proc/{}/status", run.pid())).unwrap();
            while !status().contains("State:\tT") {
                std::thread::yield_now();
            }
            let status = status();
            run.kill().unwrap();
            let words = String::from_utf8(run.printed_last(4_096).unwrap()).unwrap();
            (words.split_whitespace().map(str::to_owned).collect::<Vec<_>>(), status)
        };
        let good = ["tree", "deep", "names", "null", "port", "rules"];
        let (could, status) = tried(Some(&confined));
        assert_eq!(could, good);
        if nix::unistd::geteuid().is_root() {
            assert!(status.contains("CapEff:\t0000000000000004\n"), "{status}");
        }
        // Without the domain the same commands succeed.
        let (could, _) = tried(None);
        for name in
            ["link", "above", "sibling", "list", "process", "create", "write", "other", "run"]
        {
            assert!(could.iter().any(|word| word == name), "{name}: {could:?}");
        }
    }
}
