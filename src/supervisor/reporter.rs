//! The reporter as the supervisor sees it: its child, the snapshots for it, its last message. It never delays the
//! supervisor: if it does not read a snapshot in time, the next one is not sent.

use super::child::ChildEvent;
use super::process::ChildProcess;
use crate::config::http::token_error;
use crate::config::model::HttpServer;
use crate::config::probe::{Machine, Probe};
use crate::message::{
    FromReporter, InstanceStatus, ReporterStart, ReporterStatus, Role, ToReporter,
};
use crate::sys::own;
use crate::sys::poll::Interest;
use slog::{Logger, info, o, warn};
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// The interval of snapshots.
const EVERY: Duration = Duration::from_secs(1);

/// The reporter of an instance, configured or not.
pub struct SupervisedReporter {
    wanted: Option<HttpServer>,
    serving: Option<Serving>,
    debug: bool,
    log: Logger,
}

/// The longest token file, in bytes.
const TOKEN_MOST: u64 = 4 << 10;

/// A reporter that runs or will run with one configuration.
struct Serving {
    http: HttpServer,
    process: ChildProcess<ToReporter, FromReporter>,
    listener: Listener,
    /// What it was last told of the token file.
    token: Option<Result<Vec<u8>, String>>,
    next: Duration,
}

/// Whether it accepts requests.
enum Listener {
    /// It has not reported yet.
    Unknown,
    /// It listens.
    Listening,
    /// It cannot listen, and why.
    Refused(String),
}

impl Serving {
    fn new(http: HttpServer, log: &Logger, now: Duration) -> Self {
        let title = format!("syncsup: reporter {}", http.listen);
        let log = log.new(o!("reporter" => http.listen.to_string()));
        let process =
            ChildProcess::new(Role::Reporter, title.into(), || ToReporter::Stop, log.clone(), now);
        Self { http, process, listener: Listener::Unknown, token: None, next: now }
    }
}

impl SupervisedReporter {
    /// The first [`SupervisedReporter::tick`] starts it.
    pub fn new(wanted: Option<HttpServer>, debug: bool, log: &Logger) -> Self {
        Self { wanted, serving: None, debug, log: log.clone() }
    }

    /// Applies a new configuration.
    pub fn want(&mut self, wanted: Option<HttpServer>) {
        self.wanted = wanted;
    }

    /// The descriptor to poll while it runs.
    pub fn interest(&self) -> Option<(BorrowedFd<'_>, Interest)> {
        self.serving.as_ref()?.process.interest()
    }

    /// The next time at which [`SupervisedReporter::tick`] has an effect.
    pub fn next_at(&self) -> Option<Duration> {
        let serving = self.serving.as_ref()?;
        serving.process.next_at().into_iter().chain([serving.next]).min()
    }

    /// True if it has exited and will not be started.
    pub fn is_gone(&self) -> bool {
        self.serving.as_ref().is_none_or(|s| s.process.is_gone())
    }

    /// Asks it to stop for good.
    pub fn stop(&mut self, now: Duration) {
        self.wanted = None;
        if let Some(serving) = &mut self.serving {
            serving.process.step(ChildEvent::StopWanted, now);
        }
    }

    /// Reads its messages.
    pub fn hear(&mut self, now: Duration) {
        let Some(serving) = &mut self.serving else { return };
        for message in serving.process.receive(now) {
            serving.take(message, &self.log);
        }
    }

    /// The state for `status`.
    pub fn report(&self) -> Option<ReporterStatus> {
        let serving = self.serving.as_ref()?;
        let process = serving.process.report();
        let (state, reason) = match (&serving.listener, process.pid) {
            (_, None) => ("down", process.last_exit.as_ref().map(|e| format!("it exited: {e}"))),
            (Listener::Unknown, _) => ("starting", None),
            (Listener::Listening, _) => ("listening", None),
            (Listener::Refused(why), _) => ("refused", Some(why.clone())),
        };
        let listen = serving.http.listen.to_string();
        Some(ReporterStatus { listen, state: state.into(), reason, process })
    }

    /// Starts it when it is due, kills it when it is silent, stops it when it is no longer configured. True if a
    /// snapshot is due.
    pub fn tick(&mut self, reap: bool, now: Duration) -> bool {
        if let Some(serving) = &mut self.serving {
            if reap && let Some(last) = serving.process.reap(now) {
                last.into_iter().for_each(|message| serving.take(message, &self.log));
                serving.listener = Listener::Unknown;
            }
            if Some(&serving.http) != self.wanted.as_ref() {
                serving.process.step(ChildEvent::StopWanted, now);
            }
            if serving.process.is_gone() {
                self.serving = None;
            }
        }
        if self.serving.is_none() {
            self.serving = self.wanted.clone().map(|http| Serving::new(http, &self.log, now));
        }
        let Some(serving) = &mut self.serving else { return false };
        if serving.process.step(ChildEvent::Tick, now) {
            let start = ReporterStart { http: serving.http.clone(), debug: self.debug };
            serving.process.start(Ok((ToReporter::Start(Box::new(start)), vec![])), now);
            serving.token = None;
            serving.next = now;
        }
        let due = now >= serving.next;
        if due {
            serving.next = now + EVERY;
            serving.tell_token(now);
        }
        due && serving.process.runs() && !serving.process.is_behind()
    }

    /// Sends it a snapshot.
    pub fn show(&mut self, status: InstanceStatus, now: Duration) {
        if let Some(serving) = &mut self.serving {
            serving.process.send(&ToReporter::Snapshot(Box::new(status)), vec![], now);
        }
    }
}

impl Serving {
    /// Reads the token file again, so that a new token takes effect immediately.
    fn tell_token(&mut self, now: Duration) {
        let Some(file) = &self.http.token_file else { return };
        let (name, path) = (file.to_string(), file.as_path());
        let found = match token_error(&name, &Machine.password_file(path)) {
            Some(why) => Err(why),
            None => own::glance(path, TOKEN_MOST).map_err(|e| e.to_string()),
        };
        if self.process.runs() && self.token.as_ref() != Some(&found) {
            self.process.send(&ToReporter::Token(found.clone()), vec![], now);
            self.token = Some(found);
        }
    }

    fn take(&mut self, message: FromReporter, log: &Logger) {
        let FromReporter::Listens(trouble) = message else { return };
        let at = self.http.listen;
        self.listener = match (trouble, &self.listener) {
            (None, _) => {
                info!(log, "serving status and metrics at http://{at}/");
                Listener::Listening
            }
            (Some(why), Listener::Refused(before)) if why == *before => Listener::Refused(why),
            (Some(why), _) => {
                warn!(log, "cannot serve status and metrics: {why}; replication continues");
                Listener::Refused(why)
            }
        };
    }
}
