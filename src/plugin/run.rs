//! The plugin runner's process: reads, calls, acts. What is decided is decided in the pure parts.

use super::alarm::Alarms;
use super::caller::Pool;
use super::prepare::{Control, open_journal, take_lock};
use super::station::{Flight, Landed, Station};
use crate::config::model::plugin_titles;
use crate::journal::{Journal, JournalError, Marked, RootCheck};
use crate::message::{FromPlugin, PluginStart, PluginStatus, RemoteHealth, ToPlugin};
use crate::sys::begin::{Begun, begin, cannot_start};
use crate::sys::channel::Received;
use crate::sys::files::{Root, boot_id};
use crate::sys::lock::Lock;
use crate::sys::program::Program;
use crate::sys::signals::Signals;
use crate::sys::{clock, log};
use slog::{Logger, info, o, warn};
use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// The journal is looked at at least this often, wake or not.
pub const LOOK_EVERY: Duration = Duration::from_secs(60);
/// While something waits for remotes it is looked at after this time, and then after ever longer ones, up to the second.
const POLL: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(200));
/// A burst of events on one path is one call.
const GATHER_MS: i64 = 20;
/// But no burst waits longer.
const GATHER_MOST: Duration = Duration::from_millis(500);
/// Marks taken in one transaction.
const PORTION: u32 = 500;
/// A root that is gone, or a journal that cannot be used, is looked at again this often.
const RETRY: Duration = Duration::from_secs(1);
/// How long running calls may continue when the supervisor is gone.
const ORPHAN_GRACE: Duration = Duration::from_secs(2);
/// Scans find what changed up to this long before the checkpoint.
const CHECKPOINT_SLACK_NS: i64 = 10_000_000_000;

/// Runs a plugin runner whose control channel is `channel`; returns its exit status.
pub fn run(channel: OwnedFd) -> i32 {
    let begun = begin("plugin", channel, |message| match message {
        ToPlugin::Start(start) => Some(*start),
        _ => None,
    });
    let Some(Begun { control, signals, start, mut fds }) = begun else { return 1 };
    let Some(wake) = fds.pop() else {
        cannot_start("plugin", "no wake pipe was passed with the start message");
        return 1;
    };
    let logger = log::logger(start.debug)
        .new(o!("role" => "plugin", "localpath" => start.localpath.watch.to_string()));
    match Runner::prepare(control, signals, start, wake, logger.clone()) {
        Ok(mut runner) => runner.work(),
        Err(why) => {
            slog::error!(logger, "cannot continue"; "why" => why);
            1
        }
    }
}

/// A plugin runner at work.
pub struct Runner {
    pub control: Control,
    pub signals: Signals,
    pub wake: OwnedFd,
    pub start: PluginStart,
    pub journal: Journal,
    pub stations: Vec<Station>,
    pub pool: Pool,
    pub flights: Vec<Flight>,
    /// Calls that have ended, in that order, until that is written down.
    pub landed: VecDeque<Landed>,
    /// The number of the last call.
    pub number: u64,
    pub remotes: Vec<RemoteHealth>,
    pub alarms: Alarms,
    /// Commands of `on_failure` and `on_recovery`: what for, and when they have taken too long.
    pub alarm_runs: Vec<(String, Program, Duration)>,
    pub hold: Option<String>,
    /// The watcher has found the root to be the one that was watched before.
    pub judged: bool,
    /// No calls before.
    pub retry: Option<Duration>,
    /// The journal has refused: nothing is written before.
    pub refused: Option<Duration>,
    /// Why not.
    pub retry_why: Option<String>,
    pub next_look: Duration,
    poll: Duration,
    /// Since when there have always been marks left.
    left_since: Option<Duration>,
    next_tidy: Duration,
    pub more: bool,
    pub stop: Option<Duration>,
    pub orphaned: bool,
    /// Whether a root that is found is the one whose changes are in the journal.
    root_check: RefCell<RootCheck>,
    pub said: Said,
    pub log: Logger,
    _lock: Lock,
}

/// What was last told to the supervisor.
#[derive(Default)]
pub struct Said {
    pub status: Vec<PluginStatus>,
    pub status_at: Duration,
    pub alive_at: Duration,
    pub dirty: bool,
    /// The fail log is to be written again.
    pub failed: bool,
}

impl Runner {
    fn prepare(
        mut control: Control,
        signals: Signals,
        start: PluginStart,
        wake: OwnedFd,
        log: Logger,
    ) -> Result<Self, String> {
        let lock = take_lock(&start.state_dir, &mut control)?;
        let journal = open_journal(&start, &mut control, &log)?;
        let mut stations = Vec::new();
        let plugins = &start.localpath.plugins;
        for ((name, key), plugin) in
            plugin_titles(plugins).into_iter().zip(&start.names).zip(plugins)
        {
            stations.push(Station::new(name, key.clone(), plugin.clone())?);
        }
        let told = journal.alarms().map_err(|e| e.to_string())?;
        let pool = Pool::new().map_err(|e| format!("cannot create a pipe: {e}"))?;
        let mut runner = Self {
            control,
            signals,
            wake,
            journal,
            stations,
            pool,
            flights: vec![],
            landed: VecDeque::new(),
            number: 0,
            remotes: vec![],
            alarms: Alarms::new(told),
            alarm_runs: vec![],
            hold: None,
            judged: false,
            retry: None,
            refused: None,
            retry_why: None,
            next_look: Duration::ZERO,
            poll: POLL.0,
            left_since: None,
            next_tidy: Duration::ZERO,
            more: false,
            stop: None,
            orphaned: false,
            root_check: RefCell::new(RootCheck::new(boot_id().unwrap_or_default())),
            said: Said { dirty: true, failed: true, ..Said::default() },
            log,
            start,
            _lock: lock,
        };
        let remotes = std::mem::take(&mut runner.start.remotes);
        runner.take_remotes(remotes);
        Ok(runner)
    }

    fn work(&mut self) -> i32 {
        loop {
            match self.turn() {
                Ok(None) => {}
                Ok(Some(exit)) => return exit,
                Err(JournalError::Damaged(why)) => {
                    slog::error!(self.log, "the journal is damaged"; "why" => &why);
                    self.flights.iter().for_each(Flight::kill);
                    // The supervisor sets it aside when this process has ended.
                    let _ = self.control.send(&FromPlugin::Damaged(why), vec![]);
                    return 1;
                }
                Err(JournalError::Refused(why)) => {
                    warn!(self.log, "cannot use the journal; trying again"; "why" => &why);
                    self.retry = Some(clock::boot() + RETRY);
                    self.refused = self.retry;
                    self.retry_why = Some(why);
                    let _ = self.control.send(&FromPlugin::Alive, vec![]);
                    // Sleeps there: a turn that fails has not.
                    let _ = self.sleep(clock::boot());
                }
            }
        }
    }

    /// One turn of the loop. `Some` ends the process.
    fn turn(&mut self) -> Result<Option<i32>, JournalError> {
        self.listen();
        let now = clock::boot();
        let landed = self.land(now);
        self.land_alarms(now);
        if let Some(until) = self.stop {
            let idle =
                self.flights.is_empty() && self.landed.is_empty() && self.alarm_runs.is_empty();
            if idle || now >= until {
                self.flights.iter().for_each(Flight::kill);
                self.alarm_runs.iter().for_each(|(_, program, _)| program.kill());
                return Ok(Some(0));
            }
        }
        landed?;
        if self.stop.is_none() && self.retry.is_none_or(|at| now >= at) {
            (self.retry, self.retry_why) = (None, None);
            self.sound_alarms(now)?;
            if self.judged && self.hold.is_none() {
                if now >= self.next_look {
                    self.look(now)?;
                }
                self.more = self.start_calls(now)?;
            }
        }
        self.tell(now)?;
        if let Err(e) = self.sleep(now) {
            warn!(self.log, "poll failed"; "why" => e.to_string());
        }
        Ok(None)
    }

    /// Makes calls of what the remotes have settled, and looks again soon while something is left.
    fn look(&mut self, now: Duration) -> Result<(), JournalError> {
        let trouble = self.trouble();
        let horizon = self.journal.horizon(&trouble)?;
        let wall = clock::wall_ms();
        let mut left = false;
        let mut full = false;
        let long = self.left_since.is_some_and(|since| now >= since + GATHER_MOST);
        for station in &self.stations {
            // One of the future, when the clock was set back, does not wait for it; nor does a path that is marked
            // again and again.
            let young = wall - GATHER_MS..=wall;
            let ripe = |m: &Marked| long || !young.contains(&m.marked_at_ms);
            // A path that is marked all the time is always ahead of what is settled: its call waits for that.
            let upto = if long { i64::MAX } else { horizon };
            let taken = self.journal.take_in(&station.key, upto, PORTION, ripe)?;
            full |= taken == PORTION as usize;
            left |= self.journal.marks_wait(&station.key)?;
        }
        let since = self.left_since.filter(|_| !long);
        self.left_since = left.then_some(since.unwrap_or(now));
        left |= self.journal.make_ready(&trouble, PORTION)?;
        self.said.dirty = true;
        self.poll = if full { Duration::ZERO } else { (self.poll * 2).clamp(POLL.0, POLL.1) };
        self.next_look = now + if left || full { self.poll } else { LOOK_EVERY };
        if now >= self.next_tidy {
            self.next_tidy = now + LOOK_EVERY;
            self.tidy(wall)?;
        }
        Ok(())
    }

    fn tidy(&mut self, wall: i64) -> Result<(), JournalError> {
        if let Some(checkpoint) = self.journal.checkpoint()? {
            self.journal.forget_called(checkpoint.at_ns - CHECKPOINT_SLACK_NS)?;
        }
        for station in self.stations.iter().filter(|s| s.lane.failures() > 0) {
            let before = wall - station.plugin.manner.keep_ms as i64;
            let gone = self.journal.give_up_old(&station.key, before, wall)?;
            if gone > 0 {
                warn!(self.log, "given up: no call was possible for too long"; "plugin" => &station.name,
                    "paths" => gone);
                self.said.failed = true;
            }
        }
        Ok(())
    }

    /// Looks into the journal in the next turn, and then often again for a while.
    pub fn look_soon(&mut self) {
        self.next_look = Duration::ZERO;
        self.poll = POLL.0;
    }

    fn trouble(&self) -> BTreeSet<String> {
        let bad = self.remotes.iter().filter(|r| r.trouble.is_some());
        bad.map(|r| r.name.clone()).collect()
    }

    /// Reads signals and messages.
    fn listen(&mut self) {
        if self.signals.take().stop {
            self.stop_within(ORPHAN_GRACE);
        }
        loop {
            match self.control.receive() {
                Ok(Received::Message(message, _)) => self.obey(message),
                Ok(Received::Nothing) => return,
                Ok(Received::Closed) | Err(_) => {
                    if !std::mem::replace(&mut self.orphaned, true) {
                        info!(self.log, "the supervisor is gone");
                        self.stop_within(ORPHAN_GRACE);
                    }
                    return;
                }
            }
        }
    }

    fn stop_within(&mut self, grace: Duration) {
        let until = clock::boot() + grace;
        self.stop = Some(self.stop.map_or(until, |earlier| earlier.min(until)));
    }

    fn obey(&mut self, message: ToPlugin) {
        self.said.dirty = true;
        match message {
            ToPlugin::Start(_) => {}
            ToPlugin::Remotes(remotes) => self.take_remotes(remotes),
            ToPlugin::Hold(why) => {
                self.judged |= why.is_none();
                self.hold = why;
                self.retry = None;
            }
            ToPlugin::FailuresChanged => {
                self.stations.iter_mut().for_each(|s| s.lane.begin_anew());
                self.said.failed = true;
            }
            ToPlugin::Stop { grace_ms } => self.stop_within(Duration::from_millis(grace_ms)),
        }
        self.look_soon();
    }

    fn take_remotes(&mut self, remotes: Vec<RemoteHealth>) {
        for gone in self.alarms.note(&remotes, clock::boot(), clock::wall_ms()) {
            // Left in the journal it is forgotten at the next start.
            let _ = self.journal.set_alarm(&gone, None);
        }
        self.remotes = remotes;
    }

    /// Opens the root, when it is the one whose changes are in the journal: in another everything would look deleted.
    pub fn open_root(&self) -> Result<Result<Root, String>, JournalError> {
        let watch = &self.start.localpath.watch;
        let root = match Root::open(watch.as_path()) {
            Ok(root) => root,
            Err(e) => return Ok(Err(format!("{watch}: {e}"))),
        };
        let id = match root.id() {
            Ok(id) => id,
            Err(e) => return Ok(Err(format!("{watch}: {e}"))),
        };
        let checkpoint = self.journal.checkpoint()?;
        if !self.root_check.borrow_mut().is_same(checkpoint.as_ref(), id) {
            return Ok(Err(format!("{watch}: not the directory that was watched before")));
        }
        Ok(Ok(root))
    }

    /// No calls for a moment.
    pub fn hold_for_root(&mut self, why: String, now: Duration) {
        self.retry = Some(now + RETRY);
        self.retry_why = Some(why);
        self.said.dirty = true;
    }
}
