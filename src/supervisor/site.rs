//! One localpath at run time: its lock, its inotify descriptor, its watcher and its pushers.

use super::aside::set_aside;
use super::child::Event;
use super::process::Process;
use super::pusher::Pusher;
use super::slots::{Holder, Slots};
use super::topology::{Wanted, settings};
use crate::config::model::Remote;
use crate::error::{Error, Exit, Result};
use crate::journal::{Journal, JournalError};
use crate::message::{
    FromPusher, FromWatcher, LocalPathStatus, PusherStart, Role, ToPusher, ToWatcher, WatcherStart,
    WatcherState,
};
use crate::sys::lock::Lock;
use crate::sys::poll::Interest;
use crate::sys::{clock, inotify, lock, log};
use slog::{Logger, crit, error, info, o, warn};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The reason of a reconcile after the journal was set aside.
pub const ASIDE: &str = "the journal was set aside";
/// How long to wait after a journal could not be set aside.
const ASIDE_AGAIN: Duration = Duration::from_secs(5);

/// What all localpaths share.
pub struct Shared {
    /// The instance's log.
    pub log: Logger,
    /// Who may push.
    pub slots: Slots,
    /// Who was granted a slot and is not told yet.
    pub granted: Vec<Holder>,
    /// The next pusher's key.
    pub next_key: Holder,
}

/// One localpath.
pub struct Site {
    /// Its part of the configuration.
    pub wanted: Wanted,
    /// Its watcher.
    pub watcher: Process<ToWatcher, FromWatcher>,
    /// Its pushers, also those that are being removed.
    pub pushers: Vec<Pusher>,
    /// It was watched at least once.
    pub announced: bool,
    /// It is no longer configured.
    pub retiring: bool,
    dir: PathBuf,
    inotify: OwnedFd,
    state: Option<WatcherState>,
    watches: u64,
    held: Option<String>,
    damaged: Option<(String, Duration)>,
    since: Duration,
    log: Logger,
    _lock: Lock,
}

impl Site {
    /// Takes the localpath: its state directory, its lock (or exit status 4), its journal, its descriptors. Nothing is
    /// started yet. `reconcile` is the reason for a full comparison at the start.
    pub fn open(
        wanted: Wanted,
        state_dir: &Path,
        reconcile: Option<&str>,
        shared: &mut Shared,
        now: Duration,
    ) -> Result<Self> {
        let watch = wanted.localpath.watch.clone();
        let dir = state_dir.join(&wanted.id);
        super::directories::make(&dir)?;
        let lock_path = dir.join("lock");
        let lock = lock::take(&lock_path, false)
            .map_err(|e| Error::system(format!("cannot lock {}", lock_path.display()), e))?
            .ok_or_else(|| taken(&watch.to_string(), &lock_path))?;
        let log = shared.log.new(o!("localpath" => watch.to_string()));
        let names: BTreeSet<String> = wanted.remotes.iter().map(Remote::name).collect();
        let aside = clean_journal(&dir, &names, &log)?;
        let reconcile = if aside { Some(ASIDE) } else { reconcile };
        let mut title = OsString::from("syncsup: watcher ");
        title.push(watch.as_os_str());
        let inotify = inotify::create().map_err(|e| {
            let what = format!("localpath {watch}: cannot make an inotify descriptor");
            Error::system(what, format!("{e}; raise fs.inotify.max_user_instances"))
        })?;
        let remotes = wanted.remotes.clone();
        let child_log = log.new(o!("watcher" => ""));
        let mut site = Self {
            wanted,
            watcher: Process::new(Role::Watcher, title, || ToWatcher::Stop, child_log, now),
            pushers: Vec::new(),
            announced: false,
            retiring: false,
            dir,
            inotify,
            state: None,
            watches: 0,
            held: None,
            damaged: None,
            since: now,
            log,
            _lock: lock,
        };
        for remote in remotes {
            site.add_pusher(remote, reconcile, shared, now)?;
        }
        Ok(site)
    }

    fn add_pusher(
        &mut self,
        remote: Remote,
        reconcile: Option<&str>,
        shared: &mut Shared,
        now: Duration,
    ) -> Result<()> {
        let key = shared.next_key;
        shared.next_key += 1;
        let pusher = Pusher::new(key, remote, reconcile.map(str::to_owned), &self.log, now)
            .map_err(|e| Error::system("cannot make a wake pipe", e))?;
        self.pushers.push(pusher);
        Ok(())
    }

    /// What to wait for: `None` is the watcher, else the pusher of that index.
    pub fn interests(&self) -> Vec<(Option<usize>, (BorrowedFd<'_>, Interest))> {
        let watcher = self.watcher.interest().map(|i| (None, i));
        let pushers = self.pushers.iter().enumerate();
        let pushers = pushers.filter_map(|(n, p)| Some((Some(n), p.process.interest()?)));
        watcher.into_iter().chain(pushers).collect()
    }

    /// Hears the child whose channel is ready.
    pub fn hear(&mut self, child: Option<usize>, shared: &mut Shared, now: Duration) {
        match child {
            None => {
                for message in self.watcher.receive(now) {
                    self.from_watcher(message, now);
                }
            }
            Some(n) => {
                for message in self.pushers[n].process.receive(now) {
                    self.from_pusher(n, message, shared, now);
                }
            }
        }
    }

    /// Reaps who has ended, starts who is due, kills who is silent, and does what the schedule wants.
    pub fn tick(&mut self, shared: &mut Shared, now: Duration) {
        self.reap(shared, now);
        self.mend(now);
        let crontab = self.wanted.localpath.crontab.clone();
        let start_allowed = self.damaged.is_none();
        for n in 0..self.pushers.len() {
            let pusher = &mut self.pushers[n];
            if !pusher.removed {
                pusher.run_schedule(crontab.as_ref(), self.since, now);
            }
            if (start_allowed || pusher.process.runs()) && pusher.process.step(Event::Tick, now) {
                self.start_pusher(n, now);
            }
        }
        if (start_allowed || self.watcher.runs()) && self.watcher.step(Event::Tick, now) {
            let first = self.watcher_start();
            self.watcher.start(first, now);
        }
    }

    /// When [`Site::tick`] has something to do.
    pub fn next_at(&self) -> Option<Duration> {
        let open = self.damaged.is_none();
        let due = |runs: bool, at: Option<Duration>| at.filter(|_| open || runs);
        let again = self.damaged.as_ref().map(|(_, at)| *at).filter(|_| !self.any_runs());
        self.pushers
            .iter()
            .flat_map(|p| [due(p.process.runs(), p.process.next_at()), p.next_scheduled()])
            .chain([due(self.watcher.runs(), self.watcher.next_at()), again])
            .flatten()
            .min()
    }

    /// Asks every child to stop, for good.
    pub fn stop(&mut self, now: Duration) {
        self.watcher.step(Event::StopWanted, now);
        for pusher in &mut self.pushers {
            pusher.process.step(Event::StopWanted, now);
        }
    }

    /// True when every child has ended for good.
    pub fn is_gone(&self) -> bool {
        self.watcher.is_gone() && self.pushers.iter().all(|p| p.process.is_gone())
    }

    /// True when its watcher sees every change, as far as it can.
    pub fn is_watched(&self) -> bool {
        use WatcherState::{Degraded, Held, Scanning, Starting, Watching};
        match self.state {
            Some(Scanning | Watching | Degraded(_)) => self.watcher.runs(),
            Some(Starting | Held(_)) | None => false,
        }
    }

    /// Why it is held, if it is.
    pub fn held(&self) -> Option<&str> {
        self.held.as_deref()
    }

    /// Asks the pushers that `chosen` picks for a reconcile; returns their names.
    pub fn ask_reconcile(
        &mut self,
        why: &str,
        chosen: impl Fn(&Pusher) -> bool,
        now: Duration,
    ) -> Vec<String> {
        let pushers = self.pushers.iter_mut().filter(|p| !p.removed);
        let mut names = Vec::new();
        for pusher in pushers {
            if chosen(pusher) {
                pusher.ask_reconcile(why, now);
                names.push(pusher.name.clone());
            }
        }
        names
    }

    /// For `status`.
    pub fn report(&self, wall_ms: i64) -> LocalPathStatus {
        use WatcherState::{Degraded, Held, Scanning, Starting, Watching};
        let watcher = self.watcher.report();
        let ended = || watcher.last_exit.as_ref().map(|e| format!("its watcher ended: {e}"));
        let (state, reason) = match (&self.state, watcher.pid) {
            (_, None) => ("down", self.damaged.as_ref().map(|(why, _)| why.clone()).or_else(ended)),
            (None | Some(Starting), _) => ("starting", None),
            (Some(Scanning), _) => ("scanning", None),
            (Some(Watching), _) => ("watching", None),
            (Some(Degraded(why)), _) => ("degraded", Some(why.clone())),
            (Some(Held(why)), _) => ("held", Some(why.clone())),
        };
        LocalPathStatus {
            watch: self.wanted.localpath.watch.clone(),
            state: state.to_owned(),
            reason,
            watches: self.watches,
            watcher,
            remotes: self
                .pushers
                .iter()
                .filter(|p| !p.removed)
                .map(|p| p.report(wall_ms))
                .collect(),
        }
    }

    fn any_runs(&self) -> bool {
        self.watcher.runs() || self.pushers.iter().any(|p| p.process.runs())
    }

    fn reap(&mut self, shared: &mut Shared, now: Duration) {
        for n in 0..self.pushers.len() {
            let Some(last) = self.pushers[n].process.reap(now) else { continue };
            for message in last {
                self.from_pusher(n, message, shared, now);
            }
            let granted = shared.slots.done(self.pushers[n].key);
            shared.granted.extend(granted);
        }
        if let Some(last) = self.watcher.reap(now) {
            for message in last {
                self.from_watcher(message, now);
            }
            self.state = None;
        }
        self.forget_removed();
    }

    /// A removed remote leaves the journal when its pusher has ended.
    fn forget_removed(&mut self) {
        let gone = |p: &Pusher| p.removed && p.process.is_gone();
        let names: Vec<String> =
            self.pushers.iter().filter(|p| gone(p)).map(|p| p.name.clone()).collect();
        for name in names {
            let forgotten = Journal::open(&self.dir).and_then(|mut j| j.forget_remote(&name));
            match forgotten {
                Ok(()) => info!(self.log, "forgot remote {name}"),
                // The next start forgets it: it is not configured then either.
                Err(e) => warn!(self.log, "cannot forget remote {name} now: {e}"),
            }
            self.pushers.retain(|p| p.name != name);
        }
    }

    /// Sets a damaged journal aside when nobody uses it any more.
    fn mend(&mut self, now: Duration) {
        let Some((why, at)) = &self.damaged else { return };
        if self.any_runs() || now < *at {
            return;
        }
        match set_aside(&self.dir, &stamp()) {
            Ok(to) => {
                crit!(
                    self.log,
                    "the journal was damaged ({why}) and is set aside as {}; every remote is compared",
                    to.display()
                );
                self.damaged = None;
                self.ask_reconcile(ASIDE, |_| true, now);
            }
            Err(e) => {
                crit!(
                    self.log,
                    "the damaged journal in {} cannot be set aside: {e}; tried again",
                    self.dir.display()
                );
                self.damaged = Some((why.clone(), now + ASIDE_AGAIN));
            }
        }
    }

    fn damage(&mut self, why: String, now: Duration) {
        error!(self.log, "the journal is damaged: {why}; every process of this localpath is ended");
        self.damaged.get_or_insert((why, now));
        self.watcher.step(Event::KillWanted, now);
        for pusher in &mut self.pushers {
            pusher.process.step(Event::KillWanted, now);
        }
    }

    fn from_watcher(&mut self, message: FromWatcher, now: Duration) {
        match message {
            FromWatcher::Alive => {}
            FromWatcher::State(state) => self.watcher_state(state, now),
            FromWatcher::Watches(n) => self.watches = n,
            FromWatcher::NeedReconcile(why) => {
                warn!(self.log, "every remote is compared: {why}");
                self.ask_reconcile(&why, |_| true, now);
            }
            FromWatcher::Damaged(why) => self.damage(why, now),
        }
    }

    fn watcher_state(&mut self, state: WatcherState, now: Duration) {
        let held = match &state {
            // A new watcher has not looked at the root yet.
            WatcherState::Starting => self.held.clone(),
            WatcherState::Scanning | WatcherState::Watching => None,
            WatcherState::Degraded(why) => {
                if self.state.as_ref() != Some(&state) {
                    warn!(self.log, "degraded: {why}");
                }
                None
            }
            WatcherState::Held(why) => Some(why.clone()),
        };
        if held != self.held {
            match &held {
                Some(why) => error!(self.log, "held: {why}"),
                None => info!(self.log, "no longer held"),
            }
            for pusher in &mut self.pushers {
                pusher.process.send(&ToPusher::Hold(held.clone()), vec![], now);
            }
            self.held = held;
        }
        self.state = Some(state);
    }

    fn from_pusher(&mut self, n: usize, message: FromPusher, shared: &mut Shared, now: Duration) {
        let pusher = &mut self.pushers[n];
        match message {
            FromPusher::Alive => {}
            FromPusher::WantSlot => shared.granted.extend(shared.slots.want(pusher.key)),
            FromPusher::SlotDone => shared.granted.extend(shared.slots.done(pusher.key)),
            FromPusher::Status(status) => pusher.note(*status),
            FromPusher::Damaged(why) => self.damage(why, now),
        }
    }

    fn watcher_start(&self) -> io::Result<(ToWatcher, Vec<OwnedFd>)> {
        let mut fds = vec![self.inotify.try_clone()?];
        let mut wakes = Vec::new();
        for pusher in self.pushers.iter().filter(|p| !p.removed) {
            wakes.push(pusher.name.clone());
            fds.push(pusher.waker()?);
        }
        let start = WatcherStart {
            localpath: self.wanted.localpath.clone(),
            state_dir: self.dir.clone(),
            wakes,
            debug: self.wanted.debug,
        };
        Ok((ToWatcher::Start(Box::new(start)), fds))
    }

    fn start_pusher(&mut self, n: usize, now: Duration) {
        let pusher = &mut self.pushers[n];
        let start = PusherStart {
            localpath: self.wanted.localpath.clone(),
            remote: pusher.remote.clone(),
            state_dir: self.dir.clone(),
            settings: settings(&self.wanted.localpath, &pusher.remote),
            reconcile: pusher.pending(),
            debug: self.wanted.debug,
        };
        pusher.status.reconciles_done = 0;
        let first = pusher.wake_reader().map(|fd| (ToPusher::Start(Box::new(start)), vec![fd]));
        pusher.process.start(first, now);
        if let Some(why) = &self.held {
            pusher.process.send(&ToPusher::Hold(Some(why.clone())), vec![], now);
        }
    }
}

fn taken(watch: &str, lock: &Path) -> Error {
    let text = format!(
        "localpath {watch}: another supervisor keeps it already ({} is locked); stop that one first, or choose another --state-dir",
        lock.display()
    );
    Error::new(Exit::AlreadyRunning, text)
}

/// Forgets remotes that are no longer configured. True when the journal was unreadable and is set aside.
fn clean_journal(dir: &Path, names: &BTreeSet<String>, log: &Logger) -> Result<bool> {
    let clean = || {
        let mut journal = Journal::open(dir)?;
        for name in journal.remote_names()?.iter().filter(|n| !names.contains(*n)) {
            journal.forget_remote(name)?;
            info!(log, "forgot remote {name}: it is no longer configured");
        }
        Ok(())
    };
    let refused = |e: &dyn std::fmt::Display| {
        Error::system(format!("cannot open the journal in {}", dir.display()), e)
    };
    match clean() {
        Ok(()) => Ok(false),
        Err(JournalError::Refused(why)) => Err(refused(&why)),
        Err(JournalError::Damaged(why)) => {
            let aside = set_aside(dir, &stamp()).map_err(|e| refused(&e))?;
            crit!(
                log,
                "the journal was damaged ({why}) and is set aside as {}; every remote is compared",
                aside.display()
            );
            Ok(true)
        }
    }
}

/// Now, as a part of a file name.
fn stamp() -> String {
    let text = log::timestamp(clock::wall_ms());
    text.chars().filter(char::is_ascii_alphanumeric).collect()
}

mod reload;
