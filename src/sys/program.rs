//! Runs a user's command: no shell, a process group of its own, its output on a pipe. A trace file lets a successor
//! find the command when this process was killed.

use super::channel::{Channel, Received, pair_for};
use super::process::{kill_pid, lock_holders};
use super::run_as;
use super::script::explained;
use super::umask::as_given;
use crate::message::Role;
use crate::stat::Exited;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use rustix::fs::{FlockOperation, OFlags, fcntl_setfl};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::pipe::{PipeFlags, pipe_with};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The number of bytes of output that are kept, from its end.
const KEPT: usize = 4 << 10;

/// A running command.
pub struct Program {
    child: Child,
    output: Option<File>,
    kept: Vec<u8>,
    trace: PathBuf,
    /// Why it could not be started as another user, if that is what happened.
    refusal: Option<Channel<(), String>>,
}

impl Program {
    /// Starts `argv` in `/`, with its output (or no output, with `quiet`) on a pipe. `trace` is a file that the command
    /// holds open while it runs. It is removed when the exit of the command is seen. With `user`, it runs as the user of
    /// this name; then an error that prevents its start is found by [`Program::ended`].
    pub fn start(
        argv: &[OsString],
        envs: &[(&str, OsString)],
        quiet: bool,
        trace: &Path,
        user: Option<&str>,
    ) -> io::Result<Self> {
        let (program, words) =
            argv.split_first().ok_or_else(|| io::Error::other("an empty command line"))?;
        let helper = user.map(|_| pair_for(Role::Command)).transpose()?;
        let mut mark = File::create(trace)?;
        // The lock distinguishes the command from other processes that have the file open, see `lock_holders`.
        rustix::fs::flock(&mark, FlockOperation::NonBlockingLockExclusive)?;
        mark.write_all(format!("{}\n", std::process::id()).as_bytes())?;
        let mut command = match user {
            None => Command::new(program),
            Some(user) => run_as::helper(user, program),
        };
        command.args(words).envs(envs.iter().map(|(k, v)| (k, v))).current_dir("/");
        command.process_group(0);
        let refusal = match helper {
            None => {
                command.stdin(Stdio::null());
                None
            }
            Some((ours, theirs)) => {
                command.stdin(theirs);
                Some(Channel::new(ours))
            }
        };
        let mut output = None;
        if quiet {
            command.stdout(Stdio::null()).stderr(Stdio::null());
        } else {
            let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
            fcntl_setfl(&ours, OFlags::NONBLOCK)?;
            command.stdout(theirs.try_clone()?).stderr(theirs);
            output = Some(File::from(ours));
        }
        // The only descriptor that it inherits. No other process is started meanwhile.
        fcntl_setfd(&mark, FdFlags::empty())?;
        let child = as_given(|| command.spawn());
        fcntl_setfd(&mark, FdFlags::CLOEXEC)?;
        match child {
            Ok(child) => {
                Ok(Self { child, output, kept: Vec::new(), trace: trace.to_owned(), refusal })
            }
            Err(e) => {
                let _ = std::fs::remove_file(trace);
                Err(explained(program, e))
            }
        }
    }

    /// The descriptor of its output to wait for; `None` after its end.
    pub fn output(&self) -> Option<BorrowedFd<'_>> {
        self.output.as_ref().map(AsFd::as_fd)
    }

    /// Reads what it has printed, at most a few buffers, so that the command never blocks on a full pipe.
    pub fn drain(&mut self) {
        let mut buffer = [0; 16 << 10];
        for _ in 0..16 {
            let Some(output) = &mut self.output else { return };
            match output.read(&mut buffer) {
                Ok(0) => self.output = None,
                Ok(n) => {
                    self.kept.extend_from_slice(&buffer[..n]);
                    let more = self.kept.len().saturating_sub(KEPT);
                    self.kept.drain(..more);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.output = None,
            }
        }
    }

    /// Its exit status, if it has exited, and the end of its output; an error if it was never started. Processes that it
    /// left behind keep running.
    pub fn ended(&mut self) -> io::Result<Option<(Exited, Vec<u8>)>> {
        let Some(status) = self.child.try_wait()? else { return Ok(None) };
        self.drain();
        let _ = std::fs::remove_file(&self.trace);
        if let Some(refusal) = &mut self.refusal
            && let Ok(Received::Message(why, _)) = refusal.receive()
        {
            return Err(io::Error::other(why));
        }
        let exited = match status.code() {
            Some(code) => Exited::Code(code),
            None => Exited::Signal(status.signal().unwrap_or(0)),
        };
        Ok(Some((exited, std::mem::take(&mut self.kept))))
    }

    /// Kills it and its process group immediately.
    pub fn kill(&self) {
        // The leader is not reaped yet, so its number is still valid.
        let _ = killpg(Pid::from_raw(self.child.id() as i32), Signal::SIGKILL);
    }
}

/// Kills the commands that a killed predecessor left running. The names of their traces in `dir` begin with `prefix`.
pub fn end_orphans(dir: &Path, prefix: &str) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)?.flatten() {
        if !entry.file_name().as_encoded_bytes().starts_with(prefix.as_bytes()) {
            continue;
        }
        let file = entry.path();
        // Repeats until no process of ours holds the trace: a process being killed may have children that were not
        // seen.
        for _ in 0..100 {
            let left: Vec<u32> =
                lock_holders(&file).iter().filter(|h| h.ours).map(|h| h.pid).collect();
            if left.is_empty() {
                break;
            }
            left.into_iter().for_each(kill_pid);
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        std::fs::remove_file(file)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn argv(script: &str) -> Vec<OsString> {
        ["/bin/sh", "-c", script].map(OsString::from).into()
    }

    fn end(program: &mut Program) -> (Exited, Vec<u8>) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            program.drain();
            if let Some(end) = program.ended().unwrap() {
                return end;
            }
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn the_end_of_long_output_is_kept_and_the_environment_is_set() {
        let dir = tempfile::tempdir().unwrap();
        let trace = dir.path().join("t");
        let script = "yes | head -c 1000000; echo \"$X\" >&2; exit 3";
        let mut run =
            Program::start(&argv(script), &[("X", "end".into())], false, &trace, None).unwrap();
        let (exited, output) = end(&mut run);
        assert_eq!(exited, Exited::Code(3));
        assert!(output.len() == KEPT && output.ends_with(b"y\nend\n"));
        assert!(!trace.exists());
        let mut quiet = Program::start(&argv("echo x"), &[], true, &trace, None).unwrap();
        assert_eq!(end(&mut quiet), (Exited::Code(0), vec![]));
        assert!(Program::start(&["/none/such".into()], &[], true, &trace, None).is_err());
        assert!(!trace.exists());
    }

    #[test]
    fn a_program_is_killed_with_its_children_and_found_by_its_trace() {
        let dir = tempfile::tempdir().unwrap();
        let mut run =
            Program::start(&argv("sleep 77 & sleep 77"), &[], false, &dir.path().join("c1"), None)
                .unwrap();
        run.kill();
        assert_eq!(end(&mut run).0, Exited::Signal(9));
        let trace = dir.path().join("c2");
        let mut orphan =
            Program::start(&argv("sleep 77 & sleep 77"), &[], false, &trace, None).unwrap();
        assert!(lock_holders(&trace).iter().any(|h| h.ours));
        // A backup that reads the directory.
        let script = format!("exec 7<{}; exec sleep 77", trace.display());
        let mut backup = Command::new("sh").arg("-c").arg(script).spawn().unwrap();
        end_orphans(dir.path(), "c").unwrap();
        assert_eq!(end(&mut orphan).0, Exited::Signal(9));
        assert!(!trace.exists());
        assert!(backup.try_wait().unwrap().is_none());
        backup.kill().unwrap();
        backup.wait().unwrap();
    }
}
