//! The line to the supervisor, shared by all who may work for long: a child that is silent for too long is ended.

use crate::message::{ALIVE_EVERY_MS, FromPusher, ToPusher};
use crate::sys::channel::{Channel, Received};
use crate::sys::clock;
use std::cell::{Cell, Ref, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// The control channel of a pusher.
pub type Control = Channel<FromPusher, ToPusher>;

/// The line. Its clones are one.
#[derive(Clone)]
pub struct SupervisorLink(Rc<Inner>);

struct Inner {
    control: RefCell<Control>,
    said: Cell<Duration>,
}

impl SupervisorLink {
    /// Over this channel.
    pub fn new(control: Control) -> Self {
        Self(Rc::new(Inner { control: RefCell::new(control), said: Cell::new(Duration::ZERO) }))
    }

    /// Says something. A channel that cannot be written to is closed: [`SupervisorLink::receive`] tells.
    pub fn send(&self, message: &FromPusher) {
        let _ = self.0.control.borrow_mut().send(message, vec![]);
    }

    /// Says something that shows at `now` that this process lives.
    pub fn tell(&self, message: &FromPusher, now: Duration) {
        self.0.said.set(now);
        self.send(message);
    }

    /// A sign of life, from inside long work: said only when one is due, so it may be called for every line read.
    pub fn beat(&self) {
        self.beat_at(clock::boot());
    }

    /// The same at `now`. Nothing is added to what waits for the supervisor to read.
    pub fn beat_at(&self, now: Duration) {
        if now < self.next_beat() {
            return;
        }
        let waits = self.0.control.borrow().wants_write();
        if waits {
            self.flush();
        } else {
            self.tell(&FromPusher::Alive, now);
        }
    }

    /// When the next sign of life is due.
    pub fn next_beat(&self) -> Duration {
        self.0.said.get() + Duration::from_millis(ALIVE_EVERY_MS)
    }

    /// The next message, if one is there.
    pub fn receive(&self) -> io::Result<Received<ToPusher>> {
        self.0.control.borrow_mut().receive()
    }

    /// Sends what is queued, as far as the channel takes it.
    pub fn flush(&self) {
        let _ = self.0.control.borrow_mut().flush();
    }

    /// The channel, to wait for it.
    pub fn channel(&self) -> Ref<'_, Control> {
        self.0.control.borrow()
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::sys::channel;

    /// A line, and the supervisor's end of it.
    pub fn supervisor() -> (SupervisorLink, Channel<ToPusher, FromPusher>) {
        let (ours, theirs) = channel::pair().unwrap();
        (SupervisorLink::new(Channel::new(ours)), Channel::new(theirs))
    }

    /// How many signs of life have come.
    pub fn heard(end: &mut Channel<ToPusher, FromPusher>) -> usize {
        let mut count = 0;
        while let Received::Message(message, _) = end.receive().unwrap() {
            assert!(matches!(message, FromPusher::Alive));
            count += 1;
        }
        count
    }

    #[test]
    fn signs_of_life_come_when_they_are_due_and_do_not_pile_up() {
        let (supervisor, mut end) = supervisor();
        for ms in (1_000..=20_000).step_by(10) {
            supervisor.beat_at(Duration::from_millis(ms));
        }
        assert_eq!(heard(&mut end), 10);
        // Nobody reads.
        for s in (100..1_000_000).step_by(10) {
            supervisor.beat_at(Duration::from_secs(s));
        }
        let most = heard(&mut end);
        assert!(most < 10_000, "{most}");
        supervisor.flush();
        assert!(heard(&mut end) <= 1);
    }
}
