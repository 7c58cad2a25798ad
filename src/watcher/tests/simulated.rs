//! A watcher of the simulation: its real loop over real inotify, turned by hand.

use super::service::{Control, Service};
use crate::filter::Filter;
use crate::journal::Journal;
use crate::message::{FromWatcher, ToWatcher, WatcherStart, WatcherState};
use crate::sys::channel::{self, Channel, Received};
use slog::Logger;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// A watcher, and the supervisor's end of its channel.
pub struct Simulated {
    service: Service,
    side: Channel<ToWatcher, FromWatcher>,
    state: WatcherState,
}

impl Simulated {
    /// Begins with the supervisor's inotify descriptor and the pipes to the pushers.
    pub fn begin(start: WatcherStart, queue: OwnedFd, wakes: Vec<OwnedFd>, log: Logger) -> Self {
        let (ours, theirs) = channel::pair().unwrap();
        let filter = Filter::new(&start.localpath.filter).unwrap();
        let journal = Journal::open(&start.state_dir).unwrap();
        let channel = Control::new(theirs);
        let fds = std::iter::once(queue).chain(wakes).collect();
        let mut service = Service::new(channel, None, start, fds, filter, journal, log).unwrap();
        service.enter();
        Self { service, side: Channel::new(ours), state: WatcherState::Starting }
    }

    /// One turn of the loop. Returns its messages.
    pub fn turn(&mut self) -> Vec<FromWatcher> {
        assert!(self.service.work().unwrap(), "the journal is damaged");
        let mut said = Vec::new();
        while let Ok(Received::Message(message, _)) = self.side.receive() {
            if let FromWatcher::State(state) = &message {
                self.state = state.clone();
            }
            said.push(message);
        }
        said
    }

    /// A message of the supervisor.
    pub fn tell(&mut self, message: &ToWatcher) {
        self.side.send(message, vec![]).unwrap();
    }

    /// The kernel's queue overflows: what is in it is lost.
    pub fn overflow(&mut self) {
        self.service.lose_events().unwrap();
    }

    /// When the loop would turn by itself, at the latest.
    pub fn next_time(&self, now: Duration) -> Duration {
        self.service.next_time(now)
    }

    /// True if it has read everything, and knows of nothing that it must look at later. A process that another thread of
    /// the test is starting has a copy of every open file for a moment.
    pub fn is_watching(&self) -> bool {
        let watching = self.state == WatcherState::Watching && self.service.is_settled();
        watching && !self.service.has_open_files()
    }
}
