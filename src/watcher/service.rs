//! The loop: read the queue until it is empty, write one record with its checkpoint, wake the pushers immediately.

mod barrier;
mod mount_probes;
mod root;
mod turn;

use crate::filter::Filter;
use crate::help_topic::{HelpTopic, Reason};
use crate::journal::{Canary, Checkpoint, Events, Journal, JournalError, Record, Scope};
use crate::message::{FromWatcher, OpenFiles, Pulse, ToWatcher, WatcherStart, WatcherState};
use crate::path::RelPath;
use crate::stat::{Notice, Stat, What};
use crate::sys::channel::{Channel, Received};
use crate::sys::files::{self, Root};
use crate::sys::inotify::Queue;
use crate::sys::mounts::Mounts;
use crate::sys::poll::{Interest, wait};
use crate::sys::process::FileSystemSync;
use crate::sys::signals::Signals;
use crate::sys::{clock, wake};
use crate::watcher::barriers::Barriers;
use crate::watcher::canaries;
use crate::watcher::change_set::ChangeSet;
use crate::watcher::checkpoint_validity::{
    SLACK_NS, Validity, set_back_ns, unproven_since_ns, validity,
};
use crate::watcher::event::{Act, Looked, Map, OpenAfter};
use crate::watcher::mount_health::WITHIN;
use crate::watcher::mount_probes::MountProbes;
use crate::watcher::privileges::Privileges;
use crate::watcher::root_record::{self, RootRecord};
use crate::watcher::scan::{Done, Purpose, ScanContext, Walker};
use crate::watcher::watched_root::{self, WatchedRoot};
use slog::{Logger, debug, error, info, warn};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The maximum number of events in one transaction.
const TURN_EVENTS: usize = 4_096;
/// The wait for the other half of a move that the kernel has reported only in part. What was moved is pushed as a move
/// if one push has both halves.
const HALF_MOVE_WAIT: Duration = Duration::from_millis(1);
/// The interval between scans of directories that could not be watched.
const UNWATCHED_EVERY: Duration = Duration::from_secs(60);
/// After events that marked nothing, the next checkpoint is written this long after the last one.
const CHECKPOINT_AFTER: Duration = Duration::from_secs(5);
/// The longest interval between two checkpoints.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(60);
/// The delay after the journal refused a record.
const REFUSED_WAIT: Duration = Duration::from_secs(1);
/// The number of mount points that a status names. It only counts the rest.
const UNMOUNTED_NAMED: usize = 3;
/// A stop waits at most this long for unfinished walks.
const FINISH_WITHIN: Duration = Duration::from_secs(2);
/// A stop waits at most this long for the file systems to write everything to disk.
const SYNC_WITHIN: Duration = Duration::from_secs(6);
/// The number of rows that one transaction removes from the journal.
const CLEAN_ROWS: u32 = 5_000;
/// The time per second that removing rows may take.
const CLEAN_FOR: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);
/// A watcher that nothing has woken for this time is idle.
const IDLE_AFTER: Duration = Duration::from_secs(5);
/// The interval of the chores of an idle watcher.
const IDLE_CHORES: Duration = Duration::from_secs(10);

/// The watcher's end of its control channel.
pub type Control = Channel<FromWatcher, ToWatcher>;

/// Why the loop ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The supervisor requested it. The pushers may continue.
    Stop,
    /// The supervisor requested it, and nothing is pushed any more.
    Last,
    /// The supervisor is gone, or an operator stopped this process.
    Leave,
    /// The journal is damaged, and the supervisor has been told.
    Damaged,
}

/// Whether the map of watches matches the file system.
#[derive(Clone, Copy, PartialEq, Eq)]
enum MapState {
    /// It matches, except for events still in the queue and walks that still run.
    Complete,
    /// A scan is building it.
    Scanning,
    /// Events or marks were lost. The map must be rebuilt as soon as the journal accepts marks.
    Stale,
}

/// Times since boot of periodic work.
#[derive(Default)]
struct Times {
    /// The last chores.
    chores: Duration,
    /// Something happened last.
    busy: Duration,
    checkpoint: Duration,
    unwatched: Duration,
    /// The next search for names of files starts no earlier.
    links: Duration,
    links_begun: Duration,
    /// The journal refused a record. The queue is not read before this time.
    refused_until: Duration,
    mounts: Duration,
    /// The next search for writing processes starts no earlier.
    writers: Duration,
}

/// A running watcher.
pub struct Service {
    channel: Control,
    signals: Option<Signals>,
    log: Logger,
    debug: bool,
    watch: PathBuf,
    state_dir: PathBuf,
    queue: Queue,
    wakes: HashMap<String, OwnedFd>,
    journal: Journal,
    privileges: Privileges,
    map: Map,
    walker: Walker,
    /// `None` if there is no mount table.
    mounts: Option<Mounts>,
    watched_root: Option<WatchedRoot>,
    /// The record of the root in the state directory.
    root_record: Option<RootRecord>,
    /// The number of this run, if the journal has one.
    run: Option<u64>,
    /// The entries that were marked last.
    canaries: Vec<Canary>,
    /// Everything before this time is marked. The next scan starts from it.
    base_ns: i64,
    /// The first scan marks nothing that changed before this time, because no first copy is wanted.
    not_before_ns: Option<i64>,
    first_copy: bool,
    /// The start of the last complete scan of unwatched directories.
    unwatched_base_ns: i64,
    /// Wall clock minus time since boot, as last read.
    clock_offset_ns: i64,
    /// The reason for a reconcile, which is sent when the scan is done.
    reconcile_after: Option<String>,
    /// Files that were open when the scan began. Their other names are marked after it. For a file that a process still
    /// has open for writing: the ctime with which it was marked, and the time since boot since which it has been open.
    were_open: HashMap<RelPath, Option<(i64, Duration)>>,
    /// Watches of a discarded map.
    old_wds: Vec<i32>,
    /// Whether the map matches the file system.
    map_state: MapState,
    /// The number of directories that the last complete scan saw.
    needed: u64,
    /// Unwatched directories were scanned again, so their status must be reported.
    say_again: bool,
    /// The last reported status of unwatched directories.
    unwatched_said: Option<Reason>,
    state: WatcherState,
    watches_said: u64,
    open_said: OpenFiles,
    events_since_checkpoint: bool,
    worked: bool,
    times: Times,
    pulse: Pulse,
    barriers: Barriers,
    mount_probes: MountProbes,
    /// What the next record must say about file systems that answer again or no longer answer.
    pending_changes: Option<ChangeSet>,
    end: Option<End>,
}

impl Service {
    /// Takes over the descriptors. Nothing is watched yet.
    pub fn new(
        mut channel: Control,
        signals: Option<Signals>,
        start: WatcherStart,
        fds: Vec<OwnedFd>,
        filter: Filter,
        journal: Journal,
        log: Logger,
    ) -> io::Result<Self> {
        let mut fds = fds.into_iter();
        let queue =
            fds.next().ok_or_else(|| io::Error::other("no inotify descriptor was passed"))?;
        let open_after = OpenAfter::new(&start.localpath.open_after).map_err(io::Error::other)?;
        let mut walker = Walker::default();
        let mounts = journal.mounted().inspect_err(|error| {
            if let JournalError::Damaged(why) = error {
                // If the supervisor is gone, the next one finds the same damage.
                let _ = channel.send(&FromWatcher::Damaged(why.clone()), Vec::new());
            }
        });
        walker.mounts = mounts.map_err(io::Error::other)?;
        Ok(Self {
            channel,
            signals,
            log,
            debug: start.debug,
            watch: start.localpath.watch.as_path().to_owned(),
            state_dir: start.state_dir,
            queue: Queue::new(queue),
            wakes: start.wakes.into_iter().zip(fds).collect(),
            journal,
            privileges: Privileges::all(),
            map: Map::new(start.localpath.inotify, filter).with_open_after(open_after),
            walker,
            mounts: None,
            watched_root: None,
            root_record: None,
            run: None,
            canaries: Vec::new(),
            base_ns: clock::file_ns(),
            not_before_ns: None,
            first_copy: start.localpath.first_copy,
            unwatched_base_ns: 0,
            clock_offset_ns: watched_root::clock_offset_ns(),
            reconcile_after: None,
            were_open: HashMap::new(),
            old_wds: Vec::new(),
            map_state: MapState::Complete,
            needed: 0,
            say_again: false,
            unwatched_said: None,
            state: WatcherState::Starting,
            watches_said: 0,
            open_said: OpenFiles::default(),
            events_since_checkpoint: false,
            worked: false,
            times: Times::default(),
            pulse: Pulse::default(),
            barriers: Barriers::default(),
            mount_probes: MountProbes::default(),
            pending_changes: None,
            end: None,
        })
    }

    /// The process has only these privileges.
    pub fn with(self, privileges: Privileges) -> Self {
        Self { privileges, ..self }
    }

    /// Serves until the end. Returns true after an orderly stop.
    pub fn serve(mut self) -> io::Result<bool> {
        self.enter();
        loop {
            if let Some(end) = self.end {
                return self.finish(end);
            }
            self.wait()?;
            if !self.work()? {
                return Ok(false);
            }
        }
    }

    /// Drops what is queued, as the kernel does when its queue is full.
    #[cfg(test)]
    pub(super) fn lose_events(&mut self) -> io::Result<()> {
        while !self.queue.read()?.is_empty() {}
        self.walker.lost = true;
        Ok(())
    }

    /// What comes before the loop.
    pub(super) fn enter(&mut self) {
        self.say(&FromWatcher::State(WatcherState::Starting));
        self.probe_mounts_first();
        self.look_at_root();
    }

    /// What is to be done now. Returns false if the journal is damaged.
    pub(super) fn work(&mut self) -> io::Result<bool> {
        self.take_messages();
        self.now_and_then();
        if self.end.is_some() {
            return Ok(true);
        }
        if matches!(self.state, WatcherState::Held(_)) {
            self.discard()?;
        } else if clock::boot() >= self.times.refused_until {
            if self.map_state == MapState::Stale {
                self.rebuild();
                if self.end.is_some() {
                    return Ok(true);
                }
            }
            return self.turn(None);
        }
        Ok(true)
    }

    /// When the loop turns at the latest, in time since boot.
    pub(super) fn next_time(&self, now: Duration) -> Duration {
        let mut until = self.times.chores + self.chores_every(now);
        if now < self.times.refused_until {
            return until.min(self.times.refused_until);
        }
        if matches!(self.state, WatcherState::Held(_)) {
            return until;
        }
        let search = self.map.links.wants_search().then_some(self.times.links);
        let retry = (!self.walker.is_idle()).then_some(now + Duration::from_millis(20));
        let quiet = self.map.next_look().map(|look| look.max(self.times.writers));
        for time in [self.map.next_expiry(), search, retry, quiet].into_iter().flatten() {
            until = until.min(time);
        }
        if self.walker.has_jobs() || self.map_state == MapState::Stale { now } else { until }
    }

    fn wait(&mut self) -> io::Result<()> {
        let now = clock::boot();
        let refused = now < self.times.refused_until;
        let mut until = self.next_time(now);
        if self.is_idle(now) && self.pulse.rests(now) {
            self.send(&FromWatcher::Rests);
        }
        until = until.min(self.pulse.next_at().unwrap_or(Duration::MAX));
        let interest =
            if self.channel.wants_write() { Interest::ReadWrite } else { Interest::Read };
        let mut fds = vec![(self.channel.as_fd(), interest)];
        fds.extend(self.signals.as_ref().map(|s| (s.as_fd(), Interest::Read)));
        if !refused {
            fds.push((self.queue.as_fd(), Interest::Read));
        }
        // A mount over the root causes no event.
        fds.extend(self.mounts.as_ref().map(|mounts| (mounts.as_fd(), Interest::Change)));
        let ready = wait(&fds, Some(until.saturating_sub(now)))?;
        if let (Some(mounts), Some(true)) = (&mut self.mounts, ready.last()) {
            mounts.note_change();
        }
        if ready.contains(&true) {
            self.times.busy = clock::boot();
            if self.pulse.wakes(self.times.busy) {
                self.send(&FromWatcher::Alive);
            }
        }
        Ok(())
    }

    /// True if nothing has happened for a while, and nothing is due.
    fn is_idle(&self, now: Duration) -> bool {
        self.state == WatcherState::Watching
            && self.map_state == MapState::Complete
            && self.walker.is_idle()
            && !self.map.links.wants_search()
            && self.map.next_look().is_none()
            && self.map.next_expiry().is_none()
            && self.mount_probes.is_quiet()
            && !self.channel.wants_write()
            && now >= self.times.busy + IDLE_AFTER
    }

    fn chores_every(&self, now: Duration) -> Duration {
        if self.is_idle(now) { IDLE_CHORES } else { SECOND }
    }

    fn say(&mut self, message: &FromWatcher) {
        self.pulse.sent(clock::boot());
        self.send(message);
    }

    fn send(&mut self, message: &FromWatcher) {
        // If the supervisor is gone, the next read of the channel reports it.
        if let Err(error) = self.channel.send(message, Vec::new()) {
            debug!(self.log, "cannot send"; "error" => %error);
        }
    }

    fn say_state(&mut self, state: WatcherState) {
        if self.state != state {
            self.say_watches();
            self.state = state.clone();
            self.say(&FromWatcher::State(state));
        }
    }

    fn say_watches(&mut self) {
        let watches = self.map.tree.count() as u64;
        if watches != self.watches_said {
            self.watches_said = watches;
            self.say(&FromWatcher::Watches(watches));
        }
    }

    /// Reports which files are open for writing, if that changed.
    fn say_open(&mut self) {
        let now = clock::boot();
        let ago_ms = |since: Duration| {
            i64::try_from(now.saturating_sub(since).as_millis()).unwrap_or(i64::MAX)
        };
        let (files, oldest) = self.map.open_files(now);
        let said = self.open_said.oldest.as_ref();
        let oldest = oldest.map(|(path, since)| {
            let since_ms = clock::wall_ms().saturating_sub(ago_ms(since));
            // The two clocks are not read at the same instant.
            let same = said.filter(|(p, ms)| p == path && ms.abs_diff(since_ms) < 1_000);
            (path.clone(), same.map_or(since_ms, |(_, ms)| *ms))
        });
        let open = OpenFiles { files, oldest };
        if open != self.open_said {
            self.open_said = open.clone();
            self.say(&FromWatcher::Open(open));
        }
    }

    fn take_messages(&mut self) {
        if self.signals.as_mut().is_some_and(|s| s.take().stop) {
            self.end.get_or_insert(End::Leave);
        }
        let _ = self.channel.flush();
        loop {
            match self.channel.receive() {
                Ok(Received::Message(message, fds)) => self.take_message(message, fds),
                Ok(Received::Nothing) => return,
                Ok(Received::Closed) | Err(_) => {
                    self.end = Some(End::Leave);
                    return;
                }
            }
        }
    }

    fn take_message(&mut self, message: ToWatcher, fds: Vec<OwnedFd>) {
        match message {
            // Every message is answered.
            ToWatcher::Ping => {}
            ToWatcher::Start(_) => warn!(self.log, "ignoring a second start message"),
            ToWatcher::AddWakes(names) => self.wakes.extend(names.into_iter().zip(fds)),
            ToWatcher::DropWake(name) => drop(self.wakes.remove(&name)),
            ToWatcher::AdoptRoot => self.adopt_root(),
            ToWatcher::Barrier { ticket, below } => self.add_barrier(ticket, below),
            ToWatcher::DropBarrier(ticket) => self.barriers.forget(ticket),
            ToWatcher::Last if self.end == Some(End::Damaged) => {}
            ToWatcher::Last => self.end = Some(End::Last),
            ToWatcher::Stop => drop(self.end.get_or_insert(End::Stop)),
        }
    }

    fn now_and_then(&mut self) {
        let now = clock::boot();
        if !self.pulse.is_resting() && self.pulse.beats(now) {
            self.send(&FromWatcher::Alive);
        }
        if now < self.times.chores + self.chores_every(now) {
            return;
        }
        self.times.chores = now;
        self.look_at_clock();
        self.look_at_mount_probes();
        self.look_at_root();
        self.say_watches();
        self.say_open();
        self.clean_journal();
    }

    /// After the clock is set back, a change has a time before the scan that should find it. So scans start from an
    /// earlier time.
    fn look_at_clock(&mut self) {
        let offset_ns = watched_root::clock_offset_ns();
        let before_ns = std::mem::replace(&mut self.clock_offset_ns, offset_ns);
        if let Some(back_ns) = set_back_ns(before_ns, offset_ns) {
            info!(self.log, "the clock was set back"; "seconds" => back_ns / 1_000_000_000);
            self.base_ns = self.base_ns.saturating_sub(back_ns);
            self.unwatched_base_ns = self.unwatched_base_ns.saturating_sub(back_ns);
        }
    }

    /// Removes from the journal what every remote has settled. This runs periodically, because pushers settle marks
    /// long after the last mark was made.
    fn clean_journal(&mut self) {
        let until = clock::boot() + CLEAN_FOR;
        loop {
            match self.journal.clean(CLEAN_ROWS) {
                Ok(gone) => {
                    self.worked |= gone > 0;
                    if gone < CLEAN_ROWS as usize || clock::boot() >= until {
                        break;
                    }
                }
                Err(JournalError::Damaged(why)) => return self.damaged(why),
                Err(error) => {
                    return debug!(self.log, "cannot clean the journal"; "error" => %error);
                }
            }
        }
        if std::mem::take(&mut self.worked)
            && let Err(error) = self.journal.truncate_wal()
        {
            debug!(self.log, "cannot truncate the write-ahead log of the journal"; "error" => %error);
        }
    }

    fn wake_all(&self) {
        self.wakes.values().for_each(wake::wake);
    }

    /// Marks what the queue still holds. After an orderly stop the checkpoint records that.
    fn finish(&mut self, end: End) -> io::Result<bool> {
        if end == End::Damaged {
            return Ok(false);
        }
        if matches!(self.state, WatcherState::Held(_)) || self.watched_root.is_none() {
            return Ok(true);
        }
        let until = clock::boot() + FINISH_WITHIN;
        // One pass is enough for what happened before the stop, unless walks are left.
        loop {
            if !self.turn(None)? {
                return Ok(false);
            }
            let scanning = self.map_state != MapState::Complete;
            if self.walker.is_idle() || scanning || clock::boot() >= until {
                break;
            }
        }
        if matches!(self.state, WatcherState::Held(_)) {
            return Ok(true);
        }
        // This comes last: what was pushed before is then on disk and survives a power failure.
        let clean = end == End::Last && self.sync_file_systems(clock::boot() + SYNC_WITHIN);
        self.turn(Some(clean))
    }

    /// True if the root's file system, and those mounted inside, were written to disk by `until`. The process does not
    /// wait for a file system that hangs. The stop is then not clean.
    fn sync_file_systems(&mut self, until: Duration) -> bool {
        let inside =
            self.walker.mounts.keys().filter(|path| !self.walker.unmounted.contains(*path));
        let dirs = inside.map(|path| path.below(&self.watch)).chain([self.watch.clone()]);
        let syncs: io::Result<Vec<FileSystemSync>> =
            dirs.map(|d| FileSystemSync::start(&d)).collect();
        let done = syncs.and_then(|mut syncs| {
            loop {
                match FileSystemSync::all_done(&mut syncs)? {
                    false if clock::boot() < until => std::thread::sleep(Duration::from_millis(2)),
                    done => return Ok(done),
                }
            }
        });
        match done {
            Ok(true) => return true,
            Ok(false) => {
                warn!(
                    self.log,
                    "the file system takes too long to write everything to disk; a reboot will cause a reconcile"
                )
            }
            Err(error) => {
                warn!(self.log, "cannot sync the file system; a reboot will cause a reconcile"; "error" => %error)
            }
        }
        false
    }
}

/// The status that tells the operator that the journal refuses records.
pub(super) fn refusal(state_dir: &Path, why: &str) -> String {
    format!(
        "the journal in {} cannot be written: {why}; make room, or repair this, to continue",
        state_dir.display()
    )
}
