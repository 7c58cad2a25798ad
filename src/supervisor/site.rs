//! One localpath at run time: its lock, its inotify descriptor, its watcher and its pushers.

use super::aside::{self, ASIDE, clean_journal};
use super::child::Event;
use super::process::Process;
use super::pusher::Pusher;
use super::slots::{Holder, Slots};
use super::topology::{Wanted, settings};
use super::waits::Waiting;
use crate::config::model::Remote;
use crate::error::{Error, Exit, Result};
use crate::message::{
    ADOPTING, FromPusher, FromWatcher, PusherStart, Role, ToPusher, ToWatcher, WatcherStart,
    WatcherState,
};
use crate::sys::lock;
use crate::sys::lock::Lock;
use crate::sys::poll::Interest;
use slog::{Logger, error, info, o, warn};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

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
    /// Fail logs that must be written anew.
    pub fail_logs: BTreeSet<PathBuf>,
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
    /// The watcher has found the root to be the one that was watched before.
    judged: bool,
    watches: u64,
    held: Option<String>,
    damaged: Option<(String, Duration)>,
    /// Removed remotes are forgotten no sooner.
    forget_at: Duration,
    since: Duration,
    pub(super) waiting: Vec<Waiting>,
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
        let set_aside = clean_journal(&dir, &names, aside::first_copy(&wanted.localpath), &log)?;
        let reconcile = if set_aside { Some(ASIDE) } else { reconcile };
        let mut title = OsString::from("syncsup: watcher ");
        title.push(watch.as_os_str());
        let inotify = crate::sys::inotify::create().map_err(|e| {
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
            judged: false,
            watches: 0,
            held: None,
            damaged: None,
            forget_at: now,
            since: now,
            waiting: Vec::new(),
            log,
            _lock: lock,
        };
        for remote in remotes {
            site.add_pusher(remote, reconcile, shared, now)?;
        }
        site.forget_fail_logs(shared);
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
                    self.take_watcher(message, now);
                }
            }
            Some(n) => {
                for message in self.pushers[n].process.receive(now) {
                    self.take_pusher(n, message, shared, now);
                }
            }
        }
    }

    /// Starts who is due, kills who is silent, does what the schedule wants, and with `reap` buries who has ended.
    pub fn tick(&mut self, reap: bool, shared: &mut Shared, now: Duration) {
        if reap {
            self.reap(shared, now);
        }
        self.forget_removed(shared, now);
        self.mend(now);
        let crontab = self.wanted.localpath.crontab.clone();
        let start_allowed = self.damaged.is_none();
        if (start_allowed || self.watcher.runs()) && self.watcher.step(Event::Tick, now) {
            let first = self.watcher_start();
            self.watcher.start(first, now);
        }
        for n in 0..self.pushers.len() {
            let pusher = &mut self.pushers[n];
            if !pusher.removed {
                pusher.run_schedule(crontab.as_ref(), self.since, now);
            }
            if (start_allowed || pusher.process.runs()) && pusher.process.step(Event::Tick, now) {
                self.start_pusher(n, now);
            }
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
        use WatcherState::{Degraded, Held, Refused, Scanning, Starting, Watching};
        match self.state {
            Some(Scanning | Watching | Degraded(_)) => self.watcher.runs(),
            Some(Starting | Refused(_) | Held(_)) | None => false,
        }
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

    fn any_runs(&self) -> bool {
        self.watcher.runs() || self.pushers.iter().any(|p| p.process.runs())
    }

    fn reap(&mut self, shared: &mut Shared, now: Duration) {
        for n in 0..self.pushers.len() {
            let Some(last) = self.pushers[n].process.reap(now) else { continue };
            for message in last {
                self.take_pusher(n, message, shared, now);
            }
            self.pushers[n].verify_lost();
            let granted = shared.slots.gone(self.pushers[n].key);
            shared.granted.extend(granted);
        }
        if let Some(last) = self.watcher.reap(now) {
            for message in last {
                self.take_watcher(message, now);
            }
            self.state = None;
        }
    }

    fn take_watcher(&mut self, message: FromWatcher, now: Duration) {
        match message {
            FromWatcher::Alive => {}
            FromWatcher::State(state) => {
                self.watcher_state(state, now);
                self.ask_barriers(now);
            }
            FromWatcher::Watches(n) => self.watches = n,
            FromWatcher::NeedReconcile(why) => {
                warn!(self.log, "every remote is compared: {why}");
                self.ask_reconcile(&why, |_| true, now);
            }
            FromWatcher::Damaged(why) => self.damage(why, now),
            FromWatcher::Reached { ticket, seq } => self.barrier_reached(ticket, seq, now),
        }
    }

    fn watcher_state(&mut self, state: WatcherState, now: Duration) {
        let held = match &state {
            // A new watcher has not looked at the root yet.
            WatcherState::Starting => self.held.clone(),
            WatcherState::Refused(why) => {
                if self.state.as_ref() != Some(&state) {
                    error!(self.log, "nothing new is pushed: {why}");
                }
                self.held.clone()
            }
            WatcherState::Scanning | WatcherState::Watching => None,
            WatcherState::Degraded(why) => {
                if self.state.as_ref() != Some(&state) {
                    warn!(self.log, "degraded: {why}");
                }
                None
            }
            WatcherState::Held(why) => Some(why.clone()),
        };
        // A pusher waits until the root was judged for the first time.
        use WatcherState::{Refused, Starting};
        let judged = held.is_none() && !matches!(state, Starting | Refused(_));
        let first = judged && !self.judged;
        self.judged |= judged;
        if held != self.held || first {
            match &held {
                Some(why) if why == ADOPTING => info!(self.log, "held: {why}"),
                Some(why) => error!(self.log, "held: {why}"),
                None if first => {}
                None => info!(self.log, "no longer held"),
            }
            for pusher in &mut self.pushers {
                pusher.process.send(&ToPusher::Hold(held.clone()), vec![], now);
            }
            self.held = held;
        }
        self.state = Some(state);
    }

    fn take_pusher(&mut self, n: usize, message: FromPusher, shared: &mut Shared, now: Duration) {
        let pusher = &mut self.pushers[n];
        match message {
            FromPusher::Alive => {}
            FromPusher::WantSlot => shared.granted.extend(shared.slots.want(pusher.key)),
            FromPusher::SlotDone => shared.granted.extend(shared.slots.done(pusher.key)),
            FromPusher::Status(status) => {
                if status.failing + pusher.status.failing > 0
                    && let Some(log) = &self.wanted.localpath.fail_log
                {
                    shared.fail_logs.insert(log.path.as_path().to_owned());
                }
                pusher.note(*status);
            }
            FromPusher::Damaged(why) => self.damage(why, now),
            FromPusher::Verified(ticket, part) => pusher.verified(ticket, part),
            FromPusher::Settled(ticket) => self.awaited_settled(n, ticket),
        }
    }

    /// Its state directory.
    pub fn dir(&self) -> &Path {
        &self.dir
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
        if self.judged || self.held.is_some() {
            pusher.process.send(&ToPusher::Hold(self.held.clone()), vec![], now);
        }
        for waiting in &self.waiting {
            waiting.ask(pusher, now);
        }
    }
}

/// A supervisor keeps this localpath.
pub(super) fn taken(watch: &str, lock: &Path) -> Error {
    let text = format!(
        "localpath {watch}: another supervisor keeps it already ({} is locked); stop that one first, or choose another --state-dir",
        lock.display()
    );
    Error::new(Exit::AlreadyRunning, text)
}

mod damage;
mod forget;
mod reload;
mod report;
