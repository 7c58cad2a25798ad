//! The plugin runner's process: reads, calls, and acts. The pure parts decide.

use super::alarm::Alarms;
use super::caller::Pool;
use super::prepare::{Control, open_journal, take_lock};
use super::station::{Flight, Landed, Station};
use crate::config::model::{Commands, plugin_titles};
use crate::help_topic::HelpTopic;
use crate::journal::{Journal, JournalError, Marked, RootCheck};
use crate::message::{FromPlugin, PluginStart, PluginStatus, RemoteHealth, ToPlugin};
use crate::sys::begin::{Begun, begin, cannot_start};
use crate::sys::channel::Received;
use crate::sys::confine::{self, Also, Does};
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

/// The journal is read at least this often, with or without a wake.
pub const LOOK_EVERY: Duration = Duration::from_secs(60);
/// While something waits for remotes, the journal is read after the first time, then at growing intervals up to the
/// second.
const POLL: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(200));
/// Events on one path within this time are one call.
const GATHER_MS: i64 = 20;
/// A burst is delayed for at most this time.
const GATHER_MOST: Duration = Duration::from_millis(500);
/// The number of marks taken in one transaction.
const PORTION: u32 = 500;
/// The retry interval for a missing root, or for a journal that cannot be used.
const RETRY: Duration = Duration::from_secs(1);
/// How long running calls may continue after the supervisor is gone.
const ORPHAN_GRACE: Duration = Duration::from_secs(2);
/// Scans find changes up to this long before the checkpoint.
const CHECKPOINT_SLACK_NS: i64 = 10_000_000_000;

/// Runs a plugin runner whose control channel is `channel`, and returns its exit status.
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
    if let Err(why) = give_up(&start, &logger) {
        cannot_start("plugin", &format!("cannot give up privileges: {why}"));
        return 1;
    }
    match Runner::prepare(control, signals, start, wake, logger.clone()) {
        Ok(mut runner) => runner.work(),
        Err(why) => {
            slog::error!(logger, "cannot continue"; "why" => why);
            1
        }
    }
}

/// Gives up what a runner does not need. A command that runs as this user may use sudo, and runs as it always did.
fn give_up(start: &PluginStart, log: &Logger) -> std::io::Result<()> {
    let also = match start.localpath.commands() {
        Commands::None => Also::default(),
        Commands::AsOthers => Also { other_users: true, ..Also::default() },
        Commands::AsThisUser => return Ok(()),
    };
    confine::give_up(Does::Works, also, log)
}

/// The state of a plugin runner.
pub struct Runner {
    pub control: Control,
    pub signals: Signals,
    pub wake: OwnedFd,
    pub start: PluginStart,
    pub journal: Journal,
    pub stations: Vec<Station>,
    pub pool: Pool,
    pub flights: Vec<Flight>,
    /// Calls that have ended, in this order, until they are recorded.
    pub landed: VecDeque<Landed>,
    /// The number of the last call.
    pub number: u64,
    pub remotes: Vec<RemoteHealth>,
    pub alarms: Alarms,
    /// Running commands of `on_failure` and `on_recovery`: their purpose, and when they have taken too long.
    pub alarm_runs: Vec<(String, Program, Duration)>,
    pub hold: Option<String>,
    /// The watcher has confirmed that the root is the one that was watched before.
    pub judged: bool,
    /// No call starts before this time.
    pub retry: Option<Duration>,
    /// The journal has failed. Nothing is written before this time.
    pub refused: Option<Duration>,
    /// The reason.
    pub retry_why: Option<String>,
    pub next_look: Duration,
    poll: Duration,
    /// Since when marks have been left without interruption.
    left_since: Option<Duration>,
    next_tidy: Duration,
    pub more: bool,
    pub stop: Option<Duration>,
    pub orphaned: bool,
    /// Checks whether a root is the one whose changes are in the journal.
    root_check: RefCell<RootCheck>,
    pub said: Said,
    pub log: Logger,
    _lock: Lock,
}

/// What was last sent to the supervisor.
#[derive(Default)]
pub struct Said {
    pub status: Vec<PluginStatus>,
    pub status_at: Duration,
    pub alive_at: Duration,
    pub dirty: bool,
    /// The fail log must be written again.
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
        let (journal, told) = open_journal(&start, &mut control, &log)?;
        let mut stations = Vec::new();
        let plugins = &start.localpath.plugins;
        for ((name, key), plugin) in
            plugin_titles(plugins).into_iter().zip(&start.names).zip(plugins)
        {
            stations.push(Station::new(name, key.clone(), plugin.clone())?);
        }
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
                    // The supervisor moves the journal to the quarantine when this process has exited.
                    let _ = self.control.send(&FromPlugin::Damaged(why), vec![]);
                    return 1;
                }
                Err(JournalError::Refused(why)) => {
                    warn!(self.log, "cannot use the journal; trying again"; "why" => &why);
                    self.retry = Some(clock::boot() + RETRY);
                    self.refused = self.retry;
                    self.retry_why = Some(why);
                    let _ = self.control.send(&FromPlugin::Alive, vec![]);
                    // A successful turn has slept. A failed turn has not.
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

    /// Makes calls from what the remotes have settled, and looks again soon while something is left.
    fn look(&mut self, now: Duration) -> Result<(), JournalError> {
        let trouble = self.trouble();
        let horizon = self.journal.horizon(&trouble)?;
        let wall = clock::wall_ms();
        let mut left = false;
        let mut full = false;
        let long = self.left_since.is_some_and(|since| now >= since + GATHER_MOST);
        for station in &self.stations {
            // A mark with a time in the future, after the clock was set back, is taken immediately. After the longest
            // delay, a path that is marked again and again is taken, too.
            let young = wall - GATHER_MS..=wall;
            let ripe = |m: &Marked| long || !young.contains(&m.marked_at_ms);
            // The mark of a path that is marked all the time is always newer than what is settled. It is taken, and its
            // call waits until it is settled.
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
                    "paths" => gone, "help" => HelpTopic::PluginFailing.command());
                self.said.failed = true;
            }
        }
        Ok(())
    }

    /// Reads the journal in the next turn, and then often for a while.
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
            // If it stays in the journal, the next start removes it.
            let _ = self.journal.set_alarm(&gone, None);
        }
        self.remotes = remotes;
    }

    /// Opens the root if it is the one whose changes are in the journal. In another root, everything would look
    /// deleted.
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

    /// Starts no calls for a moment.
    pub fn hold_for_root(&mut self, why: String, now: Duration) {
        self.retry = Some(now + RETRY);
        self.retry_why = Some(why);
        self.said.dirty = true;
    }
}
