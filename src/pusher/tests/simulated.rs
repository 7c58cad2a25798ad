//! A pusher of the simulation: its real loop over modelled rsyncs, turned by hand.

use super::prepare::prepare_under;
use super::run::Pusher;
use super::state::Event;
use super::supervisor_link::Control;
use crate::message::{FromPusher, PusherStart, Ticket, ToPusher};
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
    /// The waits that it has settled since the last turn.
    pub settled: Vec<Ticket>,
}

impl Simulated {
    /// Begins as a child of a supervisor that holds nothing.
    pub fn begin(start: PusherStart, lock: &'static Lock, wake: OwnedFd, log: Logger) -> Self {
        let (ours, theirs) = channel::pair().unwrap();
        let prepared = prepare_under(lock, Control::new(theirs), start, log).unwrap();
        let pusher = Pusher::begin(prepared, None, wake).unwrap();
        // The model has no hard links.
        pusher.context.cannot_rename("simulated");
        let mut side = Channel::new(ours);
        side.send(&ToPusher::Hold(None), vec![]).unwrap();
        Self { pusher, side, settled: Vec::new() }
    }

    /// One turn of the loop, and the supervisor's answers: it has a slot for everybody.
    pub fn turn(&mut self) {
        self.pusher.state.step(Event::Woken, clock::boot());
        self.pusher.turn().unwrap();
        while let Ok(Received::Message(message, _)) = self.side.receive() {
            match message {
                FromPusher::WantSlot(kind) => self.tell(&ToPusher::Slot { kind, active: 1 }),
                FromPusher::Settled(ticket) => self.settled.push(ticket),
                FromPusher::Damaged(why) => panic!("{why}"),
                _ => {}
            }
        }
    }

    /// A message of the supervisor.
    pub fn tell(&mut self, message: &ToPusher) {
        self.side.send(message, vec![]).unwrap();
    }

    /// When the loop would turn by itself, at the latest.
    pub fn next_time(&self, now: Duration) -> Duration {
        self.pusher.next_time(now)
    }

    /// True if nothing is marked or being reconciled.
    pub fn is_quiet(&self) -> bool {
        let context = &self.pusher.context;
        let cursor = context.remote_state.cursor;
        let work = context.journal.work(&context.name, cursor, i64::MAX / 4).unwrap();
        !work.marks.any() && self.pusher.state.reconcile().wanted().is_none()
    }
}
