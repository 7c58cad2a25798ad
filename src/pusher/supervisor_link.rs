//! The connection to the supervisor, shared by everything that may work for long: the supervisor kills a child that is
//! silent for too long.

use crate::journal::JournalError;
use crate::message::{FromPusher, Pulse, ToPusher};
use crate::sys::channel::{Channel, Received};
use crate::sys::clock;
use std::cell::{Cell, Ref, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// The control channel of a pusher.
pub type Control = Channel<FromPusher, ToPusher>;

/// The connection. All clones share it.
#[derive(Clone)]
pub struct SupervisorLink(Rc<Inner>);

struct Inner {
    control: RefCell<Control>,
    pulse: Cell<Pulse>,
}

impl SupervisorLink {
    /// A link over this channel.
    pub fn new(control: Control) -> Self {
        Self(Rc::new(Inner { control: RefCell::new(control), pulse: Cell::default() }))
    }

    /// Sends a message. An error is ignored: a channel that cannot be written to is closed, and
    /// [`SupervisorLink::receive`] reports that.
    pub fn send(&self, message: &FromPusher) {
        self.send_at(message, clock::boot());
    }

    /// The same at `now`.
    pub fn send_at(&self, message: &FromPusher, now: Duration) {
        self.pulse(|pulse| pulse.sent(now));
        self.say(message);
    }

    /// Reports a damaged journal: the supervisor quarantines it when this process has exited.
    pub fn report_damage(&self, error: &JournalError) {
        if let JournalError::Damaged(why) = error {
            self.send(&FromPusher::Damaged(why.clone()));
        }
    }

    /// Sends a heartbeat during long work. It sends one only if it is due, so it may be called for every line read.
    pub fn beat(&self) {
        self.beat_at(clock::boot());
    }

    /// The same at `now`. It sends nothing while earlier messages still wait for the supervisor.
    pub fn beat_at(&self, now: Duration) {
        let waits = self.0.control.borrow().wants_write();
        match waits {
            true => self.flush(),
            false if self.pulse(|pulse| pulse.beats(now)) => self.say(&FromPusher::Alive),
            false => {}
        }
    }

    /// In a turn of the loop: sends a heartbeat if one is due and the pusher does not rest.
    pub fn beat_unless_resting(&self, now: Duration) {
        if self.next_beat().is_some() {
            self.beat_at(now);
        }
    }

    /// When the next heartbeat is due. `None` while the pusher rests.
    pub fn next_beat(&self) -> Option<Duration> {
        self.0.pulse.get().next_at()
    }

    /// The pusher has nothing to do until something wakes it.
    pub fn rest(&self, now: Duration) {
        let waits = self.0.control.borrow().wants_write();
        if !waits && self.pulse(|pulse| pulse.rests(now)) {
            self.say(&FromPusher::Rests);
        }
    }

    /// Something has woken the pusher. The supervisor hears of it before anything else is done.
    pub fn wake(&self, now: Duration) {
        if self.pulse(|pulse| pulse.wakes(now)) {
            self.say(&FromPusher::Alive);
        }
    }

    fn pulse<T>(&self, with: impl FnOnce(&mut Pulse) -> T) -> T {
        let mut pulse = self.0.pulse.get();
        let result = with(&mut pulse);
        self.0.pulse.set(pulse);
        result
    }

    fn say(&self, message: &FromPusher) {
        let _ = self.0.control.borrow_mut().send(message, vec![]);
    }

    /// The next message, if there is one.
    pub fn receive(&self) -> io::Result<Received<ToPusher>> {
        self.0.control.borrow_mut().receive()
    }

    /// Sends what is queued, as far as the channel takes it.
    pub fn flush(&self) {
        let _ = self.0.control.borrow_mut().flush();
    }

    /// The channel, to poll it.
    pub fn channel(&self) -> Ref<'_, Control> {
        self.0.control.borrow()
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::sys::channel;

    /// A link, and the supervisor's end of it.
    pub fn supervisor() -> (SupervisorLink, Channel<ToPusher, FromPusher>) {
        let (ours, theirs) = channel::pair().unwrap();
        (SupervisorLink::new(Channel::new(ours)), Channel::new(theirs))
    }

    /// The number of heartbeats received.
    pub fn heard(end: &mut Channel<ToPusher, FromPusher>) -> usize {
        let mut count = 0;
        while let Received::Message(message, _) = end.receive().unwrap() {
            assert!(matches!(message, FromPusher::Alive));
            count += 1;
        }
        count
    }

    #[test]
    fn heartbeats_are_sent_when_due_and_do_not_pile_up() {
        let (supervisor, mut end) = supervisor();
        for ms in (1_000..=20_000).step_by(10) {
            supervisor.beat_at(Duration::from_millis(ms));
        }
        assert_eq!(heard(&mut end), 10);
        // The supervisor does not read.
        for s in (100..1_000_000).step_by(10) {
            supervisor.beat_at(Duration::from_secs(s));
        }
        let most = heard(&mut end);
        assert!(most < 10_000, "{most}");
        supervisor.flush();
        assert!(heard(&mut end) <= 1);
    }
}
