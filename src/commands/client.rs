//! Communicates with running supervisors: finds them and sends one request, with a time limit.

use super::invocation::{Command, Invocation};
use crate::error::{Error, Exit, Result};
use crate::instance::directories::{instance, is_of_module, started_with, with_module, words_of};
use crate::language::{Language, listed, say};
use crate::message::{Answer, Asked, InstanceStatus, LocalPathStatus, REQUEST_MAX, Request};
use crate::shell::quoted_text;
use crate::sys::session::{connect_within, with_short_path};
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A supervisor answers immediately, unless it has to wait for something.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The pause before a request is sent again that a busy supervisor has not read.
const BUSY_RETRY: Duration = Duration::from_millis(50);

/// The control socket of a running instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningInstance(PathBuf);

/// The running instances. With `-o`, the one that replicates these files, or with `-m` the one that only calls these
/// plugins. Without `-o`, all instances in the run directory (with `-m`, those that call these plugins).
pub fn running(invocation: &Invocation) -> Result<Vec<RunningInstance>> {
    let dir = &invocation.directories.run;
    let module = invocation.module.as_deref();
    let sockets = if invocation.files.is_empty() {
        let end = module.map_or(String::new(), |kind| with_module("", kind));
        let mut all = sockets(dir)?;
        all.retain(|p| p.with_extension("").as_os_str().as_bytes().ends_with(end.as_bytes()));
        all
    } else {
        let files = invocation.files_or_default()?;
        let id = instance(&files);
        let id = module.map_or(id.clone(), |kind| with_module(&id, kind));
        let mut ids = started_with(dir, &files);
        ids.retain(|given| is_of_module(given, module));
        ids.push(id);
        ids.dedup();
        ids.iter().map(|id| invocation.directories.run_file(id, "sock")).collect()
    };
    let mut running = Vec::new();
    for socket in sockets {
        match connect(&socket, PATIENCE) {
            // No process listens. A killed supervisor left the socket behind.
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {}
            Err(e) if e.kind() == ErrorKind::PermissionDenied => {
                let text = say!(
                    "{}: {}; run this command as the user of the instance",
                    socket.display(),
                    e
                );
                return Err(Error::new(Exit::System, text));
            }
            // An instance that does not accept connections is still running. The request will show its state.
            Ok(_) | Err(_) => running.push(RunningInstance(socket)),
        }
    }
    if !invocation.files.is_empty() {
        // The instance that was started with these names. A link among these files may have changed since.
        running.truncate(1);
    }
    Ok(running)
}

/// The one instance that is meant. Exit status 3 if none is running.
pub fn the_one(invocation: &Invocation) -> Result<RunningInstance> {
    one_of(running(invocation)?, invocation)
}

/// Like [`the_one`], among instances with remotes. Instances of `-m` count only if `-m` names one.
pub fn the_one_with_remotes(invocation: &Invocation) -> Result<RunningInstance> {
    let mut all = running(invocation)?;
    if all.len() > 1 && invocation.module.is_none() {
        // An instance that does not answer may have remotes. The request will show it.
        all.retain(|i| i.status().map_or(true, |s| s.localpaths.iter().any(has_remotes)));
    }
    one_of(all, invocation)
}

/// True if the localpath has remotes.
pub fn has_remotes(localpath: &LocalPathStatus) -> bool {
    !localpath.remotes.is_empty()
}

fn one_of(mut running: Vec<RunningInstance>, invocation: &Invocation) -> Result<RunningInstance> {
    match running.len() {
        0 => Err(none(invocation)),
        1 => Ok(running.remove(0)),
        _ => {
            let names: Vec<String> = running.iter().map(RunningInstance::arguments).collect();
            let text = say!("several instances run; choose one of them: {}", names.join("; "));
            Err(Error::usage(text))
        }
    }
}

/// The error if no supervisor is running.
pub fn none(invocation: &Invocation) -> Error {
    let dir = invocation.directories.run.display();
    let shown: Vec<String> = invocation.files.iter().map(|f| f.display().to_string()).collect();
    let mut of = if shown.is_empty() { String::new() } else { say!(" with {}", listed(&shown)) };
    of += &module_option(invocation.module.as_deref());
    let text = say!("no supervisor runs{} (looked in {})", of, dir);
    Error::new(Exit::NotRunning, text + &instead(invocation))
}

/// What to do without a running supervisor.
fn instead(invocation: &Invocation) -> String {
    let missing = |file: &&PathBuf| file.symlink_metadata().is_err();
    if let Some(file) = invocation.files.iter().find(missing) {
        return say!("; {}: no such file", file.display());
    }
    match &invocation.command {
        Command::Stop => return String::new(),
        // A repair marks, and that needs an instance.
        Command::Verify(verify) if !verify.repair => {
            return say!("; to compare without one, name its configuration with -o");
        }
        _ => {}
    }
    let files = invocation.files.iter().map(|file| file_option(file));
    let options = files.collect::<String>()
        + &module_option(invocation.module.as_deref())
        + &invocation.directories.options();
    say!("; start one with `syncsup -d{}`", options)
}

/// ` -o FILE`
fn file_option(file: &Path) -> String {
    format!(" -o {}", quoted_text(file.as_os_str().as_bytes()))
}

/// ` -m KIND`
fn module_option(module: Option<&str>) -> String {
    module.map_or(String::new(), |kind| format!(" -m {kind}"))
}

fn sockets(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(vec![]),
        Err(e) if e.kind() == ErrorKind::PermissionDenied => {
            let text =
                say!("{}: {}; run this command as the user of the instance", dir.display(), e);
            return Err(Error::new(Exit::System, text));
        }
        Err(e) => return Err(Error::system(say!("cannot look into {}", dir.display()), e)),
    };
    let mut sockets: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    sockets.retain(|p| p.extension().is_some_and(|e| e == "sock"));
    sockets.sort();
    Ok(sockets)
}

fn connect(socket: &Path, patience: Duration) -> io::Result<UnixStream> {
    with_short_path(socket, |path| connect_within(path, patience))
}

impl RunningInstance {
    /// The arguments that select this instance: `-o /etc/www.yaml -m http`.
    fn arguments(&self) -> String {
        let (run, id) = (self.0.parent(), self.0.file_stem().and_then(|id| id.to_str()));
        let Some((files, module)) = run.zip(id).and_then(|(run, id)| words_of(run, id)) else {
            return self.0.display().to_string();
        };
        let files = files.iter().map(|file| file_option(file)).collect::<String>();
        (files + &module_option(module.as_deref())).trim_start().to_owned()
    }

    /// Sends a request, and waits up to `patience` for the answer. A refusal is an error with exit status 1, or 5 if this
    /// user may not send requests.
    pub fn ask(&self, request: &Request, patience: Duration) -> Result<Answer> {
        let asked = Asked { language: Language::current(), request: request.clone() };
        let mut line =
            serde_json::to_vec(&asked).map_err(|e| Error::system(say!("cannot ask"), e))?;
        line.push(b'\n');
        if line.len() > REQUEST_MAX {
            return Err(Error::usage(say!("too many paths; name directories above them")));
        }
        let answer = self.talk_until_read(&line, patience).map_err(|e| match e.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::UnexpectedEof => {
                Error::new(Exit::NotRunning, say!("the supervisor exited"))
            }
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Error::system(
                say!("no answer from {} within {} s", self.0.display(), patience.as_secs()),
                say!("the supervisor hangs or is stopped; its pid is in the .pid file beside the socket"),
            ),
            _ => Error::system(say!("cannot ask {}", self.0.display()), e),
        })?;
        match answer {
            Answer::Refused(why) => Err(Error::new(Exit::No, why)),
            Answer::Forbidden(why) => Err(Error::system(self.0.display(), why)),
            answer => Ok(answer),
        }
    }

    /// The status of the instance.
    pub fn status(&self) -> Result<InstanceStatus> {
        self.status_within(PATIENCE)
    }

    /// The same, waiting up to `patience`.
    pub fn status_within(&self, patience: Duration) -> Result<InstanceStatus> {
        match self.ask(&Request::Status, patience)? {
            Answer::Status(status) => Ok(*status),
            _ => Err(unexpected()),
        }
    }

    /// Sends a command. Returns the lines that the supervisor answers.
    pub fn command(&self, request: &Request, patience: Duration) -> Result<Vec<String>> {
        match self.ask(request, patience)? {
            Answer::Done(lines) => Ok(lines),
            _ => Err(unexpected()),
        }
    }

    /// Sends the request again while the supervisor answers that it has not read it.
    fn talk_until_read(&self, line: &[u8], patience: Duration) -> io::Result<Answer> {
        let end = Instant::now() + patience;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.talk(line, left.max(BUSY_RETRY))? {
                Answer::Busy if left.is_zero() => return Err(ErrorKind::TimedOut.into()),
                Answer::Busy => std::thread::sleep(BUSY_RETRY),
                answer => return Ok(answer),
            }
        }
    }

    fn talk(&self, line: &[u8], patience: Duration) -> io::Result<Answer> {
        let end = Instant::now() + patience;
        let mut stream = connect(&self.0, patience)?;
        stream.set_write_timeout(Some(patience))?;
        match stream.write_all(line) {
            // The supervisor has answered without reading, and closed.
            Err(e) if e.kind() == ErrorKind::BrokenPipe => {}
            sent => sent?,
        }
        let mut reader = BufReader::new(stream);
        let mut answer = Vec::new();
        while answer.last() != Some(&b'\n') {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            reader.get_ref().set_read_timeout(Some(left))?;
            match reader.fill_buf() {
                Ok([]) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(bytes) => {
                    let used =
                        bytes.iter().position(|b| *b == b'\n').map_or(bytes.len(), |n| n + 1);
                    answer.extend_from_slice(&bytes[..used]);
                    reader.consume(used);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(serde_json::from_slice(&answer)?)
    }
}

/// Turns the supervisor's refusal of a name into a usage error.
pub fn named<T>(answer: Result<T>) -> Result<T> {
    answer.map_err(|e| if e.exit == Exit::No { Error::usage(e.text) } else { e })
}

/// The error for an answer that does not fit the request.
pub fn unexpected() -> Error {
    Error::system(
        say!("unexpected reply from the supervisor"),
        say!("it may be of another version; restart it"),
    )
}
