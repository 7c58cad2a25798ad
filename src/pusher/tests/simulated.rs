//! A pusher of the simulation: its real loop over modelled rsyncs, turned by hand.

use super::prepare::prepare_under;
use super::run::Pusher;
use super::state::Event;
use super::supervisor_link::Control;
use crate::message::{FromPusher, PusherStart, ToPusher};
use crate::sys::channel::{self, Channel, Received};
use crate::sys::clock;
use crate::sys::lock::Lock;
use slog::Logger;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// A pusher, and the supervisor's end of its channel.
pub struct Simulated {
    pusher: Pusher,
    side: Channel<ToPusher, FromPusher>,
}

impl Simulated {
    /// Begins as a child of a supervisor that has said nothing about the root.
    pub fn begin(start: PusherStart, lock: &'static Lock, wake: OwnedFd, log: Logger) -> Self {
        let (ours, theirs) = channel::pair().unwrap();
        let prepared = prepare_under(lock, Control::new(theirs), start, None, log).unwrap();
        let pusher = Pusher::begin(prepared, None, wake).unwrap();
        Self { pusher, side: Channel::new(ours) }
    }

    /// One turn of the loop. Returns its messages.
    pub fn turn(&mut self) -> Vec<FromPusher> {
        self.pusher.context.supervisor.wake(clock::boot());
        self.pusher.state.step(Event::Woken, clock::boot());
        self.pusher.turn().unwrap();
        self.pusher.rest(clock::boot());
        let mut said = Vec::new();
        while let Ok(Received::Message(message, _)) = self.side.receive() {
            said.push(message);
        }
        said
    }

    /// A message of the supervisor.
    pub fn tell(&mut self, message: &ToPusher) {
        self.side.send(message, vec![]).unwrap();
    }

    /// When the loop would turn by itself, at the latest.
    pub fn next_time(&self, now: Duration) -> Duration {
        self.pusher.next_time(now)
    }

    /// True if the guard holds a comparison.
    pub fn is_guarded(&self) -> bool {
        self.pusher.state.reconcile().held().is_some()
    }

    /// True if nothing is marked, held or being reconciled.
    pub fn is_quiet(&self) -> bool {
        let context = &self.pusher.context;
        let cursor = context.remote_state.cursor;
        let work = context.journal.work(&context.name, cursor, i64::MAX / 4).unwrap();
        !work.marks.any() && !self.is_guarded() && self.pusher.state.reconcile().wanted().is_none()
    }
}
