//! The pusher's process: reads, calls, acts. What is decided is decided in the pure parts.

use super::desk::Desk;
use super::health::Health;
use super::lanes::{Lanes, Slots};
use super::prepare::{first_message, open_journal, take_lock};
use super::push::Push;
use super::report::{self, View};
use crate::filter::Filter;
use crate::journal::{JournalError, Owed, Work};
use crate::message::{
    ALIVE_EVERY_MS, FromPusher, PusherStart, PusherStatus, ReconcileProgress, ToPusher,
};
use crate::sys::channel::{Channel, Received};
use crate::sys::signals::Signals;
use crate::sys::{clock, log, poll, wake};
use slog::{Logger, info, o, warn};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// The journal is looked at at least this often, wake or not.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// A root that is gone is looked for this often.
pub(super) const ROOT_RETRY: Duration = Duration::from_secs(1);
/// Status is sent at most this often while things change.
const STATUS_EVERY: Duration = Duration::from_millis(250);
/// The push in hand may go on for so long when the supervisor is gone.
const ORPHAN_GRACE: Duration = Duration::from_secs(2);

pub(super) type Control = Channel<FromPusher, ToPusher>;

/// Runs a pusher whose control channel is `channel`; returns its exit status.
pub fn run(channel: OwnedFd) -> i32 {
    let mut control: Control = Channel::new(channel);
    let prepared = Signals::catch().map_err(|e| e.to_string()).and_then(|signals| {
        let (start, wake) = first_message(&mut control)?;
        Ok((signals, start, wake))
    });
    let (signals, start, wake) = match prepared {
        Ok(prepared) => prepared,
        Err(why) => {
            slog::error!(log::logger(false), "cannot start"; "role" => "pusher", "why" => why);
            return 1;
        }
    };
    let name = start.remote.name();
    let logger = log::logger(start.debug)
        .new(o!("role" => "pusher", "localpath" => start.localpath.watch.to_string(), "remote" => name.clone()));
    match Pusher::prepare(control, signals, start, wake, logger.clone()) {
        Ok(mut pusher) => pusher.work(),
        Err(why) => {
            slog::error!(logger, "cannot go on"; "why" => why);
            1
        }
    }
}

/// A pusher at work.
pub struct Pusher {
    pub(super) control: Control,
    pub(super) signals: Signals,
    pub(super) wake: OwnedFd,
    pub(super) desk: Desk,
    pub(super) lanes: Lanes,
    pub(super) slots: Slots,
    pub(super) health: Health,
    pub(super) hold: Option<String>,
    pub(super) root_retry: Option<Duration>,
    /// A reconcile of everything comes no sooner.
    pub(super) compare_retry: Option<Duration>,
    /// No comparison at all comes sooner.
    pub(super) compare_not_before: Option<Duration>,
    pub(super) journal_retry: Option<Duration>,
    pub(super) work: Work,
    pub(super) look: bool,
    pub(super) looked: Duration,
    pub(super) gather_until: Option<Duration>,
    pub(super) released: bool,
    pub(super) compared_ms: i64,
    pub(super) found: Option<ReconcileProgress>,
    pub(super) reconciles_done: u64,
    pub(super) stop: Option<Duration>,
    pub(super) killed: bool,
    pub(super) orphaned: bool,
    /// This remote's part of the fail log is not empty.
    pub(super) fail_log_shows: bool,
    pub(super) said: Said,
}

/// What was last told to the supervisor.
#[derive(Default)]
pub(super) struct Said {
    pub(super) status: Option<PusherStatus>,
    pub(super) status_at: Duration,
    pub(super) alive_at: Duration,
    pub(super) dirty: bool,
}

impl Pusher {
    /// Takes the lock, opens the journal, makes the remote's row.
    fn prepare(
        mut control: Control,
        signals: Signals,
        start: PusherStart,
        wake: OwnedFd,
        logger: Logger,
    ) -> Result<Pusher, String> {
        take_lock(&start, &mut control)?;
        let mut journal = open_journal(&start, &mut control, &logger)?;
        let name = start.remote.name();
        let first = start.localpath.first_copy.then_some("a new remote");
        let row = journal.remote(&name, first).map_err(|e| e.to_string())?;
        let filter = Filter::new(&start.localpath.filter).map_err(|errors| {
            format!("the filter: {}", errors.first().map(|e| e.text.clone()).unwrap_or_default())
        })?;
        let desk = Desk::new(start, journal, row, filter, logger);
        let mut pusher = Pusher {
            control,
            signals,
            wake,
            desk,
            lanes: Lanes::default(),
            slots: Slots::default(),
            health: Health::Good,
            hold: None,
            root_retry: None,
            compare_retry: None,
            compare_not_before: None,
            journal_retry: None,
            work: Work::default(),
            look: true,
            looked: Duration::ZERO,
            gather_until: None,
            released: false,
            compared_ms: 0,
            found: None,
            reconciles_done: 0,
            stop: None,
            killed: false,
            orphaned: false,
            fail_log_shows: true,
            said: Said { dirty: true, ..Said::default() },
        };
        pusher.first_wishes().map_err(|e| e.to_string())?;
        Ok(pusher)
    }

    /// What the start, a change of settings or an unclean end ask for.
    fn first_wishes(&mut self) -> Result<(), JournalError> {
        let desk = &mut self.desk;
        let settings = desk.start.settings.clone();
        let changed = desk.row.settings.as_ref().is_some_and(|old| *old != settings);
        let why = desk
            .start
            .reconcile
            .take()
            .or(changed.then(|| "filter or parameters changed".to_owned()));
        if desk.row.settings.as_ref() != Some(&settings) {
            desk.journal.set_settings(&desk.name, &settings)?;
        }
        if let Some(why) = why {
            self.want_reconcile(&why)?;
        }
        let desk = &mut self.desk;
        if !desk.row.clean {
            // Its pushes may still be in the hands of a receiver (rule 2).
            desk.again_upto = desk.journal.last_seq()?;
            desk.journal.push_again_later(&desk.name, clock::wall_ms())?;
        }
        desk.journal.set_clean(&desk.name, false)
    }

    pub(super) fn want_reconcile(&mut self, why: &str) -> Result<(), JournalError> {
        self.desk.journal.want_reconcile(&self.desk.name, Some(why))?;
        self.desk.row.reconcile = Some(why.to_owned());
        self.compare_retry = None;
        self.said.dirty = true;
        Ok(())
    }

    fn work(&mut self) -> i32 {
        loop {
            match self.turn() {
                Ok(None) => {}
                Ok(Some(exit)) => return exit,
                Err(JournalError::Damaged(why)) => {
                    slog::error!(self.desk.log, "the journal is damaged"; "why" => &why);
                    self.lanes.kill();
                    // The supervisor sets it aside when this process has ended.
                    let _ = self.control.send(&FromPusher::Damaged(why), vec![]);
                    return 1;
                }
                Err(JournalError::Refused(why)) => {
                    warn!(self.desk.log, "the journal cannot be used now"; "why" => why);
                    self.journal_retry = Some(clock::boot() + ROOT_RETRY);
                }
            }
        }
    }

    /// One turn of the loop. `Some` ends the process.
    fn turn(&mut self) -> Result<Option<i32>, JournalError> {
        self.listen()?;
        let now = clock::boot();
        self.advance(now)?;
        if let Some(until) = self.stop {
            if self.lanes.idle() || now >= until {
                return self.end().map(Some);
            }
        } else if self.journal_retry.is_none_or(|at| now >= at) {
            self.journal_retry = None;
            if self.look || now.saturating_sub(self.looked) >= LOOK_EVERY {
                self.look_at_journal(now)?;
            }
            self.start_lanes(now)?;
        }
        for _ in 0..self.lanes.slots_of_stalled(now) {
            self.give_slot_back();
        }
        self.tell(now)?;
        if let Err(e) = self.sleep(now) {
            warn!(self.desk.log, "poll"; "why" => e.to_string());
        }
        Ok(None)
    }

    /// Stops in order: whatever is still in flight is ended.
    fn end(&mut self) -> Result<i32, JournalError> {
        let killed = !self.lanes.idle() || self.killed;
        self.lanes.kill();
        if !killed {
            self.desk.journal.set_clean(&self.desk.name, true)?;
        }
        Ok(0)
    }

    /// Reads signals, wakes and messages.
    fn listen(&mut self) -> Result<(), JournalError> {
        let arrived = self.signals.take();
        if arrived.stop {
            self.stop_within(ORPHAN_GRACE);
        }
        loop {
            match self.control.receive() {
                Ok(Received::Message(message, _)) => self.obey(message)?,
                Ok(Received::Nothing) => return Ok(()),
                Ok(Received::Closed) | Err(_) => {
                    // The supervisor is gone: finish or abandon the push in hand.
                    if !self.orphaned {
                        info!(self.desk.log, "the supervisor is gone");
                        self.orphaned = true;
                        self.stop_within(ORPHAN_GRACE);
                    }
                    return Ok(());
                }
            }
        }
    }

    fn stop_within(&mut self, grace: Duration) {
        let until = clock::boot() + grace;
        self.stop = Some(self.stop.map_or(until, |earlier| earlier.min(until)));
    }

    fn obey(&mut self, message: ToPusher) -> Result<(), JournalError> {
        self.said.dirty = true;
        match message {
            ToPusher::Start(_) => {}
            ToPusher::Slot => {
                self.slots.asked = self.slots.asked.saturating_sub(1);
                self.slots.free += 1;
            }
            ToPusher::Reconcile(why) => self.want_reconcile(&why)?,
            ToPusher::Release => {
                info!(self.desk.log, "released by the operator");
                self.desk.journal.set_held(&self.desk.name, None)?;
                self.desk.row.held = None;
                self.released = true;
                self.compare_retry = None;
                self.health = Health::Good;
            }
            ToPusher::Retry => {
                self.desk.journal.retry_now(&self.desk.name, clock::wall_ms())?;
                self.health = Health::Good;
            }
            ToPusher::Hold(why) => {
                if why.is_some() {
                    // A running rsync would keep the file system busy, and push from a root that is not there.
                    self.abandon()?;
                }
                self.hold = why;
                self.root_retry = None;
            }
            ToPusher::Stop { grace_ms } => self.stop_within(Duration::from_millis(grace_ms)),
        }
        self.look = true;
        Ok(())
    }

    /// Ends everything in flight; nothing of it is settled.
    fn abandon(&mut self) -> Result<(), JournalError> {
        self.killed |= !self.lanes.idle();
        self.lanes.kill();
        for busy in [self.lanes.small.take(), self.lanes.large.take()].into_iter().flatten() {
            self.unseen(&busy.work)?;
            self.return_slot(busy.slot);
        }
        if let Some(busy) = self.lanes.compare.take() {
            self.return_slot(busy.slot);
        }
        Ok(())
    }

    /// The end of this push was not seen: an old receiver may still be at work on its names (rule 2).
    pub(super) fn unseen(&mut self, push: &Push) -> Result<(), JournalError> {
        self.desk.again_upto = self.desk.again_upto.max(push.cursor().unwrap_or(0));
        self.desk.journal.settle(&self.desk.name, &push.unseen(), clock::wall_ms())
    }

    fn tell(&mut self, now: Duration) -> Result<(), JournalError> {
        let idle = self.lanes.idle() && !self.work.marks && !self.work.due && !self.work.wide;
        let wait = if idle { Duration::ZERO } else { STATUS_EVERY };
        if self.said.dirty && now.saturating_sub(self.said.status_at) >= wait {
            let status = self.status()?;
            self.said.dirty = false;
            self.said.status_at = now;
            if self.said.status.as_ref() != Some(&status) {
                let _ = self.control.send(&FromPusher::Status(Box::new(status.clone())), vec![]);
                self.said.status = Some(status);
                self.said.alive_at = now;
            }
        }
        if now.saturating_sub(self.said.alive_at) >= Duration::from_millis(ALIVE_EVERY_MS)
            && !self.control.wants_write()
        {
            self.said.alive_at = now;
            let _ = self.control.send(&FromPusher::Alive, vec![]);
        }
        Ok(())
    }

    fn status(&mut self) -> Result<PusherStatus, JournalError> {
        let backlog = self.desk.journal.backlog(&self.desk.name)?;
        let first: Option<Owed> = match backlog.failing {
            0 => None,
            _ => self.desk.journal.failing(&self.desk.name, 1)?.into_iter().next(),
        };
        let outstanding = match &self.found {
            Some(_) => self.desk.journal.owed_by_reconcile(&self.desk.name)?,
            None => 0,
        };
        let comparing = self.lanes.compare.as_ref().filter(|busy| busy.work.why().is_some());
        if let Some(found) = &mut self.found {
            let unwritten =
                comparing.map_or(0, |busy| found.found.saturating_sub(busy.work.found.written));
            found.done = found.found.saturating_sub(outstanding + unwritten);
        }
        if outstanding == 0 && comparing.is_none() {
            self.found = None;
        }
        let wanted = self.desk.row.reconcile.as_ref().filter(|_| self.desk.row.held.is_none());
        let waiting = wanted
            .map(|why| ReconcileProgress { why: why.clone(), ..ReconcileProgress::default() });
        Ok(report::status(View {
            hold: self.hold.as_deref(),
            health: &self.health,
            row: &self.desk.row,
            backlog,
            first_failure: first
                .map(|row| format!("{}: {}", row.path, row.error.unwrap_or_default())),
            pushing: self.lanes.pushing(),
            reconcile: self.found.clone().or(waiting),
            reconciles_done: self.reconciles_done,
        }))
    }

    /// Waits for whatever comes next.
    fn sleep(&mut self, now: Duration) -> io::Result<()> {
        let busy = !self.lanes.idle();
        let due = self
            .work
            .next_ms
            .map(|ms| now + Duration::from_millis((ms - clock::wall_ms()).max(0) as u64));
        let gather = self.gather_until.filter(|_| self.lanes.small.is_none());
        let soon = |yes: bool, wait: Duration| yes.then_some(now + wait);
        let times = [
            Some(self.said.alive_at + Duration::from_millis(ALIVE_EVERY_MS)),
            Some(self.looked + LOOK_EVERY),
            soon(busy, Duration::from_secs(1)),
            soon(
                self.lanes.compare.as_ref().is_some_and(|c| !c.work.flies()),
                Duration::from_millis(50),
            ),
            soon(self.said.dirty, STATUS_EVERY),
            // Something is to be done at once.
            soon(self.look && self.stop.is_none() && self.journal_retry.is_none(), Duration::ZERO),
            due,
            gather,
            self.root_retry,
            self.compare_retry.filter(|at| *at > now),
            self.compare_not_before.filter(|at| *at > now),
            self.journal_retry,
            self.health.until().filter(|at| *at > now),
            self.stop,
        ];
        if due.is_some_and(|at| at <= now) {
            self.look = true;
        }
        let next = times.into_iter().flatten().min().unwrap_or(now);
        let interest = if self.control.wants_write() {
            poll::Interest::ReadWrite
        } else {
            poll::Interest::Read
        };
        let fds = [
            (self.wake.as_fd(), poll::Interest::Read),
            (self.signals.as_fd(), poll::Interest::Read),
            // Last: a closed channel is always ready.
            (self.control.as_fd(), interest),
        ];
        let fds = if self.orphaned { &fds[..2] } else { &fds[..] };
        let ready = poll::wait(fds, Some(next.saturating_sub(now)))?;
        if ready[0] {
            wake::drain(&self.wake);
            self.look = true;
        }
        if due.is_some_and(|at| clock::boot() >= at) {
            self.look = true;
        }
        // A closed channel shows when it is read.
        let _ = self.control.flush();
        Ok(())
    }
}
