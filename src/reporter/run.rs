//! The reporter's process. It reads and keeps what the supervisor sends. A separate thread speaks HTTP, so that no
//! request can keep the process from sending signs of life.

use super::View;
use super::access::Access;
use super::events::Events;
use super::history::History;
use super::serve::{LIMITS, Shown, serve};
use crate::message::{FromReporter, InstanceStatus, ReporterStart, ToReporter};
use crate::sys::begin::{Begun, begin, cannot_start};
use crate::sys::channel::{Channel, Received};
use crate::sys::confine;
use crate::sys::fault_point::{Point, pass};
use crate::sys::log::Seldom;
use crate::sys::poll::{self, Interest};
use crate::sys::session::{be_modest, monotonic};
use crate::sys::signals::Signals;
use crate::sys::{log, sysctl};
use slog::{Logger, error, o, warn};
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// The limit of open files: connections, and what the process itself needs.
const FILES: u64 = 256;
/// The interval at which the process sends a sign of life and tries to listen.
const TURN: Duration = Duration::from_secs(1);

/// What it reads once it listens: random numbers, the limit of watches, and the local time zone of its log.
const READS: &[&str] =
    &["/dev/urandom", "/etc/localtime", "/proc/sys/fs/inotify", "/usr/share/zoneinfo"];

type Control = Channel<FromReporter, ToReporter>;

/// Runs a reporter whose control channel is `channel`; returns its exit status.
pub fn run(channel: OwnedFd) -> i32 {
    if let Err(why) = be_modest(FILES) {
        cannot_start("reporter", &format!("cannot limit itself: {why}"));
        return 1;
    }
    let begun = begin("reporter", channel, |message| match message {
        ToReporter::Start(start) => Some(*start),
        _ => None,
    });
    match begun {
        Some(Begun { control, signals, start, .. }) => {
            pass(Point::ReporterBegins);
            Reporter::new(control, signals, start).work()
        }
        None => 1,
    }
}

struct Reporter {
    control: Control,
    signals: Signals,
    start: ReporterStart,
    shown: Shown,
    server: Option<JoinHandle<std::io::Result<()>>>,
    /// What the supervisor read in the token file.
    token: Option<Result<Vec<u8>, String>>,
    token_trouble: Seldom,
    next: Duration,
    log: Logger,
}

impl Reporter {
    fn new(control: Control, signals: Signals, start: ReporterStart) -> Self {
        let log = log::logger(start.debug).new(o!("role" => "reporter"));
        let view = View { max_lag_ms: start.http.max_lag_ms, ..View::default() };
        Self {
            control,
            signals,
            start,
            shown: Arc::new(Mutex::new(view)),
            server: None,
            token: None,
            token_trouble: Seldom::default(),
            next: Duration::ZERO,
            log,
        }
    }

    fn view(&self) -> MutexGuard<'_, View> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&mut self) -> i32 {
        loop {
            if let Some(exit) = self.listen() {
                return exit;
            }
            let now = monotonic();
            if now >= self.next {
                self.next = now + TURN;
                if let Err(why) = self.turn(now) {
                    error!(self.log, "cannot continue"; "why" => why);
                    return 1;
                }
            }
            let interest =
                if self.control.wants_write() { Interest::ReadWrite } else { Interest::Read };
            let fds = [(self.control.as_fd(), interest), (self.signals.as_fd(), Interest::Read)];
            let left = self.next.saturating_sub(monotonic());
            if let Err(e) = poll::wait(&fds, Some(left)) {
                error!(self.log, "poll failed"; "why" => e.to_string());
                return 1;
            }
        }
    }

    /// Reads signals and messages. `Some` ends the process.
    fn listen(&mut self) -> Option<i32> {
        if self.signals.take().stop {
            return Some(0);
        }
        loop {
            match self.control.receive() {
                Ok(Received::Message(ToReporter::Snapshot(status), _)) => self.take(*status),
                Ok(Received::Message(ToReporter::Token(token), _)) => {
                    self.token = Some(token);
                    let access = self.access(monotonic());
                    self.view().access = access;
                }
                Ok(Received::Message(ToReporter::Start(_), _)) => {}
                Ok(Received::Nothing) => return None,
                Ok(Received::Message(ToReporter::Stop, _) | Received::Closed) => return Some(0),
                Err(_) => return Some(1),
            }
        }
    }

    fn take(&mut self, status: InstanceStatus) {
        let now = monotonic();
        let mut view = self.view();
        // They are copied only while an answer is being written from them.
        Arc::<History>::make_mut(&mut view.history).note(&status, now);
        let last = view.status.take().map(|(last, _)| last);
        Arc::<Events>::make_mut(&mut view.events).note(last.as_deref(), &status);
        view.status = Some((Arc::new(status), now));
    }

    /// What is due once per second. An error ends the process, and the supervisor restarts it.
    fn turn(&mut self, now: Duration) -> Result<(), String> {
        let access = self.access(now);
        let watches = sysctl::read("fs.inotify.max_user_watches").ok();
        {
            let mut view = self.view();
            (view.access, view.watches_allowed) = (access, watches);
        }
        match &self.server {
            Some(server) if server.is_finished() => Err("its HTTP thread exited".into()),
            Some(_) => self.say(&FromReporter::Alive),
            None => match TcpListener::bind(self.start.http.listen) {
                Ok(listener) => {
                    pass(Point::ReporterListens);
                    confine::answer_only(READS, &self.log)
                        .map_err(|e| format!("cannot give up privileges: {e}"))?;
                    let (shown, log) = (self.shown.clone(), self.log.clone());
                    let thread = std::thread::Builder::new().name("http".into());
                    let serving = thread.spawn(move || serve(listener, shown, LIMITS, log));
                    self.server = Some(serving.map_err(|e| format!("cannot start a thread: {e}"))?);
                    self.say(&FromReporter::Listens(None))
                }
                Err(e) => {
                    let at = self.start.http.listen;
                    let why = format!("cannot listen on {at}: {e}; trying again every second");
                    self.say(&FromReporter::Listens(Some(why)))
                }
            },
        }
    }

    fn say(&mut self, message: &FromReporter) -> Result<(), String> {
        // If the supervisor does not read, the queue must not grow.
        if self.control.wants_write() {
            return self.control.flush().map_err(|e| e.to_string());
        }
        self.control.send(message, vec![]).map_err(|e| e.to_string())
    }

    /// The requirements for requests, by the token that the supervisor read.
    fn access(&mut self, now: Duration) -> Access {
        let Some(file) = &self.start.http.token_file else { return Access::Local };
        let access = match &self.token {
            Some(Ok(text)) => Access::of(text),
            Some(Err(why)) => Access::Broken(why.clone()),
            None => return Access::Broken("it has not been read yet".into()),
        };
        match &access {
            Access::Broken(why) if self.token_trouble.worth_logging(now) => {
                warn!(self.log, "refusing every request: cannot use the token file";
                    "file" => file.to_string(), "why" => why);
            }
            Access::Broken(_) => {}
            Access::Local | Access::Token(_) => self.token_trouble.over(),
        }
        access
    }
}
