//! The reporter as the supervisor sees it: its child, the snapshots for it, its last message. It never delays the
//! supervisor: if it does not read a snapshot in time, the next one is not sent.

use super::child::ChildEvent;
use super::process::ChildProcess;
use super::token::TokenFile;
use crate::config::model::HttpServer;
use crate::help_topic::{HelpTopic, Reason};
use crate::message::{
    FromReporter, InstanceStatus, ReporterStart, ReporterState, ReporterStatus, Role, ToReporter,
};
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

/// A reporter that runs or will run with one configuration.
struct Serving {
    http: HttpServer,
    process: ChildProcess<ToReporter, FromReporter>,
    listener: Listener,
    token: Option<TokenFile>,
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
        let token = http.token_file.clone().map(|file| TokenFile::new(file, now));
        Self { http, process, listener: Listener::Unknown, token, next: now }
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

    /// The descriptors to poll.
    pub fn interests(&self) -> Vec<(BorrowedFd<'_>, Interest)> {
        let Some(serving) = &self.serving else { return Vec::new() };
        let token = serving.token.as_ref().and_then(TokenFile::interest);
        serving.process.interest().into_iter().chain(token).collect()
    }

    /// The next time at which [`SupervisedReporter::tick`] has an effect.
    pub fn next_at(&self) -> Option<Duration> {
        let serving = self.serving.as_ref()?;
        let token = serving.token.as_ref().map(TokenFile::next_at);
        let process = serving.process.next_at().filter(|_| serving.may_start());
        process.into_iter().chain(token).chain([serving.next]).min()
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
            (_, None) => {
                let why = process.last_exit.as_ref().map(|e| format!("it exited: {e}"));
                (ReporterState::Down, why.map(|why| Reason::new(HelpTopic::ProcessDown, why)))
            }
            (Listener::Unknown, _) => (ReporterState::Starting, None),
            (Listener::Listening, _) => (ReporterState::Listening, None),
            (Listener::Refused(why), _) => {
                (ReporterState::Refused, Some(Reason::new(HelpTopic::PageRefused, why.as_str())))
            }
        };
        let help = reason.as_ref().map(|reason| reason.help);
        let reason = reason.map(|reason| reason.why);
        let listen = serving.http.listen.to_string();
        Some(ReporterStatus { listen, state, reason, help, process })
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
        serving.read_token(&self.log, now);
        if serving.may_start() && serving.process.step(ChildEvent::Tick, now) {
            let start = ReporterStart { http: serving.http.clone(), debug: self.debug };
            serving.process.start(Ok((ToReporter::Start(Box::new(start)), vec![])), now);
            if let Some(token) = &mut serving.token {
                token.tell_again();
            }
            serving.next = now;
        }
        serving.tell_token(now);
        let due = now >= serving.next;
        if due {
            serving.next = now + EVERY;
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
    /// True once the token is known, so that it never refuses a client that has it.
    fn may_start(&self) -> bool {
        self.token.as_ref().is_none_or(TokenFile::is_known)
    }

    fn read_token(&mut self, log: &Logger, now: Duration) {
        if let Some(trouble) = self.token.as_mut().and_then(|token| token.tick(now)) {
            warn!(log, "{trouble}");
        }
    }

    /// Tells it a new token, or that there is none.
    fn tell_token(&mut self, now: Duration) {
        let Some(token) = &mut self.token else { return };
        if self.process.runs()
            && let Some(news) = token.news()
        {
            self.process.send(&ToReporter::Token(news), vec![], now);
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
