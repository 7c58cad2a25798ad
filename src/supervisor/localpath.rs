//! One localpath at run time: its lock, its inotify descriptor, its watcher and its pushers.

use super::active::Active;
use super::child::ChildEvent;
use super::fail_log;
use super::kernel;
use super::process::ChildProcess;
use super::pusher::SupervisedPusher;
use super::root_state::RootState;
use super::runner::{SupervisedRunner, WAKE};
use super::slots::{SlotHolder, SlotPool};
use super::topology::settings;
use super::waiters::LocalPathWait;
use crate::config::model::{Remote, plugin_names};
use crate::error::{Error, Result};
use crate::instance::localpaths::ConfiguredLocalPath;
use crate::instance::lock::{LOCK_NAME, taken};
use crate::instance::note::StateNote;
use crate::instance::quarantine::{self, clean_journal};
use crate::language::say;
use crate::message::{
    FromWatcher, OpenFiles, PusherStart, Role, SlotKind, ToPusher, ToWatcher, WatcherStart,
    WatcherState,
};
use crate::path::OsBytes;
use crate::reconcile_reason::ReconcileReason;
use crate::sys::lock::{self, Lock};
use crate::sys::sysctl;
use integrity::Integrity;
use slog::{Logger, o};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The state that all localpaths share.
pub struct SharedState {
    /// The instance's log.
    pub log: Logger,
    /// The slots for pushes.
    pub slots: SlotPool,
    /// Pushers that were granted a slot and have not been sent the message yet.
    pub granted: Vec<(SlotHolder, SlotKind)>,
    /// The active pushers.
    pub active: Active,
    /// Hosts that are short of connections, and whose pushers have not been sent the message yet.
    pub short: Vec<String>,
    /// The next pusher's key.
    pub next_key: SlotHolder,
    /// Fail logs that must be rewritten.
    pub fail_logs: BTreeSet<PathBuf>,
    /// The run directory.
    pub run_dir: PathBuf,
    /// The instance's name.
    pub instance: String,
    /// The configuration files that the instance was started with.
    pub files: Vec<PathBuf>,
    /// Its `-m`.
    pub module: Option<String>,
}

/// Writes the description of a localpath's state directory, for `syncsup journal prune` when the localpath is no longer
/// configured.
fn write_note(dir: &Path, configured: &ConfiguredLocalPath, shared: &SharedState) {
    let of = StateNote {
        watch: configured.localpath.watch.clone(),
        remotes: configured.remotes.iter().map(Remote::name).collect(),
        files: shared.files.iter().map(|f| f.as_path().into()).collect(),
        module: shared.module.clone(),
    };
    of.write(dir);
}

/// Damage that has not been repaired yet.
pub struct Damage {
    /// The reason, for the operator.
    pub why: String,
    /// The earliest time of the repair.
    pub at: Duration,
    /// The database in its place must not be used; otherwise only the lock was lost.
    journal: bool,
}

/// Whether the children of a localpath should run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// They are restarted when they exit.
    Kept,
    /// They exit for good: the supervisor stops.
    Stopping,
    /// They exit for good: the localpath is no longer configured.
    Retiring,
}

/// One localpath.
pub struct SupervisedLocalPath {
    /// Its part of the configuration.
    pub configured: ConfiguredLocalPath,
    /// Its watcher.
    pub watcher: ChildProcess<ToWatcher, FromWatcher>,
    /// Its pushers, including those that are being removed.
    pub pushers: Vec<SupervisedPusher>,
    /// The process that calls its plugins, if any.
    pub runner: Option<SupervisedRunner>,
    /// It was watched at least once.
    pub announced: bool,
    phase: Phase,
    dir: PathBuf,
    inotify: OwnedFd,
    state: Option<WatcherState>,
    /// A pusher waits until this state is known.
    root: RootState,
    watches: u64,
    open: OpenFiles,
    damaged: Option<Damage>,
    integrity: Integrity,
    /// The earliest time at which removed remotes are forgotten.
    forget_at: Duration,
    /// No watcher is started for a root that is out of reach before this time.
    reach_at: Duration,
    since: Duration,
    /// The requests of `syncsup wait` for this localpath.
    pub(super) waits: Vec<LocalPathWait>,
    log: Logger,
    lock: Lock,
}

impl SupervisedLocalPath {
    /// Opens the localpath: its state directory, its lock (or exit status 4), its journal, its descriptors. Starts no
    /// child. `reconcile` is the reason for a full comparison at the start.
    pub fn open(
        configured: ConfiguredLocalPath,
        state_dir: &Path,
        reconcile: Option<&ReconcileReason>,
        shared: &mut SharedState,
        now: Duration,
    ) -> Result<Self> {
        let watch = configured.localpath.watch.clone();
        let dir = state_dir.join(&configured.id);
        crate::instance::directories::make_private(&dir)?;
        let lock_path = dir.join(LOCK_NAME);
        let lock = lock::take_over(&lock_path)
            .map_err(|e| Error::system(say!("cannot lock {}", lock_path.display()), e))?
            .ok_or_else(|| taken(&watch.to_string(), &lock_path))?;
        // A full disk does not prevent the start at this point: the journal reports it.
        let _ = lock.sign();
        write_note(&dir, &configured, shared);
        let log = shared.log.new(o!("localpath" => watch.to_string()));
        let names: BTreeSet<String> = configured.remotes.iter().map(Remote::name).collect();
        let quarantined = clean_journal(
            &dir,
            &names,
            &plugin_names(&configured.localpath.plugins),
            quarantine::first_copy(&configured.localpath).as_ref(),
            &log,
        )?;
        let reconcile =
            if quarantined { Some(&ReconcileReason::JournalSetAside) } else { reconcile };
        let mut title = OsString::from("syncsup: watcher ");
        title.push(watch.as_os_str());
        let inotify = crate::sys::inotify::create().map_err(|e| {
            let what = say!("localpath {}: cannot create an inotify descriptor", watch);
            Error::system(what, format!("{e}; {}", kernel::instances_advice(sysctl::read)))
        })?;
        let remotes = configured.remotes.clone();
        let child_log = log.new(o!("child" => "watcher"));
        let mut localpath = Self {
            configured,
            watcher: ChildProcess::new(Role::Watcher, title, || ToWatcher::Stop, child_log, now),
            pushers: Vec::new(),
            runner: None,
            announced: false,
            phase: Phase::Kept,
            dir,
            inotify,
            state: None,
            root: RootState::Unknown,
            watches: 0,
            open: OpenFiles::default(),
            damaged: None,
            integrity: Integrity::default(),
            forget_at: now,
            reach_at: now,
            since: now,
            waits: Vec::new(),
            log,
            lock,
        };
        localpath.note_files(now);
        for remote in remotes {
            localpath.add_pusher(remote, reconcile, shared, now)?;
        }
        localpath.add_runner(now)?;
        localpath.forget_fail_logs(shared);
        Ok(localpath)
    }

    /// Writes the description of its state directory again.
    fn write_note(&self, shared: &SharedState) {
        write_note(&self.dir, &self.configured, shared);
    }

    fn add_pusher(
        &mut self,
        remote: Remote,
        reconcile: Option<&ReconcileReason>,
        shared: &mut SharedState,
        now: Duration,
    ) -> Result<()> {
        let key = shared.next_key;
        shared.next_key += 1;
        let pusher = SupervisedPusher::new(key, remote, reconcile.cloned(), &self.log, now)
            .map_err(|e| Error::system(say!("cannot create a wake pipe"), e))?;
        self.pushers.push(pusher);
        Ok(())
    }

    /// Starts the children that are due, kills those that are silent, runs the schedule, and with `reap` reaps those
    /// that have exited.
    pub fn tick(&mut self, reap: bool, shared: &mut SharedState, now: Duration) {
        if reap {
            self.reap(shared, now);
        }
        self.forget_removed(shared, now);
        self.check_files(now);
        self.recover(now);
        let crontab = self.configured.localpath.crontab.clone();
        let start_allowed = self.damaged.is_none();
        if (start_allowed || self.watcher.runs()) && self.watcher.step(ChildEvent::Tick, now) {
            let first = self.watcher_start();
            self.watcher.start(first, now);
        }
        for n in 0..self.pushers.len() {
            let pusher = &mut self.pushers[n];
            if !pusher.removed {
                pusher.run_schedule(crontab.as_ref(), self.since, now);
            }
            if (start_allowed || pusher.process.runs())
                && pusher.process.step(ChildEvent::Tick, now)
            {
                self.start_pusher(n, shared, now);
            }
        }
        self.tick_runner(shared, now);
        self.end_watcher(now);
    }

    /// The next time at which [`SupervisedLocalPath::tick`] has an effect.
    pub fn next_at(&self) -> Option<Duration> {
        let open = self.damaged.is_none();
        let due = |runs: bool, at: Option<Duration>| at.filter(|_| open || runs);
        let again = self.damaged.as_ref().map(|d| d.at).filter(|_| !self.any_runs());
        self.pushers
            .iter()
            .flat_map(|p| [due(p.process.runs(), p.process.next_at()), p.next_scheduled()])
            .chain(self.runner.iter().map(|r| due(r.process.runs(), r.process.next_at())))
            .chain([due(self.watcher.runs(), self.watcher.next_at()), again])
            .flatten()
            .min()
    }

    /// True if nothing is expected of its children until they are woken.
    pub fn rests(&self) -> bool {
        let runner = self.runner.as_ref().is_none_or(|runner| runner.process.rests());
        runner && self.watcher.rests() && self.pushers.iter().all(|p| p.process.rests())
    }

    /// False if it is no longer configured. It is removed when its children have exited.
    pub fn is_configured(&self) -> bool {
        match self.phase {
            Phase::Kept | Phase::Stopping => true,
            Phase::Retiring => false,
        }
    }

    /// It is no longer configured: stops every child for good.
    pub fn retire(&mut self, now: Duration) {
        self.phase = Phase::Retiring;
        self.stop(now);
    }

    /// Stops every child for good, the watcher last.
    pub fn stop(&mut self, now: Duration) {
        // The next start could not detect lost files any more.
        self.integrity.make_due();
        self.check_files(now);
        if self.phase == Phase::Kept {
            self.phase = Phase::Stopping;
        }
        for pusher in &mut self.pushers {
            pusher.process.step(ChildEvent::StopWanted, now);
        }
        if let Some(runner) = &mut self.runner {
            runner.process.step(ChildEvent::StopWanted, now);
        }
        self.recover(now);
        self.end_watcher(now);
    }

    /// Stops the watcher after the last push. When it syncs the localpath, that covers everything that any remote has.
    fn end_watcher(&mut self, now: Duration) {
        if self.phase != Phase::Kept && self.rest_is_gone() && !self.watcher.is_stopping() {
            self.watcher.send(&ToWatcher::Last, vec![], now);
            self.watcher.step(ChildEvent::StopWanted, now);
        }
    }

    /// True if every child has exited for good.
    pub fn is_gone(&self) -> bool {
        self.watcher.is_gone() && self.rest_is_gone()
    }

    fn rest_is_gone(&self) -> bool {
        self.pushers.iter().all(|p| p.process.is_gone())
            && self.runner.as_ref().is_none_or(|r| r.process.is_gone())
    }

    /// True if its watcher sees every change, as far as possible.
    pub fn is_watched(&self) -> bool {
        use WatcherState::{Degraded, Held, Refused, Scanning, Starting, Watching};
        match self.state {
            Some(Scanning | Watching | Degraded(_)) => self.watcher.runs(),
            Some(Starting | Refused(_) | Held(_)) | None => false,
        }
    }

    /// Requests a reconcile from the pushers that `chosen` selects; returns their names.
    pub fn request_reconcile(
        &mut self,
        why: &ReconcileReason,
        chosen: impl Fn(&SupervisedPusher) -> bool,
        now: Duration,
    ) -> Vec<String> {
        let pushers = self.pushers.iter_mut().filter(|p| !p.removed);
        let mut names = Vec::new();
        for pusher in pushers {
            if chosen(pusher) {
                pusher.request_reconcile(why, now);
                names.push(pusher.name.clone());
            }
        }
        names
    }

    fn any_runs(&self) -> bool {
        self.watcher.runs()
            || self.pushers.iter().any(|p| p.process.runs())
            || self.runner.as_ref().is_some_and(|r| r.process.runs())
    }

    /// The directory that is replicated.
    pub fn watch(&self) -> &OsBytes {
        &self.configured.localpath.watch
    }

    /// Its state directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The files in which its pushers and its plugin runner write their parts of the fail log.
    pub fn fail_log_parts(&self) -> Vec<PathBuf> {
        let kept = self.pushers.iter().filter(|p| !p.removed && self.is_configured());
        let mut parts: Vec<PathBuf> =
            kept.map(|p| self.dir.join(crate::path::fail_log_part(&p.name))).collect();
        parts.extend(fail_log::plugin_parts(&self.dir));
        parts
    }

    fn watcher_start(&self) -> io::Result<(ToWatcher, Vec<OwnedFd>)> {
        let mut fds = vec![self.inotify.try_clone()?];
        let mut wakes = Vec::new();
        for pusher in self.pushers.iter().filter(|p| !p.removed) {
            wakes.push(pusher.name.clone());
            fds.push(pusher.waker()?);
        }
        if let Some(runner) = self.runner.as_ref().filter(|r| !r.removed) {
            wakes.push(WAKE.into());
            fds.push(runner.waker()?);
        }
        let start = WatcherStart {
            localpath: self.configured.bare(),
            state_dir: self.dir.clone(),
            wakes,
            debug: self.configured.debug,
        };
        Ok((ToWatcher::Start(Box::new(start)), fds))
    }

    fn start_pusher(&mut self, n: usize, shared: &SharedState, now: Duration) {
        let pusher = &mut self.pushers[n];
        let start = PusherStart {
            localpath: self.configured.bare(),
            remote: pusher.remote.clone(),
            state_dir: self.dir.clone(),
            run_dir: shared.run_dir.clone(),
            instance: shared.instance.clone(),
            settings: settings(&self.configured.localpath, &pusher.remote),
            reconcile: pusher.pending(),
            requests: pusher.requests(),
            debug: self.configured.debug,
        };
        pusher.begins();
        let first = pusher.wake_reader().map(|fd| (ToPusher::Start(Box::new(start)), vec![fd]));
        pusher.process.start(first, now);
        if let Some(hold) = self.root.hold() {
            pusher.process.send(&ToPusher::Hold(hold), vec![], now);
        }
        for wait in &self.waits {
            wait.ask(pusher, now);
        }
    }
}

mod damage;
mod integrity;
mod messages;
mod plugins;
mod reload;
mod report;
mod wait;
